use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::image;
use crate::output::Output;

/// Check if an image exists in local storage
///
/// Prints nothing: ends with 0 if there is such an image, with 1 if not.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle image exists app || coracle load --input app.tar",
    does: "Load an image unless it is there.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    match image::find(&engine.storage, &args.names[0]) {
        Ok(_) => Ok(0),
        Err(error) if error.kind() == Kind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}
