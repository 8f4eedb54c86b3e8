//! Values to text: the only code that prints.
//!
//! Data goes to stdout, all else to stderr. A closed stdout is a quiet end.
//!
//! - [`Listing`]: tables, `--format` and JSON of a listing; its rows are
//!   [`value::Row`]s or `Serialize` structs by way of [`value::to_value`].
//! - [`listing::print_each`], [`listing::one`]: `--format` of `inspect`,
//!   `version`, `info`.
//! - [`progress`], [`Waiting`]: bars on a terminal, and a line for what has none.
//! - [`board`]: what is at work, with its last lines, on a terminal.
//! - [`terminal`]: its width, its colours.
//! - [`hint`]: what the user can do about an error.
//! - [`json`]: Podman's indents. [`human`]: sizes and spans of time.

pub mod board;
mod function;
mod hint;
pub mod human;
pub mod json;
pub mod listing;
pub mod progress;
pub mod table;
mod template;
pub mod terminal;
pub mod unused;
pub mod value;
mod waiting;
pub mod yaml;

pub use listing::Listing;
pub use progress::Progress;
pub use template::Template;
pub use waiting::Waiting;

use std::io::Write;

use terminal::Colour;

use crate::error::{Error, Result};

/// stdout and stderr of one command. stdout is buffered until it is dropped.
pub struct Output {
    out: std::io::BufWriter<std::fs::File>,
    /// Nothing is cut, however narrow the terminal is.
    is_whole: bool,
}

impl Output {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let stdout = std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned();
        let file = stdout
            .map(std::fs::File::from)
            .or_else(|_| std::fs::File::options().write(true).open("/dev/null"));
        Self {
            out: std::io::BufWriter::new(file.expect("stdout or /dev/null opens")),
            is_whole: false,
        }
    }

    /// `--no-trunc`: tables are as wide as what is in them.
    pub fn keep_whole(&mut self, whole: bool) {
        self.is_whole = whole;
    }

    /// A table, whose cells end in tabs: as Podman sets it, and on a terminal as wide
    /// as that at most.
    pub fn table(&mut self, text: &str) {
        let stdout = std::io::stdout();
        let columns = terminal::columns(&stdout).filter(|_| !self.is_whole);
        let set = match columns {
            Some(columns) => table::fit(text, columns),
            None => table::align(text),
        };
        match terminal::has_colour(&stdout) {
            true => self.text(&table::painted(&set)),
            false => self.text(&set),
        }
    }

    /// One line of data.
    pub fn line(&mut self, line: impl std::fmt::Display) {
        let done = writeln!(self.out, "{line}");
        self.check(done);
    }

    /// Data as it is.
    pub fn text(&mut self, text: &str) {
        let done = self.out.write_all(text.as_bytes());
        self.check(done);
    }

    /// Bytes as they are, on stdout or stderr.
    pub fn raw(&mut self, to_stderr: bool, bytes: &[u8]) {
        if to_stderr {
            self.flush();
            let _ = std::io::stderr().write_all(bytes);
        } else {
            let done = self.out.write_all(bytes);
            self.check(done);
        }
    }

    /// Sends what is buffered on its way.
    pub fn flush(&mut self) {
        waiting::clear();
        let done = self.out.flush();
        self.check(done);
    }

    /// A line that is not data, on stderr.
    pub fn notice(&mut self, line: impl std::fmt::Display) {
        self.flush();
        let mut line = line.to_string();
        if let Some(rest) = line.strip_prefix("Warning:")
            && terminal::has_colour(&std::io::stderr())
        {
            line = terminal::painted("Warning:", Colour::Yellow) + rest;
        }
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Asks on the terminal whether to go on; yes needs a `y`. With no terminal
    /// on stdin the answer is read from there all the same, as Podman does.
    pub fn confirm(&mut self, warning: &str, question: &str) -> Result<bool> {
        // Podman, in Go's word for an answer that ends before it is one.
        self.ask(warning, question)
            .ok_or_else(|| Error::other("EOF"))
    }

    /// The same; `None` if there is no answer to read.
    pub fn ask(&mut self, warning: &str, question: &str) -> Option<bool> {
        self.text(warning);
        self.text(question);
        self.flush();
        let mut answer = String::new();
        let read = std::io::BufRead::read_line(&mut std::io::stdin().lock(), &mut answer);
        let yes = answer.trim_start().to_lowercase().starts_with('y');
        read.is_ok_and(|length| length > 0).then_some(yes)
    }

    /// Shows an error: once, here, and nowhere else.
    pub fn error(&mut self, error: &Error) {
        let has_colour = terminal::has_colour(&std::io::stderr());
        let word = |word: &str, colour| match has_colour {
            true => terminal::painted(word, colour),
            false => word.to_owned(),
        };
        self.notice(format_args!("{} {error}", word("Error:", Colour::Red)));
        if let Some(line) = error.see_line() {
            self.notice(format_args!("{line}"));
        }
        if let Some(hint) = hint::of(error) {
            self.notice(format_args!("{} {hint}", word("Hint:", Colour::Cyan)));
        }
    }

    /// Whoever read our stdout has left: nothing more to do, and no error.
    fn check(&self, done: std::io::Result<()>) {
        if let Err(error) = done
            && error.kind() == std::io::ErrorKind::BrokenPipe
        {
            crate::sys::process::exit_now(0);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}
