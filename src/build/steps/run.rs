//! RUN.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::Digest as _;

use crate::build::cache;
use crate::build::context::memory::Memory;
use crate::build::context::search::{escaped, search};
use crate::build::language::Instruction;
use crate::build::language::expand;
use crate::build::stage::{Effect, Here, Made, Origin, Work, joined, shell};
use crate::build::steps::container::{Command, Print, bind, run};
use crate::build::steps::mounts::{Kind, RunMount, Sharing};
use crate::build::{Failure, Said};
use crate::container::adopt::Adoption;
use crate::container::options::{Mount, MountKind};
use crate::error::{Context, Error, Kind as ErrorKind, Result};
use crate::id::{ImageId, hex, random_hex};
use crate::network::NetworkMode;
use crate::storage::{Locked, Storage, lock_alone, lock_shared, remove_tree, try_lock_alone};
use crate::sys::file::{open_dir, open_in_root};

/// PATH where neither image nor build set it.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is mounted for one step, and goes with the value.
#[derive(Default)]
struct Lent {
    mounts: Vec<Mount>,
    /// Variables that tell where something is, or hold a secret.
    env: Vec<String>,
    /// Folders to be removed.
    folders: Vec<PathBuf>,
    locks: Vec<Locked>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        for folder in &self.folders {
            let _ = remove_tree(folder);
        }
    }
}

impl Work<'_> {
    pub fn run(
        &mut self,
        here: &mut Here<'_>,
        step: &Instruction,
        tell: &mut dyn FnMut(Said),
    ) -> Result<(Effect, String), Failure> {
        let read = self.read_run(here, step, tell);
        let (mounts, network, sums) = read.map_err(|error| self.failed(step, error))?;
        let argv = command(here, step);
        let env = here.environment();
        let layers = here.state.ids();
        let config = &here.state.config;
        let heredocs: Vec<&str> = (step.heredocs.iter())
            .map(|it| it.content.as_str())
            .collect();
        let network_said = network.as_ref().map(|it| format!("{it:?}"));
        let key = self
            .key(step, Some(&layers))
            .with("here-documents", &heredocs)
            .with("environment", &env)
            .with("user", &config.user)
            .with("working folder", &config.working_dir)
            .with("volumes", &config.volumes)
            .with("shell", &argv)
            .with("mounts", &(&mounts, &sums))
            .with("options of RUN", &(&network_said, &self.build.template));
        // What it will read nobody knows.
        let key = match self.build.stdin {
            true => key.with("standard input", &random_hex::<16>()),
            false => key,
        };
        let text = self.run_text(here, step, &sums);
        if let Some(effect) = self.recall(here, &key, tell) {
            return Ok((effect, text));
        }
        tell(Said::Flush);
        let lent = self
            .lend(here, step, &mounts, tell)
            .map_err(|error| self.failed(step, error))?;
        let folder = self.folder();
        let mut template = self.build.template.clone();
        if let Some(mode) = network {
            template.network = mode;
        }
        let mut env = env;
        env.extend(lent.env.iter().cloned());
        for proxy in &self.build.proxies {
            let name = proxy.split('=').next().unwrap_or_default();
            if !env.iter().any(|it| it.split('=').next() == Some(name)) {
                env.push(proxy.clone());
            }
        }
        if !env.iter().any(|it| it.starts_with("PATH=")) {
            env.push(PATH.to_owned());
        }
        let mut mounted: Vec<PathBuf> = (lent.mounts.iter().chain(&template.mounts))
            .map(|mount| mount.destination.clone())
            .collect();
        mounted.sort();
        let name = here.state.base.as_ref().map_or("scratch", |(name, _)| name);
        let stdin = match self.build.stdin {
            true => Some(crate::sys::file::stdin()?.into()),
            false => None,
        };
        let command = Command {
            stdin,
            argv,
            env,
            // Named, so that its groups are what they are with Podman.
            user: match here.state.config.user.as_str() {
                "" => "0",
                user => user,
            },
            workdir: &here.state.config.working_dir,
            mounts: lent.mounts.clone(),
            folders: volumes(&here.state.config.volumes),
            image: (here.state.base_id.as_ref(), name),
            adoption: Adoption {
                into: folder.clone(),
                times: self.build.times,
                single: self.engine.default_map().is_single(),
                mounted,
                lowers: self
                    .lower(&layers)
                    .map_err(|error| self.failed(step, error))?
                    .folders,
            },
            layers,
        };
        let stage = here.stage.number;
        let mut print = |print: Print<'_>| match print {
            Print::Warning(warning) => tell(Said::Note(warning.to_owned())),
            Print::Bytes { is_error, bytes } => tell(Said::Printed {
                stage,
                is_error,
                bytes: bytes.to_owned(),
            }),
        };
        let ended = run(self.engine, &template, command, &mut print);
        let ended = ended.map_err(|error| match error.kind() {
            // As the shell has it of a line of its own.
            ErrorKind::CommandNotFound => Failure::Command {
                code: 127,
                error: self.failed(step, error),
            },
            _ => Failure::Other(self.failed(step, error)),
        })?;
        drop(lent);
        if ended != 0 {
            let error = Error::other(format!("while running runtime: exit status {ended}"));
            return Err(Failure::Command {
                code: ended,
                error: self.failed(step, error),
            });
        }
        let made = crate::storage::read_json(&folder.join("layer.json"))
            .and_then(|layer| layer.ok_or_else(|| Error::other("the step has left no layer")))
            .and_then(|layer| {
                self.settle(&folder, &layer)?;
                Ok(layer)
            });
        let layer: crate::storage::layer::Layer = made.map_err(|error| self.failed(step, error))?;
        let made = Made {
            layer: Some(layer),
            ..Made::default()
        };
        Ok((self.remember(here, step, key, made), text))
    }

    /// The mounts of the step, its network, and digests of what the mounts show.
    #[allow(clippy::type_complexity)]
    fn read_run(
        &mut self,
        here: &Here<'_>,
        step: &Instruction,
        tell: &mut dyn FnMut(Said),
    ) -> Result<(Vec<RunMount>, Option<NetworkMode>, Vec<String>)> {
        let escape = self.build.file.escape;
        let mut mounts = Vec::new();
        let mut sums = Vec::new();
        let mut network = None;
        for flag in &step.flags {
            let (name, value) = flag[2..].split_once('=').unwrap_or((&flag[2..], ""));
            let value = expand::word(value, escape, &|name| here.lookup(name))?;
            match name {
                "mount" => {
                    let mount = RunMount::parse(&value)?;
                    sums.push(self.sum_of(here, &mount, tell)?.unwrap_or_default());
                    mounts.push(mount);
                }
                "network" => {
                    network = match value.as_str() {
                        "default" => None,
                        "none" => Some(NetworkMode::None),
                        "host" => Some(NetworkMode::Host),
                        other => {
                            return Err(Error::usage(format!(
                                "unsupported value {other:?} for \"RUN --network\""
                            )));
                        }
                    }
                }
                "security" => match value.as_str() {
                    "sandbox" => {}
                    "insecure" => return Err(Error::unsupported("RUN --security=insecure")),
                    other => {
                        return Err(Error::usage(format!("security {other:?} is not valid")));
                    }
                },
                "device" => return Err(Error::unsupported("RUN --device")),
                _ => {
                    return Err(Error::usage(format!(
                        "RUN does not support the flag {flag}"
                    )));
                }
            }
        }
        Ok((mounts, network, sums))
    }

    /// What tells whether a mount shows what it showed.
    fn sum_of(
        &mut self,
        here: &Here<'_>,
        mount: &RunMount,
        tell: &mut dyn FnMut(Said),
    ) -> Result<Option<String>> {
        if mount.kind != Kind::Bind {
            return Ok(None);
        }
        let nothing = crate::build::context::ignore::Ignore::default();
        let pattern = escaped(&mount.source);
        match &mount.from {
            None => {
                let (root, memory) = self.context()?;
                let search = search(&root, &nothing, &[], false, false);
                let found = search.find(&pattern, memory)?;
                Ok(Some(hex(&search.digest(&found))))
            }
            Some(from) => match self.from(here, from, tell)? {
                Origin::Folder(folder) => {
                    let root = open_dir(&folder)?;
                    let mut memory = Memory::open(self.engine, &folder);
                    let search = search(&root, &nothing, &[], false, false);
                    let found = search.find(&pattern, &mut memory)?;
                    let sum = hex(&search.digest(&found));
                    memory.save();
                    Ok(Some(sum))
                }
                Origin::Layers(layers) => {
                    let text = format!("{layers:?}");
                    Ok(Some(hex(&sha2::Sha256::digest(text.as_bytes()))))
                }
            },
        }
    }

    /// As Podman's history has it.
    fn run_text(&self, here: &Here<'_>, step: &Instruction, sums: &[String]) -> String {
        let args = here.arguments_said();
        let args = match args.len() {
            0 => String::new(),
            count => format!("|{count} {} ", args.join(" ")),
        };
        let said = step.original[step.keyword.len()..].trim_start();
        let docs: String = (step.heredocs.iter())
            .map(|it| format!("\n{}", it.content.trim_end_matches('\n')))
            .collect();
        // Podman says it of those alone that it knows by these words.
        let is_said = |flag: &&String| flag.contains("type=bind") && !flag.contains("from=");
        let said_sums = step
            .flags
            .iter()
            .filter(|flag| flag.starts_with("--mount="));
        let sums: String = (said_sums.zip(sums))
            .filter(|(flag, _)| is_said(flag))
            .map(|(_, sum)| format!(":sha256:{sum}"))
            .collect();
        format!("{args}/bin/sh -c {said}{docs}{sums}{}", self.suffix(here))
    }

    /// Makes ready what a step mounts.
    fn lend(
        &mut self,
        here: &Here<'_>,
        step: &Instruction,
        mounts: &[RunMount],
        tell: &mut dyn FnMut(Said),
    ) -> Result<Lent> {
        let mut lent = Lent::default();
        let mut agents = 0;
        for mount in mounts {
            let target = |name: &str| {
                let text = mount.target.as_deref().unwrap_or(name);
                PathBuf::from(joined(&here.state.config.working_dir, text))
            };
            match mount.kind {
                Kind::Bind => {
                    let mount = self.bind(here, mount, &target(""), &mut lent, tell)?;
                    lent.mounts.push(mount);
                }
                Kind::Tmpfs => {
                    let mut options = Vec::new();
                    options.extend(mount.size.iter().map(|size| format!("size={size}")));
                    options.extend(mount.mode.iter().map(|mode| format!("mode={mode:o}")));
                    lent.mounts.push(Mount {
                        kind: MountKind::Tmpfs {
                            options: options.clone(),
                            copy_up: false,
                        },
                        destination: target(""),
                        read_only: !mount.writable,
                        options,
                        chown: false,
                        subpath: None,
                    });
                }
                Kind::Cache => {
                    let mount = self.cache_mount(here, mount, &target(""), &mut lent, tell)?;
                    lent.mounts.push(mount);
                }
                Kind::Secret => self.secret(mount, &mut lent)?,
                Kind::Ssh => {
                    let id = mount.id.as_deref().unwrap_or("default");
                    let Some(agent) = self.build.agents.iter().find(|it| it.id == id) else {
                        match mount.required {
                            true => {
                                return Err(Error::usage(format!(
                                    "unable to find SSH agent {id:?}: it is not among --ssh"
                                )));
                            }
                            false => continue,
                        }
                    };
                    let default = format!("/run/buildkit/ssh_agent.{agents}");
                    agents += 1;
                    let place = target(&default);
                    if !lent.env.iter().any(|it| it.starts_with("SSH_AUTH_SOCK=")) {
                        lent.env.push(format!("SSH_AUTH_SOCK={}", place.display()));
                    }
                    lent.mounts.push(bind(agent.socket.clone(), &place, false));
                }
            }
        }
        if let [heredoc] = step.heredocs.as_slice()
            && is_script(step)
        {
            let folder = self.lent_folder(&mut lent)?;
            let file = folder.join(&heredoc.name);
            std::fs::write(&file, &heredoc.content)?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
            lent.mounts.push(bind(folder, Path::new(SCRIPTS), true));
        }
        Ok(lent)
    }

    /// A folder of this step alone, where nothing stays on a disk.
    fn lent_folder(&self, lent: &mut Lent) -> Result<PathBuf> {
        self.engine.settings.ensure_runtime()?;
        let parent = self.engine.storage.runtime().join("builds");
        let folder = parent.join(random_hex::<8>());
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder)
            .tried(|| format!("make {}", folder.display()))?;
        let lock = lock_shared(&folder);
        // A sweep may have come between: then another.
        if !folder.exists() {
            return self.lent_folder(lent);
        }
        lent.folders.push(folder.clone());
        lent.locks.push(lock?);
        Ok(folder)
    }

    fn bind(
        &mut self,
        here: &Here<'_>,
        mount: &RunMount,
        target: &Path,
        lent: &mut Lent,
        tell: &mut dyn FnMut(Said),
    ) -> Result<Mount> {
        let origin = match &mount.from {
            Some(from) => self.from(here, from, tell)?,
            None => Origin::Folder(
                self.build
                    .context
                    .clone()
                    .ok_or_else(|| Error::usage("there is no context that could be mounted"))?,
            ),
        };
        match origin {
            Origin::Layers(layers) => self.of_layers(&layers, mount, target),
            Origin::Folder(folder) => {
                let source = resolved(&folder, &mount.source)?;
                if !mount.writable {
                    return Ok(bind(source, target, true));
                }
                // What is written to it is thrown away.
                if source.is_dir() {
                    return Ok(Mount {
                        kind: MountKind::Overlay {
                            source,
                            upper: None,
                            work: None,
                        },
                        destination: target.to_owned(),
                        read_only: false,
                        options: vec!["O".to_owned()],
                        chown: false,
                        subpath: None,
                    });
                }
                let copy = self.lent_folder(lent)?.join("file");
                std::fs::copy(&source, &copy).tried(|| format!("copy {}", source.display()))?;
                Ok(bind(copy, target, false))
            }
        }
    }

    fn of_layers(
        &self,
        layers: &[crate::id::DiffId],
        mount: &RunMount,
        target: &Path,
    ) -> Result<Mount> {
        let sum = sha2::Sha256::digest(format!("{layers:?}").as_bytes());
        let id: ImageId = hex(&sum).parse()?;
        let source = mount.source.trim_matches('/');
        Ok(Mount {
            kind: MountKind::Image {
                id,
                name: mount.from.clone().unwrap_or_default(),
                writable: mount.writable,
                layers: Some(layers.to_vec()),
            },
            destination: target.to_owned(),
            read_only: !mount.writable,
            options: match mount.writable {
                true => vec!["rw".to_owned()],
                false => Vec::new(),
            },
            chown: false,
            subpath: (!matches!(source, "" | ".")).then(|| PathBuf::from(source)),
        })
    }

    /// A folder that is kept from build to build.
    fn cache_mount(
        &mut self,
        here: &Here<'_>,
        mount: &RunMount,
        target: &Path,
        lent: &mut Lent,
        tell: &mut dyn FnMut(Said),
    ) -> Result<Mount> {
        let default = target.display().to_string();
        let id = mount.id.as_deref().unwrap_or(&default);
        let owner = (mount.uid, mount.gid, mount.mode.unwrap_or(0o755));
        let first = match (&mount.from, mount.source.as_str()) {
            (None, _) => None,
            (Some(from), source) => Some((self.from(here, from, tell)?, source.to_owned())),
        };
        let storage = &self.engine.storage;
        // Two that begin with other content are two.
        let id = match &first {
            Some((origin, source)) => format!("{id}\n{origin:?}\n{source}"),
            None => id.to_owned(),
        };
        let mut folder = cache::mount(storage, &id);
        if mount.sharing == Sharing::Private {
            // The first that nobody else has.
            for at in 1.. {
                self.make_cache(&folder, owner, &first)?;
                if let Some(lock) = try_lock_alone(&folder)? {
                    lent.locks.push(lock);
                    break;
                }
                folder = cache::mount(storage, &format!("{id}\n{at}"));
            }
        } else {
            lent.locks.push(loop {
                self.make_cache(&folder, owner, &first)?;
                let lock = self.lock(&folder, mount.sharing)?;
                // It may have been pruned while we waited.
                if folder.exists() {
                    break lock;
                }
            });
        }
        let used = std::time::SystemTime::now();
        let _ = std::fs::File::open(&folder).and_then(|it| it.set_modified(used));
        Ok(bind(folder.join("data"), target, !mount.writable))
    }

    /// Locks the folder when others let it; a signal ends the wait.
    fn lock(&self, folder: &Path, sharing: Sharing) -> Result<Locked> {
        loop {
            let alone = try_lock_alone(folder)?;
            if let (Some(lock), Sharing::Locked) = (alone, sharing) {
                return Ok(lock);
            }
            let wait = match sharing {
                Sharing::Locked => lock_alone,
                _ => lock_shared,
            };
            // What a child has waited for is nobody's when it ends.
            self.engine.apart(|| wait(folder).map(drop))?;
            if sharing != Sharing::Locked {
                return lock_shared(folder);
            }
        }
    }

    fn make_cache(
        &self,
        folder: &Path,
        (uid, gid, mode): (u32, u32, u32),
        first: &Option<(Origin, String)>,
    ) -> Result<()> {
        if folder.exists() {
            return Ok(());
        }
        let storage = &self.engine.storage;
        std::fs::create_dir_all(cache::mounts(storage))?;
        let staging = storage.stage()?;
        let made = staging.path().join("mount");
        let data = made.join("data");
        std::fs::create_dir(&made).tried(|| format!("make {}", made.display()))?;
        let lower = match first {
            Some((Origin::Layers(layers), _)) => Some(self.lower(layers)?),
            _ => None,
        };
        self.engine.in_namespace(|| {
            rustix::process::umask(rustix::fs::Mode::empty());
            std::fs::create_dir(&data).tried(|| format!("make {}", data.display()))?;
            match first {
                None => {}
                Some((Origin::Folder(folder), source)) => {
                    let root = open_dir(&resolved(folder, source)?)?;
                    crate::volume::copy_tree(&root, &data)?;
                }
                Some((Origin::Layers(_), source)) => {
                    let lower = lower.as_ref().expect("it was made of layers");
                    let mounted = crate::container::read_only(storage, lower)?;
                    let root = crate::storage::walk::open(&mounted, c".", OFlags::DIRECTORY)?;
                    let source = source.trim_start_matches('/');
                    let from =
                        crate::build::context::search::open_folder(&root, Path::new(source))?;
                    crate::volume::copy_tree(&from, &data)?;
                }
            }
            std::os::unix::fs::chown(&data, Some(uid), Some(gid))?;
            std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode))?;
            Ok(())
        })?;
        match staging.publish("mount", folder, false) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).tried(|| format!("make {}", folder.display()))
            }
            _ => Ok(()),
        }
    }

    fn secret(&self, mount: &RunMount, lent: &mut Lent) -> Result<()> {
        let id = mount.id.as_deref().unwrap_or_default();
        let Some(secret) = self.build.secrets.iter().find(|it| it.id == id) else {
            return match mount.required {
                true => Err(Error::usage(format!(
                    "resolving mountpoints: secret required but no secret with id {id:?} found"
                ))),
                false => Ok(()),
            };
        };
        let bytes = secret.read()?;
        if let Some(name) = &mount.env {
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::usage(format!("secret {id}: a variable must be UTF-8")))?;
            lent.env.push(format!("{name}={text}"));
            if mount.target.is_none() {
                return Ok(());
            }
            return self.secret_file(mount, id, text.as_bytes(), lent);
        }
        self.secret_file(mount, id, &bytes, lent)
    }

    fn secret_file(&self, mount: &RunMount, id: &str, bytes: &[u8], lent: &mut Lent) -> Result<()> {
        let target = match mount.target.as_deref() {
            Some(target) if target.starts_with('/') => target.to_owned(),
            Some(target) => format!("/run/secrets/{target}"),
            None => format!("/run/secrets/{id}"),
        };
        let folder = self.lent_folder(lent)?;
        let file = folder.join("secret");
        let (uid, gid, mode) = (mount.uid, mount.gid, mount.mode.unwrap_or(0o400));
        crate::sys::file::write_whole(&file, bytes, crate::sys::file::Durable::No)?;
        match (uid, gid) {
            (0, 0) => {
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?;
            }
            _ => self.engine.in_namespace(|| {
                std::os::unix::fs::chown(&file, Some(uid), Some(gid))?;
                Ok(std::fs::set_permissions(
                    &file,
                    std::fs::Permissions::from_mode(mode),
                )?)
            })?,
        }
        lent.mounts.push(bind(file, Path::new(&target), true));
        Ok(())
    }
}

/// The image's volumes: what a step puts there is of its layer.
fn volumes(paths: &[String]) -> Vec<PathBuf> {
    let whole = |path: &String| path.starts_with('/').then(|| joined("/", path).into());
    paths.iter().filter_map(whole).collect()
}

/// Where a script of a here-document is seen.
const SCRIPTS: &str = "/dev/pipes";

/// Whether the step is one here-document that says what reads it.
fn is_script(step: &Instruction) -> bool {
    is_alone(step) && step.heredocs[0].content.starts_with("#!")
}

/// Whether the step is nothing but one here-document.
fn is_alone(step: &Instruction) -> bool {
    step.heredocs.len() == 1
        && step.rest.starts_with("<<")
        && !step.rest.contains(char::is_whitespace)
}

/// Takes away what builds that were killed had lent their steps.
pub fn sweep(storage: &Storage) {
    let folder = storage.runtime().join("builds");
    for name in storage.list(&folder).unwrap_or_default() {
        let path = folder.join(name);
        if let Ok(Some(_lock)) = try_lock_alone(&path) {
            let _ = remove_tree(&path);
        }
    }
}

/// What a RUN step executes.
fn command(here: &Here<'_>, step: &Instruction) -> Vec<String> {
    if let Some(list) = step.json() {
        return list;
    }
    let mut argv = shell(&here.state.config);
    match step.heredocs.as_slice() {
        [] => argv.push(step.rest.clone()),
        [heredoc] if is_script(step) => return vec![format!("{SCRIPTS}/{}", heredoc.name)],
        [heredoc] if is_alone(step) => argv.push(heredoc.content.clone()),
        heredocs => {
            let mut text = format!("{}\n", step.rest);
            for heredoc in heredocs {
                text.push_str(&heredoc.content);
                text.push_str(&heredoc.name);
                text.push('\n');
            }
            argv.push(text);
        }
    }
    argv
}

/// The path of `source` on the host, which does not lead out of `folder`.
fn resolved(folder: &Path, source: &str) -> Result<PathBuf> {
    let root = open_dir(folder).tried(|| format!("open {}", folder.display()))?;
    let clean = crate::storage::layer::clean(source.as_bytes());
    let path = PathBuf::from(String::from_utf8_lossy(&clean).into_owned());
    let found = open_in_root(
        &root,
        crate::build::context::search::shown(&path),
        OFlags::PATH,
    )
    .tried(|| format!("mount {source} of {}", folder.display()))?;
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    std::fs::read_link(&link).tried(|| format!("find {source}"))
}
