//! Images under other id maps than the default, by each way there is to have them.

use std::time::Instant;

use rustix::process::Signal;

use crate::needs;
use crate::world::{Cmd, World, names, store};

/// What `CORACLE_SHIFT` can say that works on this machine.
fn methods(world: &World) -> Vec<&'static str> {
    world
        .coracle("run --rm --network=none --userns=keep-id IMAGE true")
        .ok();
    let tree = trees(world).pop().expect("a tree was made");
    world.coracle("rmi -f user volume").ok();
    // On a kernel that cannot, the copies are all there is.
    match tree.ends_with("-copy") {
        true => vec!["copy"],
        false => vec!["metadata", "copy"],
    }
}

fn trees(world: &World) -> Vec<String> {
    names(&world.data().join("shifted"))
}

/// The store is whole once the last monitor has left.
#[track_caller]
fn is_whole(world: &World) {
    world.wait_for_processes();
    let wrong = store::wrong(world);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn run<'w>(world: &'w World, method: &str, line: &str) -> Cmd<'w> {
    world
        .coracle(&format!("run --network=none {line}"))
        .env("CORACLE_SHIFT", method)
}

/// Names, kinds, modes, owners, sizes and times of all that the image has.
const SHOW: &str = "cd /; find . -xdev -mindepth 1 ! -path './proc*' ! -path './sys*' ! -path './dev*' \
    ! -path ./etc ! -path './etc/host*' ! -path './etc/resolv.conf' ! -path './etc/mtab' ! -path './run*' \
    | sort | while read -r f; do stat -c '%n %f %u %g %s %Y' \"$f\"; done; \
    cat /data/seed /etc/passwd | md5sum; md5sum bin/busybox";

#[test]
fn the_container_sees_the_image_as_it_is() {
    let world = World::new();
    needs!(world, Subuids);
    let show = |flags: &str, method: &str| {
        let image = format!("--rm --read-only --read-only-tmpfs=false {flags} IMAGE sh -c");
        run(&world, method, &image).arg(SHOW).stdout()
    };
    let plain = show("--user 0", "");
    assert!(plain.lines().count() > 60, "{plain}");
    assert!(plain.contains("./data/seed 81a0 1000 1000 5 "), "{plain}");
    for method in methods(&world) {
        for map in [
            "--userns=keep-id:uid=1000,gid=1000",
            "--userns=nomap",
            "--uidmap 0:1:2000 --gidmap 0:10:2000",
        ] {
            let shown = show(&format!("--user 0 {map}"), method);
            for (shown, plain) in shown.lines().zip(plain.lines()) {
                assert_eq!(shown, plain, "{method} {map}");
            }
            assert_eq!(shown.lines().count(), plain.lines().count());
        }
    }
}

#[test]
fn a_map_that_shows_the_same_needs_no_tree() {
    let world = World::new();
    needs!(world, Subuids);
    for map in ["keep-id:uid=0,gid=0", "host"] {
        let line = format!("run --rm --network=none --userns={map} IMAGE true");
        world.coracle(&line).ok();
        assert!(trees(&world).is_empty(), "{map}");
    }
}

#[test]
fn what_a_map_leaves_out_is_nobodys_and_root_must_be_there() {
    let world = World::new();
    needs!(world, Subuids);
    for method in methods(&world) {
        let stat = "stat -c %u:%g /data /bin/busybox";
        let seen = run(
            &world,
            method,
            &format!("--rm --uidmap 0:1:9 --gidmap 0:1:9 IMAGE {stat}"),
        );
        assert_eq!(seen.stdout(), "65534:65534\n0:0");
    }
    let before = trees(&world);
    let line = "run --name it --network=none --uidmap 5:1:9 --gidmap 5:1:9 IMAGE true";
    for line in [line, &line.replace("run", "create")] {
        world
            .coracle(line)
            .fails(125)
            .says("container ID 0 cannot be mapped to a host ID");
    }
    assert_eq!(trees(&world), before);
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn volumes_overlays_and_images_have_the_containers_ids() {
    let world = World::new();
    needs!(world, Subuids);
    for method in methods(&World::new()) {
        let folder = world.folder(&format!("folder-{method}"));
        std::fs::write(folder.join("mine"), "mine").unwrap();
        let stat = "stat -c '%n %u %g'";
        let map = "--userns=keep-id:uid=1000,gid=1000";
        // A volume is filled from the image, an overlay and an image stand beside.
        let line = format!(
            "--rm {map} --user 0 -v v-{method}:/data -v {}:/o:O --mount type=image,src=USER_IMAGE,dst=/image \
             --mount type=image,src=IMAGE,dst=/rw,rw=true VOLUME_IMAGE sh -c",
            folder.display()
        );
        let line = line
            .replace("USER_IMAGE", "localhost/user:latest")
            .replace("src=IMAGE", "src=localhost/test:latest");
        let seen = run(&world, method, &line)
            .arg(format!(
                "{stat} /data /data/seed /o/mine /image/data/seed /image/bin /rw/home/user; \
                 cat /data/seed /image/data/seed /o/mine; echo more >/rw/data/seed; cat /rw/data/seed; \
                 echo changed >/o/mine; ! touch /image/new 2>/dev/null"
            ))
            .stdout();
        assert_eq!(
            seen,
            "/data 1000 1000\n/data/seed 1000 1000\n/o/mine 1000 1000\n/image/data/seed 1000 1000\n\
             /image/bin 0 0\n/rw/home/user 1000 1000\nseed\nseed\nminemore"
        );
        assert_eq!(
            std::fs::read_to_string(folder.join("mine")).unwrap(),
            "mine"
        );
        // The volume's files are the caller's, as user 1000 is.
        let seed = world.data().join(format!("volumes/v-{method}/_data/seed"));
        use std::os::unix::fs::MetadataExt;
        let owner = std::fs::metadata(seed).unwrap().uid();
        assert_eq!(owner, rustix::process::getuid().as_raw());
        world.coracle(&format!("volume rm v-{method}")).ok();
    }
}

#[test]
fn a_container_keeps_its_files_from_start_to_start() {
    let world = World::new();
    needs!(world, Subuids);
    for method in methods(&World::new()) {
        let map = "--userns=keep-id:uid=1000,gid=1000";
        let line = format!("-d --name it {map} USER_IMAGE sleep 1000");
        run(&world, method, &line).ok();
        let exec = |command: &str| world.coracle(&format!("exec it {command}")).stdout();
        assert_eq!(exec("id -u"), "1000");
        assert_eq!(
            exec("sh -c 'echo more >>/data/seed; cat /data/seed'"),
            "seed\nmore"
        );
        assert_eq!(exec("stat -c %u /data/seed"), "1000");
        for change in ["restart -t 0 it", "kill it", "wait it", "start it"] {
            if change.starts_with("restart") {
                world.coracle("stop -t 0 it").ok();
                world.coracle("start it").ok();
                continue;
            }
            world.coracle(change).ok();
        }
        assert_eq!(exec("cat /data/seed"), "seed\nmore");
        // The next container has the image's.
        let line = format!("--rm {map} USER_IMAGE cat /data/seed");
        assert_eq!(run(&world, method, &line).stdout(), "seed");
        // In use, the image stays, and its tree with it.
        let before = trees(&world);
        world
            .coracle("rmi user")
            .fails(2)
            .says("image is in use by a container");
        assert_eq!(trees(&world), before);
        world.coracle("rm -f -t 0 it").ok();
    }
    world.coracle("rmi user").ok();
    assert_eq!(trees(&world), [] as [String; 0]);
    is_whole(&world);
}

#[test]
fn trees_go_with_their_image() {
    let world = World::new();
    needs!(world, Subuids);
    let make = |image: &str| {
        for method in ["", "copy"] {
            let line = format!("--rm --userns=keep-id {image} true");
            run(&world, method, &line).ok();
        }
    };
    make("USER_IMAGE");
    make("IMAGE");
    let all = trees(&world).len();
    world.coracle("rmi user").ok();
    assert_eq!(trees(&world).len(), all / 2);
    world.coracle("image prune -af").ok();
    assert_eq!(trees(&world), [] as [String; 0]);
    // Layers whose files had further names are gone as well.
    assert_eq!(names(&world.data().join("layers")), [] as [String; 0]);
    is_whole(&world);
}

#[test]
fn of_many_at_once_one_makes_the_tree() {
    let world = World::new();
    needs!(world, Subuids);
    for method in ["", "copy"] {
        let line = "--rm --userns=keep-id:uid=7,gid=7 IMAGE cat /etc/group";
        let all: Vec<_> = (0..6).map(|_| run(&world, method, line).spawn()).collect();
        for running in all {
            let done = running.wait();
            assert_eq!(done.code, 0, "{}", done.stderr());
            assert!(done.stdout().contains("staff"), "{}", done.stdout());
        }
    }
    let all = trees(&world);
    let copies = all.iter().filter(|tree| tree.ends_with("-copy")).count();
    assert!(copies == 1 && all.len() <= 2, "{all:?}");
    is_whole(&world);
}

/// A method that this file system has not is an error, and no other is taken.
#[test]
fn a_method_is_forced() {
    let world = World::new();
    needs!(world, Subuids);
    let line = "--name it --userns=keep-id IMAGE true";
    run(&world, "rsync", line)
        .fails(125)
        .says("CORACLE_SHIFT is \"rsync\"");
    let done = run(&world, "reflink", line).run();
    if done.code != 0 {
        done.says("this file system cannot share blocks between files");
        assert_eq!(trees(&world), [] as [String; 0]);
        assert_eq!(world.coracle("ps -aq").stdout(), "");
    }
    is_whole(&world);
    world.coracle("rm -f it").run();
}

/// The test image with so many more files that a tree of it takes its time.
fn large() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let base = crate::world::layer();
    for entry in tar::Archive::new(&base[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut header = entry.header().clone();
        let path = entry.path().unwrap().into_owned();
        match entry.link_name().unwrap().map(|it| it.into_owned()) {
            Some(to) => tar.append_link(&mut header, path, to).unwrap(),
            None => tar.append_data(&mut header, path, &mut entry).unwrap(),
        }
    }
    for number in 0..1500 {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_uid(number % 7);
        header.set_gid(1000);
        let path = format!("files/a-folder-of-some-length-{}/{number}", number % 40);
        let content = path.repeat(20);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn makers_are_killed_at_any_moment() {
    let world = World::new();
    needs!(world, Subuids);
    let archive = world.file("large.tar", large());
    let load = || {
        let archive = archive.to_str().unwrap();
        world.coracle("import -q").arg(archive).arg("large").ok()
    };
    load();
    let begun = Instant::now();
    run(
        &world,
        "",
        "--rm --uidmap 0:100:2000 --gidmap 0:1:2000 large true",
    )
    .ok();
    let whole = begun.elapsed();
    let (mut half_made, mut removed) = (0, 0);
    for round in 0..16_u32 {
        let method = ["", "copy"][round as usize % 2];
        // Of no two rounds do the files belong to the same ids.
        let map = format!("--uidmap 0:{}:2000 --gidmap 0:1:2000", round + 1);
        let line = format!("--rm {map} large true");
        let cli = run(&world, method, &line).spawn();
        // The moment is what varies: this waits for nothing.
        std::thread::sleep(whole * (round * 7 % 20) / 20);
        let other = (round % 4 == 0).then(|| world.coracle("rmi -f large").spawn());
        cli.signal(Signal::KILL);
        cli.wait();
        half_made += names(&world.data().join("staging")).len();
        if other.is_some_and(|other| other.wait().code == 0) {
            removed += 1;
            load();
        }
        // The next command sweeps, and nothing is half there.
        let find = "find /files -type f -exec cat {} +";
        let line = format!("--rm {map} large sh -c '{find} | md5sum; {find} | wc -c'");
        let seen = run(&world, method, &line).stdout();
        static FIRST: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        assert_eq!(&seen, FIRST.get_or_init(|| seen.clone()), "round {round}");
        is_whole(&world);
    }
    assert!(half_made > 0 && removed > 0, "{half_made} {removed}");
}

/// cron and its like take no file with a second name: what they read keeps one.
#[test]
fn the_images_own_files_keep_their_names() {
    let world = World::new();
    needs!(world, Subuids);
    let count = "stat -c %h /etc/passwd /bin/busybox /data/seed";
    let before = run(&world, "", &format!("--rm IMAGE {count}")).stdout();
    assert_eq!(before, "1\n1\n1");
    let shifted = run(
        &world,
        "",
        &format!("--rm --userns=keep-id --user 0 IMAGE {count}"),
    );
    assert_eq!(shifted.stdout(), "1\n1\n1");
    assert_eq!(
        run(&world, "", &format!("--rm IMAGE {count}")).stdout(),
        before
    );
}
