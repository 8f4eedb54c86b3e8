//! Names given to images and taken away.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::find::{self, ref_file};
use super::{Image, Reference, note};
use crate::error::{Context, Error, Result};
use crate::id::ImageId;
use crate::storage::Storage;
use crate::sys::file::{Durable, sync_dir, write_whole};

/// Gives `image` the names `texts`, as one makes them here ([`Reference::local`]).
/// What had such a name before has it no more.
pub fn tag(storage: &Storage, image: &Image, texts: &[String]) -> Result<()> {
    let references: Vec<Reference> = texts
        .iter()
        .map(|text| {
            let reference =
                Reference::local(text).tried(|| format!("normalizing name {text:?}"))?;
            match reference.tag() {
                Some(_) => Ok(reference),
                None => Err(Error::usage(format!("{text}: tag by digest not supported"))),
            }
        })
        .collect::<Result<_>>()?;
    let _held = image.lock(storage)?;
    for (reference, text) in references.iter().zip(texts) {
        write(storage, reference, &image.id)?;
        note(storage, "tag", &image.id, text);
    }
    Ok(())
}

/// Takes the names `texts` from `image`; all it has if none is given.
pub fn untag(storage: &Storage, image: &Image, texts: &[String]) -> Result<()> {
    let own = image.names(storage)?;
    if texts.is_empty() {
        return own.iter().try_for_each(|name| take(storage, image, name));
    }
    for text in texts {
        let reference = Reference::local(text)?;
        if reference.tag().is_none() {
            return Err(Error::usage(format!(
                "{text}: untag by digest not supported"
            )));
        }
        if !own.contains(&reference) {
            return Err(Error::not_found(format!("{reference}: tag not known")));
        }
        take(storage, image, &reference)?;
    }
    Ok(())
}

/// Takes a name of the image's away.
fn take(storage: &Storage, image: &Image, name: &Reference) -> Result<()> {
    remove(storage, name)?;
    remember(storage, &image.id, name);
    note(storage, "untag", &image.id, &name.to_string());
    Ok(())
}

/// The file in an image's folder that has the names it had, a line each, the last first.
const FORMER: &str = "former-names";

fn former(storage: &Storage, id: &ImageId) -> Vec<String> {
    let text = std::fs::read_to_string(storage.image(id).join(FORMER)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Writes down that the image had this name. Where that fails, it is forgotten.
fn remember(storage: &Storage, id: &ImageId, name: &Reference) {
    let name = name.to_string();
    let mut all = former(storage, id);
    all.retain(|it| *it != name);
    all.insert(0, name);
    let text = all.join("\n") + "\n";
    let path = storage.image(id).join(FORMER);
    let _ = write_whole(&path, text.as_bytes(), Durable::No);
}

/// All the names that an image has, which are `names`, the newest first, and has had,
/// in Podman's order.
pub fn history(storage: &Storage, id: &ImageId, names: &[Reference]) -> Vec<String> {
    let mut all: Vec<String> = names.iter().rev().map(ToString::to_string).collect();
    for name in former(storage, id) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

impl Image {
    /// Every name of the image, the newest first.
    pub fn names(&self, storage: &Storage) -> Result<Vec<Reference>> {
        Ok(find::names(storage)?
            .into_iter()
            .filter(|(_, id)| *id == self.id)
            .map(|(reference, _)| reference)
            .collect())
    }
}

/// Makes `reference` the name of `id`. The caller holds the image.
pub(super) fn write(storage: &Storage, reference: &Reference, id: &ImageId) -> Result<()> {
    let tried = || format!("name {} {reference}", id.short());
    let staging = storage.stage()?;
    let made = staging.path().join("name");
    let mut file = File::create_new(&made).tried(tried)?;
    file.write_all(id.as_str().as_bytes()).tried(tried)?;
    // To the nanosecond, where the kernel's own stamp is a tick: it orders names.
    file.set_modified(std::time::SystemTime::now())
        .tried(tried)?;
    file.sync_all().tried(tried)?;
    let target = ref_file(storage, reference);
    let before = find::read_ref(&target)?.filter(|before| before != id);
    let folder = target.parent().unwrap_or(Path::new("/"));
    loop {
        std::fs::create_dir_all(folder).tried(tried)?;
        match std::fs::rename(&made, &target) {
            Ok(()) => break,
            // The folder was empty, and taken away by one who took the last name.
            Err(error) if error.kind() == ErrorKind::NotFound && made.exists() => {}
            Err(error) => return Err(error).tried(tried),
        }
    }
    let refs = storage.refs();
    for folder in folder.ancestors().take_while(|it| it.starts_with(&refs)) {
        match sync_dir(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).tried(tried),
            _ => {}
        }
    }
    if let Some(before) = before {
        remember(storage, &before, reference);
    }
    Ok(())
}

/// Makes a name that is there the one given last; where that fails, it is not.
pub(super) fn touch(storage: &Storage, reference: &Reference) {
    let file = File::options()
        .write(true)
        .open(ref_file(storage, reference));
    let _ = file.and_then(|file| file.set_modified(std::time::SystemTime::now()));
}

/// Takes the name `reference` from `image`; whether it had it.
pub fn untag_one(storage: &Storage, image: &Image, reference: &Reference) -> Result<bool> {
    let own = image.names(storage)?.contains(reference);
    if own {
        take(storage, image, reference)?;
    }
    Ok(own)
}

/// Takes a name away, whoever has it.
pub(super) fn remove(storage: &Storage, reference: &Reference) -> Result<()> {
    let tried = || format!("untag {reference}");
    let file = ref_file(storage, reference);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        result => result.tried(tried)?,
    }
    let refs = storage.refs();
    for folder in file.ancestors().skip(1).take_while(|it| **it != *refs) {
        // The last folder that still has something stays; its change is made durable.
        if std::fs::remove_dir(folder).is_err() {
            let _ = sync_dir(folder);
            break;
        }
    }
    Ok(())
}
