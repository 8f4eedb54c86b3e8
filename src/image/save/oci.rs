//! OCI's image layout (image-spec, image-layout.md), in a tar or in a folder.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::tape::{Part, Tape, entry};
use super::{Blob, Packer, REF_NAME, Save, Saved, blob_path, distinct};
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, Digest};
use crate::image::manifest::{DescriptorLine, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, OciManifest};
use crate::storage::Storage;
use crate::storage::pack::header;
use crate::storage::tar::Kind;

/// oci-layout.
pub const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

pub fn archive(packer: &Packer, save: &Save, file: &File, spool: &Path) -> Result<Vec<Digest>> {
    let mut tape = Tape::new(file);
    let folders = [Part::folder("blobs/")?, Part::folder("blobs/sha256/")?];
    tape.write(packer, &folders)?;
    let mut blobs: HashMap<DiffId, Blob> = HashMap::new();
    let layers = distinct(save.images);
    if save.compress {
        for id in layers {
            let blob = compressed(packer, &mut tape, id, spool)?;
            blobs.insert(id.clone(), blob);
        }
    } else {
        let mut parts = Vec::new();
        for id in layers {
            let blob = packer.plain(id)?;
            let path = blob_path(&blob.digest);
            parts.push(Part::layer(&path.to_string_lossy(), 0o644, id, blob.size)?);
            blobs.insert(id.clone(), blob);
        }
        tape.write(packer, &parts)?;
    }
    let mut parts = Vec::new();
    let mut descriptors = Vec::new();
    let mut digests = Vec::new();
    for saved in save.images {
        let written = written(packer.storage, saved, &blobs)?;
        digests.push(Digest::of(&written.manifest));
        for bytes in [written.config, written.manifest] {
            let path = blob_path(&Digest::of(&bytes));
            parts.push(Part::bytes(&path.to_string_lossy(), 0o644, bytes)?);
        }
        descriptors.push(written.descriptor);
    }
    parts.push(Part::bytes("index.json", 0o644, index(descriptors)?)?);
    parts.push(Part::bytes("oci-layout", 0o644, LAYOUT.to_vec())?);
    tape.write(packer, &parts)?;
    tape.finish()?;
    Ok(digests)
}

/// The largest size that one block of header can say (ustar: eleven octal digits),
/// with room for what does not shrink.
const ONE_HEADER: u64 = 7 << 30;

/// Writes a layer whose name and size are known only when it is packed.
fn compressed(packer: &Packer, tape: &mut Tape, id: &DiffId, spool: &Path) -> Result<Blob> {
    let made = |blob: &Blob| {
        let path = blob_path(&blob.digest);
        header(&entry(
            Kind::File,
            &path.to_string_lossy(),
            0o644,
            blob.size,
        ))
    };
    if let Some(at) = tape.position()
        && packer.size(id)? < ONE_HEADER
    {
        let empty = Blob {
            size: 0,
            ..packer.plain(id)?
        };
        let body = at + made(&empty)?.len() as u64;
        let blob = packer.blob(id, true, tape.beginning_at(body))?;
        tape.write_all(&made(&blob)?)?;
        *tape = tape.beginning_at(body + blob.size);
        tape.pad(blob.size)?;
        return Ok(blob);
    }
    let path = spool.join(id.hex());
    let tried = || format!("make {}", path.display());
    let mut file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)
        .tried(tried)?;
    std::fs::remove_file(&path)?;
    let blob = packer.blob(id, true, &file).tried(|| "spool")?;
    file.rewind()?;
    tape.write_all(&made(&blob)?)?;
    let count = std::io::copy(&mut file, tape)?;
    if count != blob.size {
        return Err(Error::other("the spool file became shorter"));
    }
    tape.pad(blob.size)?;
    Ok(blob)
}

/// What stands in the layout for an image, its layers aside.
pub struct Written {
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    /// As index.json has it.
    pub descriptor: Value,
}

pub fn written(storage: &Storage, saved: &Saved, blobs: &HashMap<DiffId, Blob>) -> Result<Written> {
    let config = saved.image.config_bytes(storage)?;
    let manifest = manifest(storage, saved, blobs, config.len() as u64)?;
    let mut descriptor = json!({
        "mediaType": OCI_MANIFEST,
        "digest": Digest::of(&manifest).as_str(),
        "size": manifest.len(),
    });
    if let Some(name) = &saved.ref_name {
        descriptor["annotations"] = json!({ REF_NAME: name });
    }
    Ok(Written {
        config,
        manifest,
        descriptor,
    })
}

pub fn index(descriptors: Vec<Value>) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": descriptors,
    }))?)
}

/// The manifest as it was, where its layers are the very same; where they are
/// compressed otherwise, all else that it says.
fn manifest(
    storage: &Storage,
    saved: &Saved,
    blobs: &HashMap<DiffId, Blob>,
    config_size: u64,
) -> Result<Vec<u8>> {
    let image = &saved.image;
    let mut layers = Vec::new();
    for id in &image.layers {
        let blob = blobs
            .get(id)
            .ok_or_else(|| Error::other("a layer was left out"))?;
        let media_type = match blob.is_gzip {
            true => "application/vnd.oci.image.layer.v1.tar+gzip",
            false => crate::image::manifest::OCI_LAYER,
        };
        layers.push((media_type, blob));
    }
    let line = |(media_type, blob): &(&'static str, &Blob)| {
        DescriptorLine::new(media_type, &blob.digest, blob.size)
    };
    if image.manifest_type != OCI_MANIFEST {
        return Ok(serde_json::to_vec(&OciManifest {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            config: DescriptorLine::new(
                OCI_CONFIG,
                &format!("sha256:{}", image.id).parse()?,
                config_size,
            ),
            layers: layers.iter().map(line).collect(),
        })?);
    }
    let bytes = image.manifest_bytes(storage)?;
    let mut manifest: Value = serde_json::from_slice(&bytes).tried(|| "read the manifest")?;
    let before = manifest["layers"].as_array().cloned().unwrap_or_default();
    let mut is_same = before.len() == layers.len();
    let mut after = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let mut new = serde_json::to_value(line(layer))?;
        if let Some(old) = before.get(at) {
            is_same &= old["digest"] == new["digest"];
            if let Some(annotations) = old.get("annotations") {
                new["annotations"] = annotations.clone();
            }
        }
        after.push(new);
    }
    if is_same {
        return Ok(bytes);
    }
    manifest["layers"] = Value::from(after);
    Ok(serde_json::to_vec(&manifest)?)
}
