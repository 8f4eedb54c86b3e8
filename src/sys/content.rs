//! The bytes of a file, given to another.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::Stat;
use rustix::io::Errno;

/// Lets the empty file `target` share the blocks of `source` (ioctl_ficlone(2));
/// false where the file system cannot.
pub fn share(source: &OwnedFd, target: &OwnedFd) -> bool {
    rustix::fs::ioctl_ficlone(target, source).is_ok()
}

/// Copies what `source`, which is as `stat` says, has between its holes into the
/// empty file `target`. What is cut off `source` meanwhile is a hole. `buffer` is any,
/// kept by who copies many; `told` hears of the bytes as they are copied.
pub fn copy(
    source: &OwnedFd,
    target: &OwnedFd,
    stat: &Stat,
    buffer: &mut Vec<u8>,
    told: impl Fn(u64),
) -> io::Result<()> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 {
        return Ok(());
    }
    let is_sparse = u64::try_from(stat.st_blocks).unwrap_or(0) * 512 < size;
    if !is_sparse {
        return span(source, target, 0, size, buffer, &told);
    }
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(source, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(_) => return span(source, target, 0, size, buffer, &told),
        };
        let hole = rustix::fs::seek(source, rustix::fs::SeekFrom::Hole(data))?.min(size);
        if data >= size {
            break;
        }
        span(source, target, data, hole, buffer, &told)?;
        at = hole;
    }
    Ok(rustix::fs::ftruncate(target, size)?)
}

fn span(
    source: &OwnedFd,
    target: &OwnedFd,
    from: u64,
    to: u64,
    buffer: &mut Vec<u8>,
    told: &impl Fn(u64),
) -> io::Result<()> {
    /// What the kernel copies between two words.
    const STRIDE: usize = 16 << 20;
    let cut = |target| Ok(rustix::fs::ftruncate(target, to)?);
    let mut at = from;
    if to - from > 1 << 16 {
        let (mut read, mut written) = (from, from);
        while at < to {
            let rest = usize::try_from(to - at).unwrap_or(usize::MAX).min(STRIDE);
            let done = rustix::fs::copy_file_range(
                source,
                Some(&mut read),
                target,
                Some(&mut written),
                rest,
            );
            match done {
                Ok(0) => return cut(target),
                Ok(length) => {
                    at += length as u64;
                    told(length as u64);
                }
                Err(Errno::INTR) => {}
                // Between these two file systems the kernel cannot.
                Err(_) if at == from => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    if buffer.is_empty() {
        buffer.resize(1 << 18, 0);
    }
    while at < to {
        let length = buffer
            .len()
            .min(usize::try_from(to - at).unwrap_or(usize::MAX));
        let length = match rustix::io::pread(source, &mut buffer[..length], at) {
            Ok(0) => return cut(target),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut written = 0;
        while written < length {
            let part = &buffer[written..length];
            match rustix::io::pwrite(target, part, at + written as u64) {
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        at += length as u64;
        told(length as u64);
    }
    Ok(())
}
