//! A command on a terminal, driven as a person would.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Instant;

use super::Cmd;
use super::command::{PATIENCE, Stream, code, wait};

/// A command whose controlling terminal is ours to type on.
pub struct Terminal {
    line: String,
    child: Child,
    keyboard: File,
    screen: Stream,
    seen: usize,
}

impl Cmd<'_> {
    /// Starts it on a terminal of 24 rows and 80 columns.
    pub fn terminal(&self) -> Terminal {
        let (master, slave) = coracle::sys::pty::open().unwrap();
        coracle::sys::pty::set_size(&slave, 24, 80).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = self
            .command(&["setsid", "--ctty"])
            .env("TERM", "dumb")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keyboard = File::from(master);
        Terminal {
            line: self.line(),
            child,
            screen: Stream::of(keyboard.try_clone().unwrap()),
            keyboard,
            seen: 0,
        }
    }
}

impl Terminal {
    /// Types `text`; `\r` is Enter, `\x03` Ctrl-C.
    pub fn types(&mut self, text: &str) -> &mut Self {
        self.keyboard.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Waits until `text` is shown after what was waited for before.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> &mut Self {
        self.seen = self.screen.wait_for(text.as_bytes(), self.seen, &self.line);
        self
    }

    /// Waits until `end` is shown, and gives what was shown before it and after what
    /// was waited for before.
    #[track_caller]
    pub fn reads_to(&mut self, end: &str) -> String {
        let from = self.seen;
        self.shows(end);
        let shown = self.screen.between(from, self.seen - end.len());
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Gives the window another size.
    pub fn resize(&mut self, rows: u16, columns: u16) -> &mut Self {
        coracle::sys::pty::set_size(&self.keyboard, rows, columns).unwrap();
        self
    }

    /// Waits for its end and gives its exit code, and all that was shown.
    #[track_caller]
    pub fn wait(mut self) -> (i32, String) {
        let status = wait(&mut self.child, &self.line);
        let screen = self.screen.end(Instant::now() + PATIENCE);
        let screen = screen.unwrap_or_else(|| panic!("`{}` left its terminal open", self.line));
        (code(status), String::from_utf8_lossy(&screen).into_owned())
    }
}
