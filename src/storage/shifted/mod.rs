//! An image's files under another id map than the default, without their data.
//!
//! ```text
//! shifted/<image id>-<key>/   key: what becomes of each id that the image has
//!   shifted.json   a [`Tree`]
//!   tree/          the image's layers as one, each file with the owner that it has
//!                  on the host under the map. A file with content is a hole of its
//!                  size, with user.overlay.metacopy and user.overlay.redirect
//!   farm/+0/3f     (hard link) a short name for a file of a layer
//! shifted/<image id>-<key>-copy/   likewise, where a file is a copy
//! ```
//!
//! Layers have the owners of the default map, as an unprivileged user can have
//! neither an idmapped mount of them (mount_setattr(2)) nor, in a user namespace,
//! an overlay that changes an owner without copying the file. Since Linux 6.16 an
//! overlay in a user namespace takes data from data-only layers, though, to which
//! a layer with `user.overlay.redirect` leads (overlayfs.rst, "Data-only lower
//! layers"): this is that layer. On older kernels files are copied, or share their
//! blocks where the file system can.
//!
//! A redirect leads to the file's own path in its layer if that is short: data-only
//! layers are searched highest first, as the image's are, and what is seen at a path
//! is the first that any layer has there. Else it leads into the farm, as a redirect
//! of more than [`SHORT`] bytes takes a block of ext4 for itself. Data-only layers
//! are searched for no links, and only beneath their roots; that an image has no
//! `user.overlay.*` of its own, `layer` sees to.
//!
//! A tree is made once, beneath its image's lock, in staging, synced, and renamed
//! into place. It is never changed and goes with its image.

mod map;
#[cfg(test)]
mod tests;
mod tree;

use std::path::{Path, PathBuf};

use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

pub use map::Shift;
pub use tree::{Source, make};

use super::layer::Layer;
use super::{Staging, Storage, read_json};
use crate::error::{Context, Result};
use crate::id::{DiffId, ImageId};
use crate::sys::mount;

/// The longest redirect that fits into an inode of ext4 (256 bytes) beside
/// `user.overlay.metacopy`.
const SHORT: usize = 24;

/// Of more layers than that no redirect leads into one: an overlay has 500 at most.
const MOST_DIRECT: usize = 400;

/// How a tree has its files' content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// From the layers, by the overlay.
    Metadata,
    /// By blocks that are shared with the layers' files.
    Reflink,
    /// By copies; blocks are shared where the file system can.
    Copy,
}

/// `shifted.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    pub method: Method,
    /// Whose the image's files are on the host.
    pub shift: Shift,
    /// Its files and folders.
    pub files: u64,
    /// Bytes on disk that nothing else has.
    pub size: u64,
}

/// What an overlay is mounted of; highest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lower {
    pub folders: Vec<PathBuf>,
    /// Data-only layers.
    pub data: Vec<PathBuf>,
}

impl Storage {
    pub fn shifted(&self) -> PathBuf {
        self.root.join("shifted")
    }

    /// Where the tree of an image is.
    pub fn shifted_tree(&self, image: &ImageId, shift: &Shift, method: Method) -> PathBuf {
        let suffix = match method {
            Method::Metadata => "",
            Method::Reflink | Method::Copy => "-copy",
        };
        let key = shift.key();
        self.shifted().join(format!("{image}-{key}{suffix}"))
    }

    /// Layers (lowest first) as they are, to be mounted.
    pub fn plain(&self, layers: &[DiffId]) -> Lower {
        Lower {
            folders: self.folders(layers),
            data: Vec::new(),
        }
    }

    /// The tree at `dir`, made of `layers` (lowest first) by `method`, to be mounted.
    pub fn shifted_lower(&self, dir: &Path, layers: &[DiffId], method: Method) -> Lower {
        let data = match method {
            Method::Metadata => {
                let mut data = vec![dir.join("farm")];
                if layers.len() <= MOST_DIRECT {
                    data.extend(self.folders(layers));
                }
                data
            }
            Method::Reflink | Method::Copy => Vec::new(),
        };
        Lower {
            folders: vec![dir.join("tree")],
            data,
        }
    }

    /// Highest first. A layer that is there twice (an empty one, mostly) counts where it
    /// is highest, as below it shows nothing else; an overlay takes no folder twice.
    fn folders(&self, layers: &[DiffId]) -> Vec<PathBuf> {
        let mut seen = std::collections::HashSet::new();
        let highest = layers.iter().rev().filter(|id| seen.insert(*id));
        highest.map(|id| self.layer(id).join("diff")).collect()
    }

    /// What is known of `layers`; none of one that is not there.
    pub fn read_layers(&self, layers: &[DiffId]) -> Result<Vec<Option<Layer>>> {
        layers.iter().map(|id| self.read_layer(id)).collect()
    }

    /// The image's trees.
    pub fn shifted_of(&self, image: &ImageId) -> Result<Vec<PathBuf>> {
        let dir = self.shifted();
        let mut names = self.list(&dir)?;
        names.retain(|name| name.starts_with(image.as_str()));
        Ok(names.into_iter().map(|name| dir.join(name)).collect())
    }

    /// What is known of the image's trees.
    pub fn shifted_trees(&self, image: &ImageId) -> Result<Vec<Tree>> {
        let mut trees = Vec::new();
        for dir in self.shifted_of(image)? {
            trees.extend(read_json(&dir.join("shifted.json"))?);
        }
        Ok(trees)
    }

    /// Takes the image's trees out of sight; for who holds the image alone. They
    /// are to be deleted where the ids of their files are mapped.
    pub fn retire_shifted(&self, image: &ImageId) -> Result<Vec<Staging>> {
        let mut retired = Vec::new();
        for dir in self.shifted_of(image)? {
            retired.extend(self.retire(&dir)?);
        }
        Ok(retired)
    }
}

/// Whether an overlay here takes data from data-only layers: found by mounting
/// one of files made in `dir`. Must run as root of a user namespace and in a mount
/// namespace of its own.
pub fn metadata_works(dir: &Path) -> Result<bool> {
    let trial = dir.join("trial");
    let (tree, farm) = (trial.join("tree"), trial.join("farm"));
    let tried = || format!("try an overlay in {}", trial.display());
    for folder in [&trial, &tree, &farm] {
        std::fs::create_dir(folder).tried(tried)?;
    }
    std::fs::write(farm.join("data"), b"content").tried(tried)?;
    let file = std::fs::File::create(tree.join("file")).tried(tried)?;
    file.set_len(7).tried(tried)?;
    let works = tree::redirect(&file, b"/data").is_ok()
        && mounted(&tree, &farm).is_ok_and(|read| read == b"content");
    super::remove_tree(&trial).tried(tried)?;
    Ok(works)
}

/// What is read of `file` through the overlay of the trial.
fn mounted(tree: &Path, farm: &Path) -> Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags, openat};
    let (tree, farm) = (super::text(tree)?, super::text(farm)?);
    let overlay = mount::make(
        "overlay",
        &[
            ("source", Some("overlay")),
            ("userxattr", None),
            ("lowerdir+", Some(&tree)),
            ("datadir+", Some(&farm)),
        ],
        MountAttrFlags::empty(),
    )?;
    let file = openat(
        &overlay,
        "file",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut read)?;
    Ok(read)
}
