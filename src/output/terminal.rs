//! What a terminal is told that a pipe is not.

use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsFd;

use crate::error::{Error, Result};

/// Whether `stream` is a terminal that moves its cursor.
pub fn moves(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|it| it != "dumb")
}

/// Whether colours are wanted on `stream`: on a terminal, unless `NO_COLOR` says no.
pub fn has_colour(stream: &impl IsTerminal) -> bool {
    moves(stream) && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// How many columns the terminal `stream` has; none if it is not one, or does not know.
pub fn columns(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// A colour of the terminal's own eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Red,
    Green,
    Yellow,
    Cyan,
    Bold,
}

/// `text` in a colour.
pub fn painted(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Red => 31,
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Cyan => 36,
        Colour::Bold => 1,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
/// Asks on stderr which of `names` is meant, until an answer is the number of one; a line
/// with nothing in it is the first. Gives its place.
pub fn choose(question: &str, names: &[String]) -> Result<usize> {
    let mut stderr = std::io::stderr();
    let mut shown = format!("{question}\n");
    for (at, name) in names.iter().enumerate() {
        shown.push_str(&format!("  {}) {name}\n", at + 1));
    }
    let _ = stderr.write_all(shown.as_bytes());
    loop {
        let _ = stderr.write_all(format!("1-{} [1]: ", names.len()).as_bytes());
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(Error::other("EOF"));
        }
        match line.trim() {
            "" => return Ok(0),
            text => match text.parse::<usize>() {
                Ok(number) if (1..=names.len()).contains(&number) => return Ok(number - 1),
                _ => {}
            },
        }
    }
}

/// Asks for a password, which is not shown; of a stdin that is no terminal none is read.
pub fn password() -> std::result::Result<String, String> {
    let stdin = std::io::stdin();
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(b"Password: ");
    let _ = stdout.flush();
    if !stdin.is_terminal() {
        return Err("inappropriate ioctl for device".to_owned());
    }
    let silent = crate::sys::pty::silent(stdin.as_fd()).map_err(|error| error.to_string())?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    drop(silent);
    let _ = stdout.write_all(b"\n");
    read.map_err(|error| error.to_string())?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
