use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::{Output, json};
use crate::volume::{self, Change};

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
    let is_json = match args.format.as_deref() {
        None => false,
        Some("json") => true,
        Some(_) => {
            return Err(Error::usage(
                "only supported value for '--format' is 'json'",
            ));
        }
    };
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
    let changes = volume::diff(engine, &volume, &snapshot, args.contents)?;
    if is_json {
        output.line(json::list(&as_json(&changes))?);
        return Ok(0);
    }
    for change in &changes {
        let (word, path) = parts(change);
        output.line(format_args!("{word} {}", String::from_utf8_lossy(path)));
    }
    Ok(0)
}

fn parts(change: &Change) -> (char, &[u8]) {
    match change {
        Change::Added(path) => ('A', path),
        Change::Changed(path) => ('C', path),
        Change::Deleted(path) => ('D', path),
    }
}

/// As `podman diff` has it: a list for each kind that there is.
fn as_json(changes: &[Change]) -> serde_json::Value {
    let mut all = serde_json::Map::new();
    for (key, wanted) in [("changed", 'C'), ("added", 'A'), ("deleted", 'D')] {
        let paths: Vec<String> = changes
            .iter()
            .map(parts)
            .filter(|(word, _)| *word == wanted)
            .map(|(_, path)| String::from_utf8_lossy(path).into_owned())
            .collect();
        if !paths.is_empty() {
            all.insert(key.to_owned(), paths.into());
        }
    }
    all.into()
}
