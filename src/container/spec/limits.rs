//! Limits of the process and of its control group.

use std::path::Path;

use libcontainer::oci_spec::runtime::{self as oci, PosixRlimitBuilder, PosixRlimitType};

use super::super::options::{Io, Resources, Ulimit};
use super::built;
use super::host::Machine;
use crate::error::{Error, Kind, Result};

/// The most that Podman raises RLIMIT_NOFILE and RLIMIT_NPROC to by itself.
const RLIMIT_MOST: u64 = 1_048_576;

pub(super) fn rlimits(ulimits: &[Ulimit], machine: &Machine) -> Result<Vec<oci::PosixRlimit>> {
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

/// Whether limits were asked for that need a cgroup.
pub fn asks_limits(resources: &Resources) -> bool {
    let unlimited = Resources {
        pids: resources.pids.filter(|&pids| pids <= 0),
        ..Resources::default()
    };
    *resources != unlimited
}

/// What is written into the container's cgroup: files and their values, as crun has
/// them.
pub fn settings(wanted: &Resources, cgroup: &dyn Controls) -> Result<Vec<(String, String)>> {
    if wanted.swappiness.is_some() {
        return Err(cannot("cannot set memory swappiness with cgroupv2"));
    }
    if wanted.oom_kill_disable {
        return Err(cannot("cannot disable OOM killer with cgroupv2"));
    }
    let mut all = Settings {
        cgroup,
        all: Vec::new(),
    };
    all.memory(wanted)?;
    all.processors(wanted)?;
    match wanted.pids {
        // Podman's default, where it can be had.
        None if cgroup.has_controller("pids") => all.add("pids", "pids.max", 2048)?,
        None => {}
        Some(limit) if limit > 0 => all.add("pids", "pids.max", limit)?,
        Some(_) if cgroup.has_controller("pids") => all.add("pids", "pids.max", "max")?,
        Some(_) => {}
    }
    all.io(&wanted.io)?;
    for (file, value) in &wanted.files {
        if file.contains('/') {
            let words = format!("key `{file}` must be a file name without any slash");
            return Err(cannot(words));
        }
        match file.split('.').next() {
            Some(controller) if controller != "cgroup" => all.add(controller, file, value)?,
            _ => all.all.push((file.clone(), value.clone())),
        }
    }
    Ok(all.all)
}

/// What can be set in a cgroup.
pub trait Controls {
    fn has_controller(&self, name: &str) -> bool;
    fn has_file(&self, name: &str) -> bool;
    /// Where the controllers are listed, for an error.
    fn list(&self) -> String;
    /// `MAJOR:MINOR` of a block device.
    fn device(&self, path: &Path) -> Result<String>;
}

fn cannot(words: impl Into<String>) -> Error {
    Error::new(Kind::CannotInvoke, words)
}

struct Settings<'a> {
    cgroup: &'a dyn Controls,
    all: Vec<(String, String)>,
}

impl Settings<'_> {
    fn add(&mut self, controller: &str, file: &str, value: impl ToString) -> Result<()> {
        if !self.cgroup.has_controller(controller) {
            return Err(cannot(format!(
                "controller `{controller}` is not available under {}",
                self.cgroup.list()
            ))
            .hint("with systemd, delegate it: a drop-in for user@.service with `Delegate=cpu cpuset io memory pids`"));
        }
        self.all.push((file.to_owned(), value.to_string()));
        Ok(())
    }

    fn memory(&mut self, wanted: &Resources) -> Result<()> {
        let or_max = |bytes: i64| match bytes {
            -1 => "max".to_owned(),
            bytes => bytes.to_string(),
        };
        if let Some(limit) = wanted.memory {
            self.add("memory", "memory.max", or_max(limit))?;
        }
        if let Some(swap) = wanted.memory_swap {
            // With version 2 it is counted apart.
            let swap = match (swap, wanted.memory) {
                (-1, _) => -1,
                (_, None) => {
                    return Err(cannot("cannot set swap limit without the memory limit"));
                }
                (swap, Some(limit)) => swap - limit,
            };
            // A kernel that knows no swap has none to limit.
            if self.cgroup.has_file("memory.swap.max") || !self.cgroup.has_controller("memory") {
                self.add("memory", "memory.swap.max", or_max(swap))?;
            }
        }
        if let Some(low) = wanted.memory_reservation {
            self.add("memory", "memory.low", low)?;
        }
        Ok(())
    }

    fn processors(&mut self, wanted: &Resources) -> Result<()> {
        if let Some(shares) = wanted.cpu_shares {
            self.add("cpu", "cpu.weight", weight(shares))?;
        }
        if wanted.cpu_quota.is_some() || wanted.cpu_period.is_some() {
            let quota = match wanted.cpu_quota {
                Some(quota) if quota > 0 => quota.to_string(),
                _ => "max".to_owned(),
            };
            let period = wanted.cpu_period.unwrap_or(PERIOD);
            self.add("cpu", "cpu.max", format!("{quota} {period}"))?;
        }
        for (file, list) in [
            ("cpuset.cpus", &wanted.cpuset_cpus),
            ("cpuset.mems", &wanted.cpuset_mems),
        ] {
            if let Some(list) = list {
                self.add("cpuset", file, list)?;
            }
        }
        Ok(())
    }

    fn io(&mut self, wanted: &Io) -> Result<()> {
        if let Some(weight) = wanted.weight {
            // BFQ's has the range of the flag, the other one 1 to 10,000.
            if self.cgroup.has_file("io.bfq.weight") {
                self.add("io", "io.bfq.weight", weight)?;
            } else {
                let weight = 1 + i64::from(weight).saturating_sub(10) * 9999 / 990;
                self.add("io", "io.weight", weight)?;
            }
        }
        for it in &wanted.device_weights {
            let device = self.cgroup.device(&it.path)?;
            self.add("io", "io.bfq.weight", format!("{device} {}", it.value))?;
        }
        for (key, limits) in [
            ("rbps", &wanted.read_bps),
            ("wbps", &wanted.write_bps),
            ("riops", &wanted.read_iops),
            ("wiops", &wanted.write_iops),
        ] {
            for it in limits {
                let device = self.cgroup.device(&it.path)?;
                self.add("io", "io.max", format!("{device} {key}={}", it.value))?;
            }
        }
        Ok(())
    }
}

/// Microseconds, where only a quota is given.
const PERIOD: u64 = 100_000;

/// cpu.weight (1 to 10,000) of shares (2 to 262,144): a curve through both ends and
/// through the defaults, 1024 and 100, as crun and runc draw it.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        3..262_144 => {
            let log = (shares as f64).log2();
            10f64
                .powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0)
                .ceil() as u64
        }
        _ => 10_000,
    }
}
