//! COPY and ADD.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};
use serde::{Deserialize, Serialize};

use crate::build::cache::Entry;
use crate::build::context::ignore::Ignore;
use crate::build::context::memory::{Memory, sum_of};
use crate::build::context::remote::{self, is_git, is_url};
use crate::build::context::search::{Source, escaped, search};
use crate::build::language::Instruction;
use crate::build::language::expand;
use crate::build::stage::{Effect, Here, Made, Origin, Work, joined};
use crate::build::steps::chmod::Chmod;
use crate::build::steps::put::{How, Tree};
use crate::build::{Failure, Said};
use crate::container::adopt::{Adoption, adopt_in_place, make_folder};
use crate::container::{dress_like, overlay, read_only};
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, Digest, hex};
use crate::image::accounts::Accounts;
use crate::storage::layer::Layer;
use crate::storage::shifted::Lower;
use crate::storage::{Storage, walk};
use crate::sys::file::open_dir;

/// The instruction, read.
struct Copy {
    /// Patterns of what is taken.
    sources: Vec<String>,
    /// Of ADD: what is fetched.
    urls: Vec<String>,
    to: String,
    from: Option<String>,
    /// As given: names are of the image.
    chown: Option<String>,
    chmod: Option<Chmod>,
    /// The layer stands by itself: nothing beneath counts.
    link: bool,
    parents: bool,
    excludes: Vec<String>,
    checksum: Option<Digest>,
    unpack: bool,
    /// What is fetched is unpacked too.
    unpack_fetched: bool,
}

/// Where sources lie, and what they are.
struct Found {
    root: OwnedFd,
    sources: Vec<Source>,
    is_callers: bool,
    /// Archives are unpacked.
    unpack: bool,
}

/// What the child that copies reports.
#[derive(Serialize, Deserialize)]
struct Done {
    /// Of what was copied.
    content: String,
    layer: Option<Layer>,
    known: Option<Entry>,
    steady: bool,
}

/// Of what a child makes a layer.
struct Job<'a> {
    storage: &'a Storage,
    copy: &'a Copy,
    /// The layers so far.
    lower: &'a Lower,
    folder: &'a PathBuf,
    adoption: &'a Adoption,
    to: &'a str,
    workdir: &'a str,
    /// USER
    user: &'a str,
}

impl Work<'_> {
    pub fn copy(
        &mut self,
        here: &mut Here<'_>,
        step: &Instruction,
        tell: &mut dyn FnMut(Said),
    ) -> Result<(Effect, String), Failure> {
        let copy = Copy::read(here, step, self.build.file.escape)?;
        let origin = match &copy.from {
            Some(from) => Some(
                self.from(here, from, tell)
                    .map_err(|error| error.tried(format_args!("COPY --from={from}")))?,
            ),
            None => None,
        };
        let to = match copy.to.starts_with('/') {
            true => copy.to.clone(),
            false => {
                let slash =
                    match copy.to.ends_with('/') || copy.to == "." || copy.to.ends_with("/.") {
                        true => "/",
                        false => "",
                    };
                format!(
                    "{}{slash}",
                    joined(&here.state.config.working_dir, &copy.to)
                )
            }
        };
        let mut found: Vec<Found> = Vec::new();
        if let Some(heredocs) = self.heredocs(here, step, &copy)? {
            found.push(heredocs);
        }
        if !copy.sources.is_empty() || !copy.urls.is_empty() {
            match &origin {
                None => {
                    for url in &copy.urls {
                        let what = self.fetched(url, &copy)?;
                        found.push(what);
                    }
                    if !copy.sources.is_empty() {
                        let what = self.in_context(&copy)?;
                        found.push(what);
                    }
                }
                Some(Origin::Folder(folder)) => {
                    let root = open_dir(folder).tried(|| format!("open {}", folder.display()))?;
                    let mut memory = Memory::open(self.engine, folder);
                    let ignore = ignore_of(folder)?;
                    let sources = find(&root, &ignore, &copy, false, &mut memory)?;
                    memory.save();
                    found.push(Found {
                        root,
                        sources,
                        is_callers: true,
                        unpack: copy.unpack,
                    });
                }
                Some(Origin::Layers(_)) => {}
            }
        }
        let known_content = match &origin {
            Some(Origin::Layers(layers)) => match self.known_content(&copy, layers) {
                // A repository is asked by it.
                None if !self.build.cache_from.is_empty() => Some(self.content_of(&copy, layers)?),
                known => known,
            },
            _ => Some(content(&found, &copy)),
        };
        let layers = here.state.ids();
        let workdir = (&here.state.config.working_dir, &here.state.config.user);
        let key = |work: &Self, content: &str| {
            // What is beneath says what folders and links are there, and who has a name.
            let is_alone = copy.link && copy.chown.as_deref().is_none_or(is_numeric);
            work.key(step, (!is_alone).then_some(&*layers))
                .with("files", &content)
                .with("place", &to)
                .with("owner", &copy.chown)
                .with("working folder", &(!copy.link).then_some(workdir))
        };
        let text = |entry: &Entry, work: &Self| {
            let link = if copy.link { " --link" } else { "" };
            let target = step.rest.trim_end();
            let shown = match step.json() {
                Some(list) => list.last().cloned().unwrap_or_default(),
                None => expand::split(target, work.build.file.escape)
                    .last()
                    .map_or_else(String::new, |last| (*last).to_owned()),
            };
            format!(
                "/bin/sh -c #(nop) {}{link} {} in {shown} {}    {} ",
                step.keyword,
                entry.content,
                work.suffix_unset(),
                work.suffix_time(here)
            )
        };
        if let Some(content) = &known_content
            && let Some(effect) = self.recall(here, &key(self, content), tell)
        {
            let text = text(&effect.entry, self);
            return Ok((effect, text));
        }
        let folder = self.folder();
        let from = match &origin {
            Some(Origin::Layers(layers)) => Some(self.lower(layers)?),
            _ => None,
        };
        let lower = self.lower(&layers)?;
        let adoption = Adoption {
            into: folder.clone(),
            times: self.build.times,
            single: self.engine.default_map().is_single(),
            ..Adoption::default()
        };
        let done = {
            let cache = &self.cache;
            let job = Job {
                storage: &self.engine.storage,
                copy: &copy,
                lower: &lower,
                folder: &folder,
                adoption: &adoption,
                to: &to,
                workdir: &here.state.config.working_dir,
                user: &here.state.config.user,
            };
            self.engine.in_namespace(|| {
                let mut found = found;
                // Held while its files are read.
                let _mounted = match &from {
                    Some(lower) => {
                        let mounted = read_only(job.storage, lower)?;
                        found.push(in_layers(&mounted, job.copy)?);
                        Some(mounted)
                    }
                    None => None,
                };
                let content = content(&found, job.copy);
                if known_content.is_none()
                    && let Some(entry) = cache.get(&key(self, &content))
                {
                    return Ok(Done {
                        content,
                        layer: None,
                        known: Some(entry),
                        steady: true,
                    });
                }
                let (layer, steady) = job.copy(&found)?;
                Ok(Done {
                    content,
                    layer: Some(layer),
                    known: None,
                    steady,
                })
            })?
        };
        if let Some(Origin::Layers(layers)) = &origin {
            self.note_content(&copy, layers, &done.content);
        }
        let key = key(self, &done.content);
        let effect = match (done.known, done.layer) {
            (Some(entry), _) => {
                self.cache.note((here.stage.number, here.step), key.clone());
                Effect {
                    entry,
                    was_known: true,
                    offered_as: Some(key.hex()),
                }
            }
            (None, Some(layer)) => {
                self.settle(&folder, &layer)?;
                let made = Made {
                    layer: Some(layer),
                    content: done.content,
                    unsteady: !done.steady,
                };
                self.remember(here, step, key.clone(), made)
            }
            (None, None) => return Err(Error::other("nothing was copied").into()),
        };
        if known_content.is_none() {
            self.tell_why((here.stage.number, here.step), &key, effect.was_known, tell);
        }
        let text = text(&effect.entry, self);
        Ok((effect, text))
    }

    /// What files of a stage or an image are.
    fn content_of(&mut self, copy: &Copy, layers: &[DiffId]) -> Result<String, Failure> {
        let lower = self.lower(layers)?;
        let storage = &self.engine.storage;
        let content = self.engine.in_namespace(|| {
            let mounted = read_only(storage, &lower)?;
            let found = in_layers(&mounted, copy)?;
            Ok(content(&[found], copy))
        })?;
        self.note_content(copy, layers, &content);
        Ok(content)
    }

    /// What is taken from the context.
    fn in_context(&mut self, copy: &Copy) -> Result<Found> {
        let ignore = self.ignore();
        let shown = self.build.context.clone().unwrap_or_default();
        let (root, memory) = self.context()?;
        let sources = find(&root, ignore, copy, false, memory)
            .map_err(|error| error.tried(format_args!("checking on sources under {shown:?}")))?;
        Ok(Found {
            root,
            sources,
            is_callers: true,
            unpack: copy.unpack,
        })
    }

    /// What is fetched, each in a folder of its own: two may have one name.
    fn fetched(&mut self, url: &str, copy: &Copy) -> Result<Found> {
        let folder = self.folder();
        std::fs::create_dir(&folder).tried(|| format!("make {}", folder.display()))?;
        let path = url.split(['?', '#']).next().unwrap_or(url);
        let name = path.splitn(4, '/').nth(3).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..") {
            return Err(Error::usage(format!(
                "reading {url:?}: it does not end in the name of a file"
            )));
        }
        let file = folder.join(name);
        let modified = remote::fetch(self.engine, &self.build.registry, url, &file)
            .map_err(|error| error.tried(format_args!("reading {url:?}")))?;
        if let Some(wanted) = &copy.checksum {
            let found: Digest = format!(
                "sha256:{}",
                hex(&sum_of(File::open(&file)?, &|| self.engine.interrupted())?)
            )
            .parse()?;
            if found != *wanted {
                return Err(Error::other(format!(
                    "reading {url:?}: unexpected response digest for {url:?}: {found}, want {wanted}"
                )));
            }
        }
        // Podman's mode, and its time where the server says none.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        let modified = Timespec {
            tv_sec: modified.unwrap_or(0),
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: modified,
            last_modification: modified,
        };
        rustix::fs::futimens(&File::open(&file)?, &times)?;
        let root = open_dir(&folder)?;
        let plain = Copy::plain(vec![escaped(name)]);
        let nothing = Ignore::default();
        let sources = find(&root, &nothing, &plain, false, &mut Memory::none())?;
        Ok(Found {
            root,
            sources,
            is_callers: true,
            unpack: copy.unpack_fetched,
        })
    }

    /// Here-documents as files of a folder in staging.
    fn heredocs(
        &mut self,
        here: &Here<'_>,
        step: &Instruction,
        copy: &Copy,
    ) -> Result<Option<Found>> {
        if step.heredocs.is_empty() {
            return Ok(None);
        }
        let folder = self.folder();
        std::fs::create_dir(&folder).tried(|| format!("make {}", folder.display()))?;
        let escape = self.build.file.escape;
        let mut patterns = Vec::new();
        for heredoc in &step.heredocs {
            let content = match heredoc.expand {
                true => expand::document(&heredoc.content, escape, &|name| here.lookup(name))?,
                false => heredoc.content.clone(),
            };
            let path = folder.join(&heredoc.name);
            std::fs::write(&path, content).tried(|| format!("write {}", path.display()))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
            patterns.push(heredoc.name.clone());
        }
        let root = open_dir(&folder)?;
        let nothing = Ignore::default();
        let plain = Copy::plain(patterns);
        let sources = find(&root, &nothing, &plain, false, &mut Memory::none())?;
        Ok(Some(Found {
            root,
            sources,
            is_callers: true,
            unpack: copy.unpack,
        }))
    }

    fn note_of(&self, copy: &Copy, layers: &[DiffId]) -> PathBuf {
        let what = format!(
            "{layers:?} {:?} {:?} {}",
            copy.sources, copy.excludes, copy.parents
        );
        let name = crate::id::Digest::of(what.as_bytes());
        self.engine
            .storage
            .cache()
            .join("contents")
            .join(name.hex())
    }

    /// What the files of a stage or an image were found to be: layers do not change.
    fn known_content(&self, copy: &Copy, layers: &[DiffId]) -> Option<String> {
        let text = std::fs::read_to_string(self.note_of(copy, layers)).ok()?;
        let hex = text.rsplit(':').next()?;
        (hex.len() == 64 && crate::id::is_hex(hex)).then_some(text)
    }

    fn note_content(&self, copy: &Copy, layers: &[DiffId], content: &str) {
        let file = self.note_of(copy, layers);
        if let Some(folder) = file.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let no = crate::sys::file::Durable::No;
        let _ = crate::sys::file::write_whole(&file, content.as_bytes(), no);
    }
}

impl Job<'_> {
    /// Copies in the namespace, and makes what came of it a layer.
    fn copy(&self, found: &[Found]) -> Result<(Layer, bool)> {
        rustix::process::umask(Mode::empty());
        crate::sys::process::allow_many_files();
        let upper = self.folder.join("diff");
        let work = self.folder.with_extension("work");
        make_folder(self.folder)?;
        std::fs::create_dir(&upper).tried(|| format!("make {}", upper.display()))?;
        // Of an overlay's root the highest layer says what it is like.
        match self.lower.folders.first() {
            Some(top) => dress_like(&upper, top)?,
            None => std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(0o555))?,
        }
        let is_alone = self.copy.link || self.lower.folders.is_empty();
        let mounted = match self.lower.folders.first() {
            Some(_) if !is_alone => {
                std::fs::create_dir(&work).tried(|| format!("make {}", work.display()))?;
                Some(overlay(self.lower, Some((&upper, &work)), true)?)
            }
            _ => None,
        };
        let root = match &mounted {
            Some(mounted) => walk::open(mounted, c".", OFlags::DIRECTORY)?,
            None => walk::open_root(&upper)?,
        };
        let owner = match self.copy.chown.as_deref() {
            None => None,
            Some(text) => Some(self.owner(text, &root)?),
        };
        let count: usize = found.iter().map(|it| it.sources.len()).sum();
        // As Podman, which makes the working folder at the end of each step, for its user.
        let workdir = (self.workdir != "/" && !self.copy.link).then_some(self.workdir);
        let users = match workdir {
            Some(_) => Some(Accounts::in_root(root.as_fd())?.owner(self.user)?),
            None => None,
        };
        let mut tree = Tree::new(root);
        let how = |owner, found: &Found| How {
            to: self.to,
            owner,
            is_callers: found.is_callers,
            chmod: self.copy.chmod.as_ref(),
            unpack: found.unpack,
            owns_unpacked: false,
            single: self.adoption.single,
            many: count > 1,
        };
        for found in found {
            tree.put(&found.root, &found.sources, &how(owner, found))?;
        }
        // What is copied into it has made it already.
        if let (Some(path), Some(found)) = (workdir, found.first()) {
            let path = PathBuf::from(path.trim_start_matches('/'));
            tree.make(&path, &how(users, found))?;
        }
        let steady = tree.finish()?;
        drop(mounted);
        let _ = crate::storage::remove_tree(&work);
        Ok((adopt_in_place(self.adoption)?, steady))
    }

    /// Who `--chown` names: names are the image's.
    fn owner(&self, text: &str, root: &OwnedFd) -> Result<(u32, u32)> {
        let tried = |error: Error| error.tried(format_args!("looking up UID/GID for {text:?}"));
        let found = match self.copy.link && !is_numeric(text) {
            true => {
                let mounted = read_only(self.storage, self.lower)?;
                let root = walk::open(&mounted, c".", OFlags::DIRECTORY)?;
                Accounts::in_root(root.as_fd())?.owner(text)
            }
            false => Accounts::in_root(root.as_fd())?.owner(text),
        };
        found.map_err(|error| tried(unknown(text, error)))
    }
}

/// Podman's words for a name that there is not.
fn unknown(text: &str, error: Error) -> Error {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let said = error.to_string();
    for (file, what, name) in [
        ("passwd", ("uid", "user"), user),
        ("group", ("gid", "group"), group),
    ] {
        if said.ends_with(&format!("no matching entries in {file} file")) {
            let (id, kind) = what;
            return Error::not_found(format!(
                "determining run {id}: {kind}: unknown {kind} error looking up {kind} {name:?}"
            ));
        }
    }
    error
}

/// `UID:GID`
fn is_numeric(text: &str) -> bool {
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':')
        .is_some_and(|(user, group)| is_number(user) && is_number(group))
}

fn find(
    root: &OwnedFd,
    ignore: &Ignore,
    copy: &Copy,
    owners: bool,
    memory: &mut Memory<'_>,
) -> Result<Vec<Source>> {
    let search = search(root, ignore, &copy.excludes, copy.parents, owners);
    let mut sources = Vec::new();
    for pattern in &copy.sources {
        sources.extend(search.find(pattern, memory)?);
    }
    Ok(sources)
}

/// What is taken of the layers that are mounted.
fn in_layers(mounted: &OwnedFd, copy: &Copy) -> Result<Found> {
    let root = walk::open(mounted, c".", OFlags::DIRECTORY)?;
    let nothing = Ignore::default();
    let sources = find(&root, &nothing, copy, true, &mut Memory::none())?;
    Ok(Found {
        root,
        sources,
        is_callers: false,
        unpack: false,
    })
}

/// The ignore file of a folder that is a context by name.
fn ignore_of(folder: &std::path::Path) -> Result<Ignore> {
    for name in [".containerignore", ".dockerignore"] {
        match std::fs::read_to_string(folder.join(name)) {
            Ok(text) => return Ignore::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).tried(|| format!("read {name}")),
        }
    }
    Ok(Ignore::default())
}

/// What the history says of the files, which says what they are to the last bit.
fn content(found: &[Found], copy: &Copy) -> String {
    use sha2::Digest as _;
    let mut all = sha2::Sha256::new();
    let nothing = Ignore::default();
    let mut folders = 0;
    let mut count = 0;
    for found in found {
        let search = search(&found.root, &nothing, &[], copy.parents, !found.is_callers);
        all.update(search.digest(&found.sources));
        count += found.sources.len();
        folders += found.sources.iter().filter(|it| it.is_folder).count();
    }
    // As Podman: of what was fetched alone, the digest.
    if copy.sources.is_empty() && !copy.urls.is_empty() && count == copy.urls.len() {
        return hex(&all.finalize());
    }
    let kind = match (count, folders) {
        (1, 0) => "file",
        (1, 1) => "dir",
        _ => "multi",
    };
    format!("{kind}:{}", hex(&all.finalize()))
}

impl Copy {
    /// Of files as they are.
    fn plain(sources: Vec<String>) -> Self {
        Self {
            sources,
            urls: Vec::new(),
            to: String::new(),
            from: None,
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            excludes: Vec::new(),
            checksum: None,
            unpack: false,
            unpack_fetched: false,
        }
    }

    fn read(here: &Here<'_>, step: &Instruction, escape: char) -> Result<Self> {
        let lookup = |name: &str| here.lookup(name);
        let word = |text: &str| expand::word(text, escape, &lookup);
        let mut copy = Self {
            unpack: step.is("ADD"),
            ..Self::plain(Vec::new())
        };
        let mut checksum = None;
        for flag in &step.flags {
            let (name, value) = match flag[2..].split_once('=') {
                Some((name, value)) => (name, Some(word(value)?)),
                None => (&flag[2..], None),
            };
            let unknown =
                || Error::usage(format!("{} does not support the flag {flag}", step.keyword));
            let truth = || match value.as_deref() {
                None => Ok(true),
                Some(text) => crate::build::boolean(text).ok_or_else(unknown),
            };
            let text = || {
                value
                    .clone()
                    .filter(|it| !it.is_empty())
                    .ok_or_else(unknown)
            };
            match name {
                "from" if step.is("COPY") => copy.from = Some(text()?),
                "chown" => copy.chown = Some(text()?),
                "chmod" => copy.chmod = Some(Chmod::parse(&text()?)?),
                "link" => copy.link = truth()?,
                "parents" if step.is("COPY") => copy.parents = truth()?,
                "exclude" => copy.excludes.push(text()?.trim_matches('/').to_owned()),
                "checksum" if step.is("ADD") => checksum = Some(text()?),
                "unpack" if step.is("ADD") => {
                    copy.unpack = truth()?;
                    copy.unpack_fetched = copy.unpack;
                }
                "keep-git-dir" if step.is("ADD") => {
                    return Err(Error::unsupported("ADD --keep-git-dir"));
                }
                _ => return Err(unknown()),
            }
        }
        let mut words = match step.json() {
            Some(list) => list.iter().map(|it| word(it)).collect::<Result<Vec<_>>>()?,
            None => {
                let is_file = |it: &&str| {
                    let digits = it.trim_start_matches(|c: char| c.is_ascii_digit());
                    step.heredocs.is_empty() || !digits.starts_with("<<")
                };
                let split = expand::split(&step.rest, escape);
                split
                    .into_iter()
                    .filter(is_file)
                    .map(word)
                    .collect::<Result<_>>()?
            }
        };
        let Some(to) = words.pop() else {
            return Err(Error::usage(format!(
                "{} requires at least two arguments, but only one was provided. Destination could not be determined.",
                step.keyword
            )));
        };
        if words.is_empty() && step.heredocs.is_empty() {
            return Err(Error::usage(format!(
                "{} requires at least two arguments, but only one was provided. Destination could not be determined.",
                step.keyword
            )));
        }
        copy.to = to;
        for word in words {
            match is_url(&word) || is_git(&word) {
                false => copy.sources.push(word),
                true if !step.is("ADD") => {
                    return Err(Error::usage("source can't be a URL for COPY"));
                }
                true if is_git(&word) => {
                    return Err(remote::no_git(&format!("ADD of the git repository {word}")));
                }
                true => copy.urls.push(word),
            }
        }
        if let Some(text) = checksum {
            if !copy.sources.is_empty() {
                return Err(Error::usage(
                    "checksum flag is not supported for local sources",
                ));
            }
            copy.checksum = Some(text.parse().map_err(|_| {
                Error::usage("invalid checksum flag: invalid checksum digest format")
            })?);
        }
        Ok(copy)
    }
}
