use super::named::{self, Live};
use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::id::Name;
use crate::output::Output;
use crate::volume;

/// Make a new volume with the files of another
///
/// The new one has its labels and owners too, and not its snapshots. Where the file
/// system can share blocks (btrfs, xfs, bcachefs), it takes no time and no room; elsewhere files are
/// copied. VOLUME@SNAPSHOT clones a snapshot.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: Live,

    #[arg(value_name = "VOLUME NAME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume clone model_output experiment",
        does: "Try something with a copy of a volume.",
    },
    Example {
        line: "coracle volume clone model_output@before-training old_output",
        does: "Make a volume of a snapshot.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(2, args.names.len())?;
    let storage = &engine.storage;
    let (volume, snapshot) = named::find(storage, &args.names[0])?;
    let name: Name = args.names[1]
        .parse()
        .tried(|| "running volume create option")?;
    // Nobody writes to a snapshot.
    let still = match snapshot {
        Some(_) => named::Still::default(),
        None => args.live.still(engine, &volume.name)?,
    };
    let progress = named::copying(engine, "copying", &volume.name)?;
    let check = || match &snapshot {
        Some(_) => Ok(()),
        None => args.live.check(storage, &volume.name, &still),
    };
    let copied = volume::clone(
        engine,
        &volume,
        snapshot.as_ref(),
        name.clone(),
        check,
        &progress,
    )?;
    drop((progress, still));
    named::say_how(output, copied);
    output.line(&name);
    Ok(0)
}
