//! An image made of a container: its image's layers and one more.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;

use serde::Serialize;

use super::add::{Commit, GivenManifest, Step, leave, owners};
use super::manifest::{
    DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, DescriptorLine, History, Manifest, NewConfig,
    OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, OciManifest, RootFs, WrittenConfig, read_config,
};
use super::push::Format;
use super::{Image, ImageConfig, Reference, no_such};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::id::{DiffId, Digest};
use crate::storage::layer;
use crate::storage::{Locked, Staging};
use crate::sys::file::sync_file_system;

/// An image that is to be made of a container.
pub struct NewImage<'a> {
    /// The container's image.
    pub base: &'a Image,
    /// The new layer's tar, as it comes.
    pub tar: File,
    /// Takes none of the image's layers: `tar` has all files.
    pub squash: bool,
    pub config: ImageConfig,
    pub format: Format,
    pub author: String,
    /// Docker's format has a place for it.
    pub message: String,
    /// `FROM localhost/busybox:latest`
    pub comment: String,
    /// The container's id, and its image as it was named.
    pub container: (&'a str, &'a str),
    pub name: Option<Reference>,
}

/// Makes the image. `packed` is asked once the tar has been read to its end: whether
/// all of it was written. Before that nothing is put in place.
pub fn commit(
    engine: &Engine,
    new: NewImage<'_>,
    packed: impl FnOnce() -> Result<()>,
    tell: &mut dyn FnMut(Step),
) -> Result<Image> {
    engine.interruptible(|| {
        let staging = engine.storage.stage_apart()?;
        tell(Step::Begun);
        let committed = commit_from(engine, &staging, new, packed, tell);
        leave(engine, &staging, committed)
    })
}

fn commit_from(
    engine: &Engine,
    staging: &Staging,
    new: NewImage<'_>,
    packed: impl FnOnce() -> Result<()>,
    tell: &mut dyn FnMut(Step),
) -> Result<Image> {
    let storage = &engine.storage;
    crate::sys::process::allow_many_files();
    let _base = new.base.lock(storage)?;
    let below: &[DiffId] = match new.squash {
        true => &[],
        false => &new.base.layers,
    };
    let mut held: HashMap<DiffId, Locked> = HashMap::new();
    for id in below {
        let lock = storage
            .hold_layer(id)?
            .ok_or_else(|| no_such(new.base.id.as_str()))?;
        held.insert(id.clone(), lock);
        tell(Step::Layer(id.to_string()));
    }
    let owners = owners(engine)?;
    let (layer, user_ids) = engine.in_namespace(|| {
        let into = staging.path().join("layer");
        let layer = layer::unpack(&into, &new.tar, None, owners)?;
        let mut folders: Vec<PathBuf> = below
            .iter()
            .map(|id| storage.layer(id).join("diff"))
            .collect();
        folders.push(into.join("diff"));
        let user = match new.config.user.as_str() {
            "" => Some((0, 0)),
            user => super::accounts::ids(user, &folders),
        };
        Ok((layer, user))
    })?;
    packed()?;
    let named = staging.path().join(layer.id.hex());
    std::fs::rename(staging.path().join("layer"), named).tried(|| "store the layer")?;
    sync_file_system(staging.path()).tried(|| "sync the layer")?;
    tell(Step::Layer(layer.id.to_string()));

    let ids: Vec<DiffId> = below.iter().chain([&layer.id]).cloned().collect();
    let mut sizes = Vec::new();
    for id in below {
        sizes.push(storage.read_layer(id)?.map_or(0, |layer| layer.size));
    }
    sizes.push(layer.size);
    let (config, manifest, media_type) = new.write(engine, &ids, &sizes)?;
    let commit = Commit {
        ids: &ids,
        config: &config,
        manifest: GivenManifest::Bytes {
            bytes: manifest,
            media_type: media_type.to_owned(),
            index: None,
        },
        names: new.name.as_slice(),
        user_ids,
    };
    if let Some(lock) = storage.hold_layer(&layer.id)? {
        held.insert(layer.id.clone(), lock);
    }
    let image = commit.publish(storage, staging, &[layer], &mut held)?;
    tell(Step::Config(image.id.clone()));
    tell(Step::Manifest);
    Ok(image)
}

/// Go's zero time, which Docker's format has for what is not known.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

impl NewImage<'_> {
    /// The config and the manifest, and what the manifest is.
    fn write(
        &self,
        engine: &Engine,
        ids: &[DiffId],
        sizes: &[u64],
    ) -> Result<(Vec<u8>, Vec<u8>, &'static str)> {
        let created = jiff::Timestamp::now().to_string();
        let base = read_config(&self.base.config_bytes(&engine.storage)?)?;
        let mut history = match self.squash {
            true => Vec::new(),
            false => base.history,
        };
        history.push(History {
            created: Some(created.clone()),
            created_by: "/bin/sh".to_owned(),
            author: self.author.clone(),
            comment: self.comment.clone(),
            empty_layer: false,
        });
        let rootfs = RootFs {
            kind: "layers".to_owned(),
            diff_ids: ids.to_vec(),
        };
        match self.format {
            Format::Oci => self.write_oci(created, rootfs, history, sizes),
            Format::Docker => self.write_docker(created, rootfs, history, sizes),
        }
    }

    fn write_oci(
        &self,
        created: String,
        rootfs: RootFs,
        history: Vec<History>,
        sizes: &[u64],
    ) -> Result<(Vec<u8>, Vec<u8>, &'static str)> {
        let mut layers = Vec::new();
        for (id, size) in rootfs.diff_ids.iter().zip(sizes) {
            let digest = id.as_str().parse()?;
            layers.push(DescriptorLine::new(OCI_LAYER, &digest, *size));
        }
        let config = serde_json::to_vec(&NewConfig {
            created: created.clone(),
            author: &self.author,
            architecture: &self.base.architecture,
            os: &self.base.os,
            variant: &self.base.variant,
            config: WrittenConfig::from(&self.config),
            rootfs,
            history,
        })?;
        let manifest = serde_json::to_vec(&Annotated {
            manifest: OciManifest {
                schema_version: 2,
                media_type: OCI_MANIFEST,
                config: DescriptorLine::new(OCI_CONFIG, &Digest::of(&config), config.len() as u64),
                layers,
            },
            annotations: BTreeMap::from([("org.opencontainers.image.created", created)]),
        })?;
        Ok((config, manifest, OCI_MANIFEST))
    }

    fn write_docker(
        &self,
        created: String,
        rootfs: RootFs,
        mut history: Vec<History>,
        sizes: &[u64],
    ) -> Result<(Vec<u8>, Vec<u8>, &'static str)> {
        for step in &mut history {
            step.created.get_or_insert_with(|| NEVER.to_owned());
        }
        let mut layers = Vec::new();
        for (id, size) in rootfs.diff_ids.iter().zip(sizes) {
            layers.push(Descriptor::new(DOCKER_TAR, id.as_str().parse()?, *size));
        }
        let (container, image) = self.container;
        let run_config = DockerRunConfig::new(&self.config, image);
        let config = serde_json::to_vec(&DockerConfig {
            comment: &self.message,
            created,
            container,
            container_config: &run_config,
            author: &self.author,
            config: &run_config,
            architecture: &self.base.architecture,
            variant: &self.base.variant,
            os: &self.base.os,
            parent: format!("sha256:{}", self.base.id),
            rootfs,
            history,
        })?;
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: DOCKER_MANIFEST.to_owned(),
            config: Descriptor::new(DOCKER_CONFIG, Digest::of(&config), config.len() as u64),
            layers,
            annotations: BTreeMap::new(),
        })?;
        Ok((config, manifest, DOCKER_MANIFEST))
    }
}

/// A layer of Docker's that is not compressed.
pub(super) const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";

#[derive(Serialize)]
struct Annotated<'a> {
    #[serde(flatten)]
    manifest: OciManifest<'a>,
    annotations: BTreeMap<&'static str, String>,
}

/// Docker's config blob: Go's order of keys.
#[derive(Serialize)]
pub(super) struct DockerConfig<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub comment: &'a str,
    pub created: String,
    pub container: &'a str,
    pub container_config: &'a DockerRunConfig<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub author: &'a str,
    pub config: &'a DockerRunConfig<'a>,
    pub architecture: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub variant: &'a str,
    pub os: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parent: String,
    pub rootfs: RootFs,
    pub history: Vec<History>,
}

/// What Docker says of containers: more than OCI, much of it of no use in an image.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerRunConfig<'a> {
    hostname: &'a str,
    domainname: &'a str,
    user: &'a str,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "set")]
    exposed_ports: &'a [String],
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: &'a [String],
    cmd: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<&'a super::Healthcheck>,
    image: &'a str,
    #[serde(serialize_with = "set")]
    volumes: &'a [String],
    working_dir: &'a str,
    pub entrypoint: Option<&'a [String]>,
    pub on_build: Option<&'a [String]>,
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stop_signal: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shell: &'a [String],
}

impl<'a> DockerRunConfig<'a> {
    pub fn new(config: &'a ImageConfig, image: &'a str) -> Self {
        let some = |list: &'a Vec<String>| (!list.is_empty()).then_some(list.as_slice());
        Self {
            hostname: "",
            domainname: "",
            user: &config.user,
            attach_stdin: false,
            attach_stdout: false,
            attach_stderr: false,
            exposed_ports: &config.exposed_ports,
            tty: false,
            open_stdin: false,
            stdin_once: false,
            env: &config.env,
            cmd: some(&config.cmd),
            healthcheck: config.healthcheck.as_ref(),
            image,
            volumes: &config.volumes,
            working_dir: &config.working_dir,
            entrypoint: some(&config.entrypoint),
            on_build: some(&config.on_build),
            labels: &config.labels,
            stop_signal: &config.stop_signal,
            stop_timeout: config.stop_timeout,
            shell: &config.shell,
        }
    }
}

fn set<S: serde::Serializer>(keys: &&[String], to: S) -> Result<S::Ok, S::Error> {
    super::config::empty_objects(keys, to)
}
