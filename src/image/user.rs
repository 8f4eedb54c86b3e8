//! An image's user, as the image's own passwd and group resolve it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fgetxattr, openat, readlinkat, statat};

use crate::sys::file::open_dir;

/// Larger than any passwd that is meant well.
const MOST_BYTES: u64 = 16 << 20;
/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// The ids of `user` (`USER`, `UID`, `USER:GROUP`…; empty is root) in an image
/// whose unpacked layers are at `layers`, lowest first. None if it has no such
/// user or group.
pub fn resolve(user: &str, layers: &[PathBuf]) -> Option<(u32, u32)> {
    if user.is_empty() {
        return Some((0, 0));
    }
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    if let (Ok(uid), Some(Ok(gid))) = (user.parse(), group.map(str::parse)) {
        return Some((uid, gid));
    }
    let rootfs = Rootfs::open(layers)?;
    let (uid, own_gid) = {
        let passwd = rootfs.read("etc/passwd").unwrap_or_default();
        match (ids_of(&passwd, user), user.parse()) {
            (Some(ids), _) => ids,
            // An id that passwd does not know is of group 0.
            (None, Ok(uid)) => (uid, 0),
            (None, Err(_)) => return None,
        }
    };
    let gid = match group {
        None => own_gid,
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => group_id(&rootfs.read("etc/group").unwrap_or_default(), group)?,
        },
    };
    Some((uid, gid))
}

/// uid and gid of the line of passwd whose name, else whose uid, is `user`.
fn ids_of(passwd: &str, user: &str) -> Option<(u32, u32)> {
    let by = |field: usize| {
        passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.get(field) == Some(&user))
            .and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
    };
    by(0).or_else(|| by(2))
}

fn group_id(groups: &str, group: &str) -> Option<u32> {
    groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&group))
        .and_then(|fields| fields.get(2)?.parse().ok())
}

/// Layers seen as one tree, as an overlay would show them, without mounting it.
struct Rootfs {
    /// Highest first.
    layers: Folder,
}

/// One folder: what the layers have of it, highest first.
type Folder = Vec<Rc<OwnedFd>>;

enum Found {
    Nothing,
    Folder(Folder),
    Link(Vec<u8>),
    File(File),
}

impl Rootfs {
    fn open(layers: &[PathBuf]) -> Option<Self> {
        let layers = layers
            .iter()
            .rev()
            .map(|path| open_dir(path).ok().map(Rc::new))
            .collect::<Option<Folder>>()?;
        Some(Self { layers })
    }

    /// The text of a file, links followed within the tree.
    fn read(&self, path: &str) -> Option<String> {
        let mut names: Vec<Vec<u8>> = components(path.as_bytes());
        let mut trail: Vec<Folder> = vec![self.layers.clone()];
        let mut links = 0;
        while let Some(name) = names.pop() {
            if name == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            match look_up(trail.last()?, &name) {
                Found::Nothing => return None,
                Found::Folder(folder) => trail.push(folder),
                Found::Link(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    names.extend(components(&target));
                }
                Found::File(file) => {
                    let mut text = Vec::new();
                    file.take(MOST_BYTES).read_to_end(&mut text).ok()?;
                    return names
                        .is_empty()
                        .then(|| String::from_utf8_lossy(&text).into_owned());
                }
            }
        }
        None
    }
}

/// The names of a path, the first one last.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && name != b".")
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}

fn look_up(layers: &Folder, name: &[u8]) -> Found {
    let path = std::ffi::OsStr::from_bytes(name);
    let mut folders = Folder::new();
    for layer in layers {
        let Ok(found) = statat(&**layer, path, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::Directory && !folders.is_empty() {
            break;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || openat(&**layer, path, flags, Mode::empty());
        match kind {
            FileType::Directory => {
                let Ok(folder) = open() else { break };
                let mut value = [0; 1];
                let opaque = fgetxattr(&folder, "user.overlay.opaque", &mut value);
                folders.push(Rc::new(folder));
                if opaque == Ok(1) && value == *b"y" {
                    break;
                }
            }
            FileType::Symlink => {
                return match readlinkat(&**layer, path, Vec::new()) {
                    Ok(target) => Found::Link(target.into_bytes()),
                    Err(_) => Found::Nothing,
                };
            }
            FileType::RegularFile => {
                return match open() {
                    Ok(file) => Found::File(file.into()),
                    Err(_) => Found::Nothing,
                };
            }
            _ => break,
        }
    }
    if folders.is_empty() {
        Found::Nothing
    } else {
        Found::Folder(folders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    #[test]
    fn users_are_resolved_in_the_image_and_nowhere_else() {
        let root =
            std::env::temp_dir().join(format!("coracle-user-{}", crate::id::random_hex::<8>()));
        let (low, high) = (root.join("low"), root.join("high"));
        create_dir_all(low.join("etc")).unwrap();
        create_dir_all(high.join("etc")).unwrap();
        create_dir_all(high.join("data")).unwrap();
        write(low.join("etc/passwd"), "root:x:0:0::/:\nold:x:7:7::/:\n").unwrap();
        write(low.join("etc/group"), "users:x:100:\n").unwrap();
        symlink("../../../../data/passwd", high.join("etc/passwd")).unwrap();
        write(
            high.join("data/passwd"),
            "root:x:0:0::/:\nme:x:1000:100::/:\n",
        )
        .unwrap();
        let layers = [low.clone(), high.clone()];
        for (user, ids) in [
            ("", Some((0, 0))),
            ("me", Some((1000, 100))),
            ("1000", Some((1000, 100))),
            ("5", Some((5, 0))),
            ("5:6", Some((5, 6))),
            ("me:users", Some((1000, 100))),
            ("me:7", Some((1000, 7))),
            ("old", None),
            ("me:nobody", None),
        ] {
            assert_eq!(resolve(user, &layers), ids, "{user}");
        }
        assert_eq!(resolve("old", &layers[..1]), Some((7, 7)));
        // A link to itself ends.
        std::fs::remove_file(high.join("etc/passwd")).unwrap();
        symlink("passwd", high.join("etc/passwd")).unwrap();
        assert_eq!(resolve("me", &layers), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
