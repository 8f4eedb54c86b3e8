//! A blob as a stream that survives broken connections.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use ureq::BodyReader;

use super::Client;
use super::client::{Trouble, refused};
use super::transport::header;
use crate::error::Error;
use crate::id::Digest;

/// Progress that makes up for all failures before.
const PROGRESS: u64 = 1 << 20;

/// A blob being read. It ends after exactly `size` bytes, or in an error; the
/// digest is the reader's to check.
pub struct Blob<'a> {
    client: &'a Client,
    digest: &'a Digest,
    size: u64,
    at: u64,
    /// Where the last connection began.
    begun: u64,
    attempt: u32,
    body: Option<BodyReader<'static>>,
    /// Bytes that have arrived.
    arrived: &'a AtomicU64,
}

impl Client {
    /// The blob `digest`, which must be of `size` bytes.
    pub fn blob<'a>(&'a self, digest: &'a Digest, size: u64, arrived: &'a AtomicU64) -> Blob<'a> {
        Blob {
            client: self,
            digest,
            size,
            at: 0,
            begun: 0,
            attempt: 0,
            body: None,
            arrived,
        }
    }
}

impl Blob<'_> {
    /// Asks for what is missing yet.
    fn open(&mut self) -> Result<(), Trouble> {
        let headers = match self.at {
            0 => Vec::new(),
            at => vec![("range", format!("bytes={at}-{}", self.size - 1))],
        };
        let answer = self
            .client
            .get_once(&format!("blobs/{}", self.digest), headers)?;
        let skip = match answer.status().as_u16() {
            // A registry that knows no ranges begins anew.
            200 => self.at,
            206 if self.at > 0 => {
                let begin = format!("bytes {}-", self.at);
                if !header(&answer, "content-range").is_some_and(|it| it.starts_with(&begin)) {
                    return Err(Error::other("the registry sends another part than asked").into());
                }
                0
            }
            _ => return Err(refused(answer).into()),
        };
        let length = header(&answer, "content-length").and_then(|it| it.parse::<u64>().ok());
        if let Some(length) = length
            && length != self.size - self.at + skip
        {
            return Err(Error::other(format!(
                "the registry sends {length} bytes, where the manifest says {}",
                self.size - self.at + skip
            ))
            .into());
        }
        let mut body = answer.into_body().into_reader();
        if skip > 0 {
            let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
            if !skipped.is_ok_and(|count| count == skip) {
                return Err(Trouble::Passing(Error::other("unexpected EOF"), None));
            }
        }
        self.begun = self.at;
        self.body = Some(body);
        Ok(())
    }

    /// Waits after `error`, or gives up.
    fn pause(&mut self, error: Error, after: Option<std::time::Duration>) -> io::Result<()> {
        self.body = None;
        if self.at - self.begun >= PROGRESS {
            self.attempt = 0;
        }
        self.begun = self.at;
        if self.attempt >= self.client.options.retry {
            return Err(io::Error::other(error.to_string()));
        }
        std::thread::sleep(self.client.delay(self.attempt, after));
        self.attempt += 1;
        Ok(())
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.size || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(body) = &mut self.body else {
                match self.open() {
                    Ok(()) => {}
                    Err(Trouble::Passing(error, after)) => self.pause(error, after)?,
                    Err(Trouble::Lasting(error)) => {
                        return Err(io::Error::other(error.to_string()));
                    }
                }
                continue;
            };
            let most = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            match body.read(&mut buffer[..most]) {
                Ok(0) => self.pause(Error::other("unexpected EOF"), None)?,
                Ok(count) => {
                    self.at += count as u64;
                    self.arrived.fetch_add(count as u64, Ordering::Relaxed);
                    // Without a length said before, more may come.
                    if self.at == self.size
                        && let Some(mut body) = self.body.take()
                        && matches!(body.read(&mut [0]), Ok(1..))
                    {
                        return Err(io::Error::other(format!(
                            "the registry sends more than the {} bytes the manifest says",
                            self.size
                        )));
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.pause(error.into(), None)?,
            }
        }
    }
}
