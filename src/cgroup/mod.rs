//! A container's control group (cgroups(7), version 2): where it may stand, what is
//! written into it, and its end.
//!
//! ```text
//! with a user manager (systemd)            without, where we may make one
//! …/user.slice/libpod-<id>.scope/          <ours>/        the monitor stays here
//!   runtime/    the monitor, pasta         libpod-<id>/   beside ours, else beneath it
//!   container/  the container
//!
//! split       <ours>/runtime/, <ours>/libpod-payload-<id>/
//! ```
//!
//! Where none may be made, which is so on all of version 1, the container stays in
//! the cgroup of who started it.
//!
//! **Invariant:** no process of ours is in a container's cgroup, but the one that makes
//! its init, while it does: the cgroup's end kills all that is there.

mod place;
mod systemd;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode as FileMode, OFlags, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};
use crate::settings::Settings;
use crate::sys::mount;

pub use crate::settings::CgroupManager as Manager;
pub use place::{Place, Wanted, settle};
pub use systemd::Attacher;

/// Where cgroups are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";
/// statfs(2), CGROUP2_SUPER_MAGIC.
const CGROUP2: i128 = 0x6367_7270;
/// How long the processes of a cgroup may take to be gone once they are killed, and
/// to be frozen.
const PATIENCE: Duration = Duration::from_secs(10);

/// `--cgroups`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Enabled,
    /// The container stays where its monitor is.
    Disabled,
    /// The monitor stays where its caller is.
    NoConmon,
    /// The caller's cgroup is divided between the two.
    Split,
}

/// How the machine's cgroups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2 alone.
    Unified,
    /// Version 1 for the controllers, version 2 beside them.
    Hybrid,
    /// Version 1, or none at all.
    Legacy,
}

/// Looks at what is mounted.
pub fn hierarchy() -> Hierarchy {
    if is_cgroup2(Path::new(ROOT)) {
        Hierarchy::Unified
    } else if is_cgroup2(&unified()) {
        Hierarchy::Hybrid
    } else {
        Hierarchy::Legacy
    }
}

/// Whether systemd makes the cgroups here: version 2 alone, and a user manager that
/// would listen at `socket`.
pub fn has_systemd(socket: Option<&Path>) -> bool {
    socket.is_some_and(Path::exists) && hierarchy() == Hierarchy::Unified
}

/// Who makes the cgroups of a container for which `wanted` is said.
pub fn manager(wanted: Option<Manager>, settings: &Settings) -> Manager {
    match wanted.or(settings.cgroup_manager) {
        Some(manager) => manager,
        None if has_systemd(settings.user_manager.as_deref()) => Manager::Systemd,
        None => Manager::Cgroupfs,
    }
}

/// Has libcontainer, which knows version 2 only, find that at the usual place. In
/// a mount namespace of our own.
pub fn show_unified_only() -> Result<()> {
    match hierarchy() {
        Hierarchy::Unified => Ok(()),
        Hierarchy::Hybrid => {
            mount::bind(&unified(), Path::new(ROOT)).tried(|| "show the unified cgroups")
        }
        // An init without a cgroup namespace of its own makes do with any.
        Hierarchy::Legacy => {
            let made = mount::make("cgroup2", &[], rustix::mount::MountAttrFlags::empty())
                .tried(|| "mount cgroup2 (this machine has cgroup v1 only)")?;
            mount::attach(&made, Path::new(ROOT)).tried(|| "mount cgroup2")
        }
    }
}

fn unified() -> PathBuf {
    Path::new(ROOT).join("unified")
}

fn is_cgroup2(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| i128::from(found.f_type) == CGROUP2)
}

/// The folder of this process's own cgroup.
pub fn own() -> Option<PathBuf> {
    of_process("self")
}

/// The folder of the cgroup of the process `pid`.
pub fn of(pid: i32) -> Option<PathBuf> {
    of_process(&pid.to_string())
}

fn of_process(pid: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    folder(&text)
}

/// The version 2 line of /proc/PID/cgroup, as a folder. None where the process is
/// out of what we see (`/../…`).
fn folder(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let is_outside = path.split('/').any(|part| part == "..");
    (!is_outside).then(|| Path::new(ROOT).join(path))
}

/// The controllers of the cgroup at `folder`.
pub fn controllers(folder: &Path) -> BTreeSet<String> {
    words(&folder.join("cgroup.controllers"))
}

fn words(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// A container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// The one at `folder`, on the host.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its path within the hierarchy.
    pub fn path(&self) -> PathBuf {
        let within = self.folder.strip_prefix(ROOT).unwrap_or(&self.folder);
        Path::new("/").join(within)
    }

    pub fn controllers(&self) -> BTreeSet<String> {
        controllers(&self.folder)
    }

    pub fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }

    /// Writes a limit.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.folder.join(file);
        let written = File::options()
            .write(true)
            .open(&path)
            .tried(|| format!("open `{file}` for writing"))
            .and_then(|mut open| {
                open.write_all(value.as_bytes())
                    .tried(|| format!("write `{value}` to `{file}`"))
            });
        written.map_err(|error| error.kind_is(Kind::CannotInvoke))
    }

    /// Whether the kernel has ended a process in it for want of memory.
    pub fn was_out_of_memory(&self) -> bool {
        std::fs::read_to_string(self.folder.join("memory.events"))
            .is_ok_and(|text| value(&text, "oom_kill").is_some_and(|count| count != "0"))
    }

    pub fn is_frozen(&self) -> bool {
        self.event("frozen") == Some(true)
    }

    /// Stops every process in it, and returns when they stand.
    pub fn freeze(&self) -> Result<()> {
        self.write("cgroup.freeze", "1")?;
        self.wait("frozen", true)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        self.write("cgroup.freeze", "0")?;
        self.wait("frozen", false)
    }

    /// Gives it to the root of the user namespace we are in, as crun does, so that
    /// the container may divide it (cgroups(7), delegation).
    pub fn give_to_root(&self) -> Result<()> {
        const USUAL: &str = "cgroup.procs cgroup.threads cgroup.subtree_control";
        let delegated = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        let files = delegated.unwrap_or_else(|_| USUAL.to_owned());
        let root = (rustix::fs::Uid::from_raw(0), rustix::fs::Gid::from_raw(0));
        for file in std::iter::once(".").chain(files.split_whitespace()) {
            let path = self.folder.join(file);
            match rustix::fs::chown(&path, Some(root.0), Some(root.1)) {
                // Of a controller that is not here.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => {
                    return Err(error).tried(|| format!("give {} to root", path.display()));
                }
            }
        }
        Ok(())
    }

    /// Its folder, opened: what leads there from a mount namespace without it.
    pub fn open(&self) -> std::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(CWD, &self.folder, flags, FileMode::empty())?)
    }

    /// Whether we may move a process of our own cgroup into it.
    pub fn may_be_entered(&self) -> bool {
        own().is_some_and(|own| place::may_move(&own, &self.folder))
    }

    /// Kills every process in it, waits until they are gone, and removes it with
    /// all beneath it.
    pub fn end(&self) -> Result<()> {
        let tried = || format!("remove cgroup {}", self.folder.display());
        // With a pid namespace of its own nobody is left, as a rule.
        if remove(&self.folder).is_ok() {
            return Ok(());
        }
        kill(&self.folder).tried(tried)?;
        self.wait("populated", false).tried(tried)?;
        remove(&self.folder).tried(tried)
    }

    /// A line of cgroup.events; none once the cgroup is gone.
    fn event(&self, key: &str) -> Option<bool> {
        let text = std::fs::read_to_string(self.folder.join("cgroup.events")).ok()?;
        value(&text, key).map(|value| value == "1")
    }

    /// Waits until a line of cgroup.events says `wanted`, or there is no such line.
    fn wait(&self, key: &str, wanted: bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let Ok(file) = File::open(self.folder.join("cgroup.events")) else {
            return Ok(());
        };
        // A change between the look and the poll wakes the poll: the kernel counts
        // from the last read of this descriptor.
        let mut text = [0; 256];
        loop {
            let length = match rustix::io::pread(&file, &mut text, 0) {
                Err(Errno::NODEV) => return Ok(()),
                result => result?,
            };
            let now = String::from_utf8_lossy(&text[..length]);
            match value(&now, key) {
                Some(found) if (found == "1") != wanted => {}
                _ => return Ok(()),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::other(format!(
                    "its processes have not become `{key} {}` in {} seconds",
                    u8::from(wanted),
                    PATIENCE.as_secs()
                )));
            }
            let left = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let mut polled = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::PRI)];
            match poll(&mut polled, Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Moves this process into the cgroup whose folder that is.
pub fn enter(folder: &OwnedFd) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let procs = openat(folder, "cgroup.procs", flags, FileMode::empty())?;
    Ok(rustix::io::write(procs, b"0").map(drop)?)
}

/// The value of a line `key value`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

/// Sends SIGKILL to all beneath `folder` (cgroup.kill, Linux 5.14).
fn kill(folder: &Path) -> std::io::Result<()> {
    match std::fs::write(folder.join("cgroup.kill"), "1") {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        result => return result,
    }
    if !folder.exists() {
        return Ok(());
    }
    for child in folders(folder)? {
        kill(&child)?;
    }
    let listed = std::fs::read_to_string(folder.join("cgroup.procs"))?;
    for pid in listed.lines().filter_map(|line| line.parse().ok()) {
        if let Ok(process) = crate::sys::Process::open(pid) {
            let _ = process.signal(libc::SIGKILL);
        }
    }
    Ok(())
}

/// Removes a cgroup and those beneath it, the deepest first.
fn remove(folder: &Path) -> std::io::Result<()> {
    let gone = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    };
    match gone(std::fs::remove_dir(folder)) {
        Ok(()) => return Ok(()),
        Err(error) if error.raw_os_error() != Some(libc::EBUSY) => return Err(error),
        Err(_) => {}
    }
    for child in folders(folder)? {
        remove(&child)?;
    }
    gone(std::fs::remove_dir(folder))
}

fn folders(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.push(entry.path());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_in_the_hierarchy() {
        for (text, wanted) in [
            ("0::/\n", Some("/sys/fs/cgroup")),
            (
                "4:memory:/x\n0::/user.slice/a.scope\n",
                Some("/sys/fs/cgroup/user.slice/a.scope"),
            ),
            ("0::/../b\n", None),
            ("0::/..\n", None),
            ("1:cpu:/x\n", None),
            ("", None),
        ] {
            assert_eq!(folder(text).as_deref(), wanted.map(Path::new), "{text}");
        }
        let cgroup = Cgroup::at("/sys/fs/cgroup/a/b");
        assert_eq!(cgroup.path(), Path::new("/a/b"));
    }

    #[test]
    fn events_are_lines_of_a_key_and_a_value() {
        let text = "populated 1\nfrozen 0\noom 3\noom_kill 1\n";
        for (key, wanted) in [
            ("populated", Some("1")),
            ("frozen", Some("0")),
            ("oom_kill", Some("1")),
            ("oo", None),
            ("max", None),
        ] {
            assert_eq!(value(text, key), wanted, "{key}");
        }
    }

    /// Folders that are no cgroups are enough for what is read and removed.
    #[test]
    fn what_is_gone_has_ended() {
        let dir = std::env::temp_dir().join(format!("coracle-{}", crate::id::random_hex::<8>()));
        let cgroup = Cgroup::at(&dir);
        cgroup.end().unwrap();
        assert!(!cgroup.is_frozen());
        std::fs::create_dir(&dir).unwrap();
        cgroup.end().unwrap();
        assert!(!dir.exists());
    }
}
