//! An image that was built: the bytes of its config and manifest, and its publication
//! with the layers made for it.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::add::{Commit, GivenManifest};
use super::commit::{DOCKER_TAR, DockerConfig, DockerRunConfig, NEVER};
use super::manifest::{
    DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, DescriptorLine, History, Manifest, NewConfig,
    OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, OciManifest, RootFs, WrittenConfig,
};
use super::push::Format;
use super::{Image, ImageConfig, Reference};
use crate::error::Result;
use crate::id::{DiffId, Digest, ImageId};
use crate::storage::layer::Layer;
use crate::storage::{Locked, Staging, Storage};

/// What an image is to say of itself.
#[derive(Debug, Clone)]
pub struct Description<'a> {
    pub format: Format,
    pub config: &'a ImageConfig,
    pub author: &'a str,
    pub architecture: &'a str,
    pub variant: &'a str,
    pub os: &'a str,
    pub created: String,
    pub history: Vec<History>,
    /// Lowest first, with the size of each.
    pub layers: &'a [(DiffId, u64)],
    /// OCI's format has a place for them.
    pub annotations: &'a BTreeMap<String, String>,
}

/// Config and manifest of an image, exact bytes.
#[derive(Debug, Clone)]
pub struct Written {
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    pub media_type: &'static str,
}

impl Written {
    /// The id of the image.
    pub fn id(&self) -> ImageId {
        let digest = Digest::of(&self.config);
        digest.hex().parse().expect("a digest's hex is an id")
    }
}

/// An OCI manifest with annotations: none, no key.
#[derive(Serialize)]
struct Annotated<'a> {
    #[serde(flatten)]
    manifest: OciManifest<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Description<'_> {
    /// The config alone, which the id is of.
    pub fn config(&self) -> Result<Vec<u8>> {
        let rootfs = RootFs {
            kind: "layers".to_owned(),
            diff_ids: self.layers.iter().map(|(id, _)| id.clone()).collect(),
        };
        match self.format {
            Format::Oci => Ok(serde_json::to_vec(&NewConfig {
                created: self.created.clone(),
                author: self.author,
                architecture: self.architecture,
                os: self.os,
                variant: self.variant,
                config: WrittenConfig {
                    healthcheck: self.config.healthcheck.as_ref(),
                    ..WrittenConfig::from(self.config)
                },
                rootfs,
                history: self.history.clone(),
            })?),
            Format::Docker => {
                let mut history = self.history.clone();
                for step in &mut history {
                    step.created.get_or_insert_with(|| NEVER.to_owned());
                }
                let mut run_config = DockerRunConfig::new(self.config, "");
                run_config.entrypoint = Some(&self.config.entrypoint);
                run_config.on_build = Some(&self.config.on_build);
                Ok(serde_json::to_vec(&DockerConfig {
                    comment: "",
                    created: self.created.clone(),
                    container: "",
                    container_config: &run_config,
                    author: self.author,
                    config: &run_config,
                    architecture: self.architecture,
                    variant: self.variant,
                    os: self.os,
                    parent: String::new(),
                    rootfs,
                    history,
                })?)
            }
        }
    }

    /// Config and manifest.
    pub fn write(&self) -> Result<Written> {
        let config = self.config()?;
        let digest = Digest::of(&config);
        let size = config.len() as u64;
        let (manifest, media_type) = match self.format {
            Format::Oci => {
                let mut layers = Vec::new();
                for (id, size) in self.layers {
                    layers.push(DescriptorLine::new(OCI_LAYER, &id.as_str().parse()?, *size));
                }
                let manifest = Annotated {
                    manifest: OciManifest {
                        schema_version: 2,
                        media_type: OCI_MANIFEST,
                        config: DescriptorLine::new(OCI_CONFIG, &digest, size),
                        layers,
                    },
                    annotations: self.annotations,
                };
                (serde_json::to_vec(&manifest)?, OCI_MANIFEST)
            }
            Format::Docker => {
                let mut layers = Vec::new();
                for (id, size) in self.layers {
                    layers.push(Descriptor::new(DOCKER_TAR, id.as_str().parse()?, *size));
                }
                let manifest = Manifest {
                    schema_version: 2,
                    media_type: DOCKER_MANIFEST.to_owned(),
                    config: Descriptor::new(DOCKER_CONFIG, digest, size),
                    layers,
                    annotations: BTreeMap::new(),
                };
                (serde_json::to_vec(&manifest)?, DOCKER_MANIFEST)
            }
        };
        Ok(Written {
            config,
            manifest,
            media_type,
        })
    }
}

/// Publishes an image whose layers are all in the store, and its names. `held` keeps
/// the layers until the image is there to keep them.
pub fn publish(
    storage: &Storage,
    staging: &Staging,
    written: Written,
    layers: &[Layer],
    names: &[Reference],
    user_ids: Option<(u32, u32)>,
    held: &mut HashMap<DiffId, Locked>,
) -> Result<Image> {
    let ids: Vec<DiffId> = layers.iter().map(|layer| layer.id.clone()).collect();
    let commit = Commit {
        ids: &ids,
        config: &written.config,
        manifest: GivenManifest::Bytes {
            bytes: written.manifest,
            media_type: written.media_type.to_owned(),
            index: None,
        },
        names,
        user_ids,
    };
    commit.publish(storage, staging, layers, held)
}
