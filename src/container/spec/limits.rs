//! Limits of the process and of its control group.

use libcontainer::oci_spec::runtime::{
    self as oci, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, PosixRlimitBuilder,
    PosixRlimitType,
};

use super::super::options::{Resources, Ulimit};
use super::built;
use super::host::{Cgroup, CgroupMode, Machine};
use crate::error::{Error, Result};

/// The most that Podman raises RLIMIT_NOFILE and RLIMIT_NPROC to by itself.
const RLIMIT_MOST: u64 = 1_048_576;

/// Whether limits were asked for that this machine's cgroups cannot hold and that
/// Podman ignores with a warning (cgroup v1 as a user).
pub fn ignores_limits(resources: &Resources, cgroup: &Cgroup) -> bool {
    cgroup.mode != CgroupMode::Unified && !asked(resources).is_empty()
}

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

pub(super) fn resources(wanted: &Resources, cgroup: &Cgroup) -> Result<Option<LinuxResources>> {
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
