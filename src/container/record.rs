//! A container's JSON on disk.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::options::{MountKind, Options};
use crate::id::{ContainerId, DiffId, ImageId, Name};
use crate::secret::Bytes;
use crate::userns::IdMap;

/// `container.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub id: ContainerId,
    pub name: Name,
    pub created: Timestamp,
    pub image: ImageUse,
    pub options: Options,
    /// The id map, where it is not the caller's default.
    pub map: Option<IdMap>,
    /// Why `map` was chosen, for `inspect`: `ownership: image user 1000:100 is the caller`.
    pub map_reason: Option<String>,
    /// What its secrets are, on their way from where they were looked up to its folder.
    #[serde(skip)]
    pub secrets: Vec<Bytes>,
}

/// What of an image a container needs, so that it starts without asking for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageUse {
    pub id: ImageId,
    /// As `ps` shows it: `localhost/busybox:latest`.
    pub name: String,
    /// Lowest first.
    pub layers: Vec<DiffId>,
}

impl ImageUse {
    /// That of a container whose root is a folder of the host's.
    pub fn none() -> Self {
        Self {
            id: ImageId::none(),
            name: String::new(),
            layers: Vec::new(),
        }
    }

    /// The image's id, as it is shown: empty where there is no image.
    pub fn shown_id(&self) -> &str {
        match self.id.is_none() {
            true => "",
            false => self.id.as_str(),
        }
    }
}

impl Record {
    /// The volumes it mounts.
    pub fn volumes(&self) -> impl Iterator<Item = &Name> {
        self.options
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Volume { name, .. } => Some(name),
                _ => None,
            })
    }
}
