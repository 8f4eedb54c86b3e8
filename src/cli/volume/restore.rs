use super::named;
use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::Result;
use crate::output::Output;
use crate::volume;

/// Make a volume's files what they were in a snapshot
///
/// All of them at once: whoever looks sees the files of now or those of then. The
/// snapshot stays. A volume that a running container has is refused: the container
/// would go on with the files it has, which nobody else sees any more.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "VOLUME SNAPSHOT")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle volume restore model_output before-training",
    does: "Go back to a snapshot.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(2, args.names.len())?;
    let storage = &engine.storage;
    let volume = volume::find(storage, &args.names[0])?;
    let snapshot = volume::find_snapshot(storage, &volume.name, &args.names[1])?;
    let progress = named::copying(engine, "restoring", &volume.name)?;
    let check = || {
        named::refuse_running(storage, &volume.name, &[])
            .map_err(|error| error.hint("stop them first"))
    };
    let copied = volume::restore(engine, &volume, &snapshot, check, &progress)?;
    drop(progress);
    named::say_how(output, copied);
    output.line(&volume.name);
    Ok(0)
}
