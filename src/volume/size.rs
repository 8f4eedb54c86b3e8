//! What volumes take on disk, and when they were last used.

use jiff::Timestamp;

use super::{Snapshot, mountpoint, snapshot_data};
use crate::engine::Engine;
use crate::error::Result;
use crate::id::Name;
use crate::storage::Storage;

/// What a volume takes on disk, in bytes: blocks of its files, each file counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub files: u64,
    /// Its snapshots. What they share with it by reflink counts in both.
    pub snapshots: u64,
}

impl Usage {
    pub fn total(&self) -> u64 {
        self.files + self.snapshots
    }
}

/// Measures volumes, in the order given. One that is gone takes nothing.
pub fn usage(engine: &Engine, names: &[Name]) -> Result<Vec<Usage>> {
    let storage = &engine.storage;
    let mut paths = Vec::with_capacity(names.len() * 3);
    for name in names {
        let dir = storage.volume(name);
        paths.push(mountpoint(storage, name));
        paths.push(dir.join(super::LAYER));
        paths.push(dir.join(super::SNAPSHOTS));
    }
    let sizes = engine.disk_usage(&paths)?;
    let usage = |sizes: &[u64]| Usage {
        files: sizes[0] + sizes[1],
        snapshots: sizes[2],
    };
    Ok(sizes.chunks_exact(3).map(usage).collect())
}

/// What each of a volume's snapshots takes on disk.
pub fn snapshot_sizes(engine: &Engine, volume: &Name, all: &[Snapshot]) -> Result<Vec<u64>> {
    let path = |snapshot: &Snapshot| snapshot_data(&engine.storage, volume, &snapshot.name);
    engine.disk_usage(&all.iter().map(path).collect::<Vec<_>>())
}

/// When a container last began or ceased to be one that uses the volume; `None` if
/// none ever was.
pub fn last_change(storage: &Storage, name: &Name) -> Option<Timestamp> {
    let found = std::fs::metadata(storage.volume_users(name)).ok()?;
    Timestamp::try_from(found.modified().ok()?).ok()
}
