//! That something goes on, where it cannot be said how far it has got.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::terminal;
use crate::sys::SoleThread;
use crate::sys::process::{die_with_parent, fork_plain, reap, signal_child};

/// How long work may take before anything is said.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether such a line may stand there.
static STANDS: AtomicBool = AtomicBool::new(false);

/// Takes the line away, if one may stand there, for another to be written in its place.
pub fn clear() {
    if STANDS.load(Ordering::Relaxed) {
        let _ = std::io::stderr().write_all(b"\r\x1b[K");
    }
}

/// A line on stderr, `removing 200 containers … 3s`, from half a second after it is
/// made until it is dropped. Nothing where stderr is no terminal.
///
/// A process of its own writes it, as this one may have no second thread: it is to be
/// made before locks are taken, which that process would hold on to.
pub struct Waiting {
    teller: Option<i32>,
}

impl Waiting {
    pub fn new(thread: SoleThread, what: &str) -> Self {
        let begun = Instant::now();
        let teller = match terminal::moves(&std::io::stderr()) {
            true => fork_plain(thread).ok(),
            false => None,
        };
        if teller == Some(0) {
            die_with_parent(libc::SIGKILL);
            tell(what, begun);
        }
        STANDS.store(teller.is_some(), Ordering::Relaxed);
        Self { teller }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(teller) = self.teller {
            let _ = signal_child(teller, libc::SIGKILL);
            let _ = reap(teller);
            clear();
            STANDS.store(false, Ordering::Relaxed);
        }
    }
}

fn tell(what: &str, begun: Instant) -> ! {
    std::thread::sleep(PATIENCE);
    loop {
        let line = match begun.elapsed().as_secs() {
            0 => format!("\r{what} …\x1b[K"),
            seconds => format!("\r{what} … {seconds}s\x1b[K"),
        };
        let _ = std::io::stderr().write_all(line.as_bytes());
        std::thread::sleep(PATIENCE);
    }
}
