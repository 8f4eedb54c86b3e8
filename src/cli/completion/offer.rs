//! What is offered for a kind of value.

use super::kind::{Kind, Word};
use super::line::Line;
use super::store::Described;
use super::{fields, filters, inside};
use crate::runtime::capability::CapSet;

/// What is offered, and what the shell may add.
#[derive(Debug, Default)]
pub struct Offers {
    /// A word and what it is.
    pub words: Vec<Described>,
    pub files: Files,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    #[default]
    None,
    All,
    Folders,
}

impl Offers {
    pub fn of(words: Vec<Described>) -> Self {
        Self {
            words,
            files: Files::None,
        }
    }

    pub fn fixed(words: &[Word]) -> Self {
        let owned = |(word, about): &Word| ((*word).to_owned(), (*about).to_owned());
        Self::of(words.iter().map(owned).collect())
    }

    pub fn files(files: Files) -> Self {
        Self {
            words: Vec::new(),
            files,
        }
    }

    /// Puts what is typed already in the same word before each.
    pub fn put_before(&mut self, prefix: &str) {
        for (word, _) in &mut self.words {
            word.insert_str(0, prefix);
        }
    }

    /// Puts what goes on in the same word behind each.
    fn put_behind(mut self, suffix: char) -> Self {
        self.words
            .iter_mut()
            .for_each(|(word, _)| word.push(suffix));
        self
    }

    fn and(mut self, other: Self) -> Self {
        self.words.extend(other.words);
        if self.files == Files::None {
            self.files = other.files;
        }
        self
    }

    /// The number that tells the shell what to do.
    pub fn directive(&self) -> u8 {
        let files = match self.files {
            Files::None => 4,
            Files::All => 0,
            Files::Folders => 16,
        };
        let goes_on = |word: &str| word.ends_with([':', '=', '/', '.', '@', ',', '-']);
        let all = !self.words.is_empty() && self.words.iter().all(|(word, _)| goes_on(word));
        files + if all { 2 } else { 0 }
    }
}

impl Line {
    /// What of `kind` may stand where `typed` stands.
    pub fn value(&self, kind: Kind, typed: &str) -> Offers {
        let of = |words: Option<Vec<Described>>| Offers::of(words.unwrap_or_default());
        let store = || self.store();
        match kind {
            Kind::Text => Offers::default(),
            Kind::File => Offers::files(Files::All),
            Kind::Folder => Offers::files(Files::Folders),
            Kind::Words(words) => Offers::fixed(words).and(self.after_word(words, typed)),
            Kind::Several(words) => several(Offers::fixed(words), typed),
            Kind::Container(which) => of(store().map(|it| it.containers(which, typed))),
            Kind::ContainerFile => match typed.split_once(':') {
                Some((name, path)) => {
                    let mut offers = Offers::of(inside::of_container(self, name, path));
                    offers.put_before(&format!("{name}:"));
                    offers
                }
                None => of(store().map(|it| it.containers(super::kind::Which::All, typed)))
                    .put_behind(':')
                    .and(Offers::files(Files::All)),
            },
            Kind::PathInside => Offers::of(inside::paths(self, typed)),
            Kind::Program => Offers::of(inside::programs(self, typed)),
            Kind::HostProgram => Offers::of(inside::host_programs(typed)).and(Offers::files(
                // Those in PATH are named; a path leads to others.
                Files::All,
            )),
            Kind::Image => of(store().map(|it| it.images(typed))),
            Kind::ContainerOrImage => self
                .value(Kind::Container(super::kind::Which::All), typed)
                .and(self.value(Kind::Image, typed)),
            Kind::Any => self
                .value(Kind::ContainerOrImage, typed)
                .and(self.value(Kind::Volume, typed)),
            Kind::Volume => of(store().map(|it| it.volumes(typed))),
            Kind::Snapshot => {
                let volume = self.operands.first();
                of(volume.and_then(|name| Some(store()?.snapshots(name))))
            }
            Kind::VolumeOrSnapshot => match typed.split_once('@') {
                Some((volume, _)) => {
                    let mut offers = of(store().map(|it| it.snapshots(volume)));
                    offers.put_before(&format!("{volume}@"));
                    offers
                }
                None => self.value(Kind::Volume, typed),
            },
            Kind::Secret => match typed.rsplit_once(',') {
                Some((done, field)) => {
                    let mut offers = match field.starts_with("type=") {
                        true => Offers::fixed(&[("type=mount", "A file"), ("type=env", "")]),
                        false => Offers::fixed(SECRET_FIELDS),
                    };
                    offers.put_before(&format!("{done},"));
                    offers
                }
                None => of(store().map(|it| it.secrets())),
            },
            Kind::Network => of(store().map(|it| it.folder("networks", "network"))),
            Kind::Mount => self.mount(typed),
            Kind::MountFields => self.mount_fields(typed),
            Kind::Filter => filters::offers(self, typed),
            Kind::Template => fields::offers(self.command, typed),
            Kind::Capability => several(capabilities(typed), typed),
            Kind::Signal => signals(typed),
            Kind::User => Offers::of(inside::users(self, typed)),
            Kind::Variable => match typed.contains('=') {
                true => Offers::default(),
                false => variables(),
            },
            Kind::Registry => Offers::of(super::store::registries(self)),
            Kind::TimeZone => time_zones(typed),
            Kind::NetworkMode => self.namespace(NETWORKS, typed),
            Kind::Namespace(own) => self.namespace(own, typed),
            Kind::Shell => {
                Offers::fixed(&[("bash", ""), ("fish", ""), ("powershell", ""), ("zsh", "")])
            }
        }
    }

    /// What follows a word that goes on: `container:` and `ns:`.
    fn after_word(&self, words: &[Word], typed: &str) -> Offers {
        let Some((first, rest)) = typed.split_once(':') else {
            return Offers::default();
        };
        let is_offered = |word: &str| words.iter().any(|(offered, _)| *offered == word);
        let mut offers = match first {
            "container" if is_offered("container:") => {
                self.value(Kind::Container(super::kind::Which::Up), rest)
            }
            "ns" if is_offered("ns:") => self.value(Kind::File, rest),
            "keep-id" | "auto" if is_offered("keep-id:") => several(
                Offers::fixed(match first {
                    "auto" => &[("size=", ""), ("uidmapping=", ""), ("gidmapping=", "")],
                    _ => &[("uid=", "Who you are inside"), ("gid=", ""), ("size=", "")],
                }),
                rest,
            ),
            _ => return Offers::default(),
        };
        offers.put_before(&format!("{first}:"));
        offers
    }

    fn namespace(&self, own: &'static [Word], typed: &str) -> Offers {
        let others: &[Word] = &[
            ("container:", "That of another container"),
            ("ns:", "The namespace at a path"),
        ];
        let mut offers = Offers::fixed(own)
            .and(Offers::fixed(others))
            .and(self.after_word(others, typed));
        if own == NETWORKS {
            offers = offers.and(self.value(Kind::Network, typed));
        }
        offers
    }

    /// `-v [SOURCE:]DESTINATION[:OPTIONS]`
    fn mount(&self, typed: &str) -> Offers {
        let parts: Vec<&str> = typed.splitn(3, ':').collect();
        let (mut offers, prefix) = match parts[..] {
            [source, destination] => (
                Offers::of(inside::paths(self, destination)),
                format!("{source}:"),
            ),
            [source, destination, options] => (
                several(Offers::fixed(MOUNT_OPTIONS), options),
                format!("{source}:{destination}:"),
            ),
            _ => {
                let volumes = self.value(Kind::Volume, typed).put_behind(':');
                return volumes.and(Offers::files(Files::All));
            }
        };
        offers.put_before(&prefix);
        offers
    }

    /// `--mount type=bind,source=…`
    fn mount_fields(&self, typed: &str) -> Offers {
        let (done, field) = match typed.rsplit_once(',') {
            Some((done, field)) => (format!("{done},"), field),
            None => (String::new(), typed),
        };
        let kind = done.split(',').find_map(|it| it.strip_prefix("type="));
        let mut offers = match field.split_once('=') {
            Some(("type", _)) => {
                let mut offers = Offers::fixed(MOUNT_TYPES);
                offers.put_before("type=");
                offers
            }
            Some((key @ ("source" | "src"), value)) => {
                let mut offers = match kind {
                    Some("volume") => self.value(Kind::Volume, value),
                    Some("image") => self.value(Kind::Image, value),
                    // The shells complete whole words, and this is a part of one.
                    _ => Offers::of(inside::host_paths(value)),
                };
                offers.put_before(&format!("{key}="));
                offers
            }
            Some((key @ ("destination" | "dst" | "target"), value)) => {
                let mut offers = self.value(Kind::PathInside, value);
                offers.put_before(&format!("{key}="));
                offers
            }
            Some(_) => Offers::default(),
            None => Offers::fixed(match kind {
                None => &[("type=", "What is mounted: bind, volume, tmpfs, image…")],
                Some("tmpfs" | "ramfs") => &[
                    ("destination=", "Where in the container"),
                    ("tmpfs-size=", "How much it may take"),
                    ("tmpfs-mode=", "The mode of its root"),
                    ("ro", "Read-only"),
                ],
                Some(_) => &[
                    ("source=", "What is mounted"),
                    ("destination=", "Where in the container"),
                    ("ro", "Read-only"),
                    ("U", "Give its files to the container's user"),
                    ("relabel=", "shared or private, for SELinux"),
                    ("bind-propagation=", "private, rprivate, shared, slave…"),
                    ("subpath=", "A folder in it"),
                ],
            }),
        };
        offers.put_before(&done);
        offers
    }
}

/// A list with commas: what stands before the last stays.
fn several(mut offers: Offers, typed: &str) -> Offers {
    if let Some((done, _)) = typed.rsplit_once(',') {
        let given: Vec<&str> = done.split(',').collect();
        offers
            .words
            .retain(|(word, _)| !given.contains(&word.as_str()));
        offers.put_before(&format!("{done},"));
    }
    offers
}

/// As they were begun: with `CAP_` or without, in small letters or large.
fn capabilities(typed: &str) -> Offers {
    let last = typed.rsplit(',').next().unwrap_or_default();
    let spelled = |name: String| {
        let short = name.trim_start_matches("CAP_").to_owned();
        let full = last.to_uppercase().starts_with("CAP_");
        let name = if full { name } else { short };
        match last.starts_with(|c: char| c.is_ascii_lowercase()) {
            true => name.to_lowercase(),
            false => name,
        }
    };
    let names = CapSet::known().names().into_iter().map(spelled);
    let all = if last.starts_with('a') { "all" } else { "ALL" };
    let mut words: Vec<Described> = names.map(|name| (name, String::new())).collect();
    words.insert(0, (all.to_owned(), "All of them".to_owned()));
    Offers::of(words)
}

fn signals(typed: &str) -> Offers {
    let full = typed.to_uppercase().starts_with("SIG");
    let lower = typed.starts_with(|c: char| c.is_ascii_lowercase());
    let words = crate::sys::signal::names().map(|(name, number)| {
        let name = if full {
            format!("SIG{name}")
        } else {
            name.to_owned()
        };
        let name = if lower { name.to_lowercase() } else { name };
        (name, number.to_string())
    });
    Offers::of(words.collect())
}

/// The caller's variables, which go in by their name alone.
fn variables() -> Offers {
    let mut words: Vec<Described> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name != "CORACLE_AFTER_CURSOR")
        .map(|name| (name, "As it is here".to_owned()))
        .collect();
    words.sort();
    Offers::of(words)
}

/// Zones beneath /usr/share/zoneinfo, a folder at a time.
fn time_zones(typed: &str) -> Offers {
    let folder = typed.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut offers = Offers::default();
    if folder.is_empty() {
        offers = Offers::fixed(&[("local", "That of this machine")]);
    }
    if folder.split('/').any(|part| part == "..") {
        return offers;
    }
    let entries = std::fs::read_dir(std::path::Path::new("/usr/share/zoneinfo").join(folder));
    for entry in entries.into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
            continue;
        }
        let slash = if entry.path().is_dir() { "/" } else { "" };
        let before = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        offers
            .words
            .push((format!("{before}{name}{slash}"), String::new()));
    }
    offers.words.sort();
    offers
}

pub const NETWORKS: &[Word] = &[
    ("pasta", "The caller's network, by pasta (the default)"),
    ("host", "That of this machine"),
    ("none", "None but its own loopback"),
    ("private", "A network namespace of its own"),
];

const SECRET_FIELDS: &[Word] = &[
    ("type=", "mount: a file (the default); env: a variable"),
    ("target=", "The file's path or the variable's name"),
    ("uid=", "Whose the file is"),
    ("gid=", "Whose group the file is of"),
    ("mode=", "The file's mode: 0400"),
];

pub const MOUNT_OPTIONS: &[Word] = &[
    ("ro", "Read-only"),
    ("rw", "Writable (the default)"),
    ("z", "Label it for all containers (SELinux)"),
    ("Z", "Label it for this container alone (SELinux)"),
    ("U", "Give its files to the container's user"),
    ("O", "Writes go to a layer that is thrown away"),
    ("copy", "Fill the volume from the image (the default)"),
    ("nocopy", "Do not fill the volume from the image"),
    ("noexec", "No programs of it are run"),
    ("nosuid", "Its setuid bits mean nothing"),
    ("nodev", "Its devices are none"),
    ("rbind", "With what is mounted beneath (the default)"),
    ("bind", "Without what is mounted beneath"),
];

pub const MOUNT_TYPES: &[Word] = &[
    ("bind", "A file or folder of this machine"),
    ("volume", "A volume"),
    ("tmpfs", "A folder in memory"),
    ("image", "An image's files"),
    ("glob", "Files by a pattern"),
    ("devpts", "Terminals"),
    ("ramfs", "A folder in memory that is never swapped"),
];
