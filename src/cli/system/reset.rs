use crate::cli::Example;
use crate::container;
use crate::container::remove::{Removal, remove};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

/// Reset storage back to its initial state
///
/// Ends and removes every container, and deletes every image, volume and cache.
/// Asks first, unless `--force` is given.
#[derive(clap::Args)]
pub struct Args {
    /// Do not ask
    #[arg(long, short = 'f')]
    force: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle system reset --force",
    does: "Remove all that coracle keeps, without asking.",
}];

const WARNING: &str = "WARNING! This will remove:
        - all containers
        - all images
        - all volumes
        - all caches
";

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.force {
        match output.ask(WARNING, "Are you sure you want to continue? [y/N] ") {
            Some(true) => {}
            Some(false) => return Ok(0),
            // Podman's words and code for who gives no answer.
            None => {
                output.error(&Error::other("EOF"));
                return Ok(1);
            }
        }
    }
    container::sweep(engine)?;
    let mut code = 0;
    for found in container::list(&engine.storage)? {
        let how = Removal {
            force: true,
            timeout: Some(0),
            volumes: true,
        };
        if let Err(error) = remove(engine, &found, how) {
            code = 125;
            output.error(&error);
        }
    }
    if code == 0 {
        let storage = &engine.storage;
        engine.remove_tree(storage.root())?;
        engine.remove_tree(storage.cache())?;
        engine.remove_tree(storage.runtime())?;
    }
    Ok(code)
}
