//! How far long work has got, on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{human, terminal};
use crate::image::Work;
use crate::volume::Watch;

/// A line on stderr that tells how much of something is done, drawn again now and
/// then and cleared at the end. Shows nothing where stderr is no terminal.
pub struct Progress {
    what: String,
    total: Option<u64>,
    done: AtomicU64,
    files: AtomicU64,
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
            files: AtomicU64::new(0),
            begun: Instant::now(),
            drawn: AtomicU64::new(0),
            is_shown: Self::is_wanted(),
        }
    }

    /// Whether anybody sees it: finding out a total is in vain otherwise.
    pub fn is_wanted() -> bool {
        std::io::stderr().is_terminal()
    }

    fn draw(&self, elapsed: Duration) {
        let done = self.done.load(Ordering::Relaxed);
        let files = self.files.load(Ordering::Relaxed);
        let speed = (done as f64 / elapsed.as_secs_f64()) as u64;
        let line = line(&self.what, (done, files), self.total, speed);
        // One that wraps could not be drawn over.
        let width = terminal::columns(&std::io::stderr()).unwrap_or(80) - 1;
        let line: String = line.chars().take(width).collect();
        let _ = std::io::stderr().write_all(format!("\r\x1b[K{line}").as_bytes());
    }

    fn draw_now_and_then(&self) {
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
            self.draw(elapsed);
        }
    }
}

impl Watch for Progress {
    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.draw_now_and_then();
    }

    fn file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.draw_now_and_then();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

fn line(what: &str, (done, files): (u64, u64), total: Option<u64>, speed: u64) -> String {
    let size = |bytes| human::size(bytes, 3);
    let files = match files {
        0 | 1 => String::new(),
        files if done == 0 => return format!("{what}: {files} files"),
        files => format!("  {files} files"),
    };
    match total {
        Some(total) => {
            let percent = (done.min(total) * 100).checked_div(total).unwrap_or(100);
            let (done, total, speed) = (size(done.min(total)), size(total), size(speed));
            format!("{what}: {percent:3}%  {done} of {total}  {speed}/s{files}")
        }
        None => format!("{what}: {}  {}/s{files}", size(done), size(speed)),
    }
}

/// Shows on stderr, if it is a terminal, how far an image is that is made for another
/// id map; takes that away when all is done.
pub fn copying(work: Work, done: u64, total: u64) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let line = match done < total {
        true => bar(work, done, total),
        false => String::new(),
    };
    // To the line's beginning, and what is left of the last one away.
    let _ = stderr.write_all(format!("\r{line}\x1b[K").as_bytes());
}

/// How far a part of something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub done: u64,
    pub total: u64,
    /// Nothing is left to do for it.
    pub is_finished: bool,
}

/// A line for each part on stderr, written again and again in its place.
pub struct Parts {
    begun: std::time::Instant,
    /// Lines that stand on the terminal.
    drawn: usize,
}

impl Parts {
    /// `None` where stderr is no terminal.
    pub fn on_terminal() -> Option<Self> {
        std::io::stderr().is_terminal().then(|| Self {
            begun: std::time::Instant::now(),
            drawn: 0,
        })
    }

    /// Shows how far they are.
    pub fn show(&mut self, parts: &[Part]) {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        let (rows, columns) = size.map_or((0, 0), |size| (size.ws_row, size.ws_col));
        // A terminal that does not know its size says zero.
        let known = |given: u16, usual: usize| match given {
            0 => usual,
            given => usize::from(given),
        };
        let (rows, columns) = (known(rows, 24).max(4), known(columns, 80));
        let seconds = self.begun.elapsed().as_secs_f64();
        // What would scroll away cannot be written again: the last ones are shown.
        let skip = parts.len().saturating_sub(rows - 2);
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for part in &parts[skip..] {
            text.push_str(&format!("\r{}\x1b[K\n", part_line(part, seconds, columns)));
        }
        self.drawn = parts.len() - skip;
        let mut stderr = std::io::stderr();
        let _ = stderr.write_all(text.as_bytes());
        let _ = stderr.flush();
    }
}

/// A line that is wrapped could not be written over: it has fewer than `columns`
/// characters. The bar gives way.
fn part_line(part: &Part, seconds: f64, columns: usize) -> String {
    const SHORTEST: usize = 6;
    let room = columns.saturating_sub(1);
    let size = |bytes| human::size(bytes, 3);
    let line = if part.is_finished {
        format!("{} done   | {}", part.name, size(part.total))
    } else if part.done >= part.total {
        format!("{} unpacking | {}", part.name, size(part.total))
    } else {
        let speed = match seconds > 0.0 {
            true => (part.done as f64 / seconds) as u64,
            false => 0,
        };
        let (done, total, speed) = (size(part.done), size(part.total), size(speed));
        let bytes = format!("{done} / {total} | {speed}/s");
        let taken = part.name.len() + bytes.len() + " [] ".len();
        match room.saturating_sub(taken).min(WIDTH as usize) {
            width @ SHORTEST.. => {
                let all = u128::from(part.total.max(1));
                let filled = (u128::from(part.done) * width as u128 / all) as usize;
                let (full, empty) = ("=".repeat(filled), "-".repeat(width - filled));
                format!("{} [{full}{empty}] {bytes}", part.name)
            }
            _ => format!("{} {bytes}", part.name),
        }
    };
    line.chars().take(room).collect()
}

const WIDTH: u64 = 30;

fn bar(work: Work, done: u64, total: u64) -> String {
    let filled = (u128::from(done) * u128::from(WIDTH) / u128::from(total.max(1))) as usize;
    let bar = "=".repeat(filled) + &" ".repeat(WIDTH as usize - filled);
    match work {
        Work::Files => format!("Owners for this id map [{bar}] {done} / {total} files"),
        Work::Bytes => format!(
            "Copying for this id map [{bar}] {} / {}",
            human::size(done, 3),
            human::size(total, 3)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(
            line("copying", (25_000_000, 1), Some(100_000_000), 5_000_000),
            "copying:  25%  25MB of 100MB  5MB/s"
        );
        assert_eq!(line("reading", (10, 0), None, 1), "reading: 10B  1B/s");
        assert_eq!(
            line("x", (9, 200), Some(3), 1),
            "x: 100%  3B of 3B  1B/s  200 files"
        );
        assert_eq!(line("x", (0, 200), Some(3), 1), "x: 200 files");
    }

    #[test]
    fn the_bar_fills() {
        assert_eq!(
            bar(Work::Bytes, 500_000, 1_000_000),
            format!(
                "Copying for this id map [{}{}] 500kB / 1MB",
                "=".repeat(15),
                " ".repeat(15)
            )
        );
        assert!(bar(Work::Bytes, 0, u64::MAX).contains("[  "));
        assert!(bar(Work::Files, 10, 60_000).ends_with("] 10 / 60000 files"));
        let mut part = Part {
            name: "Copying blob 0123".to_owned(),
            done: 500_000,
            total: 1_000_000,
            is_finished: false,
        };
        assert_eq!(
            part_line(&part, 2.0, 80),
            format!(
                "Copying blob 0123 [{}{}] 500kB / 1MB | 250kB/s",
                "=".repeat(15),
                "-".repeat(15)
            )
        );
        assert_eq!(
            part_line(&part, 2.0, 49),
            "Copying blob 0123 [===---] 500kB / 1MB | 250kB/s"
        );
        assert_eq!(
            part_line(&part, 2.0, 45),
            "Copying blob 0123 500kB / 1MB | 250kB/s"
        );
        assert_eq!(part_line(&part, 2.0, 20), "Copying blob 0123 5");
        part.is_finished = true;
        assert_eq!(part_line(&part, 0.0, 80), "Copying blob 0123 done   | 1MB");
    }
}
