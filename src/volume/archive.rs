//! A volume as a tar archive, out and in.
//!
//! Owners are ids of the caller's default user namespace. The archive says in its
//! global comment whose the volume's root is, as an entry for it would have tar(1)
//! change the folder it is unpacked in.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::copy::{self, Content, How, Marks, shown, used};
use super::{DATA, Volume, Watch};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::storage::compression;
use crate::storage::layer::{self, clean};
use crate::storage::pack::Writer;
use crate::storage::tar::{Entry, Kind, MAX_PIECES, Pieces, Reader, Sparse};
use crate::storage::walk::{self, Found, Step, Walk, open_root};
use crate::storage::{self, Staging};
use crate::sys::file::open_in_root;

/// How an archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// As the name of the file says.
    pub fn of(path: &Path) -> Self {
        let name = path.as_os_str().as_bytes().to_ascii_lowercase();
        let ends = |with: &[&str]| with.iter().any(|end| name.ends_with(end.as_bytes()));
        match () {
            () if ends(&[".gz", ".tgz"]) => Self::Gzip,
            () if ends(&[".zst", ".tzst", ".zstd"]) => Self::Zstd,
            () => Self::None,
        }
    }
}

/// Writes what the volume has to `out`. `open` opens its files, in the namespace.
/// Nothing more is written, and no error made, once nobody reads any more.
pub fn export(
    engine: &Engine,
    volume: &Volume,
    open: impl FnOnce() -> Result<OwnedFd>,
    out: &File,
    compression: Compression,
    watch: &dyn Watch,
) -> Result<()> {
    let _held = super::hold(&engine.storage, &volume.name)?;
    engine.in_namespace(|| {
        let data = open()?;
        Pipe::write(out, |pipe| {
            let out = io::BufWriter::with_capacity(1 << 18, pipe);
            match compression {
                Compression::None => pack(data, out, watch).and_then(|mut out| Ok(out.flush()?)),
                Compression::Gzip => {
                    let level = flate2::Compression::default();
                    let out = flate2::write::GzEncoder::new(out, level);
                    pack(data, out, watch).and_then(|out| Ok(out.finish()?.flush()?))
                }
                Compression::Zstd => {
                    let out = zstd::stream::Encoder::new(out, 3)?;
                    pack(data, out, watch).and_then(|out| Ok(out.finish()?.flush()?))
                }
            }
        })
    })
}

/// A pipe that remembers whether its reader has left.
pub struct Pipe<'a> {
    out: &'a File,
    has_left: &'a Cell<bool>,
}

impl Pipe<'_> {
    /// Does `work`, which writes to `out`; that nobody reads any more is no error of it.
    pub fn write(out: &File, work: impl FnOnce(Pipe<'_>) -> Result<()>) -> Result<()> {
        let has_left = Cell::new(false);
        let written = work(Pipe {
            out,
            has_left: &has_left,
        });
        match has_left.get() {
            true => Ok(()),
            false => written,
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = self.out;
        out.write(bytes).inspect_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.has_left.set(true);
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The global comment: owner and mode (octal) of the root.
const ROOT: &str = "coracle volume root ";

/// Writes the archive of a volume whose files lie in the folder `root`.
fn pack<W: Write>(root: OwnedFd, out: W, watch: &dyn Watch) -> Result<W> {
    let stat = rustix::fs::fstat(&root)?;
    let mut writer = Writer::new(out);
    let mode = stat.st_mode & 0o7777;
    writer.comment(&format!("{ROOT}{}:{}:{mode:o}", stat.st_uid, stat.st_gid))?;
    let packing = Packing {
        dress: &|_| Ok(()),
        marks: Marks::Kept,
        holes: true,
        watch,
    };
    pack_into(root, &mut writer, b"", &packing)?;
    Ok(writer.finish()?)
}

/// How a tree is written to an archive.
pub struct Packing<'a> {
    /// Changes an entry on its way, its owner above all.
    pub dress: &'a dyn Fn(&mut Entry) -> Result<()>,
    /// What becomes of an overlay's marks: left, they are written as an image's layer
    /// has them (image-spec, whiteouts).
    pub marks: Marks,
    /// Large holes are left out, which not every reader knows.
    pub holes: bool,
    pub watch: &'a dyn Watch,
}

/// Writes what lies in the folder `root` to an archive, each path behind `prefix`.
pub fn pack_into<W: Write>(
    root: OwnedFd,
    writer: &mut Writer<W>,
    prefix: &[u8],
    packing: &Packing<'_>,
) -> Result<()> {
    let mut walk = Walk::new(root)?;
    let mut packer = Packer {
        writer,
        prefix,
        packing,
    };
    let mut names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    while let Some(step) = walk.step()? {
        let found = match step {
            Step::Enter(found) | Step::Other(found) => found,
            Step::Leave => continue,
        };
        let first = match found.stat.st_nlink > 1 && found.kind() != FileType::Directory {
            true => {
                let path = packer.path(walk.path());
                let id = (found.stat.st_dev, found.stat.st_ino);
                let first = names.entry(id).or_insert_with(|| path.clone());
                (*first != path).then(|| first.clone())
            }
            false => None,
        };
        packer
            .one(&walk, &found, first)
            .tried(|| shown(walk.path()))?;
    }
    Ok(())
}

struct Packer<'a, W> {
    writer: &'a mut Writer<W>,
    prefix: &'a [u8],
    packing: &'a Packing<'a>,
}

impl<W: Write> Packer<'_, W> {
    fn path(&self, path: &Path) -> Vec<u8> {
        [self.prefix, path.as_os_str().as_bytes()].concat()
    }

    fn entry(&self, path: &Path, stat: &Stat) -> Entry {
        entry(&self.path(path), stat)
    }

    fn write(&mut self, mut entry: Entry) -> Result<()> {
        (self.packing.dress)(&mut entry)?;
        Ok(self.writer.entry(&entry)?)
    }

    fn one(&mut self, walk: &Walk, found: &Found, first: Option<Vec<u8>>) -> Result<()> {
        self.packing.watch.file();
        let is_layer = self.packing.marks == Marks::Left;
        let mut entry = self.entry(walk.path(), &found.stat);
        // An overlay's whiteout; not of the layer itself it is one in the storage of
        // containers within a container.
        let is_whiteout = found.kind() == FileType::CharacterDevice && found.stat.st_rdev == 0;
        if let Some(first) = first
            && !(is_whiteout && is_layer)
        {
            entry.kind = Kind::HardLink;
            entry.link = first;
            return self.write(entry);
        }
        match found.kind() {
            FileType::Directory => {
                entry.kind = Kind::Folder;
                entry.path.push(b'/');
                entry.xattrs = attributes(walk.folder())?;
                let mut opaque = None;
                if is_layer {
                    let is_opaque =
                        |(name, value): &(String, Vec<u8>)| name == layer::OPAQUE && value == b"y";
                    opaque = entry.xattrs.iter().any(is_opaque).then(|| {
                        let mut mark = self.entry(walk.path(), &found.stat);
                        mark.path.extend(b"/.wh..wh..opq");
                        mark.mode = 0;
                        mark
                    });
                }
                self.write(entry)?;
                opaque.map_or(Ok(()), |mark| self.write(mark))
            }
            FileType::RegularFile => {
                let file = match walk::open(walk.folder(), &found.name, OFlags::NONBLOCK) {
                    Err(Errno::NOENT) => return Ok(()),
                    file => file?,
                };
                // It may have been exchanged since it was looked at.
                let stat = rustix::fs::fstat(&file)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(Error::other("it changed while it was read"));
                }
                let entry = self.entry(walk.path(), &stat);
                pack_file(self.writer, entry, File::from(file), &stat, self.packing)
            }
            FileType::Symlink => {
                let to = rustix::fs::readlinkat(walk.folder(), &found.name, Vec::new())?;
                entry.kind = Kind::Symlink;
                entry.link = to.into_bytes();
                self.write(entry)
            }
            FileType::Fifo => {
                entry.kind = Kind::Fifo;
                self.write(entry)
            }
            FileType::CharacterDevice if is_whiteout && is_layer => {
                let name = found.name.to_bytes();
                entry.path.truncate(entry.path.len() - name.len());
                entry.path.extend([b".wh.", name].concat());
                entry.mode = 0;
                self.write(entry)
            }
            FileType::CharacterDevice if is_whiteout => {
                entry.kind = Kind::CharDevice;
                self.write(entry)
            }
            // A tar has no sockets, and they are worth nothing without who listens.
            _ => Ok(()),
        }
    }
}

/// An entry for a file at `path`, as `stat` says; its kind and content aside.
pub fn entry(path: &[u8], stat: &Stat) -> Entry {
    Entry {
        kind: Kind::File,
        path: path.to_vec(),
        link: Vec::new(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime as _, stat.st_mtime_nsec as _),
        size: 0,
        xattrs: Vec::new(),
        device: (0, 0),
        sparse: None,
    }
}

/// Holes of less are written as zeros: not every reader knows of holes.
const WORTH: u64 = 1 << 20;

/// Writes a file, its attributes too.
pub fn pack_file<W: Write>(
    writer: &mut Writer<W>,
    mut entry: Entry,
    file: File,
    stat: &Stat,
    packing: &Packing<'_>,
) -> Result<()> {
    let file = OwnedFd::from(file);
    entry.xattrs = attributes(&file)?;
    let mut file = File::from(file);
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let pieces = match packing.holes && size.saturating_sub(used(stat)) >= WORTH {
        true => pieces(&file, size)?,
        false => vec![(0, size)],
    };
    entry.size = pieces.iter().map(|(_, length)| length).sum();
    if size - entry.size >= WORTH {
        entry.sparse = Some(Sparse {
            size,
            map: Some(pieces.clone()),
        });
    }
    (packing.dress)(&mut entry)?;
    writer.entry(&entry)?;
    for (offset, length) in pieces {
        file.seek(io::SeekFrom::Start(offset))?;
        let mut at = 0;
        while at < length {
            let stride = (length - at).min(16 << 20);
            writer.copy(&mut file, stride)?;
            at += stride;
            packing.watch.advance(stride);
        }
    }
    Ok(())
}

/// What lies between the holes of a file.
fn pieces(file: &File, size: u64) -> io::Result<Pieces> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) if data < size => data,
            Ok(_) | Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(_) => return Ok(vec![(0, size)]),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data))?.min(size);
        pieces.push((data, hole - data));
        if pieces.len() == MAX_PIECES {
            return Ok(vec![(0, size)]);
        }
        at = hole;
    }
    Ok(pieces)
}

/// The extended attributes of a file that go into an archive.
pub fn attributes(file: &OwnedFd) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    copy::each_attribute(file, |name, value| {
        if let Ok(name) = name.to_str()
            && is_taken(name)
        {
            all.push((name.to_owned(), value.to_vec()));
        }
        Ok(())
    })?;
    Ok(all)
}

/// Whether an attribute goes into an archive and out of it: not those that belong
/// to the machine.
fn is_taken(name: &str) -> bool {
    ![
        "trusted.",
        "security.selinux",
        "security.ima",
        "security.evm",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// Puts what the archive `from` has into the volume, in place of what is there
/// under the same names. `open` opens its files, in the namespace.
///
/// Unless somebody uses it (`is_used`), all or nothing: it is unpacked beside, with
/// what is there by further names, and exchanged. What is used, and what is not
/// our own folder, is unpacked in place, once the archive has been read to its end
/// and found whole; in our own folder once it has been unpacked beside, and went.
pub fn import(
    engine: &Engine,
    volume: &Volume,
    open: impl FnOnce() -> Result<OwnedFd>,
    from: File,
    is_used: impl Fn() -> Result<bool>,
    watch: &dyn Watch,
) -> Result<()> {
    let storage = &engine.storage;
    let _held = super::hold_alone(storage, &volume.name)?;
    let staging = storage.stage()?;
    let owners = match engine.default_map().is_single() {
        true => Owners::Caller,
        false => Owners::Archive,
    };
    let tried = || format!("extracting into volume {}", volume.name);
    let beside = staging.path().join(DATA);
    let dir = storage.volume(&volume.name);
    if is_used()? || !volume.is_plain() {
        let from = checked(from, &staging, watch).tried(tried)?;
        let done = engine.in_namespace(|| {
            if volume.is_plain() {
                let mut again = from.try_clone()?;
                unpack_beside(&dir, &beside, from, owners, &())?;
                storage::remove_tree(&beside)?;
                again.rewind()?;
                return unpack(open()?, again, owners, &());
            }
            unpack(open()?, from, owners, &())
        });
        if done.is_err() {
            let _ = engine.remove_tree(&beside);
        }
        return done.tried(tried);
    }
    let done = engine.in_namespace(|| {
        unpack_beside(&dir, &beside, from, owners, watch)?;
        super::exchange(&staging, &dir)
    });
    if done.is_err() {
        let _ = engine.remove_tree(&beside);
    }
    done.tried(tried)
}

/// Unpacks the archive into a folder of its own, `beside`, that has what the volume in
/// `dir` has by further names.
fn unpack_beside(
    dir: &Path,
    beside: &Path,
    from: File,
    owners: Owners,
    watch: &dyn Watch,
) -> Result<()> {
    std::fs::create_dir(beside)?;
    let how = How {
        content: Content::Linked,
        marks: Marks::Kept,
        threads: 0,
        watch: &(),
    };
    copy::tree_as(&open_root(&dir.join(DATA))?, beside, &how)?;
    unpack(open_root(beside)?, from, owners, watch)
}

/// The archive, in a file of its own if it is read only once, when all of it has
/// been read and nothing is wrong with it.
fn checked(mut from: File, staging: &Staging, watch: &dyn Watch) -> Result<File> {
    let mut file = match from.stream_position() {
        Ok(0) => from,
        _ => {
            let path = staging.path().join("archive");
            let mut options = File::options();
            let options = options.read(true).write(true).create_new(true);
            let mut file = options.open(&path)?;
            io::copy(&mut Counted { from, watch }, &mut file)?;
            file
        }
    };
    file.rewind()?;
    let mut archive = Reader::new(BufReader::new(compression::decompressed(&file)?));
    while archive.next_entry()?.is_some() {}
    archive.finish()?;
    file.rewind()?;
    Ok(file)
}

/// Tells of what is read.
struct Counted<'a> {
    from: File,
    watch: &'a dyn Watch,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.watch.advance(count as u64);
        Ok(count)
    }
}

/// Whose the unpacked files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owners {
    Archive,
    /// Only one id is mapped.
    Caller,
}

/// Unpacks an archive into the folder `root`. Its names are taken as seen from
/// there, and what it has replaces what is there; folders are kept.
fn unpack(root: OwnedFd, from: File, owners: Owners, watch: &dyn Watch) -> Result<()> {
    // Modes are the archive's, not the caller's taste.
    rustix::process::umask(Mode::empty());
    let is_new = copy::is_empty(&root)?;
    let from = compression::decompressed(Counted { from, watch })?;
    let mut archive = Reader::new(BufReader::with_capacity(1 << 18, from));
    let mut unpacker = Unpacker {
        root,
        owners,
        last: None,
        folders: Vec::new(),
    };
    while let Some(entry) = archive.next_entry()? {
        watch.file();
        let path = clean(&entry.path);
        // The root's own entry counts for nothing, as with Podman.
        if !path.is_empty() {
            let shown = || shown(Path::new(OsStr::from_bytes(&path)));
            unpacker.entry(&entry, &path, &mut archive).tried(shown)?;
        }
    }
    let root = archive.comment().filter(|_| is_new).and_then(root_of);
    archive.finish()?;
    unpacker.finish(root)
}

/// Owner and mode of the root, as the comment says.
fn root_of(comment: &[u8]) -> Option<(u32, u32, u32)> {
    let text = std::str::from_utf8(comment).ok()?.strip_prefix(ROOT)?;
    let mut parts = text.split(':');
    let mut next = |radix| u32::from_str_radix(parts.next()?, radix).ok();
    Some((next(10)?, next(10)?, next(8)? & 0o7777))
}

struct Unpacker {
    root: OwnedFd,
    owners: Owners,
    /// The folder that was unpacked into last.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// What each folder gets when nothing is made in it any more.
    folders: Vec<(Vec<u8>, u32, Timestamps)>,
}

impl Unpacker {
    fn entry<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        archive: &mut Reader<R, io::Sink>,
    ) -> Result<()> {
        let (parent, name) = split(path);
        // A user may make none but the marks of overlays, and Podman leaves all out.
        let is_device = matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice);
        if is_device && (entry.kind, entry.device) != (Kind::CharDevice, (0, 0)) {
            return Ok(());
        }
        let folder = self.folder(parent)?;
        self.make(entry, path, &folder, name, archive)?;
        self.last = Some((parent.to_vec(), folder));
        Ok(())
    }

    fn make<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        folder: &OwnedFd,
        name: &[u8],
        archive: &mut Reader<R, io::Sink>,
    ) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777 | 0o700);
        if entry.kind != Kind::Folder || !is_folder(folder, name)? {
            clear(folder, name)?;
        }
        match entry.kind {
            Kind::Folder => {
                match rustix::fs::mkdirat(folder, raw(name), mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                let made = open_name(folder, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                self.own(entry, &made)?;
                extend(entry, &made)?;
                let folder = (path.to_vec(), entry.mode, times(entry.mtime));
                self.folders.push(folder);
                return Ok(());
            }
            Kind::HardLink => {
                let target = clean(&entry.link);
                let (above, target) = split(&target);
                let tried = || format!("link to {}", shown(Path::new(raw(&entry.link))));
                let from = open_in_root(&self.root, raw_folder(above), PLACE).tried(tried)?;
                let flags = AtFlags::empty();
                return rustix::fs::linkat(&from, raw(target), folder, raw(name), flags)
                    .tried(tried);
            }
            Kind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let file = open_name(folder, name, flags)?;
                fill(&file, entry, archive)?;
                self.own(entry, &file)?;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
                extend(entry, &file)?;
                return Ok(rustix::fs::futimens(&file, &times(entry.mtime))?);
            }
            Kind::Symlink => rustix::fs::symlinkat(raw(&entry.link), folder, raw(name))?,
            Kind::Fifo => {
                rustix::fs::mknodat(folder, raw(name), FileType::Fifo, mode, 0)?;
                rustix::fs::chmodat(
                    folder,
                    raw(name),
                    Mode::from_raw_mode(entry.mode & 0o777),
                    AtFlags::empty(),
                )?;
            }
            Kind::CharDevice | Kind::BlockDevice => {
                let kind = FileType::CharacterDevice;
                rustix::fs::mknodat(folder, raw(name), kind, Mode::empty(), 0)?;
            }
        }
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        if self.owners == Owners::Archive {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(folder, raw(name), Some(uid), Some(gid), no_follow)
                .map_err(|error| not_owned(entry, error))?;
        }
        let times = times(entry.mtime);
        Ok(rustix::fs::utimensat(folder, raw(name), &times, no_follow)?)
    }

    /// The folder `path`, as seen from the root; what is missing of it is made.
    fn folder(&mut self, path: &[u8]) -> Result<OwnedFd> {
        if let Some((last, folder)) = self.last.take()
            && last == path
        {
            return Ok(folder);
        }
        let found = open_in_root(&self.root, raw_folder(path), PLACE);
        let Err(error) = found else {
            return Ok(found?);
        };
        if error.kind() != io::ErrorKind::NotFound || path.is_empty() {
            return Err(error.into());
        }
        let mut at = 0;
        loop {
            let end = path[at..].iter().position(|byte| *byte == b'/');
            let end = end.map_or(path.len(), |end| at + end);
            if let Err(missing) = open_in_root(&self.root, raw(&path[..end]), PLACE) {
                let (parent, name) = split(&path[..end]);
                let above = open_in_root(&self.root, raw_folder(parent), PLACE)?;
                let mode = Mode::from_raw_mode(0o755);
                match rustix::fs::mkdirat(&above, raw(name), mode) {
                    // A link that leads nowhere.
                    Err(Errno::EXIST) => return Err(missing.into()),
                    made => made?,
                }
            }
            if end == path.len() {
                return Ok(open_in_root(&self.root, raw(path), PLACE)?);
            }
            at = end + 1;
        }
    }

    fn own(&self, entry: &Entry, file: &OwnedFd) -> Result<()> {
        if self.owners == Owners::Caller {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|error| not_owned(entry, error))
    }

    /// Gives folders their modes and times: the deepest first, as a mode may shut
    /// its owner out.
    fn finish(self, root: Option<(u32, u32, u32)>) -> Result<()> {
        for (path, mode, times) in self.folders.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            // Something else may have taken its place.
            if let Ok(folder) = open_in_root(&self.root, raw(path), flags) {
                rustix::fs::fchmod(&folder, Mode::from_raw_mode(*mode))?;
                rustix::fs::futimens(&folder, times)?;
            }
        }
        if let Some((uid, gid, mode)) = root {
            if self.owners == Owners::Archive {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                rustix::fs::fchown(&self.root, Some(uid), Some(gid))?;
            }
            rustix::fs::fchmod(&self.root, Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }
}

const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// Writes a file's content, and leaves its holes.
pub fn fill<R: BufRead>(
    file: &OwnedFd,
    entry: &Entry,
    archive: &mut Reader<R, io::Sink>,
) -> Result<()> {
    let pieces = match &entry.sparse {
        None => vec![(0, entry.size)],
        Some(sparse) => {
            rustix::fs::ftruncate(file, sparse.size)?;
            match &sparse.map {
                Some(map) => map.clone(),
                None => archive.read_map(sparse)?,
            }
        }
    };
    let mut pieces = pieces.into_iter();
    let (mut at, mut left) = pieces.next().unwrap_or((0, 0));
    archive.content(|mut bytes| {
        while !bytes.is_empty() {
            while left == 0 {
                let next = pieces.next();
                (at, left) = next.ok_or_else(|| Error::other("a sparse map is malformed"))?;
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match rustix::io::pwrite(file, &bytes[..count], at) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    at += count as u64;
                    left -= count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}

/// Takes away what has the name.
fn clear(folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, raw(name), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => storage::remove_tree_at(folder, raw(name)),
        Err(error) => Err(error.into()),
    }
}

/// Sets the extended attributes of an entry. What the kernel does not let us set
/// is left out.
fn extend(entry: &Entry, file: &OwnedFd) -> Result<()> {
    for (name, value) in &entry.xattrs {
        if !is_taken(name) {
            continue;
        }
        match rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP | Errno::ACCESS) => {}
            Err(error) => {
                return Err(error).tried(|| format!("set attribute {}", shown(Path::new(name))));
            }
        }
    }
    Ok(())
}

fn not_owned(entry: &Entry, error: Errno) -> Error {
    let failed = Error::from(error).tried(format_args!("chown to {}:{}", entry.uid, entry.gid));
    match error {
        Errno::INVAL => failed.hint(format!(
            "the archive has files of id {0}: /etc/subuid and /etc/subgid must give you at least {0} ids",
            entry.uid.max(entry.gid)
        )),
        _ => failed,
    }
}

/// Opens what `name` is in `folder`, or makes it, and not through a link.
fn open_name(folder: &OwnedFd, name: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::openat(folder, raw(name), flags, mode)
}

fn is_folder(folder: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    match rustix::fs::statat(folder, raw(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
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

/// A cleaned path, the root's among them.
fn raw_folder(path: &[u8]) -> &Path {
    raw(if path.is_empty() { b"." } else { path })
}

/// The times of an entry.
pub fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::super::tests::tempdir;
    use super::*;
    use crate::storage::tar::building::Builder;

    fn unpack_bytes(root: &Path, bytes: &[u8]) -> Result<()> {
        let archive = root.with_extension("tar");
        std::fs::write(&archive, bytes)?;
        let from = File::open(&archive)?;
        unpack(open_root(root)?, from, Owners::Caller, &())
    }

    /// All that is in a tree, as text.
    fn listing(root: &Path) -> Vec<String> {
        let entries = walkdir::WalkDir::new(root).sort_by_file_name();
        let mut lines = Vec::new();
        for entry in entries.into_iter().map(std::result::Result::unwrap) {
            let found = entry.metadata().unwrap();
            let path = entry
                .path()
                .strip_prefix(root)
                .unwrap()
                .display()
                .to_string();
            let content = match found.file_type() {
                kind if kind.is_symlink() => {
                    format!("{:?}", std::fs::read_link(entry.path()).unwrap())
                }
                kind if kind.is_file() => digest(&std::fs::read(entry.path()).unwrap()),
                _ => String::new(),
            };
            let time = match found.is_dir() && path.is_empty() {
                true => (0, 0),
                false => (found.mtime(), found.mtime_nsec()),
            };
            lines.push(format!(
                "{path} {:o} {} {time:?} {content}",
                found.mode(),
                found.nlink()
            ));
        }
        lines
    }

    fn digest(bytes: &[u8]) -> String {
        crate::id::Digest::of(bytes).to_string()
    }

    #[test]
    fn what_goes_out_comes_in_again() {
        let dir = tempdir::Dir::new();
        let (from, to) = (dir.0.join("from"), dir.0.join("to"));
        std::fs::create_dir_all(from.join("d/empty")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("d/file"), "content").unwrap();
        std::fs::set_permissions(from.join("d/file"), PermissionsExt::from_mode(0o4751)).unwrap();
        std::fs::hard_link(from.join("d/file"), from.join("same")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        let long = "l".repeat(200);
        std::fs::write(from.join(&long), "long").unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 64 << 20).unwrap();
        sparse.set_len(80 << 20).unwrap();
        File::create(from.join("hole"))
            .unwrap()
            .set_len(8 << 20)
            .unwrap();
        let flags = XattrFlags::empty();
        let _ = rustix::fs::setxattr(from.join("d"), "user.test", b"value", flags);
        std::fs::set_permissions(&from, PermissionsExt::from_mode(0o2710)).unwrap();

        let bytes = pack(open_root(&from).unwrap(), Vec::new(), &()).unwrap();
        assert!(bytes.len() < 1 << 20, "holes are left out");
        unpack_bytes(&to, &bytes).unwrap();
        assert_eq!(listing(&from), listing(&to));
        for name in ["sparse", "hole"] {
            assert!(to.join(name).metadata().unwrap().blocks() * 512 < 1 << 20);
        }
        assert_eq!(to.metadata().unwrap().mode() & 0o7777, 0o2710);
        let attribute = |root: &Path| {
            let mut value = [0; 16];
            rustix::fs::getxattr(root.join("d"), "user.test", &mut value)
                .map(|n| value[..n].to_vec())
        };
        assert_eq!(attribute(&from), attribute(&to));
    }

    #[test]
    fn the_archive_is_laid_over_what_is_there() {
        let dir = tempdir::Dir::new();
        let root = dir.0.join("root");
        std::fs::create_dir_all(root.join("kept")).unwrap();
        std::fs::create_dir_all(root.join("becomes-file/deep")).unwrap();
        for file in [
            "kept/old",
            "replaced",
            "becomes-folder",
            "becomes-file/deep/x",
        ] {
            std::fs::write(root.join(file), "old").unwrap();
        }
        std::fs::hard_link(root.join("replaced"), dir.0.join("other-name")).unwrap();
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o711)).unwrap();
        let rest = Builder::default()
            .own(0, 0, 0o750)
            .folder("./kept/")
            .file("kept/new", b"new")
            .file("replaced", b"new")
            .folder("becomes-folder/")
            .file("becomes-folder/x", b"new")
            .file("becomes-file", b"new")
            .file("twice", b"one")
            .file("twice", b"two")
            .file("", b"nameless")
            .entry("device", b'3', 0, "")
            .end();
        let bytes = [said_of_the_root(), rest].concat();
        unpack_bytes(&root, &bytes).unwrap();
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(
            (read("kept/old"), read("kept/new")),
            ("old".into(), "new".into())
        );
        assert_eq!(
            (read("replaced"), read("twice")),
            ("new".into(), "two".into())
        );
        assert_eq!(
            (read("becomes-folder/x"), read("becomes-file")),
            ("new".into(), "new".into())
        );
        // What has another name elsewhere is not written into.
        assert_eq!(
            std::fs::read_to_string(dir.0.join("other-name")).unwrap(),
            "old"
        );
        assert_eq!(root.join("kept").metadata().unwrap().mode() & 0o777, 0o750);
        // The root is the archive's only where there was nothing.
        assert_eq!(root.metadata().unwrap().mode() & 0o777, 0o711);
        // Of devices there is only an overlay's whiteout.
        let device = root.join("device").symlink_metadata();
        assert!(device.is_err() || device.is_ok_and(|found| found.rdev() == 0));
    }

    /// The comment, without the end of the archive.
    fn said_of_the_root() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        writer.comment(&format!("{ROOT}0:0:700")).unwrap();
        let mut bytes = writer.finish().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes
    }

    #[test]
    fn no_archive_reaches_out_of_the_volume() {
        let names = ["..", ".", "a", "b", "l", "", "outside", "/", "outside/x"];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % below
        };
        let dir = tempdir::Dir::new();
        let (root, outside): (PathBuf, PathBuf) = (dir.0.join("root"), dir.0.join("outside"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("x"), "kept").unwrap();
        let before = listing(&outside);
        for round in 0..500 {
            std::fs::create_dir(&root).unwrap();
            // What a container left there.
            symlink(&outside, root.join("l")).unwrap();
            symlink("../outside", root.join("b")).unwrap();
            let mut tar = Builder::default();
            for _ in 0..8 {
                let mut path = || {
                    let parts: Vec<&str> = (0..1 + next(4)).map(|_| names[next(9)]).collect();
                    parts.join("/")
                };
                let (name, to) = (path(), path());
                tar = match next(6) {
                    0 => tar.own(0, 0, 0o666).file(&name, b"content"),
                    1 => tar.own(0, 0, 0o777).folder(&name),
                    2 => tar.link(b'1', &name, &to),
                    3 => tar.entry(&name, b'6', 0, ""),
                    4 => tar.link(b'2', &name, outside.to_str().unwrap()),
                    _ => tar.link(b'2', &name, &to),
                };
            }
            let _ = unpack_bytes(&root, &tar.end());
            assert_eq!(listing(&outside), before, "round {round}");
            storage::remove_tree(&root).unwrap();
            assert_eq!(
                std::fs::read_dir(&dir.0).unwrap().count(),
                2,
                "round {round}"
            );
        }
    }

    #[test]
    fn a_broken_archive_is_found_out() {
        let dir = tempdir::Dir::new();
        let root = dir.0.join("root");
        std::fs::create_dir(&root).unwrap();
        let whole = Builder::default()
            .file("a", &[7; 3000])
            .file("b", b"x")
            .end();
        for length in [whole.len() - 1100, 2000, 600, 100] {
            let error = unpack_bytes(&root, &whole[..length]).unwrap_err();
            assert!(error.to_string().ends_with("unexpected EOF"), "{error}");
        }
        let zipped = zstd::stream::encode_all(&whole[..], 1).unwrap();
        assert!(unpack_bytes(&root, &zipped[..zipped.len() / 2]).is_err());
        unpack_bytes(&root, &zipped).unwrap();
        let tiny = [
            ("GNU.sparse.size", "2000"),
            ("GNU.sparse.map", "0,3,1000,3"),
        ];
        let sparse = Builder::default().pax(&tiny).file("s", b"onetwo").end();
        unpack_bytes(&root, &sparse).unwrap();
        let read = std::fs::read(root.join("s")).unwrap();
        assert_eq!(
            (read.len(), &read[..3], &read[1000..1003]),
            (2000, &b"one"[..], &b"two"[..])
        );
    }
}
