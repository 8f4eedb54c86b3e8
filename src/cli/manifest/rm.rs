use crate::cli::image::remove::{fail, remove, report};
use crate::cli::{Example, at_least};
use crate::container;
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::image::lists;
use crate::output::Output;

/// Remove manifest lists or image indexes from local storage
///
/// The images of a list stay. Of a list with several names only the one given goes.
#[derive(clap::Args)]
pub struct Args {
    /// Say nothing of lists that are not there
    #[arg(short, long)]
    ignore: bool,

    #[arg(value_name = "LIST")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest rm all-app",
    does: "Remove a list.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    at_least(1, args.names.len())?;
    container::sweep(engine)?;
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for text in &args.names {
        let removed = lists::find_list(&engine.storage, text)
            .and_then(|list| remove(engine, &list.as_image()?, Some(text), false));
        match removed {
            Ok(more) => done.extend(more),
            Err(error) if error.kind() == Kind::NotFound && args.ignore => {}
            Err(error) => errors.push(error),
        }
    }
    report(output, &done);
    fail(output, errors)
}
