use std::path::PathBuf;

use super::steps::Steps;
use crate::cli::Example;
use crate::cli::args::registry;
use crate::container;
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::Digest;
use crate::image::lists::{self, ListFormat};
use crate::image::{self, Compression, Format, PushList, Reference};
use crate::output::Output;
use crate::sys::file::{Durable, write_whole};

/// Push an image to a registry
///
/// Sends an image under its own name or to DESTINATION. What the registry has
/// already, in this repository or in another one of the image's names, is not sent
/// again; an image that has not changed since it was pulled keeps its digest.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    registry: registry::Args,

    /// Compress layers by this: gzip or zstd
    #[arg(long, value_name = "FORMAT")]
    compression_format: Option<String>,

    /// Compress layers that much
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<String>,

    /// Write the digest of the manifest to this file
    #[arg(long, value_name = "PATH")]
    digestfile: Option<PathBuf>,

    /// Send no layer that is compressed by anything else
    #[arg(long)]
    force_compression: bool,

    /// Send a manifest of this kind: oci or v2s2
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Print nothing
    #[arg(short, long)]
    quiet: bool,

    /// Send no signatures; there are none
    #[arg(long)]
    remove_signatures: bool,

    /// Docker's flag, which does nothing
    #[arg(long, hide = true)]
    disable_content_trust: bool,

    #[arg(value_name = "IMAGE [DESTINATION]")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle push app registry.example.com/team/app:1.2",
    does: "Push an image under another name.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let count = args.names.len();
    if !(1..=2).contains(&count) {
        return Err(Error::usage(format!(
            "accepts between 1 and 2 arg(s), received {count}"
        )));
    }
    let options = args.registry.options()?;
    let format = match args.format.as_deref() {
        None | Some("") => None,
        Some("oci") => Some(Format::Oci),
        Some("v2s2" | "docker") => Some(Format::Docker),
        Some("v2s1") => return Err(Error::unsupported("--format v2s1")),
        Some(other) => {
            return Err(Error::usage(format!(
                "unknown format {other:?}. Choose on of the supported formats: 'oci', 'v2s1', or 'v2s2'"
            )));
        }
    };
    let compression = compression(
        args.compression_format.as_deref(),
        args.compression_level.as_deref(),
    )?;
    container::sweep(engine)?;
    let image = match image::find(&engine.storage, &args.names[0]) {
        Ok(image) => image,
        Err(error) => match lists::find_list(&engine.storage, &args.names[0]) {
            // Of a list with no image for this machine all is meant, as with Podman.
            Ok(list) if error.kind() == Kind::NotFound => {
                let to = destination(args.names.get(1).map(String::as_str), &list.as_image()?)?;
                let push = PushList {
                    list: &list,
                    to: &to,
                    options: &options,
                    all: true,
                    format: format.map(|it| match it {
                        Format::Oci => ListFormat::Oci,
                        Format::Docker => ListFormat::Docker,
                    }),
                    compression,
                    force_compression: args.force_compression,
                };
                let mut steps = Steps::new(output, args.quiet);
                let digest = image::push_list(engine, &push, &mut |step| steps.tell(step))?;
                return note(&args, &digest);
            }
            _ => return Err(error),
        },
    };
    let to = destination(args.names.get(1).map(String::as_str), &image)?;
    let push = image::Push {
        image: &image,
        to: &to,
        options: &options,
        format,
        compression,
        force_compression: args.force_compression,
    };
    let mut steps = Steps::new(output, args.quiet);
    let digest = image::push(engine, &push, &mut |step| steps.tell(step))?;
    note(&args, &digest)
}

fn note(args: &Args, digest: &Digest) -> Result<u8> {
    if let Some(path) = &args.digestfile {
        write_whole(path, digest.as_str().as_bytes(), Durable::No)
            .tried(|| format!("write {}", path.display()))?;
    }
    Ok(0)
}

/// Where to an image is sent: as it is `given`, or under its own name.
pub fn destination(given: Option<&str>, image: &image::Image) -> Result<Reference> {
    let text = match given {
        Some(text) => text,
        None => {
            return image.name.clone().ok_or_else(|| {
                Error::usage(format!("{} has no name to push to", image.id.short()))
            });
        }
    };
    let name = text.strip_prefix("docker://").unwrap_or(text);
    for transport in [
        "dir:",
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "docker-daemon:",
    ] {
        if name.starts_with(transport) {
            return Err(Error::unsupported(format_args!("pushing to {transport}")));
        }
    }
    match Reference::normalized(name) {
        Ok(reference) => Ok(reference.or_latest()),
        Err(error) if error.kind() == Kind::Usage => {
            Err(error.tried(format_args!("invalid image reference {text:?}")))
        }
        Err(error) => Err(error),
    }
}

/// How layers are compressed that must be made.
pub fn compression(format: Option<&str>, level: Option<&str>) -> Result<Option<Compression>> {
    let given = level;
    let level = |least: i32, most: i32| -> Result<Option<i32>> {
        let Some(text) = given else {
            return Ok(None);
        };
        match text.parse() {
            Ok(level) if (least..=most).contains(&level) => Ok(Some(level)),
            _ => Err(Error::usage(format!(
                "invalid compression level {text:?}: it is from {least} to {most}"
            ))),
        }
    };
    let gzip = || Ok(Some(Compression::Gzip(level(0, 9)?.map(|it| it as u32))));
    match format {
        None if given.is_some() => gzip(),
        None => Ok(None),
        Some("gzip") => gzip(),
        Some("zstd") => Ok(Some(Compression::Zstd(level(1, 20)?))),
        Some("zstd:chunked") => Err(Error::unsupported("--compression-format zstd:chunked")),
        Some(other) => Err(Error::usage(format!(
            "unknown compression format {other:?}"
        ))),
    }
}
