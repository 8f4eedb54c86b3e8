//! What the user wants of a container: checked, merged with the image's config.
//!
//! Stored in the record as it is, so every field is what `inspect` can show and
//! `start` can do again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::health::{Health, HealthLog};
use crate::cgroup;
use crate::error::Error;
use crate::id::{DiffId, ImageId, Name};
use crate::network::{Hosts, NetworkMode, PortMapping};
use crate::userns;

/// Everything about a container that `run` and `create` decide. What was not asked for is
/// not written: every command that lists containers reads all of every record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// What is executed: entrypoint and command, one after the other.
    pub argv: Vec<String>,
    /// The entrypoint alone (`inspect`: Config.Entrypoint).
    #[serde(default, skip_serializing_if = "is_default")]
    pub entrypoint: Vec<String>,
    /// The command alone (`inspect`: Config.Cmd).
    #[serde(default, skip_serializing_if = "is_default")]
    pub command: Vec<String>,
    /// `KEY=value`, in the order the process sees them; no key twice.
    pub env: Vec<String>,
    /// Absolute; made if missing.
    pub workdir: String,
    /// It comes from the image, so it is made where it is missing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_image_workdir: bool,
    /// As given or as the image says: `USER`, `UID`, `USER:GROUP`…; empty is root.
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: String,
    /// `--hostname`; none: the short id (or the host's own with `--uts=host`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub interactive: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tty: bool,
    /// `--rm`
    #[serde(default, skip_serializing_if = "is_default")]
    pub remove: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// `--read-only-tmpfs`: with `read_only`, tmpfs at /dev/shm, /run, /tmp, /var/tmp.
    pub read_only_tmpfs: bool,
    /// In the order they are made: shorter destinations first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mounts: Vec<Mount>,
    pub network: NetworkMode,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ports: Vec<PortMapping>,
    /// `--expose` and the image's EXPOSE: `80/tcp`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exposed: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub hosts: Hosts,
    /// `--init`
    #[serde(default, skip_serializing_if = "is_default")]
    pub init: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// What there is before them, if it is not the usual.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cap_base: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub cap_add: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub cap_drop: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub security: Security,
    #[serde(default, skip_serializing_if = "is_default")]
    pub devices: Vec<Device>,
    /// `--device` and `--gpus`: `vendor.com/class=name`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub named_devices: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ulimits: Vec<Ulimit>,
    /// `--ulimit=host`: the caller's limits as they are, `ulimits` being empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub host_ulimits: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of /dev/shm.
    pub shm_size: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub pid: NamespaceMode,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipc: NamespaceMode,
    #[serde(default, skip_serializing_if = "is_default")]
    pub uts: NamespaceMode,
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroupns: NamespaceMode,
    #[serde(default, skip_serializing_if = "is_default")]
    pub user_namespace: userns::Mode,
    /// The text that `user_namespace` comes from, for `inspect`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub userns: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub accounts: AccountOptions,
    /// `--group-add`: names, ids, or `keep-groups`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub groups: Vec<String>,
    /// Octal; 0o022 unless said.
    pub umask: u32,
    pub stop_signal: i32,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_timeout: u32,
    /// Seconds the container may run; 0: as long as it likes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: RestartPolicy,
    pub log: Log,
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroup: Cgroup,
    /// `--cidfile`, for `inspect`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cidfile: Option<PathBuf>,
    /// `--pidfile`: the monitor writes the init's pid there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pidfile: Option<PathBuf>,
    /// `--conmon-pidfile`: the monitor writes its own pid there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub monitor_pidfile: Option<PathBuf>,
    /// The command line that made it, for `inspect`'s Config.CreateCommand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub create_command: Vec<String>,
    /// `--oom-score-adj`
    #[serde(default, skip_serializing_if = "is_default")]
    pub oom_score_adj: Option<i32>,
    /// `--tz`: `local` or a name below the host's zoneinfo folder.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timezone: Option<String>,
    /// `--health-*`, over the image's HEALTHCHECK.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health: Option<Health>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub health_log: HealthLog,
    /// `--personality`
    #[serde(default, skip_serializing_if = "is_default")]
    pub personality: Option<String>,
    /// `--requires`: ids of containers that are started first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requires: Vec<String>,
    /// `--rmi`, for `inspect`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub remove_image: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub sdnotify: SdNotify,
    /// `--secret`, of type mount.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secrets: Vec<SecretMount>,
    /// `--secret`, of type env.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secret_variables: Vec<SecretVariable>,
    /// `--volumes-from`, for `inspect`; what they gave is among `mounts`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes_from: Vec<String>,
    /// `--rootfs`: what it has in place of an image.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rootfs: Option<Rootfs>,
    /// It is made ready for a systemd in it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub systemd: Option<Systemd>,
    /// It is a step of a build.
    #[serde(default, skip_serializing_if = "is_default")]
    pub step: Option<Step>,
}

/// Whether a field is as it is read where it is missing.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A folder of the host's as a container's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    pub path: PathBuf,
    /// What the container writes stays in its own layer above.
    pub is_overlay: bool,
}

/// What `--systemd` asks for: folders of its own that systemd writes to, a control
/// group that it may divide, and its name in `container_uuid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Systemd {
    /// `--shm-size-systemd`: bytes of each of the folders; 0 is the kernel's choice.
    pub size: u64,
}

/// What is another with the container of a build's step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Folders that are there when it begins: the image's volumes.
    pub folders: Vec<PathBuf>,
}

/// `--sdnotify`: who tells systemd that the container is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SdNotify {
    /// The monitor, once the container runs.
    Conmon,
    /// The container itself.
    #[default]
    Container,
    /// Nobody.
    Ignore,
}

impl SdNotify {
    pub fn name(self) -> &'static str {
        match self {
            Self::Conmon => "conmon",
            Self::Container => "container",
            Self::Ignore => "ignore",
        }
    }
}

/// A secret that is a file in the container. What it is lies beside the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretMount {
    pub name: String,
    pub id: String,
    /// Absolute and clean.
    pub destination: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

/// A secret that is a variable of the container's, looked up at each start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVariable {
    pub variable: String,
    pub name: String,
}

/// What is written into the container's /etc/passwd and /etc/group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOptions {
    /// `--passwd`
    pub writes: bool,
    /// `--hostuser`: names or ids.
    pub host_users: Vec<String>,
    /// `--passwd-entry`
    pub passwd_entry: Option<String>,
    /// `--group-entry`
    pub group_entry: Option<String>,
}

impl Default for AccountOptions {
    fn default() -> Self {
        Self {
            writes: true,
            host_users: Vec::new(),
            passwd_entry: None,
            group_entry: None,
        }
    }
}

/// One entry of the container's mount table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub kind: MountKind,
    /// Absolute and clean, as the container sees it.
    pub destination: PathBuf,
    pub read_only: bool,
    /// As `inspect` shows them: those given in their order (`ro`, `z`, `U`, `nocopy`,
    /// `size=1m` among them), then Podman's defaults. Those that mount(8) knows as flags
    /// (`nosuid`, `rbind`, `rprivate`…) are the mount's flags.
    pub options: Vec<String>,
    /// `U`: give the source to the container's user.
    pub chown: bool,
    /// A path within a volume or image.
    pub subpath: Option<PathBuf>,
}

impl Mount {
    /// `idmap`: its files are to have the ids they have under the default id map.
    pub fn is_idmapped(&self) -> bool {
        self.options.iter().any(|word| word == "idmap")
    }
}

/// Why a mount cannot have an id map of its own.
pub fn no_idmap() -> Error {
    Error::unsupported("mount option idmap beside other ids than the default ones")
        .hint("the kernel refuses idmapped mounts of most file systems to an unprivileged user")
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or folder of the caller's, absolute.
    Bind {
        source: PathBuf,
    },
    /// A volume. `copy`: fill it from the image when it is empty.
    Volume {
        name: Name,
        anonymous: bool,
        copy: bool,
    },
    /// A new tmpfs; `options` are its own (`size=64m`, `mode=1777`).
    Tmpfs {
        options: Vec<String>,
        copy_up: bool,
    },
    Ramfs {
        options: Vec<String>,
    },
    Devpts {
        options: Vec<String>,
    },
    /// `O`: an overlay over a folder of the caller's; changes go to `upper`, or are
    /// thrown away when the container ends.
    Overlay {
        source: PathBuf,
        upper: Option<PathBuf>,
        work: Option<PathBuf>,
    },
    /// An image's file system.
    Image {
        id: ImageId,
        name: String,
        writable: bool,
        /// Of what is no image of the store's, but a stage of a build: lowest first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        layers: Option<Vec<DiffId>>,
    },
}

/// `--security-opt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub apparmor: Option<String>,
    /// `label=…`, kept for `inspect`; there is no SELinux here.
    pub labels: Vec<String>,
    pub mask: Vec<String>,
    /// Paths to leave unmasked; `ALL` is all.
    pub unmask: Vec<String>,
    /// Mount options of /proc.
    pub proc_opts: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    #[default]
    Default,
    Unconfined,
    Profile(PathBuf),
}

/// `--device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub source: PathBuf,
    pub destination: PathBuf,
    /// Of `rwm`.
    pub permissions: String,
}

/// `--ulimit`; `u64::MAX` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As in getrlimit(2), upper case: `RLIMIT_NOFILE`.
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// Which namespace of a kind the container is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// One of its own.
    #[default]
    Private,
    Host,
    /// `ipc` only: one of its own that others may join.
    Shareable,
    /// `ipc` only: none, not even a /dev/shm of its own.
    None,
    /// Another container's, by full id.
    Container(String),
    /// The one at this path.
    Path(PathBuf),
}

impl Options {
    /// `--group-add=keep-groups`: the process has the caller's groups.
    pub fn keeps_groups(&self) -> bool {
        self.groups == ["keep-groups"]
    }

    /// The groups of `--group-add` by name or number.
    pub fn named_groups(&self) -> &[String] {
        if self.keeps_groups() {
            &[]
        } else {
            &self.groups
        }
    }

    /// The ids of the containers whose namespaces it joins.
    pub fn neighbours(&self) -> impl Iterator<Item = &str> {
        let user = match &self.user_namespace {
            userns::Mode::Container(id) => Some(id.as_str()),
            _ => None,
        };
        let network = match &self.network {
            NetworkMode::Container(id) => Some(id.as_str()),
            _ => None,
        };
        let modes = [&self.pid, &self.ipc, &self.uts, &self.cgroupns];
        let joined = modes.into_iter().filter_map(|mode| match mode {
            NamespaceMode::Container(id) => Some(id.as_str()),
            _ => None,
        });
        user.into_iter().chain(network).chain(joined)
    }
}

impl Options {
    /// The containers that must be there as long as this one is.
    pub fn dependencies(&self) -> impl Iterator<Item = &str> {
        self.neighbours()
            .chain(self.requires.iter().map(String::as_str))
    }

    /// The images that it mounts.
    pub fn mounted_images(&self) -> impl Iterator<Item = &ImageId> {
        self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Image { id, .. } => Some(id),
            _ => None,
        })
    }
}

/// `--restart`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// `max`: how many times; 0 is without end.
    OnFailure {
        max: u32,
    },
}

/// Where the output goes beside those attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub driver: LogDriver,
    /// `path=`; else `log/ctr.log` beside the record.
    #[serde(default, skip_serializing_if = "is_default")]
    pub path: Option<PathBuf>,
    /// `max-size=` in bytes: the log is rotated when it would grow beyond.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_size: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tag: Option<String>,
    /// `tag=` with its template filled in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filled_tag: Option<String>,
}

impl LogDriver {
    pub fn name(self) -> &'static str {
        match self {
            Self::K8sFile => "k8s-file",
            Self::JsonFile => "json-file",
            Self::Journald => "journald",
            Self::None => "none",
            Self::Passthrough => "passthrough",
            Self::PassthroughTty => "passthrough-tty",
        }
    }

    /// The caller's own streams are the container's.
    pub fn is_passthrough(self) -> bool {
        matches!(self, Self::Passthrough | Self::PassthroughTty)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    K8sFile,
    JsonFile,
    Journald,
    None,
    Passthrough,
    PassthroughTty,
}

/// Which control group it is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    pub mode: cgroup::Mode,
    /// `--cgroup-parent`
    pub parent: Option<String>,
    /// `--cgroup-manager`; none: as it is on the machine at each start.
    pub manager: Option<cgroup::Manager>,
}

/// A limit of one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimit {
    pub path: PathBuf,
    pub value: u64,
}

/// Limits, for the controllers that are delegated to us. `None` is no limit asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes, memory and swap together; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Bytes.
    pub memory_reservation: Option<i64>,
    /// Microseconds of each period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    pub cpu_shares: Option<u64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    /// Podman's default is 2048 where the controller is there; 0 or -1 unlimited.
    pub pids: Option<i64>,
    #[serde(default)]
    pub io: Io,
    /// `--cgroup-conf`: file and value.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Of version 1 alone: asked for where they cannot be had, they are an error.
    #[serde(default)]
    pub swappiness: Option<u64>,
    #[serde(default)]
    pub oom_kill_disable: bool,
}

/// Limits of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Io {
    /// 10 to 1000.
    pub weight: Option<u16>,
    pub device_weights: Vec<DeviceLimit>,
    /// Bytes in a second.
    pub read_bps: Vec<DeviceLimit>,
    pub write_bps: Vec<DeviceLimit>,
    /// Operations in a second.
    pub read_iops: Vec<DeviceLimit>,
    pub write_iops: Vec<DeviceLimit>,
}
