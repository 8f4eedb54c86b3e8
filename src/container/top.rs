//! The processes of a container, read from /proc of the host.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use super::Container;
use super::options::NamespaceMode;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::runtime::capability::CapSet;
use crate::sys::file::{open_dir, open_in_root};
use crate::sys::mount;
use crate::sys::process::{self, Fork, clock_ticks};
use crate::userns::{IdMap, IdRange};

/// A column (podman-top(1), FORMAT DESCRIPTORS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    Args,
    CapAmb,
    CapBnd,
    CapEff,
    CapInh,
    CapPrm,
    Comm,
    Elapsed,
    Group,
    Groups,
    HostGroup,
    HostGroups,
    HostPid,
    HostUser,
    Label,
    Nice,
    Cpu,
    Pgid,
    Pid,
    Ppid,
    RealGroup,
    Rss,
    RealUser,
    Seccomp,
    State,
    Stime,
    Time,
    Tty,
    Uid,
    User,
    Vsz,
}

/// Name, code of ps(1), header.
const NAMES: [(&str, &str, &str, Descriptor); 31] = [
    ("args", "%a", "COMMAND", Descriptor::Args),
    ("capamb", "", "AMBIENT CAPS", Descriptor::CapAmb),
    ("capbnd", "", "BOUNDING CAPS", Descriptor::CapBnd),
    ("capeff", "", "EFFECTIVE CAPS", Descriptor::CapEff),
    ("capinh", "", "INHERITED CAPS", Descriptor::CapInh),
    ("capprm", "", "PERMITTED CAPS", Descriptor::CapPrm),
    ("comm", "%c", "COMMAND", Descriptor::Comm),
    ("etime", "%t", "ELAPSED", Descriptor::Elapsed),
    ("group", "%G", "GROUP", Descriptor::Group),
    ("groups", "", "GROUPS", Descriptor::Groups),
    ("hgroup", "", "HGROUP", Descriptor::HostGroup),
    ("hgroups", "", "HGROUPS", Descriptor::HostGroups),
    ("hpid", "", "HPID", Descriptor::HostPid),
    ("huser", "", "HUSER", Descriptor::HostUser),
    ("label", "", "LABEL", Descriptor::Label),
    ("nice", "%n", "NI", Descriptor::Nice),
    ("pcpu", "%C", "%CPU", Descriptor::Cpu),
    ("pgid", "%r", "PGID", Descriptor::Pgid),
    ("pid", "%p", "PID", Descriptor::Pid),
    ("ppid", "%P", "PPID", Descriptor::Ppid),
    ("rgroup", "%g", "RGROUP", Descriptor::RealGroup),
    ("rss", "", "RSS", Descriptor::Rss),
    ("ruser", "%u", "RUSER", Descriptor::RealUser),
    ("seccomp", "", "SECCOMP", Descriptor::Seccomp),
    ("state", "", "STATE", Descriptor::State),
    ("stime", "", "STIME", Descriptor::Stime),
    ("time", "%x", "TIME", Descriptor::Time),
    ("tty", "%y", "TTY", Descriptor::Tty),
    ("uid", "", "UID", Descriptor::Uid),
    ("user", "%U", "USER", Descriptor::User),
    ("vsz", "%z", "VSZ", Descriptor::Vsz),
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
    label: String,
    ppid: i32,
    elapsed: u64,
    busy: u64,
}

/// The processes of a container and what its ids are called there.
pub struct Top {
    pub processes: Vec<Process>,
    map: IdMap,
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Descriptor {
    pub fn parse(text: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(name, code, ..)| *name == text || (*code == text && !code.is_empty()))
            .map(|&(.., it)| it)
    }

    pub fn header(self) -> &'static str {
        NAMES
            .iter()
            .find(|(.., it)| *it == self)
            .map_or("", |(_, _, header, _)| header)
    }
}

impl Process {
    fn stat(&self, field: usize) -> &str {
        self.stat.get(field).map_or("", String::as_str)
    }

    fn number(&self, field: usize) -> u64 {
        self.stat(field).parse().unwrap_or(0)
    }

    fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        let line = self.status.get(key).map_or("", String::as_str);
        line.split_whitespace()
    }

    fn word(&self, key: &str, at: usize) -> String {
        self.words(key).nth(at).unwrap_or("").to_owned()
    }

    /// As the innermost namespace has it.
    fn innermost(&self, key: &str) -> String {
        self.words(key).last().unwrap_or("").to_owned()
    }

    fn capabilities(&self, key: &str) -> String {
        let set = u64::from_str_radix(&self.word(key, 0), 16).unwrap_or(0);
        let set = CapSet::from_bits(set);
        if set.is_empty() {
            return "none".to_owned();
        }
        if set == CapSet::ALL {
            return "full".to_owned();
        }
        let names = set.names();
        let short = names.iter().map(|name| name.trim_start_matches("CAP_"));
        short.collect::<Vec<_>>().join(",")
    }
}

impl Top {
    /// What stands in the column `what` for `process`.
    pub fn value(&self, what: Descriptor, process: &Process) -> String {
        match what {
            Descriptor::Args if process.args.is_empty() => format!("[{}]", process.comm),
            Descriptor::Args => process.args.clone(),
            Descriptor::CapAmb => process.capabilities("CapAmb"),
            Descriptor::CapBnd => process.capabilities("CapBnd"),
            Descriptor::CapEff => process.capabilities("CapEff"),
            Descriptor::CapInh => process.capabilities("CapInh"),
            Descriptor::CapPrm => process.capabilities("CapPrm"),
            Descriptor::Comm => process.comm.clone(),
            Descriptor::Elapsed => go_seconds(process.elapsed as f64 / clock_ticks() as f64),
            Descriptor::Group => self.group(&process.word("Gid", 1)),
            Descriptor::RealGroup => self.group(&process.word("Gid", 0)),
            Descriptor::Groups => {
                let names = process.words("Groups").map(|id| self.group(id));
                names.collect::<Vec<_>>().join(",")
            }
            Descriptor::HostGroup => process.word("Gid", 1),
            Descriptor::HostGroups => process.words("Groups").collect::<Vec<_>>().join(","),
            Descriptor::HostPid => process.word("Pid", 0),
            Descriptor::HostUser => process.word("Uid", 1),
            Descriptor::Label => process.label.clone(),
            Descriptor::Nice => process.stat(16).to_owned(),
            Descriptor::Cpu => {
                let share = match process.elapsed {
                    0 => 0.0,
                    elapsed => 100.0 * process.busy as f64 / elapsed as f64,
                };
                format!("{share:.3}")
            }
            Descriptor::Pgid => process.innermost("NSpgid"),
            Descriptor::Pid => process.innermost("NSpid"),
            Descriptor::Ppid => process.ppid.to_string(),
            Descriptor::Rss => process.word("VmRSS", 0),
            Descriptor::Seccomp => match process.word("Seccomp", 0).as_str() {
                "0" => "disabled".into(),
                "1" => "strict".into(),
                _ => "filter".into(),
            },
            Descriptor::State => process.word("State", 0),
            Descriptor::Stime => {
                let ago = jiff::SignedDuration::from_secs((process.elapsed / clock_ticks()) as i64);
                let at = jiff::Zoned::now().checked_sub(ago).unwrap_or_default();
                at.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
            }
            Descriptor::Time => format!("{}s", process.busy / clock_ticks()),
            Descriptor::Tty => tty(process.number(4) as u32),
            Descriptor::Uid => inside(&self.map.uids, &process.word("Uid", 1))
                .map_or_else(|| process.word("Uid", 1), |id| id.to_string()),
            Descriptor::User => self.user(&process.word("Uid", 1)),
            Descriptor::RealUser => self.user(&process.word("Uid", 0)),
            Descriptor::Vsz => (process.number(20) / 1024).to_string(),
        }
    }

    fn user(&self, outside: &str) -> String {
        named(inside(&self.map.uids, outside), &self.users)
    }

    fn group(&self, outside: &str) -> String {
        named(inside(&self.map.gids, outside), &self.groups)
    }
}

/// The id inside the container for one of the host.
fn inside(ranges: &[IdRange], outside: &str) -> Option<u32> {
    let id: u32 = outside.parse().ok()?;
    let range = ranges
        .iter()
        .find(|r| id >= r.outside && id - r.outside < r.count)?;
    Some(range.inside + (id - range.outside))
}

fn named(id: Option<u32>, names: &BTreeMap<u32, String>) -> String {
    match id {
        None => "nobody".to_owned(),
        Some(id) => names.get(&id).cloned().unwrap_or_else(|| id.to_string()),
    }
}

/// The processes whose pid namespace is that of the container's init.
pub fn processes(engine: &Engine, container: &Container) -> Result<Top> {
    // A hidden init cannot be looked into; the command beneath it can.
    let init = container.entrance().map_or(0, |process| process.pid());
    let namespace = fs::read_link(format!("/proc/{init}/ns/pid")).ok();
    let map = container
        .record
        .map
        .clone()
        .unwrap_or_else(|| engine.default_map().clone());
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
        if let Some(process) = read(pid, uptime) {
            found.push((pid, process));
        }
    }
    found.sort_by_key(|(pid, _)| *pid);
    Ok(Top {
        processes: found.into_iter().map(|(_, process)| process).collect(),
        map,
        users: names(init, "passwd"),
        groups: names(init, "group"),
    })
}

/// The names of the ids in the container's /etc/passwd or /etc/group, the first
/// for each.
fn names(init: i32, file: &str) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    // Opened beneath the container's root: the file may be a link.
    let open = || -> std::io::Result<String> {
        let root = open_dir(Path::new(&format!("/proc/{init}/root")))?;
        let path = Path::new("/etc").join(file);
        let mut text = String::new();
        // A FIFO in its place must not keep us waiting.
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
        let opened = fs::File::from(open_in_root(&root, &path, flags)?);
        if opened.metadata()?.is_file() {
            std::io::Read::read_to_string(&mut std::io::Read::take(opened, 1 << 20), &mut text)?;
        }
        Ok(text)
    };
    for line in open().unwrap_or_default().lines() {
        let mut parts = line.split(':');
        if let (Some(name), Some(id)) = (parts.next(), parts.nth(1).and_then(|id| id.parse().ok()))
        {
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

fn read(pid: i32, uptime: f64) -> Option<Process> {
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
    let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap_or_default();
    let label = label.trim_end_matches(['\0', '\n']);
    let mut process = Process {
        ppid: 0,
        args,
        comm,
        label: if label.is_empty() { "?" } else { label }.to_owned(),
        elapsed: 0,
        busy: 0,
        stat,
        status,
    };
    process.busy = process.number(11) + process.number(12);
    process.elapsed = ((uptime * clock_ticks() as f64) as u64).saturating_sub(process.number(19));
    process.ppid = inner_pid(process.number(1) as i32, &process.status);
    Some(process)
}

/// What ps(1) of the host prints, run with `args` where it sees the container's
/// processes and no others. None where that cannot be: no ps, no /proc to be had.
pub fn ps(engine: &Engine, container: &Container, args: &[String]) -> Result<Option<String>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(program) = std::env::split_paths(&path)
        .map(|dir| dir.join("ps"))
        .find(|ps| ps.is_file())
    else {
        return Ok(None);
    };
    let Some(init) = container.entrance() else {
        return Ok(None);
    };
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).tried(|| "make a pipe");
    let ((out, their_out), (err, their_err), (pid, their_pid)) = (pipe()?, pipe()?, pipe()?);
    let is_private = container.record.options.pid != NamespaceMode::Host;
    let child = match process::fork(engine.thread)? {
        Fork::Parent(child) => child,
        Fork::Child => {
            let join = || -> Result<i32> {
                let pid_namespace = if is_private { libc::CLONE_NEWPID } else { 0 };
                process::join_namespaces(
                    engine.thread,
                    &init,
                    libc::CLONE_NEWUSER | pid_namespace,
                )?;
                process::unshare(engine.thread, rustix::thread::UnshareFlags::NEWNS)?;
                mount::make_slave()?;
                match process::fork(engine.thread)? {
                    Fork::Parent(inner) => Ok(inner.reap()?),
                    Fork::Child => {
                        // /proc shows the pid namespace of whoever mounts it.
                        if is_private {
                            let proc =
                                mount::make("proc", &[], rustix::mount::MountAttrFlags::empty())?;
                            mount::attach(&proc, Path::new("/proc"))?;
                        }
                        rustix::io::write(&their_pid, std::process::id().to_string().as_bytes())?;
                        process::place_fd(their_out.as_fd(), 1)?;
                        process::place_fd(their_err.as_fd(), 2)?;
                        let mut argv = vec!["ps".to_owned()];
                        argv.extend_from_slice(args);
                        let env: Vec<String> = std::env::vars()
                            .map(|(key, value)| format!("{key}={value}"))
                            .collect();
                        Err(process::exec(program.as_os_str(), &argv, &env).into())
                    }
                }
            };
            process::exit_now(join().unwrap_or(NOT_RUN))
        }
    };
    drop((their_out, their_err, their_pid));
    let [out, err, pid] = [out, err, pid].map(|fd| {
        let mut bytes = Vec::new();
        let _ = std::io::Read::read_to_end(&mut fs::File::from(fd), &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    match child.reap()? {
        0 => Ok(Some(without(&out, &pid))),
        NOT_RUN => Ok(None),
        code => Err(Error::other(format!(
            "ps(1) failed with exit code {code}: {err}"
        ))),
    }
}

/// The exit code of our own that says that ps was not run.
const NOT_RUN: i32 = 254;

/// The table without the line of the process `pid`, which is ps itself.
fn without(table: &str, pid: &str) -> String {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or("");
    let column = header.split_whitespace().position(|it| it == "PID");
    let is_ps =
        |line: &&str| column.is_some_and(|column| line.split_whitespace().nth(column) == Some(pid));
    let mut kept = format!("{header}\n");
    for line in lines.filter(|line| !is_ps(line)) {
        kept.push_str(line);
        kept.push('\n');
    }
    kept
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

    #[test]
    fn descriptors_have_names_and_codes() {
        assert_eq!(Descriptor::parse("capeff"), Some(Descriptor::CapEff));
        assert_eq!(Descriptor::parse("%g"), Some(Descriptor::RealGroup));
        assert_eq!(Descriptor::parse(""), None);
        assert_eq!(Descriptor::parse("aux"), None);
    }

    #[test]
    fn ps_does_not_show_itself() {
        let table = "USER  PID CMD\nroot  1 sh\nroot  12 ps -ef\n";
        assert_eq!(without(table, "12"), "USER  PID CMD\nroot  1 sh\n");
        assert_eq!(without("CMD\nsh\n", "12"), "CMD\nsh\n");
    }
}
