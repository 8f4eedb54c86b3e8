//! What the overlays of a container are mounted of.

use super::Record;
use super::options::MountKind;
use super::spec;
use crate::engine::Engine;
use crate::error::Result;
use crate::id::ImageId;
use crate::image::{self, Progress};
use crate::storage::shifted::Lower;
use crate::userns::IdMap;
use crate::volume;

/// What the root of the container `record` is mounted of, beneath its own layer.
pub fn root(
    engine: &Engine,
    record: &Record,
    map: &IdMap,
    progress: Option<Progress>,
) -> Result<Lower> {
    match &record.options.rootfs {
        Some(rootfs) => Ok(Lower {
            folders: vec![rootfs.path.clone()],
            data: Vec::new(),
        }),
        None => {
            let image = &record.image;
            image::ensure_shifted(engine, &image.id, &image.layers, map, progress)
        }
    }
}

/// The container's image, and the images that it mounts or that its volumes show.
pub struct Lowers {
    pub image: Lower,
    mounted: Vec<(ImageId, Lower)>,
}

impl Lowers {
    /// Those of the container `record` in a user namespace with `map`. What is
    /// missing is made, which takes its time once for an image and a map.
    pub fn ensure(
        engine: &Engine,
        record: &Record,
        map: &IdMap,
        progress: Option<Progress>,
    ) -> Result<Self> {
        let mut lowers = Self {
            image: root(engine, record, map, progress)?,
            mounted: Vec::new(),
        };
        for mount in spec::mounts(&record.options) {
            let (id, layers) = match &mount.kind {
                MountKind::Image {
                    id,
                    layers: Some(layers),
                    ..
                } => (id.clone(), layers.clone()),
                MountKind::Image { id, .. } => {
                    let image = image::by_id(&engine.storage, id)?
                        .ok_or_else(|| image::no_such(id.as_str()))?;
                    (id.clone(), image.layers)
                }
                MountKind::Volume { name, .. } => {
                    let volume = volume::load(&engine.storage, name)?;
                    match volume.and_then(|volume| volume.image) {
                        Some(image) => (image.id, image.layers),
                        None => continue,
                    }
                }
                _ => continue,
            };
            let lower = image::ensure_shifted(engine, &id, &layers, map, progress)?;
            lowers.mounted.push((id, lower));
        }
        Ok(lowers)
    }

    /// What to mount of the image `id`.
    pub fn mounted(&self, id: &ImageId) -> Result<&Lower> {
        let found = self.mounted.iter().find(|(mounted, _)| mounted == id);
        found
            .map(|(_, lower)| lower)
            .ok_or_else(|| image::no_such(id.as_str()))
    }
}
