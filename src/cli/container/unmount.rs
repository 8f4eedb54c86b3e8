use crate::cli::Example;
use crate::cli::args::select::{Missing, Select};
use crate::container::root_mount;
use crate::engine::Engine;
use crate::error::Result;
use crate::output::Output;

/// Unmount a container's root filesystem
///
/// Takes away what `mount` mounted, in the same shell of `coracle unshare`; elsewhere
/// nothing is mounted.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// Unmount also what is in use; it always is done so
    #[arg(short, long)]
    force: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle unshare sh -c 'coracle mount web; coracle unmount web'",
    does: "Mount a container's files and unmount them.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    // A file that is open stays readable: there is nothing to force.
    let _ = args.force;
    let all = args.select.all;
    let chosen = args
        .select
        .containers(engine, &[], &[], Missing::Fails, |_| true)?;
    for it in chosen {
        // Podman names those that were not mounted, too, where they are asked for.
        if root_mount::unmount(engine, &it.container.record)? || !all {
            output.line(&it.typed);
        }
    }
    Ok(0)
}
