//! `coracle unshare`.

use crate::needs;
use crate::world::World;

#[test]
fn the_caller_is_root_and_subordinate_ids_follow() {
    let world = World::empty();
    needs!(world, Subuids);
    let map = world.coracle("unshare cat /proc/self/uid_map").stdout();
    let lines: Vec<Vec<u64>> = map
        .lines()
        .map(|line| {
            line.split_whitespace()
                .map(|it| it.parse().unwrap())
                .collect()
        })
        .collect();
    let uid = u64::from(rustix::process::getuid().as_raw());
    assert_eq!(lines[0], [0, uid, 1]);
    assert_eq!(lines[1][0], 1);
}

#[test]
fn the_commands_exit_code_is_ours() {
    let world = World::empty();
    world.coracle("unshare sh -c 'exit 7'").fails(7);
    world.coracle("unshare true").ok();
    world
        .coracle("unshare /no/such/program")
        .fails(127)
        .says("executable file not found in $PATH");
    let text = world.file("text", "no program");
    world.coracle("unshare").arg(text).fails(126);
}

#[test]
fn flags_after_the_command_are_the_commands() {
    let world = World::empty();
    assert_eq!(world.coracle("unshare printf %s --help").stdout(), "--help");
}

#[test]
fn bytes_go_through_unchanged() {
    let world = World::empty();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    assert_eq!(
        world.coracle("unshare cat").stdin(bytes.clone()).ok().out,
        bytes
    );
}

#[test]
fn files_of_other_ids_are_ours_to_remove() {
    let world = World::empty();
    needs!(world, Subuids);
    let folder = world.folder("folder");
    world.coracle("unshare chown 1000:1000 folder").ok();
    let owner = std::os::unix::fs::MetadataExt::uid(&folder.metadata().unwrap());
    assert_ne!(owner, rustix::process::getuid().as_raw());
    world.coracle("unshare rmdir folder").ok();
}

#[test]
fn a_network_namespace_with_a_way_out() {
    let world = World::empty();
    needs!(world, Tun, Pasta);
    let own = world.coracle("unshare readlink /proc/self/ns/net").stdout();
    let other = world
        .coracle("unshare --rootless-netns readlink /proc/self/ns/net")
        .stdout();
    assert_ne!(own, other);
    let devices = world
        .coracle("unshare --rootless-netns cat /proc/net/dev")
        .stdout();
    let names = devices.lines().filter_map(|line| line.split_once(':'));
    assert_eq!(names.filter(|(name, _)| name.trim() != "lo").count(), 1);
    let resolv_conf = world
        .coracle("unshare --rootless-netns cat /etc/resolv.conf")
        .stdout();
    assert!(
        resolv_conf.starts_with("nameserver 169.254.1.1\n"),
        "{resolv_conf}"
    );
    // Out of it, nothing has changed, and of its making nothing is left.
    assert_ne!(
        world.coracle("unshare cat /etc/resolv.conf").stdout(),
        resolv_conf
    );
    assert_eq!(
        std::fs::read_dir(world.runtime().join("coracle"))
            .unwrap()
            .count(),
        0
    );
    world
        .coracle("unshare --rootless-netns sh -c 'exit 7'")
        .fails(7);
    world.wait_for_processes();
}

#[test]
fn the_command_is_told_where_the_store_is() {
    let world = World::empty();
    let told = world
        .coracle("unshare sh -c 'echo $CONTAINERS_GRAPHROOT $CONTAINERS_RUNROOT'")
        .stdout();
    let runtime = world.runtime().join("coracle");
    assert_eq!(
        told,
        format!("{} {}", world.data().display(), runtime.display())
    );
}

#[test]
fn a_containers_root_is_mounted_and_written() {
    let world = World::new();
    needs!(world, Subuids);
    world
        .coracle("create --name it --network none IMAGE cat /new")
        .ok();
    let other = "create --name other --userns keep-id --user 7 --network none IMAGE cat /new";
    world.coracle(other).ok();
    for name in ["it", "other"] {
        world
            .coracle("mount")
            .arg(name)
            .fails(125)
            .says("must execute `coracle unshare` first");
        let write = format!("echo hello > $(coracle mount {name})/new; coracle umount {name}");
        let umount = world.coracle("unshare sh -c").arg(write).stdout();
        assert_eq!(umount, name);
        assert_eq!(world.coracle("start -a").arg(name).stdout(), "hello");
    }
    // Nobody starts it while its files are somebody's.
    let start = "coracle mount it; coracle start it; coracle mount --format json";
    let done = world.coracle("unshare sh -c").arg(start).run();
    let place = done.stdout();
    assert!(place.contains("\"mountpoint\": \""), "{place}");
    assert!(
        done.stderr().contains("is mounted by process"),
        "{}",
        done.stderr()
    );
    // The shell's end is the mount's.
    assert_eq!(world.coracle("start -a it").stdout(), "hello");
    world.coracle("rm -f it other").ok();
}
