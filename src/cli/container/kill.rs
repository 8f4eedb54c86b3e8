use std::path::PathBuf;

use super::stop::parse_signal;
use crate::cli::Example;
use crate::cli::args::select::{Missing, Select, each};
use crate::container::stop;
use crate::engine::Engine;
use crate::error::Result;
use crate::output::Output;

/// Kill one or more running containers with a specific signal
///
/// Sends SIGKILL, or the signal given, to the first process of each container.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// Signal to send, by name or number
    #[arg(long, short = 's', default_value = "KILL", value_name = "SIGNAL")]
    signal: String,

    /// Read the container's id from this file
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle kill --signal HUP web",
    does: "Have the container web read its configuration again.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let signal = parse_signal(&args.signal)?;
    let chosen = args
        .select
        .containers(engine, &[], &args.cidfile, Missing::Fails, |it| {
            it.status.is_up()
        })?;
    each(chosen, output, |container, output, typed| {
        stop::kill(engine, container, signal)?;
        output.line(typed);
        Ok(())
    })
}
