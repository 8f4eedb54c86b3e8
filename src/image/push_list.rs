//! Manifest lists to registries: each image first, as it is where it can be, then
//! the list.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::add::Step;
use super::lists::{Entry, List, ListFormat, Source};
use super::manifest::{Descriptor, Manifest, OCI_MANIFEST, is_index, media_type};
use super::push::{Compression, Format, Push, Pushed, push_as};
use super::save::{Bytes, Instance, SaveList, Saved, save_list, takes_lists};
use super::{Place, Reference, find};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::registry::{self, Client};
use crate::storage::{Locked, Staging};

/// What is pushed where, and how.
pub struct PushList<'a> {
    pub list: &'a List,
    pub to: To<'a>,
    pub options: &'a registry::Options,
    /// The images, too.
    pub all: bool,
    /// None: OCI's, or as the index is that it was made from.
    pub format: Option<ListFormat>,
    pub compression: Option<Compression>,
    pub force_compression: bool,
    /// Each image once more, compressed so.
    pub more: &'a [Compression],
}

/// Where a list goes.
#[derive(Clone, Copy)]
pub enum To<'a> {
    Registry(&'a Reference),
    /// A file or folder on this machine.
    Place(&'a Place),
}

/// The annotation of an entry whose layers are zstd: who knows none passes it over.
const ZSTD: &str = "io.github.containers.compression.zstd";

/// Sends a list; gives its digest there.
pub fn push_list(engine: &Engine, push: &PushList, tell: &mut dyn FnMut(Step)) -> Result<Digest> {
    if let To::Place(place) = push.to {
        takes_lists(place)?;
    }
    let mut list = push.list.clone();
    let count = list.entries.len();
    tell(Step::Line("Getting image list signatures".to_owned()));
    if !push.all && !push.more.is_empty() {
        return Err(Error::other(
            "preparing instances for copy: EnsureCompressionVariantsExist is not implemented for CopySpecificImages",
        ));
    }
    let more = variants(&list, push.more);
    let copied = if push.all { count + more.len() } else { 0 };
    tell(Step::Line(format!(
        "Copying {copied} images generated from {count} images in list"
    )));
    let mut is_changed = !more.is_empty();
    let mut sender = match push.to {
        To::Registry(to) => Sender::Registry { to },
        To::Place(place) if push.compression.is_some() || !push.more.is_empty() => {
            return Err(Error::unsupported(format_args!(
                "another compression of a list with {}:",
                place.transport()
            )));
        }
        To::Place(place) => Sender::Place {
            place,
            staging: engine.storage.stage()?,
            held: Vec::new(),
            instances: Vec::new(),
        },
    };
    let originals = list.entries.clone();
    for (at, entry) in list.entries.iter_mut().enumerate().take(copied) {
        tell(Step::Line(format!(
            "Copying image {} ({}/{copied})",
            entry.digest,
            at + 1
        )));
        let how = (push.compression, push.force_compression);
        let sent = sender.send(engine, push, entry, how, tell);
        let sent =
            sent.tried(|| format!("copying image {}/{copied} from manifest list", at + 1))?;
        if let Some(sent) = sent
            && sent.digest != entry.digest
        {
            is_changed = true;
            take(entry, sent);
        }
    }
    for (nth, (at, compression)) in more.into_iter().enumerate() {
        let mut entry = originals[at].clone();
        let nth = count + nth + 1;
        tell(Step::Line(format!(
            "Replicating image {} ({nth}/{copied})",
            entry.digest
        )));
        let sent = sender.send(engine, push, &entry, (Some(compression), true), tell);
        let sent = sent.tried(|| format!("replicating image {nth}/{copied} from manifest list"))?;
        if let Some(sent) = sent {
            take(&mut entry, sent);
        }
        list.entries.push(entry);
    }
    tell(Step::Line(
        "Writing manifest list to image destination".to_owned(),
    ));
    if is_changed {
        list.forget_bytes();
    }
    let digest = sender.finish(engine, push, &list)?;
    tell(Step::Line("Storing list signatures".to_owned()));
    Ok(digest)
}

fn take(entry: &mut Entry, sent: Pushed) {
    entry.digest = sent.digest;
    entry.size = sent.size;
    entry.media_type = sent.media_type;
    if sent.is_zstd {
        entry.annotations.insert(ZSTD.to_owned(), "true".to_owned());
    }
}

/// Which entries are to be there once more, and compressed how: for each platform what
/// there is not yet.
fn variants(list: &List, wanted: &[Compression]) -> Vec<(usize, Compression)> {
    let mut more = Vec::new();
    let is_image = |it: &&Entry| it.artifact_type.is_none();
    for (at, entry) in list.entries.iter().enumerate() {
        let same = |it: &&Entry| it.platform == entry.platform;
        let is_first = !list.entries[..at]
            .iter()
            .filter(is_image)
            .any(|it| same(&it));
        if !is_image(&entry) || !is_first {
            continue;
        }
        let alike: Vec<&Entry> = list.entries.iter().filter(is_image).filter(same).collect();
        for compression in wanted {
            let is_there = alike.iter().any(|it| match compression {
                Compression::Gzip(_) => !it.annotations.contains_key(ZSTD),
                Compression::Zstd(_) => it.annotations.contains_key(ZSTD),
                Compression::Chunked(_) => false,
            });
            if !is_there && !more.contains(&(at, *compression)) {
                more.push((at, *compression));
            }
        }
    }
    more
}

/// What sends images, and then the list.
enum Sender<'a> {
    Registry {
        to: &'a Reference,
    },
    /// All is written at the end, at once.
    Place {
        place: &'a Place,
        /// Blobs that are not of the store.
        staging: Staging,
        held: Vec<Locked>,
        instances: Vec<Instance>,
    },
}

impl Sender<'_> {
    /// Sends what the entry names; gives what it is there, if that is known by now.
    fn send(
        &mut self,
        engine: &Engine,
        push: &PushList,
        entry: &Entry,
        (compression, force_compression): (Option<Compression>, bool),
        tell: &mut dyn FnMut(Step),
    ) -> Result<Option<Pushed>> {
        let is_docker = push.format == Some(ListFormat::Docker);
        let stored =
            |id| find::by_id(&engine.storage, id)?.ok_or_else(|| super::no_such(id.as_str()));
        match (&entry.source, self) {
            (Source::Store(id), Sender::Registry { to }) => {
                let one = Push {
                    image: &stored(id)?,
                    to,
                    options: push.options,
                    format: is_docker.then_some(Format::Docker),
                    compression,
                    force_compression,
                };
                push_as(engine, &one, true, tell).map(Some)
            }
            (
                Source::Store(id),
                Sender::Place {
                    held, instances, ..
                },
            ) => {
                let image = stored(id)?;
                held.push(image.lock(&engine.storage)?);
                tell(Step::Begun);
                for layer in &image.layers {
                    tell(Step::Layer(layer.to_string()));
                }
                tell(Step::Config(image.id.clone()));
                tell(Step::Manifest);
                instances.push(Instance::Image(Box::new(Saved::new(image, Vec::new()))));
                Ok(None)
            }
            (Source::Registry(from), sender) => {
                if compression.is_some() {
                    return Err(Error::unsupported(
                        "compressing an image of a registry anew on its way to another",
                    )
                    .hint("pull it, and add it to the list from the store"));
                }
                if is_docker && entry.media_type == OCI_MANIFEST {
                    return Err(Error::unsupported(
                        "--format v2s2 with an OCI image of a registry",
                    ));
                }
                tell(Step::Begun);
                match sender {
                    Sender::Registry { to } => copy(engine, push, to, entry, from).map(Some),
                    Sender::Place {
                        staging, instances, ..
                    } => {
                        instances.push(fetch(engine, push, entry, from, staging)?);
                        Ok(None)
                    }
                }
            }
            (
                Source::Files {
                    manifest,
                    config,
                    files,
                },
                sender,
            ) => {
                tell(Step::Begun);
                let parsed: Manifest = serde_json::from_str(manifest)
                    .tried(|| format!("read manifest {}", entry.digest))?;
                for layer in &parsed.layers {
                    tell(Step::Layer(layer.digest.to_string()));
                }
                if is_docker {
                    let kind = entry.artifact_type.as_deref().unwrap_or_default();
                    return Err(Error::other(format!(
                        "creating an updated image manifest: unsupported image-specific operation on artifact with type {kind:?}"
                    )));
                }
                tell(Step::Config(parsed.config.digest.hex().parse()?));
                tell(Step::Manifest);
                let config = BASE64_STANDARD
                    .decode(config)
                    .map_err(|_| Error::other("the artifact's config is not base64"))?;
                let layers = parsed.layers.into_iter().zip(files);
                let layers: Vec<(Descriptor, &PathBuf)> = layers.collect();
                match sender {
                    Sender::Registry { to } => {
                        send_files(engine, push, to, entry, (manifest, &config), &layers).map(Some)
                    }
                    Sender::Place { instances, .. } => {
                        let blob = |(it, path): &(Descriptor, &PathBuf)| {
                            (it.digest.clone(), Bytes::At(path.to_path_buf()))
                        };
                        let mut blobs: Vec<(Digest, Bytes)> = layers.iter().map(blob).collect();
                        blobs.push((Digest::of(&config), Bytes::These(config)));
                        instances.push(Instance::Ready {
                            manifest: manifest.clone().into_bytes(),
                            media_type: entry.media_type.clone(),
                            blobs,
                        });
                        Ok(None)
                    }
                }
            }
        }
    }

    fn finish(self, engine: &Engine, push: &PushList, list: &List) -> Result<Digest> {
        match self {
            Sender::Registry { to } => {
                let (bytes, media_type) = list.bytes_for(push.format)?;
                let digest = Digest::of(&bytes);
                engine.apart(|| {
                    let client = client(engine, to, push.options, "pull,push")?;
                    let reference = match (to.tag(), to.digest()) {
                        (None, Some(wanted)) if *wanted != digest => {
                            return Err(Error::other(format!(
                                "the list's digest would be {digest}, not {wanted}"
                            )));
                        }
                        (None, Some(wanted)) => wanted.to_string(),
                        (tag, _) => tag.unwrap_or(super::reference::LATEST).to_owned(),
                    };
                    client.put_manifest(&reference, &media_type, &bytes)
                })?;
                Ok(digest)
            }
            Sender::Place {
                place, instances, ..
            } => save_list(
                engine,
                &SaveList {
                    list,
                    place,
                    instances: push.all.then_some(&instances[..]),
                    format: push.format,
                },
            ),
        }
    }
}

fn client(
    engine: &Engine,
    at: &Reference,
    options: &registry::Options,
    scope: &'static str,
) -> Result<Client> {
    let registries = registry::Registries::read(&engine.settings)?;
    let endpoint = registries.own_endpoint(at.domain(), at.path())?;
    Client::new(&engine.settings, endpoint, options, scope)
}

/// What a registry has of an image, and who to ask for more.
fn source(
    engine: &Engine,
    push: &PushList,
    entry: &Entry,
    repository: &Reference,
) -> Result<(Client, Vec<u8>, String, Manifest)> {
    let source = client(engine, repository, push.options, "pull")?;
    let fetched = source.manifest(entry.digest.as_str())?;
    let kind = media_type(&fetched.bytes, &entry.media_type);
    if is_index(&kind) {
        return Err(Error::other("an index of indexes"));
    }
    let manifest = serde_json::from_slice(&fetched.bytes)
        .tried(|| format!("read manifest {}", entry.digest))?;
    Ok((source, fetched.bytes, kind, manifest))
}

/// Fetches a blob into a file.
fn fetch_blob(source: &Client, blob: &Descriptor, path: &Path) -> Result<File> {
    let mut file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(path)?;
    let arrived = AtomicU64::new(0);
    let never = AtomicBool::new(false);
    let mut stream = super::archive::Checked::new(
        source.blob(&blob.digest, blob.size, &arrived),
        blob.size,
        Some(blob.digest.clone()),
        &never,
    );
    std::io::copy(&mut stream, &mut file).tried(|| format!("copy blob {}", blob.digest))?;
    Ok(file)
}

/// An image from one repository to another, as it is.
fn copy(
    engine: &Engine,
    push: &PushList,
    to: &Reference,
    entry: &Entry,
    from: &str,
) -> Result<Pushed> {
    let repository = Reference::normalized(from)?;
    engine.apart(|| {
        let (source, bytes, kind, manifest) = source(engine, push, entry, &repository)?;
        let target = client(engine, to, push.options, "pull,push")?;
        let is_near = repository.domain() == to.domain();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let is_there = target.has_blob(&blob.digest)?
                || is_near && target.mount(&blob.digest, repository.path())?;
            if is_there {
                continue;
            }
            let staging = engine.storage.stage()?;
            let file = fetch_blob(&source, blob, &staging.path().join("blob"))?;
            target.upload(&blob.digest, &file, &Arc::default())?;
        }
        target.put_manifest(entry.digest.as_str(), &kind, &bytes)?;
        Ok(Pushed {
            digest: entry.digest.clone(),
            size: bytes.len() as u64,
            media_type: kind,
            is_zstd: false,
        })
    })
}

/// An image of a repository, as it is, in `staging`.
fn fetch(
    engine: &Engine,
    push: &PushList,
    entry: &Entry,
    from: &str,
    staging: &Staging,
) -> Result<Instance> {
    let repository = Reference::normalized(from)?;
    let at = |digest: &Digest| staging.path().join(digest.hex());
    let (manifest, media_type, digests) = engine.apart(|| {
        let (source, bytes, kind, manifest) = source(engine, push, entry, &repository)?;
        let mut digests = Vec::new();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if !at(&blob.digest).exists() {
                fetch_blob(&source, blob, &at(&blob.digest))?;
            }
            digests.push(blob.digest.clone());
        }
        let text = String::from_utf8(bytes).map_err(|_| Error::other("it is not UTF-8"))?;
        Ok((text, kind, digests))
    })?;
    let blob = |digest: Digest| {
        let path = at(&digest);
        (digest, Bytes::At(path))
    };
    Ok(Instance::Ready {
        manifest: manifest.into_bytes(),
        media_type,
        blobs: digests.into_iter().map(blob).collect(),
    })
}

/// Sends an artifact: its files must be what they were when it was made.
fn send_files(
    engine: &Engine,
    push: &PushList,
    to: &Reference,
    entry: &Entry,
    (manifest, config): (&str, &[u8]),
    layers: &[(Descriptor, &PathBuf)],
) -> Result<Pushed> {
    engine.apart(|| {
        let target = client(engine, to, push.options, "pull,push")?;
        let staging = engine.storage.stage()?;
        for (nth, (layer, path)) in layers.iter().enumerate() {
            if target.has_blob(&layer.digest)? {
                continue;
            }
            // A copy: what is sent is what was checked.
            let file = File::open(path).tried(|| format!("open {}", path.display()))?;
            let mut copy = File::options()
                .create_new(true)
                .read(true)
                .write(true)
                .open(staging.path().join(nth.to_string()))?;
            let never = AtomicBool::new(false);
            let mut checked = super::archive::Checked::new(
                file.take(layer.size),
                layer.size,
                Some(layer.digest.clone()),
                &never,
            );
            let count = std::io::copy(&mut checked, &mut copy)
                .tried(|| format!("read {}", path.display()))?;
            if count != layer.size {
                return Err(Error::other(format!("{} has changed", path.display())));
            }
            target.upload(&layer.digest, &copy, &Arc::default())?;
        }
        let digest = Digest::of(config);
        if !target.has_blob(&digest)? {
            let mut file = File::options()
                .create_new(true)
                .read(true)
                .write(true)
                .open(staging.path().join("config"))?;
            file.write_all(config)?;
            target.upload(&digest, &file, &Arc::default())?;
        }
        target.put_manifest(
            entry.digest.as_str(),
            &entry.media_type,
            manifest.as_bytes(),
        )?;
        Ok(Pushed {
            digest: entry.digest.clone(),
            size: entry.size,
            media_type: entry.media_type.clone(),
            is_zstd: false,
        })
    })
}
