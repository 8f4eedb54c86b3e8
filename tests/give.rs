//! `-v …:U`: the source is given to the container's user, and nothing else is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::needs;
use crate::world::World;

fn owner(path: &Path) -> (u32, u32) {
    let found = path.symlink_metadata().unwrap();
    (found.uid(), found.gid())
}

/// The host's id of the container's `id`.
fn outside(world: &World, id: u32) -> u32 {
    let map = world.coracle("unshare cat /proc/self/uid_map").stdout();
    let line = map.lines().nth(1).unwrap();
    let first: u32 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    first + id - 1
}

#[test]
fn a_tree_becomes_the_users() {
    let world = World::new();
    needs!(world, Subuids);
    let tree = world.folder("tree");
    world.file("tree/a/file", "x");
    world.file("outside/kept", "x");
    std::os::unix::fs::symlink("../outside", tree.join("link")).unwrap();
    let given = (outside(&world, 7), outside(&world, 8));
    let mine = owner(&world.home());
    world
        .coracle(
            "run --rm --network=none --userns=host --user 7:8 -v ./tree:/tree:U IMAGE sh -c 'echo y > /tree/new'",
        )
        .ok();
    for path in ["tree", "tree/a", "tree/a/file", "tree/link", "tree/new"] {
        assert_eq!(owner(&world.home().join(path)), given, "{path}");
    }
    assert_eq!(owner(&world.home().join("outside")), mine);
    assert_eq!(owner(&world.home().join("outside/kept")), mine);
    // What is right is not touched again.
    let changed = |path: &str| {
        let found = world.home().join(path).symlink_metadata().unwrap();
        (found.ctime(), found.ctime_nsec())
    };
    let before = changed("tree/a/file");
    world
        .coracle("run --rm --network=none --userns=host --user 7:8 -v ./tree:/tree:U IMAGE true")
        .ok();
    assert_eq!(changed("tree/a/file"), before);
    world
        .coracle("run --rm --network=none -v ./tree:/tree:U IMAGE true")
        .ok();
    assert_eq!(owner(&tree.join("a/file")), mine);
}

#[test]
fn a_volume_and_a_single_file() {
    let world = World::new();
    needs!(world, Subuids);
    world
        .coracle("run --rm --network=none -v v:/v IMAGE sh -c 'mkdir /v/d && touch /v/d/f'")
        .ok();
    let inside = world
        .coracle("run --rm --network=none --userns=host --user 5:6 -v v:/v:U IMAGE stat -c %u:%g /v /v/d /v/d/f")
        .stdout();
    assert_eq!(inside, "5:6\n5:6\n5:6");
    let file = world.file("file", "x");
    world
        .coracle(
            "run --rm --network=none --userns=host --user 5:6 -v ./file:/file:U IMAGE cat /file",
        )
        .ok();
    assert_eq!(owner(&file), (outside(&world, 5), outside(&world, 6)));
    world
        .coracle("run --rm --network=none -v ./file:/file:U IMAGE true")
        .ok();
}

#[test]
fn homes_and_the_system_are_refused() {
    let world = World::new();
    let home = world.home();
    let above = home.parent().unwrap().display().to_string();
    for path in [
        "/",
        "/home",
        "/usr",
        "/var/tmp/../../etc",
        ".",
        &above,
        ".local",
    ] {
        let done = world
            .coracle("run --rm --network=none -v")
            .arg(format!("{path}:/x:U"))
            .args(["IMAGE", "true"])
            .fails(126);
        done.says("chowning host path \"/").says("is not allowed");
    }
    let link = home.join("link");
    std::os::unix::fs::symlink(&home, &link).unwrap();
    world
        .coracle("run --rm --network=none -v ./link:/x:U IMAGE true")
        .fails(126)
        .says("is not allowed");
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

/// A container that shares the tree swaps folders for links all the time: what the
/// links lead to stays the caller's.
#[test]
fn a_swapped_folder_leads_nowhere_else() {
    let world = World::new();
    needs!(world, Subuids);
    // Enough that a walk is overtaken by swaps.
    for number in 0..60 {
        for file in 0..40 {
            world.file(&format!("tree/d/{number}/{file}"), "x");
            world.file(&format!("mine/{number}/{file}"), "x");
        }
    }
    let mine = owner(&world.home());
    // The link means nothing in the container, and the caller's folder outside.
    let target = world.home().join("mine");
    let swap = format!(
        "cd /tree; ln -s {} evil; while :; do mv d good && mv evil d; mv d evil && mv good d; done",
        target.display()
    );
    world
        .coracle("run -d --name swapper --network=none -v ./tree:/tree IMAGE sh -c")
        .arg(swap)
        .ok();
    for round in 0..8 {
        let user = ["--user=9:9", "--user=7:8"][round % 2];
        // A folder that is away for a moment is no failure of ours, nor a success.
        world
            .coracle("run --rm --network=none --userns=host")
            .arg(user)
            .args(["-v", "./tree:/tree:U", "IMAGE", "true"])
            .run();
    }
    world.coracle("rm -f -t 0 swapper").ok();
    for entry in walkdir::WalkDir::new(&target) {
        let entry = entry.unwrap();
        assert_eq!(owner(entry.path()), mine, "{}", entry.path().display());
    }
}
