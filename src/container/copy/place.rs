//! Where a copy goes, and how each file of it gets there.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::Copy;
use super::source::{Item, Made, relative};
use super::world::missing_in;
use crate::container::Container;
use crate::error::{Context, Error, Kind as ErrorKind, Result};
use crate::storage::layer::{OWNER, clean};
use crate::storage::remove_tree_at;
use crate::storage::tar::{Entry, Kind, Reader};
use crate::sys::content;
use crate::sys::file::open_in_root;
use crate::volume::{Watch, fill_file, times};

/// Whose what is placed becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Who makes the files.
    Caller,
    /// As the entries say.
    Said,
    /// An id of the container's.
    User(u32, u32),
}

/// What becomes of a folder where there is to be none, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflicts {
    Refused,
    Replaced,
}

/// What the target's path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Folder,
    File,
    Nothing,
}

/// Where a copy goes.
pub struct Destination {
    /// What paths are resolved beneath.
    root: OwnedFd,
    /// Of the folder beneath it that the copy goes to.
    folder: PathBuf,
    /// The name there, if the target is no folder that is there.
    name: Vec<u8>,
    there: There,
}

/// How links are followed to where something is to be (path_resolution(7)).
const MOST_LINKS: usize = 40;

impl Destination {
    /// A path of the caller's.
    pub fn on_host(path: &Path) -> Result<Self> {
        let missing = || {
            Error::not_found(format!(
                "{path:?} could not be found on the host: no such file or directory"
            ))
        };
        let open = |path: &Path| {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).tried(|| path.display().to_string())
        };
        let here = |root: OwnedFd, name: Vec<u8>, there: There| Self {
            root,
            folder: PathBuf::from("."),
            name,
            there,
        };
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => Ok(here(open(path)?, Vec::new(), There::Folder)),
            Ok(_) => {
                // The file itself, where a link leads to it.
                let whole = path.canonicalize().tried(|| path.display().to_string())?;
                let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
                    return Err(missing());
                };
                Ok(here(open(parent)?, name.as_bytes().to_vec(), There::File))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = path.as_os_str().as_bytes();
                let (false, Some(name)) = (text.ends_with(b"/"), path.file_name()) else {
                    return Err(missing());
                };
                let parent = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                let root = open(parent).map_err(|_| missing())?;
                Ok(here(root, name.as_bytes().to_vec(), There::Nothing))
            }
            Err(error) => Err(error).tried(|| path.display().to_string()),
        }
    }

    /// A path in the container whose root is `root`.
    pub fn in_container(root: OwnedFd, path: &Path, container: &Container) -> Result<Self> {
        let missing = |error| missing_in(container, path, error);
        let stat = |path: &Path, flags: OFlags| -> io::Result<rustix::fs::Stat> {
            let found = open_in_root(&root, relative(path), OFlags::PATH | flags)?;
            Ok(rustix::fs::fstat(&found)?)
        };
        let is_folder = |mode: u32| FileType::from_raw_mode(mode) == FileType::Directory;
        let there = match stat(path, OFlags::empty()) {
            Ok(found) if is_folder(found.st_mode) => {
                return Ok(Self {
                    folder: path.to_owned(),
                    root,
                    name: Vec::new(),
                    there: There::Folder,
                });
            }
            Ok(_) => There::File,
            Err(error) if error.kind() == io::ErrorKind::NotFound => There::Nothing,
            Err(error) => return Err(missing(error)),
        };
        let text = path.as_os_str().as_bytes();
        if text.ends_with(b"/") {
            return Err(match there {
                There::File => {
                    Error::usage(format!("{}: exists but is not a directory", path.display()))
                        .tried("copying to container")
                }
                _ => missing(Errno::NOENT.into()),
            });
        }
        // A link that leads to a file, or to where one would be, is followed to there.
        let mut at = path.to_owned();
        for _ in 0..MOST_LINKS {
            let Some(name) = at.file_name().map(OsStr::to_owned) else {
                break;
            };
            let parent = at.parent().unwrap_or(Path::new("/")).to_owned();
            let opened = open_in_root(&root, relative(&parent), OFlags::PATH | OFlags::DIRECTORY)
                .map_err(missing)?;
            match rustix::fs::readlinkat(&opened, &name, Vec::new()) {
                Ok(to) => at = parent.join(OsStr::from_bytes(to.as_bytes())),
                Err(Errno::INVAL | Errno::NOENT) => {
                    return Ok(Self {
                        root,
                        folder: parent,
                        name: name.as_bytes().to_vec(),
                        there,
                    });
                }
                Err(error) => return Err(missing(error.into())),
            }
        }
        Err(missing(Errno::LOOP.into()))
    }

    /// For a file or folder called `base` (empty: for a folder's content) of which
    /// `first` is the first entry: Podman's table (podman-cp(1), DESCRIPTION).
    pub fn for_source(self, first: &Entry, base: &[u8]) -> Result<Goal> {
        let is_folder = first.kind == Kind::Folder;
        let name = match self.there {
            There::Folder => base.to_vec(),
            There::File if is_folder => {
                return Err(Error::usage(
                    "destination must be a directory when copying a directory",
                ));
            }
            There::File | There::Nothing => self.name,
        };
        Ok(Goal {
            root: self.root,
            folder: self.folder,
            from: base.to_vec(),
            to: name,
        })
    }

    /// For what an archive has.
    pub fn for_archive(self) -> Result<Goal> {
        if self.there != There::Folder {
            return Err(Error::usage(
                "destination must be a directory when copying from stdin",
            ));
        }
        Ok(Goal {
            root: self.root,
            folder: self.folder,
            from: Vec::new(),
            to: Vec::new(),
        })
    }
}

/// A destination, once it is known what goes there.
pub struct Goal {
    root: OwnedFd,
    folder: PathBuf,
    /// What paths of entries begin with, and what they are to begin with instead.
    from: Vec<u8>,
    to: Vec<u8>,
}

/// Places files, one after the other.
pub struct Placer<'a> {
    goal: Goal,
    owner: Owner,
    conflicts: Conflicts,
    watch: &'a dyn Watch,
    /// The folder that was placed into last.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// What folders get when nothing is made in them any more.
    folders: Vec<(Vec<u8>, u32, Timestamps)>,
    buffer: Vec<u8>,
    made: &'a Made,
}

/// What a file's content is read from.
enum Content<'a, R> {
    None,
    File(&'a OwnedFd, &'a rustix::fs::Stat),
    Archive(&'a mut Reader<R, io::Sink>),
}

impl<'a> Placer<'a> {
    pub fn new(goal: Goal, owner: Owner, how: &Copy<'a>, made: &'a Made) -> Self {
        Self {
            goal,
            owner,
            conflicts: Conflicts::of(how),
            watch: how.watch,
            last: None,
            folders: Vec::new(),
            buffer: Vec::new(),
            made,
        }
    }

    /// Places what another thread has opened.
    pub fn item(&mut self, item: &Item) -> Result<()> {
        let content = match &item.file {
            Some((file, stat)) => Content::File(file, stat),
            None => Content::<io::Empty>::None,
        };
        self.entry(&item.entry, content)
    }

    /// Places an archive's entries from the `next` on, to its end.
    pub fn all<R: BufRead>(
        mut self,
        mut next: Option<Entry>,
        archive: &mut Reader<R, io::Sink>,
    ) -> Result<()> {
        while let Some(entry) = next {
            self.unpacked(&entry, archive)?;
            next = archive.next_entry()?;
        }
        self.finish()
    }

    /// Places an archive's entry.
    fn unpacked<R: BufRead>(
        &mut self,
        entry: &Entry,
        archive: &mut Reader<R, io::Sink>,
    ) -> Result<()> {
        self.entry(entry, Content::Archive(archive))
    }

    fn entry<R: BufRead>(&mut self, entry: &Entry, content: Content<'_, R>) -> Result<()> {
        self.watch.file();
        let path = self.path(&entry.path);
        let tried = || format!("copying {:?}", shown(&path));
        // The folder that the copy goes to stays as it is.
        if path.is_empty() {
            return self.note(&self.open(&path).tried(tried)?);
        }
        let (parent, name) = split(&path);
        let folder = self.folder(parent).tried(tried)?;
        let placed = self.place(entry, &path, &folder, raw(name), content);
        self.last = Some((parent.to_vec(), folder));
        placed.tried(tried)
    }

    /// The path that an entry's has beneath the destination's folder.
    fn path(&self, path: &[u8]) -> Vec<u8> {
        let path = clean(path);
        let rest = match self.goal.from.is_empty() {
            true => &path[..],
            false => {
                let rest = path.strip_prefix(&*self.goal.from).unwrap_or(&path);
                rest.strip_prefix(b"/").unwrap_or(rest)
            }
        };
        match (self.goal.to.is_empty(), rest.is_empty()) {
            (true, _) => rest.to_vec(),
            (false, true) => self.goal.to.clone(),
            (false, false) => [&self.goal.to, rest].join(&b'/'),
        }
    }

    /// Opens the folder `path` beneath the destination's: links are followed within
    /// the root. What is missing, as archives may leave it out, is made.
    fn folder(&mut self, path: &[u8]) -> Result<OwnedFd> {
        if let Some((last, folder)) = self.last.take()
            && last == path
        {
            return Ok(folder);
        }
        match self.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_empty() => {}
            opened => return Ok(opened?),
        }
        let (above, name) = split(path);
        let above = self.folder(above)?;
        match rustix::fs::mkdirat(&above, raw(name), Mode::from_raw_mode(0o755)) {
            Ok(()) => self.own(None, &above, raw(name))?,
            // A link that leads nowhere.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.open(path)?)
    }

    fn open(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let whole = match path.is_empty() {
            true => self.goal.folder.clone(),
            false => self.goal.folder.join(raw(path)),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        open_in_root(&self.goal.root, relative(&whole), flags)
    }

    fn place<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        folder: &OwnedFd,
        name: &Path,
        content: Content<'_, R>,
    ) -> Result<()> {
        match entry.kind {
            Kind::Folder => return self.make_folder(entry, path, folder, name),
            Kind::File => return self.file(entry, folder, name, content),
            Kind::HardLink => {
                let target = self.path(&entry.link);
                let (above, target) = split(&target);
                let from = self.open(above)?;
                let flags = AtFlags::empty();
                return self.make(folder, name, || {
                    rustix::fs::linkat(&from, raw(target), folder, name, flags)
                });
            }
            Kind::Symlink => {
                self.make(folder, name, || {
                    rustix::fs::symlinkat(raw(&entry.link), folder, name)
                })?;
            }
            Kind::Fifo => {
                let mode = Mode::from_raw_mode(entry.mode & 0o777);
                self.make(folder, name, || {
                    rustix::fs::mknodat(folder, name, FileType::Fifo, mode, 0)
                })?;
            }
            // A user may make none, and Podman leaves them out.
            Kind::CharDevice | Kind::BlockDevice => return Ok(()),
        }
        self.own(Some(entry), folder, name)?;
        let times = times(entry.mtime);
        Ok(rustix::fs::utimensat(
            folder,
            name,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Makes something, in the place of what has its name and is no folder.
    fn make<T>(
        &self,
        folder: &OwnedFd,
        name: &Path,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {}
            made => return Ok(made?),
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) if self.conflicts == Conflicts::Replaced => {
                remove_tree_at(folder, name)?;
            }
            Err(Errno::ISDIR) => {
                return Err(Error::new(
                    ErrorKind::Exists,
                    "it is a directory, and is to be none: file exists",
                )
                .hint("--overwrite has it replaced"));
            }
            Err(error) => return Err(error).tried(|| "removing item to be overwritten"),
        }
        Ok(make()?)
    }

    fn make_folder(
        &mut self,
        entry: &Entry,
        path: &[u8],
        folder: &OwnedFd,
        name: &Path,
    ) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777 | 0o700);
        let make = || rustix::fs::mkdirat(folder, name, mode);
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => match self.open(path) {
                // A folder, or a link to one.
                Ok(_) => {}
                Err(_) if self.conflicts == Conflicts::Replaced => {
                    rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
                    make()?;
                }
                Err(_) => {
                    return Err(Error::new(
                        ErrorKind::Exists,
                        "it is none, and is to be a directory: file exists",
                    )
                    .hint("--overwrite has it replaced"));
                }
            },
            Err(error) => return Err(error.into()),
        }
        let made = reopen(&self.open(path)?)?;
        self.note(&made)?;
        self.own_file(entry, &made)?;
        self.extend(entry, &made)?;
        self.folders
            .push((path.to_vec(), entry.mode, times(entry.mtime)));
        Ok(())
    }

    /// Remembers the first folder, which all others are in.
    fn note(&self, folder: &OwnedFd) -> Result<()> {
        if self.made.get().is_none() {
            let stat = rustix::fs::fstat(folder)?;
            self.made.get_or_init(|| (stat.st_dev, stat.st_ino));
        }
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        folder: &OwnedFd,
        name: &Path,
        content: Content<'_, R>,
    ) -> Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = self.make(folder, name, || {
            rustix::fs::openat(folder, name, flags, mode)
        })?;
        match content {
            Content::None => {}
            Content::Archive(archive) => fill_file(&file, entry, archive)?,
            Content::File(source, stat) => {
                let is_shared = stat.st_size > 1 << 16 && content::share(source, &file);
                if is_shared {
                    self.watch.advance(stat.st_size.unsigned_abs());
                } else {
                    let written = Written::default();
                    let told = |bytes| {
                        self.watch.advance(bytes);
                        written.advance(&file, bytes);
                    };
                    content::copy(source, &file, stat, &mut self.buffer, told)?;
                }
            }
        }
        // In this order: a new owner takes away setuid bits and capabilities.
        self.own_file(entry, &file)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
        self.extend(entry, &file)?;
        Ok(rustix::fs::futimens(&file, &times(entry.mtime))?)
    }

    fn ids(&self, entry: Option<&Entry>) -> Option<(u32, u32)> {
        match (self.owner, entry) {
            (Owner::Caller, _) | (Owner::Said, None) => None,
            (Owner::Said, Some(entry)) => Some((entry.uid, entry.gid)),
            (Owner::User(uid, gid), _) => Some((uid, gid)),
        }
    }

    fn own(&self, entry: Option<&Entry>, folder: &OwnedFd, name: &Path) -> Result<()> {
        let Some((uid, gid)) = self.ids(entry) else {
            return Ok(());
        };
        let (owner, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(folder, name, Some(owner), Some(group), flags)
            .map_err(|error| not_owned((uid, gid), error))
    }

    fn own_file(&self, entry: &Entry, file: &OwnedFd) -> Result<()> {
        let Some((uid, gid)) = self.ids(Some(entry)) else {
            return Ok(());
        };
        let (owner, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::fchown(file, Some(owner), Some(group))
            .map_err(|error| not_owned((uid, gid), error))
    }

    /// Extended attributes: in a container all that archives have, on the host those
    /// that are not about ids.
    fn extend(&self, entry: &Entry, file: &OwnedFd) -> Result<()> {
        for (name, value) in &entry.xattrs {
            let is_ours = name == OWNER || name.starts_with("user.overlay.");
            if is_ours || (self.owner == Owner::Caller && !name.starts_with("user.")) {
                continue;
            }
            match rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                // What the file system or the kernel does not let us set.
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {}
                Err(error) => return Err(error).tried(|| format!("set attribute {name:?}")),
            }
        }
        Ok(())
    }

    /// Gives folders their modes and times: the deepest first, as a mode may shut who
    /// makes files out.
    pub fn finish(self) -> Result<()> {
        for (path, mode, times) in self.folders.iter().rev() {
            // Something else may have taken its place.
            if let Ok(folder) = self.open(path).and_then(|folder| reopen(&folder)) {
                rustix::fs::fchmod(&folder, Mode::from_raw_mode(*mode))?;
                rustix::fs::futimens(&folder, times)?;
            }
        }
        Ok(())
    }
}

/// Opens a folder that is held as a mere place.
fn reopen(folder: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(crate::storage::walk::open(folder, c".", OFlags::DIRECTORY)?)
}

fn not_owned((uid, gid): (u32, u32), error: Errno) -> Error {
    let failed = Error::from(error).tried(format_args!("chown to {uid}:{gid}"));
    match error {
        Errno::INVAL => failed.hint("the container's id map has no such id"),
        _ => failed,
    }
}

/// The folder and the last name of a cleaned path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn raw(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A path as an error may show it.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars()
        .filter(|it| !it.is_control())
        .take(200)
        .collect()
}

/// How much of a file has been written, and how much of that is on its way to the disk.
///
/// Who unmounts a container's overlay waits until the disk has what was written to it:
/// that goes there while the rest is copied.
#[derive(Default)]
struct Written {
    all: Cell<u64>,
    sent: Cell<u64>,
}

impl Written {
    fn advance(&self, file: &OwnedFd, bytes: u64) {
        const STRIDE: u64 = 8 << 20;
        self.all.set(self.all.get() + bytes);
        let waiting = self.all.get() - self.sent.get();
        if waiting >= STRIDE {
            // An overlay hands this one on (posix_fadvise(2)): it begins to write, and
            // forgets what is written already, which is nothing yet.
            let part = NonZeroU64::new(waiting);
            let _ = rustix::fs::fadvise(file, self.sent.get(), part, Advice::DontNeed);
            self.sent.set(self.all.get());
        }
    }
}
