//! What containers need of the machine, and the mend of what is not as it must be.
//!
//! Nothing here has an opinion of its own: each look is what `run` does, or asks
//! the same function, and what stands in the way is an error that `run` would fail
//! with, its hint the mend. What can only be known by trying is tried, in a user
//! namespace and a folder that are gone afterwards.

mod folders;
mod kernel;
mod session;

use std::fs::File;
use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::network;
use crate::settings::Settings;
use crate::sys::SoleThread;
use crate::sys::process::{self, Fork};
use crate::userns::{self, IdMap, Machine};

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// Containers run; something works less well.
    Warning,
    /// Containers cannot run.
    Failure,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What: `pasta`, `subordinate ids`.
    pub check: String,
    pub verdict: Verdict,
    /// What was found, in a line.
    pub found: String,
    /// What to do, to the letter; empty where all is well.
    pub mend: String,
}

impl Finding {
    fn ok(check: &str, found: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            verdict: Verdict::Ok,
            found: found.into(),
            mend: String::new(),
        }
    }

    fn warning(check: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            verdict: Verdict::Warning,
            found: found.into(),
            mend: mend.into(),
        }
    }

    /// What `run` fails with.
    fn failure(check: &str, error: &Error) -> Self {
        Self {
            verdict: Verdict::Failure,
            ..Self::of(check, error)
        }
    }

    /// What `run` says and goes on.
    fn of(check: &str, error: &Error) -> Self {
        let mend = error.hint_line().unwrap_or_default();
        Self::warning(check, error.to_string(), mend)
    }
}

/// Looks at everything. `engine` is what a command would get for `settings`.
pub fn examine(settings: &Settings, engine: &Result<Engine>, thread: SoleThread) -> Vec<Finding> {
    let machine = Machine::of(settings);
    let mut all = vec![kernel::release(&process::kernel_release())];
    all.extend(ids(&machine));
    all.extend(folders::look(settings, engine.as_ref().err()));
    let (map, _) = userns::default_map(&Machine::of(settings));
    let made = kernel::user_namespace(thread, &map, &machine);
    let can_enter = made.verdict == Verdict::Ok;
    all.push(made);
    if let (Ok(engine), true) = (engine, can_enter) {
        all.extend(kernel::tried(engine));
    }
    all.extend(pasta());
    if can_enter && network::can_start().is_ok() {
        all.push(network(settings, thread, &map));
    }
    all.extend(session::look(settings, thread, &machine));
    all
}

/// Whose ids can be had: the files, and the programs that map them.
fn ids(machine: &Machine) -> Vec<Finding> {
    const IDS: &str = "subordinate ids";
    const HELPERS: &str = "newuidmap";
    let mut all = Vec::new();
    match machine.no_ids() {
        Some(none) => all.push(Finding::of(IDS, &none)),
        None => {
            let faults = machine.faults();
            if faults.is_empty() {
                let (uids, gids) = machine.ranges();
                let found = format!("uids {}, gids {}", shown(&uids), shown(&gids));
                all.push(Finding::ok(IDS, found));
            }
            all.extend(faults.iter().map(|fault| match fault.fatal {
                true => Finding::failure(IDS, &fault.error),
                false => Finding::of(IDS, &fault.error),
            }));
        }
    }
    all.push(match machine.helpers() {
        Ok([uids, gids]) => {
            let found = format!("{} and {}", uids.display(), gids.display());
            Finding::ok(HELPERS, found)
        }
        Err(error) => Finding::of(HELPERS, &error),
    });
    all
}

fn shown(ranges: &[(u32, u32)]) -> String {
    let ranges: Vec<String> = ranges
        .iter()
        .map(|&(first, count)| format!("{first}-{}", u64::from(first) + u64::from(count) - 1))
        .collect();
    ranges.join(", ")
}

/// The way to the network that containers have unless told otherwise.
fn pasta() -> [Finding; 2] {
    [
        match network::version() {
            Ok((path, version)) => Finding::ok("pasta", format!("{}, {version}", path.display())),
            Err(error) => Finding::failure("pasta", &error),
        },
        match network::open_tun() {
            Ok(()) => Finding::ok("/dev/net/tun", "can be opened"),
            Err(error) => Finding::failure("/dev/net/tun", &error),
        },
    ]
}

/// Whether pasta starts, and what it gives.
fn network(settings: &Settings, thread: SoleThread, map: &IdMap) -> Finding {
    let entered = settings.ensure_runtime().and_then(|runtime| {
        userns::in_child(thread, map, || {
            let entered = network::enter(thread, &settings.cache, runtime)?;
            Ok(entered.attached)
        })
    });
    match entered {
        Ok(attached) => {
            let addresses: Vec<String> =
                attached.addresses.iter().map(ToString::to_string).collect();
            Finding::ok("network", format!("pasta gives {}", addresses.join(", ")))
        }
        Err(error) => Finding::failure("network", &error),
    }
}

/// Does `work` in a child, which what it changes of itself ends with, and gives what
/// it has to say.
fn in_child(thread: SoleThread, work: impl FnOnce() -> Result<String>) -> Result<String> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match process::fork(thread)? {
        Fork::Child => {
            process::die_with_parent(libc::SIGKILL);
            let (words, code) = match work() {
                Ok(words) => (words, 0),
                Err(error) => (error.to_string(), 1),
            };
            let _ = rustix::io::write(&theirs, words.as_bytes());
            process::exit_now(code)
        }
        Fork::Parent(child) => {
            drop(theirs);
            let mut words = String::new();
            File::from(ours).read_to_string(&mut words)?;
            match child.reap()? {
                0 => Ok(words),
                1 => Err(Error::other(words)),
                _ => Err(Error::other("the process that tried it was killed")),
            }
        }
    }
}
