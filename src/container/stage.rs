//! A folder that everybody may enter, in the monitor's own mount namespace.
//!
//! An init in a user namespace without the caller (`nomap`, `auto`) cannot go where
//! only the caller may: into their home, the store, the runtime folder. What it
//! mounts is shown to it here, its root too.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;

use crate::error::{Context, Error, Result};
use crate::sys::{mount, process};

/// Over which of the host's folders it is mounted: the first that is there. What a
/// container is given of what lies beneath has been found by then.
const PLACES: [&str; 4] = ["/mnt", "/media", "/srv", "/tmp"];

fn place() -> Option<&'static Path> {
    let mut places = PLACES.into_iter().map(Path::new);
    places.find(|place| place.symlink_metadata().is_ok_and(|found| found.is_dir()))
}

/// Shows the root of `spec` and all that it binds in the stage, and has it use those.
pub fn set(spec: &mut Spec) -> Result<()> {
    let place = place().ok_or_else(|| {
        Error::other(format!(
            "this id map needs one of the folders {}",
            PLACES.join(", ")
        ))
    })?;
    let mut shown: Vec<(PathBuf, OwnedFd)> = Vec::new();
    let mut show = |path: &Path, recursive: bool| -> Result<PathBuf> {
        let at = place.join(shown.len().to_string());
        // As the caller, who may go there.
        let own = (rustix::process::geteuid(), rustix::process::getegid());
        let copy = process::with_file_ids(own.0.as_raw(), own.1.as_raw(), || {
            let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            mount::copy_of(&found, recursive)
        });
        shown.push((
            at.clone(),
            copy.tried(|| format!("show {}", path.display()))?,
        ));
        Ok(at)
    };
    if let Some(root) = spec.root_mut() {
        root.set_path(show(root.path(), false)?);
    }
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in &mut mounts {
        let has = |name: &str| {
            let options = mount.options().iter().flatten();
            options.into_iter().any(|option| option == name)
        };
        let (bind, recursive) = (has("bind"), has("rbind"));
        let Some(source) = mount.source().clone() else {
            continue;
        };
        let is_open = ["/dev", "/sys", "/proc"]
            .iter()
            .any(|dir| source.starts_with(dir));
        if (bind || recursive) && !is_open {
            mount.set_source(Some(show(&source, recursive)?));
        }
    }
    spec.set_mounts(Some(mounts));

    let tried = || format!("mount a stage at {}", place.display());
    process::with_file_ids(0, 0, || {
        let made =
            mount::make("tmpfs", &[("mode", Some("711"))], MountAttrFlags::empty()).tried(tried)?;
        mount::attach(&made, place).tried(tried)?;
        for (at, copy) in &shown {
            attach(copy, at).tried(|| format!("show {}", at.display()))?;
        }
        Ok(())
    })
}

/// Attaches a mount at `at`, which is made: a folder or a file as it is one.
pub fn attach(copy: &OwnedFd, at: &Path) -> Result<()> {
    let stat = rustix::fs::fstat(copy)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        std::fs::create_dir(at)?;
    } else {
        File::create(at)?;
    }
    Ok(mount::attach(copy, at)?)
}

/// Takes the stage away.
pub fn strike() {
    if let Some(place) = place() {
        let _ = mount::detach(place);
    }
}
