//! Manifest lists: several images under one name, one a platform.
//!
//! ```text
//! images/<list id>/list.json     a [`List`]; the id is random, as Podman's
//! ```
//!
//! A list lies where images lie, so names, tags and removal are the same for both.
//! An entry is an image of the store or one of a registry, which is asked for its
//! blobs when the list is pushed. Who looks for an image by a list's name finds the
//! one for this machine.
//!
//! **Invariant:** a list that was made from an index alone, and not changed since,
//! is that index to the byte.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::artifact::Artifact;
use super::manifest::{
    DOCKER_LIST, Descriptor, Index, Manifest, OCI_INDEX, Platform, is_index, media_type,
    read_config,
};
use super::{Image, ImageConfig, Reference, Wanted, find, name};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::{Digest, ImageId};
use crate::registry::{self, Client};
use crate::storage::{Storage, read_json, write_json};
use crate::sys::file::Durable;

/// `list.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct List {
    pub id: ImageId,
    pub created: Timestamp,
    pub entries: Vec<Entry>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The manifest that it is about.
    #[serde(default)]
    pub subject: Option<Subject>,
    /// The index it was made from, as long as nothing has changed.
    #[serde(default)]
    exact: Option<String>,
    /// The name it was found by.
    #[serde(skip)]
    pub name: Option<Reference>,
}

/// A manifest that a list is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
}

/// One image of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    pub platform: Place,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What it is if it is no image.
    #[serde(default)]
    pub artifact_type: Option<String>,
    pub source: Source,
}

/// What an entry asks of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub os: String,
    pub architecture: String,
    pub variant: String,
    pub os_version: String,
    pub os_features: Vec<String>,
    /// Of Docker's lists only.
    pub features: Vec<String>,
}

/// Where an entry's image is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Source {
    Store(ImageId),
    /// In this repository.
    Registry(String),
    /// Made of files (artifact.rs).
    Files {
        manifest: String,
        /// In base64.
        config: String,
        files: Vec<PathBuf>,
    },
}

/// What is said of an entry beside what its image says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    pub os: Option<String>,
    pub architecture: Option<String>,
    pub variant: Option<String>,
    pub os_version: Option<String>,
    pub os_features: Vec<String>,
    pub features: Vec<String>,
    pub annotations: BTreeMap<String, String>,
}

impl Said {
    fn apply(&self, entry: &mut Entry) {
        let place = &mut entry.platform;
        for (said, field) in [
            (&self.os, &mut place.os),
            (&self.architecture, &mut place.architecture),
            (&self.variant, &mut place.variant),
            (&self.os_version, &mut place.os_version),
        ] {
            if let Some(said) = said {
                field.clone_from(said);
            }
        }
        if !self.os_features.is_empty() {
            place.os_features.clone_from(&self.os_features);
        }
        if !self.features.is_empty() {
            place.features.clone_from(&self.features);
        }
        entry.annotations.extend(self.annotations.clone());
    }
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    Oci,
    Docker,
}

impl List {
    /// The list's bytes and their media type; one that holds nothing is Docker's, as
    /// Podman has it.
    pub fn bytes(&self, format: Option<ListFormat>) -> Result<(Vec<u8>, String)> {
        if let Some(exact) = &self.exact {
            let media_type = media_type(exact.as_bytes(), OCI_INDEX);
            let is_wanted = match format {
                None => true,
                Some(ListFormat::Oci) => media_type == OCI_INDEX,
                Some(ListFormat::Docker) => media_type == DOCKER_LIST,
            };
            if is_wanted {
                return Ok((exact.clone().into_bytes(), media_type));
            }
        }
        let is_empty =
            self.entries.is_empty() && self.annotations.is_empty() && self.subject.is_none();
        let format = format.unwrap_or(match is_empty {
            true => ListFormat::Docker,
            false => ListFormat::Oci,
        });
        let entries: Vec<Value> = self.entries.iter().map(|it| it.line(format)).collect();
        let media_type = match format {
            ListFormat::Oci => OCI_INDEX,
            ListFormat::Docker => DOCKER_LIST,
        };
        let mut list = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": if entries.is_empty() { Value::Null } else { Value::from(entries) },
        });
        if let (ListFormat::Oci, Some(subject)) = (format, &self.subject) {
            // In OCI's order, which the struct's is.
            list["subject"] = serde_json::to_value(subject)?;
        }
        if format == ListFormat::Oci && !self.annotations.is_empty() {
            list["annotations"] = json!(self.annotations);
        }
        Ok((serde_json::to_vec(&list)?, media_type.to_owned()))
    }

    /// As it is sent to where lists are: OCI's, unless it came otherwise.
    pub fn bytes_for(&self, format: Option<ListFormat>) -> Result<(Vec<u8>, String)> {
        match format {
            None if self.exact.is_some() => self.bytes(None),
            None => self.bytes(Some(ListFormat::Oci)),
            some => self.bytes(some),
        }
    }

    /// Its bytes are no more what they were.
    pub fn forget_bytes(&mut self) {
        self.exact = None;
    }

    pub fn digest(&self) -> Result<Digest> {
        Ok(Digest::of(&self.bytes(None)?.0))
    }

    /// What the list is among images: for listings, names and removal.
    pub fn as_image(&self) -> Result<Image> {
        let (bytes, manifest_type) = self.bytes(None)?;
        Ok(Image {
            id: self.id.clone(),
            digest: Digest::of(&bytes),
            other_digests: Vec::new(),
            manifest_type,
            layers: Vec::new(),
            config: ImageConfig::default(),
            architecture: String::new(),
            variant: String::new(),
            os: String::new(),
            created: None,
            stored: self.created,
            author: String::new(),
            size: bytes.len() as u64,
            user_ids: None,
            name: self.name.clone(),
        })
    }

    /// The entry that `text` names: by digest, or by an image that is one.
    pub fn entry(&self, storage: &Storage, text: &str) -> Result<usize> {
        let digest: Digest = match text.parse() {
            Ok(digest) => digest,
            Err(_) => find::find(storage, text)?.digest,
        };
        let at = self.entries.iter().position(|it| it.digest == digest);
        at.ok_or_else(|| {
            Error::other(format!(
                "no instance matching digest {:?} found in manifest list: file does not exist",
                digest.as_str()
            ))
        })
    }

    /// The image of the store that this machine would take.
    fn chosen(&self, storage: &Storage) -> Result<Image> {
        let descriptor = |entry: &Entry| Descriptor {
            platform: Some(Platform {
                architecture: entry.platform.architecture.clone(),
                os: entry.platform.os.clone(),
                variant: entry.platform.variant.clone(),
            }),
            ..Descriptor::new(&entry.media_type, entry.digest.clone(), entry.size)
        };
        let index = Index {
            manifests: self.entries.iter().map(descriptor).collect(),
        };
        let missing = |error: Error| Error::not_found(format!("{error}: image not known"));
        let wanted = Wanted::default();
        let digest = &wanted.choose(&index).map_err(missing)?.digest;
        let entry = self.entries.iter().find(|it| it.digest == *digest);
        let image = match entry.map(|it| &it.source) {
            Some(Source::Store(id)) => find::by_id(storage, id)?,
            _ => find::list(storage)?
                .into_iter()
                .find(|image| image.digests().any(|it| it == digest)),
        };
        image.ok_or_else(|| Error::not_found(format!("{digest}: image not known")))
    }
}

impl Entry {
    /// As a list has it: Go's order of keys, which differs.
    pub fn line(&self, format: ListFormat) -> Value {
        let mut line = match format {
            ListFormat::Oci => json!({
                "mediaType": self.media_type,
                "digest": self.digest.as_str(),
                "size": self.size,
            }),
            ListFormat::Docker => json!({
                "mediaType": self.media_type,
                "size": self.size,
                "digest": self.digest.as_str(),
            }),
        };
        if format == ListFormat::Oci && !self.annotations.is_empty() {
            line["annotations"] = json!(self.annotations);
        }
        if format == ListFormat::Docker || self.platform != Place::default() {
            line["platform"] = self.platform.line(format);
        }
        if let (ListFormat::Oci, Some(kind)) = (format, &self.artifact_type) {
            line["artifactType"] = json!(kind);
        }
        line
    }
}

impl Place {
    pub fn line(&self, format: ListFormat) -> Value {
        let mut line = json!({"architecture": self.architecture, "os": self.os});
        if !self.os_version.is_empty() {
            line["os.version"] = json!(self.os_version);
        }
        if !self.os_features.is_empty() {
            line["os.features"] = json!(self.os_features);
        }
        if !self.variant.is_empty() {
            line["variant"] = json!(self.variant);
        }
        if format == ListFormat::Docker && !self.features.is_empty() {
            line["features"] = json!(self.features);
        }
        line
    }

    fn of(descriptor: &Value) -> Self {
        let platform = &descriptor["platform"];
        let text = |key: &str| platform[key].as_str().unwrap_or_default().to_owned();
        let texts = |key: &str| -> Vec<String> {
            let list = platform[key].as_array().into_iter().flatten();
            list.filter_map(|it| Some(it.as_str()?.to_owned()))
                .collect()
        };
        Self {
            os: text("os"),
            architecture: text("architecture"),
            variant: text("variant"),
            os_version: text("os.version"),
            os_features: texts("os.features"),
            features: texts("features"),
        }
    }
}

/// The list of `id`; none if that is an image, or nothing.
pub fn by_id(storage: &Storage, id: &ImageId) -> Result<Option<List>> {
    read_json(&storage.image(id).join("list.json"))
}

/// The image for this machine, if `id` is a list's.
pub(super) fn chosen(storage: &Storage, id: &ImageId) -> Result<Option<Image>> {
    match by_id(storage, id)? {
        Some(list) => list.chosen(storage).map(Some),
        None => Ok(None),
    }
}

/// The list that `text` names.
pub fn find_list(storage: &Storage, text: &str) -> Result<List> {
    let Some((id, name)) = find::locate(storage, text)? else {
        return Err(super::absent(storage, text));
    };
    match by_id(storage, &id)? {
        Some(list) => Ok(List { name, ..list }),
        None => {
            let shown = name.map_or_else(|| id.to_string(), |name| name.to_string());
            Err(Error::other(format!(
                "{shown}: image is not a manifest list"
            )))
        }
    }
}

/// The list or the image that `text` names: a list is not taken for one of its images.
pub fn find_either(storage: &Storage, text: &str) -> Result<Image> {
    if let Ok(Some((id, name))) = find::locate(storage, text)
        && let Some(list) = by_id(storage, &id)?
    {
        return List { name, ..list }.as_image();
    }
    find::find(storage, text)
}

/// Every list.
pub fn lists(storage: &Storage) -> Result<Vec<List>> {
    let mut lists = Vec::new();
    for id in storage.list(&storage.images())? {
        if let Ok(id) = id.parse::<ImageId>()
            && let Some(list) = by_id(storage, &id)?
        {
            lists.push(list);
        }
    }
    Ok(lists)
}

/// Every image and every list, newest first.
pub fn all(storage: &Storage) -> Result<Vec<Image>> {
    let mut all = find::list(storage)?;
    for list in lists(storage)? {
        all.push(list.as_image()?);
    }
    all.sort_by(|a, b| b.made().cmp(&a.made()).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

/// Makes a list with nothing in it, named `reference`.
pub fn create(
    storage: &Storage,
    reference: &Reference,
    annotations: BTreeMap<String, String>,
) -> Result<List> {
    let list = List {
        id: crate::id::random_hex::<32>().parse()?,
        created: Timestamp::now(),
        entries: Vec::new(),
        annotations,
        subject: None,
        exact: None,
        name: Some(reference.clone()),
    };
    let staging = storage.stage()?;
    let made = staging.path().join(&list.id);
    let tried = || format!("store manifest list {}", list.id.short());
    std::fs::create_dir(&made).tried(tried)?;
    write_json(&made.join("list.json"), &list, Durable::Yes)?;
    let target = storage.image(&list.id);
    // Nobody may take it for one without a name meanwhile; it goes along with the folder.
    let _held = crate::storage::lock_shared(&made)?;
    staging
        .publish(list.id.as_str(), &target, true)
        .tried(tried)?;
    name::write(storage, reference, &list.id)?;
    Ok(list)
}

/// Changes a list, alone with it.
pub fn change<T>(
    storage: &Storage,
    list: &List,
    change: impl FnOnce(&mut List) -> Result<T>,
) -> Result<T> {
    let dir = storage.image(&list.id);
    let gone = || super::no_such(list.id.as_str());
    let _alone = crate::storage::lock_alone(&dir).map_err(|error| match dir.exists() {
        true => error,
        false => gone(),
    })?;
    let mut now = by_id(storage, &list.id)?.ok_or_else(gone)?;
    let before = serde_json::to_value(&now)?;
    let exact = now.exact.take();
    let result = change(&mut now)?;
    if now.exact.is_none() {
        // What changes nothing keeps the bytes.
        now.exact = exact;
        if serde_json::to_value(&now)? != before {
            now.exact = None;
        }
    }
    write_json(&dir.join("list.json"), &now, Durable::Yes)?;
    Ok(result)
}

/// What is added to a list.
#[derive(Debug, Clone)]
pub struct Added {
    entries: Vec<Entry>,
    /// The index that they are all of.
    index: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// What an image is that is to be added, and how it is looked for.
pub struct Add<'a> {
    /// With or without a transport.
    pub text: &'a str,
    /// Every image of an index, not the one for this machine.
    pub all: bool,
    pub said: &'a Said,
    pub options: &'a registry::Options,
}

/// Looks for what is to be added: in the store, unless a registry is named; then in
/// the registry.
pub fn look(engine: &Engine, add: &Add) -> Result<Added> {
    let storage = &engine.storage;
    let said = |mut added: Added| {
        for entry in &mut added.entries {
            add.said.apply(entry);
        }
        if *add.said != Said::default() {
            added.index = None;
        }
        added
    };
    if let Some(local) = add.text.strip_prefix("containers-storage:") {
        return stored(storage, local, add.all).map(said);
    }
    let remote = match add.text.strip_prefix("docker://") {
        Some(name) => name,
        None => {
            if let Some((transport, _)) = add.text.split_once(':')
                && [
                    "dir",
                    "oci",
                    "oci-archive",
                    "docker-archive",
                    "docker-daemon",
                ]
                .contains(&transport)
            {
                return Err(
                    Error::unsupported(format_args!("adding an image from {transport}:"))
                        .hint("load it, and add it by its name"),
                );
            }
            match stored(storage, add.text, add.all) {
                Ok(added) => return Ok(said(added)),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
            add.text
        }
    };
    let tried = || format!("locating image to add to manifest list: \"docker://{remote}\"");
    let reference = Reference::normalized(remote).tried(tried)?.or_latest();
    let parts = engine
        .apart(|| remote_parts(engine, add, &reference))
        .tried(tried)?;
    let repository = reference.name();
    let entries = parts.entries.into_iter().map(|(line, place)| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        Ok(Entry {
            media_type: text("mediaType"),
            digest: text("digest").parse()?,
            size: line["size"].as_u64().unwrap_or_default(),
            platform: place,
            annotations: texts(&line["annotations"]),
            artifact_type: line["artifactType"].as_str().map(str::to_owned),
            source: Source::Registry(repository.clone()),
        })
    });
    Ok(said(Added {
        entries: entries.collect::<Result<_>>()?,
        annotations: parts.annotations,
        index: parts.index,
    }))
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    entries.filter_map(text).collect()
}

fn stored(storage: &Storage, text: &str, all: bool) -> Result<Added> {
    if all
        && let Ok(Some((id, _))) = find::locate(storage, text)
        && let Some(list) = by_id(storage, &id)?
    {
        return Ok(Added {
            entries: list.entries,
            index: list.exact,
            annotations: list.annotations,
        });
    }
    let image = find::find(storage, text)?;
    let bytes = image.manifest_bytes(storage)?;
    Ok(Added {
        entries: vec![Entry {
            media_type: image.manifest_type.clone(),
            digest: image.digest.clone(),
            size: bytes.len() as u64,
            platform: Place {
                os: image.os.clone(),
                architecture: image.architecture.clone(),
                variant: image.variant.clone(),
                ..Place::default()
            },
            annotations: BTreeMap::new(),
            artifact_type: None,
            source: Source::Store(image.id),
        }],
        index: None,
        annotations: BTreeMap::new(),
    })
}

/// What a registry says of what is to be added: descriptors, and their platforms.
#[derive(Serialize, Deserialize)]
struct Parts {
    entries: Vec<(Value, Place)>,
    index: Option<String>,
    annotations: BTreeMap<String, String>,
}

fn remote_parts(engine: &Engine, add: &Add, reference: &Reference) -> Result<Parts> {
    let registries = registry::Registries::read(&engine.settings)?;
    let endpoint = registries.own_endpoint(reference.domain(), reference.path())?;
    let client = Client::new(&engine.settings, endpoint, add.options, "pull")?;
    let wanted = match reference.digest() {
        Some(digest) => digest.as_str(),
        None => reference.tag().unwrap_or(super::reference::LATEST),
    };
    let fetched = client.manifest(wanted)?;
    let kind = media_type(&fetched.bytes, &fetched.media_type);
    if !is_index(&kind) {
        let manifest: Manifest = serde_json::from_slice(&fetched.bytes)
            .tried(|| format!("read manifest {}", fetched.digest))?;
        let config = client.small_blob(&manifest.config.digest, manifest.config.size)?;
        let config = read_config(&config)?;
        let line = json!({
            "mediaType": kind,
            "digest": fetched.digest.as_str(),
            "size": fetched.bytes.len(),
        });
        let place = Place {
            os: config.os,
            architecture: config.architecture,
            variant: config.variant,
            ..Place::default()
        };
        return Ok(Parts {
            entries: vec![(line, place)],
            index: None,
            annotations: BTreeMap::new(),
        });
    }
    let tried = || format!("read index {}", fetched.digest);
    let text = String::from_utf8(fetched.bytes).map_err(|_| Error::other("it is not UTF-8"))?;
    let value: Value = serde_json::from_str(&text).tried(tried)?;
    let mut lines = value["manifests"].as_array().cloned().unwrap_or_default();
    if !add.all {
        let index: Index = serde_json::from_str(&text).tried(tried)?;
        let asked = Wanted {
            os: add.said.os.clone(),
            arch: add.said.architecture.clone(),
            variant: add.said.variant.clone(),
        };
        let digest = &asked.choose(&index)?.digest;
        lines.retain(|line| line["digest"] == digest.as_str());
        lines.truncate(1);
    }
    Ok(Parts {
        entries: lines
            .into_iter()
            .map(|line| {
                let place = Place::of(&line);
                (line, place)
            })
            .collect(),
        index: add.all.then_some(text),
        annotations: match add.all {
            true => texts(&value["annotations"]),
            false => BTreeMap::new(),
        },
    })
}

/// A manifest as a registry has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Remote {
    pub text: String,
    pub media_type: String,
    pub is_list: bool,
}

/// Asks the registries that `text` may mean.
pub fn fetch(engine: &Engine, text: &str, options: &registry::Options) -> Result<Remote> {
    let text = text.strip_prefix("docker://").unwrap_or(text);
    let registries = registry::Registries::read(&engine.settings)?;
    let mut last = None;
    for name in &registries.meant(text)?.names {
        let reference = Reference::normalized(name)?.or_latest();
        let endpoint = registries.own_endpoint(reference.domain(), reference.path())?;
        let remote = engine.apart(|| {
            let client = Client::new(&engine.settings, endpoint, options, "pull")?;
            let fetched = client.manifest(match reference.digest() {
                Some(digest) => digest.as_str(),
                None => reference.tag().unwrap_or(super::reference::LATEST),
            })?;
            let media_type = media_type(&fetched.bytes, &fetched.media_type);
            Ok(Remote {
                is_list: is_index(&media_type),
                media_type,
                text: String::from_utf8(fetched.bytes)
                    .map_err(|_| Error::other("the manifest is not UTF-8"))?,
            })
        });
        match remote.tried(|| format!("reading image \"docker://{reference}\"")) {
            Ok(remote) => return Ok(remote),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| super::no_such(text)))
}

/// Adds entries; one of the same digest takes the place of the one that is there.
pub fn add(list: &mut List, added: Added) {
    if list.entries.is_empty() && list.annotations.is_empty() {
        list.annotations = added.annotations;
        list.entries = added.entries;
        list.exact = added.index;
        return;
    }
    for entry in added.entries {
        match list.entries.iter_mut().find(|it| it.digest == entry.digest) {
            Some(there) => *there = entry,
            None => list.entries.push(entry),
        }
    }
}

/// Adds an artifact.
pub fn add_artifact(list: &mut List, artifact: &Artifact, said: &Said) -> Result<()> {
    let mut entry = artifact.entry()?;
    said.apply(&mut entry);
    let added = Added {
        entries: vec![entry],
        index: None,
        annotations: BTreeMap::new(),
    };
    add(list, added);
    Ok(())
}

/// What `text` names, for a list to be about it.
pub fn subject(engine: &Engine, text: &str, options: &registry::Options) -> Result<Subject> {
    if let Ok(image) = find_either(&engine.storage, text) {
        return Ok(match by_id(&engine.storage, &image.id)? {
            Some(list) => {
                let (bytes, media_type) = list.bytes(None)?;
                Subject {
                    media_type,
                    digest: Digest::of(&bytes),
                    size: bytes.len() as u64,
                }
            }
            None => Subject {
                media_type: image.manifest_type.clone(),
                digest: image.digest.clone(),
                size: image.manifest_bytes(&engine.storage)?.len() as u64,
            },
        });
    }
    let remote = fetch(engine, text, options)?;
    Ok(Subject {
        media_type: remote.media_type,
        digest: Digest::of(remote.text.as_bytes()),
        size: remote.text.len() as u64,
    })
}

/// Says more of the entry at `at`.
pub fn annotate(list: &mut List, at: usize, said: &Said) {
    if let Some(entry) = list.entries.get_mut(at) {
        said.apply(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_as_podman_does() {
        let entry = Entry {
            media_type: super::super::manifest::DOCKER_MANIFEST.to_owned(),
            digest: Digest::of(b"x"),
            size: 427,
            platform: Place {
                os: "linux".into(),
                architecture: "arm64".into(),
                variant: "v8".into(),
                os_version: "1".into(),
                features: vec!["f".into()],
                ..Place::default()
            },
            annotations: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            artifact_type: None,
            source: Source::Registry("example.com/x".into()),
        };
        let mut list = List {
            id: "0".repeat(64).parse().unwrap(),
            created: Timestamp::UNIX_EPOCH,
            entries: Vec::new(),
            annotations: BTreeMap::new(),
            subject: None,
            exact: None,
            name: None,
        };
        let text = |list: &List, format| String::from_utf8(list.bytes(format).unwrap().0).unwrap();
        // Recorded from podman 5.8.
        assert_eq!(
            list.digest().unwrap().as_str(),
            "sha256:20b959ad5960230b65a77b746bdbf5d991ade4d7a129c2554e167acdcc990531"
        );
        list.entries.push(entry);
        let digest = Digest::of(b"x");
        assert_eq!(
            text(&list, None),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"{digest}","size":427,"annotations":{{"k":"v"}},"platform":{{"architecture":"arm64","os":"linux","os.version":"1","variant":"v8"}}}}]}}"#
            )
        );
        assert_eq!(
            text(&list, Some(ListFormat::Docker)),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[{{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":427,"digest":"{digest}","platform":{{"architecture":"arm64","os":"linux","os.version":"1","variant":"v8","features":["f"]}}}}]}}"#
            )
        );
    }
}
