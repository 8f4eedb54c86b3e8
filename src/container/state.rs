//! What a container is doing, derived from the seat and the files beside it.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::error::{Context, Result};
use crate::id::ContainerId;
use crate::storage::{Storage, read_unsynced};
use crate::sys::Process;
use crate::sys::lock::seat_holder;

/// The words `ps` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Created,
    Initialized,
    Running,
    Paused,
    Stopping,
    Exited,
    Removing,
}

impl State {
    /// Podman's word for it, lower case.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Initialized => "initialized",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }
}

/// `started.json`: the monitor writes it as it starts the init.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// The init, in the host's pid namespace.
    pub pid: i32,
    /// Clock ticks after boot; with `boot` it makes the pid believable.
    pub start_time: u64,
    pub boot: String,
    pub at: Timestamp,
    /// The init waits to be let go (`init` without `start`).
    #[serde(default)]
    pub held: bool,
    /// How many times the restart policy has started it since the user did.
    #[serde(default)]
    pub restarts: u32,
    /// Its cgroup, as a path on the host, where it has one of its own.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

/// `exit.json`: how the last start ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exit {
    pub code: i32,
    pub started: Option<Timestamp>,
    pub finished: Timestamp,
    #[serde(default)]
    pub oom_killed: bool,
    /// Why it could not run, if it could not.
    #[serde(default)]
    pub error: Option<String>,
    /// `stop` or `kill` ended it, so the restart policy lets it be.
    #[serde(default)]
    pub stopped_by_user: bool,
    /// The restart policy has it wait before it is started again.
    #[serde(default)]
    pub restarting: bool,
}

/// A container's state and what is known of its last start and end.
#[derive(Debug, Clone)]
pub struct Status {
    pub state: State,
    /// The monitor, while there is one.
    pub monitor: Option<i32>,
    pub started: Option<Started>,
    pub exit: Option<Exit>,
}

impl Status {
    /// Whether its processes are there.
    pub fn is_up(&self) -> bool {
        matches!(
            self.state,
            State::Running | State::Paused | State::Stopping | State::Initialized
        )
    }

    /// The init, while it is there.
    pub fn init(&self) -> Option<Process> {
        let started = self.started.as_ref().filter(|_| self.monitor.is_some())?;
        Process::open_started(started.pid, started.start_time)
    }

    /// Whether its init has ended, even if its monitor did not say so yet.
    pub fn has_ended(&self) -> bool {
        match self.init() {
            Some(init) => init.wait_ended(Some(Duration::ZERO)).unwrap_or(false),
            None => true,
        }
    }

    /// The init's pid while it is up, else 0, as `inspect` shows it.
    pub fn pid(&self) -> i32 {
        self.started
            .as_ref()
            .filter(|_| self.is_up())
            .map_or(0, |started| started.pid)
    }
}

/// Derives the state of the container `id`. Reads three small files at most.
pub fn status_of(storage: &Storage, id: &ContainerId) -> Result<Status> {
    let dir = storage.container(id);
    // The order matters: a monitor writes exit.json before it leaves the seat, so
    // a free seat seen first means the exit read after it is the last one.
    let monitor = seat_holder(&storage.running().join(id))
        .tried(|| format!("look at container {}", id.short()))?;
    let started: Option<Started> = read_unsynced(&dir.join("started.json"))?;
    let exit: Option<Exit> = read_unsynced(&dir.join("exit.json"))?;
    let state = match (monitor, &started, &exit) {
        // An older end is that of the life before.
        (Some(_), Some(started), Some(exit)) if exit.finished >= started.at && exit.restarting => {
            State::Exited
        }
        (Some(_), Some(started), Some(exit)) if exit.finished >= started.at => State::Stopping,
        (Some(_), Some(started), _) if started.held => State::Initialized,
        (Some(_), Some(started), _) if is_frozen(started) => State::Paused,
        (Some(_), Some(_), _) => State::Running,
        (Some(_), None, _) => State::Created,
        (None, None, None) => State::Created,
        // A monitor that died without a word: the next sweep writes 137.
        (None, ..) => State::Exited,
    };
    Ok(Status {
        state,
        monitor,
        started,
        exit,
    })
}

/// Whether the container's cgroup is frozen.
fn is_frozen(started: &Started) -> bool {
    let cgroup = started.cgroup.as_ref();
    cgroup.is_some_and(|folder| Cgroup::at(folder).is_frozen())
}
