use crate::cli::{Example, at_least};
use crate::engine::Engine;
use crate::error::Result;
use crate::image;
use crate::output::Output;

/// Add an additional name to a local image
///
/// A name without a registry is one of `localhost`; without a tag it is tagged
/// `latest`. What had the name before has it no more.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle tag app registry.example.com/team/app:1.2",
    does: "Name an image for a registry.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    at_least(2, args.names.len())?;
    let image = image::lists::find_either(&engine.storage, &args.names[0])?;
    image::tag(&engine.storage, &image, &args.names[1..])?;
    Ok(0)
}
