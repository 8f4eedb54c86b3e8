use std::path::PathBuf;

use crate::cli::Example;
use crate::cli::args::select::{Missing, Select, each};
use crate::container::{State, events, pause};
use crate::engine::Engine;
use crate::error::Result;
use crate::output::Output;

/// Pause all the processes in one or more containers
///
/// The processes stand where they are, and use no processor, until `unpause`. The
/// container must have a cgroup of its own (cgroup v2).
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// Select containers as `ps --filter` does
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Vec<String>,

    /// Read the container's id from this file
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle pause web",
    does: "Have the container web stand still.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    args.select
        .check(!args.filter.is_empty(), !args.cidfile.is_empty())?;
    pause::check_machine("pause")?;
    let chosen =
        args.select
            .containers(engine, &args.filter, &args.cidfile, Missing::Fails, |it| {
                it.status.state == State::Running
            })?;
    each(chosen, output, |container, output, typed| {
        pause::pause(container)?;
        events::note(&engine.storage, &container.record, "pause");
        output.line(typed);
        Ok(())
    })
}
