use crate::cli::Example;
use crate::cli::args::select::{Select, each};
use crate::container::{State, start};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;

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
    let chosen = args.select.containers(engine, &[], &[], false, |it| {
        it.status.state == State::Created
    })?;
    each(chosen, output, |container, output, typed| {
        match container.status.state {
            State::Created | State::Exited => {}
            _ if all => return Ok(()),
            other => {
                return Err(Error::new(
                    Kind::State,
                    format!(
                        "container {} has already been created in runtime ({}): container state improper",
                        container.record.id,
                        other.word()
                    ),
                ));
            }
        }
        start::start(
            engine,
            &container.record,
            start::Launch {
                hold: true,
                ..Default::default()
            },
            || {},
        )?;
        output.line(typed);
        Ok(())
    })
}
