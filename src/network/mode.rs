//! `--network`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `--network`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// A network namespace of its own with a user-mode stack; pasta's own options.
    #[default]
    #[serde(rename = "pasta_default")]
    PastaDefault,
    Pasta(Vec<String>),
    None,
    Host,
    /// Another container's: as typed by the user, by full id once resolved.
    Container(String),
    /// The one at this path.
    Path(PathBuf),
}

impl NetworkMode {
    /// What all `--network` flags together say; none is the default.
    pub fn parse(flags: &[String]) -> Result<Self> {
        let mut flags = flags.iter().map(String::as_str);
        let Some(first) = flags.next() else {
            return Ok(Self::PastaDefault);
        };
        let mode = Self::parse_one(first)?;
        if flags.next().is_some() {
            return Err(Error::usage(format!(
                "cannot set multiple networks without bridge network mode, selected mode {}: invalid argument",
                mode.word()
            )));
        }
        Ok(mode)
    }

    fn parse_one(text: &str) -> Result<Self> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let wanted = |what: &str, value: &str| match value {
            "" => Err(Error::usage(format!(
                "invalid config provided: namespace mode {what} requires a value"
            ))),
            value => Ok(value.to_owned()),
        };
        Ok(match (name, value) {
            ("" | "default" | "private", None) => Self::PastaDefault,
            ("pasta", None) => Self::Pasta(Vec::new()),
            ("pasta", Some(options)) => Self::Pasta(
                options
                    .split(',')
                    .filter(|option| !option.is_empty())
                    .map(str::to_owned)
                    .collect(),
            ),
            ("none", None) => Self::None,
            ("host", None) => Self::Host,
            ("container", Some(value)) => Self::Container(wanted("container", value)?),
            ("ns", Some(value)) => Self::Path(wanted("path", value)?.into()),
            ("pod", None) => {
                return Err(Error::usage(
                    "cannot use pod namespace as container is not joining a pod or pod has no infra container: invalid argument",
                ));
            }
            ("bridge" | "slirp4netns", _) => {
                return Err(Error::unsupported(format_args!("--network={name}")));
            }
            (name, _) => {
                return Err(
                    Error::unsupported(format_args!("--network={name}: a named network")).hint(
                        "networks that are there: pasta, host, none, private, container:NAME, ns:PATH",
                    ),
                );
            }
        })
    }

    /// Whether the container gets a network namespace with pasta in it.
    pub fn is_pasta(&self) -> bool {
        matches!(self, Self::PastaDefault | Self::Pasta(_))
    }

    /// The options for pasta that the user gave.
    pub fn pasta_options(&self) -> &[String] {
        match self {
            Self::Pasta(options) => options,
            _ => &[],
        }
    }

    /// The kind of namespace in Podman's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::PastaDefault | Self::Pasta(_) => "pasta",
            Self::None => "none",
            Self::Host => "host",
            Self::Container(_) => "container",
            Self::Path(_) => "path",
        }
    }
}

/// As `inspect` shows it: HostConfig.NetworkMode.
impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Path(path) => write!(f, "ns:{}", path.display()),
            _ => f.write_str(self.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<NetworkMode, String> {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        NetworkMode::parse(&flags).map_err(|error| error.to_string())
    }

    #[test]
    fn modes_are_podmans() {
        let strings = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        for (flags, mode) in [
            (&[][..], NetworkMode::PastaDefault),
            (&[""], NetworkMode::PastaDefault),
            (&["private"], NetworkMode::PastaDefault),
            (&["default"], NetworkMode::PastaDefault),
            (&["pasta"], NetworkMode::Pasta(Vec::new())),
            (&["pasta:"], NetworkMode::Pasta(Vec::new())),
            (
                &["pasta:--map-gw,-T,80"],
                NetworkMode::Pasta(strings(&["--map-gw", "-T", "80"])),
            ),
            (&["host"], NetworkMode::Host),
            (&["none"], NetworkMode::None),
            (&["container:web"], NetworkMode::Container("web".into())),
            (&["ns:/run/x"], NetworkMode::Path("/run/x".into())),
        ] {
            assert_eq!(parse(flags), Ok(mode), "{flags:?}");
        }
    }

    #[test]
    fn wrong_modes_are_said_in_podmans_words() {
        for (flags, words) in [
            (
                &["container:"][..],
                "invalid config provided: namespace mode container requires a value",
            ),
            (
                &["ns:"],
                "invalid config provided: namespace mode path requires a value",
            ),
            (
                &["host", "none"],
                "cannot set multiple networks without bridge network mode, selected mode host: invalid argument",
            ),
            (
                &["bridge"],
                "--network=bridge is not supported by coracle yet",
            ),
            (
                &["slirp4netns:mtu=1"],
                "--network=slirp4netns is not supported by coracle yet",
            ),
            (
                &["mine"],
                "--network=mine: a named network is not supported by coracle yet",
            ),
            (
                &["host:x"],
                "--network=host: a named network is not supported by coracle yet",
            ),
        ] {
            assert_eq!(parse(flags), Err(words.to_owned()), "{flags:?}");
        }
    }

    #[test]
    fn inspect_shows_the_mode() {
        for (mode, text) in [
            (NetworkMode::PastaDefault, "pasta"),
            (NetworkMode::Pasta(vec!["-4".into()]), "pasta"),
            (NetworkMode::Container("abc".into()), "container:abc"),
            (NetworkMode::Path("/x".into()), "ns:/x"),
        ] {
            assert_eq!(mode.to_string(), text);
        }
    }
}
