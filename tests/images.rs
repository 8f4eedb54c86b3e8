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
