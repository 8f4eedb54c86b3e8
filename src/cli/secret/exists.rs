use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::output::Output;
use crate::secret;

/// Check if a secret exists in local storage
///
/// Ends with 0 if there is a secret of that name or id, else with 1.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "SECRET")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle secret exists token || coracle secret create token token.txt",
    does: "Make a secret if it is missing.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    match secret::find(&engine.storage, &args.names[0]) {
        Ok(_) => Ok(0),
        Err(error) if error.kind() == Kind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}
