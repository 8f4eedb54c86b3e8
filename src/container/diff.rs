//! What a container changed of its image, and one image of another.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::{Container, rootfs};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::id::DiffId;
use crate::image::Image;
use crate::storage::diff::{self, Change, is_furniture};
use crate::storage::shifted::Lower;
use crate::storage::walk;

/// Something with files: a container or an image.
pub enum Side {
    Container(Box<Container>),
    Image(Box<Image>),
}

impl Side {
    /// Its layers, lowest first.
    fn layers(&self) -> &[DiffId] {
        match self {
            Self::Container(container) => &container.record.image.layers,
            Self::Image(image) => &image.layers,
        }
    }
}

/// What `side` changes of `from`, or of what it stands on: a container of its image,
/// an image's last layer of those before it. What every container has made for it
/// is left out.
pub fn diff(engine: &Engine, side: &Side, from: Option<&Side>) -> Result<Vec<Change>> {
    let mut changes = match from {
        None => top(engine, side),
        // The container's own layer is all that there is between the two.
        Some(from) if stands_on(side, from) => top(engine, side),
        Some(from) => between(engine, from, side),
    }?;
    changes.retain(|change| !is_furniture(change.path()));
    Ok(changes)
}

fn stands_on(side: &Side, from: &Side) -> bool {
    matches!(side, Side::Container(_))
        && matches!(from, Side::Image(_))
        && side.layers() == from.layers()
}

/// Folders of layers, highest first.
fn folders(engine: &Engine, side: &Side) -> Vec<PathBuf> {
    let layers = side.layers().iter().rev();
    let mut folders: Vec<PathBuf> = layers
        .map(|id| engine.storage.layer(id).join("diff"))
        .collect();
    if let Side::Container(container) = side {
        folders.insert(
            0,
            engine.storage.container(&container.record.id).join("upper"),
        );
    }
    folders
}

/// What the highest layer changes.
fn top(engine: &Engine, side: &Side) -> Result<Vec<Change>> {
    let folders = folders(engine, side);
    let Some((top, lowers)) = folders.split_first() else {
        return Ok(Vec::new());
    };
    // A container that was never started has no layer of its own.
    if matches!(side, Side::Container(_)) && !top.exists() {
        return Ok(Vec::new());
    }
    engine.in_namespace(|| diff::of_layer(top, lowers).tried(|| "compare layers"))
}

fn between(engine: &Engine, before: &Side, now: &Side) -> Result<Vec<Change>> {
    let (before, now) = (folders(engine, before), folders(engine, now));
    engine.in_namespace(|| {
        let merged = |mut folders: Vec<PathBuf>| -> Result<OwnedFd> {
            folders.retain(|folder| folder.exists());
            let lower = Lower {
                folders,
                data: Vec::new(),
            };
            let mounted = rootfs::read_only(&engine.storage, &lower)?;
            Ok(walk::open(&mounted, c".", rustix::fs::OFlags::DIRECTORY)?)
        };
        diff::between(merged(before)?, merged(now)?).tried(|| "compare trees")
    })
}
