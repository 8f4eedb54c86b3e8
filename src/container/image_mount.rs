//! Images shown in a folder, read-only, for the shell of `unshare` that mounts them:
//! a mount is there as long as that shell is.
//!
//! ```text
//! $XDG_RUNTIME_DIR/coracle/images/<image id>/    where it is mounted
//! ```

use std::path::{Path, PathBuf};

use super::rootfs::mount_overlay;
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::image::Image;
use crate::storage::shifted::Lower;
use crate::sys::mount;

fn place(engine: &Engine, image: &Image) -> PathBuf {
    engine.storage.runtime().join("images").join(&image.id)
}

/// Where the image is mounted, if it is.
pub fn mounted(engine: &Engine, image: &Image) -> Option<PathBuf> {
    is_mounted(&place(engine, image))
}

/// `place` if something is mounted there.
pub(super) fn is_mounted(place: &Path) -> Option<PathBuf> {
    let above = place.parent()?;
    let (own, other) = (mount::id_of(place).ok()?, mount::id_of(above).ok()?);
    (own != other).then(|| place.to_owned())
}

/// Mounts the image, unless it is; gives where.
pub fn mount(engine: &Engine, image: &Image) -> Result<PathBuf> {
    if let Some(place) = mounted(engine, image) {
        return Ok(place);
    }
    let _held = image.lock(&engine.storage)?;
    engine.settings.ensure_runtime()?;
    let place = place(engine, image);
    std::fs::create_dir_all(&place).tried(|| format!("make {}", place.display()))?;
    let folder = |id| engine.storage.layer(id).join("diff");
    let lower = Lower {
        folders: image.layers.iter().rev().map(folder).collect(),
        data: Vec::new(),
    };
    mount_overlay(&engine.storage, &lower, None, false, &place)
        .tried(|| format!("mount image {}", image.id.short()))?;
    Ok(place)
}

/// Takes the mount away; false if there is none.
pub fn unmount(engine: &Engine, image: &Image) -> Result<bool> {
    let Some(place) = mounted(engine, image) else {
        return Ok(false);
    };
    mount::detach(&place).tried(|| format!("unmount {}", place.display()))?;
    // Another shell may have it, too.
    let _ = std::fs::remove_dir(&place);
    Ok(true)
}
