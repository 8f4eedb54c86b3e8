//! Files put into a tree: what COPY and ADD do, within the user namespace, beneath a root
//! that belongs to a stranger.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, fchmod,
    fchown, fsetxattr, futimens, mkdirat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::build::context::search::{Item, Source, shown};
use crate::build::steps::chmod::Chmod;
use crate::error::{Context, Error, Result};
use crate::storage::compression;
use crate::storage::layer::{OWNER, clean};
use crate::storage::tar::{self, Kind, Reader};
use crate::sys::file::open_in_root;
use crate::volume::attributes;

/// How files are put.
pub struct How<'a> {
    /// The folder or the file they are to be.
    pub to: &'a str,
    /// Whose they become; none: whose they are, or root's if they are the caller's.
    pub owner: Option<(u32, u32)>,
    /// They are the caller's.
    pub is_callers: bool,
    pub chmod: Option<&'a Chmod>,
    /// Archives are unpacked (ADD).
    pub unpack: bool,
    /// Only one id is mapped.
    pub single: bool,
    /// There are more sources than one, of several calls.
    pub many: bool,
}

/// The tree that files are put into.
pub struct Tree {
    root: OwnedFd,
    open: HashMap<PathBuf, Rc<OwnedFd>>,
    /// Folders whose times are set at the end, in the order they were made.
    pending: Vec<(Rc<OwnedFd>, Timestamps)>,
    links: HashMap<(u64, u64), PathBuf>,
    /// All was as it had been when it was looked at.
    pub steady: bool,
}

/// How many links that lead to nothing are followed (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// How many open folders are remembered.
const OPEN_FOLDERS: usize = 256;

impl Tree {
    pub fn new(root: OwnedFd) -> Self {
        Self {
            root,
            open: HashMap::new(),
            pending: Vec::new(),
            links: HashMap::new(),
            steady: true,
        }
    }

    /// Puts `sources`, which lie beneath `from`.
    pub fn put(&mut self, from: &OwnedFd, sources: &[Source], how: &How<'_>) -> Result<()> {
        let to = PathBuf::from(std::ffi::OsStr::from_bytes(&clean(how.to.as_bytes())));
        let means_folder = how.to.ends_with('/') || how.to.ends_with("/.") || how.to.is_empty();
        for source in sources {
            if source.is_folder {
                let base = match &source.parents {
                    None => to.clone(),
                    // The folder itself is put, not what it has.
                    Some(parents) => to.join(parents).join(&source.name),
                };
                self.make(&base, how)?;
                for item in &source.items {
                    let at = source.path.join(&item.path);
                    self.item(from, &at, &base.join(&item.path), item, how)
                        .tried(|| format!("copy {}", at.display()))?;
                }
                continue;
            }
            let Some(item) = source.items.first() else {
                continue;
            };
            if how.unpack
                && item.kind() == FileType::RegularFile
                && let Some(archive) = archive(from, &source.path)?
            {
                self.make(&to, how)?;
                self.unpack(archive, &to, how)
                    .tried(|| format!("unpack {}", source.path.display()))?;
                continue;
            }
            let into_folder = means_folder
                || how.many
                || sources.len() > 1
                || source.parents.is_some()
                || self.is_folder(&to);
            let target = match into_folder {
                true => {
                    let parents = source.parents.as_deref().unwrap_or(Path::new(""));
                    to.join(parents).join(&source.name)
                }
                false => to.clone(),
            };
            if let Some(parent) = target.parent() {
                self.make(parent, how)?;
            }
            self.item(from, &source.path, &target, item, how)
                .tried(|| format!("copy {}", source.path.display()))?;
        }
        Ok(())
    }

    /// Gives folders their times, now that nothing is made in them any more.
    pub fn finish(self) -> Result<bool> {
        for (folder, times) in self.pending.iter().rev() {
            futimens(&**folder, times)?;
        }
        Ok(self.steady)
    }

    fn is_folder(&self, path: &Path) -> bool {
        open_in_root(&self.root, shown(path), OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// The folder at `path`, made with those it lies in where they are missing.
    pub fn make(&mut self, path: &Path, how: &How<'_>) -> Result<Rc<OwnedFd>> {
        self.make_through(path, how, 0)
    }

    fn make_through(&mut self, path: &Path, how: &How<'_>, depth: u32) -> Result<Rc<OwnedFd>> {
        if let Some(folder) = self.open.get(path) {
            return Ok(folder.clone());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match open_in_root(&self.root, shown(path), flags) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let name = path.file_name().unwrap_or_default();
                let parent = path.parent().unwrap_or(Path::new(""));
                let above = self.make_through(parent, how, depth)?;
                match mkdirat(&*above, name, Mode::from_raw_mode(0o755)) {
                    // A link that leads to what is not there yet.
                    Err(Errno::EXIST) if depth < MOST_LINKS => {
                        let to = rustix::fs::readlinkat(&*above, name, Vec::new())
                            .tried(|| format!("make /{}", path.display()))?;
                        let parent = path.parent().unwrap_or(Path::new(""));
                        let to = parent.join(std::ffi::OsStr::from_bytes(to.to_bytes()));
                        let to = clean(to.as_os_str().as_bytes());
                        let to = PathBuf::from(std::ffi::OsStr::from_bytes(&to));
                        return self.make_through(&to, how, depth + 1);
                    }
                    made => made.tried(|| format!("make /{}", path.display()))?,
                }
                let folder = openat(
                    &*above,
                    name,
                    flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                let (uid, gid) = how.owner.unwrap_or((0, 0));
                own(&folder, uid, gid, 0o755, how.single)?;
                folder
            }
            opened => opened.tried(|| format!("open /{}", path.display()))?,
        };
        if self.open.len() == OPEN_FOLDERS {
            self.open.clear();
        }
        let folder = Rc::new(folder);
        self.open.insert(path.to_owned(), folder.clone());
        Ok(folder)
    }

    /// Puts one file, folder or link that lies at `at` beneath `from`.
    fn item(
        &mut self,
        from: &OwnedFd,
        at: &Path,
        target: &Path,
        item: &Item,
        how: &How<'_>,
    ) -> Result<()> {
        let parent = self.make(target.parent().unwrap_or(Path::new("")), how)?;
        let Some(name) = target.file_name() else {
            return Err(Error::usage("it can be put nowhere"));
        };
        let stat = &item.stat;
        let (uid, gid) = how.owner.unwrap_or(match how.is_callers {
            true => (0, 0),
            false => (stat.st_uid, stat.st_gid),
        });
        let mode = |is_folder| {
            let mode = stat.st_mode & 0o7777;
            how.chmod.map_or(mode, |chmod| chmod.of(mode, is_folder))
        };
        match item.kind() {
            FileType::Directory => {
                let there = make_folder(&parent, name)?;
                self.open.remove(target);
                let folder = Rc::new(there);
                self.open.insert(target.to_owned(), folder.clone());
                own(&folder, uid, gid, mode(true), how.single)?;
                fchmod(&*folder, Mode::from_raw_mode(mode(true)))?;
                if let Ok(source) = crate::build::context::search::open_folder(from, at) {
                    extend(&source, &folder)?;
                }
                self.pending.push((folder, times(stat)));
                Ok(())
            }
            FileType::RegularFile => {
                clear(&parent, name)?;
                let id = (stat.st_dev, stat.st_ino);
                if stat.st_nlink > 1
                    && let Some(first) = self.links.get(&id)
                    && let Ok(()) = link(&self.root, first, &parent, name)
                {
                    return Ok(());
                }
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let source = open_in_root(from, at, flags)?;
                let now = rustix::fs::fstat(&source)?;
                self.steady &= crate::build::context::memory::Look::of(&now) == item.look();
                let file = create(&parent, name)?;
                copy(&source, &file)?;
                own(&file, uid, gid, mode(false), how.single)?;
                fchmod(&file, Mode::from_raw_mode(mode(false)))?;
                extend(&source, &file)?;
                futimens(&file, &times(stat))?;
                if stat.st_nlink > 1 {
                    self.links.insert(id, target.to_owned());
                }
                Ok(())
            }
            FileType::Symlink => {
                clear(&parent, name)?;
                let above = crate::build::context::search::open_folder(
                    from,
                    at.parent().unwrap_or(Path::new("")),
                )?;
                let name_there = at.file_name().unwrap_or_default();
                let to = rustix::fs::readlinkat(&above, name_there, Vec::new())?;
                symlinkat(&*to, &*parent, name)?;
                own_at(&parent, name, uid, gid, how.single)?;
                Ok(utimensat(
                    &*parent,
                    name,
                    &times(stat),
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            FileType::Fifo => {
                clear(&parent, name)?;
                let mode = Mode::from_raw_mode(mode(false));
                rustix::fs::mknodat(&*parent, name, FileType::Fifo, mode, 0)?;
                rustix::fs::chmodat(&*parent, name, mode, AtFlags::empty())?;
                own_at(&parent, name, uid, gid, how.single)
            }
            // A user can make no device.
            _ => Ok(()),
        }
    }

    /// Puts what an archive has beneath the folder `to`.
    pub fn unpack(&mut self, archive: File, to: &Path, how: &How<'_>) -> Result<()> {
        let stream = compression::decompressed(archive)?;
        let mut reader = Reader::new(BufReader::with_capacity(1 << 17, stream));
        while let Some(entry) = reader.next_entry()? {
            let cleaned = clean(&entry.path);
            if cleaned.is_empty() {
                continue;
            }
            let target = to.join(std::ffi::OsStr::from_bytes(&cleaned));
            self.entry(&entry, &target, to, &mut reader, how)
                .tried(|| String::from_utf8_lossy(&cleaned).into_owned())?;
        }
        Ok(())
    }

    fn entry<R: BufRead>(
        &mut self,
        entry: &tar::Entry,
        target: &Path,
        to: &Path,
        reader: &mut Reader<R, std::io::Sink>,
        how: &How<'_>,
    ) -> Result<()> {
        let parent = self.make(target.parent().unwrap_or(Path::new("")), how)?;
        let Some(name) = target.file_name() else {
            return Ok(());
        };
        let (uid, gid) = how.owner.unwrap_or((entry.uid, entry.gid));
        let mode = |is_folder| {
            let mode = entry.mode & 0o7777;
            how.chmod.map_or(mode, |chmod| chmod.of(mode, is_folder))
        };
        let at = Timespec {
            tv_sec: entry.mtime.0,
            tv_nsec: entry.mtime.1.into(),
        };
        let times = Timestamps {
            last_access: at,
            last_modification: at,
        };
        if entry.sparse.is_some() {
            return Err(Error::unsupported("a sparse file in an archive"));
        }
        match entry.kind {
            Kind::Folder => {
                let folder = Rc::new(make_folder(&parent, name)?);
                self.open.insert(target.to_owned(), folder.clone());
                own(&folder, uid, gid, mode(true), how.single)?;
                fchmod(&*folder, Mode::from_raw_mode(mode(true)))?;
                self.pending.push((folder, times));
                Ok(())
            }
            Kind::File => {
                clear(&parent, name)?;
                let file = File::from(create(&parent, name)?);
                reader.content(|piece| Ok((&file).write_all(piece)?))?;
                let file = OwnedFd::from(file);
                own(&file, uid, gid, mode(false), how.single)?;
                fchmod(&file, Mode::from_raw_mode(mode(false)))?;
                for (name, value) in &entry.xattrs {
                    set_attribute(&file, name, value)?;
                }
                Ok(futimens(&file, &times)?)
            }
            Kind::Symlink => {
                clear(&parent, name)?;
                symlinkat(
                    Path::new(std::ffi::OsStr::from_bytes(&entry.link)),
                    &*parent,
                    name,
                )?;
                own_at(&parent, name, uid, gid, how.single)?;
                Ok(utimensat(
                    &*parent,
                    name,
                    &times,
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            Kind::HardLink => {
                clear(&parent, name)?;
                let first = to.join(std::ffi::OsStr::from_bytes(&clean(&entry.link)));
                Ok(link(&self.root, &first, &parent, name)?)
            }
            Kind::Fifo => {
                clear(&parent, name)?;
                let mode = Mode::from_raw_mode(mode(false));
                rustix::fs::mknodat(&*parent, name, FileType::Fifo, mode, 0)?;
                own_at(&parent, name, uid, gid, how.single)
            }
            Kind::CharDevice | Kind::BlockDevice => Ok(()),
        }
    }
}

/// The file, if it is an archive: a tar, compressed or not.
fn archive(from: &OwnedFd, path: &Path) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = File::from(open_in_root(from, path, flags)?);
    let Ok(stream) = compression::decompressed(file.try_clone()?) else {
        file.rewind()?;
        return Ok(None);
    };
    let mut reader = Reader::new(BufReader::new(stream));
    let is_one = matches!(reader.next_entry(), Ok(Some(_)));
    file.rewind()?;
    Ok(is_one.then_some(file))
}

/// A folder of that name; what else is there goes, unless it is one.
fn make_folder(parent: &OwnedFd, name: &std::ffi::OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            // A link to a folder stays what it is, as Podman has it.
            if let Ok(there) = openat(parent, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
                return Ok(there);
            }
            unlinkat(parent, name, AtFlags::empty())?;
            mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(openat(
        parent,
        name,
        flags | OFlags::NOFOLLOW,
        Mode::empty(),
    )?)
}

/// Takes away what is there of that name.
fn clear(parent: &OwnedFd, name: &std::ffi::OsStr) -> Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(Error::usage("it would take the place of a folder")),
        Err(error) => Err(error.into()),
    }
}

fn create(parent: &OwnedFd, name: &std::ffi::OsStr) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?)
}

fn link(
    root: &OwnedFd,
    first: &Path,
    parent: &OwnedFd,
    name: &std::ffi::OsStr,
) -> std::io::Result<()> {
    let above =
        crate::build::context::search::open_folder(root, first.parent().unwrap_or(Path::new("")))?;
    let first = first.file_name().unwrap_or_default();
    Ok(rustix::fs::linkat(
        &above,
        first,
        parent,
        name,
        AtFlags::empty(),
    )?)
}

/// Copies a file's content, sharing blocks or in the kernel where that can be.
fn copy(from: &OwnedFd, to: &OwnedFd) -> std::io::Result<()> {
    let mut from = File::from(from.try_clone()?);
    let mut to = File::from(to.try_clone()?);
    std::io::copy(&mut from, &mut to).map(drop)
}

fn own(file: &OwnedFd, uid: u32, gid: u32, mode: u32, single: bool) -> Result<()> {
    if (uid, gid) == (0, 0) && single {
        return Ok(());
    }
    if single {
        let value = format!("{uid}:{gid}:{mode:o}");
        return Ok(fsetxattr(
            file,
            OWNER,
            value.as_bytes(),
            XattrFlags::empty(),
        )?);
    }
    fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|error| not_owned(uid, gid, error))
}

fn own_at(
    parent: &OwnedFd,
    name: &std::ffi::OsStr,
    uid: u32,
    gid: u32,
    single: bool,
) -> Result<()> {
    if single {
        return Ok(());
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let (uid_, gid_) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(parent, name, Some(uid_), Some(gid_), flags)
        .map_err(|error| not_owned(uid, gid, error))
}

fn not_owned(uid: u32, gid: u32, error: Errno) -> Error {
    let error =
        Error::from(std::io::Error::from(error)).tried(format_args!("chown to {uid}:{gid}"));
    error.hint("`coracle doctor` says how many subordinate ids you have")
}

/// Gives a file the attributes of another.
fn extend(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    for (name, value) in attributes(from)? {
        set_attribute(to, &name, &value)?;
    }
    Ok(())
}

fn set_attribute(file: &OwnedFd, name: &str, value: &[u8]) -> Result<()> {
    let ours = [
        "user.overlay.",
        "user.coracle.",
        "system.",
        "trusted.",
        "security.selinux",
    ];
    if ours.iter().any(|prefix| name.starts_with(prefix)) {
        return Ok(());
    }
    match fsetxattr(file, name, value, XattrFlags::empty()) {
        // What the kernel does not let us set is left out, as Podman does.
        Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn times(stat: &Stat) -> Timestamps {
    let at = Timespec {
        tv_sec: stat.st_mtime as _,
        tv_nsec: stat.st_mtime_nsec as _,
    };
    Timestamps {
        last_access: at,
        last_modification: at,
    }
}
