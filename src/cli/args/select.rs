//! Which containers a command is for: names, `--all`, `--latest`, `--filter`,
//! `--cidfile`.

use std::path::{Path, PathBuf};

use crate::container::{self, Container};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;

#[derive(clap::Args)]
pub struct Select {
    #[arg(value_name = "CONTAINER")]
    pub names: Vec<String>,

    /// All containers
    #[arg(long, short = 'a')]
    pub all: bool,

    /// The container created last
    #[arg(long, short = 'l')]
    pub latest: bool,
}

/// A container and what it was called on the command line, which is what
/// commands print.
pub struct Chosen {
    pub container: Container,
    pub typed: String,
}

/// What to do with a container that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Fails,
    /// One that is named is passed over; a `--cidfile` has to be there.
    NamePassed,
    /// `--ignore`.
    Passed,
}

impl Select {
    /// The containers that are meant. `suits` narrows `--all` and `--filter`.
    pub fn containers(
        &self,
        engine: &Engine,
        filters: &[String],
        cidfiles: &[PathBuf],
        missing: Missing,
        suits: impl Fn(&Container) -> bool,
    ) -> Result<Vec<Chosen>> {
        self.check(!filters.is_empty(), !cidfiles.is_empty())?;
        container::sweep(engine)?;
        if !filters.is_empty() || self.all {
            let filters = super::filter::containers(engine, filters)?;
            let mut all = container::list(&engine.storage)?;
            all.retain(|it| it.record.options.step.is_none());
            all.retain(|it| suits(it) && filters.matches(it));
            all.sort_by_key(|it| it.record.created);
            return Ok(all.into_iter().map(Chosen::by_id).collect());
        }
        if self.latest {
            let found = container::find(&engine.storage, &latest(engine)?)?;
            return Ok(vec![Chosen::by_id(found)]);
        }
        let mut names = self.names.clone();
        for file in cidfiles {
            match std::fs::read_to_string(file) {
                Ok(text) => names.push(first_line(&text)),
                Err(error)
                    if missing == Missing::Passed
                        && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(file, &error)),
            }
        }
        let mut chosen = Vec::new();
        for typed in names {
            match container::find(&engine.storage, &typed) {
                Ok(container) => chosen.push(Chosen { container, typed }),
                Err(error) if missing != Missing::Fails && error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(chosen)
    }

    /// Podman's words for what cannot be said at once.
    /// Whether the words go together; [`Select::containers`] asks first of all.
    pub fn check(&self, has_filters: bool, has_cidfiles: bool) -> Result<()> {
        let named = !self.names.is_empty();
        let wrong = if has_filters {
            named.then_some("--filter takes no arguments")
        } else if has_cidfiles && (self.all || self.latest) {
            Some("--all, --latest, and --cidfile cannot be used together")
        } else if self.all && self.latest {
            Some("--all and --latest cannot be used together")
        } else if self.all && named {
            Some("no arguments are needed with --all")
        } else if self.latest && named {
            Some(LATEST_AND_NAMES)
        } else if has_cidfiles && named {
            Some("no arguments are needed with --latest or --cidfile")
        } else if !(named || self.all || self.latest || has_cidfiles) {
            Some("you must provide at least one name or id")
        } else {
            None
        };
        wrong.map_or(Ok(()), |words| Err(Error::usage(words)))
    }
}

impl Chosen {
    fn by_id(container: Container) -> Self {
        Self {
            typed: container.record.id.to_string(),
            container,
        }
    }
}

const LATEST_AND_NAMES: &str = "--latest and containers cannot be used together";

/// The names given, or the container created last.
pub fn names_or_latest(
    engine: &Engine,
    is_latest: bool,
    names: Vec<String>,
) -> Result<Vec<String>> {
    match (is_latest, names.is_empty()) {
        (true, false) => Err(Error::usage(LATEST_AND_NAMES)),
        (true, true) => Ok(vec![latest(engine)?]),
        (false, _) => Ok(names),
    }
}

/// The container's id that `--cidfile` of another command wrote.
pub fn read_cidfile(file: &Path) -> Result<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(first_line(&text)),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").trim().to_owned()
}

fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Error::other(format!("reading CIDFile: open {}: {why}", file.display()))
}

/// The name of the container created last.
pub fn latest(engine: &Engine) -> Result<String> {
    container::list(&engine.storage)?
        .into_iter()
        .filter(|it| it.record.options.step.is_none())
        .max_by_key(|it| it.record.created)
        .map(|it| it.record.id.to_string())
        .ok_or_else(|| Error::not_found("no such container"))
}

/// Does `work` for each, going on past errors; the exit code says if all went well.
pub fn each(
    chosen: Vec<Chosen>,
    output: &mut Output,
    mut work: impl FnMut(&Container, &mut Output, &str) -> Result<()>,
) -> Result<u8> {
    let mut code = 0;
    for Chosen { container, typed } in &chosen {
        if let Err(error) = work(container, output, typed) {
            code = error.exit_code();
            output.error(&error);
        }
    }
    Ok(code)
}
