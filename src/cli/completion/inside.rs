//! What is in the image or container of the line: users, paths, programs. Read in the
//! layers as they lie there; what is mounted over them is not seen.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::line::Line;
use super::store::{Described, Store};
use crate::id::DiffId;
use crate::image::accounts::Accounts;
use crate::image::merged::{Entry, Merged};
use crate::settings;
use crate::{container, image};

/// More than this nobody looks through.
const LIMIT: usize = 2000;

/// Where programs are looked for: the PATH that images mostly have.
const PROGRAMS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The layers of what `name` names, the lowest first, what a container wrote last.
fn layers(store: &Store, name: &str, is_container: bool) -> Option<Vec<PathBuf>> {
    let folder = |id: &DiffId| store.storage.layer(id).join("diff");
    if !is_container {
        let image = image::find(&store.storage, name).ok()?;
        return Some(image.layers.iter().map(folder).collect());
    }
    let found = container::find(&store.storage, name).ok()?;
    let mut layers: Vec<PathBuf> = found.record.image.layers.iter().map(folder).collect();
    let upper = store.storage.container(&found.record.id).join("upper");
    layers.extend(Some(upper).filter(|upper| upper.is_dir()));
    Some(layers)
}

/// Whether the first operand of the line is a container.
fn is_container(line: &Line) -> bool {
    !matches!(line.command, "run" | "create")
}

fn on_line(line: &Line) -> Option<Vec<PathBuf>> {
    layers(line.store()?, line.operands.first()?, is_container(line))
}

/// Users by name, with their ids; a group follows after `:`, by its number.
pub fn users(line: &Line, typed: &str) -> Vec<Described> {
    if typed.contains(':') {
        return Vec::new();
    }
    let Some(layers) = on_line(line) else {
        let Some(settings) = line.settings() else {
            return Vec::new();
        };
        let you = settings::user_name(settings.uid).unwrap_or_default();
        return vec![
            (format!("{}:{}", settings.uid, settings.gid), you),
            ("root".to_owned(), String::new()),
        ];
    };
    let accounts = Accounts::in_layers(&layers).unwrap_or_default();
    let mut users: Vec<Described> = accounts
        .names()
        .map(|(name, uid)| (name.to_owned(), uid.to_string()))
        .collect();
    users.sort();
    users
}

/// What begins with the path `typed` in the line's container or image.
pub fn paths(line: &Line, typed: &str) -> Vec<Described> {
    if !typed.is_empty() && !typed.starts_with('/') {
        return Vec::new();
    }
    match on_line(line) {
        Some(layers) => beneath(&layers, typed),
        // What every image has.
        None if typed.len() <= 1 => vec![("/".to_owned(), String::new())],
        None => Vec::new(),
    }
}

/// The same in the container `name`.
pub fn of_container(line: &Line, name: &str, typed: &str) -> Vec<Described> {
    let layers = line.store().and_then(|store| layers(store, name, true));
    layers.map(|it| beneath(&it, typed)).unwrap_or_default()
}

fn beneath(layers: &[PathBuf], typed: &str) -> Vec<Described> {
    let (folder, begun) = typed.rsplit_once('/').unwrap_or(("", typed));
    let Ok(root) = Merged::of(layers) else {
        return Vec::new();
    };
    let wanted = |name: &OsStr| {
        let name = name.to_str().filter(|name| name.starts_with(begun));
        name.is_some_and(|name| !name.starts_with('.') || begun.starts_with('.'))
    };
    let found = root.list(Path::new(folder), wanted).unwrap_or_default();
    let names = found
        .into_iter()
        .filter_map(|(name, kind)| Some((name.into_string().ok()?, kind)));
    let paths = names.take(LIMIT).map(|(name, kind)| {
        let path = format!("{folder}/{name}");
        let is_folder = match kind {
            Entry::File => false,
            Entry::Folder => true,
            Entry::Link => root.is_folder(Path::new(&path)),
        };
        let slash = if is_folder { "/" } else { "" };
        (format!("{path}{slash}"), String::new())
    });
    paths.collect()
}

/// Programs of the line's image or container, or the path of one.
pub fn programs(line: &Line, typed: &str) -> Vec<Described> {
    if typed.starts_with('/') {
        return paths(line, typed);
    }
    let Some(root) = on_line(line).and_then(|it| Merged::of(&it).ok()) else {
        return Vec::new();
    };
    let mut names: BTreeSet<String> = BTreeSet::new();
    for folder in PROGRAMS {
        let wanted = |name: &OsStr| name.to_str().is_some_and(|it| it.starts_with(typed));
        let found = root.list(Path::new(folder), wanted).unwrap_or_default();
        let programs = found.into_iter().filter(|(_, kind)| *kind != Entry::Folder);
        names.extend(programs.filter_map(|(name, _)| name.into_string().ok()));
    }
    let words = names.into_iter().take(LIMIT);
    words.map(|name| (name, String::new())).collect()
}

/// What of this machine begins with the path `typed`.
pub fn host_paths(typed: &str) -> Vec<Described> {
    let (folder, begun) = match typed.rfind('/') {
        Some(at) => typed.split_at(at + 1),
        None => ("", typed),
    };
    let here = Path::new(if folder.is_empty() { "." } else { folder });
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(here).into_iter().flatten().flatten() {
        if let Ok(name) = entry.file_name().into_string()
            && name.starts_with(begun)
            && (!name.starts_with('.') || begun.starts_with('.'))
        {
            let slash = if entry.path().is_dir() { "/" } else { "" };
            paths.push((format!("{folder}{name}{slash}"), String::new()));
        }
    }
    paths.sort();
    paths.truncate(LIMIT);
    paths
}

/// Programs of this machine.
pub fn host_programs(typed: &str) -> Vec<Described> {
    if typed.contains('/') {
        return Vec::new();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for folder in std::env::split_paths(&path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if let Ok(name) = entry.file_name().into_string()
                && name.starts_with(typed)
            {
                names.insert(name);
            }
        }
    }
    let words = names.into_iter().take(LIMIT);
    words.map(|name| (name, String::new())).collect()
}
