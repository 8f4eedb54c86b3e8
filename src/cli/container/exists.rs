use crate::cli::{Example, exactly};
use crate::container;
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::output::Output;

/// Check if a container exists
///
/// Ends with 0 if there is a container of that name or id, else with 1.
#[derive(clap::Args)]
pub struct Args {
    /// Look for containers of other tools too; there are none
    #[arg(long)]
    external: bool,

    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle container exists web || coracle run -d --name web httpd",
    does: "Start a container if it is missing.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    match container::find(&engine.storage, &args.names[0]) {
        Ok(_) => Ok(0),
        Err(error) if error.kind() == Kind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}
