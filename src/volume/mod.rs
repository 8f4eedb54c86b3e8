//! Named directories that outlive containers.
//!
//! ```text
//! volumes/<name>/
//!   volume.json   what `volume create` was told; written once
//!   _data/        the files
//!   used          there when the first use is over: its root has its owner
//!   filled        there when files were copied up: an empty volume is not filled again
//!   users/<id>    a container mounts it (storage::volume_users)
//!   map.json      the id map its files were written under, if not the caller's default
//!   layer/        of a volume that shows an image: upper/ work/, its changes
//!   mounted/<id>  a container has mounted what the volume has in place of `_data`
//!   snapshots/<snapshot>/
//!     snapshot.json   when it was made
//!     _data/          the files as they were
//! ```
//!
//! A volume is made in staging and renamed into place, which one of two makers
//! at once wins. Its folder's lock is held shared by who makes a container that
//! uses it, until that container's record is there, and alone by who removes it:
//! so a volume cannot go between being found and being used.
//!
//! What changes all of a volume's files at once (`import`, `restore`) holds the
//! folder's lock alone, makes the new `_data` in staging, syncs it, and exchanges the
//! two; who starts a container holds the lock shared until `_data` is mounted. A
//! snapshot or a clone holds the lock alone while it is made, so that no container
//! starts to write meanwhile.
//!
//! `used`, `filled` and `map.json` stand beside the record because the first use is on
//! the way of `run`: an empty file needs no sync. Lost in a power cut, it only makes
//! the next use look again, and a volume that has files is never filled.

mod archive;
mod backing;
mod copy;
mod diff;
mod fill;
mod size;
mod snapshot;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use archive::{
    Compression, Packing, Pipe, attributes, entry, export, fill as fill_file, import, pack_file,
    pack_into, times,
};
pub use backing::{Backing, Parsed, parse_options};
pub use copy::{Copied, Marks};
pub use copy::{is_empty as is_empty_folder, tree as copy_tree};
pub use diff::diff;
pub use fill::{First, fill};
pub use size::{Usage, last_change, snapshot_sizes, usage};
pub use snapshot::{
    Snapshot, clone, find as find_snapshot, no_snapshot, remove_snapshot, restore, snapshot,
    snapshots,
};

use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::events::{Event, Type};
use crate::id::{ContainerId, DiffId, ImageId, Name};
use crate::storage::{self, Locked, Staging, Storage, read_json, write_json};
use crate::sys::file::{Durable, sync_dir, sync_file_system};
use crate::userns::IdMap;

/// Who is told how far long work has got. May be called by any thread.
pub trait Watch: Sync {
    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
    /// One more file is begun, or a link: many that are empty take their time, too.
    fn file(&self) {}
}

/// Nobody is told.
impl Watch for () {
    fn advance(&self, _bytes: u64) {}
}

/// `volume.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: Name,
    pub created: Timestamp,
    /// `local`
    pub driver: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// As `inspect` shows them: `--opt`, and `UID`, `GID`, `SIZE` taken out of `o=`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Made for one container, with which it goes.
    #[serde(default)]
    pub anonymous: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// `--uid`, `o=uid=`: who owns the volume's root, whatever the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Of driver `image`: what lies beneath its own changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Beneath>,
}

/// The image that a volume of driver `image` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beneath {
    pub id: ImageId,
    /// Lowest first.
    pub layers: Vec<DiffId>,
}

/// What an anonymous volume was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub container: ContainerId,
    pub image: String,
    /// Where the container has it.
    pub path: PathBuf,
}

impl Volume {
    /// A plain volume of that name, made now.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            created: Timestamp::now(),
            driver: "local".to_owned(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            anonymous: false,
            origin: None,
            uid: None,
            gid: None,
            image: None,
        }
    }

    /// An anonymous volume with a name of its own.
    pub fn anonymous(origin: Origin) -> Self {
        Self {
            anonymous: true,
            origin: Some(origin),
            ..Self::new(Name::random())
        }
    }

    /// One whose record was lost in a power cut: that of a container's anonymous volume
    /// is not synced if it is to go with the container.
    fn unrecorded(name: Name, storage: &Storage) -> Self {
        let made = storage
            .volume(&name)
            .metadata()
            .and_then(|it| it.modified());
        let made = made.ok().and_then(|time| Timestamp::try_from(time).ok());
        Self {
            created: made.unwrap_or_default(),
            anonymous: is_random(name.as_str()),
            ..Self::new(name)
        }
    }

    /// Whether the first use is still to come.
    pub fn is_unused(&self, storage: &Storage) -> bool {
        !storage.volume(&self.name).join(USED).exists()
    }

    /// Whether a use copies the image's files, if there are any and it is empty.
    pub fn needs_copy_up(&self, storage: &Storage) -> bool {
        !storage.volume(&self.name).join(FILLED).exists()
    }

    /// Whether the next use says whose its root is: as long as it is empty and was never
    /// filled, that goes with who uses it.
    pub fn needs_owner(&self, storage: &Storage) -> bool {
        let data = mountpoint(storage, &self.name);
        let is_empty = || fill::is_empty(&data).unwrap_or(false);
        self.uid.is_none()
            && self.gid.is_none()
            && self.is_plain()
            && self.needs_copy_up(storage)
            && (self.is_unused(storage) || is_empty())
    }

    /// Whether it is to be filled at all.
    pub fn takes_copy_up(&self) -> bool {
        !self.options.contains_key("nocopy")
    }

    /// The id map its files were written under, if it is not the default.
    pub fn map(&self, storage: &Storage) -> Result<Option<IdMap>> {
        read_json(&storage.volume(&self.name).join(MAP))
    }

    /// Remembers the map of the container that first writes there.
    pub fn remember_map(&self, storage: &Storage, map: &IdMap) -> Result<()> {
        write_json(&storage.volume(&self.name).join(MAP), map, Durable::Yes)
    }
}

const RECORD: &str = "volume.json";
const DATA: &str = "_data";
const USED: &str = "used";
const FILLED: &str = "filled";
const MAP: &str = "map.json";
const LAYER: &str = "layer";
const SNAPSHOTS: &str = "snapshots";

/// Where a volume's files are.
pub fn mountpoint(storage: &Storage, name: &Name) -> PathBuf {
    storage.volume(name).join(DATA)
}

/// Where the files of a volume's snapshot are.
pub fn snapshot_data(storage: &Storage, name: &Name, snapshot: &Name) -> PathBuf {
    storage
        .volume(name)
        .join(SNAPSHOTS)
        .join(snapshot)
        .join(DATA)
}

/// Where the changes of a volume that shows an image are.
pub fn changes(storage: &Storage, name: &Name) -> PathBuf {
    storage.volume(name).join(LAYER).join("upper")
}

/// Holds a volume, so that it is not removed and its files are not exchanged while
/// the value lives.
pub fn hold(storage: &Storage, name: &Name) -> Result<Locked> {
    let dir = storage.volume(name);
    let held = storage::lock_shared(&dir).ok();
    held.filter(|held| is_same(held, &dir))
        .ok_or_else(|| no_such(name.as_str()))
}

/// Holds a volume alone: no container starts to use it while the value lives.
pub fn hold_alone(storage: &Storage, name: &Name) -> Result<Locked> {
    let dir = storage.volume(name);
    let held = storage::lock_alone(&dir).ok();
    held.filter(|held| is_same(held, &dir))
        .ok_or_else(|| no_such(name.as_str()))
}

/// Puts the `_data` made in `staging` in the place of the one in the volume's folder
/// `dir`, at once, and deletes that.
fn exchange(staging: &Staging, dir: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let (new, old) = (staging.path().join(DATA), dir.join(DATA));
    sync_file_system(&new)?;
    renameat_with(CWD, &new, CWD, &old, RenameFlags::EXCHANGE)?;
    sync_dir(dir)?;
    Ok(storage::remove_tree(&new)?)
}

/// Writes down that something became of the volume.
pub fn note(storage: &Storage, name: &Name, status: &'static str) {
    note_all(storage, std::slice::from_ref(&name), status);
}

/// As [`note`], of each of several.
pub fn note_all(storage: &Storage, names: &[&Name], status: &'static str) {
    let event = |name: &&Name| Event::new(Type::Volume, status).name(name.as_str());
    let events: Vec<Event> = names.iter().map(event).collect();
    storage.events().write_all(&events);
}

/// Makes a volume; it must not exist.
pub fn create(storage: &Storage, volume: &Volume) -> Result<()> {
    if make(storage, volume, Durable::Yes)? {
        Ok(())
    } else {
        Err(exists(&volume.name))
    }
}

/// Podman's words for a volume that is there already.
fn exists(name: &Name) -> Error {
    Error::new(
        Kind::Exists,
        format!("volume with name {name} already exists: volume already exists"),
    )
}

/// The volume of that name, made as `volume` says if it is missing, and held:
/// it is not removed while the lock lives. Drop that once the record of the
/// container that uses it is in place, and before the monitor is forked.
pub fn ensure(storage: &Storage, volume: &Volume, durable: Durable) -> Result<(Volume, Locked)> {
    let dir = storage.volume(&volume.name);
    loop {
        // What is gone, or goes before we hold it, is made anew.
        if dir.exists()
            && let Ok(lock) = storage::lock_shared(&dir)
            && let Some(found) = load(storage, &volume.name)?
            && is_same(&lock, &dir)
        {
            return Ok((found, lock));
        }
        make(storage, volume, durable)?;
    }
}

/// Whether the folder we hold is still the one at `dir`.
fn is_same(lock: &Locked, dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (lock.metadata(), std::fs::metadata(dir)) {
        (Ok(held), Ok(there)) => held.ino() == there.ino() && held.dev() == there.dev(),
        _ => false,
    }
}

/// Makes it in staging and renames it into place; false if there is one already.
fn make(storage: &Storage, volume: &Volume, durable: Durable) -> Result<bool> {
    let tried = || format!("create volume {}", volume.name);
    let target = storage.volume(&volume.name);
    if target.exists() {
        return Ok(false);
    }
    let staging = storage.stage()?;
    let dir = staging.path().join("volume");
    std::fs::create_dir(&dir).tried(tried)?;
    std::fs::create_dir(dir.join(DATA)).tried(tried)?;
    // Whatever the umask: users of the container that are not root go in there.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.join(DATA), mode).tried(tried)?;
    // Nobody sees the file before the rename: it need not be written beside.
    let record = dir.join(RECORD);
    std::fs::write(&record, serde_json::to_vec(volume)?).tried(tried)?;
    if durable == Durable::Yes {
        let file = std::fs::File::open(&record).tried(tried)?;
        file.sync_all().tried(tried)?;
        sync_dir(&dir).tried(tried)?;
    }
    match staging.publish("volume", &target, durable == Durable::Yes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).tried(tried),
    }
}

/// The volume of exactly that name.
pub fn load(storage: &Storage, name: &Name) -> Result<Option<Volume>> {
    let record = storage.volume(name).join(RECORD);
    let found = storage::read_unsynced(&record)?;
    let is_lost = || {
        record
            .exists()
            .then(|| Volume::unrecorded(name.clone(), storage))
    };
    Ok(found.or_else(is_lost))
}

/// The volume that `text` names, or whose name alone begins with it.
pub fn find(storage: &Storage, text: &str) -> Result<Volume> {
    if text.is_empty() {
        return Err(Error::usage("name or ID cannot be empty"));
    }
    if let Ok(name) = text.parse()
        && let Some(volume) = load(storage, &name)?
    {
        return Ok(volume);
    }
    let mut begun = storage.list(&storage.volumes())?;
    begun.retain(|name| name.starts_with(text));
    match begun.as_slice() {
        [one] => match load(storage, &one.parse()?)? {
            Some(volume) => Ok(volume),
            None => Err(absent(storage, text)),
        },
        [] => Err(absent(storage, text)),
        _ => Err(Error::new(
            Kind::Exists,
            format!("more than one result for volume name {text}: volume already exists"),
        )),
    }
}

/// Podman's words for a volume that is not there.
pub fn no_such(text: &str) -> Error {
    Error::not_found(format!(
        "no volume with name {text:?} found: no such volume"
    ))
}

/// The same, with the one that may have been meant.
fn absent(storage: &Storage, text: &str) -> Error {
    no_such(text).meant(near(storage, text))
}

/// The name of a volume that may have been meant by `text`.
pub fn near(storage: &Storage, text: &str) -> Option<String> {
    let names = storage.list(&storage.volumes()).unwrap_or_default();
    crate::id::near(text, names.iter().map(String::as_str)).map(str::to_owned)
}

/// Every volume, the oldest first.
pub fn list(storage: &Storage) -> Result<Vec<Volume>> {
    list_where(storage, |_| true)
}

/// The anonymous ones, the oldest first. The records of those that have names of their
/// own, of which there may be many more, are not read.
pub fn list_anonymous(storage: &Storage) -> Result<Vec<Volume>> {
    let mut all = list_where(storage, |name| name.to_str().is_some_and(is_random))?;
    all.retain(|volume| volume.anonymous);
    Ok(all)
}

/// Whether a name may be an anonymous volume's: see [`Name::random`].
fn is_random(name: &str) -> bool {
    name.len() == 64 && crate::id::is_hex(name)
}

fn list_where(storage: &Storage, wanted: impl Fn(&OsStr) -> bool) -> Result<Vec<Volume>> {
    let mut all = Vec::new();
    for (name, record) in storage::read_each(&storage.volumes(), RECORD, wanted)? {
        let name = name.to_str().and_then(|name| name.parse().ok());
        all.extend(record.or_else(|| Some(Volume::unrecorded(name?, storage))));
    }
    all.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    Ok(all)
}

/// What became of a volume that was to be removed.
#[derive(Debug)]
pub enum Removed {
    Gone,
    Missing,
    /// By these containers.
    InUse(Vec<ContainerId>),
}

/// Folders in `staging` for what is deleted at once, so that no deletion waits for the
/// folder of another.
fn heaps(staging: &Path, wanted: usize) -> std::io::Result<Vec<PathBuf>> {
    let make = |number: usize| {
        let heap = staging.join(number.to_string());
        std::fs::create_dir(&heap).map(|()| heap)
    };
    (0..wanted.min(storage::AT_ONCE)).map(make).collect()
}

/// Removes volumes, in the order given. `users` tells who uses one: it is asked
/// while the volume is held, so that no container can begin to use it in between.
pub fn remove(
    engine: &Engine,
    names: &[Name],
    users: impl Fn(&Name) -> Result<Vec<ContainerId>>,
) -> Result<Vec<Removed>> {
    let storage = &engine.storage;
    let staging = storage.stage();
    // A full disk has no room for folders, which is when removing matters.
    let heaps = match &staging {
        Ok(staging) => heaps(staging.path(), names.len()).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let one = |name: &Name, heap: Option<&PathBuf>| -> Result<Removed> {
        let dir = storage.volume(name);
        // What another took away while we waited is not there any more.
        let held = storage::lock_alone(&dir).ok();
        let Some(_held) = held.filter(|held| is_same(held, &dir)) else {
            return Ok(Removed::Missing);
        };
        let users = users(name)?;
        if !users.is_empty() {
            return Ok(Removed::InUse(users));
        }
        match heap {
            Some(heap) => {
                std::fs::rename(&dir, heap.join(name)).tried(|| format!("remove volume {name}"))?
            }
            None => drop(storage.retire(&dir)?),
        }
        Ok(Removed::Gone)
    };
    let mut results = Vec::with_capacity(names.len());
    let mut gone = Vec::new();
    let places = heaps
        .iter()
        .map(Some)
        .cycle()
        .chain(std::iter::repeat(None));
    let mut each = names.iter().zip(places);
    let done: Result<()> = each.try_for_each(|(name, heap)| {
        let removed = one(name, heap)?;
        if let Removed::Gone = removed {
            gone.push(name);
        }
        results.push(removed);
        Ok(())
    });
    // Also of those that went before an error.
    note_all(storage, &gone, "remove");
    done?;
    engine.remove_trees(heaps)?;
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::SoleThread;

    fn storage() -> (tempdir::Dir, Storage) {
        let dir = tempdir::Dir::new();
        let settings = crate::settings::Settings {
            uid: 0,
            gid: 0,
            home: dir.0.clone(),
            data: dir.0.join("data"),
            cache: dir.0.join("cache"),
            runtime: dir.0.join("run"),
            user_manager: None,
            cgroup_manager: None,
            events_backend: None,
            cdi_folders: Vec::new(),
        };
        let storage = Storage::open(&settings).unwrap();
        (dir, storage)
    }

    /// A folder that goes with its value.
    pub(super) mod tempdir {
        pub struct Dir(pub std::path::PathBuf);

        impl Dir {
            pub fn new() -> Self {
                let name = format!("coracle-volume-{}", crate::id::random_hex::<8>());
                let path = std::env::temp_dir().join(name);
                std::fs::create_dir(&path).unwrap();
                Self(path)
            }
        }

        impl Drop for Dir {
            fn drop(&mut self) {
                let _ = crate::storage::remove_tree(&self.0);
            }
        }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_volume_is_made_once() {
        let (_dir, storage) = storage();
        let volume = Volume::new(name("data"));
        create(&storage, &volume).unwrap();
        assert_eq!(
            create(&storage, &volume).unwrap_err().to_string(),
            "volume with name data already exists: volume already exists"
        );
        let (found, _lock) = ensure(&storage, &Volume::new(name("data")), Durable::No).unwrap();
        assert_eq!(found, volume);
        assert!(found.needs_copy_up(&storage));
        assert!(mountpoint(&storage, &found.name).is_dir());
        assert!(
            storage
                .list(&storage.root().join("staging"))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn makers_at_once_get_one_volume() {
        let (_dir, storage) = storage();
        let made: Vec<Volume> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let wanted = Volume::new(name("one"));
                        ensure(&storage, &wanted, Durable::No).unwrap().0
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(made.iter().all(|volume| *volume == made[0]));
        assert_eq!(list(&storage).unwrap(), made[..1]);
    }

    #[test]
    fn a_beginning_names_one_volume_or_none() {
        let (_dir, storage) = storage();
        for text in ["ab", "abc", "b1"] {
            create(&storage, &Volume::new(name(text))).unwrap();
        }
        assert_eq!(find(&storage, "ab").unwrap().name, name("ab"));
        assert_eq!(find(&storage, "abc").unwrap().name, name("abc"));
        assert_eq!(find(&storage, "b").unwrap().name, name("b1"));
        assert_eq!(
            find(&storage, "a").unwrap_err().to_string(),
            "more than one result for volume name a: volume already exists"
        );
        for none in ["x", "../b1", "b1/"] {
            assert_eq!(find(&storage, none).unwrap_err().kind(), Kind::NotFound);
        }
        assert_eq!(find(&storage, "").unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn what_is_used_stays() {
        let (_dir, storage) = storage();
        for text in ["a", "b"] {
            create(&storage, &Volume::new(name(text))).unwrap();
        }
        std::fs::write(mountpoint(&storage, &name("a")).join("file"), "x").unwrap();
        let user = ContainerId::random();
        // Tests run in threads, and nothing here forks.
        let Ok(thread) = SoleThread::take() else {
            return;
        };
        let settings = crate::settings::Settings::read(&Default::default()).unwrap();
        let mut engine = Engine::open(settings, thread, None).unwrap();
        engine.storage = storage.clone();
        let results = remove(&engine, &[name("a"), name("b"), name("c")], |it| {
            Ok(Vec::from_iter((*it == name("b")).then(|| user.clone())))
        })
        .unwrap();
        assert!(matches!(
            results.as_slice(),
            [Removed::Gone, Removed::InUse(_), Removed::Missing]
        ));
    }
}
