//! Ending containers: stop, kill, wait.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::options::RestartPolicy;
use super::{Container, Exit, Seat, State, Status, events, status_of};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::ContainerId;
use crate::monitor::protocol::{Event, Request, SOCKET, hear, say};
use crate::storage::read_unsynced;
use crate::sys::socket;
use crate::sys::{Process, process};

/// Ends a container: its stop signal, after `timeout` seconds SIGKILL. Returns
/// when its monitor is gone. No error if it does not run.
pub fn stop(
    engine: &Engine,
    container: &Container,
    signal: Option<i32>,
    timeout: Option<u32>,
) -> Result<()> {
    if container.status.monitor.is_none() {
        return Ok(());
    }
    // As Podman, which has forgotten one with --rm by then.
    if container.status.is_up() && !container.record.options.remove {
        events::note(&engine.storage, &container.record, "stop");
    }
    let request = Request::Stop {
        signal,
        timeout,
        starts_again: false,
    };
    end(engine, container, &request)
}

/// Ends a container that is to be started again (`restart`).
pub fn stop_to_start(engine: &Engine, container: &Container, timeout: Option<u32>) -> Result<()> {
    events::note(&engine.storage, &container.record, "restart");
    if container.status.monitor.is_none() {
        return Ok(());
    }
    let request = Request::Stop {
        signal: None,
        timeout,
        starts_again: true,
    };
    end(engine, container, &request)
}

/// Has the monitor end its container by `request`, and waits until it has.
pub(super) fn end(engine: &Engine, container: &Container, request: &Request) -> Result<()> {
    let id = &container.record.id;
    loop {
        let Some(control) = control(engine, container)? else {
            kill_leftovers(&status_of(&engine.storage, id)?);
            return Seat::wait_until_free(&engine.storage, id);
        };
        if say(&control, request, &[]).is_ok() {
            while let Ok(Some((event, _))) = hear::<Event>(&control) {
                // What it could not start is at its end, too.
                if let (Event::Failed(error), Request::Remove { .. }) = (event, request) {
                    return Err(error);
                }
            }
        }
        // One that was just about to start its container again has not heard it.
        let status = status_of(&engine.storage, id)?;
        let monitor = status.monitor.and_then(|pid| Process::open(pid).ok());
        if monitor.is_none_or(|it| it.wait_ended(Some(SETTLING)).unwrap_or(true)) {
            return Seat::wait_until_free(&engine.storage, id);
        }
    }
}

/// What a monitor that has heard a request to end takes after its last word.
const SETTLING: Duration = Duration::from_millis(100);

/// How long a monitor may take from its seat to its socket.
const BEGINNING: Duration = Duration::from_secs(5);

/// The socket of a container's monitor. A monitor that has just begun does not
/// listen yet, and is waited for: who let it be would wait for its end instead.
/// `None`: it is gone, or its socket was deleted under it.
pub(super) fn control(engine: &Engine, container: &Container) -> Result<Option<OwnedFd>> {
    let runtime = engine.storage.container_runtime(&container.record.id);
    let begun = Instant::now();
    loop {
        if let Ok(control) = socket::connect(&runtime, SOCKET) {
            return Ok(Some(control));
        }
        let status = status_of(&engine.storage, &container.record.id)?;
        let Some(monitor) = status.monitor.and_then(|pid| Process::open(pid).ok()) else {
            return Ok(None);
        };
        if begun.elapsed() > BEGINNING || monitor.wait_ended(Some(Duration::from_millis(5)))? {
            return Ok(None);
        }
    }
}

/// Sends `signal` to a running container's init. After SIGKILL it returns when the
/// container has ended.
pub fn kill(engine: &Engine, container: &Container, signal: i32) -> Result<()> {
    let record = &container.record;
    let not_running = |state: State| {
        Error::new(
            Kind::State,
            format!(
                "can only kill running containers. {} is in state {}: container state improper",
                record.id,
                state.word()
            ),
        )
    };
    if !container.status.is_up() || container.status.state == State::Initialized {
        return Err(not_running(container.status.state));
    }
    // Its init has ended, which the monitor is about to write down.
    let init = container.status.init();
    let init = init.ok_or_else(|| not_running(State::Exited))?;
    // Before what comes of it.
    events::note(&engine.storage, record, "kill");
    // Through the monitor, which is not to start again what the user ended.
    let sent = socket::connect(&engine.storage.container_runtime(&record.id), SOCKET)
        .map_err(Error::from)
        .and_then(|control| {
            say(&control, &Request::Signal(signal), &[])?;
            Ok(control)
        });
    if sent.is_err() {
        init.signal(signal)
            .tried(|| format!("signal container {}", record.id.short()))?;
    }
    if signal == libc::SIGKILL {
        Seat::wait_until_free(&engine.storage, &record.id)?;
    }
    Ok(())
}

/// Waits until a container has ended and gives its exit code; at once if it does
/// not run. `None`: it is gone with `--rm`, and nobody heard its code.
pub fn wait(engine: &Engine, container: &Container) -> Result<Option<i32>> {
    let id = &container.record.id;
    if container.record.options.restart != RestartPolicy::No {
        return wait_for_an_end(engine, id);
    }
    let mut code = None;
    if container.status.monitor.is_some() {
        code = watch(engine, id);
        Seat::wait_until_free(&engine.storage, id)?;
    }
    match code {
        Some(code) => Ok(Some(code)),
        None => exit_code(engine, id),
    }
}

/// The same for one that may be started again: the end of one start is enough.
fn wait_for_an_end(engine: &Engine, id: &ContainerId) -> Result<Option<i32>> {
    loop {
        let status = status_of(&engine.storage, id)?;
        if status.monitor.is_none() || status.state == State::Exited {
            return exit_code(engine, id);
        }
        if let Some(code) = watch(engine, id) {
            // Its monitor is about to write it down.
            let begun = Instant::now();
            while begun.elapsed() < BEGINNING {
                let now = status_of(&engine.storage, id)?;
                if !(now.has_ended() && matches!(now.state, State::Running | State::Stopping)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            return Ok(Some(code));
        }
        // It was between two starts.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Listens to a container's monitor until a start of it ends. `None`: nobody said how.
fn watch(engine: &Engine, id: &ContainerId) -> Option<i32> {
    let control = socket::connect(&engine.storage.container_runtime(id), SOCKET).ok()?;
    say(&control, &Request::Watch, &[]).ok()?;
    while let Ok(Some((event, _))) = hear::<Event>(&control) {
        if let Event::Exited { code } = event {
            return Some(code);
        }
    }
    None
}

/// The code a container that does not run ended with; 0 if it never ran.
fn exit_code(engine: &Engine, id: &ContainerId) -> Result<Option<i32>> {
    let dir = engine.storage.container(id);
    match read_unsynced::<Exit>(&dir.join("exit.json"))? {
        Some(exit) => Ok(Some(exit.code)),
        None if dir.join("started.json").exists() => Ok(Some(137)),
        None => Ok(dir.exists().then_some(0)),
    }
}

/// Ends an init that outlived its monitor: one whose credentials changed is no
/// longer sent the parent-death signal (prctl(2)).
pub(super) fn kill_leftovers(status: &Status) {
    let Some(started) = &status.started else {
        return;
    };
    if status.exit.is_some() || started.boot != process::boot_id() {
        return;
    }
    if let Some(init) = Process::open_started(started.pid, started.start_time) {
        let _ = init.signal(libc::SIGKILL);
        let _ = init.wait_ended(Some(Duration::from_secs(10)));
    }
}
