use crate::cli::{Example, at_least};
use crate::engine::Engine;
use crate::error::Result;
use crate::image;
use crate::output::Output;

/// Remove a name from a local image
///
/// Without names, all of the image's are removed; the image itself stays.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle untag app registry.example.com/team/app:1.2",
    does: "Take one name from an image.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    at_least(1, args.names.len())?;
    let image = image::lists::find_either(&engine.storage, &args.names[0])?;
    image::untag(&engine.storage, &image, &args.names[1..])?;
    Ok(0)
}
