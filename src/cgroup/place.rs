//! Where the cgroup of a container may be made, and making it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::systemd::UserManager;
use super::{Cgroup, Hierarchy, Manager, Mode, ROOT, controllers, hierarchy, own, words};
use crate::error::{Context, Error, Kind, Result};

/// What is asked for a container.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub id: &'a str,
    pub mode: Mode,
    /// `--cgroup-parent`: a slice of systemd's, or a path from the root.
    pub parent: Option<&'a str>,
    /// None: systemd where there is a user manager.
    pub manager: Option<Manager>,
    /// Where the user manager would listen.
    pub socket: Option<&'a Path>,
    /// The caller, in the host's ids.
    pub uid: u32,
    /// How long the container has to end when it is asked to.
    pub patience: Duration,
}

/// Where a container's cgroup is made at each of its starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    parent: PathBuf,
    name: String,
    /// Whether folders on the way may be missing, and controllers off.
    is_named: bool,
    /// Where we were before systemd moved us, for who wants to be back there.
    before: Option<PathBuf>,
}

/// Finds a place. With a user manager, this process is moved into the container's
/// scope; with `split`, all of our cgroup into one beneath it. None: there is no
/// place.
pub fn settle(wanted: &Wanted<'_>) -> Result<Option<Place>> {
    if wanted.mode == Mode::Disabled || hierarchy() != Hierarchy::Unified {
        return Ok(None);
    }
    if wanted.mode == Mode::Split {
        return split(wanted).map(Some);
    }
    if wanted.manager != Some(Manager::Cgroupfs)
        && let Some(socket) = wanted.socket
        && let Some(manager) = UserManager::connect(socket, wanted.uid)?
    {
        return in_scope(manager, wanted).map(Some);
    }
    let name = format!("libpod-{}", wanted.id);
    if let Some(parent) = wanted.parent {
        return Ok(Some(Place {
            parent: Path::new(ROOT).join(parent.trim_start_matches('/')),
            name,
            is_named: true,
            before: None,
        }));
    }
    Ok(own().and_then(|own| beside(&own)).map(|parent| Place {
        parent,
        name,
        is_named: false,
        before: None,
    }))
}

/// The cgroup above ours, else ours, if processes of ours may be moved beneath it.
fn beside(own: &Path) -> Option<PathBuf> {
    let above = own.parent().filter(|above| above.starts_with(ROOT));
    above
        .into_iter()
        .chain([own])
        .find(|folder| may_divide(folder))
        .map(Path::to_owned)
}

/// Whether cgroups may be made in `folder`, and our processes moved there from
/// beneath it.
fn may_divide(folder: &Path) -> bool {
    may(folder, Access::WRITE_OK | Access::EXEC_OK) && may_write_procs(folder)
}

/// Whether a process may be moved from one cgroup to another that is ours: their
/// nearest common ancestor has to be, too (cgroups(7), delegation containment).
pub(super) fn may_move(from: &Path, to: &Path) -> bool {
    let common = to.ancestors().find(|folder| from.starts_with(folder));
    common.is_some_and(may_write_procs)
}

fn may_write_procs(folder: &Path) -> bool {
    may(&folder.join("cgroup.procs"), Access::WRITE_OK)
}

fn may(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}

/// A scope of systemd's, with us in it.
fn in_scope(manager: UserManager, wanted: &Wanted<'_>) -> Result<Place> {
    let before = own();
    let unit = format!("libpod-{}.scope", wanted.id);
    let slice = wanted.parent.unwrap_or("user.slice");
    manager.start_scope(&unit, slice, std::process::id(), Some(wanted.patience))?;
    let scope = own().filter(|own| own.ends_with(&unit)).ok_or_else(|| {
        Error::other(format!("systemd started {unit}, but did not move us there"))
    })?;
    // Controllers go to what is beneath only where no process stands between
    // (cgroups(7), no internal processes).
    enter_new(&scope.join("runtime"))?;
    Ok(Place {
        parent: scope,
        name: "container".to_owned(),
        is_named: false,
        before: before.filter(|_| wanted.mode == Mode::NoConmon),
    })
}

/// Our own cgroup, divided. One that is not ours (a login session's) is left for a
/// scope first, as Podman does it.
fn split(wanted: &Wanted<'_>) -> Result<Place> {
    let find = || {
        own().filter(|own| own != Path::new(ROOT)).ok_or_else(|| {
            Error::new(
                Kind::CannotInvoke,
                "could not find cgroup mount in \"/proc/self/cgroup\"",
            )
        })
    };
    let mut own = find()?;
    if !may_divide(&own)
        && wanted.manager != Some(Manager::Cgroupfs)
        && let Some(socket) = wanted.socket
        && let Some(manager) = UserManager::connect(socket, wanted.uid)?
    {
        let pid = std::process::id();
        manager.start_scope(&format!("podman-{pid}.scope"), "user.slice", pid, None)?;
        own = find()?;
    }
    let parent = match own.file_name() {
        // A start before this one has divided it.
        Some(name) if name == "runtime" => own.parent().unwrap_or(&own).to_owned(),
        _ => {
            let ours = own.join("runtime");
            enter_new(&ours)?;
            // All others that are here: they would keep controllers from going down.
            for pid in words(&own.join("cgroup.procs")) {
                let _ = std::fs::write(ours.join("cgroup.procs"), pid);
            }
            own
        }
    };
    Ok(Place {
        parent,
        name: format!("libpod-payload-{}", wanted.id),
        is_named: false,
        before: None,
    })
}

/// Makes a cgroup for processes of ours and moves this one there.
fn enter_new(folder: &Path) -> Result<()> {
    make_folder(folder)?;
    std::fs::write(folder.join("cgroup.procs"), "0")
        .tried(|| format!("move into cgroup {}", folder.display()))
}

fn make_folder(folder: &Path) -> Result<()> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // crun's words, and Podman's exit code for them.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Error::new(
            Kind::CannotInvoke,
            format!(
                "create `{}`: Permission denied: OCI permission denied",
                folder.display()
            ),
        )),
        result => result.tried(|| format!("create `{}`", folder.display())),
    }
}

/// Lets the cgroups in `folder` have its controllers, as far as that may be.
fn hand_down(folder: &Path) {
    let down = folder.join("cgroup.subtree_control");
    for controller in controllers(folder).difference(&words(&down)) {
        let _ = std::fs::write(&down, format!("+{controller}"));
    }
}

impl Place {
    /// Where the cgroup will be.
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::at(self.parent.join(&self.name))
    }

    /// Makes it, with all controllers there are.
    pub fn make(&self) -> Result<Cgroup> {
        if self.is_named {
            let within = self.parent.strip_prefix(ROOT).unwrap_or(&self.parent);
            let mut folder = PathBuf::from(ROOT);
            hand_down(&folder);
            for part in within.components() {
                folder.push(part);
                make_folder(&folder)?;
                hand_down(&folder);
            }
        } else {
            hand_down(&self.parent);
        }
        let cgroup = self.cgroup();
        if cgroup.folder().exists() {
            // Left by a start whose monitor was killed.
            cgroup.end()?;
        }
        make_folder(cgroup.folder())?;
        Ok(cgroup)
    }

    /// Moves this process back to where it was, if it is to be there and may.
    pub fn go_back(&self) {
        if let Some(before) = &self.before {
            let _ = std::fs::write(before.join("cgroup.procs"), "0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cgroups_nothing_is_looked_at() {
        let wanted = Wanted {
            id: "x",
            mode: Mode::Disabled,
            parent: Some("/a"),
            manager: None,
            socket: Some(Path::new("/nonexistent")),
            uid: 1,
            patience: Duration::ZERO,
        };
        assert_eq!(settle(&wanted).unwrap(), None);
    }

    #[test]
    fn a_place_is_beneath_the_root_or_not_at_all() {
        // Neither a folder above the mount nor one that is not there.
        assert_eq!(
            beside(Path::new(ROOT)).filter(|it| it != Path::new(ROOT)),
            None
        );
        assert_eq!(beside(Path::new("/sys/fs/cgroup/no/such")), None);
    }
}
