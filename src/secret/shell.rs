//! The driver `shell`: the caller's own commands keep the bytes. Each is run by a
//! shell with `SECRET_ID` in its environment.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::{Bytes, Secret};
use crate::error::{Context, Error, Result};

const OPTIONS: [&str; 4] = ["delete", "list", "lookup", "store"];

/// Whether all its commands are there, and nothing else.
pub fn check(options: &BTreeMap<String, String>) -> Result<()> {
    if let Some(other) = options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
        return Err(Error::usage(format!(
            "invalid shell driver option: {other:?}"
        )));
    }
    let is_given = |key: &&str| options.get(*key).is_some_and(|value| !value.is_empty());
    match OPTIONS.iter().all(is_given) {
        true => Ok(()),
        false => Err(Error::usage("missing config value")),
    }
}

pub fn store(secret: &Secret, bytes: &Bytes) -> Result<()> {
    run(secret, "store", Some(bytes)).map(drop)
}

pub fn lookup(secret: &Secret) -> Result<Bytes> {
    run(secret, "lookup", None)
}

pub fn delete(secret: &Secret) -> Result<()> {
    run(secret, "delete", None).map(drop)
}

/// What one of the commands prints.
fn run(secret: &Secret, which: &str, given: Option<&Bytes>) -> Result<Bytes> {
    let line = secret.options.get(which).map_or("", String::as_str);
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .env("SECRET_ID", &secret.id)
        .stdin(match given {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        // What is read by nobody must not stop who prints it.
        .stdout(match given {
            Some(_) => Stdio::null(),
            None => Stdio::piped(),
        })
        .stderr(Stdio::inherit())
        .spawn()
        .tried(|| "start /bin/sh")?;
    if let (Some(mut stdin), Some(bytes)) = (child.stdin.take(), given) {
        // A command that reads none of it says by its status whether that is well.
        let _ = stdin.write_all(&bytes.0);
    }
    let done = child.wait_with_output()?;
    match done.status.code() {
        Some(0) => Ok(Bytes(done.stdout)),
        Some(code) => Err(Error::other(format!("exit status {code}"))),
        None => Err(Error::other("killed by a signal")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_wanted_and_no_other() {
        let options = |keys: &[&str]| {
            let pairs = keys
                .iter()
                .map(|key| ((*key).to_owned(), "true".to_owned()));
            check(&pairs.collect()).map_err(|error| error.to_string())
        };
        assert_eq!(options(&OPTIONS), Ok(()));
        assert_eq!(options(&["list"]), Err("missing config value".to_owned()));
        assert_eq!(
            options(&["foo"]),
            Err("invalid shell driver option: \"foo\"".to_owned())
        );
    }
}
