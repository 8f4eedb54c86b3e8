//! What a container sees, looked at from within, whether it runs or not.
//!
//! A child looks: in the container's own namespaces while it runs; else in new ones,
//! where it puts together what a start would mount, over a layer that is thrown
//! away. It walks to a path, becomes the container's user, and asks the kernel what
//! that user may do there. What it found comes back as descriptors, too, so that
//! the caller sees the same files with the host's ids.
//!
//! **Invariant:** nothing is written, not even what a first start would write.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

use super::explain::safe;
use super::layers::Lowers;
use super::options::{Mount, MountKind, Options};
use super::rootfs::{dress_like, overlay};
use super::{Container, Record, host, spec};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image::accounts::{Accounts, User};
use crate::runtime::capability::{CapSet, Capabilities, Capability};
use crate::storage::Storage;
use crate::storage::shifted::Lower;
use crate::sys::file::{may, open_dir, open_in_root};
use crate::sys::{SoleThread, mount, process, socket};
use crate::userns::{self, IdMap};
use crate::volume::{self, Backing};

/// What was seen.
#[derive(Debug, Serialize, Deserialize)]
pub struct View {
    pub user: Who,
    /// The first name of each id in the container's passwd and group.
    pub users: BTreeMap<u32, String>,
    pub groups: BTreeMap<u32, String>,
    pub mounts: Vec<Mounted>,
    pub walk: Option<Walk>,
}

/// The container's user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Who {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Whether its capabilities reach over modes (CAP_DAC_OVERRIDE).
    pub overrides: bool,
    /// Whether they let it read and search anything (CAP_DAC_READ_SEARCH).
    pub reads: bool,
}

/// A line of the container's mount table (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    pub id: u64,
    pub destination: PathBuf,
    /// What of its file system is mounted.
    pub root: PathBuf,
    /// `ext4`, `overlay`…
    pub kind: String,
    pub source: String,
    /// Of the mount: `ro`, `noexec`…
    pub flags: Vec<String>,
    /// Of the file system.
    pub options: Vec<String>,
}

/// The way to a path.
#[derive(Debug, Serialize, Deserialize)]
pub struct Walk {
    /// The folders on the way, the root first, as far as it went; for each the
    /// descriptor of the same number comes with the view.
    pub steps: Vec<Step>,
    pub end: End,
    /// Links that were followed: where they are, and to what they lead.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// A folder on the way.
#[derive(Debug, Serialize, Deserialize)]
pub struct Step {
    pub path: PathBuf,
    /// Why the user may not search it, if so.
    pub refused: Option<i32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum End {
    /// It is there; its descriptor is the last.
    There {
        path: PathBuf,
        mount: u64,
        /// Why the user may not read, write, execute it, if so.
        refused: [Option<i32>; 3],
    },
    /// The last folder of the steps has no such entry.
    Missing(String),
    /// The last folder of the steps cannot be looked into even with all rights.
    Shut,
    /// It is made when the container starts, here.
    MadeAtStart(PathBuf),
}

/// Looks at `container`, and at `path` in it, as `user` or the container's own.
pub fn look(
    engine: &Engine,
    container: &Container,
    map: &IdMap,
    user: Option<&str>,
    path: Option<&Path>,
) -> Result<(View, Vec<OwnedFd>)> {
    let (ours, theirs) = socket::pair().tried(|| "make a socket pair")?;
    let thread = engine.thread;
    let record = &container.record;
    let asked = Asked {
        record,
        map,
        user,
        path,
    };
    let view = match container.entrance() {
        Some(init) if container.status.is_up() => {
            let table = format!("/proc/{}/mountinfo", init.pid());
            let table = std::fs::read(&table).tried(|| format!("read {table}"))?;
            userns::in_child_beside(thread, &init, || {
                leave_groups(record, map)?;
                let root = open_dir(Path::new("/"))?;
                let mounts = parse_mounts(&table);
                let accounts = Accounts::in_root(root.as_fd());
                asked.answer(thread, &root, accounts, mounts, None, &theirs)
            })?
        }
        _ => {
            let lowers = Lowers::ensure(engine, record, map, None)?;
            let with_us = map.and_rest(engine.default_map());
            userns::in_child(thread, &with_us, || {
                let place = engine.storage.container(&record.id).join("rootfs");
                let (root, accounts) = process::with_file_ids(0, 0, || {
                    let root = put_together(&engine.storage, record, &lowers, &place)?;
                    let accounts = Accounts::in_root(root.as_fd()).and_then(|accounts| {
                        let missing = host::missing_accounts(engine, record, &accounts)?;
                        Ok(accounts.with(&missing))
                    });
                    Ok::<_, Error>((root, accounts))
                })?;
                let table = std::fs::read("/proc/self/mountinfo")?;
                let mounts = below(parse_mounts(&table), &place.join(ROOT));
                let nested = match with_us == *map {
                    true => None,
                    false => Some(userns::nested(thread, map)?),
                };
                asked.answer(thread, &root, accounts, mounts, Some(nested), &theirs)
            })?
        }
    };
    drop(theirs);
    let mut fds = Vec::new();
    loop {
        let (message, more) = socket::receive(&ours)?;
        if message.is_empty() {
            return Ok((view, fds));
        }
        fds.extend(more);
    }
}

fn leave_groups(record: &Record, map: &IdMap) -> Result<()> {
    match record.options.keeps_groups() {
        true => Ok(()),
        false => userns::leave_groups(map),
    }
}

/// What is to be found out.
struct Asked<'a> {
    record: &'a Record,
    map: &'a IdMap,
    user: Option<&'a str>,
    path: Option<&'a Path>,
}

impl Asked<'_> {
    /// The child's work in the container's root. `rest` is there if the container
    /// does not run: the user namespace that its user lives in, if not ours.
    fn answer(
        &self,
        thread: SoleThread,
        root: &OwnedFd,
        accounts: Result<Accounts>,
        mounts: Vec<Mounted>,
        rest: Option<Option<OwnedFd>>,
        answer: &OwnedFd,
    ) -> Result<View> {
        let mut options = self.record.options.clone();
        if let Some(user) = self.user {
            options.user = user.to_owned();
        }
        // Numbers need no files: what cannot be read has no names.
        let (accounts, unread) = match accounts {
            Ok(accounts) => (accounts, None),
            Err(error) => (Accounts::default(), Some(error)),
        };
        let mut user = accounts
            .resolve(&options.user, options.named_groups())
            .map_err(|error| unread.unwrap_or(error).kind_is(Kind::Other))?;
        user.keep_mapped(self.map);
        let capabilities = spec::capabilities(&options, CapSet::bounding())?;
        let has = |capability| capabilities.effective.contains(capability);
        let view = View {
            user: Who {
                uid: user.uid,
                gid: user.gid,
                groups: user.additional_gids.clone(),
                overrides: has(Capability::DAC_OVERRIDE),
                reads: has(Capability::DAC_READ_SEARCH),
            },
            users: names(accounts.passwd.as_deref()),
            groups: names(accounts.group.as_deref()),
            mounts,
            walk: None,
        };
        let Some(path) = self.path else {
            return Ok(view);
        };
        let path = Path::new("/").join(&options.workdir).join(path);
        let mut walked = walk(root, &path)?;
        if let (Some(_), Found::Missing(_) | Found::There(_)) = (&rest, &walked.found)
            && let Some(made) = made_at_start(&options, &walked.at())
        {
            walked.found = Found::MadeAtStart(made);
        }
        send(&walked, answer)?;
        if let Some(Some(nested)) = rest {
            process::join_namespace(thread, nested.as_fd(), libc::CLONE_NEWUSER)
                .tried(|| "join the user namespace of the container")?;
        }
        become_user(&options, self.map, &user, &capabilities)?;
        Ok(View {
            walk: Some(walked.judged()?),
            ..view
        })
    }
}

/// Becomes the container's user, for good.
fn become_user(
    options: &Options,
    map: &IdMap,
    user: &User,
    capabilities: &Capabilities,
) -> Result<()> {
    for (what, id, outside) in [
        ("uid", user.uid, map.uid_outside(user.uid)),
        ("gid", user.gid, map.gid_outside(user.gid)),
    ] {
        if outside.is_none() {
            return Err(Error::other(format!(
                "{what} {id} of the container's user is not mapped: the container cannot run"
            )));
        }
    }
    if !options.keeps_groups() {
        match process::set_groups(&user.additional_gids) {
            // Single-id mode.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            result => result.tried(|| "set the groups of the container's user")?,
        }
    }
    process::set_ids_keeping_capabilities(user.uid, user.gid)
        .tried(|| "become the container's user")?;
    capabilities.apply()
}

/// A walk while its descriptors are held.
struct Walked {
    folders: Vec<(PathBuf, OwnedFd)>,
    found: Found,
    links: Vec<(PathBuf, PathBuf)>,
}

enum Found {
    There((PathBuf, OwnedFd)),
    Missing(String),
    Shut,
    MadeAtStart(PathBuf),
}

impl Walked {
    /// Where it came to, or would have.
    fn at(&self) -> PathBuf {
        match &self.found {
            Found::There((path, _)) => path.clone(),
            Found::Missing(name) => match self.folders.last() {
                Some((path, _)) => path.join(name),
                None => PathBuf::from("/"),
            },
            Found::Shut | Found::MadeAtStart(_) => PathBuf::from("/"),
        }
    }

    /// What the kernel says of us, who have become the user.
    fn judged(self) -> Result<Walk> {
        let steps = self
            .folders
            .into_iter()
            .map(|(path, fd)| Step {
                refused: refused(&fd, 1),
                path,
            })
            .collect();
        let end = match self.found {
            Found::There((path, fd)) => {
                let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
                let found = rustix::fs::statx(&fd, "", flags, StatxFlags::MNT_ID)?;
                End::There {
                    refused: [4, 2, 1].map(|wanted| refused(&fd, wanted)),
                    mount: found.stx_mnt_id,
                    path,
                }
            }
            Found::Missing(name) => End::Missing(name),
            Found::Shut => End::Shut,
            Found::MadeAtStart(path) => End::MadeAtStart(path),
        };
        Ok(Walk {
            steps,
            end,
            links: self.links,
        })
    }
}

/// Why the kernel refuses us what `file` is open on, if it does.
fn refused(file: &OwnedFd, wanted: i32) -> Option<i32> {
    let error = may(file, wanted).err()?;
    Some(error.raw_os_error().unwrap_or(libc::EACCES))
}

/// Sends the descriptors of the folders, then that of what was found.
fn send(walked: &Walked, socket: &OwnedFd) -> Result<()> {
    let mut all: Vec<BorrowedFd<'_>> = walked.folders.iter().map(|(_, fd)| fd.as_fd()).collect();
    if let Found::There((_, fd)) = &walked.found {
        all.push(fd.as_fd());
    }
    for some in all.chunks(socket::MAX_FDS) {
        socket::send(socket.as_fd(), b"fds", some).tried(|| "send descriptors")?;
    }
    Ok(())
}

/// Links that are followed before a path is taken for a loop (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Folders on the way; more than a path within PATH_MAX has in earnest.
const MAX_FOLDERS: usize = 200;

/// Walks to `path` beneath `root`, entry by entry, so that each can be judged. No
/// `..` is ever opened and no link is left to the kernel: nothing leads out.
fn walk(root: &OwnedFd, path: &Path) -> Result<Walked> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let again = |fd: &OwnedFd| fd.try_clone();
    let mut way: Vec<(PathBuf, OwnedFd)> = vec![("/".into(), again(root)?)];
    let mut visited: Vec<(PathBuf, OwnedFd)> = Vec::new();
    let mut links = Vec::new();
    let mut rest: VecDeque<OsString> = parts(path).collect();
    let done = |visited, found, links| {
        Ok(Walked {
            folders: visited,
            found,
            links,
        })
    };
    while let Some(name) = rest.pop_front() {
        let (at, fd) = way.last().expect("the root is never left");
        if visited.iter().all(|(path, _)| path != at) {
            visited.push((at.clone(), again(fd)?));
        }
        if visited.len() > MAX_FOLDERS {
            return Err(Error::usage("the path has too many folders"));
        }
        if name == ".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let path = at.join(&name);
        let entry = match rustix::fs::openat(fd, &name, flags, Mode::empty()) {
            Ok(entry) => entry,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let missing = name.to_string_lossy().into_owned();
                return done(visited, Found::Missing(missing), links);
            }
            Err(Errno::ACCESS | Errno::PERM) => return done(visited, Found::Shut, links),
            Err(error) => return Err(error).tried(|| format!("open {}", safe(&path))),
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&entry)?.st_mode);
        match kind {
            FileType::Symlink => {
                let to = rustix::fs::readlinkat(&entry, "", Vec::new())?;
                let to = PathBuf::from(OsString::from_vec(to.into_bytes()));
                if links.len() == MAX_LINKS {
                    return Err(Error::usage(format!(
                        "{}: too many levels of symbolic links",
                        safe(&path)
                    )));
                }
                if to.has_root() {
                    way.truncate(1);
                }
                for part in parts(&to).collect::<Vec<_>>().into_iter().rev() {
                    rest.push_front(part);
                }
                links.push((path, to));
            }
            FileType::Directory => way.push((path, entry)),
            _ if rest.is_empty() => return done(visited, Found::There((path, entry)), links),
            // A file has no entries.
            _ => {
                let missing = rest.pop_front().unwrap_or_default();
                visited.push((path, entry));
                let missing = missing.to_string_lossy().into_owned();
                return done(visited, Found::Missing(missing), links);
            }
        }
    }
    let target = way.pop().expect("the root is never left");
    visited.retain(|(path, _)| *path != target.0);
    done(visited, Found::There(target), links)
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    })
}

/// The first name of each id in the text of a passwd or group file.
pub fn names(text: Option<&str>) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in text.unwrap_or_default().lines() {
        let mut parts = line.split(':');
        if let (Some(name), Some(id)) = (parts.next(), parts.nth(1).and_then(|id| id.parse().ok()))
        {
            let safe: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            names.entry(id).or_insert(safe);
        }
    }
    names
}

/// Where in the scratch file system the root is put together.
const ROOT: &str = "root";

/// Mounts what a start would mount at `place`, in our own mount namespace, on a
/// file system in memory: the layers with one on top that is thrown away, and the
/// user's mounts. What is made at each start is not there.
fn put_together(
    storage: &Storage,
    record: &Record,
    lowers: &Lowers,
    place: &Path,
) -> Result<OwnedFd> {
    let tried = || format!("mount a file system in memory at {}", place.display());
    let memory = mount::make("tmpfs", &[("mode", Some("755"))], MountAttrFlags::empty())
        .and_then(|made| mount::attach(&made, place));
    memory.tried(tried)?;
    let own = storage.container(&record.id).join("upper");
    let mut lower = lowers.image.clone();
    if own.exists() {
        lower.folders.insert(0, own);
    }
    let at = place.join(ROOT);
    std::fs::create_dir(&at)?;
    let made = stacked(place, "", &lower)?;
    if record.options.read_only {
        mount::restrict(&made, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    }
    mount::attach(&made, &at).tried(|| "mount the container's root")?;
    let root = open_dir(&at)?;
    for (number, mount) in spec::mounts(&record.options).iter().enumerate() {
        let made = made_of(storage, lowers, mount, place, number)
            .tried(|| format!("look at what is mounted on {}", mount.destination.display()))?;
        if let Some(made) = made {
            let target = ensure(&root, &mount.destination, &made)?;
            mount::restrict(&made, restrictions(mount))?;
            mount::attach_at(&made, &target)
                .tried(|| format!("mount on {}", mount.destination.display()))?;
        }
    }
    // The mount at the root, not the folder beneath it.
    Ok(open_dir(&at)?)
}

/// An overlay of `lower` where what is written is thrown away.
fn stacked(place: &Path, name: &str, lower: &Lower) -> Result<mount::Detached> {
    let [upper, work] = ["upper", "work"].map(|part| place.join(format!("{part}{name}")));
    for dir in [&upper, &work] {
        std::fs::create_dir(dir)?;
    }
    let mut lower = lower.clone();
    match lower.folders.first() {
        Some(top) => dress_like(&upper, top)?,
        None => {
            let nothing = place.join(format!("nothing{name}"));
            std::fs::create_dir(&nothing)?;
            lower.folders.push(nothing);
        }
    }
    overlay(&lower, Some((&upper, &work)), true)
}

/// What a mount of the user's is of; none where it begins as what the image has there.
fn made_of(
    storage: &Storage,
    lowers: &Lowers,
    mount: &Mount,
    place: &Path,
    number: usize,
) -> Result<Option<mount::Detached>> {
    let copy = |path: &Path| -> Result<mount::Detached> {
        let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .tried(|| format!("open {}", path.display()))?;
        let found = match &mount.subpath {
            Some(subpath) => {
                let relative = subpath.strip_prefix("/").unwrap_or(subpath);
                open_in_root(&found, relative, OFlags::PATH)
                    .tried(|| format!("open {}", subpath.display()))?
            }
            None => found,
        };
        Ok(mount::copy_of(&found, true)?)
    };
    let made = match &mount.kind {
        MountKind::Bind { source } => copy(source)?,
        MountKind::Volume { name, .. } => {
            let volume = volume::load(storage, name)?;
            let Some(volume) = volume.filter(|volume| !volume.is_unused(storage)) else {
                return Ok(None);
            };
            match volume.backing(&volume::mountpoint(storage, name)) {
                Backing::Directory(path) | Backing::Bind(path, _) => copy(&path)?,
                Backing::Image(image) => {
                    let mut lower = lowers.mounted(&image.id)?.clone();
                    let own = volume::changes(storage, name);
                    lower
                        .folders
                        .splice(0..0, Some(own).filter(|own| own.exists()));
                    stacked(place, &number.to_string(), &lower)?
                }
                Backing::Made(..) => return Ok(None),
            }
        }
        MountKind::Tmpfs { copy_up: true, .. } | MountKind::Devpts { .. } => return Ok(None),
        MountKind::Tmpfs { options, .. } | MountKind::Ramfs { options } => {
            let pairs: Vec<(&str, Option<&str>)> = spec::tmpfs_options(options)
                .into_iter()
                .map(|option| match option.split_once('=') {
                    Some((key, value)) => (key, Some(value)),
                    None => (option, None),
                })
                .collect();
            mount::make("tmpfs", &pairs, MountAttrFlags::empty())?
        }
        MountKind::Overlay { source, upper, .. } => {
            let lower = Lower {
                folders: upper.iter().chain([source]).cloned().collect(),
                data: Vec::new(),
            };
            stacked(place, &number.to_string(), &lower)?
        }
        MountKind::Image { id, writable, .. } => {
            let made = stacked(place, &number.to_string(), lowers.mounted(id)?)?;
            if !writable {
                mount::restrict(&made, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
            }
            made
        }
    };
    Ok(Some(made))
}

/// What a mount's options forbid.
fn restrictions(mount: &Mount) -> MountAttrFlags {
    let mut flags = MountAttrFlags::empty();
    let own = match &mount.kind {
        MountKind::Tmpfs { options, .. } | MountKind::Ramfs { options } => options.as_slice(),
        _ => &[],
    };
    for option in mount.options.iter().chain(own) {
        match option.as_str() {
            "ro" => flags |= MountAttrFlags::MOUNT_ATTR_RDONLY,
            "noexec" => flags |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            _ => {}
        }
    }
    if mount.read_only {
        flags |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    flags
}

/// The place for a mount in the root, made in the layer that is thrown away where
/// there is none, as a start would make it.
fn ensure(root: &OwnedFd, destination: &Path, of: &mount::Detached) -> Result<OwnedFd> {
    let tried = || format!("make {}", destination.display());
    let is_folder = FileType::from_raw_mode(rustix::fs::fstat(of)?.st_mode) == FileType::Directory;
    let mut at = PathBuf::from("/");
    let names: Vec<OsString> = parts(destination).collect();
    for (number, name) in names.iter().enumerate() {
        let path = at.join(name);
        if open_in_root(root, &path, OFlags::PATH).is_err() {
            let folder = open_in_root(root, &at, OFlags::PATH | OFlags::DIRECTORY).tried(tried)?;
            match is_folder || number + 1 < names.len() {
                true => rustix::fs::mkdirat(&folder, name, Mode::from(0o755)).tried(tried)?,
                false => {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                    rustix::fs::openat(&folder, name, flags, Mode::from(0o755)).tried(tried)?;
                }
            }
        }
        at = path;
    }
    open_in_root(root, &at, OFlags::PATH).tried(tried)
}

/// What of a container is there only while it runs: the kernel's file systems, and
/// files that each start makes anew.
fn made_at_start(options: &Options, path: &Path) -> Option<PathBuf> {
    let is_users = |place: &Path| {
        let mounts = options.mounts.iter();
        mounts
            .map(|mount| &mount.destination)
            .any(|it| path.starts_with(it) && it.starts_with(place))
    };
    [
        "/proc",
        "/sys",
        "/dev",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/run/.containerenv",
        "/run/secrets",
    ]
    .into_iter()
    .map(Path::new)
    .find(|place| path.starts_with(place) && !is_users(place))
    .map(Path::to_owned)
}

/// The mounts beneath `root`, as seen from there.
fn below(mounts: Vec<Mounted>, root: &Path) -> Vec<Mounted> {
    let seen = |mut mount: Mounted| {
        let within = mount.destination.strip_prefix(root).ok()?;
        mount.destination = Path::new("/").join(within);
        Some(mount)
    };
    mounts.into_iter().filter_map(seen).collect()
}

/// The lines of a mountinfo file.
fn parse_mounts(table: &[u8]) -> Vec<Mounted> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(parse_mount)
        .collect()
}

fn parse_mount(line: &[u8]) -> Option<Mounted> {
    let mut words = line.split(|byte| *byte == b' ');
    let text = |word: &[u8]| String::from_utf8_lossy(&unescaped(word)).into_owned();
    let list = |word: &[u8]| text(word).split(',').map(str::to_owned).collect();
    let id = text(words.next()?).parse().ok()?;
    let root = unescaped(words.nth(2)?);
    let destination = unescaped(words.next()?);
    let flags = list(words.next()?);
    let mut words = words.skip_while(|word| *word != b"-").skip(1);
    Some(Mounted {
        id,
        destination: OsStr::from_bytes(&destination).into(),
        root: OsStr::from_bytes(&root).into(),
        flags,
        kind: text(words.next()?),
        source: text(words.next()?),
        options: list(words.next()?),
    })
}

/// With `\040` and its like as what they stand for.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|digits| str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (byte, code) {
            (b'\\', Some(code)) => {
                plain.push(code);
                rest = &after[3..];
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = br"36 35 98:0 /mnt\0401 /a\040b rw,noatime master:1 shared:7 - ext4 /dev/root rw,errors=continue";
        assert_eq!(
            parse_mount(line).unwrap(),
            Mounted {
                id: 36,
                destination: "/a b".into(),
                root: "/mnt 1".into(),
                kind: "ext4".into(),
                source: "/dev/root".into(),
                flags: vec!["rw".into(), "noatime".into()],
                options: vec!["rw".into(), "errors=continue".into()],
            }
        );
        assert!(parse_mount(b"36 35 98:0 / /").is_none());
        assert!(parse_mount(b"").is_none());
        let seen = below(parse_mounts(line), Path::new("/a b"));
        assert_eq!(seen[0].destination, Path::new("/"));
        assert!(below(parse_mounts(line), Path::new("/a")).is_empty());
        assert_eq!(unescaped(br"a\b\134\99"), br"a\b\\99");
    }

    #[test]
    fn names_are_the_first_of_an_id_and_harmless() {
        let found = names(Some(
            "root:x:0:0\ntoor:x:0:0\nbad\nx:y:z\n\x1b[31mred:x:5:5\n",
        ));
        assert_eq!(found.len(), 2);
        assert_eq!(found[&0], "root");
        assert_eq!(found[&5], "[31mred");
    }

    /// A folder of the test's own, gone with it.
    struct Dir(PathBuf);

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = crate::storage::remove_tree(&self.0);
        }
    }

    #[test]
    fn a_walk_stays_within_and_follows_links_by_itself() {
        let dir = Dir(
            std::env::temp_dir().join(format!("coracle-view-{}", crate::id::random_hex::<8>()))
        );
        let root = dir.0.join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(dir.0.join("outside")).unwrap();
        std::fs::write(root.join("a/b/file"), "x").unwrap();
        for (to, at) in [
            ("/a/b", "abs"),
            ("../../../../outside", "out"),
            ("b/file", "a/rel"),
            ("loop", "loop"),
        ] {
            std::os::unix::fs::symlink(to, root.join(at)).unwrap();
        }
        let root = open_dir(&root).unwrap();
        let shown = |path: &str| -> String {
            match walk(&root, Path::new(path)) {
                Err(error) => error.to_string(),
                Ok(walked) => match &walked.found {
                    Found::There((path, _)) => {
                        let folders: Vec<_> = walked
                            .folders
                            .iter()
                            .map(|(path, _)| path.display().to_string())
                            .collect();
                        format!("{} by {}", path.display(), folders.join(" "))
                    }
                    Found::Missing(name) => format!("no {name} in {}", {
                        walked.folders.last().unwrap().0.display()
                    }),
                    _ => "shut".to_owned(),
                },
            }
        };
        assert_eq!(shown("/"), "/ by ");
        assert_eq!(shown("/a/b/file"), "/a/b/file by / /a /a/b");
        assert_eq!(shown("/abs/file"), "/a/b/file by / /a /a/b");
        assert_eq!(shown("/a/rel"), "/a/b/file by / /a /a/b");
        assert_eq!(shown("/a/../../a/./b"), "/a/b by / /a");
        assert_eq!(shown("/out"), "no outside in /");
        assert_eq!(shown("/a/none/x"), "no none in /a");
        assert_eq!(shown("/a/b/file/x"), "no x in /a/b/file");
        assert!(shown("/loop").contains("too many levels"));
    }
}
