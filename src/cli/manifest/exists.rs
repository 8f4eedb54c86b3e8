use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::image::lists;
use crate::output::Output;

/// Check if a manifest list exists in local storage
///
/// Prints nothing: ends with 0 if there is such a list, with 1 if not.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "LIST")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest exists all-app || coracle manifest create all-app",
    does: "Make a list unless it is there.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    match lists::find_list(&engine.storage, &args.names[0]) {
        Ok(_) => Ok(0),
        Err(error) if error.kind() == Kind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}
