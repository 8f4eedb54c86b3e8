//! The cgroup of a container: found when its monitor begins, made at each
//! start, limited before its command begins, ended with it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::options::Resources;
use super::{Container, Record, spec};
use crate::cgroup::{self, Attacher, Cgroup, Hierarchy, Place, Wanted};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};

/// What the monitor knows of it before the first start.
#[derive(Default)]
pub struct Settled {
    place: Option<Place>,
    /// What the user is told.
    pub warning: Option<String>,
}

/// Finds where its cgroups may be made: see [`cgroup::settle`]. That there is no
/// place ends only what asks for one.
pub fn settle(engine: &Engine, record: &Record) -> Result<Settled> {
    let options = &record.options.cgroup;
    let settings = &engine.settings;
    let asks_limits = spec::asks_limits(&record.options.resources);
    if options.mode == cgroup::Mode::Disabled {
        // Podman: limits are then ignored.
        return Ok(Settled::default());
    }
    if cgroup::hierarchy() != Hierarchy::Unified {
        let warning = asks_limits.then(|| {
            "Resource limits are not supported and ignored on cgroups V1 rootless systems".into()
        });
        return Ok(Settled {
            place: None,
            warning,
        });
    }
    let place = cgroup::settle(&Wanted {
        id: record.id.as_str(),
        mode: options.mode,
        parent: options.parent.as_deref(),
        manager: options.manager,
        socket: settings.user_manager.as_deref(),
        uid: settings.uid,
        patience: Duration::from_secs(record.options.stop_timeout.into()),
    });
    match place {
        Ok(Some(place)) => Ok(Settled {
            place: Some(place),
            warning: without_systemd(record, engine),
        }),
        // As with crun, limits are then ignored; not without a word.
        Ok(None) => Ok(Settled {
            place: None,
            warning: asks_limits
                .then(|| "Resource limits are ignored: no cgroup is delegated to you here".into()),
        }),
        Err(error) if asks_limits || *options != Default::default() => Err(error),
        Err(error) => Ok(Settled {
            place: None,
            warning: Some(format!("the container has no cgroup of its own: {error}")),
        }),
    }
}

/// What Podman says where systemd is asked for and is not there.
fn without_systemd(record: &Record, engine: &Engine) -> Option<String> {
    let is_asked = record.options.cgroup.manager == Some(cgroup::Manager::Systemd);
    let socket = engine.settings.user_manager.as_deref();
    (is_asked && !cgroup::has_systemd(socket)).then(|| {
        "The cgroupv2 manager is set to systemd but there is no systemd user session available: \
         falling back to --cgroup-manager=cgroupfs"
            .into()
    })
}

impl Settled {
    /// Makes the cgroup, if there is a place for one. The container's folder `dir` says
    /// where it is for who comes after a monitor that was killed.
    pub fn make(&self, dir: &Path) -> Result<Option<Group>> {
        let Some(place) = &self.place else {
            return Ok(None);
        };
        end_noted(dir, &Cgroup::end);
        let note = note(dir, place.cgroup().folder()).tried(|| "note the cgroup")?;
        Ok(Some(Group {
            cgroup: place.make()?,
            dir: dir.to_owned(),
            _note: note,
        }))
    }

    /// The init is in its cgroup: the monitor goes where it is to stay.
    pub fn is_taken(&self) {
        if let Some(place) = &self.place {
            place.go_back();
        }
    }
}

/// Where the folder of a container says what its cgroup is, while it has one.
fn note_in(dir: &Path) -> PathBuf {
    dir.join("cgroup")
}

/// Writes down what the cgroup is. The file is locked by the monitor and by all that
/// it forks, until they have become another program (flock(2)): an init that is half
/// made outlives its monitor by a moment, and libcontainer's part of it makes the
/// cgroup anew if it finds it removed.
fn note(dir: &Path, folder: &Path) -> std::io::Result<File> {
    let mut file = File::create(note_in(dir))?;
    file.write_all(folder.as_os_str().as_bytes())?;
    file.lock()?;
    Ok(file)
}

/// How long a half-made init may outlive its monitor and its own SIGKILL.
const ORPHANS: Duration = Duration::from_secs(5);

/// Ends the cgroup of a container whose monitor was killed, by its folder. One that
/// stays does no harm but to be there.
pub fn end_left(engine: &Engine, dir: &Path) {
    // What the container has made in there may be its root's.
    end_noted(dir, &|cgroup| {
        cgroup
            .end()
            .or_else(|_| engine.in_namespace(|| cgroup.end()))
    });
}

fn end_noted(dir: &Path, end: &dyn Fn(&Cgroup) -> Result<()>) {
    let path = note_in(dir);
    let Ok(mut file) = File::open(&path) else {
        return;
    };
    let mut folder = Vec::new();
    if file.read_to_end(&mut folder).is_ok() && !folder.is_empty() {
        let cgroup = Cgroup::at(OsStr::from_bytes(&folder));
        let _ = end(&cgroup);
        let until = Instant::now() + ORPHANS;
        while file.try_lock().is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
            let _ = end(&cgroup);
        }
        let _ = end(&cgroup);
    }
    let _ = std::fs::remove_file(path);
}

/// The cgroup of one start of a container. Dropped, it ends, with all that is in it.
pub struct Group {
    pub cgroup: Cgroup,
    dir: PathBuf,
    _note: File,
}

impl Group {
    /// Gets it ready for the command of the init `pid`: its limits, which the init's
    /// making was not to meet. `root_is_other`: the container's root is not the caller,
    /// and is to own it.
    pub fn ready(&self, record: &Record, pid: i32, root_is_other: bool) -> Result<()> {
        // libcontainer says nothing where the kernel lets it move nobody.
        if cgroup::of(pid).as_deref() != Some(self.cgroup.folder()) {
            return Err(denied(&self.cgroup));
        }
        let controls = Controls {
            cgroup: &self.cgroup,
            controllers: self.cgroup.controllers(),
        };
        for (file, value) in spec::settings(&record.options.resources, &controls)? {
            self.cgroup.write(&file, &value)?;
        }
        match root_is_other {
            true => self.cgroup.give_to_root(),
            false => Ok(()),
        }
    }
}

/// Changes the limits of a container that runs.
pub fn change(container: &Container, limits: &Resources) -> Result<()> {
    let started = container.status.started.as_ref();
    let cgroup = started.and_then(|started| started.cgroup.as_ref());
    let cgroup = cgroup.map(Cgroup::at).ok_or_else(|| {
        Error::other(format!(
            "container {} runs without a cgroup of its own, so that its limits cannot be changed",
            container.record.id.short()
        ))
        .hint("`coracle doctor` says what limits need")
    })?;
    let controls = Controls {
        cgroup: &cgroup,
        controllers: cgroup.controllers(),
    };
    // All are known to be possible before the first is changed.
    for (file, value) in spec::settings(limits, &controls)? {
        cgroup.write(&file, &value)?;
    }
    Ok(())
}

impl Drop for Group {
    fn drop(&mut self) {
        // A cgroup that cannot be removed does no harm but to be there.
        let _ = self.cgroup.end();
        let _ = std::fs::remove_file(note_in(&self.dir));
    }
}

/// The way of another process into the cgroup of a container that runs.
pub enum Way {
    /// It stays in the cgroup of who starts it.
    None,
    /// It writes itself into this folder.
    Own(OwnedFd),
    /// Only systemd may move it: it is asked before the process goes on.
    Systemd(Attacher),
}

/// Finds it, on the host's side of all namespaces.
pub fn way(engine: &Engine, container: &Container) -> Result<Way> {
    let started = container.status.started.as_ref();
    let Some(folder) = started.and_then(|started| started.cgroup.as_ref()) else {
        return Ok(Way::None);
    };
    let cgroup = Cgroup::at(folder);
    if cgroup.may_be_entered() {
        return cgroup
            .open()
            .map(Way::Own)
            .tried(|| format!("open cgroup {}", cgroup.path().display()));
    }
    let settings = &engine.settings;
    if let Some(socket) = &settings.user_manager
        && let Some(attacher) = Attacher::connect(socket, settings.uid, folder)?
    {
        return Ok(Way::Systemd(attacher));
    }
    if spec::asks_limits(&container.record.options.resources) {
        return Err(denied(&cgroup));
    }
    Ok(Way::None)
}

fn denied(cgroup: &Cgroup) -> Error {
    let path = cgroup.path();
    Error::new(
        Kind::CannotInvoke,
        format!("move into cgroup {}: Permission denied", path.display()),
    )
}

struct Controls<'a> {
    cgroup: &'a Cgroup,
    controllers: std::collections::BTreeSet<String>,
}

impl spec::Controls for Controls<'_> {
    fn has_controller(&self, name: &str) -> bool {
        self.controllers.contains(name)
    }

    fn has_file(&self, name: &str) -> bool {
        self.cgroup.has(name)
    }

    fn list(&self) -> String {
        let list = self.cgroup.folder().join("cgroup.controllers");
        list.display().to_string()
    }

    fn device(&self, path: &Path) -> Result<String> {
        use rustix::fs::{FileType, major, minor, stat};
        let found = stat(path).tried(|| format!("look at {}", path.display()))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::BlockDevice {
            return Err(Error::usage(format!(
                "{}: not a block device",
                path.display()
            )));
        }
        Ok(format!("{}:{}", major(found.st_rdev), minor(found.st_rdev)))
    }
}
