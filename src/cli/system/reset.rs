use std::path::Path;

use crate::cli::Example;
use crate::cli::dry_run::{DryRun, containers_would_go, images_would_go, volumes_would_go};
use crate::container;
use crate::container::remove::{Removal, remove};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image;
use crate::output::{Output, Waiting};
use crate::volume;

/// Reset storage back to its initial state
///
/// Ends and removes every container, and deletes every image, volume and cache.
/// Asks first, unless `--force` is given.
#[derive(clap::Args)]
pub struct Args {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

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
    if args.dry_run {
        would_go(engine)?.print(output);
        return Ok(0);
    }
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
    let _waiting = Waiting::new(engine.thread, "removing all there is");
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

/// All there is: containers, volumes, images, and what else lies in our folders.
fn would_go(engine: &Engine) -> Result<DryRun> {
    let storage = &engine.storage;
    let mut all = DryRun::default();
    containers_would_go(engine, &mut all, &container::list(storage)?)?;
    let volumes: Vec<_> = volume::list(storage)?
        .into_iter()
        .map(|it| it.name)
        .collect();
    volumes_would_go(engine, &mut all, &volumes)?;
    images_would_go(engine, &mut all, &image::list(storage)?)?;
    let folders = [storage.root(), storage.cache(), storage.runtime()].map(Path::to_owned);
    let sizes = engine.disk_usage(&folders)?;
    let rest = sizes[0].saturating_sub(all.sizes().sum());
    let names = folders.iter().map(|it| it.display().to_string());
    all.all("folder", names, [rest, sizes[1], sizes[2]]);
    Ok(all)
}
