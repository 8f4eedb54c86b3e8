//! What a container uses now: of its cgroup where the kernel counts there, else the sum
//! over its processes.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::{Container, State};
use crate::cgroup::Cgroup;
use crate::network::NetworkMode;
use crate::sys::process::clock_ticks;

/// What is counted of a network interface, as in proc_pid_net(5), `dev`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interface {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// What a container uses at one moment. All is 0 of one that does not run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Nanoseconds of processor time, and those of them in the kernel.
    pub cpu: u64,
    pub cpu_system: u64,
    /// When it was looked at, and when the container began.
    pub at: Timestamp,
    pub began: Option<Timestamp>,
    pub memory: u64,
    pub memory_limit: u64,
    /// Those but lo.
    pub network: BTreeMap<String, Interface>,
    pub read: u64,
    pub written: u64,
    /// Tasks.
    pub pids: u64,
}

impl Stats {
    /// Per cent of one processor since `before`, or since the container began.
    pub fn cpu_percent(&self, before: Option<&Stats>) -> f64 {
        let (used, since) = match before {
            Some(before) => (self.cpu.saturating_sub(before.cpu), Some(before.at)),
            None => (self.cpu, self.began),
        };
        let Some(since) = since else { return 0.0 };
        let span = self.at.duration_since(since).as_nanos();
        match span > 0 && used > 0 {
            true => used as f64 / span as f64 * 100.0,
            false => 0.0,
        }
    }

    pub fn memory_percent(&self) -> f64 {
        match self.memory_limit {
            0 => 0.0,
            limit => self.memory as f64 / limit as f64 * 100.0,
        }
    }

    pub fn received(&self) -> u64 {
        self.network.values().map(|it| it.rx_bytes).sum()
    }

    pub fn sent(&self) -> u64 {
        self.network.values().map(|it| it.tx_bytes).sum()
    }
}

/// Looks at a container.
pub fn of(container: &Container) -> Stats {
    let mut stats = Stats {
        at: Timestamp::now(),
        ..Stats::default()
    };
    let started = container.status.started.as_ref();
    let up = matches!(container.status.state, State::Running | State::Paused);
    let Some(started) = started.filter(|_| up) else {
        return stats;
    };
    stats.began = Some(started.at);
    stats.memory_limit = memory_of_machine();
    let cgroup = started.cgroup.as_ref().map(Cgroup::at);
    let pids = match &cgroup {
        Some(cgroup) => processes_of(cgroup.folder()),
        None => descendants(started.pid),
    };
    let sum = Sum::of(&pids);
    let read = |file: &str| match &cgroup {
        Some(cgroup) => std::fs::read_to_string(cgroup.folder().join(file)).ok(),
        None => None,
    };
    match read("cpu.stat") {
        Some(text) => {
            stats.cpu = value(&text, "usage_usec") * 1000;
            stats.cpu_system = value(&text, "system_usec") * 1000;
        }
        None => (stats.cpu, stats.cpu_system) = (sum.cpu, sum.cpu_system),
    }
    match read("memory.current").and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(used) => {
            // What could be had back at once is not in use.
            let idle = read("memory.stat").map_or(0, |text| value(&text, "inactive_file"));
            stats.memory = used.saturating_sub(idle);
        }
        None => stats.memory = sum.memory,
    }
    if let Some(limit) = read("memory.max").and_then(|text| text.trim().parse::<u64>().ok()) {
        stats.memory_limit = stats.memory_limit.min(limit);
    }
    (stats.read, stats.written) = match read("io.stat") {
        Some(text) => (total(&text, "rbytes="), total(&text, "wbytes=")),
        None => (sum.read, sum.written),
    };
    stats.pids = match read("pids.current").and_then(|text| text.trim().parse().ok()) {
        Some(count) => count,
        None => sum.tasks,
    };
    let file = format!("/proc/{}/net/dev", started.pid);
    // The host's own is nobody's use of it.
    if container.record.options.network != NetworkMode::Host {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        stats.network = interfaces(&text);
    }
    stats
}

/// The number after `key` on its line.
fn value(text: &str, key: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// The sum of what follows `key` in every line.
fn total(text: &str, key: &str) -> u64 {
    let words = text.split_whitespace();
    let values = words.filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
    values.sum()
}

fn memory_of_machine() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    kilobytes.and_then(|text| text.parse().ok()).unwrap_or(0) * 1024
}

/// /proc/PID/net/dev.
fn interfaces(text: &str) -> BTreeMap<String, Interface> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let numbers: Vec<u64> = rest
            .split_whitespace()
            .map(|word| word.parse().unwrap_or(0))
            .collect();
        let at = |at: usize| numbers.get(at).copied().unwrap_or(0);
        let interface = Interface {
            rx_bytes: at(0),
            rx_packets: at(1),
            rx_errors: at(2),
            rx_dropped: at(3),
            tx_bytes: at(8),
            tx_packets: at(9),
            tx_errors: at(10),
            tx_dropped: at(11),
        };
        Some((name.trim().to_owned(), interface))
    };
    text.lines()
        .filter_map(line)
        .filter(|(name, _)| name != "lo")
        .collect()
}

/// The processes of a cgroup and of those within.
fn processes_of(folder: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<i32> = text.lines().filter_map(|pid| pid.parse().ok()).collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(processes_of(&entry.path()));
        }
    }
    all
}

/// A process and all that descend from it.
fn descendants(first: i32) -> Vec<i32> {
    let mut all = vec![first];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
        }
    }
    all
}

/// What processes use together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    cpu: u64,
    cpu_system: u64,
    memory: u64,
    tasks: u64,
    read: u64,
    written: u64,
}

impl Sum {
    fn of(pids: &[i32]) -> Self {
        let mut sum = Self::default();
        for pid in pids {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
            if let Ok(stat) = read("stat") {
                sum.add(&stat);
            }
            // Those of others' ids may not be looked at.
            if let Ok(io) = read("io") {
                sum.read += total_after(&io, "read_bytes:");
                sum.written += total_after(&io, "write_bytes:");
            }
        }
        sum
    }

    /// Adds a line of /proc/PID/stat (proc_pid_stat(5)).
    fn add(&mut self, stat: &str) {
        // The name may have anything in it, brackets too.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            return;
        };
        let fields: Vec<u64> = rest
            .split_whitespace()
            .skip(1)
            .map(|word| word.parse().unwrap_or(0))
            .collect();
        // The first of these is the fourth of the line.
        let field = |number: usize| fields.get(number - 4).copied().unwrap_or(0);
        let tick = 1_000_000_000 / clock_ticks().max(1);
        // With the children that it has waited for.
        let system = (field(15) + field(17)) * tick;
        self.cpu += (field(14) + field(16)) * tick + system;
        self.cpu_system += system;
        self.tasks += field(20);
        self.memory += field(24) * rustix::param::page_size() as u64;
    }
}

fn total_after(text: &str, key: &str) -> u64 {
    let lines = text.lines().filter_map(|line| line.strip_prefix(key));
    lines
        .filter_map(|value| value.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        let text = "usage_usec 3568\nuser_usec 1\nsystem_usec 12\n";
        assert_eq!(value(text, "usage_usec"), 3568);
        assert_eq!(value(text, "nope"), 0);
        let io = "8:0 rbytes=100 wbytes=2 rios=1\n8:16 rbytes=11 wbytes=3\n";
        assert_eq!((total(io, "rbytes="), total(io, "wbytes=")), (111, 5));
        let net = "Inter-| Receive | Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n\
                   lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0: 198 3 1 2 0 0 0 0 692 8 4 5 0 0 0 0\n";
        let all = interfaces(net);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["eth0"]);
        let eth = all["eth0"];
        assert_eq!((eth.rx_bytes, eth.rx_packets), (198, 3));
        assert_eq!((eth.rx_errors, eth.rx_dropped), (1, 2));
        assert_eq!((eth.tx_bytes, eth.tx_dropped), (692, 5));
    }

    #[test]
    fn processes_are_summed_up() {
        let mut sum = Sum::default();
        sum.add(
            "7 (a) b) S 1 7 7 0 -1 4 0 0 0 0 100 50 10 5 20 0 3 0 1 4096 2 18446744073709551615",
        );
        let tick = 1_000_000_000 / clock_ticks();
        assert_eq!(sum.cpu, 165 * tick);
        assert_eq!(sum.cpu_system, 55 * tick);
        assert_eq!(sum.tasks, 3);
        assert_eq!(sum.memory, 2 * rustix::param::page_size() as u64);
        let own = Sum::of(&[std::process::id() as i32]);
        assert!(own.memory > 0 && own.tasks > 0);
    }

    #[test]
    fn per_cents_are_of_one_processor() {
        let at = |second: i64, cpu: u64| Stats {
            cpu,
            at: Timestamp::from_second(second).unwrap(),
            began: Timestamp::from_second(0).ok(),
            ..Stats::default()
        };
        let first = at(10, 1_000_000_000);
        assert_eq!(first.cpu_percent(None), 10.0);
        let second = at(12, 4_000_000_000);
        assert_eq!(second.cpu_percent(Some(&first)), 150.0);
        assert_eq!(second.cpu_percent(Some(&second)), 0.0);
        assert_eq!(Stats::default().cpu_percent(None), 0.0);
    }
}
