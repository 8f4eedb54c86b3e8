//! Mending what a killed process, a power cut or a reboot left.
//!
//! Looks at `running/` and `staging/` only: what is whole is not looked at, so
//! a sweep costs two empty folders where nothing died.

use jiff::Timestamp;

use super::{Exit, Record, Seat, Started, Status, events, remove, stop};
use super::{cgroup, exit};
use crate::engine::Engine;
use crate::error::Result;
use crate::id::ContainerId;
use crate::storage::{read_unsynced, remove_tree};
use crate::sys::file::Durable;
use crate::sys::lock::seat_holder;

/// Ends what dead monitors left, records 137 for their containers, removes those
/// with `--rm`, and deletes what was half-made.
pub fn sweep(engine: &Engine) -> Result<()> {
    let storage = &engine.storage;
    for id in storage.list(&storage.running())? {
        if let Ok(id) = id.parse::<ContainerId>()
            && seat_holder(&storage.running().join(&id))?.is_none()
            && let Some(seat) = Seat::take(storage, &id)?
        {
            if !seat.was_for_files() {
                mend(engine, &id)?;
            }
            drop(seat);
        }
    }
    engine.sweep_staging()
}

/// The container `id`, whose monitor or remover died. The seat is ours.
fn mend(engine: &Engine, id: &ContainerId) -> Result<()> {
    let dir = engine.storage.container(id);
    let _ = remove_tree(&engine.storage.container_runtime(id));
    let Some(record) = read_unsynced::<Record>(&dir.join("container.json"))? else {
        // It died between taking a name and putting the record in place, or that did
        // not get to the disk.
        let names = engine.storage.names();
        for name in engine.storage.list(&names)? {
            let link = names.join(name);
            if std::fs::read_link(&link).is_ok_and(|to| to.as_os_str() == id.as_str()) {
                let _ = std::fs::remove_file(&link);
            }
        }
        return remove::remove_lost(&engine.storage, id, &|retired| {
            engine.remove_tree(retired.path())
        });
    };
    let started: Option<Started> = read_unsynced(&dir.join("started.json"))?;
    let exit: Option<Exit> = read_unsynced(&dir.join("exit.json"))?;
    let status = Status {
        state: super::State::Exited,
        monitor: None,
        started,
        exit,
    };
    stop::kill_leftovers(&status);
    cgroup::end_left(engine, &dir);
    let ended = status.started.is_some() && status.exit.is_none();
    if ended {
        events::note_with(&engine.storage, &record, "died", Some(137));
    }
    if record.options.remove {
        let code = ended.then_some(137);
        return remove::remove_files_with(&engine.storage, &record, true, code, &|retired| {
            engine.remove_tree(retired.path())
        });
    }
    if let (Some(started), None) = (&status.started, &status.exit) {
        let exit = Exit {
            code: 137,
            started: Some(started.at),
            finished: Timestamp::now(),
            oom_killed: false,
            error: None,
            stopped_by_user: false,
            restarting: false,
        };
        // Where it cannot be written the code is 137 all the same.
        let _ = exit::write(&dir, &exit, Durable::Yes);
        events::note(&engine.storage, &record, "cleanup");
    }
    Ok(())
}
