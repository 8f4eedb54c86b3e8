//! `coracle doctor`: each condition that can be made here, and what is said of it.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::needs;
use crate::world::{Cmd, Done, World};

/// `coracle` with the words of `line` where `setup` has changed the machine, in
/// namespaces of its own, where newuidmap has no rights.
fn elsewhere<'w>(world: &'w World, setup: &str, line: &str) -> Cmd<'w> {
    let script = format!("{setup}; exec coracle {line}");
    world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
}

const JSON: &str = "doctor --format json";

/// The finding of `check` as verdict, what was found, mend.
#[track_caller]
fn finding(done: &Done, check: &str) -> (String, String, String) {
    let all: Vec<Value> = serde_json::from_slice(&done.out).unwrap();
    let it = all
        .iter()
        .find(|it| it["Check"] == check && it["Verdict"] != "ok")
        .or_else(|| all.iter().find(|it| it["Check"] == check))
        .unwrap_or_else(|| panic!("nothing on {check}: {}", done.stdout()));
    let word = |key: &str| it[key].as_str().unwrap().to_owned();
    (word("Verdict"), word("Found"), word("Mend"))
}

#[track_caller]
fn says(done: &Done, check: &str, verdict: &str, found: &str, mend: &str) {
    let it = finding(done, check);
    assert!(
        it.0 == verdict && it.1.contains(found) && it.2.contains(mend),
        "{check}: {it:?}"
    );
}

#[test]
fn where_all_is_well_containers_can_run() {
    let world = World::empty();
    needs!(world, Subuids, Tun, Pasta);
    let done = world.coracle(JSON).ok();
    let all: Vec<Value> = serde_json::from_slice(&done.out).unwrap();
    for it in &all {
        assert_ne!(it["Verdict"], "failure", "{it}");
        let keys: Vec<&String> = it.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["Check", "Verdict", "Found", "Mend"]);
        // Where there is something to mend, it is said how.
        assert_eq!(it["Verdict"] == "ok", it["Mend"] == "", "{it}");
    }
    for check in [
        "kernel",
        "subordinate ids",
        "newuidmap",
        "store",
        "cache folder",
        "runtime folder",
        "disk space",
        "user namespaces",
        "system calls",
        "overlay",
        "many layers",
        "data-only layers",
        "idmapped mounts",
        "/proc and /sys",
        "seccomp",
        "pasta",
        "/dev/net/tun",
        "network",
        "cgroups",
        "linger",
    ] {
        finding(&done, check);
    }
    let plain = world.coracle("doctor").stdout();
    assert!(plain.starts_with("ok       kernel "), "{plain}");
    let table = world
        .coracle(r"doctor --format 'table {{.Check}}\t{{.Verdict}}'")
        .stdout();
    assert!(table.starts_with("CHECK  "), "{table}");
    world
        .coracle("doctor more")
        .fails(125)
        .says("takes no arguments");
    // Of what was tried nothing is left.
    let staging = world.data().join("staging");
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
    world.wait_for_processes();
}

#[test]
fn without_subordinate_ids() {
    let world = World::empty();
    let setup = "mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid";
    let done = elsewhere(&world, setup, JSON).ok();
    says(
        &done,
        "subordinate ids",
        "warning",
        "/etc/subuid and /etc/subgid give ",
        "as root, `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ",
    );
    says(&done, "user namespaces", "ok", "your own id alone", "");
    // It is what `run` says, to the letter.
    let archive = crate::world::archive().display().to_string();
    elsewhere(&world, setup, &format!("load -q -i {archive}")).ok();
    let run = elsewhere(&world, setup, "run --rm --network=none localhost/test true").ok();
    let (_, found, mend) = finding(&done, "subordinate ids");
    run.says(&format!("{found}: {mend}"));
    elsewhere(&world, setup, "rmi -fa").ok();
}

#[test]
fn ids_that_no_map_can_be_made_of() {
    let world = World::empty();
    let own = rustix::process::getuid().as_raw();
    let name = coracle::settings::user_name(own).unwrap();
    world.file("subuid", format!("{name}:{}:70000\n", own - 1));
    let setup = "mount --bind subuid /etc/subuid; mount --bind subuid /etc/subgid";
    let done = elsewhere(&world, setup, JSON).fails(1);
    says(
        &done,
        "subordinate ids",
        "failure",
        &format!("has your own id {own} in it"),
        "as root, `usermod --del-subuids ",
    );
}

#[test]
fn without_newuidmap() {
    let world = World::empty();
    let setup = "for it in newuidmap newgidmap; do mount --bind /dev/null $(command -v $it); done";
    let done = elsewhere(&world, setup, JSON).ok();
    says(
        &done,
        "newuidmap",
        "warning",
        "newuidmap and newgidmap are not installed",
        "as root, `apt install uidmap`",
    );
    // One that is there and may nothing.
    let powerless = "cp $(command -v newuidmap) own; mount --bind own $(command -v newuidmap)";
    let done = elsewhere(&world, powerless, JSON).ok();
    says(
        &done,
        "newuidmap",
        "warning",
        "newuidmap is not setuid root and does not have cap_setuid",
        "as root, `chmod u+s /",
    );
    let done = world
        .shell("exec setpriv --no-new-privs coracle doctor --format json")
        .ok();
    says(
        &done,
        "newuidmap",
        "warning",
        "no_new_privs",
        "NoNewPrivileges=",
    );
}

#[test]
fn without_user_namespaces() {
    let world = World::empty();
    let setup = "echo 0 > /proc/sys/user/max_user_namespaces";
    let done = elsewhere(&world, setup, JSON).fails(1);
    says(
        &done,
        "user namespaces",
        "failure",
        "user namespaces are switched off (user.max_user_namespaces is 0)",
        "as root, `echo user.max_user_namespaces=28633 > /etc/sysctl.d/60-coracle.conf && sysctl -p",
    );
    let run = elsewhere(&world, setup, "unshare true").fails(125);
    let (_, found, mend) = finding(&done, "user namespaces");
    run.says(&found).says(&format!("Hint: {mend}"));
}

#[test]
fn without_pasta_or_its_device() {
    let world = World::empty();
    needs!(world, Pasta, Tun);
    let setup = "mount --bind /dev/null $(readlink -f $(command -v pasta))";
    let done = elsewhere(&world, setup, JSON).fails(1);
    says(
        &done,
        "pasta",
        "failure",
        "could not find pasta",
        "as root, `apt install passt`",
    );
    let no_tun = "mount -t tmpfs tmpfs /dev/net";
    let done = elsewhere(&world, no_tun, JSON).fails(1);
    says(
        &done,
        "/dev/net/tun",
        "failure",
        "No such file or directory",
        "as root, `modprobe tun`",
    );
    // The mend is the hint of `run`.
    let setup = "mount --bind /dev/null $(readlink -f $(command -v pasta))";
    let run = elsewhere(&world, setup, "unshare --rootless-netns true").fails(127);
    run.says("Hint: as root, `apt install passt`");
    // One that does not start.
    let fake = world.file("pasta", "#!/bin/sh\necho it is broken >&2; exit 3\n");
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let done = world
        .coracle(JSON)
        .env(
            "PATH",
            format!(
                "{}:{}",
                world.home().display(),
                std::env::var("PATH").unwrap()
            ),
        )
        .fails(1);
    says(
        &done,
        "network",
        "failure",
        "pasta failed with exit code 3: it is broken",
        "",
    );
}

#[test]
fn folders_that_cannot_be_used() {
    let world = World::empty();
    let closed = world.folder("closed");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let with = |name: &str, value: &str| world.coracle(JSON).env(name, value);
    let done = with("XDG_DATA_HOME", closed.to_str().unwrap()).fails(1);
    says(
        &done,
        "store",
        "failure",
        "ermission denied",
        "`export XDG_DATA_HOME=FOLDER`",
    );
    // The rest is looked at all the same.
    says(&done, "user namespaces", "ok", "", "");
    let shut = world.folder("shut");
    std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o500)).unwrap();
    let done = with("XDG_CACHE_HOME", shut.to_str().unwrap()).ok();
    says(
        &done,
        "cache folder",
        "warning",
        "ermission denied",
        "`export XDG_CACHE_HOME=FOLDER`",
    );
    let done = with("XDG_RUNTIME_DIR", closed.to_str().unwrap()).fails(1);
    says(
        &done,
        "runtime folder",
        "failure",
        "ermission denied",
        "name a folder that is yours alone: `export XDG_RUNTIME_DIR=",
    );
    let open = world.folder("open");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    let done = with("XDG_RUNTIME_DIR", open.to_str().unwrap()).ok();
    says(
        &done,
        "runtime folder",
        "warning",
        "is open to others (mode 0755)",
        &format!("`chmod 700 {}`", open.display()),
    );
    let done = with("XDG_RUNTIME_DIR", "").ok();
    says(
        &done,
        "runtime folder",
        "warning",
        "XDG_RUNTIME_DIR is not set",
        "export XDG_RUNTIME_DIR=/run/user/",
    );
    let done = with("XDG_DATA_HOME", "data").ok();
    says(
        &done,
        "environment",
        "warning",
        "XDG_DATA_HOME is \"data\", which is no absolute path: it is ignored",
        "`unset XDG_DATA_HOME`",
    );
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_store_of_a_later_version() {
    let world = World::empty();
    world.coracle("volume ls").ok();
    std::fs::write(world.data().join("format"), "2").unwrap();
    let done = world.coracle(JSON).fails(1);
    says(&done, "store", "failure", "is of format 2", "");
}

#[test]
fn a_store_in_memory_with_little_room() {
    let world = World::empty();
    world.folder(".local/share");
    let setup = |options: &str| format!("mount -t tmpfs -o {options} tmpfs .local/share");
    let done = elsewhere(&world, &setup("size=50m"), JSON).ok();
    says(
        &done,
        "store",
        "warning",
        "is on tmpfs: all is lost with the next boot",
        "`export XDG_DATA_HOME=FOLDER`",
    );
    says(
        &done,
        "disk space",
        "warning",
        "MiB of 50MiB free",
        "image prune -a",
    );
    let done = elsewhere(&world, &setup("size=100k"), JSON).fails(1);
    says(&done, "disk space", "failure", "free", "df -hi");
    let done = elsewhere(&world, &setup("size=5g,nr_inodes=60"), JSON).run();
    says(&done, "disk space", "failure", "files", "df -hi");
}

#[test]
fn a_store_where_no_overlay_can_be() {
    let world = World::empty();
    // An overlay keeps nothing in another one.
    world.folder("lower");
    world.folder("upper");
    world.folder("work");
    world.folder(".local/share");
    let setup = "mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work overlay .local/share";
    let done = elsewhere(&world, setup, JSON).fails(1);
    says(
        &done,
        "overlay",
        "failure",
        "on overlayfs: ",
        "it needs Linux 5.11 and a local file system with extended attributes",
    );
    // `run` fails with the same words.
    let archive = crate::world::archive().display().to_string();
    let (_, _, mend) = finding(&done, "overlay");
    let script = format!(
        "{setup}; coracle load -q -i {archive}; exec coracle run --rm --network=none localhost/test true"
    );
    let run = world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
        .fails(125);
    run.says("mount the container's overlay")
        .says(&format!("Hint: {mend}"));
    world.shell("rm -rf work upper").run();
}

#[test]
fn a_proc_that_is_partly_hidden() {
    let world = World::empty();
    let setup = "mount --bind /dev/null /proc/version";
    let done = elsewhere(&world, setup, JSON).fails(1);
    says(
        &done,
        "/proc and /sys",
        "failure",
        "mount a proc of its own",
        "unmask=ALL",
    );
}
