//! Locks on files.
//!
//! `flock` locks (std's `File::lock`, `lock_shared`) belong to the open file, so
//! a forked copy holds them too. A [`Seat`] is a POSIX record lock (fcntl(2)
//! F_SETLK): it belongs to the *process*, no child inherits it, and the kernel
//! tells who holds it. That is what "the monitor runs" hangs on: no descriptor
//! that strays into a container can keep it.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Held by this process alone until it ends or drops it.
///
/// **Invariant:** the process opens the locked file through no other value, as
/// closing any descriptor of the file would release the lock (fcntl(2)).
#[derive(Debug)]
pub struct Seat {
    file: File,
}

impl Seat {
    /// The locked file's metadata.
    pub fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }

    /// Leaves a note for who takes the seat next, or takes it away: [`Seat::has_note`].
    pub fn note(&self, on: bool) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode(on)))
    }

    /// Whether there is a note.
    pub fn has_note(&self) -> io::Result<bool> {
        Ok(self.metadata()?.mode() & NOTE != 0)
    }
}

/// A note is a bit of the file's mode: it is there as soon as the file is.
const NOTE: u32 = 0o100;

fn mode(note: bool) -> u32 {
    if note { 0o600 | NOTE } else { 0o600 }
}

/// Takes the seat at `path`; `None` if another process holds it. One that is missing is
/// made, with a note or without.
pub fn take_seat(path: &Path, note: bool) -> io::Result<Option<Seat>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(mode(note))
        .open(path)?;
    seat(file, libc::F_SETLK)
}

/// Waits for the seat at `path` and takes it.
pub fn wait_for_seat(path: &Path) -> io::Result<Seat> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    Ok(seat(file, libc::F_SETLKW)?.expect("F_SETLKW waits"))
}

fn seat(file: File, command: i32) -> io::Result<Option<Seat>> {
    loop {
        // SAFETY: the descriptor is open and `flock` lives through the call.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), command, &whole(libc::F_WRLCK)) };
        if done == 0 {
            return Ok(Some(Seat { file }));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EINTR) => {}
            error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                return Ok(None);
            }
            error => return Err(error),
        }
    }
}

/// The process that holds the seat at `path`: `None` if none does or there is no
/// such file; 0 if it cannot be named from our pid namespace.
pub fn seat_holder(path: &Path) -> io::Result<Option<i32>> {
    let file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let mut flock = whole(libc::F_WRLCK);
    // SAFETY: the descriptor is open and `flock` lives through the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut flock) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((i32::from(flock.l_type) != libc::F_UNLCK).then_some(flock.l_pid.max(0)))
}

fn whole(kind: i32) -> libc::flock {
    // SAFETY: `flock` is plain numbers, for which zeros are values.
    let mut flock: libc::flock = unsafe { std::mem::zeroed() };
    flock.l_type = kind as i16;
    flock.l_whence = libc::SEEK_SET as i16;
    flock
}
