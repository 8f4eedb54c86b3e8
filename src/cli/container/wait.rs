use crate::cli::{Example, at_least};
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

/// Wait on one or more containers
///
/// Waits until each container has ended and prints its exit code. A container
/// that does not run is not waited for.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,

    /// State to wait for: stopped, exited, running, created…
    #[arg(long, value_name = "CONDITION")]
    condition: Vec<String>,

    /// Milliseconds (or a duration) between two looks; kept for compatibility, as
    /// nothing is polled
    #[arg(long, short = 'i', value_name = "DURATION", default_value = "250ms")]
    interval: String,

    /// Print -1 for containers that are not there
    #[arg(long)]
    ignore: bool,

    /// The container started last
    #[arg(long, short = 'l')]
    latest: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle wait web",
    does: "Wait for the container web and print its exit code.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    for condition in &args.condition {
        match condition.as_str() {
            "stopped" | "exited" => {}
            other => return Err(Error::unsupported(format_args!("--condition={other}"))),
        }
    }
    let names = if args.latest {
        vec![crate::cli::args::select::latest(engine)?]
    } else {
        args.names
    };
    at_least(1, names.len())?;
    for name in names {
        let code = match container::find(&engine.storage, &name) {
            Ok(found) => container::stop::wait(engine, &found)?.unwrap_or(0),
            Err(_) if args.ignore => -1,
            Err(error) => return Err(error),
        };
        output.line(code);
        output.flush();
    }
    Ok(0)
}
