//! A tree of files, copied as it is: content and holes, owners, modes, times,
//! extended attributes, hard links, symbolic links, fifos and sockets.
//!
//! What is copied is a container's: everything in it is opened by its folder's
//! descriptor and never through a link.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::Watch;
use crate::storage::walk::{Chain, Found, Step, Walk, open, open_root};
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

/// Copies what an image has in `source` into the folder `target`, which gets its
/// owner, mode, times and attributes too. Starts no thread.
pub fn tree(source: &OwnedFd, target: &Path) -> io::Result<()> {
    let how = How {
        content: Content::Copied,
        marks: Marks::Left,
        threads: 0,
        watch: &(),
    };
    tree_as(source, target, &how).map(drop)
}

/// How a tree is copied.
pub struct How<'a> {
    pub content: Content,
    pub marks: Marks,
    /// Threads that copy beside the one that goes through the tree.
    pub threads: usize,
    pub watch: &'a dyn Watch,
}

/// What becomes of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Copied, by sharing blocks where the file system can.
    Copied,
    /// The file has one more name: nobody may write into it.
    Linked,
}

/// What becomes of the marks that an overlay makes in its layers (`user.overlay.*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    Kept,
    /// They are about the layer that is copied.
    Left,
}

/// What a copy was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Copied {
    /// There was something to share blocks of, and all of it was.
    pub shared: bool,
}

/// As [`tree`], as `how` says.
pub fn tree_as(source: &OwnedFd, target: &Path, how: &How<'_>) -> io::Result<Copied> {
    let root = open_root(target)?;
    let failed = Failed::default();
    let large = Large::default();
    // A file on its way holds two descriptors.
    let (send, receive) = sync_channel(64);
    let receive = Mutex::new(receive);
    std::thread::scope(|scope| {
        for _ in 0..how.threads {
            let mut worker = Worker::new(how, &large);
            let (receive, failed) = (&receive, &failed);
            scope.spawn(move || worker.work(receive, failed));
        }
        let mut copier = Copier {
            how,
            links: HashMap::new(),
            worker: Worker::new(how, &large),
            send: (how.threads > 0).then_some(send),
            failed: &failed,
            root: root.try_clone()?,
        };
        copier.walk(source, root)
    })?;
    let first = failed.first.into_inner();
    match first.unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(Copied {
            shared: large.shared.into_inner() && !large.copied.into_inner(),
        }),
    }
}

/// What became of files that are worth sharing the blocks of.
#[derive(Default)]
struct Large {
    shared: AtomicBool,
    copied: AtomicBool,
}

/// The first error of any thread.
#[derive(Default)]
struct Failed {
    is: AtomicBool,
    first: Mutex<Option<io::Error>>,
}

impl Failed {
    fn set(&self, error: io::Error) {
        let first = &mut *self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.is.store(true, Ordering::Relaxed);
    }
}

/// A file whose copy is made, and is to get its content.
struct Task {
    source: OwnedFd,
    target: OwnedFd,
    stat: Stat,
    path: PathBuf,
}

/// The kernel's bound on a list of names and on a value (limits.h).
const XATTR_MAX: usize = 1 << 16;

/// Goes through the tree and makes all that is in it.
struct Copier<'a> {
    how: &'a How<'a>,
    root: OwnedFd,
    /// Where files with several names have been copied to, beneath `root`.
    links: HashMap<(u64, u64), PathBuf>,
    worker: Worker<'a>,
    send: Option<SyncSender<Task>>,
    failed: &'a Failed,
}

impl Copier<'_> {
    fn walk(&mut self, source: &OwnedFd, root: OwnedFd) -> io::Result<()> {
        let mut walk = Walk::new(source.try_clone()?)?;
        let mut targets = Chain::new(root)?;
        // A folder is dressed when its entries are done, as they change its times.
        let mut stats = vec![rustix::fs::fstat(source)?];
        while let Some(step) = walk.step()? {
            if self.failed.is.load(Ordering::Relaxed) {
                return Ok(());
            }
            match step {
                Step::Enter(found) => {
                    rustix::fs::mkdirat(targets.last(), &found.name, Mode::RWXU)
                        .map_err(|error| named(walk.path(), error))?;
                    let target = open(targets.last(), &found.name, OFlags::DIRECTORY)?;
                    targets.push(target)?;
                    stats.push(found.stat);
                }
                Step::Leave => {
                    if let Some(stat) = stats.pop() {
                        self.dress(walk.folder(), targets.last(), &stat)
                            .map_err(|error| named(walk.path(), error))?;
                    }
                    targets.pop()?;
                }
                Step::Other(found) => {
                    self.entry(&walk, &found, targets.last())
                        .map_err(|error| named(walk.path(), error))?;
                }
            }
        }
        match stats.pop() {
            Some(stat) => self.dress(source, targets.last(), &stat),
            None => Ok(()),
        }
    }

    /// Makes a folder like `source`, once nothing is made in it any more: its times
    /// would change, and what it has would inherit from it.
    fn dress(&mut self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> io::Result<()> {
        own(target, stat)?;
        self.worker.attributes(source, target)?;
        Ok(rustix::fs::futimens(target, &times(stat))?)
    }

    /// Copies what is no folder.
    fn entry(&mut self, walk: &Walk, found: &Found, target: &OwnedFd) -> io::Result<()> {
        let (folder, name, stat) = (walk.folder(), found.name.as_c_str(), &found.stat);
        self.how.watch.file();
        if self.how.content == Content::Linked
            && rustix::fs::linkat(folder, name, target, name, AtFlags::empty()).is_ok()
        {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&id) {
                // A path too long to name, a file with too many names: a copy of its own.
                if rustix::fs::linkat(&self.root, first, target, name, AtFlags::empty()).is_ok() {
                    return Ok(());
                }
            }
            self.links.insert(id, walk.path().to_owned());
        }
        match found.kind() {
            FileType::RegularFile => self.file(walk, name, target),
            FileType::Symlink => {
                let to = match rustix::fs::readlinkat(folder, name, Vec::new()) {
                    Err(Errno::NOENT) => return Ok(()),
                    to => to?,
                };
                rustix::fs::symlinkat(&*to, target, name)?;
                dress_at(target, name, stat)
            }
            kind @ (FileType::Fifo | FileType::Socket) => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(target, name, kind, mode, 0)?;
                dress_at(target, name, stat)?;
                Ok(rustix::fs::chmodat(target, name, mode, AtFlags::empty())?)
            }
            // An overlay's whiteout, in the storage of containers within a container.
            kind @ FileType::CharacterDevice if stat.st_rdev == 0 => {
                rustix::fs::mknodat(target, name, kind, Mode::empty(), 0)?;
                dress_at(target, name, stat)
            }
            // A user can make no device, so nothing of theirs has any.
            _ => Ok(()),
        }
    }

    fn file(&mut self, walk: &Walk, name: &CStr, folder: &OwnedFd) -> io::Result<()> {
        let source = match open(walk.folder(), name, OFlags::NONBLOCK) {
            Err(Errno::NOENT) => return Ok(()),
            source => source?,
        };
        // It may have been exchanged since it was looked at.
        let stat = rustix::fs::fstat(&source)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it changed while it was copied"));
        }
        let target = rustix::fs::openat(
            folder,
            name,
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )?;
        match &self.send {
            None => self.worker.file(&source, &target, &stat),
            Some(send) => {
                let task = Task {
                    source,
                    target,
                    stat,
                    path: walk.path().to_owned(),
                };
                send.send(task)
                    .map_err(|_| io::Error::other("no thread is left to copy"))
            }
        }
    }
}

/// Copies contents.
struct Worker<'a> {
    how: &'a How<'a>,
    large: &'a Large,
    buffer: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(how: &'a How<'a>, large: &'a Large) -> Self {
        Self {
            how,
            large,
            buffer: Vec::new(),
        }
    }

    fn work(&mut self, receive: &Mutex<Receiver<Task>>, failed: &Failed) {
        loop {
            let next = receive
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(task) = next else {
                return;
            };
            // After an error the rest is taken and let go, so that nobody waits.
            if failed.is.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = self.file(&task.source, &task.target, &task.stat) {
                failed.set(named(&task.path, error));
            }
        }
    }

    fn file(&mut self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> io::Result<()> {
        self.content(source, target, stat)?;
        // Capabilities are gone with a new owner, so attributes come after it.
        own(target, stat)?;
        self.attributes(source, target)?;
        Ok(rustix::fs::futimens(target, &times(stat))?)
    }

    /// Copies a file's bytes: by sharing them where the file system can, else
    /// what is between its holes.
    fn content(&mut self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> io::Result<()> {
        // Below that a read and a write cost less than asking.
        if stat.st_size > 1 << 16 {
            if content::share(source, target) {
                self.how.watch.advance(used(stat));
                self.large.shared.store(true, Ordering::Relaxed);
                return Ok(());
            }
            self.large.copied.store(true, Ordering::Relaxed);
        }
        let told = |bytes| self.how.watch.advance(bytes);
        content::copy(source, target, stat, &mut self.buffer, told)
    }

    fn attributes(&self, source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
        each_attribute(source, |name, value| {
            if self.how.marks == Marks::Left && name.to_bytes().starts_with(b"user.overlay.") {
                return Ok(());
            }
            match rustix::fs::fsetxattr(target, name, value, XattrFlags::empty()) {
                // What the file system or the security module does not let us keep.
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }
}

/// Hands every extended attribute of a file to `each`.
pub fn each_attribute(
    file: &OwnedFd,
    mut each: impl FnMut(&CStr, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    // Most files have none, or short ones.
    let mut small = [0; 256];
    let mut large = Vec::new();
    let names = match rustix::fs::flistxattr(file, &mut small[..]) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
        Ok(length) => &small[..length],
        Err(Errno::RANGE) => {
            large.resize(XATTR_MAX, 0);
            let length = rustix::fs::flistxattr(file, &mut large[..])?;
            &large[..length]
        }
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0; 1024];
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let mut length = rustix::fs::fgetxattr(file, name, &mut value[..]);
        if length == Err(Errno::RANGE) {
            value.resize(XATTR_MAX, 0);
            length = rustix::fs::fgetxattr(file, name, &mut value[..]);
        }
        match length {
            Ok(length) => each(name, &value[..length])?,
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Bytes on disk.
pub fn used(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}

/// The error, with the file it is about.
fn named(path: &Path, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    // What has been named is named once.
    match error.raw_os_error() {
        Some(_) => io::Error::other(format!("{}: {}", shown(path), crate::error::words(&error))),
        None => error,
    }
}

/// A path as an error may show it: not too long, no control characters.
pub fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Owner and mode, in this order: chown clears setuid.
fn own(target: &OwnedFd, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(target, Some(uid), Some(gid))?;
    Ok(rustix::fs::fchmod(
        target,
        Mode::from_raw_mode(stat.st_mode & 0o7777),
    )?)
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
