use crate::cli::{Example, changes};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::volume;

/// Show what has changed in a volume since a snapshot
///
/// Compares with SNAPSHOT, or with the newest one: A is added, C changed, D deleted.
/// A file is changed if its size, its time of last change, owner, mode, link or
/// extended attributes are not what they were.
#[derive(clap::Args)]
pub struct Args {
    /// Compare the bytes of files too where all else agrees
    #[arg(long)]
    contents: bool,

    /// Print `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    #[arg(value_name = "VOLUME [SNAPSHOT]")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle volume diff model_output before-training",
    does: "Show what has changed since a snapshot.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let storage = &engine.storage;
    let is_json = changes::is_json(args.format.as_deref())?;
    let (volume, snapshot) = match args.names.as_slice() {
        [text] => (volume::find(storage, text)?, None),
        [text, snapshot] => (volume::find(storage, text)?, Some(snapshot)),
        names => {
            return Err(Error::usage(format!(
                "accepts between 1 and 2 arg(s), received {}",
                names.len()
            )));
        }
    };
    let snapshot = match snapshot {
        Some(name) => volume::find_snapshot(storage, &volume.name, name)?,
        None => volume::snapshots(storage, &volume.name)?
            .pop()
            .ok_or_else(|| volume::no_snapshot(&volume.name, None, &[]))?,
    };
    let all = volume::diff(engine, &volume, &snapshot, args.contents)?;
    changes::print(&all, is_json, output)?;
    Ok(0)
}
