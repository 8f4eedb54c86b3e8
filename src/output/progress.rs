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
    }
}
