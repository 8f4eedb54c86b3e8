//! Letting an init go that `init` has made.

use super::{Container, Seat};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::monitor::protocol::{Event, Request, SOCKET, hear, say};
use crate::sys::socket;

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
