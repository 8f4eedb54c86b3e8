//! The mounts: those every container has, the devices, the user's own.

use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{self as oci, MountBuilder};
use rustix::mount::MountPropagationFlags;

use super::super::notify;
use super::super::options::{Device, Mount, MountKind, NamespaceMode, Options};
use super::built;
use super::host::{Host, Source};
use crate::cgroup::Hierarchy;
use crate::error::{Error, Result};
use crate::network::NetworkMode;

/// The user's mounts and those that `--read-only` brings, parents before children.
/// [`Host::sources`] goes by this list.
pub fn mounts(options: &Options) -> Vec<Mount> {
    let mut all = options.mounts.clone();
    let mut add = |destinations: &[&str], size: u64| {
        for destination in destinations {
            if !is_mounted(&all, destination) {
                all.push(Mount {
                    kind: MountKind::Tmpfs {
                        options: match size {
                            0 => Vec::new(),
                            bytes => vec![format!("size={bytes}")],
                        },
                        copy_up: true,
                    },
                    destination: destination.into(),
                    read_only: false,
                    options: Vec::new(),
                    chown: false,
                    subpath: None,
                });
            }
        }
    };
    if let Some(systemd) = &options.systemd {
        let places = ["/run", "/run/lock", "/tmp", "/var/log/journal"];
        add(&places, systemd.size);
    }
    if options.read_only && options.read_only_tmpfs {
        add(&["/run", "/tmp", "/var/tmp"], 0);
    }
    all.sort_by_key(|mount| depth(&mount.destination));
    all
}

/// The options of a tmpfs that belong to the file system itself (`size=1m`): what
/// is left are the mount's flags, which the config takes care of.
pub fn tmpfs_options(options: &[String]) -> Vec<&str> {
    options
        .iter()
        .map(String::as_str)
        .filter(|it| !it.is_empty() && !is_flag(it) && !is_ours(it))
        .collect()
}

/// The propagation of mounts that have one of their own, for the executor to set
/// once the root is the container's. Empty: all are private as it is.
pub fn propagation(options: &Options) -> Vec<(PathBuf, MountPropagationFlags)> {
    if !wants_propagation(options) {
        return Vec::new();
    }
    options
        .mounts
        .iter()
        .map(|mount| {
            let word = mount
                .options
                .iter()
                .rev()
                .find(|it| is_propagation(it))
                .map_or("rprivate", String::as_str);
            let (word, recursive) = match word.strip_prefix('r') {
                Some(word) => (word, MountPropagationFlags::REC),
                None => (word, MountPropagationFlags::empty()),
            };
            let kind = match word {
                "shared" => MountPropagationFlags::SHARED,
                "slave" => MountPropagationFlags::DOWNSTREAM,
                "unbindable" => MountPropagationFlags::UNBINDABLE,
                _ => MountPropagationFlags::PRIVATE,
            };
            (mount.destination.clone(), kind | recursive)
        })
        .collect()
}

/// Every mount of the container, in the order they are made.
pub(super) fn all_mounts(options: &Options, host: &Host) -> Result<Vec<oci::Mount>> {
    let wanted = mounts(options);
    let all = in_order(options, host, &wanted)?;
    if !is_dev_foreign(&wanted) {
        return Ok(all);
    }
    let flags = ["nosuid", "strictatime", "mode=755", "size=65536k"].map(str::to_owned);
    let own = mount("/dev", "tmpfs", Path::new("tmpfs"), flags.to_vec())?;
    let (mut over, mut rest): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|mount| mount.destination().starts_with("/dev"));
    for (at, mount) in over.iter_mut().enumerate() {
        mount.set_destination(apart(at));
    }
    rest.push(own);
    rest.extend(over);
    Ok(rest)
}

/// The same, each where it belongs.
fn in_order(options: &Options, host: &Host, wanted: &[Mount]) -> Result<Vec<oci::Mount>> {
    let mut all = base_mounts(options, host, wanted)?;
    if options.privileged {
        for path in &host.machine.devices {
            let device = Device {
                source: path.clone(),
                destination: path.clone(),
                permissions: "rwm".into(),
            };
            let is_named = |it: &Device| it.destination == *path;
            if !options.devices.iter().any(is_named) && !covers(wanted, path) {
                all.push(device_mount(&device)?);
            }
        }
    }
    for device in &options.devices {
        all.push(device_mount(device)?);
    }
    for (at, mount) in wanted.iter().enumerate() {
        let source = host.sources.get(at).and_then(Option::as_ref);
        all.push(user_mount(mount, source)?);
    }
    // Podman's order: by depth, and for the rest as they came.
    all.sort_by_key(|mount| depth(mount.destination()));
    Ok(all)
}

/// Whether something of the user's is mounted over all of /dev. libcontainer would go
/// on to make links and devices in there.
fn is_dev_foreign(wanted: &[Mount]) -> bool {
    let is_foreign = |it: &Mount| !matches!(it.kind, MountKind::Tmpfs { .. });
    wanted
        .iter()
        .any(|it| it.destination == Path::new("/dev") && is_foreign(it))
}

/// Where libcontainer puts the mount of this number that belongs over /dev: in a
/// /dev of its own, which comes to lie beneath it.
fn apart(number: usize) -> PathBuf {
    PathBuf::from(format!("/dev/.over/{number}"))
}

/// Mounts for the executor to move, in this order: from where they are made, to where
/// they belong.
pub fn moves(options: &Options, host: &Host) -> Result<Vec<(PathBuf, PathBuf)>> {
    if !is_dev_foreign(&options.mounts) {
        return Ok(Vec::new());
    }
    // The same mounts, but for where they go.
    let destinations = in_order(options, host, &mounts(options))?;
    let over = destinations
        .into_iter()
        .map(|mount| mount.destination().clone())
        .filter(|destination| destination.starts_with("/dev"));
    Ok(over
        .enumerate()
        .map(|(at, destination)| (apart(at), destination))
        .collect())
}

/// What every container has, but for what the user's own mounts take the place of.
fn base_mounts(options: &Options, host: &Host, wanted: &[Mount]) -> Result<Vec<oci::Mount>> {
    let mut all = Vec::new();
    let dev_is_users = is_mounted(wanted, "/dev");
    let mut add = |destination: &str, typ: &str, source: &str, flags: &[&str]| -> Result<()> {
        let flags = flags.iter().map(|it| (*it).to_owned()).collect();
        if !is_mounted(wanted, destination) {
            all.push(mount(destination, typ, Path::new(source), flags)?);
        }
        Ok(())
    };
    let quiet = ["nosuid", "noexec", "nodev"];

    if options.pid == NamespaceMode::Host {
        let flags = ["rbind", "nosuid", "noexec", "nodev", "rprivate"];
        add("/proc", "bind", "/proc", &flags)?;
    } else {
        let given = options.security.proc_opts.iter();
        let given = given
            .flat_map(|it| it.split(','))
            .filter(|it| !it.is_empty());
        add(
            "/proc",
            "proc",
            "proc",
            &quiet.into_iter().chain(given).collect::<Vec<_>>(),
        )?;
    }

    let mut flags = vec!["nosuid", "strictatime", "mode=755", "size=65536k"];
    if options.read_only && !options.read_only_tmpfs {
        flags.push("ro");
    }
    add("/dev", "tmpfs", "tmpfs", &flags)?;

    // A new sysfs needs a network namespace of our user namespace.
    let access = if options.privileged { "rw" } else { "ro" };
    if options.network == NetworkMode::Host {
        let flags = ["rprivate", "nosuid", "noexec", "nodev", access, "rbind"];
        add("/sys", "bind", "/sys", &flags)?;
    } else {
        add(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", access],
        )?;
    }

    if !dev_is_users {
        let mut flags = vec![
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
        ];
        // The group tty, where it has an id at all.
        if host.map.gid_outside(5).is_some() {
            flags.push("gid=5");
        }
        add("/dev/pts", "devpts", "devpts", &flags)?;
        if options.ipc != NamespaceMode::Host {
            add("/dev/mqueue", "mqueue", "mqueue", &quiet)?;
        } else if host.machine.has_mqueue {
            let flags = ["bind", "nosuid", "noexec", "nodev"];
            add("/dev/mqueue", "bind", "/dev/mqueue", &flags)?;
        }
    }

    let mut flags = vec!["bind", "rprivate"];
    if options.read_only {
        flags.extend(["ro", "nosuid", "noexec", "nodev"]);
    }
    let files = &host.files;
    let run_is_users = wanted.iter().any(|mount| {
        mount.destination == Path::new("/run") && !matches!(mount.kind, MountKind::Tmpfs { .. })
    });
    for (destination, file) in [
        ("/run/.containerenv", &files.containerenv),
        ("/etc/hostname", &files.hostname),
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/hosts", &files.hosts),
        ("/etc/passwd", &files.passwd),
        ("/etc/group", &files.group),
        ("/etc/localtime", &files.localtime),
    ] {
        if let Some(file) = file
            && !(run_is_users && destination == "/run/.containerenv")
        {
            add(destination, "bind", text(file)?, &flags)?;
        }
    }
    if let Some(folder) = &files.notify {
        add(notify::PLACE, "bind", text(folder)?, &flags)?;
    }
    // As Podman: it is there for secrets that lie elsewhere, too.
    if !files.secrets.is_empty() {
        add("/run/secrets", "tmpfs", "tmpfs", &["rw", "mode=755"])?;
    }
    for (destination, file) in &files.secrets {
        add(text(destination)?, "bind", text(file)?, &flags)?;
    }

    let size = format!("size={}", options.shm_size);
    let mut flags = vec!["nosuid", "noexec", "nodev"];
    if options.read_only && !options.read_only_tmpfs {
        flags.push("ro");
    }
    match (&options.ipc, &host.shm) {
        (NamespaceMode::None, _) => {}
        (NamespaceMode::Host, _) => {
            flags.extend(["bind", "rprivate"]);
            add("/dev/shm", "bind", "/dev/shm", &flags)?;
        }
        (_, Some(shared)) => {
            flags.extend(["bind", "rprivate"]);
            add("/dev/shm", "bind", text(shared)?, &flags)?;
        }
        (_, None) => {
            flags.extend(["mode=1777", &size]);
            add("/dev/shm", "tmpfs", "shm", &flags)?;
        }
    }

    if host.cgroups != Hierarchy::Legacy {
        // systemd divides its own.
        let access = if options.systemd.is_some() {
            "rw"
        } else {
            access
        };
        let flags = ["rprivate", "nosuid", "noexec", "nodev", "relatime", access];
        add("/sys/fs/cgroup", "cgroup", "cgroup", &flags)?;
    }
    Ok(all)
}

fn device_mount(device: &Device) -> Result<oci::Mount> {
    // A user cannot make devices: the host's own are bound, as Podman does.
    let access = match device.permissions.contains('w') {
        true => "rw",
        false => "ro",
    };
    let flags = ["slave", "nosuid", "noexec", access, "rbind"].map(str::to_owned);
    mount(
        text(&device.destination)?,
        "bind",
        &device.source,
        flags.to_vec(),
    )
}

/// The entry for a mount of the user's; `prepared` is what to bind there instead of
/// its source.
fn user_mount(wanted: &Mount, prepared: Option<&Source>) -> Result<oci::Mount> {
    let destination = text(&wanted.destination)?;
    let sources = prepared.map_or(&[][..], |source| &source.flags);
    let given = wanted.options.iter().chain(sources);
    let mut flags: Vec<String> = given.filter(|it| is_flag(it)).cloned().collect();
    // A source that is read-only is so wherever it is mounted.
    if sources.iter().any(|it| it == "ro") {
        flags.retain(|it| it != "rw");
    }
    let own = match &wanted.kind {
        MountKind::Tmpfs { options, .. }
        | MountKind::Ramfs { options }
        | MountKind::Devpts { options } => options.as_slice(),
        _ => &[],
    };
    flags.extend(own.iter().filter(|it| is_flag(it)).cloned());
    let has = |flags: &[String], words: &[&str]| flags.iter().any(|it| words.contains(&&**it));
    let is_image = matches!(
        wanted.kind,
        MountKind::Image {
            writable: false,
            ..
        }
    );
    if (wanted.read_only || is_image) && !has(&flags, &["ro"]) {
        flags.retain(|it| it != "rw");
        flags.push("ro".to_owned());
    }
    if !flags.iter().any(|it| is_propagation(it)) {
        flags.push("rprivate".to_owned());
    }
    let is_quiet = matches!(
        wanted.kind,
        MountKind::Volume { .. } | MountKind::Tmpfs { .. }
    );
    for (quiet, loud) in [("nosuid", "suid"), ("nodev", "dev")] {
        if is_quiet && !has(&flags, &[quiet, loud]) {
            flags.push(quiet.to_owned());
        }
    }
    let source = match (&wanted.kind, prepared) {
        (_, Some(prepared)) => &prepared.path,
        (MountKind::Bind { source }, None) => source,
        (MountKind::Tmpfs { .. }, None) => return made(destination, "tmpfs", flags, own),
        (MountKind::Ramfs { .. }, None) => return made(destination, "ramfs", flags, own),
        (MountKind::Devpts { .. }, None) => return made(destination, "devpts", flags, own),
        (MountKind::Volume { .. } | MountKind::Overlay { .. } | MountKind::Image { .. }, None) => {
            return Err(Error::other(format!(
                "nothing was prepared to mount on {destination}"
            )));
        }
    };
    if !has(&flags, &["bind", "rbind"]) {
        flags.push("rbind".to_owned());
    }
    mount(destination, "bind", source, flags)
}

/// A file system that is made anew, with `flags` and its own options.
fn made(
    destination: &str,
    typ: &str,
    mut flags: Vec<String>,
    own: &[String],
) -> Result<oci::Mount> {
    flags.extend(tmpfs_options(own).into_iter().map(str::to_owned));
    mount(destination, typ, Path::new(typ), flags)
}

fn mount(destination: &str, typ: &str, source: &Path, flags: Vec<String>) -> Result<oci::Mount> {
    built(
        MountBuilder::default()
            .destination(destination)
            .typ(typ)
            .source(source)
            .options(flags)
            .build(),
    )
}

/// Words of mount(8) that are flags of the mount, not of the file system.
pub fn is_flag(word: &str) -> bool {
    const FLAGS: [&str; 24] = [
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "sync",
        "async",
        "dirsync",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "bind",
        "rbind",
        "rro",
        "rnosuid",
        "rnoexec",
    ];
    FLAGS.contains(&word) || is_propagation(word)
}

fn is_propagation(word: &str) -> bool {
    let word = word.strip_prefix('r').unwrap_or(word);
    matches!(word, "private" | "shared" | "slave" | "unbindable")
}

/// Words that runtimes or the monitor understand, and no file system does.
fn is_ours(word: &str) -> bool {
    matches!(
        word,
        "tmpcopyup" | "notmpcopyup" | "U" | "z" | "Z" | "copy" | "nocopy" | "defaults"
    )
}

pub(super) fn wants_propagation(options: &Options) -> bool {
    options
        .mounts
        .iter()
        .flat_map(|mount| &mount.options)
        .any(|word| is_propagation(word) && !word.ends_with("private"))
}

fn is_mounted(mounts: &[Mount], destination: &str) -> bool {
    mounts
        .iter()
        .any(|mount| mount.destination == Path::new(destination))
}

/// Whether a mount of the user's is at `path` or above it.
fn covers(mounts: &[Mount], path: &Path) -> bool {
    mounts
        .iter()
        .any(|mount| path.starts_with(&mount.destination))
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

/// libcontainer takes text only.
fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| Error::usage(format!("{} is not UTF-8", path.display())))
}
