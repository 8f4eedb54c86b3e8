//! gzip by all processors: blocks are compressed side by side and stand in one
//! stream, each knowing the end of the one before it. What comes out depends on
//! the bytes and the level alone, so a layer has one digest wherever it is packed.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// What one thread compresses at a time.
const BLOCK: usize = 512 << 10;
/// How far back deflate looks.
const WINDOW: usize = 32 << 10;

/// Compresses what is written to it; [`Gzip::finish`] ends the stream.
pub struct Gzip<W> {
    to: W,
    level: Compression,
    block: Vec<u8>,
    before: Vec<u8>,
    jobs: Option<SyncSender<Job>>,
    workers: Vec<JoinHandle<()>>,
    most: usize,
    pending: VecDeque<Receiver<io::Result<Packed>>>,
    sum: Crc,
}

struct Job {
    block: Vec<u8>,
    before: Vec<u8>,
    level: Compression,
    is_last: bool,
    answer: SyncSender<io::Result<Packed>>,
}

struct Packed {
    bytes: Vec<u8>,
    sum: Crc,
}

impl<W: Write> Gzip<W> {
    pub fn new(mut to: W, level: Compression) -> io::Result<Self> {
        // No name and no time: the same bytes give the same stream (RFC 1952).
        to.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])?;
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, queue) = sync_channel::<Job>(count);
        let queue = Arc::new(Mutex::new(queue));
        let workers = (0..count)
            .map(|_| {
                let queue = queue.clone();
                std::thread::spawn(move || work(&queue))
            })
            .collect();
        Ok(Self {
            to,
            level,
            block: Vec::with_capacity(BLOCK),
            before: Vec::new(),
            jobs: Some(jobs),
            workers,
            most: 2 * count,
            pending: VecDeque::new(),
            sum: Crc::new(),
        })
    }

    /// Writes what is left, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.send(true)?;
        while !self.pending.is_empty() {
            self.take()?;
        }
        self.jobs = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        self.to.write_all(&self.sum.sum().to_le_bytes())?;
        self.to.write_all(&self.sum.amount().to_le_bytes())?;
        Ok(self.to)
    }

    fn send(&mut self, is_last: bool) -> io::Result<()> {
        while self.pending.len() >= self.most {
            self.take()?;
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let next = block[block.len().saturating_sub(WINDOW)..].to_vec();
        let (answer, packed) = sync_channel(1);
        let job = Job {
            before: std::mem::replace(&mut self.before, next),
            block,
            level: self.level,
            is_last,
            answer,
        };
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())?;
        self.pending.push_back(packed);
        Ok(())
    }

    /// Writes the block that is next.
    fn take(&mut self) -> io::Result<()> {
        let Some(next) = self.pending.pop_front() else {
            return Ok(());
        };
        let packed = next.recv().map_err(|_| gone())??;
        self.sum.combine(&packed.sum);
        self.to.write_all(&packed.bytes)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK {
            self.send(false)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn gone() -> io::Error {
    io::Error::other("a thread failed")
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else {
            return;
        };
        // One who gave up does not listen.
        let _ = job.answer.send(pack(&job));
    }
}

fn pack(job: &Job) -> io::Result<Packed> {
    let mut sum = Crc::new();
    sum.update(&job.block);
    let mut deflate = Compress::new(job.level, false);
    if !job.before.is_empty() {
        deflate.set_dictionary(&job.before)?;
    }
    let end = match job.is_last {
        true => FlushCompress::Finish,
        // Ends at a byte, where the next block goes on.
        false => FlushCompress::Sync,
    };
    let mut bytes = Vec::with_capacity(job.block.len() / 2 + 1024);
    loop {
        let read = usize::try_from(deflate.total_in()).map_err(io::Error::other)?;
        let status = deflate.compress_vec(&job.block[read..], &mut bytes, end)?;
        let is_done = match end {
            FlushCompress::Finish => status == Status::StreamEnd,
            // What is left over would have filled the buffer.
            _ => deflate.total_in() == job.block.len() as u64 && bytes.len() < bytes.capacity(),
        };
        if is_done {
            return Ok(Packed { bytes, sum });
        }
        bytes.reserve(job.block.len() / 4 + 1024);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn one_stream_comes_out_that_all_can_read() {
        let mut noise = 1_u32;
        let mixed: Vec<u8> = (0..3 * BLOCK + 17)
            .map(|at| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match at / 4096 % 3 {
                    0 => (noise >> 24) as u8,
                    _ => (at % 61) as u8,
                }
            })
            .collect();
        let noisy: Vec<u8> = (0..BLOCK + 1)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        for bytes in [&mixed[..], &noisy, &mixed[..BLOCK], b"a", b""] {
            for level in [0, 1, 6, 9] {
                let mut gzip = Gzip::new(Vec::new(), Compression::new(level)).unwrap();
                for piece in bytes.chunks(100_000) {
                    gzip.write_all(piece).unwrap();
                }
                let packed = gzip.finish().unwrap();
                let mut again = Vec::new();
                // One member, with nothing behind it.
                let mut reader = flate2::bufread::GzDecoder::new(&packed[..]);
                reader.read_to_end(&mut again).unwrap();
                assert!(again == bytes, "{} bytes, level {level}", bytes.len());
                assert!(reader.into_inner().is_empty());
            }
        }
    }

    #[test]
    fn an_error_of_the_writer_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                match bytes.len() {
                    10 => Ok(10),
                    _ => Err(io::ErrorKind::StorageFull.into()),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = Gzip::new(Full, Compression::fast()).unwrap();
        let mut written = Ok(());
        for _ in 0..64 {
            written = written.and_then(|()| gzip.write_all(&[7; BLOCK]));
        }
        let error = written.and_then(|()| gzip.finish().map(drop)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
