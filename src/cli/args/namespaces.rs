//! `--pid`, `--ipc`, `--uts`, `--cgroupns`.

use std::path::{Path, PathBuf};

use crate::cli::args::host::Lookup;
use crate::container::Options;
use crate::container::options::NamespaceMode;
use crate::error::{Error, Result, words};
use crate::userns;

/// Flags of the namespaces a container is in; the network's and the user's are groups of their own.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Cgroup namespace: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<String>,

    /// IPC namespace: shareable, private, host, none, container:NAME or ns:PATH
    ///
    /// shareable, the default, is one of its own that other containers may join,
    /// private one that they may not, and none has no /dev/shm either.
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<String>,

    /// PID namespace: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,

    /// UTS namespace, which holds the host name: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pub uts: Option<String>,
}

/// A kind of namespace, as far as the modes of its flag differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pid,
    Ipc,
    Uts,
    Cgroup,
}

impl Kind {
    /// As Podman names it when another container has it.
    fn word(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        }
    }

    /// As Podman names it when a path should be one.
    fn title(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::Ipc => "IPC",
            Self::Uts => "UTS",
            Self::Cgroup => "cgroup",
        }
    }
}

/// The four modes that are read alike.
pub struct Modes {
    pub pid: NamespaceMode,
    pub ipc: NamespaceMode,
    pub uts: NamespaceMode,
    pub cgroup: NamespaceMode,
}

impl Args {
    pub fn modes(&self, lookup: &dyn Lookup) -> Result<Modes> {
        let mode = |kind, text: &Option<String>| parse(kind, text.as_deref().unwrap_or(""), lookup);
        Ok(Modes {
            pid: mode(Kind::Pid, &self.pid)?,
            ipc: mode(Kind::Ipc, &self.ipc)?,
            uts: mode(Kind::Uts, &self.uts)?,
            cgroup: mode(Kind::Cgroup, &self.cgroupns)?,
        })
    }
}

/// A mode by its text; empty is the default.
pub fn parse(kind: Kind, text: &str, lookup: &dyn Lookup) -> Result<NamespaceMode> {
    let (mode, value) = match text.split_once(':') {
        Some((mode, value)) => (mode, Some(value)),
        None => (text, None),
    };
    match (mode, value) {
        ("", None) if kind == Kind::Ipc => Ok(NamespaceMode::Shareable),
        ("" | "private", None) => Ok(NamespaceMode::Private),
        ("host", None) => Ok(NamespaceMode::Host),
        ("shareable", None) if kind == Kind::Ipc => Ok(NamespaceMode::Shareable),
        ("none", None) if kind == Kind::Ipc => Ok(NamespaceMode::None),
        ("container" | "ns", None | Some("")) => Err(requires_value(mode)),
        ("ns", Some(path)) => Ok(NamespaceMode::Path(PathBuf::from(path))),
        ("container", Some(name)) => {
            let neighbour = lookup.container(name).map_err(|error| {
                error.tried(format_args!(
                    "looking up container to share {} namespace with",
                    kind.word()
                ))
            })?;
            if kind == Kind::Ipc && neighbour.ipc == NamespaceMode::Private {
                return Err(Error::usage(format!(
                    "joining IPC of container {} is not allowed: non-shareable IPC \
                     (hint: use IpcMode:shareable for the donor container)",
                    neighbour.id
                )));
            }
            Ok(NamespaceMode::Container(neighbour.id))
        }
        ("pod", None) => Err(no_pod()),
        _ => Err(unrecognized(text)),
    }
}

fn requires_value(mode: &str) -> Error {
    let word = if mode == "ns" { "path" } else { mode };
    Error::usage(format!(
        "invalid config provided: namespace mode {word} requires a value"
    ))
}

fn no_pod() -> Error {
    Error::usage(
        "cannot use pod namespace as container is not joining a pod \
         or pod has no infra container: invalid argument",
    )
}

fn unrecognized(text: &str) -> Error {
    Error::usage(format!("unrecognized namespace mode {text} passed"))
}

/// Whether the namespaces named by path are there. Not pure.
pub fn check_paths(options: &Options) -> Result<()> {
    if let userns::Mode::Path(path) = &options.user_namespace {
        check_path("user", path)?;
    }
    for (kind, mode) in [
        (Kind::Pid, &options.pid),
        (Kind::Ipc, &options.ipc),
        (Kind::Uts, &options.uts),
        (Kind::Cgroup, &options.cgroupns),
    ] {
        if let NamespaceMode::Path(path) = mode {
            check_path(kind.title(), path)?;
        }
    }
    Ok(())
}

fn check_path(kind: &str, path: &Path) -> Result<()> {
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::usage(format!(
            "cannot find specified {kind} namespace path: faccessat {}: {}",
            path.display(),
            words(&error)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::Neighbour;
    use crate::cli::args::host::tests::Fake;

    fn store() -> Fake {
        let mut store = Fake::default();
        for (name, id, ipc) in [
            ("c1", "11", NamespaceMode::Shareable),
            ("c2", "22", NamespaceMode::Private),
        ] {
            store.containers.insert(
                name.into(),
                Neighbour {
                    id: id.repeat(32),
                    ipc,
                    mounts: Vec::new(),
                },
            );
        }
        store
    }

    #[test]
    fn modes_are_those_of_their_kind() {
        use Kind::{Cgroup, Ipc, Pid, Uts};
        for (kind, text, mode) in [
            (Pid, "", NamespaceMode::Private),
            (Pid, "host", NamespaceMode::Host),
            (
                Pid,
                "container:c2",
                NamespaceMode::Container("22".repeat(32)),
            ),
            (Ipc, "", NamespaceMode::Shareable),
            (Ipc, "private", NamespaceMode::Private),
            (Ipc, "none", NamespaceMode::None),
            (
                Ipc,
                "container:c1",
                NamespaceMode::Container("11".repeat(32)),
            ),
            (Uts, "private", NamespaceMode::Private),
            (Cgroup, "ns:/x", NamespaceMode::Path("/x".into())),
        ] {
            assert_eq!(parse(kind, text, &store()).unwrap(), mode, "{text}");
        }
        for (kind, text, why) in [
            (Pid, "foo", "unrecognized namespace mode foo passed"),
            (Pid, "none", "unrecognized namespace mode none passed"),
            (Pid, "host:x", "unrecognized namespace mode host:x passed"),
            (
                Uts,
                "shareable",
                "unrecognized namespace mode shareable passed",
            ),
            (
                Pid,
                "container:",
                "invalid config provided: namespace mode container requires a value",
            ),
            (
                Pid,
                "ns:",
                "invalid config provided: namespace mode path requires a value",
            ),
            (
                Pid,
                "container:nope",
                "looking up container to share pid namespace with: \
                 no container with name or ID \"nope\" found: no such container",
            ),
            (
                Pid,
                "pod",
                "cannot use pod namespace as container is not joining a pod \
                 or pod has no infra container: invalid argument",
            ),
            (
                Ipc,
                "container:c2",
                "joining IPC of container 2222222222222222222222222222222222222222222222222222222222222222 \
                 is not allowed: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            ),
        ] {
            assert_eq!(parse(kind, text, &store()).unwrap_err().to_string(), why);
        }
    }
}
