use super::list::VolumeFilters;
use crate::cli::Example;
use crate::cli::dry_run::{DryRun, volumes_would_go};
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::{ContainerId, Name};
use crate::output::{Output, Waiting};
use crate::storage::Storage;
use crate::volume::{self, Removed};

/// Remove unused anonymous volumes
///
/// Removes the anonymous volumes that no container uses, and with --all those
/// that have names too. Asks first, unless --force is given.
#[derive(clap::Args)]
pub struct Args {
    /// Remove named volumes too
    #[arg(short, long)]
    all: bool,

    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Remove only volumes that match, KEY=VALUE: label, label!, name, until and others as for `volume ls`
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume prune --force",
        does: "Remove the anonymous volumes that no container uses.",
    },
    Example {
        line: "coracle volume prune --all --dry-run --filter label=project=demo",
        does: "Show which of a project's volumes could go.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle volume prune` takes no arguments"));
    }
    container::sweep(engine)?;
    let storage = &engine.storage;
    let filters = VolumeFilters::parse(storage, &args.filter)?;
    let all = args.all || filters.all()?;
    let unused = unused(storage, &filters, all, &[])?;
    if args.dry_run {
        let mut would_go = DryRun::default();
        volumes_would_go(engine, &mut would_go, &unused)?;
        would_go.print(output);
        return Ok(0);
    }
    if !args.force && !confirmed(output, all, &unused)? {
        return Ok(0);
    }
    let _waiting = Waiting::new(engine.thread, "removing volumes");
    let results = volume::remove(engine, &unused, |name| {
        container::users_of_volume(storage, name)
    })?;
    // One that a container has begun to use since is not unused any more.
    let gone = unused.iter().zip(results);
    let gone = gone.filter(|(_, result)| matches!(result, Removed::Gone));
    let gone: Vec<&Name> = gone.map(|(name, _)| name).collect();
    volume::note_all(storage, &gone, "prune");
    for name in gone {
        output.line(name);
    }
    Ok(0)
}

/// The volumes that no container uses but those that are `going`; with `all` those that
/// have names too.
pub fn unused(
    storage: &Storage,
    filters: &VolumeFilters,
    all: bool,
    going: &[ContainerId],
) -> Result<Vec<Name>> {
    let is_used = |name: &Name| {
        let users = container::users_of_volume(storage, name);
        users.map_or(true, |users| users.iter().any(|id| !going.contains(id)))
    };
    let mut volumes = match all {
        true => volume::list(storage)?,
        false => volume::list_anonymous(storage)?,
    };
    volumes.retain(|it| filters.pass(it) && !is_used(&it.name));
    Ok(volumes.into_iter().map(|volume| volume.name).collect())
}

fn confirmed(output: &mut Output, all: bool, unused: &[Name]) -> Result<bool> {
    let kind = if all { "" } else { "anonymous " };
    let mut warning = format!(
        "WARNING! This will remove all {kind}volumes not used by at least one container. The following volumes will be removed:\n"
    );
    if unused.is_empty() {
        output.text(&warning);
        output.line("No dangling volumes found");
        return Ok(false);
    }
    for name in unused {
        warning.push_str(name.as_str());
        warning.push('\n');
    }
    output.confirm(&warning, "Are you sure you want to continue? [y/N] ")
}
