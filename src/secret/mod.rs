//! Secrets: words that a container is given, and that nothing else shows.
//!
//! ```text
//! secrets/            0700, made with the first of them
//!   :<name>           0600: a line of JSON about the secret, then its bytes as they are
//! ```
//!
//! One file is one secret: it is there whole or not at all, `--replace` is a rename, and
//! no two commands meet in a lock. With the driver `shell` the bytes are where its
//! commands put them, and the file ends with its first line.
//!
//! **Invariant:** a secret's bytes are in no record, log, image, or command line.

mod shell;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};
use crate::id::random_hex;
use crate::storage::Storage;
use crate::sys::file::sync_dir;

/// Bytes that no secret may have.
const TOO_MANY: usize = 512_000;

/// What is known of a secret, but for what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// 25 hex digits.
    pub id: String,
    pub name: String,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub driver: Driver,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// Who keeps the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    File,
    Shell,
}

/// A secret's bytes. They are not shown where a program shows its values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secret bytes", self.0.len())
    }
}

impl Driver {
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Shell => "shell",
        }
    }
}

/// What to do where there is a secret of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    Fail,
    Replace,
    Keep,
}

/// What `secret create` asks for.
pub struct Wanted<'a> {
    pub name: &'a str,
    pub driver: &'a str,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub if_there: IfThere,
}

/// Makes a secret of `bytes`.
pub fn create(storage: &Storage, wanted: Wanted<'_>, bytes: &Bytes) -> Result<Secret> {
    check_name(wanted.name)?;
    if bytes.0.is_empty() || bytes.0.len() >= TOO_MANY {
        return Err(Error::usage(
            "secret data must be larger than 0 and less than 512000 bytes",
        ));
    }
    let driver = match wanted.driver {
        "" | "file" => Driver::File,
        "shell" => Driver::Shell,
        "pass" => return Err(Error::unsupported("secret driver pass")),
        _ => return Err(Error::usage("invalid driver")),
    };
    if driver == Driver::File && wanted.options.contains_key("path") {
        return Err(Error::unsupported("option path of secret driver file"));
    }
    let there = load(storage, wanted.name)?;
    match (&there, wanted.if_there) {
        (Some(there), IfThere::Keep) => return Ok(there.clone()),
        (Some(_), IfThere::Fail) => return Err(in_use(wanted.name)),
        _ => {}
    }
    let now = Timestamp::now();
    let secret = Secret {
        id: random_hex::<13>()[..25].to_owned(),
        name: wanted.name.to_owned(),
        created: there.as_ref().map_or(now, |there| there.created),
        updated: now,
        driver,
        options: wanted.options,
        labels: wanted.labels,
    };
    if driver == Driver::Shell {
        shell::check(&secret.options)?;
        shell::store(&secret, bytes).tried(|| format!("creating secret {}", secret.name))?;
    }
    let published = publish(storage, &secret, bytes, wanted.if_there);
    if let (Err(_), Driver::Shell) = (&published, driver) {
        let _ = shell::delete(&secret);
    }
    published?;
    if let Some(there) = there.filter(|there| there.driver == Driver::Shell) {
        shell::delete(&there)?;
    }
    Ok(secret)
}

/// Puts the secret's file in its place.
fn publish(storage: &Storage, secret: &Secret, bytes: &Bytes, if_there: IfThere) -> Result<()> {
    let folder = storage.secrets();
    let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made.tried(|| format!("make {}", folder.display()))?,
    }
    let tried = || format!("creating secret {}", secret.name);
    let staging = storage.stage()?;
    let staged = staging.path().join("secret");
    let mut file = private(&staged).tried(tried)?;
    let mut line = serde_json::to_vec(secret)?;
    line.push(b'\n');
    file.write_all(&line).tried(tried)?;
    if secret.driver == Driver::File {
        file.write_all(&bytes.0).tried(tried)?;
    }
    file.sync_all().tried(tried)?;
    let target = place(storage, &secret.name);
    match if_there {
        IfThere::Replace => std::fs::rename(&staged, &target)
            .and_then(|()| sync_dir(&folder))
            .tried(tried),
        _ => match staging.publish("secret", &target, true) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(in_use(&secret.name))
            }
            published => published.tried(tried),
        },
    }
}

/// A new file that only the caller reads.
pub fn private(path: &Path) -> std::io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 253 || name.contains(['=', '/', ',', '\0']) {
        return Err(Error::usage(format!(
            "secret name {name:?} can not include '=', '/', ',', or the '\\0' (NULL) and be \
             between 1 and 253 characters: invalid secret name"
        )));
    }
    Ok(())
}

fn in_use(name: &str) -> Error {
    Error::new(Kind::Exists, format!("{name}: secret name in use"))
}

/// Podman's words for a secret that is not there.
pub fn no_such(text: &str) -> Error {
    Error::not_found(format!(
        "no secret with name or id {text:?}: no such secret"
    ))
}

/// The secret that may have been meant by `text`.
pub fn near(storage: &Storage, text: &str) -> Option<String> {
    let all = list(storage).unwrap_or_default();
    let names = all.iter().map(|secret| secret.name.as_str());
    crate::id::near(text, names).map(str::to_owned)
}

/// The file of the secret `name`. The colon makes a file name of every name.
fn place(storage: &Storage, name: &str) -> PathBuf {
    storage.secrets().join(format!(":{name}"))
}

/// The secret of exactly that name.
fn load(storage: &Storage, name: &str) -> Result<Option<Secret>> {
    if check_name(name).is_err() {
        return Ok(None);
    }
    Ok(read(&place(storage, name))?.map(|(secret, _)| secret))
}

/// What a secret's file says of it, and the file where its bytes begin.
fn read(path: &Path) -> Result<Option<(Secret, BufReader<File>)>> {
    let tried = || format!("read {}", path.display());
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => BufReader::new(file.tried(tried)?),
    };
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line).tried(tried)?;
    let secret = serde_json::from_slice(&line).tried(tried)?;
    Ok(Some((secret, file)))
}

/// Every secret, the oldest first.
pub fn list(storage: &Storage) -> Result<Vec<Secret>> {
    let mut all = Vec::new();
    for name in storage.list(&storage.secrets())? {
        // One removed meanwhile is not there.
        if let Some((secret, _)) = read(&storage.secrets().join(name))? {
            all.push(secret);
        }
    }
    all.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    Ok(all)
}

/// The secret that `text` names: its name, its id, or how one id begins.
pub fn find(storage: &Storage, text: &str) -> Result<Secret> {
    if let Some(secret) = load(storage, text)? {
        return Ok(secret);
    }
    let mut found: Vec<Secret> = list(storage)?;
    found.retain(|secret| secret.id.starts_with(text));
    let exact = found.iter().position(|secret| secret.id == text);
    match (exact, found.len()) {
        (Some(at), _) => Ok(found.swap_remove(at)),
        (None, 1) => Ok(found.swap_remove(0)),
        (None, 0) => Err(no_such(text).meant(near(storage, text))),
        _ => Err(Error::usage(format!(
            "more than one result secret with prefix {text}: secret is ambiguous"
        ))),
    }
}

/// What the secret is.
pub fn bytes(storage: &Storage, secret: &Secret) -> Result<Bytes> {
    if secret.driver == Driver::Shell {
        return shell::lookup(secret);
    }
    let path = place(storage, &secret.name);
    let (_, mut file) = read(&path)?.ok_or_else(|| no_such(&secret.name))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .tried(|| format!("read {}", path.display()))?;
    Ok(Bytes(bytes))
}

/// Takes the secret away.
pub fn remove(storage: &Storage, secret: &Secret) -> Result<()> {
    if secret.driver == Driver::Shell {
        shell::delete(secret).tried(|| format!("deleting secret {}", secret.id))?;
    }
    match std::fs::remove_file(place(storage, &secret.name)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(no_such(&secret.name)),
        removed => removed
            .and_then(|()| sync_dir(&storage.secrets()))
            .tried(|| format!("deleting secret {}", secret.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_podmans() {
        let longest = "x".repeat(253);
        for name in ["a", ".", "..", "a b", "ä", ":", "-", &longest] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a/b", "a=b", "a,b", "a\0", &format!("{longest}x")] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn bytes_are_not_shown() {
        assert_eq!(
            format!("{:?}", Bytes(b"hunter2".to_vec())),
            "7 secret bytes"
        );
    }
}
