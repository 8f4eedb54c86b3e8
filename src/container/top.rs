//! The processes of a container, read from /proc of the host.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::fs::OFlags;

use super::Container;
use crate::engine::Engine;
use crate::error::Result;
use crate::sys::file::{open_dir, open_in_root};
use crate::sys::process::clock_ticks;
use crate::userns::{IdMap, IdRange};

/// A column (podman-top(1), FORMAT DESCRIPTORS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    User,
    Group,
    Uid,
    Pid,
    Ppid,
    Pgid,
    Cpu,
    Elapsed,
    Tty,
    Time,
    Args,
    Comm,
    HostPid,
    HostUser,
    HostGroup,
    State,
    Nice,
    Vsz,
    Rss,
    Seccomp,
    CapEff,
}

const NAMES: [(&str, &str, Descriptor); 25] = [
    ("user", "USER", Descriptor::User),
    ("group", "GROUP", Descriptor::Group),
    ("uid", "UID", Descriptor::Uid),
    ("pid", "PID", Descriptor::Pid),
    ("ppid", "PPID", Descriptor::Ppid),
    ("pgid", "PGID", Descriptor::Pgid),
    ("pcpu", "%CPU", Descriptor::Cpu),
    ("%cpu", "%CPU", Descriptor::Cpu),
    ("%C", "%CPU", Descriptor::Cpu),
    ("etime", "ELAPSED", Descriptor::Elapsed),
    ("tty", "TTY", Descriptor::Tty),
    ("time", "TIME", Descriptor::Time),
    ("args", "COMMAND", Descriptor::Args),
    ("comm", "COMMAND", Descriptor::Comm),
    ("hpid", "HPID", Descriptor::HostPid),
    ("huser", "HUSER", Descriptor::HostUser),
    ("hgroup", "HGROUP", Descriptor::HostGroup),
    ("state", "STATE", Descriptor::State),
    ("stime", "ELAPSED", Descriptor::Elapsed),
    ("nice", "NI", Descriptor::Nice),
    ("vsz", "VSZ", Descriptor::Vsz),
    ("rss", "RSS", Descriptor::Rss),
    ("seccomp", "SECCOMP", Descriptor::Seccomp),
    ("capeff", "EFFECTIVE CAPS", Descriptor::CapEff),
    ("ruser", "RUSER", Descriptor::User),
];

/// What Podman shows when no column is named.
pub const DEFAULT: [Descriptor; 8] = [
    Descriptor::User,
    Descriptor::Pid,
    Descriptor::Ppid,
    Descriptor::Cpu,
    Descriptor::Elapsed,
    Descriptor::Tty,
    Descriptor::Time,
    Descriptor::Args,
];

/// A process as `top` shows it.
pub struct Process {
    stat: Vec<String>,
    status: BTreeMap<String, String>,
    args: String,
    comm: String,
    user: String,
    group: String,
    ppid: i32,
    elapsed: u64,
    busy: u64,
}

impl Descriptor {
    pub fn parse(text: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(name, ..)| *name == text)
            .map(|&(.., it)| it)
    }

    pub fn header(self) -> &'static str {
        NAMES
            .iter()
            .find(|(.., it)| *it == self)
            .map_or("", |(_, header, _)| header)
    }

    pub fn value(self, process: &Process) -> String {
        let stat = |field: usize| process.stat.get(field).cloned().unwrap_or_default();
        let status = |key: &str, word: usize| {
            process
                .status
                .get(key)
                .and_then(|line| line.split_whitespace().nth(word))
                .unwrap_or("")
                .to_owned()
        };
        let innermost = |key: &str| {
            process
                .status
                .get(key)
                .and_then(|line| line.split_whitespace().last())
                .unwrap_or("")
                .to_owned()
        };
        match self {
            Self::User => process.user.clone(),
            Self::Group => process.group.clone(),
            Self::Uid => process.user.clone(),
            Self::Pid => innermost("NSpid"),
            Self::Ppid => process.ppid.to_string(),
            Self::Pgid => innermost("NSpgid"),
            Self::Cpu => {
                let share = if process.elapsed == 0 {
                    0.0
                } else {
                    100.0 * process.busy as f64 / process.elapsed as f64
                };
                format!("{share:.3}")
            }
            Self::Elapsed => go_seconds(process.elapsed as f64 / clock_ticks() as f64),
            Self::Tty => tty(stat(4).parse().unwrap_or(0)),
            Self::Time => format!("{}s", process.busy / clock_ticks()),
            Self::Args => {
                if process.args.is_empty() {
                    format!("[{}]", process.comm)
                } else {
                    process.args.clone()
                }
            }
            Self::Comm => process.comm.clone(),
            Self::HostPid => status("Pid", 0),
            Self::HostUser => status("Uid", 1),
            Self::HostGroup => status("Gid", 1),
            Self::State => status("State", 0),
            Self::Nice => stat(16),
            Self::Vsz => (stat(20).parse::<u64>().unwrap_or(0) / 1024).to_string(),
            Self::Rss => status("VmRSS", 0),
            Self::Seccomp => match status("Seccomp", 0).as_str() {
                "0" => "disabled".into(),
                "1" => "strict".into(),
                _ => "filter".into(),
            },
            Self::CapEff => status("CapEff", 0),
        }
    }
}

/// The processes whose pid namespace is that of the container's init.
pub fn processes(
    engine: &Engine,
    container: &Container,
    users: &mut BTreeMap<u32, String>,
) -> Result<Vec<Process>> {
    let init = container.entrance().map_or(0, |process| process.pid());
    let namespace = fs::read_link(format!("/proc/{init}/ns/pid")).ok();
    let map = container
        .record
        .map
        .clone()
        .unwrap_or_else(|| engine.default_map().clone());
    if users.is_empty() {
        // The container's file: no link leads to one of ours, and it may be no file.
        let root = open_dir(Path::new(&format!("/proc/{init}/root")));
        let passwd = root
            .and_then(|root| {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                open_in_root(&root, Path::new("etc/passwd"), flags)
            })
            .ok()
            .and_then(|file| super::host::read_bounded(file).ok())
            .unwrap_or_default();
        for line in passwd.lines() {
            let mut parts = line.split(':');
            if let (Some(name), Some(uid)) =
                (parts.next(), parts.nth(1).and_then(|uid| uid.parse().ok()))
            {
                users.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
    }
    let uptime: f64 = fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split(' ').next().and_then(|first| first.parse().ok()))
        .unwrap_or(0.0);
    let mut found: Vec<(i32, Process)> = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if namespace.is_none() || fs::read_link(format!("/proc/{pid}/ns/pid")).ok() != namespace {
            continue;
        }
        if let Some(process) = read(pid, uptime, &map, users) {
            found.push((pid, process));
        }
    }
    found.sort_by_key(|(pid, _)| *pid);
    Ok(found.into_iter().map(|(_, process)| process).collect())
}

fn read(pid: i32, uptime: f64, map: &IdMap, users: &BTreeMap<u32, String>) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let comm = stat[open + 1..close].to_owned();
    let stat: Vec<String> = stat[close + 2..]
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let status: BTreeMap<String, String> = fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()?
        .lines()
        .filter_map(|line| {
            line.split_once(':')
                .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        })
        .collect();
    let args = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let args = String::from_utf8_lossy(&args)
        .trim_end_matches('\0')
        .replace('\0', " ");
    let id = |key: &str| {
        status
            .get(key)
            .and_then(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok())
    };
    let name = |ranges: &[IdRange], outside: Option<u32>| {
        let inside = outside.and_then(|id| {
            ranges
                .iter()
                .find(|r| id >= r.outside && id - r.outside < r.count)
                .map(|r| r.inside + (id - r.outside))
        });
        inside.map_or("nobody".to_owned(), |id| {
            users.get(&id).cloned().unwrap_or_else(|| id.to_string())
        })
    };
    let number = |field: usize| {
        stat.get(field)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let busy = number(11) + number(12);
    let elapsed = ((uptime * clock_ticks() as f64) as u64).saturating_sub(number(19));
    let parent = stat
        .get(1)
        .and_then(|text| text.parse::<i32>().ok())
        .unwrap_or(0);
    Some(Process {
        user: name(&map.uids, id("Uid")),
        group: name(&map.gids, id("Gid")),
        ppid: inner_pid(parent, &status),
        args,
        comm,
        elapsed,
        busy,
        stat,
        status,
    })
}

/// The parent's pid as the container sees it: 0 for one outside.
fn inner_pid(parent: i32, child: &BTreeMap<String, String>) -> i32 {
    let depth = |status: &str| status.split_whitespace().count();
    let own = child.get("NSpid").map_or(0, |line| depth(line));
    let Ok(text) = fs::read_to_string(format!("/proc/{parent}/status")) else {
        return 0;
    };
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .unwrap_or("");
    if depth(line) < own {
        return 0;
    }
    line.split_whitespace()
        .last()
        .and_then(|pid| pid.parse().ok())
        .unwrap_or(0)
}

/// `pts/0`, or `?` for none.
fn tty(device: u32) -> String {
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    );
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

/// Seconds as Go's time.Duration prints them.
fn go_seconds(seconds: f64) -> String {
    let whole = seconds as u64;
    let (hours, minutes, rest) = (
        whole / 3600,
        whole / 60 % 60,
        seconds - (whole / 60 * 60) as f64,
    );
    let mut text = String::new();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if whole >= 60 {
        text.push_str(&format!("{minutes}m"));
    }
    let rest = format!("{rest:.9}");
    let rest = rest.trim_end_matches('0').trim_end_matches('.');
    text.push_str(&format!("{}s", if rest.is_empty() { "0" } else { rest }));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(go_seconds(0.0), "0s");
        assert_eq!(go_seconds(1.5), "1.5s");
        assert_eq!(go_seconds(3661.0), "1h1m1s");
    }
}
