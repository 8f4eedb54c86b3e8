//! Images to registries.
//!
//! An image that came from a registry is sent as it came, to the byte, where the
//! registry has its blobs or takes them over from another of its repositories.
//! A blob it has not is made again from the layer: its bytes are then ours, and so
//! is the manifest. What was made is noted beside the layer (`blobs.json`), so that
//! the next push asks for it first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::add::{Arriving, Step};
use super::manifest::{
    DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, DescriptorLine, Manifest, OCI_CONFIG,
    OCI_LAYER, OCI_MANIFEST, OciManifest,
};
use super::{Image, Reference};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, Digest};
use crate::registry::{self, Access, Client, Endpoint};
use crate::storage::chunked;
use crate::storage::layer::write_tar;
use crate::storage::{Storage, read_json, write_json};
use crate::sys::file::Durable;

/// How layers are compressed that must be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    Gzip(Option<u32>),
    Zstd(Option<i32>),
    /// Of which each file can be fetched by itself ([`chunked`]).
    Chunked(Option<i32>),
}

/// The kind of manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Oci,
    Docker,
}

/// What is pushed where, and how.
pub struct Push<'a> {
    pub image: &'a Image,
    pub to: &'a Reference,
    pub options: &'a registry::Options,
    /// None: as the image's manifest is.
    pub format: Option<Format>,
    /// None: as the image's manifest says, gzip for what is made.
    pub compression: Option<Compression>,
    /// Blobs that are compressed otherwise are not taken as they are.
    pub force_compression: bool,
}

/// `layers/<diff id>/blobs.json`: as what a layer has been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    digest: Digest,
    size: u64,
    compression: Compression,
    /// That the layer has in a manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// A layer as the registry has or gets it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sent {
    media: Media,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<String, String>,
}

impl Sent {
    fn is(&self, compression: Compression) -> bool {
        let is_chunked = self.annotations.contains_key(chunked::CHECKSUM);
        self.media == media(compression)
            && (is_chunked || !matches!(compression, Compression::Chunked(_)))
    }
}

impl From<Made> for Sent {
    fn from(made: Made) -> Self {
        Self {
            media: media(made.compression),
            digest: made.digest,
            size: made.size,
            annotations: made.annotations,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Media {
    Plain,
    Gzip,
    Zstd,
}

impl Media {
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            DOCKER_LAYER => Some(Self::Gzip),
            _ if media_type == OCI_LAYER => Some(Self::Plain),
            _ => match media_type.strip_prefix(OCI_LAYER)? {
                "+gzip" => Some(Self::Gzip),
                "+zstd" => Some(Self::Zstd),
                _ => None,
            },
        }
    }
}

/// What the first child has found out.
#[derive(Serialize, Deserialize)]
struct Found {
    access: Access,
    /// None where the blob must be made.
    layers: Vec<Option<Sent>>,
    has_config: bool,
}

/// An image's manifest as the registry has it now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pushed {
    pub digest: Digest,
    pub size: u64,
    pub media_type: String,
    /// Whether all its layers are zstd.
    pub is_zstd: bool,
}

/// Sends an image; gives the digest of its manifest there.
pub fn push(engine: &Engine, push: &Push, tell: &mut dyn FnMut(Step)) -> Result<Digest> {
    Ok(push_as(engine, push, false, tell)?.digest)
}

/// Sends an image; `by_digest`, to where the name says, but under no tag.
pub(super) fn push_as(
    engine: &Engine,
    push: &Push,
    by_digest: bool,
    tell: &mut dyn FnMut(Step),
) -> Result<Pushed> {
    let _held = push.image.lock(&engine.storage)?;
    let registries = registry::Registries::read(&engine.settings)?;
    let endpoint = registries.own_endpoint(push.to.domain(), push.to.path())?;
    let from: Vec<String> = push
        .image
        .names(&engine.storage)?
        .into_iter()
        .filter(|name| name.domain() == push.to.domain() && name.path() != push.to.path())
        .map(|name| name.path().to_owned())
        .collect();
    tell(Step::Begun);
    let bytes = push.image.manifest_bytes(&engine.storage)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).tried(|| "read the manifest")?;
    for id in &push.image.layers {
        tell(Step::Layer(id.to_string()));
    }
    let found = engine.apart(|| look(engine, push, &endpoint, &manifest, &from))?;
    let client = Client::with_access(
        &engine.settings,
        endpoint,
        push.options,
        "pull,push",
        found.access.clone(),
    );
    let send = |tell: &mut dyn FnMut(Step)| {
        let sent = (&manifest, &bytes[..], by_digest);
        send(engine, push, &client, &found, sent, tell)
    };
    if found.layers.iter().all(Option::is_some) {
        engine.apart(|| send(tell))
    } else {
        engine.in_namespace(|| send(tell))
    }
}

/// Asks what the registry has.
fn look(
    engine: &Engine,
    push: &Push,
    endpoint: &Endpoint,
    manifest: &Manifest,
    from: &[String],
) -> Result<Found> {
    let client = Client::new(
        &engine.settings,
        endpoint.clone(),
        push.options,
        "pull,push",
    )?;
    let mut layers: Vec<Option<Sent>> = Vec::new();
    for (at, id) in push.image.layers.iter().enumerate() {
        let reused =
            |error: Error| error.tried(format_args!("trying to reuse blob {id} at destination"));
        let found = candidates(engine, push, manifest, at, id)?
            .into_iter()
            .map(|sent| Ok(is_there(&client, &sent.digest, from)?.then_some(sent)))
            .find_map(Result::transpose)
            .transpose()
            .map_err(reused)?;
        layers.push(found);
    }
    let id = config_digest(push.image)?;
    let has_config = client.has_blob(&id)?;
    Ok(Found {
        access: client.access(),
        layers,
        has_config,
    })
}

fn is_there(client: &Client, digest: &Digest, from: &[String]) -> Result<bool> {
    if client.has_blob(digest)? {
        return Ok(true);
    }
    for repository in from {
        if client.mount(digest, repository)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The blobs that the layer is known to have been, the manifest's own first.
fn candidates(
    engine: &Engine,
    push: &Push,
    manifest: &Manifest,
    at: usize,
    id: &DiffId,
) -> Result<Vec<Sent>> {
    let mut all = Vec::new();
    if manifest.layers.len() == push.image.layers.len()
        && let Some(descriptor) = manifest.layers.get(at)
        // One made for a docker-archive calls a plain tar gzip.
        && descriptor.digest.hex() != id.hex()
        && let Some(media) = Media::of(&descriptor.media_type)
    {
        all.push(Sent {
            media,
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            annotations: descriptor.annotations.clone(),
        });
    }
    let made = read_json::<Vec<Made>>(&engine.storage.layer(id).join("blobs.json"))?;
    all.extend(made.unwrap_or_default().into_iter().map(Sent::from));
    let fits = |it: &Sent| {
        let zstd_in_docker = push.format == Some(Format::Docker) && it.media == Media::Zstd;
        !zstd_in_docker && push.compression.is_none_or(|wanted| it.is(wanted))
    };
    all.retain(fits);
    Ok(all)
}

fn media(compression: Compression) -> Media {
    match compression {
        Compression::Gzip(_) => Media::Gzip,
        Compression::Zstd(_) | Compression::Chunked(_) => Media::Zstd,
    }
}

fn config_digest(image: &Image) -> Result<Digest> {
    format!("sha256:{}", image.id).parse()
}

/// Makes and sends what is missing, then the manifest.
fn send(
    engine: &Engine,
    push: &Push,
    client: &Client,
    found: &Found,
    (manifest, bytes, by_digest): (&Manifest, &[u8], bool),
    tell: &mut dyn FnMut(Step),
) -> Result<Pushed> {
    let layers = send_layers(engine, push, client, found, tell)?;
    let config = push.image.config_bytes(&engine.storage)?;
    if !found.has_config {
        let staging = engine.storage.stage()?;
        let file = spool(staging.path(), "config", &config)?;
        client.upload(&config_digest(push.image)?, &file, &Arc::default())?;
    }
    tell(Step::Config(push.image.id.clone()));
    let (bytes, media_type) = written(push, manifest, bytes, &layers, config.len() as u64)?;
    let digest = Digest::of(&bytes);
    let reference = match (push.to.tag(), push.to.digest()) {
        _ if by_digest => digest.to_string(),
        (None, Some(wanted)) if *wanted != digest => {
            return Err(Error::other(format!(
                "the manifest's digest would be {digest}, not {wanted}"
            )));
        }
        (None, Some(wanted)) => wanted.to_string(),
        (tag, _) => tag.unwrap_or(super::reference::LATEST).to_owned(),
    };
    tell(Step::Manifest);
    client.put_manifest(&reference, &media_type, &bytes)?;
    Ok(Pushed {
        digest,
        size: bytes.len() as u64,
        media_type,
        is_zstd: !layers.is_empty() && layers.iter().all(|it| it.media == Media::Zstd),
    })
}

fn spool(dir: &Path, name: &str, bytes: &[u8]) -> Result<File> {
    let mut file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(dir.join(name))?;
    file.write_all(bytes)?;
    Ok(file)
}

/// The manifest as it was, where nothing has changed; else one of the kind asked for.
fn written(
    push: &Push,
    manifest: &Manifest,
    bytes: &[u8],
    layers: &[Sent],
    config_size: u64,
) -> Result<(Vec<u8>, String)> {
    let own = &push.image.manifest_type;
    let own_format = match own.as_str() {
        OCI_MANIFEST => Format::Oci,
        _ => Format::Docker,
    };
    let zstd = layers.iter().any(|it| it.media == Media::Zstd);
    let format = match push.format {
        Some(Format::Docker) if zstd => {
            return Err(Error::usage(
                "layers compressed with zstd need --format oci",
            ));
        }
        Some(format) => format,
        None if zstd => Format::Oci,
        None => own_format,
    };
    let same = manifest.layers.len() == layers.len()
        && manifest
            .layers
            .iter()
            .zip(layers)
            .all(|(was, is)| was.digest == is.digest);
    if same && format == own_format {
        return Ok((bytes.to_vec(), own.clone()));
    }
    let config = config_digest(push.image)?;
    match format {
        Format::Oci => {
            let line = |it| line(it);
            let bytes = serde_json::to_vec(&OciManifest {
                schema_version: 2,
                media_type: OCI_MANIFEST,
                config: DescriptorLine::new(OCI_CONFIG, &config, config_size),
                layers: layers.iter().map(line).collect(),
            })?;
            Ok((bytes, OCI_MANIFEST.to_owned()))
        }
        Format::Docker => {
            let layers = layers
                .iter()
                .map(|it| Descriptor::new(DOCKER_LAYER, it.digest.clone(), it.size));
            let bytes = serde_json::to_vec(&Manifest {
                schema_version: 2,
                media_type: DOCKER_MANIFEST.to_owned(),
                config: Descriptor::new(DOCKER_CONFIG, config, config_size),
                layers: layers.collect(),
                annotations: Default::default(),
            })?;
            Ok((bytes, DOCKER_MANIFEST.to_owned()))
        }
    }
}

fn line(it: &Sent) -> DescriptorLine<'_> {
    let media_type = match it.media {
        Media::Plain => OCI_LAYER,
        Media::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Media::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    DescriptorLine::new(media_type, &it.digest, it.size).with(&it.annotations)
}

/// How many layers are made and sent at once.
const WORKERS: usize = 4;

fn send_layers(
    engine: &Engine,
    push: &Push,
    client: &Client,
    found: &Found,
    tell: &mut dyn FnMut(Step),
) -> Result<Vec<Sent>> {
    let missing: Vec<(usize, &DiffId)> = push
        .image
        .layers
        .iter()
        .enumerate()
        .filter(|(at, _)| found.layers.get(*at).is_none_or(Option::is_none))
        .collect();
    let mut layers = found.layers.clone();
    if missing.is_empty() {
        return Ok(layers.into_iter().flatten().collect());
    }
    let compression = push.compression.unwrap_or(Compression::Gzip(None));
    let storage = &engine.storage;
    let staging = storage.stage()?;
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let sent: Vec<Arc<AtomicU64>> = missing.iter().map(|_| Arc::default()).collect();
    let sizes: Vec<AtomicU64> = missing.iter().map(|_| AtomicU64::new(0)).collect();
    let state = || {
        let one = |at: usize| Arriving {
            digest: missing[at].1.to_string(),
            arrived: sent[at].load(Ordering::Relaxed),
            size: sizes[at].load(Ordering::Relaxed),
            done: sizes[at].load(Ordering::Relaxed) > 0
                && sent[at].load(Ordering::Relaxed) >= sizes[at].load(Ordering::Relaxed),
        };
        Step::Arriving((0..missing.len()).map(one).collect())
    };
    std::thread::scope(|scope| {
        let (alive, ended) = channel::<()>();
        for _ in 0..WORKERS.min(missing.len()) {
            let alive = alive.clone();
            let (next, results, missing, sent, sizes) = (&next, &results, &missing, &sent, &sizes);
            let staging = staging.path();
            scope.spawn(move || {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some((at, id)) = missing.get(nth) else {
                        break;
                    };
                    let done = make(storage, staging, id, compression).and_then(|(file, made)| {
                        sizes[nth].store(made.size, Ordering::Relaxed);
                        if client.has_blob(&made.digest)? {
                            sent[nth].store(made.size, Ordering::Relaxed);
                        } else {
                            client.upload(&made.digest, &file, &sent[nth])?;
                        }
                        note(storage, id, &made);
                        Ok(made)
                    });
                    let failed = done.is_err();
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((*at, done));
                    if failed {
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                    }
                }
                drop(alive);
            });
        }
        drop(alive);
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_millis(100)) {
            tell(state());
        }
        tell(state());
    });
    for (at, done) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let made = done?;
        layers[at] = Some(made.into());
    }
    Ok(layers.into_iter().flatten().collect())
}

/// Podman's (podman-push(1)).
const ZSTD_LEVEL: i32 = 3;

/// Packs the layer into a file without a name.
fn make(
    storage: &Storage,
    staging: &Path,
    id: &DiffId,
    compression: Compression,
) -> Result<(File, Made)> {
    let path = staging.join(id.hex());
    let file = spool(staging, id.hex(), &[]).tried(|| format!("make {}", path.display()))?;
    std::fs::remove_file(&path)?;
    let mut out = Hashed {
        out: file,
        hasher: sha2::Sha256::default(),
        size: 0,
    };
    let layer = storage.layer(id);
    let mut annotations = BTreeMap::new();
    let tried = || format!("pack layer {}", &id.hex()[..12]);
    if let Compression::Chunked(level) = compression {
        let written = chunked::write(&layer, &mut out, level.unwrap_or(ZSTD_LEVEL));
        match written.tried(tried)? {
            Some(found) => annotations = found,
            // As plain zstd it can be sent all the same.
            None => {
                out.out.set_len(0)?;
                out.out.rewind()?;
                out = Hashed {
                    out: out.out,
                    hasher: sha2::Sha256::default(),
                    size: 0,
                };
            }
        }
    }
    let packed = match compression {
        Compression::Gzip(level) => {
            let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(&mut out, level);
            write_tar(&layer, &mut encoder).and_then(|()| Ok(encoder.finish().map(drop)?))
        }
        Compression::Chunked(_) if !annotations.is_empty() => Ok(()),
        Compression::Zstd(level) | Compression::Chunked(level) => {
            let level = level.unwrap_or(ZSTD_LEVEL);
            let mut encoder = zstd::stream::Encoder::new(&mut out, level)?;
            write_tar(&layer, &mut encoder).and_then(|()| Ok(encoder.finish().map(drop)?))
        }
    };
    packed.tried(tried)?;
    let digest = format!("sha256:{}", crate::id::hex(&out.hasher.finalize())).parse()?;
    let made = Made {
        digest,
        size: out.size,
        compression,
        annotations,
    };
    Ok((out.out, made))
}

/// Notes what was sent. Where that fails, the next push makes it again.
fn note(storage: &Storage, id: &DiffId, made: &Made) {
    let path = storage.layer(id).join("blobs.json");
    let mut all = read_json::<Vec<Made>>(&path)
        .ok()
        .flatten()
        .unwrap_or_default();
    if !all.contains(made) {
        all.push(made.clone());
        let _ = write_json(&path, &all, Durable::No);
    }
}

/// A file that is hashed while it is written.
struct Hashed {
    out: File,
    hasher: sha2::Sha256,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
