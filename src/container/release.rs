//! Letting an init go that `init` has made.

use super::{Container, Seat};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::monitor::protocol::{Event, Request, SOCKET, hear, say};
use crate::sys::socket;

/// Has a container that waits to be started again start at once.
pub fn hasten(engine: &Engine, container: &Container) -> Result<()> {
    let runtime = engine.storage.container_runtime(&container.record.id);
    // One that does not listen is about to start, or has ended for good.
    if let Ok(control) = socket::connect(&runtime, SOCKET) {
        say(&control, &Request::Start, &[])?;
    }
    Ok(())
}

/// Starts a container whose init waits.
pub fn release(engine: &Engine, container: &Container) -> Result<()> {
    let id = &container.record.id;
    let control = socket::connect(&engine.storage.container_runtime(id), SOCKET)
        .tried(|| format!("start container {}", id.short()))?;
    say(&control, &Request::Start, &[])?;
    loop {
        match hear::<Event>(&control)? {
            Some((Event::Started { .. }, _)) => return Ok(()),
            Some((Event::Failed(error), _)) => {
                Seat::wait_until_free(&engine.storage, id)?;
                return Err(error);
            }
            Some(_) => {}
            None => {
                return Err(Error::new(
                    Kind::State,
                    format!("container {} has ended", id.short()),
                ));
            }
        }
    }
}
