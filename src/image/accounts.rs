//! Who a user is, by the passwd and group files of an image: in its layers as they
//! lie in the store (`USER`), in a rootfs that is mounted (`--user`, `--group-add`).
//!
//! The files belong to a stranger: they are opened beneath the root they lie in, a
//! FIFO or device in their place is refused, and they are read to a limit.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::merged::Merged;
use crate::error::{Context, Error, Kind, Result};
use crate::settings::HostUser;
use crate::sys::file::open_in_root;
use crate::userns::IdMap;

/// The most of a passwd or group file that is read.
const LIMIT: u64 = 16 << 20;

/// Who the container's process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// In no order, none twice; `gid` is among them if a user was named at all, as
    /// with Podman.
    pub additional_gids: Vec<u32>,
    /// Of its line in passwd; `/` where there is no passwd, none if it has no line.
    pub home: Option<String>,
    /// Its name in passwd, if it is there.
    pub name: Option<String>,
}

impl User {
    /// Leaves out the additional groups that `map` has no id for and gives them
    /// back: an image's group file may name any, and setgroups(2) refuses those.
    pub fn keep_mapped(&mut self, map: &IdMap) -> Vec<u32> {
        let (kept, left) = std::mem::take(&mut self.additional_gids)
            .into_iter()
            .partition(|gid| map.gid_outside(*gid).is_some());
        self.additional_gids = kept;
        left
    }
}

/// The ids of an image's `USER` in its layers, the lowest first; none if it has no
/// such user or group. Empty is root.
pub fn ids(user: &str, layers: &[PathBuf]) -> Option<(u32, u32)> {
    if user.is_empty() {
        return Some((0, 0));
    }
    let found = Accounts::in_layers(layers).ok()?.resolve(user, &[]).ok()?;
    Some((found.uid, found.gid))
}

/// The text of a root's passwd and group files, as far as they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    pub passwd: Option<String>,
    pub group: Option<String>,
}

impl Accounts {
    /// Those beneath `rootfs`.
    pub fn in_root(rootfs: BorrowedFd<'_>) -> Result<Self> {
        let read = |path: &str| -> Result<Option<String>> {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            match open_in_root(rootfs, Path::new(path), flags) {
                Ok(file) => read_regular(file, path).map(Some),
                Err(error) if is_missing(&error) => Ok(None),
                Err(error) => Err(error).tried(|| format!("open /{path} of the container")),
            }
        };
        Ok(Self {
            passwd: read("etc/passwd")?,
            group: read("etc/group")?,
        })
    }

    /// Those that an overlay of `layers`, the lowest first, would show.
    pub fn in_layers(layers: &[PathBuf]) -> Result<Self> {
        let root = Merged::of(layers).tried(|| "open the layers of the image")?;
        let read = |path: &str| -> Result<Option<String>> {
            match (root.open(Path::new(path))).tried(|| format!("open /{path} of the image"))? {
                Some(file) => read_regular(file, path).map(Some),
                None => Ok(None),
            }
        };
        Ok(Self {
            passwd: read("etc/passwd")?,
            group: read("etc/group")?,
        })
    }

    /// With a file mounted over /etc/passwd or /etc/group instead of the root's own.
    pub fn with_mounted(mut self, destination: &Path, source: &Path) -> Result<Self> {
        let place = match destination.to_str() {
            Some("/etc/passwd") => &mut self.passwd,
            Some("/etc/group") => &mut self.group,
            _ => return Ok(self),
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open(source, flags, Mode::empty())
            .tried(|| format!("open {}", source.display()))?;
        *place = Some(read_regular(file, &source.display().to_string())?);
        Ok(self)
    }

    /// Who `user` is: empty, `NAME`, `UID`, `NAME:GROUP`, `UID:GID`…
    pub fn resolve(&self, user: &str, groups: &[String]) -> Result<User> {
        let (user_part, group_part) = split(user);
        let number = integer(user_part);
        let found = self.users().find(|entry| match (user_part, number) {
            ("", _) => entry.uid == 0,
            (_, Some(number)) => i64::from(entry.uid) == number,
            (name, None) => entry.name == name,
        });
        let mut resolved = match (found, number) {
            (Some(entry), _) => User {
                uid: entry.uid,
                gid: entry.gid,
                additional_gids: Vec::new(),
                home: Some(match entry.home {
                    "" => "/".to_owned(),
                    home => home.to_owned(),
                }),
                name: Some(entry.name.to_owned()),
            },
            (None, None) if !user_part.is_empty() => {
                return Err(no_entry("user", user_part, "passwd"));
            }
            (None, number) => User {
                uid: in_range(number.unwrap_or(0))?,
                gid: 0,
                additional_gids: Vec::new(),
                home: self.passwd.is_none().then(|| "/".to_owned()),
                name: None,
            },
        };
        if !group_part.is_empty() {
            resolved.gid = self.gid(group_part)?;
        }
        let mut gids = Vec::new();
        if !user.is_empty() {
            gids.push(resolved.gid);
        }
        for group in groups {
            gids.push(self.gid(group)?);
        }
        // A group that is named takes the place of all the user belongs to.
        if !user.contains(':')
            && let Some(name) = &resolved.name
        {
            let is_member =
                |group: &Group<'_>| group.members.split(',').any(|member| member == name);
            gids.extend(self.groups().filter(is_member).map(|group| group.gid));
        }
        gids.sort_unstable();
        gids.dedup();
        resolved.additional_gids = gids;
        Ok(resolved)
    }

    /// Whose files become that a build makes for `user`: as with Podman and Docker a
    /// number alone is the group's too, whatever the files say of that user.
    pub fn owner(&self, user: &str) -> Result<(u32, u32)> {
        let found = self.resolve(user, &[])?;
        match split(user) {
            (number, "") if integer(number).is_some() => Ok((found.uid, found.uid)),
            _ => Ok((found.uid, found.gid)),
        }
    }

    /// The lines that Podman adds: for users of the host's that are asked for, and for
    /// a user or group given by number that the files do not know, so that programs
    /// find a name and a home.
    pub fn missing(&self, wanted: &Entries<'_>) -> Result<Missing> {
        let mut passwd = String::new();
        let mut group = String::new();
        for user in &wanted.host_users {
            passwd += &self.line_of(user, wanted);
        }
        let added = wanted.caller.as_ref();
        if let Some((user, of_caller)) = added {
            passwd += &self.line_of(user, wanted);
            let HostGroup { name, gid } = of_caller;
            let is_there = |it: Group<'_>| it.name == name || it.gid == *gid;
            if !self.groups().any(is_there) {
                group += &format!("{name}:x:{gid}:{}\n", user.name);
            }
        }
        let (user_part, group_part) = split(wanted.user);
        let uid: Option<u32> = user_part.parse().ok().filter(|_| is_digits(user_part));
        let unknown = uid.filter(|uid| {
            !self.users().any(|entry| entry.uid == *uid)
                && added.is_none_or(|(user, _)| user.uid != *uid)
        });
        let gid = match group_part {
            "" => 0,
            group => self.gid(group)?,
        };
        if let Some(uid) = unknown {
            passwd += &match (wanted.host_user)(uid) {
                Some(user) if !self.users().any(|entry| entry.name == user.name) => {
                    let user = HostUser { gid, ..user };
                    wanted.line(&user.name, uid, gid, &user.about, &wanted.home_of(&user))
                }
                _ => {
                    let home = fit(wanted.workdir).unwrap_or("/");
                    wanted.line(&uid.to_string(), uid, gid, "container user", home)
                }
            };
        }
        let by_number = is_digits(group_part) || (group_part.is_empty() && unknown.is_some());
        let is_known = self.groups().any(|it| it.gid == gid)
            || added.is_some_and(|(_, of_caller)| of_caller.gid == gid);
        if by_number && !is_known {
            let member = fit(user_part).filter(|it| !it.contains(',')).unwrap_or("");
            group += &match wanted.group_entry {
                // What Podman fills in: the number alone.
                Some(entry) => end_line(
                    entry
                        .replace("$GROUPNAME", "")
                        .replace("$GID", &gid.to_string())
                        .replace("$USERLIST", ""),
                ),
                None => format!("{gid}:x:{gid}:{member}\n"),
            };
        }
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Missing {
            passwd: some(passwd),
            group: some(group),
        })
    }

    /// The line of a user of the host's, empty if the files have one of that name or id.
    fn line_of(&self, user: &HostUser, wanted: &Entries<'_>) -> String {
        let is_there = |it: Entry<'_>| it.name == user.name || it.uid == user.uid;
        if self.users().any(is_there) {
            return String::new();
        }
        wanted.line(
            &user.name,
            user.uid,
            user.gid,
            &user.about,
            &wanted.home_of(user),
        )
    }

    /// The highest id that the files name, but for nobody's.
    pub fn highest_id(&self) -> u32 {
        const NOBODY: u32 = 65_534;
        let users = self.users().flat_map(|entry| [entry.uid, entry.gid]);
        let ids = users.chain(self.groups().map(|group| group.gid));
        ids.filter(|id| *id != NOBODY).max().unwrap_or(0)
    }

    /// The files with these lines at their ends.
    #[must_use]
    pub fn with(&self, missing: &Missing) -> Self {
        let join = |text: &Option<String>, line: &Option<String>| match line {
            None => text.clone(),
            Some(line) => {
                let mut text = text.clone().unwrap_or_default();
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                Some(text + line)
            }
        };
        Self {
            passwd: join(&self.passwd, &missing.passwd),
            group: join(&self.group, &missing.group),
        }
    }

    /// The number of a group given by name or number.
    fn gid(&self, text: &str) -> Result<u32> {
        let number = integer(text);
        let found = self.groups().find(|group| match number {
            Some(number) => i64::from(group.gid) == number,
            None => group.name == text,
        });
        match (found, number) {
            (Some(group), _) => Ok(group.gid),
            (None, Some(number)) => in_range(number),
            (None, None) => Err(no_entry("group", text, "group")),
        }
    }

    /// Names and ids of the users there are.
    pub fn names(&self) -> impl Iterator<Item = (&str, u32)> {
        self.users().map(|entry| (entry.name, entry.uid))
    }

    fn users(&self) -> impl Iterator<Item = Entry<'_>> {
        self.passwd
            .as_deref()
            .unwrap_or_default()
            .lines()
            .filter_map(|line| {
                let mut parts = line.trim().split(':');
                let name = parts.next()?;
                let uid = parts.nth(1)?.parse().ok()?;
                let gid = parts.next()?.parse().ok()?;
                let home = parts.nth(1).unwrap_or_default();
                Some(Entry {
                    name,
                    uid,
                    gid,
                    home,
                })
            })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.group
            .as_deref()
            .unwrap_or_default()
            .lines()
            .filter_map(|line| {
                let mut parts = line.trim().split(':');
                let name = parts.next()?;
                let gid = parts.nth(1)?.parse().ok()?;
                let members = parts.next().unwrap_or_default();
                Some(Group { name, gid, members })
            })
    }
}

/// What may be added to passwd and group.
pub struct Entries<'a> {
    /// As `--user` has it.
    pub user: &'a str,
    pub workdir: &'a str,
    /// Where something is mounted in the container.
    pub mounted: Vec<&'a Path>,
    /// `--hostuser`
    pub host_users: Vec<HostUser>,
    /// The caller and their group, with `keep-id`.
    pub caller: Option<(HostUser, HostGroup)>,
    /// The host's user of an id.
    pub host_user: &'a dyn Fn(u32) -> Option<HostUser>,
    pub passwd_entry: Option<&'a str>,
    pub group_entry: Option<&'a str>,
}

/// A group of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostGroup {
    pub name: String,
    pub gid: u32,
}

impl Entries<'_> {
    fn line(&self, name: &str, uid: u32, gid: u32, about: &str, home: &str) -> String {
        match self.passwd_entry {
            None => format!("{name}:*:{uid}:{gid}:{about}:{home}:/bin/sh\n"),
            Some(entry) => end_line(
                entry
                    .replace("$USERNAME", name)
                    .replace("$UID", &uid.to_string())
                    .replace("$GID", &gid.to_string())
                    .replace("$NAME", about)
                    .replace("$HOME", home),
            ),
        }
    }

    /// The user's home, if it or a folder above it is mounted; else the working folder.
    fn home_of(&self, user: &HostUser) -> String {
        let mut above = Path::new(&user.home).ancestors();
        let is_mounted = above.any(|dir| dir != Path::new("/") && self.mounted.contains(&dir));
        let home = if is_mounted { &user.home } else { self.workdir };
        fit(home).unwrap_or("/").to_owned()
    }
}

/// `text` if a field of passwd has room for it.
fn fit(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.contains([':', '\n'])).then_some(text)
}

fn end_line(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Lines to add to passwd and group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    pub passwd: Option<String>,
    pub group: Option<String>,
}

impl Missing {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes them at the ends of the files beneath `rootfs`, which are made where
    /// there are none.
    pub fn append(&self, rootfs: BorrowedFd<'_>) -> Result<()> {
        for (path, line) in [("etc/passwd", &self.passwd), ("etc/group", &self.group)] {
            if let Some(line) = line {
                append(rootfs, Path::new(path), line)
                    .tried(|| format!("add to /{path} of the container"))?;
            }
        }
        Ok(())
    }
}

fn append(rootfs: BorrowedFd<'_>, path: &Path, line: &str) -> Result<()> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY;
    let (file, is_new) = match open_in_root(rootfs, path, flags) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            match rustix::fs::mkdirat(rootfs, "etc", Mode::from(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            (open_in_root(rootfs, path, flags | OFlags::CREATE)?, true)
        }
        result => (result?, false),
    };
    let mut file = regular(file)?;
    if is_new {
        rustix::fs::fchmod(&file, Mode::from(0o644))?;
    }
    let mut last = [b'\n'];
    let length = file.metadata()?.len();
    if length > 0 {
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut last, length - 1)?;
    }
    let line = match last {
        [b'\n'] => line.to_owned(),
        _ => format!("\n{line}"),
    };
    Ok(file.write_all(line.as_bytes())?)
}

/// A line of passwd(5). Lines whose numbers cannot be read are passed over.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn split(user: &str) -> (&str, &str) {
    user.split_once(':').unwrap_or((user, ""))
}

/// As Go's Atoi, which `--user` goes through: a sign is allowed.
fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn in_range(number: i64) -> Result<u32> {
    match u32::try_from(number) {
        Ok(id) if id <= i32::MAX as u32 => Ok(id),
        _ => Err(Error::new(
            Kind::CannotInvoke,
            "uids and gids must be in range 0-2147483647",
        )),
    }
}

/// Podman's words, and its exit code 126.
fn no_entry(what: &str, name: &str, file: &str) -> Error {
    Error::new(
        Kind::CannotInvoke,
        format!("unable to find {what} {name}: no matching entries in {file} file"),
    )
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

fn regular(file: OwnedFd) -> Result<File> {
    let found = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
        Ok(file.into())
    } else {
        Err(Error::other("not a regular file"))
    }
}

fn read_regular(file: OwnedFd, path: &str) -> Result<String> {
    let tried = || format!("read {path}");
    let mut bytes = Vec::new();
    regular(file)
        .tried(tried)?
        .take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .tried(tried)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::other(format!("larger than {LIMIT} bytes")).tried(tried()));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::file::open_dir;

    fn accounts() -> Accounts {
        Accounts {
            passwd: Some(
                "root:x:0:0:root:/root:/bin/sh\n# a comment\n+::::::\nbob:x:1000:100:Bob:/home/bob:/bin/sh\nnohome:x:1001:100::\nbad:x:y:z::/:"
                    .into(),
            ),
            group: Some(
                "root:x:0:\nwheel:x:10:root,bob\naudio:x:29:bob\nhuge:x:70000:bob\nusers:x:100:"
                    .into(),
            ),
        }
    }

    /// As Podman 5.8 answers on the same two files.
    #[test]
    fn users_resolve_as_with_podman() {
        for (user, uid, gid, gids, home) in [
            ("", 0, 0, &[10][..], Some("/root")),
            ("0", 0, 0, &[0, 10], Some("/root")),
            ("root", 0, 0, &[0, 10], Some("/root")),
            ("bob", 1000, 100, &[10, 29, 100, 70000], Some("/home/bob")),
            ("1000", 1000, 100, &[10, 29, 100, 70000], Some("/home/bob")),
            ("bob:audio", 1000, 29, &[29], Some("/home/bob")),
            ("bob:29", 1000, 29, &[29], Some("/home/bob")),
            ("bob:", 1000, 100, &[100], Some("/home/bob")),
            ("1000:wheel", 1000, 10, &[10], Some("/home/bob")),
            ("1234", 1234, 0, &[0], None),
            ("01234", 1234, 0, &[0], None),
            ("+5", 5, 0, &[0], None),
            ("5:", 5, 0, &[0], None),
            ("1234:5678", 1234, 5678, &[5678], None),
            (":5", 0, 5, &[5], Some("/root")),
            ("nohome", 1001, 100, &[100], Some("/")),
        ] {
            let found = accounts().resolve(user, &[]).unwrap();
            assert_eq!((found.uid, found.gid), (uid, gid), "{user}");
            assert_eq!(found.additional_gids, gids, "{user}");
            assert_eq!(found.home.as_deref(), home, "{user}");
        }
        let groups = ["audio".to_owned(), "77".to_owned(), "77".to_owned()];
        let found = accounts().resolve("bob:100", &groups).unwrap();
        assert_eq!(found.additional_gids, [29, 77, 100]);
        assert_eq!(found.name.as_deref(), Some("bob"));
    }

    #[test]
    fn what_is_not_there_is_said_in_podmans_words() {
        let range = "uids and gids must be in range 0-2147483647";
        for (user, groups, words) in [
            (
                "nosuchuser",
                &[][..],
                "unable to find user nosuchuser: no matching entries in passwd file",
            ),
            (
                "nosuchuser:0",
                &[],
                "unable to find user nosuchuser: no matching entries in passwd file",
            ),
            (
                " ",
                &[],
                "unable to find user  : no matching entries in passwd file",
            ),
            (
                "bad",
                &[],
                "unable to find user bad: no matching entries in passwd file",
            ),
            (
                "0:nosuch",
                &[],
                "unable to find group nosuch: no matching entries in group file",
            ),
            (
                "1:2:3",
                &[],
                "unable to find group 2:3: no matching entries in group file",
            ),
            ("-1", &[], range),
            ("4294967296", &[], range),
            ("2147483648", &[], range),
            ("0:2147483648", &[], range),
            (
                "",
                &["tty"],
                "unable to find group tty: no matching entries in group file",
            ),
        ] {
            let groups: Vec<String> = groups.iter().map(|it| String::from(*it)).collect();
            let error = accounts().resolve(user, &groups).unwrap_err();
            assert_eq!(error.to_string(), words, "{user}");
            assert_eq!(error.exit_code(), 126);
        }
    }

    #[test]
    fn an_image_without_the_files_has_numbers_only() {
        let none = Accounts::default();
        let found = none.resolve("1234:5", &[]).unwrap();
        assert_eq!(
            (found.uid, found.gid, found.home),
            (1234, 5, Some("/".into()))
        );
        assert_eq!(none.resolve("", &[]).unwrap().additional_gids, [0u32; 0]);
        assert!(none.resolve("root", &[]).is_err());
    }

    #[test]
    fn unknown_numbers_get_podmans_lines() {
        let line = |text: &str| Some(format!("{text}\n"));
        for (user, workdir, passwd, group) in [
            (
                "1234",
                "/",
                line("1234:*:1234:0:container user:/:/bin/sh"),
                None,
            ),
            (
                "01234",
                "/tmp",
                line("1234:*:1234:0:container user:/tmp:/bin/sh"),
                None,
            ),
            (
                "1234:5678",
                "",
                line("1234:*:1234:5678:container user:/:/bin/sh"),
                line("5678:x:5678:1234"),
            ),
            (
                "1234:audio",
                "/",
                line("1234:*:1234:29:container user:/:/bin/sh"),
                None,
            ),
            (":5", "/", None, line("5:x:5:")),
            ("0:88", "/", None, line("88:x:88:0")),
            ("bob:88", "/", None, line("88:x:88:bob")),
            ("bob", "/", None, None),
            ("1000", "/", None, None),
            ("", "/", None, None),
            ("7", "/a:b", line("7:*:7:0:container user:/:/bin/sh"), None),
        ] {
            let missing = missing(&accounts(), user, workdir);
            assert_eq!((missing.passwd, missing.group), (passwd, group), "{user}");
        }
        let none = Accounts::default();
        let added = missing(&none, "1234", "/");
        assert_eq!(added.group.as_deref(), Some("0:x:0:1234\n"));
        let after = none.with(&added);
        assert_eq!(missing(&after, "1234", "/"), Missing::default());
        let found = after.resolve("1234", &[]).unwrap();
        assert_eq!(found.name.as_deref(), Some("1234"));
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("coracle-user-{}", crate::id::random_hex::<8>());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        }

        fn special(&self, path: &str, kind: FileType) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, Mode::from(0o644), 0).unwrap();
        }

        fn open(&self) -> OwnedFd {
            open_dir(&self.0).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// What is added for `user` alone.
    fn missing(accounts: &Accounts, user: &str, workdir: &str) -> Missing {
        accounts.missing(&entries(user, workdir)).unwrap()
    }

    fn entries<'a>(user: &'a str, workdir: &'a str) -> Entries<'a> {
        Entries {
            user,
            workdir,
            mounted: Vec::new(),
            host_users: Vec::new(),
            caller: None,
            host_user: &|_| None,
            passwd_entry: None,
            group_entry: None,
        }
    }

    fn sailor() -> HostUser {
        HostUser {
            name: "sailor".into(),
            uid: 1001,
            gid: 1001,
            about: "Sailor".into(),
            home: "/home/sailor".into(),
        }
    }

    /// As Podman 5.8 wrote them for each.
    #[test]
    fn users_of_the_host_are_added() {
        let root = Accounts {
            passwd: Some("root:x:0:0:root:/root:/bin/sh\n".into()),
            group: Some("root:x:0:\n".into()),
        };
        let caller = HostGroup {
            name: "sailor".into(),
            gid: 1001,
        };
        let plain = entries("1001:1001", "/w");
        let kept = Entries {
            caller: Some((sailor(), caller.clone())),
            ..plain
        };
        let added = root.missing(&kept).unwrap();
        let line = "sailor:*:1001:1001:Sailor:/w:/bin/sh\n";
        assert_eq!(added.passwd.as_deref(), Some(line));
        assert_eq!(added.group.as_deref(), Some("sailor:x:1001:sailor\n"));
        // Another user beside, and a home that is mounted.
        let beside = Entries {
            user: "77:88",
            mounted: vec![Path::new("/home")],
            ..kept
        };
        let added = root.missing(&beside).unwrap();
        assert_eq!(
            added.passwd.as_deref(),
            Some(
                "sailor:*:1001:1001:Sailor:/home/sailor:/bin/sh\n77:*:77:88:container user:/w:/bin/sh\n"
            )
        );
        let groups = "sailor:x:1001:sailor\n88:x:88:77\n";
        assert_eq!(added.group.as_deref(), Some(groups));
        // By number, of whom the host knows the name; by --hostuser, but not twice.
        let known = Entries {
            host_user: &|uid| (uid == 1001).then(sailor),
            ..entries("1001", "/")
        };
        let added = root.missing(&known).unwrap();
        let line = "sailor:*:1001:0:Sailor:/:/bin/sh\n";
        assert_eq!(added.passwd.as_deref(), Some(line));
        let asked = Entries {
            host_users: vec![sailor()],
            ..entries("", "/")
        };
        let added = root.missing(&asked).unwrap();
        let line = "sailor:*:1001:1001:Sailor:/:/bin/sh\n";
        assert_eq!(added.passwd.as_deref(), Some(line));
        let after = root.with(&added);
        assert!(after.missing(&asked).unwrap().is_empty());
        // Lines of the user's own.
        let own = Entries {
            passwd_entry: Some("$USERNAME:x:$UID:$GID:$NAME:$HOME:/bin/zsh"),
            group_entry: Some("$GROUPNAME:y:$GID:$USERLIST"),
            ..entries("77:88", "/")
        };
        let added = root.missing(&own).unwrap();
        let line = "77:x:77:88:container user:/:/bin/zsh\n";
        assert_eq!(added.passwd.as_deref(), Some(line));
        assert_eq!(added.group.as_deref(), Some(":y:88:\n"));
    }

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nann:x:5:6::/ann:\n";

    #[test]
    fn a_root_is_never_left() {
        let outside = Folder::new();
        outside.write("passwd", "evil:x:66:66::/:");
        let root = Folder::new();
        root.link("etc/passwd", "/elsewhere/passwd");
        root.write("elsewhere/passwd", PASSWD);
        let up = format!("../../../..{}/passwd", outside.0.display());
        root.link("etc/group", &up);
        let read = Accounts::in_root(root.open().as_fd()).unwrap();
        assert_eq!(read.passwd.as_deref(), Some(PASSWD));
        assert_eq!(read.group, None);
        let read = Accounts::in_layers(std::slice::from_ref(&root.0)).unwrap();
        assert_eq!(read.passwd.as_deref(), Some(PASSWD));
        assert_eq!(read.group, None);
    }

    #[test]
    fn a_fifo_is_refused_at_once() {
        let root = Folder::new();
        root.special("etc/passwd", FileType::Fifo);
        for error in [
            Accounts::in_root(root.open().as_fd()).unwrap_err(),
            Accounts::in_layers(std::slice::from_ref(&root.0)).unwrap_err(),
            Missing {
                passwd: Some("x\n".into()),
                group: None,
            }
            .append(root.open().as_fd())
            .unwrap_err(),
        ] {
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
        let root = Folder::new();
        std::fs::create_dir_all(root.0.join("etc/passwd")).unwrap();
        assert!(Accounts::in_root(root.open().as_fd()).is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let root = Folder::new();
        root.write("etc/passwd", "");
        File::options()
            .write(true)
            .open(root.0.join("etc/passwd"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let error = Accounts::in_root(root.open().as_fd()).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }

    #[test]
    fn layers_are_seen_as_an_overlay_shows_them() {
        let (top, middle, low) = (Folder::new(), Folder::new(), Folder::new());
        let layers = [low.0.clone(), middle.0.clone(), top.0.clone()];
        let read = || Accounts::in_layers(&layers).unwrap();
        low.write("etc/passwd", PASSWD);
        low.write("etc/group", "g:x:1:\n");
        assert_eq!(read().passwd.as_deref(), Some(PASSWD));
        // A newer file stands before it, a whiteout hides it.
        middle.write("etc/passwd", "bob:x:7:7::/:\n");
        assert_eq!(read().passwd.as_deref(), Some("bob:x:7:7::/:\n"));
        top.special("etc/group", FileType::CharacterDevice);
        assert_eq!(read().group, None);
        // Links are followed through the layers, whichever they stand in.
        std::fs::remove_file(top.0.join("etc/group")).unwrap();
        top.link("etc/group", "../usr/lib/group");
        low.write("usr/lib/group", "linked:x:2:\n");
        assert_eq!(read().group.as_deref(), Some("linked:x:2:\n"));
        // An opaque folder ends the merge.
        rustix::fs::setxattr(
            middle.0.join("etc"),
            "user.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        std::fs::remove_file(middle.0.join("etc/passwd")).unwrap();
        assert_eq!(read().passwd, None);
        // A folder in place of which a file stands.
        std::fs::remove_dir_all(top.0.join("etc")).unwrap();
        top.write("etc", "");
        assert_eq!(read(), Accounts::default());
        // A loop ends.
        std::fs::remove_file(top.0.join("etc")).unwrap();
        top.link("etc", "etc");
        assert!(Accounts::in_layers(&layers).is_err());
    }

    #[test]
    fn an_images_user_is_resolved_in_its_layers() {
        let (high, low) = (Folder::new(), Folder::new());
        low.write("etc/passwd", "root:x:0:0::/:\nold:x:7:7::/:\n");
        low.write("etc/group", "users:x:100:\n");
        high.link("etc/passwd", "../../../../data/passwd");
        high.write("data/passwd", "root:x:0:0::/:\nme:x:1000:100::/:\n");
        let layers = [low.0.clone(), high.0.clone()];
        for (user, found) in [
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
            assert_eq!(ids(user, &layers), found, "{user}");
        }
        assert_eq!(ids("old", &layers[..1]), Some((7, 7)));
    }

    #[test]
    fn lines_are_added_in_the_root() {
        let root = Folder::new();
        root.write("etc/passwd", "root:x:0:0::/:");
        let added = missing(&accounts(), "1234:5678", "/");
        added.append(root.open().as_fd()).unwrap();
        let after = Accounts::in_root(root.open().as_fd()).unwrap();
        assert_eq!(
            after.passwd.as_deref(),
            Some("root:x:0:0::/:\n1234:*:1234:5678:container user:/:/bin/sh\n")
        );
        assert_eq!(after.group.as_deref(), Some("5678:x:5678:1234\n"));
        assert!(missing(&after, "1234:5678", "/").is_empty());
    }

    #[test]
    fn unmapped_groups_are_left_out() {
        let mut user = accounts().resolve("bob", &[]).unwrap();
        let ids = vec![crate::userns::IdRange {
            inside: 0,
            outside: 100_000,
            count: 65_536,
        }];
        let map = IdMap {
            uids: ids.clone(),
            gids: ids,
        };
        assert_eq!(user.keep_mapped(&map), [70_000]);
        assert_eq!(user.additional_gids, [10, 29, 100]);
    }
}
