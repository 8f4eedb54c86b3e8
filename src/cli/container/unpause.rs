use std::path::PathBuf;

use crate::cli::Example;
use crate::cli::args::select::{Missing, Select, each};
use crate::container::{State, events, pause};
use crate::engine::Engine;
use crate::error::Result;
use crate::output::Output;

/// Unpause the processes in one or more containers
///
/// They go on where `pause` stopped them.
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
    line: "coracle unpause --all",
    does: "Let all paused containers go on.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    args.select
        .check(!args.filter.is_empty(), !args.cidfile.is_empty())?;
    pause::check_machine("unpause")?;
    let chosen =
        args.select
            .containers(engine, &args.filter, &args.cidfile, Missing::Fails, |it| {
                it.status.state == State::Paused
            })?;
    each(chosen, output, |container, output, typed| {
        pause::unpause(container)?;
        events::note(&engine.storage, &container.record, "unpause");
        output.line(typed);
        Ok(())
    })
}
