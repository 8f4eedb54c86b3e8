//! The files of layers as an overlay of them would show them, without mounting one:
//! whiteouts hide, opaque folders end the merge, links lead around within.
//!
//! **Invariant:** nothing outside the layers is opened, wherever links point.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::sys::file::open_dir;

/// Links that are followed before a path is taken for a loop (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// One folder as an overlay shows it.
pub struct Merged {
    /// What it is made of, uppermost first.
    folders: Vec<OwnedFd>,
}

/// What stands in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    File,
    Folder,
    /// Where it leads is not looked at.
    Link,
}

enum Found {
    Nothing,
    Folder(Merged),
    Link(OsString),
    /// In the folder of this index.
    File(usize),
}

/// What a path leads to.
enum End {
    Nothing,
    Folder(Merged),
    File(OwnedFd),
}

impl Merged {
    /// The root of `layers`, the lowest first.
    pub fn of(layers: &[PathBuf]) -> io::Result<Self> {
        let folders = layers.iter().rev().map(|layer| open_dir(layer));
        Ok(Self {
            folders: folders.collect::<io::Result<_>>()?,
        })
    }

    /// Opens the file at `path`; none if there is none.
    pub fn open(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match self.walk(path)? {
            End::File(file) => Ok(Some(file)),
            End::Folder(_) | End::Nothing => Ok(None),
        }
    }

    /// The names in the folder at `path` that are `wanted`.
    pub fn list(
        &self,
        path: &Path,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> io::Result<BTreeMap<OsString, Entry>> {
        let folder = match self.walk(path)? {
            End::Folder(folder) => folder,
            End::File(_) | End::Nothing => return Ok(BTreeMap::new()),
        };
        // A root that is asked for itself is not opened again.
        let folders = match folder.folders.is_empty() {
            true => &self.folders,
            false => &folder.folders,
        };
        let mut found: BTreeMap<OsString, Option<Entry>> = BTreeMap::new();
        for layer in folders {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let listed = rustix::fs::openat(layer, ".", flags, Mode::empty())?;
            for entry in Dir::new(listed)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." || !wanted(name) || found.contains_key(name) {
                    continue;
                }
                let kind = match entry.file_type() {
                    FileType::Directory => Some(Entry::Folder),
                    // It may be a whiteout.
                    FileType::CharacterDevice => {
                        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                        let it = rustix::fs::statat(layer, entry.file_name(), flags)?;
                        (it.st_rdev != 0).then_some(Entry::File)
                    }
                    FileType::Symlink => Some(Entry::Link),
                    _ => Some(Entry::File),
                };
                found.insert(name.to_owned(), kind);
            }
        }
        let shown = found
            .into_iter()
            .filter_map(|(name, kind)| Some((name, kind?)));
        Ok(shown.collect())
    }

    /// Whether the path leads to a folder.
    pub fn is_folder(&self, path: &Path) -> bool {
        matches!(self.walk(path), Ok(End::Folder(_)))
    }

    fn walk(&self, path: &Path) -> io::Result<End> {
        // Beneath the root.
        let mut way: Vec<Merged> = Vec::new();
        let mut rest: VecDeque<OsString> = parts(path).collect();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                way.pop();
                continue;
            }
            let here = way.last().unwrap_or(self);
            match look(&here.folders, &name)? {
                Found::Nothing => return Ok(End::Nothing),
                Found::Folder(merged) => way.push(merged),
                Found::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = PathBuf::from(target);
                    if target.is_absolute() {
                        way.clear();
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                Found::File(_) if !rest.is_empty() => return Ok(End::Nothing),
                Found::File(at) => {
                    let flags = OFlags::RDONLY
                        | OFlags::NOFOLLOW
                        | OFlags::NONBLOCK
                        | OFlags::NOCTTY
                        | OFlags::CLOEXEC;
                    let folder = &here.folders[at];
                    let file = rustix::fs::openat(folder, &name, flags, Mode::empty())?;
                    return Ok(End::File(file));
                }
            }
        }
        Ok(End::Folder(way.pop().unwrap_or(Self {
            folders: Vec::new(),
        })))
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn look(here: &[OwnedFd], name: &OsStr) -> io::Result<Found> {
    let mut folders = Vec::new();
    for (at, layer) in here.iter().enumerate() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = match rustix::fs::openat(layer, name, flags, Mode::empty()) {
            Ok(entry) => entry,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let found = rustix::fs::fstat(&entry)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                let ends = is_opaque(entry.as_fd())?;
                folders.push(entry);
                if ends {
                    break;
                }
            }
            // What lies under a file, link or whiteout is not seen.
            _ if !folders.is_empty() => break,
            FileType::CharacterDevice if found.st_rdev == 0 => return Ok(Found::Nothing),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&entry, "", Vec::new())?;
                return Ok(Found::Link(OsStr::from_bytes(target.to_bytes()).to_owned()));
            }
            _ => return Ok(Found::File(at)),
        }
    }
    Ok(match folders.is_empty() {
        true => Found::Nothing,
        false => Found::Folder(Merged { folders }),
    })
}

/// Whether the folder hides what lies beneath it (overlayfs, `userxattr`).
fn is_opaque(folder: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = [0; 1];
    // An O_PATH descriptor takes no xattr call itself.
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    match rustix::fs::getxattr(path, "user.overlay.opaque", &mut value) {
        Ok(length) => Ok(length == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
