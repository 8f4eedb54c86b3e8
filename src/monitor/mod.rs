//! The process that stays beside a container: its streams, its log, its exit
//! code, its clean-up.
//!
//! ```text
//! coracle run …            (single-threaded until the fork)
//!   └ monitor              a plain fork: setsid, its own descriptors only
//!       └ container init
//!
//! client ── control socket (protocol.rs) ── monitor
//! client ── pipes: stdin, stdout, stderr ── monitor ── pipes or pty ── init
//! ```
//!
//! The monitor knows neither containers on disk nor the network: what is to be
//! done before, after and between is given to it by `container`.
//!
//! **Invariant:** each stream has one fixed buffer. A client or a log that does
//! not take more makes the container wait; memory never grows with what is
//! printed.

pub mod journal;
pub mod log;
pub mod protocol;
mod supervise;

use std::os::fd::{AsRawFd, OwnedFd};

pub use supervise::{Client, Ended, Supervisor, Terminal, Ticker, Verdict};

use crate::error::{Context, Result};
use crate::sys::process::{self, Fork};
use crate::sys::{Process, SoleThread, file, socket};

/// A monitor as the process that forked it sees it.
pub struct Handle {
    pub process: Process,
    /// The first client's socket.
    pub control: OwnedFd,
}

/// Forks a monitor that does `work` and ends. In it every descriptor but those
/// in `keep` and its end of the control socket is closed, the standard streams
/// are /dev/null, and it leads a session of its own.
pub fn spawn(proof: SoleThread, keep: &[i32], work: impl FnOnce(OwnedFd)) -> Result<Handle> {
    let (ours, theirs) = socket::pair().tried(|| "make a socket pair")?;
    match process::fork(proof)? {
        Fork::Parent(process) => Ok(Handle {
            process,
            control: ours,
        }),
        Fork::Child => {
            detach(&theirs, keep);
            work(theirs);
            process::exit_now(0)
        }
    }
}

/// Lets go of what the forking process was part of.
fn detach(control: &OwnedFd, keep: &[i32]) {
    let _ = rustix::process::setsid();
    let mut kept: Vec<i32> = keep
        .iter()
        .copied()
        .chain([control.as_raw_fd()])
        .filter(|fd| *fd > 2)
        .collect();
    kept.sort_unstable();
    process::close_all_but(&kept);
    if let Ok(null) = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        for number in 0..3 {
            let _ = process::place_fd(std::os::fd::AsFd::as_fd(&null), number);
        }
    }
    crate::sys::signal::reset();
    for signal in [
        libc::SIGPIPE,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
    ] {
        crate::sys::signal::ignore(signal);
    }
    // What made the caller slow or big is no business of a process that stays.
    let _ = file::change_dir(std::path::Path::new("/"));
}
