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
