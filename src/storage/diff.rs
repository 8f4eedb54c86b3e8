//! What has changed: in a layer against those below it, or between two trees. In
//! Podman's notion of a change and in its order.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::layer::OPAQUE;
use super::walk::{Found, Step, Walk, open_root};

/// One path that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Added(Vec<u8>),
    Changed(Vec<u8>),
    Deleted(Vec<u8>),
}

impl Change {
    /// The path, from the root.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Added(path) | Self::Changed(path) | Self::Deleted(path) => path,
        }
    }
}

/// What the layer in the folder `layer`, an overlay's or an image's, changes of
/// `lowers`, the highest first. Costs as much as the layer has files.
pub fn of_layer(layer: &Path, lowers: &[PathBuf]) -> io::Result<Vec<Change>> {
    let lowers = Lowers {
        roots: lowers
            .iter()
            .map(|it| open_root(it))
            .collect::<io::Result<_>>()?,
    };
    let mut walk = Walk::new(open_root(layer)?)?;
    let mut changes = Vec::new();
    // Those of the lowers that are seen in each folder we are in.
    let mut seen: Vec<Vec<usize>> = vec![(0..lowers.roots.len()).collect()];
    // Folders that are in the list, or whose change is none.
    let mut told: HashSet<Vec<u8>> = HashSet::new();
    while let Some(step) = walk.step()? {
        let found = match step {
            Step::Leave => {
                seen.pop();
                continue;
            }
            Step::Enter(ref found) | Step::Other(ref found) => found,
        };
        let path = absolute(walk.path());
        let above = seen.last().map_or(&[][..], Vec::as_slice);
        let below = lowers.look(walk.path(), above)?;
        let is_folder = matches!(step, Step::Enter(_));
        let is_whiteout = found.kind() == FileType::CharacterDevice && found.stat.st_rdev == 0;
        let mut within = below.within;
        let change = if is_whiteout {
            Change::Deleted(path.clone())
        } else if is_folder && is_opaque(walk.folder())? {
            within.clear();
            match below.stat {
                Some(_) => Change::Deleted(path.clone()),
                None => Change::Added(path.clone()),
            }
        } else {
            match below.stat {
                Some(old) if is_folder && same_folder(&old, &found.stat) => {
                    seen.push(within);
                    continue;
                }
                Some(_) => Change::Changed(path.clone()),
                None => Change::Added(path.clone()),
            }
        };
        if is_folder {
            seen.push(within);
            told.insert(path.clone());
        }
        if !matches!(change, Change::Changed(_)) {
            // Something came or went: the folders it is in have changed.
            let mut parents = Vec::new();
            let mut at = path.as_slice();
            while let Some(slash) = at.iter().rposition(|byte| *byte == b'/') {
                at = &at[..slash];
                if !at.is_empty() && told.insert(at.to_vec()) {
                    parents.push(Change::Changed(at.to_vec()));
                }
            }
            changes.extend(parents.into_iter().rev());
        }
        changes.push(change);
    }
    Ok(changes)
}

/// The layers beneath one.
struct Lowers {
    roots: Vec<OwnedFd>,
}

/// What lower layers have at a path.
#[derive(Default)]
struct Below {
    stat: Option<Stat>,
    /// The layers that are seen in it, if it is a folder.
    within: Vec<usize>,
}

impl Lowers {
    /// What the layers `seen` show at `path`.
    fn look(&self, path: &Path, seen: &[usize]) -> io::Result<Below> {
        let mut below = Below::default();
        for &at in seen {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let file = match openat2(&self.roots[at], path, flags, Mode::empty(), resolve) {
                Ok(file) => file,
                // A layer's paths are shorter than a container's may be.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => continue,
                Err(error) => return Err(error.into()),
            };
            let stat = rustix::fs::fstat(&file)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::CharacterDevice if stat.st_rdev == 0 => break,
                FileType::Directory => {
                    below.stat.get_or_insert(stat);
                    below.within.push(at);
                    if is_opaque(&reopen(&file)?)? {
                        break;
                    }
                }
                _ => {
                    below.stat.get_or_insert(stat);
                    break;
                }
            }
        }
        Ok(below)
    }
}

/// What only names a folder has no attributes.
fn reopen(folder: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(super::walk::open(folder, c".", OFlags::DIRECTORY)?)
}

fn is_opaque(folder: &OwnedFd) -> io::Result<bool> {
    let mut value = [0; 4];
    match rustix::fs::fgetxattr(folder, OPAQUE, &mut value[..]) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a folder is in a layer for what lies in it alone.
fn same_folder(old: &Stat, new: &Stat) -> bool {
    let same = |stat: &Stat| (stat.st_mode, stat.st_size, mtime(stat));
    FileType::from_raw_mode(old.st_mode) == FileType::Directory && same(old) == same(new)
}

fn mtime(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime as _, stat.st_mtime_nsec as _)
}

/// What must be done to the tree `before` for it to be `now`. A folder that is gone
/// counts once; a folder counts as changed for what changed in it.
pub fn between(before: OwnedFd, now: OwnedFd) -> io::Result<Vec<Change>> {
    let (mut before, mut now) = (Walk::new(before)?, Walk::new(now)?);
    let mut changes = Vec::new();
    // For each folder we are in, how many changes there were when it was entered,
    // and its path; none if it has been told.
    let mut entered: Vec<Option<(usize, Vec<u8>)>> = Vec::new();
    let (mut old, mut new) = (before.step()?, now.step()?);
    loop {
        let order = match (found(old.as_ref()), found(new.as_ref())) {
            (None, None) if old.is_none() => return Ok(changes),
            (None, None) => {
                if let Some(Some((count, path))) = entered.pop()
                    && changes.len() > count
                {
                    changes.insert(count, Change::Changed(path));
                }
                (old, new) = (before.step()?, now.step()?);
                continue;
            }
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        match order {
            Ordering::Less => {
                changes.push(Change::Deleted(absolute(before.path())));
                skip(&mut before, old.as_ref(), |_| {})?;
                old = before.step()?;
            }
            Ordering::Greater => {
                changes.push(Change::Added(absolute(now.path())));
                skip(&mut now, new.as_ref(), |path| {
                    changes.push(Change::Added(absolute(path)));
                })?;
                new = now.step()?;
            }
            Ordering::Equal => {
                let path = absolute(now.path());
                let (Some(a), Some(b)) = (found(old.as_ref()), found(new.as_ref())) else {
                    continue;
                };
                let same = is_same(&a.stat, &b.stat);
                if !same {
                    changes.push(Change::Changed(path.clone()));
                }
                match (&old, &new) {
                    (Some(Step::Enter(_)), Some(Step::Enter(_))) => {
                        entered.push(same.then_some((changes.len(), path)));
                    }
                    _ => {
                        skip(&mut before, old.as_ref(), |_| {})?;
                        skip(&mut now, new.as_ref(), |path| {
                            changes.push(Change::Added(absolute(path)));
                        })?;
                    }
                }
                (old, new) = (before.step()?, now.step()?);
            }
        }
    }
}

/// Podman's notion: times and sizes of folders do not count.
fn is_same(a: &Stat, b: &Stat) -> bool {
    let own = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let is_folder = FileType::from_raw_mode(b.st_mode) == FileType::Directory;
    let content = |stat: &Stat| (stat.st_size, mtime(stat));
    own(a) == own(b) && (is_folder || content(a) == content(b))
}

fn found(step: Option<&Step>) -> Option<&Found> {
    match step {
        Some(Step::Enter(found) | Step::Other(found)) => Some(found),
        Some(Step::Leave) | None => None,
    }
}

/// Passes over what is in a folder just entered, and shows it to `each`.
fn skip(walk: &mut Walk, step: Option<&Step>, mut each: impl FnMut(&Path)) -> io::Result<()> {
    let mut depth = u32::from(matches!(step, Some(Step::Enter(_))));
    while depth > 0 {
        match walk.step()? {
            Some(Step::Leave) | None => depth -= 1,
            Some(step) => {
                depth += u32::from(matches!(step, Step::Enter(_)));
                each(walk.path());
            }
        }
    }
    Ok(())
}

fn absolute(path: &Path) -> Vec<u8> {
    [b"/", path.as_os_str().as_bytes()].concat()
}

/// Whether `path` is one that Podman makes in every container for itself, and whose
/// changes count for nothing.
pub fn is_furniture(path: &[u8]) -> bool {
    const FURNITURE: [&str; 11] = [
        "/dev",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/mtab",
        "/etc/resolv.conf",
        "/proc",
        "/run",
        "/run/.containerenv",
        "/run/notify",
        "/run/secrets",
        "/sys",
    ];
    FURNITURE.iter().any(|it| OsStr::new(it).as_bytes() == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            let name = format!("coracle-diff-{}", crate::id::random_hex::<8>());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self, path: &str, content: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        fn folder(&self, path: &str) -> PathBuf {
            let path = self.0.join(path);
            std::fs::create_dir_all(&path).unwrap();
            path
        }

        fn opaque(&self, path: &str) {
            let folder = open_root(&self.folder(path)).unwrap();
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::fsetxattr(&folder, OPAQUE, b"y", flags).unwrap();
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = super::super::remove_tree(&self.0);
        }
    }

    fn lines(changes: &[Change]) -> Vec<String> {
        let word = |change: &Change| match change {
            Change::Added(_) => 'A',
            Change::Changed(_) => 'C',
            Change::Deleted(_) => 'D',
        };
        let line = |it: &Change| format!("{} {}", word(it), String::from_utf8_lossy(it.path()));
        changes.iter().map(line).collect()
    }

    #[test]
    fn a_layer_changes_what_is_below() {
        let dir = Dir::new();
        for (path, content) in [
            ("low/d/kept", "k"),
            ("low/d/changed", "c"),
            ("low/old/x", ""),
            ("low/hidden/x", ""),
            ("mid/d/two", ""),
            ("up/d/changed", "C"),
            ("up/d/sub/new", ""),
            ("up/old/y", ""),
            ("up/hidden/x", ""),
            ("up/new/z", ""),
        ] {
            dir.file(path, content);
        }
        // The middle layer hides one folder of the lowest, and has it itself.
        dir.opaque("mid/hidden");
        dir.opaque("up/old");
        dir.opaque("up/new");
        let lowers = [dir.folder("mid"), dir.folder("low")];
        let times = std::fs::metadata(dir.folder("mid/d")).unwrap();
        let folder = std::fs::File::open(dir.folder("up/d")).unwrap();
        folder.set_modified(times.modified().unwrap()).unwrap();
        let same = std::fs::metadata(dir.folder("mid/hidden")).unwrap();
        let folder = std::fs::File::open(dir.folder("up/hidden")).unwrap();
        folder.set_modified(same.modified().unwrap()).unwrap();
        let changes = of_layer(&dir.folder("up"), &lowers).unwrap();
        assert_eq!(
            lines(&changes),
            [
                "C /d/changed",
                "C /d",
                "A /d/sub",
                "A /d/sub/new",
                "C /hidden",
                "A /hidden/x",
                "A /new",
                "A /new/z",
                "D /old",
                "A /old/y",
            ]
        );
        let alone = of_layer(&dir.folder("mid"), &[]).unwrap();
        assert_eq!(lines(&alone), ["A /d", "A /d/two", "A /hidden"]);
    }

    #[test]
    fn trees_are_compared() {
        let dir = Dir::new();
        for (path, content) in [
            ("a/gone/x", ""),
            ("a/d/same", "s"),
            ("a/d/changed", "c"),
            ("a/quiet/x", ""),
            ("a/kind", ""),
            ("b/d/changed", "longer"),
            ("b/d/new/x", ""),
            ("b/kind/x", ""),
        ] {
            dir.file(path, content);
        }
        for path in ["d/same", "quiet/x"] {
            dir.folder("b/quiet");
            std::fs::hard_link(dir.0.join("a").join(path), dir.0.join("b").join(path)).unwrap();
        }
        let open = |path: &str| open_root(&dir.0.join(path)).unwrap();
        let changes = between(open("a"), open("b")).unwrap();
        assert_eq!(
            lines(&changes),
            [
                "C /d",
                "C /d/changed",
                "A /d/new",
                "A /d/new/x",
                "D /gone",
                "C /kind",
                "A /kind/x",
            ]
        );
        assert!(between(open("a"), open("a")).unwrap().is_empty());
    }
}
