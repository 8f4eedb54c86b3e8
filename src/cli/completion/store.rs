//! What there is in the store: its folders are listed, and little is read.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;

use super::kind::Which;
use super::line::Line;
use crate::container::{self, State};
use crate::id::{ContainerId, ImageId, Name};
use crate::output::human;
use crate::settings::{Overrides, Settings};
use crate::storage::Storage;
use crate::{image, volume};

/// A word and what it is.
pub type Described = (String, String);

/// As many things of a kind are described as fit a screen or two: to say more of each
/// than its name its record must be read.
const DESCRIBED: usize = 100;

/// The caller's store.
pub struct Store {
    pub storage: Storage,
}

impl Store {
    /// The store, if there is one.
    pub fn open(overrides: &Overrides) -> Option<Self> {
        let settings = Settings::read(overrides).ok()?;
        if !settings.data.join("format").exists() {
            return None;
        }
        let storage = Storage::open(&settings).ok()?;
        Some(Self { storage })
    }

    fn list(&self, folder: &Path) -> Vec<String> {
        self.storage.list(folder).unwrap_or_default()
    }

    /// Names; ids, too, once one is begun that no name begins with.
    pub fn containers(&self, which: Which, typed: &str) -> Vec<Described> {
        let mut found = match which {
            Which::All | Which::Created => self.named(typed),
            // Only what has a seat can be up, so nothing else is looked at.
            Which::Up | Which::Running | Which::Paused => self.seated(typed, |state| match which {
                Which::Running => state == State::Running,
                Which::Paused => state == State::Paused,
                _ => is_up(state),
            }),
            Which::Down => {
                let up: HashSet<String> = self.seated(typed, is_up).into_iter().collect();
                let mut found = self.named(typed);
                found.retain(|word| !up.contains(word));
                found
            }
        };
        found.sort();
        let few = found.len() <= DESCRIBED;
        let describe = |word: String| match few {
            true => Some((word.clone(), self.about_container(&self.id_of(&word)?)?)),
            false => Some((word, String::new())),
        };
        found.into_iter().filter_map(describe).collect()
    }

    /// Names that begin so; if there is none, ids.
    fn named(&self, typed: &str) -> Vec<String> {
        let begun = |all: Vec<String>| -> Vec<String> {
            let begun = all.into_iter().filter(|word| word.starts_with(typed));
            begun.collect()
        };
        let names = begun(self.list(&self.storage.names()));
        if !names.is_empty() || typed.is_empty() {
            return names;
        }
        let ids = begun(self.list(&self.storage.containers())).into_iter();
        ids.filter_map(|id| shortened(&id, typed)).collect()
    }

    /// The same of those whose state `fits`.
    fn seated(&self, typed: &str, fits: impl Fn(State) -> bool) -> Vec<String> {
        let ids = self.list(&self.storage.running()).into_iter();
        let found = ids.filter_map(|id| {
            let found = container::load(&self.storage, &id.parse().ok()?).ok()??;
            fits(found.status.state).then_some((id, found.record.name.to_string()))
        });
        let found: Vec<(String, String)> = found.collect();
        let names = found.iter().map(|(_, name)| name);
        let names: Vec<String> = names.filter(|it| it.starts_with(typed)).cloned().collect();
        if !names.is_empty() || typed.is_empty() {
            return names;
        }
        let ids = found.into_iter().map(|(id, _)| id);
        ids.filter(|id| id.starts_with(typed))
            .filter_map(|id| shortened(&id, typed))
            .collect()
    }

    /// The container of a word that [`named`](Self::named) gives.
    fn id_of(&self, word: &str) -> Option<ContainerId> {
        if let Ok(id) = std::fs::read_link(self.storage.names().join(word)) {
            return id.to_str()?.parse().ok();
        }
        let mut ids = self.list(&self.storage.containers()).into_iter();
        ids.find(|id| id.starts_with(word))?.parse().ok()
    }

    /// `running, docker.io/library/redis:7`; none of one that is half removed.
    fn about_container(&self, id: &ContainerId) -> Option<String> {
        let found = container::load(&self.storage, id).ok()??;
        let state = found.status.state.word();
        let image = &found.record.image;
        Some(match image.name.is_empty() {
            true => format!("{state}, {}", image.id.short()),
            false => format!("{state}, {}", image.name),
        })
    }

    /// Names without what short ones stand for, or as they were begun; ids, too, once
    /// one is begun that no name begins with.
    pub fn images(&self, typed: &str) -> Vec<Described> {
        let root = self.storage.refs();
        let mut names: Vec<(String, std::path::PathBuf)> = Vec::new();
        // A folder of names, and the spellings of what lies beneath that may be meant.
        let mut folders: Vec<(String, Vec<String>)> = vec![(String::new(), Vec::new())];
        while let Some((folder, spelled)) = folders.pop() {
            for (entry, is_folder) in entries(&root.join(&folder)) {
                if is_folder {
                    let path = match folder.as_str() {
                        "" => entry,
                        folder => format!("{folder}/{entry}"),
                    };
                    let spelled = spellings(&path);
                    let leads_there =
                        |name: &String| name.starts_with(typed) || typed.starts_with(name.as_str());
                    let is_left_out = HOSTS.iter().any(|host| host.starts_with(&path));
                    if is_left_out || spelled.iter().any(leads_there) {
                        folders.push((path, spelled));
                    }
                } else {
                    let separator = match entry.starts_with('@') && !typed.contains('@') {
                        // A digest is long: it is offered when it is asked for.
                        true => continue,
                        false => &entry,
                    };
                    let path = root.join(&folder).join(&entry);
                    let mut spelled = spelled.iter().map(|name| format!("{name}{separator}"));
                    let begun = spelled.find(|name| name.starts_with(typed));
                    names.extend(begun.map(|name| (name, path)));
                }
            }
        }
        names.sort();
        names.dedup_by(|a, b| a.0 == b.0);
        let few = names.len() <= DESCRIBED;
        let mut words: Vec<Described> = names
            .into_iter()
            .map(|(name, path)| {
                let id = || std::fs::read_to_string(path).ok()?.trim().parse().ok();
                let about = few.then(|| self.about_image(&id()?)).flatten();
                (name, about.unwrap_or_default())
            })
            .collect();
        if words.is_empty() && typed.len() >= 2 {
            let length = 12.max(typed.len());
            let ids = self.list(&self.storage.images()).into_iter();
            words = ids
                .filter(|id| id.starts_with(typed))
                .filter_map(|id| {
                    let about = self.about_image(&id.parse().ok()?).unwrap_or_default();
                    Some((id.get(..length)?.to_owned(), about))
                })
                .collect();
        }
        words
    }

    /// `4.43 MB, 3 weeks ago`
    fn about_image(&self, id: &ImageId) -> Option<String> {
        let image = image::by_id(&self.storage, id).ok()??;
        let age = ago(image.made());
        Some(format!("{}, {age}", human::size(image.size, 3)))
    }

    pub fn volumes(&self, typed: &str) -> Vec<Described> {
        let mut names = self.list(&self.storage.volumes());
        // Anonymous ones have names that nobody types.
        let is_anonymous = |name: &str| name.len() == 64 && crate::id::is_hex(name);
        names.retain(|name| name.starts_with(typed) && (!typed.is_empty() || !is_anonymous(name)));
        names.sort();
        let few = names.len() <= DESCRIBED;
        let about = |name: &str| {
            let found: Name = name.parse().ok()?;
            let found = volume::load(&self.storage, &found).ok()??;
            let users = self.list(&self.storage.volume_users(&found.name)).len();
            let age = ago(found.created);
            Some(match users {
                0 => format!("volume, made {age}"),
                1 => format!("volume, made {age}, used by a container"),
                _ => format!("volume, made {age}, used by {users} containers"),
            })
        };
        let described = names.into_iter().map(|name| {
            let about = few.then(|| about(&name)).flatten();
            (name, about.unwrap_or_default())
        });
        described.collect()
    }

    pub fn snapshots(&self, volume: &str) -> Vec<Described> {
        let Ok(volume) = volume.parse::<Name>() else {
            return Vec::new();
        };
        let all = volume::snapshots(&self.storage, &volume).unwrap_or_default();
        let described = all
            .into_iter()
            .map(|it| (it.name.to_string(), ago(it.created)));
        described.collect()
    }

    /// The names of secrets: each has a file, with a colon before it.
    pub fn secrets(&self) -> Vec<Described> {
        let mut names = self.list(&self.storage.secrets());
        names.sort();
        let names = names.iter().filter_map(|name| name.strip_prefix(':'));
        names
            .map(|name| (name.to_owned(), "secret".to_owned()))
            .collect()
    }

    /// The names in a folder of the store's.
    pub fn folder(&self, folder: &str, what: &str) -> Vec<Described> {
        let mut names = self.list(&self.storage.root().join(folder));
        names.sort();
        names
            .into_iter()
            .map(|name| (name, what.to_owned()))
            .collect()
    }
}

/// `about an hour ago`, within a sentence.
fn ago(at: Timestamp) -> String {
    let mut text = human::ago(at);
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

/// Whether a container in that state can be stopped.
fn is_up(state: State) -> bool {
    !matches!(state, State::Created | State::Exited)
}

/// An id as short as tables show it, unless more was typed.
fn shortened(id: &str, typed: &str) -> Option<String> {
    Some(id.get(..12.max(typed.len()))?.to_owned())
}

/// The names in a folder, and which are folders.
fn entries(folder: &Path) -> Vec<(String, bool)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let is_folder = entry.file_type().ok()?.is_dir();
        Some((entry.file_name().into_string().ok()?, is_folder))
    });
    named.collect()
}

/// What short names leave out.
const HOSTS: [&str; 3] = ["docker.io/library/", "docker.io/", "localhost/"];

/// What a name may be begun as, the shortest first.
fn spellings(full: &str) -> Vec<String> {
    let short = HOSTS.iter().filter_map(|host| full.strip_prefix(host));
    let short = short.filter(|it| !it.is_empty()).map(str::to_owned);
    short.chain([full.to_owned()]).collect()
}

/// The registries that somebody is logged in to, by the names in auth.json.
pub fn registries(line: &Line) -> Vec<Described> {
    let Some(settings) = line.settings() else {
        return Vec::new();
    };
    let file = crate::registry::credentials::own_file(&settings, None);
    let text = std::fs::read(file).unwrap_or_default();
    let read: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let logged_in = read.get("auths").and_then(|it| it.as_object());
    let names = logged_in.into_iter().flat_map(|all| all.keys());
    names
        .map(|name| (name.clone(), "logged in".to_owned()))
        .collect()
}
