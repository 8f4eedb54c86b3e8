//! The only code that knows paths on disk.
//!
//! ```text
//! $XDG_DATA_HOME/coracle/            version 1
//!   format                  "1"; a newer one is refused
//!   images/<image id>/      image.json: what `run` and `images` need of an image;
//!                           its config and manifest, exact bytes; or list.json
//!   refs/<host>/<path…>/:<tag>   image id of a name (a small file, replaced by rename)
//!   layers/<diff id>/       diff/ (unpacked), layer.json, headers.zst
//!   shifted/<image id>-<key>/    an image's files under another id map
//!   containers/<id>/        container.json, started.json, exit.json, upper/ work/ rootfs/ log/ …,
//!                           cgroup (where it is, while it has one),
//!                           dependents/<id of one that joins its namespaces>
//!   names/<name>            -> container id (symbolic link: made at once or not at all)
//!   running/<id>            the seat of its monitor: what a sweep looks at
//!   build/steps/<key>       what a build step came to; mounts/<key>/ of RUN --mount=type=cache
//!   volumes/<name>/         volume.json, _data/, users/<container id>, snapshots/<snapshot>/
//!   events/                 events.log, events.log.1: what happened, made with the first
//!   secrets/:<name>         what is known of a secret, and what it is
//!   staging/<random>/       everything is made here, under a lock its maker holds,
//!                           then renamed into place
//! ```
//!
//! A thing exists when its directory has been renamed into place; before that it
//! is rubbish, which the next command sweeps when its maker's lock is free.
//! There is no database and no index: a name costs one look-up, however many
//! there are. Removal is a rename back into staging, then deletion.
//!
//! **Invariant:** nothing global is locked on the way of `run`, `exec`, `ps` or
//! `stop`; the order of two locks stands in `lock.rs`.

mod acl;
pub mod chunked;
pub mod compression;
pub mod diff;
mod filesystem;
pub mod gzip;
pub mod layer;
mod lock;
mod owners;
pub mod pack;
pub mod shifted;
mod staging;
pub mod tar;
mod tree;
pub mod walk;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use filesystem::FileSystem;
pub use lock::{Claim, Locked};
pub use owners::owner_of;
pub use staging::Staging;
pub use tree::{
    AT_ONCE, disk_usage, give_tree, remove_retired, remove_tree, remove_tree_at, remove_trees,
};

use crate::error::{Context, Error, Result};
use crate::events::Events;
use crate::id::{ContainerId, DiffId, ImageId, Name};
use crate::settings::Settings;
use crate::sys::file::{Durable, open_dir, write_whole};

/// The version of the layout above.
const FORMAT: &str = "1";

/// The caller's store.
#[derive(Debug, Clone)]
pub struct Storage {
    root: PathBuf,
    runtime: PathBuf,
    cache: PathBuf,
    /// Where a build has layers that are not published yet.
    unpublished: Arc<Mutex<Option<PathBuf>>>,
    events: Events,
}

impl Storage {
    /// Opens the store, making its folders where they are missing.
    pub fn open(settings: &Settings) -> Result<Self> {
        let storage = Self {
            root: settings.data.clone(),
            runtime: settings.runtime.clone(),
            cache: settings.cache.clone(),
            unpublished: Arc::default(),
            events: Events::new(settings),
        };
        let format = storage.root.join("format");
        match std::fs::read_to_string(&format) {
            Ok(version) if version.trim() == FORMAT => Ok(storage),
            Ok(version) => Err(Error::other(format!(
                "{} is of format {}, which this coracle does not know (it knows {FORMAT})",
                storage.root.display(),
                version.trim()
            ))
            .hint("a newer coracle made it: use that one, or another store (`--root FOLDER`)")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                storage.make(&format).map(|()| storage)
            }
            Err(error) => Err(error).tried(|| format!("read {}", format.display())),
        }
        .map_err(|error| match error.hint_line() {
            Some(_) => error,
            None => error.hint("put the store where you may write: `export XDG_DATA_HOME=FOLDER`"),
        })
    }

    fn make(&self, format: &Path) -> Result<()> {
        // Nobody else may come near files of our ids, setuid ones above all.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .tried(|| format!("make {}", self.root.display()))?;
        for dir in [
            "images",
            "refs",
            "layers",
            "shifted",
            "containers",
            "names",
            "running",
            "volumes",
            "staging",
        ] {
            let dir = self.root.join(dir);
            std::fs::create_dir_all(&dir).tried(|| format!("make {}", dir.display()))?;
        }
        write_whole(format, FORMAT.as_bytes(), Durable::Yes)
            .tried(|| format!("write {}", format.display()))
    }

    /// `$XDG_DATA_HOME/coracle`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What lives only while something runs; made by `Settings::ensure_runtime`.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Where what happens is written down.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What can be made again.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub fn image(&self, id: &ImageId) -> PathBuf {
        self.images().join(id)
    }

    pub fn refs(&self) -> PathBuf {
        self.root.join("refs")
    }

    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub fn layer(&self, id: &DiffId) -> PathBuf {
        let place = self.layers().join(id.hex());
        let staging = self.unpublished.lock().ok().and_then(|it| it.clone());
        match staging.map(|staging| staging.join(id.hex())) {
            Some(staged) if !place.exists() && staged.exists() => staged,
            _ => place,
        }
    }

    /// From now on layers are found in the folder `staging` too, which one process makes
    /// them in: they are published together, after one sync.
    pub fn look_for_layers_in(&self, staging: &Path) {
        if let Ok(mut place) = self.unpublished.lock() {
            *place = Some(staging.to_owned());
        }
    }

    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id)
    }

    /// A file for each container that joins a namespace of this one, named by its id.
    pub fn container_dependents(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("dependents")
    }

    /// The sockets and runtime files of a container that runs.
    pub fn container_runtime(&self, id: &ContainerId) -> PathBuf {
        self.runtime.join("containers").join(id)
    }

    pub fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    pub fn running(&self) -> PathBuf {
        self.root.join("running")
    }

    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub fn volume(&self, name: &Name) -> PathBuf {
        self.volumes().join(name)
    }

    /// A file for each container that mounts the volume, named by its id.
    pub fn volume_users(&self, name: &Name) -> PathBuf {
        self.volume(name).join("users")
    }

    /// A file for each container that mounted what such a volume has in place of a
    /// folder, named by its id; true while that container runs.
    pub fn volume_mounted(&self, name: &Name) -> PathBuf {
        self.volume(name).join("mounted")
    }

    /// Made with the first secret, for the caller alone.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// A file for each secret that is mounted in the container, by its number.
    pub fn container_secrets(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("secrets")
    }

    /// What builds keep: see `build::cache`.
    pub fn builds(&self) -> PathBuf {
        self.root.join("build")
    }

    /// A file for each step that was built.
    pub fn build_steps(&self) -> PathBuf {
        self.builds().join("steps")
    }

    /// The layers that build steps have made, and that are kept for the next build.
    pub fn cached_layers(&self) -> Result<Vec<DiffId>> {
        #[derive(serde::Deserialize)]
        struct Step {
            layer: Option<DiffId>,
        }
        let steps = self.build_steps();
        let mut layers = Vec::new();
        for name in self.list(&steps)? {
            // One that is not whole is of no use to anybody.
            if let Ok(Some(Step { layer: Some(layer) })) = read_json(&steps.join(name)) {
                layers.push(layer);
            }
        }
        Ok(layers)
    }

    /// A folder to make something in; see [`Staging`].
    pub fn stage(&self) -> Result<Staging> {
        Staging::new(&self.root.join("staging"))
    }

    /// The right to bring the layer `id` into the store; `None` while another
    /// process, or another thread of this one, has it.
    pub fn claim_layer(&self, id: &DiffId) -> Result<Option<Claim>> {
        let name = format!("layer-{}", id.hex());
        Claim::take(self.root.join("staging").join(name))
    }

    /// The same for files by the thousand.
    pub fn stage_apart(&self) -> Result<Staging> {
        Staging::apart(&self.root.join("staging"))
    }

    /// Takes `path` out of sight: what is removed is first renamed into staging,
    /// so that it is there or not there, never half.
    pub fn retire(&self, path: &Path) -> Result<Option<Staging>> {
        let staging = match self.stage() {
            Ok(staging) => staging,
            // A full disk has no room for a folder, which is when removing matters.
            Err(error) => {
                return Staging::of(&self.root.join("staging"), path).map_err(|_| error);
            }
        };
        match std::fs::rename(path, staging.path().join(staging::RETIRED)) {
            Ok(()) => Ok(Some(staging)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).tried(|| format!("remove {}", path.display())),
        }
    }

    /// Deletes what makers that are gone left in staging. What needs the user
    /// namespace is left and its paths given back.
    pub fn sweep_staging(&self) -> Result<Vec<PathBuf>> {
        staging::sweep(&self.root.join("staging"))
    }

    /// The names in one of our folders; none if it is not there.
    pub fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match std::fs::read_dir(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            result => result.tried(|| format!("read {}", dir.display()))?,
        };
        for entry in entries {
            let entry = entry.tried(|| format!("read {}", dir.display()))?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Reads a JSON file of ours; `None` if there is none.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    read_unless(path, |_| false)
}

/// As [`read_json`]; `None` too for a file that never got to the disk. A record that is
/// not meant to survive is not synced: a power cut may leave its name with nothing in it.
pub fn read_unsynced<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    read_unless(path, is_lost)
}

/// Reads a JSON file; `None` if there is none, or if its bytes are `nothing`.
fn read_unless<T: serde::de::DeserializeOwned>(
    path: &Path,
    nothing: fn(&[u8]) -> bool,
) -> Result<Option<T>> {
    let tried = || format!("read {}", path.display());
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Ok(bytes) if nothing(&bytes) => Ok(None),
        bytes => serde_json::from_slice(&bytes.tried(tried)?)
            .map(Some)
            .tried(tried),
    }
}

/// Whether that is what a power cut leaves of a file.
fn is_lost(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Reads the JSON file `file` of each folder in `dir` that has one and a name that is
/// `wanted`, as [`read_unsynced`]: in as few system calls as it takes, for there may be
/// thousands.
pub fn read_each<T: serde::de::DeserializeOwned>(
    dir: &Path,
    file: &str,
    wanted: impl Fn(&OsStr) -> bool,
) -> Result<Vec<(OsString, Option<T>)>> {
    use rustix::fs::{Mode, OFlags, openat};
    use rustix::io::Errno;
    let tried = || format!("read {}", dir.display());
    let folder = match open_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        folder => folder.tried(tried)?,
    };
    let mut found = Vec::new();
    let mut buffer = vec![0; 1 << 12];
    for entry in std::fs::read_dir(dir).tried(tried)? {
        let name = entry.tried(tried)?.file_name();
        if !wanted(&name) {
            continue;
        }
        let path = Path::new(&name).join(file);
        let tried = || format!("read {}", dir.join(&path).display());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match openat(&folder, &path, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            file => file.tried(tried)?,
        };
        let mut length = 0;
        loop {
            let count = rustix::io::read(&file, &mut buffer[length..]).tried(tried)?;
            length += count;
            // A file gives less than is asked for only at its end.
            if length < buffer.len() {
                break;
            }
            buffer.resize(buffer.len() * 2, 0);
        }
        let bytes = &buffer[..length];
        let read = match is_lost(bytes) {
            true => None,
            false => Some(serde_json::from_slice(bytes).tried(tried)?),
        };
        found.push((name, read));
    }
    Ok(found)
}

/// Writes a JSON file of ours whole.
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T, durable: Durable) -> Result<()> {
    let bytes = serde_json::to_vec(value)?;
    write_whole(path, &bytes, durable).tried(|| format!("write {}", path.display()))
}

/// Opens a folder and locks it, shared.
pub fn lock_shared(dir: &Path) -> Result<Locked> {
    lock::shared(dir)
}

/// Opens a folder and locks it alone, when all others have let go.
pub fn lock_alone(dir: &Path) -> Result<Locked> {
    lock::alone(dir)
}

/// Opens a folder and locks it alone; `None` if somebody uses it.
pub fn try_lock_alone(dir: &Path) -> Result<Option<Locked>> {
    lock::try_alone(dir)
}

/// A path as the kernel's mount options want it.
pub fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::other(format!("{} is not UTF-8", path.display())))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).tried(|| format!("open {}", path.display()))
}
