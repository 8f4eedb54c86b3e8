//! Where everything is made and unmade.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::tree::remove_tree;
use super::{Locked, lock};
use crate::error::{Context, Result};
use crate::id::random_hex;
use crate::sys::file::rename_new;

/// A folder under `staging/`, locked by us. Dropped, it is deleted with what is
/// still in it; what this process has no right to delete stays for a sweep.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    lock: Option<Locked>,
    owner: u32,
}

impl Staging {
    pub(super) fn new(root: &Path) -> Result<Self> {
        loop {
            let path = root.join(random_hex::<8>());
            std::fs::create_dir(&path).tried(|| format!("make {}", path.display()))?;
            // A sweep may have seen it before it was locked: then make another.
            match lock::try_alone(&path) {
                Ok(Some(lock)) if path.exists() => {
                    return Ok(Self {
                        path,
                        lock: Some(lock),
                        owner: std::process::id(),
                    });
                }
                Ok(_) => {}
                Err(_) if !path.exists() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A staging folder for files by the thousand: on ext4 they come to lie where
    /// those of another such folder do not. Without a journal ext4 looks at every
    /// inode that was freed in the last minutes nearby, for each file it makes.
    pub(super) fn apart(root: &Path) -> Result<Self> {
        use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
        let folder = File::open(root).tried(|| format!("open {}", root.display()))?;
        // Folders of a "top" one are spread (chattr(1), T). Others that are made just
        // now are too, which does no harm, and where it is not known neither does that.
        let flags = ioctl_getflags(&folder);
        let spread = |on| {
            if let Ok(mut flags) = flags {
                flags.set(IFlags::TOPDIR, on);
                let _ = ioctl_setflags(&folder, flags);
            }
        };
        spread(true);
        let staging = Self::new(root);
        spread(false);
        staging
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the entry `name` to `target`, which must not exist yet
    /// (`AlreadyExists` otherwise), and makes the new entry durable if `sync`.
    pub fn publish(&self, name: &str, target: &Path, sync: bool) -> std::io::Result<()> {
        rename_new(&self.path.join(name), target)?;
        if let (true, Some(parent)) = (sync, target.parent()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }

    /// Leaves the folder to the forked child that goes on with it.
    pub fn hand_over(mut self) -> (PathBuf, Option<Locked>) {
        self.owner = 0;
        (self.path.clone(), self.lock.take())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _ = remove_tree(&self.path);
        }
    }
}

/// Deletes the folders whose maker's lock is free; gives those it may not delete.
pub(super) fn sweep(root: &Path) -> Result<Vec<PathBuf>> {
    let mut left = Vec::new();
    let Ok(entries) = std::fs::read_dir(root) else {
        return Ok(left);
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // Made an instant ago, or already deleted by another sweep: not ours.
        if let Ok(Some(_lock)) = lock::try_alone(&path)
            && remove_tree(&path).is_err()
        {
            left.push(path);
        }
    }
    Ok(left)
}
