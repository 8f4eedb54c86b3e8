//! The steps of stages, done one after the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::{Cache, Entry, Key};
use super::expand;
use super::ignore::Ignore;
use super::language::{Instruction, parse_line};
use super::memory::Memory;
use super::source::Search;
use super::stages::{From, Stage, Stages, arguments, named};
use super::{Build, Failure, NamedContext, Said, Squash, squash};
use crate::container::adopt::{Adoption, adopt_in_place, make_folder};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::{DiffId, Digest, ImageId};
use crate::image::manifest::{History, read_config};
use crate::image::{self, Description, Format, Image, ImageConfig, Wanted};
use crate::storage::layer::Layer;
use crate::storage::shifted::Lower;
use crate::storage::{Locked, Staging};
use crate::sys::file::open_dir;

/// What steps so far have come to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Lowest first, with the size of each.
    pub layers: Vec<(DiffId, u64)>,
    pub config: ImageConfig,
    pub author: String,
    pub history: Vec<History>,
    pub architecture: String,
    pub variant: String,
    pub os: String,
    /// Of the last step.
    pub created: Option<String>,
    /// Those of the base.
    pub annotations: BTreeMap<String, String>,
    /// Name and manifest of the base.
    pub base: Option<(String, Digest)>,
    pub base_id: Option<ImageId>,
    /// What the next step's history says of where it begins.
    pub comment: String,
    /// How many of the layers and of the history are the base's.
    pub base_layers: usize,
    pub base_history: usize,
    /// Nothing was done to this image.
    pub base_only: Option<ImageId>,
    /// CMD was given, so that ENTRYPOINT leaves it.
    pub has_command: bool,
}

/// The version of the builder that we answer for, in the label that says so.
const BUILDER: (&str, &str) = ("io.buildah.version", "1.43.2");

impl State {
    /// Of nothing.
    fn scratch(wanted: &Wanted) -> Self {
        let full = wanted.full();
        let mut parts = full.splitn(3, '/').map(str::to_owned);
        Self {
            config: ImageConfig {
                env: vec![super::step_run::PATH.to_owned()],
                working_dir: "/".to_owned(),
                ..ImageConfig::default()
            },
            os: parts.next().unwrap_or_default(),
            architecture: parts.next().unwrap_or_default(),
            variant: parts.next().unwrap_or_default(),
            ..Self::default()
        }
    }

    fn of_image(image: &Image, engine: &Engine, build: &Build) -> Result<Self> {
        let storage = &engine.storage;
        let config = read_config(&image.config_bytes(storage)?)?;
        let mut layers = Vec::new();
        for id in &image.layers {
            let size = storage.read_layer(id)?.map_or(0, |layer| layer.size);
            layers.push((id.clone(), size));
        }
        let name = image
            .name
            .as_ref()
            .map_or_else(|| image.id.to_string(), ToString::to_string);
        #[derive(Deserialize)]
        struct Annotated {
            #[serde(default)]
            annotations: Option<BTreeMap<String, String>>,
        }
        let manifest: Annotated = serde_json::from_slice(&image.manifest_bytes(storage)?)?;
        let mut state = Self {
            base_layers: layers.len(),
            layers,
            config: image.config.clone(),
            author: config.author,
            base_history: config.history.len(),
            history: config.history,
            architecture: image.architecture.clone(),
            variant: image.variant.clone(),
            os: image.os.clone(),
            created: config.created,
            annotations: manifest.annotations.unwrap_or_default(),
            comment: format!("FROM {name}"),
            base: Some((name, image.digest.clone())),
            base_id: Some(image.id.clone()),
            base_only: Some(image.id.clone()),
            has_command: false,
        };
        if !build.inherits_labels {
            state.config.labels.clear();
        }
        if !build.inherits_annotations {
            state.annotations.clear();
        }
        if build.squash == Squash::All || !build.annotations.is_empty() {
            state.base_only = None;
        }
        Ok(state)
    }

    pub fn ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|(id, _)| id.clone()).collect()
    }

    /// What the image says of itself.
    pub fn describe<'a>(&'a self, build: &Build) -> Describing<'a> {
        let mut config = self.config.clone();
        if build.identity_label {
            let (name, version) = BUILDER;
            config.labels.insert(name.to_owned(), version.to_owned());
        }
        config.env.retain(|variable| {
            let name = variable.split('=').next().unwrap_or_default();
            !build.unset_env.iter().any(|it| it == name)
        });
        for name in &build.unset_labels {
            config.labels.remove(name);
        }
        for list in [&mut config.exposed_ports, &mut config.volumes] {
            list.sort();
            list.dedup();
        }
        let created = build.created.map(seconds).unwrap_or_else(|| {
            let now = || jiff::Timestamp::now().to_string();
            self.created.clone().unwrap_or_else(now)
        });
        let mut annotations = self.annotations.clone();
        if let Some((name, digest)) = &self.base {
            let prefix = "org.opencontainers.image.base.";
            annotations.insert(format!("{prefix}digest"), digest.to_string());
            annotations.insert(format!("{prefix}name"), name.clone());
        }
        match build.created_annotation {
            true => annotations.insert(CREATED.to_owned(), created.clone()),
            false => annotations.remove(CREATED),
        };
        for name in &build.unset_annotations {
            annotations.remove(name);
        }
        annotations.extend(build.annotations.iter().cloned());
        Describing {
            state: self,
            format: build.format,
            config,
            created,
            annotations,
            history: match build.omits_history {
                true => Vec::new(),
                false => self.history.clone(),
            },
        }
    }

    /// The id of the image that it would be.
    fn id(&self, build: &Build) -> Result<ImageId> {
        match &self.base_only {
            Some(id) => Ok(id.clone()),
            None => self.describe(build).id(),
        }
    }

    /// The config's user as numbers; it takes looking at the image's files.
    pub fn user_ids(&self, engine: &Engine) -> Result<Option<(u32, u32)>> {
        if self.config.user.is_empty() {
            return Ok(Some((0, 0)));
        }
        let folders: Vec<PathBuf> = (self.layers.iter())
            .map(|(id, _)| engine.storage.layer(id).join("diff"))
            .collect();
        engine.in_namespace(|| Ok(image::accounts::ids(&self.config.user, &folders)))
    }
}

const CREATED: &str = "org.opencontainers.image.created";

/// A [`Description`] with what it borrows.
pub struct Describing<'a> {
    state: &'a State,
    format: Format,
    config: ImageConfig,
    created: String,
    annotations: BTreeMap<String, String>,
    history: Vec<History>,
}

impl Describing<'_> {
    fn description(&self) -> Description<'_> {
        Description {
            format: self.format,
            config: &self.config,
            author: &self.state.author,
            architecture: &self.state.architecture,
            variant: &self.state.variant,
            os: &self.state.os,
            created: self.created.clone(),
            history: self.history.clone(),
            layers: &self.state.layers,
            annotations: &self.annotations,
        }
    }

    fn id(&self) -> Result<ImageId> {
        Digest::of(&self.description().config()?).hex().parse()
    }

    pub fn write(&self) -> Result<image::Written> {
        self.description().write()
    }
}

fn seconds(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| String::new(), |at| at.to_string())
}

/// The variables of proxies, which need no ARG.
pub const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// A build at work.
pub struct Work<'a> {
    pub engine: &'a Engine,
    pub build: &'a Build,
    pub stages: &'a Stages,
    pub staging: &'a Staging,
    pub cache: Cache<'a>,
    /// Layers and images in use.
    pub held: HashMap<DiffId, Locked>,
    images: HashMap<String, (Image, Locked)>,
    /// What each stage came to.
    pub done: BTreeMap<usize, State>,
    /// The context's root and what is remembered of its files.
    context: Option<(OwnedFd, Memory)>,
    consumed: BTreeSet<String>,
    /// Counts folders in staging.
    pub made: usize,
    warned: BTreeSet<String>,
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
            held: HashMap::new(),
            images: HashMap::new(),
            done: BTreeMap::new(),
            context: None,
            consumed: BTreeSet::new(),
            made: 0,
            warned: BTreeSet::new(),
        }
    }

    pub fn into_parts(self) -> (Cache<'a>, HashMap<DiffId, Locked>) {
        if let Some((_, memory)) = self.context {
            memory.save();
        }
        (self.cache, self.held)
    }

    /// Every stage that is needed.
    pub fn all(&mut self, tell: &mut dyn FnMut(Said)) -> Result<State, Failure> {
        let stages = self.stages;
        let last = *stages.order.last().expect("a file has a stage");
        for &number in &stages.order {
            let state = self.stage(&stages.all[number], number == last, tell)?;
            self.done.insert(number, state);
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
                format!("FROM {id}{}", alias.collect::<String>())
            }
            _ => stage.shown.clone(),
        };
        tell(Said::Line(format!(
            "{prefix}STEP 1/{}: {shown}",
            steps.len() + 1
        )));
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
            tell(Said::Line(format!(
                "{prefix}STEP {}/{}: {}",
                at + 2,
                count + 1,
                shown_step(step)
            )));
            tell(Said::Flush);
            let was_known = self.one(&mut here, step, tell)?;
            if self.build.squash == Squash::Layers {
                let id = here.state.id(self.build)?;
                if was_known {
                    tell(Said::Line(format!("--> Using cache {id}")));
                }
                if at + 1 < count || !is_last {
                    tell(Said::Line(format!("--> {}", id.short())));
                }
            }
        }
        if count == 0 && !is_last && self.build.squash == Squash::Layers {
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
    fn begin(&mut self, stage: &Stage, tell: &mut dyn FnMut(Said)) -> Result<State> {
        match &stage.from {
            From::Scratch => Ok(State::scratch(&self.wanted(stage)?)),
            From::Stage(number) => {
                let mut state = self.done[number].clone();
                state.has_command = false;
                Ok(state)
            }
            From::Image(name) => {
                let wanted = self.wanted(stage)?;
                let image =
                    self.image(name, &wanted, tell).map_err(|error| {
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
            From::Folder(folder) => Err(Error::unsupported(format_args!(
                "FROM of the folder {}",
                folder.display()
            ))),
        }
    }

    fn wanted(&self, stage: &Stage) -> Result<Wanted> {
        let Some(platform) = &stage.platform else {
            return Ok(self.build.wanted.clone());
        };
        let mut parts = platform.splitn(3, '/').map(str::to_owned);
        Ok(Wanted {
            os: parts.next(),
            arch: parts.next(),
            variant: parts.next(),
        })
    }

    /// An image of that name, held to the end of the build.
    pub fn image(
        &mut self,
        name: &str,
        wanted: &Wanted,
        tell: &mut dyn FnMut(Said),
    ) -> Result<Image> {
        let key = format!("{name} {}", wanted.full());
        if let Some((image, _)) = self.images.get(&key) {
            return Ok(image.clone());
        }
        let pull = image::Pull {
            text: name,
            policy: self.build.policy,
            wanted,
            options: &self.build.registry,
        };
        tell(Said::Flush);
        let image = image::pull(self.engine, &pull, &mut |step| tell(Said::Image(step)))?;
        let lock = image.lock(&self.engine.storage)?;
        self.images.insert(key, (image.clone(), lock));
        Ok(image)
    }

    /// Keeps the layers of a state.
    pub fn hold(&mut self, state: &State) -> Result<()> {
        for (id, _) in &state.layers {
            if !self.held.contains_key(id) {
                let lock = (self.engine.storage.hold_layer(id)?)
                    .ok_or_else(|| Error::other(format!("layer {id} is gone")))?;
                self.held.insert(id.clone(), lock);
            }
        }
        Ok(())
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
                done.map_err(|error| self.failed(step, error))?
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
                let at = (here.stage.number, here.step);
                let known = self.cache.get(&key);
                let was_known = known.is_some();
                let entry = known.unwrap_or_else(|| Entry {
                    layer: None,
                    size: 0,
                    created: jiff::Timestamp::now().to_string(),
                    content: String::new(),
                    step: step.original.clone(),
                });
                self.tell_why(at, &key, was_known, tell);
                if !was_known {
                    self.cache.put(&key, entry.clone());
                }
                self.cache.note(at, key);
                (Effect { entry, was_known }, text)
            }
        };
        let Effect { entry, was_known } = effect;
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
        Ok(was_known)
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

    /// Podman's words for a step that cannot be done.
    pub fn failed(&self, step: &Instruction, error: Error) -> Error {
        let place = format!("{}:{}", self.build.file.name, step.line);
        let kind = error.kind();
        let error = error.tried(format_args!(
            "building at STEP {:?}",
            Plain(&shown_error(step))
        ));
        let error = match kind {
            Kind::CannotInvoke | Kind::CommandNotFound => error.kind_is(Kind::Other),
            _ => error,
        };
        match (error.hint_line().map(str::to_owned), step.line) {
            (_, 0) => error,
            (Some(hint), _) => error.hint(format!("{hint} ({place})")),
            (None, _) => error.hint(place),
        }
    }

    /// A step that changes the config alone; gives what the history says of it.
    fn config(
        &mut self,
        here: &mut Here<'_>,
        step: &Instruction,
        tell: &mut dyn FnMut(Said),
    ) -> Result<String> {
        let escape = self.build.file.escape;
        let lookup_here = Snapshot {
            env: here.state.config.env.clone(),
            args: here.args.clone(),
        };
        let lookup = |name: &str| lookup_here.lookup(name);
        let word = |text: &str| expand::word(text, escape, &lookup);
        let words = || -> Result<Vec<String>> {
            let split = expand::split(&step.rest, escape);
            split.into_iter().map(word).collect()
        };
        let suffix = self.suffix(here);
        let said = format!("/bin/sh -c #(nop) {}{suffix}", step.original);
        let config = &mut here.state.config;
        if !step.flags.is_empty() && !step.is("HEALTHCHECK") {
            return Err(Error::usage(format!(
                "{} takes no flag {}",
                step.keyword, step.flags[0]
            )));
        }
        match step.keyword.as_str() {
            "ARG" => {
                for (name, value) in arguments(step, escape)? {
                    self.consumed.insert(name.clone());
                    here.declared.insert(name.clone());
                    let value = match (self.build.args.get(&name), value) {
                        (Some(given), _) => Some(given.clone()),
                        (None, Some(value)) => Some(word(&value)?),
                        (None, None) => (self.stages.head.get(&name))
                            .or_else(|| self.build.platform.get(&name))
                            .cloned(),
                    };
                    match value {
                        Some(value) => drop(here.args.insert(name, value)),
                        None => tell(Said::Note(format!(
                            "missing {name:?} build argument. Try adding \"--build-arg {name}=<VALUE>\" to the command line"
                        ))),
                    }
                }
                let names: Vec<&str> = here.args.keys().map(String::as_str).collect();
                return Ok(format!("/bin/sh -c #(nop) ARG {}{suffix}", names.join(" ")));
            }
            "ENV" => {
                for (name, value) in pairs(step, escape, &lookup)? {
                    let prefix = format!("{name}=");
                    let variable = format!("{prefix}{value}");
                    match config.env.iter_mut().find(|it| it.starts_with(&prefix)) {
                        Some(there) => *there = variable,
                        None => config.env.push(variable),
                    }
                }
            }
            "LABEL" => config.labels.extend(pairs(step, escape, &lookup)?),
            "EXPOSE" => {
                for text in words()? {
                    // What a variable holds may be several.
                    for port in text.split_whitespace() {
                        image::instruct_one(config, "EXPOSE", port)?;
                    }
                }
            }
            "USER" => config.user = word(&step.rest)?,
            "WORKDIR" => {
                let path = word(&step.rest)?;
                config.working_dir = joined(&config.working_dir, &path);
            }
            "VOLUME" => {
                let list = match step.json() {
                    Some(list) => list.iter().map(|it| word(it)).collect::<Result<_>>()?,
                    None => words()?,
                };
                for path in list {
                    if path.is_empty() {
                        return Err(Error::usage("VOLUME specified can not be an empty string"));
                    }
                    if !config.volumes.contains(&path) {
                        config.volumes.push(path);
                    }
                }
            }
            "CMD" => {
                config.cmd = argv(step);
                here.state.has_command = true;
            }
            "ENTRYPOINT" => {
                config.entrypoint = argv(step);
                if !here.state.has_command {
                    config.cmd.clear();
                }
            }
            "SHELL" => {
                config.shell = step.json().ok_or_else(|| {
                    Error::usage("SHELL requires the arguments to be in JSON form")
                })?;
                self.not_in_oci("SHELL", &format!(", [{}]", config.shell.join(" ")), tell);
            }
            "STOPSIGNAL" => {
                image::instruct_one(config, "STOPSIGNAL", &word(&step.rest)?)?;
            }
            "HEALTHCHECK" => {
                let line = step.original[step.keyword.len()..].trim();
                image::instruct_one(config, "HEALTHCHECK", line)?;
            }
            "ONBUILD" => {
                // What it holds must be an instruction too.
                parse_line(&self.build.file.name, &step.rest, step.line, escape)?;
                image::instruct_one(config, "ONBUILD", &step.rest)?;
                self.not_in_oci("ONBUILD", &format!(", {}", step.rest), tell);
            }
            "MAINTAINER" => here.state.author = word(&step.rest)?,
            other => {
                return Err(Error::usage(format!("{other} cannot stand here")));
            }
        }
        Ok(said)
    }

    fn not_in_oci(&mut self, what: &str, detail: &str, tell: &mut dyn FnMut(Said)) {
        if self.build.format == Format::Oci && self.warned.insert(format!("{what}{detail}")) {
            tell(Said::Note(format!(
                "{what} is not supported for OCI image format{detail} will not be kept. Must use `docker` format"
            )));
        }
    }

    /// What Podman adds to each line of the history for some flags.
    pub fn suffix(&self, here: &Here<'_>) -> String {
        self.suffix_unset() + &self.suffix_time(here)
    }

    /// The part of it that tells of what is left out.
    pub fn suffix_unset(&self) -> String {
        let labels = self.build.unset_labels.iter();
        let mut suffix: String = labels.map(|name| format!("|unsetLabel={name}")).collect();
        if !self.build.inherits_labels {
            suffix.push_str("|inheritLabels=false");
        }
        if !self.build.inherits_annotations {
            suffix.push_str("|inheritAnnotations=false");
        }
        let annotations = self.build.unset_annotations.iter();
        suffix.extend(annotations.map(|name| format!("|unsetAnnotation={name}")));
        suffix
    }

    /// The part of it that tells of times, and of the last step's annotations.
    pub fn suffix_time(&self, here: &Here<'_>) -> String {
        let mut suffix = match self.build.times {
            super::Times::Set(at) => format!("|force-mtime={at}"),
            _ => String::new(),
        };
        if here.is_last {
            let annotations = self.build.annotations.iter();
            let said: Vec<String> = annotations
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            suffix.push_str(&said.join("|"));
        }
        suffix
    }

    /// A folder of staging that nobody else uses.
    pub fn folder(&mut self) -> PathBuf {
        self.made += 1;
        self.staging.path().join(format!("step{}", self.made))
    }

    /// Names a layer's folder by the layer, beside the others that are to be published.
    pub fn settle(&self, folder: &Path, layer: &Layer) -> Result<()> {
        let known = self.engine.storage.layer(&layer.id);
        if known.exists() {
            return self.engine.remove_tree(folder);
        }
        let place = self.staging.path().join(layer.id.hex());
        std::fs::rename(folder, &place).tried(|| "store the layer")
    }

    /// The search for files of the context.
    pub fn context(&mut self) -> Result<(OwnedFd, &mut Memory)> {
        if self.context.is_none() {
            let folder = self.build.context.clone().ok_or_else(|| {
                Error::usage(
                    "there is no context: it was read from standard input as a Containerfile alone",
                )
            })?;
            let root = open_dir(&folder).tried(|| format!("open {}", folder.display()))?;
            let memory = Memory::open(&self.engine.storage, &folder);
            self.context = Some((root, memory));
        }
        let (root, memory) = self.context.as_mut().expect("it was just opened");
        Ok((root.try_clone()?, memory))
    }

    pub fn ignore(&self) -> &'a Ignore {
        &self.build.ignore
    }

    /// What `from` of COPY or of a mount names.
    pub fn from(
        &mut self,
        here: &Here<'_>,
        text: &str,
        tell: &mut dyn FnMut(Said),
    ) -> Result<Origin> {
        match named(self.build, text) {
            Some(NamedContext::Folder(folder)) => return Ok(Origin::Folder(folder.clone())),
            Some(NamedContext::Image(name)) => {
                let name = name.clone();
                return self.layers_of(&name, tell).map(Origin::Layers);
            }
            None => {}
        }
        if let Some(number) = self.stages.find(text, here.stage.number) {
            let state = self.done.get(&number).ok_or_else(|| {
                Error::usage(format!("stage {text} is not built before this one"))
            })?;
            return Ok(Origin::Layers(state.ids()));
        }
        self.layers_of(text, tell)
            .map(Origin::Layers)
            .map_err(|error| {
                let words = format!("no stage or image found with that name: {error}");
                match error.kind() {
                    Kind::Unsupported => error,
                    _ => Error::not_found("no stage or image found with that name").hint(words),
                }
            })
    }

    fn layers_of(&mut self, name: &str, tell: &mut dyn FnMut(Said)) -> Result<Vec<DiffId>> {
        let wanted = self.build.wanted.clone();
        let image = self.image(name, &wanted, tell)?;
        let state = State {
            layers: image.layers.iter().map(|id| (id.clone(), 0)).collect(),
            ..State::default()
        };
        self.hold(&state)?;
        Ok(image.layers)
    }

    /// Makes one layer of those that the steps made, if that is asked for.
    pub fn squashed(&mut self, mut state: State) -> Result<State, Failure> {
        let below = match self.build.squash {
            Squash::Layers => return Ok(state),
            Squash::Steps => state.base_layers,
            Squash::All => 0,
        };
        let own: Vec<DiffId> = state.ids().split_off(below);
        if self.build.squash == Squash::All {
            state
                .history
                .drain(..state.base_history.min(state.history.len()));
        }
        if own.is_empty() {
            return Ok(state);
        }
        let folder = self.folder();
        let folders: Vec<PathBuf> = (own.iter())
            .map(|id| self.engine.storage.layer(id).join("diff"))
            .collect();
        let adoption = Adoption {
            into: folder.clone(),
            times: self.build.times,
            single: self.engine.default_map().is_single(),
            ..Adoption::default()
        };
        make_folder(&folder)?;
        let layer = self.engine.in_namespace(|| {
            rustix::process::umask(rustix::fs::Mode::empty());
            squash::merge(&folders, &folder.join("diff"), below == 0)?;
            adopt_in_place(&adoption)
        })?;
        self.settle(&folder, &layer)?;
        let held = self.engine.storage.hold_layer(&layer.id)?;
        let held = held.ok_or_else(|| Error::other("the squashed layer is gone"))?;
        self.held.entry(layer.id.clone()).or_insert(held);
        state.layers.truncate(below);
        state.layers.push((layer.id, layer.size));
        // The last line is the layer's.
        let from = match self.build.squash {
            Squash::All => 0,
            _ => state.base_history,
        };
        let own = state.history.get_mut(from..).unwrap_or_default();
        if let Some((last, rest)) = own.split_last_mut() {
            rest.iter_mut().for_each(|line| line.empty_layer = true);
            last.empty_layer = false;
        }
        state.base_only = None;
        Ok(state)
    }

    /// The lower folders of an overlay of `layers`, lowest first.
    pub fn lower(&self, layers: &[DiffId]) -> Result<Lower> {
        let storage = &self.engine.storage;
        let map = self.engine.default_map();
        let nobody: ImageId = "0".repeat(64).parse()?;
        image::ensure_shifted(self.engine, &nobody, layers, map, None).map(|mut lower| {
            lower.data.clear();
            lower.folders = storage.plain(layers).folders;
            lower
        })
    }
}

/// What files are taken from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A folder of the caller's.
    Folder(PathBuf),
    /// Lowest first.
    Layers(Vec<DiffId>),
}

struct Snapshot {
    env: Vec<String>,
    args: BTreeMap<String, String>,
}

impl Snapshot {
    fn lookup(&self, name: &str) -> Option<String> {
        let of = |variable: &String| {
            let (key, value) = variable.split_once('=')?;
            (key == name).then(|| value.to_owned())
        };
        self.env
            .iter()
            .find_map(of)
            .or_else(|| self.args.get(name).cloned())
    }
}

/// A step as `STEP` shows it.
pub fn shown_step(step: &Instruction) -> String {
    let mut shown = step.original.clone();
    for heredoc in &step.heredocs {
        let mut lines = heredoc.content.lines();
        let first = lines.next().unwrap_or_default();
        let more = if lines.next().is_some() { "..." } else { "" };
        shown.push_str(&format!(" ({first}{more})"));
    }
    shown
}

/// A step as errors show it: of a command in JSON the words alone.
pub fn shown_error(step: &Instruction) -> String {
    match (step.keyword.as_str(), step.json()) {
        ("RUN", Some(words)) => {
            let flags: String = step.flags.iter().map(|flag| format!("{flag} ")).collect();
            format!("RUN {flags}{}", words.join(" "))
        }
        _ => step.original.clone(),
    }
}

/// Shown within quotes as it is.
struct Plain<'a>(&'a str);

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// A JSON list, else a line for the shell: as Podman, whatever SHELL says.
fn argv(step: &Instruction) -> Vec<String> {
    let line = || vec!["/bin/sh".to_owned(), "-c".to_owned(), step.rest.clone()];
    step.json().unwrap_or_else(line)
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

/// `A=b C="d e"`, or `A b c` in the old form.
fn pairs(
    step: &Instruction,
    escape: char,
    lookup: &expand::Lookup<'_>,
) -> Result<Vec<(String, String)>> {
    let split = expand::split(&step.rest, escape);
    let word = |text: &str| expand::word(text, escape, lookup);
    if split.first().is_some_and(|first| !first.contains('=')) {
        let Some((name, value)) = step.rest.split_once(char::is_whitespace) else {
            return Err(Error::usage(format!(
                "{} must have two arguments",
                step.keyword
            )));
        };
        return Ok(vec![(word(name)?, word(value.trim())?)]);
    }
    split
        .into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((word(name)?, word(value)?)),
            _ => Err(Error::usage(format!(
                "Syntax error - can't find = in {pair:?}. Must be of the form: name=value"
            ))),
        })
        .collect()
}

/// Files of a folder of the caller's.
pub fn search<'a>(
    root: &'a OwnedFd,
    ignore: &'a Ignore,
    excludes: &'a [String],
    parents: bool,
    owners: bool,
) -> Search<'a> {
    Search {
        root,
        ignore,
        excludes,
        parents,
        owners,
    }
}
