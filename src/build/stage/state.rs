//! What steps so far have come to, and the image that it would be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::build::{Build, Squash};
use crate::engine::Engine;
use crate::error::Result;
use crate::id::{DiffId, Digest, ImageId};
use crate::image::manifest::{History, read_config};
use crate::image::{self, Description, Format, Image, ImageConfig, Wanted};

/// What steps so far have come to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Lowest first, with the size of each.
    pub layers: Vec<(DiffId, u64)>,
    pub config: ImageConfig,
    pub author: String,
    pub history: Vec<History>,
    pub architecture: String,
    pub variant: String,
    pub os: String,
    /// Of the last step.
    pub created: Option<String>,
    /// Those of the base.
    pub annotations: BTreeMap<String, String>,
    /// Name and manifest of the base.
    pub base: Option<(String, Digest)>,
    pub base_id: Option<ImageId>,
    /// What the next step's history says of where it begins.
    pub comment: String,
    /// How many of the layers and of the history are the base's.
    pub base_layers: usize,
    pub base_history: usize,
    /// Nothing was done to this image.
    pub base_only: Option<ImageId>,
    /// CMD was given, so that ENTRYPOINT leaves it.
    pub has_command: bool,
}

/// The version of the builder that we answer for, in the label that says so.
const BUILDER: (&str, &str) = ("io.buildah.version", "1.43.2");

impl State {
    /// Of nothing.
    pub fn scratch(wanted: &Wanted) -> Self {
        let full = wanted.full();
        let mut parts = full.splitn(3, '/').map(str::to_owned);
        Self {
            config: ImageConfig {
                env: vec![crate::build::steps::run::PATH.to_owned()],
                working_dir: "/".to_owned(),
                ..ImageConfig::default()
            },
            os: parts.next().unwrap_or_default(),
            architecture: parts.next().unwrap_or_default(),
            variant: parts.next().unwrap_or_default(),
            ..Self::default()
        }
    }

    pub fn of_image(image: &Image, engine: &Engine, build: &Build) -> Result<Self> {
        let storage = &engine.storage;
        let config = read_config(&image.config_bytes(storage)?)?;
        let mut layers = Vec::new();
        for id in &image.layers {
            let size = storage.read_layer(id)?.map_or(0, |layer| layer.size);
            layers.push((id.clone(), size));
        }
        let name = image
            .name
            .as_ref()
            .map_or_else(|| image.id.to_string(), ToString::to_string);
        #[derive(Deserialize)]
        struct Annotated {
            #[serde(default)]
            annotations: Option<BTreeMap<String, String>>,
        }
        let manifest: Annotated = serde_json::from_slice(&image.manifest_bytes(storage)?)?;
        let mut state = Self {
            base_layers: layers.len(),
            layers,
            config: image.config.clone(),
            author: config.author,
            base_history: config.history.len(),
            history: config.history,
            architecture: image.architecture.clone(),
            variant: image.variant.clone(),
            os: image.os.clone(),
            created: config.created,
            annotations: manifest.annotations.unwrap_or_default(),
            comment: format!("FROM {name}"),
            base: Some((name, image.digest.clone())),
            base_id: Some(image.id.clone()),
            base_only: Some(image.id.clone()),
            has_command: false,
        };
        if !build.inherits_labels {
            state.config.labels.clear();
        }
        if !build.inherits_annotations {
            state.annotations.clear();
        }
        if build.squash == Squash::All || !build.annotations.is_empty() {
            state.base_only = None;
        }
        Ok(state)
    }

    pub fn ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|(id, _)| id.clone()).collect()
    }

    /// What the image says of itself.
    pub fn describe<'a>(&'a self, build: &Build) -> Describing<'a> {
        let mut config = self.config.clone();
        if build.identity_label {
            let (name, version) = BUILDER;
            config.labels.insert(name.to_owned(), version.to_owned());
        }
        config.env.retain(|variable| {
            let name = variable.split('=').next().unwrap_or_default();
            !build.unset_env.iter().any(|it| it == name)
        });
        for name in &build.unset_labels {
            config.labels.remove(name);
        }
        for list in [&mut config.exposed_ports, &mut config.volumes] {
            list.sort();
            list.dedup();
        }
        let created = build.created.map(seconds).unwrap_or_else(|| {
            let now = || jiff::Timestamp::now().to_string();
            self.created.clone().unwrap_or_else(now)
        });
        let mut annotations = self.annotations.clone();
        if let Some((name, digest)) = &self.base {
            let prefix = "org.opencontainers.image.base.";
            annotations.insert(format!("{prefix}digest"), digest.to_string());
            annotations.insert(format!("{prefix}name"), name.clone());
        }
        match build.created_annotation {
            true => annotations.insert(CREATED.to_owned(), created.clone()),
            false => annotations.remove(CREATED),
        };
        for name in &build.unset_annotations {
            annotations.remove(name);
        }
        annotations.extend(build.annotations.iter().cloned());
        Describing {
            state: self,
            format: build.format,
            config,
            created,
            annotations,
            history: match build.omits_history {
                true => Vec::new(),
                false => self.history.clone(),
            },
        }
    }

    /// The id of the image that it would be.
    pub fn id(&self, build: &Build) -> Result<ImageId> {
        match &self.base_only {
            Some(id) => Ok(id.clone()),
            None => self.describe(build).id(),
        }
    }

    /// The config's user as numbers; it takes looking at the image's files.
    pub fn user_ids(&self, engine: &Engine) -> Result<Option<(u32, u32)>> {
        if self.config.user.is_empty() {
            return Ok(Some((0, 0)));
        }
        let folders: Vec<PathBuf> = (self.layers.iter())
            .map(|(id, _)| engine.storage.layer(id).join("diff"))
            .collect();
        engine.in_namespace(|| Ok(image::accounts::ids(&self.config.user, &folders)))
    }
}

const CREATED: &str = "org.opencontainers.image.created";

/// A [`Description`] with what it borrows.
pub struct Describing<'a> {
    state: &'a State,
    format: Format,
    config: ImageConfig,
    created: String,
    annotations: BTreeMap<String, String>,
    history: Vec<History>,
}

impl Describing<'_> {
    fn description(&self) -> Description<'_> {
        Description {
            format: self.format,
            config: &self.config,
            author: &self.state.author,
            architecture: &self.state.architecture,
            variant: &self.state.variant,
            os: &self.state.os,
            created: self.created.clone(),
            history: self.history.clone(),
            layers: &self.state.layers,
            annotations: &self.annotations,
        }
    }

    fn id(&self) -> Result<ImageId> {
        Digest::of(&self.description().config()?).hex().parse()
    }

    pub fn write(&self) -> Result<image::Written> {
        self.description().write()
    }
}

pub fn seconds(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| String::new(), |at| at.to_string())
}
