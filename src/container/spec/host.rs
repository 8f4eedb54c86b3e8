//! What the config depends on beside the record.

use std::path::{Path, PathBuf};

use super::super::options::Options;
use crate::cgroup::Hierarchy;
use crate::image::accounts::User;
use crate::runtime::capability::CapSet;
use crate::userns::IdMap;

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
    /// On hybrid machines the monitor has bound version 2 over /sys/fs/cgroup for
    /// itself; with version 1 alone the container sees none.
    pub cgroups: Hierarchy,
    pub files: Files,
    /// By place in [`mounts`]: the folder or file to bind there. A volume, overlay
    /// or image must have one; a tmpfs has one if it had to be filled; a bind has one
    /// if it is not simply its source.
    pub sources: Vec<Option<Source>>,
    pub namespaces: Namespaces,
    /// The /dev/shm of the container whose IPC namespace is joined.
    pub shm: Option<PathBuf>,
}

/// What is mounted in place of what a mount names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    /// Flags of its own, in mount(8)'s words: a volume's `o=`.
    pub flags: Vec<String>,
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
    /// The host's file of the container's time zone.
    pub localtime: Option<PathBuf>,
}

/// Namespaces to join, by path (`/proc/self/fd/N` is one).
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    /// One beneath ours, where the container is not to have all the ids of ours.
    pub user: Option<PathBuf>,
    pub pid: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    pub uts: Option<PathBuf>,
    pub cgroup: Option<PathBuf>,
    /// Also one made for this container before it.
    pub network: Option<PathBuf>,
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
