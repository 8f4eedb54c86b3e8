//! `events`: what is written down, how it is read, and that it is seen as it happens.

use std::fs;

use crate::world::World;

/// What the log has of `name`, a word an event.
fn life(world: &World, name: &str) -> String {
    world
        .coracle("events --stream=false --format {{.Status}}")
        .args(["--filter", &format!("container={name}")])
        .stdout()
        .replace('\n', " ")
}

#[test]
fn a_life_is_written_down() {
    let world = World::new();
    world
        .coracle("run --rm --name it --network=none IMAGE true")
        .ok();
    assert_eq!(life(&world, "it"), "create init start attach died remove");
    world
        .coracle("run -d --name web --network=none IMAGE sleep 1000")
        .ok();
    world.coracle("exec web sh -c 'exit 4'").fails(4);
    world.coracle("stop -t 0 web").ok();
    world.coracle("rm web").ok();
    assert_eq!(
        life(&world, "web"),
        "create init start exec exec_died stop died cleanup remove"
    );
    let code = "events --stream=false --filter event=exec_died --format {{.ContainerExitCode}}";
    assert_eq!(world.coracle(code).stdout(), "4");
}

#[test]
fn a_detached_exec_is_written_down_when_it_ends() {
    let world = World::new();
    world
        .coracle("run -d --name web --network=none IMAGE sleep 1000")
        .ok();
    let events = world.coracle("events --format {{.Status}}-{{.ContainerExitCode}}");
    let events = events.spawn();
    // Until it listens, what happens is not shown: so it happens again and again.
    world.coracle("exec -d web sh -c 'exit 5'").ok();
    for _ in 0..100 {
        world.coracle("exec web true").ok();
    }
    events.prints("exec_died-");
    events.signal(rustix::process::Signal::TERM);
    events.wait();
    let codes = "events --stream=false --filter event=exec_died --format {{.ContainerExitCode}}";
    assert!(
        world
            .coracle(codes)
            .stdout()
            .lines()
            .any(|line| line == "5")
    );
    world.coracle("rm -f -t 0 web").ok();
}

#[test]
fn what_happens_is_shown_as_it_happens() {
    let world = World::new();
    world.coracle("volume create before").ok();
    let events = world
        .coracle("events --since 1h --filter type=volume --format '{{.Status}} {{.Name}}'")
        .spawn();
    events.prints("create before");
    world.coracle("volume create later").ok();
    events.prints("create later");
    world.coracle("volume rm later").ok();
    events.prints("remove later");
    // The file is renamed away, as when it is full, and more comes.
    let log = world.data().join("events/events.log");
    fs::rename(&log, log.with_extension("log.1")).unwrap();
    world.coracle("volume create anew").ok();
    events.prints("create anew");
    events.signal(rustix::process::Signal::TERM);
    let done = events.wait();
    assert_eq!(
        done.stdout(),
        "create before\ncreate later\nremove later\ncreate anew\n"
    );
    // Both files are read.
    let past = "events --stream=false --filter volume=before --format {{.Status}}";
    assert_eq!(world.coracle(past).stdout(), "create");
    world.coracle("volume rm before anew").ok();
}

#[test]
fn until_ends_the_stream() {
    let world = World::new();
    world.coracle("volume create it").ok();
    let all = "events --until 100ms --filter type=volume --format {{.Name}}";
    assert_eq!(world.coracle(all).stdout(), "it");
    world.coracle("volume rm it").ok();
}

#[test]
fn the_file_stays_small() {
    let world = World::empty();
    world.file(
        ".config/containers/containers.conf",
        "[engine]\nevents_logfile_max_size = \"4k\"\n",
    );
    world
        .shell("for i in $(seq 30); do coracle volume create v$i; coracle volume rm v$i; done")
        .ok();
    let folder = world.data().join("events");
    let length = |name: &str| fs::metadata(folder.join(name)).map_or(0, |it| it.len());
    let all = length("events.log") + length("events.log.1");
    assert!((1000..=4096 + 200).contains(&all), "{all}");
    let last = "events --stream=false --filter volume=v30 --format {{.Status}}";
    assert_eq!(world.coracle(last).stdout(), "create\nremove");
}

#[test]
fn containers_conf_says_where() {
    let world = World::new();
    let file = world.home().join("elsewhere/events.log");
    let configured = |text: &str| {
        world.file(
            ".config/containers/containers.conf",
            format!("[engine]\n{text}\n"),
        )
    };
    configured(&format!(
        "events_logfile_path = \"{}\"\nevents_container_create_inspect_data = true",
        file.display()
    ));
    world
        .coracle("create --name it --network=none IMAGE true")
        .ok();
    let data = "events --stream=false --filter event=create --format {{.ContainerInspectData}}";
    let data = world.coracle(data).stdout();
    let data: serde_json::Value = serde_json::from_str(data.trim()).unwrap();
    assert_eq!(data["Name"], "it");
    assert!(fs::read_to_string(&file).unwrap().contains("\"create\""));
    configured("events_logger = \"none\"");
    world
        .coracle("events")
        .fails(125)
        .says("cannot read events with the \"none\" backend");
    configured("events_logger = \"wrong\"");
    for command in ["create --network=none IMAGE true", "start it", "events"] {
        world
            .coracle(command)
            .fails(125)
            .says("unknown event logger type: wrong");
    }
    configured("");
    world.coracle("rm it").ok();
}

#[test]
fn a_monitor_that_was_killed_is_written_down_by_who_finds_it() {
    let world = World::new();
    let pid = world.home().join("monitor");
    world
        .coracle("run -d --name it --network=none --conmon-pidfile")
        .arg(&pid)
        .args(["IMAGE", "sleep", "1000"])
        .ok();
    let pid: i32 = fs::read_to_string(&pid).unwrap().parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    crate::world::wait_for_exit(pid);
    world.coracle("rm it").ok();
    assert_eq!(life(&world, "it"), "create init start died cleanup remove");
}

#[test]
fn a_disk_that_takes_nothing_stops_no_command() {
    let world = World::new();
    let folder = world.data().join("events");
    fs::remove_dir_all(&folder).unwrap();
    // No folder can be made there, and nothing written.
    fs::write(&folder, "").unwrap();
    world.coracle("run --rm --network=none IMAGE true").ok();
    world.coracle("volume create it").ok();
    world.coracle("volume rm it").ok();
    fs::remove_file(&folder).unwrap();
}
