//! A container: its record, its states, each change to it.
//!
//! ```text
//! containers/<id>/
//!   container.json   the record: written once, at create (rename, update: whole anew)
//!   started.json     pid, start time, boot id of the last start
//!   exit.json        exit code and times of the last end
//!   exit.reserve     room for it, while the container runs
//!   health.json      what its health checks came to (health.lock: while that is changed)
//!   upper/ work/     the overlay's writable layer
//!   rootfs/          where the overlay is mounted, in the monitor's mount namespace
//!   files/           hosts, resolv.conf, hostname, passwd … that are mounted in
//!   secrets/<number> what `--secret` mounts, as it was at create
//!   log/ctr.log      the k8s-file or json-file log
//! running/<id>       the seat: a lock its monitor holds for its whole life (sys::lock)
//! volumes/<name>/users/<id>   this container mounts that volume
//! volumes/<name>/mounted/<id> it has mounted a file system of the volume's own
//! ```
//!
//! **Invariant:** "running" is never stored. It is the seat: who holds it, and
//! what stands beside the record, is the state. A seat that stands there free is
//! a monitor that died: the next sweep ends what it left.

pub mod adopt;
pub mod attach;
pub mod cdi;
mod cgroup;
pub mod commit;
pub mod copy;
pub mod create;
pub mod diff;
pub mod events;
pub mod exec;
mod exit;
pub mod explain;
pub mod export;
mod files;
pub mod health;
mod host;
pub mod image_mount;
mod layers;
pub mod logs;
pub mod map;
pub mod name;
mod notify;
pub mod options;
pub mod pause;
mod record;
mod release;
pub mod remove;
pub mod root_mount;
mod rootfs;
#[cfg(test)]
pub mod sample;
mod seat;
mod secrets;
mod shared;
pub mod spec;
mod stage;
pub mod start;
mod state;
pub mod stats;
pub mod stop;
mod sweep;
pub mod top;
pub mod update;
mod view;
pub mod volumes;

pub use options::Options;
pub use record::{ImageUse, Record};
pub use release::{hasten, release};
pub use rootfs::{dress_like, overlay, read_only};
pub use seat::Seat;
pub use state::{Exit, Started, State, Status, status_of};
pub use sweep::sweep;
pub use volumes::{running_users as running_users_of_volume, users as users_of_volume};

use crate::error::{Error, Kind, Result};
use crate::id::{ContainerId, Name};
use crate::storage::{Storage, read_unsynced};
use crate::sys::Process;

/// A container as it is on disk now.
#[derive(Debug, Clone)]
pub struct Container {
    pub record: Record,
    pub status: Status,
}

impl Container {
    /// A process by whose namespaces the container can be entered, while it runs:
    /// its init, or with `--init` the command beneath, as ours lets nobody look in.
    pub fn entrance(&self) -> Option<Process> {
        let init = self.status.init()?;
        if !self.record.options.init {
            return Some(init);
        }
        let children = format!("/proc/{0}/task/{0}/children", init.pid());
        // It is there at once after the start, and first: adopted ones come later.
        for _ in 0..100 {
            let text = std::fs::read_to_string(&children).ok()?;
            if let Some(pid) = text.split(' ').next().and_then(|pid| pid.parse().ok())
                && let Ok(child) = Process::open(pid)
                && std::fs::read_to_string(&children)
                    .is_ok_and(|now| now.starts_with(&format!("{pid} ")))
            {
                return Some(child);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        None
    }
}

/// Every container, in no order. Those half removed are left out.
pub fn list(storage: &Storage) -> Result<Vec<Container>> {
    let mut all = Vec::new();
    for id in storage.list(&storage.containers())? {
        if let Ok(id) = id.parse::<ContainerId>()
            && let Some(container) = load(storage, &id)?
        {
            all.push(container);
        }
    }
    Ok(all)
}

/// The container `id`, if there is one.
pub fn load(storage: &Storage, id: &ContainerId) -> Result<Option<Container>> {
    let Some(record) = read_unsynced::<Record>(&storage.container(id).join("container.json"))?
    else {
        return Ok(None);
    };
    let status = status_of(storage, id)?;
    Ok(Some(Container { record, status }))
}

/// The container that `text` names: full id, name, or the beginning of one id.
pub fn find(storage: &Storage, text: &str) -> Result<Container> {
    let id = find_id(storage, text)?;
    load(storage, &id)?.ok_or_else(|| absent(storage, text))
}

/// The id that `text` names; see [`find`].
pub fn find_id(storage: &Storage, text: &str) -> Result<ContainerId> {
    if text.is_empty() {
        return Err(Error::usage("name or ID cannot be empty"));
    }
    if let Ok(name) = text.parse::<Name>()
        && let Ok(id) = std::fs::read_link(storage.names().join(&name))
        && let Some(id) = id.to_str().and_then(|id| id.parse::<ContainerId>().ok())
    {
        return Ok(id);
    }
    if text.len() > 64 || !crate::id::is_hex(text) {
        return Err(absent(storage, text));
    }
    let mut found: Option<ContainerId> = None;
    for id in storage.list(&storage.containers())? {
        if id.starts_with(text)
            && let Ok(id) = id.parse()
        {
            if found.is_some() {
                return Err(Error::new(
                    Kind::Usage,
                    format!(
                        "more than one result for container {text:?}: container already exists"
                    ),
                ));
            }
            found = Some(id);
        }
    }
    found.ok_or_else(|| absent(storage, text))
}

/// Podman's words for a container that is not there.
pub fn no_such(text: &str) -> Error {
    Error::not_found(format!(
        "no container with name or ID {text:?} found: no such container"
    ))
}

/// The same, with the one that may have been meant.
pub fn absent(storage: &Storage, text: &str) -> Error {
    no_such(text).meant(near(storage, text))
}

/// The name of a container that may have been meant by `text`.
pub fn near(storage: &Storage, text: &str) -> Option<String> {
    let names = storage.list(&storage.names()).unwrap_or_default();
    crate::id::near(text, names.iter().map(String::as_str)).map(str::to_owned)
}
