//! The files of an image, given out: `--output`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::context::ignore::Ignore;
use super::context::{memory, search};
use super::steps::put;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::DiffId;

/// Where the image's files go (`--output`).
pub enum Destination {
    Folder(PathBuf),
    Archive(PathBuf),
    Stdout,
}

impl Destination {
    /// What is asked for; nothing where that is the image, which is kept anyway.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if text == "-" {
            return Ok(Some(Self::Stdout));
        }
        if !text.contains('=') {
            return Ok(Some(Self::Folder(text.into())));
        }
        let (mut kind, mut to) = (None, None);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value),
                Some(("dest", value)) => to = Some(value),
                _ => {
                    return Err(Error::usage(format!(
                        "invalid build output option {field:?}"
                    )));
                }
            }
        }
        // Docker's words for it.
        if let (Some("docker" | "image" | "oci" | "cacheonly" | "inline"), None) = (kind, to) {
            return Ok(None);
        }
        let to =
            to.ok_or_else(|| Error::usage("missing required key \"dest\" in build output option"))?;
        match (kind, to) {
            (Some("local" | "tar"), "-") => Ok(Some(Self::Stdout)),
            (Some("local"), to) => Ok(Some(Self::Folder(to.into()))),
            (Some("tar"), to) => Ok(Some(Self::Archive(to.into()))),
            (Some(other), _) => Err(Error::usage(format!(
                "invalid type {other:?} selected for build output options, type value must be \"local\" or \"tar\""
            ))),
            (None, _) => Err(Error::usage(
                "missing required key \"type\" in build output option",
            )),
        }
    }

    /// Writes the files of an image of those layers.
    pub fn write(&self, engine: &Engine, layers: &[DiffId]) -> Result<()> {
        let out = match self {
            Self::Folder(into) => {
                std::fs::create_dir_all(into).tried(|| format!("make {}", into.display()))?;
                return folder(engine, layers, into);
            }
            Self::Archive(path) => {
                File::create(path).tried(|| format!("create {}", path.display()))?
            }
            Self::Stdout => {
                use std::os::fd::AsFd;
                File::from(std::io::stdout().as_fd().try_clone_to_owned()?)
            }
        };
        archive(engine, layers, &out)?;
        (&out).flush().tried(|| "write the archive")
    }
}

/// Writes the files of an image to the folder `into`, as the caller's.
fn folder(engine: &Engine, layers: &[DiffId], into: &Path) -> Result<()> {
    let lower = engine.storage.plain(layers);
    engine.in_namespace(|| {
        let mounted = crate::container::read_only(&engine.storage, &lower)?;
        let root = crate::storage::walk::open(&mounted, c".", rustix::fs::OFlags::DIRECTORY)?;
        let mut memory = memory::Memory::none();
        let nothing = Ignore::default();
        let search = search::search(&root, &nothing, &[], false, true);
        let sources = search.find("/", &mut memory)?;
        let how = put::How {
            to: "/",
            owner: Some((0, 0)),
            is_callers: true,
            chmod: None,
            unpack: false,
            owns_unpacked: true,
            single: false,
            many: false,
        };
        let mut tree = put::Tree::new(crate::storage::walk::open_root(into)?);
        tree.put(&root, &sources, &how)?;
        tree.finish().map(drop)
    })
}

/// Writes the files of an image to `out` as a tar.
fn archive(engine: &Engine, layers: &[DiffId], out: &std::fs::File) -> Result<()> {
    use crate::volume::{Marks, Packing, pack_into};
    let lower = engine.storage.plain(layers);
    engine.in_namespace(|| {
        let mounted = crate::container::read_only(&engine.storage, &lower)?;
        let root = crate::storage::walk::open(&mounted, c".", rustix::fs::OFlags::DIRECTORY)?;
        let out = std::io::BufWriter::with_capacity(1 << 18, out);
        let mut writer = crate::storage::pack::Writer::new(out);
        let packing = Packing {
            dress: &|entry| {
                entry.mtime.1 = 0;
                entry
                    .xattrs
                    .retain(|(name, _)| !name.starts_with("user.overlay."));
                Ok(())
            },
            marks: Marks::Left,
            holes: false,
            watch: &(),
        };
        pack_into(root, &mut writer, b"", &packing)?;
        Ok(std::io::Write::flush(&mut writer.finish()?)?)
    })
}
