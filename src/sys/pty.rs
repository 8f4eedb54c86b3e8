//! Pseudo-terminals and the caller's own terminal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};

pub use rustix::termios::{Winsize, isatty};

/// A terminal put into raw mode; as it was before when dropped.
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

/// Lets `terminal` show nothing of what is typed, until the value is dropped.
pub fn silent(terminal: BorrowedFd<'_>) -> io::Result<Raw> {
    use rustix::termios::LocalModes;
    let terminal = terminal.try_clone_to_owned()?;
    let before = rustix::termios::tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    rustix::termios::tcsetattr(&terminal, OptionalActions::Drain, &silent)?;
    Ok(Raw { terminal, before })
}

/// Puts `terminal` into raw mode: every byte goes through as typed.
pub fn raw(terminal: BorrowedFd<'_>) -> io::Result<Raw> {
    let terminal = terminal.try_clone_to_owned()?;
    let before = rustix::termios::tcgetattr(&terminal)?;
    let mut raw = before.clone();
    raw.make_raw();
    rustix::termios::tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
    Ok(Raw { terminal, before })
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Opens a new pair in the /dev/pts we see: the master and the slave.
pub fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    Ok((master, slave))
}

/// Makes `slave` the controlling terminal of this session's leader, us.
pub fn control(slave: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::process::ioctl_tiocsctty(slave)?)
}

/// The size of a terminal's window.
pub fn size(terminal: impl AsFd) -> io::Result<Winsize> {
    Ok(rustix::termios::tcgetwinsize(terminal)?)
}

/// Sets the size of a terminal's window; its foreground group gets SIGWINCH.
pub fn set_size(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// The path of the slave of a pair whose other end is `slave` itself.
pub fn path(slave: &OwnedFd) -> io::Result<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd()))
}
