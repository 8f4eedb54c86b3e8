//! From flags to a record: what `run` and `create` share.

use std::path::Path;

use super::inspected::inspected;
use crate::cli::args::create::{CreateArgs, ImageDefaults, check_host};
use crate::cli::args::host::{Caller, Host, Lookup, Neighbour};
use crate::cli::image::steps::{Steps, chooser, warn_of_platform};
use crate::container::options::LogDriver;
use crate::container::remove::{Removal, remove};
use crate::container::{self, Container, ImageUse, Record, State, Status, name};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::{ContainerId, Digest, ImageId};
use crate::image::{self, Image, ImageConfig};
use crate::network::{self, Reserved};
use crate::output::value::to_value;
use crate::output::{Output, listing};
use crate::secret::{self, Secret};
use crate::settings::Configuration;
use crate::storage::{Locked, Storage};
use crate::sys::file::{Durable, write_whole};

/// The image, and the ids chosen, held until the container is in place.
pub struct Held(
    #[expect(dead_code)] Option<Locked>,
    #[expect(dead_code)] Option<Locked>,
);

/// A record that is not in place yet.
pub struct Made {
    pub record: Record,
    pub held: Held,
    /// Ports chosen for it, kept from others until pasta listens.
    pub ports: Reserved,
}

/// Checks everything that can be checked and makes the record. Touches nothing but
/// a container that `--replace` names.
pub fn make(engine: &Engine, args: &CreateArgs, output: &mut Output) -> Result<Made> {
    args.refused.check()?;
    let configuration = Configuration::read()?;
    configuration.check()?;
    let args = &args.clone().configured(&configuration.defaults);
    let (image, lock) = bring(engine, args, output)?;
    let mut settings = engine.settings.clone();
    if let (None, Some(manager)) = (
        settings.cgroup_manager,
        &configuration.defaults.engine.cgroup_manager,
    ) {
        settings.cgroup_manager = Some(manager.parse()?);
    }
    let caller = Caller::read()?.with(&settings);
    let asked = args.options(&defaults(&image), &caller, &Store(&engine.storage))?;
    let mut options = asked.options;
    if caller.is_docker() {
        make_sources(&args.mounts.volume, &caller)?;
    }
    check_host(&mut options)?;
    if let Some(path) = &options.cidfile
        && !path.parent().is_none_or(Path::is_dir)
    {
        return Err(Error::usage(format!(
            "creating idfile: open {}: no such file or directory",
            path.display()
        )));
    }
    for warning in asked.warnings {
        output.notice(warning);
    }
    if options.network.is_pasta() {
        network::can_start()?;
    }
    let chosen = container::map::choose(engine, &image, &mut options)?;
    if let Some(warning) = &chosen.warning {
        output.notice(warning);
    }
    let ports = network::choose(&mut options.ports)?;
    let id = ContainerId::random();
    let given = args.lifetime.name()?;
    if let (Some(name), true) = (&given, args.lifetime.replace) {
        match container::find(&engine.storage, name.as_str()) {
            Ok(old) => remove(
                engine,
                &old,
                Removal {
                    force: true,
                    ..Removal::default()
                },
            )?,
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let mounted = options.secrets.iter().map(|it| {
        let secret = secret::find(&engine.storage, &it.id)?;
        secret::bytes(&engine.storage, &secret)
    });
    let secrets = mounted.collect::<Result<_>>()?;
    let mut record = Record {
        name: given.unwrap_or_else(|| name::for_container(&id, 0)),
        id,
        created: jiff::Timestamp::now(),
        image: match args.rootfs {
            true => ImageUse::none(),
            false => ImageUse {
                id: image.id.clone(),
                name: image
                    .name
                    .as_ref()
                    .map_or_else(|| image.id.to_string(), ToString::to_string),
                layers: image.layers.clone(),
            },
        },
        options,
        map: chosen.map,
        map_reason: chosen.reason,
        secrets,
    };
    if record.options.log.driver == LogDriver::Journald {
        record.options.log.filled_tag = filled_tag(engine, &record)?;
    }
    Ok(Made {
        record,
        held: Held(lock, chosen.lock),
        ports,
    })
}

/// Makes the folders that `--volume` names and that are not there, as Docker does; they
/// are the caller's.
fn make_sources(volumes: &[String], caller: &Caller) -> Result<()> {
    for text in volumes {
        if let Some((source, _)) = text.split_once(':')
            && source.starts_with(['/', '.'])
        {
            let path = caller.absolute(source);
            std::fs::create_dir_all(&path).or_else(|error| match path.exists() {
                true => Ok(()),
                false => Err(error).tried(|| format!("make {}", path.display())),
            })?;
        }
    }
    Ok(())
}

/// The tag of a log, which is a template of what `inspect` shows.
fn filled_tag(engine: &Engine, record: &Record) -> Result<Option<String>> {
    let Some(tag) = &record.options.log.tag else {
        return Ok(None);
    };
    if !tag.contains("{{") {
        return Ok(Some(tag.clone()));
    }
    let shown = to_value(&inspected(engine, &not_started(record), None)?)?;
    let filled = listing::one("tag", tag, &shown).tried(|| "template parsing error")?;
    Ok(Some(filled.trim_end_matches('\n').to_owned()))
}

fn not_started(record: &Record) -> Container {
    Container {
        record: record.clone(),
        status: Status {
            state: State::Created,
            monitor: None,
            started: None,
            exit: None,
        },
    }
}

/// What `inspect` shows of the record, for its `create` event.
pub fn shown_at_creation(engine: &Engine, record: &Record) -> Result<String> {
    let shown = inspected(engine, &not_started(record), None)?;
    Ok(serde_json::to_string(&shown)?)
}

/// Writes down that it was made.
pub fn note_created(engine: &Engine, record: &Record) -> Result<()> {
    let events = engine.storage.events();
    let shown = (events.wants_inspect_data())
        .then(|| shown_at_creation(engine, record))
        .transpose()?;
    container::events::note_created(&engine.storage, record, shown.as_deref());
    Ok(())
}

/// The same record under another name that we choose.
pub fn renamed(made: Made, attempt: u32) -> Made {
    let name = name::for_container(&made.record.id, attempt);
    Made {
        record: Record {
            name,
            ..made.record
        },
        ..made
    }
}

/// The image that is named, from the store or from a registry, held so that it is
/// not removed meanwhile.
fn bring(
    engine: &Engine,
    args: &CreateArgs,
    output: &mut Output,
) -> Result<(Image, Option<Locked>)> {
    if args.rootfs {
        container::sweep(engine)?;
        return Ok((no_image(), None));
    }
    let wanted = args.image.wanted_platform()?;
    let pull = image::Pull {
        text: args.image()?,
        policy: args.image.pull_policy()?,
        wanted: &wanted,
        options: &args.registry.options()?,
        choose: chooser(),
    };
    container::sweep(engine)?;
    output.flush();
    let mut steps = Steps::new(output, args.image.quiet);
    let image = image::pull(engine, &pull, &mut |step| steps.tell(step))?;
    warn_of_platform(output, &image, &wanted);
    let lock = image.lock(&engine.storage)?;
    Ok((image, Some(lock)))
}

/// What stands for the image of a container that has a folder of the host's.
fn no_image() -> Image {
    Image {
        id: ImageId::none(),
        digest: Digest::of(b""),
        other_digests: Vec::new(),
        manifest_type: String::new(),
        layers: Vec::new(),
        config: ImageConfig::default(),
        architecture: std::env::consts::ARCH.to_owned(),
        variant: String::new(),
        os: "linux".to_owned(),
        created: None,
        stored: jiff::Timestamp::UNIX_EPOCH,
        author: String::new(),
        size: 0,
        user_ids: Some((0, 0)),
        name: None,
    }
}

fn defaults(image: &Image) -> ImageDefaults {
    let config = &image.config;
    ImageDefaults {
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        command: config.cmd.clone(),
        user: config.user.clone(),
        workdir: config.working_dir.clone(),
        volumes: config.volumes.clone(),
        exposed: config.exposed_ports.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        health: config.healthcheck.clone(),
    }
}

/// Writes `--cidfile`.
pub fn write_cidfile(path: &Path, id: &ContainerId) -> Result<()> {
    write_whole(path, id.as_str().as_bytes(), Durable::No)
        .tried(|| format!("write {}", path.display()))
}

/// The store, as flags ask of it.
pub struct Store<'a>(pub &'a Storage);

impl Lookup for Store<'_> {
    fn container(&self, text: &str) -> Result<Neighbour> {
        let found = container::find(self.0, text)?.record;
        Ok(Neighbour {
            id: found.id.to_string(),
            ipc: found.options.ipc,
            mounts: found.options.mounts,
        })
    }

    fn secret(&self, text: &str) -> Result<Secret> {
        secret::find(self.0, text)
    }

    fn image(&self, text: &str) -> Result<(ImageId, String)> {
        let found = image::find(self.0, text)?;
        let name = found
            .name
            .as_ref()
            .map_or_else(|| found.id.to_string(), ToString::to_string);
        Ok((found.id, name))
    }
}
