use crate::cli::Example;
use crate::container::remove::{Removal, remove};
use crate::container::{self, State};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

/// Remove all containers that do not run
///
/// Asks first, unless `--force` is given. Volumes stay.
#[derive(clap::Args)]
pub struct Args {
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
    if !args.force {
        let warning = "WARNING! This will remove all non running containers.
";
        if !output.confirm(warning, "Are you sure you want to continue? [y/N] ") {
            return Ok(0);
        }
    }
    for filter in &args.filter {
        let key = filter.split('=').next().unwrap_or_default();
        if !matches!(key, "label" | "label!" | "until") {
            return Err(Error::usage(format!("{key} is an invalid filter")));
        }
    }
    container::sweep(engine)?;
    let filters = crate::cli::args::filter::containers(engine, &args.filter)?;
    let mut code = 0;
    let mut all = container::list(&engine.storage)?;
    // What depends on another was made after it, and goes before it.
    all.sort_by_key(|it| std::cmp::Reverse(it.record.created));
    for found in all {
        let at_rest = matches!(found.status.state, State::Created | State::Exited);
        if !at_rest || !filters.matches(&found) {
            continue;
        }
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
