//! Going through a tree of files that somebody else may be changing.
//!
//! Every folder is opened by the one above it and never through a link, so that
//! nothing swapped meanwhile leads out of the tree. What vanishes is passed over.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// How many folders of a chain are held open: a container may nest them by the
/// thousand, more than a process may open.
const HELD: usize = 64;

/// Folders, each in the one before it.
#[derive(Debug)]
pub struct Chain {
    levels: Vec<(Option<OwnedFd>, (u64, u64))>,
}

impl Chain {
    pub fn new(root: OwnedFd) -> io::Result<Self> {
        let mut chain = Self { levels: Vec::new() };
        chain.push(root)?;
        Ok(chain)
    }

    /// The last folder.
    pub fn last(&self) -> &OwnedFd {
        let last = self.levels.last().and_then(|(fd, _)| fd.as_ref());
        last.expect("a chain has a last folder, and that is open")
    }

    /// Adds a folder that lies in the last one.
    pub fn push(&mut self, folder: OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(&folder)?;
        if self.levels.len() >= HELD {
            let at = self.levels.len() - HELD;
            self.levels[at].0 = None;
        }
        self.levels.push((Some(folder), id(&stat)));
        Ok(())
    }

    /// Goes back to the folder before, which must still be where it was.
    pub fn pop(&mut self) -> io::Result<()> {
        let done = self.levels.pop();
        if let Some((Some(done), _)) = done
            && let Some((above @ None, wanted)) = self.levels.last_mut()
        {
            let found = open(&done, c"..", OFlags::DIRECTORY)?;
            if id(&rustix::fs::fstat(&found)?) != *wanted {
                return Err(io::Error::other("a folder was moved while it was read"));
            }
            *above = Some(found);
        }
        Ok(())
    }
}

fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// What a walk comes upon.
#[derive(Debug)]
pub enum Step {
    /// A folder, which is entered: what follows is in it, up to its `Leave`.
    Enter(Found),
    /// All that is no folder.
    Other(Found),
    /// The folder we are in is done: the next step is in the one above.
    Leave,
}

/// An entry of a folder.
#[derive(Debug)]
pub struct Found {
    pub name: CString,
    pub stat: Stat,
}

impl Found {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// A walk through a tree, the entries of each folder in the order of their bytes.
#[derive(Debug)]
pub struct Walk {
    chain: Chain,
    /// What is still to come in each folder, the first last.
    names: Vec<Vec<CString>>,
    /// Of the last entry, and how long it is for each folder we are in.
    path: Vec<u8>,
    lengths: Vec<usize>,
    leaving: bool,
}

impl Walk {
    /// Begins in the folder `root`, which is not itself a step.
    pub fn new(root: OwnedFd) -> io::Result<Self> {
        let names = names(&root)?;
        Ok(Self {
            chain: Chain::new(root)?,
            names: vec![names],
            path: Vec::new(),
            lengths: vec![0],
            leaving: false,
        })
    }

    /// The folder we are in: after `Enter` the one entered, after `Other` the one
    /// that has it, after `Leave` the one that is done.
    pub fn folder(&self) -> &OwnedFd {
        self.chain.last()
    }

    /// The path of what was entered, found or left last, beneath the root.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Goes on; `None` when all is done.
    pub fn step(&mut self) -> io::Result<Option<Step>> {
        if std::mem::take(&mut self.leaving) {
            self.names.pop();
            self.lengths.pop();
            self.chain.pop()?;
        }
        loop {
            let Some(names) = self.names.last_mut() else {
                return Ok(None);
            };
            let Some(name) = names.pop() else {
                if self.names.len() == 1 {
                    return Ok(None);
                }
                self.cut();
                self.leaving = true;
                return Ok(Some(Step::Leave));
            };
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let stat = match rustix::fs::statat(self.chain.last(), &name, flags) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let found = Found { name, stat };
            self.cut();
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend(found.name.to_bytes());
            if found.kind() != FileType::Directory {
                return Ok(Some(Step::Other(found)));
            }
            let folder = match open(self.chain.last(), &found.name, OFlags::DIRECTORY) {
                Err(Errno::NOENT) => continue,
                folder => folder?,
            };
            self.names.push(self::names(&folder)?);
            self.chain.push(folder)?;
            self.lengths.push(self.path.len());
            return Ok(Some(Step::Enter(found)));
        }
    }

    /// Passes over what is still to come in the folder we are in.
    pub fn skip(&mut self) {
        if let Some(names) = self.names.last_mut() {
            names.clear();
        }
    }

    /// Cuts the path to that of the folder we are in.
    fn cut(&mut self) {
        let length = self.lengths.last().copied().unwrap_or(0);
        self.path.truncate(length);
    }
}

/// The names in a folder, the last of them first.
fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Opens what `name` is in `dir`, for reading and not through a link.
pub fn open(dir: impl AsFd, name: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Opens the folder at `path`, which is ours.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    Ok(open(CWD, &path, OFlags::DIRECTORY)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes with its value.
    struct Dir(std::path::PathBuf);

    impl Dir {
        fn new() -> Self {
            let name = format!("coracle-walk-{}", crate::id::random_hex::<8>());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = super::super::remove_tree(&self.0);
        }
    }

    fn steps(root: &Path) -> io::Result<Vec<String>> {
        let mut walk = Walk::new(open_root(root)?)?;
        let mut steps = Vec::new();
        while let Some(step) = walk.step()? {
            steps.push(match step {
                Step::Enter(_) => format!("{}/", walk.path().display()),
                Step::Other(_) => walk.path().display().to_string(),
                Step::Leave => format!("<{}", walk.path().display()),
            });
        }
        Ok(steps)
    }

    #[test]
    fn all_is_seen_in_order() {
        let dir = Dir::new();
        std::fs::create_dir_all(dir.0.join("b/c")).unwrap();
        std::fs::write(dir.0.join("b/c/x"), "").unwrap();
        std::fs::write(dir.0.join("a"), "").unwrap();
        std::fs::write(dir.0.join("d"), "").unwrap();
        std::os::unix::fs::symlink("/", dir.0.join("b/out")).unwrap();
        assert_eq!(
            steps(&dir.0).unwrap(),
            ["a", "b/", "b/c/", "b/c/x", "<b/c", "b/out", "<b", "d"]
        );
        assert!(open_root(&dir.0.join("b/out")).is_err());
    }

    #[test]
    fn a_deep_tree_needs_few_descriptors() {
        let dir = Dir::new();
        let mut deep = open_root(&dir.0).unwrap();
        for _ in 0..1500 {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            deep = open(&deep, c"d", OFlags::DIRECTORY).unwrap();
        }
        assert_eq!(steps(&dir.0).unwrap().len(), 3000);
    }
}
