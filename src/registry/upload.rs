//! Blobs and manifests on their way to a registry.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ureq::SendBody;
use ureq::http::Method;

use super::Client;
use super::auth::escaped;
use super::client::{Trouble, refused};
use super::transport::{Answer, Question, header, joined};
use crate::error::{Context, Error, Result};
use crate::id::Digest;

impl Client {
    /// Whether the repository has the blob.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let name = self.endpoint.name();
        let tried = || format!("checking whether a blob {digest} exists in {name}");
        let answer = self
            .try_hard(|| {
                self.ask(&Question {
                    method: Method::HEAD,
                    url: &self.url(&format!("blobs/{digest}"))?,
                    headers: Vec::new(),
                    authorization: None,
                })
            })
            .tried(tried)?;
        match answer.status().as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(answer)).tried(tried),
        }
    }

    /// Asks the registry to take the blob over from its repository `from`; whether
    /// it did.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<bool> {
        let answer = self.begin(&format!("?mount={digest}&from={}", escaped(from)))?;
        match answer.status().as_u16() {
            201 => Ok(true),
            202 => {
                // An upload was begun in its place; that it is not wanted is no news
                // that anybody waits for.
                if let Some(url) = self.location(&answer) {
                    let _ = self.ask(&Question {
                        method: Method::DELETE,
                        url: &url,
                        headers: Vec::new(),
                        authorization: None,
                    });
                }
                Ok(false)
            }
            // The source may be closed to us: then the blob is sent.
            _ => Ok(false),
        }
    }

    /// Sends the blob: all of `file`, whose digest is `digest`.
    pub fn upload(&self, digest: &Digest, file: &File, sent: &Arc<AtomicU64>) -> Result<()> {
        let size = file.metadata()?.len();
        self.try_hard(|| {
            let answer = self.begin_once("")?;
            if answer.status() != 202 {
                return Err(refused(answer).into());
            }
            let url = self
                .location(&answer)
                .ok_or_else(|| Error::other("the registry does not say where to send it"))?;
            let between = if url.contains('?') { '&' } else { '?' };
            let url = format!("{url}{between}digest={}", escaped(digest.as_str()));
            self.put(&url, "application/octet-stream", size, &|| {
                let mut file = file.try_clone().map_err(Error::from)?;
                file.rewind().map_err(Error::from)?;
                sent.store(0, Ordering::Relaxed);
                Ok(SendBody::from_owned_reader(Counted {
                    from: file,
                    sent: sent.clone(),
                }))
            })
        })
        .tried(|| format!("writing blob {digest}"))
    }

    /// Sends the manifest, under the name `reference`.
    pub fn put_manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        self.try_hard(|| {
            let url = self.url(&format!("manifests/{reference}"))?;
            self.put(&url, media_type, bytes.len() as u64, &|| {
                Ok(SendBody::from_owned_reader(io::Cursor::new(bytes.to_vec())))
            })
        })
        .tried(|| format!("uploading manifest {reference} to {}", self.endpoint.name()))
    }

    fn begin(&self, query: &str) -> Result<Answer> {
        self.try_hard(|| self.begin_once(query))
    }

    fn begin_once(&self, query: &str) -> Result<Answer, Trouble> {
        let url = self.url(&format!("blobs/uploads/{query}"))?;
        self.authorized(|authorization| {
            let question = Question {
                method: Method::POST,
                url: &url,
                headers: vec![("content-length", "0".to_owned())],
                authorization,
            };
            self.send(&question, SendBody::none())
        })
    }

    fn put(
        &self,
        url: &str,
        media_type: &str,
        size: u64,
        body: &dyn Fn() -> Result<SendBody<'static>>,
    ) -> Result<(), Trouble> {
        let own = url.starts_with(&format!("{}/", self.origin()?));
        let answer = self.authorized(|authorization| {
            let question = Question {
                method: Method::PUT,
                url,
                headers: vec![
                    ("content-type", media_type.to_owned()),
                    ("content-length", size.to_string()),
                ],
                // What stores the bytes may be another's: it gets no credentials.
                authorization: authorization.filter(|_| own),
            };
            self.send(&question, body()?)
        })?;
        match answer.status().as_u16() {
            200..300 => Ok(()),
            _ => Err(refused(answer).into()),
        }
    }

    fn location(&self, answer: &Answer) -> Option<String> {
        joined(&self.origin().ok()?, header(answer, "location")?)
    }
}

struct Counted {
    from: File,
    sent: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
