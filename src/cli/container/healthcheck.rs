use super::start::start;
use crate::cli::{Example, exactly};
use crate::container::health::{self, OnFailure, Outcome};
use crate::container::{self, Container, stop};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::{Output, human};

/// Run a health check on a container
///
/// Runs the check of a running container now, beside those that its monitor runs at their
/// times. The exit code is 0 if it passes, 1 if it fails, and 125 if there is none or it
/// cannot be run; what comes of a failure (`--health-on-failure`) comes of this one, too.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle healthcheck run web || echo web is not well",
    does: "Check the container web now.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    let name = &args.names[0];
    container::sweep(engine)?;
    let found = container::find(&engine.storage, name).map_err(|error| {
        error
            .tried(format_args!(
                "unable to look up {name} to perform a health check"
            ))
            .kind_is(Kind::Other)
    })?;
    // Children that are forked from here on must have nothing to write.
    output.flush();
    let checked = health::run(engine, &found)?;
    let done = act(engine, &found, checked.action, output);
    let code = match checked.outcome {
        Outcome::Passed => 0,
        Outcome::Failed => {
            output.line("unhealthy");
            1
        }
        Outcome::NotStarted => {
            output.line("starting");
            1
        }
        Outcome::Late(limit) => {
            done?;
            return Err(Error::other(format!(
                "healthcheck command exceeded timeout of {}",
                human::go_duration(limit)
            )));
        }
    };
    done.map(|()| code)
}

/// Does what is to be done about a container that is not well.
fn act(engine: &Engine, it: &Container, action: OnFailure, output: &mut Output) -> Result<()> {
    match action {
        OnFailure::None => Ok(()),
        OnFailure::Kill => stop::kill(engine, it, libc::SIGKILL),
        OnFailure::Stop => stop::stop(engine, it, None, None),
        OnFailure::Restart => {
            stop::stop_to_start(engine, it, None)?;
            let stopped = container::find(&engine.storage, it.record.id.as_str())?;
            start(engine, &stopped, output)
        }
    }
}
