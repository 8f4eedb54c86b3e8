//! A container's files as files: `diff`, `export`, `commit`, `cp`.

use crate::needs;
use crate::world::World;

/// What `tar -tv` says of a container's export, but for what images are made with.
fn exported(world: &World, name: &str) -> String {
    let line = format!("coracle export {name} | tar --numeric-owner -tv --full-time | sort -b -k6");
    world.shell(&line).stdout()
}

const CHANGES: &str = "mkdir -p /a/b; echo x >/a/b/f; ln /a/b/f /a/same; ln -s f /a/link; \
     mkfifo /a/fifo; rm /etc/group; rm -r /data; mkdir /data; echo z >/data/z; \
     chown 5:6 /a/b/f; chmod 4711 /a/b/f; truncate -s 3M /a/hole; chmod 700 /home; echo v >/vol/v";

#[test]
fn a_container_is_compared_with_its_image() {
    let world = World::new();
    let run = "run --name it --network=none -v /vol --tmpfs /tt IMAGE sh -c";
    world.coracle(run).arg(CHANGES).ok();
    let wanted = "\
A /a
A /a/b
A /a/b/f
A /a/fifo
A /a/hole
A /a/link
A /a/same
D /data
A /data/z
C /etc
D /etc/group
C /home
A /tt
A /vol
";
    assert_eq!(world.coracle("diff it").ok().stdout(), wanted);
    assert_eq!(world.coracle("container diff -l").ok().stdout(), wanted);
    let against = world.coracle("diff it IMAGE").ok();
    assert_eq!(against.stdout(), wanted);
    let json = world.coracle("diff --format json it").stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["changed"], serde_json::json!(["/etc", "/home"]));
    assert_eq!(json["deleted"], serde_json::json!(["/data", "/etc/group"]));
    // What was never started has changed nothing.
    world.coracle("create --name new IMAGE").ok();
    assert_eq!(world.coracle("container diff new").ok().stdout(), "");
    let other = world.coracle("diff it new").ok().stdout();
    assert!(other.contains("A /data/z\n"), "{other}");
    let image = world.coracle("image diff IMAGE").ok().stdout();
    assert!(image.contains("A /bin/busybox\n"), "{image}");
    world.coracle("rm it new").ok();
}

#[test]
fn diff_has_podmans_messages() {
    let world = World::empty();
    for (line, words) in [
        (
            "diff",
            "\"podman diff\" requires a name, id, or the \"--latest\" flag",
        ),
        ("diff a b c", "accepts between 1 and 2 arg(s), received 3"),
        (
            "diff -l a",
            "--latest and containers cannot be used together",
        ),
        ("diff nope", "nope not found: layer not known"),
        ("container diff nope", "nope not found: container not known"),
        ("image diff nope", "nope not found: image not known"),
        (
            "diff --format {{.}} nope",
            "only supported value for '--format' is 'json'",
        ),
        ("export", "accepts 1 arg(s), received 0"),
        ("export nope", "no container with name or ID \"nope\" found"),
        (
            "export -o a:b nope",
            "invalid filename (should not contain ':') \"a:b\"",
        ),
    ] {
        world.coracle(line).fails(125).says(words);
    }
}

/// The ids of an export are the image's, whatever the container's map and state.
#[test]
fn an_export_has_the_images_owners_under_every_map() {
    let world = World::new();
    needs!(world, Subuids);
    let mut wanted: Option<String> = None;
    for (shift, userns) in [
        ("", "host"),
        ("", "keep-id"),
        ("copy", "keep-id:uid=33,gid=33"),
        ("reflink", "keep-id:uid=5,gid=6"),
        ("", "auto"),
        ("", "nomap"),
    ] {
        let script = format!("{CHANGES}; touch /done; sleep inf");
        let run = format!("run -d --name it --network=none --userns={userns} -u 0 -v /vol IMAGE");
        let run = format!("{run} sh -c");
        world
            .coracle(&run)
            .arg(script)
            .env("CORACLE_SHIFT", shift)
            .ok();
        world
            .shell("until coracle exec it test -e /done; do :; done")
            .ok();
        let live = exported(&world, "it");
        world.coracle("kill it").ok();
        world.coracle("wait it").ok();
        let ended = exported(&world, "it");
        assert_eq!(live, ended, "{userns}");
        // Times and what is written for the caller differ.
        let lines = ended.lines().filter(|it| !it.contains(" etc/"));
        let owners: Vec<String> = lines
            .map(|line| {
                let parts: Vec<&str> = line.split_whitespace().collect();
                format!(
                    "{} {} {} {}",
                    parts[0],
                    parts[1],
                    parts[2],
                    parts[5..].join(" ")
                )
            })
            .collect();
        let owners = owners.join("\n");
        assert!(owners.contains("-rws--x--x 5/6 2 a/b/f"), "{owners}");
        assert!(
            owners.contains("hrws--x--x 5/6 0 a/same link to a/b/f"),
            "{owners}"
        );
        assert!(!owners.contains(" vol/v"), "{owners}");
        match &wanted {
            None => wanted = Some(owners),
            Some(wanted) => assert_eq!(*wanted, owners, "{userns}"),
        }
        world.coracle("rm -v it").ok();
    }
}

#[test]
fn an_export_is_written_whole_or_not_at_all() {
    let world = World::new();
    world.coracle("create --name it IMAGE").ok();
    world.coracle("export -o it.tar it").ok();
    let direct = world.shell("coracle export it | cmp - it.tar").run();
    assert_eq!(direct.stdout(), "");
    world
        .coracle("export -o none/x it")
        .fails(125)
        .says("open none/x: no such file or directory");
    // Who reads no further is no error.
    world
        .shell("coracle export it | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}")
        .ok();
    let listed = world.shell("tar tf it.tar").ok().stdout();
    assert!(listed.lines().any(|it| it == "bin/busybox"), "{listed}");
    world.coracle("rm it").ok();
}
