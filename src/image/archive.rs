//! Files of an image on their way in: a tar, or a folder with the same names.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use sha2::Digest as _;

use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::storage::layer::clean;
use crate::storage::tar::{BLOCK, Kind, Reader};
use crate::sys::file::{open_dir, open_in_root};

/// More files than any image has; who has more means harm.
const MOST_FILES: usize = 1 << 16;
/// The largest manifest, index or config that is read (Go's containers/image: 4 MiB).
const MOST_BYTES: u64 = 4 << 20;

/// Where the files are.
pub enum Archive {
    Tar {
        file: Arc<File>,
        members: HashMap<Vec<u8>, Member>,
    },
    Folder(OwnedFd),
}

/// A file of a tar.
pub enum Member {
    File { offset: u64, size: u64 },
    Link(Vec<u8>),
}

impl Archive {
    /// Reads the headers of the uncompressed tar `file`; its contents are passed over.
    pub fn of_tar(file: File) -> Result<Self> {
        let file = Arc::new(file);
        let length = file.metadata()?.len();
        let mut members = HashMap::new();
        let mut at = 0;
        loop {
            let rest = Source::part(file.clone(), at, length.saturating_sub(at));
            let mut reader = Reader::new(BufReader::with_capacity(4 * BLOCK, rest));
            let Some(entry) = reader.next_entry()? else {
                break;
            };
            let offset = at + reader.offset();
            let padded = entry.size.checked_next_multiple_of(BLOCK as u64);
            at = match padded.and_then(|size| offset.checked_add(size)) {
                Some(next) if offset + entry.size <= length => next,
                _ => return Err(Error::other("unexpected EOF")),
            };
            let path = clean(&entry.path);
            let member = match entry.kind {
                Kind::File => Member::File {
                    offset,
                    size: entry.size,
                },
                Kind::HardLink => Member::Link(clean(&entry.link)),
                Kind::Symlink => {
                    let folder = path.rsplitn(2, |byte| *byte == b'/').nth(1);
                    let folder = folder.unwrap_or_default();
                    Member::Link(clean(&[folder, b"/", &entry.link].concat()))
                }
                _ => continue,
            };
            if members.len() == MOST_FILES {
                return Err(Error::other("too many files for an image"));
            }
            members.insert(path, member);
        }
        Ok(Archive::Tar { file, members })
    }

    /// The files beneath `path`.
    pub fn of_folder(path: &Path) -> Result<Self> {
        Ok(Archive::Folder(open_dir(path)?))
    }

    /// The file `name`; `None` if there is none.
    pub fn open(&self, name: &str) -> Result<Option<Source>> {
        match self {
            Archive::Tar { file, members } => {
                let mut path = clean(name.as_bytes());
                // Old `docker save` has links from one layer to another.
                for _ in 0..8 {
                    match members.get(&path) {
                        None => return Ok(None),
                        Some(Member::File { offset, size }) => {
                            return Ok(Some(Source::part(file.clone(), *offset, *size)));
                        }
                        Some(Member::Link(target)) => path = target.clone(),
                    }
                }
                Err(Error::other(format!("{name}: too many levels of links")))
            }
            Archive::Folder(root) => {
                let path = clean(name.as_bytes());
                let path = Path::new(std::ffi::OsStr::from_bytes(&path));
                // A FIFO would keep us waiting: do not.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                let file = match open_in_root(root, path, flags) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    result => File::from(result.tried(|| format!("open {name}"))?),
                };
                let found = file.metadata()?;
                if !found.is_file() {
                    return Err(Error::other(format!("{name} is no file")));
                }
                Ok(Some(Source::part(Arc::new(file), 0, found.len())))
            }
        }
    }

    /// The whole content of a small file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(mut source) = self.open(name)? else {
            return Ok(None);
        };
        if source.size() > MOST_BYTES {
            return Err(Error::other(format!(
                "{name} is of {} bytes, where {MOST_BYTES} are the most",
                source.size()
            )));
        }
        let mut bytes = Vec::new();
        source
            .read_to_end(&mut bytes)
            .tried(|| format!("read {name}"))?;
        Ok(Some(bytes))
    }

    /// The content of a small file that must be there.
    pub fn require(&self, name: &str) -> Result<Vec<u8>> {
        self.read(name)?
            .ok_or_else(|| Error::other(format!("the archive has no {name}")))
    }
}

/// A part of a file, read by position, so that many may read at once.
#[derive(Debug, Clone)]
pub struct Source {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Source {
    pub fn part(file: Arc<File>, offset: u64, size: u64) -> Self {
        Self {
            file,
            at: offset,
            left: size,
        }
    }

    /// All of `file`.
    pub fn whole(file: File) -> Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::part(Arc::new(file), 0, size))
    }

    /// Bytes that are left to read.
    pub fn size(&self) -> u64 {
        self.left
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut buffer[..most], self.at)? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "unexpected EOF",
            )),
            count => {
                self.at += count as u64;
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

/// A stream whose digest must be right when it has been read, and that ends when
/// it is told to.
pub struct Checked<'a, R> {
    from: R,
    left: u64,
    /// None where another check is enough.
    wanted: Option<(Digest, sha2::Sha256)>,
    stop: &'a AtomicBool,
}

impl<'a, R: Read> Checked<'a, R> {
    /// `from` must be of exactly `size` bytes.
    pub fn new(from: R, size: u64, wanted: Option<Digest>, stop: &'a AtomicBool) -> Self {
        Self {
            from,
            left: size,
            wanted: wanted.map(|digest| (digest, sha2::Sha256::default())),
            stop,
        }
    }

    /// Reads what the decompressor left unread, so that all of it is checked.
    pub fn finish(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        let count = self.from.read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        if let Some((_, hasher)) = &mut self.wanted {
            hasher.update(&buffer[..count]);
        }
        // A decompressor may not ask for more once it has its end.
        if self.left == 0
            && let Some((digest, hasher)) = self.wanted.take()
        {
            let found = crate::id::hex(&hasher.finalize());
            if found != digest.hex() {
                return Err(io::Error::other(format!(
                    "its digest is sha256:{found}, where the manifest says {digest}"
                )));
            }
        }
        Ok(count)
    }
}

/// Fails if `bytes` do not have the digest `wanted`.
pub fn check(bytes: &[u8], wanted: &Digest) -> Result<()> {
    let found = Digest::of(bytes);
    if found == *wanted {
        Ok(())
    } else {
        Err(Error::other(format!(
            "blob {wanted} does not match its digest: it is {found}"
        )))
    }
}
