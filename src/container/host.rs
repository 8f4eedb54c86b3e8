//! What a start finds on the machine: other containers' namespaces to join,
//! cgroups, and the small files that are mounted into the container.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::options::{NamespaceMode, Options};
use super::spec::{self, Files, Namespaces};
use super::{Record, State};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image::accounts::{Accounts, Entries, HostGroup, Missing};
use crate::network::{self, Attached, HostFiles, HostsFor, NetworkMode};
use crate::settings::{self, HostUser};
use crate::sys::file::{open_dir, open_in_root};
use crate::sys::process::Fork;
use crate::sys::{Process, SoleThread, mount, process, socket};
use crate::userns::Mode;

/// Namespaces of others that the container is to be in, held open.
#[derive(Default)]
pub struct Joins {
    /// A process of the container whose user namespace is joined first.
    pub owner: Option<Process>,
    /// The user namespace of `--userns=ns:`, which is joined as it is.
    pub user_namespace: Option<OwnedFd>,
    /// The user namespace that was begun for it.
    pub begun: Option<OwnedFd>,
    /// The container's user namespace, where it lies beneath ours (`userns::nested`).
    pub nested: Option<OwnedFd>,
    /// Whether what it binds is shown on a stage.
    pub is_staged: Cell<bool>,
    /// The namespaces, as paths to our own descriptors, which the init inherits.
    pub namespaces: Namespaces,
    /// The other's /etc/hosts and /etc/resolv.conf, which are shared with its network.
    pub network_files: Option<PathBuf>,
    held: Vec<OwnedFd>,
}

/// Finds the containers whose namespaces `options` name. They must run.
pub fn find_joins(engine: &Engine, options: &Options) -> Result<Joins> {
    let mut joins = Joins::default();
    if let Mode::Path(path) = &options.user_namespace {
        let namespace = File::open(path).tried(|| format!("open {}", path.display()))?;
        joins.user_namespace = Some(namespace.into());
    }
    let wanted: Vec<&str> = options.neighbours().collect();
    let Some(first) = wanted.first() else {
        return Ok(joins);
    };
    if wanted.iter().any(|id| id != first) {
        return Err(Error::unsupported(
            "joining namespaces of several containers",
        ));
    }
    let other = super::find(&engine.storage, first)?;
    let not_running = || {
        Error::new(
            Kind::State,
            format!(
                "cannot join the namespaces of container {} as it is not running: container state improper",
                other.record.id
            ),
        )
    };
    if other.status.state != State::Running {
        return Err(not_running());
    }
    let init = other.entrance().ok_or_else(not_running)?;
    joins.network_files = Some(engine.storage.container_runtime(&other.record.id));
    joins.owner = Some(init);
    Ok(joins)
}

impl Joins {
    /// Whether its user namespace is there already.
    pub fn has_user_namespace(&self) -> bool {
        self.owner.is_some() || self.user_namespace.is_some()
    }

    /// Opens the namespaces, once we are in the user namespace that owns them.
    pub fn open(&mut self, options: &Options) -> Result<()> {
        let pid = self.owner.as_ref().map_or(0, Process::pid);
        let nested = self.nested.as_ref().map(AsRawFd::as_raw_fd);
        let mut open = |mode: &NamespaceMode, name: &str| -> Result<Option<PathBuf>> {
            match mode {
                NamespaceMode::Container(_) => self
                    .hold(Path::new(&format!("/proc/{pid}/ns/{name}")))
                    .map(Some),
                NamespaceMode::Path(path) => self.hold(path).map(Some),
                _ => Ok(None),
            }
        };
        let namespaces = Namespaces {
            user: nested.map(|fd| format!("/proc/self/fd/{fd}").into()),
            pid: open(&options.pid, "pid")?,
            ipc: open(&options.ipc, "ipc")?,
            uts: open(&options.uts, "uts")?,
            cgroup: open(&options.cgroupns, "cgroup")?,
            network: match &options.network {
                NetworkMode::Container(_) => self
                    .hold(Path::new(&format!("/proc/{pid}/ns/net")))
                    .map(Some)?,
                NetworkMode::Path(path) => self.hold(path).map(Some)?,
                _ => None,
            },
        };
        self.namespaces = namespaces;
        Ok(())
    }

    /// Shows the /dev/shm of the container whose IPC namespace is shared in the
    /// runtime folder, and says where.
    pub fn shm(
        &self,
        thread: SoleThread,
        options: &Options,
        runtime: &Path,
    ) -> Result<Option<PathBuf>> {
        let (NamespaceMode::Container(_), Some(owner)) = (&options.ipc, &self.owner) else {
            return Ok(None);
        };
        let at = super::rootfs::place(runtime, "shm", Path::new("/dev/shm"))?;
        let tried = || "share /dev/shm of the other container";
        let theirs = mount_of(thread, owner, Path::new("dev/shm")).tried(tried)?;
        mount::attach(&theirs, &at).tried(tried)?;
        Ok(Some(at))
    }

    fn hold(&mut self, path: &Path) -> Result<PathBuf> {
        let file = File::open(path).tried(|| format!("open namespace {}", path.display()))?;
        let held = OwnedFd::from(file);
        let path = format!("/proc/self/fd/{}", held.as_raw_fd()).into();
        self.held.push(held);
        Ok(path)
    }
}

/// A copy of the mount at `path` in the root of `owner`, in whose user namespace
/// we are. Only a process in its mount namespace may make one (open_tree(2)), and
/// only there do links of the container lead nowhere else: a child goes.
fn mount_of(thread: SoleThread, owner: &Process, path: &Path) -> Result<OwnedFd> {
    let (ours, theirs) = socket::pair()?;
    match process::fork(thread)? {
        Fork::Child => {
            let made = process::join_namespaces(thread, owner, libc::CLONE_NEWNS)
                .and_then(|()| open_dir(Path::new("/")))
                .and_then(|root| open_in_root(&root, path, OFlags::PATH | OFlags::DIRECTORY))
                .and_then(|found| mount::copy_of(&found, false));
            let _ = match made {
                Ok(made) => socket::send(theirs.as_fd(), b"made", &[made.as_fd()]),
                Err(error) => socket::send(theirs.as_fd(), error.to_string().as_bytes(), &[]),
            };
            process::exit_now(0)
        }
        Fork::Parent(child) => {
            drop(theirs);
            let answer = socket::receive(&ours);
            let _ = child.reap();
            let (words, fds) = answer?;
            let made = fds.into_iter().next();
            made.ok_or_else(|| Error::other(String::from_utf8_lossy(&words).into_owned()))
        }
    }
}

/// The host's file of a time zone, if there is one: UTC needs none.
fn zone_file(zone: &str) -> Option<PathBuf> {
    let path = match zone {
        "local" => PathBuf::from("/etc/localtime"),
        name => Path::new("/usr/share/zoneinfo").join(name),
    };
    path.is_file().then_some(path)
}

/// Makes the files that are mounted in. What depends on the network is empty yet:
/// see [`write_network_files`].
pub fn make_files(
    record: &Record,
    rootfs: &OwnedFd,
    (accounts, missing): (&Accounts, &Missing),
    joins: &Joins,
    runtime: &Path,
    hostname: &str,
) -> Result<Files> {
    let options = &record.options;
    let make = |name: &str, text: &str| -> Result<Option<PathBuf>> {
        let path = runtime.join(name);
        let written = File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.tried(|| format!("write {}", path.display()))?;
        Ok(Some(path))
    };
    let mut files = Files::default();
    // Podman says more in it only for the privileged.
    let about = format!(
        "engine=\"podman-5.8.6\"\nname=\"{}\"\nid=\"{}\"\nimage=\"{}\"\nimageid=\"{}\"\nrootless=1\n",
        record.name,
        record.id,
        record.image.name,
        record.image.shown_id()
    );
    files.containerenv = make("containerenv", if options.privileged { &about } else { "" })?;
    files.localtime = options.timezone.as_deref().and_then(zone_file);
    if !options.hosts.no_hostname {
        files.hostname = make("hostname", &network::hostname_file(hostname))?;
    }
    let shared = |name: &str| {
        joins
            .network_files
            .as_ref()
            .map(|dir| dir.join(name))
            .filter(|path| path.exists())
    };
    let joins_network = matches!(options.network, NetworkMode::Container(_));
    if !options.hosts.no_hosts {
        files.hosts = if joins_network {
            shared("hosts")
        } else {
            make("hosts", "")?
        };
    }
    let own = !matches!(
        options.network,
        NetworkMode::None | NetworkMode::Container(_)
    );
    if joins_network {
        files.resolv_conf = shared("resolv.conf");
    } else if own && !options.hosts.no_resolv_conf {
        files.resolv_conf = make("resolv.conf", "")?;
    }
    if !missing.is_empty() {
        if options.read_only {
            let with = accounts.with(missing);
            if let (Some(text), true) = (&with.passwd, missing.passwd.is_some()) {
                files.passwd = make("passwd", text)?;
            }
            if let (Some(text), true) = (&with.group, missing.group.is_some()) {
                files.group = make("group", text)?;
            }
        } else {
            missing.append(rootfs.as_fd())?;
        }
    }
    Ok(files)
}

/// What is to be added to the container's passwd and group.
pub fn missing_accounts(engine: &Engine, record: &Record, accounts: &Accounts) -> Result<Missing> {
    let options = &record.options;
    if !options.accounts.writes {
        return Ok(Missing::default());
    }
    let caller = match options.user_namespace {
        Mode::KeepId {
            uid: None,
            gid: None,
            ..
        } => Some(engine.settings.uid),
        _ => None,
    };
    // Most containers need none of the host's users: its file is read when one does.
    let users = OnceCell::new();
    let find = |wanted: &dyn Fn(&HostUser) -> bool| {
        let users = users.get_or_init(settings::host_users);
        users.iter().find(|user| wanted(user)).cloned()
    };
    let host_users = options.accounts.host_users.iter().map(|text| {
        find(&|user| user.name == *text || user.uid.to_string() == *text).ok_or_else(|| {
            Error::new(
                Kind::CannotInvoke,
                format!(
                    "creating temporary passwd file for container {}: user: unknown user {text}",
                    record.id
                ),
            )
        })
    });
    let of_caller = |uid: u32| {
        let user = find(&|user| user.uid == uid)?;
        let gid = engine.settings.gid;
        let name = settings::host_group(gid).unwrap_or_else(|| gid.to_string());
        Some((user, HostGroup { name, gid }))
    };
    let mut missing = accounts.missing(&Entries {
        user: &options.user,
        workdir: &options.workdir,
        mounted: options
            .mounts
            .iter()
            .map(|mount| mount.destination.as_path())
            .collect(),
        host_users: host_users.collect::<Result<_>>()?,
        caller: caller.filter(|uid| *uid != 0).and_then(of_caller),
        host_user: &|uid| find(&|user| user.uid == uid),
        passwd_entry: options.accounts.passwd_entry.as_deref(),
        group_entry: options.accounts.group_entry.as_deref(),
    })?;
    // A file of the user's own stays as it is.
    for mount in &options.mounts {
        match mount.destination.to_str() {
            Some("/etc/passwd") => missing.passwd = None,
            Some("/etc/group") => missing.group = None,
            _ => {}
        }
    }
    Ok(missing)
}

/// Writes /etc/hosts and /etc/resolv.conf, once it is known what the container
/// finds on its network. In place: they are mounted already.
pub fn write_network_files(
    record: &Record,
    rootfs: &OwnedFd,
    files: &Files,
    attached: &Attached,
    hostname: &str,
) -> Result<()> {
    let options = &record.options;
    if matches!(options.network, NetworkMode::Container(_)) {
        return Ok(());
    }
    // They are empty, and not to be truncated: ext4 brings to the disk what was.
    let write = |path: &Path, text: &str| {
        let written = File::options()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.tried(|| format!("write {}", path.display()))
    };
    if let Some(path) = &files.hosts {
        let of = HostsFor {
            hosts: &options.hosts,
            mode: &options.network,
            attached,
            hostname,
            name: record.name.as_str(),
        };
        let base = options.hosts.base_text(|| {
            let Ok(found) = open_in_root(
                rootfs,
                Path::new("etc/hosts"),
                OFlags::RDONLY | OFlags::NONBLOCK,
            ) else {
                return Ok(String::new());
            };
            read_bounded(found)
        })?;
        write(path, &network::hosts(of, &base)?)?;
    }
    if let Some(path) = &files.resolv_conf
        && let Some(text) = network::resolv_conf(
            &options.hosts,
            &options.network,
            attached,
            &HostFiles::read(),
        )
    {
        write(path, &text)?;
    }
    Ok(())
}

/// Reads a regular file of the image, a megabyte at most.
pub(super) fn read_bounded(fd: OwnedFd) -> Result<String> {
    use std::io::Read;
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Joins the user namespace of another, where there is one to join; whether it was so.
pub fn join_owner(engine: &Engine, joins: &Joins) -> Result<bool> {
    if let Some(init) = &joins.owner {
        process::join_namespaces(engine.thread, init, libc::CLONE_NEWUSER)
            .tried(|| "join the user namespace of the other container")?;
    } else if let Some(namespace) = &joins.user_namespace {
        process::join_namespace(engine.thread, namespace.as_fd(), libc::CLONE_NEWUSER)
            .tried(|| "join the user namespace")?;
    }
    Ok(joins.has_user_namespace())
}

/// The name the container has for itself.
pub fn hostname(record: &Record) -> String {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    spec::hostname(record, &host)
}
