use std::path::PathBuf;

use crate::cli::args::registry;
use crate::cli::image::push::{compression, destination};
use crate::cli::image::steps::Steps;
use crate::cli::{Example, at_least};
use crate::container;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::image::lists::{self, ListFormat};
use crate::image::{self, PushList};
use crate::output::Output;
use crate::sys::file::{Durable, write_whole};

/// Push a manifest list or image index to a registry
///
/// Sends the images of a list, then the list, under its own name or to DESTINATION.
/// What the registry has already is not sent again; an image of a registry goes from
/// there as it is.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    registry: registry::Args,

    /// Add every image again, compressed otherwise; not there yet
    #[arg(long, hide = true, value_name = "FORMAT")]
    add_compression: Vec<String>,

    /// Send the images, too
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true",
          hide_default_value = true, value_parser = crate::cli::parse_bool)]
    all: bool,

    /// Compress layers by this: gzip or zstd
    #[arg(long, value_name = "FORMAT")]
    compression_format: Option<String>,

    /// Compress layers that much
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<String>,

    /// Write the digest of the list to this file
    #[arg(long, value_name = "PATH")]
    digestfile: Option<PathBuf>,

    /// Send no layer that is compressed by anything else
    #[arg(long)]
    force_compression: bool,

    /// Send a list of this kind: oci or v2s2
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Docker's way to say --rm
    #[arg(short, long, hide = true)]
    purge: bool,

    /// Print nothing
    #[arg(short, long)]
    quiet: bool,

    /// Send no signatures; there are none
    #[arg(long)]
    remove_signatures: bool,

    /// Remove the list when it has been sent
    #[arg(long)]
    rm: bool,

    #[arg(value_name = "LIST [DESTINATION]")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest push all-app registry.example.com/team/app:1.2",
    does: "Push a list and its images.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    at_least(1, args.names.len())?;
    if args.names.len() > 2 {
        return Err(Error::usage(format!(
            "accepts between 1 and 2 arg(s), received {}",
            args.names.len()
        )));
    }
    if !args.add_compression.is_empty() {
        return Err(Error::unsupported("--add-compression"));
    }
    let options = args.registry.options()?;
    let format = match args.format.as_deref() {
        None | Some("") => None,
        Some("oci") => Some(ListFormat::Oci),
        Some("v2s2" | "docker") => Some(ListFormat::Docker),
        Some(other) => {
            return Err(Error::usage(format!(
                "unknown format {other:?}. Choose one of the supported formats: 'oci' or 'v2s2'"
            )));
        }
    };
    let compression = compression(
        args.compression_format.as_deref(),
        args.compression_level.as_deref(),
    )?;
    container::sweep(engine)?;
    let list = lists::find_list(&engine.storage, &args.names[0])?;
    let to = destination(args.names.get(1).map(String::as_str), &list.as_image()?)?;
    let push = PushList {
        list: &list,
        to: &to,
        options: &options,
        all: args.all,
        format,
        compression,
        force_compression: args.force_compression,
    };
    let mut steps = Steps::new(output, args.quiet);
    let digest = image::push_list(engine, &push, &mut |step| steps.tell(step))?;
    if let Some(path) = &args.digestfile {
        write_whole(path, digest.as_str().as_bytes(), Durable::No)
            .tried(|| format!("write {}", path.display()))?;
    }
    if args.rm || args.purge {
        image::remove(engine, &list.as_image()?, &|_| Ok(Vec::new()))?;
    }
    Ok(0)
}
