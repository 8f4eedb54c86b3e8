//! A file that is there when it is whole: made without a name or beside the one
//! asked for, so that nobody finds half of it, whatever is killed.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, linkat};

/// The new content of a file; [`NewFile::finish`] puts it in its place.
pub struct NewFile {
    pub file: File,
    path: PathBuf,
    place: Place,
}

enum Place {
    /// O_TMPFILE: gone with the process that made it (open(2)).
    Nameless,
    /// Where the file system has no such files.
    Beside(PathBuf),
    /// A device, a pipe, a link, or a file in a folder that is not ours.
    Itself,
}

impl NewFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let there = match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let made = |file, place| {
            let path = path.to_owned();
            Ok(Self { file, path, place })
        };
        if there.as_ref().is_none_or(|found| found.is_file()) {
            let folder = folder(path);
            let nameless = File::options()
                .read(true)
                .write(true)
                .custom_flags(libc::O_TMPFILE)
                .mode(0o666)
                .open(folder);
            let file = match nameless {
                Ok(file) => Ok((file, Place::Nameless)),
                Err(error) if lacks_nameless(&error) => {
                    let beside = beside(path);
                    let mut options = File::options();
                    let file = options.read(true).write(true).create_new(true);
                    file.open(&beside).map(|file| (file, Place::Beside(beside)))
                }
                Err(error) => Err(error),
            };
            match (file, &there) {
                (Ok((file, place)), _) => {
                    if let Some(found) = &there {
                        // What stands there keeps its mode.
                        let mode = rustix::fs::Mode::from_raw_mode(found.mode() & 0o777);
                        rustix::fs::fchmod(&file, mode)?;
                    }
                    return made(file, place);
                }
                // The folder may not be ours, and the file be.
                (Err(error), Some(_)) if error.kind() == io::ErrorKind::PermissionDenied => {}
                (Err(error), _) => return Err(error),
            }
        }
        made(File::create(path)?, Place::Itself)
    }

    /// Has it stand elsewhere, on the same file system.
    pub fn place(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Takes away what would stay behind if it is never finished.
    pub fn clear(&self) {
        if let Place::Beside(beside) = &self.place {
            let _ = std::fs::remove_file(beside);
        }
    }

    /// Puts the file in its place. One that it replaces is lost only when the new
    /// one is on the disk.
    pub fn finish(mut self) -> io::Result<()> {
        if let Place::Nameless = self.place {
            match self.link(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result,
            }
            let beside = beside(&self.path);
            self.link(&beside)?;
            self.place = Place::Beside(beside);
        }
        if self.path.exists() {
            self.file.sync_data()?;
        }
        if let Place::Beside(beside) = &self.place {
            std::fs::rename(beside, &self.path)?;
        }
        self.place = Place::Itself;
        Ok(())
    }

    fn link(&self, to: &Path) -> io::Result<()> {
        let from = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(linkat(CWD, from, CWD, to, AtFlags::SYMLINK_FOLLOW)?)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        self.clear();
    }
}

fn lacks_nameless(error: &io::Error) -> bool {
    // NFS and some FUSE file systems; kernels that do not know the flag see a folder.
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
    )
}

/// A name beside `path` that nobody has.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", crate::id::random_hex::<4>()));
    path.with_file_name(name)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_finished() {
        let dir = std::env::temp_dir().join(format!("beside-{}", crate::id::random_hex::<8>()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("file");
        for content in ["one", "two"] {
            let mut new = NewFile::open(&path).unwrap();
            new.file.write_all(b"half").unwrap();
            drop(new);
            let mut new = NewFile::open(&path).unwrap();
            new.file.write_all(content.as_bytes()).unwrap();
            new.finish().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        }
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        let link = dir.join("link");
        let mut new = NewFile::open(&link).unwrap();
        new.file.write_all(b"three").unwrap();
        new.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        assert!(NewFile::open(&dir).is_err());
        assert!(NewFile::open(&dir.join("none/file")).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
