//! Which image was made of which: one that has all layers and all steps of another,
//! and more steps (libimage, areParentAndChild).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::manifest::{self, History};
use super::{Image, find};
use crate::error::Result;
use crate::id::ImageId;
use crate::storage::Storage;

/// The images of a store, seen at one moment.
pub struct Family<'a> {
    storage: &'a Storage,
    images: Vec<Image>,
    /// Read when they are asked for: few are.
    steps: Mutex<HashMap<ImageId, Vec<History>>>,
}

impl<'a> Family<'a> {
    pub fn of(storage: &'a Storage) -> Result<Self> {
        Ok(Self {
            storage,
            images: find::list(storage)?,
            steps: Mutex::default(),
        })
    }

    /// The image is no more.
    pub fn forget(&mut self, id: &ImageId) {
        self.images.retain(|it| it.id != *id);
    }

    /// Whether another image was made of it.
    pub fn has_children(&self, image: &Image) -> bool {
        let mut others = self.images.iter();
        others.any(|other| self.is_child(other, image))
    }

    /// The images that it was made of, nearest first.
    pub fn ancestors(&self, image: &Image) -> Vec<Image> {
        let others = self.images.iter();
        let mut all: Vec<Image> = others
            .filter(|other| self.is_child(image, other))
            .cloned()
            .collect();
        all.sort_by_key(|it| std::cmp::Reverse((it.layers.len(), self.steps(it).len())));
        all
    }

    fn is_child(&self, child: &Image, parent: &Image) -> bool {
        child.id != parent.id
            && !parent.layers.is_empty()
            && child.layers.starts_with(&parent.layers)
            && {
                let (child, parent) = (self.steps(child), self.steps(parent));
                child.len() > parent.len() && child.starts_with(&parent)
            }
    }

    /// None of an image that was taken away meanwhile.
    fn steps(&self, image: &Image) -> Vec<History> {
        let mut known = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let bytes = image.config_bytes(self.storage).ok()?;
            Some(manifest::read_config(&bytes).ok()?.history)
        };
        known
            .entry(image.id.clone())
            .or_insert_with(|| read().unwrap_or_default())
            .clone()
    }
}
