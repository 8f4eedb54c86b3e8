//! Stages, step by step.
//!
//! [`Work`] is a build at work, [`State`] what steps so far have come to, [`Here`] where in
//! the build we are; [`origin`] says what is taken from where, `beside` does several stages
//! at a time.

mod beside;
pub mod origin;
mod state;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub use origin::Origin;
pub use state::State;

use state::seconds;

use crate::build::cache::remote::Offer;
use crate::build::cache::{Cache, Entry, Key};
use crate::build::context::ignore::Ignore;
use crate::build::context::memory::Memory;
use crate::build::language::stages::{From, Stage, Stages, platform_flag};
use crate::build::language::variables::PROXIES;
use crate::build::language::{Instruction, parse_line};
use crate::build::steps::shown::shown_step;
use crate::build::{Build, Failure, Said, Squash};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::DiffId;
use crate::image::manifest::History;
use crate::image::{Format, Image, ImageConfig};
use crate::storage::layer::Layer;
use crate::storage::{Locked, Staging};
use crate::sys::file::open_dir;

/// A build at work.
pub struct Work<'a> {
    pub engine: &'a Engine,
    pub build: &'a Build,
    pub stages: &'a Stages,
    pub staging: &'a Staging,
    pub cache: Cache<'a>,
    /// Steps for the repositories of `--cache-to`.
    pub offers: Vec<Offer>,
    /// Layers and images in use.
    pub held: HashMap<DiffId, Locked>,
    images: HashMap<String, (Image, Locked)>,
    /// Contexts that were fetched, by their URL.
    fetched: HashMap<String, PathBuf>,
    /// What each stage came to.
    pub done: BTreeMap<usize, State>,
    /// The context's root and what is remembered of its files.
    context: Option<(OwnedFd, Memory<'a>)>,
    pub consumed: BTreeSet<String>,
    /// Counts folders in staging, which are named by the stage too.
    made: usize,
    at: usize,
    pub warned: BTreeSet<String>,
}

/// Where in the build we are.
pub struct Here<'a> {
    pub stage: &'a Stage,
    pub state: State,
    /// Declared and given.
    pub args: BTreeMap<String, String>,
    /// Those that the stage declares.
    pub declared: BTreeSet<String>,
    pub step: usize,
    /// The last of all.
    pub is_last: bool,
}

impl Here<'_> {
    /// What a variable is: ENV before ARG.
    pub fn lookup(&self, name: &str) -> Option<String> {
        let of = |variable: &String| {
            let (key, value) = variable.split_once('=')?;
            (key == name).then(|| value.to_owned())
        };
        self.state
            .config
            .env
            .iter()
            .find_map(of)
            .or_else(|| self.args.get(name).cloned())
    }

    /// What a command of the stage sees: ENV, and ARG where ENV says nothing.
    pub fn environment(&self) -> Vec<String> {
        let mut env = self.state.config.env.clone();
        for (name, value) in &self.args {
            let prefix = format!("{name}=");
            if !env.iter().any(|it| it.starts_with(&prefix)) {
                env.push(format!("{prefix}{value}"));
            }
        }
        env
    }

    /// As the history has it: `NAME=value`, the environment's where that has it.
    pub fn arguments_said(&self) -> Vec<String> {
        let is_said =
            |name: &&String| self.declared.contains(*name) || !PROXIES.contains(&name.as_str());
        self.args
            .keys()
            .filter(is_said)
            .map(|name| format!("{name}={}", self.lookup(name).unwrap_or_default()))
            .collect()
    }
}

/// What a step came to, and whether that was known.
pub struct Effect {
    pub entry: Entry,
    pub was_known: bool,
    /// The key's name, unless a repository has it already, or it is of no key.
    pub offered_as: Option<String>,
}

/// What a step has made.
#[derive(Default)]
pub struct Made {
    pub layer: Option<Layer>,
    /// Of what was copied.
    pub content: String,
    /// It changed while it was read, and so is of no known content.
    pub unsteady: bool,
}

impl<'a> Work<'a> {
    pub fn new(
        engine: &'a Engine,
        build: &'a Build,
        stages: &'a Stages,
        staging: &'a Staging,
        cache: Cache<'a>,
    ) -> Self {
        Self {
            engine,
            build,
            stages,
            staging,
            cache,
            offers: Vec::new(),
            held: HashMap::new(),
            images: HashMap::new(),
            fetched: HashMap::new(),
            done: BTreeMap::new(),
            context: None,
            consumed: BTreeSet::new(),
            made: 0,
            at: 0,
            warned: BTreeSet::new(),
        }
    }

    pub fn into_parts(self) -> (Cache<'a>, Vec<Offer>, HashMap<DiffId, Locked>) {
        if let Some((_, memory)) = self.context {
            memory.save();
        }
        (self.cache, self.offers, self.held)
    }

    /// Every stage that is needed.
    pub fn all(&mut self, tell: &mut dyn FnMut(Said)) -> Result<State, Failure> {
        let stages = self.stages;
        let last = *stages.order.last().expect("a file has a stage");
        if self.build.jobs != 1 || self.build.beats {
            self.beside(tell)?;
        } else {
            for &number in &stages.order {
                self.at = number;
                let state = self.stage(&stages.all[number], number == last, tell)?;
                self.done.insert(number, state);
            }
        }
        let unused: Vec<&str> = (self.build.args.keys())
            .filter(|name| !self.consumed.contains(*name))
            .filter(|name| !PROXIES.contains(&name.as_str()))
            .filter(|name| !stages.head.contains_key(*name))
            .map(String::as_str)
            .collect();
        if !unused.is_empty() {
            tell(Said::Line(format!(
                "[Warning] one or more build args were not consumed: [{}]",
                unused.join(" ")
            )));
        }
        Ok(self.done.remove(&last).expect("it was just built"))
    }

    fn stage(
        &mut self,
        stage: &Stage,
        is_last: bool,
        tell: &mut dyn FnMut(Said),
    ) -> Result<State, Failure> {
        let total = self.stages.all.len();
        let mut prefix = self.build.prefix.clone();
        if total > 1 {
            prefix.push_str(&format!("[{}/{total}] ", stage.number + 1));
        }
        let mut steps = stage.steps.clone();
        let shown = match stage.from {
            // As Podman, which knows it by what it came to.
            From::Stage(number) => {
                let id = self.done[&number].id(self.build)?;
                let alias = stage.name.iter().map(|name| format!(" AS {name}"));
                let flag = platform_flag(stage.platform.as_deref());
                format!("FROM {flag}{id}{}", alias.collect::<String>())
            }
            _ => stage.shown.clone(),
        };
        tell(Said::Step {
            stage: stage.number,
            line: format!("{prefix}STEP 1/{}: {shown}", steps.len() + 1),
        });
        let state = self.begin(stage, tell)?;
        let mut here = Here {
            stage,
            state,
            args: BTreeMap::new(),
            declared: BTreeSet::new(),
            step: 0,
            is_last: false,
        };
        for name in PROXIES {
            if let Some(value) = self.build.args.get(name) {
                here.args.insert(name.to_owned(), value.clone());
            }
        }
        tell(Said::Done {
            stage: stage.number,
            was_known: false,
            lines: Vec::new(),
        });
        // What the base wants done in images made of it.
        let triggers = std::mem::take(&mut here.state.config.on_build);
        for (at, line) in triggers.iter().enumerate() {
            let mut step = parse_line("ONBUILD", line, 0, '\\')?;
            step.heredocs = Vec::new();
            steps.insert(at, step);
        }
        let count = steps.len();
        for (at, step) in steps.iter().enumerate() {
            here.step = at + 1;
            here.is_last = is_last && at + 1 == count;
            self.engine.interrupted()?;
            tell(Said::Step {
                stage: stage.number,
                line: format!(
                    "{prefix}STEP {}/{}: {}",
                    at + 2,
                    count + 1,
                    shown_step(step)
                ),
            });
            tell(Said::Flush);
            let was_known = self.one(&mut here, step, tell);
            if was_known.is_err() {
                tell(Said::Failed {
                    stage: stage.number,
                });
            }
            // An error may be the signal's doing.
            self.engine.interrupted()?;
            let was_known = was_known?;
            let mut lines = Vec::new();
            if self.build.squash == Squash::Layers {
                let id = here.state.id(self.build)?;
                if was_known {
                    lines.push(format!("--> Using cache {id}"));
                }
                if at + 1 < count || !is_last {
                    lines.push(format!("--> {}", id.short()));
                }
            }
            tell(Said::Done {
                stage: stage.number,
                was_known,
                lines,
            });
        }
        let is_told = count > 0 && self.build.squash == Squash::Layers;
        if !is_last && !is_told {
            let id = here.state.id(self.build)?;
            tell(Said::Line(format!("--> {}", id.short())));
        }
        if is_last {
            tell(Said::Line(match &self.build.typed {
                Some(name) => format!("{prefix}COMMIT {name}"),
                None => format!("{prefix}COMMIT"),
            }));
        }
        Ok(here.state)
    }

    /// Where a stage begins.
    fn begin(&mut self, stage: &Stage, tell: &mut dyn FnMut(Said)) -> Result<State, Failure> {
        match &stage.from {
            From::Scratch => Ok(State::scratch(&self.wanted(stage)?)),
            From::Stage(number) => {
                let mut state = self.done[number].clone();
                // Each stage's own steps become one layer.
                if self.build.squash == Squash::Steps {
                    state = self.squashed(state)?;
                    state.base_layers = state.layers.len();
                    state.base_history = state.history.len();
                }
                state.has_command = false;
                Ok(state)
            }
            From::Image(name) => {
                let wanted = self.wanted(stage)?;
                let image =
                    self.image(name, &wanted, tell).map_err(|error| {
                        let error = error.tried("creating build container");
                        let names = self.stages.all.iter().filter_map(|it| it.name.as_deref());
                        match names.skip(stage.number).any(|it| it.eq_ignore_ascii_case(name)) {
                        true => error.hint(format!(
                            "a stage can begin only with one that stands before it: {name} does not"
                        )),
                        false => error,
                    }
                    })?;
                let state = State::of_image(&image, self.engine, self.build)?;
                self.hold(&state)?;
                Ok(state)
            }
            From::Folder(folder) => {
                let what = format!("FROM of the folder {}", folder.display());
                Err(Error::unsupported(what).into())
            }
        }
    }

    /// One step. True if what it comes to was known.
    fn one(
        &mut self,
        here: &mut Here<'_>,
        step: &Instruction,
        tell: &mut dyn FnMut(Said),
    ) -> Result<bool, Failure> {
        let (effect, text) = match step.keyword.as_str() {
            "RUN" => self.run(here, step, tell)?,
            "COPY" | "ADD" => {
                let done = self.copy(here, step, tell);
                done.map_err(|failure| match failure {
                    Failure::Other(error) => Failure::Other(self.failed(step, error)),
                    failure => failure,
                })?
            }
            _ => {
                // One that changes the config alone is kept by all that stands before.
                let before = here.state.clone();
                let text = self
                    .config(here, step, tell)
                    .map_err(|error| self.failed(step, error))?;
                let key = Key::new(&step.original)
                    .with("what stands before", &before)
                    .with("variables", &here.args)
                    .with(
                        "flags of the build",
                        &(self.build.format == Format::Docker, self.build.created),
                    );
                let effect = match self.recall(here, &key, tell) {
                    Some(effect) => effect,
                    None => self.remember(here, step, key, Made::default()),
                };
                (effect, text)
            }
        };
        let Effect {
            entry,
            was_known,
            offered_as,
        } = effect;
        let state = &mut here.state;
        let created = match self.build.created {
            Some(at) => seconds(at),
            None => entry.created.clone(),
        };
        if let Some(layer) = &entry.layer {
            state.layers.push((layer.clone(), entry.size));
            let held = self.engine.storage.hold_layer(layer)?;
            let held = held.ok_or_else(|| Error::other(format!("layer {layer} is gone")))?;
            self.held.entry(layer.clone()).or_insert(held);
        }
        let author = match step.is("MAINTAINER") {
            true => state.author.clone(),
            false => String::new(),
        };
        state.history.push(History {
            created: Some(created.clone()),
            created_by: text,
            author,
            comment: std::mem::take(&mut state.comment),
            empty_layer: entry.layer.is_none(),
        });
        state.created = Some(created);
        state.base_only = None;
        if let (Some(key), false) = (offered_as, self.build.cache_to.is_empty()) {
            self.offers.push(Offer {
                key,
                entry,
                state: state.clone(),
            });
        }
        Ok(was_known)
    }

    /// The key of a step that makes a layer: its text, the times that its files are given,
    /// the layers it stands on if these count.
    pub fn key(&self, step: &Instruction, layers: Option<&[DiffId]>) -> Key {
        let key = Key::new(&step.original).with("times", &format!("{:?}", self.build.times));
        match layers {
            Some(layers) => key.with("layers beneath", &layers),
            None => key,
        }
    }

    /// What the step of `key` came to, if that is known; says why, or why not.
    pub fn recall(
        &mut self,
        here: &Here<'_>,
        key: &Key,
        tell: &mut dyn FnMut(Said),
    ) -> Option<Effect> {
        let place = (here.stage.number, here.step);
        let (entry, was_fetched) = match self.cache.get(key) {
            Some(entry) => (Some(entry), false),
            None => (self.fetch_step(key, tell), true),
        };
        self.tell_why(place, key, entry.is_some(), tell);
        entry.map(|entry| {
            self.cache.note(place, key.clone());
            Effect {
                entry,
                was_known: true,
                offered_as: (!was_fetched).then(|| key.hex()),
            }
        })
    }

    /// Remembers what a step has come to.
    pub fn remember(
        &mut self,
        here: &Here<'_>,
        step: &Instruction,
        key: Key,
        made: Made,
    ) -> Effect {
        let entry = Entry {
            size: made.layer.as_ref().map_or(0, |layer| layer.size),
            layer: made.layer.map(|layer| layer.id),
            created: jiff::Timestamp::now().to_string(),
            content: made.content,
            step: step.original.clone(),
        };
        if !made.unsteady {
            self.cache.put(&key, entry.clone());
        }
        let offered_as = (!made.unsteady).then(|| key.hex());
        self.cache.note((here.stage.number, here.step), key);
        Effect {
            entry,
            was_known: false,
            offered_as,
        }
    }

    /// Says why a step ran, or that it did not have to.
    pub fn tell_why(
        &mut self,
        place: (usize, usize),
        key: &Key,
        was_known: bool,
        tell: &mut dyn FnMut(Said),
    ) {
        if !self.build.why {
            return;
        }
        let line = match was_known {
            true => "    known: nothing it is made of has changed".to_owned(),
            false => {
                let mut why = self.cache.why(place, key);
                if let Some((_, memory)) = &self.context
                    && let Some(files) = why.iter_mut().find(|it| *it == "files")
                    && !memory.changed.is_empty()
                {
                    let shown = memory.changed.iter().take(5);
                    let shown: Vec<_> = shown.map(|it| String::from_utf8_lossy(it)).collect();
                    let more = match memory.changed.len() {
                        0..=5 => String::new(),
                        count => format!(" and {} more", count - 5),
                    };
                    *files = format!("files: {}{more}", shown.join(", "));
                }
                format!("    runs, for another: {}", why.join("; "))
                    .replace("runs, for another: it was", "runs: it was")
                    .replace("runs, for another: the cache", "runs: the cache")
                    .replace("runs, for another: its result", "runs: its result")
            }
        };
        tell(Said::Line(line));
    }

    /// A folder of staging that nobody else uses.
    pub fn folder(&mut self) -> PathBuf {
        self.made += 1;
        let name = format!("step{}-{}", self.at, self.made);
        self.staging.path().join(name)
    }

    /// Names a layer's folder by the layer, beside the others that are to be published.
    pub fn settle(&self, folder: &Path, layer: &Layer) -> Result<()> {
        let known = self.engine.storage.layer(&layer.id);
        if known.exists() {
            return self.engine.remove_tree(folder);
        }
        let place = self.staging.path().join(layer.id.hex());
        match std::fs::rename(folder, &place) {
            // Another stage has made the same at the same time.
            Err(_) if place.exists() => self.engine.remove_tree(folder),
            done => done.tried(|| "store the layer"),
        }
    }

    /// The search for files of the context.
    pub fn context(&mut self) -> Result<(OwnedFd, &mut Memory<'a>)> {
        if self.context.is_none() {
            let folder = self.build.context.clone().ok_or_else(|| {
                Error::usage(
                    "there is no context: it was read from standard input as a Containerfile alone",
                )
            })?;
            let root = open_dir(&folder).tried(|| format!("open {}", folder.display()))?;
            let memory = Memory::open(self.engine, &folder);
            self.context = Some((root, memory));
        }
        let (root, memory) = self.context.as_mut().expect("it was just opened");
        Ok((root.try_clone()?, memory))
    }

    pub fn ignore(&self) -> &'a Ignore {
        &self.build.ignore
    }
}

/// What lines are given to.
pub fn shell(config: &ImageConfig) -> Vec<String> {
    match config.shell.is_empty() {
        true => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        false => config.shell.clone(),
    }
}

/// `path` as seen from the working folder `from`.
pub fn joined(from: &str, path: &str) -> String {
    let whole = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{from}/{path}"),
    };
    let clean = crate::storage::layer::clean(whole.as_bytes());
    format!("/{}", String::from_utf8_lossy(&clean))
}
