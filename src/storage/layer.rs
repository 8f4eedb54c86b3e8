//! Layers: a tar stream unpacked once, checked while it streams, published whole.
//!
//! ```text
//! layers/<diff id>/
//!   diff/         what an overlay mounts: owners by ids inside, whiteouts as
//!                 character devices 0/0, opaque folders by user.overlay.opaque
//!   layer.json    a [`Layer`]
//!   headers.zst   every byte of the tar but the contents of its files: with
//!                 them, the exact tar again
//! ```
//!
//! An archive is a stranger's: its names are taken as seen from its own root
//! (openat2(2), RESOLVE_IN_ROOT), a name it says twice is an error, what it could
//! say to our overlay (`user.overlay.*`) is left out. Unpacking forks nothing and
//! may use threads; it must run where the ids of the files are mapped.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::acl::{self, Whom};
use super::tar::{Entry, Kind, Reader};
use super::{Locked, Staging, Storage};
use crate::error::{Context, Error, Result};
use crate::id::DiffId;
use crate::sys::file::{Durable, open_dir, open_in_root};

/// `layer.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Layer {
    pub id: DiffId,
    /// Bytes of the uncompressed tar.
    pub size: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// None for a layer unpacked before this was noted.
    #[serde(default)]
    pub owners: Option<OwnerIds>,
    /// Unpacked while only the caller's id was mapped: the files are the caller's,
    /// their owners in [`OWNER`].
    #[serde(default)]
    pub single: bool,
    /// Whether a file may have extended attributes.
    #[serde(default = "yes")]
    pub attributes: bool,
}

impl Layer {
    /// Whether it has files of ids that are the caller's only with subordinate ids.
    pub fn has_other_ids(&self) -> bool {
        let root: &[(u32, u32)] = &[(0, 1)];
        let mut owners = self.owners.iter();
        !self.single && owners.any(|it| it.uids != root || it.gids != root)
    }
}

fn yes() -> bool {
    true
}

/// The ids that files of a layer have, as owners and in access control lists: ranges
/// (first, count) in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerIds {
    pub uids: Vec<(u32, u32)>,
    pub gids: Vec<(u32, u32)>,
}

/// Whose the unpacked files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// As the archive says.
    Mapped,
    /// All the caller's, the archive's word kept in [`OWNER`]: only one id is mapped.
    Single,
}

/// In single-id mode, a file's intended `UID:GID:MODE` (mode octal) where the
/// owner is not 0:0. Links and FIFOs cannot have it (xattr(7)).
pub const OWNER: &str = "user.coracle.owner";

/// What an overlay takes for an opaque folder (`userxattr`).
pub const OPAQUE: &str = "user.overlay.opaque";

/// How many open folders are remembered while unpacking.
const OPEN_FOLDERS: usize = 256;

/// Pieces that go between threads.
const PIECE: usize = 256 * 1024;

impl Storage {
    /// Holds the layer `id` where it is, if it is there, so that it is not removed
    /// while the value lives.
    pub fn hold_layer(&self, id: &DiffId) -> Result<Option<Locked>> {
        let dir = self.layer(id);
        if !dir.exists() {
            return Ok(None);
        }
        let lock = match super::lock_shared(&dir) {
            Ok(lock) => lock,
            Err(_) if !dir.exists() => return Ok(None),
            Err(error) => return Err(error),
        };
        // Removed between the opening and the lock: the lock is of nothing.
        Ok(dir.join("layer.json").exists().then_some(lock))
    }

    /// Publishes the layer unpacked at `name` in `staging`, unless another process
    /// was first, and holds it. What was unpacked must be synced.
    pub fn publish_layer(&self, staging: &Staging, name: &str, id: &DiffId) -> Result<Locked> {
        let tried = || format!("publish layer {id}");
        loop {
            // The lock is the folder's and goes along when it is renamed.
            let lock = super::lock_shared(&staging.path().join(name)).tried(tried)?;
            match staging.publish(name, &self.layer(id), false) {
                Ok(()) => return Ok(lock),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if let Some(lock) = self.hold_layer(id)? {
                        return Ok(lock);
                    }
                }
                Err(error) => return Err(error).tried(tried),
            }
        }
    }

    /// What is known of the layer `id`.
    pub fn read_layer(&self, id: &DiffId) -> Result<Option<Layer>> {
        super::read_json(&self.layer(id).join("layer.json"))
    }
}

/// Unpacks a tar, compressed or not, into the new folder `into`, as a layer's
/// folder is. The digest must be `wanted`, if it is known.
pub fn unpack(
    into: &Path,
    from: impl Read + Send,
    wanted: Option<&DiffId>,
    owners: Owners,
) -> Result<Layer> {
    // Modes are the archive's, not the caller's taste.
    rustix::process::umask(Mode::empty());
    let make = |error: io::Error| Error::from(error).tried(format_args!("make {}", into.display()));
    // Whoever could enter could run a setuid program that is the caller's.
    let private = std::fs::DirBuilder::new().mode(0o700).create(into);
    private.map_err(make)?;
    let root = new_root(&into.join("diff")).map_err(make)?;
    let headers = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(into.join("headers.zst"))
        .map_err(make)?;
    let record = zstd::stream::Encoder::new(BufWriter::with_capacity(PIECE, headers), 1)?;

    let (id, unpacked) = std::thread::scope(|scope| {
        let (to_unpacker, pieces) = sync_channel(8);
        let (to_hasher, hashed) = sync_channel(8);
        let reader = scope.spawn(move || read_pieces(into, from, &to_unpacker, &to_hasher));
        let hasher = scope.spawn(move || digest(&hashed));
        let archive = Reader::recorded(Pieces::new(pieces), record);
        let unpacked = Unpacker::new(root, owners).unpack(archive);
        // A thread that panicked has told why on stderr.
        let failed = |_| Error::other("a thread failed");
        let read = reader.join().map_err(failed)?;
        let id = hasher.join().map_err(failed)?;
        // To the unpacker, a reader that failed is an archive that ends early.
        read?;
        Ok::<_, Error>((id, unpacked?))
    })?;
    if let Some(wanted) = wanted
        && id != *wanted
    {
        return Err(Error::other(format!(
            "its digest is {id}, where the image says {wanted}"
        )));
    }
    let layer = Layer {
        id,
        size: unpacked.size,
        entries: unpacked.entries,
        owners: Some(unpacked.owners),
        single: owners == Owners::Single,
        attributes: unpacked.attributes,
    };
    // Synced with the whole layer, before it is published.
    super::write_json(&into.join("layer.json"), &layer, Durable::No)?;
    Ok(layer)
}

/// Writes to `out` the exact tar that was unpacked into the layer's folder `from`.
/// Must run where all its files can be read.
pub fn write_tar(from: &Path, out: impl Write) -> Result<()> {
    let headers = File::open(from.join("headers.zst")).tried(|| "open headers.zst")?;
    let headers = BufReader::with_capacity(PIECE, zstd::stream::Decoder::new(headers)?);
    let root = open_dir(&from.join("diff")).tried(|| "open diff")?;
    let mut archive = Reader::recorded(headers, out);
    while let Some(entry) = archive.next_entry()? {
        let path = clean(&entry.path);
        if entry.kind != Kind::File {
            continue;
        }
        let tried = || shown(&path);
        if is_unpacked(&path) {
            let file = open_in_root(&root, raw(&path), OFlags::RDONLY | OFlags::NOFOLLOW);
            let mut file = File::from(file.tried(tried)?);
            archive.given_content(&mut file).tried(tried)?;
        } else {
            archive.recorded_content().tried(tried)?;
        }
    }
    let (mut out, _) = archive.finish()?;
    Ok(out.flush()?)
}

/// The folder that becomes `/`, free of what it could inherit from its parent.
fn new_root(path: &Path) -> io::Result<OwnedFd> {
    std::fs::create_dir(path)?;
    let root = open_dir(path)?;
    fchmod(&root, Mode::from_raw_mode(0o755))?;
    Ok(root)
}

/// A piece of a stream on its way to two threads.
type Piece = Arc<Vec<u8>>;

/// After so many bytes is looked how much room is left.
const MEASURED: usize = 32 << 20;
/// What unpacking leaves free: others on this disk go on, and we can clear up.
const RESERVE: u64 = 128 << 20;

/// Fails before the disk is full: a few bytes may unpack to very many.
fn room(into: &Path) -> Result<()> {
    let found = rustix::fs::statvfs(into)?;
    if found.f_bavail.saturating_mul(found.f_frsize) < RESERVE {
        return Err(Error::other("no space left on device"));
    }
    Ok(())
}

/// Reads and decompresses `from` for both. Ends early if the unpacker gave up.
fn read_pieces(
    into: &Path,
    from: impl Read + Send,
    unpacker: &SyncSender<Piece>,
    hasher: &SyncSender<Piece>,
) -> Result<()> {
    let mut from = super::compression::decompressed(from)?;
    let mut unmeasured = 0;
    loop {
        if unmeasured >= MEASURED {
            room(into)?;
            unmeasured = 0;
        }
        unmeasured += PIECE;
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while filled < PIECE {
            match from.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        piece.truncate(filled);
        let piece = Arc::new(piece);
        if hasher.send(piece.clone()).is_err() || unpacker.send(piece).is_err() {
            return Ok(());
        }
    }
}

fn digest(pieces: &Receiver<Piece>) -> DiffId {
    let mut hasher = sha2::Sha256::new();
    for piece in pieces {
        hasher.update(&piece[..]);
    }
    format!("sha256:{}", crate::id::hex(&hasher.finalize()))
        .parse()
        .expect("a sha256 digest of our own making")
}

/// Pieces that another thread sends, as one stream.
struct Pieces {
    from: Receiver<Piece>,
    piece: Piece,
    at: usize,
}

impl Pieces {
    fn new(from: Receiver<Piece>) -> Self {
        Self {
            from,
            piece: Arc::default(),
            at: 0,
        }
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len()
            && let Ok(piece) = self.from.recv()
        {
            self.piece = piece;
            self.at = 0;
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let count = piece.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// What a folder becomes when all in it is there.
struct Pending {
    path: Vec<u8>,
    mode: u32,
    /// None for a folder that has no entry of its own.
    mtime: Timestamps,
}

struct Unpacker {
    root: OwnedFd,
    owners: Owners,
    /// Folders by their cleaned path. As nothing but a whiteout is ever replaced,
    /// what is remembered stays true.
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    pending: Vec<Pending>,
    /// Ids that files have.
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    attributes: bool,
}

/// What unpacking has to say of a layer.
struct Unpacked {
    size: u64,
    entries: u64,
    owners: OwnerIds,
    attributes: bool,
}

impl Unpacker {
    fn new(root: OwnedFd, owners: Owners) -> Self {
        Self {
            root,
            owners,
            open: HashMap::new(),
            pending: Vec::new(),
            // The root, and folders that have no entry of their own.
            uids: BTreeSet::from([0]),
            gids: BTreeSet::from([0]),
            attributes: false,
        }
    }

    /// Unpacks all.
    fn unpack<W: Write>(
        mut self,
        mut archive: Reader<Pieces, zstd::stream::Encoder<'_, W>>,
    ) -> Result<Unpacked> {
        let mut entries = 0;
        while let Some(entry) = archive.next_entry()? {
            entries += 1;
            let path = clean(&entry.path);
            self.entry(&entry, &path, &mut archive)
                .tried(|| shown(&path))?;
        }
        self.finish()?;
        let (record, size) = archive.finish()?;
        record.finish()?.flush()?;
        Ok(Unpacked {
            size,
            entries,
            owners: OwnerIds {
                uids: ranges(&self.uids),
                gids: ranges(&self.gids),
            },
            attributes: self.attributes,
        })
    }

    fn entry<W: Write>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        archive: &mut Reader<Pieces, W>,
    ) -> Result<()> {
        let (parent, name) = split(path);
        if name.is_empty() {
            // The root's own entry counts for nothing, as with Podman.
            return match entry.kind {
                Kind::Folder => Ok(()),
                _ => Err(Error::other("it is no folder")),
            };
        }
        if !is_unpacked(path) {
            archive.recorded_content()?;
            return match name.strip_prefix(b".wh.") {
                Some(b"" | b"." | b"..") => Err(Error::other("a whiteout of no name")),
                Some(b".wh..opq") => {
                    let folder = self.folder(parent, true)?;
                    Ok(opaque(&folder)?)
                }
                // What aufs left behind.
                Some(hidden) if !hidden.starts_with(b".wh.") => self.whiteout(parent, hidden),
                _ => Ok(()),
            };
        }
        if entry.sparse.is_some() {
            return Err(Error::unsupported("a sparse file in a layer"));
        }
        if !matches!(
            entry.kind,
            Kind::HardLink | Kind::CharDevice | Kind::BlockDevice
        ) {
            self.uids.insert(entry.uid);
            self.gids.insert(entry.gid);
        }
        match entry.kind {
            Kind::File => self.file(entry, parent, name, archive),
            Kind::Folder => self.make_folder(entry, path),
            Kind::Symlink => {
                let folder = self.folder(parent, true)?;
                self.once(&folder, name, || {
                    symlinkat(raw(&entry.link), &*folder, raw(name))
                })?;
                self.own_at(entry, &folder, name)?;
                let times = times(entry);
                Ok(utimensat(
                    &*folder,
                    raw(name),
                    &times,
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            Kind::HardLink => {
                let target = clean(&entry.link);
                let (above, target) = split(&target);
                let tried = || format!("link to {}", shown(&entry.link));
                let from = self.folder(above, false).tried(tried)?;
                let folder = self.folder(parent, true)?;
                self.once(&folder, name, || {
                    linkat(&*from, raw(target), &*folder, raw(name), AtFlags::empty())
                })
                .tried(tried)
            }
            Kind::Fifo => {
                let folder = self.folder(parent, true)?;
                let mode = Mode::from_raw_mode(entry.mode & 0o777);
                self.once(&folder, name, || {
                    mknodat(&*folder, raw(name), FileType::Fifo, mode, 0)
                })?;
                self.own_at(entry, &folder, name)?;
                let times = times(entry);
                Ok(utimensat(
                    &*folder,
                    raw(name),
                    &times,
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            // A user may make none, and Podman leaves them out likewise.
            Kind::CharDevice | Kind::BlockDevice => Ok(()),
        }
    }

    fn file<W: Write>(
        &mut self,
        entry: &Entry,
        parent: &[u8],
        name: &[u8],
        archive: &mut Reader<Pieces, W>,
    ) -> Result<()> {
        let folder = self.folder(parent, true)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = self.once(&folder, name, || {
            openat(&*folder, raw(name), flags | OFlags::CLOEXEC, mode)
        })?;
        archive.content(|mut piece| {
            while !piece.is_empty() {
                match rustix::io::write(&file, piece) {
                    Ok(count) => piece = &piece[count..],
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })?;
        // In this order: a new owner takes away setuid bits and capabilities.
        self.own(entry, &file)?;
        if entry.mode & 0o7000 != 0 {
            fchmod(&file, Mode::from_raw_mode(entry.mode))?;
        }
        self.extend(entry, &file)?;
        Ok(futimens(&file, &times(entry))?)
    }

    fn make_folder(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        let (parent, name) = split(path);
        let above = self.folder(parent, true)?;
        // Special bits come last: a setgid folder gives its group to what is made in it.
        let mode = entry.mode & 0o777 | 0o700;
        let mut hides = false;
        loop {
            match mkdirat(&*above, raw(name), Mode::from_raw_mode(mode)) {
                Ok(()) => break,
                Err(Errno::EXIST) => match what_is(&above, name)? {
                    // Made for what lies in it, or said twice: no harm.
                    There::Folder => break,
                    There::Whiteout => {
                        unlinkat(&*above, raw(name), AtFlags::empty())?;
                        hides = true;
                    }
                    There::Other => return Err(duplicate()),
                },
                Err(error) => return Err(error.into()),
            }
        }
        self.own_at(entry, &above, name)?;
        if hides || !entry.xattrs.is_empty() || self.owners == Owners::Single {
            let folder = open_folder(&above, name)?;
            if hides {
                opaque(&folder)?;
            }
            if self.owners == Owners::Single {
                self.own(entry, &folder)?;
            }
            self.extend(entry, &folder)?;
        }
        self.pending.push(Pending {
            path: path.to_vec(),
            mode: entry.mode,
            mtime: times(entry),
        });
        Ok(())
    }

    /// A whiteout hides what lower layers have. What this layer itself has of the
    /// name stays (image-spec, layer.md), and is then all there is.
    fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let folder = self.folder(parent, true)?;
        let device = FileType::CharacterDevice;
        match mknodat(&*folder, raw(name), device, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => match what_is(&folder, name)? {
                There::Folder => Ok(opaque(&open_folder(&folder, name)?)?),
                There::Whiteout | There::Other => Ok(()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Does `make`, which fails where something is; a whiteout gives way.
    fn once<T>(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        mut make: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        match what_is(folder, name)? {
            There::Whiteout => {
                unlinkat(folder, raw(name), AtFlags::empty())?;
                Ok(make()?)
            }
            There::Folder | There::Other => Err(duplicate()),
        }
    }

    /// The folder `path`, as seen from the root of the archive. With `make`, what
    /// is missing of it is made.
    fn folder(&mut self, path: &[u8], make: bool) -> io::Result<Rc<OwnedFd>> {
        if let Some(folder) = self.open.get(path) {
            return Ok(folder.clone());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let shown = if path.is_empty() { b"." } else { path };
        let folder = match open_in_root(&self.root, raw(shown), flags) {
            Err(error) if make && error.kind() == io::ErrorKind::NotFound => {
                let (parent, name) = split(path);
                let above = self.folder(parent, true)?;
                match mkdirat(&*above, raw(name), Mode::from_raw_mode(0o755)) {
                    // A link that leads nowhere.
                    Err(Errno::EXIST) => return Err(error),
                    result => result?,
                }
                open_folder(&above, name)?
            }
            result => result?,
        };
        if self.open.len() == OPEN_FOLDERS {
            self.open.clear();
        }
        let folder = Rc::new(folder);
        self.open.insert(path.to_vec(), folder.clone());
        Ok(folder)
    }

    /// Sets the extended attributes of an entry. What the kernel does not let us set
    /// is left out, as Podman does.
    fn extend(&mut self, entry: &Entry, file: &OwnedFd) -> Result<()> {
        for (name, value) in &entry.xattrs {
            let ours = [
                "user.overlay.",
                "user.coracle.",
                "trusted.",
                "security.selinux",
            ];
            if ours.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            match fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                Ok(()) => self.attributes = true,
                Err(Errno::PERM | Errno::NOTSUP) => continue,
                Err(error) => {
                    return Err(error).tried(|| format!("set {}", shown(name.as_bytes())));
                }
            }
            if acl::is_list(name.as_bytes()) {
                acl::each_id(&mut value.clone(), |whom| {
                    let _ = match whom {
                        Whom::User(id) => self.uids.insert(*id),
                        Whom::Group(id) => self.gids.insert(*id),
                    };
                });
            }
        }
        Ok(())
    }

    fn own(&self, entry: &Entry, file: &OwnedFd) -> Result<()> {
        if (entry.uid, entry.gid) == (0, 0) {
            return Ok(());
        }
        match self.owners {
            Owners::Mapped => {
                let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
                fchown(file, Some(uid), Some(gid)).map_err(|error| not_owned(entry, error))
            }
            Owners::Single => {
                let value = format!("{}:{}:{:o}", entry.uid, entry.gid, entry.mode);
                Ok(fsetxattr(
                    file,
                    OWNER,
                    value.as_bytes(),
                    XattrFlags::empty(),
                )?)
            }
        }
    }

    fn own_at(&self, entry: &Entry, folder: &OwnedFd, name: &[u8]) -> Result<()> {
        if (entry.uid, entry.gid) == (0, 0) || self.owners == Owners::Single {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(folder, raw(name), Some(uid), Some(gid), flags)
            .map_err(|error| not_owned(entry, error))
    }

    /// Gives folders their modes and times, now that nothing is made in them any
    /// more: the deepest first, as a mode may shut its owner out.
    fn finish(&self) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        for folder in self.pending.iter().rev() {
            let tried = || shown(&folder.path);
            let opened = open_in_root(&self.root, raw(&folder.path), flags).tried(tried)?;
            if folder.mode != folder.mode & 0o777 | 0o700 {
                fchmod(&opened, Mode::from_raw_mode(folder.mode)).tried(tried)?;
            }
            futimens(&opened, &folder.mtime).tried(tried)?;
        }
        // 0555, as Podman's, whatever the archive says.
        Ok(fchmod(&self.root, Mode::from_raw_mode(0o555))?)
    }
}

/// Whether what stands at the cleaned `path` of a tar is in `diff/` under that
/// name; if not, its content is in headers.zst.
pub fn is_unpacked(path: &[u8]) -> bool {
    !split(path).1.starts_with(b".wh.") && !path.starts_with(b".wh..wh.")
}

/// `path` as seen from the archive's own root: no `.`, no `..`, no slash too many.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut cleaned: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(cleaned.pop()),
            name => cleaned.push(name),
        }
    }
    cleaned.join(&b'/')
}

/// The folder and the last name of a cleaned path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn raw(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// A name as an error may show it: not too long, no control characters.
pub(super) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let safe = text.chars().filter(|c| !c.is_control());
    let short: String = safe.take(200).collect();
    if short.is_empty() {
        "/".to_owned()
    } else {
        short
    }
}

enum There {
    Folder,
    Whiteout,
    Other,
}

fn what_is(folder: &OwnedFd, name: &[u8]) -> io::Result<There> {
    let found = statat(folder, raw(name), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => There::Folder,
        FileType::CharacterDevice if found.st_rdev == 0 => There::Whiteout,
        _ => There::Other,
    })
}

fn open_folder(above: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(above, raw(name), flags, Mode::empty())?)
}

/// Makes an overlay show nothing of lower layers in `folder`.
fn opaque(folder: &OwnedFd) -> io::Result<()> {
    // A descriptor that only names (O_PATH) has no attributes: open it anew.
    let folder = openat(
        folder,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Ok(fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())?)
}

/// Ids as ranges (first, count).
fn ranges(ids: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &id in ids {
        match ranges.last_mut() {
            Some((first, count)) if id - *first == *count => *count += 1,
            _ => ranges.push((id, 1)),
        }
    }
    ranges
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec {
        tv_sec: entry.mtime.0,
        tv_nsec: i64::from(entry.mtime.1),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Podman refuses them as well: the exact tar could not be given back.
fn duplicate() -> Error {
    Error::other("the archive has it twice: duplicates of file paths not supported")
}

fn not_owned(entry: &Entry, error: Errno) -> Error {
    let needed = u64::from(entry.uid.max(entry.gid));
    let failed = Error::from(error).tried(format_args!("chown to {}:{}", entry.uid, entry.gid));
    if error == Errno::INVAL {
        failed.hint(format!(
            "the image has files of id {needed}: /etc/subuid and /etc/subgid must give you at least {needed} ids"
        ))
    } else {
        failed
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::path::PathBuf;

    use super::super::tar::building::Builder;
    use super::*;

    /// A folder of its own for each test, gone with it.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            let name = format!("coracle-layer-{}", crate::id::random_hex::<8>());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn unpack(&self, tar: &[u8]) -> Result<Layer> {
            unpack(&self.0.join("layer"), tar, None, Owners::Single)
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.join("layer/diff").join(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = super::super::remove_tree(&self.0);
        }
    }

    fn attribute(path: &Path, name: &str) -> Option<String> {
        let mut value = [0; 256];
        let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
        Some(String::from_utf8_lossy(&value[..length]).into_owned())
    }

    fn is_whiteout(path: &Path) -> bool {
        path.symlink_metadata()
            .is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == 0)
    }

    #[test]
    fn a_layer_is_what_its_tar_says() {
        let tar = Builder::default()
            .folder("./")
            .own(0, 0, 0o2755)
            .folder("d/")
            .own(5, 6, 0o4711)
            .pax(&[
                ("mtime", "99.5"),
                ("SCHILY.xattr.user.kept", "yes"),
                ("SCHILY.xattr.user.overlay.opaque", "y"),
                ("SCHILY.xattr.trusted.overlay.opaque", "y"),
            ])
            .own(5, 6, 0o4711)
            .file("d/file", b"content")
            .link(b'1', "d/same", "/d/file")
            .link(b'2', "link", "../../../outside")
            .entry("fifo", b'6', 0, "")
            .entry("null", b'3', 0, "")
            .file("made/for/it", b"x")
            .end();
        let dir = Dir::new();
        let layer = dir.unpack(&tar).unwrap();
        assert_eq!((layer.size, layer.entries), (tar.len() as u64, 8));
        let file = dir.at("d/file").symlink_metadata().unwrap();
        assert_eq!(std::fs::read(dir.at("d/file")).unwrap(), b"content");
        assert_eq!(file.mode() & 0o7777, 0o4711);
        assert_eq!((file.mtime(), file.mtime_nsec()), (99, 500_000_000));
        assert_eq!(file.ino(), dir.at("d/same").metadata().unwrap().ino());
        assert_eq!(
            attribute(&dir.at("d/file"), OWNER).as_deref(),
            Some("5:6:4711")
        );
        assert_eq!(
            attribute(&dir.at("d/file"), "user.kept").as_deref(),
            Some("yes")
        );
        assert_eq!(attribute(&dir.at("d/file"), OPAQUE), None);
        let folder = dir.at("d").metadata().unwrap();
        assert_eq!((folder.mode() & 0o7777, folder.mtime()), (0o2755, 10));
        assert_eq!(attribute(&dir.at("d"), OWNER), None);
        assert!(
            dir.at("fifo")
                .symlink_metadata()
                .unwrap()
                .file_type()
                .is_fifo()
        );
        assert!(!dir.at("null").exists());
        assert_eq!(dir.at("made").metadata().unwrap().mode() & 0o7777, 0o755);
        assert_eq!(dir.at("").metadata().unwrap().mode() & 0o7777, 0o555);
    }

    #[test]
    fn whiteouts_hide_what_lies_below_and_nothing_else() {
        let tar = Builder::default()
            .file(".wh.gone", b"")
            .file("d/.wh..wh..opq", b"")
            .file(".wh.file", b"said")
            .file("file", b"x")
            .file("late", b"x")
            .file(".wh.late", b"")
            .file(".wh.new", b"")
            .folder("new/")
            .folder("old/")
            .file(".wh.old", b"")
            .file(".wh..wh.plnk", b"")
            .end();
        let dir = Dir::new();
        dir.unpack(&tar).unwrap();
        assert!(is_whiteout(&dir.at("gone")));
        for opaque in ["d", "new", "old"] {
            assert_eq!(attribute(&dir.at(opaque), OPAQUE).as_deref(), Some("y"));
        }
        assert!(dir.at("file").is_file() && dir.at("late").is_file());
        assert_eq!(std::fs::read_dir(dir.at("")).unwrap().count(), 6);
    }

    #[test]
    fn the_exact_tar_is_given_back() {
        let tar = Builder::default()
            .folder("./")
            .pax(&[("path", "a/long/name")])
            .file("short", &[7; 1000])
            .file(".wh.x", b"content nobody reads")
            .link(b'1', "b", "a/long/name")
            .entry("dev", b'4', 0, "")
            .file("empty", b"")
            .end();
        let tar = [tar, b"and rubbish behind".to_vec()].concat();
        let zstd = zstd::stream::encode_all(&tar[..], 1).unwrap();
        let dir = Dir::new();
        let layer = dir.unpack(&zstd).unwrap();
        assert_eq!(layer.id.hex(), crate::id::Digest::of(&tar).hex());
        let mut again = Vec::new();
        write_tar(&dir.0.join("layer"), &mut again).unwrap();
        assert!(again == tar);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let good = Builder::default().file("a", b"x").end();
        let wanted = format!("sha256:{:064}", 0).parse().unwrap();
        let dir = Dir::new();
        let other = unpack(&dir.0.join("l"), &good[..], Some(&wanted), Owners::Single);
        assert!(other.unwrap_err().to_string().contains("its digest is"));
        for (tar, words) in [
            (
                Builder::default().file("a", b"").file("./a", b"").end(),
                "a: the archive has it twice",
            ),
            (
                Builder::default().file("a", b"").folder("a").end(),
                "a: the archive has it twice",
            ),
            (
                Builder::default().file("a", b"").file("a/b", b"").end(),
                "a/b: not a directory",
            ),
            (
                Builder::default()
                    .link(b'2', "l", "/no")
                    .file("l/b", b"")
                    .end(),
                "l/b: no such file",
            ),
            (
                Builder::default().link(b'1', "h", "/etc/passwd").end(),
                "h: link to /etc/passwd: no such",
            ),
            (
                Builder::default().file("d/.wh..", b"").end(),
                "d/.wh..: a whiteout of no name",
            ),
            (
                Builder::default().file("..", b"").end(),
                "/: it is no folder",
            ),
            (good[..600].to_vec(), "unexpected EOF"),
            (b"\x1f\x8b\x08rubbish".to_vec(), "gzip"),
        ] {
            let dir = Dir::new();
            let error = dir.unpack(&tar).unwrap_err().to_string();
            assert!(error.contains(words), "{error:?} {words:?}");
        }
    }

    /// Random archives of all that could lead out: nothing beside the layer changes.
    #[test]
    fn no_tar_writes_outside_its_root() {
        let names = [
            "..",
            ".",
            "a",
            "b",
            "l",
            "",
            ".wh.a",
            ".wh..wh..opq",
            "outside",
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % below
        };
        let dir = Dir::new();
        std::fs::write(dir.0.join("outside"), "kept").unwrap();
        for round in 0..300 {
            let mut tar = Builder::default();
            for _ in 0..8 {
                let mut path = || {
                    let parts: Vec<&str> = (0..1 + next(4)).map(|_| names[next(9)]).collect();
                    parts.join("/")
                };
                let (name, to) = (path(), path());
                tar = match next(5) {
                    0 => tar.file(&name, b"content"),
                    1 => tar.folder(&name),
                    2 => tar.link(b'1', &name, &to),
                    _ => tar.link(b'2', &name, &to),
                };
            }
            let _ = unpack(&dir.0.join("layer"), &tar.end()[..], None, Owners::Single);
            super::super::remove_tree(&dir.0.join("layer")).unwrap();
            let left: Vec<_> = std::fs::read_dir(&dir.0).unwrap().flatten().collect();
            assert_eq!(left.len(), 1, "round {round}");
            assert_eq!(std::fs::read(dir.0.join("outside")).unwrap(), b"kept");
        }
    }
}
