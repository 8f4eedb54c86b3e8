//! Where a copy comes from: a file, or a folder and all that is in it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::SyncSender;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::world::missing_in;
use crate::container::Container;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::storage::pack::Writer;
use crate::storage::tar::{Entry, Kind};
use crate::storage::walk::{self, Step, Walk};
use crate::sys::file::open_in_root;
use crate::volume::{self, Packing, pack_file, pack_into};

/// An opened file or folder.
pub struct Source {
    file: OwnedFd,
    stat: Stat,
    /// The name that it has where it goes; empty if the content of the folder goes.
    base: Vec<u8>,
}

/// Device and inode of the folder that a copy goes to, once it is there.
pub type Made = OnceLock<(u64, u64)>;

/// A file on its way to who places it.
pub struct Item {
    /// Its path begins with `base`.
    pub entry: Entry,
    pub file: Option<(OwnedFd, Stat)>,
    pub base: Vec<u8>,
}

/// The first part of an entry's path: what a source is called.
pub fn base_of(entry: &Entry) -> Vec<u8> {
    crate::storage::layer::clean(&entry.path)
}

/// Whether an error is that nobody takes any more what is sent.
pub fn is_unread(error: &Error) -> bool {
    error.to_string() == UNREAD
}

const UNREAD: &str = "nobody takes the files";

impl Source {
    /// A path of the caller's: a link is followed.
    pub fn on_host(path: &Path) -> Result<Self> {
        let missing = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Error::not_found(
                format!("{path:?} could not be found on the host: no such file or directory"),
            ),
            _ => Error::from(error).tried(path.display()),
        };
        // It must be there before it is asked what it is: a FIFO waits for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|it| missing(it.into()))?;
        Self::new(file, path, || {
            let whole = path.canonicalize().ok()?;
            Some(whole.file_name()?.as_bytes().to_vec())
        })
    }

    /// A path in the container whose root is `root`.
    pub fn in_container(root: &OwnedFd, path: &Path, container: &Container) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = open_in_root(root, relative(path), flags)
            .map_err(|error| missing_in(container, path, error))?;
        Self::new(file, path, || None)
    }

    /// `resolved` is asked for a name where the path has none (`..`).
    fn new(file: OwnedFd, path: &Path, resolved: impl FnOnce() -> Option<Vec<u8>>) -> Result<Self> {
        let stat = rustix::fs::fstat(&file)?;
        let is_folder = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => true,
            FileType::RegularFile => false,
            // Podman's words, too: devices and the like are left out.
            _ => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "{}: copied no items: no such file or directory",
                        path.display()
                    ),
                ));
            }
        };
        let text = path.as_os_str().as_bytes();
        let is_content = is_folder && (text == b"." || text.ends_with(b"/."));
        let base = match (is_content, path.file_name()) {
            (true, _) => Vec::new(),
            (false, Some(name)) => name.as_bytes().to_vec(),
            (false, None) => resolved().unwrap_or_default(),
        };
        Ok(Self { file, stat, base })
    }

    fn is_folder(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// Sends it and all that is in it, `dress` having changed each entry. What cannot
    /// be copied (devices, sockets) is left out. Comes upon `made`, the folder that all
    /// goes to, only where a folder is copied into itself, which would have no end.
    pub fn send(
        self,
        dress: &dyn Fn(&mut Entry) -> Result<()>,
        send: SyncSender<Item>,
        made: &Made,
    ) -> Result<()> {
        let sent = |mut entry: Entry, file: Option<(OwnedFd, Stat)>| -> Result<()> {
            dress(&mut entry)?;
            let item = Item {
                entry,
                file,
                base: self.base.clone(),
            };
            send.send(item).map_err(|_| Error::other(UNREAD))
        };
        // Anew, as it may have been opened in another user namespace.
        let stat = rustix::fs::fstat(&self.file)?;
        let mut first = volume::entry(&self.base, &stat);
        first.xattrs = volume::attributes(&self.file)?;
        if !self.is_folder() {
            return sent(first, Some((self.file, stat)));
        }
        first.kind = Kind::Folder;
        sent(first, None)?;
        let mut walk = Walk::new(self.file.try_clone()?)?;
        let mut names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        while let Some(step) = walk.step()? {
            let found = match step {
                Step::Enter(ref found) | Step::Other(ref found) => found,
                Step::Leave => continue,
            };
            let path = self.path(walk.path());
            if made.get() == Some(&(found.stat.st_dev, found.stat.st_ino)) {
                return Err(Error::usage(format!(
                    "cannot copy a directory into itself: {:?}",
                    String::from_utf8_lossy(&path)
                )));
            }
            let mut entry = volume::entry(&path, &found.stat);
            if found.stat.st_nlink > 1 && found.kind() != FileType::Directory {
                let id = (found.stat.st_dev, found.stat.st_ino);
                let first = names.entry(id).or_insert_with(|| path.clone());
                if *first != path {
                    entry.kind = Kind::HardLink;
                    entry.link = first.clone();
                    sent(entry, None)?;
                    continue;
                }
            }
            match found.kind() {
                FileType::Directory => {
                    entry.kind = Kind::Folder;
                    entry.xattrs = volume::attributes(walk.folder())?;
                    sent(entry, None)?;
                }
                FileType::RegularFile => {
                    let file = match walk::open(walk.folder(), &found.name, OFlags::NONBLOCK) {
                        Err(Errno::NOENT) => continue,
                        file => file.map_err(|error| {
                            Error::from(error).tried(Path::new(OsStr::from_bytes(&path)).display())
                        })?,
                    };
                    let stat = rustix::fs::fstat(&file)?;
                    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                        continue;
                    }
                    entry = volume::entry(&path, &stat);
                    entry.xattrs = volume::attributes(&file)?;
                    sent(entry, Some((file, stat)))?;
                }
                FileType::Symlink => {
                    let to = match rustix::fs::readlinkat(walk.folder(), &found.name, Vec::new()) {
                        Err(Errno::NOENT) => continue,
                        to => to?,
                    };
                    entry.kind = Kind::Symlink;
                    entry.link = to.into_bytes();
                    sent(entry, None)?;
                }
                FileType::Fifo => {
                    entry.kind = Kind::Fifo;
                    sent(entry, None)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, beneath: &Path) -> Vec<u8> {
        let beneath = beneath.as_os_str().as_bytes();
        match self.base.is_empty() {
            true => beneath.to_vec(),
            false => [&self.base, beneath].join(&b'/'),
        }
    }

    /// Writes it and all that is in it to an archive; with `root`, a folder itself too
    /// where only its content goes.
    pub fn pack<W: Write>(
        self,
        writer: &mut Writer<W>,
        packing: &Packing<'_>,
        root: bool,
    ) -> Result<()> {
        let mut first = volume::entry(&self.base, &self.stat);
        if !self.is_folder() {
            return pack_file(writer, first, File::from(self.file), &self.stat, packing);
        }
        first.kind = Kind::Folder;
        let mut prefix = self.base.clone();
        first.path = match prefix.is_empty() {
            true => b"./".to_vec(),
            false => {
                prefix.push(b'/');
                prefix.clone()
            }
        };
        first.xattrs = volume::attributes(&self.file)?;
        if root || !prefix.is_empty() {
            (packing.dress)(&mut first)?;
            writer.entry(&first)?;
        }
        pack_into(self.file, writer, &prefix, packing)
    }
}

/// A path as openat2(2) takes it beneath a root.
pub fn relative(path: &Path) -> &Path {
    match path.strip_prefix("/") {
        Ok(rest) if rest.as_os_str().is_empty() => Path::new("."),
        Ok(rest) => rest,
        Err(_) => path,
    }
}
