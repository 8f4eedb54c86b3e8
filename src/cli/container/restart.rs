use std::path::PathBuf;

use super::start::start;
use super::stop::seconds;
use crate::cli::Example;
use crate::cli::args::select::{Missing, Select, each};
use crate::container::{self, State, stop};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;

/// Restart one or more containers
///
/// Stops each container that runs as `stop` does, then starts it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// Only containers that run
    #[arg(long)]
    running: bool,

    /// Seconds to wait before SIGKILL, else the container's own (10 if it has none); -1 waits for ever
    #[arg(
        long,
        short = 't',
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,

    /// Select containers as `ps --filter` does
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Vec<String>,

    /// Read the container's id from this file
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle restart --time 2 web",
    does: "Stop and start the container web.",
}];

pub fn run(mut args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.running {
        args.select.all = args.select.names.is_empty();
    }
    let timeout = seconds(args.time)?;
    let running = args.running;
    let chosen =
        args.select
            .containers(engine, &args.filter, &args.cidfile, Missing::Fails, |it| {
                !running || it.status.is_up()
            })?;
    each(chosen, output, |container, output, typed| {
        if container.status.state == State::Paused {
            return Err(Error::new(
                Kind::State,
                "unable to restart a container in a paused or unknown state: \
                 container state improper",
            ));
        }
        stop::stop_to_start(engine, container, timeout)?;
        let stopped = container::find(&engine.storage, container.record.id.as_str())?;
        start(engine, &stopped, output).map_err(|error| error.kind_is(Kind::Other))?;
        output.line(typed);
        Ok(())
    })
}
