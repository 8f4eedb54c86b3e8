//! `flock` on the thing itself: shared to use it, alone to remove it.
//!
//! Order of two locks: image, its config.json (by who makes trees of it), layer,
//! volume, container. Nobody waits for a staging folder's. A lock is held
//! by a value and gone with the process; a descriptor is never handed to a
//! container (all are close-on-exec).

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

/// The right to make one thing, which others wait for. Gone with the process; its
/// file with the value, else with the next sweep of staging.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    _file: File,
}

impl Claim {
    /// Takes it; `None` while somebody else has it.
    pub(super) fn take(path: PathBuf) -> Result<Option<Self>> {
        let tried = || format!("claim {}", path.display());
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .tried(tried)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).tried(tried),
            }
            // Whoever had it before may have deleted it since we opened it.
            let ours = file.metadata().tried(tried)?;
            match path.metadata() {
                Ok(found) if found.ino() == ours.ino() => {
                    return Ok(Some(Self { path, _file: file }));
                }
                _ => {}
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Still locked: nobody else can have made a new one of that name.
        let _ = std::fs::remove_file(&self.path);
    }
}
