use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

/// Reload all volumes from volume plugins
///
/// There are no plugins, and no database that could differ from what is there: this
/// does nothing, and succeeds.
#[derive(clap::Args)]
pub struct Args {
    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle volume reload",
    does: "Do nothing.",
}];

pub fn run(args: Args, _engine: &Engine, _output: &mut Output) -> Result<u8> {
    match args.rest.is_empty() {
        true => Ok(0),
        false => Err(Error::usage("`coracle volume reload` takes no arguments")),
    }
}
