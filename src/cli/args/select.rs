//! Which containers a command is for: names, `--all`, `--latest`, `--filter`,
//! `--cidfile`.

use std::path::PathBuf;

use crate::container::{self, Container};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
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

impl Select {
    /// The containers that are meant. `suits` narrows `--all` and `--filter`.
    pub fn containers(
        &self,
        engine: &Engine,
        filters: &[String],
        cidfiles: &[PathBuf],
        ignore: bool,
        suits: impl Fn(&Container) -> bool,
    ) -> Result<Vec<Chosen>> {
        container::sweep(engine)?;
        if self.all && self.latest {
            return Err(Error::usage("--all and --latest cannot be used together"));
        }
        if (self.all || self.latest || !filters.is_empty()) && !self.names.is_empty() {
            let flag = if self.latest {
                "--latest"
            } else if self.all {
                "--all"
            } else {
                "--filter"
            };
            return Err(Error::usage(format!("no arguments are needed with {flag}")));
        }
        if self.latest {
            let found = container::find(&engine.storage, &latest(engine)?)?;
            let typed = found.record.id.to_string();
            return Ok(vec![Chosen {
                container: found,
                typed,
            }]);
        }
        if self.all || !filters.is_empty() {
            let filters = super::filter::containers(engine, filters)?;
            let mut all = container::list(&engine.storage)?;
            all.retain(|it| suits(it) && filters.matches(it));
            all.sort_by(|a, b| a.record.created.cmp(&b.record.created));
            return Ok(all
                .into_iter()
                .map(|container| Chosen {
                    typed: container.record.id.to_string(),
                    container,
                })
                .collect());
        }
        let mut names = self.names.clone();
        for file in cidfiles {
            match std::fs::read_to_string(file) {
                Ok(text) => names.push(text.lines().next().unwrap_or("").trim().to_owned()),
                Err(_) if ignore => {}
                Err(error) => {
                    return Err(error).tried(|| format!("reading CIDFile {}", file.display()));
                }
            }
        }
        if names.is_empty() {
            if ignore && !cidfiles.is_empty() {
                return Ok(Vec::new());
            }
            return Err(Error::usage("you must provide at least one name or id"));
        }
        let mut chosen = Vec::new();
        for typed in names {
            match container::find(&engine.storage, &typed) {
                Ok(container) => chosen.push(Chosen { container, typed }),
                Err(error) if ignore && error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(chosen)
    }
}

/// The name of the container created last.
pub fn latest(engine: &Engine) -> Result<String> {
    container::list(&engine.storage)?
        .into_iter()
        .max_by_key(|it| it.record.created)
        .map(|it| it.record.id.to_string())
        .ok_or_else(|| Error::not_found("no containers: no such container"))
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
