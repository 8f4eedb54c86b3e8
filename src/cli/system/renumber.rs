use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

/// Migrate lock numbers
///
/// There is nothing to do: locks have no numbers here.
#[derive(clap::Args)]
pub struct Args {
    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle system renumber",
    does: "Do what scripts for Podman ask for.",
}];

pub fn run(args: Args, _engine: &Engine, _output: &mut Output) -> Result<u8> {
    match args.rest.is_empty() {
        true => Ok(0),
        false => Err(Error::usage("`coracle system renumber` takes no arguments")),
    }
}
