//! Command lines that cannot be, and those that only ask.

use crate::assert_snapshot;
use crate::world::World;

#[test]
fn the_version_is_one_line_that_ends_in_podmans() {
    let world = World::empty();
    let line = world.coracle("--version").stdout();
    assert_eq!(line.lines().count(), 1);
    assert!(line.starts_with("coracle version "), "{line}");
    assert!(line.ends_with(" podman version 5.8.6"), "{line}");
    // podman-compose sends an empty word.
    assert_eq!(world.coracle("--version ''").stdout(), line);
}

#[test]
fn a_command_that_is_none_is_named() {
    let world = World::empty();
    assert_snapshot!(world.coracle("unshar true"), @"
    --- stderr
    Error: unrecognized command `coracle unshar`
    Try 'coracle --help' for more information
    Hint: did you mean `coracle unshare`?
    --- exit 125
    ");
    world
        .coracle("system nonsense")
        .fails(125)
        .says("unrecognized command `coracle system nonsense`");
}

#[test]
fn a_flag_that_is_none_is_named() {
    let world = World::empty();
    world
        .coracle("unshare --nonsense true")
        .fails(125)
        .says("unknown flag: --nonsense");
    world
        .coracle("--nonsense unshare true")
        .fails(125)
        .says("unknown flag: --nonsense");
}

#[test]
fn what_podman_has_and_we_do_not_yet_is_said() {
    let world = World::empty();
    world
        .coracle("--remote unshare true")
        .fails(125)
        .says("--remote is not supported by coracle yet");
}

#[test]
fn global_options_are_accepted_before_the_command() {
    let world = World::empty();
    world
        .coracle(
            "--log-level=debug --storage-driver overlay --cgroup-manager cgroupfs unshare true",
        )
        .ok();
    world.coracle("--remote=false unshare true").ok();
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let world = World::empty();
    let done = world
        .shell("set -o pipefail; coracle --help | head -n 1 >/dev/null")
        .ok();
    assert_eq!(done.stderr(), "");
    assert_eq!(world.shell("coracle --help >&-").ok().stderr(), "");
}
