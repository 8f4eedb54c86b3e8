//! A tar that is written from front to end, or, into a file, at several places
//! at once: where each part stands is known beforehand.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::FileExt;

use super::Packer;
use crate::error::{Context, Error, Result};
use crate::id::DiffId;
use crate::storage::pack::header;
use crate::storage::tar::{BLOCK, Entry, Kind};

/// What follows an entry's headers.
pub enum Body<'a> {
    Bytes(Vec<u8>),
    Layer(&'a DiffId, u64),
}

/// An entry with its headers made.
pub struct Part<'a> {
    header: Vec<u8>,
    body: Body<'a>,
}

impl<'a> Part<'a> {
    pub fn bytes(path: &str, mode: u32, bytes: Vec<u8>) -> Result<Self> {
        let entry = entry(Kind::File, path, mode, bytes.len() as u64);
        Self::new(&entry, Body::Bytes(bytes))
    }

    pub fn layer(path: &str, mode: u32, id: &'a DiffId, size: u64) -> Result<Self> {
        Self::new(&entry(Kind::File, path, mode, size), Body::Layer(id, size))
    }

    pub fn link(path: &str, target: &str) -> Result<Self> {
        let entry = Entry {
            link: target.as_bytes().to_vec(),
            ..entry(Kind::Symlink, path, 0, 0)
        };
        Self::new(&entry, Body::Bytes(Vec::new()))
    }

    pub fn folder(path: &str) -> Result<Self> {
        Self::new(
            &entry(Kind::Folder, path, 0o755, 0),
            Body::Bytes(Vec::new()),
        )
    }

    fn new(entry: &Entry, body: Body<'a>) -> Result<Self> {
        let header = header(entry)?;
        Ok(Self { header, body })
    }

    fn size(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Layer(_, size) => *size,
        }
    }

    /// With padding.
    fn length(&self) -> u64 {
        self.header.len() as u64 + self.size().next_multiple_of(BLOCK as u64)
    }
}

/// Owned by root, of no time: the same image gives the same archive.
pub fn entry(kind: Kind, path: &str, mode: u32, size: u64) -> Entry {
    Entry {
        kind,
        path: path.as_bytes().to_vec(),
        link: Vec::new(),
        mode,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        size,
        xattrs: Vec::new(),
        device: (0, 0),
        sparse: None,
    }
}

/// The archive on its way out.
pub struct Tape<'a> {
    file: &'a File,
    /// Where we are in a file that is ours from its beginning; none in a stream.
    at: Option<u64>,
}

impl<'a> Tape<'a> {
    pub fn new(file: &'a File) -> Self {
        let is_ours = file
            .metadata()
            .is_ok_and(|it| it.is_file() && it.len() == 0)
            && (&mut &*file).stream_position().is_ok_and(|at| at == 0)
            && rustix::fs::fcntl_getfl(file)
                .is_ok_and(|flags| !flags.contains(rustix::fs::OFlags::APPEND));
        Self {
            file,
            at: is_ours.then_some(0),
        }
    }

    /// Where we are, if parts may be written out of order.
    pub fn position(&self) -> Option<u64> {
        self.at
    }

    /// One who writes at a place of his own.
    pub fn beginning_at(&self, at: u64) -> Tape<'a> {
        Tape {
            file: self.file,
            at: Some(at),
        }
    }

    /// Writes `parts`, their layers side by side if the place of each is known.
    pub fn write(&mut self, packer: &Packer, parts: &[Part]) -> Result<()> {
        let Some(start) = self.at else {
            return self.write_in_order(packer, parts);
        };
        let total = start + parts.iter().map(Part::length).sum::<u64>();
        allocate(self.file, start, total - start)?;
        let mut at = start;
        let mut layers: Vec<(&DiffId, u64)> = Vec::new();
        for part in parts {
            let body = at + part.header.len() as u64;
            let mut here = self.beginning_at(at);
            here.write_all(&part.header)?;
            match &part.body {
                Body::Bytes(bytes) => here.write_all(bytes)?,
                Body::Layer(id, _) => layers.push((id, body)),
            }
            at += part.length();
        }
        // Holes between the parts are the zeros that pad them.
        self.file.set_len(total)?;
        let ids: Vec<&DiffId> = layers.iter().map(|(id, _)| *id).collect();
        packer.each(&ids, |nth, id| {
            packer.tar(id, self.beginning_at(layers[nth].1))
        })?;
        self.at = Some(total);
        Ok(())
    }

    fn write_in_order(&mut self, packer: &Packer, parts: &[Part]) -> Result<()> {
        for part in parts {
            self.write_all(&part.header)?;
            match &part.body {
                Body::Bytes(bytes) => self.write_all(bytes)?,
                Body::Layer(id, _) => packer.tar(id, &mut *self)?,
            }
            self.pad(part.size())?;
        }
        Ok(())
    }

    /// Fills up the block after content of `size` bytes.
    pub fn pad(&mut self, size: u64) -> Result<()> {
        let padding = size.wrapping_neg() % BLOCK as u64;
        Ok(self.write_all(&[0; BLOCK][..padding as usize])?)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.write_all(&[0; 2 * BLOCK])?)
    }
}

impl Write for Tape<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.at {
            None => (&mut &*self.file).write(bytes),
            Some(at) => {
                let count = self.file.write_at(bytes, *at)?;
                *at += count as u64;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the room at once: a disk that is too full says so before hours of work.
fn allocate(file: &File, at: u64, length: u64) -> Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::empty(), at, length) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(Error::from(error)).tried(|| format!("{length} bytes")),
    }
}
