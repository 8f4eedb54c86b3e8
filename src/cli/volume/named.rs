//! What the commands on volumes share: `VOLUME[@SNAPSHOT]`, and volumes that
//! containers are writing to.

use crate::container::{self, Container, volumes};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::Name;
use crate::output::{Output, Progress};
use crate::storage::Storage;
use crate::sys::freeze::Frozen;
use crate::volume::{self, Snapshot, Volume};

/// The volume that `text` names, and its snapshot if it names one.
pub fn find(storage: &Storage, text: &str) -> Result<(Volume, Option<Snapshot>)> {
    match text.split_once('@') {
        None => Ok((volume::find(storage, text)?, None)),
        Some((name, snapshot)) => {
            let volume = volume::find(storage, name)?;
            let snapshot = volume::find_snapshot(storage, &volume.name, snapshot)?;
            Ok((volume, Some(snapshot)))
        }
    }
}

/// An error if a container that runs has the volume, but for those in `still`.
pub fn refuse_running(storage: &Storage, name: &Name, still: &[Container]) -> Result<()> {
    let is_still = |it: &Container| still.iter().any(|s| s.record.id == it.record.id);
    let running = container::running_users_of_volume(storage, name)?;
    let names: Vec<&str> = running
        .iter()
        .filter(|it| !is_still(it))
        .map(|it| it.record.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::InUse,
        format!(
            "volume {name} is being used by the following running container(s): {}: volume is being used",
            names.join(", ")
        ),
    ))
}

/// How far a copy of the volume has got.
pub fn copying(engine: &Engine, what: &str, name: &Name) -> Result<Progress> {
    let total = match Progress::is_wanted() {
        true => volume::usage(engine, std::slice::from_ref(name))?
            .first()
            .map(|usage| usage.files),
        false => None,
    };
    Ok(Progress::new(format!("{what} {name}"), total))
}

/// What to do about containers that may write to a volume while it is copied.
#[derive(clap::Args)]
pub struct Live {
    /// Copy the volume even if a running container uses it: files that it writes
    /// meanwhile may be half old, half new
    #[arg(short, long)]
    force: bool,

    /// Let the containers that use the volume stand still until it is copied
    #[arg(long)]
    pause: bool,
}

/// Containers that stand still while this lives.
#[derive(Default)]
pub struct Still {
    containers: Vec<Container>,
    _frozen: Vec<Frozen>,
}

impl std::ops::Deref for Still {
    type Target = [Container];

    fn deref(&self) -> &[Container] {
        &self.containers
    }
}

impl Live {
    /// With `--pause`, makes the containers that use the volume stand still.
    pub fn still(&self, engine: &Engine, name: &Name) -> Result<Still> {
        let mut still = Still::default();
        if self.pause && self.force {
            return Err(Error::usage("--force and --pause cannot be used together"));
        }
        if self.pause {
            for container in container::running_users_of_volume(&engine.storage, name)? {
                still._frozen.extend(volumes::freeze(&container)?);
                still.containers.push(container);
            }
        }
        Ok(still)
    }

    /// Whether the volume may be copied now.
    pub fn check(&self, storage: &Storage, name: &Name, still: &[Container]) -> Result<()> {
        match self.force {
            true => Ok(()),
            false => refuse_running(storage, name, still).map_err(|error| {
                error.hint("--pause lets them stand still meanwhile, --force copies all the same")
            }),
        }
    }
}

/// Says whether blocks are shared, to people.
pub fn say_how(output: &mut Output, copied: volume::Copied) {
    if Progress::is_wanted() && copied.shared {
        output.notice("the file system shares the blocks: nothing was copied");
    }
}
