//! Layers that were unpacked while only the caller's id was mapped, once there are
//! more ids: their files become those of whom the image says.
//!
//! `single` in the store's folder is there from the first such layer on, so that
//! stores without one ask no further.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::layer::{Layer, OWNER};
use super::tree::each;
use super::{Storage, lock_alone, write_json};
use crate::error::{Context, Error, Result};
use crate::id::DiffId;
use crate::sys::file::Durable;

impl Storage {
    fn single_mark(&self) -> PathBuf {
        self.root.join("single")
    }

    /// Notes that a layer is about to be unpacked with all its files the caller's.
    pub fn note_single(&self) -> Result<()> {
        let mark = self.single_mark();
        File::create(&mark)
            .map(drop)
            .tried(|| format!("make {}", mark.display()))
    }

    /// Those of `layers` whose files are all the caller's, but should not be.
    pub fn single_layers<'a>(&self, layers: &'a [DiffId]) -> Result<Vec<&'a DiffId>> {
        if !self.single_mark().exists() {
            return Ok(Vec::new());
        }
        let mut single = Vec::new();
        for id in layers {
            if self.read_layer(id)?.is_some_and(|layer| layer.single) {
                single.push(id);
            }
        }
        Ok(single)
    }

    /// Gives the files of the layer `id` to whom the image says. Must run where all
    /// ids are mapped. Cut short, it can be done again.
    pub fn restore_owners(&self, id: &DiffId) -> Result<()> {
        let dir = self.layer(id);
        let _lock = lock_alone(&dir)?;
        let Some(layer) = self.read_layer(id)?.filter(|layer| layer.single) else {
            // Another was first.
            return Ok(());
        };
        let wanted = |found: &Stat| has_attributes(found);
        each(&dir.join("diff"), wanted, restore).map_err(|(at, error)| {
            Error::from(error).tried(format_args!("give {} its owner", at.display()))
        })?;
        let restored = Layer {
            single: false,
            ..layer
        };
        write_json(&dir.join("layer.json"), &restored, Durable::Yes)
    }
}

/// Links and FIFOs can have no such attribute: they stay root's.
fn has_attributes(found: &Stat) -> bool {
    matches!(
        FileType::from_raw_mode(found.st_mode),
        FileType::RegularFile | FileType::Directory
    )
}

fn restore(file: &OwnedFd, found: &Stat) -> std::io::Result<()> {
    if !has_attributes(found) {
        return Ok(());
    }
    // What only names a file has no attributes; its place in /proc has.
    let place = format!("/proc/self/fd/{}", file.as_raw_fd());
    let place = Path::new(&place);
    let mut value = [0; 64];
    let length = match rustix::fs::getxattr(place, OWNER, &mut value[..]) {
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(()),
        result => result?,
    };
    let Some((uid, gid, mode)) = parse(&value[..length]) else {
        return Ok(());
    };
    const CAPABILITY: &str = "security.capability";
    let mut capability = [0; 64];
    let kept = rustix::fs::getxattr(place, CAPABILITY, &mut capability[..]);
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(file, c"", owner.0, owner.1, flags)?;
    // A new owner takes away setuid bits and capabilities.
    rustix::fs::chmod(place, rustix::fs::Mode::from_raw_mode(mode))?;
    if let Ok(length) = kept {
        let value = &capability[..length];
        rustix::fs::setxattr(place, CAPABILITY, value, XattrFlags::empty())?;
    }
    // Last: it says that this is still to be done.
    Ok(rustix::fs::removexattr(place, OWNER)?)
}

/// The owner that the value of [`OWNER`] names.
pub fn owner_of(value: &[u8]) -> Option<(u32, u32)> {
    parse(value).map(|(uid, gid, _)| (uid, gid))
}

/// `UID:GID:MODE`, the mode octal.
fn parse(value: &[u8]) -> Option<(u32, u32, u32)> {
    let mut parts = str::from_utf8(value).ok()?.split(':');
    let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let mode = u32::from_str_radix(parts.next()?, 8).ok()?;
    Some((uid, gid, mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacking_wrote_is_read() {
        assert_eq!(parse(b"5:6:4711"), Some((5, 6, 0o4711)));
        assert_eq!(parse(b"5:6:104711"), Some((5, 6, 0o4711)));
        for bad in [&b"5:6"[..], b"", b"a:1:1", b"1:1:9", b"\xff:1:1"] {
            assert_eq!(parse(bad), None);
        }
    }
}
