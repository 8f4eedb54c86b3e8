//! Changing a container that is there: what it may use, when it is started again, its
//! environment, how it is checked.

use super::options::Resources;
use super::{Container, Record, cgroup, events, health};
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::monitor::protocol::{Request, SOCKET, say};
use crate::storage::write_json;
use crate::sys::file::Durable;
use crate::sys::socket;

/// Makes the container as `record` says; `limits` are those that were asked for. One
/// that runs has its limits and checks at once, the rest at its next start.
pub fn update(
    engine: &Engine,
    container: &Container,
    record: &Record,
    limits: Option<&Resources>,
) -> Result<()> {
    let storage = &engine.storage;
    let dir = storage.container(&record.id);
    let is_up = container.status.is_up();
    if let Some(limits) = limits.filter(|_| is_up) {
        cgroup::change(container, limits).map_err(|error| error.kind_is(Kind::Other))?;
    }
    write_json(&dir.join("container.json"), record, Durable::Yes)?;
    if is_up && record.options.health != container.record.options.health {
        health::ensure(&dir, record)?;
        // One that ends now has no checks to change.
        if let Ok(control) = socket::connect(&storage.container_runtime(&record.id), SOCKET) {
            let _ = say(&control, &Request::Changed, &[]);
        }
    }
    events::note(storage, record, "update");
    Ok(())
}

impl Resources {
    /// These, with what `other` says in the place of what they say.
    pub fn changed_by(&self, other: &Self) -> Self {
        let old = self.clone();
        let new = other.clone();
        let list = |new: Vec<_>, old| if new.is_empty() { old } else { new };
        Self {
            memory: new.memory.or(old.memory),
            memory_swap: new.memory_swap.or(old.memory_swap),
            memory_reservation: new.memory_reservation.or(old.memory_reservation),
            cpu_quota: new.cpu_quota.or(old.cpu_quota),
            cpu_period: new.cpu_period.or(old.cpu_period),
            cpu_shares: new.cpu_shares.or(old.cpu_shares),
            cpuset_cpus: new.cpuset_cpus.or(old.cpuset_cpus),
            cpuset_mems: new.cpuset_mems.or(old.cpuset_mems),
            pids: new.pids.or(old.pids),
            io: super::options::Io {
                weight: new.io.weight.or(old.io.weight),
                device_weights: list(new.io.device_weights, old.io.device_weights),
                read_bps: list(new.io.read_bps, old.io.read_bps),
                write_bps: list(new.io.write_bps, old.io.write_bps),
                read_iops: list(new.io.read_iops, old.io.read_iops),
                write_iops: list(new.io.write_iops, old.io.write_iops),
            },
            files: old.files,
            swappiness: new.swappiness.or(old.swappiness),
            oom_kill_disable: old.oom_kill_disable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let old = Resources {
            memory: Some(1),
            memory_swap: Some(2),
            pids: Some(3),
            ..Resources::default()
        };
        let new = Resources {
            memory: Some(5),
            cpu_quota: Some(7),
            ..Resources::default()
        };
        let both = old.changed_by(&new);
        assert_eq!((both.memory, both.memory_swap), (Some(5), Some(2)));
        assert_eq!((both.pids, both.cpu_quota), (Some(3), Some(7)));
        assert_eq!(old.changed_by(&Resources::default()), old);
    }
}
