//! Whose files are whose: id maps, users and groups, ownership by default.
//!
//! What Podman makes of a flag is recorded in compat/userns.txt; to record it anew,
//! run these tests with `UPDATE=1 PODMAN=1 CORACLE=…/coracle`, a link to podman, as a
//! user whose uid and gid are one number.

use crate::needs;
use crate::world::{World, layer, source};
use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// Flags that are tried with each image.
const FOR_ALL: [&str; 9] = [
    "",
    "--userns=keep-id",
    "--userns=keep-id:uid=200,gid=210",
    "--userns=keep-id:uid=1000,gid=1000",
    "--userns=nomap",
    "--userns=keep-id -u 0",
    "--userns=keep-id -u 77:88",
    "-u {uid}",
    "-u user:88",
];

/// Flags that are tried with the plain image.
const FOR_PLAIN: [&str; 30] = [
    "--userns=keep-id -u user",
    "--userns=keep-id -u {uid}",
    "-u 77",
    "--userns=keep-id --group-add 99",
    "--userns=keep-id -w /home",
    "--userns=keep-id -v ./mine:/home",
    "--userns=keep-id:size=2000",
    "--userns=keep-id:uid=70000",
    "--userns=keep-id:gid=200",
    "--userns=keep-id:uid=0,gid=0",
    "--userns=auto",
    "--userns=auto:size=3000",
    "--userns=auto:uidmapping=10:20:5",
    "--userns=auto -u 3000:4000",
    "--uidmap 0:1:1000",
    "--uidmap 0:0:1000 --gidmap 0:1:1000",
    "--uidmap 0:1:500 --uidmap 1000:0:1",
    "--uidmap +1000:0:1",
    "--uidmap +1000:@{uid}:1",
    "--uidmap u0:0:10 --gidmap g0:1:10",
    "--uidmap u0:0:10",
    "--gidmap g0:0:10",
    "--uidmap 0:0:10 --uidmap +5:20:2",
    "--uidmap +5:20:2 --uidmap +6:30:1",
    "--hostuser {name}",
    "--hostuser {name} -u {name}",
    "--userns=keep-id --passwd-entry '$USERNAME:x:$UID:$GID::$HOME:/bin/zsh'",
    "--passwd-entry '$USERNAME:x:$UID:$GID:$NAME:$HOME:/bin/zsh' -u 77",
    "--group-entry '$GROUPNAME:y:$GID:$USERLIST' -u 77:88",
    "--userns=keep-id --read-only",
];

/// What a container says of itself.
const PROBE: &str = "id; echo \"passwd: $(sed 1,2d /etc/passwd | tr '\\n' ' ')\"; \
     echo \"group: $(sed 1,3d /etc/group | tr '\\n' ' ')\"; \
     echo \"HOME=$HOME in $PWD, owners $(stat -c %u:%g /) $(stat -c %u:%g /home/user) \
     $(stat -c %u:%g /etc/hosts) $(touch /tmp/new; stat -c %u:%g /tmp/new)\"; \
     echo end; read -r end";

/// First id inside, first outside, how many.
type Range = (u64, u64, u64);

fn ranges(text: &str) -> Vec<Range> {
    let number = |text: Option<&str>| text.unwrap().parse().unwrap();
    text.lines()
        .map(|line| {
            let mut parts = line.split_ascii_whitespace();
            (
                number(parts.next()),
                number(parts.next()),
                number(parts.next()),
            )
        })
        .collect()
}

/// `map` with ids as `base` numbers them, and neighbours made one: `0:1:1001 1001:0:1`.
fn relative(map: &[Range], base: &[Range]) -> String {
    let mut parts: Vec<Range> = Vec::new();
    for &(inside, outside, count) in map {
        for &(to, from, length) in base {
            let first = outside.max(from);
            let end = (outside + count).min(from + length);
            if first < end {
                parts.push((inside + first - outside, to + first - from, end - first));
            }
        }
    }
    parts.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for part in parts {
        match merged.last_mut() {
            Some(last) if last.0 + last.2 == part.0 && last.1 + last.2 == part.1 => {
                last.2 += part.2;
            }
            _ => merged.push(part),
        }
    }
    let show = |(inside, outside, count): &Range| format!("{inside}:{outside}:{count}");
    merged.iter().map(show).collect::<Vec<_>>().join(" ")
}

struct Caller {
    uid: u32,
    name: String,
    /// Of users and of groups, as host ids.
    base: [Vec<Range>; 2],
}

impl Caller {
    fn of(world: &World) -> Self {
        let uid = rustix::process::getuid().as_raw();
        let map = |kind: &str| {
            let text = world
                .coracle(&format!("unshare cat /proc/self/{kind}_map"))
                .stdout();
            ranges(&text)
        };
        Self {
            uid,
            name: world.shell("id -un").stdout(),
            base: [map("uid"), map("gid")],
        }
    }

    /// The subordinate ids there are.
    fn ids(&self) -> u64 {
        self.base[0].iter().map(|range| range.2).sum::<u64>() - 1
    }

    /// `text` with what is the caller's own in place of its names: `{name}`, and
    /// `{A}`, `{A+B}` and `{A-B}` of `uid`, `ids` and numbers.
    fn fill(&self, text: &str) -> String {
        let value = |word: &str| match word {
            "uid" => Some(u64::from(self.uid)),
            "ids" => Some(self.ids()),
            _ => word.parse().ok(),
        };
        let sum = |term: &str| match term.split_once(['+', '-']) {
            Some((a, b)) if term.contains('+') => Some(value(a)? + value(b)?),
            Some((a, b)) => value(a)?.checked_sub(value(b)?),
            None => value(term),
        };
        let mut parts = text.split('{');
        let mut filled = parts.next().unwrap().to_owned();
        for part in parts {
            filled += &match part.split_once('}') {
                Some(("name", rest)) => self.name.clone() + rest,
                Some((term, rest)) if let Some(number) = sum(term) => format!("{number}{rest}"),
                _ => format!("{{{part}"),
            };
        }
        filled
    }

    /// What is the caller's own in `text` named, so that it holds for every caller.
    /// A number may be theirs by chance: who records has an uncommon uid.
    fn name_own(&self, text: &str) -> String {
        let mut named = String::new();
        let mut word = String::new();
        for c in text.chars().chain(['\n']) {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                word.push(c);
                continue;
            }
            named += &self.name_word(&word);
            word.clear();
            named.push(c);
        }
        named.trim_end().to_owned()
    }

    fn name_word(&self, word: &str) -> String {
        let (uid, ids) = (u64::from(self.uid), self.ids());
        match word.parse::<u64>() {
            Ok(number) if number == ids + 1 => "{ids+1}".into(),
            Ok(number) if number == uid => "{uid}".into(),
            Ok(number) if number == uid + 1 => "{uid+1}".into(),
            Ok(number) if number == ids - uid => "{ids-uid}".into(),
            Ok(number) if number + uid == 1999 => "{1999-uid}".into(),
            Ok(number) if number + 31 > ids - 1000 && number <= ids => {
                format!("{{ids-{}}}", ids - number)
            }
            _ if word == self.name => "{name}".into(),
            _ => word.to_owned(),
        }
    }
}

/// A world with images of several users.
fn world_of_users() -> World {
    let world = World::new();
    world.folder("mine");
    world.file("root.tar", layer());
    for (name, changes) in [
        ("number", "--change USER=1234"),
        ("both", "--change USER=1234:5678"),
        ("root-group", "--change USER=user:0 --change WORKDIR=/data"),
    ] {
        world
            .coracle(&format!(
                "import -q --change ENV=PATH=/bin {changes} root.tar {name}"
            ))
            .ok();
    }
    world
}

/// What a container with these flags says of itself, and its map seen from outside.
fn probe(world: &World, caller: &Caller, flags: &str, image: &str) -> String {
    let mut run = world
        .coracle(&format!(
            "run -i --rm --name it --network none {} {image} sh -c",
            caller.fill(flags)
        ))
        .arg(PROBE)
        .spawn();
    run.prints("end\n");
    let pid = world.coracle("inspect -f {{.State.Pid}} it").stdout();
    let map = |kind: &str, base: &[Range]| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{kind}_map")).unwrap();
        relative(&ranges(&text), base)
    };
    let (uids, gids) = (map("uid", &caller.base[0]), map("gid", &caller.base[1]));
    let mappings = world
        .coracle("inspect -f '{{.HostConfig.UsernsMode}} {{.Config.User}}' it")
        .stdout();
    run.write(b"\n");
    let said = run.wait().stdout();
    let said = said.trim_end_matches("end").trim_end();
    format!("{said}\nuids {uids}\ngids {gids}\ninspect {mappings}")
        .trim_end()
        .to_owned()
}

#[test]
fn each_flag_is_podmans() {
    let world = world_of_users();
    needs!(world, Subuids);
    let caller = Caller::of(&world);
    let images = ["IMAGE", "USER_IMAGE", "number", "both", "root-group"];
    let for_all = images
        .iter()
        .flat_map(|image| FOR_ALL.iter().map(move |flags| (*flags, *image)));
    let for_plain = FOR_PLAIN.iter().map(|flags| (*flags, "IMAGE"));
    let mut all = String::new();
    for (flags, image) in for_all.chain(for_plain) {
        let said = probe(&world, &caller, flags, image);
        writeln!(all, "## {flags} {image}\n{said}").unwrap();
    }
    let recorded = source().join("tests/compat/userns.txt");
    if std::env::var_os("UPDATE").is_some() && std::env::var_os("PODMAN").is_some() {
        std::fs::write(&recorded, caller.name_own(&all) + "\n").unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&recorded).unwrap();
    let differing = differences(&caller.fill(&expected), &caller.fill(&all));
    assert!(differing.is_empty(), "{differing}");
}

/// The parts that differ, both ways.
fn differences(expected: &str, all: &str) -> String {
    let parts = |text: &str| -> Vec<String> { text.split("## ").map(str::to_owned).collect() };
    let (expected, all) = (parts(expected), parts(all));
    assert_eq!(expected.len(), all.len(), "the record is of other flags");
    let differing = expected.iter().zip(&all).filter(|(a, b)| a != b);
    differing.fold(String::new(), |text, (podman, ours)| {
        text + &format!("Podman: {podman}ours: {ours}")
    })
}

/// The folder is the caller's, whoever the container's user is, and so is what is
/// written there (DESIGN 3).
#[test]
fn a_folder_of_the_callers_is_the_containers_users() {
    let world = world_of_users();
    needs!(world, Subuids);
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let mut table = String::new();
    for image in ["IMAGE", "USER_IMAGE", "number", "both", "root-group"] {
        for user in ["", "-u 0", "-u user", "-u 77", &format!("-u {uid}:{gid}")] {
            let case = format!("{user} {image}");
            let mine = world.folder(&format!("{image}{}", user.replace([' ', ':'], "")));
            std::fs::set_permissions(&mine, Permissions::from_mode(0o700)).unwrap();
            std::fs::write(mine.join("outside"), "from outside\n").unwrap();
            let run = world
                .coracle(&format!(
                    "run --rm --network none -v {}:/mine {user} {image} sh -c",
                    mine.display()
                ))
                .arg(
                    "cat /mine/outside && echo inside >/mine/inside && echo more >>/mine/outside \
                     && stat -c %u:%g /mine/inside /mine/outside && id -u && id -g",
                )
                .run();
            assert_eq!(run.code, 0, "{case}: {}", run.stderr());
            assert_eq!(run.stderr(), "", "{case}");
            let said = run.stdout();
            let lines: Vec<&str> = said.lines().collect();
            let [text, inside, outside, own_uid, own_gid] = lines[..] else {
                panic!("{case}: {said}");
            };
            assert_eq!(text, "from outside");
            assert_eq!(inside, format!("{own_uid}:{own_gid}"), "{case}");
            assert_eq!(outside, inside, "{case}");
            for file in ["inside", "outside"] {
                let found = mine.join(file).metadata().unwrap();
                assert_eq!((found.uid(), found.gid()), (uid, gid), "{case}: {file}");
            }
            let text = std::fs::read_to_string(mine.join("outside")).unwrap();
            assert_eq!(text, "from outside\nmore\n", "{case}");
            writeln!(table, "{case}: {inside}").unwrap();
        }
    }
    assert_eq!(table.lines().count(), 25);
}

#[test]
fn an_edit_is_seen_on_the_other_side_at_once() {
    let world = World::new();
    needs!(world, Subuids);
    let file = world.file("mine/notes", "one\n");
    world
        .coracle("run -d --name it --network none -v ./mine:/mine USER_IMAGE sleep 1000")
        .ok();
    let cat = || world.coracle("exec it cat /mine/notes").stdout();
    assert_eq!(cat(), "one");
    std::fs::write(&file, "two\n").unwrap();
    assert_eq!(cat(), "two");
    let edit = "exec it sh -c 'echo three >/mine/new && mv /mine/new /mine/notes'";
    world.coracle(edit).ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "three\n");
    // The file is ours: its mode can be changed, and it can be removed.
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(cat(), "three");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(world.coracle("exec it ls /mine").stdout(), "");
}

/// The map: the second column of the first line, from outside.
fn is_own_root(world: &World, flags: &str) -> bool {
    let map = world
        .coracle(&format!(
            "run --rm --network none {flags} cat /proc/self/uid_map"
        ))
        .stdout();
    ranges(&map)[0] == (0, u64::from(rustix::process::getuid().as_raw()), 1)
}

#[test]
fn ownership_by_default_is_for_folders_of_the_callers_alone() {
    let world = World::new();
    needs!(world, Subuids);
    world.file("mine/file", "");
    for (flags, is_own) in [
        ("USER_IMAGE", true),
        ("-v ./mine:/mine IMAGE", true),
        ("-v ./mine:/mine -u 0 USER_IMAGE", true),
        ("-v /etc:/mine USER_IMAGE", true),
        ("-v vol:/mine USER_IMAGE", true),
        ("--tmpfs /mine USER_IMAGE", true),
        ("-v ./mine:/mine --userns=host USER_IMAGE", true),
        ("-v ./mine:/mine --userns= USER_IMAGE", true),
        ("-v ./mine:/mine USER_IMAGE", false),
        ("-v ./mine:/mine:ro USER_IMAGE", false),
        ("-v ./mine/file:/mine USER_IMAGE", false),
        ("-v ./mine:/mine:O USER_IMAGE", false),
        ("-v ./mine:/mine -u 5 IMAGE", false),
        ("--mount type=bind,src=./mine,dst=/mine USER_IMAGE", false),
    ] {
        assert_eq!(is_own_root(&world, flags), is_own, "{flags}");
    }
    let flags = "run --rm --network none -v ./mine:/mine USER_IMAGE cat /proc/self/uid_map";
    let map = |name: &str, value: &str| ranges(&world.coracle(flags).env(name, value).stdout());
    let uid = u64::from(rustix::process::getuid().as_raw());
    assert_eq!(map("CORACLE_OWNERSHIP", "podman")[0], (0, uid, 1));
    assert_eq!(map("CORACLE_OWNERSHIP", "default")[1], (1000, uid, 1));
    assert_eq!(map("PODMAN_USERNS", "host")[0], (0, uid, 1));
    let config = ".config/containers/containers.conf";
    world.file(config, "[coracle]\nownership = \"podman\"\n");
    assert_eq!(map("X", "")[0], (0, uid, 1));
    world.file(config, "[containers]\nuserns = \"keep-id:uid=7\"\n");
    assert_eq!(map("X", "")[1], (7, uid, 1));
    world.file(config, "");
    world
        .coracle(flags)
        .env("CORACLE_OWNERSHIP", "maybe")
        .fails(125)
        .says("it can be default or podman");
}

#[test]
fn inspect_says_who_the_caller_is() {
    let world = World::new();
    needs!(world, Subuids);
    world.folder("mine");
    world
        .coracle("create --name it -v ./mine:/mine USER_IMAGE")
        .ok();
    let shown = world
        .coracle("inspect -f '{{.HostConfig.UsernsMode}} {{index .HostConfig.IDMappings.UidMap 1}} {{index .HostConfig.Annotations \"coracle.idmap\"}}' it")
        .stdout();
    assert_eq!(
        shown,
        "private 1000:0:1 ownership: the image's user 1000:1000 is the caller"
    );
}

#[test]
fn a_volume_keeps_the_map_it_was_written_under() {
    let world = World::new();
    needs!(world, Subuids);
    world.folder("mine");
    let run = |flags: &str, command: &str| {
        world
            .coracle(&format!("run --rm --network none {flags} sh -c"))
            .arg(command)
            .ok()
    };
    let both = "-v ./mine:/mine -v results:/data USER_IMAGE";
    run(both, "echo 1 >/data/first");
    let again = run(
        both,
        "stat -c %u:%g /data/first /data/seed && cat /data/seed /proc/self/uid_map",
    );
    assert!(
        again.stdout().starts_with("1000:1000\n1000:1000\nseed\n"),
        "{}",
        again.stdout()
    );
    assert_eq!(again.stderr(), "");
    // Written under the default map: its owners would be others, so it stays that.
    run("-v plain:/data IMAGE", "echo 1 >/data/first");
    let plain = "-v ./mine:/mine -v plain:/data USER_IMAGE";
    let warned = run(plain, "stat -c %u:%g /data/first");
    assert_eq!(warned.stdout(), "0:0\n");
    assert_eq!(warned.stderr().lines().count(), 1, "{}", warned.stderr());
    warned.says("volume plain was written under another id map");
    world.coracle("volume rm results plain").ok();
}

#[test]
fn maps_that_cannot_be() {
    let world = World::new();
    needs!(world, Subuids);
    for (flags, code, words) in [
        (
            "--userns=bogus",
            125,
            "unrecognized namespace mode bogus passed",
        ),
        (
            "--userns=keep-id --uidmap 0:0:1",
            125,
            "--userns and --uidmap/--gidmap/--subuidname/--subgidname are mutually exclusive",
        ),
        (
            "--uidmap 0:0:10 --uidmap 5:20:10",
            125,
            "the specified UID and/or GID mapping 5:20:10 conflicts with other mappings: invalid mappings specified",
        ),
        (
            "--uidmap 0:@5:1",
            125,
            "parent ID UID 5 is not mapped/delegated",
        ),
        (
            "--uidmap 0:0:0",
            125,
            "must provide at least one UID or GID mapping",
        ),
        ("--uidmap 0:0:99999999", 125, "and yours end at"),
        (
            "--subuidname nope",
            125,
            "no subuid ranges found for user \"nope\" in /etc/subuid",
        ),
        ("--uidmap 0:0:10 -u 20", 126, "uid 20 is not mapped"),
        (
            "--userns=auto:size=99999999",
            125,
            "not enough unused IDs in user namespace",
        ),
        (
            "--userns=container:nope",
            125,
            "looking up container to share user namespace with: no container with name or ID \"nope\" found: no such container",
        ),
        (
            "--userns=ns:/nope",
            125,
            "cannot find specified user namespace path: faccessat /nope: no such file or directory",
        ),
        ("--hostuser nope", 126, "user: unknown user nope"),
    ] {
        world
            .coracle(&format!("run --rm --network none {flags} IMAGE true"))
            .fails(code)
            .says(words);
    }
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn automatic_maps_have_no_id_in_common() {
    let world = World::new();
    needs!(world, Subuids);
    let mut seen: Vec<Range> = Vec::new();
    for name in ["one", "two", "three"] {
        world
            .coracle(&format!(
                "run -d --name {name} --network none --userns=auto IMAGE sleep 1000"
            ))
            .ok();
        let pid = world
            .coracle(&format!("inspect -f {{{{.State.Pid}}}} {name}"))
            .stdout();
        let map = ranges(&std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap());
        for (_, first, count) in map {
            let apart = |other: &Range| first >= other.1 + other.2 || other.1 >= first + count;
            assert!(seen.iter().all(apart), "{first}:{count} of {seen:?}");
            seen.push((0, first, count));
        }
    }
    assert_eq!(seen.len(), 3);
    // The caller's folders are nobody's there.
    world.file("mine/secret", "x");
    let script = "stat -c %u /mine; cat /mine/secret";
    let run = world
        .coracle("run --rm --network none --userns=nomap -v ./mine:/mine IMAGE sh -c")
        .arg(script)
        .run();
    assert_eq!(run.stdout().lines().next(), Some("65534"));
}

#[test]
fn another_containers_ids_are_shared() {
    let world = World::new();
    needs!(world, Subuids);
    world
        .coracle("run -d --name one --network none --userns=keep-id:uid=5,gid=6 IMAGE sleep 1000")
        .ok();
    let ours = |flags: &str| {
        let line = format!("run --rm --network none {flags} IMAGE cat /proc/self/uid_map");
        world.coracle(&line).stdout()
    };
    let theirs = world.coracle("exec one cat /proc/self/uid_map").stdout();
    assert_eq!(ours("--userns=container:one"), theirs);
    assert_ne!(ours(""), theirs);
    let pid = world.coracle("inspect -f {{.State.Pid}} one").stdout();
    assert_eq!(ours(&format!("--userns=ns:/proc/{pid}/ns/user")), theirs);
}

#[test]
fn the_callers_groups_are_left_behind_or_kept() {
    let world = World::new();
    needs!(world, Subuids);
    // The caller's own group shows as root's; others would as nobody's.
    let groups = |flags: &str| {
        world
            .coracle(&format!("run --rm --network none {flags} IMAGE id -G"))
            .stdout()
    };
    assert_eq!(groups(""), "0");
    let kept = groups("--group-add keep-groups");
    let own = rustix::process::getgroups().unwrap();
    let others = own.iter().any(|gid| *gid != rustix::process::getgid());
    assert_eq!(kept.contains("65534"), others, "{kept}");
}
