//! `flock` on the thing itself: shared to use it, alone to remove it.
//!
//! Order of two locks: image, its config.json (by who makes trees of it), layer,
//! volume, container. Nobody waits for a staging folder's. A lock is held
//! by a value and gone with the process; a descriptor is never handed to a
//! container (all are close-on-exec).

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Context, Result};

/// A folder that is locked while this value lives.
#[derive(Debug)]
pub struct Locked {
    dir: File,
}

impl Locked {
    /// Of the folder that is locked, whatever it is called by now.
    pub fn metadata(&self) -> std::io::Result<std::fs::Metadata> {
        self.dir.metadata()
    }

    /// Lets go at once, whatever process has a copy of the descriptor (flock(2)).
    pub fn unlock(self) {
        let _ = self.dir.unlock();
    }
}

/// Locks the folder `dir`, shared with others who use it.
pub fn shared(dir: &Path) -> Result<Locked> {
    let file = super::open(dir)?;
    file.lock_shared()
        .tried(|| format!("lock {}", dir.display()))?;
    Ok(Locked { dir: file })
}

/// Waits until nobody else uses the folder `dir` and locks it.
pub fn alone(dir: &Path) -> Result<Locked> {
    let file = super::open(dir)?;
    file.lock().tried(|| format!("lock {}", dir.display()))?;
    Ok(Locked { dir: file })
}

/// Locks the folder `dir` alone; `None` if it is in use.
pub fn try_alone(dir: &Path) -> Result<Option<Locked>> {
    let file = super::open(dir)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Locked { dir: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).tried(|| format!("lock {}", dir.display())),
    }
}
