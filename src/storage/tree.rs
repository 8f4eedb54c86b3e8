//! Trees of files: deleting them, giving them to somebody, measuring them.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, openat, openat2,
    unlinkat,
};

use super::walk::{self, Step, Walk};
use crate::error::{Error, Result};

/// Deletes `path` and all beneath it. Links are not followed; folders are held
/// by descriptor, so that nothing swapped meanwhile leads elsewhere; folders
/// whose mode shuts their owner out are opened up. What is mounted beneath `path`
/// is never entered: that is an error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    remove_tree_at(CWD, path)
}

/// How many trees [`remove_trees`] deletes at once.
pub const AT_ONCE: usize = 8;

/// As [`remove_tree`] of each; what could not be deleted is given back. Several are
/// deleted at once: a file system that gives freed blocks back to the disk (mount option
/// `discard`) waits for it at each file.
pub fn remove_trees<I>(paths: I) -> Vec<(PathBuf, io::Error)>
where
    I: IntoIterator<Item = PathBuf, IntoIter: Send>,
{
    let paths = paths.into_iter();
    let number = paths.size_hint().1.unwrap_or(AT_ONCE);
    let paths = Mutex::new(paths);
    let left = Mutex::new(Vec::new());
    let work = || {
        while let Some(path) = paths.lock().ok().and_then(|mut paths| paths.next()) {
            if let (Err(error), Ok(mut left)) = (remove_tree(&path), left.lock()) {
                left.push((path, error));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..number.min(AT_ONCE) {
            // Where no more threads may be, those that are do it all.
            let spawned = std::thread::Builder::new().spawn_scoped(scope, work);
            if spawned.is_err() {
                break;
            }
        }
        work();
    });
    left.into_inner().unwrap_or_default()
}

/// As [`remove_tree`], of a folder that [`super::Storage::retire`] gave: the parts of what
/// lies in it at once.
pub fn remove_retired(path: &Path) -> io::Result<()> {
    let entries = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let parts: Vec<PathBuf> = entries(path).iter().flat_map(|it| entries(it)).collect();
    // What could not be removed is met again.
    remove_trees(parts);
    remove_tree(path)
}

/// As [`remove_tree`], of what `path` is in the folder `dir`.
pub fn remove_tree_at(dir: impl AsFd, path: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    let dir = dir.as_fd();
    loop {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        match openat(dir, path, flags, Mode::empty()) {
            Ok(found) => empty(found)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Ok(unlinkat(dir, path, AtFlags::empty())?);
            }
            // One that is empty need not be opened.
            Err(error) if unlinkat(dir, path, AtFlags::REMOVEDIR).is_err() => {
                empty(reopen_shut(dir, path, error)?)?;
            }
            Err(_) => return Ok(()),
        }
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
    entries: Dir,
    /// In the level above; none at the top.
    name: Option<CString>,
}

impl Level {
    fn new(dir: OwnedFd, name: Option<CString>) -> io::Result<Self> {
        Ok(Self {
            entries: Dir::new(dir)?,
            name,
        })
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.entries.fd()?)
    }
}

fn empty(dir: OwnedFd) -> io::Result<()> {
    use rustix::io::Errno;
    let mut open = vec![Level::new(dir, None)?];
    loop {
        let depth = open.len();
        let Some(level) = open.last_mut() else {
            return Ok(());
        };
        let Some(entry) = level.entries.next() else {
            let done = open.pop().expect("there is a last");
            if let (Some(name), Some(above)) = (done.name, open.last()) {
                match unlinkat(above.fd()?, &name, AtFlags::REMOVEDIR) {
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
        let mut removed = unlinkat(level.fd()?, name, flags);
        if removed == Err(Errno::ACCESS) {
            // A folder we may not write to: open it up and try once more.
            rustix::fs::fchmod(level.fd()?, Mode::RWXU)?;
            removed = unlinkat(level.fd()?, name, flags);
        }
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if depth < DEEPEST => {
                let child = open_child(level.fd()?, name)?;
                let level = Level::new(child, Some(name.to_owned()))?;
                open.push(level);
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                move_up(open[depth - 1].fd()?, name, open[0].fd()?)?;
            }
            Err(Errno::ISDIR) => unlinkat(level.fd()?, name, AtFlags::REMOVEDIR)?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Moves the folder `name` to `top`, under a name that nothing has.
fn move_up(from: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>) -> io::Result<()> {
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

/// Gives what is at `path`, a path without links, and all beneath it to `owner`.
/// What is theirs already is left alone.
pub fn give_tree(path: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    let has = |found: &Stat| (found.st_uid, found.st_gid) == (uid, gid);
    let give = |file: &OwnedFd, found: &Stat| -> io::Result<()> {
        if has(found) {
            return Ok(());
        }
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(rustix::fs::chownat(file, c"", owner.0, owner.1, flags)?)
    };
    each(path, |found| !has(found), give).map_err(|(at, error)| {
        Error::from(error).tried(format_args!("give {} to {uid}:{gid}", at.display()))
    })
}

/// Does `work` on what is at `path`, a path without links, and all beneath it that
/// is `wanted`, folders in any case, each as a place (O_PATH). Everything is held by
/// descriptor and no link is followed, so that nothing swapped meanwhile leads
/// elsewhere; what vanishes meanwhile is passed over; what is mounted beneath `path`
/// is left alone. An error comes with where it was met.
pub fn each(
    path: &Path,
    wanted: impl Fn(&Stat) -> bool,
    mut work: impl FnMut(&OwnedFd, &Stat) -> io::Result<()>,
) -> Result<(), (PathBuf, io::Error)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let links = ResolveFlags::NO_SYMLINKS;
    let top = openat2(CWD, path, flags, Mode::empty(), links)
        .map_err(|error| (path.to_owned(), error.into()))?;
    let top = visit(&top, &mut work).map_err(|error| (path.to_owned(), error))?;
    // Where we are, for an error.
    let mut at = path.to_owned();
    let mut open: Vec<Folder> = top.into_iter().collect();
    while let Some(folder) = open.last_mut() {
        let Some(name) = folder.rest.pop() else {
            let done = open.pop().expect("there is a last");
            if let Some(above) = open.last_mut() {
                above
                    .come_back(&done)
                    .map_err(|error| (at.clone(), error))?;
                at.pop();
            }
            continue;
        };
        let here = folder.fd.as_ref().expect("the last one is held");
        let entry = |name: &CStr| at.join(OsStr::from_bytes(name.to_bytes()));
        let deeper =
            visit_entry(here, &name, &wanted, &mut work).map_err(|error| (entry(&name), error))?;
        if let Some(deeper) = deeper {
            at = entry(&name);
            if let Some(far) = open.len().checked_sub(DEEPEST) {
                open[far].fd = None;
            }
            open.push(deeper);
        }
    }
    Ok(())
}

/// Does `work` on the entry `name` of `folder`; a folder is given back to be walked.
fn visit_entry(
    folder: &OwnedFd,
    name: &CStr,
    wanted: &impl Fn(&Stat) -> bool,
    work: &mut impl FnMut(&OwnedFd, &Stat) -> io::Result<()>,
) -> io::Result<Option<Folder>> {
    use rustix::io::Errno;
    let found = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        result => result?,
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory && !wanted(&found) {
        return Ok(None);
    }
    let opened = openat2(
        folder,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS,
    );
    match opened {
        // Gone, or the place of another mount.
        Err(Errno::NOENT | Errno::XDEV) => Ok(None),
        result => visit(&result?, work),
    }
}

fn visit(
    file: &OwnedFd,
    work: &mut impl FnMut(&OwnedFd, &Stat) -> io::Result<()>,
) -> io::Result<Option<Folder>> {
    // It may have become something else since it was looked at.
    let found = rustix::fs::fstat(file)?;
    work(file, &found)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => Folder::open(file.as_fd()).map(Some),
        _ => Ok(None),
    }
}

/// A folder of the walk: which it is, and the names in it that are still to come.
struct Folder {
    /// None while the walk is far beneath: a container may nest folders by the
    /// thousand, more than a process may open.
    fd: Option<OwnedFd>,
    id: (u64, u64),
    rest: Vec<CString>,
}

impl Folder {
    fn open(place: BorrowedFd<'_>) -> io::Result<Self> {
        let fd = openat(
            place,
            c".",
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let found = rustix::fs::fstat(&fd)?;
        let mut rest = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                rest.push(name.to_owned());
            }
        }
        Ok(Self {
            fd: Some(fd),
            id: (found.st_dev, found.st_ino),
            rest,
        })
    }

    /// Holds this folder again, out of which `from` was walked.
    fn come_back(&mut self, from: &Self) -> io::Result<()> {
        if self.fd.is_some() {
            return Ok(());
        }
        let from = from.fd.as_ref().expect("it was the last one");
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = openat(from, c"..", flags, Mode::empty())?;
        let found = rustix::fs::fstat(&fd)?;
        if (found.st_dev, found.st_ino) != self.id {
            return Err(io::Error::other("it was moved meanwhile"));
        }
        self.fd = Some(fd);
        Ok(())
    }
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

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

    #[test]
    fn a_tree_is_given_without_following_what_is_swapped_in() {
        let root =
            std::env::temp_dir().join(format!("coracle-give-{}", crate::id::random_hex::<8>()));
        std::fs::create_dir_all(root.join("tree/a")).unwrap();
        std::fs::create_dir(root.join("outside")).unwrap();
        std::fs::write(root.join("tree/a/file"), "x").unwrap();
        std::os::unix::fs::symlink(root.join("outside"), root.join("tree/link")).unwrap();
        let mut deep = openat(CWD, root.join("tree"), OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..300 {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            rustix::fs::symlinkat("..", &deep, "up").unwrap();
            deep = openat(&deep, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        let stat = |path: &str| root.join(path).symlink_metadata().unwrap();
        let own = (stat("tree").uid(), stat("tree").gid());
        let before = stat("tree/a/file").ctime_nsec();
        give_tree(&root.join("tree"), own).unwrap();
        // What was right is not touched, not even to be given once more.
        assert_eq!(stat("tree/a/file").ctime_nsec(), before);
        // Only root could: that it was tried tells that the walk has come there.
        if own.0 == 0 {
            give_tree(&root.join("tree"), (7, 8)).unwrap();
            for given in ["tree", "tree/a", "tree/a/file", "tree/link", "tree/d/d/d/d"] {
                assert_eq!((stat(given).uid(), stat(given).gid()), (7, 8), "{given}");
            }
            assert_eq!(stat("outside").uid(), 0);
        } else {
            let error = give_tree(&root.join("tree"), (own.0 + 1, own.1)).unwrap_err();
            assert!(error.to_string().contains("not permitted"), "{error}");
        }
        // A path with a link in it leads to a tree that was not meant.
        std::os::unix::fs::symlink(root.join("tree"), root.join("way")).unwrap();
        assert!(give_tree(&root.join("way/a"), own).is_err());
        remove_tree(&root).unwrap();
    }
}
