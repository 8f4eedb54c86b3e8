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
        let base = userns::default_map(&settings);
        if base.is_single() {
            let must = std::env::var_os("NEEDS").is_some_and(|needs| needs == "all");
            assert!(!must, "no subordinate ids");
            eprintln!("skipped: no subordinate ids");
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
        let staging = self.dir.join("trial-here");
        std::fs::create_dir(&staging).unwrap();
        self.inside(&self.base, || metadata_works(&staging))
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
    Ok(mount::make("overlay", &options, MountAttrFlags::empty())?)
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
        let stat = statat(at, &name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
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
        .file("0", b"a name of the farm")
        .folder("1/")
        .file("1/0", b"another")
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
