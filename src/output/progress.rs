//! How far long work has got, on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::human;
use crate::volume::Watch;

/// A line on stderr that tells how much of something is done, drawn again now and
/// then and cleared at the end. Shows nothing where stderr is no terminal.
pub struct Progress {
    what: String,
    total: Option<u64>,
    done: AtomicU64,
    begun: Instant,
    /// Milliseconds after the beginning.
    drawn: AtomicU64,
    is_shown: bool,
}

impl Progress {
    /// Of `what`, of which there are `total` bytes.
    pub fn new(what: impl Into<String>, total: Option<u64>) -> Self {
        Self {
            what: what.into(),
            total: total.filter(|total| *total > 0),
            done: AtomicU64::new(0),
            begun: Instant::now(),
            drawn: AtomicU64::new(0),
            is_shown: Self::is_wanted(),
        }
    }

    /// Whether anybody sees it: finding out a total is in vain otherwise.
    pub fn is_wanted() -> bool {
        std::io::stderr().is_terminal()
    }

    fn draw(&self, done: u64, elapsed: Duration) {
        let speed = (done as f64 / elapsed.as_secs_f64()) as u64;
        let line = line(&self.what, done, self.total, speed);
        let _ = std::io::stderr().write_all(format!("\r\x1b[K{line}").as_bytes());
    }
}

impl Watch for Progress {
    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if !self.is_shown {
            return;
        }
        let elapsed = self.begun.elapsed();
        let now = elapsed.as_millis() as u64;
        let drawn = self.drawn.load(Ordering::Relaxed);
        // Ten times a second; of threads that come at once, one draws.
        if now >= drawn + 100
            && self
                .drawn
                .compare_exchange(drawn, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.draw(done, elapsed);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: Option<u64>, speed: u64) -> String {
    let size = |bytes| human::size(bytes, 3);
    match total {
        Some(total) => {
            let percent = (done.min(total) * 100).checked_div(total).unwrap_or(100);
            let (done, total, speed) = (size(done.min(total)), size(total), size(speed));
            format!("{what}: {percent:3}%  {done} of {total}  {speed}/s")
        }
        None => format!("{what}: {}  {}/s", size(done), size(speed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(
            line("copying", 25_000_000, Some(100_000_000), 5_000_000),
            "copying:  25%  25MB of 100MB  5MB/s"
        );
        assert_eq!(line("reading", 10, None, 1), "reading: 10B  1B/s");
        assert_eq!(line("x", 9, Some(3), 1), "x: 100%  3B of 3B  1B/s");
    }
}
