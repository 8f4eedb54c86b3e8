//! sd_notify(3): who started the container hears when it is ready.
//!
//! With `--sdnotify=conmon` it is when it runs; with `container` the container says so,
//! at a socket that is mounted into it. systemd listens to those in the service's cgroup
//! alone: what the container says is passed on by the monitor, and that it runs is said
//! by the command, for the monitor may stand in a scope.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use super::options::{Options, SdNotify};
use crate::error::{Context, Result};
use crate::sys::file::open_dir;

/// Where the container finds its socket.
pub const PLACE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// The most that is read of one message.
const LONGEST: usize = 4096;

/// A way to who waits for the container to be ready.
pub struct Notify {
    to: OsString,
    /// The container's own end of it, and its folder.
    from: Option<(UnixDatagram, PathBuf)>,
}

impl Notify {
    /// None where nobody waits, or it is not to be told.
    pub fn find(options: &Options, runtime: &Path) -> Result<Option<Self>> {
        let Some(to) = listener(options) else {
            return Ok(None);
        };
        let mut found = Self { to, from: None };
        if options.sdnotify == SdNotify::Container {
            let folder = runtime.join("notify");
            let path = folder.join(SOCKET);
            let made = std::fs::create_dir(&folder).and_then(|()| {
                // A path may be longer than an address (unix(7)).
                let dir = open_dir(&folder)?;
                let short = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
                let socket = UnixDatagram::bind(short)?;
                socket.set_nonblocking(true)?;
                // Whoever of the container its process is.
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
                Ok(socket)
            });
            let made = made.tried(|| format!("make {}", path.display()))?;
            found.from = Some((made, folder));
        }
        Ok(Some(found))
    }

    /// What is mounted at [`PLACE`].
    pub fn folder(&self) -> Option<&Path> {
        self.from.as_ref().map(|(_, folder)| folder.as_path())
    }

    /// The variable by which the container's process finds its socket.
    pub fn variable() -> String {
        format!("NOTIFY_SOCKET={PLACE}/{SOCKET}")
    }

    /// Whose readiness the monitor waits for.
    pub fn source(&self) -> Option<BorrowedFd<'_>> {
        self.from.as_ref().map(|(socket, _)| socket.as_fd())
    }

    /// Passes on what the container said. Numbers of its processes mean nothing here.
    pub fn pass_on(&self) {
        let Some((socket, _)) = &self.from else {
            return;
        };
        let mut words = [0; LONGEST];
        while let Ok(length) = socket.recv(&mut words) {
            let text = String::from_utf8_lossy(&words[..length]).into_owned();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with("MAINPID=") && !line.is_empty())
                .collect();
            if !lines.is_empty() {
                self.say(lines.join("\n"));
            }
        }
    }

    fn say(&self, words: String) {
        say(&self.to, &words);
    }
}

/// The container runs: the service's main process is `monitor`. Said before the command
/// ends, for until it is heard that one is.
pub fn started(options: &Options, monitor: i32) {
    let Some(to) = listener(options) else {
        return;
    };
    match options.sdnotify {
        SdNotify::Container => say(&to, &format!("MAINPID={monitor}")),
        _ => say(&to, &format!("MAINPID={monitor}\nREADY=1")),
    }
}

/// None where nobody waits, or it is not to be told.
fn listener(options: &Options) -> Option<OsString> {
    let to = std::env::var_os("NOTIFY_SOCKET")?;
    (!to.is_empty() && options.sdnotify != SdNotify::Ignore).then_some(to)
}

/// Who does not listen any more hears nothing, which is no error.
fn say(to: &OsStr, words: &str) {
    let _ = address(to).and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(words.as_bytes(), &address)
    });
}

/// `@` begins an abstract address (sd_notify(3)).
fn address(text: &OsStr) -> std::io::Result<SocketAddr> {
    match text.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(text),
    }
}
