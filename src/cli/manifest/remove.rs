use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::image::lists;
use crate::output::Output;

/// Remove an item from a manifest list or image index
///
/// The image itself stays where it is.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "LIST DIGEST")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest remove all-app $(coracle image inspect --format '{{.Digest}}' app)",
    does: "Take an image out of a list.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(2, args.names.len())?;
    let storage = &engine.storage;
    let digest: Digest = args.names[1].parse().map_err(|_| {
        Error::usage(format!(
            "invalid image digest {:?}: invalid checksum digest format",
            args.names[1]
        ))
    })?;
    let list = lists::find_list(storage, &args.names[0])?;
    lists::change(storage, &list, |list| {
        let at = list
            .entry(storage, digest.as_str())
            .tried(|| format!("removing from manifest list {}", args.names[0]))?;
        list.entries.remove(at);
        Ok(())
    })?;
    output.line(&list.id);
    Ok(0)
}
