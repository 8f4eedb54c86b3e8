use std::path::PathBuf;

use super::stop::seconds;
use crate::cli::Example;
use crate::cli::args::select::Select;
use crate::container::remove::{Removal, remove};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;

/// Remove one or more containers
///
/// Exits with 1 if a container was not there, 2 if one runs and `--force` was
/// not given.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// End containers that run, and do not fail for those that are not there
    #[arg(long, short = 'f')]
    force: bool,

    /// Do not fail for containers that are not there
    #[arg(long, short = 'i')]
    ignore: bool,

    /// Remove the containers' anonymous volumes too
    #[arg(long, short = 'v')]
    volumes: bool,

    /// Seconds to let a container end before SIGKILL; -1 waits for ever
    #[arg(
        long,
        short = 't',
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,

    /// Remove what depends on the containers too
    #[arg(long)]
    depend: bool,

    /// Select containers as `ps --filter` does
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Read the container's id from this file
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle rm --force --volumes web",
    does: "Remove web and its anonymous volumes, running or not.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.time.is_some() && !args.force {
        return Err(Error::usage(
            "--force option must be specified to use the --time option",
        ));
    }
    let how = Removal {
        force: args.force,
        timeout: seconds(args.time)?,
        volumes: args.volumes,
    };
    let ignore = args.ignore || args.force;
    let mut code = 0;
    let chosen = match args
        .select
        .containers(engine, &args.filter, &args.cidfile, ignore, |_| true)
    {
        Ok(chosen) => chosen,
        // Podman's exit code for a container that is not there is 1 here.
        Err(error) if error.kind() == Kind::NotFound => {
            output.error(&error);
            return Ok(1);
        }
        Err(error) => return Err(error),
    };
    for chosen in chosen {
        match remove(engine, &chosen.container, how) {
            Ok(()) => output.line(&chosen.typed),
            Err(error) => {
                code = if error.kind() == Kind::State { 2 } else { 125 };
                output.error(&error);
            }
        }
    }
    Ok(code)
}
