//! The OCI config of a container: what libcontainer is told to make.
//!
//! A pure function of the [`Record`] and of what is known of the [`Host`], so its
//! tests are snapshots. It says what Podman 5.8's config.json says, but for what
//! libcontainer does not do and we do ourselves:
//!
//! - no user namespace: the monitor has entered it;
//! - no seccomp, and [`CapSet::SETUP`] beside the wanted capabilities: the executor
//!   loads the filter, then gives up all but [`capabilities`];
//! - no terminal: the executor makes it;
//! - what must be prepared outside (copied-up tmpfs, overlays, images) comes as a
//!   folder to bind, by its place in [`mounts`];
//! - propagation of a single mount: the executor sets [`propagation`].

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    self as oci, Linux, LinuxCpu, LinuxMemory, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxPids, LinuxResources, MountBuilder, PosixRlimitBuilder, PosixRlimitType, Process,
    RootBuilder, Spec, UserBuilder,
};
use rustix::mount::MountPropagationFlags;

use super::options::{
    Device, Mount, MountKind, NamespaceMode, Options, Resources, Seccomp, Ulimit,
};
use super::record::Record;
use super::user::User;
use crate::error::{Context, Error, Kind, Result};
use crate::network::NetworkMode;
use crate::runtime::capability::{self, CapSet, Capabilities};
use crate::runtime::seccomp::Profile;
use crate::userns::IdMap;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the kernel shows nobody in a container (Podman 5.8).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/proc/interrupts",
];

/// What nobody in a container writes to (Podman 5.8).
const READ_ONLY: [&str; 6] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The most that Podman raises RLIMIT_NOFILE and RLIMIT_NPROC to by itself.
const RLIMIT_MOST: u64 = 1_048_576;

/// What the config depends on beside the record.
#[derive(Debug, Clone)]
pub struct Host {
    pub machine: Machine,
    /// Where the root file system is mounted.
    pub rootfs: PathBuf,
    /// `options.user`, resolved in that root file system.
    pub user: User,
    /// The map of the user namespace we are in.
    pub map: IdMap,
    pub cgroup: Cgroup,
    pub files: Files,
    /// By place in [`mounts`]: the folder or file to bind there. A volume, overlay
    /// or image must have one; a tmpfs has one if it had to be filled; a bind has one
    /// if it is not simply its source.
    pub sources: Vec<Option<PathBuf>>,
    pub namespaces: Namespaces,
    /// The /dev/shm of the container whose IPC namespace is joined.
    pub shm: Option<PathBuf>,
}

/// What is so on this machine, for this user.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub hostname: String,
    /// All that may be had: our own bounding set.
    pub capabilities: CapSet,
    /// (soft, hard)
    pub nofile: (u64, u64),
    /// (soft, hard)
    pub nproc: (u64, u64),
    pub oom_score_adj: i32,
    pub has_apparmor: bool,
    pub has_mqueue: bool,
    /// What `--privileged` shows: see [`host_devices`].
    pub devices: Vec<PathBuf>,
}

impl Machine {
    /// Asks the kernel; for devices too if `options` want them all.
    pub fn read(options: &Options) -> Self {
        use rustix::process::{Resource, getrlimit};
        let limit = |resource| {
            let limit = getrlimit(resource);
            let number = |value: Option<u64>| value.unwrap_or(u64::MAX);
            (number(limit.current), number(limit.maximum))
        };
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            hostname: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            capabilities: CapSet::bounding(),
            nofile: limit(Resource::Nofile),
            nproc: limit(Resource::Nproc),
            oom_score_adj: text("/proc/self/oom_score_adj").trim().parse().unwrap_or(0),
            has_apparmor: text("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            has_mqueue: Path::new("/dev/mqueue").is_dir(),
            devices: match options.privileged {
                true => host_devices(Path::new("/dev")),
                false => Vec::new(),
            },
        }
    }
}

/// The container's control group.
#[derive(Debug, Clone)]
pub struct Cgroup {
    pub mode: CgroupMode,
    /// Absolute within the hierarchy.
    pub path: PathBuf,
    /// Those delegated to us: `memory`, `cpu`, `cpuset`, `pids`…
    pub controllers: HashSet<String>,
}

/// How the machine has mounted cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// Version 2 alone.
    Unified,
    /// Both; the monitor has bound version 2 over /sys/fs/cgroup for itself.
    Hybrid,
    /// Version 1 alone: the container sees none, limits do not hold.
    Legacy,
}

/// Files made for the container; what is `None` is not mounted.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub containerenv: Option<PathBuf>,
    pub hostname: Option<PathBuf>,
    pub hosts: Option<PathBuf>,
    pub resolv_conf: Option<PathBuf>,
    /// Only with `--read-only`: else lines are added in the root file system.
    pub passwd: Option<PathBuf>,
    pub group: Option<PathBuf>,
}

/// Namespaces to join, by path (`/proc/self/fd/N` is one).
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    pub pid: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    pub uts: Option<PathBuf>,
    pub cgroup: Option<PathBuf>,
    /// Also one made for this container before it.
    pub network: Option<PathBuf>,
}

/// The config of the container of `record` on `host`.
pub fn spec(record: &Record, host: &Host) -> Result<Spec> {
    let options = &record.options;
    let mut spec = Spec::default();
    spec.set_version("1.2.1".to_owned());
    spec.set_root(Some(built(
        RootBuilder::default()
            .path(&host.rootfs)
            .readonly(options.read_only)
            .build(),
    )?));
    spec.set_hostname(
        matches!(options.uts, NamespaceMode::Private)
            .then(|| hostname(record, &host.machine.hostname)),
    );
    spec.set_mounts(Some(all_mounts(options, host)?));
    spec.set_process(Some(process(record, host)?));
    spec.set_linux(Some(linux(options, host)?));
    spec.set_annotations(
        (!options.annotations.is_empty())
            .then(|| options.annotations.clone().into_iter().collect()),
    );
    Ok(spec)
}

/// The capabilities of the container's first program, of those `available`.
pub fn capabilities(options: &Options, available: CapSet) -> Result<Capabilities> {
    let bounding = if options.privileged {
        available
    } else {
        capability::merge(
            CapSet::DEFAULT,
            &options.cap_add,
            &options.cap_drop,
            available,
        )?
    };
    // As Podman: it is the word that counts, not what the image makes of it.
    let user = options.user.split(':').next().unwrap_or_default();
    Ok(if matches!(user, "" | "root" | "0") {
        Capabilities::root(bounding)
    } else {
        Capabilities::user(bounding, capability::added(&options.cap_add, available)?)
    })
}

/// The seccomp profile; a privileged container has one only if it is named.
pub fn seccomp_profile(options: &Options) -> Profile<'_> {
    match &options.security.seccomp {
        Seccomp::Default if options.privileged => Profile::Unconfined,
        Seccomp::Default => Profile::Default,
        Seccomp::Unconfined => Profile::Unconfined,
        Seccomp::Profile(path) => Profile::File(path),
    }
}

/// The name the container has on the network and, in a UTS namespace of its own,
/// for itself. `host` is the machine's.
pub fn hostname(record: &Record, host: &str) -> String {
    let options = &record.options;
    match &options.hostname {
        Some(name) => name.clone(),
        None if options.uts == NamespaceMode::Host || options.network == NetworkMode::Host => {
            host.to_owned()
        }
        None => record.id.short().to_owned(),
    }
}

/// The environment of the container's first program: what the user and the image
/// say, and what Podman adds. `exec` adds its own to it.
pub fn environment(options: &Options, hostname: &str, home: &str) -> Vec<String> {
    let mut all = vec![PATH.to_owned(), "container=podman".to_owned()];
    if options.tty {
        all.push("TERM=xterm".to_owned());
    }
    let key = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in &options.env {
        match all.iter_mut().find(|it| key(it) == key(variable)) {
            Some(there) => there.clone_from(variable),
            None => all.push(variable.clone()),
        }
    }
    for (name, value) in [("HOME", home), ("HOSTNAME", hostname)] {
        if !all.iter().any(|it| key(it) == name) {
            all.push(format!("{name}={value}"));
        }
    }
    all
}

/// The user's mounts and those that `--read-only` brings, parents before children.
/// [`Host::sources`] goes by this list.
pub fn mounts(options: &Options) -> Vec<Mount> {
    let mut all = options.mounts.clone();
    if options.read_only && options.read_only_tmpfs {
        for destination in ["/run", "/tmp", "/var/tmp"] {
            if !is_mounted(&all, destination) {
                all.push(Mount {
                    kind: MountKind::Tmpfs {
                        options: Vec::new(),
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

/// Whether limits were asked for that this machine's cgroups cannot hold and that
/// Podman ignores with a warning (cgroup v1 as a user).
pub fn ignores_limits(resources: &Resources, cgroup: &Cgroup) -> bool {
    cgroup.mode != CgroupMode::Unified && !asked(resources).is_empty()
}

/// The devices beneath `dev` that `--privileged` shows: all but terminals, and
/// those that every container has.
pub fn host_devices(dev: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    const NOT: [&str; 12] = [
        "pts",
        "shm",
        "fd",
        "mqueue",
        ".lxc",
        ".lxd-mounts",
        ".udev",
        "console",
        "ptmx",
        "tty",
        "hugepages",
        "core",
    ];
    let is_virtual_console = |name: &str| {
        name.strip_prefix("tty")
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    walkdir::WalkDir::new(dev)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() > 1 || !(NOT.contains(&&*name) || is_virtual_console(&name))
        })
        .flatten()
        .filter(|entry| entry.file_type().is_char_device() || entry.file_type().is_block_device())
        .map(walkdir::DirEntry::into_path)
        .filter(|path| !is_default_device(path))
        .collect()
}

/// Those that libcontainer gives to every container.
fn is_default_device(path: &Path) -> bool {
    ["null", "zero", "full", "random", "urandom", "tty"]
        .iter()
        .any(|name| path == Path::new("/dev").join(name))
}

fn process(record: &Record, host: &Host) -> Result<Process> {
    let options = &record.options;
    let mut process = Process::default();
    process.set_terminal(Some(false));
    process.set_user(user(options, host)?);
    process.set_args(Some(options.argv.clone()));
    process.set_env(Some(environment(
        options,
        &hostname(record, &host.machine.hostname),
        &host.user.home,
    )));
    process.set_cwd(match options.workdir.as_str() {
        "" => "/".into(),
        dir => dir.into(),
    });
    let available = host.machine.capabilities;
    process.set_capabilities(Some(oci_capabilities(
        &capabilities(options, available)?.with_setup(),
        available,
    )?));
    process.set_rlimits(Some(rlimits(&options.ulimits, &host.machine)?));
    // libcontainer takes `false` for something else than nothing.
    process.set_no_new_privileges(options.security.no_new_privileges.then_some(true));
    process.set_apparmor_profile(apparmor(options, &host.machine)?);
    // A user may raise it only (proc_pid_oom_score_adj(5)): Podman does so too.
    let score = |asked: i32| asked.max(host.machine.oom_score_adj);
    process.set_oom_score_adj(options.oom_score_adj.map(score));
    Ok(process)
}

fn user(options: &Options, host: &Host) -> Result<oci::User> {
    let User { uid, gid, .. } = host.user;
    let unmapped = |what: &str, id: u32| {
        Error::new(
            Kind::CannotInvoke,
            format!("{what} {id} is not mapped in the container's user namespace"),
        )
        .hint("more subordinate ids are needed: see /etc/subuid and /etc/subgid")
    };
    if host.map.uid_outside(uid).is_none() {
        return Err(unmapped("uid", uid));
    }
    if host.map.gid_outside(gid).is_none() {
        return Err(unmapped("gid", gid));
    }
    let mut user = built(
        UserBuilder::default()
            .uid(uid)
            .gid(gid)
            .umask(options.umask)
            .build(),
    )?;
    // With one id mapped setgroups(2) is denied (user_namespaces(7)).
    if !host.map.is_single() {
        let mut mapped = host.user.clone();
        mapped.keep_mapped(&host.map);
        user.set_additional_gids(
            (!mapped.additional_gids.is_empty()).then_some(mapped.additional_gids),
        );
    }
    Ok(user)
}

fn oci_capabilities(wanted: &Capabilities, available: CapSet) -> Result<oci::LinuxCapabilities> {
    let set = |set: CapSet| -> Result<Option<HashSet<oci::Capability>>> {
        set.and(available)
            .names()
            .into_iter()
            .map(|name| Ok(serde_json::from_value(serde_json::Value::String(name))?))
            .collect::<Result<_>>()
            .map(Some)
    };
    let mut all = oci::LinuxCapabilities::default();
    all.set_bounding(set(wanted.bounding)?);
    all.set_permitted(set(wanted.permitted)?);
    all.set_effective(set(wanted.effective)?);
    all.set_inheritable(set(wanted.inheritable)?);
    all.set_ambient(set(wanted.ambient)?);
    Ok(all)
}

fn rlimits(ulimits: &[Ulimit], machine: &Machine) -> Result<Vec<oci::PosixRlimit>> {
    let mut all = Vec::new();
    for limit in ulimits {
        let typ: PosixRlimitType =
            serde_json::from_value(serde_json::Value::String(limit.name.clone()))
                .map_err(|_| Error::usage(format!("invalid ulimit type: {}", limit.name)))?;
        all.push((typ, limit.soft, limit.hard));
    }
    let has = |typ, all: &[(PosixRlimitType, u64, u64)]| all.iter().any(|it| it.0 == typ);
    if !has(PosixRlimitType::RlimitNofile, &all) {
        // Podman is a Go program, which has raised the soft limit to the hard one.
        let most = machine.nofile.1.min(RLIMIT_MOST);
        all.push((PosixRlimitType::RlimitNofile, most, most));
    }
    if !has(PosixRlimitType::RlimitNproc, &all) {
        let (soft, hard) = machine.nproc;
        let limits = (soft.min(RLIMIT_MOST), hard.min(RLIMIT_MOST));
        all.push((PosixRlimitType::RlimitNproc, limits.0, limits.1));
    }
    all.into_iter()
        .map(|(typ, soft, hard)| {
            built(
                PosixRlimitBuilder::default()
                    .typ(typ)
                    .soft(soft)
                    .hard(hard)
                    .build(),
            )
        })
        .collect()
}

fn apparmor(options: &Options, machine: &Machine) -> Result<Option<String>> {
    match options.security.apparmor.as_deref() {
        None | Some("" | "unconfined") => Ok(None),
        Some(name) if machine.has_apparmor => Ok(Some(name.to_owned())),
        Some(name) => Err(Error::usage(format!(
            "apparmor profile {name:?} specified, but Apparmor is not enabled on this system"
        ))),
    }
}

fn linux(options: &Options, host: &Host) -> Result<Linux> {
    let mut linux = Linux::default();
    linux.set_namespaces(Some(namespaces(options, &host.namespaces)?));
    linux.set_cgroups_path(Some(host.cgroup.path.clone()));
    linux.set_resources(resources(&options.resources, &host.cgroup)?);
    let sysctls = sysctls(options);
    linux.set_sysctl((!sysctls.is_empty()).then_some(sysctls));
    // "slave" where one mount at least has a propagation of its own: private ones
    // are then made so by the executor, but slaves cannot be made of private ones.
    let propagation = match wants_propagation(options) {
        true => "slave",
        false => "private",
    };
    linux.set_rootfs_propagation(Some(propagation.to_owned()));
    linux.set_masked_paths(Some(masked(options)));
    linux.set_readonly_paths(Some(read_only(options)));
    Ok(linux)
}

fn namespaces(options: &Options, joined: &Namespaces) -> Result<Vec<oci::LinuxNamespace>> {
    let network = match &options.network {
        NetworkMode::Host => NamespaceMode::Host,
        NetworkMode::Container(id) => NamespaceMode::Container(id.clone()),
        NetworkMode::Path(path) => NamespaceMode::Path(path.clone()),
        _ => NamespaceMode::Private,
    };
    let mut all = Vec::new();
    for (typ, mode, path) in [
        (LinuxNamespaceType::Pid, &options.pid, &joined.pid),
        (LinuxNamespaceType::Network, &network, &joined.network),
        (LinuxNamespaceType::Ipc, &options.ipc, &joined.ipc),
        (LinuxNamespaceType::Uts, &options.uts, &joined.uts),
        (LinuxNamespaceType::Mount, &NamespaceMode::Private, &None),
        (
            LinuxNamespaceType::Cgroup,
            &options.cgroupns,
            &joined.cgroup,
        ),
    ] {
        match mode {
            NamespaceMode::Host => continue,
            NamespaceMode::Container(_) | NamespaceMode::Path(_) if path.is_none() => {
                return Err(Error::other(format!(
                    "the {typ} namespace to join is not open"
                )));
            }
            _ => {}
        }
        let mut namespace = built(LinuxNamespaceBuilder::default().typ(typ).build())?;
        namespace.set_path(path.clone());
        all.push(namespace);
    }
    Ok(all)
}

fn sysctls(options: &Options) -> HashMap<String, String> {
    let mut all = HashMap::new();
    // containers.conf's one default: root may ping, where the network is its own.
    if is_network_own(options) {
        all.insert("net.ipv4.ping_group_range".to_owned(), "0 0".to_owned());
    }
    all.extend(options.sysctls.clone());
    all
}

fn is_network_own(options: &Options) -> bool {
    matches!(
        options.network,
        NetworkMode::PastaDefault | NetworkMode::Pasta(_) | NetworkMode::None
    )
}

/// The limits that were asked for, by the controller they need.
fn asked(resources: &Resources) -> Vec<&'static str> {
    let mut all = Vec::new();
    let mut need = |asked: bool, controller| {
        if asked {
            all.push(controller);
        }
    };
    let Resources {
        memory,
        memory_swap,
        memory_reservation,
        cpu_quota,
        cpu_period,
        cpu_shares,
        cpuset_cpus,
        cpuset_mems,
        pids,
    } = resources;
    need(
        memory.is_some() || memory_swap.is_some() || memory_reservation.is_some(),
        "memory",
    );
    need(
        cpu_quota.is_some() || cpu_period.is_some() || cpu_shares.is_some(),
        "cpu",
    );
    need(cpuset_cpus.is_some() || cpuset_mems.is_some(), "cpuset");
    need(pids.is_some_and(|pids| pids > 0), "pids");
    all
}

fn resources(wanted: &Resources, cgroup: &Cgroup) -> Result<Option<LinuxResources>> {
    let has = |controller: &str| cgroup.controllers.contains(controller);
    if cgroup.mode == CgroupMode::Unified
        && let Some(controller) = asked(wanted).into_iter().find(|it| !has(it))
    {
        return Err(Error::other(format!(
            "the requested cgroup controller `{controller}` is not available"
        ))
        .hint("with systemd, delegate it: a drop-in for user@.service with `Delegate=cpu cpuset io memory pids`"));
    }
    let mut resources = LinuxResources::default();
    if has("memory") && asked(wanted).contains(&"memory") {
        let mut memory = LinuxMemory::default();
        memory.set_limit(wanted.memory);
        memory.set_reservation(wanted.memory_reservation);
        // Podman: as much swap as memory, if nothing is said.
        let swap = wanted
            .memory_swap
            .or(wanted.memory.map(|it| it.saturating_mul(2)));
        memory.set_swap(swap);
        resources.set_memory(Some(memory));
    }
    if (has("cpu") && asked(wanted).contains(&"cpu"))
        || (has("cpuset") && asked(wanted).contains(&"cpuset"))
    {
        let mut cpu = LinuxCpu::default();
        if has("cpu") {
            cpu.set_quota(wanted.cpu_quota);
            cpu.set_period(wanted.cpu_period);
            cpu.set_shares(wanted.cpu_shares);
        }
        if has("cpuset") {
            cpu.set_cpus(wanted.cpuset_cpus.clone());
            cpu.set_mems(wanted.cpuset_mems.clone());
        }
        resources.set_cpu(Some(cpu));
    }
    if has("pids") {
        let mut pids = LinuxPids::default();
        match wanted.pids {
            None => pids.set_limit(2048),
            Some(limit) if limit > 0 => pids.set_limit(limit),
            Some(_) => pids.set_limit(-1),
        };
        resources.set_pids(Some(pids));
    }
    let none = LinuxResources::default();
    Ok((resources != none).then_some(resources))
}

fn masked(options: &Options) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    if !options.privileged {
        all.extend(
            MASKED
                .iter()
                .filter(|path| !is_unmasked(options, path))
                .map(|path| (*path).to_owned()),
        );
        // The host's /sys is bound, where a new one could not be mounted.
        if options.network == NetworkMode::Host {
            all.push("/sys/kernel".to_owned());
        }
    }
    for path in options.security.mask.iter().flat_map(|it| it.split(':')) {
        if !path.is_empty() && !all.iter().any(|it| it == path) {
            all.push(path.to_owned());
        }
    }
    all
}

fn read_only(options: &Options) -> Vec<String> {
    if options.privileged {
        return Vec::new();
    }
    READ_ONLY
        .iter()
        .filter(|path| !is_unmasked(options, path))
        .map(|path| (*path).to_owned())
        .collect()
}

fn is_unmasked(options: &Options, path: &str) -> bool {
    options
        .security
        .unmask
        .iter()
        .flat_map(|it| it.split(':'))
        .any(|pattern| pattern.eq_ignore_ascii_case("all") || glob(pattern, path))
}

/// Go's filepath.Match, as far as paths need it: `*` and `?` stay within a name,
/// `[a-z]` and `[^a-z]` are one character, `\` takes the next one as it is.
fn glob(pattern: &str, path: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return path.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    let mut left = path.chars();
    match first {
        '*' => {
            let mut from = path;
            loop {
                if glob(rest, from) {
                    return true;
                }
                match from.chars().next() {
                    None | Some('/') => return false,
                    Some(skipped) => from = &from[skipped.len_utf8()..],
                }
            }
        }
        '?' => left.next().is_some_and(|it| it != '/') && glob(rest, left.as_str()),
        '[' => {
            let Some((class, after)) = rest.split_once(']') else {
                return false;
            };
            let (class, negated) = match class.strip_prefix('^') {
                Some(class) => (class, true),
                None => (class, false),
            };
            let class: Vec<char> = class.chars().collect();
            let Some(found) = left.next().filter(|it| *it != '/') else {
                return false;
            };
            let mut at = 0;
            let mut within = false;
            while at < class.len() {
                if class.get(at + 1) == Some(&'-') && at + 2 < class.len() {
                    within |= (class[at]..=class[at + 2]).contains(&found);
                    at += 3;
                } else {
                    within |= class[at] == found;
                    at += 1;
                }
            }
            within != negated && glob(after, left.as_str())
        }
        _ => {
            let (literal, rest) = match (first, rest.chars().next()) {
                ('\\', Some(next)) => (next, &rest[next.len_utf8()..]),
                _ => (first, rest),
            };
            left.next() == Some(literal) && glob(rest, left.as_str())
        }
    }
}

/// Every mount of the container, in the order they are made.
fn all_mounts(options: &Options, host: &Host) -> Result<Vec<oci::Mount>> {
    let wanted = mounts(options);
    let mut all = base_mounts(options, host, &wanted)?;
    if options.privileged {
        for path in &host.machine.devices {
            let device = Device {
                source: path.clone(),
                destination: path.clone(),
                permissions: "rwm".into(),
            };
            let is_named = |it: &Device| it.destination == *path;
            if !options.devices.iter().any(is_named) && !covers(&wanted, path) {
                all.push(device_mount(&device)?);
            }
        }
    }
    for device in &options.devices {
        all.push(device_mount(device)?);
    }
    for (at, mount) in wanted.iter().enumerate() {
        let source = host.sources.get(at).and_then(Option::as_deref);
        all.push(user_mount(mount, source)?);
    }
    // Podman's order: by depth, and for the rest as they came.
    all.sort_by_key(|mount| depth(mount.destination()));
    Ok(all)
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
    ] {
        if let Some(file) = file
            && !(run_is_users && destination == "/run/.containerenv")
        {
            add(destination, "bind", text(file)?, &flags)?;
        }
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

    if host.cgroup.mode != CgroupMode::Legacy {
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
fn user_mount(wanted: &Mount, prepared: Option<&Path>) -> Result<oci::Mount> {
    let destination = text(&wanted.destination)?;
    let mut flags: Vec<String> = wanted
        .options
        .iter()
        .filter(|it| is_flag(it))
        .cloned()
        .collect();
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
        (_, Some(prepared)) => prepared,
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
fn is_flag(word: &str) -> bool {
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

fn wants_propagation(options: &Options) -> bool {
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

fn built<T>(result: std::result::Result<T, OciSpecError>) -> Result<T> {
    result
        .map_err(|error| Error::other(error.to_string()))
        .tried(|| "make the container's config")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::options::{Log, LogDriver, RestartPolicy, Security};
    use crate::network::Hosts;
    use crate::userns::IdRange;

    fn options() -> Options {
        Options {
            argv: vec!["sleep".into(), "1".into()],
            entrypoint: vec![],
            command: vec!["sleep".into(), "1".into()],
            env: vec![PATH.into()],
            workdir: "/".into(),
            user: String::new(),
            hostname: None,
            labels: Default::default(),
            annotations: Default::default(),
            interactive: false,
            tty: false,
            remove: false,
            read_only: false,
            read_only_tmpfs: true,
            mounts: vec![],
            network: NetworkMode::PastaDefault,
            ports: vec![],
            exposed: vec![],
            hosts: Hosts::default(),
            init: false,
            privileged: false,
            cap_add: vec![],
            cap_drop: vec![],
            security: Security::default(),
            devices: vec![],
            ulimits: vec![],
            sysctls: Default::default(),
            shm_size: 65_536_000,
            pid: NamespaceMode::Private,
            ipc: NamespaceMode::Shareable,
            uts: NamespaceMode::Private,
            cgroupns: NamespaceMode::Private,
            userns: None,
            groups: vec![],
            umask: 0o022,
            stop_signal: 15,
            stop_timeout: 10,
            timeout: 0,
            restart: RestartPolicy::No,
            log: Log {
                driver: LogDriver::K8sFile,
                path: None,
                max_size: None,
                tag: None,
            },
            resources: Resources::default(),
            cidfile: None,
            pidfile: None,
            monitor_pidfile: None,
            create_command: vec![],
            oom_score_adj: None,
        }
    }

    fn record(options: Options) -> Record {
        let zero = serde_json::json!({
            "id": "a".repeat(64), "name": "web", "created": "2025-01-01T00:00:00Z",
            "image": {"id": "b".repeat(64), "name": "localhost/busybox:latest", "layers": []},
            "options": options, "map": null, "map_reason": null,
        });
        serde_json::from_value(zero).unwrap()
    }

    fn host() -> Host {
        let range = |inside, outside, count| IdRange {
            inside,
            outside,
            count,
        };
        let ids = vec![range(0, 1001, 1), range(1, 100_000, 65_536)];
        let file = |name: &str| Some(PathBuf::from("/files").join(name));
        Host {
            machine: Machine {
                hostname: "vm".into(),
                capabilities: CapSet::ALL,
                nofile: (1024, 20_000),
                nproc: (500, 96_365),
                oom_score_adj: 0,
                has_apparmor: false,
                has_mqueue: false,
                devices: vec!["/dev/fuse".into(), "/dev/net/tun".into()],
            },
            rootfs: "/rootfs".into(),
            user: User {
                uid: 0,
                gid: 0,
                additional_gids: vec![],
                home: "/root".into(),
                name: Some("root".into()),
            },
            map: IdMap {
                uids: ids.clone(),
                gids: ids,
            },
            cgroup: Cgroup {
                mode: CgroupMode::Unified,
                path: "/user.slice/x".into(),
                controllers: HashSet::new(),
            },
            files: Files {
                containerenv: file(".containerenv"),
                hostname: file("hostname"),
                hosts: file("hosts"),
                resolv_conf: file("resolv.conf"),
                passwd: None,
                group: None,
            },
            sources: vec![],
            namespaces: Namespaces::default(),
            shm: None,
        }
    }

    fn made_with(change: impl FnOnce(&mut Options)) -> Spec {
        let mut options = options();
        change(&mut options);
        spec(&record(options), &host()).unwrap()
    }

    /// A line for each mount: destination, type, source, options.
    fn table(spec: &Spec) -> Vec<String> {
        let mounts = spec.mounts().as_ref().unwrap();
        mounts
            .iter()
            .map(|it| {
                format!(
                    "{} {} {} {}",
                    it.destination().display(),
                    it.typ().as_deref().unwrap(),
                    it.source().as_ref().unwrap().display(),
                    it.options().as_ref().unwrap().join(",")
                )
            })
            .collect()
    }

    const BASE: [&str; 11] = [
        "/proc proc proc nosuid,noexec,nodev",
        "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
        "/sys sysfs sysfs nosuid,noexec,nodev,ro",
        "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
        "/run/.containerenv bind /files/.containerenv bind,rprivate",
        "/etc/hostname bind /files/hostname bind,rprivate",
        "/etc/resolv.conf bind /files/resolv.conf bind,rprivate",
        "/etc/hosts bind /files/hosts bind,rprivate",
        "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=65536000",
        "/sys/fs/cgroup cgroup cgroup rprivate,nosuid,noexec,nodev,relatime,ro",
    ];

    /// What `change` adds to and takes from the mounts of a container with no flags.
    fn differs(change: impl FnOnce(&mut Options), added: &[&str], gone: &[&str]) {
        let now = table(&made_with(change));
        let new: Vec<_> = now
            .iter()
            .filter(|it| !BASE.contains(&it.as_str()))
            .collect();
        let old: Vec<_> = BASE
            .iter()
            .filter(|it| !now.contains(&it.to_string()))
            .collect();
        let old: Vec<_> = old.iter().map(|it| it.split(' ').next().unwrap()).collect();
        assert_eq!(new, added);
        assert_eq!(old, gone);
    }

    fn bind(source: &str, destination: &str, options: &[&str]) -> Mount {
        Mount {
            kind: MountKind::Bind {
                source: source.into(),
            },
            destination: destination.into(),
            read_only: false,
            options: options.iter().map(|it| (*it).to_owned()).collect(),
            chown: false,
            subpath: None,
        }
    }

    fn tmpfs(destination: &str, options: &[&str]) -> Mount {
        Mount {
            kind: MountKind::Tmpfs {
                options: options.iter().map(|it| (*it).to_owned()).collect(),
                copy_up: true,
            },
            ..bind("", destination, &[])
        }
    }

    #[test]
    fn a_container_without_flags() {
        let spec = made_with(|_| {});
        assert_eq!(table(&spec), BASE);
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(
            json["process"]["env"],
            serde_json::json!([
                PATH,
                "container=podman",
                "HOME=/root",
                "HOSTNAME=aaaaaaaaaaaa"
            ])
        );
        assert_eq!(
            json["process"]["user"],
            serde_json::json!({"uid": 0, "gid": 0, "umask": 18})
        );
        assert_eq!(
            json["process"]["rlimits"],
            serde_json::json!([
                {"type": "RLIMIT_NOFILE", "hard": 20_000, "soft": 20_000},
                {"type": "RLIMIT_NPROC", "hard": 96_365, "soft": 500},
            ])
        );
        assert_eq!(json["process"]["terminal"], false);
        for absent in ["noNewPrivileges", "apparmorProfile", "oomScoreAdj"] {
            assert!(json["process"].get(absent).is_none(), "{absent}");
        }
        let linux = &json["linux"];
        assert_eq!(
            linux["namespaces"],
            serde_json::json!([
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"},
            ])
        );
        assert_eq!(
            linux["sysctl"],
            serde_json::json!({"net.ipv4.ping_group_range": "0 0"})
        );
        assert_eq!(linux["maskedPaths"], serde_json::json!(MASKED));
        assert_eq!(linux["readonlyPaths"], serde_json::json!(READ_ONLY));
        assert_eq!(linux["cgroupsPath"], "/user.slice/x");
        assert_eq!(linux["rootfsPropagation"], "private");
        for absent in ["resources", "seccomp", "uidMappings"] {
            assert!(linux.get(absent).is_none(), "{absent}");
        }
        assert_eq!(json["hostname"], "aaaaaaaaaaaa");
        assert_eq!(
            json["root"],
            serde_json::json!({"path": "/rootfs", "readonly": false})
        );
    }

    #[test]
    fn mounts_of_each_flag_are_podmans() {
        differs(
            |it| it.network = NetworkMode::Host,
            &["/sys bind /sys rprivate,nosuid,noexec,nodev,ro,rbind"],
            &["/sys"],
        );
        differs(
            |it| it.pid = NamespaceMode::Host,
            &["/proc bind /proc rbind,nosuid,noexec,nodev,rprivate"],
            &["/proc"],
        );
        differs(|it| it.ipc = NamespaceMode::None, &[], &["/dev/shm"]);
        differs(
            |it| it.ipc = NamespaceMode::Host,
            &["/dev/shm bind /dev/shm nosuid,noexec,nodev,bind,rprivate"],
            &["/dev/mqueue", "/dev/shm"],
        );
        differs(
            |it| it.shm_size = 1024,
            &["/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=1024"],
            &["/dev/shm"],
        );
        differs(
            |it| it.security.proc_opts = vec!["hidepid=2,subset=pid".into()],
            &["/proc proc proc nosuid,noexec,nodev,hidepid=2,subset=pid"],
            &["/proc"],
        );
        differs(
            |it| it.privileged = true,
            &[
                "/sys sysfs sysfs nosuid,noexec,nodev,rw",
                "/dev/fuse bind /dev/fuse slave,nosuid,noexec,rw,rbind",
                "/sys/fs/cgroup cgroup cgroup rprivate,nosuid,noexec,nodev,relatime,rw",
                "/dev/net/tun bind /dev/net/tun slave,nosuid,noexec,rw,rbind",
            ],
            &["/sys", "/sys/fs/cgroup"],
        );
        differs(
            |it| {
                it.devices = vec![Device {
                    source: "/dev/null".into(),
                    destination: "/dev/xnull".into(),
                    permissions: "r".into(),
                }];
            },
            &["/dev/xnull bind /dev/null slave,nosuid,noexec,ro,rbind"],
            &[],
        );
    }

    #[test]
    fn a_read_only_root_has_places_to_write() {
        let files = [
            "/run/.containerenv",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/etc/hosts",
        ];
        let binds = [
            "/run/.containerenv bind /files/.containerenv bind,rprivate,ro,nosuid,noexec,nodev",
            "/etc/hostname bind /files/hostname bind,rprivate,ro,nosuid,noexec,nodev",
            "/etc/resolv.conf bind /files/resolv.conf bind,rprivate,ro,nosuid,noexec,nodev",
            "/etc/hosts bind /files/hosts bind,rprivate,ro,nosuid,noexec,nodev",
        ];
        let mut added = vec![
            "/run tmpfs tmpfs rprivate,nosuid,nodev",
            "/tmp tmpfs tmpfs rprivate,nosuid,nodev",
        ];
        added.extend(binds);
        added.push("/var/tmp tmpfs tmpfs rprivate,nosuid,nodev");
        differs(|it| it.read_only = true, &added, &files);
        // One of the user's own stands in its place.
        let spec = made_with(|it| {
            it.read_only = true;
            it.mounts = vec![bind("/mine", "/tmp", &[])];
        });
        let lines = table(&spec);
        assert!(lines.contains(&"/tmp bind /mine rprivate,rbind".to_owned()));
        assert_eq!(lines.iter().filter(|it| it.starts_with("/tmp ")).count(), 1);
        assert_eq!(spec.root().as_ref().unwrap().readonly(), Some(true));
        let mut added = vec!["/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k,ro"];
        added.extend(binds);
        added.push("/dev/shm tmpfs shm nosuid,noexec,nodev,ro,mode=1777,size=65536000");
        let mut gone = vec!["/dev"];
        gone.extend(files);
        gone.push("/dev/shm");
        differs(
            |it| {
                it.read_only = true;
                it.read_only_tmpfs = false;
            },
            &added,
            &gone,
        );
    }

    #[test]
    fn mounts_of_the_users_take_the_place_of_ours() {
        differs(
            |it| {
                it.mounts = ["/dev/shm", "/etc/hosts", "/sys/fs/cgroup"]
                    .map(|destination| bind("/b", destination, &[]))
                    .to_vec();
            },
            &[
                "/dev/shm bind /b rprivate,rbind",
                "/etc/hosts bind /b rprivate,rbind",
                "/sys/fs/cgroup bind /b rprivate,rbind",
            ],
            &["/etc/hosts", "/dev/shm", "/sys/fs/cgroup"],
        );
        differs(
            |it| it.mounts = vec![bind("/dev", "/dev", &[]), bind("/sys", "/sys", &[])],
            &[
                "/dev bind /dev rprivate,rbind",
                "/sys bind /sys rprivate,rbind",
            ],
            &["/dev", "/sys", "/dev/pts", "/dev/mqueue"],
        );
        differs(
            |it| it.mounts = vec![bind("/b", "/run", &[])],
            &["/run bind /b rprivate,rbind"],
            &["/run/.containerenv"],
        );
        differs(
            |it| it.mounts = vec![tmpfs("/run", &["rw"])],
            &["/run tmpfs tmpfs rw,rprivate,nosuid,nodev"],
            &[],
        );
    }

    #[test]
    fn options_of_mounts_are_podmans() {
        let read_only = Mount {
            read_only: true,
            ..bind("/b", "/x/y", &[])
        };
        differs(
            |it| {
                it.mounts = vec![
                    read_only,
                    bind("/b", "/mnt", &[]),
                    bind("/f", "/x/f", &["noexec", "z"]),
                    bind("/b", "/m1", &["bind", "private"]),
                    bind("/b", "/m3", &["rw", "dev", "suid", "exec"]),
                    tmpfs("/t2", &["size=1m", "mode=1777", "noexec"]),
                ];
            },
            &[
                "/mnt bind /b rprivate,rbind",
                "/m1 bind /b bind,private",
                "/m3 bind /b rw,dev,suid,exec,rprivate,rbind",
                "/t2 tmpfs tmpfs noexec,rprivate,nosuid,nodev,size=1m,mode=1777",
                "/x/y bind /b ro,rprivate,rbind",
                "/x/f bind /f noexec,rprivate,rbind",
            ],
            &[],
        );
    }

    #[test]
    fn what_was_prepared_is_bound() {
        let volume = |name: &str, read_only, options: &[&str]| Mount {
            kind: MountKind::Volume {
                name: name.parse().unwrap(),
                anonymous: false,
                copy: true,
            },
            read_only,
            ..bind("", "/v", options)
        };
        let mut options = options();
        options.mounts = vec![
            volume("one", false, &[]),
            volume("two", true, &["noexec"]),
            tmpfs("/t", &["size=1m", "noexec"]),
        ];
        let mut host = host();
        let sources = ["/vol/one", "/vol/two", "/tmpfs"];
        host.sources = sources.map(|it| Some(PathBuf::from(it))).to_vec();
        let made = spec(&record(options.clone()), &host).unwrap();
        let lines: Vec<_> = table(&made)
            .into_iter()
            .filter(|it| !BASE.contains(&it.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                "/v bind /vol/one rprivate,nosuid,nodev,rbind",
                "/v bind /vol/two noexec,ro,rprivate,nosuid,nodev,rbind",
                "/t bind /tmpfs noexec,rprivate,nosuid,nodev,rbind",
            ]
        );
        host.sources.clear();
        let error = spec(&record(options), &host).unwrap_err();
        assert_eq!(error.to_string(), "nothing was prepared to mount on /v");
    }

    #[test]
    fn parents_come_before_children() {
        let spec = made_with(|it| {
            it.mounts = ["/a/b/c", "/a", "/z/y", "/a/b"]
                .map(|destination| bind("/s", destination, &[]))
                .to_vec();
        });
        let order: Vec<_> = table(&spec)
            .iter()
            .filter(|it| it.contains(" /s "))
            .map(|it| it.split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(order, ["/a", "/z/y", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn propagation_is_left_to_the_executor() {
        let mut options = options();
        options.mounts = vec![bind("/b", "/x", &["rslave"]), bind("/b", "/y", &[])];
        assert_eq!(
            propagation(&options),
            [
                (
                    PathBuf::from("/x"),
                    MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC
                ),
                (
                    PathBuf::from("/y"),
                    MountPropagationFlags::PRIVATE | MountPropagationFlags::REC
                ),
            ]
        );
        let spec = spec(&record(options.clone()), &host()).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.rootfs_propagation().as_deref(), Some("slave"));
        options.mounts.remove(0);
        assert!(propagation(&options).is_empty());
    }

    #[test]
    fn namespaces_are_shared_as_asked() {
        let json = |spec: &Spec| {
            serde_json::to_value(spec.linux().as_ref().unwrap().namespaces()).unwrap()
        };
        let spec = made_with(|it| {
            it.pid = NamespaceMode::Host;
            it.uts = NamespaceMode::Host;
            it.cgroupns = NamespaceMode::Host;
            it.network = NetworkMode::Host;
        });
        assert_eq!(
            json(&spec),
            serde_json::json!([{"type": "ipc"}, {"type": "mount"}])
        );
        assert_eq!(spec.hostname(), &None);
        let linux = spec.linux().as_ref().unwrap();
        assert!(linux.sysctl().is_none());
        assert!(
            linux
                .masked_paths()
                .as_ref()
                .unwrap()
                .contains(&"/sys/kernel".to_owned())
        );
        assert_eq!(hostname(&record(options()), "vm"), "aaaaaaaaaaaa");

        let mut options = options();
        options.ipc = NamespaceMode::Container("c".into());
        let mut host = host();
        let error = super::spec(&record(options.clone()), &host).unwrap_err();
        assert!(error.to_string().contains("ipc"), "{error}");
        host.namespaces.ipc = Some("/proc/self/fd/9".into());
        host.shm = Some("/proc/7/root/dev/shm".into());
        let spec = super::spec(&record(options), &host).unwrap();
        assert!(
            json(&spec)
                .to_string()
                .contains(r#"{"path":"/proc/self/fd/9","type":"ipc"}"#)
                || json(&spec)
                    .to_string()
                    .contains(r#"{"type":"ipc","path":"/proc/self/fd/9"}"#)
        );
        assert!(
            table(&spec)
                .iter()
                .any(|it| it
                    == "/dev/shm bind /proc/7/root/dev/shm nosuid,noexec,nodev,bind,rprivate")
        );
    }

    #[test]
    fn the_environment_is_podmans() {
        let with = |tty, env: &[&str]| {
            let mut options = options();
            options.tty = tty;
            options.env = env.iter().map(|it| (*it).to_owned()).collect();
            environment(&options, "web", "/root").join(" ")
        };
        let path = PATH;
        assert_eq!(
            with(false, &[]),
            format!("{path} container=podman HOME=/root HOSTNAME=web")
        );
        assert_eq!(
            with(true, &["PATH=/x", "A=1", "HOME=/h", "TERM=foo", "Z="]),
            "PATH=/x container=podman TERM=foo A=1 HOME=/h Z= HOSTNAME=web"
        );
        assert_eq!(
            with(true, &["container=foo", "HOSTNAME=bar"]),
            format!("{path} container=foo TERM=xterm HOSTNAME=bar HOME=/root")
        );
    }

    /// As /proc/self/status shows them in Podman's containers.
    #[test]
    fn capabilities_are_podmans() {
        let of = |change: &dyn Fn(&mut Options)| {
            let mut options = options();
            change(&mut options);
            let it = capabilities(&options, CapSet::ALL).unwrap();
            [
                it.inheritable,
                it.permitted,
                it.effective,
                it.bounding,
                it.ambient,
            ]
            .map(CapSet::bits)
        };
        let (default, all, admin) = (0x800405fb, 0x1ff_ffff_ffff, 0x1000);
        let add = |it: &mut Options, name: &str| it.cap_add = vec![name.into()];
        assert_eq!(of(&|_| {}), [0, default, default, default, 0]);
        assert_eq!(
            of(&|it| it.user = "root:5".into()),
            [0, default, default, default, 0]
        );
        assert_eq!(of(&|it| it.user = "1000".into()), [0, 0, 0, default, 0]);
        assert_eq!(
            of(&|it| {
                it.user = "1000".into();
                add(it, "NET_ADMIN");
            }),
            [admin, admin, admin, default | admin, admin]
        );
        assert_eq!(
            of(&|it| {
                it.user = "bob".into();
                add(it, "all");
            }),
            [all; 5]
        );
        assert_eq!(
            of(&|it| {
                it.privileged = true;
                it.cap_drop = vec!["CHOWN".into()];
            }),
            [0, all, all, all, 0]
        );
        assert_eq!(
            of(&|it| {
                it.privileged = true;
                it.user = "1000".into();
            }),
            [0, 0, 0, all, 0]
        );
        let spec = made_with(|it| it.user = "1000".into());
        let json = serde_json::to_value(spec.process()).unwrap();
        let effective = json["capabilities"]["effective"].as_array().unwrap();
        assert!(effective.contains(&"CAP_SYS_ADMIN".into()));
        assert_eq!(json["capabilities"]["ambient"], serde_json::json!([]));
    }

    #[test]
    fn paths_are_masked_and_unmasked_as_with_podman() {
        let of = |mask: &[&str], unmask: &[&str]| {
            let mut options = options();
            options.security.mask = mask.iter().map(|it| (*it).to_owned()).collect();
            options.security.unmask = unmask.iter().map(|it| (*it).to_owned()).collect();
            (masked(&options), read_only(&options))
        };
        let (hidden, kept) = of(&[], &["/proc/acpi:/sys/firmware"]);
        assert_eq!(hidden.len(), MASKED.len() - 2);
        assert_eq!(kept.len(), READ_ONLY.len());
        assert_eq!(of(&[], &["ALL"]), (vec![], vec![]));
        let (hidden, kept) = of(&[], &["/proc/*"]);
        assert_eq!(
            hidden,
            [
                "/sys/devices/virtual/powercap",
                "/sys/firmware",
                "/sys/fs/selinux"
            ]
        );
        assert!(kept.is_empty());
        let (hidden, _) = of(&["/etc:/proc/stat", "/proc/acpi"], &[]);
        assert_eq!(hidden[MASKED.len()..], ["/etc", "/proc/stat"]);
        let spec = made_with(|it| {
            it.privileged = true;
            it.security.mask = vec!["/x".into()];
        });
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.masked_paths().as_ref().unwrap(), &["/x"]);
        assert!(linux.readonly_paths().as_ref().unwrap().is_empty());
    }

    #[test]
    fn patterns_match_as_gos() {
        for (pattern, path, matches) in [
            ("/proc/*", "/proc/acpi", true),
            ("/proc/*", "/proc/a/b", false),
            ("/proc/?cpi", "/proc/acpi", true),
            ("/proc/[a-c]cpi", "/proc/acpi", true),
            ("/proc/[^a-c]cpi", "/proc/acpi", false),
            ("/proc/[", "/proc/acpi", false),
            (r"/proc/\*", "/proc/*", true),
            ("/*/*", "/proc/acpi", true),
            ("*", "", true),
            ("", "", true),
            ("", "/", false),
        ] {
            assert_eq!(glob(pattern, path), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn limits_need_their_controller() {
        let with = |resources: Resources, mode, controllers: &[&str]| {
            let cgroup = Cgroup {
                mode,
                path: "/x".into(),
                controllers: controllers.iter().map(|it| (*it).to_owned()).collect(),
            };
            super::resources(&resources, &cgroup)
                .map(|it| serde_json::to_value(it).unwrap())
                .map_err(|error| error.to_string())
        };
        let memory = Resources {
            memory: Some(1 << 20),
            ..Resources::default()
        };
        let unified = CgroupMode::Unified;
        assert_eq!(
            with(memory.clone(), unified, &["cpu"]).unwrap_err(),
            "the requested cgroup controller `memory` is not available"
        );
        assert!(
            with(memory.clone(), CgroupMode::Legacy, &[])
                .unwrap()
                .is_null()
        );
        assert_eq!(
            with(memory, unified, &["memory"]).unwrap()["memory"],
            serde_json::json!({"limit": 1 << 20, "swap": 2 << 20})
        );
        let none = Resources::default();
        assert!(with(none.clone(), unified, &[]).unwrap().is_null());
        assert_eq!(
            with(none, unified, &["pids", "memory"]).unwrap(),
            serde_json::json!({"pids": {"limit": 2048}})
        );
        let unlimited = Resources {
            pids: Some(0),
            ..Resources::default()
        };
        assert_eq!(
            with(unlimited.clone(), unified, &["pids"]).unwrap()["pids"]["limit"],
            -1
        );
        assert!(with(unlimited, unified, &[]).unwrap().is_null());
    }

    #[test]
    fn the_user_must_be_mapped() {
        let mut host = host();
        host.user.additional_gids = vec![5, 70_000];
        let json = serde_json::to_value(spec(&record(options()), &host).unwrap()).unwrap();
        assert_eq!(
            json["process"]["user"]["additionalGids"],
            serde_json::json!([5])
        );
        host.user.uid = 70_000;
        let error = spec(&record(options()), &host).unwrap_err();
        assert_eq!(
            error.to_string(),
            "uid 70000 is not mapped in the container's user namespace"
        );
        assert_eq!(error.exit_code(), 126);
        // With one id there are neither groups nor the group tty.
        host.user.uid = 0;
        host.user.additional_gids = vec![0];
        host.map = IdMap::single(1001, 1001);
        let spec = spec(&record(options()), &host).unwrap();
        let json = serde_json::to_value(&spec).unwrap();
        assert!(json["process"]["user"].get("additionalGids").is_none());
        assert!(
            table(&spec)
                .iter()
                .any(|it| it.starts_with("/dev/pts") && !it.contains("gid="))
        );
    }

    #[test]
    fn small_options_reach_the_config() {
        let spec = made_with(|it| {
            it.security.no_new_privileges = true;
            it.oom_score_adj = Some(-500);
            it.umask = 0o077;
            it.annotations.insert("a".into(), "b".into());
            it.sysctls.insert("kernel.msgmax".into(), "9".into());
            it.ulimits = vec![
                Ulimit {
                    name: "RLIMIT_NOFILE".into(),
                    soft: 100,
                    hard: 200,
                },
                Ulimit {
                    name: "RLIMIT_CORE".into(),
                    soft: u64::MAX,
                    hard: u64::MAX,
                },
            ];
        });
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(json["process"]["noNewPrivileges"], true);
        assert_eq!(json["process"]["oomScoreAdj"], 0);
        assert_eq!(json["process"]["user"]["umask"], 0o077);
        assert_eq!(json["annotations"]["a"], "b");
        assert_eq!(json["linux"]["sysctl"]["kernel.msgmax"], "9");
        let limits: Vec<_> = json["process"]["rlimits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| format!("{} {} {}", it["type"], it["soft"], it["hard"]))
            .collect();
        assert_eq!(
            limits,
            [
                "\"RLIMIT_NOFILE\" 100 200",
                "\"RLIMIT_CORE\" 18446744073709551615 18446744073709551615",
                "\"RLIMIT_NPROC\" 500 96365"
            ]
        );
        let mut options = options();
        options.security.apparmor = Some("foo".into());
        assert_eq!(
            super::spec(&record(options), &host())
                .unwrap_err()
                .to_string(),
            "apparmor profile \"foo\" specified, but Apparmor is not enabled on this system"
        );
    }

    #[test]
    fn devices_of_the_machine_leave_out_terminals() {
        let devices = host_devices(Path::new("/dev"));
        for not in [
            "/dev/ptmx",
            "/dev/tty",
            "/dev/tty0",
            "/dev/console",
            "/dev/null",
        ] {
            assert!(!devices.contains(&PathBuf::from(not)), "{not}");
        }
        assert!(!devices.iter().any(|it| it.starts_with("/dev/pts")));
    }

    #[test]
    fn a_privileged_container_has_no_filter_unless_named() {
        let mut options = options();
        assert_eq!(seccomp_profile(&options), Profile::Default);
        options.privileged = true;
        assert_eq!(seccomp_profile(&options), Profile::Unconfined);
        options.security.seccomp = Seccomp::Profile("/p".into());
        assert_eq!(seccomp_profile(&options), Profile::File(Path::new("/p")));
    }
}
