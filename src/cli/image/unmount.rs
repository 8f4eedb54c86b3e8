use crate::cli::Example;
use crate::container::image_mount;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image;
use crate::output::Output;

/// Unmount an image's root filesystem
///
/// Takes away what `image mount` mounted, in the same shell of `coracle unshare`; elsewhere
/// nothing is mounted.
#[derive(clap::Args)]
pub struct Args {
    /// Unmount all images
    #[arg(short, long)]
    all: bool,

    /// Unmount also what is in use; it always is done so
    #[arg(short, long)]
    force: bool,

    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle unshare sh -c 'coracle image mount app; coracle image unmount app'",
    does: "Mount an image and unmount it.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    // A file that is open stays readable: there is nothing to force.
    let _ = args.force;
    let storage = &engine.storage;
    let images = match (args.all, args.names.is_empty()) {
        (true, true) => image::list(storage)?,
        (true, false) => {
            return Err(Error::usage(
                "when using the --all switch, you may not pass any image names or IDs",
            ));
        }
        (false, true) => return Err(Error::usage("image name or ID must be specified")),
        (false, false) => {
            let find = |name: &String| image::find(storage, name);
            args.names.iter().map(find).collect::<Result<_>>()?
        }
    };
    for image in images {
        if image_mount::unmount(engine, &image)? {
            image::note(storage, "unmount", &image.id, "");
            output.line(&image.id);
        }
    }
    Ok(0)
}
