//! Images: references, what the store knows of each, and each change to it.
//!
//! ```text
//! images/<image id>/
//!   image.json          all that `run` needs (an [`Image`]); written once
//!   config.json         the config, exact bytes: the id is their digest
//!   manifest-<hex>      the manifest it came with, exact bytes
//! images/<list id>/list.json    a manifest list ([`lists`])
//! refs/<host>/<path…>/:<tag>      the id of an image or a list
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

pub mod accounts;
mod add;
mod archive;
mod arrive;
mod artifact;
mod built;
mod commit;
mod config;
mod family;
mod find;
mod import;
mod instruction;
pub mod lists;
mod load;
pub mod manifest;
pub mod merged;
mod name;
mod platform;
mod pull;
mod push;
mod push_list;
mod reference;
mod remove;
mod save;
mod shift;
mod transport;

pub use add::{Arriving, GivenManifest, Incoming, IncomingLayer, Origin, Step, add};
pub use archive::Source;
pub use artifact::Artifact;
pub use built::{Description, Written, publish};
pub use commit::{NewImage, commit};
pub use config::{Healthcheck, ImageConfig, nanoseconds};
pub use family::Family;
pub use find::{by_id, by_name, find, list, names};
pub use import::{Import, change, import};
pub use instruction::{apply as instruct, apply_one as instruct_one};
pub use load::{Input, Loaded, check_path, load, load_from};
pub use name::{history, tag, untag, untag_one};
pub use platform::Wanted;
pub use pull::{Choose, Policy, Pull, all_tags, pull};
pub use push::{Compression, Format, Push, push};
pub use push_list::{PushList, To, push_list};
pub use reference::{Reference, is_short};
pub use remove::{Done, Users, collect_layers, in_use, remove, remove_ancestors};
pub use save::{Layout, Save, Saved, Target as SaveTarget, save};
pub use shift::{Progress, Work, ensure as ensure_shifted};
pub use transport::Place;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::events::{Event, Type};
use crate::id::{DiffId, Digest, ImageId};
use crate::storage::{Locked, Storage};

/// `image.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    pub id: ImageId,
    /// Of the manifest it came with last.
    pub digest: Digest,
    /// Of other manifests it came with.
    #[serde(default)]
    pub other_digests: Vec<Digest>,
    /// The media type of the manifest of `digest`.
    pub manifest_type: String,
    /// Lowest first.
    pub layers: Vec<DiffId>,
    pub config: ImageConfig,
    pub architecture: String,
    #[serde(default)]
    pub variant: String,
    pub os: String,
    /// As the config says.
    pub created: Option<Timestamp>,
    /// When it came into the store.
    pub stored: Timestamp,
    #[serde(default)]
    pub author: String,
    /// Bytes of its layers' tars, its config and its manifests, counted as Podman does.
    pub size: u64,
    /// The config's `User`, as the image's own passwd and group resolve it; none
    /// if they do not.
    pub user_ids: Option<(u32, u32)>,
    /// The name it was found by; none if by its id.
    #[serde(skip)]
    pub name: Option<Reference>,
}

impl Image {
    /// When it was made, as far as anybody knows.
    pub fn made(&self) -> Timestamp {
        self.created.unwrap_or(self.stored)
    }

    /// Every digest that a reference to it may have.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.digest).chain(&self.other_digests)
    }

    /// The exact bytes of its config.
    pub fn config_bytes(&self, storage: &Storage) -> Result<Vec<u8>> {
        let path = storage.image(&self.id).join("config.json");
        std::fs::read(&path).tried(|| format!("read {}", path.display()))
    }

    /// The exact bytes of its manifest.
    pub fn manifest_bytes(&self, storage: &Storage) -> Result<Vec<u8>> {
        let path = storage
            .image(&self.id)
            .join(format!("manifest-{}", self.digest.hex()));
        std::fs::read(&path).tried(|| format!("read {}", path.display()))
    }

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
        if is_whole(&dir) {
            Ok(lock)
        } else {
            Err(gone())
        }
    }
}

/// Whether what is of the folder is an image or a list, and not on its way out.
fn is_whole(dir: &std::path::Path) -> bool {
    dir.join("image.json").exists() || dir.join("list.json").exists()
}

/// Writes down that something became of an image, under the name it was known by then.
pub fn note(storage: &Storage, status: &'static str, id: &ImageId, name: &str) {
    let event = Event::new(Type::Image, status).id(id.as_str()).name(name);
    storage.events().write(&event);
}

/// Podman's words for an image that is not there.
pub fn no_such(text: &str) -> Error {
    Error::not_found(format!("{text}: image not known"))
}

/// The same, with the one that may have been meant.
fn absent(storage: &Storage, text: &str) -> Error {
    no_such(text).meant(near(storage, text))
}

/// The name of an image that may have been meant by `text`.
pub fn near(storage: &Storage, text: &str) -> Option<String> {
    let names = names(storage).unwrap_or_default();
    let mut spelled = Vec::new();
    for (name, _) in names {
        let full = name.to_string();
        let untagged = full.strip_suffix(":latest").unwrap_or(&full);
        let last = untagged.rsplit('/').next().unwrap_or(untagged);
        spelled.push(last.to_owned());
        spelled.push(untagged.to_owned());
    }
    // Other tags of it are near, too, however long they are.
    let named = crate::id::near(text, spelled.iter().map(String::as_str));
    let untagged = |name: &String| name.split(':').next() == text.split(':').next();
    let other_tag = || {
        spelled
            .iter()
            .find(|name| untagged(name))
            .map(String::as_str)
    };
    named.or_else(other_tag).map(str::to_owned)
}
