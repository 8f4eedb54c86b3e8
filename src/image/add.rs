//! An image comes into the store: its layers unpacked side by side, then
//! published in the order in which one stands on another.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::archive::Source;
use super::arrive::{Arrival, Missing};
use super::manifest::{
    self, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, Manifest, read_config,
};
use super::{Image, Reference, name};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, Digest, ImageId};
use crate::registry::Client;
use crate::storage::layer::{Layer, Owners};
use crate::storage::{Locked, Staging, Storage, read_json};
use crate::sys::file::{Durable, sync_file_system, write_whole};

/// An image on its way in.
pub struct Incoming {
    pub config: Vec<u8>,
    pub manifest: GivenManifest,
    /// One for each of the config's diff ids, lowest first.
    pub layers: Vec<IncomingLayer>,
    pub names: Vec<Reference>,
}

/// A layer on its way in.
pub struct IncomingLayer {
    /// Its tar, compressed or not.
    pub origin: Origin,
    /// Of the bytes there; none where the diff id says enough.
    pub digest: Option<Digest>,
}

/// Where a layer's bytes are.
pub enum Origin {
    Archive {
        source: Source,
        /// Bytes that were read.
        read: AtomicU64,
    },
    Registry {
        client: Arc<Client>,
        digest: Digest,
        size: u64,
        /// Bytes that have arrived.
        arrived: AtomicU64,
    },
}

impl Origin {
    pub(super) fn size(&self) -> u64 {
        match self {
            Origin::Archive { source, .. } => source.size(),
            Origin::Registry { size, .. } => *size,
        }
    }

    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Origin::Registry { .. })
    }

    pub(super) fn open(&self) -> Box<dyn Read + Send + '_> {
        match self {
            Origin::Archive { source, read } => Box::new(Counted {
                from: source.clone(),
                read,
            }),
            Origin::Registry {
                client,
                digest,
                size,
                arrived,
            } => Box::new(client.blob(digest, *size, arrived)),
        }
    }
}

/// A stream that says how far it has been read.
struct Counted<'a> {
    from: Source,
    read: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The manifest an image comes with.
pub enum GivenManifest {
    Bytes {
        bytes: Vec<u8>,
        media_type: String,
        /// The index it was chosen from.
        index: Option<Digest>,
    },
    /// None: one is made as Podman makes it for a docker-archive.
    Made,
}

/// What is done just now, for whoever waits.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Step {
    Begun,
    /// A short name was resolved, in Podman's words.
    Resolved(String),
    /// What is done with a list, in Podman's words.
    Line(String),
    /// A name is asked for in a registry.
    Trying(String),
    /// The digest of a layer, as it is sent.
    Layer(String),
    /// A layer that is in the store already.
    Skipped(String),
    /// How far each layer is on its way.
    Arriving(Vec<Arriving>),
    Config(ImageId),
    Manifest,
}

/// How far a layer is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Arriving {
    pub digest: String,
    pub arrived: u64,
    pub size: u64,
    pub done: bool,
}

/// Puts images into the store. Either each is there whole, with its names, or
/// nothing of what failed is left.
pub fn add(
    engine: &Engine,
    incoming: Vec<Incoming>,
    tell: &mut dyn FnMut(Step),
) -> Result<Vec<Image>> {
    engine.interruptible(|| {
        let staging = engine.storage.stage_apart()?;
        let added = add_from(engine, &staging, incoming, tell);
        leave(engine, &staging, added)
    })
}

/// Clears away what is left in `staging`: layers that another process published
/// first, or, if `result` is an error, all that was made on the way.
pub(super) fn leave<T>(engine: &Engine, staging: &Staging, result: Result<T>) -> Result<T> {
    // What cannot be cleared away now is swept later; the first error counts.
    let _ = engine.remove_tree(staging.path());
    result.inspect_err(|_| {
        let _ = super::remove::collect_layers(engine);
    })
}

fn add_from(
    engine: &Engine,
    staging: &Staging,
    incoming: Vec<Incoming>,
    tell: &mut dyn FnMut(Step),
) -> Result<Vec<Image>> {
    let storage = &engine.storage;
    // An image may have hundreds of layers, and each is held by a descriptor.
    crate::sys::process::allow_many_files();
    let mut held = HashMap::new();
    let mut missing: Vec<Missing> = Vec::new();
    let mut parts = Vec::new();
    for image in incoming {
        let config = read_config(&image.config)?;
        let ids = config.rootfs.diff_ids;
        if ids.len() != image.layers.len() {
            return Err(Error::other(format!(
                "the config names {} layers, the manifest {}",
                ids.len(),
                image.layers.len()
            )));
        }
        if ids.len() > MOST_LAYERS {
            return Err(Error::other(format!(
                "the image has {} layers, where {MOST_LAYERS} are the most",
                ids.len()
            )));
        }
        tell(Step::Begun);
        for (id, layer) in ids.iter().zip(image.layers) {
            let sent = layer.digest.as_ref().map_or(id.as_str(), Digest::as_str);
            let sent = sent.to_owned();
            if held.contains_key(id) || missing.iter().any(|other| other.id == *id) {
                tell(Step::Skipped(sent));
                continue;
            }
            match storage.hold_layer(id)? {
                Some(lock) => {
                    held.insert(id.clone(), lock);
                    tell(Step::Skipped(sent));
                }
                None => {
                    missing.push(Missing {
                        id: id.clone(),
                        layer,
                    });
                    tell(Step::Layer(sent));
                }
            }
        }
        parts.push(Part {
            user: config.config.user,
            ids,
            config: image.config,
            manifest: image.manifest,
            names: image.names,
        });
    }
    // The largest first, so that none is left to run alone at the end.
    missing.sort_by_key(|missing| std::cmp::Reverse(missing.layer.origin.size()));

    if missing.is_empty() && parts.iter().all(|part| part.user.is_empty()) {
        return commit(storage, staging, parts, &[], &mut held, tell);
    }
    let owners = owners(engine)?;
    let mask = crate::sys::file::creation_mask();
    engine.in_namespace(|| {
        let arrival = Arrival {
            storage,
            staging,
            owners,
            // Whole layers are kept, should the others never arrive.
            eager: missing.iter().any(|it| it.layer.origin.is_remote()),
        };
        let layers = arrival.unpack_all(&missing, &mut held, tell)?;
        crate::sys::file::set_creation_mask(mask);
        sync_file_system(staging.path()).tried(|| "sync layers")?;
        commit(storage, staging, parts, &layers, &mut held, tell)
    })
}

/// The most layers an overlay mount takes (Linux, OVL_MAX_STACK).
const MOST_LAYERS: usize = 500;

/// An image on its way in, its layers aside.
struct Part {
    user: String,
    ids: Vec<DiffId>,
    config: Vec<u8>,
    manifest: GivenManifest,
    names: Vec<Reference>,
}

/// Publishes images whose layers are in the store or in staging. Must run where
/// their files can be read, if one has a user.
fn commit(
    storage: &Storage,
    staging: &Staging,
    parts: Vec<Part>,
    unpacked: &[Layer],
    held: &mut HashMap<DiffId, Locked>,
    tell: &mut dyn FnMut(Step),
) -> Result<Vec<Image>> {
    let mut added = Vec::new();
    for part in parts {
        let user_ids = match part.user.as_str() {
            "" => Some((0, 0)),
            user => {
                let folder = |id: &DiffId| match held.contains_key(id) {
                    true => storage.layer(id).join("diff"),
                    false => staging.path().join(id.hex()).join("diff"),
                };
                let layers: Vec<PathBuf> = part.ids.iter().map(folder).collect();
                super::accounts::ids(user, &layers)
            }
        };
        let commit = Commit {
            ids: &part.ids,
            config: &part.config,
            manifest: part.manifest,
            names: &part.names,
            user_ids,
        };
        let image = commit.publish(storage, staging, unpacked, held)?;
        tell(Step::Config(image.id.clone()));
        tell(Step::Manifest);
        added.push(image);
    }
    Ok(added)
}

/// Whose the files of layers become that are about to be unpacked.
pub(super) fn owners(engine: &Engine) -> Result<Owners> {
    if engine.default_map().is_single() {
        engine.storage.note_single()?;
        Ok(Owners::Single)
    } else {
        Ok(Owners::Mapped)
    }
}

/// An image whose layers are in the store or in staging.
pub(super) struct Commit<'a> {
    pub ids: &'a [DiffId],
    pub config: &'a [u8],
    pub manifest: GivenManifest,
    pub names: &'a [Reference],
    pub user_ids: Option<(u32, u32)>,
}

impl Commit<'_> {
    /// Publishes layers, then the image, then its names. `held` keeps the layers
    /// until the image is there to keep them.
    pub fn publish(
        self,
        storage: &Storage,
        staging: &Staging,
        unpacked: &[Layer],
        held: &mut HashMap<DiffId, Locked>,
    ) -> Result<Image> {
        let mut sizes = Vec::new();
        for id in self.ids {
            if !held.contains_key(id) {
                let lock = storage.publish_layer(staging, id.hex(), id)?;
                held.insert(id.clone(), lock);
            }
            let size = match unpacked.iter().find(|layer| layer.id == *id) {
                Some(layer) => layer.size,
                None => storage.read_layer(id)?.map_or(0, |layer| layer.size),
            };
            sizes.push(size);
        }
        // Their names must not be lost to a power cut that spares the image's.
        crate::sys::file::sync_dir(&storage.layers()).tried(|| "sync layers")?;
        let (manifest, manifest_type, index) = match self.manifest {
            GivenManifest::Bytes {
                bytes,
                media_type,
                index,
            } => (bytes, media_type, index),
            GivenManifest::Made => {
                let bytes = docker_manifest(self.config, self.ids, &sizes)?;
                (bytes, DOCKER_MANIFEST.to_owned(), None)
            }
        };
        let config = read_config(self.config)?;
        let id: ImageId = Digest::of(self.config).hex().parse()?;
        let image = Image {
            id,
            digest: Digest::of(&manifest),
            other_digests: index.into_iter().collect(),
            manifest_type,
            layers: self.ids.to_vec(),
            config: config.config,
            architecture: config.architecture,
            variant: config.variant,
            os: config.os,
            created: config.created.as_deref().and_then(manifest::time),
            stored: jiff::Timestamp::now(),
            author: config.author,
            // The manifest is counted twice, as Podman keeps it under two names.
            size: sizes.iter().sum::<u64>() + (self.config.len() + 2 * manifest.len()) as u64,
            user_ids: self.user_ids,
            name: None,
        };
        let (image, _lock) = publish(storage, staging, image, self.config, &manifest)?;
        for reference in self.names {
            name::write(storage, reference, &image.id)?;
        }
        Ok(image)
    }
}

/// Publishes the image's folder, unless it is there, and holds it.
fn publish(
    storage: &Storage,
    staging: &Staging,
    image: Image,
    config: &[u8],
    manifest: &[u8],
) -> Result<(Image, Locked)> {
    let tried = || format!("store image {}", image.id.short());
    let made = staging.path().join(&image.id);
    std::fs::create_dir(&made).tried(tried)?;
    let manifest_file = format!("manifest-{}", image.digest.hex());
    write_whole(&made.join("config.json"), config, Durable::Yes).tried(tried)?;
    write_whole(&made.join(&manifest_file), manifest, Durable::Yes).tried(tried)?;
    crate::storage::write_json(&made.join("image.json"), &image, Durable::Yes)?;
    let target = storage.image(&image.id);
    loop {
        // The lock is the folder's and goes along when it is renamed.
        let lock = crate::storage::lock_shared(&made)?;
        match staging.publish(image.id.as_str(), &target, true) {
            Ok(()) => return Ok((image, lock)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).tried(tried),
        }
        let Ok(lock) = image.lock(storage) else {
            // Removed just now: ours takes its place.
            continue;
        };
        let Some(mut known) = read_json::<Image>(&target.join("image.json"))? else {
            continue;
        };
        // The same image by another manifest, or from another index: all are true of it.
        let known_digest = |digest: &Digest| known.digests().any(|it| it == digest);
        let new_manifest = !known_digest(&image.digest);
        let mut new_others = image.other_digests.clone();
        new_others.retain(|digest| !known_digest(digest));
        if new_manifest {
            write_whole(&target.join(&manifest_file), manifest, Durable::Yes).tried(tried)?;
            known.other_digests.push(known.digest);
            known.digest = image.digest.clone();
            known.manifest_type = image.manifest_type.clone();
            known.size += manifest.len() as u64;
        }
        if new_manifest || !new_others.is_empty() {
            known.other_digests.extend(new_others);
            crate::storage::write_json(&target.join("image.json"), &known, Durable::Yes)?;
        }
        return Ok((known, lock));
    }
}

/// The manifest Podman makes for an image of a docker-archive: layers by their
/// diff ids, yet called gzip (containers/image, docker/internal/tarfile).
fn docker_manifest(config: &[u8], ids: &[DiffId], sizes: &[u64]) -> Result<Vec<u8>> {
    let layers = ids.iter().zip(sizes).map(|(id, size)| {
        let digest = id.as_str().parse().expect("a diff id is a sha256 digest");
        Descriptor::new(DOCKER_LAYER, digest, *size)
    });
    Ok(serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: DOCKER_MANIFEST.to_owned(),
        config: Descriptor::new(DOCKER_CONFIG, Digest::of(config), config.len() as u64),
        layers: layers.collect(),
        annotations: Default::default(),
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::image::{find, list, names, tag, untag};
    use crate::settings::Settings;
    use crate::storage::tar::building::Builder;

    struct Store(Storage);

    impl Store {
        fn new() -> Self {
            let root = std::env::temp_dir()
                .join(format!("coracle-image-{}", crate::id::random_hex::<8>()));
            let settings = Settings {
                uid: 0,
                gid: 0,
                home: root.clone(),
                data: root.join("data"),
                cache: root.join("cache"),
                runtime: root.join("run"),
                user_manager: None,
                cgroup_manager: None,
                events_backend: None,
                cdi_folders: Vec::new(),
            };
            Self(Storage::open(&settings).unwrap())
        }

        /// An image of one layer with a file of this `content`.
        fn add(&self, content: &str, names: &[&str]) -> Image {
            let storage = &self.0;
            let staging = storage.stage().unwrap();
            let tar = Builder::default().file("file", content.as_bytes()).end();
            let into = staging.path().join("layer");
            let layer =
                crate::storage::layer::unpack(&into, &tar[..], None, Owners::Single).unwrap();
            std::fs::rename(&into, staging.path().join(layer.id.hex())).unwrap();
            let config = format!(
                r#"{{"os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
                layer.id
            );
            let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
            let commit = Commit {
                ids: std::slice::from_ref(&layer.id),
                config: config.as_bytes(),
                manifest: GivenManifest::Made,
                names: &names,
                user_ids: Some((0, 0)),
            };
            commit
                .publish(
                    storage,
                    &staging,
                    std::slice::from_ref(&layer),
                    &mut HashMap::new(),
                )
                .unwrap()
        }
    }

    impl Drop for Store {
        fn drop(&mut self) {
            let _ = crate::storage::remove_tree(self.0.root().parent().unwrap());
        }
    }

    #[test]
    fn an_image_is_found_by_every_name_it_may_have() {
        let store = Store::new();
        let storage = &store.0;
        let a = store.add("a", &["localhost/a:latest", "quay.io/team/tool:1"]);
        let b = store.add("b", &["docker.io/library/b:latest"]);
        let a_digest = format!("quay.io/team/tool@{}", a.digest);
        for (text, image, name) in [
            ("a", &a, Some("localhost/a:latest")),
            ("localhost/a", &a, Some("localhost/a:latest")),
            ("quay.io/team/tool:1", &a, Some("quay.io/team/tool:1")),
            ("tool:1", &a, Some("quay.io/team/tool:1")),
            ("team/tool:1", &a, Some("quay.io/team/tool:1")),
            (&a_digest, &a, Some(&*a_digest)),
            ("b", &b, Some("docker.io/library/b:latest")),
            ("docker.io/b", &b, Some("docker.io/library/b:latest")),
            (a.id.as_str(), &a, None),
            (a.id.short(), &a, None),
            (&format!("sha256:{}", b.id), &b, None),
        ] {
            let found = find(storage, text).unwrap();
            assert_eq!(found.id, image.id, "{text}");
            let found = found.name.map(|name| name.to_string());
            assert_eq!(found.as_deref(), name, "{text}");
        }
        for text in [
            "tool",
            "ool:1",
            "quay.io/tool:1",
            "c",
            "00",
            &format!("b@{}", a.digest),
        ] {
            let error = find(storage, text).unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound, "{text}");
            assert_eq!(error.to_string(), format!("{text}: image not known"));
        }
        assert_eq!(
            find(storage, "A").unwrap_err().to_string(),
            "parsing reference \"A\": repository name must be lowercase"
        );
    }

    #[test]
    fn a_name_moves_from_one_image_to_the_next() {
        let store = Store::new();
        let storage = &store.0;
        let a = store.add("a", &["localhost/it:latest"]);
        let b = store.add("b", &["localhost/it:latest"]);
        assert_eq!(find(storage, "it").unwrap().id, b.id);
        assert!(a.names(storage).unwrap().is_empty());
        tag(storage, &a, &["x/y".to_owned(), "it".to_owned()]).unwrap();
        let shown: Vec<String> = a
            .names(storage)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["localhost/it:latest", "localhost/x/y:latest"]);
        untag(storage, &a, &["x/y".to_owned()]).unwrap();
        assert!(untag(storage, &a, &["x/y".to_owned()]).is_err());
        untag(storage, &a, &[]).unwrap();
        assert!(names(storage).unwrap().is_empty());
        // The folders of names that are gone are gone.
        assert!(storage.list(&storage.refs()).unwrap().is_empty());
        assert_eq!(list(storage).unwrap().len(), 2);
    }

    #[test]
    fn the_same_image_may_come_from_many_at_once() {
        let store = Store::new();
        std::thread::scope(|scope| {
            for at in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    let own = format!("localhost/n{at}:latest");
                    store.add("same", &["localhost/it:latest", &own])
                });
            }
        });
        let storage = &store.0;
        assert_eq!(list(storage).unwrap().len(), 1);
        assert_eq!(names(storage).unwrap().len(), 9);
        assert_eq!(storage.list(&storage.layers()).unwrap().len(), 1);
        assert!(storage.sweep_staging().unwrap().is_empty());
    }
}
