use crate::cli::Example;
use crate::cli::args::select::{Missing, Select, each};
use crate::cli::image::remove::users;
use crate::container::remove::{Removal, remove};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image;
use crate::output::Output;

/// Clean up what containers have left behind
///
/// A container's monitor cleans up when it ends, and every command what a killed monitor
/// left: this is for scripts that ask for it. A container that is not there is passed over,
/// one that runs is left as it is.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// Clean up after this exec session of the container; nothing is kept of one that ended
    #[arg(long, value_name = "SESSION")]
    exec: Option<String>,

    /// Remove the containers afterwards
    #[arg(long)]
    rm: bool,

    /// Remove their images afterwards
    #[arg(long)]
    rmi: bool,

    /// Leave containers that run; they always are
    #[arg(long, hide = true)]
    stopped_only: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle container cleanup --all",
    does: "Clean up after every container that has ended.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let is_session = args.exec.is_some();
    if is_session && (args.rm || args.rmi) {
        return Err(Error::usage(
            "cannot set both --exec and --rm or --rmi: invalid argument",
        ));
    }
    // This sweeps, which is all there is to clean.
    let chosen = (args.select).containers(engine, &[], &[], Missing::Passed, |_| true)?;
    if is_session {
        return Ok(0);
    }
    let _ = args.stopped_only;
    each(chosen, output, |container, output, typed| {
        let is_up = container.status.is_up();
        if args.rm && !is_up {
            remove(engine, container, Removal::default())?;
        }
        if args.rmi
            && !is_up
            && let Some(image) = image::by_id(&engine.storage, &container.record.image.id)?
        {
            image::remove(engine, &image, &|id| users(&engine.storage, id))?;
        }
        output.line(typed);
        Ok(())
    })
}
