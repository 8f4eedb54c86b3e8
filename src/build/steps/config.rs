//! Steps that change the config alone.

use std::collections::BTreeMap;

use crate::build::Said;
use crate::build::language::stages::arguments;
use crate::build::language::{Instruction, expand, parse_line};
use crate::build::stage::{Here, Work, joined};
use crate::error::{Error, Result};
use crate::image::{self, Format};

impl Work<'_> {
    /// A step that changes the config alone; gives what the history says of it.
    pub fn config(
        &mut self,
        here: &mut Here<'_>,
        step: &Instruction,
        tell: &mut dyn FnMut(Said),
    ) -> Result<String> {
        let escape = self.build.file.escape;
        let lookup_here = Snapshot {
            env: here.state.config.env.clone(),
            args: here.args.clone(),
        };
        let lookup = |name: &str| lookup_here.lookup(name);
        let word = |text: &str| expand::word(text, escape, &lookup);
        let words = || -> Result<Vec<String>> {
            let split = expand::split(&step.rest, escape);
            split.into_iter().map(word).collect()
        };
        let suffix = self.suffix(here);
        let said = format!("/bin/sh -c #(nop) {}{suffix}", step.original);
        let config = &mut here.state.config;
        if !step.flags.is_empty() && !step.is("HEALTHCHECK") {
            return Err(Error::usage(format!(
                "{} takes no flag {}",
                step.keyword, step.flags[0]
            )));
        }
        match step.keyword.as_str() {
            "ARG" => {
                for (name, value) in arguments(step, escape)? {
                    self.consumed.insert(name.clone());
                    here.declared.insert(name.clone());
                    let value = match (self.build.args.get(&name), value) {
                        (Some(given), _) => Some(given.clone()),
                        (None, Some(value)) => Some(word(&value)?),
                        (None, None) => (self.stages.head.get(&name))
                            .or_else(|| self.build.platform.get(&name))
                            .cloned(),
                    };
                    match value {
                        Some(value) => drop(here.args.insert(name, value)),
                        None => tell(Said::Note(format!(
                            "missing {name:?} build argument. Try adding \"--build-arg {name}=<VALUE>\" to the command line"
                        ))),
                    }
                }
                let names: Vec<&str> = here.args.keys().map(String::as_str).collect();
                return Ok(format!("/bin/sh -c #(nop) ARG {}{suffix}", names.join(" ")));
            }
            "ENV" => {
                for (name, value) in pairs(step, escape, &lookup)? {
                    let prefix = format!("{name}=");
                    let variable = format!("{prefix}{value}");
                    match config.env.iter_mut().find(|it| it.starts_with(&prefix)) {
                        Some(there) => *there = variable,
                        None => config.env.push(variable),
                    }
                }
            }
            "LABEL" => config.labels.extend(pairs(step, escape, &lookup)?),
            "EXPOSE" => {
                for text in words()? {
                    // What a variable holds may be several.
                    for port in text.split_whitespace() {
                        image::instruct_one(config, "EXPOSE", port)?;
                    }
                }
            }
            "USER" => config.user = word(&step.rest)?,
            "WORKDIR" => {
                let path = word(&step.rest)?;
                config.working_dir = joined(&config.working_dir, &path);
            }
            "VOLUME" => {
                let list = match step.json() {
                    Some(list) => list.iter().map(|it| word(it)).collect::<Result<_>>()?,
                    None => words()?,
                };
                for path in list {
                    if path.is_empty() {
                        return Err(Error::usage("VOLUME specified can not be an empty string"));
                    }
                    if !config.volumes.contains(&path) {
                        config.volumes.push(path);
                    }
                }
            }
            "CMD" => {
                config.cmd = argv(step);
                here.state.has_command = true;
            }
            "ENTRYPOINT" => {
                config.entrypoint = argv(step);
                if !here.state.has_command {
                    config.cmd.clear();
                }
            }
            "SHELL" => {
                config.shell = step.json().ok_or_else(|| {
                    Error::usage("SHELL requires the arguments to be in JSON form")
                })?;
                self.not_in_oci("SHELL", &format!(", [{}]", config.shell.join(" ")), tell);
            }
            "STOPSIGNAL" => {
                image::instruct_one(config, "STOPSIGNAL", &word(&step.rest)?)?;
            }
            "HEALTHCHECK" => {
                let line = step.original[step.keyword.len()..].trim();
                image::instruct_one(config, "HEALTHCHECK", line)?;
            }
            "ONBUILD" => {
                // What it holds must be an instruction too.
                parse_line(&self.build.file.name, &step.rest, step.line, escape)?;
                image::instruct_one(config, "ONBUILD", &step.rest)?;
                self.not_in_oci("ONBUILD", &format!(", {}", step.rest), tell);
            }
            "MAINTAINER" => here.state.author = word(&step.rest)?,
            other => {
                return Err(Error::usage(format!("{other} cannot stand here")));
            }
        }
        Ok(said)
    }

    fn not_in_oci(&mut self, what: &str, detail: &str, tell: &mut dyn FnMut(Said)) {
        if self.build.format == Format::Oci && self.warned.insert(format!("{what}{detail}")) {
            tell(Said::Note(format!(
                "{what} is not supported for OCI image format{detail} will not be kept. Must use `docker` format"
            )));
        }
    }
}

struct Snapshot {
    env: Vec<String>,
    args: BTreeMap<String, String>,
}

impl Snapshot {
    fn lookup(&self, name: &str) -> Option<String> {
        let of = |variable: &String| {
            let (key, value) = variable.split_once('=')?;
            (key == name).then(|| value.to_owned())
        };
        self.env
            .iter()
            .find_map(of)
            .or_else(|| self.args.get(name).cloned())
    }
}

/// A JSON list, else a line for the shell: as Podman, whatever SHELL says.
fn argv(step: &Instruction) -> Vec<String> {
    let line = || vec!["/bin/sh".to_owned(), "-c".to_owned(), step.rest.clone()];
    step.json().unwrap_or_else(line)
}

/// `A=b C="d e"`, or `A b c` in the old form.
fn pairs(
    step: &Instruction,
    escape: char,
    lookup: &expand::Lookup<'_>,
) -> Result<Vec<(String, String)>> {
    let split = expand::split(&step.rest, escape);
    let word = |text: &str| expand::word(text, escape, lookup);
    if split.first().is_some_and(|first| !first.contains('=')) {
        let Some((name, value)) = step.rest.split_once(char::is_whitespace) else {
            return Err(Error::usage(format!(
                "{} must have two arguments",
                step.keyword
            )));
        };
        return Ok(vec![(word(name)?, word(value.trim())?)]);
    }
    split
        .into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((word(name)?, word(value)?)),
            _ => Err(Error::usage(format!(
                "Syntax error - can't find = in {pair:?}. Must be of the form: name=value"
            ))),
        })
        .collect()
}
