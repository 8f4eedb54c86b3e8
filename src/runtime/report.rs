//! What an init tells its monitor before it becomes the container's command.
//!
//! libcontainer's errors lose their cause on the way; it says the cause in its
//! `tracing` ERROR events, in whichever of its processes met it. Those are sent
//! over the same socket and added to the error.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::sys::socket;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The master of the pty comes beside it.
    Pty,
    Failed(Failed),
    /// The maker's: the init's pid, or why there is none.
    Made {
        pid: i32,
    },
    NotMade(String),
}

/// Why the command cannot be run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failed {
    pub message: String,
    /// 126, 127 or 125.
    pub exit_code: u8,
    /// What stands in the way, where that is certain.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Failed {
    pub fn into_error(self) -> Error {
        let kind = match self.exit_code {
            126 => Kind::CannotInvoke,
            127 => Kind::CommandNotFound,
            _ => Kind::Other,
        };
        let error = Error::new(kind, self.message);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// Where events are written: a descriptor, or none.
static SINK: AtomicI32 = AtomicI32::new(-1);
/// A message that begins so is an event, not a `Report`.
const EVENT: u8 = b'!';

pub(super) fn say(socket: BorrowedFd<'_>, report: &Report, fds: &[BorrowedFd<'_>]) -> Result<()> {
    Ok(socket::send(socket, &serde_json::to_vec(report)?, fds)?)
}

/// The next report; `None` when the init has become the command (or is gone).
pub(super) fn hear(socket: &OwnedFd) -> Result<Option<(Report, Option<OwnedFd>)>> {
    loop {
        let (message, fds) = socket::receive(socket)?;
        match message.first() {
            None => return Ok(None),
            Some(&EVENT) => {}
            Some(_) => {
                return Ok(Some((
                    serde_json::from_slice(&message)?,
                    fds.into_iter().next(),
                )));
            }
        }
    }
}

/// Waits for what the maker says at its end: the init's pid, and its pty's master if it
/// has one. The reason why there is no init is the init's own if it gave one, else the
/// first event, which is nearest to the cause.
pub(super) fn made(socket: &OwnedFd) -> Result<(i32, Option<OwnedFd>)> {
    let (mut master, mut failed) = (None, None);
    let mut events: Vec<String> = Vec::new();
    let said = loop {
        let (message, fds) = socket::receive(socket)?;
        match message.split_first() {
            None => break "its maker was killed".to_owned(),
            Some((&EVENT, event)) => {
                events.push(String::from_utf8_lossy(event).into_owned());
            }
            Some(_) => match serde_json::from_slice(&message)? {
                Report::Pty => master = fds.into_iter().next(),
                Report::Failed(why) => failed = failed.or(Some(why)),
                Report::Made { pid } => return Ok((pid, master)),
                Report::NotMade(said) => break said,
            },
        }
    };
    Err(match failed {
        Some(failed) => failed.into_error(),
        None => not_mounted(&events).unwrap_or_else(|| {
            let cause = events.first().unwrap_or(&said);
            Error::other(format!("make the container: {cause}"))
                .hint("`coracle doctor` looks at what this machine allows")
        }),
    })
}

/// A mount that failed: the first event says which, a later one has the kernel's words.
fn not_mounted(events: &[String]) -> Option<Error> {
    let mount = events.first()?.strip_prefix("failed to mount Mount {")?;
    let quoted = |name: &str| {
        let (_, rest) = mount.split_once(name)?;
        Some(rest.split_once('"')?.0)
    };
    let target = quoted("destination: \"")?;
    let source = quoted("source: Some(\"").unwrap_or("it");
    let words = events.iter().find_map(|event| {
        let (_, rest) = event.split_once("message: \"")?;
        Some(rest.split_once('"')?.0)
    });
    let error = match words {
        Some(words @ "Permission denied") => {
            Error::other(format!("creating `{target}`: {words}: OCI permission denied")).hint(
                format!(
                    "{target} is not there, and what is mounted above it lets nobody make it: make it yourself, or mount {source} elsewhere"
                ),
            )
        }
        Some(words) => Error::other(format!("mount `{source}` to `{target}`: {words}")),
        None => return None,
    };
    Some(error.kind_is(Kind::CannotInvoke))
}

/// From now on ERROR events go to `socket`, from this process and its children.
pub(super) fn capture_into(socket: &OwnedFd) {
    SINK.store(socket.as_raw_fd(), Ordering::Relaxed);
    let _ = tracing::subscriber::set_global_default(Events);
}

/// A `tracing` subscriber that passes on the text of ERROR events.
struct Events;

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR && metadata.is_event()
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::ERROR)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let sink = SINK.load(Ordering::Relaxed);
        if sink < 0 {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let message = [&[EVENT], text.0.as_bytes()].concat();
        crate::sys::socket::send_raw(sink, &[IoSlice::new(&message)]);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// An event's message with its fields behind it.
struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write;
        let text = &mut self.0;
        let _ = match field.name() {
            "message" => {
                let rest = std::mem::take(text);
                write!(text, "{value:?}{rest}")
            }
            name => write!(text, ", {name} {value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_failed_is_said_in_a_line() {
        let first = r#"failed to mount Mount { destination: "/d/new", typ: Some("bind"), source: Some("/home/me"), options: None }: create next directory component failed"#;
        let because = |words: &str| {
            format!(
                r#"failed to prepare rootfs, err Mkdirat {{ path: "new", source: Os {{ code: 1, message: "{words}" }} }}"#
            )
        };
        for (words, said) in [
            (
                "Permission denied",
                "creating `/d/new`: Permission denied: OCI permission denied",
            ),
            (
                "Not a directory",
                "mount `/home/me` to `/d/new`: Not a directory",
            ),
        ] {
            let error = not_mounted(&[first.to_owned(), because(words)]).unwrap();
            assert_eq!(error.to_string(), said);
            assert_eq!(error.exit_code(), 126);
        }
        assert_eq!(not_mounted(&["something else".to_owned()]), None);
    }
}
