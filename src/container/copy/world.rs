//! A container's tree of mounts, entered to read or write files in it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;
use serde::{Serialize, de::DeserializeOwned};

use super::Copy;
use super::place::Owner;
use super::source::relative;
use crate::container::files::{Files, Ids};
use crate::container::options::{Mount, MountKind};
use crate::container::shared::Shared;
use crate::container::{Container, Record, Seat, load, rootfs, spec, volumes};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image::Progress;
use crate::image::accounts::Accounts;
use crate::storage::Storage;
use crate::storage::tar::Entry;
use crate::sys::Process;
use crate::sys::file::{open_dir, open_in_root};
use crate::sys::mount::{self, Detached};
use crate::userns::{self, IdMap, Pending};

/// What a container is entered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// A container as it is to be entered.
pub struct World {
    record: Record,
    files: Files,
    shared: Shared,
    base: IdMap,
    way: Way,
    access: Access,
    /// So that nobody starts it while files are written in it.
    _seat: Option<Seat>,
}

enum Way {
    /// By a process of it.
    Beside(Process),
    /// It does not run.
    Apart,
}

impl World {
    pub fn of(
        engine: &Engine,
        container: &Container,
        access: Access,
        progress: Option<Progress>,
    ) -> Result<Self> {
        let record = &container.record;
        let mut seat = None;
        let way = match (container.entrance(), access) {
            (Some(process), _) => Way::Beside(process),
            (None, Access::Read) => Way::Apart,
            (None, Access::Write) => match Seat::take_for_files(&engine.storage, &record.id)? {
                Some(taken) => {
                    seat = Some(taken);
                    Way::Apart
                }
                // Somebody has just started it, or is about to.
                None => match load(&engine.storage, &record.id)?.and_then(|it| it.entrance()) {
                    Some(process) => Way::Beside(process),
                    None => {
                        return Err(Error::new(
                            Kind::State,
                            format!("container {} is in use by another command", record.id),
                        ));
                    }
                },
            },
        };
        Ok(Self {
            files: Files::at_rest(engine, container, progress)?,
            shared: Shared::find(engine, record)?,
            base: engine.default_map().clone(),
            record: record.clone(),
            way,
            access,
            _seat: seat,
        })
    }

    /// Does `work` in a child that is in the container's user namespace and sees its
    /// mounts, with the caller's ids and all rights in there.
    pub fn enter<T, F>(&self, engine: &Engine, work: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T>,
    {
        self.begin(engine, work)?.finish()
    }

    /// As [`World::enter`], without waiting.
    pub fn begin<T, F>(&self, engine: &Engine, work: F) -> Result<Pending<T>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T>,
    {
        match &self.way {
            Way::Beside(process) => userns::begin_beside(engine.thread, process, work),
            Way::Apart => userns::begin_as_caller(engine.thread, &self.files.map, work),
        }
    }

    pub fn ids(&self) -> &Ids {
        &self.files.ids
    }

    /// The container's root, in the child, as the container's root user.
    pub fn open(&self, storage: &Storage) -> Result<OwnedFd> {
        match &self.way {
            Way::Beside(_) => open_dir(Path::new("/")).tried(|| "open the container's root"),
            Way::Apart => self.mount(storage),
        }
    }

    /// The same, and whose in there the files become.
    pub fn open_for(&self, storage: &Storage, how: &Copy<'_>) -> Result<(OwnedFd, Owner)> {
        let root = self.open(storage)?;
        let owner = match how.keep_ids {
            true => Owner::Said,
            false => self.user(&root)?,
        };
        Ok((root, owner))
    }

    /// Mounts the container's overlay, its volumes and bind mounts.
    fn mount(&self, storage: &Storage) -> Result<OwnedFd> {
        let at = storage.container(&self.record.id).join("rootfs");
        match self.access {
            Access::Write => rootfs::mount_root(storage, &self.record, self.files.lower(), &at)?,
            Access::Read => {
                let tried = || format!("mount {}", at.display());
                let places = self.make_places(&at).tried(tried)?;
                let overlay = self.files.overlay_above(storage, &places)?;
                mount::attach(&overlay, &at).tried(tried)?;
            }
        }
        let root = open_dir(&at).tried(|| format!("open {}", at.display()))?;
        let mounts = spec::mounts(&self.record.options);
        if self.access == Access::Write {
            let owner = match self.user(&root)? {
                Owner::User(uid, gid) => (uid, gid),
                Owner::Caller | Owner::Said => (0, 0),
            };
            let map = self.record.map.as_ref().unwrap_or(&self.base);
            // Their first use may be this one.
            drop(volumes::ready(
                storage,
                &self.record,
                map,
                &mounts,
                (&root, &self.shared),
                owner,
            )?);
        }
        for it in &mounts {
            self.show(storage, &root, it)
                .tried(|| format!("mount {}", it.destination.display()))?;
        }
        Ok(root)
    }

    /// Folders for what is mounted where the image has none, as nothing can be made in what
    /// is only read: on a tmpfs at `at`, which the container's tree comes to lie on.
    fn make_places(&self, at: &Path) -> io::Result<PathBuf> {
        let tmpfs = mount::make("tmpfs", &[], MountAttrFlags::empty())?;
        mount::attach(&tmpfs, at)?;
        let places = at.join("places");
        std::fs::create_dir(&places)?;
        let root = open_dir(&places)?;
        for mount in spec::mounts(&self.record.options) {
            let is_folder = match &mount.kind {
                MountKind::Bind { source } => source.is_dir(),
                MountKind::Volume { .. } => true,
                _ => false,
            };
            if is_folder {
                make_folders(&root, &mount.destination)?;
            }
        }
        Ok(places)
    }

    /// Mounts what is a file or folder of the host's, or a volume, where the container
    /// has it.
    fn show(&self, storage: &Storage, root: &OwnedFd, it: &Mount) -> Result<()> {
        let source = match &it.kind {
            MountKind::Bind { source } => Some(source.clone()),
            MountKind::Volume { name, .. } => match crate::volume::load(storage, name)? {
                Some(volume) if volume.is_plain() => Some(storage.volume(name).join("_data")),
                Some(volume) => {
                    let seen = volumes::seen_at_rest(storage, &volume, &self.shared)?;
                    return seen.map_or(Ok(()), |seen| self.show_made(root, it, &seen));
                }
                None => None,
            },
            // These are made when it starts.
            _ => None,
        };
        let Some(source) = source else {
            return Ok(());
        };
        // What is gone by now is shown by the next start.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::open(&source, flags, Mode::empty()) {
            Ok(source) => self.show_at(root, it, source.as_fd()),
            Err(_) => Ok(()),
        }
    }

    fn show_at(&self, root: &OwnedFd, it: &Mount, source: BorrowedFd<'_>) -> Result<()> {
        let beneath = match &it.subpath {
            None => None,
            Some(path) => Some(open_in_root(source, relative(path), OFlags::PATH)?),
        };
        let source = beneath.as_ref().map_or(source, AsFd::as_fd);
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(source)?.st_mode);
        let is_folder = kind == rustix::fs::FileType::Directory;
        match self.place_of(root, it, is_folder)? {
            Some(place) => self.attach(it, &mount::copy_of(source, true)?, &place),
            None => Ok(()),
        }
    }

    fn show_made(&self, root: &OwnedFd, it: &Mount, made: &Detached) -> Result<()> {
        match (&it.subpath, self.place_of(root, it, true)?) {
            (None, Some(place)) => self.attach(it, made, &place),
            (Some(_), _) => self.show_at(root, it, made.as_fd()),
            (None, None) => Ok(()),
        }
    }

    /// Where it is mounted, made if it may be.
    fn place_of(&self, root: &OwnedFd, it: &Mount, is_folder: bool) -> Result<Option<OwnedFd>> {
        match open_in_root(root, relative(&it.destination), OFlags::PATH) {
            Ok(place) => Ok(Some(place)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.access == Access::Read || !is_folder {
                    true => Ok(None),
                    false => Ok(Some(make_folders(root, &it.destination)?)),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn attach(&self, it: &Mount, mounted: &Detached, place: &OwnedFd) -> Result<()> {
        if it.read_only {
            mount::restrict(mounted, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        }
        Ok(mount::attach_at(mounted, place.as_fd())?)
    }

    /// The container's user.
    pub fn user(&self, root: &OwnedFd) -> Result<Owner> {
        let options = &self.record.options;
        let user = Accounts::in_root(root.as_fd())
            .and_then(|accounts| accounts.resolve(&options.user, options.named_groups()))
            .map_err(|error| error.kind_is(Kind::Other))?;
        // Where there is one id, all files are of it.
        match self.base.is_single() {
            true => Ok(Owner::Caller),
            false => Ok(Owner::User(user.uid, user.gid)),
        }
    }

    /// Makes the owner of a file of the host's the id that it has where the caller is
    /// root.
    pub fn ids_of_caller(&self, entry: &mut Entry) -> Result<()> {
        /// What the kernel shows for an id that is not mapped.
        const NOBODY: u32 = 65534;
        let (base, map) = match &self.way {
            Way::Beside(_) => (&self.base, self.record.map.as_ref().unwrap_or(&self.base)),
            Way::Apart => (&self.base, &self.files.map),
        };
        let caller = (base.uid_outside(0), base.gid_outside(0));
        let is_mapped = |id: Option<u32>, inside: fn(&IdMap, u32) -> Option<u32>| {
            id.is_some_and(|id| inside(map, id).is_some())
        };
        let uid_known = is_mapped(caller.0, IdMap::uid_inside);
        let gid_known = is_mapped(caller.1, IdMap::gid_inside);
        entry.uid = match (entry.uid, uid_known) {
            (NOBODY, false) => 0,
            (NOBODY, true) => NOBODY,
            (id, _) => map
                .uid_outside(id)
                .and_then(|it| base.uid_inside(it))
                .unwrap_or(NOBODY),
        };
        entry.gid = match (entry.gid, gid_known) {
            (NOBODY, false) => 0,
            (NOBODY, true) => NOBODY,
            (id, _) => map
                .gid_outside(id)
                .and_then(|it| base.gid_inside(it))
                .unwrap_or(NOBODY),
        };
        Ok(())
    }
}

/// Makes the folder `path` beneath `root`, and those above it.
fn make_folders(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut at = PathBuf::from("/");
    let mut folder = open_in_root(root, Path::new("."), flags)?;
    for part in relative(path).components() {
        at.push(part);
        match rustix::fs::mkdirat(&folder, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        folder = open_in_root(root, relative(&at), flags)?;
    }
    Ok(folder)
}

/// Podman's words for a path that a container does not have.
pub fn missing_in(container: &Container, path: &Path, error: io::Error) -> Error {
    let name = &container.record.name;
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::not_found(format!(
            "{path:?} could not be found on container {name}: no such file or directory"
        )),
        _ => Error::from(error).tried(format_args!("{path:?} on container {name}")),
    }
}
