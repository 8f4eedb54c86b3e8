//! A container's own files, whatever state it is in and whatever its id map: its
//! root as it sees it, without what is mounted in it.
//!
//! While it runs, its root is the overlay that it has, taken from its mount namespace.
//! Else an overlay is mounted for the reader alone, with nothing written by it.
//!
//! Readers are in a user namespace with the container's map, so that the kernel tells
//! owners, access control lists and capabilities by the container's ids. Those are the
//! image's: its layers are shifted for just that ([`crate::storage::shifted`]).

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Container, layers, rootfs};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::image::Progress;
use crate::storage::layer::{OWNER, clean};
use crate::storage::shifted::Lower;
use crate::storage::tar::{Entry, Kind};
use crate::storage::{Storage, owner_of, walk};
use crate::sys::file::{open_dir, open_in_root};
use crate::sys::{mount, socket};
use crate::userns::{self, IdMap};

/// The files of a container.
pub(super) struct Files {
    /// Its root, while it runs.
    live: Option<OwnedFd>,
    lower: Lower,
    upper: PathBuf,
    /// The folder of the host's that is its root, itself.
    folder: Option<PathBuf>,
    /// That of the namespace to read them in.
    pub map: IdMap,
    pub ids: Ids,
}

impl Files {
    /// Those of a container in whatever state it is.
    pub fn of(engine: &Engine, container: &Container, progress: Option<Progress>) -> Result<Self> {
        Ok(Self {
            live: live_root(engine, container)?,
            ..Self::at_rest(engine, container, progress)?
        })
    }

    /// Those of a container that does not run, or whose root is not asked for.
    pub fn at_rest(
        engine: &Engine,
        container: &Container,
        progress: Option<Progress>,
    ) -> Result<Self> {
        let record = &container.record;
        let base = engine.default_map();
        let own = record.map.as_ref().unwrap_or(base);
        let image = &record.image;
        let lower = layers::root(engine, record, own, progress)?;
        let map = own.and_rest(base);
        Ok(Self {
            live: None,
            lower,
            folder: rootfs::own_folder(record).map(Path::to_owned),
            upper: engine.storage.container(&record.id).join("upper"),
            ids: Ids {
                base: base.clone(),
                map: map.clone(),
                layers: engine.storage.plain(&image.layers).folders,
            },
            map,
        })
    }

    /// The container's own layer; none before its first start. In the namespace.
    pub fn upper(&self) -> Option<&Path> {
        self.upper.exists().then_some(&*self.upper)
    }

    /// What the container's overlay is mounted of, beneath its own layer.
    pub fn lower(&self) -> &Lower {
        &self.lower
    }

    /// The whole tree. In the namespace.
    pub fn root(&self, storage: &Storage) -> Result<OwnedFd> {
        let mounted = match &self.live {
            Some(live) => live.try_clone()?,
            None => self.overlay(storage)?,
        };
        Ok(walk::open(&mounted, c".", OFlags::DIRECTORY)?)
    }

    /// An overlay of what a container that does not run has, mounted nowhere. In the
    /// namespace.
    pub fn overlay(&self, storage: &Storage) -> Result<mount::Detached> {
        if let Some(folder) = &self.folder {
            return rootfs::copy_of(folder);
        }
        let mut lower = self.lower.clone();
        if let Some(upper) = self.upper() {
            lower.folders.insert(0, upper.to_owned());
        }
        rootfs::read_only(storage, &lower)
    }
}

impl Files {
    /// As [`Files::overlay`], with what is in `below` where there is nothing else. Not where
    /// owners are shifted: from what is lowest there the kernel goes on to the files.
    pub fn overlay_above(&self, storage: &Storage, below: &Path) -> Result<mount::Detached> {
        if self.folder.is_some() || !self.lower.data.is_empty() {
            return self.overlay(storage);
        }
        let mut lower = self.lower.clone();
        if let Some(upper) = self.upper() {
            lower.folders.insert(0, upper.to_owned());
        }
        lower.folders.push(below.to_owned());
        rootfs::read_only(storage, &lower)
    }
}

/// The root of a container that runs, alone.
fn live_root(engine: &Engine, container: &Container) -> Result<Option<OwnedFd>> {
    let Some(entrance) = container.entrance() else {
        return Ok(None);
    };
    let (ours, theirs) = socket::pair().tried(|| "make a socket pair")?;
    let sent = userns::in_child_beside(engine.thread, &entrance, || {
        let root = open_dir(Path::new("/")).tried(|| "open the container's root")?;
        let copy = mount::copy_of(&root, false).tried(|| "take the container's root")?;
        Ok(socket::send(theirs.as_fd(), b"root", &[copy.as_fd()])?)
    });
    if let Err(error) = sent {
        // It has ended just now, and its files are at rest.
        return match entrance.wait_ended(Some(std::time::Duration::ZERO))? {
            true => Ok(None),
            false => Err(error),
        };
    }
    let (_, fds) = socket::receive(&ours)?;
    let root = fds.into_iter().next();
    root.map(Some)
        .ok_or_else(|| Error::other("the container's root did not arrive"))
}

/// Whose a container's files are in its image's ids.
pub(super) struct Ids {
    base: IdMap,
    /// That of the namespace in which files are read.
    map: IdMap,
    /// The image's, highest first.
    layers: Vec<PathBuf>,
}

impl Ids {
    /// Makes an entry's owner that of the image's ids, and leaves out what is about
    /// this store alone.
    pub fn dress(&self, entry: &mut Entry) -> Result<()> {
        let mut said = None;
        entry.xattrs.retain(|(name, value)| {
            if name == OWNER {
                said = owner_of(value);
            }
            name != OWNER && !name.starts_with("user.overlay.")
        });
        for (name, value) in &mut entry.xattrs {
            if name == "security.capability" {
                without_root(value);
            }
        }
        if self.base.is_single() {
            // All files are the caller's, so that nothing but this says whose they are.
            let (uid, gid) = said.unwrap_or(self.single_owner(entry));
            (entry.uid, entry.gid) = (uid, gid);
            return Ok(());
        }
        // An id that the container does not have stands beside those it has; it is
        // one that its image's file kept.
        let of = |inside: u32, outside: Option<u32>, base: Option<u32>| {
            let is_beside = inside >= IdMap::BESIDE && outside.is_some();
            base.filter(|_| is_beside).unwrap_or(inside)
        };
        let uid = self.map.uid_outside(entry.uid);
        let gid = self.map.gid_outside(entry.gid);
        let base_uid = uid.and_then(|it| self.base.uid_inside(it));
        let base_gid = gid.and_then(|it| self.base.gid_inside(it));
        entry.uid = of(entry.uid, uid, base_uid);
        entry.gid = of(entry.gid, gid, base_gid);
        Ok(())
    }

    /// The owner of a file that does not say it, where there is one id: root's if it
    /// is the image's, else the container's one user's.
    fn single_owner(&self, entry: &Entry) -> (u32, u32) {
        let seen = (entry.uid, entry.gid);
        if seen == (0, 0) || entry.kind == Kind::HardLink {
            return seen;
        }
        let path = clean(&entry.path);
        let path = Path::new(OsStr::from_bytes(&path));
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let is_there = |layer: &PathBuf| {
            open_dir(layer).is_ok_and(|root| open_in_root(&root, path, flags).is_ok())
        };
        match self.layers.iter().any(is_there) {
            true => (0, 0),
            false => seen,
        }
    }
}

/// Makes a file's capabilities those in whatever namespace reads them (capabilities(7),
/// version 2): the image's root is no id of this machine.
fn without_root(value: &mut Vec<u8>) {
    const VERSION: u8 = 2;
    if value.len() == 24 {
        value.truncate(20);
        value[3] = VERSION;
    }
}
