//! One error type: a kind, what was tried, the cause, at times a hint.
//!
//! The kind decides the exit code; the words follow Podman's where scripts may
//! read them. An error is returned or logged, never both; `cli` shows it once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, as far as a caller or the exit code cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A flag, argument or combination that cannot be (125).
    Usage,
    /// Something named does not exist (125; `rm`, `rmi`, `volume rm`: 1).
    NotFound,
    /// Something named exists already (125).
    Exists,
    /// Something is in use (125; `rm`, `rmi`, `volume rm`: 2).
    InUse,
    /// The object is in a state that does not allow this (125; `rm`: 2).
    State,
    /// A Podman command or flag that is not there yet (125).
    Unsupported,
    /// The container's command was found but cannot be invoked (126).
    CannotInvoke,
    /// The container's command was not found (127).
    CommandNotFound,
    /// This signal ended it; the command ends by it too, and says nothing.
    Interrupted(i32),
    /// Everything else: the kernel, the disk, another program (125).
    Other,
}

/// An error on its way to the user, from whichever of our processes met it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    /// A line of Podman's about where to read on, as it is.
    see: Option<String>,
}

/// `Result` with our `Error`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose words are `message`: lower case, no full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            see: None,
        }
    }

    /// A flag, argument or combination that cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// What is none of the other kinds.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Other, message)
    }

    /// Something named that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// A part of Podman that is not there yet: named, never silent.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(
            Kind::Unsupported,
            format!("{what} is not supported by coracle yet"),
        )
    }

    /// That a signal has come, and what was at work is given up.
    pub fn interrupted(signal: i32) -> Self {
        Self::new(Kind::Interrupted(signal), "it was interrupted")
    }

    /// The same error, said to have happened while `tried`.
    #[must_use]
    pub fn tried(mut self, tried: impl fmt::Display) -> Self {
        self.message = format!("{tried}: {}", self.message);
        self
    }

    /// The same error with a line that says what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with the name that may have been meant.
    #[must_use]
    pub fn meant(self, name: Option<impl fmt::Display>) -> Self {
        match name {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// The same error with a line of Podman's about where to read on.
    #[must_use]
    pub fn see(mut self, line: impl Into<String>) -> Self {
        self.see = Some(line.into());
        self
    }

    /// The same error as another kind.
    #[must_use]
    pub fn kind_is(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where to read on, if Podman says it.
    pub fn see_line(&self) -> Option<&str> {
        self.see.as_deref()
    }

    /// What the user can do, if we know.
    pub fn hint_line(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The message and what the user can do, in one line.
    pub fn with_hint(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}: {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// Podman's exit code for this kind of error.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::CannotInvoke => 126,
            Kind::CommandNotFound => 127,
            _ => 125,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The kernel's words without Rust's number, as Go spells them: scripts read
/// `no such file or directory`. Words that are not the kernel's stay as they are.
pub fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let Some(number) = error.raw_os_error() else {
        return text;
    };
    let text = text.trim_end_matches(&format!(" (os error {number})"));
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::other(words(&error))
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

impl From<nix::errno::Errno> for Error {
    fn from(error: nix::errno::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::other(error.to_string())
    }
}

/// Says what was tried when a result is an error.
pub trait Context<T> {
    /// `tried()` is asked only on failure.
    fn tried<D: fmt::Display>(self, tried: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn tried<D: fmt::Display>(self, tried: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().tried(tried()))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::words;

    #[test]
    fn the_kernels_words_are_gos() {
        for (error, wanted) in [
            (io::Error::from_raw_os_error(2), "no such file or directory"),
            (io::Error::from_raw_os_error(28), "no space left on device"),
            (io::Error::other("As it is"), "As it is"),
        ] {
            assert_eq!(words(&error), wanted);
        }
    }
}
