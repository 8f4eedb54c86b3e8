//! Mounts, by the new mount API (Linux 5.2) where it helps.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, mount_change, move_mount, open_tree, unmount,
};

/// A file system that is made but not yet put anywhere.
pub type Detached = OwnedFd;

/// Makes a file system of `kind` with `options`, each `key=value` or a flag.
/// An error carries the kernel's own words where it gives some.
pub fn make(
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> io::Result<Detached> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let made = (|| {
        if !options.iter().any(|(key, _)| *key == "source") {
            // What /proc/mounts shows in its place is "none".
            fsconfig_set_string(context.as_fd(), "source", kind)?;
        }
        for &(key, value) in options {
            match value {
                Some(value) => fsconfig_set_string(context.as_fd(), key, value)?,
                None => fsconfig_set_flag(context.as_fd(), key)?,
            }
        }
        fsconfig_create(context.as_fd())?;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    })();
    made.map_err(|errno| with_words(&context, errno))
}

/// Makes an overlay of `options`, as [`make`] takes them: each lower folder is a
/// `lowerdir+`, the topmost first. In a mount namespace of our own.
pub fn overlay(options: &[(&str, Option<&str>)]) -> io::Result<Detached> {
    match make("overlay", options, MountAttrFlags::empty()) {
        // EINVAL: that key is of Linux 6.7.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            overlay_of_one_line(options).map_err(|_| error)
        }
        result => result,
    }
}

/// The same by mount(2), where all lower folders are one option: its line may be a
/// page long, while fsconfig(2) takes no value of more than 255 bytes. The folders
/// are named by their descriptors, which is short and needs no escape; some 200
/// fit.
fn overlay_of_one_line(options: &[(&str, Option<&str>)]) -> io::Result<Detached> {
    let mut held = Vec::new();
    let mut lower = String::new();
    let mut line = String::new();
    let mut at = None;
    for &(key, value) in options {
        match (key, value) {
            ("source", _) => {}
            ("lowerdir+" | "upperdir" | "workdir", Some(path)) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let folder = rustix::fs::open(path, flags, Mode::empty())?;
                let name = format!("/proc/self/fd/{}", folder.as_raw_fd());
                held.push(folder);
                if key == "lowerdir+" {
                    at = at.or(Some(path));
                    lower += if lower.is_empty() { "lowerdir=" } else { ":" };
                    lower += &name;
                } else {
                    line += &format!("{key}={name},");
                }
            }
            (flag, None) => line += &format!("{flag},"),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    let line = CString::new(line + &lower)?;
    let at = at.ok_or(io::ErrorKind::InvalidInput)?;
    // mount(2) wants a place: one that is there in any case, for a moment.
    rustix::mount::mount(
        "overlay",
        at,
        "overlay",
        MountFlags::empty(),
        line.as_c_str(),
    )?;
    let mounted = open_tree(
        CWD,
        at,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    );
    detach(Path::new(at))?;
    Ok(mounted?)
}

/// The kernel's messages on a file system context, if there are any.
fn with_words(context: &OwnedFd, errno: rustix::io::Errno) -> io::Error {
    let mut words = [0; 1024];
    let error = io::Error::from(errno);
    match rustix::io::read(context, &mut words) {
        Ok(length) if length > 2 => {
            let text = String::from_utf8_lossy(&words[2..length]);
            io::Error::new(
                error.kind(),
                format!("{}: {}", text.trim(), crate::error::words(&error)),
            )
        }
        _ => error,
    }
}

/// Puts `mount` at `target`.
pub fn attach(mount: &Detached, target: &Path) -> io::Result<()> {
    Ok(move_mount(
        mount,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

/// Puts `mount` onto what `target` is open on.
pub fn attach_at(mount: &Detached, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// A copy of the mounts at what `source` is open on, with those beneath if `recursive`.
pub fn copy_of(source: impl AsFd, recursive: bool) -> io::Result<Detached> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(source, "", flags)?)
}

/// Has `mount` show the ids of its files as `userns` maps them (mount_setattr(2),
/// Linux 5.12). The file system must let us: most let nobody but the machine's root.
pub fn map_ids(mount: &Detached, userns: impl AsFd) -> io::Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let userns = userns.as_fd().as_raw_fd() as u64;
    set_attributes(mount, MOUNT_ATTR_IDMAP, 0, userns)
}

/// Restricts `mount`: read-only, noexec… (mount_setattr(2)).
pub fn restrict(mount: &Detached, flags: MountAttrFlags) -> io::Result<()> {
    set_attributes(mount, flags.bits().into(), 0, 0)
}

/// Takes away what restricts `mount`, as far as it is not locked (mount_setattr(2)).
pub fn release(mount: &Detached) -> io::Result<()> {
    let all = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    set_attributes(mount, 0, all.bits().into(), 0)
}

fn set_attributes(mount: &Detached, set: u64, clear: u64, userns: u64) -> io::Result<()> {
    /// `struct mount_attr`.
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let attributes = Attributes {
        set,
        clear,
        propagation: 0,
        userns,
    };
    // SAFETY: path and attributes outlive the call, whose size is that of the
    // latter; the descriptors are
    // borrowed for it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &attributes,
            size_of::<Attributes>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Mounts of this namespace no longer tell the one they were copied from; those
/// made there still arrive here.
pub fn make_slave() -> io::Result<()> {
    Ok(mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?)
}

/// Takes away what is mounted at `target`, at once or when the last user leaves.
pub fn detach(target: &Path) -> io::Result<()> {
    Ok(unmount(target, UnmountFlags::DETACH)?)
}

/// Shows what is at `source` at `target` too.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind(source, target)?)
}

/// The id of the mount that `path` is on (statx(2), STATX_MNT_ID, Linux 5.8).
pub fn id_of(path: &Path) -> io::Result<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)?;
    Ok(found.stx_mnt_id)
}
