use std::path::PathBuf;

use crate::cli::Example;
use crate::cli::args::select::{Missing, Select, each};
use crate::container::stop;
use crate::engine::Engine;
use crate::error::{Error, Result};
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
    line: "coracle stop --time 2 web",
    does: "Stop the container web, with SIGKILL after 2 seconds.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let timeout = seconds(args.time)?;
    let missing = if args.ignore {
        Missing::Passed
    } else {
        Missing::Fails
    };
    let chosen = args
        .select
        .containers(engine, &args.filter, &args.cidfile, missing, |_| true)?;
    // As with Podman, one that does not run is none to complain of.
    each(chosen, output, |container, output, typed| {
        stop::stop(engine, container, None, timeout)?;
        output.line(typed);
        Ok(())
    })
}

/// `-t`: seconds, or -1 for as long as it takes.
pub fn seconds(time: Option<i64>) -> Result<Option<u32>> {
    match time {
        None => Ok(None),
        // As Podman, what is less than nothing or too much is for ever.
        Some(time) => Ok(Some(u32::try_from(time).unwrap_or(u32::MAX))),
    }
}

/// A signal as `kill -s` and `--stop-signal` take it.
pub fn parse_signal(text: &str) -> Result<i32> {
    signal::parse(text).ok_or_else(|| match text.parse::<u32>() {
        Ok(1..) => Error::usage("valid signals are 1 through 64"),
        _ => Error::usage(format!("invalid signal: {text}")),
    })
}
