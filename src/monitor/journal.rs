//! What a container printed, given to the system's journal over its own socket
//! (systemd's native journal protocol), with the fields that conmon sets.
//!
//! ```text
//! MESSAGE=a whole line            one datagram for each line
//! PRIORITY=6                      3 for stderr
//! CONTAINER_ID_FULL=… CONTAINER_ID=… CONTAINER_NAME=… CONTAINER_TAG=…
//! CONTAINER_PARTIAL_MESSAGE=true  more of the line follows
//! CORACLE_EVENT=ended             nothing more comes of this start
//! ```

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::log::Stream;
pub use crate::events::journal::SOCKET;
use crate::events::journal::field;

/// How long the journal may keep the container waiting; then the line is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose output it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub id: String,
    pub name: String,
    /// `--log-opt tag=`, filled in.
    pub tag: Option<String>,
}

/// The journal, as the output of one container goes there.
pub struct Journal {
    socket: UnixDatagram,
    about: Vec<u8>,
    message: Vec<u8>,
}

impl Journal {
    /// None where there is no journal: the output is then not kept, as with Podman.
    pub fn open(about: &About) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        socket.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(Self {
            socket,
            about: fields(about),
            message: Vec::new(),
        })
    }

    /// Gives it a line, without its end; `whole`: the line ends here.
    pub fn line(&mut self, stream: Stream, text: &[u8], whole: bool) {
        self.message.clear();
        self.message.extend(&self.about);
        let priority = match stream {
            Stream::Stdout => "6",
            Stream::Stderr => "3",
        };
        field(&mut self.message, "PRIORITY", priority.as_bytes());
        field(&mut self.message, "MESSAGE", text);
        if !whole {
            field(&mut self.message, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        // A journal that takes it no more loses the line, never the container.
        let _ = self.socket.send(&self.message);
    }

    /// Says that the container has ended, for those who follow it.
    pub fn end(&mut self) {
        self.message.clear();
        self.message.extend(&self.about);
        field(&mut self.message, "PRIORITY", b"6");
        field(&mut self.message, "MESSAGE", b"container ended");
        field(&mut self.message, "CORACLE_EVENT", b"ended");
        let _ = self.socket.send(&self.message);
        self.message = Vec::new();
    }
}

/// The fields that are the same in every message.
fn fields(about: &About) -> Vec<u8> {
    let mut all = Vec::new();
    let id = about.id.as_bytes();
    field(&mut all, "CONTAINER_ID_FULL", id);
    field(&mut all, "CONTAINER_ID", id.get(..12).unwrap_or(id));
    field(&mut all, "CONTAINER_NAME", about.name.as_bytes());
    if let Some(tag) = &about.tag {
        field(&mut all, "CONTAINER_TAG", tag.as_bytes());
    }
    let identifier = about.tag.as_ref().unwrap_or(&about.name);
    field(&mut all, "SYSLOG_IDENTIFIER", identifier.as_bytes());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_conmons_fields() {
        let about = About {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            tag: None,
        };
        assert_eq!(
            String::from_utf8(fields(&about)).unwrap(),
            "CONTAINER_ID_FULL=0123456789abcdef\nCONTAINER_ID=0123456789ab\n\
             CONTAINER_NAME=web\nSYSLOG_IDENTIFIER=web\n"
        );
        let tagged = About {
            tag: Some("t".into()),
            ..about
        };
        let text = String::from_utf8(fields(&tagged)).unwrap();
        assert!(text.ends_with("CONTAINER_TAG=t\nSYSLOG_IDENTIFIER=t\n"));
    }
}
