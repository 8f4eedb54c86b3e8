//! Trees of files: deleting and measuring them.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, unlinkat,
};

use super::walk::{self, Step, Walk};

/// Deletes `path` and all beneath it. Links are not followed; folders are held
/// by descriptor, so that nothing swapped meanwhile leads elsewhere; folders
/// whose mode shuts their owner out are opened up. What is mounted beneath `path`
/// is never entered: that is an error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    remove_tree_at(CWD, path)
}

/// As [`remove_tree`], of what `path` is in the folder `dir`.
pub fn remove_tree_at(dir: impl AsFd, path: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    let dir = dir.as_fd();
    match unlinkat(dir, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR) => return Ok(unlinkat(dir, path, AtFlags::empty())?),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    loop {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let found = openat(dir, path, flags, Mode::empty())
            .or_else(|error| reopen_shut(dir, path, error))?;
        empty(found)?;
        match unlinkat(dir, path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Folders that lay too deep lie here now.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How many levels are held open at once. What lies deeper is moved up to the
/// top: a container may nest folders by the thousand, more than a process may open.
const DEEPEST: usize = 64;

/// One level of the walk: an open folder and what is still in it.
struct Level {
    fd: OwnedFd,
    entries: Dir,
    /// In the level above; none at the top.
    name: Option<CString>,
}

impl Level {
    fn new(dir: OwnedFd, name: Option<CString>) -> io::Result<Self> {
        Ok(Self {
            fd: dir.try_clone()?,
            entries: Dir::new(dir)?,
            name,
        })
    }
}

fn empty(dir: OwnedFd) -> io::Result<()> {
    use rustix::io::Errno;
    let top = dir.try_clone()?;
    let mut open = vec![Level::new(dir, None)?];
    loop {
        let depth = open.len();
        let Some(level) = open.last_mut() else {
            return Ok(());
        };
        let Some(entry) = level.entries.next() else {
            let done = open.pop().expect("there is a last");
            if let (Some(name), Some(above)) = (done.name, open.last()) {
                match unlinkat(&above.fd, &name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let flags = if entry.file_type() == FileType::Directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        let mut removed = unlinkat(&level.fd, name, flags);
        if removed == Err(Errno::ACCESS) {
            // A folder we may not write to: open it up and try once more.
            rustix::fs::fchmod(&level.fd, Mode::RWXU)?;
            removed = unlinkat(&level.fd, name, flags);
        }
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if depth < DEEPEST => {
                let child = open_child(level.fd.as_fd(), name)?;
                let level = Level::new(child, Some(name.to_owned()))?;
                open.push(level);
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => move_up(&level.fd, name, &top)?,
            Err(Errno::ISDIR) => unlinkat(&level.fd, name, AtFlags::REMOVEDIR)?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Moves the folder `name` to `top`, under a name that nothing has.
fn move_up(from: &OwnedFd, name: &CStr, top: &OwnedFd) -> io::Result<()> {
    use rustix::fs::{RenameFlags, renameat_with};
    let to = format!(".deep-{}", crate::id::random_hex::<8>());
    let moved = || renameat_with(from, name, top, to.as_str(), RenameFlags::NOREPLACE);
    match moved() {
        // Its `..` changes, so it must be writable itself.
        Err(rustix::io::Errno::ACCESS) => {
            rustix::fs::chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
            Ok(moved()?)
        }
        result => Ok(result?),
    }
}

fn open_child(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let open = || {
        openat2(
            parent,
            name,
            flags,
            Mode::empty(),
            ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS,
        )
    };
    match open() {
        // A folder of ours whose mode does not let us read it.
        Err(rustix::io::Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            Ok(open()?)
        }
        result => Ok(result?),
    }
}

/// Opens a folder of ours whose mode does not let us read it.
fn reopen_shut(
    parent: BorrowedFd<'_>,
    name: &Path,
    error: rustix::io::Errno,
) -> io::Result<OwnedFd> {
    if error != rustix::io::Errno::ACCESS {
        return Err(error.into());
    }
    rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Bytes that `path` and all beneath it take on disk (512-byte blocks, hard links
/// counted once); 0 if it is not there.
pub fn disk_usage(path: &Path) -> io::Result<u64> {
    let bytes = |found: &Stat| u64::try_from(found.st_blocks).unwrap_or(0) * 512;
    let found = match rustix::fs::lstat(path) {
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        found => found?,
    };
    let mut total = bytes(&found);
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Ok(total);
    }
    let mut walk = Walk::new(walk::open_root(path)?)?;
    let mut seen = HashSet::new();
    while let Some(step) = walk.step()? {
        let (Step::Enter(entry) | Step::Other(entry)) = step else {
            continue;
        };
        let found = &entry.stat;
        let is_one = found.st_nlink == 1 || entry.kind() == FileType::Directory;
        if is_one || seen.insert((found.st_dev, found.st_ino)) {
            total += bytes(found);
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_tree_is_deleted_whatever_its_modes_and_links() {
        let root =
            std::env::temp_dir().join(format!("coracle-tree-{}", crate::id::random_hex::<8>()));
        let outside = root.with_extension("outside");
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        std::fs::write(root.join("a/b/c/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("a/link")).unwrap();
        for dir in ["a/b/c", "a/b"] {
            std::fs::set_permissions(root.join(dir), std::fs::Permissions::from_mode(0o0)).unwrap();
        }
        // Deeper than a process may have files open.
        let mut deep = openat(CWD, &root, OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            deep = openat(&deep, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        assert!(outside.join("kept").exists());
        std::fs::remove_dir_all(&outside).unwrap();
    }
}
