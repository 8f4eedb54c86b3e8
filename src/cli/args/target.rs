//! A file that a command writes, whole or not at all.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The file that an archive is written to: beside the one asked for, so that nobody
/// finds half of it there.
pub struct Target<'a> {
    path: &'a Path,
    beside: Option<PathBuf>,
    pub file: File,
}

impl<'a> Target<'a> {
    /// Opens it; `failed` says in Podman's words what could not be.
    pub fn open(path: &'a Path, failed: impl Fn(&Path, &str) -> String) -> Result<Self> {
        let tried = |error: std::io::Error| {
            Error::other(failed(path, crate::error::words(&error).as_ref()))
        };
        let is_plain = match std::fs::symlink_metadata(path) {
            Ok(found) => found.is_file(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        let name = path.file_name().filter(|_| is_plain);
        if let Some(name) = name {
            let mut beside = std::ffi::OsString::from(".");
            beside.push(name);
            beside.push(format!(".{}", crate::id::random_hex::<4>()));
            let beside = path.with_file_name(beside);
            match File::options().write(true).create_new(true).open(&beside) {
                Ok(file) => {
                    let beside = Some(beside);
                    return Ok(Self { path, beside, file });
                }
                // The folder may not be ours, and the file be.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(tried(error)),
            }
        }
        let file = File::create(path).map_err(tried)?;
        Ok(Self {
            path,
            beside: None,
            file,
        })
    }

    /// Puts the file in its place.
    pub fn finish(mut self) -> std::io::Result<()> {
        if let Some(beside) = &self.beside {
            self.file.sync_data()?;
            std::fs::rename(beside, self.path)?;
            self.beside = None;
        }
        Ok(())
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = std::fs::remove_file(beside);
        }
    }
}
