//! What volumes take on disk, and when they were last used.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::Snapshot;
use super::copy::used;
use super::walk::{Step, Walk, open_root};
use crate::engine::Engine;
use crate::error::Result;
use crate::id::Name;
use crate::storage::Storage;

/// What a volume takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Blocks of its files, each file counted once.
    pub bytes: u64,
    /// The same of its snapshots. What they share with it by reflink counts in both.
    pub snapshots: u64,
    /// How many files, folders and others it has.
    pub files: u64,
}

impl Usage {
    pub fn total(&self) -> u64 {
        self.bytes + self.snapshots
    }
}

/// Measures volumes, in the order given: in the user namespace, once for all, those
/// whose folders the caller may not read. One that is gone counts nothing.
pub fn usage(engine: &Engine, names: &[Name]) -> Result<Vec<Usage>> {
    let storage = &engine.storage;
    let mut all = Vec::with_capacity(names.len());
    let mut shut = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let found = of(storage, name);
        if found.is_err() {
            shut.push(at);
        }
        all.push(found.unwrap_or_default());
    }
    if shut.is_empty() {
        return Ok(all);
    }
    let found = engine.in_namespace(|| {
        let sizes = shut.iter().map(|at| of(storage, &names[*at]));
        Ok(sizes.map(Result::unwrap_or_default).collect::<Vec<_>>())
    })?;
    for (at, usage) in shut.into_iter().zip(found) {
        all[at] = usage;
    }
    Ok(all)
}

/// What each of a volume's snapshots takes on disk.
pub fn snapshot_sizes(engine: &Engine, volume: &Name, all: &[Snapshot]) -> Result<Vec<u64>> {
    let size = |snapshot: &Snapshot| {
        let path = super::snapshot_data(&engine.storage, volume, &snapshot.name);
        tree(&path).map(|(bytes, _)| bytes)
    };
    let outside: io::Result<Vec<u64>> = all.iter().map(size).collect();
    match outside {
        Ok(sizes) => Ok(sizes),
        Err(_) => engine.in_namespace(|| Ok(all.iter().map(size).collect::<io::Result<_>>()?)),
    }
}

fn of(storage: &Storage, name: &Name) -> io::Result<Usage> {
    let dir = storage.volume(name);
    let (mut bytes, mut files) = tree(&super::mountpoint(storage, name))?;
    let changes = tree(&dir.join(super::LAYER))?;
    bytes += changes.0;
    files += changes.1;
    let (snapshots, _) = tree(&dir.join(super::SNAPSHOTS))?;
    Ok(Usage {
        bytes,
        snapshots,
        files,
    })
}

/// Bytes and entries beneath `path`; nothing if it is not there.
fn tree(path: &Path) -> io::Result<(u64, u64)> {
    let root = match open_root(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        root => root?,
    };
    let mut walk = Walk::new(root)?;
    let mut seen = HashSet::new();
    let mut total = (0, 0);
    while let Some(step) = walk.step()? {
        let (Step::Enter(found) | Step::Other(found)) = step else {
            continue;
        };
        let stat = &found.stat;
        let is_one = stat.st_nlink == 1 || found.kind() == FileType::Directory;
        if is_one || seen.insert((stat.st_dev, stat.st_ino)) {
            total.0 += used(stat);
            total.1 += 1;
        }
    }
    Ok(total)
}

/// When a container began or ceased to use the volume, or snapshots were made of it;
/// `None` if none ever did. One that runs now uses it now: that is for the caller.
pub fn last_change(storage: &Storage, name: &Name) -> Option<Timestamp> {
    let found = std::fs::metadata(storage.volume_users(name)).ok()?;
    Timestamp::try_from(found.modified().ok()?).ok()
}
