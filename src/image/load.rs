//! Images from archives: docker-archive, oci-archive, and folders of OCI's and
//! Docker's (`dir:`) layout.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use serde::Deserialize;

use super::add::{GivenManifest, Incoming, IncomingLayer, Origin, Step, add};
use super::archive::{Archive, Source, check};
use super::config::or_default;
use super::manifest::{
    DOCKER_MANIFEST, Descriptor, Index, Manifest, OCI_MANIFEST, is_index, media_type, read_config,
};
use super::platform::Wanted;
use super::save::REF_NAME;
use super::transport::Place;
use super::{Image, Layout, Reference};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::storage::Storage;
use crate::storage::compression::{self, decompressed};

/// Where images are loaded from.
#[derive(Debug, Clone)]
pub enum Input {
    Path(PathBuf),
    Stdin,
}

/// An image that was loaded, and the names it got.
pub struct Loaded {
    pub image: Image,
    pub names: Vec<Reference>,
}

/// Loads every image that `input` holds.
pub fn load(engine: &Engine, input: &Input, tell: &mut dyn FnMut(Step)) -> Result<Vec<Loaded>> {
    let archive = open(input, &engine.storage)?;
    let incoming = if let Some(index) = archive.read("index.json")? {
        // A folder's images get no names, as with Podman.
        let named = matches!(archive, Archive::Tar { .. });
        from_oci(&archive, &index, named)?
    } else if let Some(manifest) = archive.read("manifest.json")? {
        match archive {
            Archive::Tar { .. } => from_docker(&archive, &manifest)?,
            Archive::Folder(_) => vec![from_folder(&archive, manifest)?],
        }
    } else {
        return Err(unknown("it has neither index.json nor manifest.json"));
    };
    added(engine, incoming, tell)
}

/// Loads what `place` names: all of a docker-archive where it names none.
pub fn load_from(
    engine: &Engine,
    place: &Place,
    tell: &mut dyn FnMut(Step),
) -> Result<Vec<Loaded>> {
    let (path, reference) = (&place.path, place.reference.as_deref());
    let missing = match place.layout {
        Layout::DockerFolder | Layout::OciFolder => None,
        Layout::OciArchive => {
            let whole = std::path::absolute(path)?;
            Some(format!(
                "creating temp directory: archive file not found: {whole:?}"
            ))
        }
        Layout::DockerArchive => Some(format!(
            "opening file {path:?}: open {}: no such file or directory",
            path.display()
        )),
    };
    if let (Some(words), false) = (missing, path.exists()) {
        return Err(Error::other(words));
    }
    let archive = match place.layout.is_folder() {
        true => Archive::of_folder(path).map_err(|_| absent(place))?,
        false => open(&Input::Path(path.clone()), &engine.storage)?,
    };
    let read = |name: &str| archive.read(name)?.ok_or_else(|| absent(place));
    let incoming = match place.layout {
        Layout::DockerFolder => vec![from_folder(&archive, read("manifest.json")?)?],
        Layout::DockerArchive => {
            let mut all = from_docker(&archive, &read("manifest.json")?)?;
            if let Some(reference) = reference {
                let wanted = Reference::normalized(reference)?;
                all.retain(|it| it.names.contains(&wanted));
                all.truncate(1);
                for it in &mut all {
                    it.names = vec![wanted.clone()];
                }
            }
            if let (true, Some(reference)) = (all.is_empty(), reference) {
                return Err(Error::not_found(format!("Tag {reference:?} not found")));
            }
            all
        }
        Layout::OciFolder | Layout::OciArchive => {
            let is_archive = place.layout == Layout::OciArchive;
            let index = one_of(&read("index.json")?, place)?;
            let mut all = from_oci(&archive, &index, is_archive)?;
            if let Some(reference) = reference {
                let name = match is_archive {
                    true => Reference::local(reference)?,
                    false => Reference::normalized(reference)?.or_latest(),
                };
                all.iter_mut().for_each(|it| it.names = vec![name.clone()]);
            }
            all
        }
    };
    added(engine, incoming, tell)
}

/// The file that tells what is in a place is not there.
fn absent(place: &Place) -> Error {
    let file = match place.layout {
        Layout::OciFolder | Layout::OciArchive => "index.json",
        Layout::DockerFolder | Layout::DockerArchive => "manifest.json",
    };
    let file = place.path.join(file);
    Error::not_found(format!(
        "open {}: no such file or directory",
        file.display()
    ))
}

/// The index with nothing in it but the one image that is meant.
fn one_of(index: &[u8], place: &Place) -> Result<Vec<u8>> {
    let mut index: serde_json::Value =
        serde_json::from_slice(index).map_err(|error| unknown(&format!("index.json: {error}")))?;
    let Some(all) = index["manifests"].as_array_mut() else {
        return Err(unknown("index.json names no image"));
    };
    match &place.reference {
        Some(reference) => {
            all.retain(|it| it["annotations"][REF_NAME] == reference.as_str());
            all.truncate(1);
            if all.is_empty() {
                let tried = match place.layout {
                    Layout::OciArchive => "loading index".to_owned(),
                    _ => format!(
                        "unable to perform copy: unable to copy from source {place}: initializing source {place}"
                    ),
                };
                return Err(Error::not_found(format!(
                    "{tried}: no descriptor found for reference {reference:?}"
                )));
            }
        }
        None if all.len() > 1 => {
            return Err(Error::usage("more than one image in oci, choose an image"));
        }
        None => {}
    }
    Ok(serde_json::to_vec(&index)?)
}

fn added(
    engine: &Engine,
    incoming: Vec<Incoming>,
    tell: &mut dyn FnMut(Step),
) -> Result<Vec<Loaded>> {
    let names: Vec<Vec<Reference>> = incoming.iter().map(|it| it.names.clone()).collect();
    let images = add(engine, incoming, tell)?;
    let loaded = |(image, names)| Loaded { image, names };
    Ok(images.into_iter().zip(names).map(loaded).collect())
}

/// Podman's words, in one line.
fn unknown(why: &str) -> Error {
    Error::other(format!(
        "payload does not match any of the supported image formats (oci, oci-archive, docker-archive, dir): {why}"
    ))
}

fn open(input: &Input, storage: &Storage) -> Result<Archive> {
    let (name, mut file) = match input {
        Input::Path(path) => {
            let name = path.display().to_string();
            if path.is_dir() {
                return Archive::of_folder(path).tried(|| format!("open {name}"));
            }
            let file = File::open(path).tried(|| format!("open {name}"))?;
            (name, file)
        }
        Input::Stdin => ("stdin".to_owned(), crate::sys::file::stdin()?),
    };
    // What cannot be read by position or is compressed is first spooled into the
    // store: it is the one place that must have room for it anyhow.
    let mut first = Vec::new();
    let at = file.stream_position();
    let spool = match at {
        Ok(0) => {
            let read = (&file).take(6).read_to_end(&mut first);
            read.tried(|| format!("read {name}"))?;
            file.rewind()?;
            compression::kind(&first) != compression::Kind::Plain
        }
        _ => true,
    };
    if spool {
        file = spooled(file, storage).tried(|| format!("read {name}"))?;
    }
    Archive::of_tar(file).map_err(|error| unknown(&format!("{name}: {error}")))
}

/// All of `from`, decompressed, as a file of ours that has no name.
fn spooled(from: File, storage: &Storage) -> Result<File> {
    let staging = storage.stage()?;
    let path = staging.path().join("spool");
    let mut spool = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)?;
    drop(staging);
    let mut from = decompressed(from)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(spool),
            Ok(count) => spool.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// An image of a docker-archive's manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerItem {
    config: String,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    layers: Vec<String>,
}

fn from_docker(archive: &Archive, manifest: &[u8]) -> Result<Vec<Incoming>> {
    let items: Vec<DockerItem> = serde_json::from_slice(manifest)
        .map_err(|error| unknown(&format!("manifest.json: {error}")))?;
    items
        .iter()
        .enumerate()
        .map(|(at, item)| {
            let tags = item.repo_tags.iter();
            Ok(Incoming {
                names: tags.map(|tag| repo_tag(tag, at)).collect::<Result<_>>()?,
                config: archive.require(&item.config)?,
                manifest: GivenManifest::Made,
                layers: item
                    .layers
                    .iter()
                    .map(|name| layer(archive, name, None))
                    .collect::<Result<_>>()?,
            })
        })
        .collect()
}

/// A name from a docker-archive: it must have a tag; where it says no registry, it
/// is one made here.
fn repo_tag(text: &str, at: usize) -> Result<Reference> {
    let reference = Reference::normalized(text).map_err(|error| {
        error.tried(format_args!("Invalid tag {text:?} in manifest item @{at}"))
    })?;
    if reference.tag().is_none() {
        return Err(Error::other(format!(
            "docker-archive: Invalid tag {text:?} ({reference}): does not contain a tag"
        )));
    }
    Reference::local(text)
}

fn layer(archive: &Archive, name: &str, digest: Option<Digest>) -> Result<IncomingLayer> {
    let source: Source = archive
        .open(name)?
        .ok_or_else(|| Error::other(format!("the archive has no {name}")))?;
    Ok(IncomingLayer {
        origin: Origin::Archive {
            source,
            read: AtomicU64::new(0),
        },
        digest,
    })
}

/// Where OCI's layout has a blob.
fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn read_blob(archive: &Archive, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let bytes = archive.require(&blob(&descriptor.digest))?;
    check(&bytes, &descriptor.digest)?;
    Ok(bytes)
}

fn from_oci(archive: &Archive, index: &[u8], named: bool) -> Result<Vec<Incoming>> {
    let index: Index =
        serde_json::from_slice(index).map_err(|error| unknown(&format!("index.json: {error}")))?;
    if index.manifests.is_empty() {
        return Err(unknown("index.json names no image"));
    }
    let mut incoming: Vec<Incoming> = Vec::new();
    for descriptor in &index.manifests {
        let names = if named { oci_name(descriptor)? } else { None };
        let (bytes, media_type) = one_manifest(archive, descriptor)?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .tried(|| format!("read manifest {}", descriptor.digest))?;
        let layers = manifest.layers.iter();
        incoming.push(Incoming {
            config: read_blob(archive, &manifest.config)?,
            layers: layers
                .map(|it| layer(archive, &blob(&it.digest), Some(it.digest.clone())))
                .collect::<Result<_>>()?,
            names: names.into_iter().collect(),
            manifest: GivenManifest::Bytes {
                bytes,
                media_type,
                index: None,
            },
        });
    }
    // Artifacts (attestations, signatures) have configs that are none.
    if incoming.len() > 1 {
        incoming.retain(|it| read_config(&it.config).is_ok());
    }
    Ok(incoming)
}

/// The manifest that `descriptor` leads to: of an index, that for our platform.
fn one_manifest(archive: &Archive, descriptor: &Descriptor) -> Result<(Vec<u8>, String)> {
    let mut descriptor = descriptor.clone();
    for _ in 0..4 {
        let bytes = read_blob(archive, &descriptor)?;
        let media_type = media_type(&bytes, &descriptor.media_type);
        if !is_index(&media_type) {
            return Ok((bytes, media_type));
        }
        let index: Index =
            serde_json::from_slice(&bytes).tried(|| format!("read index {}", descriptor.digest))?;
        descriptor = Wanted::default().choose(&index)?.clone();
    }
    Err(Error::other("an index of indexes of indexes"))
}

/// The name an OCI archive gives an image: containerd's annotation has it whole.
fn oci_name(descriptor: &Descriptor) -> Result<Option<Reference>> {
    let names = ["io.containerd.image.name", REF_NAME];
    let mut named = names
        .iter()
        .filter_map(|key| descriptor.annotations.get(*key));
    named
        .find(|name| !name.is_empty())
        .map(|name| Reference::local(name))
        .transpose()
}

/// An image of a folder that `dir:` wrote: blobs by their bare digests.
fn from_folder(archive: &Archive, bytes: Vec<u8>) -> Result<Incoming> {
    // Of a list the image for our platform.
    let bytes = match is_index(&media_type(&bytes, OCI_MANIFEST)) {
        false => bytes,
        true => {
            let index: Index = serde_json::from_slice(&bytes)
                .map_err(|error| unknown(&format!("manifest.json: {error}")))?;
            let digest = &Wanted::default().choose(&index)?.digest;
            let bytes = archive.require(&format!("{}.manifest.json", digest.hex()))?;
            check(&bytes, digest)?;
            bytes
        }
    };
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| unknown(&format!("manifest.json: {error}")))?;
    let config = archive.require(manifest.config.digest.hex())?;
    check(&config, &manifest.config.digest)?;
    let layers = manifest.layers.iter();
    let media_type = match manifest.media_type.as_str() {
        "" if manifest.config.media_type.contains("docker") => DOCKER_MANIFEST.to_owned(),
        "" => OCI_MANIFEST.to_owned(),
        given => given.to_owned(),
    };
    Ok(Incoming {
        config,
        layers: layers
            .map(|it| layer(archive, it.digest.hex(), Some(it.digest.clone())))
            .collect::<Result<_>>()?,
        names: Vec::new(),
        manifest: GivenManifest::Bytes {
            bytes,
            media_type,
            index: None,
        },
    })
}

/// Whether `path` can be read at all, in Podman's words.
pub fn check_path(path: &Path) -> Result<()> {
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::other(format!(
            "faccessat {}: no such file or directory",
            path.display()
        ))),
        Err(error) => Err(error).tried(|| format!("open {}", path.display())),
    }
}
