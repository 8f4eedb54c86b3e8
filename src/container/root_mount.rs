//! Containers' roots shown in a folder, for the shell of `unshare` that mounts them: a
//! mount is there as long as that shell is.
//!
//! ```text
//! $XDG_RUNTIME_DIR/coracle/roots/<id>/          where it is mounted
//! $XDG_RUNTIME_DIR/coracle/roots/<id>.mounted   the mount namespaces it was mounted in
//! ```
//!
//! An upper layer in two overlays at once would be spoiled, so that who starts the
//! container asks whether any process is left in one of these namespaces.

use std::path::{Path, PathBuf};

use super::files::Files;
use super::{Container, Record, Seat, State, events, image_mount, rootfs};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::storage::Storage;
use crate::sys::file::{Durable, write_whole};
use crate::sys::mount;

fn place(storage: &Storage, record: &Record) -> PathBuf {
    storage.runtime().join("roots").join(&record.id)
}

fn mark(storage: &Storage, record: &Record) -> PathBuf {
    place(storage, record).with_extension("mounted")
}

/// Where the container's root is mounted, if it is, here.
pub fn mounted(engine: &Engine, record: &Record) -> Option<PathBuf> {
    image_mount::is_mounted(&place(&engine.storage, record))
}

/// Mounts it, unless it is; gives where.
pub fn mount(engine: &Engine, container: &Container) -> Result<PathBuf> {
    let record = &container.record;
    let storage = &engine.storage;
    if let Some(place) = mounted(engine, record) {
        return Ok(place);
    }
    if !matches!(container.status.state, State::Created | State::Exited) {
        return Err(Error::unsupported("mounting a container that runs"));
    }
    let in_use = || Error::new(Kind::State, format!("container {} is in use", record.id));
    let _seat = Seat::take_for_files(storage, &record.id)?.ok_or_else(in_use)?;
    refuse_mounted(storage, record)?;
    engine.settings.ensure_runtime()?;
    let place = place(storage, record);
    std::fs::create_dir_all(&place).tried(|| format!("make {}", place.display()))?;
    let files = Files::at_rest(engine, container, None)?;
    // First: a kill may leave a mark of no mount, but never a mount that nobody knows of.
    let namespace = namespace_of(Path::new("/proc/self"));
    let mark = mark(storage, record);
    write_whole(&mark, namespace.unwrap_or_default().as_bytes(), Durable::No)
        .tried(|| format!("write {}", mark.display()))?;
    rootfs::mount_root(storage, record, files.lower(), &place).inspect_err(|_| {
        let _ = std::fs::remove_file(&mark);
    })?;
    events::note(storage, record, "mount");
    Ok(place)
}

/// Takes the mount away; false if there is none.
pub fn unmount(engine: &Engine, record: &Record) -> Result<bool> {
    let Some(place) = mounted(engine, record) else {
        return Ok(false);
    };
    mount::detach(&place).tried(|| format!("unmount {}", place.display()))?;
    let _ = std::fs::remove_file(mark(&engine.storage, record));
    let _ = std::fs::remove_dir(&place);
    events::note(&engine.storage, record, "unmount");
    Ok(true)
}

/// Fails if another process has it mounted.
pub(super) fn refuse_mounted(storage: &Storage, record: &Record) -> Result<()> {
    let mark = mark(storage, record);
    let Ok(namespace) = std::fs::read_to_string(&mark) else {
        return Ok(());
    };
    let processes = std::fs::read_dir("/proc").tried(|| "read /proc")?;
    let holder = processes.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        (namespace_of(&entry.path())? == namespace).then_some(pid)
    });
    match holder {
        Some(pid) => Err(Error::new(
            Kind::State,
            format!(
                "container {} is mounted by process {pid}: unmount it there, or end that",
                record.id
            ),
        )),
        None => {
            let _ = std::fs::remove_file(&mark);
            Ok(())
        }
    }
}

/// The mount namespace of a process, as the kernel names it.
fn namespace_of(process: &Path) -> Option<String> {
    let link = std::fs::read_link(process.join("ns/mnt")).ok()?;
    link.to_str().map(str::to_owned)
}
