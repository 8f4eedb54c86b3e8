//! Copies of a volume: beside it, to go back to, and as volumes of their own.
//!
//! Each is made in staging, synced, and renamed into place. Where the file system
//! can, files share their blocks with what they were copied from.

use std::fs::File;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::copy::{self, Content, Copied, How, Marks};
use super::{DATA, FILLED, MAP, RECORD, SNAPSHOTS, USED, Volume, Watch};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::id::Name;
use crate::storage::walk::open_root;
use crate::storage::{Staging, Storage, read_json, write_json};
use crate::sys::file::{Durable, sync_dir, sync_file_system};

/// `snapshot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub name: Name,
    pub created: Timestamp,
}

const SNAPSHOT: &str = "snapshot.json";

/// Threads that copy beside the one that goes through the tree. On two cores the
/// second thread brings half as much again, more bring little: it is the kernel's
/// work, on one disk.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// Keeps the volume's files as they are under `name`. `check` is asked while the
/// volume is held: an error of it is the end.
pub fn snapshot(
    engine: &Engine,
    volume: &Volume,
    name: &Name,
    check: impl Fn() -> Result<()>,
    watch: &dyn Watch,
) -> Result<Copied> {
    let storage = &engine.storage;
    plain(volume, "snapshots")?;
    let _held = super::hold_alone(storage, &volume.name)?;
    check()?;
    let tried = || format!("make snapshot {name} of volume {}", volume.name);
    let all = storage.volume(&volume.name).join(SNAPSHOTS);
    let target = all.join(name);
    let there = || {
        Error::new(
            Kind::Exists,
            format!("volume {} has a snapshot {name} already", volume.name),
        )
    };
    if target.exists() {
        return Err(there());
    }
    let staging = storage.stage()?;
    let made = staging.path().join("snapshot");
    std::fs::create_dir(&made).tried(tried)?;
    let record = Snapshot {
        name: name.clone(),
        created: Timestamp::now(),
    };
    write_json(&made.join(SNAPSHOT), &record, Durable::No)?;
    let copied = copied(
        engine,
        &staging,
        "snapshot",
        &storage.volume(&volume.name),
        watch,
    )
    .tried(tried)?;
    if let Err(error) = std::fs::create_dir(&all)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).tried(tried);
    }
    sync_dir(&storage.volume(&volume.name)).tried(tried)?;
    match staging.publish("snapshot", &target, true) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(there()),
        result => result.map(|()| copied).tried(tried),
    }
}

/// Copies the `_data` in `from` into the folder `name` in `staging`, and syncs all.
fn copied(
    engine: &Engine,
    staging: &Staging,
    name: &str,
    from: &std::path::Path,
    watch: &dyn Watch,
) -> Result<Copied> {
    let beside = staging.path().join(name).join(DATA);
    let from = from.join(DATA);
    let result = engine.in_namespace(|| {
        std::fs::create_dir(&beside)?;
        let how = How {
            content: Content::Copied,
            marks: Marks::Kept,
            threads: threads(),
            watch,
        };
        let copied = copy::tree_as(&open_root(&from)?, &beside, &how)?;
        sync_file_system(&beside)?;
        Ok(copied)
    });
    if result.is_err() {
        let _ = engine.remove_tree(&beside);
    }
    result
}

/// A volume's snapshots, the oldest first.
pub fn snapshots(storage: &Storage, volume: &Name) -> Result<Vec<Snapshot>> {
    let dir = storage.volume(volume).join(SNAPSHOTS);
    let mut all = Vec::new();
    for name in storage.list(&dir)? {
        if let Some(snapshot) = read_json::<Snapshot>(&dir.join(name).join(SNAPSHOT))? {
            all.push(snapshot);
        }
    }
    all.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    Ok(all)
}

/// The snapshot that `text` names.
pub fn find(storage: &Storage, volume: &Name, text: &str) -> Result<Snapshot> {
    let all = snapshots(storage, volume)?;
    let found = all.iter().find(|snapshot| snapshot.name.as_str() == text);
    found
        .cloned()
        .ok_or_else(|| no_snapshot(volume, Some(text), &all))
}

/// There is no such snapshot, or none at all; what there is.
pub fn no_snapshot(volume: &Name, text: Option<&str>, all: &[Snapshot]) -> Error {
    let missing = Error::not_found(match text {
        Some(text) => format!("volume {volume} has no snapshot {text:?}: no such snapshot"),
        None => format!("volume {volume} has no snapshot: no such snapshot"),
    });
    let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
    match text.and_then(|text| crate::id::near(text, names.iter().copied())) {
        Some(near) => missing.meant(Some(near)),
        None if names.is_empty() => {
            missing.hint(format!("`coracle volume snapshot {volume}` makes one"))
        }
        None => missing.hint(format!("it has {}", names.join(", "))),
    }
}

/// Makes the volume's files what they were when the snapshot was made. The snapshot
/// stays.
pub fn restore(
    engine: &Engine,
    volume: &Volume,
    snapshot: &Snapshot,
    check: impl Fn() -> Result<()>,
    watch: &dyn Watch,
) -> Result<Copied> {
    let storage = &engine.storage;
    let _held = super::hold_alone(storage, &volume.name)?;
    check()?;
    let tried = || {
        format!(
            "restore snapshot {} of volume {}",
            snapshot.name, volume.name
        )
    };
    let dir = storage.volume(&volume.name);
    let staging = storage.stage()?;
    let from = dir.join(SNAPSHOTS).join(&snapshot.name);
    let copied = copied(engine, &staging, "", &from, watch).tried(tried)?;
    engine
        .in_namespace(|| super::exchange(&staging, &dir))
        .tried(tried)?;
    Ok(copied)
}

/// Removes a snapshot.
pub fn remove_snapshot(engine: &Engine, volume: &Name, snapshot: &Name) -> Result<()> {
    let storage = &engine.storage;
    let _held = super::hold_alone(storage, volume)?;
    let path = storage.volume(volume).join(SNAPSHOTS).join(snapshot);
    match storage.retire(&path)? {
        Some(retired) => engine.remove_tree(retired.path()),
        None => find(storage, volume, snapshot.as_str()).map(drop),
    }
}

/// Makes the volume `name` with the files, labels and id map of `volume`, or with the
/// files of one of its snapshots.
pub fn clone(
    engine: &Engine,
    volume: &Volume,
    snapshot: Option<&Snapshot>,
    name: Name,
    check: impl Fn() -> Result<()>,
    watch: &dyn Watch,
) -> Result<Copied> {
    let storage = &engine.storage;
    plain(volume, "clones")?;
    let target = storage.volume(&name);
    if target.exists() {
        return Err(super::exists(&name));
    }
    let _held = super::hold_alone(storage, &volume.name)?;
    check()?;
    let tried = || format!("clone volume {} to {name}", volume.name);
    let dir = storage.volume(&volume.name);
    let staging = storage.stage()?;
    let made = staging.path().join("volume");
    std::fs::create_dir(&made).tried(tried)?;
    let record = Volume {
        name: name.clone(),
        created: Timestamp::now(),
        anonymous: false,
        origin: None,
        ..volume.clone()
    };
    write_json(&made.join(RECORD), &record, Durable::No)?;
    if let Some(map) = volume.map(storage)? {
        write_json(&made.join(MAP), &map, Durable::No)?;
    }
    for mark in [USED, FILLED] {
        if dir.join(mark).exists() {
            File::create(made.join(mark)).tried(tried)?;
        }
    }
    let from = match snapshot {
        Some(snapshot) => dir.join(SNAPSHOTS).join(&snapshot.name),
        None => dir,
    };
    let copied = copied(engine, &staging, "volume", &from, watch).tried(tried)?;
    match staging.publish("volume", &target, true) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let _ = engine.remove_tree(&made);
            Err(super::exists(&name))
        }
        result => result.map(|()| copied).tried(tried),
    }
}

/// Only what lies in the volume's own folder can be copied as a whole.
fn plain(volume: &Volume, what: &str) -> Result<()> {
    if volume.is_plain() {
        return Ok(());
    }
    let why = match (&volume.image, volume.options.get("device")) {
        (Some(_), _) => "it shows an image".to_owned(),
        (None, Some(device)) => format!("its files are those of {device}"),
        (None, None) => "its files are not its own".to_owned(),
    };
    Err(Error::unsupported(format_args!(
        "{what} of volume {}: {why}, which",
        volume.name
    )))
}
