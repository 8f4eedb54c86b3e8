use super::build_prune;
use super::filter::ImageFilters;
use super::remove::{used, users};
use crate::cli::Example;
use crate::cli::dry_run::{DryRun, images_would_go};
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::ContainerId;
use crate::image::{self, Image};
use crate::output::{Output, Waiting};

/// Remove unused images
///
/// Removes the images that have no name, and with --all those that have, where
/// no container is made of them. Asks first, unless --force is given.
#[derive(clap::Args)]
pub struct Args {
    /// Remove images that have names too
    #[arg(short, long)]
    all: bool,

    /// Remove what RUN --mount=type=cache of builds keeps too
    #[arg(long)]
    build_cache: bool,

    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Remove images that other programs' containers use
    #[arg(long)]
    external: bool,

    /// Remove only images that match, KEY=VALUE: label, until and others as for `images`
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle image prune --all --filter until=240h",
    does: "Remove images older than ten days that no container uses.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle image prune` takes no arguments"));
    }
    if args.external {
        return Err(Error::unsupported("--external"));
    }
    let filters = ImageFilters::parse(engine, &args.filter)?;
    if args.dry_run {
        let mut would_go = DryRun::default();
        images_would_go(
            engine,
            &mut would_go,
            &unused(engine, &filters, args.all, &[])?,
        )?;
        would_go.print(output);
        return Ok(0);
    }
    let warning = if args.all {
        "WARNING! This command removes all images without at least one container associated with them.\n"
    } else {
        "WARNING! This command removes all dangling images.\n"
    };
    if !args.force && !output.confirm(warning, "Are you sure you want to continue? [y/N] ")? {
        return Ok(0);
    }
    let _waiting = Waiting::new(engine.thread, "removing images");
    container::sweep(engine)?;
    for image in remove(engine, unused(engine, &filters, args.all, &[])?)? {
        output.line(&image.id);
    }
    if args.build_cache {
        let mounts = build_prune::mounts(&engine.storage, None)?;
        build_prune::remove_mounts(engine, &mounts)?;
    }
    Ok(0)
}

/// Removes images and the layers that nobody has any more; gives those that went.
pub fn remove(engine: &Engine, images: Vec<Image>) -> Result<Vec<Image>> {
    let mut removed = Vec::new();
    let mut family = image::Family::of(&engine.storage)?;
    for image in images {
        let ancestors = family.ancestors(&image);
        let users = |id: &_| users(&engine.storage, id);
        match image::remove(engine, &image, &users) {
            Ok(_) => {
                family.forget(&image.id);
                removed.push(image);
                let more = image::remove_ancestors(engine, &mut family, ancestors, &users)?;
                removed.extend(more);
            }
            // Used or taken away since.
            Err(error) if matches!(error.kind(), Kind::InUse | Kind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    image::collect_layers(engine)?;
    Ok(removed)
}

/// The images without names that no other was made of, with `all` all of them, that
/// nobody uses but containers that are `going`.
pub fn unused(
    engine: &Engine,
    filters: &ImageFilters,
    all: bool,
    going: &[ContainerId],
) -> Result<Vec<Image>> {
    let storage = &engine.storage;
    let used = used(storage, going)?;
    let names = image::names(storage)?;
    let family = image::Family::of(storage)?;
    let mut images = image::lists::all(storage)?;
    images.retain(|image| {
        let own: Vec<_> = names
            .iter()
            .filter(|(_, id)| *id == image.id)
            .map(|(name, _)| name.clone())
            .collect();
        let is_wanted = all || own.is_empty() && !family.has_children(image);
        is_wanted && !used.contains(&image.id) && filters.pass(image, &own).is_some()
    });
    Ok(images)
}
