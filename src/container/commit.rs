//! An image of a container as it is now.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use super::files::Files;
use super::options::MountKind;
use super::{Container, State, load, no_such, spec, volumes};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::image::{self, Format, Image, ImageConfig, NewImage, Progress, Reference, Step};
use crate::storage::pack::Writer;
use crate::storage::walk;
use crate::userns;
use crate::volume::{Marks, Packing, pack_into};

/// How a container is committed.
pub struct Commit {
    pub name: Option<Reference>,
    pub author: String,
    pub message: String,
    /// Instructions of a Dockerfile.
    pub changes: Vec<String>,
    /// What a file says of the config; see [`Override`].
    pub config: Option<Override>,
    pub format: Format,
    /// The destinations of all mounts become the image's volumes.
    pub include_volumes: bool,
    pub squash: bool,
    /// Nothing in it moves meanwhile.
    pub pause: bool,
    pub progress: Option<Progress>,
}

/// A config of Docker's (`--config FILE`), of which what it has counts.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(transparent)]
pub struct Override(ImageConfig);

impl Override {
    fn apply(self, config: &mut ImageConfig) {
        let it = self.0;
        let said = |text: String, to: &mut String| {
            if !text.is_empty() {
                *to = text;
            }
        };
        said(it.user, &mut config.user);
        said(it.working_dir, &mut config.working_dir);
        said(it.stop_signal, &mut config.stop_signal);
        // A command goes with its entrypoint.
        if !it.cmd.is_empty() || !it.entrypoint.is_empty() {
            config.cmd = it.cmd;
            config.entrypoint = it.entrypoint;
        }
        for variable in it.env {
            set_variable(&mut config.env, variable);
        }
        config.exposed_ports.extend(it.exposed_ports);
        config.volumes.extend(it.volumes);
        config.labels.extend(it.labels);
        config.on_build.extend(it.on_build);
        config.healthcheck = it.healthcheck.or(config.healthcheck.take());
        config.stop_timeout = it.stop_timeout.or(config.stop_timeout);
        if !it.shell.is_empty() {
            config.shell = it.shell;
        }
    }
}

/// Commits the container. Nothing of an image is there until all of it is.
pub fn commit(
    engine: &Engine,
    container: &Container,
    mut how: Commit,
    tell: &mut dyn FnMut(Step),
) -> Result<Image> {
    let record = &container.record;
    if !how.message.is_empty() && how.format == Format::Oci {
        return Err(Error::usage(
            "messages are only compatible with the docker image format (-f docker)",
        ));
    }
    if record.options.rootfs.is_some() {
        return Err(Error::usage(
            "cannot commit a container that uses an exploded rootfs",
        ));
    }
    let base = image::by_id(&engine.storage, &record.image.id)?
        .ok_or_else(|| image::no_such(record.image.id.as_str()))?;
    let mut config = config(container, &base, how.include_volumes);
    for line in &how.changes {
        if let Some(author) = image::instruct(&mut config, line)? {
            how.author = author;
        }
    }
    if let Some(given) = how.config.take() {
        given.apply(&mut config);
    }
    for list in [&mut config.exposed_ports, &mut config.volumes] {
        list.sort();
        list.dedup();
    }
    let files = Files::of(engine, container, how.progress)?;
    let _still = match how.pause && container.status.state == State::Running {
        true => volumes::freeze(container)?,
        false => None,
    };
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let _ = rustix::pipe::fcntl_setpipe_size(&write, 1 << 20);
    let packing = userns::begin_in_child(engine.thread, &files.map, || {
        pack(engine, &files, how.squash, &write)
            .tried(|| format!("read the files of container {}", record.id.short()))
    })?;
    drop(write);
    let new = NewImage {
        base: &base,
        tar: File::from(read),
        squash: how.squash,
        config,
        format: how.format,
        author: how.author,
        message: how.message,
        comment: format!("FROM {}", record.image.name),
        container: (record.id.as_str(), &record.image.name),
        name: how.name,
    };
    let packed = || {
        packing.finish()?;
        // What is removed under our eyes is read as if it had never been.
        match load(&engine.storage, &record.id)? {
            Some(_) => Ok(()),
            None => Err(no_such(record.name.as_str())),
        }
    };
    image::commit(engine, new, packed, tell)
}

/// Writes the new layer: what the container's own layer has, or with `squash` all.
fn pack(engine: &Engine, files: &Files, squash: bool, out: &OwnedFd) -> Result<()> {
    let out = File::from(out.try_clone()?);
    let mut writer = Writer::new(std::io::BufWriter::with_capacity(1 << 18, out));
    let (root, marks) = match (squash, files.upper()) {
        (true, _) => (Some(files.root(&engine.storage)?), Marks::Kept),
        (false, Some(upper)) => (Some(walk::open_root(upper)?), Marks::Left),
        (false, None) => (None, Marks::Left),
    };
    if let Some(root) = root {
        let packing = Packing {
            dress: &|entry| {
                // As layers have it: a record for each file is a kilobyte.
                entry.mtime.1 = 0;
                files.ids.dress(entry)
            },
            marks,
            // Layers know none.
            holes: false,
            watch: &(),
        };
        pack_into(root, &mut writer, b"", &packing)?;
    }
    Ok(writer.finish()?.flush()?)
}

/// What the image says of its containers: as its own image, with what this container
/// was told.
fn config(container: &Container, base: &Image, include_volumes: bool) -> ImageConfig {
    let options = &container.record.options;
    let mut config = base.config.clone();
    config.entrypoint.clone_from(&options.entrypoint);
    config.cmd.clone_from(&options.command);
    for variable in spec::environment(options, "", None) {
        if variable != "HOSTNAME=" || options.env.contains(&variable) {
            set_variable(&mut config.env, variable);
        }
    }
    let published = options
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.container_port, port.protocol));
    let with_protocol = |port: &String| match port.contains('/') {
        true => port.clone(),
        false => format!("{port}/tcp"),
    };
    config.exposed_ports.extend(published);
    config
        .exposed_ports
        .extend(options.exposed.iter().map(with_protocol));
    config.labels.extend(options.labels.clone());
    if !options.user.is_empty() {
        config.user.clone_from(&options.user);
    }
    config.working_dir = match options.workdir.as_str() {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    for mount in &options.mounts {
        let is_anonymous = matches!(
            mount.kind,
            MountKind::Volume {
                anonymous: true,
                ..
            }
        );
        if is_anonymous || include_volumes {
            let path = mount.destination.to_string_lossy();
            config.volumes.push(path.into_owned());
        }
    }
    config
}

fn set_variable(env: &mut Vec<String>, variable: String) {
    let key = |it: &str| it.split('=').next().unwrap_or_default().to_owned();
    match env.iter_mut().find(|it| key(it) == key(&variable)) {
        Some(there) => *there = variable,
        None => env.push(variable),
    }
}
