//! Single-id mode: no subordinate ids, or no newuidmap, as on many clusters.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::needs;
use crate::world::{Cmd, World};

const SAID: &str = "only your own id is mapped, so the container has no users but one; /etc/subuid and /etc/subgid give ";

/// A line of shell where the caller has no other ids than their own.
fn alone<'w>(world: &'w World, line: &str) -> Cmd<'w> {
    let script =
        format!("mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid; {line}");
    world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
}

fn load(world: &World) {
    let archive = crate::world::archive().display().to_string();
    alone(world, &format!("coracle load -q -i {archive}")).ok();
}

/// The layers' files at `path`.
fn in_layers(world: &World, path: &str) -> PathBuf {
    let layers = world.data().join("layers");
    let mut layers = std::fs::read_dir(layers).unwrap();
    let found = layers.find_map(|layer| {
        let file = layer.unwrap().path().join("diff").join(path);
        file.exists().then_some(file)
    });
    found.expect("a layer has it")
}

fn kept_owner(path: &Path) -> Option<String> {
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(path, "user.coracle.owner", &mut value[..]).ok()?;
    Some(String::from_utf8_lossy(&value[..length]).into_owned())
}

#[test]
fn an_image_of_several_owners_runs_as_root() {
    let world = World::empty();
    load(&world);
    // Whose the files should be is kept.
    let seed = in_layers(&world, "data/seed");
    assert_eq!(kept_owner(&seed).as_deref(), Some("1000:1000:640"));
    assert_eq!(
        kept_owner(&in_layers(&world, "home/user")).as_deref(),
        Some("1000:1000:750")
    );
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(seed.metadata().unwrap().uid(), uid);
    let done = alone(
        &world,
        "coracle run --rm --network=none localhost/test sh -c \
         'id -u; stat -c %u:%a /data/seed; touch /new; cat /data/seed'",
    )
    .ok();
    assert_eq!(done.stdout(), "0\n0:640\nseed\n");
    // One line, with what to do.
    assert!(done.stderr().starts_with(&format!("Warning: {SAID}")));
    assert_eq!(done.stderr().lines().count(), 1, "{}", done.stderr());
    alone(&world, "coracle rmi -fa").ok();
}

/// In one go, as a container can be met only where it was started.
#[test]
fn all_of_a_containers_life() {
    let world = World::empty();
    load(&world);
    let done = alone(
        &world,
        "coracle run -d --name web --network=none -v vol:/data localhost/test sleep 1000 >id
        coracle exec web sh -c 'id -u; id -G; cat /data/seed; echo new > /data/new'
        code=0; coracle exec -u user web true || code=$?; echo $code
        coracle explain --format '{{.Path.Owner.User}}' web /data/new
        coracle stop -t 0 web
        coracle explain --format '{{.Path.Owner.User}} {{.Path.Write.Allowed}}' web /data/new
        coracle start web
        coracle exec web cat /data/new
        stat -c %u .local/share/coracle/volumes/vol/_data/new
        coracle rm -f -t 0 web; coracle volume rm vol; coracle rmi -fa >/dev/null",
    )
    .ok();
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(
        done.stdout(),
        format!("0\n0\nseed\n255\nroot\nweb\nroot true\nweb\nnew\n{uid}\nweb\nvol\n")
    );
    done.says("uid 1000 is not mapped in the container's user namespace")
        .says("Hint: /etc/subuid and /etc/subgid give ")
        .says("`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ");
    let layers = std::fs::read_dir(world.data().join("layers")).unwrap();
    assert_eq!(layers.count(), 0);
}

#[test]
fn a_user_that_is_not_root_is_the_caller() {
    let world = World::empty();
    load(&world);
    let own = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let (own, kept) = (
        format!("{}:{}", own.0, own.1),
        format!("{}\n{}\n", own.0, own.1),
    );
    for (line, output) in [
        ("localhost/user", "1000\n1000\n"),
        ("--user 7:8 localhost/test", "7\n8\n"),
        ("--user 7:8 -v vol:/data localhost/test", "7\n8\n"),
        ("--userns=keep-id localhost/test", &kept),
        (
            "--userns=keep-id:uid=5,gid=6 localhost/user",
            "1000\n1000\n",
        ),
        ("--uidmap 0:0:1 --gidmap 0:0:1 localhost/test", "0\n0\n"),
    ] {
        world.folder("mine");
        let run = format!("coracle run --rm --network=none -v ./mine:/mine {line} ");
        let done = alone(
            &world,
            &format!("{run} sh -c 'id -u; id -g; touch /mine/f'"),
        )
        .run();
        if line.contains("uid=5") {
            // Two users that would both have to be the caller.
            assert_eq!(done.code, 126, "{}", done.stderr());
            done.says("uid 1000 is not mapped");
            continue;
        }
        assert_eq!(done.stdout(), output, "{line}: {}", done.stderr());
        let made = world.home().join("mine/f").metadata().unwrap();
        assert_eq!(format!("{}:{}", made.uid(), made.gid()), own, "{line}");
        std::fs::remove_file(world.home().join("mine/f")).unwrap();
    }
    // Without a bind mount, too: there could be no such user else.
    let done = alone(
        &world,
        "coracle run --rm --network=none localhost/user id -u",
    )
    .ok();
    assert_eq!(done.stdout(), "1000\n");
    // But not where Podman's ways are wanted.
    alone(
        &world,
        "CORACLE_OWNERSHIP=podman coracle run --rm --network=none localhost/user id",
    )
    .fails(126)
    .says("uid 1000 is not mapped")
    .says("Hint: /etc/subuid");
    for mode in ["auto", "nomap"] {
        alone(
            &world,
            &format!("coracle run --rm --network=none --userns={mode} localhost/test true"),
        )
        .fails(125)
        .says("needs subordinate ids");
    }
    alone(&world, "coracle volume rm vol; coracle rmi -fa").ok();
}

/// With ids again, files are whose the image says, whatever happened before.
#[test]
fn a_store_that_was_made_so_is_mended() {
    let world = World::empty();
    needs!(world, Subuids);
    load(&world);
    alone(
        &world,
        "coracle create --name old -v old:/data localhost/test cat /data/seed",
    )
    .ok();
    // The image first meets its ids under another map than the default.
    let line = "stat -c '%u:%g %a %y' /data/seed /home/user";
    let shown = world
        .coracle(&format!(
            "run --rm --network=none --userns=keep-id --user 0 localhost/test {line}"
        ))
        .stdout();
    let time = "2026-01-02 03:04:05.000000000 +0000";
    assert_eq!(shown, format!("1000:1000 640 {time}\n1000:1000 750 {time}"));
    let plain = world.coracle(&format!("run --rm --network=none localhost/test {line}"));
    assert_eq!(plain.stdout(), shown);
    let data = in_layers(&world, "data");
    let uid = rustix::process::getuid().as_raw();
    assert_ne!(data.metadata().unwrap().uid(), uid);
    let record =
        std::fs::read_to_string(data.parent().unwrap().with_file_name("layer.json")).unwrap();
    assert!(record.contains("\"single\":false"), "{record}");
    assert_eq!(world.coracle("start -a old").stdout(), "seed");
    world.coracle("rm old").ok();
    world.coracle("volume rm old").ok();
    world.coracle("rmi -fa").ok();
}

/// Without ids that there were, containers run as far as they can, and what cannot
/// be deleted goes as soon as it can.
#[test]
fn a_store_of_other_ids_is_in_nobodys_way() {
    let world = World::new();
    needs!(world, Subuids);
    world
        .coracle(
            "run --name old --network=none IMAGE sh -c 'mkdir /d; touch /d/f; chown -R 5:5 /d'",
        )
        .ok();
    let done = alone(
        &world,
        "coracle run --rm --network=none localhost/test sh -c 'id -u; touch /new; ls /home'",
    )
    .ok();
    assert_eq!(done.stdout(), "0\nuser\n");
    done.says(SAID)
        .says("image localhost/test:latest was loaded when you had subordinate ids: what in it is not root's is nobody's now");
    alone(&world, "coracle rm old")
        .fails(125)
        .says("not permitted")
        .says("Hint: files of your subordinate ids are deleted by the next command that can have these; /etc/subuid");
    // What is left of it keeps nobody from anything.
    let done = alone(
        &world,
        "coracle ps -aq; coracle run --rm --network=none localhost/test true",
    );
    assert_eq!(done.ok().stdout(), "");
    assert_eq!(world.coracle("rm -a").stdout(), "");
    world.wait_for_processes();
    let staging = world.data().join("staging");
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
}

/// What comes out has the image's owners, though all files are one's own.
#[test]
fn files_come_out_with_the_images_owners() {
    let world = World::empty();
    load(&world);
    let done = alone(
        &world,
        "coracle run --name it --network=none localhost/test sh -c 'touch /new /data/seed; rm /etc/group' 2>/dev/null
        coracle diff it
        coracle export it | tar --numeric-owner -tv | awk '$6 ~ /^(data.seed|home.user.|new)$/ {print $1, $2, $6}'
        coracle commit -q it made >id
        coracle commit -q --squash it whole >id
        coracle rm it
        for image in made whole; do
            coracle create --name it $image >id
            coracle export it | tar --numeric-owner -tv | awk '$6 ~ /^(data.seed|new|etc.group)$/ {print $1, $2, $6}'
            echo x >x; coracle cp x it:/tmp/x; coracle cp it:/tmp/x y; cmp x y
            coracle cp it:/data/seed - | tar --numeric-owner -tv | awk '{print $2}'
            coracle cp -a=false it:/data/seed - | tar --numeric-owner -tv | awk '{print $2}'
            coracle rm it
        done",
    )
    .ok();
    let wanted = "\
C /data/seed
C /etc
D /etc/group
A /new
-rw-r----- 1000/1000 data/seed
drwxr-x--- 1000/1000 home/user/
-rw-r--r-- 0/0 new
it
-rw-r----- 1000/1000 data/seed
-rw-r--r-- 0/0 new
1000/1000
1000/1000
it
-rw-r----- 1000/1000 data/seed
-rw-r--r-- 0/0 new
1000/1000
1000/1000
it
";
    assert_eq!(done.stdout(), wanted, "{}", done.stderr());
    alone(&world, "coracle rmi -fa").ok();
}
