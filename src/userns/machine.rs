//! What of the machine lets a user have a user namespace with other ids, and what
//! stands in the way. An obstacle is an error whose hint is the mend: `run` fails
//! with it, doctor shows it.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use crate::error::{Error, Result};
use crate::settings::{Settings, user_name};

/// As many ids as images commonly need.
const ENOUGH: u32 = 65_536;
/// Where subordinate ids begin (login.defs(5), SUB_UID_MIN).
const FIRST: u32 = 100_000;

const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// A range of subordinate ids: the first, and how many.
type Range = (u32, u32);
pub type Ranges = Vec<Range>;

/// This machine, as far as id maps are concerned, for one user.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `/`, but in tests.
    root: PathBuf,
    /// Where programs are looked for.
    path: Vec<PathBuf>,
    uid: u32,
    gid: u32,
    name: Option<String>,
    /// Our own program's file.
    program: PathBuf,
    /// No program that we start gets more rights than we have.
    no_new_privileges: bool,
}

/// Something that is wrong with the subordinate ids.
#[derive(Debug)]
pub struct Fault {
    /// No map can be made of them.
    pub fatal: bool,
    pub error: Error,
}

impl Machine {
    /// This machine, for the user who runs us.
    pub fn here() -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self::for_user(uid, rustix::process::getgid().as_raw())
    }

    /// This machine, for the caller, whatever namespace we are in by now.
    pub fn of(settings: &Settings) -> Self {
        Self::for_user(settings.uid, settings.gid)
    }

    fn for_user(uid: u32, gid: u32) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            root: "/".into(),
            path: places(path),
            uid,
            gid,
            name: user_name(uid),
            program: std::env::current_exe().unwrap_or_else(|_| "/usr/bin/coracle".into()),
            no_new_privileges: rustix::thread::no_new_privs().unwrap_or(false),
        }
    }

    /// The caller's uid and gid.
    pub fn caller(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// The caller's ranges in /etc/subuid and /etc/subgid, in their order.
    pub fn ranges(&self) -> (Ranges, Ranges) {
        (self.own(SUBUID), self.own(SUBGID))
    }

    /// Why no map with other ids than the caller's can be made at all.
    pub fn why_single(&self) -> Option<Error> {
        self.no_ids().or_else(|| self.helpers().err())
    }

    /// That a file gives the caller no ids.
    pub fn no_ids(&self) -> Option<Error> {
        let (uids, gids) = self.ranges();
        let which = match (uids.is_empty(), gids.is_empty()) {
            (false, false) => return None,
            (true, true) => "/etc/subuid and /etc/subgid give",
            (true, false) => "/etc/subuid gives",
            (false, true) => "/etc/subgid gives",
        };
        let unread = match self.names_elsewhere() {
            Some(source) => format!(
                " (those of `subid: {source}` in /etc/nsswitch.conf are not read: `getsubids` shows them)"
            ),
            None => String::new(),
        };
        let mend = self.adding(uids.is_empty(), gids.is_empty());
        Some(Error::other(format!("{which} {} no ids{unread}", self.user())).hint(mend))
    }

    /// What is wrong with the ids that there are.
    pub fn faults(&self) -> Vec<Fault> {
        let mut all = Vec::new();
        for (file, own_id) in [(SUBUID, self.uid), (SUBGID, self.gid)] {
            let own = self.own(file);
            if own.is_empty() {
                continue;
            }
            let mut add = |fatal, message: String, range: Range| {
                let error = Error::other(message).hint(self.replacing(file, range));
                all.push(Fault { fatal, error });
            };
            for (at, &range) in own.iter().enumerate() {
                // The kernel takes no map where an id stands twice (EINVAL).
                if let Some(&other) = own[..at].iter().find(|&&it| overlap(it, range)) {
                    let (one, two) = (shown(other), shown(range));
                    add(
                        true,
                        format!("your ranges {one} and {two} of {file} overlap"),
                        range,
                    );
                } else if overlap(range, (own_id, 1)) {
                    add(
                        true,
                        format!(
                            "your range {} of {file} has your own id {own_id} in it",
                            shown(range)
                        ),
                        range,
                    );
                }
            }
            for &range in &own {
                if let Some((owner, theirs)) = self.others(file, range) {
                    add(
                        false,
                        format!(
                            "your range {} of {file} overlaps {} of {owner}: containers of one can touch files of the other's",
                            shown(range),
                            shown(theirs)
                        ),
                        range,
                    );
                }
            }
            let count: u64 = own.iter().map(|range| u64::from(range.1)).sum();
            if count < ENOUGH.into() {
                let error = Error::other(format!(
                    "{file} gives {} {count} ids, and images may have files of ids up to {}",
                    self.user(),
                    ENOUGH - 1
                ));
                all.push(Fault {
                    fatal: false,
                    error: error.hint(self.adding(file == SUBUID, file == SUBGID)),
                });
            }
        }
        all
    }

    /// newuidmap and newgidmap, if they are there and have their rights.
    pub fn helpers(&self) -> Result<[PathBuf; 2]> {
        let find = |name: &str| self.find(name);
        let (Some(uids), Some(gids)) = (find("newuidmap"), find("newgidmap")) else {
            return Err(Error::other("newuidmap and newgidmap are not installed")
                .hint("as root, `apt install uidmap` (elsewhere the package is shadow-utils)"));
        };
        // capability(7): cap_setuid is 7, cap_setgid 6.
        for (path, bit, word) in [(&uids, 7, "cap_setuid"), (&gids, 6, "cap_setgid")] {
            self.has_rights(path, bit, word)?;
        }
        if self.no_new_privileges {
            return Err(Error::other(
                "newuidmap gets no rights: this process runs with no_new_privs",
            )
            .hint("run it outside of what set that (`NoNewPrivileges=` of a systemd unit, `--security-opt no-new-privileges` of a container)"));
        }
        Ok([uids, gids])
    }

    fn has_rights(&self, path: &Path, bit: u32, word: &str) -> Result<()> {
        let file = self.within(path);
        let found = file.metadata()?;
        let is_setuid = found.mode() & 0o4000 != 0;
        let shown = path.display();
        let is_roots = is_setuid && found.uid() == 0;
        if !is_roots && !has_capability(&file, bit) {
            let (what, mend) = match is_setuid {
                true => (
                    format!("{shown} is setuid of user {}, not of root", found.uid()),
                    format!("as root, `chown root {shown} && chmod u+s {shown}`"),
                ),
                false => (
                    format!("{shown} is not setuid root and does not have {word}"),
                    format!("as root, `chmod u+s {shown}`"),
                ),
            };
            return Err(Error::other(what).hint(mend));
        }
        let is_ignored = rustix::fs::statvfs(&file)
            .is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOSUID));
        if is_ignored {
            let mount = self.mount_of(path);
            return Err(
                Error::other(format!("{shown} gets no rights: {mount} is mounted nosuid"))
                    .hint(format!("as root, `mount -o remount,suid {mount}`")),
            );
        }
        Ok(())
    }

    /// Why a user may make no user namespace here, or none that is worth something.
    pub fn forbids(&self) -> Option<Error> {
        let sysctl = |name: &str| {
            let text = self.read(Path::new("/proc/sys").join(name))?;
            text.trim().parse::<u64>().ok()
        };
        let set = |line: &str| {
            let file = "/etc/sysctl.d/60-coracle.conf";
            format!("as root, `echo {line} > {file} && sysctl -p {file}`")
        };
        if sysctl("user/max_user_namespaces") == Some(0) {
            return Some(
                Error::other("user namespaces are switched off (user.max_user_namespaces is 0)")
                    .hint(set("user.max_user_namespaces=28633")),
            );
        }
        if sysctl("kernel/unprivileged_userns_clone") == Some(0) {
            return Some(
                Error::other(
                    "user namespaces are forbidden to users (kernel.unprivileged_userns_clone is 0)",
                )
                .hint(set("kernel.unprivileged_userns_clone=1")),
            );
        }
        if sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1) && self.is_unconfined()
        {
            return Some(
                Error::other(
                    "AppArmor lets only programs with a profile make user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
                )
                .hint(self.profile()),
            );
        }
        if self.status("Seccomp:").is_some_and(|mode| mode == "2") {
            return Some(
                Error::other("this process is under a seccomp filter, as in a container, that may forbid user namespaces")
                    .hint("run it outside, or start the container it is in with `--security-opt seccomp=unconfined`"),
            );
        }
        // unshare(2): EPERM in a chroot.
        let mounts = self.read("/proc/self/mountinfo")?;
        (!mounts.is_empty() && !mounts.lines().any(|line| mount_point(line) == Some("/"))).then(
            || {
                Error::other(
                    "this process is in a chroot, where no user namespaces can be made",
                )
                .hint("run it outside, or enter the folder with `pivot_root` (`unshare --root`, `systemd-nspawn`) instead")
            },
        )
    }

    /// Whether no AppArmor profile is about us, where there is AppArmor.
    fn is_unconfined(&self) -> bool {
        let label = self
            .read("/proc/self/attr/apparmor/current")
            .or_else(|| self.read("/proc/self/attr/current"));
        label.is_some_and(|label| label.trim_end_matches(['\0', '\n']) == "unconfined")
    }

    /// How AppArmor is told to let our program make user namespaces.
    fn profile(&self) -> String {
        let program = apparmor_path(&self.program.to_string_lossy());
        let lines = [
            "abi <abi/4.0>,".to_owned(),
            format!("profile coracle {program} flags=(unconfined) {{"),
            "  userns,".to_owned(),
            "}".to_owned(),
        ];
        let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
        let file = "/etc/apparmor.d/coracle";
        format!(
            "as root, `printf '%s\\n' {} > {file} && apparmor_parser -r {file}`",
            lines.join(" ")
        )
    }

    /// The ranges that a file gives the caller.
    fn own(&self, file: &str) -> Ranges {
        let text = self.read(file).unwrap_or_default();
        super::subordinate_ids(&text, self.name.as_deref(), self.uid)
    }

    /// Somebody else to whom ids of `range` belong: by the same file, or for
    /// being a user or group of this machine.
    fn others(&self, file: &str, range: Range) -> Option<(String, Range)> {
        let is_own = |owner: &str| {
            Some(owner) == self.name.as_deref() || owner.parse().is_ok_and(|id: u32| id == self.uid)
        };
        let text = self.read(file).unwrap_or_default();
        let theirs = entries(&text)
            .find(|(owner, theirs)| !is_own(owner) && overlap(*theirs, range))
            .map(|(owner, theirs)| (owner.to_owned(), theirs));
        theirs.or_else(|| {
            let (accounts, own) = match file {
                SUBUID => ("/etc/passwd", self.uid),
                _ => ("/etc/group", self.gid),
            };
            let text = self.read(accounts)?;
            let mut accounts = text.lines().filter_map(|line| {
                let mut parts = line.split(':');
                Some((parts.next()?, parts.nth(1)?.parse::<u32>().ok()?))
            });
            accounts
                .find(|&(_, id)| id != own && overlap((id, 1), range))
                .map(|(name, id)| (name.to_owned(), (id, 1)))
        })
    }

    /// Where nsswitch.conf(5) says subordinate ids are, if not in the files alone.
    fn names_elsewhere(&self) -> Option<String> {
        let text = self.read("/etc/nsswitch.conf")?;
        let sources = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("subid:"))?
            .trim();
        (sources != "files" && !sources.is_empty()).then(|| sources.to_owned())
    }

    /// The caller's name, or number.
    pub fn user(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    /// A range that nobody has.
    fn free(&self) -> Range {
        let files = [SUBUID, SUBGID].map(|file| self.read(file).unwrap_or_default());
        let taken: Vec<Range> = files
            .iter()
            .flat_map(|text| entries(text).map(|(_, range)| range))
            .chain([(self.uid, 1), (self.gid, 1)])
            .collect();
        let mut first = FIRST;
        while let Some(&(start, count)) = taken.iter().find(|&&it| overlap(it, (first, ENOUGH))) {
            match start.checked_add(count) {
                Some(next) if next < u32::MAX - ENOUGH => first = next,
                _ => break,
            }
        }
        (first, ENOUGH)
    }

    /// How root gives the caller more ids.
    pub fn more_ids(&self) -> String {
        self.adding(true, true)
    }

    fn adding(&self, uids: bool, gids: bool) -> String {
        let free = self.free();
        let range = shown(free);
        let user = self.user();
        if !self.is_in_passwd() {
            // usermod knows no users of LDAP and its like.
            let files = match (uids, gids) {
                (true, false) => SUBUID.to_owned(),
                (false, true) => SUBGID.to_owned(),
                _ => format!("{SUBUID} {SUBGID}"),
            };
            return format!(
                "as root, `echo {user}:{}:{} | tee -a {files}`",
                free.0, free.1
            );
        }
        let mut flags = Vec::new();
        if uids {
            flags.push(format!("--add-subuids {range}"));
        }
        if gids {
            flags.push(format!("--add-subgids {range}"));
        }
        format!("as root, `usermod {} {user}`", flags.join(" "))
    }

    /// How root gives the caller other ids than those of `range`.
    fn replacing(&self, file: &str, range: Range) -> String {
        let kind = if file == SUBUID { "subuids" } else { "subgids" };
        let (old, new) = (shown(range), shown(self.free()));
        format!(
            "as root, `usermod --del-{kind} {old} --add-{kind} {new} {}`",
            self.user()
        )
    }

    fn is_in_passwd(&self) -> bool {
        let text = self.read("/etc/passwd").unwrap_or_default();
        text.lines()
            .any(|line| line.split(':').next() == self.name.as_deref())
    }

    /// The program `name`, as a path on the machine.
    fn find(&self, name: &str) -> Option<PathBuf> {
        find_program(&self.path, |path| self.within(path).metadata(), name)
    }

    /// The mount point that `path` is on.
    fn mount_of(&self, path: &Path) -> String {
        let text = self.read("/proc/self/mountinfo").unwrap_or_default();
        let points = text.lines().filter_map(mount_point);
        points
            .filter(|point| path.starts_with(point))
            .max_by_key(|point| point.len())
            .unwrap_or("/")
            .to_owned()
    }

    /// A line of /proc/self/status.
    fn status(&self, key: &str) -> Option<String> {
        let text = self.read("/proc/self/status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().to_owned())
    }

    fn within(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = std::fs::read(self.within(path.as_ref())).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Where `name` is: in PATH, else where distributions put it.
pub fn helper(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_program(&places(path), |path| path.metadata(), name)
}

fn places(path: OsString) -> Vec<PathBuf> {
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/usr/local/bin", "/bin", "/sbin", "/usr/sbin"].map(PathBuf::from))
        .collect()
}

fn find_program(
    places: &[PathBuf],
    look: impl Fn(&Path) -> io::Result<Metadata>,
    name: &str,
) -> Option<PathBuf> {
    let is_program = |found: Metadata| found.is_file() && found.permissions().mode() & 0o111 != 0;
    places
        .iter()
        .map(|dir| dir.join(name))
        .find(|path| look(path).is_ok_and(is_program))
}

/// The lines of subuid(5).
fn entries(text: &str) -> impl Iterator<Item = (&str, Range)> {
    text.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let owner = parts.next()?;
        let range = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (range.1 > 0).then_some((owner, range))
    })
}

fn overlap(one: Range, two: Range) -> bool {
    let end = |range: Range| u64::from(range.0) + u64::from(range.1);
    u64::from(one.0) < end(two) && u64::from(two.0) < end(one)
}

/// `100000-165535`, as usermod(8) takes it.
fn shown((first, count): Range) -> String {
    format!("{first}-{}", u64::from(first) + u64::from(count) - 1)
}

/// Whether the file's capabilities (capabilities(7)) have `bit`, at once in effect.
fn has_capability(file: &Path, bit: u32) -> bool {
    let mut value = [0; 64];
    match rustix::fs::getxattr(file, "security.capability", &mut value[..]) {
        Ok(length) => grants(&value[..length], bit),
        Err(_) => false,
    }
}

/// `struct vfs_cap_data`: a word with the version and the effective flag, the
/// permitted capabilities' first word.
fn grants(value: &[u8], bit: u32) -> bool {
    let word = |at: usize| {
        let bytes = value.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    matches!((word(0), word(4)), (Some(magic), Some(permitted))
        if magic & 1 == 1 && permitted & (1 << bit) != 0)
}

/// The fifth field of a line of mountinfo (proc_pid_mountinfo(5)).
fn mount_point(line: &str) -> Option<&str> {
    line.split(' ').nth(4)
}

/// As AppArmor wants the name of a file (apparmor.d(5)).
fn apparmor_path(path: &str) -> String {
    let mut escaped = String::from("\"");
    for c in path.chars() {
        if "*?[]{}^\"\\".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped.push('"');
    escaped
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of alice's (1000:1000), made of files below a folder of its own.
    struct Made(Machine);

    impl Made {
        fn new(files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir()
                .join(format!("coracle-machine-{}", crate::id::random_hex::<8>()));
            for (path, text) in files {
                let path = root.join(path.trim_start_matches('/'));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(Machine {
                root,
                path: vec!["/usr/bin".into()],
                uid: 1000,
                gid: 1000,
                name: Some("alice".into()),
                program: "/home/alice/bin/coracle".into(),
                no_new_privileges: false,
            })
        }

        fn ids(text: &str) -> Self {
            let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n";
            Self::new(&[
                (SUBUID, text),
                (SUBGID, "alice:100000:65536\n"),
                ("/etc/passwd", passwd),
            ])
        }

        fn mode(self, path: &str, mode: u32) -> Self {
            let file = self.0.within(Path::new(path));
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
            self
        }

        #[track_caller]
        fn faults(&self) -> Vec<(bool, String, String)> {
            let shown = |fault: Fault| {
                let mend = fault.error.hint_line().unwrap().to_owned();
                (fault.fatal, fault.error.to_string(), mend)
            };
            self.0.faults().into_iter().map(shown).collect()
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0.root);
        }
    }

    #[track_caller]
    fn says(error: Option<Error>, message: &str, mend: &str) {
        let error = error.expect("an obstacle");
        assert_eq!(
            (error.to_string().as_str(), error.hint_line()),
            (message, Some(mend))
        );
    }

    #[test]
    fn a_user_without_ids_is_told_of_free_ones() {
        let both = Made::new(&[
            ("/etc/passwd", "alice:x:1000:1000::/:/bin/sh\n"),
            (SUBUID, "bob:100000:65536\n"),
            (SUBGID, "bob:165536:65536\ncarol:231072:1\n"),
        ]);
        says(
            both.0.no_ids(),
            "/etc/subuid and /etc/subgid give alice no ids",
            "as root, `usermod --add-subuids 231073-296608 --add-subgids 231073-296608 alice`",
        );
        let one = Made::new(&[
            ("/etc/passwd", "alice:x:1000:1000::/:/bin/sh\n"),
            (SUBUID, "alice:100000:65536\n"),
        ]);
        says(
            one.0.no_ids(),
            "/etc/subgid gives alice no ids",
            "as root, `usermod --add-subgids 165536-231071 alice`",
        );
        // A user of LDAP's, whose ids the machine may know all the same.
        let ldap = Made::new(&[("/etc/nsswitch.conf", "passwd: files sss\nsubid: sss\n")]);
        says(
            ldap.0.no_ids(),
            "/etc/subuid and /etc/subgid give alice no ids (those of `subid: sss` in /etc/nsswitch.conf are not read: `getsubids` shows them)",
            "as root, `echo alice:100000:65536 | tee -a /etc/subuid /etc/subgid`",
        );
        assert!(Made::ids("alice:100000:65536\n").0.no_ids().is_none());
        assert!(Made::ids("1000:100000:65536\n").0.no_ids().is_none());
    }

    #[test]
    fn ranges_that_overlap_or_are_too_few() {
        assert_eq!(Made::ids("alice:100000:65536\n").faults(), []);
        let others = "bob:165535:10\nalice:100000:65536\n";
        assert_eq!(
            Made::ids(others).faults(),
            [(
                false,
                "your range 100000-165535 of /etc/subuid overlaps 165535-165544 of bob: containers of one can touch files of the other's".into(),
                "as root, `usermod --del-subuids 100000-165535 --add-subuids 165545-231080 alice`".into(),
            )]
        );
        let twice = "alice:100000:65536\n1000:100001:1\n";
        assert_eq!(
            Made::ids(twice).faults(),
            [(
                true,
                "your ranges 100000-165535 and 100001-100001 of /etc/subuid overlap".into(),
                "as root, `usermod --del-subuids 100001-100001 --add-subuids 165536-231071 alice`"
                    .into(),
            )]
        );
        let own = Made::ids("alice:900:70000\n").faults();
        assert_eq!(own.len(), 1, "{own:?}");
        assert!(own[0].0 && own[0].1.ends_with("has your own id 1000 in it"));
        // A range that begins among the machine's own users.
        let users = Made::ids("alice:0:900\nalice:200000:65536\n").faults();
        assert_eq!(
            users[0].1,
            "your range 0-899 of /etc/subuid overlaps 0-0 of root: containers of one can touch files of the other's"
        );
        let few = Made::ids("alice:100000:1000\n").faults();
        assert_eq!(
            few,
            [(
                false,
                "/etc/subuid gives alice 1000 ids, and images may have files of ids up to 65535"
                    .into(),
                "as root, `usermod --add-subuids 165536-231071 alice`".into(),
            )]
        );
    }

    #[test]
    fn the_helpers_must_be_there_and_have_rights() {
        says(
            Made::new(&[]).0.helpers().err(),
            "newuidmap and newgidmap are not installed",
            "as root, `apt install uidmap` (elsewhere the package is shadow-utils)",
        );
        let files = [("/usr/bin/newuidmap", ""), ("/usr/bin/newgidmap", "")];
        let made = || {
            Made::new(&files)
                .mode("/usr/bin/newuidmap", 0o755)
                .mode("/usr/bin/newgidmap", 0o755)
        };
        says(
            made().0.helpers().err(),
            "/usr/bin/newuidmap is not setuid root and does not have cap_setuid",
            "as root, `chmod u+s /usr/bin/newuidmap`",
        );
        let uid = rustix::process::getuid().as_raw();
        if uid != 0 {
            says(
                made().mode("/usr/bin/newuidmap", 0o4755).0.helpers().err(),
                &format!("/usr/bin/newuidmap is setuid of user {uid}, not of root"),
                "as root, `chown root /usr/bin/newuidmap && chmod u+s /usr/bin/newuidmap`",
            );
        }
        // One without the other is as good as none.
        let one = Made::new(&files[..1]).mode("/usr/bin/newuidmap", 0o4755);
        assert!(one.0.helpers().is_err());
        // This machine's own, where it has them.
        let mut here = Machine::here();
        if here.helpers().is_ok() {
            here.no_new_privileges = true;
            let error = here.helpers().unwrap_err().to_string();
            assert!(error.contains("no_new_privs"), "{error}");
        }
    }

    #[test]
    fn capabilities_of_a_file() {
        // `setcap cap_setuid=ep`, `cap_setuid=p`, `cap_setgid=ep`, with a root id.
        let value = |magic: u32, permitted: u32| {
            let mut value = magic.to_le_bytes().to_vec();
            value.extend(permitted.to_le_bytes());
            value.extend([0; 12]);
            value
        };
        assert!(grants(&value(0x0200_0001, 1 << 7), 7));
        assert!(grants(&value(0x0300_0001, 1 << 7), 7));
        assert!(!grants(&value(0x0200_0000, 1 << 7), 7));
        assert!(!grants(&value(0x0200_0001, 1 << 6), 7));
        assert!(!grants(b"\x01\0\0", 7));
    }

    #[test]
    fn what_forbids_user_namespaces_is_named_with_its_mend() {
        let max = Made::new(&[("/proc/sys/user/max_user_namespaces", "0\n")]);
        says(
            max.0.forbids(),
            "user namespaces are switched off (user.max_user_namespaces is 0)",
            "as root, `echo user.max_user_namespaces=28633 > /etc/sysctl.d/60-coracle.conf && sysctl -p /etc/sysctl.d/60-coracle.conf`",
        );
        let clone = Made::new(&[
            ("/proc/sys/user/max_user_namespaces", "100\n"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0\n"),
        ]);
        says(
            clone.0.forbids(),
            "user namespaces are forbidden to users (kernel.unprivileged_userns_clone is 0)",
            "as root, `echo kernel.unprivileged_userns_clone=1 > /etc/sysctl.d/60-coracle.conf && sysctl -p /etc/sysctl.d/60-coracle.conf`",
        );
        let restrict = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
        let label = "/proc/self/attr/apparmor/current";
        let apparmor = Made::new(&[(restrict, "1\n"), (label, "unconfined\n")]);
        says(
            apparmor.0.forbids(),
            "AppArmor lets only programs with a profile make user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
            "as root, `printf '%s\\n' 'abi <abi/4.0>,' 'profile coracle \"/home/alice/bin/coracle\" flags=(unconfined) {' '  userns,' '}' > /etc/apparmor.d/coracle && apparmor_parser -r /etc/apparmor.d/coracle`",
        );
        // With the profile, or without the restriction, it is no obstacle.
        let mounts = (
            "/proc/self/mountinfo",
            "22 1 8:1 / / rw - ext4 /dev/sda rw\n",
        );
        for files in [
            [(restrict, "1\n"), (label, "coracle (unconfined)\n"), mounts],
            [(restrict, "0\n"), (label, "unconfined\n"), mounts],
        ] {
            assert!(Made::new(&files).0.forbids().is_none());
        }
        let filtered = Made::new(&[("/proc/self/status", "Name:\tx\nSeccomp:\t2\n"), mounts]);
        let error = filtered.0.forbids().unwrap().to_string();
        assert!(error.contains("seccomp filter"), "{error}");
        let chroot = Made::new(&[(
            "/proc/self/mountinfo",
            "22 1 8:1 / /proc rw - proc proc rw\n",
        )]);
        let error = chroot.0.forbids().unwrap().to_string();
        assert!(error.contains("chroot"), "{error}");
    }

    #[test]
    fn odd_paths_are_escaped_for_apparmor_and_the_shell() {
        assert_eq!(apparmor_path("/home/a b/{x}*"), "\"/home/a b/\\{x\\}\\*\"");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
