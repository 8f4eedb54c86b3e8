//! What each command is handed: the caller's settings, the store, and the proof
//! that this process has one thread.

use std::cell::OnceCell;

use crate::error::Result;
use crate::settings::Settings;
use crate::storage::Storage;
use crate::sys::SoleThread;
use crate::userns::{self, IdMap};

/// The engine of one command.
pub struct Engine {
    pub settings: Settings,
    pub storage: Storage,
    pub thread: SoleThread,
    map: OnceCell<IdMap>,
}

impl Engine {
    /// Opens the store. Enters no namespace, starts no thread.
    pub fn open(settings: Settings, thread: SoleThread) -> Result<Self> {
        let storage = Storage::open(&settings)?;
        Ok(Self {
            settings,
            storage,
            thread,
            map: OnceCell::new(),
        })
    }

    /// The caller's default id map.
    pub fn default_map(&self) -> &IdMap {
        self.map.get_or_init(|| userns::default_map(&self.settings))
    }

    /// Why only the caller's own id can be mapped, and what to do about it.
    pub fn why_single(&self) -> Option<String> {
        if self.default_map().is_single() {
            userns::why_single(&self.settings)
        } else {
            None
        }
    }

    /// Does `work` in a child process as root of a user namespace with the
    /// default map, where files of all the caller's ids can be touched.
    pub fn in_namespace<T, F>(&self, work: F) -> Result<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        F: FnOnce() -> Result<T>,
    {
        userns::in_child(self.thread, self.default_map(), work)
    }

    /// Does `work` in a child process, as the caller: where threads may be started
    /// and memory is soon given back.
    pub fn apart<T, F>(&self, work: F) -> Result<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        F: FnOnce() -> Result<T>,
    {
        userns::apart(self.thread, work)
    }

    /// Deletes `path`, in the user namespace if its files are of other ids.
    pub fn remove_tree(&self, path: &std::path::Path) -> Result<()> {
        use crate::error::Context;
        if crate::storage::remove_tree(path).is_ok() {
            return Ok(());
        }
        self.in_namespace(|| {
            crate::storage::remove_tree(path).tried(|| format!("remove {}", path.display()))
        })
    }
}
