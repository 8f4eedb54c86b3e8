//! Images: references, what the store knows of each, and each change to it.
//!
//! ```text
//! images/<image id>/
//!   image.json          all that `run` needs (an [`Image`]); written once
//!   config.json         the config, exact bytes: the id is their digest
//!   manifest-<hex>      the manifest it came with, exact bytes
//! refs/<host>/<path…>/:<tag>      the id of an image
//! refs/<host>/<path…>/@sha256:…   the same, for a name with a digest
//! ```
//!
//! A manifest names one config, so it belongs to one image: it lies in its
//! folder, which one rename makes and one rename takes away. Layers are shared:
//! they are published first, and taken away last.
//!
//! Who uses an image holds its folder's lock shared ([`Found::lock`]) until what
//! keeps the image (a container's record, a name) is on disk; who removes it
//! holds the lock alone and asks for its users then. Layers alike.
//!
//! **Invariant:** a name costs one look-up, however many images there are; only
//! a name that is not there as it stands has the names walked.

mod config;
mod find;
mod reference;

pub use config::{Healthcheck, ImageConfig};
pub use find::{find, list, names};
pub use reference::Reference;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{DiffId, Digest, ImageId};
use crate::storage::{Locked, Storage};

/// `image.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    pub id: ImageId,
    /// Of the manifest.
    pub digest: Digest,
    /// The manifest's media type.
    pub manifest_type: String,
    /// Lowest first.
    pub layers: Vec<DiffId>,
    pub config: ImageConfig,
    pub architecture: String,
    #[serde(default)]
    pub variant: String,
    pub os: String,
    pub created: Option<Timestamp>,
    #[serde(default)]
    pub author: String,
    /// Bytes of its layers' files and of its metadata.
    pub size: u64,
    /// The config's `User`, as the image's own passwd and group resolve it; none
    /// if they do not.
    pub user_ids: Option<(u32, u32)>,
    /// What `/` is in the image. The overlay shows its upper folder's.
    pub root: RootFolder,
    /// The name it was found by; none if by its id.
    #[serde(skip)]
    pub name: Option<Reference>,
}

/// Owner and mode of an image's `/`, by ids inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFolder {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Image {
    /// Keeps the image from being removed while the value lives. `NotFound` if it
    /// was removed since it was found. To be held until the container's record
    /// is on disk.
    pub fn lock(&self, storage: &Storage) -> Result<Locked> {
        let gone = || no_such(self.id.as_str());
        let dir = storage.image(&self.id);
        if !dir.exists() {
            return Err(gone());
        }
        let lock = crate::storage::lock_shared(&dir)?;
        // Removed between the opening and the lock: the lock is of nothing.
        if dir.join("image.json").exists() {
            Ok(lock)
        } else {
            Err(gone())
        }
    }
}

/// Podman's words for an image that is not there.
pub fn no_such(text: &str) -> Error {
    Error::not_found(format!("{text}: image not known"))
}
