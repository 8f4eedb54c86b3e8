//! Volumes with a file system of their own, shared by the containers that have them.
//!
//! Each container has its own mount namespace, in a user namespace beside the others':
//! only the caller, who made all of them, may go into one and fetch a mount out of it.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, OFlags, StatxAttributes, StatxFlags};

use super::options::MountKind;
use super::{Container, Record};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::{ContainerId, Name};
use crate::storage::Storage;
use crate::sys::file::{open_dir, open_in_root};
use crate::sys::mount::{self, Detached};
use crate::sys::{Process, SoleThread, socket};
use crate::{userns, volume};

/// What other containers have mounted for volumes of one that is to start.
#[derive(Default)]
pub struct Shared(Vec<(Name, Detached)>);

impl Shared {
    /// Fetches them. In the caller's process: from within its namespace the monitor
    /// may not.
    pub fn find(engine: &Engine, record: &Record) -> Result<Self> {
        let mut shared = Self::default();
        for name in record.volumes() {
            let is_own = volume::load(&engine.storage, name)?.is_some_and(|it| it.is_made());
            if is_own
                && shared.get(name).is_none()
                && let Some(found) = lent(engine, name, Some(&record.id))?
            {
                shared.0.push((name.clone(), found));
            }
        }
        Ok(shared)
    }

    pub fn get(&self, name: &Name) -> Option<&Detached> {
        let found = self.0.iter().find(|(it, _)| it == name);
        found.map(|(_, mount)| mount)
    }

    /// For who closes all others.
    pub fn fds(&self) -> impl Iterator<Item = i32> {
        self.0.iter().map(|(_, mount)| mount.as_raw_fd())
    }
}

/// What a container that runs, other than `but`, has mounted for the volume `name`.
pub fn lent(engine: &Engine, name: &Name, but: Option<&ContainerId>) -> Result<Option<Detached>> {
    let patience = Instant::now() + Duration::from_secs(2);
    loop {
        // Who mounts it just now holds it.
        drop(volume::hold(&engine.storage, name)?);
        let holders = holders(&engine.storage, name, but)?;
        let mut failed = None;
        for holder in &holders {
            match fetch(engine.thread, holder, name) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        // One has it, but is not there to be asked yet, or any more.
        if holders.is_empty() || Instant::now() > patience {
            return failed.map_or(Ok(None), Err);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The containers other than `but` that run and have the volume `name` mounted.
pub(super) fn holders(
    storage: &Storage,
    name: &Name,
    but: Option<&ContainerId>,
) -> Result<Vec<Container>> {
    let mut holders = Vec::new();
    for id in storage.list(&storage.volume_mounted(name))? {
        if let Ok(id) = id.parse::<ContainerId>()
            && but != Some(&id)
            && let Some(container) = super::load(storage, &id)?
            && container.status.monitor.is_some()
        {
            holders.push(container);
        }
    }
    Ok(holders)
}

/// What `holder` has mounted for the volume, as a mount of nobody's.
fn fetch(thread: SoleThread, holder: &Container, name: &Name) -> Result<Option<Detached>> {
    let is_whole = |mount: &&super::options::Mount| {
        let is_it = matches!(&mount.kind, MountKind::Volume { name: it, .. } if it == name);
        is_it && mount.subpath.is_none() && !mount.options.iter().any(|word| word == "O")
    };
    let Some(mount) = holder.record.options.mounts.iter().find(is_whole) else {
        return Ok(None);
    };
    let Some(init) = holder.entrance() else {
        return Ok(None);
    };
    let found = fetch_from(thread, &init, &mount.destination);
    found
        .map(Some)
        .tried(|| format!("share volume {name} with container {}", holder.record.name))
}

fn fetch_from(thread: SoleThread, init: &Process, destination: &Path) -> Result<Detached> {
    let (ours, theirs) = socket::pair().tried(|| "make a socket pair")?;
    userns::in_child_beside(thread, init, || {
        let root = open_dir(Path::new("/"))?;
        let found = open_in_root(&root, destination, OFlags::PATH | OFlags::DIRECTORY)?;
        let stat = rustix::fs::statx(&found, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
        // A container with rights enough may have mounted something else, or nothing.
        if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Err(Error::other(format!(
                "nothing is mounted at {}",
                destination.display()
            )));
        }
        let copy = mount::copy_of(&found, false)?;
        // How that container may use it is not how others may.
        mount::release(&copy)?;
        Ok(socket::send(theirs.as_fd(), b"mount", &[copy.as_fd()])?)
    })?;
    drop(theirs);
    let (_, fds) = socket::receive(&ours)?;
    fds.into_iter()
        .next()
        .ok_or_else(|| Error::other("the mount did not arrive"))
}
