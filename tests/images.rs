//! Images: load, import, images, tag, rmi, inspect, history, prune.

use serde_json::Value;

use crate::assert_snapshot;
use crate::needs;
use crate::world::{World, archive, layer, names};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn images_are_loaded_from_a_file_or_stdin() {
    let world = World::empty();
    assert_snapshot!(world.coracle("load -i").arg(archive()).stdout(), @"
    Loaded image: localhost/test:latest
    Loaded image: localhost/user:latest
    Loaded image: localhost/volume:latest
    ");
    let bytes = std::fs::read(archive()).unwrap();
    world.coracle("load -q").stdin(bytes).ok();
    assert_eq!(world.coracle("images -q").stdout().lines().count(), 3);
    assert_eq!(
        world
            .coracle("run --rm --network=none IMAGE echo works")
            .stdout(),
        "works"
    );
}

#[test]
fn compressed_archives_are_loaded() {
    let world = World::empty();
    for compress in ["gzip -c", "cat"] {
        let packed = world
            .shell(&format!("{compress} \"$0\""))
            .arg(archive())
            .ok()
            .out;
        world.file("packed", packed);
        world.coracle("load -q -i packed").ok();
        assert_eq!(
            world
                .coracle("run --rm --network=none IMAGE echo works")
                .stdout(),
            "works"
        );
        world.coracle("rmi -fa").ok();
        assert_eq!(world.coracle("images -q").stdout(), "");
    }
}

#[test]
fn owners_and_modes_are_the_archives() {
    let world = World::new();
    needs!(world, Subuids);
    let stat = world.coracle(
        "run --rm --network=none IMAGE stat -c '%n %u:%g %a %Y' /data/seed /tmp /home/user /bin/sh",
    );
    assert_eq!(
        stat.stdout(),
        "/data/seed 1000:1000 640 1767323045\n/tmp 0:0 1777 1767323045\n/home/user 1000:1000 750 1767323045\n/bin/sh 0:0 777 1767323045"
    );
}

#[test]
fn unreadable_archives_are_refused_and_leave_nothing() {
    let world = World::empty();
    let whole = std::fs::read(archive()).unwrap();
    world
        .coracle("load -i /no/such")
        .fails(125)
        .says("no such file or directory");
    for (name, bytes) in [
        ("junk", b"neither tar nor anything".to_vec()),
        ("empty", Vec::new()),
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("zeros", vec![0; 20_000]),
    ] {
        world.file(name, &bytes);
        let done = world.coracle("load -i").arg(name).fails(125);
        assert!(
            done.stderr().starts_with("Error: "),
            "{name}: {}",
            done.stderr()
        );
        world.coracle("load").stdin(bytes).fails(125);
    }
    // A layer whose bytes are not those its digest names.
    let mut changed = whole.clone();
    let at = changed.windows(5).position(|it| it == b"seed\n").unwrap();
    changed[at] = b'S';
    world.file("changed", changed);
    world.coracle("load -i changed").fails(125);
    assert_eq!(world.coracle("images -q").stdout(), "");
    for folder in ["layers", "images", "staging", "blobs/sha256"] {
        assert_eq!(
            names(&world.data().join(folder)),
            Vec::<String>::new(),
            "{folder}"
        );
    }
}

#[test]
fn a_tar_becomes_an_image() {
    let world = World::empty();
    world.file("root.tar", layer());
    let id = world
        .coracle(r#"import --change 'CMD ["echo", "by default"]' --change 'ENV PATH=/bin' --change 'WORKDIR /home' --change 'VOLUME /data' --change 'EXPOSE 80' --change 'LABEL a=b' root.tar made:1"#)
        .stdout();
    assert!(id.contains("sha256:") || id.len() >= 64, "{id}");
    assert_eq!(
        world.coracle("run --rm --network=none made:1").stdout(),
        "by default"
    );
    assert_eq!(
        world.coracle("run --rm --network=none made:1 pwd").stdout(),
        "/home"
    );
    let it = json(&world.coracle("image inspect made:1").stdout());
    let config = &it[0]["Config"];
    assert_eq!(config["Labels"]["a"], "b");
    assert!(config["Volumes"]["/data"].is_object());
    assert!(
        config["ExposedPorts"]["80"].is_object() || config["ExposedPorts"]["80/tcp"].is_object()
    );
    world.coracle("import -q - piped").stdin(layer()).ok();
    world.coracle("image exists piped").ok();
    world
        .coracle("import /no/such")
        .fails(125)
        .says("no such file or directory");
    world
        .coracle("import --change 'NONSENSE x' root.tar bad")
        .fails(125);
    world
        .coracle("import root.tar UPPER")
        .fails(125)
        .says("repository name must be lowercase");
    world.coracle("image exists bad").fails(1);
}

#[test]
fn images_is_a_table() {
    let world = World::new();
    let table = world
        .coracle("images --format '{{.Repository}} {{.Tag}}'")
        .stdout();
    let mut rows: Vec<&str> = table.lines().collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            "localhost/test latest",
            "localhost/user latest",
            "localhost/volume latest"
        ]
    );
    let head = world.coracle("images test").stdout();
    let head: Vec<&str> = head
        .lines()
        .next()
        .unwrap()
        .split("  ")
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    assert_eq!(head, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    assert_eq!(world.coracle("images -q test").stdout().len(), 12);
    assert_eq!(world.coracle("images -q nosuch").stdout(), "");
    let all = json(&world.coracle("images --format json").stdout());
    assert_eq!(all.as_array().unwrap().len(), 3);
    assert_eq!(all[0]["Id"].as_str().unwrap().len(), 64);
}

#[test]
fn tags_come_and_go() {
    let world = World::new();
    world
        .coracle("tag test other:2 registry.example/team/third")
        .ok();
    world.coracle("image exists other:2").ok();
    world
        .coracle("image exists registry.example/team/third:latest")
        .ok();
    let id = |name: &str| {
        world
            .coracle(&format!("images -q --no-trunc {name}"))
            .stdout()
    };
    assert_eq!(id("other:2"), id("test"));
    world.coracle("untag test other:2").ok();
    world.coracle("image exists other:2").fails(1);
    assert_snapshot!(world.coracle("rmi registry.example/team/third"), @"Untagged: registry.example/team/third:latest");
    let removed = world.coracle("rmi test").stdout();
    assert!(
        removed.starts_with("Untagged: localhost/test:latest\nDeleted: "),
        "{removed}"
    );
    world
        .coracle("rmi test")
        .fails(1)
        .says("test: image not known");
    world
        .coracle("tag nosuch x")
        .fails(125)
        .says("nosuch: image not known");
    world
        .coracle("untag nosuch")
        .fails(125)
        .says("nosuch: image not known");
    world.coracle("image exists nosuch").fails(1);
}

#[test]
fn an_image_in_use_is_not_removed() {
    let world = World::new();
    let id = world.coracle("create --name it IMAGE").stdout();
    world.coracle("rmi test").fails(2).says(&id[..12]);
    world.coracle("image exists test").ok();
    world.coracle("start -a it").run();
    world.coracle("rmi -f test").ok();
    world.coracle("image exists test").fails(1);
    world.coracle("container exists it").fails(1);
    // Another image has the same layer and goes on working.
    world
        .coracle("run --rm --network=none VOLUME_IMAGE true")
        .ok();
}

#[test]
fn layers_go_with_the_last_image_that_has_them() {
    let world = World::new();
    let layers = || {
        std::fs::read_dir(world.data().join("layers"))
            .unwrap()
            .count()
    };
    assert_eq!(layers(), 1);
    world.coracle("rmi test user").ok();
    assert_eq!(layers(), 1);
    world.coracle("rmi volume").ok();
    assert_eq!(layers(), 0);
}

#[test]
fn prune_takes_what_has_no_name() {
    let world = World::new();
    world.coracle("untag user").ok();
    assert_eq!(world.coracle("images -q").stdout().lines().count(), 3);
    world.coracle("image prune -f").ok();
    assert_eq!(world.coracle("images -q").stdout().lines().count(), 2);
    world.coracle("create --name it IMAGE").ok();
    world.coracle("image prune -af").ok();
    assert_eq!(world.coracle("images -q").stdout().lines().count(), 1);
}

#[test]
fn inspect_and_history() {
    let world = World::new();
    let it = json(&world.coracle("image inspect USER_IMAGE").stdout());
    assert_eq!(it[0]["Config"]["User"], "user");
    assert_eq!(it[0]["RepoTags"][0], "localhost/user:latest");
    assert_eq!(it[0]["Os"], "linux");
    assert_eq!(it[0]["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    assert_eq!(
        world
            .coracle("inspect --type image --format {{.Config.User}} user")
            .stdout(),
        "user"
    );
    assert!(world.coracle("history user").stdout().contains("tests"));
    world
        .coracle("image inspect nosuch")
        .fails(125)
        .says("nosuch: image not known");
}

#[test]
fn names_that_are_none() {
    let world = World::empty();
    world
        .coracle("run --rm --pull=never nosuch true")
        .fails(125)
        .says("nosuch: image not known");
    world
        .coracle("run --rm UPPER true")
        .fails(125)
        .says("repository name must be lowercase");
    world.coracle("create --pull=never 'a b'").fails(125);
    world
        .coracle("rmi nosuch")
        .fails(1)
        .says("nosuch: image not known");
}

#[test]
fn a_tree_shows_what_stands_on_what() {
    let world = World::new();
    // Two steps on the first image's layer, and one beside them.
    let base = world.data().join("layers");
    let base = names(&base).remove(0);
    let add = |name: &str, below: &[&str]| -> String {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        tar.append_data(&mut header, name, &[][..]).unwrap();
        let layer = tar.into_inner().unwrap();
        let id = coracle::id::Digest::of(&layer);
        let mut ids: Vec<String> = below.iter().map(|it| format!("sha256:{it}")).collect();
        ids.push(id.to_string());
        let config = serde_json::json!({"os": "linux", "architecture": "amd64",
            "created": "2026-01-02T03:04:05Z",
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let mut files = vec![
            ("config.json".to_owned(), config.to_string().into_bytes()),
            (format!("{}.tar", id.hex()), layer),
        ];
        let mut layers: Vec<String> = below.iter().map(|it| format!("{it}.tar")).collect();
        layers.push(format!("{}.tar", id.hex()));
        for below in below {
            let tar = match *below == base {
                true => crate::world::layer(),
                false => std::fs::read(world.home().join(format!("{below}.tar"))).unwrap(),
            };
            files.push((format!("{below}.tar"), tar));
        }
        let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [format!("{name}:1")], "Layers": layers}]);
        files.push((
            "manifest.json".to_owned(),
            manifest.to_string().into_bytes(),
        ));
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            if name.ends_with(".tar") {
                std::fs::write(world.home().join(&name), &bytes).unwrap();
            }
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, &bytes[..]).unwrap();
        }
        let archive = archive.into_inner().unwrap();
        world.coracle("load -q").stdin(archive).ok();
        id.hex().to_owned()
    };
    let one = add("one", &[&base]);
    add("beside", &[&base]);
    let two = add("two", &[&base, &one]);
    let tree = |line: &str| {
        let shown = world.coracle(line).stdout();
        let lines = shown.lines().skip(4).map(|line| {
            let size = line.find(" Size:").unwrap();
            let tags = line.find(" Top").map_or("", |at| &line[at..]);
            format!("{}{tags}", &line[..size])
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let shown = world.coracle("image tree two:1").stdout();
    assert!(shown.starts_with("Image ID: "), "{shown}");
    assert!(
        shown.contains("\nTags:     [localhost/two:1]\nSize:     "),
        "{shown}"
    );
    let short = |id: &str| id[..12].to_owned();
    let tops = "[localhost/volume:latest localhost/user:latest localhost/test:latest]";
    let below = tree("image tree two:1");
    let lines: Vec<&str> = below.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[0].starts_with(&format!("├── ID: {} Top Layer of: [", short(&base))),
        "{below}"
    );
    assert_eq!(
        lines[0].len(),
        format!("├── ID: {} Top Layer of: {tops}", short(&base)).len()
    );
    assert_eq!(
        lines[1],
        format!("├── ID: {} Top Layer of: [localhost/one:1]", short(&one))
    );
    assert_eq!(
        lines[2],
        format!("└── ID: {} Top Layer of: [localhost/two:1]", short(&two))
    );
    let above = tree("image tree --whatrequires IMAGE");
    let lines: Vec<&str> = above.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[1],
        format!("├── ID: {} Top Layer of: [localhost/one:1]", short(&one))
    );
    assert_eq!(
        lines[2],
        format!(
            "│   └── ID: {} Top Layer of: [localhost/two:1]",
            short(&two)
        )
    );
    assert!(lines[3].starts_with("└── ID: ") && lines[3].ends_with("[localhost/beside:1]"));
    world
        .coracle("image tree none")
        .fails(125)
        .says("none: image not known");
    // What images share is counted once.
    let df: Value = json(&world.coracle("system df --format json").stdout());
    let sizes = world.coracle("images --format {{.VirtualSize}}").stdout();
    let sum: u64 = sizes.lines().map(|it| it.parse::<u64>().unwrap()).sum();
    assert!(df[0]["RawSize"].as_u64().unwrap() < sum / 2);
}

#[test]
fn an_image_is_mounted_in_a_shell_of_unshare() {
    let world = World::new();
    // There is nothing to unmount, as with Podman.
    assert_eq!(world.coracle("image unmount IMAGE").stdout(), "");
    for command in ["mount IMAGE", "mount"] {
        world
            .coracle(&format!("image {command}"))
            .fails(125)
            .says("must execute `coracle unshare` first");
    }
    needs!(world, Subuids);
    let id = world
        .coracle("image inspect --format {{.Id}} IMAGE")
        .stdout();
    let script = "at=$(coracle image mount test); cat $at/data/seed; stat -c %u:%g $at/data/seed; \
         touch $at/new 2>/dev/null || echo read-only; coracle image mount; \
         coracle image unmount test; coracle image unmount test; coracle image mount; \
         coracle image mount --all | wc -l; coracle image umount --all | wc -l; \
         coracle image unmount || echo $?; coracle image mount --all x || echo $?";
    let done = world.coracle("unshare bash -c").arg(script).ok();
    let place = world.runtime().join("coracle/images").join(&id);
    let shown = done
        .stdout()
        .replace(place.to_str().unwrap(), "PLACE")
        .replace(&id, "ID");
    let shown: Vec<String> = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        shown[1..],
        [
            "1000:1000",
            "read-only",
            "localhost/test:latest PLACE",
            "ID",
            "3",
            "3",
            "125",
            "125"
        ]
    );
    // Nothing of it is outside.
    assert_eq!(names(&place), Vec::<String>::new());
}

/// libimage's rules: an image that others were made of is not deleted but untagged, and
/// goes with the last of them if it has no name.
#[test]
fn what_others_were_made_of_stays_out_of_sight() {
    let world = World::new();
    needs!(world, Subuids);
    let child = |of: &str, name: &str| {
        let run = format!("run --name made --network=none {of} touch /{name}");
        world.coracle(&run).ok();
        world.coracle(&format!("commit -q made {name}")).ok();
        world.coracle("rm made").ok();
    };
    let ids = |line: &str| -> Vec<String> {
        let shown = world
            .coracle(&format!("images -q --no-trunc {line}"))
            .stdout();
        shown.lines().map(|it| it.replace("sha256:", "")).collect()
    };
    let id = |name: &str| {
        world
            .coracle(&format!("image inspect -f {{{{.Id}}}} {name}"))
            .stdout()
    };
    child("IMAGE", "base");
    child("base", "top");
    let (base, top) = (id("base"), id("top"));
    world.coracle("untag base").ok();
    assert!(!ids("").contains(&base));
    assert!(ids("-a").contains(&base));
    assert_eq!(ids("-a --filter intermediate=true"), [base.as_str()]);
    assert!(ids("-a --filter dangling=true").is_empty());
    assert_eq!(world.coracle("image prune -f").stdout(), "");
    assert_eq!(
        world.coracle("rmi top").stdout(),
        format!("Untagged: localhost/top:latest\nDeleted: {top}\nDeleted: {base}")
    );
    child("IMAGE", "base");
    child("base", "top");
    let (base, top) = (id("base"), id("top"));
    world.coracle("untag base").ok();
    assert_eq!(
        world.coracle("rmi --no-prune top").stdout(),
        format!("Untagged: localhost/top:latest\nDeleted: {top}")
    );
    assert_eq!(ids("--filter dangling=true"), [base.as_str()]);
    assert_eq!(world.coracle("image prune -f").stdout(), base);
    child("IMAGE", "base");
    child("base", "top");
    assert_eq!(
        world.coracle("rmi base").stdout(),
        "Untagged: localhost/base:latest"
    );
    world.coracle("rmi base").fails(1);
    world
        .coracle("run --rm --network=none top ls /base /top")
        .ok();
}
