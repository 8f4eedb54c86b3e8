//! What each command is handed: the caller's settings, the store, and the proof
//! that this process has one thread.

use std::cell::OnceCell;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::storage::Storage;
use crate::sys::SoleThread;
use crate::userns::{self, IdMap};

/// The engine of one command.
pub struct Engine {
    pub settings: Settings,
    pub storage: Storage,
    pub thread: SoleThread,
    map: OnceCell<(IdMap, Option<Error>)>,
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
        &self.map().0
    }

    fn map(&self) -> &(IdMap, Option<Error>) {
        self.map.get_or_init(|| userns::default_map(&self.settings))
    }

    /// Why only the caller's own id can be mapped, and what to do about it.
    pub fn why_single(&self) -> Option<&Error> {
        self.map().1.as_ref()
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

    /// What each of `paths` takes on disk; in the user namespace, once for all, those
    /// that the caller may not read.
    pub fn disk_usage(&self, paths: &[PathBuf]) -> Result<Vec<u64>> {
        use crate::storage::disk_usage;
        let mut sizes: Vec<Option<u64>> = paths.iter().map(|path| disk_usage(path).ok()).collect();
        let shut: Vec<usize> = (0..paths.len()).filter(|at| sizes[*at].is_none()).collect();
        if !shut.is_empty() {
            // What vanishes meanwhile takes nothing.
            let size = |at: &usize| disk_usage(&paths[*at]).unwrap_or(0);
            let found = self.in_namespace(|| Ok(shut.iter().map(size).collect::<Vec<_>>()))?;
            for (at, size) in shut.into_iter().zip(found) {
                sizes[at] = Some(size);
            }
        }
        Ok(sizes.into_iter().map(Option::unwrap_or_default).collect())
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
