//! What each command is handed: the caller's settings, the store, and the proof
//! that this process has one thread.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
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

    /// Does `work` in a child process, as the caller: where threads may be started
    /// and memory is soon given back.
    pub fn apart<T, F>(&self, work: F) -> Result<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        F: FnOnce() -> Result<T>,
    {
        userns::apart(self.thread, work)
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
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        self.remove_trees([path.to_owned()])
    }

    /// Deletes all of `paths`, as far as it can; the first error counts.
    pub fn remove_trees<I>(&self, paths: I) -> Result<()>
    where
        I: IntoIterator<Item = PathBuf, IntoIter: Send>,
    {
        let left = crate::storage::remove_trees(paths);
        if left.is_empty() {
            return Ok(());
        }
        let removed = self.in_namespace(|| {
            let left = crate::storage::remove_trees(left.into_iter().map(|(path, _)| path));
            match left.into_iter().next() {
                Some((path, error)) => Err(error).tried(|| format!("remove {}", path.display())),
                None => Ok(()),
            }
        });
        removed.map_err(|error| match self.why_single() {
            Some(why) => error.hint(format!(
                "files of your subordinate ids are deleted by the next command that can have these; {}",
                why.with_hint()
            )),
            None => error,
        })
    }
}
