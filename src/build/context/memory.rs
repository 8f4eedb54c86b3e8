//! The digests of a context's files, remembered from one build to the next: a file is read
//! again only if its size, times or inode are not what they were.
//!
//! ```text
//! $XDG_CACHE_HOME/coracle/contexts/<digest of the context's path>
//!   "coracle 1\n", then for each file: length of the path (u32), path, size, mtime, ctime,
//!   device, inode (u64 and i64, little-endian), sha256
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;
use sha2::{Digest as _, Sha256};

use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::sys::file::{Durable, write_whole};

/// Of a file's content.
pub type Sum = [u8; 32];

const HEAD: &[u8] = b"coracle 1\n";
/// What follows a path.
const FIXED: usize = 7 * 8 + 32;

/// What a file was like when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    device: u64,
    inode: u64,
}

impl Look {
    pub fn of(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: (stat.st_mtime as _, stat.st_mtime_nsec as _),
            ctime: (stat.st_ctime as _, stat.st_ctime_nsec as _),
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }

    /// Of one that may have changed since without a trace: like no file, so it is read
    /// again, but what it held is known.
    const UNSETTLED: Self = Self {
        size: u64::MAX,
        mtime: (0, 0),
        ctime: (0, 0),
        device: 0,
        inode: 0,
    };

    /// Whether it changed so long before `now` that another change would show in its
    /// times, which go in steps.
    fn is_settled(&self, now: jiff::Timestamp) -> bool {
        const STEP: i128 = 100_000_000;
        let changed = i128::from(self.ctime.0) * 1_000_000_000 + i128::from(self.ctime.1);
        changed + STEP < now.as_nanosecond()
    }
}

/// What is remembered of one context.
pub struct Memory<'a> {
    /// Whose signals end the reading.
    engine: Option<&'a Engine>,
    file: PathBuf,
    known: HashMap<Vec<u8>, (Look, Sum)>,
    /// Those asked for in this build.
    seen: HashMap<Vec<u8>, (Look, Sum)>,
    /// Files whose content is not what it was.
    pub changed: Vec<Vec<u8>>,
    is_new: bool,
}

impl<'a> Memory<'a> {
    /// That of the context in the folder `root`.
    pub fn open(engine: &'a Engine, root: &Path) -> Self {
        let storage = &engine.storage;
        // One that was unpacked for this build is nowhere the next time.
        if root.starts_with(storage.root()) {
            return Self {
                engine: Some(engine),
                ..Self::none()
            };
        }
        use std::os::unix::ffi::OsStrExt;
        let name = crate::id::Digest::of(root.as_os_str().as_bytes());
        let file = storage.cache().join("contexts").join(name.hex());
        let known = std::fs::read(&file)
            .ok()
            .and_then(|bytes| read(&bytes))
            .unwrap_or_default();
        Self {
            engine: Some(engine),
            file,
            is_new: known.is_empty(),
            known,
            seen: HashMap::new(),
            changed: Vec::new(),
        }
    }

    /// One that remembers nothing.
    pub fn none() -> Self {
        Self {
            engine: None,
            file: PathBuf::new(),
            known: HashMap::new(),
            seen: HashMap::new(),
            changed: Vec::new(),
            is_new: true,
        }
    }

    /// The digest of the file at `path`, which `stat` is of; `open` opens it where it is
    /// not known.
    pub fn sum(
        &mut self,
        path: &[u8],
        stat: &Stat,
        open: impl FnOnce() -> Result<OwnedFd>,
    ) -> Result<Sum> {
        let look = Look::of(stat);
        if let Some((_, sum)) = self.seen.get(path).filter(|(was, _)| *was == look) {
            return Ok(*sum);
        }
        let before = self.known.get(path).copied();
        if let Some((was, sum)) = before
            && was == look
        {
            self.seen.insert(path.to_vec(), (was, sum));
            return Ok(sum);
        }
        let now = jiff::Timestamp::now();
        let sum = sum_of(open()?.into(), &|| match self.engine {
            Some(engine) => engine.interrupted(),
            None => Ok(()),
        })
        .tried(|| format!("read {}", String::from_utf8_lossy(path)))?;
        let is_told = self.seen.get(path).is_some_and(|(_, told)| *told == sum);
        if !self.is_new && !is_told && before.is_none_or(|(_, was)| was != sum) {
            self.changed.push(path.to_vec());
        }
        let kept = match look.is_settled(now) {
            true => look,
            false => Look::UNSETTLED,
        };
        self.seen.insert(path.to_vec(), (kept, sum));
        Ok(sum)
    }

    /// Writes what is known now. What cannot be written is read again next time.
    pub fn save(self) {
        let mut all = self.known;
        let is_same = self
            .seen
            .iter()
            .all(|(path, now)| all.get(path).is_some_and(|was| was == now));
        if self.file.as_os_str().is_empty() || is_same {
            return;
        }
        all.extend(self.seen);
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = write_whole(&self.file, &write(&all), Durable::No);
    }
}

/// The digest of a file's content; `check` is asked now and then whether to go on.
pub fn sum_of(mut file: File, check: &dyn Fn() -> Result<()>) -> Result<Sum> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(sum.finalize().into()),
            Ok(count) => sum.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn write(all: &HashMap<Vec<u8>, (Look, Sum)>) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    for (path, (look, sum)) in all {
        bytes.extend((path.len() as u32).to_le_bytes());
        bytes.extend(path);
        let Look {
            size,
            mtime,
            ctime,
            device,
            inode,
        } = *look;
        for number in [
            size,
            mtime.0 as u64,
            mtime.1 as u64,
            ctime.0 as u64,
            ctime.1 as u64,
            device,
            inode,
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(sum);
    }
    bytes
}

/// `None` if it is not what we wrote.
fn read(bytes: &[u8]) -> Option<HashMap<Vec<u8>, (Look, Sum)>> {
    let mut rest = bytes.strip_prefix(HEAD)?;
    let mut all = HashMap::with_capacity(rest.len() / 128);
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let path = rest.get(4..4 + length)?.to_vec();
        let fixed = rest.get(4 + length..4 + length + FIXED)?;
        let number = |at: usize| {
            let bytes: [u8; 8] = fixed[at * 8..at * 8 + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        };
        let look = Look {
            size: number(0),
            mtime: (number(1) as i64, number(2) as i64),
            ctime: (number(3) as i64, number(4) as i64),
            device: number(5),
            inode: number(6),
        };
        all.insert(path, (look, fixed[56..].try_into().ok()?));
        rest = &rest[4 + length + FIXED..];
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let look = |inode| Look {
            size: 5,
            mtime: (-1, 2),
            ctime: (3, 4),
            device: u64::MAX,
            inode,
        };
        let all = HashMap::from([
            (b"a/b".to_vec(), (look(1), [1; 32])),
            (Vec::new(), (look(2), [2; 32])),
        ]);
        let bytes = write(&all);
        assert_eq!(read(&bytes), Some(all));
        // Half a file is none.
        for end in HEAD.len() + 1..bytes.len() {
            if let Some(part) = read(&bytes[..end]) {
                assert!(part.len() < 2);
            }
        }
        assert_eq!(read(b"coracle 2\n"), None);
    }
}
