use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::filter::ImageFilters;
use super::prune;
use crate::build::cache::{self, Kept};
use crate::cli::Example;
use crate::cli::args::filter;
use crate::cli::dry_run::{DryRun, images_would_go};
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::DiffId;
use crate::image;
use crate::output::{Output, human};
use crate::storage::{Storage, try_lock_alone};

/// Remove what builds have left
///
/// Removes the images without a name and what build steps came to that no image has, so that
/// the next build does them anew; with --all every step that is remembered, and what RUN
/// --mount=type=cache keeps. Images that have a name stay. Asks first, unless --force is
/// given.
#[derive(clap::Args)]
pub struct Args {
    /// Forget every step, and what cache mounts keep
    #[arg(short, long)]
    all: bool,

    /// Remove what RUN --mount=type=cache keeps
    #[arg(long)]
    build_cache: bool,

    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Remove only what was not used since, KEY=VALUE: until
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle builder prune --force --filter until=240h",
    does: "Forget what no build has used for ten days.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle builder prune` takes no arguments"));
    }
    let before = until(&args.filter)?;
    let storage = &engine.storage;
    let filters = ImageFilters::parse(engine, &args.filter)?;
    let images = prune::unused(engine, &filters, false, &[])?;
    let steps = steps(storage, args.all, before)?;
    let mounts = match args.all || args.build_cache {
        true => mounts(storage, before)?,
        false => Vec::new(),
    };
    if args.dry_run {
        let mut would_go = DryRun::default();
        images_would_go(engine, &mut would_go, &images)?;
        would_go.print(output);
        for step in &steps {
            let shown = step.entry.as_ref().map_or("", |entry| entry.step.as_str());
            output.line(format_args!("build step {shown}"));
        }
        for mount in &mounts {
            output.line(format_args!("cache mount {}", mount.display()));
        }
        return Ok(0);
    }
    let warning = match args.all {
        true => "WARNING! This command removes all dangling images and all build cache.\n",
        false => "WARNING! This command removes all dangling images and unused build cache.\n",
    };
    if !args.force && !output.confirm(warning, "Are you sure you want to continue? [y/N] ")? {
        return Ok(0);
    }
    container::sweep(engine)?;
    let taken = |storage: &Storage| -> Result<u64> {
        let layers = storage.list(&storage.layers())?;
        let mut paths: Vec<PathBuf> = layers.iter().map(|it| storage.layers().join(it)).collect();
        paths.push(storage.builds());
        Ok(engine.disk_usage(&paths)?.into_iter().sum())
    };
    let had = taken(storage)?;
    for step in &steps {
        cache::forget(&step.path)?;
    }
    remove_mounts(engine, &mounts)?;
    if args.all {
        for name in ["contexts", "contents", "steps"] {
            let _ = crate::storage::remove_tree(&storage.cache().join(name));
        }
    }
    for image in prune::remove(engine, images)? {
        output.line(&image.id);
    }
    let freed = had.saturating_sub(taken(storage)?);
    if freed > 0 {
        output.line(format_args!(
            "Total reclaimed space: {}",
            human::size(freed, 4)
        ));
    }
    Ok(0)
}

/// The steps to be forgotten: those whose layer no image has.
fn steps(storage: &Storage, all: bool, before: Option<SystemTime>) -> Result<Vec<Kept>> {
    let images = image::list(storage)?;
    let wanted: HashSet<&DiffId> = images.iter().flat_map(|image| &image.layers).collect();
    let mut steps = cache::list(storage)?;
    steps.retain(|step| {
        let is_wanted = match step.entry.as_ref().map(|entry| &entry.layer) {
            Some(Some(layer)) => wanted.contains(layer),
            // One that changes the config alone takes nothing.
            Some(None) => !images.is_empty(),
            None => false,
        };
        (all || !is_wanted) && before.is_none_or(|before| step.used < before)
    });
    Ok(steps)
}

/// The folders of cache mounts that were not used since.
pub fn mounts(storage: &Storage, before: Option<SystemTime>) -> Result<Vec<PathBuf>> {
    let folder = cache::mounts(storage);
    let mut all = Vec::new();
    for name in storage.list(&folder)? {
        let path = folder.join(name);
        let used = path.metadata().and_then(|it| it.modified());
        let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
        if before.is_none_or(|before| used < before) {
            all.push(path);
        }
    }
    Ok(all)
}

/// Takes cache mounts away; a build that has one keeps it to its end.
pub fn remove_mounts(engine: &Engine, mounts: &[PathBuf]) -> Result<()> {
    let mut retired = Vec::new();
    for mount in mounts {
        if let Ok(Some(_alone)) = try_lock_alone(mount) {
            retired.extend(engine.storage.retire(mount)?);
        }
    }
    engine.remove_trees(retired.iter().map(|it| it.path().to_owned()))
}

/// `until=` of --filter.
fn until(filters: &[String]) -> Result<Option<SystemTime>> {
    let mut before = None;
    for text in filters {
        match text.split_once('=') {
            Some(("until", value)) => {
                let span = filter::duration(value).and_then(|span| Duration::try_from(span).ok());
                let at = match span {
                    Some(span) => SystemTime::now().checked_sub(span),
                    None => value.parse::<jiff::Timestamp>().ok().map(SystemTime::from),
                };
                before = Some(at.ok_or_else(|| {
                    Error::usage(format!("unable to parse \"{value}\" as a time or duration"))
                })?);
            }
            _ => {
                return Err(Error::usage(format!(
                    "invalid filter {text:?}: what builds have left is filtered by until alone"
                )));
            }
        }
    }
    Ok(before)
}
