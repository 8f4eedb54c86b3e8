//! The distribution protocol: ask a registry for manifests and blobs, send it
//! some, log in to it.
//!
//! ```text
//! GET  /v2/<path>/manifests/<tag|digest>     bounded, digest checked
//! GET  /v2/<path>/blobs/<digest>             resumed by Range where it breaks
//! POST, PATCH, PUT /v2/<path>/blobs/uploads/ one upload each
//! 401  WWW-Authenticate: Bearer realm=…      a token for the repository's scope
//! ```
//!
//! [`download`] fetches what any URL names.
//!
//! The HTTP client's types stop here. It blocks and starts no thread of its own, yet
//! whoever uses it runs in a process that forks nothing afterwards.
//!
//! **Invariant:** credentials and tokens go to the registry (and, as it demands,
//! to its token service), never along a redirect to another host.

mod auth;
mod blob;
mod client;
mod configuration;
pub mod credentials;
mod download;
pub mod policy;
mod proxy;
mod search;
mod tls;
mod transport;
mod upload;

pub use blob::Blob;
pub use client::{Access, CATALOG, Client, Fetched};
pub use configuration::{Meant, Registries, ShortNames};
pub use credentials::Credentials;
pub use download::download;
pub use search::Hit;

use std::path::PathBuf;
use std::time::Duration;

/// The largest manifest, index or config that is read (Go's containers/image: 4 MiB).
pub const MOST_BYTES: u64 = 4 << 20;

/// How registries are spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// None: certificates are checked unless registries.conf calls the registry
    /// insecure.
    pub tls_verify: Option<bool>,
    pub credentials: Option<Credentials>,
    pub authfile: Option<PathBuf>,
    pub cert_dir: Option<PathBuf>,
    /// How often what fails for a moment is tried again.
    pub retry: u32,
    /// None: longer each time.
    pub retry_delay: Option<Duration>,
    /// How long a registry may be silent.
    pub silence: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls_verify: None,
            credentials: None,
            authfile: None,
            cert_dir: None,
            retry: 3,
            retry_delay: None,
            silence: Duration::from_secs(60),
        }
    }
}

/// Where a repository is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `docker.io`, `localhost:5000`: as names have it.
    pub registry: String,
    /// `library/redis`
    pub path: String,
    /// Certificates are not checked, and plain HTTP will do.
    pub insecure: bool,
}

impl Endpoint {
    /// `docker.io/library/redis`
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// Where the registry is reached: Docker's is elsewhere than it is named.
    fn host(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        }
    }
}
