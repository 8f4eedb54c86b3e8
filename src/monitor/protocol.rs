//! What is said over a container's control socket: JSON, one value a message,
//! descriptors beside it. Bytes of the container's streams never pass here:
//! they go through pipes that the client makes and hands over.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sys::socket;

/// The control socket's name in the container's runtime folder.
pub const SOCKET: &str = "control";

/// A client to the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The id map of the namespace you made is written.
    Mapped,
    /// Carry these streams; the pipes come beside it in this order: the end you
    /// read stdin from, the ends you write stdout and stderr to.
    Attach {
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// No more stdin will come once its pipe is empty.
    StdinEnds,
    /// The client's window has this size.
    Size { rows: u16, columns: u16 },
    /// Send this signal to the init.
    Signal(i32),
    /// End the container: its stop signal (or this one), after `timeout` seconds
    /// SIGKILL. No restart.
    Stop {
        signal: Option<i32>,
        timeout: Option<u32>,
        /// Whoever asks starts it next.
        #[serde(default)]
        starts_again: bool,
    },
    /// End it likewise, then remove it.
    Remove { timeout: Option<u32>, volumes: bool },
    /// Let an init go that `init` has made.
    Start,
    /// End the container when I am gone.
    EndWithMe,
    /// What `update` changed is in its record.
    Changed,
    /// Tell me when it ends (every client is told; this one asks for no more).
    Watch,
}

/// The monitor to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// I have left for a user namespace: write its map.
    WantsMap,
    /// The container's record is in place.
    Created,
    /// The init runs (or, after `init`, waits).
    Started { pid: i32 },
    /// It could not be made or started.
    Failed(Error),
    /// Worth knowing, not fatal.
    Warning(String),
    /// The init has ended; what it printed has been written to the pipes.
    Exited { code: i32 },
}

/// Says `value` to the other side.
pub fn say<T: Serialize>(socket: &impl AsFd, value: &T, fds: &[BorrowedFd<'_>]) -> Result<()> {
    Ok(socket::send(
        socket.as_fd(),
        &serde_json::to_vec(value)?,
        fds,
    )?)
}

/// Waits for the other side to say something; `None` if it is gone.
pub fn hear<T: for<'a> Deserialize<'a>>(socket: &impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let (message, fds) = socket::receive(socket)?;
    if message.is_empty() {
        Ok(None)
    } else {
        Ok(Some((serde_json::from_slice(&message)?, fds)))
    }
}
