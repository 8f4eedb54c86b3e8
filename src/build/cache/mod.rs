//! What steps came to, kept by all that they were made of.
//!
//! ```text
//! build/steps/<key>     an [`Entry`]; the key is a digest of the instruction, of the layers
//!                       and settings it works on, of the files and variables it uses
//! build/mounts/<key>/   what RUN --mount=type=cache keeps
//! $XDG_CACHE_HOME/coracle/steps/<digest>    the parts of the keys of a build's steps, to
//!                                           tell what is another than last time (--why)
//! ```
//!
//! A layer that a step has made stays as long as the step is remembered, whatever becomes
//! of images. Times and places count for nothing: the same files with other times, or in
//! another folder, are the same.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Result};
use crate::id::DiffId;
use crate::storage::{Storage, read_json, write_json};
use crate::sys::file::Durable;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// None of one that changes the config alone.
    pub layer: Option<DiffId>,
    /// Bytes of the layer's tar.
    pub size: u64,
    /// When it was made: the image's history says it again.
    pub created: String,
    /// Of what was copied, for the history.
    #[serde(default)]
    pub content: String,
    /// The instruction, for people.
    #[serde(default)]
    pub step: String,
}

/// All that a step is made of, part by part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    parts: Vec<(String, String)>,
}

impl Key {
    pub fn new(instruction: &str) -> Self {
        let mut key = Self::default();
        key.parts
            .push(("instruction".to_owned(), instruction.to_owned()));
        key
    }

    /// With a part that `label` is the name of, for people.
    #[must_use]
    pub fn with(mut self, label: &str, value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        let sum = crate::id::hex(&Sha256::digest(&bytes));
        self.parts.push((label.to_owned(), sum));
        self
    }

    /// The name of the entry.
    pub fn hex(&self) -> String {
        let mut all = Sha256::new();
        all.update(b"1");
        for (label, value) in &self.parts {
            for text in [label, value] {
                all.update((text.len() as u64).to_le_bytes());
                all.update(text);
            }
        }
        crate::id::hex(&all.finalize())
    }

    /// In what it is another than `before`.
    pub fn differs(&self, before: &Key) -> Vec<String> {
        let of = |key: &Key, label: &str| {
            let found = key.parts.iter().find(|(it, _)| it == label);
            found.map(|(_, value)| value.clone())
        };
        let (now, was) = (of(self, "instruction"), of(before, "instruction"));
        if now != was {
            return vec![format!("instruction (was: {})", was.unwrap_or_default())];
        }
        let labels = self
            .parts
            .iter()
            .chain(&before.parts)
            .map(|(label, _)| label);
        let mut differ: Vec<String> = Vec::new();
        for label in labels {
            if of(self, label) != of(before, label) && !differ.contains(label) {
                differ.push(label.clone());
            }
        }
        differ
    }
}

/// What a process knows more than the one that it was forked from.
#[derive(Serialize, Deserialize)]
pub struct Fresh {
    entries: HashMap<String, Entry>,
    notes: Vec<((usize, usize), Key)>,
}

/// The steps that are remembered.
pub struct Cache<'a> {
    storage: &'a Storage,
    /// What is remembered may be used.
    pub reads: bool,
    /// Entries older than this are of no use.
    pub ttl: Option<Duration>,
    new: HashMap<String, Entry>,
    why: Why,
}

impl<'a> Cache<'a> {
    /// That of the store. `build` names the build among others of this user.
    pub fn open(storage: &'a Storage, reads: bool, ttl: Option<Duration>, build: &str) -> Self {
        Self {
            storage,
            reads,
            ttl,
            new: HashMap::new(),
            why: Why::open(storage, build),
        }
    }

    /// What the step of `key` came to, if that is known and its layer there.
    pub fn get(&self, key: &Key) -> Option<Entry> {
        if !self.reads {
            return None;
        }
        let hex = key.hex();
        if let Some(entry) = self.new.get(&hex) {
            return Some(entry.clone());
        }
        let path = self.storage.build_steps().join(&hex);
        let entry: Entry = read_json(&path).ok().flatten()?;
        if let Some(ttl) = self.ttl {
            let created: jiff::Timestamp = entry.created.parse().ok()?;
            let age = jiff::Timestamp::now().duration_since(created);
            if Duration::try_from(age).is_ok_and(|age| age > ttl) {
                return None;
            }
        }
        if let Some(layer) = &entry.layer
            && !self.storage.layer(layer).join("layer.json").exists()
        {
            return None;
        }
        // Used now: what is pruned by age goes by this.
        let now = SystemTime::now();
        let _ = std::fs::File::open(&path).and_then(|file| file.set_modified(now));
        Some(entry)
    }

    /// Remembers what the step of `key` came to, once [`Cache::save`] is called.
    pub fn put(&mut self, key: &Key, entry: Entry) {
        self.new.insert(key.hex(), entry);
    }

    /// The layers that steps of this build have made and that are not remembered yet.
    pub fn new_layers(&self) -> impl Iterator<Item = &DiffId> {
        self.new.values().filter_map(|entry| entry.layer.as_ref())
    }

    pub fn give_fresh(&mut self) -> Fresh {
        Fresh {
            entries: std::mem::take(&mut self.new),
            notes: std::mem::take(&mut self.why.now),
        }
    }

    pub fn take_fresh(&mut self, fresh: Fresh) {
        self.new.extend(fresh.entries);
        for (at, key) in fresh.notes {
            self.why.now.retain(|(known, _)| *known != at);
            self.note(at, key);
        }
    }

    /// Writes what is new. Its layers must be in place.
    pub fn save(&mut self) -> Result<()> {
        self.why.save();
        if self.new.is_empty() {
            return Ok(());
        }
        let steps = self.storage.build_steps();
        std::fs::create_dir_all(&steps).tried(|| format!("make {}", steps.display()))?;
        for (key, entry) in self.new.drain() {
            write_json(&steps.join(key), &entry, Durable::No)?;
        }
        Ok(())
    }

    /// Why the step `at` of a stage is not what it was, in people's words.
    pub fn why(&mut self, at: (usize, usize), key: &Key) -> Vec<String> {
        match self.why.before.iter().find(|(place, _)| *place == at) {
            Some((_, before)) if before == key && !self.reads => {
                vec!["the cache is not to be used".to_owned()]
            }
            Some((_, before)) if before == key => {
                vec!["its result is no longer there (pruned, or too old)".to_owned()]
            }
            Some((_, before)) => {
                let mut differ = key.differs(before);
                if !self.reads {
                    differ.insert(0, "the cache is not to be used".to_owned());
                }
                differ
            }
            None => vec!["it was never built from here".to_owned()],
        }
    }

    /// Notes the key of a step for the next build.
    pub fn note(&mut self, at: (usize, usize), key: Key) {
        self.why.now.push((at, key));
    }
}

/// The keys of a build's steps, by stage and step.
struct Why {
    file: PathBuf,
    before: Vec<((usize, usize), Key)>,
    now: Vec<((usize, usize), Key)>,
}

impl Why {
    fn open(storage: &Storage, build: &str) -> Self {
        let name = crate::id::Digest::of(build.as_bytes());
        let file = storage.cache().join("steps").join(name.hex());
        Self {
            before: read_json(&file).ok().flatten().unwrap_or_default(),
            file,
            now: Vec::new(),
        }
    }

    /// What cannot be written is not told next time.
    fn save(&mut self) {
        if self.now.is_empty() || self.now == self.before {
            return;
        }
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        // Steps after one that failed are what they were.
        let mut all = std::mem::take(&mut self.now);
        let rest = self.before.drain(..);
        let known: Vec<(usize, usize)> = all.iter().map(|(at, _)| *at).collect();
        all.extend(rest.filter(|(at, _)| !known.contains(at)));
        let _ = write_json(&self.file, &all, Durable::No);
    }
}

/// One remembered step, as a prune looks at it.
#[derive(Debug, Clone)]
pub struct Kept {
    pub path: PathBuf,
    pub entry: Option<Entry>,
    pub used: SystemTime,
}

/// Every remembered step.
pub fn list(storage: &Storage) -> Result<Vec<Kept>> {
    let steps = storage.build_steps();
    let mut all = Vec::new();
    for name in storage.list(&steps)? {
        let path = steps.join(name);
        let Ok(found) = path.metadata() else { continue };
        all.push(Kept {
            entry: read_json(&path).ok().flatten(),
            used: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            path,
        });
    }
    Ok(all)
}

/// The folder of a cache mount.
pub fn mount(storage: &Storage, id: &str) -> PathBuf {
    let name = crate::id::Digest::of(id.as_bytes());
    mounts(storage).join(name.hex())
}

/// Where all cache mounts are.
pub fn mounts(storage: &Storage) -> PathBuf {
    storage.builds().join("mounts")
}

/// Forgets a step; a layer that nobody else has goes with the next collection.
pub fn forget(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.tried(|| format!("remove {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_says_so() {
        let key = |files: &str, user: &str| {
            Key::new("COPY a b")
                .with("files", &files)
                .with("user", &user)
        };
        assert_eq!(key("1", "2").hex(), key("1", "2").hex());
        assert_ne!(key("1", "2").hex(), key("12", "").hex());
        assert_eq!(key("1", "2").differs(&key("1", "3")), ["user"]);
        assert_eq!(
            Key::new("RUN x").differs(&key("1", "2")),
            ["instruction (was: COPY a b)"]
        );
        assert!(key("1", "2").differs(&key("1", "2")).is_empty());
    }
}
