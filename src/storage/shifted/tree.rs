//! Making a tree: layers put together as an overlay would show them, each file with
//! the owner it is to have.
//!
//! A layer's content is a stranger's: every name is opened beneath its folder and
//! never through a link. Folders are the pieces of work; of each nothing is held
//! open between two steps, so that neither width nor depth costs descriptors.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, ftruncate,
    futimens, linkat, mkdirat, mknodat, openat, openat2, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::map::OVERFLOW;
use super::{MOST_DIRECT, Method, SHORT, Shift};
use crate::error::{Context, Error, Result};
use crate::storage::acl::{self, Whom};
use crate::storage::layer::{OPAQUE, OWNER, shown, split};
use crate::sys::content;

/// A layer's files.
pub struct Source {
    pub folder: PathBuf,
    /// Whether a file may have extended attributes.
    pub attributes: bool,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Made {
    /// Files and folders.
    pub files: u64,
    /// Bytes on disk that nothing else has.
    pub size: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub files: u64,
    /// Of files' content.
    pub bytes: u64,
}

/// Makes `tree/` and `farm/` in the folder `into` of `layers`, highest first. `tell`
/// hears now and then how much is done. Uses threads; must run as root of a
/// namespace with the default map, in a process whose umask nobody else needs.
pub fn make(
    into: &Path,
    layers: &[Source],
    shift: &Shift,
    method: Method,
    tell: &mut dyn FnMut(Done),
) -> Result<Made> {
    rustix::process::umask(Mode::empty());
    let tried = || format!("make {}", into.display());
    let open =
        |path: &Path| crate::sys::file::open_dir(path).tried(|| format!("open {}", path.display()));
    let new = |name: &str| {
        let path = into.join(name);
        std::fs::create_dir(&path).tried(tried)?;
        open(&path)
    };
    let tree = new("tree")?;
    let farm = match method {
        Method::Metadata => Some(new("farm")?),
        Method::Reflink | Method::Copy => None,
    };
    let mut roots = Vec::with_capacity(layers.len());
    for layer in layers {
        roots.push((open(&layer.folder)?, layer.attributes));
    }
    let all: Vec<usize> = (0..roots.len()).collect();
    let job = Job {
        short: longest_redirect(&tree),
        direct: roots.len() <= MOST_DIRECT,
        roots,
        tree,
        farm,
        shift,
        method,
        queue: Mutex::new(Queue {
            folders: vec![Folder {
                path: Vec::new(),
                layers: all,
            }],
            working: 0,
            idle: 0,
            error: None,
        }),
        more: Condvar::new(),
        ended: Condvar::new(),
        links: (0..64).map(|_| Mutex::default()).collect(),
        stop: AtomicBool::new(false),
        files: AtomicU64::new(0),
        size: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for number in 0..workers.clamp(1, MOST_WORKERS) {
            let worker = Worker::new(&job, number);
            scope.spawn(move || worker.run());
        }
        job.watch(tell);
    });
    if let Some(error) = lock(&job.queue).error.take() {
        return Err(error);
    }
    Ok(Made {
        files: job.files.into_inner(),
        size: job.size.into_inner(),
    })
}

/// Leads an overlay from the hole `file` to the content at `target` in a data-only
/// layer.
pub(super) fn redirect(file: impl AsFd, target: &[u8]) -> io::Result<()> {
    fsetxattr(&file, "user.overlay.metacopy", b"", XattrFlags::empty())?;
    fsetxattr(&file, "user.overlay.redirect", target, XattrFlags::empty())?;
    Ok(())
}

/// Each names folders of the farm by a digit of its own.
const MOST_WORKERS: usize = 8;

/// What the names of the farm's folders begin with.
const FARM: u8 = b'+';

/// Files in one folder of the farm: ext4 reads through a folder's block for each
/// name that is added to it.
const MOST_FARMED: u64 = 128;

/// Folders whose files are not linked into the farm, at the cost of a block for a
/// long name: cron, and other programs that ask who else could write a file of
/// theirs, take none with a second name, which every container of the image that
/// is not shifted would see (stat(2), `st_nlink`).
const UNLINKED: [&[u8]; 2] = [b"etc/", b"var/spool/"];

/// More than that a path may not have where it is resolved at once.
const LONGEST_PATH: usize = 4000;

/// The kernel's bound on a list of names and on a value (limits.h).
const XATTR_MAX: usize = 1 << 16;

/// A folder that is to be made; what of it there is in `layers`, highest first.
struct Folder {
    path: Vec<u8>,
    layers: Vec<usize>,
}

struct Queue {
    folders: Vec<Folder>,
    /// How many folders are being made.
    working: usize,
    /// How many workers have nothing to do.
    idle: usize,
    /// The first there was.
    error: Option<Error>,
}

/// Where in the tree a file of several names was made first, by layer and inode.
type Links = HashMap<(usize, u64), Vec<u8>>;

struct Job<'a> {
    /// Highest first, and whether their files may have extended attributes.
    roots: Vec<(OwnedFd, bool)>,
    tree: OwnedFd,
    farm: Option<OwnedFd>,
    shift: &'a Shift,
    method: Method,
    /// The longest redirect that takes no block.
    short: usize,
    /// Whether a redirect may lead into the layers.
    direct: bool,
    queue: Mutex<Queue>,
    /// There are folders to make, or there will be none.
    more: Condvar,
    ended: Condvar,
    links: Vec<Mutex<Links>>,
    stop: AtomicBool,
    files: AtomicU64,
    size: AtomicU64,
    bytes: AtomicU64,
}

impl Job<'_> {
    /// Tells of progress until all is done.
    fn watch(&self, tell: &mut dyn FnMut(Done)) {
        const NOW_AND_THEN: Duration = Duration::from_millis(100);
        let mut queue = lock(&self.queue);
        while !queue.is_done() {
            let waited = self.ended.wait_timeout(queue, NOW_AND_THEN);
            let (still, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = still;
            if waited.timed_out() {
                drop(queue);
                tell(Done {
                    files: self.files.load(Ordering::Relaxed),
                    bytes: self.bytes.load(Ordering::Relaxed),
                });
                queue = lock(&self.queue);
            }
        }
    }

    /// The next folder; none when all are done or one failed.
    fn next(&self) -> Option<Folder> {
        let mut queue = lock(&self.queue);
        while !queue.is_done() {
            if let Some(folder) = queue.folders.pop() {
                queue.working += 1;
                return Some(folder);
            }
            queue.idle += 1;
            queue = self
                .more
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
        None
    }

    fn done(&self, folder: &Folder, result: Result<Vec<Folder>>) {
        let mut queue = lock(&self.queue);
        queue.working -= 1;
        match result {
            Ok(more) => queue.folders.extend(more),
            Err(error) => {
                self.stop.store(true, Ordering::Relaxed);
                let error = match folder.path.as_slice() {
                    b"" => error,
                    path => error.tried(shown(path)),
                };
                queue.error.get_or_insert(error);
            }
        }
        if queue.is_done() {
            self.more.notify_all();
            self.ended.notify_all();
        } else if queue.idle > 0 && queue.folders.len() > 1 {
            // One is for us.
            self.more.notify_all();
        }
    }
}

impl Queue {
    fn is_done(&self) -> bool {
        self.error.is_some() || (self.folders.is_empty() && self.working == 0)
    }
}

struct Worker<'a> {
    job: &'a Job<'a>,
    number: usize,
    /// Our last folder of the farm.
    farm: Option<Farm>,
    /// Names that we have in the farm.
    farmed: u64,
    entries: Vec<MaybeUninit<u8>>,
    names: Vec<u8>,
    value: Vec<u8>,
    buffer: Vec<u8>,
}

/// A folder of the farm.
struct Farm {
    folder: OwnedFd,
    /// Of those of one worker.
    number: u64,
    name: String,
}

/// Where a file comes from and goes to.
struct Place<'a> {
    layer: usize,
    source: &'a OwnedFd,
    target: &'a OwnedFd,
    /// The folder's path.
    path: &'a [u8],
}

/// What is known of a name once a higher layer has it.
enum Seen {
    /// Nothing below shows.
    Closed,
    /// A folder; those below may show through.
    Folder(usize),
}

impl<'a> Worker<'a> {
    fn new(job: &'a Job<'a>, number: usize) -> Self {
        Self {
            job,
            number,
            farm: None,
            farmed: 0,
            entries: vec![MaybeUninit::uninit(); 1 << 15],
            names: vec![0; XATTR_MAX],
            value: vec![0; XATTR_MAX],
            buffer: Vec::new(),
        }
    }

    fn run(mut self) {
        while let Some(folder) = self.job.next() {
            // The others wait for this folder, whatever comes.
            let made = std::panic::catch_unwind(AssertUnwindSafe(|| self.folder(&folder)));
            let result = made.unwrap_or_else(|_| Err(Error::other("a thread failed")));
            self.job.done(&folder, result);
        }
    }

    fn count(&self, files: u64, size: u64) {
        self.job.files.fetch_add(files, Ordering::Relaxed);
        self.job.size.fetch_add(size, Ordering::Relaxed);
    }

    /// Makes what is in a folder, whose own folder is there, and dresses it; the
    /// folders in it are given back.
    fn folder(&mut self, folder: &Folder) -> Result<Vec<Folder>> {
        let target = open_beneath(&self.job.tree, &folder.path)?;
        let mut sources = Vec::with_capacity(folder.layers.len());
        for &layer in &folder.layers {
            let source = open_beneath(&self.job.roots[layer].0, &folder.path)?;
            let last = sources.len() + 1 == folder.layers.len();
            let hides = !last && is_opaque(&source)?;
            sources.push((layer, source));
            if hides {
                break;
            }
        }
        let mut folders: Vec<Folder> = Vec::new();
        let mut seen: HashMap<Vec<u8>, Seen> = HashMap::new();
        let mut entries = std::mem::take(&mut self.entries);
        for (at, (layer, source)) in sources.iter().enumerate() {
            let place = Place {
                layer: *layer,
                source,
                target: &target,
                path: &folder.path,
            };
            let remember = at + 1 < sources.len();
            let mut names = RawDir::new(source, &mut entries);
            while let Some(entry) = names.next() {
                let entry = entry?;
                let name = entry.file_name();
                let bytes = name.to_bytes();
                if matches!(bytes, b"." | b"..") {
                    continue;
                }
                if self.job.stop.load(Ordering::Relaxed) {
                    return Ok(Vec::new());
                }
                let tried = || shown(bytes);
                let mut kind = entry.file_type();
                if kind == FileType::Unknown {
                    let found = statat(source, name, AtFlags::SYMLINK_NOFOLLOW).tried(tried)?;
                    kind = FileType::from_raw_mode(found.st_mode);
                }
                let is_folder = kind == FileType::Directory;
                match seen.get_mut(bytes) {
                    Some(Seen::Folder(known)) if is_folder => folders[*known].layers.push(*layer),
                    Some(Seen::Closed) => {}
                    Some(known) => *known = Seen::Closed,
                    None => {
                        let known = if is_folder {
                            mkdirat(&target, name, Mode::RWXU).tried(tried)?;
                            folders.push(Folder {
                                path: joined(&folder.path, bytes),
                                layers: vec![*layer],
                            });
                            Seen::Folder(folders.len() - 1)
                        } else {
                            self.file(&place, name).tried(tried)?;
                            Seen::Closed
                        };
                        if remember {
                            seen.insert(bytes.to_vec(), known);
                        }
                    }
                }
            }
        }
        self.entries = entries;
        let (layer, source) = &sources[0];
        let stat = fstat(source)?;
        self.dress(*layer, Some(source), &target, &stat)?;
        self.count(1, blocks(&fstat(&target)?));
        Ok(folders)
    }

    /// Makes what is no folder. Of one with several names, the second and further
    /// are links to the first.
    fn file(&mut self, place: &Place<'_>, name: &CStr) -> Result<()> {
        let stat = statat(place.source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            // A whiteout, which has done its work. Other devices no layer has.
            return Ok(());
        }
        if stat.st_nlink < 2 {
            return self.make(place, name, &stat);
        }
        let job = self.job;
        // Held while the first is made: the others wait.
        let mut links = lock(&job.links[stat.st_ino as usize % job.links.len()]);
        if let Some(first) = links.get(&(place.layer, stat.st_ino)) {
            let (above, first) = split(first);
            let above = open_beneath(&job.tree, above)?;
            let first = std::ffi::OsStr::from_bytes(first);
            linkat(&above, first, place.target, name, AtFlags::empty())?;
            return Ok(());
        }
        self.make(place, name, &stat)?;
        links.insert(
            (place.layer, stat.st_ino),
            joined(place.path, name.to_bytes()),
        );
        Ok(())
    }

    fn make(&mut self, place: &Place<'_>, name: &CStr, stat: &Stat) -> Result<()> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if self.job.farm.is_some() => self.hole(place, name, stat)?,
            FileType::RegularFile => self.copy(place, name, stat)?,
            FileType::Symlink => {
                let to = readlinkat(place.source, name, Vec::new())?;
                symlinkat(&*to, place.target, name)?;
                self.dress_at(place, name, stat)?;
            }
            kind @ (FileType::Fifo | FileType::Socket) => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                mknodat(place.target, name, kind, mode, 0)?;
                self.dress_at(place, name, stat)?;
                if stat.st_mode & 0o7000 != 0 {
                    rustix::fs::chmodat(place.target, name, mode, AtFlags::empty())?;
                }
            }
            _ => return Err(Error::other("it is of no kind that a layer has")),
        }
        self.count(1, 0);
        Ok(())
    }

    /// Makes a file without content, which a data-only layer has.
    fn hole(&mut self, place: &Place<'_>, name: &CStr, stat: &Stat) -> Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let target = if size == 0 {
            None
        } else {
            let Some(target) = self.data_of(place, name)? else {
                // It has as many names as a file may have.
                return self.copy(place, name, stat);
            };
            Some(target)
        };
        let made = new_file(place.target, name, stat)?;
        if let Some(target) = target {
            ftruncate(&made, size)?;
            redirect(&made, &target)?;
            if target.len() > self.job.short {
                self.count(0, 4096);
            }
        }
        let source = match self.job.roots[place.layer].1 {
            true => Some(open_file(place.source, name)?),
            false => None,
        };
        self.dress(place.layer, source.as_ref(), &made, stat)
    }

    /// A path of the file in a data-only layer, one that is short if there can be.
    /// None if the file cannot have another name.
    fn data_of(&mut self, place: &Place<'_>, name: &CStr) -> Result<Option<Vec<u8>>> {
        let path = joined(place.path, name.to_bytes());
        // The farm is searched first.
        let is_ours = path.first() == Some(&FARM);
        let stays = UNLINKED.iter().any(|folder| path.starts_with(folder)) && path.len() < 256;
        let is_short = path.len() < self.job.short;
        if self.job.direct && !is_ours && (is_short || stays) {
            return Ok(Some([b"/", &*path].concat()));
        }
        let number = self.farmed / MOST_FARMED;
        let farm = match self.farm.take().filter(|farm| farm.number == number) {
            Some(farm) => farm,
            None => self.new_farm(number)?,
        };
        let link = base36(self.farmed % MOST_FARMED);
        let linked = linkat(place.source, name, &farm.folder, &*link, AtFlags::empty());
        let target = format!("/{}/{link}", farm.name);
        self.farm = Some(farm);
        match linked {
            Ok(()) => {
                self.farmed += 1;
                Ok(Some(target.into_bytes()))
            }
            Err(Errno::MLINK) => Ok(None),
            Err(error) => Err(error).tried(|| "link it"),
        }
    }

    fn new_farm(&self, number: u64) -> Result<Farm> {
        let farm = self.job.farm.as_ref().expect("holes are made with a farm");
        let name = format!("{}{}{}", char::from(FARM), self.number, base36(number));
        mkdirat(farm, &*name, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(farm, &*name, flags, Mode::empty())?;
        self.count(0, blocks(&fstat(&folder)?));
        Ok(Farm {
            folder,
            number,
            name,
        })
    }

    /// Makes a file with its content.
    fn copy(&mut self, place: &Place<'_>, name: &CStr, stat: &Stat) -> Result<()> {
        let source = open_file(place.source, name)?;
        let made = new_file(place.target, name, stat)?;
        let mut size = 0;
        if stat.st_size > 0 && !content::share(&source, &made) {
            if self.job.method == Method::Reflink {
                return Err(Error::other(
                    "this file system cannot share blocks between files",
                ));
            }
            content::copy(&source, &made, stat, &mut self.buffer, |_| ())?;
            size = blocks(stat);
        }
        self.count(0, size);
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        self.job.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.dress(place.layer, Some(&source), &made, stat)
    }

    /// Owner, mode, attributes and times, in this order: a new owner takes setuid
    /// bits and capabilities away. `source` may be none if it has no attributes.
    fn dress(
        &mut self,
        layer: usize,
        source: Option<&OwnedFd>,
        target: &OwnedFd,
        stat: &Stat,
    ) -> Result<()> {
        let (uid, gid) = self.owner(stat)?;
        fchown(target, Some(uid), Some(gid))?;
        let mode = stat.st_mode & 0o7777;
        // Files are made with their mode.
        if mode & 0o7000 != 0 || FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            fchmod(target, Mode::from_raw_mode(mode))?;
        }
        if let Some(source) = source
            && self.job.roots[layer].1
        {
            self.attributes(source, target)?;
        }
        Ok(futimens(target, &times(stat))?)
    }

    /// Owner and times of what is not opened.
    fn dress_at(&self, place: &Place<'_>, name: &CStr, stat: &Stat) -> Result<()> {
        let (uid, gid) = self.owner(stat)?;
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        chownat(place.target, name, Some(uid), Some(gid), no_follow)?;
        Ok(utimensat(place.target, name, &times(stat), no_follow)?)
    }

    fn owner(&self, stat: &Stat) -> Result<(Uid, Gid)> {
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        match (self.job.shift.uid(uid), self.job.shift.gid(gid)) {
            (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
            _ => Err(Error::other(format!(
                "its owner {uid}:{gid} is none that layer.json names"
            ))),
        }
    }

    /// Copies extended attributes, with the ids in them shifted.
    fn attributes(&mut self, source: &OwnedFd, target: &OwnedFd) -> Result<()> {
        let length = match flistxattr(source, &mut self.names[..]) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
            Ok(length) => length,
            Err(error) => return Err(error.into()),
        };
        for name in self.names[..length].split_inclusive(|byte| *byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else {
                continue;
            };
            let bytes = name.to_bytes();
            // The overlay's marks are about its layers; labels are the machine's.
            if bytes.starts_with(b"user.overlay.")
                || bytes == OWNER.as_bytes()
                || bytes == b"security.selinux"
            {
                continue;
            }
            let length = match fgetxattr(source, name, &mut self.value[..]) {
                Ok(length) => length,
                Err(Errno::NODATA) => continue,
                Err(error) => return Err(error.into()),
            };
            let value = &self.value[..length];
            let shifted: Vec<u8>;
            let value = if bytes == b"security.capability" {
                let Some(capability) = self.capability(value) else {
                    continue;
                };
                shifted = capability.to_vec();
                &shifted
            } else if acl::is_list(bytes) {
                shifted = self.acl(value);
                &shifted
            } else {
                value
            };
            match fsetxattr(target, name, value, XattrFlags::empty()) {
                // What the file system or the security module does not let us keep.
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => {}
                Err(error) => return Err(error).tried(|| shown(bytes)),
            }
        }
        Ok(())
    }

    /// Capabilities of a file are those in a namespace of one root (capabilities(7),
    /// "Namespaced file capabilities"): the container's. None if that has none.
    fn capability(&self, value: &[u8]) -> Option<[u8; 24]> {
        const REVISION: u32 = 0xff00_0000;
        const THIRD: u32 = 0x0300_0000;
        let word = |at: usize| {
            let bytes = value.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
        };
        let magic = word(0)? & !REVISION | THIRD;
        let root = self.job.shift.uid(word(20).unwrap_or(0))?;
        let mut shifted = [0; 24];
        shifted[..4].copy_from_slice(&magic.to_le_bytes());
        shifted[4..20].copy_from_slice(value.get(4..20)?);
        shifted[20..].copy_from_slice(&root.to_le_bytes());
        Some(shifted)
    }

    /// An access control list has ids.
    fn acl(&self, value: &[u8]) -> Vec<u8> {
        let shift = self.job.shift;
        let mut shifted = value.to_vec();
        acl::each_id(&mut shifted, |whom| match whom {
            Whom::User(id) => *id = shift.uid(*id).unwrap_or(OVERFLOW),
            Whom::Group(id) => *id = shift.gid(*id).unwrap_or(OVERFLOW),
        });
        shifted
    }
}

/// How long a redirect may be on this file system and take no block of its own.
fn longest_redirect(tree: &OwnedFd) -> usize {
    const EXT4: u64 = 0xef53;
    match rustix::fs::fstatfs(tree) {
        Ok(found) if found.f_type as u64 != EXT4 => 100,
        _ => SHORT,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match folder {
        b"" => name.to_vec(),
        _ => [folder, b"/", name].concat(),
    }
}

/// Opens the folder `path` beneath `root`, through no link; a path may be longer
/// than the kernel takes.
fn open_beneath(root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let open = |root: &OwnedFd, path: &[u8]| {
        let path = std::ffi::OsStr::from_bytes(if path.is_empty() { b"." } else { path });
        openat2(root, path, flags, Mode::empty(), resolve)
    };
    let mut rest = path;
    let mut at = None;
    while rest.len() > LONGEST_PATH {
        let cut = rest[..LONGEST_PATH].iter().rposition(|byte| *byte == b'/');
        let cut = cut.ok_or(Errno::NAMETOOLONG)?;
        at = Some(open(at.as_ref().unwrap_or(root), &rest[..cut])?);
        rest = &rest[cut + 1..];
    }
    Ok(open(at.as_ref().unwrap_or(root), rest)?)
}

fn is_opaque(folder: &OwnedFd) -> io::Result<bool> {
    let mut value = [0; 1];
    match fgetxattr(folder, OPAQUE, &mut value) {
        Ok(length) => Ok(value[..length] == *b"y"),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open_file(folder: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

fn new_file(folder: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
    Ok(openat(folder, name, flags | OFlags::CLOEXEC, mode)?)
}

fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
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

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            return String::from_utf8_lossy(&digits).into_owned();
        }
    }
}
