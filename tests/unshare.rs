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
