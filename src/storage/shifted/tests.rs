//! A shifted image must show under its map what the layers show under the default
//! one: both are mounted, walked and compared.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use serde::{Deserialize, Serialize};

use super::tree::Made;
use super::*;
use crate::settings::{Overrides, Settings};
use crate::storage::layer::{self, Owners};
use crate::storage::tar::building::Builder;
use crate::sys::{SoleThread, process};
use crate::userns::{self, IdMap};

/// Layers in a folder of their own, gone with it.
struct World {
    proof: SoleThread,
    base: IdMap,
    dir: PathBuf,
    layers: Vec<Layer>,
}

/// One entry as a container sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    mode: u32,
    owner: (u32, u32),
    size: i64,
    time: (i64, u32),
    content: String,
    attributes: BTreeMap<String, String>,
    /// The first other name of the same file.
    same_as: Option<String>,
}

type Tree = BTreeMap<String, Shown>;

impl World {
    /// Unpacks layers, lowest first. None where the machine has no subordinate ids.
    fn new(proof: SoleThread, tars: &[Vec<u8>]) -> Option<Self> {
        let settings = Settings::read(&Overrides::default()).unwrap();
        let (base, _) = userns::default_map(&userns::Machine::of(&settings));
        if base.is_single() {
            let must = std::env::var_os("NEEDS").is_some_and(|needs| needs == "all");
            assert!(!must, "no subordinate ids");
            return None;
        }
        let name = format!("coracle-shifted-{}", crate::id::random_hex::<8>());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let mut world = Self {
            proof,
            base,
            dir,
            layers: Vec::new(),
        };
        world.layers = world.inside(&world.base, || {
            let unpacked = tars.iter().enumerate().map(|(at, tar)| {
                let into = world.dir.join(format!("layer{at}"));
                layer::unpack(&into, &tar[..], None, Owners::Mapped)
            });
            unpacked.collect()
        });
        Some(world)
    }

    fn inside<T: Serialize + serde::de::DeserializeOwned>(
        &self,
        map: &IdMap,
        work: impl FnOnce() -> Result<T>,
    ) -> T {
        userns::in_child(self.proof, map, work).unwrap()
    }

    fn keep_id(&self, uid: u32, gid: u32) -> IdMap {
        IdMap::with_caller_at(&self.base, uid, gid).unwrap()
    }

    fn folders(&self) -> Vec<PathBuf> {
        let diff = |at| self.dir.join(format!("layer{at}/diff"));
        (0..self.layers.len()).rev().map(diff).collect()
    }

    fn shift(&self, map: &IdMap) -> Shift {
        let layers: Vec<_> = self.layers.iter().cloned().map(Some).collect();
        Shift::new(&self.base, map, &layers).unwrap().unwrap()
    }

    /// Makes the tree `name` for `map` and says what to mount.
    fn make(&self, name: &str, map: &IdMap, method: Method) -> (Lower, Made) {
        let into = self.dir.join(name);
        std::fs::create_dir(&into).unwrap();
        let shift = self.shift(map);
        let sources: Vec<Source> = self
            .folders()
            .into_iter()
            .zip(self.layers.iter().rev())
            .map(|(folder, layer)| Source {
                folder,
                attributes: layer.attributes,
            })
            .collect();
        let made = self.inside(&self.base, || {
            make(&into, &sources, &shift, method, &mut |_| {})
        });
        let data = match method {
            Method::Metadata => [vec![into.join("farm")], self.folders()].concat(),
            _ => Vec::new(),
        };
        let folders = vec![into.join("tree")];
        (Lower { folders, data }, made)
    }

    fn plain(&self) -> Lower {
        Lower {
            folders: self.folders(),
            data: Vec::new(),
        }
    }

    /// What a process under `map` sees.
    fn seen(&self, map: &IdMap, lower: &Lower) -> Tree {
        self.inside(map, || {
            let overlay = open(&mounted_at(lower, None)?, c".");
            let mut tree = Tree::new();
            let mut files = BTreeMap::new();
            walk(&overlay, "", &mut tree, &mut files);
            Ok(tree)
        })
    }

    fn works(&self) -> bool {
        self.inside(&self.base, || metadata_works(&self.dir))
    }

    /// Every method that this machine has.
    fn methods(&self) -> Vec<Method> {
        let mut methods = vec![Method::Copy];
        if self.works() {
            methods.push(Method::Metadata);
        }
        methods
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if crate::storage::remove_tree(&self.dir).is_err() {
            self.inside(&self.base, || Ok(crate::storage::remove_tree(&self.dir)?));
        }
    }
}

/// Mounts an overlay, over `upper` if there is one, which takes a folder beside.
fn mounted_at(lower: &Lower, upper: Option<&Path>) -> Result<OwnedFd> {
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let folders: Vec<String> = lower.folders.iter().map(text).collect();
    let data: Vec<String> = lower.data.iter().map(text).collect();
    let upper = upper.map(|upper| {
        let work = upper.with_extension("work");
        std::fs::create_dir(upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        (text(&upper.to_owned()), text(&work))
    });
    // An overlay that cannot be written wants two folders.
    let empty = lower.folders[0].with_extension("empty");
    let _ = std::fs::create_dir(&empty);
    let folders = match data.is_empty() {
        true => [folders, vec![text(&empty)]].concat(),
        false => folders,
    };
    let mut options = vec![("source", Some("overlay")), ("userxattr", None)];
    options.extend(folders.iter().map(|it| ("lowerdir+", Some(it.as_str()))));
    options.extend(data.iter().map(|it| ("datadir+", Some(it.as_str()))));
    if let Some((upper, work)) = &upper {
        options.push(("upperdir", Some(upper)));
        options.push(("workdir", Some(work)));
    }
    Ok(mount::overlay(&options)?)
}

fn walk(at: &OwnedFd, path: &str, tree: &mut Tree, files: &mut BTreeMap<u64, String>) {
    let own = rustix::fs::fstat(at).unwrap();
    tree.insert(path.to_owned(), shown(at, c".", &own, None));
    let mut names: Vec<CString> = Dir::read_from(at)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_owned())
        .collect();
    names.sort();
    for name in names {
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match statat(at, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // An overlay lists a whiteout with nothing below it, and finds none.
            Err(rustix::io::Errno::NOENT) => continue,
            found => found.unwrap(),
        };
        let below = format!("{path}/{}", String::from_utf8_lossy(name.to_bytes()));
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            walk(&open(at, &name), &below, tree, files);
            continue;
        }
        let same_as = files.get(&stat.st_ino).cloned();
        files.entry(stat.st_ino).or_insert(below.clone());
        tree.insert(below, shown(at, &name, &stat, same_as));
    }
}

fn open(at: &OwnedFd, name: &CStr) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
    openat(at, name, flags, Mode::empty()).unwrap()
}

fn shown(at: &OwnedFd, name: &CStr, stat: &rustix::fs::Stat, same_as: Option<String>) -> Shown {
    let mut shown = Shown {
        mode: stat.st_mode,
        owner: (stat.st_uid, stat.st_gid),
        size: stat.st_size,
        time: (stat.st_mtime, stat.st_mtime_nsec as u32),
        content: String::new(),
        attributes: BTreeMap::new(),
        same_as,
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Symlink {
        let to = readlinkat(at, name, Vec::new()).unwrap();
        shown.content = String::from_utf8_lossy(to.to_bytes()).into_owned();
    }
    if kind == FileType::Directory {
        // A folder's size is the file system's affair.
        shown.size = 0;
    }
    if matches!(kind, FileType::Directory | FileType::RegularFile) {
        let file = open(at, name);
        let mut names = vec![0; 1 << 16];
        let length = rustix::fs::flistxattr(&file, &mut names[..]).unwrap();
        for name in names[..length].split(|byte| *byte == 0) {
            let name = OsStr::from_bytes(name);
            let mut value = vec![0; 1 << 16];
            if let Ok(length) = rustix::fs::fgetxattr(&file, name, &mut value[..]) {
                let name = name.to_string_lossy().into_owned();
                let value = crate::id::hex(&value[..length]);
                shown.attributes.insert(name, value);
            }
        }
        if kind == FileType::RegularFile && stat.st_size < 1 << 24 {
            let mut bytes = Vec::new();
            File::from(file).read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as i64, stat.st_size);
            shown.content = crate::id::Digest::of(&bytes).hex()[..16].to_owned();
        }
    }
    shown
}

fn assert_same(shifted: &Tree, plain: &Tree) {
    for (path, shown) in plain {
        assert_eq!(shifted.get(path), Some(shown), "{path:?}");
    }
    let more: Vec<_> = shifted
        .keys()
        .filter(|it| !plain.contains_key(*it))
        .collect();
    assert!(more.is_empty(), "{more:?}");
}

/// Every kind of thing an image may have.
fn everything() -> Vec<Vec<u8>> {
    let long = "n".repeat(255);
    let capability = "\u{1}\0\0\u{2}\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let low = Builder::default()
        .folder("d/")
        .own(5, 6, 0o4711)
        .file("d/setuid", b"setuid")
        .own(1000, 100, 0o2755)
        .folder("home/")
        .own(1000, 100, 0o600)
        .file("home/a-name-too-long-for-an-inode", b"secret")
        .link(b'1', "home/same", "home/a-name-too-long-for-an-inode")
        .link(b'1', "same-elsewhere", "home/same")
        .own(1000, 7, 0o777)
        .link(b'2', "home/link", "/etc/shadow")
        .own(7, 7, 0o4640)
        .entry("home/fifo", b'6', 0, "")
        .own(0, 42, 0o640)
        .file("etc/shadow", b"root:*")
        .file("etc/cron.d/a-name-too-long-for-an-inode", b"* * * * *")
        .file("empty", b"")
        .pax(&[("SCHILY.xattr.security.capability", capability)])
        .file("ping", b"ping")
        .pax(&[("SCHILY.xattr.user.kept", "yes"), ("mtime", "99.5")])
        .own(3, 3, 0o700)
        .folder("attributes/")
        .pax(&[
            ("SCHILY.xattr.user.kept", "yes"),
            ("SCHILY.xattr.user.overlay.redirect", "/etc/shadow"),
            ("SCHILY.xattr.user.overlay.metacopy", ""),
        ])
        .file("attributes/file", b"not shadow")
        .pax(&[("SCHILY.xattr.system.posix_acl_access", &acl(261, 100))])
        .own(0, 0, 0o770)
        .file("attributes/list", b"for many")
        .pax(&[("SCHILY.xattr.system.posix_acl_default", &acl(77, 78))])
        .own(0, 0, 0o775)
        .folder("attributes/default")
        .file("attributes/default/inherits-nothing", b"x")
        .file("+00/0", b"a name of the farm")
        .folder("+/")
        .file("+/0", b"another")
        .folder("hidden/")
        .file("hidden/deep/file", b"gone")
        .folder("opaque/")
        .file("opaque/below", b"gone")
        .file("replaced", b"gone")
        .file("was-file", b"gone")
        .folder("was-folder/")
        .file("was-folder/file", b"gone")
        .folder("merged/")
        .own(9, 9, 0o700)
        .folder("merged/both/")
        .file("merged/low", b"low")
        .file("merged/both/low", b"low")
        .file(&format!("names/{}", &long[..90]), b"long")
        .own(1, 1, 0o000)
        .folder("shut/")
        .file("shut/in/file", b"within")
        .end();
    let middle = Builder::default()
        .file(".wh.hidden", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/here", b"here")
        .file("etc/.wh.empty", b"")
        .file("merged/.wh.low", b"")
        .file("merged/both/middle", b"middle")
        .pax(&[("path", &format!("names/{long}"))])
        .file("short", b"255 bytes")
        .end();
    let high = Builder::default()
        .own(8, 8, 0o600)
        .file("replaced", b"high")
        .folder("was-file/")
        .file("was-file/file", b"high")
        .file("was-folder", b"high")
        .own(2, 2, 0o1777)
        .folder("merged/both/")
        .link(b'2', "names-link", "names")
        .end();
    vec![low, middle, high]
}

/// An access control list that names a user and a group.
fn acl(user: u16, group: u16) -> String {
    let entry = |tag: u16, id: u16| {
        let [low, high] = id.to_le_bytes();
        assert!(low < 0x80 && high < 0x80);
        [tag as u8, 0, 7, 0, low, high, 0, 0]
    };
    let entries = [
        entry(1, 0),
        entry(2, user),
        entry(4, 0),
        entry(8, group),
        entry(0x10, 0),
        entry(0x20, 0),
    ];
    String::from_utf8([&[2, 0, 0, 0], entries.concat().as_slice()].concat()).unwrap()
}

fn alone(name: &str, tars: &[Vec<u8>]) -> Option<World> {
    let proof = process::alone(&format!("storage::shifted::tests::{name}"))?;
    World::new(proof, tars)
}

#[test]
fn a_shifted_image_shows_what_its_layers_show() {
    let Some(world) = alone("a_shifted_image_shows_what_its_layers_show", &everything()) else {
        return;
    };
    let plain = world.seen(&world.base, &world.plain());
    assert!(plain.len() > 30, "{plain:#?}");
    assert_eq!(plain["/ping"].attributes.len(), 1);
    assert_eq!(plain["/attributes/list"].attributes.len(), 1);
    assert_eq!(plain["/attributes/default"].attributes.len(), 1);
    for (at, method) in world.methods().into_iter().enumerate() {
        for (uid, gid) in [(1000, 100), (5, 5), (70_000, 0)] {
            let map = world.keep_id(uid, gid);
            let name = format!("tree-{at}-{uid}");
            let (lower, made) = world.make(&name, &map, method);
            assert_same(&world.seen(&map, &lower), &plain);
            assert!(made.files as usize >= plain.len() - 3);
        }
    }
    // The layers are what they were.
    assert_same(&world.seen(&world.base, &world.plain()), &plain);
}

/// Layers of random trees: links, whiteouts, what replaces what.
#[test]
fn random_images_are_shown_alike() {
    let names = ["a", "b", "+00", "a-long-name-of-a-file-or-folder", "0"];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    let Some(mut world) = alone("random_images_are_shown_alike", &[]) else {
        return;
    };
    let methods = world.methods();
    for round in 0..20 {
        let mut folders = Vec::new();
        for number in 0..4 {
            // What is wrong with an archive is found when it is unpacked: those that
            // can be are enough.
            let mut tar = Builder::default();
            for _ in 0..12 {
                let mut path = || {
                    let parts: Vec<&str> = (0..1 + next(4)).map(|_| names[next(5)]).collect();
                    parts.join("/")
                };
                let (path, to) = (path(), path());
                let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
                let (uid, gid) = (next(9) as u32, next(9) as u32);
                tar = match next(9) {
                    0 => tar.file(&format!("{above}/.wh.{name}"), b""),
                    1 => tar.file(&format!("{path}/.wh..wh..opq"), b""),
                    2 => tar.link(b'1', &path, &to),
                    3 => tar.link(b'2', &path, &to),
                    4 | 5 => tar.own(uid, gid, 0o755).folder(&path),
                    _ => tar
                        .own(uid, gid, 0o644)
                        .file(&path, format!("{round}{number}{path}").as_bytes()),
                };
            }
            folders.push(tar.end());
        }
        let dir = world.dir.join(format!("round{round}"));
        std::fs::create_dir(&dir).unwrap();
        let shared = &world;
        world.layers = shared.inside(&shared.base, || {
            let mut unpacked = Vec::new();
            for tar in &folders {
                let into = dir.join(format!("layer{}", unpacked.len()));
                match layer::unpack(&into, &tar[..], None, Owners::Mapped) {
                    Ok(layer) => unpacked.push(layer),
                    Err(_) => crate::storage::remove_tree(&into)?,
                }
            }
            Ok(unpacked)
        });
        if world.layers.is_empty() {
            continue;
        }
        let outer = std::mem::replace(&mut world.dir, dir);
        let plain = world.seen(&world.base, &world.plain());
        let map = world.keep_id(3, 4);
        for (at, method) in methods.iter().enumerate() {
            let (lower, _) = world.make(&format!("tree{at}"), &map, *method);
            assert_same(&world.seen(&map, &lower), &plain);
        }
        world.dir = outer;
    }
}

/// Deeper than a path may be long, and than a process may have files open.
#[test]
fn depth_costs_nothing() {
    let Some(world) = alone("depth_costs_nothing", &[Builder::default().end()]) else {
        return;
    };
    const DEPTH: usize = 1500;
    let name = "a-folder-in-a-folder";
    let folder = world.dir.join("layer0/diff");
    world.inside(&world.base, || {
        let mut at = crate::sys::file::open_dir(&folder)?;
        for _ in 0..DEPTH {
            rustix::fs::mkdirat(&at, name, Mode::RWXU)?;
            at = openat(&at, name, OFlags::RDONLY, Mode::empty())?;
        }
        let file = openat(&at, "end", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR)?;
        std::io::Write::write_all(&mut File::from(file), b"reached")?;
        rustix::fs::linkat(&at, "end", &at, "again", AtFlags::empty())?;
        Ok(())
    });
    let map = world.keep_id(1000, 1000);
    for (at, method) in world.methods().into_iter().enumerate() {
        let (lower, made) = world.make(&format!("tree{at}"), &map, method);
        assert_eq!(made.files as usize, DEPTH + 2);
        world.inside(&map, || {
            let mut at = open(&mounted_at(&lower, None)?, c".");
            for _ in 0..DEPTH {
                at = openat(&at, name, OFlags::RDONLY, Mode::empty())?;
            }
            for name in [c"end", c"again"] {
                let mut content = String::new();
                File::from(open(&at, name)).read_to_string(&mut content)?;
                assert_eq!(content, "reached");
            }
            Ok(())
        });
    }
}

/// What a container does to its files changes neither tree nor layers.
#[test]
fn a_container_writes_into_its_own_layer() {
    let Some(world) = alone("a_container_writes_into_its_own_layer", &everything()) else {
        return;
    };
    let plain = world.seen(&world.base, &world.plain());
    let map = world.keep_id(1000, 100);
    for (at, method) in world.methods().into_iter().enumerate() {
        let (lower, _) = world.make(&format!("tree{at}"), &map, method);
        let upper = world.dir.join(format!("upper{at}"));
        world.inside(&map, || {
            let root = open(&mounted_at(&lower, Some(&upper))?, c".");
            let write = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW;
            let file = openat(&root, "d/setuid", write, Mode::empty())?;
            std::io::Write::write_all(&mut File::from(file), b" and more")?;
            let read = |name: &CStr| {
                let mut content = String::new();
                File::from(open(&root, name)).read_to_string(&mut content)?;
                Ok::<_, std::io::Error>(content)
            };
            assert_eq!(read(c"d/setuid")?, "setuid and more");
            let secret = c"home/a-name-too-long-for-an-inode";
            rustix::fs::chmodat(&root, secret, Mode::RWXU, AtFlags::empty())?;
            assert_eq!(read(secret)?, "secret");
            // Not even root of the container leads the overlay elsewhere.
            let file = open(&root, c"attributes/file");
            for (name, value) in [("redirect", "/etc/shadow"), ("metacopy", "")] {
                let name = format!("user.overlay.{name}");
                // Refused or kept under another name, as the kernel does it.
                let _ = rustix::fs::fsetxattr(
                    &file,
                    name.as_str(),
                    value.as_bytes(),
                    rustix::fs::XattrFlags::empty(),
                );
            }
            assert_eq!(read(c"attributes/file")?, "not shadow");
            Ok(())
        });
        // In another life of the container, too.
        world.inside(&map, || {
            let over = Lower {
                folders: [vec![upper.clone()], lower.folders.clone()].concat(),
                data: lower.data.clone(),
            };
            let root = open(&mounted_at(&over, None)?, c".");
            let mut content = String::new();
            File::from(open(&root, c"attributes/file")).read_to_string(&mut content)?;
            assert_eq!(content, "not shadow");
            Ok(())
        });
        assert_same(&world.seen(&map, &lower), &plain);
        assert_same(&world.seen(&world.base, &world.plain()), &plain);
    }
}

/// Links and names that lead out of a layer lead nowhere.
#[test]
fn a_redirect_stays_beneath_its_layer() {
    let Some(world) = alone(
        "a_redirect_stays_beneath_its_layer",
        &[Builder::default()
            .link(b'2', "etc", "/etc")
            .file("data", b"within")
            .end()],
    ) else {
        return;
    };
    if !world.works() {
        return;
    }
    let map = world.keep_id(1000, 1000);
    let (lower, _) = world.make("tree", &map, Method::Metadata);
    // As nobody can have it who does not write into our store.
    for (number, target) in ["/etc/passwd", "/../../../../../../etc/passwd", "/nothing"]
        .into_iter()
        .enumerate()
    {
        let forged = lower.folders[0].join(format!("forged{number}"));
        world.inside(&world.base, || {
            let file = File::create(&forged)?;
            file.set_len(100)?;
            Ok(tree::redirect(&file, target.as_bytes())?)
        });
        let read = world.inside(&map, || {
            let root = open(&mounted_at(&lower, None)?, c".");
            let name = CString::new(format!("forged{number}")).unwrap();
            Ok(openat(&root, &name, OFlags::RDONLY, Mode::empty()).is_ok())
        });
        assert!(!read, "{target}");
    }
}
