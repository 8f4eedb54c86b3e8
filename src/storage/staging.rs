//! Where everything is made and unmade.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::tree::remove_tree;
use super::{Locked, lock};
use crate::error::{Context, Result};
use crate::id::random_hex;
use crate::sys::file::rename_new;

/// What is in a folder of [`super::Storage::retire`].
pub(super) const RETIRED: &str = "retired";

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

    /// The folder at `path` itself, moved here: for a disk with no room for another.
    /// Who holds its lock goes on to hold it. None: it is not there.
    pub(super) fn of(root: &Path, path: &Path) -> std::io::Result<Option<Self>> {
        let to = root.join(random_hex::<8>());
        match std::fs::rename(path, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            result => result?,
        }
        // A sweep that has it by now deletes it, as we are about to.
        let lock = lock::try_alone(&to).ok().flatten();
        Ok(Some(Self {
            path: to,
            lock,
            owner: std::process::id(),
        }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where what [`super::Storage::retire`] took away lies: in the folder, or it is that.
    pub fn retired(&self) -> PathBuf {
        let within = self.path.join(RETIRED);
        match within.exists() {
            true => within,
            false => self.path.clone(),
        }
    }

    /// Renames the entry `name` to `target`, which must not exist yet
    /// (`AlreadyExists` otherwise), and makes the new entry durable if `sync`.
    pub fn publish(&self, name: &str, target: &Path, sync: bool) -> std::io::Result<()> {
        place(&self.path.join(name), target, sync)
    }

    /// Renames the folder itself to `target`, as [`Self::publish`] does an entry of it.
    pub fn publish_whole(mut self, target: &Path, sync: bool) -> std::io::Result<()> {
        place(&self.path, target, sync)?;
        self.owner = 0;
        Ok(())
    }

    /// Leaves the folder to the forked child that goes on with it.
    pub fn hand_over(mut self) -> (PathBuf, Option<Locked>) {
        self.owner = 0;
        (self.path.clone(), self.lock.take())
    }
}

fn place(from: &Path, target: &Path, sync: bool) -> std::io::Result<()> {
    rename_new(from, target)?;
    if let (true, Some(parent)) = (sync, target.parent()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_be_retired_as_it_is() {
        let root = std::env::temp_dir().join(format!("coracle-staging-{}", random_hex::<8>()));
        let (staging, thing) = (root.join("staging"), root.join("thing"));
        std::fs::create_dir_all(&staging).unwrap();
        std::fs::create_dir_all(thing.join("within")).unwrap();
        // Held by who removes it, as an image is.
        let held = lock::alone(&thing).unwrap();
        let retired = Staging::of(&staging, &thing).unwrap().unwrap();
        assert!(!thing.exists());
        assert!(retired.path().join("within").exists());
        assert!(sweep(&staging).unwrap().is_empty());
        assert!(retired.path().exists());
        drop(held);
        drop(retired);
        assert_eq!(std::fs::read_dir(&staging).unwrap().count(), 0);
        assert!(Staging::of(&staging, &thing).unwrap().is_none());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
