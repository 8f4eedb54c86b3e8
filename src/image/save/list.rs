//! Manifest lists to files and folders: `dir:`, OCI's layout in a folder or a tar.
//!
//! ```text
//! dir:     <hex>.manifest.json of each image, <hex> of each blob; manifest.json is the list
//! oci:     all are blobs, and index.json names the list alone
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::tape::{Part, Tape, entry};
use super::{
    Format, Layout, Packer, Progress, REF_NAME, Save, Saved, Target, Watching, blob_path, docker,
    folder, oci, watched,
};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::image::Place;
use crate::image::archive::Checked;
use crate::image::lists::{List, ListFormat};
use crate::image::manifest::OCI_MANIFEST;
use crate::storage::pack::header;
use crate::storage::tar::{BLOCK, Kind};
use crate::sys::beside::NewFile;
use crate::sys::file::{Durable, write_whole};

/// A list, and its images in the order of its entries.
pub struct SaveList<'a> {
    pub list: &'a List,
    pub place: &'a Place,
    /// None: the list alone is written.
    pub instances: Option<&'a [Instance]>,
    pub format: Option<ListFormat>,
}

/// What an entry of a list is.
pub enum Instance {
    /// Packed from the store.
    Image(Box<Saved>),
    /// As it is elsewhere.
    Ready {
        manifest: Vec<u8>,
        media_type: String,
        blobs: Vec<(Digest, Bytes)>,
    },
}

/// Where a blob is.
pub enum Bytes {
    At(PathBuf),
    These(Vec<u8>),
}

/// Whether lists go there at all, in Podman's words.
pub fn check(place: &Place) -> Result<()> {
    match place.layout {
        Layout::DockerArchive => Err(Error::usage(format!(
            "copying multiple images: destination transport {:?} does not support copying multiple images as a group",
            place.transport()
        ))),
        _ => Ok(()),
    }
}

/// Writes the list; gives its digest there.
pub fn save_list(engine: &Engine, save: &SaveList) -> Result<Digest> {
    let place = save.place;
    check(place)?;
    if place.layout != Layout::DockerFolder && save.format == Some(ListFormat::Docker) {
        return Err(Error::unsupported(format_args!(
            "--format v2s2 with {}:",
            place.transport()
        )));
    }
    let digests = match place.layout {
        Layout::OciArchive => archive(engine, save)?,
        _ => {
            let names: Vec<&str> = place.reference.as_deref().into_iter().collect();
            let to = (place.layout, place.path.as_path(), &names[..]);
            let watching = Watching {
                progress: &Progress::default(),
                tick: &mut || (),
            };
            folder::into(engine, to, watching, |packer, folder, before| {
                write(packer, save, folder, before)
            })?
        }
    };
    let digest = digests.into_iter().next();
    digest.ok_or_else(|| Error::other("no list was written"))
}

/// In a folder first: a list's blobs are known one after the other.
fn archive(engine: &Engine, save: &SaveList) -> Result<Vec<Digest>> {
    let path = &save.place.path;
    let tried = || format!("write {}", path.display());
    let new = NewFile::open(path).map_err(|error| {
        Error::from(error).tried(format_args!("opening file {:?}", path.display()))
    })?;
    let staging = engine.storage.stage()?;
    let folder = staging.path().join("list");
    let storage = &engine.storage;
    let digests = watched(
        engine,
        || new.clear(),
        &mut || (),
        |stop| {
            let packer = Packer {
                storage,
                stop,
                progress: &Progress::default(),
            };
            std::fs::create_dir(&folder)?;
            let digests = write(&packer, save, &folder, Vec::new())?;
            let mut tape = Tape::new(&new.file);
            tape.write(
                &packer,
                &[Part::folder("blobs/")?, Part::folder("blobs/sha256/")?],
            )?;
            let blobs = folder.join("blobs/sha256");
            let mut names: Vec<PathBuf> = Vec::new();
            for found in std::fs::read_dir(&blobs)? {
                names.push(Path::new("blobs/sha256").join(found?.file_name()));
            }
            names.sort();
            names.extend(["index.json".into(), "oci-layout".into()]);
            for name in names {
                let mut file = File::open(folder.join(&name))?;
                let size = file.metadata()?.len();
                let head = entry(Kind::File, &name.to_string_lossy(), 0o644, size);
                tape.write_all(&header(&head)?)?;
                if io::copy(&mut file, &mut tape)? != size {
                    return Err(Error::other("a blob changed its size"));
                }
                let padding = size.wrapping_neg() % BLOCK as u64;
                tape.write_all(&[0; BLOCK][..padding as usize])?;
            }
            tape.finish()?;
            Ok(digests)
        },
    )
    .tried(tried)?;
    new.finish().tried(tried)?;
    Ok(digests)
}

fn write(
    packer: &Packer,
    save: &SaveList,
    folder: &Path,
    mut images: Vec<Value>,
) -> Result<Vec<Digest>> {
    let is_oci = save.place.layout != Layout::DockerFolder;
    let name = |digest: &Digest| match is_oci {
        true => blob_path(digest),
        false => PathBuf::from(digest.hex()),
    };
    let manifest_name = |digest: &Digest| match is_oci {
        true => blob_path(digest),
        false => PathBuf::from(format!("{}.manifest.json", digest.hex())),
    };
    if is_oci {
        let blobs = folder.join("blobs").join("sha256");
        std::fs::create_dir_all(&blobs).tried(|| format!("make {}", blobs.display()))?;
    }
    let mut kept: Vec<String> = Vec::new();
    let mut list = save.list.clone();
    let mut is_changed = false;
    for (at, instance) in save.instances.into_iter().flatten().enumerate() {
        let (manifest, media_type) = match instance {
            Instance::Image(saved) => {
                let (manifest, media_type, digests) = image(packer, save, saved, folder, &name)?;
                kept.extend(digests.iter().map(|it| it.hex().to_owned()));
                (manifest, media_type)
            }
            Instance::Ready {
                manifest,
                media_type,
                blobs,
            } => {
                for (digest, bytes) in blobs {
                    put(packer, &folder.join(name(digest)), digest, bytes)?;
                    kept.push(digest.hex().to_owned());
                }
                (manifest.clone(), media_type.clone())
            }
        };
        let digest = Digest::of(&manifest);
        folder::write(folder, manifest_name(&digest), &manifest)?;
        kept.push(format!("{}.manifest.json", digest.hex()));
        if let Some(entry) = list.entries.get_mut(at)
            && entry.digest != digest
        {
            is_changed = true;
            entry.digest = digest;
            entry.size = manifest.len() as u64;
            entry.media_type = media_type;
        }
    }
    if is_changed {
        list.forget_bytes();
    }
    let (bytes, media_type) = list.bytes_for(save.format)?;
    let digest = Digest::of(&bytes);
    if is_oci {
        folder::write(folder, blob_path(&digest), &bytes)?;
        let mut descriptor = json!({
            "mediaType": media_type,
            "digest": digest.as_str(),
            "size": bytes.len(),
        });
        if let Some(name) = &save.place.reference {
            descriptor["annotations"] = json!({ REF_NAME: name });
        }
        images.push(descriptor);
        folder::write(folder, "oci-layout", oci::LAYOUT)?;
        folder::write(folder, "index.json", &oci::index(images)?)?;
    } else {
        folder::write(folder, "version", folder::VERSION_FILE)?;
        folder::write(folder, "manifest.json", &bytes)?;
        folder::leave(folder, &kept)?;
    }
    Ok(vec![digest])
}

/// Writes an image's layers and config; gives its manifest, and what it names.
fn image(
    packer: &Packer,
    save: &SaveList,
    saved: &Saved,
    folder: &Path,
    name: &(impl Fn(&Digest) -> PathBuf + Sync),
) -> Result<(Vec<u8>, String, Vec<Digest>)> {
    let is_oci = save.place.layout != Layout::DockerFolder
        || save.format != Some(ListFormat::Docker) && saved.image.manifest_type == OCI_MANIFEST;
    let one = Save {
        images: std::slice::from_ref(saved),
        layout: save.place.layout,
        compress: save.place.layout != Layout::DockerFolder,
        format: if is_oci { Format::Oci } else { Format::Docker },
        target: Target::Path(folder),
    };
    let blobs = folder::layers(packer, &one, folder, name)?;
    let config = saved.image.config_bytes(packer.storage)?;
    let config_digest = Digest::of(&config);
    folder::write(folder, name(&config_digest), &config)?;
    let (manifest, media_type) = match one.format {
        Format::Oci => {
            let written = oci::written(packer.storage, saved, &blobs)?;
            (written.manifest, OCI_MANIFEST)
        }
        Format::Docker => {
            let layers = saved.image.layers.iter();
            let layers: Option<Vec<_>> = layers.map(|id| blobs.get(id).cloned()).collect();
            let layers = layers.ok_or_else(|| Error::other("a layer was left out"))?;
            let manifest = docker::manifest(&config, &layers)?;
            (manifest, crate::image::manifest::DOCKER_MANIFEST)
        }
    };
    let mut digests: Vec<Digest> = blobs.into_values().map(|it| it.digest).collect();
    digests.push(config_digest);
    Ok((manifest, media_type.to_owned(), digests))
}

/// Puts a blob there, if it is what it should be.
fn put(packer: &Packer, path: &Path, digest: &Digest, bytes: &Bytes) -> Result<()> {
    let tried = || format!("write blob {digest}");
    match bytes {
        Bytes::These(bytes) => write_whole(path, bytes, Durable::No).tried(tried),
        Bytes::At(from) => {
            let file = File::open(from).tried(|| format!("open {}", from.display()))?;
            let size = file.metadata()?.len();
            let mut file = Checked::new(file.take(size), size, Some(digest.clone()), packer.stop);
            let mut new = NewFile::open(path).tried(tried)?;
            io::copy(&mut file, &mut new.file).tried(tried)?;
            new.finish().tried(tried)
        }
    }
}
