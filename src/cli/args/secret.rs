//! `--secret`.

use std::path::Path;

use crate::cli::args::host::{Lookup, clean};
use crate::container::options::{SecretMount, SecretVariable};
use crate::error::{Error, Result};

#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Give a secret to the container, NAME[,OPTION...]
    ///
    /// As a file in /run/secrets of its name: target= says what file else, uid=, gid= and
    /// mode= whose it is; it stays as it was when the container was made. With type=env
    /// as a variable, of its name or that which target= says, each start anew.
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,
}

/// What `--secret` comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    pub mounted: Vec<SecretMount>,
    pub variables: Vec<SecretVariable>,
}

impl Args {
    pub fn secrets(&self, lookup: &dyn Lookup) -> Result<Secrets> {
        let mut all = Secrets::default();
        for text in &self.secret {
            let wanted = parse(text)?;
            let secret = lookup.secret(&wanted.source)?;
            if wanted.is_variable {
                let variable = match wanted.target.is_empty() {
                    true => wanted.source,
                    false => wanted.target,
                };
                all.variables.push(SecretVariable {
                    variable,
                    name: secret.name,
                });
                continue;
            }
            let file = match wanted.target.is_empty() {
                true => &secret.name,
                false => &wanted.target,
            };
            all.mounted.push(SecretMount {
                destination: clean(&Path::new("/run/secrets").join(file)),
                name: secret.name,
                id: secret.id,
                uid: wanted.uid,
                gid: wanted.gid,
                mode: wanted.mode,
            });
        }
        Ok(all)
    }
}

struct Wanted {
    source: String,
    target: String,
    is_variable: bool,
    uid: u32,
    gid: u32,
    mode: u32,
}

fn parse(text: &str) -> Result<Wanted> {
    let mut wanted = Wanted {
        source: text.to_owned(),
        target: String::new(),
        is_variable: false,
        uid: 0,
        gid: 0,
        mode: 0o444,
    };
    if !text.contains(',') {
        return Ok(wanted);
    }
    let wrong = |what: String| Error::usage(format!("{what}: parsing secret"));
    let mut fields = text.split(',').peekable();
    wanted.source = match fields.next_if(|first| !first.contains('=')) {
        Some(source) => source.to_owned(),
        None => String::new(),
    };
    let mut kind = None;
    let mut is_file = false;
    for field in fields {
        let Some((key, value)) = field.split_once('=') else {
            return Err(wrong(format!(
                "option {field} must be in form option=value"
            )));
        };
        let id = |what: &str| {
            value
                .parse()
                .map_err(|_| wrong(format!("{what} {value} invalid")))
        };
        is_file |= matches!(key, "mode" | "uid" | "gid");
        match key {
            "source" => wanted.source = value.to_owned(),
            "target" => wanted.target = value.to_owned(),
            "type" if kind.is_some() => {
                return Err(wrong("cannot set more than one secret type".to_owned()));
            }
            "type" if value == "mount" || value == "env" => kind = Some(value),
            "type" => return Err(wrong(format!("type {value} is invalid"))),
            "uid" => wanted.uid = id("UID")?,
            "gid" => wanted.gid = id("GID")?,
            "mode" => {
                let mode = u32::from_str_radix(value, 8);
                wanted.mode = mode.map_err(|_| wrong(format!("mode {value} invalid")))? & 0o7777;
            }
            _ => return Err(wrong(format!("option {field} invalid"))),
        }
    }
    wanted.is_variable = kind == Some("env");
    if wanted.is_variable && is_file {
        return Err(wrong(
            "UID, GID, Mode options cannot be set with secret type env".to_owned(),
        ));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::tests::Fake;

    fn secrets(given: &[&str]) -> Result<Secrets, String> {
        let secret = given.iter().map(|it| (*it).to_owned()).collect();
        let secrets = Args { secret }.secrets(&Fake::default());
        secrets.map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_is_read() {
        for (given, destination, uid, gid, mode) in [
            ("one", "/run/secrets/one", 0, 0, 0o444),
            ("source=one,target=x", "/run/secrets/x", 0, 0, 0o444),
            ("one,source=two", "/run/secrets/two", 0, 0, 0o444),
            ("one,target=", "/run/secrets/one", 0, 0, 0o444),
            ("one,target=/a/../b", "/b", 0, 0, 0o444),
            ("one,target=../../etc/x,type=mount", "/etc/x", 0, 0, 0o444),
            ("one,uid=5,gid=6,mode=0400", "/run/secrets/one", 5, 6, 0o400),
        ] {
            let found = secrets(&[given]).unwrap();
            let it = &found.mounted[0];
            assert_eq!(
                (it.destination.to_str().unwrap(), it.uid, it.gid, it.mode),
                (destination, uid, gid, mode),
                "{given}"
            );
        }
        let found = secrets(&["one,type=env", "two,type=env,target=T"]).unwrap();
        let found = found.variables.iter();
        let found: Vec<_> = found
            .map(|it| (it.variable.as_str(), it.name.as_str()))
            .collect();
        assert_eq!(found, [("one", "one"), ("T", "two")]);
    }

    #[test]
    fn what_is_wrong_is_said_in_podmans_words() {
        for (given, words) in [
            ("nope", "no secret with name or id \"nope\": no such secret"),
            ("one,type=foo", "type foo is invalid: parsing secret"),
            ("one,bar=foo", "option bar=foo invalid: parsing secret"),
            (
                "one,bar",
                "option bar must be in form option=value: parsing secret",
            ),
            ("one,mode=9", "mode 9 invalid: parsing secret"),
            ("one,uid=-1", "UID -1 invalid: parsing secret"),
            ("one,gid=abc", "GID abc invalid: parsing secret"),
            (
                "one,type=env,mode=0400",
                "UID, GID, Mode options cannot be set with secret type env: parsing secret",
            ),
            (
                "one,type=mount,type=env",
                "cannot set more than one secret type: parsing secret",
            ),
        ] {
            assert_eq!(secrets(&[given]), Err(words.to_owned()), "{given}");
        }
    }
}
