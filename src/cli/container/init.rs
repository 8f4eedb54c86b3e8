use super::start::is_leaving;
use crate::cli::Example;
use crate::cli::args::select::{Missing, Select, each};
use crate::container::{self, State, start};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;
use crate::output::progress::copying;

/// Initialize one or more containers
///
/// Makes everything a container needs (mounts, namespaces, network) without
/// running its command; `start` runs it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle init web",
    does: "Prepare the container web; its command does not run yet.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let all = args.select.all;
    let chosen = args
        .select
        .containers(engine, &[], &[], Missing::Fails, |_| true)?;
    each(chosen, output, |container, output, typed| {
        // `init a a` is told so the second time.
        let status = container::status_of(&engine.storage, &container.record.id)?;
        let has_ended = matches!(status.state, State::Running | State::Stopping)
            && is_leaving(container, &status);
        if has_ended {
            container::stop::wait(engine, container)?;
        }
        match status.state {
            State::Created | State::Exited => {}
            _ if has_ended => {}
            _ if all => {
                output.line(typed);
                return Ok(());
            }
            _ => {
                return Err(Error::new(
                    Kind::State,
                    format!(
                        "container {} has already been created in runtime: container state improper",
                        container.record.id,
                    ),
                ));
            }
        }
        start::start(
            engine,
            &container.record,
            start::Launch {
                hold: true,
                progress: Some(copying),
                ..Default::default()
            },
            || {},
        )
        .map_err(|error| error.kind_is(Kind::Other))?;
        output.line(typed);
        Ok(())
    })
}
