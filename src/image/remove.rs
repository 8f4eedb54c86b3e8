//! Images taken out of the store, and layers nobody has any more.

use std::collections::HashSet;

use super::{Family, Image, find, name, note};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::{ContainerId, DiffId, ImageId};
use crate::storage::{Locked, Staging, Storage};

/// What a removal did, in order, as `rmi` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    Untagged(String),
    Deleted(ImageId),
}

/// Who uses an image: the containers made of it. What removes them, if they are
/// to go with it, is above this module.
pub type Users<'a> = dyn Fn(&ImageId) -> Result<Vec<ContainerId>> + 'a;

/// Takes `image` away with all its names. Fails with `InUse` where a container
/// has it. Layers stay until [`collect_layers`].
pub fn remove(engine: &Engine, image: &Image, users: &Users) -> Result<Vec<Done>> {
    let storage = &engine.storage;
    let Some(_alone) = lock_alone(storage, &image.id)? else {
        return Err(super::no_such(image.id.as_str()));
    };
    if let Some(container) = users(&image.id)?.first() {
        return Err(in_use(container));
    }
    let mut done = Vec::new();
    for reference in image.names(storage)? {
        name::remove(storage, &reference)?;
        note(storage, "untag", &image.id, &reference.to_string());
        done.push(Done::Untagged(reference.to_string()));
    }
    // An image may lose these, but they may not outlive it.
    let retired = storage.retire_shifted(&image.id)?;
    storage.retire(&storage.image(&image.id))?;
    let name = image.name.as_ref().map(ToString::to_string);
    note(storage, "remove", &image.id, &name.unwrap_or_default());
    delete(engine, &retired)?;
    done.push(Done::Deleted(image.id.clone()));
    Ok(done)
}

/// Takes away those of `ancestors` that have no name, no child any more and no user, as
/// Podman does with what an image was made of; gives those that went.
pub fn remove_ancestors(
    engine: &Engine,
    family: &mut Family,
    ancestors: Vec<Image>,
    users: &Users,
) -> Result<Vec<Image>> {
    let mut gone = Vec::new();
    for image in ancestors {
        let is_kept = !image.names(&engine.storage)?.is_empty() || family.has_children(&image);
        if is_kept {
            continue;
        }
        match remove(engine, &image, users) {
            Ok(_) => {
                family.forget(&image.id);
                gone.push(image);
            }
            // Used, or taken away meanwhile.
            Err(error) if matches!(error.kind(), Kind::InUse | Kind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// Podman's words for an image that a container has.
pub fn in_use(container: &ContainerId) -> Error {
    Error::new(
        Kind::InUse,
        format!(
            "image used by {container}: image is in use by a container: consider listing external containers and force-removing image"
        ),
    )
}

/// Waits until nobody holds the image, and holds it alone; `None` if it is gone.
fn lock_alone(storage: &Storage, id: &ImageId) -> Result<Option<Locked>> {
    let dir = storage.image(id);
    let lock = match crate::storage::lock_alone(&dir) {
        Ok(lock) => lock,
        Err(_) if !dir.exists() => return Ok(None),
        Err(error) => return Err(error),
    };
    // Removed between the opening and the lock: the lock is of nothing.
    Ok(super::is_whole(&dir).then_some(lock))
}

/// Deletes every layer that no image and no build step has and nobody is about to use.
pub fn collect_layers(engine: &Engine) -> Result<()> {
    let storage = &engine.storage;
    let wanted = wanted(storage)?;
    let mut locked: Vec<(DiffId, Locked)> = Vec::new();
    for hex in storage.list(&storage.layers())? {
        let Ok(id) = format!("sha256:{hex}").parse::<DiffId>() else {
            continue;
        };
        if wanted.contains(&id) {
            continue;
        }
        // One who adds an image holds its layers until the image is there.
        if let Ok(Some(lock)) = crate::storage::try_lock_alone(&storage.layer(&id)) {
            locked.push((id, lock));
        }
    }
    if locked.is_empty() {
        return Ok(());
    }
    // Images that came while we had no lock yet.
    let wanted = self::wanted(storage)?;
    let mut retired: Vec<Staging> = Vec::new();
    for (id, _) in &locked {
        if !wanted.contains(id) {
            retired.extend(storage.retire(&storage.layer(id))?);
        }
    }
    delete(engine, &retired)
}

/// Deletes what is out of sight already: what a kill leaves now is swept.
fn delete(engine: &Engine, retired: &[Staging]) -> Result<()> {
    engine.remove_trees(retired.iter().map(|it| it.path().to_owned()))
}

fn wanted(storage: &Storage) -> Result<HashSet<DiffId>> {
    Ok(find::list(storage)?
        .into_iter()
        .flat_map(|image| image.layers)
        .chain(storage.cached_layers()?)
        .collect())
}
