use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::volume;

/// Check if a volume exists
///
/// Ends with 0 if there is a volume of exactly that name, else with 1.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "VOLUME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle volume exists model_output || coracle volume create model_output",
    does: "Make a volume if it is missing.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    if args.names[0].is_empty() {
        return Err(Error::usage("name or ID cannot be empty"));
    }
    let found = match args.names[0].parse() {
        Ok(name) => volume::load(&engine.storage, &name)?.is_some(),
        Err(_) => false,
    };
    Ok(u8::from(!found))
}
