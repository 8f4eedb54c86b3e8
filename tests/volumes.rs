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
    assert!(run("/").stdout().contains("sub"));
    assert_eq!(run("/sub").stdout(), "f");
    world.coracle("volume rm v").ok();
}

#[test]
fn what_people_do_with_volumes() {
    let world = World::new();
    // The images of the articles, made of ours.
    let script = b"#!/bin/sh\nexec sh \"$@\"\n";
    world.file("tree/bin/bash", script);
    std::fs::write(world.home().join("python.tar"), crate::world::layer()).unwrap();
    world
        .shell("chmod 755 tree/bin/bash && tar -C tree -rf python.tar bin/bash && coracle import -q python.tar docker.io/library/python:3.10")
        .ok();
    world
        .coracle("tag IMAGE docker.io/library/alpine:latest")
        .ok();
    let run = |line: &str| world.shell(line).ok().stdout().trim_end().to_owned();

    // A result that outlives its container.
    run("coracle volume create model_output");
    run(
        "coracle run --rm --network=none -v model_output:/app/output python:3.10 bash -c 'echo done > /app/output/log.txt'",
    );
    let log = run("coracle run --rm --network=none -v model_output:/data alpine cat /data/log.txt");
    assert_eq!(log, "done");
    assert_eq!(run("coracle ps -aq"), "");

    // The tour: make, list, look, use, share, remove.
    assert_eq!(run("coracle volume create mydata"), "mydata");
    assert_eq!(run("coracle volume ls -q -f name=mydata"), "mydata");
    let place = run("coracle volume inspect mydata --format '{{ .Mountpoint }}'");
    run("coracle run -d --name web --network=none -v mydata:/usr/share/data alpine sleep 1000");
    run("coracle exec web sh -c 'echo hello >/usr/share/data/index.html'");
    assert_eq!(
        std::fs::read_to_string(format!("{place}/index.html")).unwrap(),
        "hello\n"
    );
    let second = "coracle run --rm --network=none --mount type=volume,source=mydata,target=/d,readonly alpine";
    assert_eq!(run(&format!("{second} cat /d/index.html")), "hello");
    world.shell(&format!("{second} touch /d/x")).fails(1);
    world
        .shell("coracle volume rm mydata")
        .fails(2)
        .says("volume is being used");
    run("coracle rm -f -t 0 web");
    assert_eq!(run("coracle volume rm mydata"), "mydata");

    // A folder of the host, read-only and not.
    world.file("projects/data/input.csv", "1,2\n");
    let read = run(
        "coracle run --rm --network=none -v ~/projects/data:/data:ro alpine sh -c 'cat /data/input.csv; touch /data/x || true'",
    );
    assert_eq!(read, "1,2");
    run(
        "coracle run --rm --network=none -v ./projects/data:/data alpine sh -c 'echo 3 >/data/output.csv'",
    );
    assert_eq!(run("cat projects/data/output.csv"), "3");
    // By a user of the image that is not root, with no flag: the files are the caller's.
    if world.needs(crate::world::Need::Subuids) {
        run(
            "coracle run --rm --network=none -v ~/projects/data:/work localhost/user sh -c 'echo note >/work/note.ipynb'",
        );
        run("echo more >>projects/data/note.ipynb && rm projects/data/note.ipynb");
    }

    // What is not named goes with its container, or is pruned.
    run("coracle run --rm --network=none -v /data alpine touch /data/x");
    run("coracle run --network=none --name left -v /data alpine touch /data/x");
    run("coracle rm left");
    assert_eq!(
        run("coracle volume ls -q -f dangling=true").lines().count(),
        2
    );
    assert_eq!(run("coracle volume prune -f").len(), 64);
    assert_eq!(run("coracle volume ls -q"), "model_output");
    run("coracle volume prune -af");
    assert_eq!(run("coracle volume ls -q"), "");
}

#[test]
fn the_articles_commands_as_they_are_written() {
    let world = World::new();
    for need in [
        crate::world::Need::Subuids,
        crate::world::Need::Pasta,
        crate::world::Need::Tun,
    ] {
        if !world.needs(need) {
            return;
        }
    }
    // The images of the articles, made of ours: python with bash, and a notebook whose
    // user is not root and owns nothing but a home.
    std::fs::write(world.home().join("python.tar"), crate::world::layer()).unwrap();
    world.file("tree/bin/bash", b"#!/bin/sh\nexec sh \"$@\"\n");
    let notebook = r#"CMD ["sh", "-c", "cd ~/data && cat input.csv && echo note >note.ipynb && echo ready && read line && cat note.ipynb"]"#;
    world.file("notebook", notebook);
    world
        .shell("chmod 755 tree/bin/bash && tar -C tree -rf python.tar bin/bash && coracle import -q python.tar docker.io/library/python:3.10")
        .ok();
    world
        .shell("mkdir -p tree/home/jovyan && chmod 775 tree/home/jovyan && tar -C tree --owner 1000 --group 100 -rf python.tar home/jovyan")
        .ok();
    world
        .shell(r#"coracle import -q -c 'USER 1000:100' -c 'WORKDIR /home/jovyan' -c 'ENV HOME=/home/jovyan' -c "$(cat notebook)" python.tar docker.io/jupyter/scipy-notebook:latest"#)
        .ok();
    world
        .coracle("tag IMAGE docker.io/library/alpine:latest")
        .ok();

    // One wants files of theirs in a notebook, and those of the notebook outside.
    let input = world.file("projects/data/input.csv", "1,2\n");
    let run = |port: u16| {
        format!(
            "coracle run -it --rm -p {port}:8888 -v ~/projects/data:/home/jovyan/data jupyter/scipy-notebook"
        )
    };
    // Another run of the tests may have the port.
    let free = |port| std::net::TcpListener::bind(("0.0.0.0", port));
    let port = match free(8888).or_else(|_| free(0)) {
        Ok(free) => free.local_addr().unwrap().port(),
        Err(error) => panic!("{error}"),
    };
    let mut notebook = world.shell(&run(port)).terminal();
    notebook.shows("1,2").shows("ready");
    let note = input.with_file_name("note.ipynb");
    assert_eq!(
        note.metadata().unwrap().uid(),
        rustix::process::getuid().as_raw()
    );
    std::fs::write(&note, "edited outside\n").unwrap();
    notebook.types("\r").shows("edited outside");
    assert_eq!(notebook.wait().0, 0);

    // The other wants results that stay when the container goes.
    world.shell("coracle volume create model_output").ok();
    world
        .shell(r#"coracle run --rm -v model_output:/app/output python:3.10 bash -c "echo done > /app/output/log.txt""#)
        .ok();
    let read = "coracle run --rm -v model_output:/data alpine cat /data/log.txt";
    assert_eq!(world.shell(read).stdout(), "done");
    assert_eq!(world.coracle("ps -aq").stdout(), "");
    world.coracle("volume rm model_output").ok();
}

#[test]
fn the_examples_of_the_man_pages_run() {
    let world = World::empty();
    let mut wrong = Vec::new();
    for command in coracle::cli::commands() {
        let name = command.names[0];
        let is_ours = name.starts_with("volume ")
            || name.ends_with(" prune")
            || ["system df", "system reset"].contains(&name);
        for example in command.examples.iter().filter(|_| is_ours) {
            let names = |what: &str| example.line.contains(what);
            // Some prune or reset.
            if world.coracle("tag IMAGE localhost/alpine").run().code != 0 {
                let archive = crate::world::archive().display().to_string();
                world.coracle(&format!("load -q -i {archive}")).ok();
                world.coracle("tag IMAGE localhost/alpine").ok();
            }
            if name != "volume create" && names("model_output") {
                let fill = "run --rm --network=none -v model_output:/m IMAGE touch /m/x";
                world.coracle(fill).ok();
            }
            if name != "volume snapshot" && names("before-training") {
                let snapshot = "volume snapshot model_output before-training";
                world.coracle(snapshot).ok();
            }
            if name == "volume import" {
                for file in ["model_output.tar", "model_output.tar.zst"] {
                    let export = format!("volume export model_output -o {file}");
                    world.coracle(&export).ok();
                }
            }
            // Some ask.
            let done = world.shell(example.line).stdin("y\n").run();
            if done.code != 0 {
                wrong.push(format!(
                    "`{}` left with {}: {}",
                    example.line,
                    done.code,
                    done.stderr()
                ));
            }
            world
                .shell("coracle volume rm -af; rm -f model_output*")
                .run();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `stdout` of a command in a container with these flags.
fn inside(world: &World, flags: &str, script: &str) -> String {
    world
        .coracle(&format!("run --rm --network=none {flags} sh -c"))
        .arg(script)
        .run()
        .stdout()
}

#[test]
fn volumes_lie_in_one_another() {
    let world = World::new();
    world.file("mine/sub/ours", "x");
    world.file("mine/top", "x");
    let list = "ls -A /b /b/sub | tr '\\n' ' '";
    inside(&world, "-v inner:/b/sub IMAGE", "echo kept >/b/sub/inner");
    // Whichever comes first on the command line.
    for flags in [
        "-v ./mine:/b -v inner:/b/sub",
        "-v inner:/b/sub -v ./mine:/b",
    ] {
        let found = inside(&world, &format!("{flags} IMAGE"), list);
        assert_eq!(found, "/b: sub top  /b/sub: inner ", "{flags}");
    }
    // In place of a VOLUME of the image: a folder, a tmpfs, a volume, and within it.
    assert_eq!(
        inside(&world, "-v ./mine:/data VOLUME_IMAGE", "ls /data"),
        "sub\ntop\n"
    );
    assert_eq!(
        inside(&world, "--tmpfs /data VOLUME_IMAGE", "ls /data"),
        "seed\n"
    );
    assert_eq!(
        inside(&world, "-v named:/data VOLUME_IMAGE", "ls /data"),
        "seed\n"
    );
    let within = inside(
        &world,
        "-v ./mine:/data/in VOLUME_IMAGE",
        "ls /data /data/in",
    );
    assert_eq!(within, "/data:\nin\nseed\n\n/data/in:\nsub\ntop\n");
    assert!(store::anonymous_volumes(&world).is_empty());
    // Through a link of the image; on what cannot be mounted on.
    world.file("link.tar", "");
    let refused = |flags: &str, code: i32, words: &str| {
        world
            .coracle(&format!("run --rm --network=none {flags} IMAGE true"))
            .fails(code)
            .says(words);
    };
    refused(
        "-v named:/etc/passwd",
        126,
        "to `etc/passwd`: Not a directory",
    );
    refused("-v ./mine/top:/data", 126, "to `data`: Not a directory");
    refused(
        "-v ./mine:/b -v ./mine:/b/top",
        126,
        "to `b/top`: Not a directory",
    );
    world.coracle("volume rm -a").ok();
}

#[test]
fn a_tmpfs_takes_after_the_images_folder() {
    let world = World::new();
    needs!(world, Subuids);
    let stat = |flags: &str| {
        let script =
            "stat -c %a /data; ls /data; awk '$5 == \"/data\" {print $NF}' /proc/self/mountinfo";
        inside(&world, &format!("{flags} IMAGE"), script)
    };
    assert!(stat("--tmpfs /data").starts_with("750\nseed\n"));
    assert!(stat("--tmpfs /data:notmpcopyup").starts_with("750\nrw"));
    assert!(stat("--tmpfs /data:mode=711").starts_with("711\nseed\n"));
    let sized = stat("--mount type=tmpfs,dst=/data,tmpfs-size=64k,tmpfs-mode=701,notmpcopyup");
    assert!(sized.starts_with("701\nrw,size=64k"), "{sized}");
    let owner = inside(
        &world,
        "--tmpfs /new:U -u 33 IMAGE",
        "stat -c '%u %a' /new; touch /new/x",
    );
    assert_eq!(owner, "33 1777\n");
    world
        .coracle("run --rm --network=none --tmpfs /bin:size=64k IMAGE true")
        .fails(126)
        .says("no space left on device");
}

#[test]
fn images_and_globs_can_be_mounted() {
    let world = World::new();
    let image = |more: &str, script: &str| {
        let flags = format!("--mount type=image,src=localhost/volume,dst=/m{more} IMAGE");
        inside(&world, &flags, script)
    };
    assert_eq!(
        image(
            "",
            "cat /m/data/seed; touch /m/x 2>/dev/null || echo refused"
        ),
        "seed\nrefused\n"
    );
    assert_eq!(image(",rw=true", "touch /m/x && ls /m/x"), "/m/x\n");
    assert_eq!(image(",subpath=/data", "ls /m"), "seed\n");
    // It is not removed while a container mounts it.
    world
        .coracle("create --name it --mount type=image,src=localhost/volume,dst=/m IMAGE")
        .ok();
    world
        .coracle("rmi localhost/volume")
        .fails(2)
        .says("image is in use by a container");
    world.coracle("rm it").ok();
    for name in ["a.txt", "b.txt", "c.csv"] {
        world.file(&format!("mine/{name}"), name);
    }
    let glob = |pattern: &str| {
        let flags = format!("--mount type=glob,src={pattern},dst=/g,ro IMAGE");
        inside(
            &world,
            &flags,
            "ls /g; touch /g/a.txt 2>/dev/null || echo refused",
        )
    };
    let home = world.home();
    assert_eq!(
        glob(&format!("{}/mine/*.txt", home.display())),
        "a.txt\nb.txt\nrefused\n"
    );
    world
        .coracle("run --rm --mount type=glob,src=/no/such*,dst=/g IMAGE true")
        .fails(125)
        .says("no file paths matching glob");
}

#[test]
fn options_of_the_local_driver() {
    let world = World::new();
    let mounted = "awk '$5 == \"/d\" {print $6, $(NF-2), $NF}' /proc/self/mountinfo";
    world
        .coracle("volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=64k,mode=1755,noexec scratch")
        .ok();
    let seen = inside(
        &world,
        "-v scratch:/d IMAGE",
        &format!("{mounted}; stat -c %a /d; touch /d/x; ls /d"),
    );
    assert!(
        seen.starts_with("rw,nosuid,nodev,noexec,relatime tmpfs rw,size=64k"),
        "{seen}"
    );
    assert!(seen.ends_with("1755\nx\n"), "{seen}");
    // It begins anew each time, with what the image has; read-only if it says so.
    assert_eq!(inside(&world, "-v scratch:/d IMAGE", "ls /d"), "");
    assert_eq!(
        inside(&world, "-v scratch:/data IMAGE", "ls /data"),
        "seed\n"
    );
    world
        .coracle("volume create --opt type=tmpfs --opt device=tmpfs --opt o=ro,size=1m fixed")
        .ok();
    assert!(inside(&world, "-v fixed:/d IMAGE", mounted).starts_with("ro,"));
    assert_eq!(
        world
            .coracle("volume inspect scratch --format {{.MountCount}}")
            .stdout(),
        "0"
    );
    // A folder of ours, filled from the image if it is empty.
    let mine = world.folder("mine");
    let option = format!(
        "--opt type=none --opt o=bind --opt device={}",
        mine.display()
    );
    world
        .coracle(&format!("volume create {option} folder"))
        .ok();
    assert_eq!(
        inside(&world, "-v folder:/data IMAGE", "ls /data; touch /data/new"),
        "seed\n"
    );
    assert!(mine.join("new").exists() && mine.join("seed").exists());
    let listed = world
        .shell("coracle volume export folder | tar -t")
        .ok()
        .stdout();
    assert_eq!(listed, "new\nseed\n");
    world.file("tree/more", "x");
    world
        .shell("tar -C tree -cf t.tar more && coracle volume import folder t.tar")
        .ok();
    assert!(mine.join("more").exists());
    world
        .coracle("volume snapshot folder")
        .fails(125)
        .says("snapshots of volume folder: its files are those of");
    // What only root may mount, and what is nonsense.
    for (options, code, words) in [
        (
            "--opt type=none --opt o=bind --opt device=/no/such",
            126,
            "special device /no/such does not exist",
        ),
        (
            "--opt type=ext4 --opt device=/dev/null",
            126,
            "operation not permitted",
        ),
        (
            "--opt type=nonsense --opt device=x",
            126,
            "unknown filesystem type 'nonsense'",
        ),
        ("--opt o=nonsense", 126, "no file system type"),
        (
            "--opt type=tmpfs --opt device=tmpfs --opt o=nonsense=1",
            126,
            "nonsense",
        ),
    ] {
        world.coracle(&format!("volume create {options} bad")).ok();
        world
            .coracle("run --rm --network=none -v bad:/d IMAGE true")
            .fails(code)
            .says("mounting volume bad for container ");
        world
            .coracle("run --rm --network=none -v bad:/d IMAGE true")
            .run()
            .says(words);
        world.coracle("volume rm bad").ok();
    }
    for (options, words) in [
        (
            "--opt o=size=1m",
            "Filesystem does not support Project Quota",
        ),
        (
            "--opt nonsense=1",
            "invalid mount option nonsense for driver 'local': invalid argument",
        ),
        (
            "--driver nonsense",
            "no volume plugin with name nonsense available: required plugin missing",
        ),
        ("--driver image", "must provide an image name"),
        (
            "--driver image --opt image=nosuch",
            "looking up image nosuch to create volume failed: nosuch: image not known",
        ),
    ] {
        world
            .coracle(&format!("volume create {options} bad"))
            .fails(125)
            .says(words);
    }
    world.coracle("volume create --opt nocopy bare").ok();
    assert_eq!(inside(&world, "-v bare:/data IMAGE", "ls /data"), "");
    world.coracle("volume rm -a").ok();
}

#[test]
fn a_file_system_of_its_own_is_shared_while_it_is_in_use() {
    let world = World::new();
    world
        .coracle("volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m memory")
        .ok();
    world
        .coracle("volume create --driver image --opt image=localhost/volume tree")
        .ok();
    let both = "-v memory:/m -v tree:/t";
    // Read-only here is not read-only there.
    world
        .coracle("run -d --name first --network=none -v memory:/other:ro -v tree:/t -v memory:/m IMAGE sleep 1000")
        .ok();
    world.coracle("exec first touch /m/first /t/first").ok();
    assert_eq!(world.coracle("exec first ls /other").stdout(), "first");
    let seen = inside(
        &world,
        &format!("{both} IMAGE"),
        "ls /m /t | grep first; touch /m/second /t/second",
    );
    assert_eq!(seen, "first\nfirst\n");
    assert_eq!(
        world.coracle("exec first ls /m/second /t/second").stdout(),
        "/m/second\n/t/second"
    );
    world.coracle("exec first touch /other/x").fails(1);
    for volume in ["memory", "tree"] {
        let listed = world
            .shell(&format!("coracle volume export {volume} | tar -t"))
            .ok();
        assert!(listed.stdout().contains("second\n"), "{volume}");
    }
    world.file("tree/imported", "x");
    world
        .shell("tar -C tree -c imported | coracle volume import memory -")
        .ok();
    world.coracle("exec first rm /m/imported").ok();
    world
        .coracle("unshare coracle volume mount tree")
        .fails(125)
        .says("is mounted by container first");
    // Whoever has it lends it on, however the first one ended.
    let user = "run -d --name second --network=none --user 1000 -v memory:/m -v tree:/t:ro USER_IMAGE sleep 1000";
    world.coracle(user).ok();
    let count = "volume inspect memory --format {{.MountCount}}";
    assert_eq!(world.coracle(count).stdout(), "2");
    world.coracle("kill first").ok();
    world.coracle("wait first").ok();
    world.coracle("rm first").ok();
    assert_eq!(
        inside(&world, &format!("{both} IMAGE"), "ls /m"),
        "first\nsecond\n"
    );
    world.coracle("rm -f -t 0 second").ok();
    // What is in memory ends with its last user; changes to an image stay.
    assert_eq!(
        inside(&world, &format!("{both} IMAGE"), "ls /m; ls /t/second"),
        "/t/second\n"
    );
    // At once: one file system, or a word.
    for _ in 0..3 {
        let line = format!("run --rm --network=none {both} IMAGE sh -c 'touch /m/a /t/a'");
        let all: Vec<_> = (0..3).map(|_| world.coracle(&line).spawn()).collect();
        for one in all {
            let done = one.wait();
            let said = done.stderr().contains("is just being mounted by container");
            assert!(done.code == 0 || said, "{}", done.stderr());
        }
    }
    world.coracle("volume rm memory tree").ok();
}

#[test]
fn a_volume_can_show_an_image() {
    let world = World::new();
    world
        .coracle("volume create --driver image --opt image=localhost/volume tree")
        .ok();
    assert_eq!(
        inside(
            &world,
            "-v tree:/t IMAGE",
            "cat /t/data/seed; echo mine >/t/data/seed"
        ),
        "seed\n"
    );
    assert_eq!(
        inside(&world, "-v tree:/t IMAGE", "cat /t/data/seed"),
        "mine\n"
    );
    // The image is as it was, and stays while the volume does.
    assert_eq!(inside(&world, "VOLUME_IMAGE", "cat /data/seed"), "seed\n");
    world
        .coracle("rmi localhost/volume")
        .fails(2)
        .says("image used by volume tree");
    world.coracle("image prune -af").ok();
    assert_eq!(
        inside(&world, "-v tree:/t localhost/volume", "cat /t/data/seed"),
        "mine\n"
    );
    let listed = world
        .shell("coracle volume export tree | tar -xO data/seed")
        .ok();
    assert_eq!(listed.stdout(), "mine\n");
    let place = world.coracle(
        "unshare sh -c 'cat $(coracle volume mount tree)/data/seed; coracle volume unmount tree'",
    );
    assert_eq!(place.stdout(), "mine\ntree");
    world.coracle("volume rm tree").ok();
    world.coracle("rmi localhost/volume").ok();
}

#[test]
fn changes_to_a_volume_can_be_thrown_away() {
    let world = World::new();
    inside(&world, "-v v:/v IMAGE", "echo kept >/v/file");
    let changed = inside(
        &world,
        "-v v:/v:O IMAGE",
        "echo lost >/v/file; touch /v/new; cat /v/file",
    );
    assert_eq!(changed, "lost\n");
    assert_eq!(inside(&world, "-v v:/v:ro IMAGE", "cat /v/*"), "kept\n");
    // A new one is filled all the same.
    assert_eq!(inside(&world, "-v w:/data:O IMAGE", "ls /data"), "seed\n");
    world.coracle("volume rm v w").ok();
}

#[test]
fn an_empty_volume_is_filled_by_whoever_has_something() {
    let world = World::new();
    // As with an init container that only looks.
    inside(&world, "-v v:/nothing IMAGE", "ls /nothing");
    assert_eq!(
        inside(&world, "-v v:/data IMAGE", "ls /data; rm /data/seed"),
        "seed\n"
    );
    // Whoever has it mounted sees it filled, and goes on in the same volume.
    world
        .coracle("run -d --name it --network=none -v w:/nothing IMAGE sleep 1000")
        .ok();
    inside(&world, "-v w:/data IMAGE", "touch /data/new");
    assert_eq!(world.coracle("exec it ls /nothing").stdout(), "new\nseed");
    world.coracle("rm -f -t 0 it").ok();
    world.coracle("volume rm w").ok();
    // What was filled and emptied stays empty.
    assert_eq!(inside(&world, "-v v:/data IMAGE", "ls /data"), "");
    world.coracle("volume rm v").ok();
}

#[test]
fn containers_that_begin_at_once_share_one_volume() {
    let world = World::new();
    for round in 0..3 {
        let line = format!(
            "run --rm --network=none -v shared{round}:/data VOLUME_IMAGE sh -c 'cat /data/seed; mktemp /data/XXXXXX >/dev/null'"
        );
        let all: Vec<_> = (0..5).map(|_| world.coracle(&line).spawn()).collect();
        for one in all {
            let done = one.wait();
            assert_eq!(
                (done.code, done.stdout()),
                (0, "seed\n".to_owned()),
                "{}",
                done.stderr()
            );
        }
        let files = inside(
            &world,
            &format!("-v shared{round}:/d IMAGE"),
            "ls /d | wc -l",
        );
        assert_eq!(files.trim(), "6");
    }
    world.coracle("volume rm -a").ok();
}

#[test]
fn anonymous_volumes_go_and_stay_as_with_podman() {
    let world = World::new();
    let left = |what: &str, lines: &[&str], wanted: usize| {
        for line in lines {
            world.coracle(line).run();
        }
        world.wait_for_processes();
        let volumes = store::anonymous_volumes(&world);
        assert_eq!(volumes.len(), wanted, "{what}");
        world.coracle("rm -fa -t 0").ok();
        world.coracle("volume rm -a").ok();
    };
    let create = "create --name c -v /a IMAGE true";
    left("rm", &[create, "rm c"], 1);
    left("rm -v", &[create, "rm -v c"], 0);
    left(
        "replace",
        &[create, "create --replace --name c -v /b IMAGE true"],
        2,
    );
    left("container prune", &[create, "container prune -f"], 1);
    left(
        "killed",
        &[
            "run -d --rm --name c --network=none -v /a IMAGE sleep 1000",
            "kill c",
            "wait c",
        ],
        0,
    );
    left(
        "rm -f",
        &[
            "run -d --name c --network=none -v /a IMAGE sleep 1000",
            "rm -f -t 0 c",
        ],
        1,
    );
    left(
        "lent",
        &[
            create,
            "create --name d --volumes-from c IMAGE true",
            "rm -v c",
        ],
        1,
    );
    left(
        "lent and back",
        &[
            create,
            "create --name d --volumes-from c IMAGE true",
            "rm -v c",
            "rm -v d",
        ],
        0,
    );
    left(
        "a failed create",
        &["create --name c -v /a -v x:rel IMAGE true"],
        0,
    );
    // By who uses it last, whoever it was made for.
    world.coracle(create).ok();
    let name = world.coracle("volume ls -q").stdout();
    let other = format!("create --name d -v {name}:/a IMAGE true");
    world.coracle(&other).ok();
    world.coracle("rm -v c").ok();
    assert_eq!(store::anonymous_volumes(&world), [name]);
    left("the last", &["rm -v d"], 0);
    left("a name in use", &["create --name c IMAGE", create], 0);
    left(
        "a failed run",
        &["run --rm --network=none -v /a IMAGE nosuch"],
        0,
    );
    left(
        "a failed run that stays",
        &["run --network=none -v /a IMAGE nosuch"],
        1,
    );
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

#[test]
fn an_empty_volume_belongs_to_who_uses_it() {
    let world = World::new();
    needs!(world, Subuids);
    let owner = |flags: &str| inside(&world, flags, "stat -c '%u:%g %a' /new");
    assert_eq!(owner("-u 33 -v v:/new IMAGE"), "33:0 755\n");
    assert_eq!(owner("-u 44:55 -v v:/new IMAGE"), "44:55 755\n");
    inside(&world, "-u 44:55 -v v:/new IMAGE", "chmod 700 /new");
    assert_eq!(owner("-v v:/new IMAGE"), "0:0 700\n");
    let needs = |format: &str| {
        let inspect = world.coracle("volume inspect v --format");
        inspect.arg(format).stdout()
    };
    assert_eq!(needs("{{.NeedsChown}} {{.NeedsCopyUp}}"), "true true");
    inside(&world, "-u 0 -v v:/new IMAGE", "touch /new/file");
    assert_eq!(owner("-u 33 -v v:/new IMAGE"), "0:0 700\n");
    assert_eq!(needs("{{.NeedsChown}} {{.NeedsCopyUp}}"), "false true");
    // Whose it is may be said once and for all.
    world.coracle("volume create --uid 5 --gid 6 given").ok();
    assert_eq!(owner("-u 33 -v given:/new IMAGE"), "5:6 755\n");
    world.coracle("volume rm -a").ok();
}

#[test]
fn owners_and_limits_that_cannot_be_are_refused() {
    let world = World::empty();
    let refused = |line: &str, words: &str| {
        world.coracle(line).fails(125).says(words);
    };
    if world.needs(crate::world::Need::Subuids) {
        for id in ["--uid 99999999", "--gid -2", "--opt o=uid=99999999"] {
            refused(
                &format!("volume create {id} v"),
                "potentially insufficient UIDs or GIDs",
            );
        }
    }
    world.coracle("volume create --uid -1 v").ok();
    for (options, words) in [
        ("size=1G", "Filesystem does not support Project Quota"),
        ("inodes=5", "Filesystem does not support Project Quota"),
        ("noquota,size=1G", "cannot be used without quota"),
        (
            "size=x",
            "cannot convert size x to integer: invalid size: 'x'",
        ),
    ] {
        refused(&format!("volume create --opt o={options} w"), words);
    }
    let long = "n".repeat(256);
    refused(&format!("volume create {long}"), "file name too long");
    for command in ["inspect", "exists", "rm", "export", "mount"] {
        let line = format!("volume {command} ''");
        let done = world.shell(&format!("coracle {line}")).fails(125);
        if command != "mount" {
            done.says("name or ID cannot be empty");
        }
    }
    for name in ["..", ".", "../x", "a/b", "/x", "-x", "a b", "a\nb", "ä"] {
        let create = world.coracle("volume create --").arg(name);
        create.fails(125).says("names must match");
    }
    world.coracle("volume create two").ok();
    let twice = world.coracle("volume rm two two").fails(1);
    assert_eq!(twice.stdout(), "two\n");
    assert_eq!(world.coracle("volume ls -q").stdout(), "v");
    // No answer is no yes.
    world.coracle("volume create anonymous").ok();
    refused("container prune", "EOF");
    world.coracle("volume rm -a").ok();
}

#[test]
fn idmap_is_what_is_so_by_default() {
    let world = World::new();
    needs!(world, Subuids);
    world.folder("mine");
    let owner = |flags: &str| {
        let line = format!("run --rm --network=none {flags} IMAGE stat -c %u:%g /m");
        world.coracle(&line)
    };
    assert_eq!(owner("-v ./mine:/m:idmap").stdout(), "0:0");
    assert_eq!(
        owner("-u 1000 --mount type=bind,src=./mine,dst=/m,idmap").stdout(),
        "0:0"
    );
    // That is not the caller's ids under another name, which the kernel refuses us.
    owner("--userns=keep-id -v ./mine:/m:idmap")
        .fails(125)
        .says("idmap");
    owner("-v ./mine:/m:idmap=uids=0-1-10")
        .fails(125)
        .says("idmap");
}

#[test]
fn a_link_that_goes_round_is_not_mounted_on() {
    let world = World::new();
    std::fs::write(world.home().join("round.tar"), crate::world::layer()).unwrap();
    world
        .shell("ln -s two one; ln -s one two; tar -rf round.tar one two; coracle import -q round.tar round")
        .ok();
    for flags in ["-v v:/one", "-v ./:/one", "-v v:/one/beneath"] {
        world
            .coracle(&format!("run --rm --network=none {flags} round true"))
            .fails(126)
            .says("too many levels of symbolic links");
    }
    world.coracle("volume rm -a").run();
}

#[test]
fn a_create_that_fails_at_a_volume_leaves_nothing() {
    let world = World::new();
    world.coracle("volume create there").ok();
    let volumes = world.data().join("volumes");
    let mode = |mode| std::fs::set_permissions(&volumes, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o555);
    let create = "create --name c -v there:/a -v new:/b -v /anonymous IMAGE true";
    let done = world.coracle(create).fails(125);
    let listed = world.coracle("ps -aq").stdout();
    mode(0o755);
    done.says("create volume ");
    assert_eq!(listed, "");
    assert_eq!(store::wrong(&world), [""; 0]);
    world.coracle("volume rm there").ok();
    world.coracle(create).ok();
    world.coracle("rm -v c").ok();
    world.coracle("volume rm -a").ok();
}

/// Podman says that the folder is missing; Docker makes it.
#[test]
fn called_as_docker_a_folder_that_is_missing_is_made() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let line = "run --rm --network none -v ./made/here:/x IMAGE true";
    world.coracle(line).fails(125);
    std::os::unix::fs::symlink(crate::world::binary(), world.home().join("docker")).unwrap();
    world
        .shell("cd; ./docker run --rm --network none -v ./made/here:/x localhost/test true")
        .ok();
    let made = std::fs::metadata(world.home().join("made/here")).unwrap();
    assert_eq!(made.uid(), std::fs::metadata(world.home()).unwrap().uid());
}
