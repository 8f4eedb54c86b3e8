//! Names and ids to images.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::reference::{self, DOCKER, LOCALHOST, is_short};
use super::{Image, Reference, absent, no_such};
use crate::error::{Context, Error, Result};
use crate::id::{Digest, ImageId};
use crate::storage::{Storage, read_json};

/// The image that `text` names, in Podman's order: full id, the name as it
/// stands, the short name with `localhost/`, with `docker.io/`, the beginning
/// of an id, any name whose last components it is (libimage, LookupImage).
pub fn find(storage: &Storage, text: &str) -> Result<Image> {
    let local = text.strip_prefix("containers-storage:").unwrap_or(text);
    if let Some(hex) = local.strip_prefix("sha256:") {
        return match hex.parse::<ImageId>() {
            Ok(id) => stored(storage, &id)?.ok_or_else(|| no_such(text)),
            Err(_) => Err(Error::usage(format!(
                "{text}: invalid format: no 64-byte hexadecimal value"
            ))),
        };
    }
    if let Ok(id) = local.parse::<ImageId>() {
        return stored(storage, &id)?.ok_or_else(|| no_such(text));
    }
    reference::check(local).tried(|| format!("parsing reference {text:?}"))?;
    for reference in candidates(local).into_iter().flatten() {
        if let Some(image) = by_name(storage, &reference)? {
            return Ok(image);
        }
    }
    if let Some(image) = by_prefix(storage, local)? {
        return Ok(image);
    }
    match by_last_components(storage, local)? {
        Some(image) => Ok(image),
        None => Err(absent(storage, text)),
    }
}

/// What `text` names, by its id, be it an image or a list; by a digest only images
/// are named. The order is that of [`find`].
pub(super) fn locate(
    storage: &Storage,
    text: &str,
) -> Result<Option<(ImageId, Option<Reference>)>> {
    let local = text.strip_prefix("containers-storage:").unwrap_or(text);
    let hex = local.strip_prefix("sha256:").unwrap_or(local);
    if let Ok(id) = hex.parse::<ImageId>() {
        return Ok(storage.image(&id).exists().then_some((id, None)));
    }
    reference::check(local).tried(|| format!("parsing reference {text:?}"))?;
    for reference in candidates(local).into_iter().flatten() {
        let reference = reference.or_latest();
        if reference.digest().is_none()
            && let Some(id) = read_ref(&ref_file(storage, &reference))?
        {
            return Ok(Some((id, Some(reference))));
        }
    }
    if let Some(id) = id_by_prefix(storage, local)? {
        return Ok(Some((id, None)));
    }
    Ok(match by_last_components(storage, local) {
        Ok(found) => found.map(|image| (image.id, image.name)),
        Err(_) => None,
    })
}

/// The image of `id`, or that of the list `id` for this machine.
fn stored(storage: &Storage, id: &ImageId) -> Result<Option<Image>> {
    match by_id(storage, id)? {
        Some(image) => Ok(Some(image)),
        None => super::lists::chosen(storage, id),
    }
}

/// The image of `id`.
pub fn by_id(storage: &Storage, id: &ImageId) -> Result<Option<Image>> {
    read_json(&storage.image(id).join("image.json"))
}

/// The image that has the full name `reference`. Of a tag and a digest, the
/// digest counts.
pub fn by_name(storage: &Storage, reference: &Reference) -> Result<Option<Image>> {
    let found = match reference.digest() {
        Some(digest) => {
            let name = reference.with_digest(digest.clone());
            match by_exact_name(storage, &name)? {
                Some(image) => Some(image),
                None => by_digest(storage, reference, digest)?,
            }
        }
        None => by_exact_name(storage, &reference.clone().or_latest())?,
    };
    Ok(found.map(|image| Image {
        name: Some(reference.clone().or_latest()),
        ..image
    }))
}

/// The image that has this very name.
pub(super) fn by_exact_name(storage: &Storage, reference: &Reference) -> Result<Option<Image>> {
    match read_ref(&ref_file(storage, reference))? {
        Some(id) => stored(storage, &id),
        None => Ok(None),
    }
}

/// An image with that digest among the tags of the repository.
fn by_digest(storage: &Storage, of: &Reference, digest: &Digest) -> Result<Option<Image>> {
    let folder = repository(storage, of);
    for file in storage.list(&folder)? {
        if file.starts_with([':', '@'])
            && let Some(id) = read_ref(&folder.join(&file))?
            && let Some(image) = by_id(storage, &id)?
            && image.digests().any(|known| known == digest)
        {
            return Ok(Some(image));
        }
    }
    Ok(None)
}

/// Every full name that the name may stand for.
fn candidates(text: &str) -> Vec<Result<Reference>> {
    if !is_short(text) {
        return vec![Reference::normalized(text)];
    }
    [LOCALHOST, DOCKER]
        .iter()
        .map(|domain| Reference::normalized(&format!("{domain}/{text}")))
        .collect()
}

/// The one image whose id begins so.
fn by_prefix(storage: &Storage, text: &str) -> Result<Option<Image>> {
    match id_by_prefix(storage, text)? {
        Some(id) => stored(storage, &id),
        None => Ok(None),
    }
}

fn id_by_prefix(storage: &Storage, text: &str) -> Result<Option<ImageId>> {
    if text.is_empty() || !crate::id::is_hex(text) {
        return Ok(None);
    }
    let mut found: Option<String> = None;
    for id in storage.list(&storage.images())? {
        if id.starts_with(text) && found.replace(id).is_some() {
            return Ok(None);
        }
    }
    Ok(found.and_then(|id| id.parse().ok()))
}

fn by_last_components(storage: &Storage, text: &str) -> Result<Option<Image>> {
    if !is_short(text) {
        return Ok(None);
    }
    let Ok(wanted) = Reference::normalized(&format!("{LOCALHOST}/{text}")) else {
        return Ok(None);
    };
    let wanted = wanted.or_latest();
    let tail = format!("/{}", wanted.path());
    for (reference, id) in names(storage)? {
        if !reference.name().ends_with(&tail) {
            continue;
        }
        let Some(image) = by_id(storage, &id)? else {
            continue;
        };
        let matches = match wanted.digest() {
            Some(digest) => image.digests().any(|known| known == digest),
            None => reference.tag() == wanted.tag(),
        };
        if matches {
            return Ok(Some(Image {
                name: Some(reference),
                ..image
            }));
        }
    }
    Ok(None)
}

/// Every image, newest first.
pub fn list(storage: &Storage) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for id in storage.list(&storage.images())? {
        if let Ok(id) = id.parse::<ImageId>()
            && let Some(image) = by_id(storage, &id)?
        {
            images.push(image);
        }
    }
    images.sort_by(|a, b| b.made().cmp(&a.made()).then_with(|| a.id.cmp(&b.id)));
    Ok(images)
}

/// Every name and the id it stands for, the newest first.
pub fn names(storage: &Storage) -> Result<Vec<(Reference, ImageId)>> {
    let mut found = Vec::new();
    let mut folders: Vec<(PathBuf, String)> = vec![(storage.refs(), String::new())];
    while let Some((folder, name)) = folders.pop() {
        for entry in storage.list(&folder)? {
            let path = folder.join(&entry);
            if entry.starts_with([':', '@']) {
                if let Some((domain, rest)) = name.split_once('/')
                    && let Ok(reference) = Reference::from_parts(domain, rest, &entry)
                    && let Some(id) = read_ref(&path)?
                    && let Ok(of) = path.metadata()
                {
                    let given = (of.mtime(), of.mtime_nsec());
                    found.push((std::cmp::Reverse(given), reference, id));
                }
            } else if name.is_empty() {
                folders.push((path, entry));
            } else {
                folders.push((path, format!("{name}/{entry}")));
            }
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, name, id)| (name, id)).collect())
}

/// The folder of a repository's tags.
pub(super) fn repository(storage: &Storage, reference: &Reference) -> PathBuf {
    storage
        .refs()
        .join(reference.domain())
        .join(reference.path())
}

/// The file of a name; see [`super`]. Of a tag and a digest, the tag counts.
pub(super) fn ref_file(storage: &Storage, reference: &Reference) -> PathBuf {
    let file = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => format!(":{tag}"),
        (None, Some(digest)) => format!("@{digest}"),
        (None, None) => format!(":{}", super::reference::LATEST),
    };
    repository(storage, reference).join(file)
}

pub(super) fn read_ref(path: &Path) -> Result<Option<ImageId>> {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    match std::fs::read_to_string(path) {
        Ok(text) => text
            .trim_end()
            .parse()
            .map(Some)
            .tried(|| format!("read {}", path.display())),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | IsADirectory) => Ok(None),
        Err(error) => Err(Error::from(error).tried(format_args!("read {}", path.display()))),
    }
}
