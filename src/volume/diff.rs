//! What has changed in a volume since a snapshot was made of it.

use std::cmp::Ordering;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, OFlags, Stat};

use super::copy::each_attribute;
use super::{DATA, SNAPSHOTS, Snapshot, Volume};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::storage::diff::Change;
use crate::storage::walk::{self, Found, Step, Walk, open_root};

/// Compares the volume with the snapshot: kind, owner, mode, size, time of the last
/// change, link, extended attributes, and with `contents` the bytes of files for which
/// all of these agree. In the order of the paths, folder by folder.
pub fn diff(
    engine: &Engine,
    volume: &Volume,
    snapshot: &Snapshot,
    contents: bool,
) -> Result<Vec<Change>> {
    let storage = &engine.storage;
    let _held = super::hold(storage, &volume.name)?;
    let dir = storage.volume(&volume.name);
    let before = dir.join(SNAPSHOTS).join(&snapshot.name).join(DATA);
    let now = dir.join(DATA);
    engine.in_namespace(|| {
        compare(open_root(&before)?, open_root(&now)?, contents)
            .tried(|| format!("compare volume {} with {}", volume.name, snapshot.name))
    })
}

fn compare(before: OwnedFd, now: OwnedFd, contents: bool) -> io::Result<Vec<Change>> {
    let mut comparison = Comparison {
        contents,
        changes: Vec::new(),
    };
    let (old, new) = (rustix::fs::fstat(&before)?, rustix::fs::fstat(&now)?);
    if owner(&old) != owner(&new) || attributes(&before)? != attributes(&now)? {
        comparison.changes.push(Change::Changed(b"/".to_vec()));
    }
    comparison.walk(Walk::new(before)?, Walk::new(now)?)?;
    Ok(comparison.changes)
}

struct Comparison {
    contents: bool,
    changes: Vec<Change>,
}

impl Comparison {
    /// Goes through both trees side by side: both are in the same folder at any time.
    fn walk(&mut self, mut before: Walk, mut now: Walk) -> io::Result<()> {
        let (mut old, mut new) = (before.step()?, now.step()?);
        loop {
            let order = match (found(old.as_ref()), found(new.as_ref())) {
                (None, None) if old.is_none() => return Ok(()),
                (None, None) => Ordering::Equal,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.name.cmp(&new.name),
            };
            match order {
                Ordering::Less => {
                    self.changes.push(Change::Deleted(path(&before)));
                    skip(&mut before, old.as_ref())?;
                    old = before.step()?;
                }
                Ordering::Greater => {
                    self.added(&mut now, new.as_ref())?;
                    new = now.step()?;
                }
                Ordering::Equal => {
                    if let (Some(old), Some(new)) = (&old, &new) {
                        self.both(&mut before, old, &mut now, new)?;
                    }
                    (old, new) = (before.step()?, now.step()?);
                }
            }
        }
    }

    /// What has a name before and now.
    fn both(
        &mut self,
        before: &mut Walk,
        old: &Step,
        now: &mut Walk,
        new: &Step,
    ) -> io::Result<()> {
        match (old, new) {
            (Step::Enter(old), Step::Enter(new)) => {
                let is_same = owner(&old.stat) == owner(&new.stat)
                    && mtime(&old.stat) == mtime(&new.stat)
                    && attributes(before.folder())? == attributes(now.folder())?;
                if !is_same {
                    self.changes.push(Change::Changed(path(now)));
                }
            }
            (Step::Other(old), Step::Other(new)) => {
                if !self.is_same(before, old, now, new)? {
                    self.changes.push(Change::Changed(path(now)));
                }
            }
            (Step::Leave, Step::Leave) => {}
            // A folder became something else, or the other way round.
            _ => {
                self.changes.push(Change::Changed(path(now)));
                skip(before, Some(old))?;
                self.beneath(now, new)?;
            }
        }
        Ok(())
    }

    fn is_same(&self, before: &Walk, old: &Found, now: &Walk, new: &Found) -> io::Result<bool> {
        let (a, b) = (&old.stat, &new.stat);
        if a.st_mode != b.st_mode || owner(a) != owner(b) || mtime(a) != mtime(b) {
            return Ok(false);
        }
        match new.kind() {
            FileType::Symlink => {
                let link = |walk: &Walk, name| rustix::fs::readlinkat(walk.folder(), name, vec![]);
                Ok(link(before, &old.name)? == link(now, &new.name)?)
            }
            FileType::RegularFile if a.st_size != b.st_size => Ok(false),
            FileType::RegularFile => {
                let open = |walk: &Walk, name| walk::open(walk.folder(), name, OFlags::NONBLOCK);
                let (a, b) = (open(before, &old.name)?, open(now, &new.name)?);
                let is_same = attributes(&a)? == attributes(&b)?;
                Ok(is_same && (!self.contents || is_same_content(a, b)?))
            }
            _ => Ok(a.st_rdev == b.st_rdev),
        }
    }

    fn added(&mut self, walk: &mut Walk, step: Option<&Step>) -> io::Result<()> {
        self.changes.push(Change::Added(path(walk)));
        match step {
            Some(step) => self.beneath(walk, step),
            None => Ok(()),
        }
    }

    /// All that is in a folder just entered is new.
    fn beneath(&mut self, walk: &mut Walk, step: &Step) -> io::Result<()> {
        let mut depth = u32::from(matches!(step, Step::Enter(_)));
        while depth > 0 {
            match walk.step()? {
                Some(Step::Leave) | None => depth -= 1,
                Some(step) => {
                    self.changes.push(Change::Added(path(walk)));
                    depth += u32::from(matches!(step, Step::Enter(_)));
                }
            }
        }
        Ok(())
    }
}

fn found(step: Option<&Step>) -> Option<&Found> {
    match step {
        Some(Step::Enter(found) | Step::Other(found)) => Some(found),
        Some(Step::Leave) | None => None,
    }
}

/// Passes over what is in a folder just entered.
fn skip(walk: &mut Walk, step: Option<&Step>) -> io::Result<()> {
    let mut depth = u32::from(matches!(step, Some(Step::Enter(_))));
    while depth > 0 {
        match walk.step()? {
            Some(Step::Leave) | None => depth -= 1,
            Some(Step::Enter(_)) => depth += 1,
            Some(Step::Other(_)) => {}
        }
    }
    Ok(())
}

/// As the container sees it, were the volume its root.
fn path(walk: &Walk) -> Vec<u8> {
    [b"/", walk.path().as_os_str().as_bytes()].concat()
}

fn owner(stat: &Stat) -> (u32, u32, u32) {
    (stat.st_uid, stat.st_gid, stat.st_mode)
}

fn mtime(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime as _, stat.st_mtime_nsec as _)
}

fn attributes(file: &OwnedFd) -> io::Result<Vec<(std::ffi::CString, Vec<u8>)>> {
    let mut all = Vec::new();
    each_attribute(file, |name, value| {
        all.push((name.to_owned(), value.to_vec()));
        Ok(())
    })?;
    all.sort();
    Ok(all)
}

fn is_same_content(a: OwnedFd, b: OwnedFd) -> io::Result<bool> {
    use std::io::BufRead;
    let reader = |file: OwnedFd| io::BufReader::with_capacity(1 << 18, std::fs::File::from(file));
    let (mut a, mut b) = (reader(a), reader(b));
    loop {
        let (left, right) = (a.fill_buf()?, b.fill_buf()?);
        let count = left.len().min(right.len());
        if left[..count] != right[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(left.len() == right.len());
        }
        a.consume(count);
        b.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tempdir;
    use super::*;
    use std::path::Path;

    /// As `A /path`.
    fn lines(before: &Path, now: &Path, contents: bool) -> Vec<String> {
        let changes = compare(
            open_root(before).unwrap(),
            open_root(now).unwrap(),
            contents,
        );
        let line = |change| {
            let (word, path) = match change {
                Change::Added(path) => ("A", path),
                Change::Changed(path) => ("C", path),
                Change::Deleted(path) => ("D", path),
            };
            format!("{word} {}", String::from_utf8(path).unwrap())
        };
        changes.unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn each_kind_of_change_is_seen() {
        let dir = tempdir::Dir::new();
        let (before, now) = (dir.0.join("before"), dir.0.join("now"));
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let settle = |path: &Path| {
            std::fs::File::open(path)
                .unwrap()
                .set_modified(old)
                .unwrap();
        };
        for root in [&before, &now] {
            std::fs::create_dir_all(root.join("gone/deep")).unwrap();
            std::fs::create_dir_all(root.join("kept/sub")).unwrap();
            for file in [
                "a",
                "edited",
                "gone/deep/x",
                "kept/sub/x",
                "quiet",
                "turned",
            ] {
                std::fs::write(root.join(file), "same").unwrap();
                settle(&root.join(file));
            }
            std::os::unix::fs::symlink("one", root.join("link")).unwrap();
        }
        let copy = |root: &Path| {
            for folder in ["gone/deep", "gone", "kept/sub", "kept", "."] {
                settle(&root.join(folder));
            }
        };
        let link = |root: &Path| {
            rustix::fs::utimensat(
                rustix::fs::CWD,
                root.join("link"),
                &rustix::fs::Timestamps {
                    last_access: rustix::fs::Timespec {
                        tv_sec: 1,
                        tv_nsec: 0,
                    },
                    last_modification: rustix::fs::Timespec {
                        tv_sec: 1,
                        tv_nsec: 0,
                    },
                },
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            )
            .unwrap();
        };
        for root in [&before, &now] {
            copy(root);
            link(root);
        }
        assert_eq!(lines(&before, &now, true), Vec::<String>::new());
        std::fs::remove_dir_all(now.join("gone")).unwrap();
        std::fs::write(now.join("edited"), "more than before").unwrap();
        std::fs::write(now.join("quiet"), "emas").unwrap();
        settle(&now.join("quiet"));
        std::fs::create_dir_all(now.join("new/deep")).unwrap();
        std::fs::write(now.join("new/deep/x"), "").unwrap();
        std::fs::write(now.join("kept/sub/y"), "").unwrap();
        std::fs::remove_file(now.join("turned")).unwrap();
        std::fs::create_dir(now.join("turned")).unwrap();
        std::fs::write(now.join("turned/x"), "").unwrap();
        std::fs::remove_file(now.join("link")).unwrap();
        std::os::unix::fs::symlink("two", now.join("link")).unwrap();
        link(&now);
        let wanted = [
            "C /edited",
            "D /gone",
            "C /kept/sub",
            "A /kept/sub/y",
            "C /link",
            "A /new",
            "A /new/deep",
            "A /new/deep/x",
            "C /turned",
            "A /turned/x",
        ];
        assert_eq!(lines(&before, &now, false), wanted);
        let all = lines(&before, &now, true);
        assert_eq!(all.len(), wanted.len() + 1);
        assert!(all.contains(&"C /quiet".to_owned()));
        assert!(lines(&now, &before, false).contains(&"A /gone/deep/x".to_owned()));
    }
}
