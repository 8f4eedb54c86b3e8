//! A container's files as files: `diff`, `export`, `commit`, `cp`.

use crate::needs;
use crate::world::World;

/// What `tar -tv` says of a container's export, but for what images are made with.
fn exported(world: &World, name: &str) -> String {
    let line = format!("coracle export {name} | tar --numeric-owner -tv --full-time");
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
        let mut owners: Vec<String> = lines
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
        owners.sort();
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

/// What a container of `image` sees, owners as it sees them.
fn seen(world: &World, image: &str, flags: &str) -> String {
    let script = "find /a /data /etc/group /vol /home -exec stat -c '%n %a %u:%g %F' {} + 2>&1 | sort; stat -c %h /a/same; \
         readlink /a/link; cat /a/b/f";
    let run = format!("run --rm --network=none -u 0 {flags} {image} sh -c");
    world.coracle(&run).arg(script).run().stdout()
}

#[test]
fn a_commit_is_what_the_container_was() {
    let world = World::new();
    needs!(world, Subuids);
    let mut wanted: Option<String> = None;
    for (shift, userns) in [
        ("", "host"),
        ("", "keep-id:uid=33,gid=33"),
        ("copy", "keep-id"),
        ("reflink", "auto"),
        ("", "nomap"),
    ] {
        let run =
            format!("run --name it --network=none --userns={userns} -u 0 -v /vol IMAGE sh -c");
        world
            .coracle(&run)
            .arg(CHANGES)
            .env("CORACLE_SHIFT", shift)
            .ok();
        for flags in ["", "--squash", "--format=docker"] {
            world.coracle(&format!("commit -q {flags} it made")).ok();
            for map in ["", "--userns=keep-id:uid=5,gid=5"] {
                let found = seen(&world, "made", map);
                assert!(
                    found.contains("/a/b/f 4711 5:6 regular file"),
                    "{userns} {found}"
                );
                assert!(found.contains("/data/z 644 0:0 regular file"), "{found}");
                assert!(!found.contains("/data/f"), "{found}");
                assert!(found.contains("/etc/group: No such file"), "{found}");
                match &wanted {
                    None => wanted = Some(found),
                    Some(wanted) => assert_eq!(*wanted, found, "{userns} {flags} {map}"),
                }
            }
            world.coracle("rmi made").ok();
        }
        world.coracle("rm -v it").ok();
    }
}

#[test]
fn a_commit_says_what_the_container_was_told() {
    let world = World::new();
    world.file("config.json", r#"{"Cmd":["given"],"Env":["CFG=1"]}"#);
    let create = "create --name it -v /vol -v .:/mnt/h -e A=b -l lab=el -p 80 --expose 90 -w /tmp \
         -u 1000 --entrypoint";
    world
        .coracle(create)
        .args([r#"["/bin/sh"]"#, "IMAGE", "-c", "true"])
        .ok();
    let commit = |flags: &[&str]| {
        let id = world
            .coracle("commit -q")
            .args(flags)
            .args(["it"])
            .ok()
            .stdout();
        let inspected = world.coracle(&format!("image inspect {id}")).stdout();
        world.coracle(&format!("rmi {id}")).ok();
        let json: serde_json::Value = serde_json::from_str(&inspected).unwrap();
        json[0].clone()
    };
    let plain = commit(&[]);
    let config = &plain["Config"];
    assert_eq!(config["User"], "1000");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/bin/sh"]));
    assert_eq!(config["Cmd"], serde_json::json!(["-c", "true"]));
    assert_eq!(config["WorkingDir"], "/tmp");
    assert_eq!(config["Labels"]["lab"], "el");
    assert_eq!(config["Volumes"], serde_json::json!({"/vol": {}}));
    assert_eq!(
        config["ExposedPorts"],
        serde_json::json!({"80/tcp": {}, "90/tcp": {}})
    );
    let env = config["Env"].as_array().unwrap();
    assert!(env.contains(&"A=b".into()) && env.contains(&"container=podman".into()));
    let last = plain["History"].as_array().unwrap().last().unwrap();
    assert!(
        last["comment"]
            .as_str()
            .unwrap()
            .starts_with("FROM localhost/"),
        "{last}"
    );
    assert!(!plain["Parent"].as_str().unwrap().is_empty());
    let docker = commit(&[
        "-f",
        "docker",
        "-m",
        "said",
        "-a",
        "me",
        "-c",
        "ONBUILD RUN x",
    ]);
    assert_eq!(
        (&docker["Comment"], &docker["Author"]),
        (&"said".into(), &"me".into())
    );
    let all = commit(&["--include-volumes", "--pause"]);
    let volumes = serde_json::json!({"/mnt/h": {}, "/vol": {}});
    assert_eq!(all["Config"]["Volumes"], volumes);
    let given = commit(&["--config", "config.json"]);
    assert_eq!(given["Config"]["Cmd"], serde_json::json!(["given"]));
    assert_eq!(given["Config"]["Entrypoint"], serde_json::Value::Null);
    let changed = commit(&["-c", "CMD=x y", "-c", "ENV Q=1 R='2 3'", "-c", "USER u"]);
    let config = &changed["Config"];
    assert_eq!(config["Cmd"], serde_json::json!(["/bin/sh", "-c", "x y"]));
    assert_eq!(config["User"], "u");
    assert!(config["Env"].as_array().unwrap().contains(&"R=2 3".into()));
    world.coracle("rm -v it").ok();
}

#[test]
fn empty_layers_may_be_many() {
    let world = World::new();
    let mut image = "IMAGE".to_owned();
    for name in ["one", "two", "three"] {
        world.coracle(&format!("create --name it {image}")).ok();
        world
            .coracle(&format!("commit -q --iidfile id it {name}"))
            .ok();
        world.coracle("rm it").ok();
        image = name.to_owned();
    }
    world.coracle("run --rm --network=none three true").ok();
    let id = std::fs::read_to_string(world.home().join("id")).unwrap();
    assert_eq!(world.coracle("image inspect -f {{.Id}} three").stdout(), id);
    for flag in ["", "--userns=keep-id"] {
        let run = format!("run --rm --network=none {flag} two ls /bin/sh");
        world.coracle(&run).ok();
    }
    world.coracle("rmi one two three").ok();
}

#[test]
fn a_commit_that_is_killed_leaves_nothing() {
    let world = World::new();
    let run = "run --name it --network=none IMAGE sh -c";
    world
        .coracle(run)
        .arg("head -c 100000000 /dev/zero >/big; rm -r /data")
        .ok();
    let before = world.coracle("images -aq").ok().stdout();
    let running = world.coracle("commit it made").spawn();
    let staging = world.data().join("staging");
    let is_begun = || {
        crate::world::names(&staging)
            .iter()
            .any(|name| staging.join(name).join("layer/diff/big").exists())
    };
    while !is_begun() {
        std::thread::yield_now();
    }
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    assert_eq!(world.coracle("images -aq").ok().stdout(), before);
    world.coracle("rm it").ok();
    // What is left of it is gone with the next command that sweeps.
    world.coracle("ps").ok();
    assert_eq!(crate::world::names(&staging), Vec::<String>::new());
}

#[test]
fn commit_has_podmans_messages() {
    let world = World::new();
    world.coracle("create --name it IMAGE").ok();
    for (line, words) in [
        ("commit", "accepts between 1 and 2 arg(s), received 0"),
        ("commit a b c", "accepts between 1 and 2 arg(s), received 3"),
        ("commit nope", "no container with name or ID \"nope\" found"),
        ("commit -f x it", "unrecognized image format \"x\""),
        (
            "commit -m text it",
            "messages are only compatible with the docker image format (-f docker)",
        ),
        (
            "commit it UPPER",
            "parsing reference \"UPPER\": repository name must be lowercase",
        ),
        (
            "commit -c bla it",
            "did not understand change instruction \"BLA\"",
        ),
        (
            "commit --config none it",
            "open none: no such file or directory",
        ),
    ] {
        world.coracle(line).fails(125).says(words);
    }
    world.coracle("rm it").ok();
}
