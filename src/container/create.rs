//! Making a container: its record, its name, what it says it mounts.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::layers::Lowers;
use super::options::MountKind;
use super::{Record, Seat};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::{ContainerId, Name};
use crate::image::Progress;
use crate::secret;
use crate::storage::{Storage, lock_shared, write_json};
use crate::sys::file::Durable;
use crate::volume::{self, Origin, Volume};

/// Makes what the container's id map needs of its images, so that what is wrong with
/// that is known before there is a container. Its start makes sure of it again.
pub fn make_ready(engine: &Engine, record: &Record, progress: Option<Progress>) -> Result<()> {
    match &record.map {
        Some(map) => Lowers::ensure(engine, record, map, progress).map(drop),
        None => Ok(()),
    }
}

/// Puts `record` in place under its name. Nothing is there if this fails: a name
/// in use, a full disk.
pub fn publish(storage: &Storage, record: &Record) -> Result<()> {
    // Where we are killed in the midst of it, a sweep finds the seat, and the name.
    let Some(_seat) = Seat::take(storage, &record.id)? else {
        return Err(Error::other(format!("container {} is there", record.id)));
    };
    publish_seated(storage, record, Durable::Yes)
}

/// As [`publish`], by who has the container's seat. Not durable only where it is to go
/// when it ends: then a sweep finds it, whatever a power cut left of it.
pub(super) fn publish_seated(storage: &Storage, record: &Record, durable: Durable) -> Result<()> {
    let staging = storage.stage()?;
    let made = staging.path();
    let rootfs = made.join("rootfs");
    std::fs::create_dir(&rootfs).tried(|| format!("make {}", rootfs.display()))?;
    write_json(&made.join("container.json"), record, durable)?;
    write_secrets(&made.join("secrets"), record, durable)?;
    // Shared while a name is taken and its container not yet in place; whoever
    // finds a name that leads nowhere waits for all of those.
    let names = lock_shared(&storage.names())?;
    let name = take_name(storage, record, names)?;
    let target = storage.container(&record.id);
    if let Err(error) = staging.publish_whole(&target, durable == Durable::Yes) {
        let _ = std::fs::remove_file(storage.names().join(&record.name));
        return Err(error).tried(|| format!("create container {}", record.id.short()));
    }
    drop(name);
    if durable == Durable::Yes {
        crate::sys::file::sync_dir(&storage.names()).tried(|| "sync names")?;
    }
    Ok(())
}

/// What the container's secrets are, for its own folder: it keeps them as they are now.
fn write_secrets(folder: &Path, record: &Record, durable: Durable) -> Result<()> {
    if record.secrets.is_empty() {
        return Ok(());
    }
    let tried = || "keep the secrets of the container";
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .tried(tried)?;
    for (number, bytes) in record.secrets.iter().enumerate() {
        let mut file = secret::private(&folder.join(number.to_string())).tried(tried)?;
        file.write_all(&bytes.0).tried(tried)?;
        if durable == Durable::Yes {
            file.sync_data().tried(tried)?;
        }
    }
    Ok(())
}

/// Points the name at the id. Holding the lock given back keeps others from
/// taking the name for one that leads nowhere.
fn take_name(
    storage: &Storage,
    record: &Record,
    mut names: crate::storage::Locked,
) -> Result<crate::storage::Locked> {
    let link = storage.names().join(&record.name);
    for _ in 0..100 {
        match std::os::unix::fs::symlink(record.id.as_str(), &link) {
            Ok(()) => return Ok(names),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).tried(|| format!("take name {}", record.name)),
        }
        if let Some(holder) = holder(storage, &record.name) {
            return Err(in_use(&record.name, &holder));
        }
        drop(names);
        remove_dead_name(storage, &record.name)?;
        names = lock_shared(&storage.names())?;
    }
    Err(Error::other(format!(
        "take name {}: it keeps changing hands",
        record.name
    )))
}

/// Podman's words for a name that is taken.
fn in_use(name: &Name, holder: &ContainerId) -> Error {
    Error::new(
        Kind::Exists,
        format!(
            "creating container storage: the container name \"{name}\" is already in use by {holder}. You have to remove that container to be able to reuse that name: that name is already in use, or use --replace to instruct Podman to do so."
        ),
    )
}

/// The container that has `name`, if it is there.
fn holder(storage: &Storage, name: &Name) -> Option<ContainerId> {
    let id = std::fs::read_link(storage.names().join(name)).ok()?;
    let id: ContainerId = id.to_str()?.parse().ok()?;
    storage.container(&id).exists().then_some(id)
}

/// Takes away a name whose container is not there: its maker died before it was, or it
/// has gone.
pub(super) fn remove_dead_name(storage: &Storage, name: &Name) -> Result<()> {
    let names = File::open(storage.names()).tried(|| "open names")?;
    names.lock().tried(|| "lock names")?;
    if holder(storage, name).is_none() {
        let _ = std::fs::remove_file(storage.names().join(name));
    }
    Ok(())
}

/// Gives the container `record` another name (`rename`).
pub fn rename(storage: &Storage, record: &Record, to: Name) -> Result<()> {
    if record.name == to {
        return Ok(());
    }
    let mut renamed = record.clone();
    renamed.name = to;
    let names = lock_shared(&storage.names())?;
    let _held = take_name(storage, &renamed, names)?;
    let written = write_json(
        &storage.container(&record.id).join("container.json"),
        &renamed,
        Durable::Yes,
    );
    let gone = if written.is_ok() {
        &record.name
    } else {
        &renamed.name
    };
    let _ = std::fs::remove_file(storage.names().join(gone));
    written
}

/// Makes the volumes that the container mounts where they are missing, and notes
/// in each that it does, as in each container whose namespaces it joins. `durable` are
/// the volumes that are its own; those with names always are.
pub fn use_neighbours(storage: &Storage, record: &Record, durable: Durable) -> Result<()> {
    for id in record.options.dependencies() {
        let Ok(id) = id.parse::<ContainerId>() else {
            continue;
        };
        let dependents = storage.container_dependents(&id);
        if storage.container(&id).exists() {
            std::fs::create_dir_all(&dependents)
                .and_then(|()| File::create(dependents.join(&record.id)))
                .map(drop)
                .tried(|| {
                    format!(
                        "note in container {} that {} depends on it",
                        id.short(),
                        record.id.short()
                    )
                })?;
        }
    }
    for mount in &record.options.mounts {
        if let MountKind::Volume {
            name, anonymous, ..
        } = &mount.kind
        {
            let durable = if *anonymous { durable } else { Durable::Yes };
            use_volume(
                storage,
                record,
                (name, *anonymous),
                &mount.destination,
                durable,
            )?;
        }
    }
    Ok(())
}

fn use_volume(
    storage: &Storage,
    record: &Record,
    (name, anonymous): (&Name, bool),
    path: &Path,
    durable: Durable,
) -> Result<()> {
    let mut wanted = Volume::new(name.clone());
    if anonymous {
        wanted.anonymous = true;
        wanted.origin = Some(Origin {
            container: record.id.clone(),
            image: record.image.name.clone(),
            path: path.to_owned(),
        });
    }
    let (found, _held) = volume::ensure(storage, &wanted, durable)?;
    if found.created == wanted.created {
        volume::note(storage, name, "create");
    }
    let users = storage.volume_users(name);
    std::fs::create_dir_all(&users)
        .and_then(|()| File::create(users.join(&record.id)))
        .map(drop)
        .tried(|| {
            format!(
                "note in volume {name} that container {} uses it",
                record.id.short()
            )
        })
}
