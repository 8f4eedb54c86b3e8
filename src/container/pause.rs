//! Stopping every process of a container where it stands, and letting them go on.

use super::{Container, State};
use crate::cgroup::{self, Cgroup, Hierarchy};
use crate::error::{Context, Error, Kind, Result};

/// Podman's words where a user can do neither.
pub fn check_machine(what: &str) -> Result<()> {
    if cgroup::hierarchy() == Hierarchy::Unified {
        return Ok(());
    }
    Err(Error::other(format!(
        "{what} is not supported for cgroupv1 rootless containers"
    )))
}

/// Stops the processes of a running container; returns when they stand.
pub fn pause(container: &Container) -> Result<()> {
    let id = container.record.id.as_str();
    match container.status.state {
        State::Running => {}
        State::Paused => return Err(improper(format!("{id:?} is already paused"))),
        other => {
            return Err(improper(format!(
                "{:?} is not running, can't pause",
                other.word()
            )));
        }
    }
    let frozen = cgroup_of(container, "cannot pause without using Cgroups")?.freeze();
    frozen.tried(|| format!("pause container {}", container.record.id.short()))
}

/// Lets the processes of a paused container go on.
pub fn unpause(container: &Container) -> Result<()> {
    let id = container.record.id.as_str();
    if container.status.state != State::Paused {
        return Err(improper(format!("{id:?} is not paused, can't unpause")));
    }
    let thawed = cgroup_of(container, "cannot unpause without using Cgroups")?.thaw();
    thawed.tried(|| format!("unpause container {}", container.record.id.short()))
}

fn cgroup_of(container: &Container, why: &str) -> Result<Cgroup> {
    let started = container.status.started.as_ref();
    let folder = started.and_then(|started| started.cgroup.clone());
    folder
        .map(Cgroup::at)
        .ok_or_else(|| Error::other(format!("{why}: this container does not have a cgroup")))
}

fn improper(words: String) -> Error {
    Error::new(Kind::State, format!("{words}: container state improper"))
}
