use std::path::PathBuf;

use crate::cli::Example;
use crate::cli::args::select::{Select, each};
use crate::container::stop;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;
use crate::sys::signal;

/// Stop one or more containers
///
/// Sends each container its stop signal (SIGTERM unless the image or `run` says
/// otherwise) and, if it still runs after the timeout, SIGKILL. Returns when it
/// has ended and is cleaned up.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// Do not fail for containers that are not there
    #[arg(long, short = 'i')]
    ignore: bool,

    /// Seconds to wait before SIGKILL; -1 waits for ever
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
    line: "coracle stop --time 2 web",
    does: "Stop the container web, with SIGKILL after 2 seconds.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let chosen =
        args.select
            .containers(engine, &args.filter, &args.cidfile, args.ignore, |it| {
                it.status.is_up()
            })?;
    let timeout = seconds(args.time)?;
    let by_name = !args.select.all && args.filter.is_empty();
    each(chosen, output, |container, output, typed| {
        if !stop::is_stoppable(container.status.state) && container.status.monitor.is_none() {
            if container.status.started.is_none() && by_name {
                return Err(Error::new(
                    Kind::State,
                    format!(
                        "can only stop created or running containers. {} is in state {}: container state improper",
                        container.record.id,
                        container.status.state.word()
                    ),
                )
                .kind_is(if args.ignore { Kind::Exists } else { Kind::State }));
            }
            output.line(typed);
            return Ok(());
        }
        stop::stop(engine, container, None, timeout)?;
        output.line(typed);
        Ok(())
    })
}

/// `-t`: seconds, or -1 for as long as it takes.
pub fn seconds(time: Option<i64>) -> Result<Option<u32>> {
    match time {
        None => Ok(None),
        Some(-1) => Ok(Some(u32::MAX)),
        Some(time) => u32::try_from(time).map(Some).map_err(|_| {
            Error::usage(format!(
                "invalid argument \"{time}\" for \"-t, --time\" flag: not a number of seconds"
            ))
        }),
    }
}

/// A signal as `kill -s` and `--stop-signal` take it.
pub fn parse_signal(text: &str) -> Result<i32> {
    signal::parse(text).ok_or_else(|| Error::usage(format!("invalid signal: {text}")))
}
