use crate::cli::{Example, exactly};
use crate::container;
use crate::engine::Engine;
use crate::error::Result;
use crate::id::Name;
use crate::output::Output;

/// Rename an existing container
///
/// Gives the container another name, at once or not at all, running or not.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER NAME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle rename web old-web",
    does: "Rename the container web to old-web.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    exactly(2, args.names.len())?;
    let found = container::find(&engine.storage, &args.names[0])?;
    let name: Name = args.names[1].parse()?;
    container::create::rename(&engine.storage, &found.record, name.clone())?;
    let renamed = container::Record {
        name,
        ..found.record
    };
    container::events::note(&engine.storage, &renamed, "rename");
    Ok(0)
}
