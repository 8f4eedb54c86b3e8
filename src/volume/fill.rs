//! The first use of a volume: the image's files are copied there.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{DATA, FILLED, USED, Volume, copy};
use crate::error::{Context, Result};
use crate::storage::{self, Storage};
use crate::sys::file::{Durable, rename_new, sync_dir, sync_file_system};

/// What the first use has to go by.
#[derive(Debug)]
pub struct First<'a> {
    /// The image's folder where the volume is mounted; none if there is none.
    /// It is opened beneath the rootfs (`open_in_root`).
    pub source: Option<BorrowedFd<'a>>,
    /// The process's uid and gid in the container: whose the volume is if the
    /// image has no folder there.
    pub owner: (u32, u32),
    /// Not `nocopy`.
    pub copy: bool,
    /// Whether the volume is to survive a power cut from now on.
    pub durable: Durable,
}

/// Makes a volume ready for use: copies the image's files into it if it is empty and
/// was never filled, and as long as it is empty gives its root the image folder's owner
/// and mode. Runs in the container's user namespace, in any process; of several at once
/// one works and the others wait. Not while the caller holds the volume.
///
/// The copy is made beside. The first time it is renamed over the empty folder; later
/// a container may have that mounted, and what was copied is moved into it: what a
/// kill leaves of that, the next use goes on with.
pub fn fill(storage: &Storage, volume: &Volume, first: &First<'_>) -> Result<()> {
    let dir = storage.volume(&volume.name);
    let data = dir.join(DATA);
    let used = dir.join(USED);
    let tried = || format!("copy the image's files into volume {}", volume.name);
    let source = match first
        .source
        .filter(|_| first.copy && volume.takes_copy_up())
    {
        Some(source) if volume.needs_copy_up(storage) => {
            let source = copy::reopen(source).tried(tried)?;
            Some(source).filter(|source| !copy::is_empty(source).unwrap_or(true))
        }
        _ => None,
    };
    let is_done = || {
        let is_moved = source.is_none() || !is_empty(&data)? && !dir.join(MOVING).exists();
        Ok::<_, io::Error>(used.exists() && is_moved && !volume.needs_owner(storage))
    };
    if is_done().tried(tried)? {
        return Ok(());
    }
    let _lock = storage::lock_alone(&dir)?;
    if is_done().tried(tried)? {
        return Ok(());
    }
    if dir.join(MOVING).exists() {
        move_in(&dir, first.durable).tried(tried)?;
    } else if is_empty(&data).tried(tried)? {
        clear_unfinished(&dir);
        match &source {
            // What was filled while we waited, and emptied, stays empty.
            Some(source) if volume.needs_copy_up(storage) => {
                let to = if used.exists() { MOVING } else { DATA };
                copy_beside(source, &dir, to, volume, first.durable).tried(tried)?;
                if to == MOVING {
                    move_in(&dir, first.durable).tried(tried)?;
                }
                File::create(dir.join(FILLED)).tried(tried)?;
            }
            _ if used.exists() && !volume.needs_owner(storage) => {}
            _ => dress_root(&data, volume, first).tried(tried)?,
        }
    }
    File::create(&used).tried(tried)?;
    Ok(())
}

const UNFINISHED: &str = ".filling";
/// A whole copy, of which some may be in the volume already.
const MOVING: &str = ".moving";

/// Moves what was copied into the volume's folder, which then looks as the copy does.
fn move_in(dir: &Path, durable: Durable) -> io::Result<()> {
    let (from, to) = (dir.join(MOVING), dir.join(DATA));
    for entry in std::fs::read_dir(&from)? {
        let name = entry?.file_name();
        match rename_new(&from.join(&name), &to.join(&name)) {
            // A container was quicker: it is the newer one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            moved => moved?,
        }
    }
    let found = from.metadata()?;
    std::os::unix::fs::chown(&to, Some(found.uid()), Some(found.gid()))?;
    std::fs::set_permissions(&to, Permissions::from_mode(found.mode() & 0o7777))?;
    if durable == Durable::Yes {
        sync_dir(&to)?;
    }
    storage::remove_tree(&from)
}

pub(super) fn is_empty(dir: &Path) -> io::Result<bool> {
    Ok(std::fs::read_dir(dir)?.next().is_none())
}

/// A copy whose maker was killed.
fn clear_unfinished(dir: &Path) {
    let _ = storage::remove_tree(&dir.join(UNFINISHED));
}

/// Copies `source` and renames the copy to `to`.
fn copy_beside(
    source: &OwnedFd,
    dir: &Path,
    to: &str,
    volume: &Volume,
    durable: Durable,
) -> Result<()> {
    let beside = dir.join(UNFINISHED);
    std::fs::create_dir(&beside)?;
    let copied = copy::tree(source, &beside).and_then(|()| {
        if volume.uid.is_some() || volume.gid.is_some() {
            let owner = (volume.uid.unwrap_or(0), volume.gid.unwrap_or(0));
            std::os::unix::fs::chown(&beside, Some(owner.0), Some(owner.1))?;
            std::fs::set_permissions(&beside, Permissions::from_mode(0o755))?;
        }
        // One sync of all: with thousands of files the quickest, and the rename
        // must not reach the disk before what it names.
        if durable == Durable::Yes {
            sync_file_system(&beside)?;
        }
        std::fs::rename(&beside, dir.join(to))?;
        if durable == Durable::Yes {
            sync_dir(dir)?;
        }
        Ok(())
    });
    if copied.is_err() {
        clear_unfinished(dir);
    }
    Ok(copied?)
}

/// Owner and mode of an empty volume's root: those of the image's folder, else
/// the process is to own it.
fn dress_root(data: &Path, volume: &Volume, first: &First<'_>) -> io::Result<()> {
    let (mut owner, mut mode) = (first.owner, None);
    if let Some(source) = first.source {
        let stat = rustix::fs::fstat(source)?;
        owner = (stat.st_uid, stat.st_gid);
        mode = Some(stat.st_mode & 0o7777);
    }
    // As Podman: whose root is given is not the image's in its mode either.
    if volume.uid.is_some() || volume.gid.is_some() {
        (owner, mode) = ((0, 0), None);
    }
    let owner = (volume.uid.unwrap_or(owner.0), volume.gid.unwrap_or(owner.1));
    std::os::unix::fs::chown(data, Some(owner.0), Some(owner.1))?;
    if let Some(mode) = mode {
        std::fs::set_permissions(data, Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileTypeExt, symlink};

    use super::super::tests::tempdir;
    use super::super::{create, mountpoint};
    use super::*;

    fn world() -> (tempdir::Dir, Storage, Volume) {
        let dir = tempdir::Dir::new();
        let settings = crate::settings::Settings {
            uid: 0,
            gid: 0,
            home: dir.0.clone(),
            data: dir.0.join("data"),
            cache: dir.0.join("cache"),
            runtime: dir.0.join("run"),
            user_manager: None,
            cgroup_manager: None,
            events_backend: None,
            cdi_folders: Vec::new(),
        };
        let storage = Storage::open(&settings).unwrap();
        let volume = Volume::new("v".parse().unwrap());
        create(&storage, &volume).unwrap();
        (dir, storage, volume)
    }

    fn own() -> (u32, u32) {
        (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        )
    }

    #[test]
    fn the_copy_is_like_the_image() {
        let (dir, storage, volume) = world();
        let image = dir.0.join("image");
        std::fs::create_dir_all(image.join("sub/empty")).unwrap();
        std::fs::write(image.join("file"), "content").unwrap();
        std::fs::set_permissions(image.join("file"), Permissions::from_mode(0o4755)).unwrap();
        std::fs::hard_link(image.join("file"), image.join("sub/same")).unwrap();
        symlink("/nowhere/at/all", image.join("link")).unwrap();
        let big = File::create(image.join("sparse")).unwrap();
        big.set_len(64 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&big, b"x", 32 << 20).unwrap();
        drop(big);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            image.join("fifo"),
            rustix::fs::FileType::Fifo,
            0o640.into(),
            0,
        )
        .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(image.join("socket")).unwrap();
        let xattr = rustix::fs::setxattr(
            image.join("file"),
            "user.test",
            b"value",
            rustix::fs::XattrFlags::empty(),
        );
        let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
        for path in ["file", "sub", "."] {
            let file = File::open(image.join(path)).unwrap();
            file.set_modified(old).unwrap();
        }
        std::fs::set_permissions(&image, Permissions::from_mode(0o1770)).unwrap();

        let source = File::open(&image).unwrap();
        let first = First {
            source: Some(source.as_fd()),
            owner: own(),
            copy: true,
            durable: Durable::No,
        };
        fill(&storage, &volume, &first).unwrap();

        let data = mountpoint(&storage, &volume.name);
        let stat = |path: &str| std::fs::symlink_metadata(data.join(path)).unwrap();
        assert_eq!(std::fs::read(data.join("file")).unwrap(), b"content");
        assert_eq!(stat("file").mode() & 0o7777, 0o4755);
        assert_eq!(stat("file").ino(), stat("sub/same").ino());
        assert_eq!(stat(".").mode() & 0o7777, 0o1770);
        for path in ["file", "sub", "."] {
            assert_eq!(stat(path).modified().unwrap(), old, "{path}");
        }
        assert!(stat("sub/empty").is_dir());
        assert_eq!(
            std::fs::read_link(data.join("link")).unwrap(),
            Path::new("/nowhere/at/all")
        );
        assert!(stat("fifo").file_type().is_fifo());
        assert!(stat("socket").file_type().is_socket());
        assert_eq!(stat("sparse").len(), 64 << 20);
        assert!(stat("sparse").blocks() * 512 < 1 << 20);
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(
            &File::open(data.join("sparse")).unwrap(),
            &mut byte,
            32 << 20,
        )
        .unwrap();
        assert_eq!(&byte, b"x");
        if xattr.is_ok() {
            let mut value = [0; 8];
            let length =
                rustix::fs::getxattr(data.join("file"), "user.test", &mut value[..]).unwrap();
            assert_eq!(&value[..length], b"value");
        }
        assert!(!volume.needs_copy_up(&storage));

        // What the container deletes does not come back.
        std::fs::remove_file(data.join("file")).unwrap();
        fill(&storage, &volume, &first).unwrap();
        assert!(!data.join("file").exists());
    }

    #[test]
    fn what_a_kill_left_of_moving_in_is_moved_in() {
        let (dir, storage, volume) = world();
        let folder = storage.volume(&volume.name);
        let image = dir.0.join("image");
        std::fs::create_dir_all(&image).unwrap();
        std::fs::write(image.join("b"), "copied").unwrap();
        std::fs::create_dir(folder.join(MOVING)).unwrap();
        std::fs::write(folder.join(MOVING).join("b"), "copied").unwrap();
        File::create(folder.join(USED)).unwrap();
        let data = mountpoint(&storage, &volume.name);
        std::fs::write(data.join("a"), "moved").unwrap();
        let source = File::open(&image).unwrap();
        let first = First {
            source: Some(source.as_fd()),
            owner: own(),
            copy: true,
            durable: Durable::No,
        };
        fill(&storage, &volume, &first).unwrap();
        assert!(data.join("a").exists() && data.join("b").exists());
        assert!(!folder.join(MOVING).exists());
    }

    #[test]
    fn a_volume_with_files_is_left_as_it_is() {
        let (dir, storage, volume) = world();
        let image = dir.0.join("image");
        std::fs::create_dir(&image).unwrap();
        std::fs::write(image.join("file"), "new").unwrap();
        let data = mountpoint(&storage, &volume.name);
        std::fs::write(data.join("mine"), "mine").unwrap();
        std::fs::create_dir(storage.volume(&volume.name).join(UNFINISHED)).unwrap();
        let source = File::open(&image).unwrap();
        let first = First {
            source: Some(source.as_fd()),
            owner: own(),
            copy: true,
            durable: Durable::Yes,
        };
        fill(&storage, &volume, &first).unwrap();
        assert!(!data.join("file").exists());
        assert!(!volume.is_unused(&storage));
    }

    #[test]
    fn an_empty_volume_is_filled_when_there_is_something() {
        let (dir, storage, volume) = world();
        let image = dir.0.join("image");
        std::fs::create_dir(&image).unwrap();
        let first = |source: Option<&File>, copy| {
            let first = First {
                source: source.map(AsFd::as_fd),
                owner: own(),
                copy,
                durable: Durable::No,
            };
            fill(&storage, &volume, &first).unwrap();
        };
        let data = mountpoint(&storage, &volume.name);
        let source = File::open(&image).unwrap();
        first(None, true);
        first(Some(&source), true);
        assert!(!volume.is_unused(&storage) && volume.needs_copy_up(&storage));
        std::fs::write(image.join("file"), "late").unwrap();
        std::fs::set_permissions(&image, Permissions::from_mode(0o1711)).unwrap();
        first(Some(&source), false);
        assert!(!data.join("file").exists());
        // A container may have the folder mounted: it stays the same.
        let before = data.metadata().unwrap().ino();
        first(Some(&source), true);
        let after = data.metadata().unwrap();
        assert_eq!((after.ino(), after.mode() & 0o7777), (before, 0o1711));
        assert!(data.join("file").exists() && !volume.needs_copy_up(&storage));
        std::fs::remove_file(data.join("file")).unwrap();
        first(Some(&source), true);
        assert!(!data.join("file").exists());
    }

    #[test]
    fn an_unfinished_copy_is_made_again() {
        let (dir, storage, volume) = world();
        let image = dir.0.join("image");
        std::fs::create_dir(&image).unwrap();
        std::fs::write(image.join("file"), "whole").unwrap();
        let unfinished = storage.volume(&volume.name).join(UNFINISHED);
        std::fs::create_dir(&unfinished).unwrap();
        std::fs::write(unfinished.join("half"), "ha").unwrap();
        let source = File::open(&image).unwrap();
        let first = First {
            source: Some(source.as_fd()),
            owner: own(),
            copy: true,
            durable: Durable::Yes,
        };
        fill(&storage, &volume, &first).unwrap();
        let data = mountpoint(&storage, &volume.name);
        assert_eq!(std::fs::read(data.join("file")).unwrap(), b"whole");
        assert!(!data.join("half").exists() && !unfinished.exists());
    }
}
