use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

/// Migrate containers
///
/// There is nothing to do: what runs and where is looked at anew by each command, so
/// neither other subordinate ids nor another version ask for it.
#[derive(clap::Args)]
pub struct Args {
    /// The runtime that containers are to have
    #[arg(long, value_name = "RUNTIME", hide = true)]
    new_runtime: Option<String>,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle system migrate",
    does: "Do what scripts for Podman ask for.",
}];

pub fn run(args: Args, _engine: &Engine, _output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle system migrate` takes no arguments"));
    }
    match args.new_runtime.filter(|runtime| !runtime.is_empty()) {
        Some(_) => Err(Error::unsupported("--new-runtime")),
        None => Ok(0),
    }
}
