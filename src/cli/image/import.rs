use std::fs::File;

use super::steps::Steps;
use crate::cli::Example;
use crate::container;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::image::manifest::Platform;
use crate::image::{self, ImageConfig, Import, Reference};
use crate::output::Output;

/// Import a tarball to create a filesystem image
///
/// Makes an image of one layer of PATH, a tar (plain, gzip or zstd), or of stdin
/// where PATH is `-`, and names it REFERENCE if that is given.
#[derive(clap::Args)]
pub struct Args {
    /// Architecture of the image
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// Change the image's config: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR, and its value
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,

    /// Comment of the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Operating system of the image
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Print only the id
    #[arg(short, long)]
    quiet: bool,

    /// Variant of the image's architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,

    #[arg(value_name = "PATH")]
    operands: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle import --change 'CMD [\"/bin/sh\"]' root.tar tiny",
    does: "Make an image of a tar of files.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let (path, name) = match args.operands.as_slice() {
        [path] => (path, None),
        [path, name] => (path, Some(name)),
        other => {
            return Err(Error::usage(format!(
                "accepts between 1 and 2 arg(s), received {}",
                other.len()
            )));
        }
    };
    let mut config = ImageConfig::default();
    for change in &args.change {
        image::change(&mut config, change)?;
    }
    let typed = name;
    // Checked before anything is unpacked.
    let name = name
        .map(|name| Reference::local(name).tried(|| format!("normalizing name {name:?}")))
        .transpose()?;
    let ours = Platform::ours();
    let platform = Platform {
        architecture: args.arch.unwrap_or(ours.architecture),
        os: args.os.unwrap_or(ours.os),
        variant: args.variant.unwrap_or_default(),
    };
    let import = Import {
        tar: open(path)?,
        name,
        config,
        message: args
            .message
            .unwrap_or_else(|| "imported from tarball".to_owned()),
        platform,
    };
    let mut steps = Steps::waiting(output, args.quiet, engine.thread, "importing");
    container::sweep(engine)?;
    let image = image::import(engine, import, &mut |step| steps.tell(step))?;
    if let Some(typed) = typed {
        image::note(&engine.storage, "tag", &image.id, typed);
    }
    output.line(format_args!("sha256:{}", image.id));
    Ok(0)
}

fn open(path: &str) -> Result<File> {
    if path == "-" {
        return Ok(crate::sys::file::stdin()?);
    }
    if path.starts_with("http://") || path.starts_with("https://") {
        return Err(Error::unsupported("importing from a URL")
            .hint(format!("curl -fsSL {path} | coracle import - NAME")));
    }
    File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::other(format!(
            "error opening {path:?}: open {path}: no such file or directory"
        )),
        _ => Error::from(error).tried(format_args!("error opening {path:?}")),
    })
}
