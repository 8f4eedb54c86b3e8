//! What each command is handed: the caller's settings, the store, and the proof
//! that this process has one thread.
//!
//! ```text
//! interruptible(work)     Ctrl-C, SIGTERM … wait at a descriptor
//!   work ── in_namespace, apart: the child is waited for, and the descriptor
//!     │       a signal: the child is killed, the wait is an error
//!     └── clears away what it had begun, as after any error
//! cli::main               ends by the signal
//! ```

use std::cell::{Cell, OnceCell, RefCell};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Error, Result};
use crate::settings::Settings;
use crate::storage::Storage;
use crate::sys::{SoleThread, signal};
use crate::userns::{self, Begun, IdMap, Machine, Pending};

/// Signals that end a command.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The engine of one command.
pub struct Engine {
    pub settings: Settings,
    pub storage: Storage,
    pub thread: SoleThread,
    map: OnceCell<(IdMap, Option<Error>)>,
    begun: RefCell<Option<Begun>>,
    watch: Watch,
}

/// The user namespace of a container that is foreseen before the store is open: newuidmap
/// takes as long as all else that is to be done until then.
pub struct Foreseen {
    map: (IdMap, Option<Error>),
    begun: Option<Begun>,
}

impl Foreseen {
    /// One with the caller's default map, if that is to be had.
    pub fn namespace(thread: SoleThread) -> Self {
        let map = userns::default_map(&Machine::here());
        let begun = Begun::new(thread, &map.0).ok();
        Self { map, begun }
    }
}

/// What [`Engine::interruptible`] knows of signals.
#[derive(Default)]
struct Watch {
    /// Where they are read; each process reads its own there (signalfd(2)).
    signals: OnceCell<OwnedFd>,
    is_on: Cell<bool>,
    /// The first that has come: from then on we are ending.
    came: Cell<Option<i32>>,
}

impl Engine {
    /// Opens the store. Enters no namespace, starts no thread.
    pub fn open(
        settings: Settings,
        thread: SoleThread,
        foreseen: Option<Foreseen>,
    ) -> Result<Self> {
        let storage = Storage::open(&settings)?;
        let (map, begun) = match foreseen {
            Some(Foreseen { map, begun }) => (OnceCell::from(map), begun),
            None => (OnceCell::new(), None),
        };
        Ok(Self {
            settings,
            storage,
            thread,
            map,
            begun: RefCell::new(begun),
            watch: Watch::default(),
        })
    }

    /// Does `work`, which has something to clear away when it ends. Meanwhile a signal that
    /// would end us kills the child that is waited for, and is an error of whoever waits;
    /// who does not wait asks [`Self::interrupted`]. Signals that the caller ignores are.
    pub fn interruptible<T, E: From<Error>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if self.watch.is_on.get() {
            return work();
        }
        self.interrupted()?;
        let mut watched = ENDING.to_vec();
        watched.retain(|number| !signal::is_ignored(*number));
        let begun = match self.watch.signals.get() {
            Some(_) => signal::block(&watched),
            None => signal::descriptor(&watched).map(|signals| {
                let _ = self.watch.signals.set(signals);
            }),
        };
        begun.tried(|| "watch signals")?;
        self.watch.is_on.set(true);
        let done = work();
        let interrupted = self.interrupted();
        self.watch.is_on.set(false);
        if let Err(error) = interrupted {
            // What children that were killed had claimed. Signals stay shut out until we end.
            let _ = self.sweep_staging();
            return Err(error.into());
        }
        signal::unblock(&watched);
        done
    }

    /// An error if a signal has come.
    pub fn interrupted(&self) -> Result<()> {
        if let Some(signals) = self.signals()
            && let Some(number) = signal::next(signals)
        {
            self.watch.came.set(Some(number));
        }
        match self.watch.came.get() {
            Some(number) => Err(Error::interrupted(number)),
            None => Ok(()),
        }
    }

    /// Where a signal can be waited for: none if they are not watched, or we are ending.
    pub fn signals(&self) -> Option<BorrowedFd<'_>> {
        let is_on = self.watch.is_on.get() && self.watch.came.get().is_none();
        self.watch.signals.get().filter(|_| is_on).map(AsFd::as_fd)
    }

    /// What a child's work has come to.
    pub fn outcome<T: DeserializeOwned>(&self, pending: Pending<T>) -> Result<T> {
        if let Some(signals) = self.signals()
            && pending.is_overtaken_by(signals)?
        {
            self.interrupted()?;
        }
        pending.finish()
    }

    /// `file`, in whose reading a signal is heard too.
    pub fn read<'a>(&'a self, file: &'a File) -> Reading<'a> {
        Reading { engine: self, file }
    }

    /// Waits until `file` can be read.
    fn wait_for(&self, file: BorrowedFd<'_>) -> Result<()> {
        use rustix::event::{PollFd, PollFlags, poll};
        while let Some(signals) = self.signals() {
            let mut fds = [file, signals].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [is_ready, is_signal] = fds.map(|fd| !fd.revents().is_empty());
            if is_signal {
                self.interrupted()?;
            }
            if is_ready {
                break;
            }
        }
        Ok(())
    }

    /// The caller's default id map.
    pub fn default_map(&self) -> &IdMap {
        &self.map().0
    }

    fn map(&self) -> &(IdMap, Option<Error>) {
        self.map
            .get_or_init(|| userns::default_map(&Machine::of(&self.settings)))
    }

    /// Why only the caller's own id can be mapped, and what to do about it.
    pub fn why_single(&self) -> Option<&Error> {
        self.map().1.as_ref()
    }

    /// The namespace with `map` that was begun, or else is now. None where there is none
    /// to be had: who makes one the plain way learns why.
    pub fn namespace(&self, map: &IdMap) -> Option<Begun> {
        let begun = self.begun.take().filter(|begun| begun.map() == map);
        begun.or_else(|| Begun::new(self.thread, map).ok())
    }

    /// Does `work` in a child process as root of a user namespace with the
    /// default map, where files of all the caller's ids can be touched.
    pub fn in_namespace<T, F>(&self, work: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T>,
    {
        let map = self.default_map();
        self.outcome(userns::begin_in_child(self.thread, map, work)?)
    }

    /// Does `work` in a child process, as the caller: where threads may be started
    /// and memory is soon given back.
    pub fn apart<T, F>(&self, work: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T>,
    {
        // Nothing is cleared away so: who goes on after an error ends here.
        self.interrupted()?;
        self.outcome(userns::begin_apart(self.thread, work)?)
    }

    /// Deletes what makers that are gone left in staging. What cannot be deleted (its ids
    /// cannot be had now) is in nobody's way.
    pub fn sweep_staging(&self) -> Result<()> {
        for path in self.storage.sweep_staging()? {
            let _ = self.remove_tree(&path);
        }
        Ok(())
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

/// A file that is read within [`Engine::interruptible`].
pub struct Reading<'a> {
    engine: &'a Engine,
    file: &'a File,
}

impl Read for Reading<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.engine
            .wait_for(self.file.as_fd())
            .map_err(std::io::Error::other)?;
        self.file.read(into)
    }
}
