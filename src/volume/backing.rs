//! `--opt` of the local driver, and what a container mounts for a volume.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Beneath, Volume};
use crate::error::{Error, Kind, Result};

/// What is mounted where a container has a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// The volume's own folder.
    Directory(PathBuf),
    /// A folder of the caller's, with mount flags in mount(8)'s words.
    Bind(PathBuf, Vec<String>),
    /// A file system that is mounted anew: its type, its device, its options with
    /// mount flags among them. No type where none was given.
    Made(String, Option<String>, Vec<String>),
    /// An image's layers, with the volume's own changes above them.
    Image(Beneath),
}

impl Volume {
    /// Whether its files lie in its own folder, and nowhere else.
    pub fn is_plain(&self) -> bool {
        matches!(self.backing(Path::new("")), Backing::Directory(_))
    }

    /// Whether it has a file system of its own, which is mounted while it is in use.
    pub fn is_made(&self) -> bool {
        matches!(
            self.backing(Path::new("")),
            Backing::Made(..) | Backing::Image(_)
        )
    }

    /// Whether it shows a folder of the caller's.
    pub fn is_bind(&self) -> bool {
        matches!(self.backing(Path::new("")), Backing::Bind(..))
    }

    /// What a container mounts for it; `data` is its own folder.
    pub fn backing(&self, data: &Path) -> Backing {
        if let Some(image) = &self.image {
            return Backing::Image(image.clone());
        }
        let option = |key: &str| {
            let value = self.options.get(key).map(String::as_str);
            value.filter(|value| !value.is_empty())
        };
        let given: Vec<&str> = option("o").unwrap_or("").split(',').collect();
        let binds = given.contains(&"bind") || given.contains(&"rbind");
        match (option("type").unwrap_or(""), option("device")) {
            ("" | "none" | "bind", Some(device)) if binds || option("type") == Some("bind") => {
                Backing::Bind(device.into(), own_flags(&given))
            }
            // A tmpfs has the owner that is asked for; others are mounted as they are.
            ("tmpfs", device) => {
                let options = given.iter().filter(|word| !word.is_empty());
                let options = options.map(|word| (*word).to_owned()).collect();
                Backing::Made("tmpfs".to_owned(), device.map(str::to_owned), options)
            }
            ("", None) if own_flags(&given).is_empty() => Backing::Directory(data.to_owned()),
            (kind, device) => {
                let device = device.map(str::to_owned);
                Backing::Made(kind.to_owned(), device, own_flags(&given))
            }
        }
    }
}

/// Without what Podman takes for itself: `uid=` and `gid=` say whose it is.
fn own_flags(given: &[&str]) -> Vec<String> {
    let is_own = |word: &&&str| {
        let key = word.split('=').next().unwrap_or("").to_lowercase();
        !matches!(key.as_str(), "" | "uid" | "gid")
    };
    given
        .iter()
        .filter(is_own)
        .map(|word| (*word).to_owned())
        .collect()
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
    let given = parsed.options.remove("o");
    let is_said = given.is_some();
    let given = given.unwrap_or_default();
    let has_no_quota = given
        .split(',')
        .any(|part| part.eq_ignore_ascii_case("noquota"));
    let mut kept = Vec::new();
    for part in given.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let number = |shown: &str| -> Result<u32> {
            if !part.contains('=') {
                let lower = shown.to_lowercase();
                return Err(Error::usage(format!(
                    "{lower} option must provide a {shown}"
                )));
            }
            value.parse::<u32>().map_err(|_| {
                let an = if shown == "Timeout" { "an " } else { "" };
                Error::usage(format!(
                    "cannot convert {shown} {value} to {an}integer: strconv.Atoi: parsing {value:?}: invalid syntax"
                ))
            })
        };
        let mut shown = None;
        match key.to_lowercase().as_str() {
            "uid" => {
                parsed.uid = Some(number("UID")?);
                shown = Some("UID");
            }
            "gid" => {
                parsed.gid = Some(number("GID")?);
                shown = Some("GID");
            }
            "size" | "inodes" if !is_tmpfs => {
                check_quantity(&key.to_lowercase(), value)?;
                let why = match has_no_quota {
                    true => "cannot be used without quota",
                    false => "not supported. Filesystem does not support Project Quota",
                };
                return Err(Error::usage(format!("volume options size and inodes {why}"))
                .hint("`--opt type=tmpfs --opt device=tmpfs --opt o=size=…` limits a volume in memory"));
            }
            "size" => shown = Some("SIZE"),
            "inodes" => shown = Some("INODES"),
            "noquota" => {
                parsed.options.insert("NOQUOTA".into(), "true".into());
                continue;
            }
            "timeout" => {
                number("Timeout")?;
                return Err(Error::new(
                    Kind::Usage,
                    "running volume create option: Volume driver timeout can only be used with non-local volume drivers: invalid argument",
                ));
            }
            _ => {}
        }
        if let Some(shown) = shown {
            parsed.options.insert(shown.to_owned(), value.to_owned());
        }
        kept.push(part);
    }
    let kept = kept.join(",");
    if is_said && (!kept.is_empty() || given.is_empty()) {
        parsed.options.insert("o".to_owned(), kept);
    }
    let known = [
        "type", "device", "o", "UID", "GID", "SIZE", "INODES", "NOQUOTA", "copy", "nocopy",
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

/// Podman's words for what is no size or no number.
fn check_quantity(key: &str, value: &str) -> Result<()> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = value[digits.len()..].to_lowercase();
    let unit = unit.trim_end_matches('b').trim_end_matches('i');
    let is_unit = ["", "k", "m", "g", "t", "p"].contains(&unit);
    match key {
        "size" if digits.parse::<f64>().is_ok() && is_unit => Ok(()),
        "size" => Err(Error::usage(format!(
            "cannot convert size {value} to integer: invalid size: '{value}'"
        ))),
        _ if value.parse::<u64>().is_ok() => Ok(()),
        _ => Err(Error::usage(format!(
            "cannot convert inodes {value} to integer: strconv.ParseUint: parsing {value:?}: invalid syntax"
        ))),
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
        assert_eq!(parsed(&["o="]).unwrap().options["o"], "");
        let quiet = parsed(&["o=noquota"]).unwrap().options;
        assert_eq!(quiet, [("NOQUOTA".to_owned(), "true".to_owned())].into());
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
                "o=timeout=x",
                "cannot convert Timeout x to an integer: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                "o=noquota,size=1m",
                "volume options size and inodes cannot be used without quota",
            ),
            (
                "o=size=x",
                "cannot convert size x to integer: invalid size: 'x'",
            ),
            (
                "o=size=1m",
                "volume options size and inodes not supported. Filesystem does not support Project Quota",
            ),
        ] {
            assert_eq!(parsed(&[given]).unwrap_err().to_string(), message);
        }
    }
    #[test]
    fn what_is_mounted_follows_from_the_options() {
        let backing = |given: &[&str]| {
            let volume = Volume {
                options: parsed(given).unwrap().options,
                ..Volume::new("v".parse().unwrap())
            };
            volume.backing(Path::new("/data"))
        };
        let words = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let own = Backing::Directory("/data".into());
        for given in [&[][..], &["nocopy"], &["o=uid=5,gid=6"], &["o=noquota"]] {
            assert_eq!(backing(given), own, "{given:?}");
        }
        let bind = Backing::Bind("/x".into(), words(&["bind", "ro"]));
        assert_eq!(backing(&["type=none", "device=/x", "o=bind,ro"]), bind);
        let bind = Backing::Bind("/x".into(), vec![]);
        assert_eq!(backing(&["type=bind", "device=/x"]), bind);
        assert_eq!(
            backing(&["type=tmpfs", "device=tmpfs", "o=size=1m,uid=5"]),
            Backing::Made(
                "tmpfs".into(),
                Some("tmpfs".into()),
                words(&["size=1m", "uid=5"])
            )
        );
        let nfs = Backing::Made("nfs".into(), Some("h:/x".into()), words(&["addr=1.2.3.4"]));
        assert_eq!(backing(&["type=nfs", "device=h:/x", "o=addr=1.2.3.4"]), nfs);
        assert_eq!(
            backing(&["o=nonsense"]),
            Backing::Made(String::new(), None, words(&["nonsense"]))
        );
    }
}
