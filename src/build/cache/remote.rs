//! Steps that a registry keeps: `--cache-from`, `--cache-to`.
//!
//! A step is an image `REPOSITORY:KEY` of all layers so far; a label of its config has the
//! [`Entry`]. So it is no image that anybody else has, and may be taken away again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Entry, Key};
use crate::build::stage::{State, Work};
use crate::build::{Build, Said};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::DiffId;
use crate::image::{self, Image, Policy, Reference};
use crate::storage::{Locked, Staging};

/// The label that has the entry.
const LABEL: &str = "io.coracle.build.step";

/// A step that is to be given to repositories.
#[derive(Serialize, Deserialize)]
pub struct Offer {
    /// The key's name.
    pub key: String,
    pub entry: Entry,
    /// What steps came to, this one too.
    pub state: State,
}

/// A repository, which has neither tag nor digest.
pub fn repository(flag: &str, text: &str) -> Result<Reference> {
    let tried = |error: Error| {
        Error::usage(format!(
            "unable to parse value provided `[{text}]` to --{flag}: {error}"
        ))
    };
    let reference = Reference::normalized(text).map_err(|error| {
        tried(Error::usage(format!(
            "invalid repo {text:?}: must contain registry and repository: {error}"
        )))
    })?;
    match reference.tag().is_some() || reference.digest().is_some() {
        true => Err(tried(Error::usage(format!(
            "repository must contain neither a tag nor digest: {text}"
        )))),
        false => Ok(reference),
    }
}

impl Work<'_> {
    /// What the step of `key` came to, if one of the repositories has that: its layers are
    /// here then.
    pub fn fetch_step(&mut self, key: &Key, tell: &mut dyn FnMut(Said)) -> Option<Entry> {
        if !self.cache.reads {
            return None;
        }
        let hex = key.hex();
        for repository in &self.build.cache_from {
            let name = format!("{repository}:{hex}");
            match self.fetch_from(&name) {
                Ok(entry) => {
                    tell(Said::Line(format!("--> Cache pulled from remote {name}")));
                    self.cache.put(key, entry.clone());
                    return Some(entry);
                }
                // A registry that has no such tag, or is not to be reached: the step is done.
                Err(error) if is_missing(&error) => {}
                Err(_) if self.engine.interrupted().is_err() => return None,
                Err(error) => {
                    let words = format!("--cache-from {repository}: {error}");
                    if self.warned.insert(format!("--cache-from {repository}")) {
                        tell(Said::Note(words));
                    }
                }
            }
        }
        None
    }

    fn fetch_from(&mut self, name: &str) -> Result<Entry> {
        let pull = image::Pull {
            text: name,
            policy: Policy::Always,
            wanted: &self.build.wanted,
            options: &self.build.registry,
            choose: None,
        };
        let image = image::pull(self.engine, &pull, &mut |_| ())?;
        let entry = self.entry_of(&image);
        // Its layers are held, or of no use.
        image::remove(self.engine, &image, &|_| Ok(Vec::new()))?;
        entry
    }

    fn entry_of(&mut self, image: &Image) -> Result<Entry> {
        let label = image.config.labels.get(LABEL);
        let text = label.ok_or_else(|| Error::other("it is no step of a build"))?;
        let entry: Entry = serde_json::from_str(text).tried(|| "read the step")?;
        if entry.layer.is_some() && entry.layer.as_ref() != image.layers.last() {
            return Err(Error::other("it has another layer than the step has made"));
        }
        self.hold(&State {
            layers: image.layers.iter().map(|id| (id.clone(), 0)).collect(),
            ..State::default()
        })?;
        Ok(entry)
    }
}

/// Whether a registry has answered that it has no such name.
fn is_missing(error: &Error) -> bool {
    let words = error.to_string();
    error.kind() == Kind::NotFound
        || ["manifest unknown", "name unknown", "not found", "NotFound"]
            .iter()
            .any(|it| words.contains(it))
}

/// Gives steps to the repositories of `--cache-to`. Their layers are in place.
pub fn push(
    engine: &Engine,
    build: &Build,
    staging: &Staging,
    offers: &[Offer],
    held: &mut HashMap<DiffId, Locked>,
    tell: &mut dyn FnMut(Said),
) -> Result<()> {
    let storage = &engine.storage;
    for offer in offers {
        let mut state = offer.state.clone();
        let text = serde_json::to_string(&offer.entry)?;
        state.config.labels.insert(LABEL.to_owned(), text);
        let mut layers = Vec::new();
        for (id, _) in &state.layers {
            let layer = storage.read_layer(id)?;
            layers.push(layer.ok_or_else(|| Error::other(format!("layer {id} is gone")))?);
        }
        let written = state.describe(build).write()?;
        let image = match image::by_id(storage, &written.id())? {
            Some(image) => image,
            None => {
                let user = Some((0, 0));
                image::publish(storage, staging, written, &layers, &[], user, held)?
            }
        };
        let pushed = build.cache_to.iter().try_for_each(|repository| {
            let name = format!("{repository}:{}", offer.key);
            tell(Said::Line(format!(
                "--> Pushing cache [{repository}]:{}",
                offer.key
            )));
            tell(Said::Flush);
            let to = Reference::normalized(&name)?;
            let push = image::Push {
                image: &image,
                to: &to,
                options: &build.registry,
                format: None,
                compression: None,
                force_compression: false,
            };
            image::push(engine, &push, &mut |_| ())
                .map(drop)
                .map_err(|error| error.tried(format_args!("failed pushing cache to {name}")))
        });
        image::remove(engine, &image, &|_| Ok(Vec::new()))?;
        pushed?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_no_image() {
        assert_eq!(
            repository("cache-to", "localhost:5000/a/b")
                .unwrap()
                .to_string(),
            "localhost:5000/a/b"
        );
        for (text, words) in [
            (
                "localhost/a:1",
                "must contain neither a tag nor digest: localhost/a:1",
            ),
            ("UPPER", "must contain registry and repository"),
        ] {
            let error = repository("cache-from", text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
