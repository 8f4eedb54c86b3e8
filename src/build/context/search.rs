//! What COPY and ADD take: the files that a pattern means beneath a root, with what
//! tells whether they are what they were.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use crate::build::context::glob::{Shape, is_pattern, matches};
use crate::build::context::ignore::{Ignore, covers};
use crate::build::context::memory::{Look, Memory, Sum};
use crate::error::{Context, Error, Kind, Result};
use crate::storage::walk::{self, Step, Walk};
use crate::sys::file::open_in_root;

/// One file, folder or link.
#[derive(Debug, Clone)]
pub struct Item {
    /// From the source's own root; empty for the source itself.
    pub path: PathBuf,
    pub stat: Stat,
    /// Of a file's content, or of where a link leads.
    pub sum: Sum,
}

impl Item {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub fn look(&self) -> Look {
        Look::of(&self.stat)
    }
}

/// One thing that a pattern means.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the root, links in it followed.
    pub path: PathBuf,
    /// What it is called where it is put.
    pub name: PathBuf,
    /// With `--parents`, the folders it is put in.
    pub parents: Option<PathBuf>,
    /// A folder's own item is none of them.
    pub items: Vec<Item>,
    pub is_folder: bool,
}

/// How files are looked for.
pub struct Search<'a> {
    pub root: &'a OwnedFd,
    pub ignore: &'a Ignore,
    pub excludes: &'a [String],
    /// `--parents`
    pub parents: bool,
    /// Owners count: they are not the caller's.
    pub owners: bool,
}

/// Files of a folder of the caller's.
pub fn search<'a>(
    root: &'a OwnedFd,
    ignore: &'a Ignore,
    excludes: &'a [String],
    parents: bool,
    owners: bool,
) -> Search<'a> {
    Search {
        root,
        ignore,
        excludes,
        parents,
        owners,
    }
}

impl Search<'_> {
    /// The sources that `pattern` means, in the order of their names. None is an error.
    pub fn find(&self, pattern: &str, memory: &mut Memory<'_>) -> Result<Vec<Source>> {
        let (path, pivot) = relative(pattern);
        let mut left_out = 0;
        let mut found = Vec::new();
        for path in self.expand(&path)? {
            let shown = path.to_string_lossy().into_owned();
            if !shown.is_empty() && self.ignore.has(&shown) && !self.ignore.takes_back() {
                left_out += 1;
                continue;
            }
            match self.source(&path, pivot, memory)? {
                Some(source) => found.push(source),
                None => left_out += 1,
            }
        }
        match found.is_empty() {
            false => Ok(found),
            true if left_out > 0 => Err(Error::usage(format!(
                "no items matching glob {:?} copied ({left_out} filtered out using the ignore file)",
                format!("/{}", path.display()),
            ))),
            true => Err(self.missing(pattern, &path)),
        }
    }

    fn missing(&self, pattern: &str, path: &Path) -> Error {
        let escaping = match Path::new(pattern)
            .components()
            .any(|it| it == Component::ParentDir)
        {
            true => "possible escaping context directory error: ",
            false => "",
        };
        let words = format!(
            "{escaping}copier: stat: \"/{}\": no such file or directory",
            path.display()
        );
        let error = Error::new(Kind::NotFound, words);
        let is_link = rustix::fs::readlinkat(self.root, shown(path), Vec::new());
        match self.near(path) {
            _ if is_link.is_ok() => error.hint("it is a link that leads to nothing within"),
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error,
        }
    }

    /// What is there under a name that is nearly the last of `path`.
    fn near(&self, path: &Path) -> Option<String> {
        let name = path.file_name()?.to_str()?;
        let parent = path.parent()?;
        let folder = open_folder(self.root, parent).ok()?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&folder).ok()?.flatten() {
            let found = entry.file_name().to_str().ok()?;
            if !matches!(found, "." | "..") {
                names.push(found.to_owned());
            }
        }
        let near = crate::id::near(name, names.iter().map(String::as_str))?;
        Some(parent.join(near).display().to_string())
    }

    /// The paths that are there of a pattern, each part of which may be one.
    fn expand(&self, pattern: &Path) -> Result<Vec<PathBuf>> {
        let mut paths = vec![PathBuf::new()];
        for part in pattern.components() {
            let Component::Normal(part) = part else {
                continue;
            };
            let text = part.to_string_lossy();
            let mut next = Vec::new();
            for path in &paths {
                if !is_pattern(&text) {
                    next.push(path.join(part));
                    continue;
                }
                let Ok(folder) = open_folder(self.root, path) else {
                    continue;
                };
                let mut names = Vec::new();
                for entry in rustix::fs::Dir::read_from(&folder)? {
                    let entry = entry?;
                    let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
                    let is_one = name
                        .to_str()
                        .is_some_and(|name| matches(&text, name, Shape::Path));
                    if is_one && name != "." && name != ".." {
                        names.push(name);
                    }
                }
                names.sort();
                next.extend(names.iter().map(|name| path.join(name)));
            }
            paths = next;
        }
        let there = |path: &PathBuf| {
            let path = shown(path);
            open_in_root(self.root, path, OFlags::PATH).is_ok()
        };
        paths.retain(there);
        Ok(paths)
    }

    /// All that lies at `path`; none if all of it is left out.
    fn source(&self, path: &Path, pivot: usize, memory: &mut Memory<'_>) -> Result<Option<Source>> {
        let tried = || format!("copier: stat: \"/{}\"", path.display());
        let opened = open_in_root(self.root, shown(path), OFlags::PATH).tried(tried)?;
        let stat = rustix::fs::fstat(&opened).tried(tried)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let parents = match (self.parents, path.parent()) {
            (true, Some(parent)) => Some(parent.components().skip(pivot).collect()),
            _ => None,
        };
        let mut source = Source {
            path: path.to_owned(),
            name: path.file_name().unwrap_or_default().into(),
            parents,
            items: Vec::new(),
            is_folder,
        };
        if !is_folder {
            if self.is_out(path) {
                return Ok(None);
            }
            source.items.push(self.file(path, &stat, memory)?);
            return Ok(Some(source));
        }
        self.walk(&mut source, memory).tried(tried)?;
        let is_all_out =
            source.items.is_empty() && !path.as_os_str().is_empty() && self.is_out(path);
        Ok((!is_all_out).then_some(source))
    }

    fn file(&self, path: &Path, stat: &Stat, memory: &mut Memory<'_>) -> Result<Item> {
        let sum = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => memory.sum(path.as_os_str().as_bytes(), stat, || {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = open_in_root(self.root, path, flags);
                file.tried(|| format!("open {}", path.display()))
            })?,
            _ => [0; 32],
        };
        Ok(Item {
            path: PathBuf::new(),
            stat: *stat,
            sum,
        })
    }

    fn walk(&self, source: &mut Source, memory: &mut Memory<'_>) -> Result<()> {
        let base = source.path.clone();
        let folder = open_folder(self.root, &base)?;
        let mut walk = Walk::new(folder)?;
        // Folders that are left out, and may hold what is not.
        let mut waiting: Vec<Item> = Vec::new();
        while let Some(step) = walk.step()? {
            let found = match &step {
                Step::Leave => {
                    let depth = walk.path().components().count();
                    waiting.retain(|item| item.path.components().count() < depth.max(1));
                    continue;
                }
                Step::Enter(found) | Step::Other(found) => found,
            };
            let path = walk.path().to_owned();
            let whole = base.join(&path);
            let is_out = self.is_out(&whole);
            let is_folder = matches!(step, Step::Enter(_));
            if is_out && !(is_folder && self.ignore.takes_back()) {
                if is_folder {
                    walk.skip();
                }
                continue;
            }
            let sum = match found.kind() {
                FileType::RegularFile => {
                    memory.sum(whole.as_os_str().as_bytes(), &found.stat, || {
                        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
                        let file = walk::open(walk.folder(), &found.name, flags);
                        file.tried(|| format!("open {}", whole.display()))
                    })?
                }
                FileType::Symlink => {
                    let to = rustix::fs::readlinkat(walk.folder(), &found.name, Vec::new())?;
                    Sha256::digest(to.to_bytes()).into()
                }
                FileType::Socket => continue,
                _ => [0; 32],
            };
            let item = Item {
                path,
                stat: found.stat,
                sum,
            };
            match is_out {
                true => waiting.push(item),
                false => {
                    source.items.append(&mut waiting);
                    source.items.push(item);
                }
            }
        }
        Ok(())
    }

    fn is_out(&self, path: &Path) -> bool {
        let Some(path) = path.to_str() else {
            return false;
        };
        self.ignore.has(path) || self.excludes.iter().any(|it| covers(it, path))
    }

    /// What the sources are, to the last bit that counts for what is made of them.
    pub fn digest(&self, sources: &[Source]) -> Sum {
        let mut all = Sha256::new();
        for source in sources {
            let name = |path: &Path, all: &mut Sha256| {
                let bytes = path.as_os_str().as_bytes();
                all.update((bytes.len() as u64).to_le_bytes());
                all.update(bytes);
            };
            all.update([u8::from(source.is_folder)]);
            if !source.is_folder || self.parents {
                name(&source.name, &mut all);
            }
            name(source.parents.as_deref().unwrap_or(Path::new("")), &mut all);
            all.update((source.items.len() as u64).to_le_bytes());
            for item in &source.items {
                name(&item.path, &mut all);
                all.update(item.stat.st_mode.to_le_bytes());
                if self.owners {
                    all.update(item.stat.st_uid.to_le_bytes());
                    all.update(item.stat.st_gid.to_le_bytes());
                }
                all.update(item.sum);
            }
        }
        all.finalize().into()
    }
}

/// A pattern as a path beneath the root, and how many of its parts stand before a `.` that
/// `--parents` counts from.
fn relative(pattern: &str) -> (PathBuf, usize) {
    let mut parts: Vec<&str> = Vec::new();
    let mut pivot = 0;
    let pieces: Vec<&str> = pattern.split('/').collect();
    for (at, part) in pieces.iter().enumerate() {
        match *part {
            "" => {}
            "." if at > 0 && pivot == 0 => pivot = parts.len(),
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    (parts.iter().collect(), pivot.min(parts.len()))
}

/// A path as openat2(2) takes it.
pub fn shown(path: &Path) -> &Path {
    match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    }
}

/// The folder at `path` beneath `root`, for reading.
pub fn open_folder(root: &OwnedFd, path: &Path) -> std::io::Result<OwnedFd> {
    open_in_root(root, shown(path), OFlags::RDONLY | OFlags::DIRECTORY)
}

/// A path as a pattern that means itself.
pub fn escaped(path: &str) -> String {
    let mut out = String::new();
    for letter in path.chars() {
        if "*?[\\".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}
