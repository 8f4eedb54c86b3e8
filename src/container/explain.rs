//! Who is who in a container, and what its user may do with a path, and which rule
//! says no.
//!
//! What may be done the kernel says ([`view`](super::view)); here is only told why,
//! from what is known of each folder on the way. Where that does not make a no, it is
//! said that somebody else did.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags};
use serde::Serialize;

use super::options::{Mount, MountKind};
use super::view::{self, End, Mounted, View, Who};
use super::{Container, Record, spec};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::userns::{IdMap, IdRange};
use crate::volume::{self, Backing};

/// What `explain` says.
#[derive(Debug, Serialize)]
#[serde(rename = "explain.Report", rename_all = "PascalCase")]
pub struct Explained {
    pub id: String,
    pub name: String,
    pub image: String,
    pub state: &'static str,
    pub user: Owner,
    /// Why the map is not the default, where nobody asked for it.
    pub map_reason: String,
    pub uid_map: Vec<Range>,
    pub gid_map: Vec<Range>,
    pub mounts: Vec<MountRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathReport>,
}

/// A user and a group, in the container and on the host. A number that is not there
/// has no id on that side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename = "explain.Owner", rename_all = "PascalCase")]
pub struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub user: String,
    pub group: String,
    pub host_uid: Option<u32>,
    pub host_gid: Option<u32>,
    pub host_user: String,
    pub host_group: String,
}

/// A line of the id map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename = "explain.Range", rename_all = "PascalCase")]
pub struct Range {
    pub container_id: u32,
    pub host_id: u32,
    pub size: u32,
    /// Of those in the range that have one.
    pub container_names: Vec<String>,
    pub host_names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename = "explain.Mount", rename_all = "PascalCase")]
pub struct MountRow {
    pub destination: PathBuf,
    /// A folder of the host's, the name of a volume or image, a file system.
    pub source: String,
    /// `bind`, `volume`, `image`, `tmpfs`, `overlay`…
    #[serde(rename = "Type")]
    pub kind: String,
    pub options: Vec<String>,
}

/// What is at a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename = "explain.Path", rename_all = "PascalCase")]
pub struct PathReport {
    /// As the container sees it, links followed.
    pub path: PathBuf,
    /// Where it is on the host, if it is mounted from there.
    pub host_path: Option<PathBuf>,
    /// `file`, `folder`…
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// Octal.
    pub mode: String,
    pub owner: Owner,
    /// The mount point it lies beneath.
    pub mount: PathBuf,
    pub read: Access,
    pub write: Access,
    /// To search it, if it is a folder.
    pub execute: Access,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// Whether something is allowed, and if not, which rule says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename = "explain.Access", rename_all = "PascalCase")]
pub struct Access {
    pub allowed: bool,
    /// `mode`, `map`, `read-only`, `noexec`, `immutable`, `acl`, `selinux`, `other`.
    pub rule: &'static str,
    pub why: String,
}

/// Explains `container`, and `path` in it: as the container sees it, or, where it
/// sees none, as the host does, if it is mounted from there.
pub fn explain(
    engine: &Engine,
    container: &Container,
    user: Option<&str>,
    path: Option<&Path>,
) -> Result<Explained> {
    let record = &container.record;
    let map = record
        .map
        .clone()
        .unwrap_or_else(|| engine.default_map().clone());
    let look = |path: Option<&Path>| view::look(engine, container, &map, user, path);
    let (mut view, mut fds) = look(path)?;
    let mut notes = Vec::new();
    if let (Some(asked), Some(End::Missing(_))) = (path, view.walk.as_ref().map(|walk| &walk.end))
        && let Some(inside) = from_host(&engine.storage, record, asked)?
    {
        (view, fds) = look(Some(&inside))?;
        notes.push(format!(
            "{} on the host is {} in the container",
            safe(asked),
            safe(&inside)
        ));
    }
    let names = Names::new(&view, &map);
    let mounts = rows(record, &view.mounts);
    let path = match path {
        Some(asked) => Some(report(
            engine, container, asked, &view, &fds, &names, notes,
        )?),
        None => None,
    };
    let ranges = |ranges: &[IdRange], inside: &BTreeMap<u32, String>, outside: &HostNames| {
        let ranges = ranges.iter();
        ranges.map(|it| range(it, inside, outside)).collect()
    };
    Ok(Explained {
        id: record.id.to_string(),
        name: record.name.to_string(),
        image: record.image.name.clone(),
        state: container.status.state.word(),
        user: names.inside(view.user.uid, view.user.gid),
        map_reason: record.map_reason.clone().unwrap_or_default(),
        uid_map: ranges(&map.uids, &view.users, &names.host_users),
        gid_map: ranges(&map.gids, &view.groups, &names.host_groups),
        mounts,
        path,
    })
}

/// Who has which id, on both sides.
struct Names<'a> {
    map: &'a IdMap,
    users: &'a BTreeMap<u32, String>,
    groups: &'a BTreeMap<u32, String>,
    host_users: HostNames,
    host_groups: HostNames,
}

type HostNames = BTreeMap<u32, String>;

impl<'a> Names<'a> {
    fn new(view: &'a View, map: &'a IdMap) -> Self {
        let read = |path: &str| {
            let bytes = std::fs::read(path).unwrap_or_default();
            view::names(Some(&String::from_utf8_lossy(&bytes)))
        };
        let mut host_users = read("/etc/passwd");
        let own = rustix::process::getuid().as_raw();
        if let Some(name) = crate::settings::user_name(own) {
            host_users.entry(own).or_insert(name);
        }
        Self {
            map,
            users: &view.users,
            groups: &view.groups,
            host_users,
            host_groups: read("/etc/group"),
        }
    }

    /// Of ids inside.
    fn inside(&self, uid: u32, gid: u32) -> Owner {
        let (host_uid, host_gid) = (self.map.uid_outside(uid), self.map.gid_outside(gid));
        self.owner((Some(uid), Some(gid)), (host_uid, host_gid))
    }

    /// Of the host's ids.
    fn outside(&self, uid: u32, gid: u32) -> Owner {
        let inside = (self.map.uid_inside(uid), self.map.gid_inside(gid));
        self.owner(inside, (Some(uid), Some(gid)))
    }

    fn owner(&self, inside: Ids, outside: Ids) -> Owner {
        let name = |names: &BTreeMap<u32, String>, id: Option<u32>| {
            id.and_then(|id| names.get(&id).cloned())
                .unwrap_or_default()
        };
        Owner {
            uid: inside.0,
            gid: inside.1,
            user: name(self.users, inside.0),
            group: name(self.groups, inside.1),
            host_uid: outside.0,
            host_gid: outside.1,
            host_user: name(&self.host_users, outside.0),
            host_group: name(&self.host_groups, outside.1),
        }
    }
}

type Ids = (Option<u32>, Option<u32>);

fn range(it: &IdRange, inside: &BTreeMap<u32, String>, outside: &HostNames) -> Range {
    let named = |names: &BTreeMap<u32, String>, first: u32| -> Vec<String> {
        let last = first.saturating_add(it.count - 1);
        names
            .range(first..=last)
            .map(|(_, name)| name.clone())
            .collect()
    };
    Range {
        container_id: it.inside,
        host_id: it.outside,
        size: it.count,
        container_names: named(inside, it.inside),
        host_names: named(outside, it.outside),
    }
}

/// The mounts, each with what the user said of it.
fn rows(record: &Record, mounts: &[Mounted]) -> Vec<MountRow> {
    let wanted = spec::mounts(&record.options);
    let mut all: Vec<MountRow> = Vec::new();
    for mount in mounts {
        let given = wanted.iter().find(|it| it.destination == mount.destination);
        let (kind, source) = match given {
            Some(given) => said(given),
            None if mount.destination == Path::new("/") => ("overlay", record.image.name.clone()),
            None if mount.root != Path::new("/") => ("bind", mount.root.display().to_string()),
            None => (mount.kind.as_str(), mount.source.clone()),
        };
        let mut options = mount.flags.clone();
        // A file system that is read-only makes its mount so.
        if mount.options.iter().any(|it| it == "ro") && options.first().is_some_and(|it| it == "rw")
        {
            options[0] = "ro".to_owned();
        }
        all.push(MountRow {
            destination: mount.destination.clone(),
            source,
            kind: kind.to_owned(),
            options,
        });
    }
    // Those that are not mounted yet: what they are filled with is the image's.
    for given in &wanted {
        if all.iter().all(|it| it.destination != given.destination) {
            let (kind, source) = said(given);
            let options = match given.read_only {
                true => "ro",
                false => "rw",
            };
            all.push(MountRow {
                destination: given.destination.clone(),
                source,
                kind: kind.to_owned(),
                options: vec![options.to_owned()],
            });
        }
    }
    all
}

/// The type and source of a mount, in the user's words.
fn said(mount: &Mount) -> (&'static str, String) {
    match &mount.kind {
        MountKind::Bind { source } => ("bind", source.display().to_string()),
        MountKind::Volume { name, .. } => ("volume", name.to_string()),
        MountKind::Tmpfs { .. } => ("tmpfs", "tmpfs".to_owned()),
        MountKind::Ramfs { .. } => ("ramfs", "ramfs".to_owned()),
        MountKind::Devpts { .. } => ("devpts", "devpts".to_owned()),
        MountKind::Overlay { source, .. } => ("overlay", source.display().to_string()),
        MountKind::Image { name, .. } => ("image", name.clone()),
    }
}

/// The folder or file of the host's that a mount shows, if there is one.
fn host_source(storage: &Storage, mount: &Mount) -> Result<Option<PathBuf>> {
    let base = match &mount.kind {
        MountKind::Bind { source } => source.clone(),
        MountKind::Volume { name, .. } => {
            let Some(volume) = volume::load(storage, name)? else {
                return Ok(None);
            };
            match volume.backing(&volume::mountpoint(storage, name)) {
                Backing::Directory(path) | Backing::Bind(path, _) => path,
                Backing::Made(..) | Backing::Image(_) => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(match &mount.subpath {
        Some(subpath) => base.join(subpath.strip_prefix("/").unwrap_or(subpath)),
        None => base,
    }))
}

/// Where the container sees the host's `path`, if one mount alone shows it.
fn from_host(storage: &Storage, record: &Record, path: &Path) -> Result<Option<PathBuf>> {
    let absolute = std::path::absolute(path);
    let Ok(absolute) = absolute.and_then(|path| path.symlink_metadata().map(|_| path)) else {
        return Ok(None);
    };
    let real = absolute.canonicalize().ok();
    let mut found: Vec<PathBuf> = Vec::new();
    for mount in &record.options.mounts {
        let Some(source) = host_source(storage, mount)? else {
            continue;
        };
        let sources = [Some(source.clone()), source.canonicalize().ok()];
        let within = [Some(&absolute), real.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|path| {
                let mut sources = sources.iter().flatten();
                sources.find_map(|source| path.strip_prefix(source).ok())
            });
        if let Some(within) = within {
            let inside = match within.as_os_str().is_empty() {
                true => mount.destination.clone(),
                false => mount.destination.join(within),
            };
            found.push(inside);
        }
    }
    found.dedup();
    Ok(match found.len() {
        1 => found.pop(),
        _ => None,
    })
}

/// A folder on the way, or what is at its end, as the host sees it.
struct Seen {
    path: PathBuf,
    stat: Statx,
    owner: Owner,
    has_list: bool,
    label: Option<String>,
}

impl Seen {
    fn of(fd: &OwnedFd, path: &Path, names: &Names<'_>) -> Result<Self> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statx(fd, "", flags, StatxFlags::BASIC_STATS)?;
        // A descriptor that only names has no attributes; its place in /proc has.
        let place = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let attribute = |name: &str| {
            let mut value = [0; 256];
            let length = rustix::fs::getxattr(&*place, name, &mut value[..]).ok()?;
            Some(String::from_utf8_lossy(&value[..length]).into_owned())
        };
        Ok(Self {
            path: path.to_owned(),
            owner: names.outside(stat.stx_uid, stat.stx_gid),
            has_list: attribute("system.posix_acl_access").is_some(),
            label: attribute("security.selinux"),
            stat,
        })
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }

    fn mode(&self) -> u32 {
        u32::from(self.stat.stx_mode) & 0o7777
    }
}

/// What is wanted of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Read,
    Write,
    Execute,
}

impl Want {
    fn bit(self) -> u32 {
        match self {
            Self::Read => 4,
            Self::Write => 2,
            Self::Execute => 1,
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn report(
    engine: &Engine,
    container: &Container,
    asked: &Path,
    view: &View,
    fds: &[OwnedFd],
    names: &Names<'_>,
    mut notes: Vec<String>,
) -> Result<PathReport> {
    let record = &container.record;
    let no_answer = || Error::other("the process in the container's namespaces gave no answer");
    let walk = view.walk.as_ref().ok_or_else(no_answer)?;
    let mut steps = Vec::new();
    for (step, fd) in walk.steps.iter().zip(fds) {
        steps.push((Seen::of(fd, &step.path, names)?, step.refused));
    }
    let judge = Judge {
        who: &view.user,
        is_selinux: is_selinux_enforcing(),
    };
    // The first folder on the way that is closed to the user closes all beyond.
    let closed = steps.iter().find_map(|(seen, refused)| {
        let errno = (*refused)?;
        let (rule, why) = judge.why(seen, Want::Execute, errno, None, record);
        let path = safe(&seen.path);
        Some((rule, format!("{path} may not be searched: {why}")))
    });
    let (path, mount, refused) = match &walk.end {
        End::There {
            path,
            mount,
            refused,
        } => (path, *mount, refused),
        End::Missing(name) => {
            let last = steps.last().map_or(Path::new("/"), |(seen, _)| &seen.path);
            return Err(Error::not_found(format!(
                "{} is not in container {}: {} has no {}",
                safe(asked),
                record.name,
                safe(last),
                safe(Path::new(name))
            )));
        }
        End::Shut => {
            let last = steps.last().map_or(Path::new("/"), |(seen, _)| &seen.path);
            return Err(Error::other(format!(
                "{} cannot be looked into, even with all rights in container {}",
                safe(last),
                record.name
            )));
        }
        End::MadeAtStart(place) => {
            return Err(Error::other(format!(
                "{} is made anew each time container {} starts",
                safe(place),
                record.name
            ))
            .hint("start it, and ask again"));
        }
    };
    let target = fds.get(walk.steps.len()).ok_or_else(no_answer)?;
    let seen = Seen::of(target, path, names)?;
    let mounted = view.mounts.iter().find(|it| it.id == mount);
    let access = |at: usize, want: Want| match (&closed, refused[at]) {
        (Some((rule, why)), _) => Access {
            allowed: false,
            rule,
            why: why.clone(),
        },
        (None, Some(errno)) => {
            let (rule, why) = judge.why(&seen, want, errno, mounted, record);
            Access {
                allowed: false,
                rule,
                why,
            }
        }
        (None, None) => Access {
            allowed: true,
            ..Access::default()
        },
    };
    for (link, to) in &walk.links {
        notes.push(format!("{} leads to {}", safe(link), safe(to)));
    }
    let mount = mounted.map_or_else(|| "/".into(), |it| it.destination.clone());
    let given = spec::mounts(&record.options)
        .into_iter()
        .filter(|it| path.starts_with(&it.destination))
        .max_by_key(|it| it.destination.components().count());
    let mut host_path = None;
    if let Some(given) = given {
        if given.destination == mount {
            let beneath = path.strip_prefix(&mount).unwrap_or(Path::new(""));
            host_path = host_source(&engine.storage, &given)?.map(|source| {
                match beneath.as_os_str().is_empty() {
                    true => source,
                    false => source.join(beneath),
                }
            });
        } else if !container.status.is_up() {
            notes.push(format!(
                "{} is filled with what the image has there when the container starts",
                safe(&given.destination)
            ));
        }
    }
    Ok(PathReport {
        path: path.clone(),
        host_path,
        kind: word(seen.kind()),
        mode: format!("{:04o}", seen.mode()),
        owner: seen.owner.clone(),
        mount,
        read: access(0, Want::Read),
        write: access(1, Want::Write),
        execute: access(2, Want::Execute),
        notes,
    })
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Unknown => "unknown",
    }
}

/// Tells why the kernel said no.
struct Judge<'a> {
    who: &'a Who,
    is_selinux: bool,
}

impl Judge<'_> {
    /// The rule by which `want` of `seen` was refused with `errno`, and its words.
    fn why(
        &self,
        seen: &Seen,
        want: Want,
        errno: i32,
        mounted: Option<&Mounted>,
        record: &Record,
    ) -> (&'static str, String) {
        if errno == libc::EROFS {
            return ("read-only", read_only(mounted, record));
        }
        let is_immutable = seen
            .stat
            .stx_attributes
            .contains(StatxAttributes::IMMUTABLE);
        if want == Want::Write && is_immutable {
            return (
                "immutable",
                "it is immutable (root may `chattr -i` it)".to_owned(),
            );
        }
        let is_file = seen.kind() == FileType::RegularFile;
        let noexec = mounted.filter(|it| it.flags.iter().any(|flag| flag == "noexec"));
        if let (Want::Execute, true, Some(mount)) = (want, is_file, noexec) {
            let place = safe(&mount.destination);
            return ("noexec", format!("{place} is mounted noexec"));
        }
        if let Some(no) = self.by_mode(seen, want) {
            return no;
        }
        if seen.has_list {
            return ("acl", "its access list says so (getfacl)".to_owned());
        }
        match (&seen.label, self.is_selinux) {
            (Some(label), true) => (
                "selinux",
                format!(
                    "SELinux: what the container runs as may not touch {}",
                    label.trim_end_matches('\0')
                ),
            ),
            _ => (
                "other",
                format!(
                    "neither mode nor mount, but the kernel says no: {}",
                    std::io::Error::from_raw_os_error(errno)
                ),
            ),
        }
    }

    /// What mode and map make of it (path_resolution(7), user_namespaces(7)).
    fn by_mode(&self, seen: &Seen, want: Want) -> Option<(&'static str, String)> {
        let (mode, owner) = (seen.mode(), &seen.owner);
        let is_mapped = owner.uid.is_some() && owner.gid.is_some();
        let is_folder = seen.kind() == FileType::Directory;
        let nobody_executes = want == Want::Execute && !is_folder && mode & 0o111 == 0;
        let shown = format!("mode {mode:04o} ({})", letters(seen.kind(), mode));
        if is_mapped && !nobody_executes {
            let reads = want == Want::Read || (want == Want::Execute && is_folder);
            if self.who.overrides || (self.who.reads && reads) {
                return None;
            }
        }
        if nobody_executes {
            return Some(("mode", format!("{shown} lets nobody execute it")));
        }
        let is_members = |gid: u32| gid == self.who.gid || self.who.groups.contains(&gid);
        let (class, bits) = if owner.uid == Some(self.who.uid) {
            ("its owner", mode >> 6)
        } else if owner.gid.is_some_and(is_members) {
            ("its group", mode >> 3)
        } else {
            ("others", mode)
        };
        // With an access list the group's part is not the group's.
        if bits & want.bit() != 0 || (seen.has_list && class != "its owner") {
            return None;
        }
        let rest = triplet(bits);
        Some(match (owner.uid, owner.gid) {
            (None, _) | (_, None) if class == "others" => {
                let (what, id, name) = match owner.uid {
                    None => ("owner", owner.host_uid, &owner.host_user),
                    Some(_) => ("group", owner.host_gid, &owner.host_group),
                };
                (
                    "map",
                    format!(
                        "its {what} on the host, {}, has no id in the container, where it is nobody's: of {shown} others' part counts, {rest}",
                        with_name(id.unwrap_or_default(), name)
                    ),
                )
            }
            _ => ("mode", format!("{shown} gives {class} {rest}")),
        })
    }
}

/// What is read-only.
fn read_only(mounted: Option<&Mounted>, record: &Record) -> String {
    let Some(mount) = mounted else {
        return "it is mounted read-only".to_owned();
    };
    let place = safe(&mount.destination);
    let is_mount = mount.flags.iter().any(|flag| flag == "ro");
    let wanted = spec::mounts(&record.options);
    let given = wanted.iter().find(|it| it.destination == mount.destination);
    if mount.destination == Path::new("/") && record.options.read_only {
        return "the container's root is read-only (--read-only)".to_owned();
    }
    match given {
        Some(given) if given.read_only || given.options.iter().any(|it| it == "ro") => {
            format!("{place} is mounted read-only (option ro)")
        }
        Some(_) if !is_mount => {
            format!("the file system that is mounted on {place} is read-only")
        }
        None if spec::is_protected(&mount.destination) => {
            format!(
                "{place} is read-only in every container (--security-opt unmask={place} lifts that)"
            )
        }
        _ => format!("{place} is mounted read-only"),
    }
}

/// SELinux on, and not only watching.
fn is_selinux_enforcing() -> bool {
    std::fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1")
}

/// A path as a terminal may show it: a container may name files as it likes.
pub fn safe(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// `1000 (alice)`
pub fn with_name(id: u32, name: &str) -> String {
    match name {
        "" => id.to_string(),
        name => format!("{id} ({name})"),
    }
}

/// As `ls -l` writes it.
fn letters(kind: FileType, mode: u32) -> String {
    let first = match kind {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => '-',
    };
    let mut text = String::from(first);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let part = triplet(mode >> shift);
        text.push_str(&part[..2]);
        text.push(match (mode & special != 0, &part[2..]) {
            (false, "x") => 'x',
            (false, _) => '-',
            (true, "x") => letter,
            (true, _) => letter.to_ascii_uppercase(),
        });
    }
    text
}

/// `rw-`
fn triplet(bits: u32) -> String {
    [(4, 'r'), (2, 'w'), (1, 'x')]
        .into_iter()
        .map(|(bit, letter)| if bits & bit != 0 { letter } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::sample;

    fn seen(uid: u32, gid: u32, mode: u16, map: &IdMap) -> Seen {
        let users = BTreeMap::from([(0, "root".to_owned()), (33, "www".to_owned())]);
        let names = Names {
            map,
            users: &users,
            groups: &users,
            host_users: BTreeMap::from([(1000, "alice".to_owned())]),
            host_groups: BTreeMap::new(),
        };
        let file = std::fs::File::open("/dev/null").unwrap();
        let flags = AtFlags::EMPTY_PATH;
        let mut stat = rustix::fs::statx(&file, "", flags, StatxFlags::BASIC_STATS).unwrap();
        stat.stx_mode = mode;
        Seen {
            path: "/x".into(),
            owner: names.outside(uid, gid),
            stat,
            has_list: false,
            label: None,
        }
    }

    fn map() -> IdMap {
        let ids = vec![
            IdRange {
                inside: 0,
                outside: 1000,
                count: 1,
            },
            IdRange {
                inside: 1,
                outside: 100_000,
                count: 65_536,
            },
        ];
        IdMap {
            uids: ids.clone(),
            gids: ids,
        }
    }

    fn who(uid: u32, groups: &[u32]) -> Who {
        Who {
            uid,
            gid: uid,
            groups: groups.to_vec(),
            overrides: uid == 0,
            reads: false,
        }
    }

    const FILE: u16 = 0o100_000;
    const FOLDER: u16 = 0o040_000;

    #[test]
    fn the_rule_that_says_no_is_named() {
        let map = map();
        let record = sample::record(sample::options());
        for (uid, gid, mode, who, want, rule, words) in [
            // The caller's own file, seen by another user of the container.
            (
                1000,
                1000,
                FILE | 0o600,
                who(33, &[]),
                Want::Read,
                "mode",
                "mode 0600 (-rw-------) gives others ---",
            ),
            (
                100_032,
                0,
                FILE | 0o440,
                who(33, &[]),
                Want::Write,
                "mode",
                "mode 0440 (-r--r-----) gives its owner r--",
            ),
            (
                1000,
                100_049,
                FILE | 0o640,
                who(33, &[50]),
                Want::Write,
                "mode",
                "mode 0640 (-rw-r-----) gives its group r--",
            ),
            // Root of the container over what is mapped, and what is not.
            (
                1000,
                1000,
                FILE | 0o644,
                who(0, &[]),
                Want::Execute,
                "mode",
                "mode 0644 (-rw-r--r--) lets nobody execute it",
            ),
            (
                0,
                0,
                FILE | 0o644,
                who(0, &[]),
                Want::Write,
                "map",
                "its owner on the host, 0, has no id in the container, where it is nobody's: of mode 0644 (-rw-r--r--) others' part counts, r--",
            ),
            (
                1001,
                1001,
                FOLDER | 0o700,
                who(33, &[]),
                Want::Execute,
                "map",
                "1001",
            ),
            // What mode allows, and the kernel does not.
            (
                1000,
                1000,
                FILE | 0o666,
                who(33, &[]),
                Want::Read,
                "other",
                "the kernel says no: Permission denied",
            ),
        ] {
            let judge = Judge {
                who: &who,
                is_selinux: false,
            };
            let (found, why) = judge.why(
                &seen(uid, gid, mode, &map),
                want,
                libc::EACCES,
                None,
                &record,
            );
            assert_eq!(found, rule, "{why}");
            assert!(why.contains(words), "{why:?} {words:?}");
        }
    }

    #[test]
    fn what_is_no_mode_is_named_too() {
        let map = map();
        let record = sample::record(sample::options());
        let user = who(33, &[]);
        let judge = Judge {
            who: &user,
            is_selinux: true,
        };
        let why = |seen: &Seen, want, errno, mount: Option<&Mounted>| {
            judge.why(seen, want, errno, mount, &record)
        };
        let mut open = seen(1000, 1000, FILE | 0o777, &map);
        let mut mount = Mounted {
            id: 1,
            destination: "/data".into(),
            root: "/".into(),
            kind: "ext4".into(),
            source: "/dev/x".into(),
            flags: vec!["ro".into(), "noexec".into()],
            options: vec!["rw".into()],
        };
        let no = why(&open, Want::Write, libc::EROFS, Some(&mount));
        assert_eq!(no, ("read-only", "/data is mounted read-only".to_owned()));
        let no = why(&open, Want::Execute, libc::EACCES, Some(&mount));
        assert_eq!(no, ("noexec", "/data is mounted noexec".to_owned()));
        mount.destination = "/proc/sys".into();
        let no = why(&open, Want::Write, libc::EROFS, Some(&mount));
        assert!(no.1.contains("--security-opt unmask=/proc/sys"), "{}", no.1);
        open.label = Some("unconfined_u:object_r:user_home_t:s0\0".into());
        let no = why(&open, Want::Read, libc::EACCES, None);
        assert_eq!(no.0, "selinux");
        assert!(no.1.ends_with("user_home_t:s0"), "{}", no.1);
        open.has_list = true;
        assert_eq!(why(&open, Want::Read, libc::EACCES, None).0, "acl");
        open.stat.stx_attributes |= StatxAttributes::IMMUTABLE;
        assert_eq!(why(&open, Want::Write, libc::EPERM, None).0, "immutable");
    }

    #[test]
    fn modes_as_ls_writes_them() {
        for (kind, mode, text) in [
            (FileType::Directory, 0o1777, "drwxrwxrwt"),
            (FileType::RegularFile, 0o4755, "-rwsr-xr-x"),
            (FileType::RegularFile, 0o2640, "-rw-r-S---"),
            (FileType::Socket, 0, "s---------"),
        ] {
            assert_eq!(letters(kind, mode), text);
        }
    }

    #[test]
    fn names_stand_beside_the_ranges_they_are_in() {
        let inside = BTreeMap::from([(0, "root".into()), (1, "daemon".into()), (9, "news".into())]);
        let outside = BTreeMap::from([(1000, "alice".to_owned())]);
        let ranges: Vec<Range> = map()
            .uids
            .iter()
            .map(|it| range(it, &inside, &outside))
            .collect();
        assert_eq!(ranges[0].container_names, ["root"]);
        assert_eq!(ranges[0].host_names, ["alice"]);
        assert_eq!(ranges[1].container_names, ["daemon", "news"]);
        assert!(ranges[1].host_names.is_empty());
    }
}
