//! Bad input and bad luck: one clear line, the right exit code, nothing half-made.

use std::os::unix::fs::PermissionsExt;

use crate::needs;
use crate::world::{Cmd, World};

/// `coracle` with the words of `line` where `setup` has changed the machine, in
/// namespaces of its own: there are no other ids there, as newuidmap can give none.
fn elsewhere<'w>(world: &'w World, setup: &str, line: &str) -> Cmd<'w> {
    let script = format!("{setup}; exec coracle {line}");
    world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
}

const NO_IDS: &str = "mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid";

#[test]
fn one_line_and_podmans_words() {
    let world = World::new();
    let mut wrong = Vec::new();
    for (line, code, words) in [
        ("run", 125, "requires at least 1 arg(s), only received 0"),
        ("run --nonsense IMAGE", 125, "unknown flag: --nonsense"),
        ("run --name", 125, "flag needs an argument: --name"),
        (
            "run --rm --name a/b IMAGE true",
            125,
            "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument",
        ),
        ("run --rm --memory nonsense IMAGE true", 125, "nonsense"),
        ("run --rm --ulimit nonsense IMAGE true", 125, "nonsense"),
        (
            "run --rm --env-file /no/such IMAGE true",
            125,
            "no such file or directory",
        ),
        ("run --rm --restart nonsense IMAGE true", 125, ""),
        (
            "run --rm --restart always IMAGE true",
            125,
            "conflicts with --restart",
        ),
        ("run --rm --pull nonsense IMAGE true", 125, "nonsense"),
        (
            "pull --decryption-key k IMAGE",
            125,
            "--decryption-key is not supported by coracle yet",
        ),
        (
            "push --sign-by me IMAGE",
            125,
            "--sign-by is not supported by coracle yet",
        ),
        (
            "manifest push --sign-by-sigstore x l",
            125,
            "--sign-by-sigstore is not supported by coracle yet",
        ),
        (
            "image trust show",
            125,
            "image trust is not supported by coracle yet",
        ),
        (
            "push --compression-format nonsense IMAGE",
            125,
            "cannot find compressor for \"nonsense\"",
        ),
        (
            "pull --creds me IMAGE",
            125,
            "could not read password from terminal: inappropriate ioctl for device",
        ),
        (
            "run --rm --user 99999999999 IMAGE true",
            126,
            "uids and gids must be in range 0-2147483647",
        ),
        ("run --rm --shm-size nonsense IMAGE true", 125, "nonsense"),
        ("run --rm --add-host nonsense IMAGE true", 125, "nonsense"),
        ("run --rm --device /no/such IMAGE true", 125, "/no/such"),
        (
            "run --rm --security-opt nonsense IMAGE true",
            125,
            "nonsense",
        ),
        (
            "run --rm --stop-signal nonsense IMAGE true",
            125,
            "nonsense",
        ),
        ("run --rm --sysctl nonsense IMAGE true", 125, "nonsense"),
        ("run --rm --log-opt nonsense IMAGE true", 125, ""),
        (
            "stop nosuch",
            125,
            "no container with name or ID \"nosuch\" found: no such container",
        ),
        (
            "kill nosuch",
            125,
            "no container with name or ID \"nosuch\" found: no such container",
        ),
        (
            "start nosuch",
            125,
            "no container with name or ID \"nosuch\" found: no such container",
        ),
        (
            "logs nosuch",
            125,
            "no container with name or ID \"nosuch\" found: no such container",
        ),
        ("top nosuch", 125, "no such container"),
        ("attach nosuch", 125, "no such container"),
        ("rename nosuch x", 125, "no such container"),
        ("stop", 125, ""),
        ("rm", 125, ""),
        ("exec", 125, ""),
        ("logs", 125, ""),
        (
            "volume create a b",
            125,
            "accepts at most 1 arg(s), received 2",
        ),
        ("ps --format '{{'", 125, ""),
        ("volume", 125, "missing command 'coracle volume COMMAND'"),
    ] {
        let done = world.coracle(line).run();
        let said = done.stderr();
        let errors = said.lines().filter(|line| line.starts_with("Error: "));
        // The error, and at most one line of what can be done.
        let clear = errors.count() == 1 && said.lines().count() <= 2;
        if done.code != code || !said.contains(words) || !clear {
            wrong.push(format!("`{line}` left with {}: {said}", done.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(world.coracle("ps -aq").stdout(), "");
    assert_eq!(world.coracle("volume ls -q").stdout(), "");
}

#[test]
fn a_home_that_cannot_be_written() {
    let world = World::empty();
    let protect = |mode| {
        std::fs::set_permissions(world.home(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    protect(0o500);
    let done = world.coracle("volume create x").fails(125);
    protect(0o700);
    done.says("ermission denied")
        .says("Hint: put the store where you may write: `export XDG_DATA_HOME=FOLDER`");
    assert_eq!(done.stderr().lines().count(), 2, "{}", done.stderr());
}

#[test]
fn a_runtime_folder_of_somebody_else() {
    let world = World::new();
    world
        .coracle("run --rm --network=none IMAGE true")
        .env("XDG_RUNTIME_DIR", "/")
        .fails(125);
}

#[test]
fn a_store_of_a_later_version_is_refused() {
    let world = World::empty();
    world.coracle("volume create x").ok();
    std::fs::write(world.data().join("format"), "2").unwrap();
    let done = world.coracle("volume ls").fails(125);
    done.says("is of format 2");
    std::fs::write(world.data().join("format"), "1").unwrap();
    world.coracle("volume rm x").ok();
}

#[test]
fn without_other_ids_containers_run_as_the_caller() {
    let world = World::empty();
    let archive = crate::world::archive().display().to_string();
    elsewhere(&world, NO_IDS, &format!("load -q -i {archive}")).ok();
    let done = elsewhere(
        &world,
        NO_IDS,
        "run --rm --network=none localhost/test id -u",
    )
    .ok();
    assert_eq!(done.stdout(), "0\n");
    let run = "run --rm --network=none -v ./mine:/mine localhost/test touch /mine/file";
    world.folder("mine");
    elsewhere(&world, NO_IDS, run).ok();
    assert!(world.home().join("mine/file").exists());
    elsewhere(&world, NO_IDS, "rmi -fa").ok();
}

#[test]
fn without_newuidmap() {
    let world = World::empty();
    let setup = "for it in newuidmap newgidmap; do mount --bind /dev/null $(command -v $it); done";
    let archive = crate::world::archive().display().to_string();
    elsewhere(&world, setup, &format!("load -q -i {archive}")).ok();
    let done = elsewhere(&world, setup, "run --rm --network=none localhost/test true").ok();
    done.says("newuidmap");
    elsewhere(&world, setup, "rmi -fa").ok();
}

#[test]
fn without_pasta() {
    let world = World::empty();
    needs!(world, Pasta);
    let setup = format!("{NO_IDS}; mount --bind /dev/null $(readlink -f $(command -v pasta))");
    let archive = crate::world::archive().display().to_string();
    elsewhere(&world, &setup, &format!("load -q -i {archive}")).ok();
    let done = elsewhere(&world, &setup, "run --rm localhost/test true").run();
    // As Podman, which takes it for a missing command.
    assert_eq!(done.code, 127);
    done.says("pasta");
    let left = elsewhere(&world, &setup, "ps -aq").ok();
    assert_eq!(left.stdout(), "");
    elsewhere(&world, &setup, "rmi -fa").ok();
}

#[test]
fn a_full_disk() {
    let world = World::empty();
    let data = world.folder(".local/share");
    let setup = format!(
        "{NO_IDS}; mount -t tmpfs -o size=700k tmpfs {}",
        data.display()
    );
    let archive = crate::world::archive().display().to_string();
    // What is left is looked at in the same breath: the tmpfs is gone afterwards.
    let look = "coracle images -q; ls ~/.local/share/coracle/staging; exit $code";
    let script = format!("{setup}; code=0; coracle load -i {archive} || code=$?; {look}");
    let done = world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
        .fails(125);
    done.says("o space left on device");
    assert_eq!(done.stdout(), "");
}

#[test]
fn few_bytes_that_unpack_to_very_many() {
    let world = World::empty();
    let data = world.folder(".local/share");
    world
        .shell("mkdir tree; yes | head -c 900M > tree/big; tar -C tree -c big | zstd -q > bomb.tar.zst; rm -r tree")
        .ok();
    let setup = format!(
        "{NO_IDS}; mount -t tmpfs -o size=350m tmpfs {}",
        data.display()
    );
    // Looked at all the while: there is room for others to the end.
    let script = format!(
        r#"{setup}
        (while [ ! -e done ]; do stat -f -c %a {data}; done > free) &
        code=0; coracle import -q bomb.tar.zst bomb || code=$?
        touch done; wait
        coracle images -aq; ls {data}/coracle/staging
        echo $code $(($(sort -n free | head -n 1) * $(stat -f -c %S {data}) / 1048576 > 60))"#,
        data = data.display()
    );
    let done = world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
        .ok();
    done.says("no space left on device");
    assert_eq!(done.stdout().trim(), "125 1");
}

#[test]
fn a_full_disk_in_each_change_of_a_volume() {
    let world = World::empty();
    let data = world.folder(".local/share");
    let archive = crate::world::archive().display().to_string();
    world.file("tree/big", vec![b'x'; 4 << 20]);
    world.shell("tar -C tree -cf big.tar big").ok();
    let setup = format!(
        "{NO_IDS}; mount -t tmpfs -o size=9m tmpfs {}",
        data.display()
    );
    // All in one: the tmpfs is gone afterwards.
    let script = format!(
        r#"{setup}
        coracle load -q -i {archive} >/dev/null
        coracle volume create v >/dev/null
        coracle volume import v big.tar
        coracle volume create other >/dev/null
        sum=$(md5sum <~/.local/share/coracle/volumes/v/_data/big)
        try() {{
            code=0; coracle "$@" >/dev/null 2>error || code=$?
            echo "$code $(grep -c 'o space left on device' error) $(wc -l <error): $*"
            [ "$sum" = "$(md5sum <~/.local/share/coracle/volumes/v/_data/big)" ] || echo CHANGED
            [ -z "$(ls -A ~/.local/share/coracle/staging)" ] || echo LEFT
        }}
        try volume import other big.tar
        try volume import v big.tar
        try volume clone v w
        try volume snapshot v s
        try volume export v -o .local/share/out.tar
        coracle volume rm other >/dev/null
        head -c 1000000 tree/big >small; tar -cf small.tar small
        coracle volume create u >/dev/null
        coracle volume import u small.tar
        coracle volume snapshot u s >/dev/null
        dd if=/dev/zero of=.local/share/fill bs=64k 2>/dev/null || true
        try volume create x
        try volume import u small.tar
        try volume restore u s
        try run --rm --network=none -v fresh:/data localhost/test true
        rm .local/share/fill
        ls .local/share
        ls ~/.local/share/coracle/volumes
        ls ~/.local/share/coracle/containers
        coracle run --rm --network=none -v fresh:/data localhost/test cat /data/seed
        coracle volume rm -a >/dev/null
        coracle rmi -fa >/dev/null"#
    );
    let done = world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
        .ok();
    let wanted = "\
125 1 2: volume import other big.tar
125 1 2: volume import v big.tar
125 1 2: volume clone v w
125 1 2: volume snapshot v s
125 1 2: volume export v -o .local/share/out.tar
125 1 2: volume create x
125 1 2: volume import u small.tar
125 1 2: volume restore u s
125 1 2: run --rm --network=none -v fresh:/data localhost/test true
coracle
u
v
seed
";
    assert_eq!(done.stdout(), wanted, "{}", done.stderr());
}
