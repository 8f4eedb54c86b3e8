//! Containerfile to image.
//!
//! ```text
//! text ── language ──► instructions ── stages ──► what is needed, in order
//!   each step:   expand (variables) ─► key ─► cache: known, nothing is done
//!                                       └──► RUN: run, a container whose upper folder becomes
//!                                            the layer; COPY, ADD: source, put, likewise
//!   at the end:  one sync, layers renamed into place, image, names, what steps came to
//! ```
//!
//! A step is kept by what it is made of ([`cache`]), never by when or where. Until the end
//! everything lies in staging: a build that fails keeps the steps that did not, one that is
//! killed leaves nothing.
//!
//! **Invariant:** nothing here prints but what a step's own command prints; the rest is
//! [`Said`].

pub mod cache;
mod chmod;
mod expand;
mod glob;
pub mod ignore;
pub mod language;
mod memory;
mod mounts;
mod put;
mod run;
pub mod secret;
mod source;
mod squash;
mod stage;
mod stages;
mod step_copy;
mod step_run;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use stages::{Stage, Stages};

use crate::container::Options as ContainerOptions;
use crate::container::adopt::Times;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::DiffId;
use crate::image::{self, Format, Image, Policy, Reference, Wanted};
use crate::registry;
use crate::storage::{Locked, Staging};
use crate::sys::file::sync_file_system;
use cache::Cache;
use ignore::Ignore;
use language::Containerfile;
use secret::{Agent, Secret};

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
    pub secrets: Vec<Secret>,
    pub agents: Vec<Agent>,
    /// What flags say of the containers of RUN.
    pub template: ContainerOptions,
    /// Proxies of the caller's, for RUN alone.
    pub proxies: Vec<String>,
    pub quiet: bool,
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
pub enum Said {
    /// Of the build, where nobody asked for quiet.
    Line(String),
    /// A warning.
    Note(String),
    /// Of an image that is fetched.
    Image(image::Step),
    /// The lines so far are to be seen now.
    Flush,
}

/// What was built.
pub struct Built {
    pub image: Image,
}

/// A step's command that failed: its code is the build's.
#[derive(Debug)]
pub enum Failure {
    /// The command of a step ended so.
    Command {
        code: i32,
        error: Error,
    },
    Interrupted(i32),
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
    step_run::sweep(storage);
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
    let (cache, mut held) = work.into_parts();
    // What was made is kept before anything of it is named.
    let kept = keep(engine, &staging, cache, &mut held);
    let state = made?;
    kept?;
    let image = publish(engine, build, &staging, state, &mut held, tell)?;
    Ok(Built { image })
}

/// Unpacks an archive that is a context into the new folder `into`, as the caller.
pub fn unpack_context(from: std::fs::File, into: &Path) -> Result<()> {
    std::fs::create_dir(into).tried(|| format!("make {}", into.display()))?;
    let owner = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let how = put::How {
        to: "/",
        owner: Some(owner),
        is_callers: true,
        chmod: None,
        unpack: true,
        single: false,
        many: false,
    };
    let mut tree = put::Tree::new(crate::storage::walk::open_root(into)?);
    tree.unpack(from, Path::new(""), &how)?;
    tree.finish().map(drop)
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

/// A boolean as Go's strconv reads it.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Writes the files of an image to the folder `into`, as the caller's.
pub fn export_folder(engine: &Engine, layers: &[DiffId], into: &Path) -> Result<()> {
    let lower = engine.storage.plain(layers);
    engine.in_namespace(|| {
        let mounted = crate::container::read_only(&engine.storage, &lower)?;
        let root = crate::storage::walk::open(&mounted, c".", rustix::fs::OFlags::DIRECTORY)?;
        let mut memory = memory::Memory::none();
        let nothing = Ignore::default();
        let search = stage::search(&root, &nothing, &[], false, true);
        let sources = search.find("/", &mut memory)?;
        let how = put::How {
            to: "/",
            owner: Some((0, 0)),
            is_callers: true,
            chmod: None,
            unpack: false,
            single: false,
            many: false,
        };
        let mut tree = put::Tree::new(crate::storage::walk::open_root(into)?);
        tree.put(&root, &sources, &how)?;
        tree.finish().map(drop)
    })
}

/// Writes the files of an image to `out` as a tar.
pub fn export_archive(engine: &Engine, layers: &[DiffId], out: &std::fs::File) -> Result<()> {
    use crate::volume::{Marks, Packing, pack_into};
    let lower = engine.storage.plain(layers);
    engine.in_namespace(|| {
        let mounted = crate::container::read_only(&engine.storage, &lower)?;
        let root = crate::storage::walk::open(&mounted, c".", rustix::fs::OFlags::DIRECTORY)?;
        let out = std::io::BufWriter::with_capacity(1 << 18, out);
        let mut writer = crate::storage::pack::Writer::new(out);
        let packing = Packing {
            dress: &|entry| {
                entry.mtime.1 = 0;
                entry
                    .xattrs
                    .retain(|(name, _)| !name.starts_with("user.overlay."));
                Ok(())
            },
            marks: Marks::Left,
            holes: false,
            watch: &(),
        };
        pack_into(root, &mut writer, b"", &packing)?;
        Ok(std::io::Write::flush(&mut writer.finish()?)?)
    })
}
