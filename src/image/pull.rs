//! Images from registries.
//!
//! ```text
//! coracle pull
//!   ├ child, the caller's rights     manifest, config: what is the image
//!   └ child in the user namespace    the layers that are not here yet (arrive.rs)
//! ```
//!
//! The HTTP client's memory and whatever it opens is gone with the child, before a
//! monitor is forked.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use super::add::{GivenManifest, Incoming, IncomingLayer, Origin, Step, add};
use super::load::load_from;
use super::manifest::{Descriptor, Index, Manifest, is_index, media_type, read_config};
use super::reference::{DOCKER, is_short};
use super::transport::Place;
use super::{Image, Reference, Wanted, find, name};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::events::{Event, Type};
use crate::id::{Digest, ImageId};
use crate::registry::{self, Access, Client, Endpoint, ShortNames};
use crate::storage::Locked;

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Where there is none of that name.
    #[default]
    Missing,
    Always,
    /// Where the registry has another one.
    Newer,
    Never,
}

/// Asks which of several names is meant. Gives its place.
pub type Choose = dyn Fn(&[String]) -> Result<usize>;

/// What is pulled, and how.
pub struct Pull<'a> {
    /// As the user has typed it.
    pub text: &'a str,
    pub policy: Policy,
    pub wanted: &'a Wanted,
    pub options: &'a registry::Options,
    /// None: nobody can be asked.
    pub choose: Option<&'a Choose>,
}

/// The image that is asked for: from the store or from a registry, as the policy
/// says; from a file or folder in any case.
pub fn pull(engine: &Engine, pull: &Pull, tell: &mut dyn FnMut(Step)) -> Result<Image> {
    let pulled = ensure(engine, pull, tell);
    match &pulled {
        // As with Podman, also one that was here.
        Ok(image) => super::note(&engine.storage, "pull", &image.id, pull.text),
        Err(error) => {
            let mut event = Event::new(Type::Image, "pull-error").name(pull.text);
            event.error = error.to_string();
            engine.storage.events().write(&event);
        }
    }
    pulled
}

fn ensure(engine: &Engine, pull: &Pull, tell: &mut dyn FnMut(Step)) -> Result<Image> {
    if let Some(place) = Place::parse(pull.text, "pulling from")? {
        let loaded = load_from(engine, &place, tell)?.into_iter().next();
        let loaded = loaded.ok_or_else(|| Error::other(format!("{place} holds no image")))?;
        return Ok(Image {
            name: loaded.names.into_iter().next(),
            ..loaded.image
        });
    }
    let text = pull.text.strip_prefix("docker://").unwrap_or(pull.text);
    let local = match find::find(&engine.storage, text) {
        Ok(image) => Some(image),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    let fits = |it: &Image| pull.wanted.takes(&it.os, &it.architecture, &it.variant);
    match (pull.policy, local) {
        (Policy::Never, Some(image)) => Ok(image),
        (Policy::Never, None) => Err(super::absent(&engine.storage, text)),
        (Policy::Missing, Some(image)) if fits(&image) => Ok(image),
        (Policy::Newer, Some(image)) => match from_registries(engine, pull, text, true, tell) {
            // What is here will do where the registry does not.
            Err(_) => Ok(image),
            pulled => pulled,
        },
        // An id is no name that a registry knows.
        (_, Some(image)) if image.name.is_none() => Ok(image),
        _ => from_registries(engine, pull, text, false, tell),
    }
}

/// Asks one registry after the other that the name may mean. To `renew` is to tell
/// nothing until there is something new.
fn from_registries(
    engine: &Engine,
    pull: &Pull,
    text: &str,
    renew: bool,
    tell: &mut dyn FnMut(Step),
) -> Result<Image> {
    let registries = registry::Registries::read(&engine.settings)?;
    let mut meant = registries.meant(text)?;
    let mut first: Vec<Step> = Vec::new();
    let mut chosen = None;
    if meant.names.len() > 1 {
        match (registries.short_names(), pull.choose) {
            (ShortNames::Enforcing, None) => {
                let words = "short-name resolution enforced but cannot prompt without a TTY";
                return Err(Error::other(words));
            }
            (ShortNames::Enforcing | ShortNames::Permissive, Some(choose)) => {
                let name = meant.names.swap_remove(choose(&meant.names)?);
                chosen = Some(name.clone());
                (meant.names, meant.searched) = (vec![name], None);
            }
            _ => {}
        }
    }
    if let Some(place) = &meant.searched {
        first.push(Step::Resolved(format!(
            "Resolving {:?} using unqualified-search registries ({place})",
            strip_suffix(text)
        )));
    }
    if let Some(place) = &meant.alias {
        first.push(Step::Resolved(format!(
            "Resolved {:?} as an alias ({place})",
            strip_suffix(text)
        )));
    }
    let mut errors = Vec::new();
    for name in &meant.names {
        let reference = Reference::normalized(name)
            .map_err(|error| error.tried(format_args!("parsing reference {text:?}")))?;
        let reference = named(reference);
        first.push(Step::Trying(reference.to_string()));
        // Of what is not newer nothing is said.
        if !renew {
            first.drain(..).for_each(&mut *tell);
        }
        match one(engine, pull, &registries, &reference, &mut first, tell) {
            Ok(image) => {
                if let Some(name) = chosen {
                    registries.remember(strip_suffix(text), strip_suffix(&name));
                }
                return Ok(image);
            }
            Err(error) => errors.push(error),
        }
    }
    let explained = |error: Error| match meant.alias {
        None if is_short(text) => explained(engine, text, &meant.names, error),
        _ => error,
    };
    match errors.len() {
        0 => Err(Error::other(format!(
            "short-name {text:?} did not resolve to an alias and no unqualified-search registries are defined"
        ))
        .hint(format!(
            "name it in full, as {DOCKER}/library/{text}, or say in ~/.config/containers/registries.conf: unqualified-search-registries = [\"{DOCKER}\"]"
        ))),
        1 => Err(explained(errors.remove(0))),
        count => {
            let lines = errors.iter().map(|error| format!("\n * {error}"));
            Err(explained(Error::other(format!(
                "{count} errors occurred while pulling:{}",
                lines.collect::<String>()
            ))))
        }
    }
}

/// Nobody had what a short name was taken for: an image that is here may have been
/// meant, or one of another registry.
fn explained(engine: &Engine, text: &str, names: &[String], error: Error) -> Error {
    let said = error.to_string();
    let is_answer = ["manifest unknown", "unauthorized", "denied", "not found"];
    match super::near(&engine.storage, text) {
        Some(near) => error.meant(Some(near)),
        None if is_answer.iter().any(|words| said.contains(words)) => error.hint(format!(
            "{text} was taken for {}: an image of another registry is named in full (registry.example.com/team/{text}), one that is private needs `coracle login`",
            names.join(" and ")
        )),
        None => error,
    }
}

fn strip_suffix(text: &str) -> &str {
    let name = text.split('@').next().unwrap_or(text);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// The name under which it is stored: of a tag and a digest, the digest counts.
fn named(reference: Reference) -> Reference {
    match reference.digest().cloned() {
        Some(digest) => reference.with_digest(digest),
        None => reference.or_latest(),
    }
}

/// What the first child has found out.
#[derive(Serialize, Deserialize)]
struct Found {
    /// Of the endpoints, the one that answered.
    at: usize,
    access: Access,
    manifest: String,
    media_type: String,
    /// None where the image is in the store.
    config: Option<String>,
    index: Option<Digest>,
}

fn one(
    engine: &Engine,
    pull: &Pull,
    registries: &registry::Registries,
    reference: &Reference,
    // Told before anything else, unless nothing is new.
    first: &mut Vec<Step>,
    tell: &mut dyn FnMut(Step),
) -> Result<Image> {
    let source = format!("docker://{reference}");
    let tried = || format!("unable to copy from source {source}");
    let endpoints = registries
        .endpoints(
            reference.domain(),
            reference.path(),
            reference.digest().is_some(),
        )
        .tried(tried)?;
    registry::policy::check(&engine.settings, &reference.name(), &source)?;
    let found = engine
        .apart(|| look(engine, pull, reference, &endpoints, &source))
        .tried(tried)?;
    let endpoint = endpoints
        .into_iter()
        .nth(found.at)
        .ok_or_else(|| Error::other("no such endpoint"))?;
    let client = Arc::new(Client::with_access(
        &engine.settings,
        endpoint,
        pull.options,
        "pull",
        found.access.clone(),
    ));
    match unchanged(engine, &found, reference).tried(tried)? {
        Some((image, _lock)) if !first.is_empty() => Ok(image),
        Some((image, _lock)) => {
            tell(Step::Begun);
            for layer in found.manifest()?.layers {
                tell(Step::Skipped(layer.digest.into()));
            }
            tell(Step::Config(image.id.clone()));
            tell(Step::Manifest);
            Ok(image)
        }
        None => {
            first.drain(..).for_each(&mut *tell);
            take(engine, found, reference, &client, tell).tried(tried)
        }
    }
}

impl Found {
    fn manifest(&self) -> Result<Manifest> {
        let bytes = self.manifest.as_bytes();
        read_manifest(bytes, &Digest::of(bytes))
    }
}

/// The image that has the name, held, if it is the one found and came by the same
/// manifest: nothing needs to be written, and so nothing waits for the disk.
fn unchanged(
    engine: &Engine,
    found: &Found,
    reference: &Reference,
) -> Result<Option<(Image, Locked)>> {
    let storage = &engine.storage;
    let Some(image) = find::by_exact_name(storage, reference)? else {
        return Ok(None);
    };
    let same = found.config.is_none()
        && found.manifest()?.config.digest.hex() == image.id.as_str()
        && image.digest == Digest::of(found.manifest.as_bytes())
        && (found.index.as_ref()).is_none_or(|index| image.digests().any(|it| it == index));
    if !same {
        return Ok(None);
    }
    // Removed just now, it is fetched.
    let Ok(lock) = image.lock(storage) else {
        return Ok(None);
    };
    let is_whole = (image.layers.iter()).all(|id| storage.layer(id).join("layer.json").exists());
    if is_whole {
        name::touch(storage, reference);
    }
    let image = Image {
        name: Some(reference.clone()),
        ..image
    };
    Ok(is_whole.then_some((image, lock)))
}

/// Asks each endpoint until one has the image.
fn look(
    engine: &Engine,
    pull: &Pull,
    reference: &Reference,
    endpoints: &[Endpoint],
    source: &str,
) -> Result<Found> {
    let mut last = None;
    for (at, endpoint) in endpoints.iter().enumerate() {
        match look_at(engine, pull, reference, endpoint, source) {
            Ok(found) => return Ok(Found { at, ..found }),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::other("no registry is configured for it")))
}

fn look_at(
    engine: &Engine,
    pull: &Pull,
    reference: &Reference,
    endpoint: &Endpoint,
    source: &str,
) -> Result<Found> {
    let client = Client::new(&engine.settings, endpoint.clone(), pull.options, "pull")?;
    let wanted = match reference.digest() {
        Some(digest) => digest.as_str(),
        None => reference.tag().unwrap_or(super::reference::LATEST),
    };
    let mut fetched = client
        .manifest(wanted)
        .tried(|| format!("initializing source {source}"))?;
    let mut kind = media_type(&fetched.bytes, &fetched.media_type);
    let mut index = None;
    if is_index(&kind) {
        let list: Index = serde_json::from_slice(&fetched.bytes)
            .tried(|| format!("read index {}", fetched.digest))?;
        let chosen = pull
            .wanted
            .choose(&list)
            .tried(|| format!("choosing an image from manifest list {source}"))?;
        index = Some(fetched.digest);
        fetched = match known_manifest(engine, reference, &chosen.digest)? {
            Some(bytes) => registry::Fetched {
                bytes,
                media_type: chosen.media_type.clone(),
                digest: chosen.digest.clone(),
            },
            None => client.manifest(chosen.digest.as_str())?,
        };
        kind = media_type(&fetched.bytes, &chosen.media_type);
        if is_index(&kind) {
            return Err(Error::other("an index of indexes"));
        }
    }
    let manifest = read_manifest(&fetched.bytes, &fetched.digest)?;
    let id: ImageId = manifest.config.digest.hex().parse()?;
    let config = match find::by_id(&engine.storage, &id)? {
        Some(_) => None,
        None => {
            let bytes = client.small_blob(&manifest.config.digest, manifest.config.size)?;
            Some(text(bytes, "the image's config")?)
        }
    };
    Ok(Found {
        at: 0,
        access: client.access(),
        manifest: text(fetched.bytes, "the manifest")?,
        media_type: kind,
        config,
        index,
    })
}

/// The manifest `digest`, if the image that has the name came by it.
fn known_manifest(
    engine: &Engine,
    reference: &Reference,
    digest: &Digest,
) -> Result<Option<Vec<u8>>> {
    let image = find::by_name(&engine.storage, reference)?;
    match image.filter(|image| image.digest == *digest) {
        Some(image) => Ok(image.manifest_bytes(&engine.storage).ok()),
        None => Ok(None),
    }
}

fn text(bytes: Vec<u8>, what: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::other(format!("{what} is not UTF-8")))
}

fn read_manifest(bytes: &[u8], digest: &Digest) -> Result<Manifest> {
    let manifest: Manifest =
        serde_json::from_slice(bytes).tried(|| format!("read manifest {digest}"))?;
    if manifest.schema_version != 2 {
        return Err(Error::unsupported(format_args!(
            "a manifest of schema version {}",
            manifest.schema_version
        )));
    }
    for layer in &manifest.layers {
        if layer.media_type.ends_with("+encrypted") {
            return Err(Error::unsupported("an encrypted image"));
        }
    }
    Ok(manifest)
}

/// Puts the image into the store.
fn take(
    engine: &Engine,
    found: Found,
    reference: &Reference,
    client: &Arc<Client>,
    tell: &mut dyn FnMut(Step),
) -> Result<Image> {
    let bytes = found.manifest.into_bytes();
    let manifest = read_manifest(&bytes, &Digest::of(&bytes))?;
    let config = match found.config {
        Some(config) => config.into_bytes(),
        None => {
            let id: ImageId = manifest.config.digest.hex().parse()?;
            match find::by_id(&engine.storage, &id)? {
                Some(image) => image.config_bytes(&engine.storage)?,
                None => return Err(super::no_such(id.as_str())),
            }
        }
    };
    let config_says = read_config(&config);
    // Artifacts have manifests too, and configs that are none.
    config_says.map_err(|error| error.hint("this may be an artifact, no image"))?;
    let layer = |it: Descriptor| IncomingLayer {
        digest: Some(it.digest.clone()),
        origin: Origin::Registry {
            client: client.clone(),
            digest: it.digest,
            size: it.size,
            arrived: AtomicU64::new(0),
        },
    };
    let incoming = Incoming {
        config,
        layers: manifest.layers.into_iter().map(layer).collect(),
        names: vec![reference.clone()],
        manifest: GivenManifest::Bytes {
            bytes,
            media_type: found.media_type,
            index: found.index,
        },
    };
    let image = add(engine, vec![incoming], tell)?.into_iter().next();
    let image = image.ok_or_else(|| Error::other("nothing was stored"))?;
    Ok(Image {
        name: Some(reference.clone()),
        ..image
    })
}

/// `name` with each tag that the registry has of it.
pub fn all_tags(engine: &Engine, name: &str, options: &registry::Options) -> Result<Vec<String>> {
    let text = name.strip_prefix("docker://").unwrap_or(name);
    let registries = registry::Registries::read(&engine.settings)?;
    let meant = registries.meant(text)?;
    let mut last = None;
    for name in &meant.names {
        let reference = Reference::normalized(name)
            .map_err(|error| error.tried(format_args!("parsing reference {text:?}")))?;
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(Error::usage(
                "docker references with `--all-tags` must not have a tag or digest",
            ));
        }
        let endpoint = registries.own_endpoint(reference.domain(), reference.path())?;
        let tags =
            engine.apart(|| Client::new(&engine.settings, endpoint, options, "pull")?.tags());
        match tags {
            Ok(tags) => {
                // What a registry calls a tag may be none.
                let name = |tag: String| {
                    let full = format!("{}:{tag}", reference.name());
                    full.parse::<Reference>().ok().map(|it| it.to_string())
                };
                return Ok(tags.into_iter().filter_map(name).collect());
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::other(format!("{name:?} means nothing"))))
}
