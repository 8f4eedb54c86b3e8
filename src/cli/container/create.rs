use crate::cli::Example;
use crate::cli::args::create::CreateArgs;
use crate::cli::container::run::{make_record, write_cidfile};
use crate::container::create::{publish, use_volumes};
use crate::engine::Engine;
use crate::error::Result;
use crate::output::Output;

/// Create but do not start a container
///
/// Makes a container from an image as `run` does and prints its id; `start` runs
/// its command.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    create: CreateArgs,
}

pub const EXAMPLES: &[Example] =
    &[Example { line: "coracle create --name web busybox sleep 1000", does: "Make a container; `coracle start web` runs it." }];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let made = make_record(engine, &args.create, output)?;
    publish(&engine.storage, &made.record)?;
    use_volumes(&engine.storage, &made.record)?;
    drop(made.image);
    write_cidfile(&made.record)?;
    output.line(&made.record.id);
    Ok(0)
}
