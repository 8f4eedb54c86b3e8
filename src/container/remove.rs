//! Taking a container away, with what was made for it alone.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::cgroup;
use super::options::RestartPolicy;
use super::{Container, Exit, Record, Seat, State, create, events, stop};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::{ContainerId, Name};
use crate::monitor::protocol::Request;
use crate::storage::{Staging, Storage, read_json, remove_retired, remove_tree, try_lock_alone};
use crate::volume;

/// How `rm` is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removal {
    /// End it first if it runs.
    pub force: bool,
    /// Seconds to let it end by itself; none: its own stop timeout.
    pub timeout: Option<u32>,
    /// Its anonymous volumes too.
    pub volumes: bool,
}

/// Removes a container (`rm`).
pub fn remove(engine: &Engine, container: &Container, how: Removal) -> Result<()> {
    let record = &container.record;
    let status = &container.status;
    let is_up = status.is_up()
        && status.monitor.is_some()
        && !(record.options.restart == RestartPolicy::No && status.has_ended());
    if is_up && !how.force && !matches!(status.state, State::Initialized | State::Stopping) {
        return Err(Error::new(
            Kind::State,
            format!(
                "cannot remove container {} as it is {} - running or paused containers cannot be removed without force: container state improper",
                record.id,
                status.state.word()
            ),
        ));
    }
    let dependents = dependents(&engine.storage, &record.id)?;
    if !dependents.is_empty() {
        let ids: Vec<&str> = dependents.iter().map(|it| it.record.id.as_str()).collect();
        return Err(Error::new(
            Kind::InUse,
            format!(
                "container {} has dependent containers which must be removed before it: {}: container already exists",
                record.id,
                ids.join(", ")
            ),
        ));
    }
    if container.status.monitor.is_some() {
        let volumes = how.volumes || record.options.remove;
        let timeout = how.timeout;
        stop::end(engine, container, &Request::Remove { timeout, volumes })?;
        if !engine.storage.container(&record.id).exists() {
            return Ok(());
        }
    }
    let Some(seat) = Seat::take(&engine.storage, &record.id)? else {
        return Err(Error::new(
            Kind::State,
            format!("container {} is in use by another command", record.id),
        ));
    };
    stop::kill_leftovers(&container.status);
    cgroup::end_left(engine, &engine.storage.container(&record.id));
    let _ = remove_tree(&engine.storage.container_runtime(&record.id));
    let removed = remove_files_with(
        &engine.storage,
        record,
        how.volumes || record.options.remove,
        None,
        &|retired| engine.remove_tree(retired.path()),
    );
    drop(seat);
    removed
}

/// The containers that share a namespace of the container `id`.
pub fn dependents(storage: &Storage, id: &ContainerId) -> Result<Vec<Container>> {
    let mut found = Vec::new();
    for other in storage.list(&storage.container_dependents(id))? {
        if let Ok(other) = other.parse::<ContainerId>()
            && let Some(container) = super::load(storage, &other)?
        {
            found.push(container);
        }
    }
    Ok(found)
}

/// What is left of a container that is out of sight: files, and names that lead nowhere,
/// which whoever wants one takes. Who waits for the end need not wait for their end.
#[derive(Default)]
pub(super) struct Retired {
    pub files: Vec<Staging>,
    names: Vec<Name>,
}

/// Takes what a container is made of out of sight, by a process that may touch files of
/// all its ids. What is given back goes by [`forget`] and [`delete`].
pub(super) fn retire(
    storage: &Storage,
    record: &Record,
    volumes: bool,
    code: Option<i32>,
) -> Result<Retired> {
    let files = RefCell::new(Vec::new());
    let names = take_away(storage, record, volumes, code, &|it| {
        files.borrow_mut().push(it);
        Ok(())
    })?;
    Ok(Retired {
        files: files.into_inner(),
        names,
    })
}

/// Removes the names of what was retired.
pub(super) fn forget(storage: &Storage, retired: &mut Retired) {
    for name in retired.names.drain(..) {
        let _ = create::remove_dead_name(storage, &name);
    }
}

/// Deletes what was retired; what it may not delete the next sweep meets.
pub(super) fn delete(storage: &Storage, mut retired: Retired) {
    forget(storage, &mut retired);
    for it in retired.files {
        let _ = remove_retired(it.path());
    }
}

/// Removes what a container is made of, deleting by `delete`. `code`: what it ended with,
/// if that stands nowhere else.
pub(super) fn remove_files_with(
    storage: &Storage,
    record: &Record,
    volumes: bool,
    code: Option<i32>,
    delete: &dyn Fn(Staging) -> Result<()>,
) -> Result<()> {
    for name in take_away(storage, record, volumes, code, delete)? {
        create::remove_dead_name(storage, &name)?;
    }
    Ok(())
}

/// As [`remove_files_with`], but for the names it had, which are given back: what names
/// the rest goes last, so that a removal cut short can be done again.
fn take_away(
    storage: &Storage,
    record: &Record,
    volumes: bool,
    code: Option<i32>,
    delete: &dyn Fn(Staging) -> Result<()>,
) -> Result<Vec<Name>> {
    let mut first_error = None;
    let mut gone = Vec::new();
    for name in record.volumes() {
        let _ = std::fs::remove_file(storage.volume_users(name).join(&record.id));
    }
    if volumes {
        for name in anonymous_volumes(storage, record) {
            match remove_unused(storage, name, delete) {
                Ok(true) => gone.push(name),
                Ok(false) => {}
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    let dir = storage.container(&record.id);
    // A monitor knows the name that its container was started under.
    let renamed: Option<Record> = read_json(&dir.join("container.json")).unwrap_or(None);
    let exit: Option<Exit> = read_json(&dir.join("exit.json")).unwrap_or(None);
    let retired = storage.retire(&dir)?;
    if retired.is_some() {
        let code = code.or(exit.map(|exit| exit.code));
        let named = renamed.as_ref().unwrap_or(record);
        events::note_with(storage, named, "remove", code);
    }
    for name in gone {
        volume::note(storage, name, "remove");
    }
    let names = renamed.iter().map(|it| &it.name).chain([&record.name]);
    let own = names.filter(|name| {
        let link = std::fs::read_link(storage.names().join(name));
        link.is_ok_and(|id| id.as_os_str() == record.id.as_str())
    });
    let mut names: Vec<Name> = own.cloned().collect();
    names.dedup();
    // As Podman, the file that says the id of what is gone goes too.
    if let Some(path) = &record.options.cidfile
        && std::fs::read_to_string(path).is_ok_and(|text| text.trim() == record.id.as_str())
    {
        let _ = std::fs::remove_file(path);
    }
    if let Some(retired) = retired
        && let Err(error) = delete(retired)
    {
        first_error.get_or_insert(error);
    }
    match first_error {
        None => Ok(names),
        Some(error) => {
            for name in names {
                let _ = create::remove_dead_name(storage, &name);
            }
            Err(error)
        }
    }
}

/// As [`remove_files_with`], of a container whose record was lost in a power cut: it was
/// to go when it ended. Which volumes it had they say themselves.
pub(super) fn remove_lost(
    storage: &Storage,
    id: &ContainerId,
    delete: &dyn Fn(Staging) -> Result<()>,
) -> Result<()> {
    let dir = storage.container(id);
    if !dir.exists() {
        return Ok(());
    }
    for volume in volume::list(storage)? {
        let note = storage.volume_users(&volume.name).join(id);
        if std::fs::remove_file(&note).is_ok()
            && volume.anonymous
            && remove_unused(storage, &volume.name, delete)?
        {
            volume::note(storage, &volume.name, "remove");
        }
    }
    match storage.retire(&dir)? {
        Some(retired) => delete(retired),
        None => Ok(()),
    }
}

/// The volumes that go with the container if nobody else uses them: as with Podman,
/// those that are anonymous, whichever container they were made for.
fn anonymous_volumes<'a>(storage: &Storage, record: &'a Record) -> Vec<&'a Name> {
    let is_anonymous = |name: &Name| match volume::load(storage, name) {
        Ok(found) => found.is_some_and(|it| it.anonymous),
        Err(_) => false,
    };
    let mut names: Vec<&Name> = record.volumes().collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| is_anonymous(name));
    names
}

/// Removes a volume, unless another container uses it; true if it did.
fn remove_unused(
    storage: &Storage,
    name: &Name,
    delete: &dyn Fn(Staging) -> Result<()>,
) -> Result<bool> {
    let dir = storage.volume(name);
    if !dir.exists() {
        return Ok(false);
    }
    // Held by who looks at it, or by an init of a monitor that was killed as it
    // started it, which is about to end.
    let patience = Instant::now() + Duration::from_secs(10);
    let _alone = loop {
        match try_lock_alone(&dir)? {
            Some(alone) => break alone,
            None if Instant::now() < patience => std::thread::sleep(Duration::from_millis(2)),
            None => return Ok(false),
        }
    };
    if !super::users_of_volume(storage, name)?.is_empty() {
        return Ok(false);
    }
    match storage.retire(&dir)? {
        Some(retired) => delete(retired).map(|()| true),
        None => Ok(false),
    }
}
