//! What stages, copies and mounts are made from: folders, images, other stages.

use std::path::PathBuf;

use super::{Here, State, Work};
use crate::build::context::remote;
use crate::build::language::stages::{Stage, named};
use crate::build::{NamedContext, Said};
use crate::error::{Context, Error, Kind, Result};
use crate::id::{DiffId, ImageId};
use crate::image::{self, Image, Policy, Wanted};
use crate::storage::shifted::Lower;

/// What files are taken from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A folder of the caller's.
    Folder(PathBuf),
    /// Lowest first.
    Layers(Vec<DiffId>),
}

impl Work<'_> {
    /// What `from` of COPY or of a mount names.
    pub fn from(
        &mut self,
        here: &Here<'_>,
        text: &str,
        tell: &mut dyn FnMut(Said),
    ) -> Result<Origin> {
        match named(self.build, text) {
            Some(NamedContext::Folder(folder)) => return Ok(Origin::Folder(folder.clone())),
            Some(NamedContext::Image(name)) => {
                let name = name.clone();
                return self.layers_of(&name, tell).map(Origin::Layers);
            }
            Some(NamedContext::Url(url)) => {
                if let Some(folder) = self.fetched.get(url) {
                    return Ok(Origin::Folder(folder.clone()));
                }
                let folder = self.folder();
                remote::folder(self.engine, &self.build.registry, url, &folder)
                    .tried(|| format!("unable to download context from external source {url:?}"))?;
                self.fetched.insert(url.clone(), folder.clone());
                return Ok(Origin::Folder(folder));
            }
            None => {}
        }
        if let Some(number) = self.stages.find(text, here.stage.number) {
            let state = self.done.get(&number).ok_or_else(|| {
                Error::usage(format!("stage {text} is not built before this one"))
            })?;
            return Ok(Origin::Layers(state.ids()));
        }
        self.layers_of(text, tell)
            .map(Origin::Layers)
            .map_err(|error| {
                let words = format!("no stage or image found with that name: {error}");
                match error.kind() {
                    Kind::Unsupported => error,
                    _ => Error::not_found("no stage or image found with that name").hint(words),
                }
            })
    }

    fn layers_of(&mut self, name: &str, tell: &mut dyn FnMut(Said)) -> Result<Vec<DiffId>> {
        let wanted = self.build.wanted.clone();
        let image = self.image(name, &wanted, tell)?;
        let state = State {
            layers: image.layers.iter().map(|id| (id.clone(), 0)).collect(),
            ..State::default()
        };
        self.hold(&state)?;
        Ok(image.layers)
    }

    pub fn wanted(&self, stage: &Stage) -> Result<Wanted> {
        let Some(platform) = &stage.platform else {
            return Ok(self.build.wanted.clone());
        };
        let mut parts = platform.splitn(3, '/').map(str::to_owned);
        Ok(Wanted {
            os: parts.next(),
            arch: parts.next(),
            variant: parts.next(),
        })
    }

    /// An image of that name, held to the end of the build.
    pub fn image(
        &mut self,
        name: &str,
        wanted: &Wanted,
        tell: &mut dyn FnMut(Said),
    ) -> Result<Image> {
        let key = format!("{name} {}", wanted.full());
        if let Some((image, _)) = self.images.get(&key) {
            return Ok(image.clone());
        }
        let stored = name.strip_prefix("containers-storage:");
        let pull = image::Pull {
            text: stored.unwrap_or(name),
            policy: match stored {
                Some(_) => Policy::Never,
                None => self.build.policy,
            },
            wanted,
            options: &self.build.registry,
            choose: None,
        };
        tell(Said::Flush);
        let image = image::pull(self.engine, &pull, &mut |step| tell(Said::Image(step)))?;
        let lock = image.lock(&self.engine.storage)?;
        self.images.insert(key, (image.clone(), lock));
        Ok(image)
    }

    /// Keeps the layers of a state.
    pub fn hold(&mut self, state: &State) -> Result<()> {
        for (id, _) in &state.layers {
            if !self.held.contains_key(id) {
                let lock = (self.engine.storage.hold_layer(id)?)
                    .ok_or_else(|| Error::other(format!("layer {id} is gone")))?;
                self.held.insert(id.clone(), lock);
            }
        }
        Ok(())
    }

    /// The lower folders of an overlay of `layers`, lowest first.
    pub fn lower(&self, layers: &[DiffId]) -> Result<Lower> {
        let storage = &self.engine.storage;
        let map = self.engine.default_map();
        let nobody: ImageId = "0".repeat(64).parse()?;
        image::ensure_shifted(self.engine, &nobody, layers, map, None).map(|mut lower| {
            lower.data.clear();
            lower.folders = storage.plain(layers).folders;
            lower
        })
    }
}
