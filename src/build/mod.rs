//! Containerfile to image.
//!
//! ```text
//! context/    what is given: folder, archive, Containerfile, ignore file; which files a
//!             pattern means, and digests of them that are remembered
//! language/   text ──► instructions ──► stages: what is needed, in order; variables
//! stage/      each stage, step by step: what steps so far have come to, what is taken
//!             from where
//! steps/      each step: expand (variables) ─► key ─► cache: known, nothing is done
//!                  └──► RUN: a container whose upper folder becomes the layer
//!                       COPY, ADD: files put into a tree, likewise
//! cache/      what steps came to, here and in registries
//! squash, export      layers made one; an image's files given out
//! ```
//!
//! At the end: one sync, layers renamed into place, image, names, what steps came to.
//!
//! A step is kept by what it is made of ([`cache`]), never by when or where. Until the end
//! everything lies in staging: a build that fails keeps the steps that did not, one that is
//! killed leaves nothing.
//!
//! **Invariant:** nothing here prints but what a step's own command prints; the rest is
//! [`Said`].

pub mod cache;
pub mod context;
pub mod export;
pub mod language;
mod squash;
mod stage;
pub mod steps;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use language::stages::{Stage, Stages};

use crate::container::Options as ContainerOptions;
use crate::container::adopt::Times;
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::DiffId;
use crate::image::{self, Format, Image, Policy, Reference, Wanted, lists};
use crate::registry;
use crate::storage::{Locked, Staging};
use crate::sys::file::sync_file_system;
use cache::Cache;
use context::ignore::Ignore;
use language::Containerfile;
use steps::secret::{Agent, Secret};

/// What is built, and how. Checked.
pub struct Build {
    pub file: Containerfile,
    /// The folder whose files COPY takes; none: there is none.
    pub context: Option<PathBuf>,
    pub ignore: Ignore,
    /// `--build-context`
    pub contexts: BTreeMap<String, NamedContext>,
    /// `--build-arg`; none: as it is in the caller's environment.
    pub args: BTreeMap<String, String>,
    pub target: Option<String>,
    pub names: Vec<Reference>,
    /// The first of them as it was typed.
    pub typed: Option<String>,
    pub format: Format,
    pub squash: Squash,
    pub uses_cache: bool,
    pub cache_ttl: Option<Duration>,
    /// Repositories that have steps, and those that get them.
    pub cache_from: Vec<Reference>,
    pub cache_to: Vec<Reference>,
    pub policy: Policy,
    pub wanted: Wanted,
    pub registry: registry::Options,
    pub labels: Vec<(String, String)>,
    pub env: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    pub unset_env: Vec<String>,
    pub unset_labels: Vec<String>,
    pub unset_annotations: Vec<String>,
    pub inherits_labels: bool,
    pub inherits_annotations: bool,
    pub identity_label: bool,
    pub created_annotation: bool,
    pub omits_history: bool,
    /// `--timestamp`, `--source-date-epoch`: when all of it was made.
    pub created: Option<i64>,
    pub times: Times,
    /// `--from`
    pub base: Option<String>,
    pub skips_unused: bool,
    /// `--jobs`: how many stages are built at the same time; 0: as many as can be.
    pub jobs: usize,
    /// [`Said::Time`] is to be told now and then.
    pub beats: bool,
    pub secrets: Vec<Secret>,
    pub agents: Vec<Agent>,
    /// What flags say of the containers of RUN.
    pub template: ContainerOptions,
    /// Steps may read standard input.
    pub stdin: bool,
    /// Proxies of the caller's, for RUN alone.
    pub proxies: Vec<String>,
    /// Before each line of a step, where there are several builds.
    pub prefix: String,
    /// Say of each step why it ran.
    pub why: bool,
    /// Platform words for ARG: TARGETPLATFORM and its like.
    pub platform: BTreeMap<String, String>,
}

/// What `--build-context` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    Folder(PathBuf),
    Image(String),
    /// An archive, fetched when it is needed.
    Url(String),
}

/// What becomes of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Squash {
    /// One for each step.
    Layers,
    /// One for all steps.
    Steps,
    /// One for all, those of the base too.
    All,
}

/// What is told on the way.
#[derive(Serialize, Deserialize)]
pub enum Said {
    /// Of the build, where nobody asked for quiet.
    Line(String),
    /// A warning.
    Note(String),
    /// Of an image that is fetched.
    Image(image::Step),
    /// A step of the stage begins.
    Step { stage: usize, line: String },
    /// Printed by its command.
    Printed {
        stage: usize,
        is_error: bool,
        bytes: Vec<u8>,
    },
    /// It is done; `lines` say what came of it.
    Done {
        stage: usize,
        was_known: bool,
        lines: Vec<String>,
    },
    /// It has failed.
    Failed { stage: usize },
    /// Nothing, but time has passed.
    Time,
    /// The lines so far are to be seen now.
    Flush,
}

/// What was built.
pub struct Built {
    pub image: Image,
}

/// A step's command that failed: its code is the build's.
#[derive(Debug, Serialize, Deserialize)]
pub enum Failure {
    /// The command of a step ended so.
    Command {
        code: i32,
        error: Error,
    },
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Builds. What steps came to is kept even if a later one fails.
pub fn build(
    engine: &Engine,
    build: &Build,
    tell: &mut dyn FnMut(Said),
) -> std::result::Result<Built, Failure> {
    let stages = Stages::of(build)?;
    let storage = &engine.storage;
    steps::run::sweep(storage);
    let staging = storage.stage_apart()?;
    storage.look_for_layers_in(staging.path());
    let place = match &build.context {
        Some(folder) if !folder.starts_with(storage.root()) => folder.display().to_string(),
        _ => "-".to_owned(),
    };
    let name = format!("{place}\n{}\n{:?}", build.file.name, build.target);
    let cache = Cache::open(storage, build.uses_cache, build.cache_ttl, &name);
    let mut work = stage::Work::new(engine, build, &stages, &staging, cache);
    let made = work.all(tell).and_then(|state| work.squashed(state));
    let (cache, offers, mut held) = work.into_parts();
    // What was made is kept before anything of it is named.
    let kept = keep(engine, &staging, cache, &mut held);
    let state = made?;
    kept?;
    cache::remote::push(engine, build, &staging, &offers, &mut held, tell)?;
    let image = publish(engine, build, &staging, state, &mut held, tell)?;
    Ok(Built { image })
}

/// Puts the layers that were made into place, and what steps came to.
fn keep(
    engine: &Engine,
    staging: &Staging,
    mut cache: Cache<'_>,
    held: &mut HashMap<DiffId, Locked>,
) -> Result<()> {
    let storage = &engine.storage;
    let mut made: Vec<DiffId> = Vec::new();
    for hex in storage.list(staging.path())? {
        if let Ok(id) = format!("sha256:{hex}").parse::<DiffId>() {
            made.push(id);
        }
    }
    if !made.is_empty() {
        sync_file_system(staging.path()).tried(|| "sync layers")?;
        for id in made {
            let lock = storage.publish_layer(staging, id.hex(), &id)?;
            held.insert(id, lock);
        }
        crate::sys::file::sync_dir(&storage.layers()).tried(|| "sync layers")?;
    }
    cache.save()
}

/// Puts the image into place, if it is not there, and gives it its names.
fn publish(
    engine: &Engine,
    build: &Build,
    staging: &Staging,
    state: stage::State,
    held: &mut HashMap<DiffId, Locked>,
    tell: &mut dyn FnMut(Said),
) -> Result<Image> {
    let storage = &engine.storage;
    let known = match &state.base_only {
        Some(id) => image::by_id(storage, id)?,
        None => None,
    };
    let image = match known {
        Some(image) => image,
        None => {
            let written = state.describe(build).write()?;
            match image::by_id(storage, &written.id())? {
                Some(image) => image,
                None => {
                    let mut layers = Vec::new();
                    for (id, _) in &state.layers {
                        let layer = storage
                            .read_layer(id)?
                            .ok_or_else(|| Error::other(format!("layer {id} is gone")))?;
                        layers.push(layer);
                    }
                    let user = state.user_ids(engine)?;
                    image::publish(storage, staging, written, &layers, &[], user, held)?
                }
            }
        }
    };
    let _lock = image.lock(storage)?;
    tell(Said::Line(format!("--> {}", image.id.short())));
    // As Podman: the first name last.
    for name in build.names.iter().skip(1).chain(build.names.first()) {
        image::tag(storage, &image, &[name.to_string()])?;
        tell(Said::Line(format!("Successfully tagged {name}")));
    }
    Ok(image)
}

/// Adds images to a manifest list, which is made if there is none.
pub fn add_to_list(engine: &Engine, name: &Reference, images: &[Image]) -> Result<()> {
    let storage = &engine.storage;
    let list = match lists::find_list(storage, &name.to_string()) {
        Ok(list) => list,
        Err(error) if error.kind() == Kind::NotFound => {
            lists::create(storage, name, BTreeMap::new())?
        }
        Err(error) => return Err(error),
    };
    for image in images {
        let wanted = lists::Add {
            text: image.id.as_str(),
            all: false,
            said: &lists::Said::default(),
            options: &crate::registry::Options::default(),
        };
        let added = lists::look(engine, &wanted)?;
        lists::change(storage, &list, |list| {
            lists::add(list, added);
            Ok(())
        })?;
    }
    Ok(())
}

/// A boolean as Go's strconv reads it.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
