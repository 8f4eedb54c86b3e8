//! Manifest lists to registries: each image first, as it is where it can be, then
//! the list.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::add::Step;
use super::lists::{Entry, List, ListFormat, Source};
use super::manifest::{Manifest, OCI_MANIFEST, is_index, media_type};
use super::push::{Compression, Format, Push, Pushed, push_as};
use super::{Reference, find};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::registry::{self, Client};

/// What is pushed where, and how.
pub struct PushList<'a> {
    pub list: &'a List,
    pub to: &'a Reference,
    pub options: &'a registry::Options,
    /// The images, too.
    pub all: bool,
    /// None: OCI's, or as the index is that it was made from.
    pub format: Option<ListFormat>,
    pub compression: Option<Compression>,
    pub force_compression: bool,
}

/// Sends a list; gives its digest there.
pub fn push_list(engine: &Engine, push: &PushList, tell: &mut dyn FnMut(Step)) -> Result<Digest> {
    let mut list = push.list.clone();
    let count = list.entries.len();
    tell(Step::Line("Getting image list signatures".to_owned()));
    let copied = if push.all { count } else { 0 };
    tell(Step::Line(format!(
        "Copying {copied} images generated from {count} images in list"
    )));
    let mut is_changed = false;
    for (at, entry) in list.entries.iter_mut().enumerate().take(copied) {
        tell(Step::Line(format!(
            "Copying image {} ({}/{count})",
            entry.digest,
            at + 1
        )));
        let sent = match &entry.source {
            Source::Store(id) => {
                let image =
                    find::by_id(&engine.storage, id)?.ok_or_else(|| super::no_such(id.as_str()))?;
                let one = Push {
                    image: &image,
                    to: push.to,
                    options: push.options,
                    format: (push.format == Some(ListFormat::Docker)).then_some(Format::Docker),
                    compression: push.compression,
                    force_compression: push.force_compression,
                };
                push_as(engine, &one, true, tell)
            }
            Source::Registry(from) => {
                tell(Step::Begun);
                copy(engine, push, entry, from)
            }
        };
        let sent = sent.tried(|| format!("copying image {}/{count} from manifest list", at + 1))?;
        if sent.digest != entry.digest {
            is_changed = true;
            entry.digest = sent.digest;
            entry.size = sent.size;
            entry.media_type = sent.media_type;
        }
    }
    tell(Step::Line(
        "Writing manifest list to image destination".to_owned(),
    ));
    if is_changed {
        list.forget_bytes();
    }
    let (bytes, media_type) = match push.format {
        None if list.is_exact() => list.bytes(None)?,
        None => list.bytes(Some(ListFormat::Oci))?,
        some => list.bytes(some)?,
    };
    let digest = Digest::of(&bytes);
    engine.apart(|| {
        let client = client(engine, push.to, push.options, "pull,push")?;
        let reference = match (push.to.tag(), push.to.digest()) {
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
    tell(Step::Line("Storing list signatures".to_owned()));
    Ok(digest)
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

/// An image from one repository to another, as it is.
fn copy(engine: &Engine, push: &PushList, entry: &Entry, from: &str) -> Result<Pushed> {
    if push.compression.is_some() {
        return Err(Error::unsupported(
            "compressing an image of a registry anew on its way to another",
        )
        .hint("pull it, and add it to the list from the store"));
    }
    if push.format == Some(ListFormat::Docker) && entry.media_type == OCI_MANIFEST {
        return Err(Error::unsupported(
            "--format v2s2 with an OCI image of a registry",
        ));
    }
    let repository = Reference::normalized(from)?;
    engine.apart(|| {
        let source = client(engine, &repository, push.options, "pull")?;
        let target = client(engine, push.to, push.options, "pull,push")?;
        let fetched = source.manifest(entry.digest.as_str())?;
        let kind = media_type(&fetched.bytes, &entry.media_type);
        if is_index(&kind) {
            return Err(Error::other("an index of indexes"));
        }
        let manifest: Manifest = serde_json::from_slice(&fetched.bytes)
            .tried(|| format!("read manifest {}", entry.digest))?;
        let is_near = repository.domain() == push.to.domain();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let is_there = target.has_blob(&blob.digest)?
                || is_near && target.mount(&blob.digest, repository.path())?;
            if is_there {
                continue;
            }
            let staging = engine.storage.stage()?;
            let path = staging.path().join("blob");
            let mut file = File::options()
                .create_new(true)
                .read(true)
                .write(true)
                .open(&path)?;
            let arrived = AtomicU64::new(0);
            let never = std::sync::atomic::AtomicBool::new(false);
            let mut stream = super::archive::Checked::new(
                source.blob(&blob.digest, blob.size, &arrived),
                blob.size,
                Some(blob.digest.clone()),
                &never,
            );
            std::io::copy(&mut stream, &mut file).tried(|| format!("copy blob {}", blob.digest))?;
            target.upload(&blob.digest, &file, &Arc::default())?;
        }
        target.put_manifest(entry.digest.as_str(), &kind, &fetched.bytes)?;
        Ok(Pushed {
            digest: entry.digest.clone(),
            size: fetched.bytes.len() as u64,
            media_type: kind,
        })
    })
}
