use std::collections::BTreeSet;
use std::path::PathBuf;

use super::stop::seconds;
use crate::cli::Example;
use crate::cli::args::select::{Chosen, Missing, Select};
use crate::container::Container;
use crate::container::remove::{Removal, dependents, remove};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::ContainerId;
use crate::output::{Output, Waiting};

/// Remove one or more containers
///
/// Exits with 1 if a container was not there, 2 if one runs and `--force` was
/// not given.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// End containers that run, and do not fail for those that are not there
    #[arg(long, short = 'f')]
    force: bool,

    /// Do not fail for containers that are not there
    #[arg(long, short = 'i')]
    ignore: bool,

    /// Remove the containers' anonymous volumes too
    #[arg(long, short = 'v')]
    volumes: bool,

    /// Seconds to let a container end before SIGKILL, else its own (10 if it has none); -1 waits for ever
    #[arg(
        long,
        short = 't',
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,

    /// Remove what depends on the containers too
    #[arg(long)]
    depend: bool,

    /// Select containers as `ps --filter` does
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Read the container's id from this file
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle rm --force --volumes web",
    does: "Remove web and its anonymous volumes, running or not.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.time.is_some() && !args.force {
        return Err(Error::usage(
            "--force option must be specified to use the --time option",
        ));
    }
    let missing = match (args.ignore, args.force) {
        (true, _) => Missing::Passed,
        (false, true) => Missing::NamePassed,
        (false, false) => Missing::Fails,
    };
    let _waiting = Waiting::new(engine.thread, "removing containers");
    let chosen = match args
        .select
        .containers(engine, &args.filter, &args.cidfile, missing, |_| true)
    {
        Ok(chosen) => chosen,
        // Podman's exit code for a container that is not there is 1 here, and the
        // words are others than elsewhere.
        Err(error) if error.kind() == Kind::NotFound => {
            let words = error.to_string().replace("name or ID", "ID or name");
            let hint = error.hint_line();
            let error = Error::not_found(words);
            output.error(&hint.map_or(error.clone(), |hint| error.hint(hint)));
            return Ok(1);
        }
        Err(error) => return Err(error),
    };
    let mut work = Work {
        engine,
        how: Removal {
            force: args.force,
            timeout: seconds(args.time)?,
            volumes: args.volumes,
        },
        depend: args.depend,
        chosen: &chosen,
        done: BTreeSet::new(),
        code: 0,
    };
    for it in &chosen {
        work.remove(&it.container, &it.typed, output);
    }
    Ok(work.code)
}

/// A removal of several containers.
struct Work<'a> {
    engine: &'a Engine,
    how: Removal,
    /// What depends on a container goes with it.
    depend: bool,
    chosen: &'a [Chosen],
    done: BTreeSet<ContainerId>,
    code: u8,
}

impl Work<'_> {
    /// Removes `container`, those that depend on it first where they are meant too.
    fn remove(&mut self, container: &Container, typed: &str, output: &mut Output) {
        if !self.done.insert(container.record.id.clone()) {
            return;
        }
        if let Err(error) = self.try_to_remove(container, output) {
            match error.kind() {
                Kind::State => self.code = 2,
                _ if self.code == 0 => self.code = 125,
                _ => {}
            }
            output.error(&error);
        } else {
            output.line(typed);
        }
    }

    fn try_to_remove(&mut self, container: &Container, output: &mut Output) -> Result<()> {
        let id = &container.record.id;
        for dependent in dependents(&self.engine.storage, id)? {
            let own = dependent.record.id.clone();
            let chosen = self.chosen.iter().find(|it| it.container.record.id == own);
            match chosen {
                Some(chosen) => self.remove(&chosen.container, &chosen.typed, output),
                None if self.depend => self.remove(&dependent, own.as_str(), output),
                None => {}
            }
        }
        remove(self.engine, container, self.how)
    }
}
