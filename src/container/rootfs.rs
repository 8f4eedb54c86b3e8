//! What a container sees as its root: the overlay, and all that is mounted in it.
//! Runs in the monitor, in its own mount namespace: every mount made here is gone
//! with the monitor, however it ends.

use std::fs::Permissions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use rustix::fs::OFlags;
use rustix::mount::MountAttrFlags;

use super::cdi::Edits;
use super::host::{self, Joins};
use super::layers::Lowers;
use super::notify::Notify;
use super::options::{Mount, MountKind};
use super::secrets::Secrets;
use super::shared::Shared;
use super::{Record, spec, stage, volumes};
use crate::cgroup;
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image::accounts::{Accounts, User};
use crate::runtime::capability::Capabilities;
use crate::runtime::seccomp::{self, Filter};
use crate::storage::shifted::Lower;
use crate::storage::{self, FileSystem, Storage, text};
use crate::sys::file::{open_dir, open_in_root};
use crate::sys::{mount, process};
use crate::userns::IdMap;

/// A container ready for its init to be made.
pub struct Prepared {
    pub spec: Spec,
    /// Mounts for the executor to move.
    pub moves: Vec<(PathBuf, PathBuf)>,
    pub capabilities: Capabilities,
    pub filter: Option<Filter>,
    pub warnings: Vec<String>,
    pub files: spec::Files,
    pub rootfs: OwnedFd,
    pub hostname: String,
    /// Its volumes, to be let go once their files are mounted in the container.
    pub volumes: volumes::Held,
}

/// What its start has for a container before there is a root.
pub struct Ground<'a> {
    /// Its folder in the caller's runtime folder.
    pub runtime: &'a Path,
    pub joins: &'a Joins,
    /// The network namespace made for it.
    pub netns: Option<PathBuf>,
    pub shared: &'a Shared,
    pub secrets: &'a Secrets,
    pub edits: &'a Edits,
    pub notify: Option<&'a Notify>,
}

/// Mounts the root, fills volumes, makes the files that are mounted in, and the
/// spec.
pub fn prepare(
    engine: &Engine,
    record: &Record,
    map: &IdMap,
    lowers: &Lowers,
    ground: Ground<'_>,
) -> Result<Prepared> {
    let Ground {
        runtime,
        joins,
        netns,
        shared,
        secrets,
        edits,
        notify,
    } = ground;
    let edited = (!edits.is_empty()).then(|| Record {
        options: edits.applied(&record.options),
        ..record.clone()
    });
    let record = edited.as_ref().unwrap_or(record);
    let storage = &engine.storage;
    let options = &record.options;
    let root = storage.container(&record.id).join("rootfs");
    let hostname = host::hostname(record);
    // What is made for the container is its root's, whoever of it is the caller.
    let Furnished {
        rootfs,
        user,
        sources,
        mut files,
        volumes,
        warnings,
    } = process::with_file_ids(0, 0, || {
        let made = furnish(
            engine,
            record,
            map,
            (lowers, shared),
            (runtime, joins),
            (&root, &hostname),
        );
        made.and_then(|mut made| {
            if !secrets.mounted.is_empty() {
                made.files.secrets = secrets.write(options, &places(runtime)?)?;
            }
            Ok(made)
        })
    })?;
    files.notify = notify.and_then(Notify::folder).map(Path::to_owned);
    let mut namespaces = joins.namespaces.clone();
    namespaces.network = namespaces.network.or(netns);
    let machine = spec::Machine::read(options);
    let capabilities = spec::capabilities(options, machine.capabilities)?;
    let host = spec::Host {
        machine,
        rootfs: root,
        user,
        map: map.clone(),
        cgroups: cgroup::hierarchy(),
        files: files.clone(),
        sources,
        namespaces,
        shm: joins.shm(engine.thread, options, runtime)?,
    };
    let mut spec = spec::spec(record, &host)?;
    secrets.add_to(&mut spec, runtime)?;
    if files.notify.is_some()
        && let Some(process) = spec.process_mut()
    {
        let mut all = process.env().clone().unwrap_or_default();
        spec::set_variable(&mut all, &Notify::variable());
        process.set_env(Some(all));
    }
    edits.hook(&mut spec)?;
    let moves = spec::moves(options, &host)?;
    if joins.namespaces.user.is_some() {
        stage::set(&mut spec)?;
        joins.is_staged.set(true);
    }
    let filter = seccomp::filter(
        storage.cache(),
        spec::seccomp_profile(options),
        capabilities.bounding,
    )?;
    Ok(Prepared {
        spec,
        moves,
        capabilities,
        filter,
        warnings,
        files,
        rootfs,
        hostname,
        volumes,
    })
}

/// The part of [`Prepared`] that is made of files.
struct Furnished {
    rootfs: OwnedFd,
    user: User,
    sources: Vec<Option<spec::Source>>,
    files: spec::Files,
    volumes: volumes::Held,
    warnings: Vec<String>,
}

#[allow(clippy::too_many_arguments)]
fn furnish(
    engine: &Engine,
    record: &Record,
    map: &IdMap,
    (lowers, shared): (&Lowers, &Shared),
    (runtime, joins): (&Path, &Joins),
    (root, hostname): (&Path, &str),
) -> Result<Furnished> {
    let options = &record.options;
    let mut warnings = Vec::new();
    mount_root(&engine.storage, record, &lowers.image, root)?;
    let rootfs = open_dir(root).tried(|| format!("open {}", root.display()))?;

    let mut accounts = Accounts::in_root(rootfs.as_fd())?;
    for mount in &options.mounts {
        if let MountKind::Bind { source } = &mount.kind {
            accounts = accounts.with_mounted(&mount.destination, source)?;
        }
    }
    let missing = host::missing_accounts(engine, record, &accounts)?;
    let mut user = accounts
        .with(&missing)
        .resolve(&options.user, options.named_groups())
        .map_err(|error| {
            let is_of_groups = accounts.with(&missing).resolve(&options.user, &[]).is_ok();
            let id = &record.id;
            match is_of_groups {
                true => error.tried(format_args!(
                    "looking up supplemental groups for container {id}"
                )),
                false => error,
            }
        })?;
    // As Podman: who is not in passwd has no home, and in a build's step the root folder.
    if options.step.is_some() {
        user.home.get_or_insert_with(|| "/".to_owned());
    } else if !options.accounts.writes && user.name.is_none() {
        user.home = Some(String::new());
    }
    if let Some(gid) = options.user_namespace.added_group(engine.settings.gid)
        && !user.additional_gids.contains(&gid)
    {
        user.additional_gids.push(gid);
    }
    super::map::check_user(map, &user, || super::map::more_ids(engine, record))?;
    let left = user.keep_mapped(map);
    if !left.is_empty() {
        let left: Vec<String> = left.iter().map(u32::to_string).collect();
        warnings.push(format!(
            "groups without a subordinate id are left out: {}",
            left.join(" ")
        ));
    }
    let owner = (user.uid, user.gid);
    let mounts = spec::mounts(options);
    let volumes = volumes::ready(
        &engine.storage,
        record,
        map,
        &mounts,
        (&rootfs, shared),
        owner,
    )?;
    let mut sources = Vec::with_capacity(mounts.len());
    for mount in &mounts {
        sources.push(source(
            engine,
            record,
            (lowers, shared),
            mount,
            &rootfs,
            owner,
            runtime,
        )?);
    }
    for at in 0..mounts.len() {
        check_place(&mounts, &sources, at, &rootfs)?;
    }
    make_workdir(&rootfs, record, &accounts, &user)?;
    for folder in options.step.iter().flat_map(|step| &step.folders) {
        make_folders(&rootfs, folder, (0, 0))
            .tried(|| format!("make the volume {}", folder.display()))?;
    }
    let files = host::make_files(
        record,
        &rootfs,
        (&accounts, &missing),
        joins,
        runtime,
        hostname,
    )?;
    Ok(Furnished {
        rootfs,
        user,
        sources,
        files,
        volumes,
        warnings,
    })
}

/// Whether the mount `at` can be where it is to be: a folder on a folder, a file on a
/// file, and nothing on a link that leads nowhere. In crun's words and with its codes;
/// what is not there is made.
fn check_place(
    mounts: &[Mount],
    sources: &[Option<spec::Source>],
    at: usize,
    rootfs: &OwnedFd,
) -> Result<()> {
    let destination = &mounts[at].destination;
    let (Some(source), Ok(name)) = (&sources[at], destination.strip_prefix("/")) else {
        return Ok(());
    };
    // What is mounted above it is what it is mounted on.
    let above = (0..mounts.len())
        .filter(|it| *it != at && destination.starts_with(&mounts[*it].destination))
        .max_by_key(|it| mounts[*it].destination.components().count());
    let found = match above.map(|above| (&sources[above], &mounts[above].destination)) {
        None => open_in_root(rootfs, name, OFlags::PATH),
        Some((Some(above), path)) => {
            match (open_dir(&above.path), destination.strip_prefix(path)) {
                (Ok(dir), Ok(rest)) if !rest.as_os_str().is_empty() => {
                    open_in_root(dir, rest, OFlags::PATH)
                }
                _ => return Ok(()),
            }
        }
        Some((None, _)) => return Ok(()),
    };
    let is_folder = |stat: &rustix::fs::Stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
    };
    match found {
        Ok(found) => {
            let wanted = std::fs::metadata(&source.path)
                .tried(|| format!("open {}", source.path.display()))?;
            if is_folder(&rustix::fs::fstat(&found)?) == wanted.is_dir() {
                return Ok(());
            }
            Err(Error::new(
                Kind::CannotInvoke,
                format!(
                    "mount `{}` to `{}`: Not a directory",
                    source.path.display(),
                    name.display()
                ),
            ))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && above.is_none() => {
            match open_in_root(rootfs, name, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(_) => Err(Error::new(
                    Kind::CommandNotFound,
                    format!(
                        "creating `{}`: it is a link that leads nowhere: No such file or directory",
                        destination.display()
                    ),
                )),
                Err(_) => Ok(()),
            }
        }
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Err(Error::new(
            Kind::CannotInvoke,
            format!(
                "mount `{}` to `{}`: too many levels of symbolic links",
                source.path.display(),
                name.display()
            ),
        )),
        // What else is wrong the runtime says.
        Err(_) => Ok(()),
    }
}

/// Makes the working directory where the image has none, as Podman does.
fn make_workdir(rootfs: &OwnedFd, record: &Record, accounts: &Accounts, user: &User) -> Result<()> {
    let options = &record.options;
    let path = Path::new(&options.workdir);
    if path == Path::new("/") || open_in_root(rootfs, path, OFlags::PATH).is_ok() {
        return Ok(());
    }
    let owner = match options.step {
        Some(_) => accounts.owner(&options.user)?,
        None => (user.uid, user.gid),
    };
    // A mount may bring it.
    let mounts = &options.mounts;
    if !options.is_image_workdir && !mounts.iter().any(|it| path.starts_with(&it.destination)) {
        return Err(Error::new(
            Kind::CannotInvoke,
            format!(
                "workdir {:?} does not exist on container {}",
                options.workdir, record.id
            ),
        ));
    }
    make_folders(rootfs, path, owner)
        .tried(|| format!("make the working directory {}", path.display()))
}

/// Makes what is missing of the folder `path`, which becomes the user's.
fn make_folders(rootfs: &OwnedFd, path: &Path, (uid, gid): (u32, u32)) -> std::io::Result<()> {
    let mut at = PathBuf::from("/");
    for part in path.components().skip(1) {
        let parent = open_in_root(rootfs, &at, OFlags::DIRECTORY | OFlags::RDONLY)?;
        at.push(part);
        if open_in_root(rootfs, &at, OFlags::PATH).is_ok() {
            continue;
        }
        rustix::fs::mkdirat(&parent, part.as_os_str(), rustix::fs::Mode::from(0o755))?;
        let owner = (
            rustix::fs::Uid::from_raw(uid),
            rustix::fs::Gid::from_raw(gid),
        );
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(
            &parent,
            part.as_os_str(),
            Some(owner.0),
            Some(owner.1),
            flags,
        )?;
    }
    Ok(())
}

/// Takes away what [`prepare`] mounted.
pub fn dismantle(dir: &Path, runtime: &Path, joins: &Joins) {
    dismantle_but_root(runtime, joins);
    detach_root(dir);
}

/// As [`dismantle`], but leaves the root to [`detach_root`]: the kernel takes a millisecond
/// or two for it, which nobody need wait for where the container goes.
pub fn dismantle_but_root(runtime: &Path, joins: &Joins) {
    if joins.is_staged.take() {
        stage::strike();
    }
    let _ = mount::detach(&runtime.join(MOUNTS));
}

/// Unmounts the root of the container whose folder is `dir` now.
pub fn detach_root(dir: &Path) {
    let _ = mount::detach(&dir.join("rootfs"));
}

/// Where in the runtime folder what goes into the container is mounted first: a
/// tmpfs, so that one unmount takes all of it away and no removal can meet any.
const MOUNTS: &str = "mounts";

/// Mounts the overlay of the image's layers and the container's own.
pub(super) fn mount_root(
    storage: &Storage,
    record: &Record,
    lower: &Lower,
    root: &Path,
) -> Result<()> {
    if let Some(folder) = own_folder(record) {
        let copy = copy_of(folder)?;
        return mount::attach(&copy, root).tried(|| format!("mount {}", root.display()));
    }
    let dir = storage.container(&record.id);
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    if upper.exists() {
        // What a volatile one leaves (overlayfs, "Volatile mount"): whoever mounts it
        // again is to say that nothing was lost. After a power cut this one is removed.
        let _ = crate::storage::remove_tree(&work.join("work/incompat"));
    } else {
        std::fs::create_dir(&upper).tried(|| format!("make {}", upper.display()))?;
        if let Some(top) = lower.folders.first() {
            dress_like(&upper, top)?;
        }
    }
    let _ = std::fs::create_dir(&work);
    mount_overlay(
        storage,
        lower,
        Some((&upper, &work)),
        record.options.remove,
        root,
    )
}

/// The folder of the host's that is a container's root, with nothing above it.
pub(super) fn own_folder(record: &Record) -> Option<&Path> {
    let rootfs = record.options.rootfs.as_ref()?;
    (!rootfs.is_overlay).then_some(&*rootfs.path)
}

/// What is mounted at `folder` and beneath it, once more.
pub(super) fn copy_of(folder: &Path) -> Result<mount::Detached> {
    let tried = || format!("open {}", folder.display());
    let opened = open_dir(folder).tried(tried)?;
    mount::copy_of(&opened, true).tried(tried)
}

/// Mounts an overlay at `target`; read-only without `upper` and `work`.
pub fn mount_overlay(
    storage: &Storage,
    of: &Lower,
    upper: Option<(&Path, &Path)>,
    volatile: bool,
    target: &Path,
) -> Result<()> {
    let of = enough(storage, of, upper.is_some())?;
    let overlay = overlay(&of, upper, volatile)?;
    mount::attach(&overlay, target).tried(|| format!("mount {}", target.display()))
}

/// An overlay of `of` that nothing can be written to, mounted nowhere.
pub fn read_only(storage: &Storage, of: &Lower) -> Result<mount::Detached> {
    overlay(&enough(storage, of, false)?, None, false)
}

/// Overlay wants a lower folder, and two where nothing can be written. Only from the
/// last it is led to a data-only one, which counts.
fn enough(storage: &Storage, of: &Lower, is_writable: bool) -> Result<Lower> {
    let mut of = of.clone();
    let nothing = empty_layer(storage)?;
    while of.folders.is_empty() || (!is_writable && of.folders.len() + of.data.len() < 2) {
        of.folders.push(nothing.clone());
    }
    Ok(of)
}

/// An overlay of `of`; read-only without `upper` and `work`.
pub fn overlay(
    of: &Lower,
    upper: Option<(&Path, &Path)>,
    volatile: bool,
) -> Result<mount::Detached> {
    let texts = |paths: &[PathBuf]| paths.iter().map(|it| text(it)).collect::<Result<Vec<_>>>();
    let (lower, data) = (texts(&of.folders)?, texts(&of.data)?);
    let mut options: Vec<(&str, Option<&str>)> =
        vec![("source", Some("overlay")), ("userxattr", None)];
    options.extend(
        lower
            .iter()
            .map(|lower| ("lowerdir+", Some(lower.as_str()))),
    );
    options.extend(data.iter().map(|data| ("datadir+", Some(data.as_str()))));
    let named = match upper {
        Some((upper, work)) => Some((text(upper)?, text(work)?)),
        None => None,
    };
    if let Some((upper, work)) = &named {
        options.extend([
            ("upperdir", Some(upper.as_str())),
            ("workdir", Some(work.as_str())),
        ]);
        if volatile {
            options.push(("volatile", None));
        }
    }
    mount::overlay(&options).map_err(|error| {
        Error::from(error).tried("mount the container's overlay").hint(
            "it needs Linux 5.11 and a local file system with extended attributes: put the store on one (`export XDG_DATA_HOME=FOLDER`)",
        )
    })
}

/// A folder with nothing in it, for overlays of too few layers.
fn empty_layer(storage: &Storage) -> Result<PathBuf> {
    let path = storage.root().join("empty");
    match std::fs::create_dir(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).tried(|| format!("make {}", path.display()))
        }
        _ => Ok(path),
    }
}

/// Gives `dir` the owner and mode of `model`.
pub fn dress_like(dir: &Path, model: &Path) -> Result<()> {
    let found = std::fs::metadata(model).tried(|| format!("read {}", model.display()))?;
    std::os::unix::fs::chown(dir, Some(found.uid()), Some(found.gid()))
        .and_then(|()| std::fs::set_permissions(dir, Permissions::from_mode(found.mode() & 0o7777)))
        .tried(|| format!("set the owner of {}", dir.display()))
}

/// Makes what a mount is of, and gives its path; `None` for those that libcontainer
/// makes of their options alone (tmpfs, devpts, ramfs).
#[allow(clippy::too_many_arguments)]
fn source(
    engine: &Engine,
    record: &Record,
    (lowers, shared): (&Lowers, &Shared),
    mount: &Mount,
    rootfs: &OwnedFd,
    owner: (u32, u32),
    runtime: &Path,
) -> Result<Option<spec::Source>> {
    let storage = &engine.storage;
    let mut flags = Vec::new();
    let path = match &mount.kind {
        MountKind::Bind { source } => bind_source(source, &mount.destination, runtime)?,
        MountKind::Volume { name, copy, .. } => {
            let found = volumes::source(
                storage,
                record,
                (name, *copy),
                (lowers, shared),
                mount,
                rootfs,
                runtime,
            )?;
            flags = found.flags;
            match mount.options.iter().any(|word| word == "O") {
                true => {
                    let dir = storage.container(&record.id);
                    overlay_source(mount, &found.path, None, None, &dir, runtime)?
                }
                false => found.path,
            }
        }
        MountKind::Tmpfs { options, copy_up } => {
            match tmpfs_source(mount, options, *copy_up, rootfs, runtime)? {
                Some(path) => path,
                None => return Ok(None),
            }
        }
        MountKind::Ramfs { .. } | MountKind::Devpts { .. } => return Ok(None),
        MountKind::Overlay {
            source,
            upper,
            work,
        } => overlay_source(
            mount,
            source,
            upper.as_deref(),
            work.as_deref(),
            &storage.container(&record.id),
            runtime,
        )?,
        MountKind::Image { id, writable, .. } => image_source(
            storage,
            mount,
            lowers.mounted(id)?,
            *writable,
            &storage.container(&record.id),
            runtime,
        )?,
    };
    let path = match &mount.subpath {
        Some(subpath) => beneath(&path, subpath, runtime, &mount.destination)?,
        None => path,
    };
    if mount.chown {
        give_to(engine, &path, owner)?;
    }
    Ok(Some(spec::Source { path, flags }))
}

/// A file or folder of the caller's. Where the container's root may not go, but the
/// caller may, it is shown at a place of ours.
pub(super) fn bind_source(source: &Path, destination: &Path, runtime: &Path) -> Result<PathBuf> {
    let explain = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            Kind::NotFound,
            format!("statfs {}: no such file or directory", source.display()),
        ),
        _ => Error::from(error).tried(format_args!("statfs {}", source.display())),
    };
    match std::fs::metadata(source) {
        Ok(_) => return Ok(source.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(explain(error)),
    }
    let own = (rustix::process::geteuid(), rustix::process::getegid());
    let found = process::with_file_ids(own.0.as_raw(), own.1.as_raw(), || {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = rustix::fs::open(source, flags, rustix::fs::Mode::empty())?;
        mount::copy_of(&found, true)
    });
    attach_copy(&found.map_err(explain)?, "bind", destination, runtime)
}

/// Attaches a mount at a place of ours, a folder or a file as it is one.
fn attach_copy(copy: &OwnedFd, kind: &str, destination: &Path, runtime: &Path) -> Result<PathBuf> {
    let at = places(runtime)?.join(format!("{kind}-{}", key(destination)));
    stage::attach(copy, &at).tried(|| format!("mount {}", at.display()))?;
    Ok(at)
}

/// The image's folder at `destination`, if it has one: links resolve within it.
pub(super) fn image_folder(rootfs: &OwnedFd, destination: &Path) -> Option<OwnedFd> {
    open_in_root(rootfs, destination, OFlags::DIRECTORY | OFlags::RDONLY).ok()
}

/// A tmpfs with the mode of the image's folder there, and with `copy_up` what it has;
/// `None` if there is none and nothing else is asked for.
fn tmpfs_source(
    mount: &Mount,
    options: &[String],
    copy_up: bool,
    rootfs: &OwnedFd,
    runtime: &Path,
) -> Result<Option<PathBuf>> {
    let folder = image_folder(rootfs, &mount.destination);
    if folder.is_none() && !mount.chown {
        return Ok(None);
    }
    let at = place(runtime, "tmpfs", &mount.destination)?;
    let has_mode = options.iter().any(|option| option.starts_with("mode="));
    let mode = match &folder {
        Some(folder) if !has_mode => Some(rustix::fs::fstat(folder)?.st_mode & 0o7777),
        _ => None,
    };
    let octal = mode.map(|mode| format!("{mode:o}"));
    let pairs: Vec<(&str, Option<&str>)> = spec::tmpfs_options(options)
        .into_iter()
        .map(|option| {
            option
                .split_once('=')
                .map_or((option, None), |(key, value)| (key, Some(value)))
        })
        .chain(octal.iter().map(|mode| ("mode", Some(mode.as_str()))))
        .collect();
    let made = mount::make("tmpfs", &pairs, MountAttrFlags::empty())
        .tried(|| format!("mount a tmpfs for {}", mount.destination.display()))?;
    mount::attach(&made, &at).tried(|| format!("mount {}", at.display()))?;
    let Some(folder) = folder else {
        return Ok(Some(at));
    };
    let mode = at.metadata()?.mode();
    if copy_up {
        crate::volume::copy_tree(&folder, &at).map_err(|error| {
            let what = format!("fill the tmpfs at {}", mount.destination.display());
            Error::from(error).tried(what).kind_is(Kind::CannotInvoke)
        })?;
    }
    std::fs::set_permissions(&at, Permissions::from_mode(mode & 0o7777))?;
    Ok(Some(at))
}

/// `-v SOURCE:DESTINATION:O`: changes go to a layer that ends with the container.
fn overlay_source(
    mount: &Mount,
    source: &Path,
    upper: Option<&Path>,
    work: Option<&Path>,
    dir: &Path,
    runtime: &Path,
) -> Result<PathBuf> {
    let own = dir.join("overlays").join(key(&mount.destination));
    let (upper, work) = match (upper, work) {
        (Some(upper), Some(work)) => (upper.to_owned(), work.to_owned()),
        _ => {
            let _ = crate::storage::remove_tree(&own);
            let (upper, work) = (own.join("upper"), own.join("work"));
            for dir in [&upper, &work] {
                std::fs::create_dir_all(dir).tried(|| format!("make {}", dir.display()))?;
            }
            dress_like(&upper, source)?;
            (upper, work)
        }
    };
    let at = place(runtime, "overlay", &mount.destination)?;
    let (lower, upper, work) = (text(source)?, text(&upper)?, text(&work)?);
    let made = mount::overlay(&[
        ("source", Some("overlay")),
        ("userxattr", None),
        ("lowerdir+", Some(&lower)),
        ("upperdir", Some(&upper)),
        ("workdir", Some(&work)),
    ])
    .tried(|| format!("mount an overlay over {}", source.display()))?;
    mount::attach(&made, &at).tried(|| format!("mount {}", at.display()))?;
    Ok(at)
}

/// `--mount type=image`: the layers of an image, read-only unless asked.
fn image_source(
    storage: &Storage,
    mount: &Mount,
    lower: &Lower,
    writable: bool,
    dir: &Path,
    runtime: &Path,
) -> Result<PathBuf> {
    let at = place(runtime, "image", &mount.destination)?;
    let own = dir.join("overlays").join(key(&mount.destination));
    let (upper, work) = (own.join("upper"), own.join("work"));
    if writable {
        for dir in [&upper, &work] {
            std::fs::create_dir_all(dir).tried(|| format!("make {}", dir.display()))?;
        }
    }
    mount_overlay(
        storage,
        lower,
        writable.then_some((&*upper, &*work)),
        false,
        &at,
    )?;
    Ok(at)
}

/// A folder of ours to mount something at before it goes into the container.
pub(super) fn place(runtime: &Path, kind: &str, destination: &Path) -> Result<PathBuf> {
    let path = places(runtime)?.join(format!("{kind}-{}", key(destination)));
    std::fs::create_dir(&path).tried(|| format!("make {}", path.display()))?;
    Ok(path)
}

/// The folder that [`place`] gave for that, if it did.
pub(super) fn placed(runtime: &Path, kind: &str, destination: &Path) -> Option<PathBuf> {
    let path = runtime
        .join(MOUNTS)
        .join(format!("{kind}-{}", key(destination)));
    path.exists().then_some(path)
}

/// The tmpfs for such folders, mounted when the first is wanted.
fn places(runtime: &Path) -> Result<PathBuf> {
    let path = runtime.join(MOUNTS);
    if !path.exists() {
        std::fs::create_dir(&path).tried(|| format!("make {}", path.display()))?;
        let made = mount::make("tmpfs", &[("mode", Some("700"))], MountAttrFlags::empty())
            .tried(|| "mount a tmpfs for what is mounted into the container")?;
        mount::attach(&made, &path).tried(|| format!("mount {}", path.display()))?;
    }
    Ok(path)
}

/// A folder in memory for what is of no use after the start: the runtime folder, where it
/// is as it is meant to be. On a disk each file that goes may be waited for.
pub fn scratch(runtime: &Path) -> Result<PathBuf> {
    match FileSystem::of(runtime) {
        Ok(found) if found.is_volatile => Ok(runtime.to_owned()),
        _ => places(runtime),
    }
}

/// A file name for a destination.
fn key(destination: &Path) -> String {
    crate::id::hex(destination.as_os_str().as_encoded_bytes())
        .chars()
        .rev()
        .take(200)
        .collect()
}

/// What `subpath` names beneath `path`, as Podman takes it: `..` and links resolve
/// within. What is found is mounted, so that no later swap can lead elsewhere.
fn beneath(path: &Path, subpath: &Path, runtime: &Path, destination: &Path) -> Result<PathBuf> {
    let tried = || format!("open subpath {} of {}", subpath.display(), path.display());
    let dir = open_dir(path).tried(tried)?;
    // `/` is the volume itself: with nothing left there is no path to open.
    let relative = match subpath.strip_prefix("/").unwrap_or(subpath) {
        empty if empty.as_os_str().is_empty() => Path::new("."),
        relative => relative,
    };
    let found = open_in_root(&dir, relative, OFlags::PATH).map_err(|error| {
        let kind = match error.kind() {
            // As Podman, which takes it for a missing command.
            std::io::ErrorKind::NotFound => Kind::CommandNotFound,
            _ => Kind::Other,
        };
        Error::from(error).tried(tried()).kind_is(kind)
    })?;
    let copy = mount::copy_of(&found, true).tried(tried)?;
    attach_copy(&copy, "subpath", destination, runtime)
}

/// `U`: gives a tree to the container's user.
fn give_to(engine: &Engine, path: &Path, owner: (u32, u32)) -> Result<()> {
    let canonical = path
        .canonicalize()
        .tried(|| format!("open {}", path.display()))?;
    if is_too_much(&canonical, &engine.settings.home, &engine.storage) {
        // Podman's words and exit code.
        return Err(Error::new(
            Kind::CannotInvoke,
            format!(
                "chowning host path {:?} is not allowed",
                canonical.to_string_lossy()
            ),
        )
        .hint(
            "the option U gives all that is in it to the container's user: name a folder within it",
        ));
    }
    storage::give_tree(&canonical, owner)
}

/// Folders that no container's user may be given (Podman's list).
const SYSTEM: [&str; 23] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// Whether giving `path` away would take a home, the machine's own folders or the
/// store's layers along.
fn is_too_much(path: &Path, home: &Path, storage: &Storage) -> bool {
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    let root = storage.root();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let within = |dir: PathBuf| path.starts_with(dir);
    SYSTEM.iter().any(|system| path == Path::new(system))
        || home.starts_with(path)
        || root.starts_with(path)
        || (within(root.clone()) && !within(root.join("volumes")))
        || path == root.join("volumes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_the_system_and_the_store_are_not_given_away() {
        let dir = std::env::temp_dir().join(format!("coracle-u-{}", crate::id::random_hex::<8>()));
        let home = dir.join("home");
        std::fs::create_dir_all(&home).unwrap();
        let storage = Storage::open(&crate::settings::Settings {
            uid: 0,
            gid: 0,
            home: home.clone(),
            data: home.join("store"),
            cache: dir.join("cache"),
            runtime: dir.join("run"),
            cgroup_manager: None,
            events_backend: None,
            cdi_folders: Vec::new(),
            user_manager: None,
        })
        .unwrap();
        let root = storage.root();
        for no in [
            Path::new("/"),
            Path::new("/home"),
            Path::new("/var"),
            &dir,
            &home,
            root,
            &storage.volumes(),
            &root.join("layers/x"),
        ] {
            assert!(is_too_much(no, &home, &storage), "{}", no.display());
        }
        for yes in [
            &home.join("data"),
            &storage.volume(&"v".parse().unwrap()).join("_data"),
            Path::new("/home/other/data"),
            &dir.join("beside"),
        ] {
            assert!(!is_too_much(yes, &home, &storage), "{}", yes.display());
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_is_mounted_within_stays_as_it_is() {
        let name = "container::rootfs::tests::what_is_mounted_within_stays_as_it_is";
        let Some(proof) = crate::sys::process::alone(name) else {
            return;
        };
        let settings = crate::settings::Settings::read(&Default::default()).unwrap();
        let (map, _) = crate::userns::default_map(&crate::userns::Machine::of(&settings));
        if map.is_single() {
            return;
        }
        let dir = std::env::temp_dir().join(format!("coracle-u-{}", crate::id::random_hex::<8>()));
        for part in ["tree/sub", "tree/file", "other/below"] {
            std::fs::create_dir_all(dir.join(part)).unwrap();
        }
        crate::userns::in_child(proof, &map, || {
            mount::bind(&dir.join("other"), &dir.join("tree/sub"))?;
            storage::give_tree(&dir.join("tree"), (7, 8))?;
            let owner = |path: &str| {
                let found = dir.join(path).symlink_metadata().unwrap();
                (found.uid(), found.gid())
            };
            assert_eq!(owner("tree/file"), (7, 8));
            assert_eq!(owner("tree/sub"), (0, 0));
            assert_eq!(owner("other/below"), (0, 0));
            mount::detach(&dir.join("tree/sub"))?;
            storage::give_tree(&dir.join("tree"), (0, 0))
        })
        .unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
