use std::path::PathBuf;

use super::steps::Steps;
use crate::cli::Example;
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{self, Input};
use crate::output::Output;

/// Load image(s) from a tar archive
///
/// Reads images from an archive of `save` (docker-archive, oci-archive; plain,
/// gzip or zstd) or a folder (OCI layout, or of `dir:`), given by --input or on
/// stdin. Layers that are there already are not unpacked again.
#[derive(clap::Args)]
pub struct Args {
    /// Read from this archive or folder instead of stdin
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,

    /// Print only what was loaded
    #[arg(short, long)]
    quiet: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle load --input app.tar",
    does: "Load the images of an archive.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle load` takes no arguments"));
    }
    let input = match args.input {
        Some(path) => {
            image::check_path(&path)?;
            Input::Path(path)
        }
        None if crate::sys::pty::isatty(std::io::stdin()) => {
            return Err(Error::usage(
                "cannot read from terminal, use command-line redirection or the --input flag",
            ));
        }
        None => Input::Stdin,
    };
    let mut steps = Steps::waiting(output, args.quiet, engine.thread, "loading");
    container::sweep(engine)?;
    let loaded = image::load(engine, &input, &mut |step| steps.tell(step))?;
    for loaded in loaded {
        let from = match &input {
            Input::Path(path) => path.to_string_lossy(),
            Input::Stdin => "-".into(),
        };
        image::note(&engine.storage, "loadfromarchive", &loaded.image.id, &from);
        if loaded.names.is_empty() {
            output.line(format_args!("Loaded image: sha256:{}", loaded.image.id));
        }
        for name in loaded.names {
            output.line(format_args!("Loaded image: {name}"));
        }
    }
    Ok(0)
}
