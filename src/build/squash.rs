//! Several layers made one.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::build::stage::{State, Work};
use crate::build::{Failure, Squash};
use crate::container::adopt::{Adoption, adopt_in_place, make_folder};
use crate::error::{Context, Error, Result};
use crate::id::DiffId;
use crate::storage::layer::OPAQUE;
use crate::storage::remove_tree_at;
use crate::storage::walk::{self, Chain, Step, Walk};

impl Work<'_> {
    /// Makes one layer of those that the steps made, if that is asked for.
    pub fn squashed(&mut self, mut state: State) -> Result<State, Failure> {
        let below = match self.build.squash {
            Squash::Layers => return Ok(state),
            Squash::Steps => state.base_layers,
            Squash::All => 0,
        };
        let own: Vec<DiffId> = state.ids().split_off(below);
        if self.build.squash == Squash::All {
            state
                .history
                .drain(..state.base_history.min(state.history.len()));
        }
        if own.is_empty() {
            return Ok(state);
        }
        let folder = self.folder();
        let folders: Vec<PathBuf> = (own.iter())
            .map(|id| self.engine.storage.layer(id).join("diff"))
            .collect();
        let adoption = Adoption {
            into: folder.clone(),
            times: self.build.times,
            single: self.engine.default_map().is_single(),
            ..Adoption::default()
        };
        make_folder(&folder)?;
        let layer = self.engine.in_namespace(|| {
            rustix::process::umask(rustix::fs::Mode::empty());
            merge(&folders, &folder.join("diff"), below == 0)?;
            adopt_in_place(&adoption)
        })?;
        self.settle(&folder, &layer)?;
        let held = self.engine.storage.hold_layer(&layer.id)?;
        let held = held.ok_or_else(|| Error::other("the squashed layer is gone"))?;
        self.held.entry(layer.id.clone()).or_insert(held);
        state.layers.truncate(below);
        state.layers.push((layer.id, layer.size));
        // The last line is the layer's.
        let from = match self.build.squash {
            Squash::All => 0,
            _ => state.base_history,
        };
        let own = state.history.get_mut(from..).unwrap_or_default();
        if let Some((last, rest)) = own.split_last_mut() {
            rest.iter_mut().for_each(|line| line.empty_layer = true);
            last.empty_layer = false;
        }
        state.base_only = None;
        Ok(state)
    }
}

/// Makes the new folder `into` what the folders `layers`, the lowest first, come to. Files
/// are linked. With `is_whole` there is nothing beneath: what hides is left out.
fn merge(layers: &[PathBuf], into: &Path, is_whole: bool) -> Result<()> {
    std::fs::create_dir(into).tried(|| format!("make {}", into.display()))?;
    for layer in layers {
        one(layer, into, is_whole).tried(|| "squash layers")?;
    }
    Ok(())
}

fn one(layer: &Path, into: &Path, is_whole: bool) -> Result<()> {
    let source = walk::open_root(layer)?;
    let root = walk::open_root(into)?;
    dress(&source, &root)?;
    let mut walk = Walk::new(source)?;
    let mut targets = Chain::new(root)?;
    let mut stats = Vec::new();
    while let Some(step) = walk.step()? {
        match step {
            Step::Enter(found) => {
                let target = targets.last();
                let is_opaque = has(walk.folder(), OPAQUE);
                let is_folder = kind(target, &found.name) == Some(FileType::Directory);
                if is_opaque || !is_folder {
                    remove(target, &found.name)?;
                }
                match rustix::fs::mkdirat(target, &found.name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                let folder = walk::open(target, &found.name, OFlags::DIRECTORY)?;
                if is_opaque && !is_whole {
                    rustix::fs::fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())?;
                }
                dress(walk.folder(), &folder)?;
                targets.push(folder)?;
                stats.push(found.stat);
            }
            Step::Leave => {
                if let Some(stat) = stats.pop() {
                    rustix::fs::futimens(targets.last(), &times(&stat))?;
                }
                targets.pop()?;
            }
            Step::Other(found) => {
                let target = targets.last();
                let is_whiteout =
                    found.kind() == FileType::CharacterDevice && found.stat.st_rdev == 0;
                remove(target, &found.name)?;
                if is_whiteout && is_whole {
                    continue;
                }
                rustix::fs::linkat(
                    walk.folder(),
                    &found.name,
                    target,
                    &found.name,
                    AtFlags::empty(),
                )?;
            }
        }
    }
    Ok(())
}

fn kind(folder: &OwnedFd, name: &CStr) -> Option<FileType> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn has(file: &OwnedFd, attribute: &str) -> bool {
    let mut value = [0; 4];
    rustix::fs::fgetxattr(file, attribute, &mut value[..])
        .is_ok_and(|length| &value[..length] == b"y")
}

/// Takes away what is there of that name, with all in it.
fn remove(folder: &OwnedFd, name: &CStr) -> Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => {
            let name = OsStr::from_bytes(name.to_bytes());
            Ok(remove_tree_at(folder.as_fd(), Path::new(name))?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Owner, mode and attributes.
fn dress(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(stat.st_uid),
        rustix::fs::Gid::from_raw(stat.st_gid),
    );
    rustix::fs::fchown(to, Some(uid), Some(gid))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in crate::volume::attributes(from)? {
        if !name.starts_with("user.overlay.") {
            let _ = rustix::fs::fsetxattr(to, name.as_str(), &value, XattrFlags::empty());
        }
    }
    Ok(())
}

fn times(stat: &rustix::fs::Stat) -> rustix::fs::Timestamps {
    let at = rustix::fs::Timespec {
        tv_sec: stat.st_mtime as _,
        tv_nsec: stat.st_mtime_nsec as _,
    };
    rustix::fs::Timestamps {
        last_access: at,
        last_modification: at,
    }
}
