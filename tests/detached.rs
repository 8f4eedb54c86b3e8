//! Containers in the background: start, stop, kill, wait, logs, attach, rm.

use std::time::Instant;

use crate::assert_snapshot;
use crate::world::World;

const TRAPS: &str = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 1000 & wait $!; done";

/// A container named `it` that ends with 0 when it hears SIGTERM, and is up.
fn started(flags: &str) -> World {
    let world = World::new();
    world
        .coracle(&format!(
            "run -d --name it --network=none {flags} IMAGE sh -c"
        ))
        .arg(TRAPS)
        .ok();
    wait_for_log(&world, "it", "up");
    world
}

/// Follows the log until `text` is in it.
fn wait_for_log(world: &World, name: &str, text: &str) {
    let logs = world.coracle(&format!("logs -f {name}")).spawn();
    logs.prints(text);
    logs.signal(rustix::process::Signal::KILL);
    logs.wait();
}

fn state(world: &World, name: &str) -> String {
    world
        .coracle(&format!(
            "inspect {name} --format '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}'"
        ))
        .stdout()
}

#[test]
fn detached_prints_the_id() {
    let world = World::new();
    let id = world
        .coracle("run -d --name it --network=none IMAGE sleep 1000")
        .stdout();
    assert_eq!(id.len(), 64);
    assert_eq!(world.coracle("ps -q --no-trunc").stdout(), id);
    assert_eq!(world.coracle("ps -q").stdout(), id[..12]);
    assert_eq!(state(&world, &id[..5]), "running 0");
    world.coracle("rm -f -t 0").arg(&id[..8]).ok();
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn stop_waits_for_the_end() {
    let world = started("");
    assert_snapshot!(world.coracle("stop it"), @"it");
    assert_eq!(state(&world, "it"), "exited 0");
    assert_eq!(world.coracle("logs it").stdout(), "up\nbye");
    // Twice is not an error.
    assert_snapshot!(world.coracle("stop it"), @"it");
    world.coracle("rm it").ok();
}

#[test]
fn what_does_not_listen_is_killed_after_the_timeout() {
    let world = World::new();
    world
        .coracle("run -d --name it --network=none IMAGE sleep 1000")
        .ok();
    let start = Instant::now();
    world.coracle("stop -t 1 it").ok();
    assert!(start.elapsed().as_secs() < 8);
    assert_eq!(state(&world, "it"), "exited 137");
}

#[test]
fn stop_signal_of_ones_own() {
    let world = World::new();
    let script = "trap 'exit 8' USR1; echo up; while :; do sleep 1000 & wait $!; done";
    world
        .coracle("run -d --name it --stop-signal USR1 --network=none IMAGE sh -c")
        .arg(script)
        .ok();
    wait_for_log(&world, "it", "up");
    world.coracle("stop it").ok();
    assert_eq!(state(&world, "it"), "exited 8");
}

#[test]
fn kill_sends_what_it_is_told() {
    let world = World::new();
    let script = "trap 'echo one' USR1; echo up; while :; do sleep 1000 & wait $!; done";
    world
        .coracle("run -d --name it --network=none IMAGE sh -c")
        .arg(script)
        .ok();
    wait_for_log(&world, "it", "up");
    world.coracle("kill -s USR1 it").ok();
    wait_for_log(&world, "it", "one");
    assert_eq!(state(&world, "it"), "running 0");
    world.coracle("kill -s nonsense it").fails(125);
    world.coracle("kill it").ok();
    assert_eq!(world.coracle("wait it").stdout(), "137");
    world
        .coracle("kill it")
        .fails(125)
        .says("can only kill running containers");
}

#[test]
fn wait_prints_the_exit_code() {
    let world = World::new();
    world
        .coracle("run -d --name it --network=none IMAGE sh -c 'exit 6'")
        .ok();
    assert_eq!(world.coracle("wait it").stdout(), "6");
    assert_eq!(world.coracle("wait it it").stdout(), "6\n6");
    world
        .coracle("wait nosuch")
        .fails(125)
        .says("no container with name or ID \"nosuch\" found");
    world.coracle("wait --ignore nosuch").ok();
}

#[test]
fn start_and_restart() {
    let world = started("");
    assert_snapshot!(world.coracle("restart it"), @"it");
    assert_eq!(state(&world, "it"), "running 0");
    world.coracle("stop it").ok();
    assert_snapshot!(world.coracle("start it"), @"it");
    // What runs already stays as it is.
    assert_snapshot!(world.coracle("start it"), @"it");
    assert_eq!(state(&world, "it"), "running 0");
    world.coracle("start nosuch").fails(125);
}

#[test]
fn logs_are_what_was_printed() {
    let world = World::new();
    let script = "echo one; printf 'two\\nthree'; echo err >&2";
    world
        .coracle("run --name it --network=none IMAGE sh -c")
        .arg(script)
        .ok();
    let logs = world.coracle("logs it").ok();
    assert_eq!(logs.stdout(), "one\ntwo\nthree");
    assert_eq!(logs.stderr(), "err\n");
    assert_eq!(world.coracle("logs --tail 1 it").run().code, 0);
    let stamped = world.coracle("logs -t it").stdout();
    assert!(
        stamped.lines().next().unwrap().ends_with(" one"),
        "{stamped}"
    );
    world.coracle("logs nosuch").fails(125);
}

#[test]
fn logs_of_the_other_drivers() {
    let world = World::new();
    for driver in ["json-file", "k8s-file"] {
        world
            .coracle(&format!(
                "run --replace --name it --log-driver {driver} --network=none IMAGE seq 3"
            ))
            .ok();
        assert_eq!(world.coracle("logs it").stdout(), "1\n2\n3", "{driver}");
        assert_eq!(
            world.coracle("logs --tail 2 it").stdout(),
            "2\n3",
            "{driver}"
        );
    }
    world
        .coracle("run --replace --name it --log-driver none --network=none IMAGE seq 3")
        .ok();
    world.coracle("logs it").fails(125);
    world
        .coracle("run --rm --log-driver nonsense IMAGE true")
        .fails(125);
}

#[test]
fn following_ends_with_the_container() {
    let world = World::new();
    world
        .coracle("run -d --name it --network=none IMAGE sh -c 'for i in 1 2 3; do echo $i; sleep 0.1; done'")
        .ok();
    assert_eq!(world.coracle("logs -f it").stdout(), "1\n2\n3");
    assert_eq!(state(&world, "it"), "exited 0");
}

#[test]
fn removing() {
    let world = started("");
    world
        .coracle("rm it")
        .fails(2)
        .says("cannot remove container");
    world.coracle("rm -f it").ok();
    world
        .coracle("rm it")
        .fails(1)
        .says("no container with ID or name \"it\" found: no such container");
    world.coracle("rm -f it").ok();
    world.coracle("rm -i it").ok();
    world.coracle("create --name a IMAGE").ok();
    world.coracle("create --name b IMAGE").ok();
    let removed = world.coracle("rm -a").stdout();
    assert_eq!(removed.lines().count(), 2);
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn an_ambiguous_beginning_of_an_id_is_refused() {
    let world = World::new();
    // Of seventeen ids two begin alike.
    for _ in 0..17 {
        world.coracle("create IMAGE").ok();
    }
    let ids = world.coracle("ps -aq").stdout();
    let mut first: Vec<&str> = ids.lines().map(|id| &id[..1]).collect();
    first.sort_unstable();
    let twice = first.windows(2).find(|two| two[0] == two[1]).unwrap()[0];
    world.coracle("inspect").arg(twice).fails(125);
    world
        .coracle("rm")
        .arg(twice)
        .fails(125)
        .says("more than one result");
    assert_eq!(world.coracle("ps -aq").stdout(), ids);
}

#[test]
fn all_and_latest() {
    let world = World::new();
    world.coracle("create --name a IMAGE true").ok();
    world.coracle("create --name b IMAGE sh -c 'exit 3'").ok();
    assert_eq!(world.coracle("inspect -l --format {{.Name}}").stdout(), "b");
    world.coracle("start -l").ok();
    assert_eq!(world.coracle("wait -l").stdout(), "3");
    world.coracle("start --all").ok();
    world.coracle("wait a b").ok();
    assert_eq!(state(&world, "a"), "exited 0");
    world.coracle("container prune -f").ok();
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn renaming() {
    let world = World::new();
    world.coracle("create --name one IMAGE").ok();
    world.coracle("create --name two IMAGE").ok();
    world.coracle("rename one three").ok();
    world.coracle("container exists three").ok();
    world.coracle("container exists one").fails(1);
    world
        .coracle("rename two three")
        .fails(125)
        .says("already in use");
    world.coracle("create --name one IMAGE").ok();
    world
        .coracle("rename one")
        .fails(125)
        .says("accepts 2 arg(s), received 1");
}

#[test]
fn restart_policies() {
    let world = World::new();
    let script = "echo x >>/count; [ $(wc -l </count) -ge 3 ] && exit 0; exit 1";
    world
        .coracle("run -d --name it --restart on-failure --network=none IMAGE sh -c")
        .arg(script)
        .ok();
    // `wait` may see each end: the last is the one that counts.
    while state(&world, "it") != "exited 0" {
        world.coracle("wait --condition=exited it").ok();
    }
    let restarts = world
        .coracle("inspect it --format {{.RestartCount}}")
        .stdout();
    assert_eq!(restarts, "2");
    world
        .coracle("run -d --name ever --restart always --network=none IMAGE sh -c")
        .arg(TRAPS)
        .ok();
    wait_for_log(&world, "ever", "up");
    let pid = world
        .coracle("inspect ever --format {{.State.Pid}}")
        .stdout();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .ok();
    while [pid.as_str(), "0"].contains(
        &world
            .coracle("inspect ever --format {{.State.Pid}}")
            .stdout()
            .as_str(),
    ) {}
    world.coracle("stop -t 0 ever").ok();
    assert!(state(&world, "ever").starts_with("exited"));
}

#[test]
fn a_timeout_ends_it() {
    let world = World::new();
    world
        .coracle("run --timeout 1 --name it --network=none IMAGE sleep 1000")
        .fails(255);
    assert_eq!(state(&world, "it"), "exited -1");
    assert_eq!(world.coracle("wait it").stdout(), "-1");
}

#[test]
fn init_then_start() {
    let world = World::new();
    world
        .coracle("create --name it --network=none IMAGE sh -c 'exit 4'")
        .ok();
    world.coracle("init it").ok();
    assert_eq!(state(&world, "it"), "initialized 0");
    world.coracle("start it").ok();
    assert_eq!(world.coracle("wait it").stdout(), "4");
}

#[test]
fn attaching() {
    let world = World::new();
    world.coracle("create --name it --network=none IMAGE").ok();
    world
        .coracle("attach it")
        .fails(125)
        .says("you can only attach to running containers");
    world.coracle("rm it").ok();
    world
        .coracle("run -d -i --name it --network=none IMAGE cat")
        .ok();
    assert_eq!(
        world.coracle("attach it").stdin("through\n").stdout(),
        "through"
    );
    assert_eq!(world.coracle("wait it").stdout(), "0");
}

#[test]
fn rm_in_the_background() {
    let world = World::new();
    let id = world
        .coracle("run -d --rm --network=none -v /anon IMAGE sleep 1000")
        .stdout();
    world.coracle("stop -t 0").arg(&id).ok();
    // Who waits for the removal sees its end.
    world
        .coracle("wait --ignore --condition=removing")
        .arg(&id)
        .run();
    for process in world.processes() {
        crate::world::wait_for_exit(process.pid);
    }
    assert_eq!(world.coracle("ps -aq").stdout(), "");
    assert_eq!(world.coracle("volume ls -q").stdout(), "");
}
