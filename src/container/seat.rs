//! The seat: who may start, run or remove a container.
//!
//! `running/<id>` exists while somebody has the container in hand, and is locked
//! by that process (sys::lock). Who takes it makes the file, locks it, and makes
//! sure it is still the one in place; who leaves deletes it first.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::id::ContainerId;
use crate::storage::Storage;
use crate::sys::lock::{self, take_seat, wait_for_seat};

/// A container in our hand.
#[derive(Debug)]
pub struct Seat {
    path: PathBuf,
    held: Option<lock::Seat>,
    was_for_files: bool,
}

impl Seat {
    /// Takes the container `id`; `None` if another process has it.
    pub fn take(storage: &Storage, id: &ContainerId) -> Result<Option<Self>> {
        Self::take_as(storage, id, false)
    }

    /// As [`Seat::take`], to read or write the container's files alone: nothing that
    /// lives ends if we are killed.
    pub fn take_for_files(storage: &Storage, id: &ContainerId) -> Result<Option<Self>> {
        Self::take_as(storage, id, true)
    }

    fn take_as(storage: &Storage, id: &ContainerId, for_files: bool) -> Result<Option<Self>> {
        let path = storage.running().join(id);
        let tried = || format!("lock container {}", id.short());
        loop {
            let Some(held) = take_seat(&path, for_files).tried(tried)? else {
                return Ok(None);
            };
            if in_place(&path, &held) {
                let was_for_files = held.has_note().tried(tried)?;
                if was_for_files != for_files {
                    held.note(for_files).tried(tried)?;
                }
                return Ok(Some(Self {
                    path,
                    held: Some(held),
                    was_for_files,
                }));
            }
        }
    }

    /// Whether who had it before, and was killed, had only the files in hand.
    pub fn was_for_files(&self) -> bool {
        self.was_for_files
    }

    /// Waits until whoever has the container `id` leaves it. Takes nothing.
    pub fn wait_until_free(storage: &Storage, id: &ContainerId) -> Result<()> {
        let path = storage.running().join(id);
        if path.exists() {
            wait_for_seat(&path).tried(|| format!("wait for container {}", id.short()))?;
        }
        Ok(())
    }

    /// Keeps the seat until this process ends: its end is what others wait for.
    pub fn leave_at_exit(mut self) {
        let _ = std::fs::remove_file(&self.path);
        if let Some(held) = self.held.take() {
            std::mem::forget(held);
        }
        std::mem::forget(self);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether the file we locked is the one at `path`: it may have been deleted by
/// the one before us while we waited.
fn in_place(path: &std::path::Path, held: &lock::Seat) -> bool {
    let ours = held.metadata();
    match (std::fs::metadata(path), ours) {
        (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
        _ => false,
    }
}
