//! What a world left behind.
//!
//! A process belongs to a world by its limit of real-time CPU time: a number that
//! nothing else uses, that every child inherits through fork, exec and namespaces,
//! and that /proc shows of any process, while the environment of one that is not
//! dumpable can't be read.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use super::World;

/// How long a process that should be gone may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// Its pid in the innermost pid namespace: 1 is a container's init.
    pub inner: i32,
    /// The most memory it has held.
    pub peak_kb: u64,
    pub command: String,
}

/// The processes that carry `mark` and have not ended.
pub fn processes(mark: u64) -> Vec<Process> {
    let mark = mark.to_string();
    names(Path::new("/proc"))
        .iter()
        .filter_map(|name| name.parse::<i32>().ok())
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/limits")).is_ok_and(|limits| {
                limits
                    .lines()
                    .find_map(|line| line.strip_prefix("Max realtime timeout"))
                    .and_then(|rest| rest.split_whitespace().next())
                    == Some(&mark)
            })
        })
        .filter_map(describe)
        .collect()
}

fn describe(pid: i32) -> Option<Process> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim_end_matches("kB").split_whitespace().last())
    };
    // What has ended and is not reaped yet is its parent's.
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    if state.is_some_and(|it| it.trim_start().starts_with(['Z', 'X'])) {
        return None;
    }
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Some(Process {
        pid,
        parent: field("PPid:")?.parse().ok()?,
        inner: field("NSpid:")?.parse().ok()?,
        peak_kb: field("VmHWM:").and_then(|kb| kb.parse().ok()).unwrap_or(0),
        command: String::from_utf8_lossy(&words)
            .replace('\0', " ")
            .trim()
            .to_owned(),
    })
}

/// Waits for the processes of a world to leave, and names those that do not.
pub fn lingering(mark: u64) -> Vec<Process> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = processes(mark);
        let Some(first) = left.first() else {
            return left;
        };
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return left;
        }
        wait_for_exit(first.pid, rest);
    }
}

/// Waits until the process is gone.
pub fn wait_for_exit(pid: i32, patience: Duration) -> bool {
    let Some(pid) = Pid::from_raw(pid) else {
        return true;
    };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    super::command::readable(&pidfd, patience)
}

/// Kills all that carries `mark`, also what is born meanwhile.
pub fn kill(mark: u64) {
    loop {
        let all = processes(mark);
        if all.is_empty() {
            return;
        }
        for process in &all {
            if let Some(pid) = Pid::from_raw(process.pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        wait_for_exit(all[0].pid, Duration::from_secs(1));
    }
}

/// The names in a folder; none if it is not there.
pub fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Everything that should not be there once a world has no containers.
pub fn wrong(world: &World) -> Vec<String> {
    let mut wrong: Vec<String> = lingering(world.mark)
        .iter()
        .map(|it| {
            format!(
                "process {} (child of {}): {}",
                it.pid, it.parent, it.command
            )
        })
        .collect();
    for folder in ["staging", "containers", "names", "running"] {
        for name in names(&world.data().join(folder)) {
            wrong.push(format!("{folder}/{name} in the store"));
        }
    }
    for path in files(&world.runtime()) {
        wrong.push(format!("{} in the runtime folder", path.display()));
    }
    wrong.extend(mounts(&world.dir));
    let ids = world.ids.lock().unwrap();
    wrong.extend(cgroups(&ids.iter().map(String::as_str).collect::<Vec<_>>()));
    wrong
}

/// All that is not a folder, sockets and pipes too.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names(dir) {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok_and(|it| it.is_dir()) {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Mounts on or of something in `dir`, in any mount namespace we may read.
fn mounts(dir: &Path) -> Vec<String> {
    let needle = dir.to_str().unwrap();
    let mut found = Vec::new();
    for pid in names(Path::new("/proc")) {
        if let Ok(pid) = pid.parse::<i32>()
            && let Ok(table) = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"))
        {
            let lines = table.lines().filter(|line| line.contains(needle));
            found.extend(lines.map(|line| format!("mount seen by process {pid}: {line}")));
        }
    }
    found
}

/// cgroups below our own that carry one of the ids in their name.
fn cgroups(ids: &[&str]) -> Vec<String> {
    if ids.is_empty() {
        return Vec::new();
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut folders = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        for mount in [controllers.trim_start_matches("name="), "unified"] {
            let dir = Path::new("/sys/fs/cgroup").join(mount).join(&path[1..]);
            // Ours may be a leaf beside those of the containers.
            folders.extend(dir.parent().map(Path::to_owned));
        }
    }
    let mut found = Vec::new();
    while let Some(dir) = folders.pop() {
        for name in names(&dir) {
            let path = dir.join(&name);
            if path.is_dir() {
                if ids.iter().any(|id| name.contains(id)) {
                    found.push(format!("cgroup {}", path.display()));
                }
                folders.push(path);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}
