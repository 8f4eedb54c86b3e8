//! Files opened beneath a root, written whole, and moved without loss.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Opens `path` as a process whose root is `root` would see it: links and `..`
/// resolve beneath it, whatever its content says (openat2(2), RESOLVE_IN_ROOT,
/// Linux 5.6).
pub fn open_in_root(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat2(
            &root,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        ) {
            // The kernel asks to try again when a rename raced with `..`.
            Err(rustix::io::Errno::AGAIN) => {}
            result => return result.map_err(Into::into),
        }
    }
}

/// Whether we, as whom we act now, may do with what `file` is open on, even if only
/// to name it, what `mode` says: 4 to read, 2 to write, 1 to execute or search
/// (faccessat2(2), Linux 5.8).
pub fn may(file: impl AsFd, mode: i32) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_EACCESS;
    // SAFETY: the path outlives the call, the descriptor is borrowed for it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            mode,
            flags,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A copy of this process's standard input.
pub fn stdin() -> io::Result<File> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// Opens a directory to name what lies beneath it.
pub fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// The bits that new files do not get (umask(2)).
pub fn creation_mask() -> Mode {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask
}

/// Sets the bits that new files do not get.
pub fn set_creation_mask(mask: Mode) {
    rustix::process::umask(mask);
}

/// How far a write must have got when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Survives a power cut.
    Yes,
    /// Need not: it is gone with what uses it.
    No,
}

/// Writes `bytes` to `path` so that a reader sees the old file or the new one,
/// never half: beside it, synced, renamed, the directory synced.
pub fn write_whole(path: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or(OsStr::new("file"));
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}", crate::id::random_hex::<4>()));
    let beside = dir.join(beside);
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).open(&beside)?;
        file.write_all(bytes)?;
        if durable == Durable::Yes {
            file.sync_data()?;
        }
        std::fs::rename(&beside, path)
    })();
    if let Err(error) = written {
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    if durable == Durable::Yes {
        sync_dir(dir)
    } else {
        Ok(())
    }
}

/// Makes the entries of a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes everything on the file system of `dir` durable (syncfs(2)).
pub fn sync_file_system(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Renames without replacing what may stand at `to` (renameat2(2), RENAME_NOREPLACE).
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Makes `dir` the working directory.
pub fn change_dir(dir: &Path) -> io::Result<()> {
    Ok(rustix::process::chdir(dir)?)
}

/// Makes reads and writes of `fd` give EAGAIN instead of waiting. For pipes and
/// sockets that nobody shares with us: the flag belongs to the open file.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(&fd)?;
    flags.set(OFlags::NONBLOCK, on);
    Ok(rustix::fs::fcntl_setfl(&fd, flags)?)
}
