//! Health checks: a command in the container that says how it is.
//!
//! ```text
//! containers/<id>/health.json   what came of them since the last start
//! containers/<id>/health.lock   held while that is changed
//! ```
//!
//! The monitor runs them at their times, each in a fork of its own (`Checks`), which joins
//! the container as `exec` does; `healthcheck run` runs one now. Both write down what came
//! of it; who ran it does what is to be done about it (`--health-on-failure`).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::exec::{self, Exec};
use super::{Container, Record, State, events};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::ContainerId;
use crate::image::Healthcheck;
use crate::monitor::{Ticker, Verdict};
use crate::storage::{Storage, read_unsynced, write_json};
use crate::sys::Process;
use crate::sys::family::Processes;
use crate::sys::file::{Durable, set_nonblocking, write_whole};
use crate::sys::process::{self, Fork};

/// `--health-*`: what is checked and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub check: Healthcheck,
    pub startup: Option<Startup>,
    pub on_failure: OnFailure,
}

/// What is checked until it passes: `check` begins after that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startup {
    #[serde(flatten)]
    pub check: Healthcheck,
    /// How often it must pass.
    #[serde(rename = "Successes", default, skip_serializing_if = "is_zero")]
    pub successes: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `--health-on-failure`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    #[default]
    None,
    Kill,
    Restart,
    Stop,
}

impl OnFailure {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }

    pub fn named(text: &str) -> Option<Self> {
        [Self::None, Self::Kill, Self::Restart, Self::Stop]
            .into_iter()
            .find(|action| action.name() == text)
    }
}

/// How much is kept of what checks print, and where beside the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthLog {
    /// `local`, `events_logger`, or a folder.
    pub destination: String,
    /// Checks; 0 is all.
    pub count: u32,
    /// Bytes of each; 0 is all.
    pub size: u32,
}

impl Default for HealthLog {
    fn default() -> Self {
        Self {
            destination: "local".to_owned(),
            count: 5,
            size: 500,
        }
    }
}

impl Health {
    /// Whether there is something to check: `NONE` takes an image's check away.
    pub fn is_on(&self) -> bool {
        self.check.test.first().is_some_and(|kind| kind != "NONE")
    }
}

/// What came of the checks; with [`Report`] what `inspect` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Course {
    report: Report,
    /// The startup check has passed, or there is none.
    begun: bool,
    successes: i64,
    failures: i64,
}

/// As `inspect` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "*define.HealthCheckResults", rename_all = "PascalCase")]
pub struct Report {
    /// `starting`, `healthy` or `unhealthy`; empty before the first start.
    pub status: String,
    pub failing_streak: u32,
    pub log: Option<Vec<Entry>>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "define.HealthCheckLog", rename_all = "PascalCase")]
pub struct Entry {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    pub outcome: Outcome,
    /// What is to be done about it.
    pub action: OnFailure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// The startup check has failed.
    NotStarted,
    /// It took longer than this.
    Late(i64),
}

const TIMED_OUT: i32 = 125;

fn state_file(dir: &Path) -> PathBuf {
    dir.join("health.json")
}

/// What the checks of a container came to; none if it has none.
pub fn report(storage: &Storage, record: &Record) -> Option<Report> {
    record.options.health.as_ref().filter(|it| it.is_on())?;
    let file = state_file(&storage.container(&record.id));
    let course: Option<Course> = read_unsynced(&file).unwrap_or(None);
    Some(course.unwrap_or_default().report)
}

/// How it is, in a word: empty if nothing is checked.
pub fn word(storage: &Storage, record: &Record) -> String {
    report(storage, record).map_or_else(String::new, |report| report.status)
}

/// Nothing has come of any check yet.
fn begin(dir: &Path, health: &Health) -> Result<()> {
    let course = Course {
        report: Report {
            status: "starting".to_owned(),
            ..Report::default()
        },
        begun: health.startup.is_none(),
        ..Course::default()
    };
    change(dir, |old| *old = course).map(drop)
}

/// Where nothing is checked yet, the checks begin.
pub(super) fn ensure(dir: &Path, record: &Record) -> Result<()> {
    match &record.options.health {
        Some(health) if health.is_on() && !state_file(dir).exists() => begin(dir, health),
        _ => Ok(()),
    }
}

/// Changes what is written of the checks; none else does meanwhile.
fn change<T>(dir: &Path, by: impl FnOnce(&mut Course) -> T) -> Result<(Course, T)> {
    let path = dir.join("health.lock");
    let tried = || format!("lock {}", path.display());
    let lock = File::create(&path).tried(tried)?;
    lock.lock().tried(tried)?;
    let file = state_file(dir);
    let mut course: Course = read_unsynced(&file)?.unwrap_or_default();
    let given = by(&mut course);
    write_json(&file, &course, Durable::No)?;
    Ok((course, given))
}

/// Runs a check now, and writes down what came of it.
pub fn run(engine: &Engine, container: &Container) -> Result<Checked> {
    let record = &container.record;
    let id = &record.id;
    if container.status.state != State::Running {
        return Err(Error::new(
            Kind::State,
            format!("container {id} is not running"),
        ));
    }
    let health = record.options.health.as_ref().filter(|it| it.is_on());
    let health =
        health.ok_or_else(|| Error::usage(format!("container {id} has no defined healthcheck")))?;
    let dir = engine.storage.container(id);
    let course: Course = read_unsynced(&state_file(&dir))?.unwrap_or_default();
    let startup = health.startup.as_ref().filter(|_| !course.begun);
    let check = startup.map_or(&health.check, |startup| &startup.check);
    let log = &record.options.health_log;
    // What comes after is done by a child's parent, who has not joined the container.
    let begun = Timestamp::now();
    let (code, output) = engine.apart(|| carry_out(engine, container, check, log.size))?;
    let ended = Timestamp::now();
    let is_early = container.status.started.as_ref().is_some_and(|started| {
        let period = jiff::SignedDuration::from_nanos(health.check.start_period);
        health.check.start_period > 0 && begun < started.at.checked_add(period).unwrap_or(begun)
    });
    let entry = Entry {
        start: begun.to_string(),
        end: ended.to_string(),
        exit_code: code,
        output,
    };
    let (course, checked) = change(&dir, |course| {
        course.note(health, startup, entry.clone(), is_early, log.count)
    })?;
    tell(engine, record, &course.report, &entry);
    Ok(match code {
        TIMED_OUT => Checked {
            outcome: Outcome::Late(check.timeout),
            ..checked
        },
        _ => checked,
    })
}

impl Course {
    /// Adds a check (libpod, updateHealthCheckLog).
    fn note(
        &mut self,
        health: &Health,
        startup: Option<&Startup>,
        entry: Entry,
        is_early: bool,
        keep: u32,
    ) -> Checked {
        let passed = entry.exit_code == 0;
        let report = &mut self.report;
        let mut checked = Checked {
            outcome: match (passed, startup) {
                (true, _) => Outcome::Passed,
                (false, Some(_)) => Outcome::NotStarted,
                (false, None) => Outcome::Failed,
            },
            action: OnFailure::None,
        };
        if passed {
            report.status = "healthy".to_owned();
            report.failing_streak = 0;
        } else if startup.is_none() && !is_early {
            report.failing_streak += 1;
            if i64::from(report.failing_streak) >= health.check.retries {
                report.status = "unhealthy".to_owned();
                checked.action = health.on_failure;
            }
        }
        if let Some(startup) = startup {
            if passed {
                (self.successes, self.failures) = (self.successes + 1, 0);
                self.begun = self.successes >= startup.successes.max(1);
            } else {
                (self.successes, self.failures) = (0, self.failures + 1);
                if startup.check.retries > 0 && self.failures >= startup.check.retries {
                    checked.action = OnFailure::Restart;
                }
            }
        }
        let log = self.report.log.get_or_insert_default();
        log.push(entry);
        if keep > 0 {
            let more = log.len().saturating_sub(keep as usize);
            log.drain(..more);
        }
        checked
    }
}

/// Says what came of it: an event, and the log where one is asked for.
fn tell(engine: &Engine, record: &Record, report: &Report, entry: &Entry) {
    let log = &record.options.health_log;
    let mut event = events::event(&events::current(&engine.storage, record), "health_status");
    event.health_status.clone_from(&report.status);
    event.health_failing_streak = report.failing_streak;
    match log.destination.as_str() {
        "local" | "" => {}
        "events_logger" => event.health_log = serde_json::to_string(entry).unwrap_or_default(),
        folder => {
            let file = Path::new(folder).join(format!("{}-healthcheck.log", record.id));
            if let Ok(bytes) = serde_json::to_vec(report) {
                // One that cannot be written does not make the container ill.
                let _ = write_whole(&file, &bytes, Durable::No);
            }
        }
    }
    engine.storage.events().write(&event);
}

/// Runs the command in the container: its code, and what it printed of `size` bytes.
fn carry_out(
    engine: &Engine,
    container: &Container,
    check: &Healthcheck,
    size: u32,
) -> Result<(i32, String)> {
    let argv: Vec<String> = match check.test.split_first() {
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        Some((kind, rest)) if kind == "CMD-SHELL" => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")]
        }
        // An image of old: a line for the shell alone.
        Some((line, [])) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        _ => check.test.clone(),
    };
    let exec = Exec::heard(argv, None);
    let deadline = Instant::now() + Duration::from_nanos(check.timeout.max(1).cast_unsigned());
    let processes = Processes::open().tried(|| "open /proc")?;
    let (joined, pipes) = match exec::begin(engine, container, &exec) {
        Ok(begun) => begun,
        // A command that is not there is one that fails.
        Err(error) if matches!(error.exit_code(), 126 | 127) => return Ok((1, String::new())),
        Err(error) => return Err(error),
    };
    let mut sources = pipes.outputs();
    for source in &sources {
        set_nonblocking(source, true).tried(|| "read what the check prints")?;
    }
    let mut printed = Printed {
        bytes: Vec::new(),
        size: size as usize,
    };
    let process = &joined.process;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Podman ends the command alone; what it has started would go on for ever.
            let _ = processes.kill_family(process);
            process.reap()?;
            printed.take(&mut sources);
            return Ok((TIMED_OUT, printed.text()));
        }
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = vec![PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
        fds.extend(sources.iter().map(|it| PollFd::new(it, PollFlags::IN)));
        match poll(&mut fds, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).tried(|| "wait for the check"),
        }
        let has_ended = !fds[0].revents().is_empty();
        drop(fds);
        printed.take(&mut sources);
        if has_ended {
            // What it has left running may hold the pipes: nobody waits for that.
            let code = process.reap()?;
            printed.take(&mut sources);
            return Ok((i32::from(code != 0), printed.text()));
        }
    }
}

/// What a check printed, as much as is kept.
struct Printed {
    bytes: Vec<u8>,
    size: usize,
}

impl Printed {
    /// Reads what is there; one that has ended is dropped.
    fn take(&mut self, sources: &mut Vec<OwnedFd>) {
        let mut buffer = [0; 4096];
        sources.retain(|source| {
            loop {
                match rustix::io::read(source, &mut buffer) {
                    Ok(0) => return false,
                    Ok(length) => {
                        let room = match self.size {
                            0 => length,
                            size => size.saturating_sub(self.bytes.len()).min(length),
                        };
                        self.bytes.extend(&buffer[..room]);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(rustix::io::Errno::AGAIN) => return true,
                    Err(_) => return false,
                }
            }
        });
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The checks of one life of a container, as its monitor runs them.
pub(super) struct Checks<'a> {
    engine: &'a Engine,
    id: ContainerId,
    dir: PathBuf,
    health: Option<Health>,
    due: Option<Instant>,
    running: Option<Process>,
}

/// The checks of a container, if it has any.
fn wanted(record: &Record) -> Option<Health> {
    record.options.health.clone().filter(Health::is_on)
}

impl<'a> Checks<'a> {
    pub fn new(engine: &'a Engine, record: &Record) -> Self {
        Self {
            engine,
            id: record.id.clone(),
            dir: engine.storage.container(&record.id),
            health: wanted(record),
            due: None,
            running: None,
        }
    }

    /// Forgets what came of the checks of the life before.
    pub fn reset(&self) -> Result<()> {
        match &self.health {
            Some(health) => begin(&self.dir, health),
            None => Ok(()),
        }
    }

    /// When the next is due, `pause` after `from`.
    fn plan(&mut self, from: Instant) {
        self.due = self.health.as_ref().and_then(|health| {
            let course: Course = read_unsynced(&state_file(&self.dir))
                .unwrap_or(None)
                .unwrap_or_default();
            let startup = health.startup.as_ref().filter(|_| !course.begun);
            let check = startup.map_or(&health.check, |startup| &startup.check);
            let pause = u64::try_from(check.interval).ok().filter(|it| *it > 0)?;
            from.checked_add(Duration::from_nanos(pause))
        });
    }

    /// Runs one, in a process of its own: what is to be done about it.
    fn check(&self) -> OnFailure {
        let found = super::load(&self.engine.storage, &self.id);
        let Ok(Some(container)) = found else {
            return OnFailure::None;
        };
        run(self.engine, &container).map_or(OnFailure::None, |checked| checked.action)
    }
}

impl Ticker for Checks<'_> {
    fn started(&mut self) {
        // The first comes at once, if any does by itself.
        self.plan(Instant::now());
        self.due = self.due.map(|_| Instant::now());
    }

    fn changed(&mut self) {
        let now = read_unsynced::<Record>(&self.dir.join("container.json"));
        if let Ok(Some(record)) = now {
            self.health = wanted(&record);
        }
        if self.running.is_none() {
            self.plan(Instant::now());
        }
    }

    fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.running.is_none())
    }

    fn begin(&mut self) {
        match process::fork(self.engine.thread) {
            Ok(Fork::Parent(process)) => self.running = Some(process),
            Ok(Fork::Child) => {
                process::die_with_parent(libc::SIGKILL);
                // Clients wait for the monitor's ends of their sockets, not for ours.
                process::close_all_but(&[]);
                process::exit_now(self.check() as i32)
            }
            Err(_) => self.plan(Instant::now()),
        }
    }

    fn running(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(AsFd::as_fd)
    }

    fn end(&mut self) -> Verdict {
        let code = self.running.take().map(|process| process.reap());
        self.plan(Instant::now());
        let is = |action: OnFailure| matches!(code, Some(Ok(code)) if code == action as i32);
        let (status, verdict) = if is(OnFailure::Kill) {
            ("kill", Verdict::Kill)
        } else if is(OnFailure::Stop) {
            ("stop", Verdict::Stop)
        } else if is(OnFailure::Restart) {
            // Its event is written where it is started again.
            return Verdict::Restart;
        } else {
            return Verdict::Nothing;
        };
        if let Ok(Some(container)) = super::load(&self.engine.storage, &self.id) {
            events::note(&self.engine.storage, &container.record, status);
        }
        verdict
    }
}

impl Drop for Checks<'_> {
    fn drop(&mut self) {
        if let Some(process) = self.running.take() {
            let _ = process.signal(libc::SIGKILL);
            let _ = process.reap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(code: i32) -> Entry {
        Entry {
            start: String::new(),
            end: String::new(),
            exit_code: code,
            output: String::new(),
        }
    }

    fn health() -> Health {
        Health {
            check: Healthcheck {
                test: vec!["CMD".into(), "true".into()],
                retries: 2,
                ..Healthcheck::default()
            },
            startup: None,
            on_failure: OnFailure::Kill,
        }
    }

    #[test]
    fn it_is_ill_after_so_many_failures() {
        let health = health();
        let mut course = Course::default();
        let mut note = |code, early| {
            let checked = course.note(&health, None, entry(code), early, 3);
            let report = &course.report;
            let log = report.log.as_ref().map_or(0, Vec::len);
            (
                report.status.clone(),
                report.failing_streak,
                checked.action,
                log,
            )
        };
        let starting = |streak, log| (String::new(), streak, OnFailure::None, log);
        assert_eq!(note(1, true), starting(0, 1));
        assert_eq!(note(1, false), starting(1, 2));
        assert_eq!(note(1, false), ("unhealthy".into(), 2, OnFailure::Kill, 3));
        assert_eq!(
            note(125, false),
            ("unhealthy".into(), 3, OnFailure::Kill, 3)
        );
        assert_eq!(note(0, false), ("healthy".into(), 0, OnFailure::None, 3));
        assert_eq!(note(1, false), ("healthy".into(), 1, OnFailure::None, 3));
    }

    #[test]
    fn a_startup_check_comes_first() {
        let mut health = health();
        let startup = Startup {
            check: Healthcheck {
                retries: 2,
                ..health.check.clone()
            },
            successes: 2,
        };
        health.startup = Some(startup.clone());
        let mut course = Course::default();
        let mut note = |code| {
            let checked = course.note(&health, Some(&startup), entry(code), false, 0);
            (checked.outcome, checked.action, course.begun)
        };
        let failed = (Outcome::NotStarted, OnFailure::None, false);
        let passed = (Outcome::Passed, OnFailure::None, false);
        assert_eq!(note(1), failed);
        assert_eq!(note(0), passed);
        assert_eq!(note(1), failed);
        assert_eq!(note(1), (Outcome::NotStarted, OnFailure::Restart, false));
        assert_eq!(note(0), passed);
        assert_eq!(note(0), (Outcome::Passed, OnFailure::None, true));
    }
}
