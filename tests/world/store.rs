//! Whether a store is whole: read from the disk, by the layout that stands at the
//! head of src/storage/mod.rs, and not by asking the program that wrote it.

use std::path::Path;

use serde_json::Value;

use super::World;
use super::left::names;

/// Everything in the store that is not as it must be while no command runs.
/// The ids in `running/` may be those of containers that run.
pub fn wrong(world: &World) -> Vec<String> {
    let data = world.data();
    let mut wrong = Vec::new();
    let mut json = |path: &Path| -> Option<Value> {
        let read = std::fs::read(path).map_err(|error| error.to_string());
        let parsed = read
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        parsed
            .map_err(|error| wrong.push(format!("{}: {error}", path.display())))
            .ok()
    };
    let containers = names(&data.join("containers"));
    let mut owners = Vec::new();
    for id in &containers {
        let dir = data.join("containers").join(id);
        if let Some(record) = json(&dir.join("container.json")) {
            owners.push((id.clone(), record["name"].as_str().unwrap_or("").to_owned()));
        }
        for file in ["started.json", "exit.json"] {
            if dir.join(file).exists() {
                json(&dir.join(file));
            }
        }
    }
    let volumes = names(&data.join("volumes"));
    for name in &volumes {
        json(&data.join("volumes").join(name).join("volume.json"));
    }
    let images = names(&data.join("images"));
    for id in &images {
        json(&data.join("images").join(id).join("image.json"));
    }
    let trees = names(&data.join("shifted"));
    for tree in &trees {
        json(&data.join("shifted").join(tree).join("shifted.json"));
    }
    for layer in names(&data.join("layers")) {
        json(&data.join("layers").join(&layer).join("layer.json"));
    }
    for tree in &trees {
        let dir = data.join("shifted").join(tree);
        if !dir.join("tree").is_dir() {
            wrong.push(format!("shifted/{tree} has no tree"));
        }
        if !images.iter().any(|image| tree.starts_with(image)) {
            wrong.push(format!("shifted/{tree} is of no image"));
        }
    }
    if std::fs::read_to_string(data.join("format"))
        .ok()
        .as_deref()
        .map(str::trim)
        != Some("1")
    {
        wrong.push("format is not 1".to_owned());
    }
    for (id, name) in &owners {
        let link = std::fs::read_link(data.join("names").join(name));
        if link.ok().as_deref() != Some(Path::new(id)) {
            wrong.push(format!("container {id}: names/{name} does not lead to it"));
        }
    }
    for name in names(&data.join("names")) {
        if !owners.iter().any(|(_, owner)| *owner == name) {
            wrong.push(format!("names/{name} leads to no container"));
        }
    }
    for id in names(&data.join("running")) {
        if !containers.contains(&id) {
            wrong.push(format!("running/{id} has no container"));
        }
    }
    for name in &volumes {
        if !data.join("volumes").join(name).join("_data").is_dir() {
            wrong.push(format!("volume {name} has no _data"));
        }
    }
    for layer in names(&data.join("layers")) {
        if !data.join("layers").join(&layer).join("diff").is_dir() {
            wrong.push(format!("layer {layer} has no diff"));
        }
    }
    for blob in names(&data.join("blobs/sha256")) {
        let bytes = std::fs::read(data.join("blobs/sha256").join(&blob)).unwrap_or_default();
        if coracle::id::Digest::of(&bytes).hex() != blob {
            wrong.push(format!("blob {blob} has other bytes"));
        }
    }
    for left in names(&data.join("staging")) {
        wrong.push(format!("staging/{left} is left"));
    }
    wrong
}

/// The volumes that are nobody's by name: 64 hex digits.
pub fn anonymous_volumes(world: &World) -> Vec<String> {
    let volumes = names(&world.data().join("volumes"));
    let hex = |name: &String| name.len() == 64 && coracle::id::is_hex(name);
    volumes.into_iter().filter(hex).collect()
}
