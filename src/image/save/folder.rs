//! Folders: OCI's layout and `dir:`. One that is new is made beside and renamed;
//! one that is there gets its blobs first, and what names them last.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde_json::Value;

use super::{
    Blob, Layout, Packer, REF_NAME, Save, Watching, blob_path, distinct, docker, oci, watched,
};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, Digest};
use crate::image::Format;
use crate::sys::beside::{NewFile, beside};
use crate::sys::file::{Durable, write_whole};

/// The first line of `version` (containers-transports(5), `dir`).
const VERSION: &str = "Directory Transport Version: ";
pub const VERSION_FILE: &[u8] = b"Directory Transport Version: 1.1\n";

pub fn save(engine: &Engine, save: &Save, path: &Path, watching: Watching) -> Result<Vec<Digest>> {
    let names: Vec<&str> = save
        .images
        .iter()
        .filter_map(|saved| saved.ref_name.as_deref())
        .collect();
    let place = (save.layout, path, &names[..]);
    into(
        engine,
        place,
        watching,
        |packer, folder, before| match save.layout {
            Layout::DockerFolder => Ok(vec![write_docker(packer, save, folder)?]),
            _ => write_oci(packer, save, folder, before),
        },
    )
}

/// Lets `work` write into the folder, or into one that takes its place when all is well;
/// gives it the descriptors of what is there and stays: all but those of these `names`.
pub fn into<F>(
    engine: &Engine,
    (layout, path, names): (Layout, &Path, &[&str]),
    watching: Watching,
    work: F,
) -> Result<Vec<Digest>>
where
    F: FnOnce(&Packer, &Path, Vec<Value>) -> Result<Vec<Digest>> + Send,
{
    let is_there = match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            return Err(Error::usage(format!("{}: not a directory", path.display())));
        }
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).tried(|| format!("open {}", path.display())),
    };
    if is_there && layout == Layout::DockerFolder {
        check(path)?;
    }
    let before = match is_there && layout == Layout::OciFolder {
        true => images_there(path, names)?,
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
    let Watching { progress, tick } = watching;
    watched(engine, clean, tick, |stop| {
        let packer = Packer {
            storage,
            stop,
            progress,
        };
        let folder = if is_there { path } else { &made };
        if !is_there {
            std::fs::create_dir(folder)?;
        }
        let digests = work(&packer, folder, before)?;
        if !is_there {
            std::fs::rename(folder, path)?;
        }
        Ok(digests)
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
fn images_there(path: &Path, names: &[&str]) -> Result<Vec<Value>> {
    let file = path.join("index.json");
    let bytes = match std::fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.tried(|| format!("read {}", file.display()))?,
    };
    let index: Value =
        serde_json::from_slice(&bytes).tried(|| format!("read {}", file.display()))?;
    let mut there = index["manifests"].as_array().cloned().unwrap_or_default();
    there.retain(|it| {
        let name = it["annotations"][REF_NAME].as_str();
        name.is_none_or(|name| !names.contains(&name))
    });
    Ok(there)
}

/// Writes the layers into `folder`, each under the name that `name` gives its digest.
pub fn layers(
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

pub fn write(folder: &Path, name: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    write_whole(&path, bytes, Durable::No).tried(|| format!("write {}", path.display()))
}

fn write_oci(
    packer: &Packer,
    save: &Save,
    folder: &Path,
    mut images: Vec<Value>,
) -> Result<Vec<Digest>> {
    let blobs = folder.join("blobs").join("sha256");
    std::fs::create_dir_all(&blobs).tried(|| format!("make {}", blobs.display()))?;
    let blobs = layers(packer, save, folder, blob_path)?;
    let mut digests = Vec::new();
    for saved in save.images {
        let written = oci::written(packer.storage, saved, &blobs)?;
        for bytes in [&written.config, &written.manifest] {
            write(folder, blob_path(&Digest::of(bytes)), bytes)?;
        }
        // The same image without a name beside it would be one too many.
        let is_nameless = |it: &Value| it["annotations"][REF_NAME].is_null();
        images.retain(|it| it["digest"] != written.descriptor["digest"] || !is_nameless(it));
        images.push(written.descriptor);
        digests.push(Digest::of(&written.manifest));
    }
    write(folder, "oci-layout", oci::LAYOUT)?;
    write(folder, "index.json", &oci::index(images)?)?;
    Ok(digests)
}

fn write_docker(packer: &Packer, save: &Save, folder: &Path) -> Result<Digest> {
    let [saved] = save.images else {
        return Err(Error::usage("a docker-dir holds one image"));
    };
    let name = |digest: &Digest| PathBuf::from(digest.hex());
    let blobs = layers(packer, save, folder, name)?;
    let config = saved.image.config_bytes(packer.storage)?;
    let digest = Digest::of(&config);
    write(folder, digest.hex(), &config)?;
    let manifest = match save.format {
        Format::Oci => oci::written(packer.storage, saved, &blobs)?.manifest,
        Format::Docker => {
            let of = |id| blobs.get(id).cloned();
            let layers: Option<Vec<Blob>> = saved.image.layers.iter().map(of).collect();
            let layers = layers.ok_or_else(|| Error::other("a layer was left out"))?;
            docker::manifest(&config, &layers)?
        }
    };
    write(folder, "version", VERSION_FILE)?;
    write(folder, "manifest.json", &manifest)?;
    let digests = blobs.values().map(|blob| blob.digest.hex());
    let mut kept: Vec<String> = digests.map(str::to_owned).collect();
    kept.push(digest.hex().to_owned());
    leave(folder, &kept)?;
    Ok(Digest::of(&manifest))
}

/// Takes away what was there of another image.
pub fn leave(folder: &Path, kept: &[String]) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_kept = name.to_str().is_some_and(|it| {
            ["version", "manifest.json"].contains(&it) || kept.iter().any(|kept| kept == it)
        });
        if !is_kept && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
