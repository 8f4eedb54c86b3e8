//! How far something is that takes long, on a terminal.

use std::io::{IsTerminal, Write};

use super::human;

/// Shows on stderr, if it is a terminal, that `done` of `total` bytes are copied;
/// takes that away when all are.
pub fn copying(done: u64, total: u64) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let line = match done < total {
        true => line(done, total),
        false => String::new(),
    };
    // To the line's beginning, and what is left of the last one away.
    let _ = write!(stderr, "\r{line}\x1b[K");
    let _ = stderr.flush();
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
        let rows = rustix::termios::tcgetwinsize(std::io::stderr())
            .map_or(24, |size| usize::from(size.ws_row))
            .max(4);
        let seconds = self.begun.elapsed().as_secs_f64();
        // What would scroll away cannot be written again: the last ones are shown.
        let skip = parts.len().saturating_sub(rows - 2);
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for part in &parts[skip..] {
            text.push_str(&format!("\r{}\x1b[K\n", part_line(part, seconds)));
        }
        self.drawn = parts.len() - skip;
        let mut stderr = std::io::stderr();
        let _ = stderr.write_all(text.as_bytes());
        let _ = stderr.flush();
    }
}

fn part_line(part: &Part, seconds: f64) -> String {
    let speed = match seconds > 0.0 {
        true => format!("{}/s", human::size((part.done as f64 / seconds) as u64, 3)),
        false => "0B/s".to_owned(),
    };
    if part.is_finished {
        return format!("{} done   | {}", part.name, human::size(part.total, 3));
    }
    if part.done >= part.total {
        return format!("{} unpacking | {}", part.name, human::size(part.total, 3));
    }
    let filled =
        (u128::from(part.done) * u128::from(WIDTH) / u128::from(part.total.max(1))) as usize;
    format!(
        "{} [{}{}] {} / {} | {speed}",
        part.name,
        "=".repeat(filled),
        "-".repeat(WIDTH as usize - filled),
        human::size(part.done, 3),
        human::size(part.total, 3)
    )
}

const WIDTH: u64 = 30;

fn line(done: u64, total: u64) -> String {
    let filled = (u128::from(done) * u128::from(WIDTH) / u128::from(total.max(1))) as usize;
    format!(
        "Copying the image for this id map [{}{}] {} / {}",
        "=".repeat(filled),
        " ".repeat(WIDTH as usize - filled),
        human::size(done, 3),
        human::size(total, 3)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(
            line(500_000, 1_000_000),
            format!(
                "Copying the image for this id map [{}{}] 500kB / 1MB",
                "=".repeat(15),
                " ".repeat(15)
            )
        );
        assert!(line(0, u64::MAX).contains("[  "));
        let mut part = Part {
            name: "Copying blob 0123".to_owned(),
            done: 500_000,
            total: 1_000_000,
            is_finished: false,
        };
        assert_eq!(
            part_line(&part, 2.0),
            format!(
                "Copying blob 0123 [{}{}] 500kB / 1MB | 250kB/s",
                "=".repeat(15),
                "-".repeat(15)
            )
        );
        part.is_finished = true;
        assert_eq!(part_line(&part, 0.0), "Copying blob 0123 done   | 1MB");
    }
}
