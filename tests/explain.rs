//! `coracle explain`: what it says is what the container's processes find.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::needs;
use crate::world::World;

fn explained(world: &World, args: &[&str]) -> Value {
    let line = ["explain", "--format", "json"].iter().chain(args);
    let done = world.coracle("").args(line).ok();
    serde_json::from_slice(&done.out).unwrap()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Of read, write and execute, what is allowed.
fn rights(path: &Value) -> [bool; 3] {
    ["Read", "Write", "Execute"].map(|it| path[it]["Allowed"].as_bool().unwrap())
}

fn rules(path: &Value) -> [&str; 3] {
    ["Read", "Write", "Execute"].map(|it| path[it]["Rule"].as_str().unwrap())
}

/// A container `web` with many things to ask about.
fn web(world: &World, more: &str) {
    mode(&world.file("data/mine", "x"), 0o600);
    mode(&world.file("data/all", "#!/bin/sh\n"), 0o777);
    mode(&world.file("data/shut/in", "x"), 0o644);
    mode(&world.home().join("data/shut"), 0o700);
    world.file("ro/file", "x");
    let line = "run -d --name web --network=none -v ./data:/data -v ./ro:/ro:ro \
        -v ./data:/noexec:noexec -v vol:/vol -v /etc:/hostetc --tmpfs /tmpfs:noexec,mode=1777";
    world
        .coracle(&format!("{line} {more}"))
        .args(["VOLUME_IMAGE", "sleep", "1000"])
        .ok();
}

const PATHS: [&str; 21] = [
    "/",
    "/bin/broken",
    "/root",
    "/etc/passwd",
    "/home/user",
    "/data",
    "/data/mine",
    "/data/all",
    "/data/shut",
    "/data/shut/in",
    "/ro",
    "/ro/file",
    "/noexec/all",
    "/vol",
    "/vol/../data/./all",
    "/hostetc/passwd",
    "/hostetc/shadow",
    "/hostetc",
    "/tmpfs",
    "/tmp",
    "/none/seed",
];

/// Tries to read, write and execute PATH, and says whether it went well, and last
/// whether it is there, in a line.
const TRY: &str = r#"(
    say() { if [ $1 = 0 ]; then printf 'true '; else printf 'false '; fi; }
    exec 2>/dev/null
    if [ -d PATH ]; then ls PATH >/dev/null; else head -c 1 PATH >/dev/null; fi; say $?
    if [ -d PATH ]; then touch PATH/.try && rm PATH/.try; else (: >> PATH); fi; say $?
    if [ -d PATH ]; then (cd PATH); say $?
    else PATH true >/dev/null </dev/null; [ $? != 126 ]; say $?; fi
    if test -e PATH; then echo there; else echo; fi
)
"#;

/// What the kernel tells the container's own processes is what `explain` says, for
/// each path and user, whether the container runs or not.
#[test]
fn it_says_what_processes_find() {
    for (more, users) in [
        ("", &["0", "1000", "user:staff"][..]),
        ("--read-only", &["0", "1000"]),
        ("--user 1000", &["0", "1000"]),
        ("--userns=keep-id", &["0", "1000"]),
        ("--userns=nomap", &["0", "1000"]),
        (
            "--cap-drop=all --userns=host --user 1000:50",
            &["0", "user:staff"],
        ),
    ] {
        let world = World::new();
        needs!(world, Subuids);
        web(&world, more);
        let mut running = Vec::new();
        for user in users {
            let tries: Vec<String> = PATHS.iter().map(|path| TRY.replace("PATH", path)).collect();
            let found = world
                .coracle("exec -u")
                .args([user, "web", "sh", "-c", &tries.concat()])
                .ok()
                .stdout();
            for (path, found) in PATHS.iter().zip(found.lines()) {
                let found: Vec<&str> = found.split_whitespace().collect();
                let line = ["explain", "--format", "json", "-u", user, "web", path];
                let done = world.coracle("").args(line).run();
                if done.code != 0 {
                    assert_eq!(found.len(), 3, "{more} {user} {path}: {}", done.stderr());
                    continue;
                }
                let said: Value = serde_json::from_slice(&done.out).unwrap();
                let said = &said["Path"];
                let shown: Vec<String> = rights(said).iter().map(ToString::to_string).collect();
                assert_eq!(found[..3], shown, "{more} {user} {path}: {said}");
                // Where it says no it says why, and never that it cannot tell.
                for (allowed, rule) in rights(said).iter().zip(rules(said)) {
                    assert_eq!(*allowed, rule.is_empty(), "{said}");
                    assert_ne!(rule, "other", "{more} {user} {path}: {said}");
                }
                running.push((user, path, rights(said), said["Owner"].clone()));
            }
        }
        assert!(running.len() > 35);
        world.coracle("stop -t 0 web").ok();
        for (user, path, was, owner) in running {
            // What is in memory is new each time.
            if *user == "0" || *path == "/tmpfs" || *path == "/tmp" {
                continue;
            }
            let said = explained(&world, &["-u", user, "web", path]);
            let said = &said["Path"];
            assert_eq!(rights(said), was, "{more}, stopped, {user} {path}: {said}");
            assert_eq!(said["Owner"], owner, "{more} {path}");
        }
        // Nothing was mounted outside, and nothing written.
        let rootfs = world.shell("ls -A .local/share/coracle/containers/*/rootfs");
        assert_eq!(rootfs.stdout(), "");
    }
}

#[test]
fn each_rule_is_named() {
    let world = World::new();
    needs!(world, Subuids);
    web(&world, "--userns=host");
    for (user, path, expected) in [
        ("1000", "/data/mine", ["mode", "mode", "mode"]),
        ("1000", "/data/shut/in", ["mode", "mode", "mode"]),
        ("0", "/ro/file", ["", "read-only", "mode"]),
        ("0", "/noexec/all", ["", "", "noexec"]),
        ("0", "/hostetc/passwd", ["", "map", "mode"]),
        ("0", "/hostetc/shadow", ["map", "map", "mode"]),
        ("0", "/proc/sys/kernel", ["", "map", ""]),
    ] {
        let said = explained(&world, &["-u", user, "web", path]);
        assert_eq!(rules(&said["Path"]), expected, "{path}: {}", said["Path"]);
    }
    let shut = explained(&world, &["-u", "1000", "web", "/data/shut/in"]);
    let why = shut["Path"]["Read"]["Why"].as_str().unwrap();
    assert!(
        why.starts_with("/data/shut may not be searched: mode 0700 (drwx------) gives others ---"),
        "{why}"
    );
    world.coracle("rm -f -t 0 web").ok();
    web(&world, "--read-only");
    let said = explained(&world, &["web", "/home"]);
    assert_eq!(
        said["Path"]["Write"]["Why"],
        "the container's root is read-only (--read-only)"
    );
}

#[test]
fn who_is_who_has_names_on_both_sides() {
    let world = World::new();
    needs!(world, Subuids);
    let uid = rustix::process::getuid().as_raw();
    let name = coracle::settings::user_name(uid).unwrap();
    world.folder("data");
    // The image's user is the caller, as a folder of theirs is mounted.
    world
        .coracle("create --name web -v ./data:/data USER_IMAGE true")
        .ok();
    let said = explained(&world, &["web"]);
    assert_eq!(said["State"], "created");
    assert_eq!(said["User"]["User"], "user");
    assert_eq!(said["User"]["HostUser"], name);
    assert_eq!(said["User"]["HostUid"], uid);
    assert!(
        said["MapReason"]
            .as_str()
            .unwrap()
            .starts_with("ownership: ")
    );
    let ranges = said["UidMap"].as_array().unwrap();
    assert_eq!(ranges.len(), 3);
    assert_eq!(ranges[0]["ContainerNames"][0], "root");
    assert_eq!(ranges[1]["ContainerId"], 1000);
    assert_eq!(ranges[1]["HostNames"][0], name);
    let mounts = said["Mounts"].as_array().unwrap();
    assert_eq!(mounts[0]["Destination"], "/");
    let data = mounts.iter().find(|it| it["Destination"] == "/data");
    assert_eq!(
        data.unwrap()["Source"],
        world.home().join("data").to_str().unwrap()
    );
    let plain = world.coracle("explain web").stdout();
    assert!(
        plain.contains(&format!("user: 1000:1000 (user:user), on the host {uid}:")),
        "{plain}"
    );
    assert!(plain.contains("your subordinate ids"), "{plain}");
    let shown = world
        .coracle("explain --format '{{.User.User}} {{.User.HostUser}}' web")
        .stdout();
    assert_eq!(shown, format!("user {name}"));
    // A file of nobody's in the container.
    let said = explained(&world, &["web", "/data"]);
    assert_eq!(said["Path"]["Owner"]["User"], "user");
    assert_eq!(rights(&said["Path"]), [true, true, true]);
}

#[test]
fn a_path_of_the_hosts_is_found_where_it_is_mounted() {
    let world = World::new();
    web(&world, "");
    let home = world.home();
    let mine = home.join("ro/file");
    let said = explained(&world, &["web", mine.to_str().unwrap()]);
    assert_eq!(said["Path"]["Path"], "/ro/file");
    assert_eq!(said["Path"]["HostPath"], mine.to_str().unwrap());
    // As typed in the shell; and by a link.
    let said = explained(&world, &["web", "./ro/file"]);
    assert_eq!(said["Path"]["Path"], "/ro/file");
    std::os::unix::fs::symlink(&mine, home.join("link")).unwrap();
    let said = explained(&world, &["web", "./link"]);
    assert_eq!(said["Path"]["Path"], "/ro/file");
    // What two mounts show is neither's.
    let twice = home.join("data/mine");
    world
        .coracle("explain web")
        .arg(&twice)
        .fails(125)
        .says("data/mine is not in container web: / has no ");
    // The container's own comes first.
    let said = explained(&world, &["web", "/etc/passwd"]);
    assert_eq!(said["Path"]["HostPath"], Value::Null);
}

#[test]
fn what_is_not_there_is_said_in_a_line() {
    let world = World::new();
    web(&world, "");
    for (line, words) in [
        ("explain", "requires at least 1 arg(s), only received 0"),
        ("explain web / more", "takes one CONTAINER and one PATH"),
        ("explain nosuch", "no such container"),
        (
            "explain web /no/such",
            "/no/such is not in container web: / has no no",
        ),
        ("explain web /etc/passwd/x", "/etc/passwd has no x"),
        ("explain -u nosuch web /", "unable to find user nosuch"),
        (
            "explain -u 100000 web /etc",
            "uid 100000 of the container's user is not mapped",
        ),
    ] {
        let done = world.coracle(line).fails(125);
        done.says(words);
        let said = done.stderr();
        let lines = said.lines().filter(|it| !it.starts_with("Hint: usage: "));
        assert_eq!(lines.count(), 1, "{said}");
    }
    world.coracle("stop -t 0 web").ok();
    for path in ["/proc/version", "/dev/null", "/etc/hosts"] {
        world
            .coracle("explain web")
            .arg(path)
            .fails(125)
            .says("is made anew each time container web starts")
            .says("Hint: start it");
    }
}

/// A container's own links, FIFOs and loops lead nowhere else and hang nothing.
#[test]
fn a_hostile_root_leads_nowhere() {
    let world = World::new();
    let secret = world.file("secret", "x");
    world
        .coracle("run -d --name web --network=none IMAGE sh -c")
        .arg(format!(
            "ln -s {0} /abs; ln -s ../../../../../..{0} /rel; ln -s /loop /loop; \
             ln -s \"$(printf '/no\\033[31m')\" /red; rm /etc/group; mkfifo /etc/group; mkfifo /fifo; echo ready; sleep 1000",
            secret.display()
        ))
        .ok();
    world
        .shell("until coracle logs web | grep -q ready; do :; done")
        .ok();
    for round in 0..2 {
        for path in ["/abs", "/rel"] {
            world
                .coracle("explain web")
                .arg(path)
                .fails(125)
                .says("has no");
        }
        world
            .coracle("explain web /red")
            .fails(125)
            .says("/ has no no?[31m");
        world
            .coracle("explain web /loop")
            .fails(125)
            .says("too many levels of symbolic links");
        let done = world.coracle("explain web /fifo").run();
        assert!(done.code == 0 || done.stderr().contains("not a regular file"));
        if round == 0 {
            world.coracle("stop -t 0 web").ok();
        }
    }
}

#[test]
fn a_volume_that_is_not_filled_yet_is_the_images_folder() {
    let world = World::new();
    world
        .coracle("create --name web -v new:/data IMAGE true")
        .ok();
    let said = explained(&world, &["web", "/data/seed"]);
    assert_eq!(said["Path"]["Type"], "file");
    assert_eq!(said["Path"]["Owner"]["Uid"], 1000);
    let notes = said["Path"]["Notes"].to_string();
    assert!(
        notes.contains("is filled with what the image has there"),
        "{notes}"
    );
    // To ask is not to start: the volume is as it was.
    assert!(!world.data().join("volumes/new/used").exists());
}

/// Where it is certain what kept a program from being executed, the error says so.
#[test]
fn what_cannot_be_executed_is_told_why() {
    let world = World::new();
    needs!(world, Subuids);
    let program = world.file("data/tool", "#!/bin/sh\n");
    mode(&program, 0o755);
    let script = world.file("ok/script", "#!/data/tool\n");
    mode(&script, 0o755);
    mode(&world.file("shut/tool", "#!/bin/sh\n"), 0o755);
    mode(&world.home().join("shut"), 0o700);
    world
        .coracle("run -d --name web --network=none --userns=host -v ./data:/data:noexec -v ./ok:/ok -v ./shut:/shut IMAGE sleep 1000")
        .ok();
    for (user, path, hint) in [
        ("0", "/data/tool", "/data/tool is on a mount that is noexec"),
        (
            "0",
            "/ok/script",
            "its interpreter /data/tool is on a mount that is noexec",
        ),
        (
            "1000",
            "/shut/tool",
            "the container's user may not search /shut, which has mode 0700 and belongs to 0:0",
        ),
    ] {
        let run = "run --rm --network=none --userns=host -v ./data:/data:noexec -v ./ok:/ok -v ./shut:/shut -u";
        for done in [
            world.coracle(run).args([user, "IMAGE", path]).run(),
            world.coracle("exec -u").args([user, "web", path]).run(),
        ] {
            assert_eq!(done.code, 126, "{}", done.stderr());
            done.says(&format!("Hint: {hint}"));
        }
    }
    // What a program itself says is its own matter.
    let done = world.coracle("exec -u 1000 web cat /shut/tool").run();
    assert!(!done.stderr().contains("Hint:"), "{}", done.stderr());
}
