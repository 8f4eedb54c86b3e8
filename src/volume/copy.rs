//! A tree of files, copied as it is: content and holes, owners, modes, times,
//! extended attributes, hard links, symbolic links, fifos and sockets.
//!
//! The source is an image's: everything in it is opened by its folder's
//! descriptor and never through a link.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::sys::content;

/// Opens a folder that may be held as a mere place (O_PATH), to read it.
pub fn reopen(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(open(dir, c".", OFlags::DIRECTORY)?)
}

/// Whether a folder has no entries.
pub fn is_empty(dir: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(dir)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies what `source` has into the folder `target`, which gets its owner,
/// mode, times and attributes too.
pub fn tree(source: &OwnedFd, target: &Path) -> io::Result<()> {
    let root = open(CWD, &c_path(target), OFlags::DIRECTORY)?;
    let mut copier = Copier {
        root,
        links: HashMap::new(),
        buffer: Vec::new(),
        names: vec![0; XATTR_MAX],
        value: vec![0; XATTR_MAX],
    };
    copier.walk(source.try_clone()?)
}

/// The kernel's bound on a list of names and on a value (limits.h).
const XATTR_MAX: usize = 1 << 16;

struct Copier {
    root: OwnedFd,
    /// Where files with several names have been copied to, beneath `root`.
    links: HashMap<(u64, u64), PathBuf>,
    buffer: Vec<u8>,
    /// The names of a file's extended attributes, and the value of one.
    names: Vec<u8>,
    value: Vec<u8>,
}

/// An open folder of the walk and what is still to be copied in it.
struct Level {
    source: OwnedFd,
    target: OwnedFd,
    entries: Dir,
    path: PathBuf,
}

impl Copier {
    /// Goes through the tree with the open folders on the heap, so that a deep
    /// one costs no stack; a folder is dressed when its entries are done, as they
    /// change its times.
    fn walk(&mut self, source: OwnedFd) -> io::Result<()> {
        let mut levels = vec![Level {
            entries: Dir::read_from(&source)?,
            target: self.root.try_clone()?,
            source,
            path: PathBuf::new(),
        }];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.entries.next() else {
                let stat = rustix::fs::fstat(&level.source)?;
                self.dress(&level.source, &level.target, &stat)?;
                levels.pop();
                continue;
            };
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = level.path.join(OsStr::from_bytes(name.to_bytes()));
            if let Some(deeper) = self.entry(level, name, path)? {
                levels.push(deeper);
            }
        }
        Ok(())
    }

    /// Copies one entry; a folder is given back to be walked.
    fn entry(&mut self, level: &Level, name: &CStr, path: PathBuf) -> io::Result<Option<Level>> {
        let stat = rustix::fs::statat(&level.source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let source = open(&level.source, name, OFlags::DIRECTORY)?;
            rustix::fs::mkdirat(&level.target, name, Mode::RWXU)?;
            return Ok(Some(Level {
                entries: Dir::read_from(&source)?,
                target: open(&level.target, name, OFlags::DIRECTORY)?,
                source,
                path,
            }));
        }
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&id) {
                let none = AtFlags::empty();
                rustix::fs::linkat(&self.root, first, &level.target, name, none)?;
                return Ok(None);
            }
            self.links.insert(id, path);
        }
        match kind {
            FileType::RegularFile => {
                let source = open(&level.source, name, OFlags::NONBLOCK)?;
                let target = rustix::fs::openat(
                    &level.target,
                    name,
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
                    Mode::RUSR | Mode::WUSR,
                )?;
                // It may have been exchanged since it was looked at.
                let stat = rustix::fs::fstat(&source)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(io::Error::other("a file changed while it was copied"));
                }
                // Below that a read and a write cost less than asking.
                if stat.st_size <= 1 << 16 || !content::share(&source, &target) {
                    content::copy(&source, &target, &stat, &mut self.buffer)?;
                }
                self.dress(&source, &target, &stat)?;
            }
            FileType::Symlink => {
                let to = rustix::fs::readlinkat(&level.source, name, Vec::new())?;
                rustix::fs::symlinkat(&*to, &level.target, name)?;
                dress_at(&level.target, name, &stat)?;
            }
            FileType::Fifo | FileType::Socket => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(&level.target, name, kind, mode, 0)?;
                dress_at(&level.target, name, &stat)?;
                rustix::fs::chmodat(&level.target, name, mode, AtFlags::empty())?;
            }
            // A user can make no device, so no image that one unpacked has any.
            _ => {}
        }
        Ok(None)
    }

    /// Owner, mode, attributes and times, in this order: chown clears setuid and
    /// capabilities, and all of them touch nothing but the change time.
    fn dress(&mut self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::fchown(target, Some(uid), Some(gid))?;
        rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        self.attributes(source, target)?;
        Ok(rustix::fs::futimens(target, &times(stat))?)
    }

    fn attributes(&mut self, source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
        let length = match rustix::fs::flistxattr(source, &mut self.names[..]) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
            Ok(length) => length,
            Err(error) => return Err(error.into()),
        };
        for name in self.names[..length].split_inclusive(|byte| *byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else {
                continue;
            };
            // The overlay's own marks are about its layers.
            if name.to_bytes().starts_with(b"user.overlay.") {
                continue;
            }
            let length = match rustix::fs::fgetxattr(source, name, &mut self.value[..]) {
                Ok(length) => length,
                Err(Errno::NODATA) => continue,
                Err(error) => return Err(error.into()),
            };
            match rustix::fs::fsetxattr(target, name, &self.value[..length], XattrFlags::empty()) {
                // What the file system or the security module does not let us keep.
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Owner and times of what is not opened.
fn dress_at(dir: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let no_follow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), no_follow)?;
    Ok(rustix::fs::utimensat(dir, name, &times(stat), no_follow)?)
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as _,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as _,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

fn open(dir: impl AsFd, name: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
