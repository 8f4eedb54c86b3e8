//! Volumes and bind mounts: what is in them, whose it is, and what stays.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::needs;
use crate::world::{World, store};

#[test]
fn a_folder_of_ours_is_seen_both_ways() {
    let world = World::new();
    world.file("mine/outside", "from outside\n");
    let inside = world
        .coracle("run --rm --network=none -v ./mine:/mine IMAGE sh -c 'cat /mine/outside; echo inside >/mine/inside'")
        .stdout();
    assert_eq!(inside, "from outside");
    let written = world.home().join("mine/inside");
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "inside\n");
    assert_eq!(
        written.metadata().unwrap().uid(),
        rustix::process::getuid().as_raw()
    );
    assert_eq!(
        written.metadata().unwrap().gid(),
        rustix::process::getgid().as_raw()
    );
}

#[test]
fn a_file_of_ours_can_be_mounted() {
    let world = World::new();
    world.file("config", "one\n");
    let mount = |options: &str, command: &str| {
        world
            .coracle(&format!(
                "run --rm --network=none -v ./config:/etc/config{options} IMAGE sh -c"
            ))
            .arg(command)
            .run()
    };
    assert_eq!(mount("", "cat /etc/config; echo two >/etc/config").code, 0);
    assert_eq!(
        std::fs::read_to_string(world.home().join("config")).unwrap(),
        "two\n"
    );
    assert_eq!(mount(":ro", "echo three >/etc/config").code, 1);
}

#[test]
fn mount_takes_podmans_spellings() {
    let world = World::new();
    let mine = world.file("mine/file", "x").parent().unwrap().to_owned();
    let mine = mine.display();
    for mount in [
        format!("type=bind,source={mine},destination=/m"),
        format!("type=bind,src={mine},dst=/m,ro"),
        format!("type=bind,src={mine},target=/m,readonly=true"),
        "type=volume,source=named,target=/m".to_owned(),
        "source=named,target=/m".to_owned(),
        "type=tmpfs,destination=/m,tmpfs-size=1m".to_owned(),
    ] {
        let words = [
            "IMAGE",
            "sh",
            "-c",
            "test -d /m && grep -c ' /m ' /proc/self/mountinfo",
        ];
        let run = world
            .coracle("run --rm --network=none --mount")
            .arg(&mount)
            .args(words);
        assert_eq!(run.stdout(), "1", "{mount}");
    }
    world
        .coracle("run --rm --mount type=nonsense,target=/m IMAGE true")
        .fails(125);
    world
        .coracle("run --rm --mount type=bind,source=/,nonsense=1,target=/m IMAGE true")
        .fails(125);
    world.coracle("volume rm named").ok();
}

#[test]
fn a_named_volume_stays() {
    let world = World::new();
    world.coracle("volume create results").ok();
    world
        .coracle("run --rm --network=none -v results:/out IMAGE sh -c 'echo done >/out/log'")
        .ok();
    let read = world.coracle("run --rm --network=none -v results:/in:ro IMAGE sh -c 'cat /in/log; touch /in/x 2>/dev/null || echo refused'");
    assert_eq!(read.stdout(), "done\nrefused");
    assert_eq!(world.coracle("volume ls -q").stdout(), "results");
    // One that is not there is made.
    world
        .coracle("run --rm --network=none -v other:/x IMAGE true")
        .ok();
    world.coracle("volume exists other").ok();
    world.coracle("volume rm results other").ok();
    assert_eq!(world.coracle("volume ls -q").stdout(), "");
}

#[test]
fn a_new_volume_is_filled_from_the_image() {
    let world = World::new();
    needs!(world, Subuids);
    let list = |flags: &str| {
        world
            .coracle(&format!("run --rm --network=none {flags} IMAGE sh -c"))
            .arg("stat -c '%n %u:%g %a' /data /data/*")
            .run()
            .stdout()
    };
    let filled = "/data 1000:1000 750\n/data/seed 1000:1000 640\n";
    assert_eq!(list("-v filled:/data"), filled);
    assert_eq!(list("--mount type=volume,src=mounted,dst=/data"), filled);
    assert!(!list("-v bare:/data:nocopy").contains("seed"));
    // Only the first time, and only an empty one.
    world
        .coracle("run --rm --network=none -v filled:/data IMAGE rm /data/seed")
        .ok();
    assert!(!list("-v filled:/data").contains("seed"));
    world
        .coracle("run --rm --network=none -v used:/other IMAGE touch /other/file")
        .ok();
    assert!(!list("-v used:/data").contains("seed"));
    world.coracle("volume rm -a").ok();
}

#[test]
fn anonymous_volumes_go_with_rm() {
    let world = World::new();
    let seen = "cat /data/seed; grep -c ' /data ' /proc/self/mountinfo";
    let run = world
        .coracle("run --rm --network=none VOLUME_IMAGE sh -c")
        .arg(seen);
    assert_eq!(run.stdout(), "seed\n1");
    world
        .coracle("run --rm --network=none -v /scratch IMAGE touch /scratch/x")
        .ok();
    assert_eq!(world.coracle("volume ls -q").stdout(), "");
    world
        .coracle("run --name kept --network=none -v /scratch VOLUME_IMAGE true")
        .ok();
    let volumes = world.coracle("volume ls -q").stdout();
    assert_eq!(volumes.lines().count(), 2);
    assert!(
        volumes
            .lines()
            .all(|name| name.len() == 64 && coracle::id::is_hex(name)),
        "{volumes}"
    );
    // rm keeps them, rm -v takes them.
    world.coracle("rm kept").ok();
    assert_eq!(world.coracle("volume ls -q").stdout().lines().count(), 2);
    world.coracle("volume prune -f").ok();
    assert_eq!(world.coracle("volume ls -q").stdout(), "");
    world.coracle("create --name kept VOLUME_IMAGE").ok();
    world.coracle("rm -v kept").ok();
    assert!(store::anonymous_volumes(&world).is_empty());
}

#[test]
fn image_volumes_can_be_a_tmpfs_or_ignored() {
    let world = World::new();
    let kind = |flags: &str| {
        world
            .coracle(&format!(
                "run --rm --network=none {flags} VOLUME_IMAGE sh -c"
            ))
            .arg("grep ' /data ' /proc/self/mountinfo | sed 's/.* - //; s/ .*//'")
            .stdout()
    };
    assert_eq!(kind("--image-volume=tmpfs"), "tmpfs");
    assert_eq!(kind("--image-volume=ignore"), "");
    // One of ours at the same place is taken instead.
    kind("-v named:/data");
    assert_eq!(world.coracle("volume ls -q").stdout(), "named");
    world.coracle("volume rm named").ok();
}

#[test]
fn volumes_from_another_container() {
    let world = World::new();
    world
        .coracle("create --name first -v shared:/shared -v /own VOLUME_IMAGE")
        .ok();
    let write = "echo x >/shared/f; echo y >/own/f; echo z >/data/f";
    world
        .coracle("run --rm --network=none --volumes-from first IMAGE sh -c")
        .arg(write)
        .ok();
    let read = "cat /shared/f /own/f /data/f; touch /shared/g 2>/dev/null || echo refused";
    let run = world
        .coracle("run --rm --network=none --volumes-from first:ro IMAGE sh -c")
        .arg(read);
    assert_eq!(run.stdout(), "x\ny\nz\nrefused");
    world.coracle("rm -v first").ok();
    assert_eq!(world.coracle("volume ls -q").stdout(), "shared");
    world.coracle("volume rm shared").ok();
}

#[test]
fn a_source_can_be_given_to_the_containers_user() {
    let world = World::new();
    needs!(world, Subuids);
    world.folder("mine");
    let run = "run --rm --network=none -u 1000 -v ./mine:/mine:U IMAGE";
    assert_eq!(
        world
            .coracle(run)
            .env("CORACLE_OWNERSHIP", "podman")
            .args(["stat", "-c", "%u", "/mine"])
            .stdout(),
        "1000"
    );
    assert_ne!(
        world.home().join("mine").metadata().unwrap().uid(),
        rustix::process::getuid().as_raw()
    );
    world.coracle("unshare chown 0:0 mine").ok();
}

#[test]
fn an_overlay_of_a_folder_of_ours_is_thrown_away() {
    let world = World::new();
    world.file("mine/file", "before\n");
    let run = world.coracle("run --rm --network=none -v ./mine:/mine:O IMAGE sh -c 'echo after >/mine/file; cat /mine/file'");
    assert_eq!(run.stdout(), "after");
    assert_eq!(
        std::fs::read_to_string(world.home().join("mine/file")).unwrap(),
        "before\n"
    );
}

#[test]
fn labels_of_selinux_are_accepted() {
    let world = World::new();
    world.folder("mine");
    world
        .coracle("run --rm --network=none -v ./mine:/mine:z -v v:/v:Z,rw IMAGE touch /mine/x /v/x")
        .ok();
    world.coracle("volume rm v").ok();
}

#[test]
fn mounts_that_cannot_be_are_refused_and_leave_nothing() {
    let world = World::new();
    let refused = |flags: &str, words: &str| {
        world
            .coracle(&format!("run --rm {flags} IMAGE true"))
            .fails(125)
            .says(words);
    };
    refused(
        "-v /no/such:/x",
        "statfs /no/such: no such file or directory",
    );
    refused("-v ./nosuch:/x", "no such file or directory");
    refused(
        "-v bad/name:/x",
        "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument",
    );
    refused(
        "-v _x:/x",
        "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument",
    );
    refused("-v a:/x -v b:/x", "/x: duplicate mount destination");
    refused("-v a:/x -v b:/x/", "duplicate mount destination");
    refused("-v a:/x --tmpfs /x", "duplicate mount destination");
    refused(
        "-v a:rel",
        "invalid container path \"rel\", must be an absolute path",
    );
    refused("-v a:/x:nonsense", "invalid option type \"nonsense\"");
    refused("--volumes-from nosuch", "nosuch");
    assert_eq!(world.coracle("volume ls -q").stdout(), "");
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn volume_commands() {
    let world = World::empty();
    assert_eq!(
        world.coracle("volume create --label a=b one").stdout(),
        "one"
    );
    let anonymous = world.coracle("volume create").stdout();
    assert_eq!(anonymous.len(), 64);
    world
        .coracle("volume create one")
        .fails(125)
        .says("volume with name one already exists: volume already exists");
    assert_eq!(world.coracle("volume create --ignore one").stdout(), "one");
    world
        .coracle("volume create -- -x")
        .fails(125)
        .says("names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument");
    world.coracle("volume exists one").ok();
    world.coracle("volume exists nosuch").fails(1);
    let point = world
        .coracle("volume inspect one --format {{.Mountpoint}}")
        .stdout();
    assert!(std::fs::metadata(&point).unwrap().is_dir());
    assert_eq!(
        std::fs::metadata(&point).unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert_eq!(
        world
            .coracle("volume inspect one --format '{{.Name}} {{.Driver}} {{.Labels}} {{.Scope}}'")
            .stdout(),
        "one local map[a:b] local"
    );
    let inspected = world.coracle("volume inspect one").stdout();
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected[0]["Labels"]["a"], "b");
    world
        .coracle("volume inspect nosuch")
        .fails(125)
        .says("no such volume nosuch");
    assert_eq!(world.coracle("volume ls -q -f label=a=b").stdout(), "one");
    assert_eq!(world.coracle("volume ls -q -f name=one").stdout(), "one");
    world
        .coracle("volume rm nosuch")
        .fails(1)
        .says("no volume with name \"nosuch\" found: no such volume");
    world.coracle("volume rm one").ok();
    world.coracle("volume rm").arg(&anonymous).ok();
    assert_eq!(world.coracle("volume ls -q").stdout(), "");
}

#[test]
fn volume_ls_is_a_table() {
    let world = World::empty();
    world.coracle("volume create one").ok();
    crate::assert_snapshot!(world.coracle("volume ls"), @"
    DRIVER  VOLUME NAME
    local  one
    ");
    assert_eq!(
        world
            .coracle("volume ls --format '{{.Name}}|{{.Driver}}'")
            .stdout(),
        "one|local"
    );
    let json = world.coracle("volume ls --format json").stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["Name"], "one");
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let world = World::new();
    let id = world.coracle("create --name it -v used:/x IMAGE").stdout();
    world.coracle("volume rm used").fails(2).says(&format!(
        "volume used is being used by the following container(s): {id}: volume is being used"
    ));
    world.coracle("volume prune -f").ok();
    world.coracle("volume exists used").ok();
    world.coracle("volume rm -f used").ok();
    world.coracle("container exists it").fails(1);
}

#[test]
fn subpaths_stay_within_the_volume() {
    let world = World::new();
    world.coracle("run --rm --network=none -v v:/v IMAGE sh -c 'mkdir /v/sub; echo in >/v/sub/f; ln -s / /v/out'").ok();
    let run = |subpath: &str| {
        world.coracle(&format!(
            "run --rm --network=none --mount type=volume,src=v,dst=/m,subpath={subpath} IMAGE ls /m"
        ))
    };
    assert_eq!(run("sub").stdout(), "f");
    // What is beneath stays when the container goes.
    assert_eq!(run("sub").stdout(), "f");
    // As with Podman `..` and links resolve within the volume.
    assert!(run("../..").stdout().contains("sub"));
    run("nosuch").fails(127);
    assert!(run("out").stdout().contains("sub"));
    world.coracle("volume rm v").ok();
}

#[test]
fn the_hosts_dev_may_be_the_containers() {
    let world = World::new();
    let seen = world
        .coracle("run --rm --network=none -v /dev:/dev IMAGE sh -c")
        .arg("echo x > /dev/null && ls -l /dev/stdout && df -a -k /dev/shm | tail -1")
        .stdout();
    let lines: Vec<&str> = seen.lines().collect();
    let own = std::fs::read_link("/dev/stdout").unwrap();
    assert!(
        lines[0].ends_with(&format!("-> {}", own.display())),
        "{seen}"
    );
    // Not the host's, but one of its own.
    assert!(lines[1].contains(" 64000 "), "{seen}");
    // A folder of ours keeps what it has, but for where /dev/shm is mounted.
    let dev = world.folder("dev");
    std::fs::write(dev.join("file"), "mine").unwrap();
    let seen = world
        .coracle("run --rm --network=none -v ./dev:/dev IMAGE ls /dev")
        .stdout();
    assert_eq!(seen, "file\nshm");
    let mut names = crate::world::names(&dev);
    names.sort();
    assert_eq!(names, ["file", "shm"]);
}
