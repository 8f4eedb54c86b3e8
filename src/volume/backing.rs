//! `--opt` of the local driver, and what a container mounts for a volume.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Volume, mountpoint};
use crate::error::{Error, Result};
use crate::storage::Storage;

/// What is mounted where a container has a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// The volume's own folder.
    Directory(PathBuf),
    /// A folder of the caller's, with mount flags in mount(8)'s words.
    Bind(PathBuf, Vec<String>),
    /// A tmpfs with these options, flags among them.
    Tmpfs(Vec<String>),
}

impl Volume {
    /// What a container mounts for it; an error if only root could mount it.
    pub fn backing(&self, storage: &Storage) -> Result<Backing> {
        let option = |key: &str| self.options.get(key).map(String::as_str);
        let kind = option("type").unwrap_or("");
        let flags: Vec<String> = option("o")
            .unwrap_or("")
            .split(',')
            .filter(|flag| !flag.is_empty())
            .map(str::to_owned)
            .collect();
        let binds = |flags: &[String]| flags.iter().any(|flag| flag == "bind" || flag == "rbind");
        match (kind, option("device")) {
            ("tmpfs", _) => Ok(Backing::Tmpfs(flags)),
            ("" | "none" | "bind", Some(device)) if kind == "bind" || binds(&flags) => {
                Ok(Backing::Bind(device.into(), own_flags(flags)))
            }
            ("", None) => Ok(Backing::Directory(mountpoint(storage, &self.name))),
            (kind, _) => Err(Error::unsupported(format_args!(
                "volume {}: mounting a device of type {kind:?} as a user",
                self.name
            ))),
        }
    }
}

/// Without what Podman takes for itself: `uid=` and `gid=` say whose it is.
fn own_flags(mut flags: Vec<String>) -> Vec<String> {
    flags.retain(|flag| {
        let key = flag.split('=').next().unwrap_or("").to_lowercase();
        !matches!(key.as_str(), "uid" | "gid" | "noquota")
    });
    flags
}

/// What `--opt` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// As `inspect` shows them.
    pub options: BTreeMap<String, String>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// Reads `--opt KEY[=VALUE]`, in Podman's way and words.
pub fn parse_options(given: &[String]) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    for option in given {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        parsed.options.insert(key.to_owned(), value.to_owned());
    }
    let is_tmpfs = parsed
        .options
        .get("type")
        .is_some_and(|kind| kind == "tmpfs");
    for part in parsed
        .options
        .get("o")
        .cloned()
        .unwrap_or_default()
        .split(',')
    {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let mut number = |shown: &str| -> Result<Option<u32>> {
            if !part.contains('=') {
                let lower = shown.to_lowercase();
                return Err(Error::usage(format!(
                    "{lower} option must provide a {shown}"
                )));
            }
            let number = value.parse::<u32>().map_err(|_| {
                Error::usage(format!(
                    "cannot convert {shown} {value} to integer: strconv.Atoi: parsing {value:?}: invalid syntax"
                ))
            })?;
            parsed.options.insert(shown.to_owned(), value.to_owned());
            Ok(Some(number))
        };
        match key.to_lowercase().as_str() {
            "uid" => parsed.uid = number("UID")?,
            "gid" => parsed.gid = number("GID")?,
            "size" | "inodes" if !is_tmpfs => {
                return Err(Error::usage(
                    "volume options size and inodes not supported. Filesystem does not support Project Quota",
                )
                .hint("`--opt type=tmpfs --opt device=tmpfs --opt o=size=…` limits a volume in memory"));
            }
            "size" => {
                parsed.options.insert("SIZE".to_owned(), value.to_owned());
            }
            "inodes" => {
                parsed.options.insert("INODES".to_owned(), value.to_owned());
            }
            _ => {}
        }
    }
    let known = [
        "type", "device", "o", "UID", "GID", "SIZE", "INODES", "copy", "nocopy",
    ];
    match parsed
        .options
        .keys()
        .find(|key| !known.contains(&key.as_str()))
    {
        Some(unknown) => Err(Error::usage(format!(
            "invalid mount option {unknown} for driver 'local': invalid argument"
        ))),
        None => Ok(parsed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(given: &[&str]) -> Result<Parsed> {
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        parse_options(&given)
    }

    #[test]
    fn options_are_read_as_podman_reads_them() {
        let tmpfs = parsed(&["type=tmpfs", "device=tmpfs", "o=size=2m,nodev"]).unwrap();
        assert_eq!(tmpfs.options["SIZE"], "2m");
        assert_eq!(tmpfs.options["o"], "size=2m,nodev");
        let owned = parsed(&["o=uid=100,gid=200"]).unwrap();
        assert_eq!((owned.uid, owned.gid), (Some(100), Some(200)));
        assert_eq!(owned.options["UID"], "100");
        assert_eq!(parsed(&["nocopy"]).unwrap().options["nocopy"], "");
        for (given, message) in [
            (
                "foo=bar",
                "invalid mount option foo for driver 'local': invalid argument",
            ),
            (
                "o=uid=abc",
                "cannot convert UID abc to integer: strconv.Atoi: parsing \"abc\": invalid syntax",
            ),
            (
                "o=size=1m",
                "volume options size and inodes not supported. Filesystem does not support Project Quota",
            ),
        ] {
            assert_eq!(parsed(&[given]).unwrap_err().to_string(), message);
        }
    }
}
