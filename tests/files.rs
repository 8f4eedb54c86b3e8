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

/// A folder `d` with one of everything, and files `f` and `g`.
fn fill(world: &World) {
    let script = "mkdir -p d/sub; echo f >f; echo g >g; echo 1 >d/1; echo 2 >d/sub/2; ln d/1 d/same; \
         ln -s 1 d/l; mkfifo d/ff; chmod 600 f; chmod 4755 d/1; touch -d '2001-02-03 UTC' d/1; \
         truncate -s 3M d/hole; ln -s f lf; ln -s d ld";
    world.shell(script).ok();
}

/// What the container sees below `path`: names, modes, owners, links.
fn listing(world: &World, name: &str, path: &str) -> String {
    let line = format!(
        "coracle cp -a=false {name}:{path} - | tar --numeric-owner -tv | awk '{{$3=$4=$5=\"\"; print}}' | sort"
    );
    world.shell(&line).ok().stdout()
}

const TREE: &str = "\
drwxr-xr-x 0/0    NAME/
drwxr-xr-x 0/0    NAME/sub/
-rw-r--r-- 0/0    NAME/hole
-rw-r--r-- 0/0    NAME/sub/2
-rwsr-xr-x 0/0    NAME/1
hrwsr-xr-x 0/0    NAME/same link to NAME/1
lrwxrwxrwx 0/0    NAME/l -> 1
prw-r--r-- 0/0    NAME/ff
";

fn tree(name: &str, owner: &str) -> String {
    let mut lines: Vec<String> = TREE
        .replace("NAME", name)
        .replace("0/0", owner)
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join("\n") + "\n"
}

/// Podman's table: what is copied where, into containers that run and that do not.
#[test]
fn files_go_where_podman_puts_them() {
    let world = World::new();
    needs!(world, Subuids);
    fill(&world);
    world
        .coracle("run -d --name up --network=none IMAGE sleep inf")
        .ok();
    world.coracle("create --name down IMAGE").ok();
    for name in ["up", "down"] {
        for (from, to, there, content) in [
            ("f", "/tmp/new", "/tmp/new", "f"),
            ("f", "/tmp/", "/tmp/f", "f"),
            ("g", "/tmp/new", "/tmp/new", "g"),
            ("f", "tmp/rel", "/tmp/rel", "f"),
            ("lf", "/tmp/lf", "/tmp/lf", "f"),
            ("g", "/tmp/.", "/tmp/g", "g"),
            ("d", "/tmp/d1", "/tmp/d1/sub/2", "2"),
            ("d", "/tmp/d1", "/tmp/d1/d/sub/2", "2"),
            ("d/", "/tmp/d2", "/tmp/d2/sub/2", "2"),
            ("d/.", "/tmp/d3", "/tmp/d3/1", "1"),
            ("d/.", "/tmp/d3", "/tmp/d3/same", "1"),
            ("ld", "/tmp/d4", "/tmp/d4/l", "1"),
            ("./f", "/tmp/d1/sub", "/tmp/d1/sub/f", "f"),
            ("f", "/tmp/d1/..", "/tmp/f", "f"),
        ] {
            world
                .coracle("cp")
                .arg(from)
                .arg(format!("{name}:{to}"))
                .ok();
            let read = format!("coracle cp {name}:{there} - | tar -xO --no-same-owner");
            let read = world.shell(&read).run().stdout();
            // A hard link's content stands with its first name.
            if !there.ends_with("same") {
                assert_eq!(read, format!("{content}\n"), "{name}: {from} to {to}");
            }
        }
        assert_eq!(
            listing(&world, name, "/tmp/d2"),
            tree("d2", "0/0"),
            "{name}"
        );
        for (from, to, words) in [
            ("f", "/no/f", "\"/no/f\" could not be found on container"),
            (
                "f",
                "/tmp/no/",
                "\"/tmp/no/\" could not be found on container",
            ),
            (
                "d",
                "/tmp/f",
                "destination must be a directory when copying a directory",
            ),
            (
                "nope",
                "/tmp",
                "\"nope\" could not be found on the host: no such file or directory",
            ),
            ("f", "/bin/sh/", "exists but is not a directory"),
        ] {
            let cp = world.coracle("cp").arg(from).arg(format!("{name}:{to}"));
            cp.fails(125).says(words);
        }
        // What is of another kind stays unless it may be overwritten.
        world.shell("mkdir -p conf/d2/1; echo x >conf/d2/sub").ok();
        let cp = world.coracle("cp conf/d2").arg(format!("{name}:/tmp"));
        cp.fails(125).says("file exists");
        world
            .coracle("cp --overwrite conf/d2")
            .arg(format!("{name}:/tmp"))
            .ok();
        let found = listing(&world, name, "/tmp/d2");
        assert!(
            found.contains("d2/1/\n") && found.contains("-rw-r--r-- 0/0    d2/sub\n"),
            "{found}"
        );
        // And out again.
        for (from, to, there) in [
            ("/tmp/f", "out", "out"),
            ("/tmp/d1", "outd", "outd/sub/2"),
            ("/tmp/d1", "outd", "outd/d1/sub/2"),
            ("/tmp/d3/.", "outd", "outd/hole"),
            ("/tmp/d3/l", "outl", "outl"),
            ("/etc/passwd", ".", "passwd"),
        ] {
            world
                .coracle("cp")
                .arg(format!("{name}:{from}"))
                .arg(to)
                .ok();
            assert!(world.home().join(there).is_file(), "{name}: {from} to {to}");
        }
        let stat = "stat -c '%a %U %Y' outd/1 out outl; stat -c %b outd/hole; stat -c %h outd/1; readlink outd/l";
        let stat = world.shell(stat).ok().stdout();
        let me = world.shell("id -un").stdout();
        let wanted = format!("4755 {me} 981158400\n600 {me} ");
        assert!(
            stat.starts_with(&wanted) && stat.ends_with("\n0\n2\n1\n"),
            "{stat}"
        );
        for (from, to, words) in [
            ("/nope", ".", "\"/nope\" could not be found on container"),
            ("/tmp/f", "no/x", "\"no/x\" could not be found on the host"),
            ("/tmp/d1", "no/", "\"no/\" could not be found on the host"),
            (
                "/tmp/d1",
                "f",
                "destination must be a directory when copying a directory",
            ),
        ] {
            let cp = world.coracle("cp").arg(format!("{name}:{from}")).arg(to);
            cp.fails(125).says(words);
        }
        world.shell("rm -r out outd outl conf passwd").ok();
    }
    world.coracle("rm -f -t0 up down").ok();
}

/// The one rule of owners, under every id map.
#[test]
fn copies_belong_to_whom_they_should() {
    let world = World::new();
    needs!(world, Subuids);
    fill(&world);
    let me = world.shell("id -u").stdout();
    for userns in ["host", "keep-id:uid=33,gid=33", "auto", "nomap"] {
        for state in ["run -d", "create"] {
            let make = format!(
                "{state} --name it --network=none --userns={userns} -u 7:8 IMAGE sleep inf"
            );
            world.coracle(&make).ok();
            world.coracle("cp d it:/tmp/user").ok();
            assert_eq!(
                listing(&world, "it", "/tmp/user"),
                tree("user", "7/8"),
                "{userns} {state}"
            );
            world.coracle("cp -a=false d it:/tmp/kept").ok();
            assert_eq!(
                listing(&world, "it", "/tmp/kept"),
                tree("kept", "0/0"),
                "{userns} {state}"
            );
            world
                .shell("coracle cp -a=false it:/tmp/kept - | coracle cp - it:/home")
                .ok();
            assert_eq!(
                listing(&world, "it", "/home/kept"),
                tree("kept", "7/8"),
                "{userns} {state}"
            );
            world
                .shell("coracle cp it:/tmp/kept - | coracle cp --archive=false - it:/home")
                .ok();
            assert_eq!(
                listing(&world, "it", "/home/kept"),
                tree("kept", "7/8"),
                "{userns} {state}"
            );
            world.coracle("cp it:/tmp/user out").ok();
            let owners = world.shell("find out -printf '%U\\n' | sort -u").stdout();
            assert_eq!(owners, me, "{userns} {state}");
            world.shell("rm -r out").ok();
            world.coracle("rm -f -t0 it").ok();
        }
    }
}

#[test]
fn what_is_mounted_is_part_of_the_container() {
    let world = World::new();
    needs!(world, Subuids);
    fill(&world);
    let shared = world.folder("shared");
    let mounts = "--network=none -v ./shared:/mnt/shared -v named:/deep/vol --tmpfs /tt VOLUME_IMAGE sleep inf";
    for state in ["create", "run -d"] {
        world.coracle(&format!("{state} --name it {mounts}")).ok();
        world.coracle("cp f it:/mnt/shared/f").ok();
        assert_eq!(std::fs::read_to_string(shared.join("f")).unwrap(), "f\n");
        std::fs::remove_file(shared.join("f")).unwrap();
        world.coracle("cp f it:/deep/vol/f").ok();
        let read = world.coracle("run --rm --network=none -v named:/v IMAGE cat /v/f");
        assert_eq!(read.stdout(), "f");
        // The image's own is there as if the container had been started.
        world.coracle("cp f it:/data/new").ok();
        let data = world
            .shell("coracle cp it:/data - | tar -t | sort")
            .stdout();
        assert!(
            data.contains("data/new") && data.lines().count() > 2,
            "{data}"
        );
        if state == "run -d" {
            world.coracle("cp d it:/tt/").ok();
            let seen = world.coracle("exec it cat /tt/d/sub/2").ok().stdout();
            assert_eq!(seen, "2\n");
            world.coracle("cp it:/tt/d/sub/2 two").ok();
            world.coracle("cp f it:/etc/hosts").fails(125).says("busy");
        }
        world.coracle("rm -f -t0 -v it").ok();
    }
    world.coracle("volume rm named").ok();
}

#[test]
fn copies_go_between_containers() {
    let world = World::new();
    needs!(world, Subuids);
    fill(&world);
    world
        .coracle("run -d --name a --network=none --userns=keep-id -u 5:5 IMAGE sleep inf")
        .ok();
    world.coracle("create --name b -u 6:7 IMAGE").ok();
    world.coracle("cp d a:/tmp/d").ok();
    world.coracle("cp a:/tmp/d b:/tmp/one").ok();
    world.coracle("cp a:/tmp/d b:/tmp/one").ok();
    world.coracle("cp a:/tmp/d/. b:/tmp/two").ok();
    world.coracle("cp -a=false a:/tmp/d b:/tmp/kept").ok();
    world.coracle("cp a:/tmp/d/sub/2 b:/tmp/file").ok();
    world.coracle("cp b:/tmp/two a:/tmp/back").ok();
    world.coracle("cp a:/tmp/back a:/tmp/again").ok();
    assert_eq!(listing(&world, "b", "/tmp/one/d"), tree("d", "6/7"));
    assert_eq!(listing(&world, "b", "/tmp/two"), tree("two", "6/7"));
    assert_eq!(listing(&world, "b", "/tmp/kept"), tree("kept", "5/5"));
    assert_eq!(listing(&world, "a", "/tmp/again"), tree("again", "5/5"));
    world
        .coracle("cp a:/tmp/nope b:/tmp")
        .fails(125)
        .says("\"/tmp/nope\" could not be found on container a");
    world
        .coracle("cp a:/tmp/d b:/nope/x")
        .fails(125)
        .says("\"/nope/x\" could not be found on container b");
    world
        .coracle("cp a:/tmp/d b:/tmp/file")
        .fails(125)
        .says("destination must be a directory");
    world.coracle("rm -f -t0 a b").ok();
}

/// Nothing a container or an archive says leads out of the container, or out of the
/// folder that is copied to.
#[test]
fn no_link_leads_out() {
    let world = World::new();
    fill(&world);
    world.file("secret", "secret\n");
    let home = world.home();
    let home = home.to_str().unwrap();
    let links = format!(
        "ln -s {home} /tmp/home; ln -s {home}/secret /tmp/secret; ln -s ../../../../../../{home} /tmp/up; \
         ln -s / /tmp/root; mkdir -p /tmp/t/d; echo x >/tmp/t/d/x; sleep inf"
    );
    for state in ["up", "down"] {
        world
            .coracle("run -d --name it --network=none IMAGE sh -c")
            .arg(&links)
            .ok();
        world
            .shell("until coracle exec it test -e /tmp/t/d/x; do :; done")
            .ok();
        if state == "down" {
            world.coracle("kill it").ok();
            world.coracle("wait it").ok();
        }
        world
            .coracle("cp it:/tmp/secret out")
            .fails(125)
            .says("could not be found on container");
        for path in ["/tmp/home/f2", "/tmp/up/f2"] {
            let cp = world.coracle("cp f").arg(format!("it:{path}"));
            cp.fails(125).says("could not be found on container");
        }
        world.coracle("cp f it:/tmp/root/f3").ok();
        world.coracle("cp it:/f3 f3").ok();
        // Links that are in the way at home lead nowhere else, either.
        world
            .shell("mkdir -p into/t; ln -sfn ../../d into/t/d; ln -sfn ../secret into/l")
            .ok();
        world
            .coracle("cp it:/tmp/t into")
            .fails(125)
            .says("file exists");
        assert!(!world.home().join("d/x").exists());
        world.shell("rm -r into").ok();
        // Archives of all that could.
        let archive =
            "rm -rf evil; mkdir evil; cd evil; ln -s ../../../.. l; tar -cf ../evil.tar l; rm l; \
             mkdir l; echo out >l/out; tar -rf ../evil.tar --absolute-names l/out; \
             tar -rf ../evil.tar --absolute-names --transform 's,^,../../../../..{H}/,' l/out"
                .replace("{H}", home);
        world.shell(&archive).ok();
        world.shell("coracle cp - it:/tmp/t <evil.tar").run();
        let out = world
            .shell("find . -name out -not -path './evil/*' 2>/dev/null")
            .run()
            .stdout();
        assert!(!out.lines().any(|it| !it.starts_with("./.local/")), "{out}");
        assert_eq!(
            std::fs::read_to_string(world.home().join("secret")).unwrap(),
            "secret\n"
        );
        world.shell("rm -rf evil evil.tar f3").ok();
        world.coracle("rm -f -t0 it").ok();
    }
}

/// A container that swaps folders and links while we copy gains nothing.
#[test]
fn swapping_paths_gains_nothing() {
    let world = World::new();
    world.folder("outside");
    let outside = world.home().join("outside");
    let script = format!(
        "mkdir -p /t/a /t/b; ln -s {} /t/link; while :; do mv /t/a /t/c; mv /t/link /t/a; mv /t/a /t/link; mv /t/c /t/a; done",
        outside.display()
    );
    fill(&world);
    world
        .coracle("run -d --name it --network=none IMAGE sh -c")
        .arg(script)
        .ok();
    for _ in 0..20 {
        world.coracle("cp f it:/t/a/f").run();
        world.coracle("cp d it:/t/a/").run();
    }
    assert_eq!(crate::world::names(&outside), Vec::<String>::new());
    world.coracle("rm -f -t0 it").ok();
}

#[test]
fn a_folder_that_is_copied_into_itself_has_an_end() {
    let world = World::new();
    fill(&world);
    let bound = world.folder("bound");
    std::fs::write(bound.join("x"), "x").unwrap();
    world
        .coracle("run -d --name it --network=none -v ./bound:/b IMAGE sleep inf")
        .ok();
    world.coracle("cp d it:/t").ok();
    for _ in 0..2 {
        world.coracle("cp it:/t it:/t/sub").ok();
    }
    world.coracle("exec it test -f /t/sub/t/sub/t/1").ok();
    world.coracle("exec it test ! -e /t/sub/t/sub/t/sub/t").ok();
    // Whether the new folder is met is a matter of time; that there is an end is not.
    world.folder("bound/there");
    for line in [
        "cp bound it:/b/there",
        "cp it:/b bound/there",
        "cp bound/. it:/b/there",
    ] {
        world.coracle(line).run();
        let depth = world.shell("find bound | awk -F/ '{print NF}' | sort -n | tail -1");
        assert!(depth.stdout().parse::<u32>().unwrap() < 20, "{line}");
    }
    world.coracle("rm -f -t0 it").ok();
}

#[test]
fn cp_has_podmans_messages() {
    let world = World::new();
    fill(&world);
    world.coracle("create --name it IMAGE").ok();
    for (line, words) in [
        ("cp", "accepts 2 arg(s), received 0"),
        ("cp a b c", "accepts 2 arg(s), received 3"),
        ("cp f d", "name or ID cannot be empty"),
        ("cp - -", "name or ID cannot be empty"),
        (
            "cp it: x",
            "invalid arguments \"it:\", \"x\": you must specify paths",
        ),
        ("cp nope:/x y", "container \"nope\" does not exist"),
        ("cp x nope:/y", "container \"nope\" does not exist"),
        ("cp ./a:b it:/x", "\"./a:b\" could not be found on the host"),
        (
            "cp - it:/nope",
            "destination must be a directory when copying from stdin",
        ),
        (
            "cp - it:/etc/passwd",
            "destination must be a directory when copying from stdin",
        ),
    ] {
        world.coracle(line).fails(125).says(words);
    }
    world
        .coracle("cp - it:/tmp")
        .stdin("no archive, but long enough to be looked at as one".repeat(20))
        .fails(125)
        .says("source must be a (compressed) tar archive when copying from stdin");
    world
        .shell("tar -cz f | coracle cp - it:/tmp && coracle cp it:/tmp/f f2 && cmp f f2")
        .ok();
    world.coracle("rm it").ok();
}

/// A copy into a container that does not run holds it; killed, it leaves it as it is.
#[test]
fn what_goes_when_it_ends_is_mounted_again() {
    let world = World::new();
    world.file("word", "copied");
    world
        .coracle("create --rm --name it --network=none IMAGE sh -c 'cat /word; sleep 1000'")
        .ok();
    // Each mounts it: two copies, the start, and the second start.
    world.coracle("cp word it:/other").ok();
    world.coracle("cp word it:/word").ok();
    world.coracle("start it").ok();
    world.coracle("exec it touch /made").ok();
    world.coracle("restart -t 0 it").ok();
    assert_eq!(
        world.coracle("exec it cat /word /other /made").stdout(),
        "copiedcopied"
    );
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn a_copy_that_is_killed_does_no_harm() {
    let world = World::new();
    world
        .coracle("create --rm --name it --network=none IMAGE true")
        .ok();
    world.shell("mkfifo pipe").ok();
    let running = world.shell("exec coracle cp - it:/tmp <pipe").spawn();
    // It reads when it has the container in hand.
    let archive =
        world.shell("tar -c .bashrc pipe 2>/dev/null; exec head -c 1000000 /dev/zero >pipe");
    let writer = archive.spawn();
    let seats = world.data().join("running");
    while crate::world::names(&seats).is_empty() {
        std::thread::yield_now();
    }
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    writer.wait();
    let shown = world.coracle("ps -a --format {{.Names}}:{{.State}}").ok();
    assert_eq!(shown.stdout(), "it:created\n");
    assert_eq!(crate::world::names(&seats), Vec::<String>::new());
    world.coracle("start -a it").ok();
}
