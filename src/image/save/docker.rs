//! docker-archive, as Podman writes it, to the byte: with what Docker before 1.10
//! and tools of its time look for (docker image spec v1).

use std::collections::{BTreeMap, HashSet};
use std::fs::File;

use serde::Serialize;
use serde_json::Value;

use super::tape::{Part, Tape};
use super::{Blob, Packer, Saved};
use crate::error::{Context, Result};
use crate::id::{DiffId, Digest};
use crate::image::manifest::{DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, Manifest};

/// An image in manifest.json.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

pub fn archive(packer: &Packer, images: &[Saved], file: &File) -> Result<Vec<Digest>> {
    let mut parts = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut items = Vec::new();
    let mut digests = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for saved in images {
        let image = &saved.image;
        for id in &image.layers {
            if seen.insert(layer_name(id)) {
                parts.push(Part::layer(&layer_name(id), 0o444, id, packer.size(id)?)?);
            }
        }
        let config = image.config_bytes(packer.storage)?;
        let layers = image.layers.iter().map(|id| packer.plain(id));
        let manifest = manifest(&config, &layers.collect::<Result<Vec<_>>>()?)?;
        digests.push(Digest::of(&manifest));
        let config_name = format!("{}.json", image.id);
        let legacy = legacy(&image.layers, &config)?;
        if seen.insert(config_name.clone()) {
            parts.push(Part::bytes(&config_name, 0o444, config)?);
        }
        for (id, layer, json) in &legacy {
            if seen.insert(id.clone()) {
                let target = format!("../{}", layer_name(layer));
                parts.push(Part::link(&format!("{id}/layer.tar"), &target)?);
                parts.push(Part::bytes(&format!("{id}/VERSION"), 0o444, b"1.0".into())?);
                let json = json.as_bytes().to_vec();
                parts.push(Part::bytes(&format!("{id}/json"), 0o444, json)?);
            }
        }
        let tagged = saved.names.iter().filter_map(|it| Some((it, it.tag()?)));
        if let Some((top, _, _)) = legacy.last() {
            for (name, tag) in tagged.clone() {
                let tags = repositories.entry(name.name()).or_default();
                tags.insert(tag.to_owned(), top.clone());
            }
        }
        items.push(Item {
            config: config_name,
            repo_tags: tagged.map(|(name, _)| name.to_string()).collect(),
            layers: image.layers.iter().map(layer_name).collect(),
        });
    }
    let manifest = serde_json::to_vec(&items)?;
    parts.push(Part::bytes("manifest.json", 0o444, manifest)?);
    let repositories = serde_json::to_vec(&repositories)?;
    parts.push(Part::bytes("repositories", 0o444, repositories)?);
    let mut tape = Tape::new(file);
    tape.write(packer, &parts)?;
    tape.finish()?;
    Ok(digests)
}

/// Docker's manifest of an image whose layers are these (image manifest, schema 2).
pub fn manifest(config: &[u8], layers: &[Blob]) -> Result<Vec<u8>> {
    let line = |blob: &Blob| {
        let media_type = match blob.is_gzip {
            true => DOCKER_LAYER,
            false => "application/vnd.docker.image.rootfs.diff.tar",
        };
        Descriptor::new(media_type, blob.digest.clone(), blob.size)
    };
    Ok(serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: DOCKER_MANIFEST.to_owned(),
        config: Descriptor::new(DOCKER_CONFIG, Digest::of(config), config.len() as u64),
        layers: layers.iter().map(line).collect(),
        annotations: Default::default(),
    })?)
}

fn layer_name(id: &DiffId) -> String {
    format!("{}.tar", id.hex())
}

/// The images that each layer was by itself before there were manifests: id, layer
/// and `json`, lowest first.
fn legacy<'a>(layers: &'a [DiffId], config: &[u8]) -> Result<Vec<(String, &'a DiffId, String)>> {
    let config: Value = serde_json::from_slice(config).tried(|| "read the image's config")?;
    let mut made: Vec<(String, &DiffId, String)> = Vec::new();
    let mut chain = String::new();
    for (at, layer) in layers.iter().enumerate() {
        // Sorted, as Go writes its maps.
        let mut json: BTreeMap<&str, Value> = BTreeMap::new();
        if let Some((below, _, _)) = made.last() {
            json.insert("parent", Value::from(below.as_str()));
        }
        if at + 1 == layers.len() {
            let kept = [
                "architecture",
                "config",
                "container",
                "container_config",
                "created",
                "docker_version",
                "os",
            ];
            for key in kept {
                json.insert(key, config.get(key).cloned().unwrap_or_default());
            }
        }
        chain = match chain.is_empty() {
            true => layer.to_string(),
            false => Digest::of(format!("{chain} {layer}").as_bytes()).to_string(),
        };
        json.insert("layer_id", Value::from(chain.as_str()));
        let id = Digest::of(as_go(&json)?.as_bytes()).hex().to_owned();
        json.remove("layer_id");
        json.insert("id", Value::from(id.as_str()));
        made.push((id, layer, as_go(&json)?));
    }
    Ok(made)
}

/// Go escapes what HTML could take for markup.
fn as_go(json: &BTreeMap<&str, Value>) -> Result<String> {
    let text = serde_json::to_string(json)?;
    Ok(text
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_images_have_podmans_ids() {
        // Recorded from podman 5.8 save.
        let layer: DiffId =
            "sha256:c992db631222a6c296d545a48dca9f298d7f8dbb576042392e664d515bbb61cd"
                .parse()
                .unwrap();
        let config = br#"{"os":"linux","architecture":"amd64","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["sh"]}}"#;
        let layers = [layer];
        let made = legacy(&layers, config).unwrap();
        assert_eq!(
            made[0].0,
            "49effc8f2b9799e71f4d3c2d5cda1cb40b4457e5416bc5f3fe086e5f7ab8de9f"
        );
    }
}
