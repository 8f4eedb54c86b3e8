//! A container's volumes: what each is mounted from, and who uses one.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::mount::MountAttrFlags;

use super::layers::Lowers;
use super::options::{Mount, MountKind};
use super::rootfs::{bind_source, dress_like, image_folder, mount_overlay, place, placed};
use super::shared::{Shared, holders};
use super::{Container, Record, State, spec};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::{ContainerId, Name};
use crate::storage::shifted::Lower;
use crate::storage::{Locked, Storage};
use crate::sys::file::{Durable, open_dir};
use crate::sys::freeze::Frozen;
use crate::sys::mount::{self, Detached};
use crate::userns::IdMap;
use crate::volume::{self, Backing, Beneath, First, Volume};

/// Volumes that are not removed, and whose files are not exchanged, until the
/// container has them mounted.
#[derive(Debug, Default)]
pub struct Held(Vec<Locked>);

impl Drop for Held {
    /// Lets them go at once: an init forked meanwhile has copies of the descriptors.
    fn drop(&mut self) {
        for held in self.0.drain(..) {
            held.unlock();
        }
    }
}

/// Fills the volumes that lie in folders of their own, if this is their first use,
/// and holds all of them.
pub(super) fn ready(
    storage: &Storage,
    record: &Record,
    map: &IdMap,
    mounts: &[Mount],
    (rootfs, shared): (&OwnedFd, &Shared),
    owner: (u32, u32),
) -> Result<Held> {
    let named = |mount: &Mount| match &mount.kind {
        MountKind::Volume { name, copy, .. } => Some((name.clone(), *copy)),
        _ => None,
    };
    for mount in mounts {
        let Some((name, copy)) = named(mount) else {
            continue;
        };
        let volume = find(storage, &name)?;
        if volume.is_plain() {
            let is_first = volume.is_unused(storage);
            fill(storage, record, &volume, copy, mount, rootfs, owner)?;
            if is_first && record.map.is_some() {
                volume.remember_map(storage, map)?;
            }
        }
    }
    // All are filled by now: filling one waits until nobody holds it. By name, so that
    // no two containers wait for each other.
    let names: BTreeSet<Name> = mounts.iter().filter_map(named).map(|(it, _)| it).collect();
    let mut held = Held::default();
    for name in names {
        held.0.push(match find(storage, &name)?.is_made() {
            true => take(storage, record, &name, shared)?,
            false => volume::hold(storage, &name)?,
        });
    }
    Ok(held)
}

fn find(storage: &Storage, name: &Name) -> Result<Volume> {
    volume::load(storage, name)?.ok_or_else(|| volume::no_such(name.as_str()))
}

fn fill(
    storage: &Storage,
    record: &Record,
    volume: &Volume,
    copy: bool,
    mount: &Mount,
    rootfs: &OwnedFd,
    owner: (u32, u32),
) -> Result<()> {
    let is_used = !volume.is_unused(storage);
    if is_used && !volume.needs_copy_up(storage) {
        return Ok(());
    }
    let folder = image_folder(rootfs, &mount.destination);
    if is_used && (!copy || folder.is_none()) && !volume.needs_owner(storage) {
        return Ok(());
    }
    let durable = match record.options.remove && volume.anonymous {
        true => Durable::No,
        false => Durable::Yes,
    };
    let first = First {
        source: folder.as_ref().map(AsFd::as_fd),
        owner,
        copy,
        durable,
    };
    volume::fill(storage, volume, &first)
}

/// Holds a volume that has a file system of its own. Who has it already must have
/// lent it: two file systems for one volume would be two volumes.
fn take(storage: &Storage, record: &Record, name: &Name, shared: &Shared) -> Result<Locked> {
    let held = volume::hold_alone(storage, name)?;
    let others = holders(storage, name, Some(&record.id))?;
    if let (Some(other), None) = (others.first(), shared.get(name)) {
        return Err(Error::new(
            Kind::State,
            format!(
                "volume {name} is just being mounted by container {}: try again",
                other.record.name
            ),
        ));
    }
    let mounted = storage.volume_mounted(name);
    for id in storage.list(&mounted)? {
        if !others.iter().any(|it| it.record.id.as_str() == id) {
            let _ = std::fs::remove_file(mounted.join(id));
        }
    }
    std::fs::create_dir_all(&mounted)
        .and_then(|()| File::create(mounted.join(&record.id)))
        .tried(|| format!("note in volume {name} who has it mounted"))?;
    Ok(held)
}

/// What a container mounts for a volume, which is held.
pub(super) fn source(
    storage: &Storage,
    record: &Record,
    (name, copy): (&Name, bool),
    (lowers, shared): (&Lowers, &Shared),
    mount: &Mount,
    rootfs: &OwnedFd,
    runtime: &Path,
) -> Result<spec::Source> {
    let volume = find(storage, name)?;
    let data = volume::mountpoint(storage, name);
    if let Backing::Directory(path) = volume.backing(&data) {
        let flags = Vec::new();
        return Ok(spec::Source { path, flags });
    }
    let tried = |error: Error| {
        let what = format!("mounting volume {name} for container {}", record.id);
        error.tried(what).kind_is(Kind::CannotInvoke)
    };
    if let Backing::Bind(folder, _) = volume.backing(&data) {
        let special = |error: Error| match folder.exists() {
            true => error,
            false => no_device(&folder, &data),
        };
        let path = bind_source(&folder, &mount.destination, runtime)
            .map_err(|error| tried(special(error)))?;
        fill_own(rootfs, copy, mount, &volume, &path)?;
        let flags = flags_of(&volume, &data);
        return Ok(spec::Source { path, flags });
    }
    // Mounted once, wherever in the container it is.
    let key = Path::new(name.as_str());
    if let Some(at) = placed(runtime, "volume", key) {
        let flags = flags_of(&volume, &data);
        return Ok(spec::Source { path: at, flags });
    }
    let at = place(runtime, "volume", key)?;
    if let Some(shared) = shared.get(name) {
        // Before Linux 6.15 a mount of nobody's cannot be copied: then it is ours now.
        let attached = match mount::copy_of(shared, false) {
            Ok(copy) => mount::attach(&copy, &at),
            Err(_) => mount::attach(shared, &at),
        };
        attached.map_err(|error| tried(error.into()))?;
        let flags = flags_of(&volume, &data);
        return Ok(spec::Source { path: at, flags });
    }
    let lower = |image: &Beneath| lowers.mounted(&image.id).cloned();
    attach(storage, &volume, lower, &at).map_err(tried)?;
    fill_own(rootfs, copy, mount, &volume, &at)?;
    let flags = flags_of(&volume, &data);
    Ok(spec::Source { path: at, flags })
}

/// mount(8)'s words.
fn no_device(device: &Path, data: &Path) -> Error {
    Error::other(format!(
        "mount: {}: special device {} does not exist.",
        data.display(),
        device.display()
    ))
}

/// Fills what a volume has in place of a folder of ours with the image's files, if it
/// is empty.
fn fill_own(rootfs: &OwnedFd, copy: bool, mount: &Mount, volume: &Volume, at: &Path) -> Result<()> {
    if copy
        && volume.takes_copy_up()
        && volume.image.is_none()
        && let Some(folder) = image_folder(rootfs, &mount.destination)
    {
        copy_up(&folder, at, volume).tried(|| format!("fill volume {}", volume.name))?;
    }
    Ok(())
}

/// Mounts a volume that is more than a folder of ours at `at`. `lower` is asked for what
/// of an image to mount.
fn attach(
    storage: &Storage,
    volume: &Volume,
    lower: impl FnOnce(&Beneath) -> Result<Lower>,
    at: &Path,
) -> Result<()> {
    let data = volume::mountpoint(storage, &volume.name);
    match volume.backing(&data) {
        Backing::Directory(path) => mount::bind(&path, at)?,
        Backing::Bind(path, flags) => {
            if !path.exists() {
                return Err(no_device(&path, &data));
            }
            let source = open_dir(&path).tried(|| format!("mount: {}", path.display()))?;
            let recursive = flags.iter().any(|flag| flag == "rbind");
            let copy = mount::copy_of(&source, recursive);
            let attached = copy.and_then(|copy| mount::attach(&copy, at));
            attached.tried(|| format!("mount: {}", path.display()))?;
        }
        Backing::Made(kind, device, mut options) => {
            options.retain(|it| !spec::is_flag(it));
            make(&kind, device.as_deref(), &options, at)
                .tried(|| format!("mount: {}", data.display()))?;
        }
        Backing::Image(image) => {
            attach_image(storage, &volume.name, &lower(&image)?, at)?;
        }
    }
    Ok(())
}

/// The mount flags among a volume's `o=`.
fn flags_of(volume: &Volume, data: &Path) -> Vec<String> {
    match volume.backing(data) {
        Backing::Bind(_, words) | Backing::Made(_, _, words) => {
            words.into_iter().filter(|it| spec::is_flag(it)).collect()
        }
        Backing::Directory(_) | Backing::Image(_) => Vec::new(),
    }
}

/// As [`attach`], where the default id map is.
fn attach_plain(storage: &Storage, volume: &Volume, at: &Path) -> Result<()> {
    let lower = |image: &Beneath| Ok(storage.plain(&image.layers));
    attach(storage, volume, lower, at).tried(|| format!("mounting volume {}", volume.name))
}

/// What a container that does not run would have mounted for a volume that is more than a
/// folder of ours: what a container that runs has, else one that nobody else sees, as
/// Podman has it. None of an image's.
pub(super) fn seen_at_rest(
    storage: &Storage,
    volume: &Volume,
    shared: &Shared,
) -> Result<Option<Detached>> {
    if let Some(shared) = shared.get(&volume.name) {
        // Before Linux 6.15 a mount of nobody's cannot be copied: it is not seen then.
        return Ok(mount::copy_of(shared, false).ok());
    }
    match volume.backing(&volume::mountpoint(storage, &volume.name)) {
        Backing::Bind(folder, flags) => {
            let recursive = flags.iter().any(|flag| flag == "rbind");
            Ok(Some(mount::copy_of(&open_dir(&folder)?, recursive)?))
        }
        Backing::Made(kind, device, mut options) => {
            options.retain(|it| !spec::is_flag(it));
            made(&kind, device.as_deref(), &options).map(Some)
        }
        Backing::Directory(_) | Backing::Image(_) => Ok(None),
    }
}

/// Mounts a new file system at `at`.
fn make(kind: &str, device: Option<&str>, options: &[String], at: &Path) -> Result<()> {
    Ok(mount::attach(&made(kind, device, options)?, at)?)
}

/// A new file system. What a user may mount is for the kernel to say.
fn made(kind: &str, device: Option<&str>, options: &[String]) -> Result<Detached> {
    if kind.starts_with("fuse") {
        return Err(Error::unsupported(format_args!("type={kind}")));
    }
    if kind.is_empty() {
        let what = device.map_or_else(|| options.join(","), str::to_owned);
        return Err(Error::other(format!(
            "{what}: no file system type: give --opt type=, or o=bind for a folder"
        )));
    }
    let mut pairs: Vec<(&str, Option<&str>)> = Vec::new();
    pairs.extend(device.map(|device| ("source", Some(device))));
    for option in options {
        pairs.push(match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        });
    }
    let made = mount::make(kind, &pairs, MountAttrFlags::empty());
    made.map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV) => Error::other(format!("unknown filesystem type '{kind}'.")),
        _ => Error::from(error),
    })
}

/// Mounts an image's layers and the volume's own above them.
fn attach_image(storage: &Storage, name: &Name, lower: &Lower, at: &Path) -> Result<()> {
    let upper = volume::changes(storage, name);
    let work = upper.with_file_name("work");
    if !upper.exists() {
        std::fs::create_dir_all(&upper).tried(|| format!("make {}", upper.display()))?;
        if let Some(top) = lower.folders.first() {
            dress_like(&upper, top)?;
        }
    }
    std::fs::create_dir_all(&work).tried(|| format!("make {}", work.display()))?;
    mount_overlay(storage, lower, Some((&upper, &work)), false, at)
}

/// Fills what was mounted at `at` with the image's files, if it is empty. A tmpfs gets
/// the folder's owner and mode too; a folder of the caller's keeps its own.
fn copy_up(folder: &OwnedFd, at: &Path, volume: &Volume) -> Result<()> {
    if volume::is_empty_folder(folder)? || !volume::is_empty_folder(&open_dir(at)?)? {
        return Ok(());
    }
    let before = at.metadata()?;
    volume::copy_tree(folder, at)?;
    if volume.is_bind() {
        std::os::unix::fs::chown(at, Some(before.uid()), Some(before.gid()))?;
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(before.mode() & 0o7777))?;
    }
    Ok(())
}

/// Opens a volume's files, mounting at `at` what must be: in a mount namespace of our
/// own, whose end is that of the mount. `lent` is what a container has mounted.
pub fn open(
    storage: &Storage,
    volume: &Volume,
    lent: Option<&Detached>,
    at: &Path,
) -> Result<OwnedFd> {
    let path = match (volume.is_plain(), lent) {
        (true, _) => volume::mountpoint(storage, &volume.name),
        (false, Some(lent)) => {
            mount::attach(lent, at).tried(|| format!("mounting volume {}", volume.name))?;
            at.to_owned()
        }
        (false, None) => {
            attach_plain(storage, volume, at)?;
            at.to_owned()
        }
    };
    open_dir(&path).tried(|| format!("open {}", path.display()))
}

/// What a container that runs has mounted for a volume, if it is more than a folder.
pub fn lent(engine: &Engine, volume: &Volume) -> Result<Option<Detached>> {
    match volume.is_made() {
        true => super::shared::lent(engine, &volume.name, None),
        false => Ok(None),
    }
}

/// Mounts, in this mount namespace, a volume that must be; where its files are.
pub fn mount(storage: &Storage, volume: &Volume) -> Result<PathBuf> {
    let at = volume::mountpoint(storage, &volume.name);
    if volume.is_made()
        && let Some(holder) = holders(storage, &volume.name, None)?.first()
    {
        return Err(Error::new(
            Kind::InUse,
            format!(
                "volume {} is mounted by container {}, whose namespaces cannot be entered from here",
                volume.name, holder.record.name
            ),
        ));
    }
    if !volume.is_plain() && !is_mount_point(&at)? {
        attach_plain(storage, volume, &at)?;
    }
    Ok(at)
}

/// Whether [`mount`] has mounted a volume in this mount namespace.
pub fn is_mounted(storage: &Storage, volume: &Volume) -> bool {
    let at = volume::mountpoint(storage, &volume.name);
    !volume.is_plain() && is_mount_point(&at).unwrap_or(false)
}

/// Takes away what [`mount`] mounted in this mount namespace.
pub fn unmount(storage: &Storage, volume: &Volume) -> Result<()> {
    let at = volume::mountpoint(storage, &volume.name);
    if !volume.is_plain() && is_mount_point(&at)? {
        crate::sys::mount::detach(&at).tried(|| format!("unmounting volume {}", volume.name))?;
    }
    Ok(())
}

fn is_mount_point(path: &Path) -> Result<bool> {
    let parent = path.parent().unwrap_or(path);
    let device = |path: &Path| mount::id_of(path).tried(|| format!("open {}", path.display()));
    Ok(device(path)? != device(parent)?)
}

/// The containers that mount the volume `name`.
pub fn users(storage: &Storage, name: &Name) -> Result<Vec<ContainerId>> {
    let users = storage.list(&storage.volume_users(name))?;
    let ids = users.iter().filter_map(|id| id.parse::<ContainerId>().ok());
    Ok(ids
        .filter(|id| storage.container(id).join("container.json").exists())
        .collect())
}

/// Those of them that run, or are about to.
pub fn running_users(storage: &Storage, name: &Name) -> Result<Vec<Container>> {
    let mut running = Vec::new();
    for id in users(storage, name)? {
        if let Some(container) = super::load(storage, &id)?
            && is_running(&container)
        {
            running.push(container);
        }
    }
    Ok(running)
}

/// Somebody has it in hand: to start it, to watch it, or to remove it.
fn is_running(container: &Container) -> bool {
    container.status.monitor.is_some()
}

/// Makes what runs in a container stand still while the value lives; `None` if nothing
/// does yet.
pub fn freeze(container: &Container) -> Result<Option<Frozen>> {
    let name = &container.record.name;
    if container.status.state == State::Initialized {
        return Ok(None);
    }
    let Some(init) = container.entrance() else {
        return Err(Error::new(
            Kind::State,
            format!("container {name} is just starting or ending: try again"),
        ));
    };
    let init = init.pid();
    Frozen::new(|| processes_with(init)).map(Some).map_err(|error| {
        let failed = Error::from(error).tried(format_args!("pause container {name}"));
        failed.hint("this machine may forbid to trace processes (`sysctl kernel.yama.ptrace_scope` is 3?): stop the container, or use --force")
    })
}

/// The processes in the mount namespace of `init`, and all that they have started.
fn processes_with(init: i32) -> std::io::Result<Vec<i32>> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/mnt"));
    let own = namespace(init)?;
    let mut parents = std::collections::HashMap::new();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if namespace(pid).is_ok_and(|it| it == own) {
            found.push(pid);
        } else if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            let parent = fields
                .split(' ')
                .nth(1)
                .and_then(|it| it.parse::<i32>().ok());
            parents.insert(pid, parent.unwrap_or(0));
        }
    }
    loop {
        let is_child = |parent: &i32| found.contains(parent);
        let children = parents.iter().filter(|(_, parent)| is_child(parent));
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        if children.is_empty() {
            return Ok(found);
        }
        for pid in children {
            parents.remove(&pid);
            found.push(pid);
        }
    }
}

/// A folder in the runtime folder to mount a volume at.
pub fn mounting_place(engine: &Engine) -> Result<PathBuf> {
    let path = engine.settings.ensure_runtime()?.join("volume");
    match std::fs::create_dir(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).tried(|| format!("make {}", path.display()))
        }
        _ => Ok(path),
    }
}
