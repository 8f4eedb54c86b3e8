//! Folders: OCI's layout and `dir:`. One that is new is made beside and renamed;
//! one that is there gets its blobs first, and what names them last.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde_json::Value;

use super::{Blob, Layout, Packer, Save, blob_path, distinct, oci, watched};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, Digest};
use crate::image::manifest::{DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, Manifest};
use crate::sys::beside::{NewFile, beside};
use crate::sys::file::{Durable, write_whole};

/// The first line of `version` (containers-transports(5), `dir`).
const VERSION: &str = "Directory Transport Version: ";
const VERSION_FILE: &[u8] = b"Directory Transport Version: 1.1\n";

pub fn save(engine: &Engine, save: &Save, path: &Path) -> Result<()> {
    let is_there = match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            return Err(Error::usage(format!("{}: not a directory", path.display())));
        }
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).tried(|| format!("open {}", path.display())),
    };
    if is_there && save.layout == Layout::DockerFolder {
        check(path)?;
    }
    let before = match is_there && save.layout == Layout::OciFolder {
        true => images_there(path, save)?,
        false => Vec::new(),
    };
    let tried = || format!("write {}", path.display());
    if !is_there {
        // In the user namespace we are root of what is the caller's.
        let above = path.parent().filter(|it| !it.as_os_str().is_empty());
        rustix::fs::access(above.unwrap_or(Path::new(".")), Access::WRITE_OK)
            .tried(|| format!("make {}", path.display()))?;
    }
    let made = beside(path);
    let clean = || {
        if !is_there {
            let _ = std::fs::remove_dir_all(&made);
        }
    };
    let storage = &engine.storage;
    watched(engine, clean, |stop| {
        let packer = Packer { storage, stop };
        let folder = if is_there { path } else { &made };
        if !is_there {
            std::fs::create_dir(folder)?;
        }
        match save.layout {
            Layout::DockerFolder => write_docker(&packer, save, folder)?,
            _ => write_oci(&packer, save, folder, before)?,
        }
        if !is_there {
            std::fs::rename(folder, path)?;
        }
        Ok(())
    })
    .tried(tried)
}

/// Podman overwrites nothing but what is of this kind.
fn check(path: &Path) -> Result<()> {
    let mut entries = std::fs::read_dir(path).tried(|| format!("read {}", path.display()))?;
    if entries.next().is_none() {
        return Ok(());
    }
    let version = std::fs::read_to_string(path.join("version")).unwrap_or_default();
    match version.starts_with(VERSION) {
        true => Ok(()),
        false => Err(Error::other(format!(
            "initializing destination dir:{}: not a containers image directory, don't want to overwrite important data",
            path.display()
        ))),
    }
}

/// What an index that is there names, but for what is saved under the same name.
fn images_there(path: &Path, save: &Save) -> Result<Vec<Value>> {
    let file = path.join("index.json");
    let bytes = match std::fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.tried(|| format!("read {}", file.display()))?,
    };
    let index: Value =
        serde_json::from_slice(&bytes).tried(|| format!("read {}", file.display()))?;
    let mut there = index["manifests"].as_array().cloned().unwrap_or_default();
    let names: Vec<String> = save
        .images
        .iter()
        .filter_map(|saved| Some(saved.names.last()?.to_string()))
        .collect();
    there.retain(|it| {
        let name = it["annotations"][oci::REF_NAME].as_str();
        name.is_none_or(|name| !names.iter().any(|own| own == name))
    });
    Ok(there)
}

/// Writes the layers into `folder`, each under the name that `name` gives its digest.
fn layers(
    packer: &Packer,
    save: &Save,
    folder: &Path,
    name: impl Fn(&Digest) -> PathBuf + Sync,
) -> Result<HashMap<DiffId, Blob>> {
    let ids = distinct(save.images);
    let one = |id: &DiffId| -> Result<Blob> {
        let digest: Digest = id.as_str().parse()?;
        let place = folder.join(name(&digest));
        let mut new = NewFile::open(&place).tried(|| format!("make {}", place.display()))?;
        let blob = packer.blob(id, save.compress, &new.file)?;
        new.place(folder.join(name(&blob.digest)));
        new.finish()?;
        Ok(blob)
    };
    let blobs = match save.compress {
        // Each takes all processors.
        true => ids.iter().map(|id| one(id)).collect::<Result<Vec<_>>>()?,
        false => packer.each(&ids, |_, id| one(id))?,
    };
    Ok(ids.into_iter().cloned().zip(blobs).collect())
}

fn write(folder: &Path, name: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    write_whole(&path, bytes, Durable::No).tried(|| format!("write {}", path.display()))
}

fn write_oci(packer: &Packer, save: &Save, folder: &Path, mut images: Vec<Value>) -> Result<()> {
    let blobs = folder.join("blobs").join("sha256");
    std::fs::create_dir_all(&blobs).tried(|| format!("make {}", blobs.display()))?;
    let blobs = layers(packer, save, folder, blob_path)?;
    for saved in save.images {
        let written = oci::written(packer.storage, saved, &blobs)?;
        for bytes in [&written.config, &written.manifest] {
            write(folder, blob_path(&Digest::of(bytes)), bytes)?;
        }
        // The same image without a name twice would be one too many.
        images.retain(|it| *it != written.descriptor);
        images.push(written.descriptor);
    }
    write(folder, "oci-layout", oci::LAYOUT)?;
    write(folder, "index.json", &oci::index(images)?)
}

fn write_docker(packer: &Packer, save: &Save, folder: &Path) -> Result<()> {
    let [saved] = save.images else {
        return Err(Error::usage("a docker-dir holds one image"));
    };
    let name = |digest: &Digest| PathBuf::from(digest.hex());
    let blobs = layers(packer, save, folder, name)?;
    let config = saved.image.config_bytes(packer.storage)?;
    let digest = Digest::of(&config);
    write(folder, digest.hex(), &config)?;
    let mut lines = Vec::new();
    for id in &saved.image.layers {
        let blob = blobs
            .get(id)
            .ok_or_else(|| Error::other("a layer was left out"))?;
        let media_type = match blob.is_gzip {
            true => DOCKER_LAYER,
            false => "application/vnd.docker.image.rootfs.diff.tar",
        };
        lines.push(Descriptor::new(media_type, blob.digest.clone(), blob.size));
    }
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: DOCKER_MANIFEST.to_owned(),
        config: Descriptor::new(DOCKER_CONFIG, digest.clone(), config.len() as u64),
        layers: lines,
        annotations: Default::default(),
    })?;
    write(folder, "version", VERSION_FILE)?;
    write(folder, "manifest.json", &manifest)?;
    // What was there of another image.
    let mut kept: Vec<&str> = blobs.values().map(|blob| blob.digest.hex()).collect();
    kept.extend(["version", "manifest.json", digest.hex()]);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_kept = entry
            .file_name()
            .to_str()
            .is_some_and(|it| kept.contains(&it));
        if !is_kept && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
