//! Commands that only look: ps, inspect, top, port, info, version.

use serde_json::Value;

use crate::assert_snapshot;
use crate::world::World;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn ps_is_a_table() {
    let world = World::new();
    assert_snapshot!(world.coracle("ps"), @"CONTAINER ID  IMAGE  COMMAND  CREATED  STATUS  PORTS  NAMES");
    world
        .coracle("create --name made --network=none IMAGE true")
        .ok();
    assert_snapshot!(world.coracle("ps -a"), @"
    CONTAINER ID  IMAGE  COMMAND  CREATED  STATUS  PORTS  NAMES
    <id>  localhost/test:latest  true  <time>  Created  made
    ");
    world.coracle("start -a made").ok();
    assert_snapshot!(world.coracle("ps -a --format '{{.Names}} {{.Status}} {{.ID}}'"), @"made Exited (0) <time> <id>");
    world
        .coracle("run -d --name up --network=none IMAGE sleep 1000")
        .ok();
    assert_snapshot!(world.coracle("ps --noheading"), @"<id>  localhost/test:latest  sleep 1000  <time>  Up <time>  up");
}

#[test]
fn ps_filters_and_formats() {
    let world = World::new();
    world.coracle("create --name a --label tier=web IMAGE").ok();
    world.coracle("create --name b --label tier=db IMAGE").ok();
    let names = |flags: &str| {
        let out = world
            .coracle(&format!("ps -a --format {{{{.Names}}}} {flags}"))
            .stdout();
        let mut names: Vec<String> = out.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(""), "a b");
    assert_eq!(names("--filter label=tier=web"), "a");
    assert_eq!(names("--filter name=b"), "b");
    assert_eq!(names("--filter status=created"), "a b");
    assert_eq!(names("--filter status=running"), "");
    world.coracle("ps --filter nonsense=x").fails(125);
    let all = json(&world.coracle("ps -a --format json").stdout());
    let b = all
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["Names"][0] == "b")
        .unwrap();
    assert_eq!(b["Labels"]["tier"], "db");
    assert_eq!(b["State"], "created");
    assert_eq!(b["Image"], "localhost/test:latest");
    let empty = World::empty();
    assert_eq!(
        json(&empty.coracle("ps -a --format json").stdout()),
        json("[]")
    );
}

#[test]
fn inspect_shows_what_was_asked_for() {
    let world = World::new();
    world
        .coracle("create --name it --hostname box -e A=b --label x=y -v vol:/v -p 127.0.0.1:8080:80 -w /home -u user --entrypoint echo IMAGE one two")
        .ok();
    let it = json(&world.coracle("inspect it").stdout());
    let it = &it[0];
    assert_eq!(it["Name"], "it");
    assert_eq!(it["State"]["Status"], "created");
    assert_eq!(it["ImageName"], "localhost/test:latest");
    assert_eq!(it["Config"]["Hostname"], "box");
    assert_eq!(it["Config"]["User"], "user");
    assert_eq!(it["Config"]["WorkingDir"], "/home");
    assert_eq!(it["Config"]["Labels"]["x"], "y");
    assert_eq!(it["Config"]["Entrypoint"], json(r#"["echo"]"#));
    assert_eq!(it["Config"]["Cmd"], json(r#"["one", "two"]"#));
    assert!(
        it["Config"]["Env"]
            .as_array()
            .unwrap()
            .contains(&"A=b".into())
    );
    assert_eq!(it["Path"], "echo");
    assert_eq!(it["Args"], json(r#"["one", "two"]"#));
    assert_eq!(
        it["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"],
        "8080"
    );
    let mount = &it["Mounts"][0];
    assert_eq!(
        (&mount["Type"], &mount["Name"], &mount["Destination"]),
        (&"volume".into(), &"vol".into(), &"/v".into())
    );
    world
        .coracle("inspect nosuch")
        .fails(125)
        .says("no such object: \"nosuch\"");
    world
        .coracle("container inspect nosuch")
        .fails(125)
        .says("no such container");
    world.coracle("rm -v it").ok();
    world.coracle("volume rm vol").ok();
}

#[test]
fn inspect_says_how_it_ended() {
    let world = World::new();
    world
        .coracle("run --name it --network=none IMAGE sh -c 'exit 5'")
        .fails(5);
    let it = json(&world.coracle("inspect it").stdout());
    let state = &it[0]["State"];
    assert_eq!(state["Status"], "exited");
    assert_eq!(state["ExitCode"], 5);
    assert_eq!(state["Running"], false);
    assert_eq!(state["Pid"], 0);
    assert!(state["FinishedAt"].as_str().unwrap() > state["StartedAt"].as_str().unwrap());
}

#[test]
fn top_shows_the_containers_processes() {
    let world = World::new();
    world
        .coracle("create --name it --network=none IMAGE sleep 1000")
        .ok();
    world
        .coracle("top it")
        .fails(125)
        .says("top can only be used on running containers");
    world.coracle("start it").ok();
    let top = world.coracle("top it").stdout();
    assert!(top.lines().next().unwrap().starts_with("USER"), "{top}");
    assert!(
        top.lines()
            .nth(1)
            .unwrap()
            .trim_end()
            .ends_with("sleep 1000"),
        "{top}"
    );
    assert_eq!(
        world
            .coracle("top it pid comm")
            .stdout()
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["1", "sleep"]
    );
}

#[test]
fn port_lists_what_is_published() {
    let world = World::new();
    world
        .coracle("create --name it -p 127.0.0.1:18080:80 IMAGE")
        .ok();
    assert_eq!(world.coracle("port it").run().code, 0);
    world.coracle("create --name none IMAGE").ok();
    assert_eq!(world.coracle("port none").stdout(), "");
    world.coracle("port nosuch").fails(125);
}

#[test]
fn version_and_info() {
    let world = World::empty();
    let version = json(&world.coracle("version --format json").stdout());
    assert_eq!(version["Client"]["Version"], "5.8.6");
    assert!(world.coracle("version").stdout().contains("Version:"));
    let info = json(&world.coracle("info --format json").stdout());
    assert_eq!(info["host"]["security"]["rootless"], true);
    let root = world.coracle("info --format {{.Store.GraphRoot}}").stdout();
    assert!(root.starts_with(world.home().to_str().unwrap()), "{root}");
}

#[test]
fn looking_works_beside_two_hundred_others() {
    let world = World::new();
    for _ in 0..40 {
        world.coracle("create IMAGE").ok();
    }
    assert_eq!(world.coracle("ps -aq").stdout().lines().count(), 40);
    world.coracle("rm -a").ok();
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}
