use crate::cli::Example;
use crate::cli::dry_run::{DryRun, containers_would_go};
use crate::container::remove::{Removal, remove};
use crate::container::{self, Container, State};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::{Output, Waiting};

/// Remove all containers that do not run
///
/// Asks first, unless `--force` is given. Volumes stay.
#[derive(clap::Args)]
pub struct Args {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short = 'f')]
    force: bool,

    /// Select containers by label or age (`label=`, `until=`)
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle container prune --force",
    does: "Remove every container that does not run.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.dry_run {
        let mut would_go = DryRun::default();
        containers_would_go(engine, &mut would_go, &at_rest(engine, &args.filter)?)?;
        would_go.print(output);
        return Ok(0);
    }
    if !args.force {
        let warning = "WARNING! This will remove all non running containers.\n";
        if !output.confirm(warning, "Are you sure you want to continue? [y/N] ")? {
            return Ok(0);
        }
    }
    let _waiting = Waiting::new(engine.thread, "removing containers");
    let mut code = 0;
    for found in at_rest(engine, &args.filter)? {
        match remove(engine, &found, Removal::default()) {
            Ok(()) => output.line(&found.record.id),
            Err(error) => {
                code = 125;
                output.error(&error);
            }
        }
    }
    Ok(code)
}

/// The containers that do not run and match, in the order they can be removed.
pub fn at_rest(engine: &Engine, filters: &[String]) -> Result<Vec<Container>> {
    for filter in filters {
        let key = filter.split('=').next().unwrap_or_default();
        if !matches!(key, "label" | "label!" | "until") {
            return Err(Error::usage(format!("{key} is an invalid filter")));
        }
    }
    container::sweep(engine)?;
    let filters = crate::cli::args::filter::containers(engine, filters)?;
    let mut all = container::list(&engine.storage)?;
    all.retain(|it| {
        matches!(it.status.state, State::Created | State::Exited) && filters.matches(it)
    });
    // What depends on another was made after it, and goes before it.
    all.sort_by_key(|it| std::cmp::Reverse(it.record.created));
    Ok(all)
}
