//! Work that goes on, several at a time, on a terminal.
//!
//! ```text
//! STEP 1/3: FROM alpine  0.2s          done: written once, and scrolls away
//! STEP 2/3: RUN make  12.0s            at work: drawn again in its place
//!   cc -c main.c                       the last that it printed
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::time::{Duration, Instant};

use super::terminal;

/// How much of what one prints is kept, to be shown if it fails.
const KEPT: usize = 256 << 10;

/// How many of its lines are shown at most.
const SHOWN: usize = 6;

/// How often it is drawn.
const BEAT: Duration = Duration::from_millis(100);

/// What is at work, by number, in a part of the terminal that is written again and again.
pub struct Board {
    works: BTreeMap<usize, Work>,
    /// Lines that stand there now.
    drawn: usize,
    at: Instant,
    size: (usize, usize),
}

/// One that is at work.
struct Work {
    line: String,
    begun: Instant,
    printed: VecDeque<u8>,
    is_cut: bool,
}

impl Board {
    /// `None` unless both stdout and stderr are terminals.
    pub fn on_terminal() -> Option<Self> {
        let is_there = terminal::moves(&std::io::stdout()) && terminal::moves(&std::io::stderr());
        is_there.then(|| Self {
            works: BTreeMap::new(),
            drawn: 0,
            at: Instant::now(),
            size: (24, 80),
        })
    }

    /// One begins, in place of what had this number.
    pub fn begin(&mut self, number: usize, line: &str) {
        let work = Work {
            line: line.lines().next().unwrap_or_default().to_owned(),
            begun: Instant::now(),
            printed: VecDeque::new(),
            is_cut: false,
        };
        self.works.insert(number, work);
    }

    /// It has printed this.
    pub fn print(&mut self, number: usize, bytes: &[u8]) {
        if let Some(work) = self.works.get_mut(&number) {
            work.printed.extend(bytes);
            let over = work.printed.len().saturating_sub(KEPT);
            work.is_cut |= over > 0;
            work.printed.drain(..over);
        }
    }

    /// It is done: its line, with how long it took, or with `note` in place of that. What
    /// stands on the terminal is taken away for it.
    pub fn end(&mut self, number: usize, note: Option<&str>) -> Option<String> {
        let work = self.works.remove(&number)?;
        self.clear();
        let spent = elapsed(work.begun.elapsed());
        Some(format!("{}  {}", work.line, note.unwrap_or(&spent)))
    }

    /// It has failed: its line and all that it printed.
    pub fn fail(&mut self, number: usize) -> Vec<u8> {
        self.clear();
        let Some(work) = self.works.remove(&number) else {
            return Vec::new();
        };
        let mut bytes = format!("{}\n", work.line).into_bytes();
        if work.is_cut {
            bytes.extend(b"[...]\n");
        }
        bytes.extend(work.printed);
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        bytes
    }

    /// Takes away what stands on the terminal, for something else to be written there.
    pub fn clear(&mut self) {
        if self.drawn > 0 {
            let _ = std::io::stderr().write_all(format!("\x1b[{}A\x1b[J", self.drawn).as_bytes());
            self.drawn = 0;
        }
    }

    /// Draws it, if that is due.
    pub fn draw(&mut self) {
        if self.at.elapsed() < BEAT {
            return;
        }
        self.at = Instant::now();
        if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stderr()) {
            let known = |given: u16, usual: usize| match given {
                0 => usual,
                given => usize::from(given),
            };
            self.size = (known(size.ws_row, 24), known(size.ws_col, 80));
        }
        let lines = self.lines(terminal::has_colour(&std::io::stderr()));
        let mut text = match self.drawn {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A"),
        };
        for line in &lines {
            text.push_str(&format!("\r{line}\x1b[K\n"));
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// The lines as they are drawn: fewer than the terminal has, and shorter.
    fn lines(&self, has_colour: bool) -> Vec<String> {
        let (rows, columns) = (self.size.0.max(4), self.size.1.max(20));
        let shown = self.works.len().min(rows - 2);
        let each = match shown {
            0 => return Vec::new(),
            shown => ((rows - 2) / shown - 1).min(SHOWN),
        };
        let mut lines = Vec::new();
        for work in self.works.values().take(shown) {
            let spent = elapsed(work.begun.elapsed());
            let room = columns.saturating_sub(spent.len() + 3);
            lines.push(format!("{}  {spent}", cut(&work.line, room)));
            for line in work.last(each) {
                let line = cut(&line, columns.saturating_sub(3));
                lines.push(match has_colour {
                    true => format!("  \x1b[2m{line}\x1b[0m"),
                    false => format!("  {line}"),
                });
            }
        }
        lines
    }
}

impl Work {
    /// The last lines that it printed, as a terminal would show each of them.
    fn last(&self, count: usize) -> Vec<String> {
        // No line that is shown is longer.
        const MOST: usize = 16 << 10;
        let skip = self.printed.len().saturating_sub(MOST);
        let bytes: Vec<u8> = self.printed.iter().skip(skip).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..]
            .iter()
            .map(|line| plain(line.rsplit('\r').find(|it| !it.is_empty()).unwrap_or("")))
            .collect()
    }
}

/// Without what would move the cursor.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\t' => out.push(' '),
            // `ESC [ … letter`, or `ESC` and one letter.
            '\x1b' => {
                if letters.next() == Some('[') {
                    letters.by_ref().find(char::is_ascii_alphabetic);
                }
            }
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

fn cut(line: &str, most: usize) -> String {
    match line.char_indices().nth(most) {
        None => line.to_owned(),
        Some(_) => line
            .chars()
            .take(most.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(size: (usize, usize)) -> Board {
        Board {
            works: BTreeMap::new(),
            drawn: 0,
            at: Instant::now(),
            size,
        }
    }

    #[test]
    fn the_last_lines_are_shown_and_all_are_kept() {
        let mut board = board((24, 30));
        board.begin(0, "STEP 2/3: RUN make everything there is");
        board.begin(1, "short");
        for at in 0..100 {
            board.print(0, format!("line {at}\n").as_bytes());
        }
        board.print(1, b"10%\r20%\r\x1b[31mred\x1b[0m\ta\x07\n");
        let lines = board.lines(false);
        assert!(
            lines[0].starts_with("STEP 2/3: RUN make eve…  0."),
            "{lines:?}"
        );
        assert_eq!(
            lines[1..7].join("|"),
            "  line 94|  line 95|  line 96|  line 97|  line 98|  line 99"
        );
        assert_eq!(lines[8], "  red a");
        assert!(lines.iter().all(|line| line.chars().count() < 30));
        let all = String::from_utf8(board.fail(0)).unwrap();
        assert!(all.ends_with("line 98\nline 99\n") && all.contains("line 0\n"));
        assert!(
            board
                .end(1, Some("CACHED"))
                .unwrap()
                .ends_with("short  CACHED")
        );
    }

    #[test]
    fn it_never_fills_the_terminal() {
        let mut board = board((10, 80));
        for number in 0..30 {
            board.begin(number, "a step");
            board.print(number, &b"x\n".repeat(20));
        }
        assert!(board.lines(true).len() <= 8);
        board.print(0, &vec![b'y'; 2 * KEPT]);
        assert!(board.fail(0).len() < KEPT + 100);
        assert_eq!(elapsed(Duration::from_secs(61)), "1m01s");
    }
}
