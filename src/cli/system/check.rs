use crate::cli::Example;
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image;
use crate::output::Output;
use crate::secret;
use crate::volume;

/// Check storage consistency
///
/// Reads every record of the store, and whether each image has its layers and each
/// container its image's. Says what is wrong, and nothing if nothing is.
#[derive(clap::Args)]
pub struct Args {
    /// Remove containers that are damaged when mending
    #[arg(short, long)]
    force: bool,

    /// How old what is incomplete must be to count: what is incomplete never counts here
    #[arg(short, long, value_name = "DURATION", default_value = "24h0m0s")]
    max: String,

    /// Read records alone, not whether what they name is there
    #[arg(short, long)]
    quick: bool,

    /// Mend what is wrong
    #[arg(short, long)]
    repair: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle system check --quick",
    does: "Look whether all that the store has can be read.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle system check` takes no arguments"));
    }
    if crate::cli::args::filter::duration(&args.max).is_none() {
        return Err(Error::usage(format!(
            "parsing duration {:?}: invalid duration",
            args.max
        )));
    }
    let wrong = wrong(engine, args.quick);
    if wrong.is_empty() {
        return Ok(0);
    }
    if args.repair || args.force {
        return Err(Error::unsupported("system check --repair"));
    }
    for error in &wrong {
        output.notice(error);
    }
    Err(Error::other(format!(
        "{} things in {} are damaged",
        wrong.len(),
        engine.storage.root().display()
    )))
}

/// What cannot be read, and what is named and is not there.
fn wrong(engine: &Engine, is_quick: bool) -> Vec<Error> {
    let storage = &engine.storage;
    let mut wrong = Vec::new();
    let mut layers = Vec::new();
    match image::list(storage) {
        Ok(images) => layers.extend(images.into_iter().map(|it| (it.id.to_string(), it.layers))),
        Err(error) => wrong.push(error),
    }
    match container::list(storage) {
        Ok(all) => layers.extend(
            all.into_iter()
                .map(|it| (it.record.id.to_string(), it.record.image.layers)),
        ),
        Err(error) => wrong.push(error),
    }
    wrong.extend(volume::list(storage).err());
    wrong.extend(secret::list(storage).err());
    if !is_quick {
        for (of, layers) in layers {
            let missing = layers
                .iter()
                .filter(|layer| !storage.layer(layer).join("diff").is_dir());
            wrong.extend(
                missing.map(|layer| Error::other(format!("layer {layer} of {of} is not there"))),
            );
            wrong.extend(storage.read_layers(&layers).err());
        }
    }
    wrong
}
