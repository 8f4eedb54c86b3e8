//! What a container has written, made a layer as it lies: its upper folder is renamed and
//! read once, so that it costs what it changed, whatever its image holds.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::storage::layer::{self, Layer, OWNER};
use crate::storage::owner_of;
use crate::storage::pack::Writer;
use crate::storage::tar::Entry;
use crate::storage::walk::{self, Step, Walk};
use crate::sys::file::{open_dir, open_in_root};
use crate::volume::{Marks, Packing, pack_into};

/// What becomes of the times of a layer's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Times {
    #[default]
    Kept,
    /// All of them this one, in seconds.
    Set(i64),
    /// None later than this one.
    AtMost(i64),
}

/// How a folder becomes a layer.
#[derive(Debug, Clone, Default)]
pub struct Adoption {
    /// Where: a new folder, which is then like one of a layer.
    pub into: PathBuf,
    pub times: Times,
    /// Only one id is mapped: owners are in attributes.
    pub single: bool,
    /// Paths, from the root, that were mounted on: where the layers beneath have nothing
    /// there, what was made for the mount is no part of the layer.
    pub mounted: Vec<PathBuf>,
    /// The layers beneath, the highest first.
    pub lowers: Vec<PathBuf>,
}

/// What is mounted in every container.
const FURNITURE: [&str; 5] = [
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "run",
    "run/.containerenv",
];
/// Podman leaves these where it has made them.
const LEFT: [&str; 3] = ["dev", "proc", "sys"];

/// Makes the folder `upper` of a container that has ended a layer.
pub fn adopt(upper: &Path, how: &Adoption) -> Result<Layer> {
    let diff = how.into.join("diff");
    make_folder(&how.into)?;
    std::fs::rename(upper, &diff).tried(|| "take the container's files")?;
    clear_mounted(&diff, how)?;
    adopt_in_place(how)
}

/// Makes the folder of a layer: whoever could enter could run a setuid program that is
/// the caller's.
pub fn make_folder(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    made.tried(|| format!("make {}", path.display()))
}

/// As [`adopt`], of what lies in the `diff` of its folder already.
pub fn adopt_in_place(how: &Adoption) -> Result<Layer> {
    let diff = how.into.join("diff");
    dress(&diff, how.times)?;
    layer::adopt(&how.into, how.single, |out| {
        let mut writer = Writer::new(out);
        let packing = Packing {
            dress: &|entry| {
                finish_entry(entry, how);
                Ok(())
            },
            marks: Marks::Left,
            holes: false,
            watch: &(),
        };
        pack_into(walk::open_root(&diff)?, &mut writer, b"", &packing)?;
        writer.finish()?;
        Ok(())
    })
}

/// As layers have it: whole seconds, nothing that is about this store alone.
fn finish_entry(entry: &mut Entry, how: &Adoption) {
    entry.mtime.1 = 0;
    match how.times {
        Times::Set(at) => entry.mtime.0 = at,
        Times::AtMost(at) => entry.mtime.0 = entry.mtime.0.min(at),
        Times::Kept => {}
    }
    let mut said = None;
    entry.xattrs.retain(|(name, value)| {
        if name == OWNER {
            said = owner_of(value);
        }
        name != OWNER && !name.starts_with("user.overlay.")
    });
    if let (true, Some((uid, gid))) = (how.single, said) {
        (entry.uid, entry.gid) = (uid, gid);
    }
}

/// Takes away what was made for mounts alone, with the folders made for it.
fn clear_mounted(diff: &Path, how: &Adoption) -> Result<()> {
    let root = open_dir(diff).tried(|| "open the layer")?;
    let lowers: Vec<_> = how
        .lowers
        .iter()
        .filter_map(|it| open_dir(it).ok())
        .collect();
    // Of a path within folders that are opaque here the layers beneath show nothing, but
    // nothing is made for a mount there either that the command did not see.
    let is_below = |path: &Path| {
        let there = |layer| open_in_root(layer, path, OFlags::PATH | OFlags::NOFOLLOW).is_ok();
        lowers.iter().any(there)
    };
    let mut paths: BTreeSet<PathBuf> = FURNITURE.iter().map(PathBuf::from).collect();
    for path in &how.mounted {
        if let Ok(path) = path.strip_prefix("/") {
            paths.insert(path.to_owned());
        }
    }
    // The deepest first, each with what it lies in.
    for path in paths.iter().rev() {
        let mut at = path.as_path();
        while at != Path::new("") && !is_below(at) {
            let parent = at.parent().unwrap_or(Path::new(""));
            let Some(name) = at.file_name() else { break };
            let shown = match parent == Path::new("") {
                true => Path::new("."),
                false => parent,
            };
            let Ok(folder) = open_in_root(&root, shown, OFlags::PATH | OFlags::DIRECTORY) else {
                break;
            };
            let Ok(stat) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
                at = parent;
                continue;
            };
            let flags = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if LEFT.iter().any(|it| at == Path::new(it)) => break,
                FileType::Directory => AtFlags::REMOVEDIR,
                FileType::RegularFile if stat.st_size == 0 && at == path => AtFlags::empty(),
                _ => break,
            };
            match rustix::fs::unlinkat(&folder, name, flags) {
                Ok(()) => at = parent,
                // It has something in it.
                Err(Errno::NOTEMPTY | Errno::EXIST) => break,
                Err(error) => return Err(error).tried(|| format!("remove {}", at.display())),
            }
        }
    }
    Ok(())
}

/// Takes away an overlay's notes to itself, and sets times.
fn dress(diff: &Path, times: Times) -> Result<()> {
    let mut walk = Walk::new(walk::open_root(diff)?)?;
    let stamp = |stat: &rustix::fs::Stat| match times {
        Times::Kept => None,
        Times::Set(at) => Some(at),
        Times::AtMost(at) => (stat.st_mtime > at).then_some(at),
    };
    // Folders get theirs when nothing is done in them any more.
    let mut folders: Vec<Option<i64>> = Vec::new();
    let as_times = |at: i64| {
        let spec = Timespec {
            tv_sec: at,
            tv_nsec: 0,
        };
        Timestamps {
            last_access: spec,
            last_modification: spec,
        }
    };
    while let Some(step) = walk.step()? {
        match step {
            Step::Enter(found) => {
                folders.push(stamp(&found.stat));
                for name in ["user.overlay.origin", "user.overlay.impure"] {
                    let _ = rustix::fs::fremovexattr(walk.folder(), name);
                }
            }
            Step::Leave => {
                if let Some(Some(at)) = folders.pop() {
                    rustix::fs::futimens(walk.folder(), &as_times(at))?;
                }
            }
            Step::Other(found) => {
                if let Some(at) = stamp(&found.stat) {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    let name = std::ffi::OsStr::from_bytes(found.name.to_bytes());
                    rustix::fs::utimensat(walk.folder(), name, &as_times(at), flags)?;
                }
                if found.kind() == FileType::RegularFile
                    && let Ok(file) = walk::open(walk.folder(), &found.name, OFlags::NONBLOCK)
                {
                    let _ = rustix::fs::fremovexattr(&file, "user.overlay.origin");
                }
            }
        }
    }
    let root = walk::open_root(diff)?;
    let _ = rustix::fs::fremovexattr(&root, "user.overlay.origin");
    let _ = rustix::fs::fremovexattr(&root, "user.overlay.impure");
    Ok(())
}
