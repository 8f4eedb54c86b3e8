//! Each command in each state of a container, several containers at once, and the
//! exit codes and words that scripts read. Podman 5.8.6 gave the same.

use crate::assert_snapshot;
use crate::world::World;

/// `run`, with neither network nor limits that a test has no use for.
fn run(world: &World, line: &str) {
    world.coracle(&format!("run --network=none {line}")).ok();
}

fn states(world: &World) -> String {
    world
        .coracle("ps -a --format '{{.Names}} {{.State}}'")
        .stdout()
}

#[test]
fn what_was_created_only() {
    let world = World::new();
    world
        .coracle("create --name it --network=none IMAGE sh -c 'echo hi; exit 3'")
        .ok();
    assert_snapshot!(world.coracle("stop it"), @"it");
    assert_eq!(states(&world,), "it created");
    world
        .coracle("kill it")
        .fails(125)
        .says("is in state created");
    world
        .coracle("exec it ls")
        .fails(255)
        .says("can only create exec sessions on running containers");
    world
        .coracle("attach it")
        .fails(125)
        .says("you can only attach to running containers");
    assert_eq!(world.coracle("wait it").stdout(), "0");
    assert_eq!(world.coracle("wait --condition created it").stdout(), "-1");
    assert_eq!(world.coracle("logs -f it").stdout(), "");
    assert_eq!(world.coracle("start -a it").fails(3).stdout(), "hi\n");
    assert_eq!(world.coracle("wait --condition=exited it").stdout(), "3");
    world.coracle("start it").ok();
    world.coracle("wait it").ok();
    assert_snapshot!(world.coracle("stop --all"), @"<id>");
    world.coracle("rm it").ok();
}

#[test]
fn initialized_is_a_state_of_its_own() {
    let world = World::new();
    world
        .coracle("create --name it --network=none IMAGE sh -c 'echo hi; exit 3'")
        .ok();
    assert_snapshot!(world.coracle("init it"), @"it");
    assert_eq!(states(&world), "it initialized");
    world
        .coracle("init it")
        .fails(125)
        .says("has already been created in runtime: container state improper");
    world.coracle("exec it ls").fails(255);
    world
        .coracle("kill it")
        .fails(125)
        .says("is in state initialized");
    assert_eq!(world.coracle("start -a it").fails(3).stdout(), "hi\n");
    world.coracle("init --all").ok();
    assert_eq!(states(&world), "it initialized");
    world.coracle("rm it").ok();
}

#[test]
fn all_names_are_known_before_anything_is_done() {
    let world = World::new();
    run(&world, "-d --name one IMAGE sleep 1000");
    for command in ["stop -t 0", "kill", "restart -t 0", "start", "init"] {
        world
            .coracle(&format!("{command} one missing"))
            .fails(125)
            .says("no container with name or ID \"missing\" found: no such container");
    }
    world
        .coracle("rm one missing")
        .fails(1)
        .says("no container with ID or name \"missing\" found: no such container");
    world.coracle("rm one").fails(2).says("as it is running");
    assert_eq!(states(&world), "one running");
    world.coracle("rm -f -t 0 missing one").ok();
    assert_eq!(states(&world), "");
}

#[test]
fn words_for_what_cannot_be_said_at_once() {
    let world = World::new();
    for (line, words) in [
        ("stop", "you must provide at least one name or id"),
        ("start", "start requires at least one argument"),
        ("start --all x", "either start all containers or"),
        ("stop --all x", "no arguments are needed with --all"),
        ("stop --all --latest", "--all and --latest cannot be used"),
        ("rm --latest x", "--latest and containers cannot be used"),
        (
            "rm --all --cidfile x",
            "--all, --latest, and --cidfile cannot",
        ),
        (
            "kill --cidfile x y",
            "no arguments are needed with --latest or",
        ),
        ("stop --filter name=x y", "--filter takes no arguments"),
        (
            "stop --cidfile none",
            "reading CIDFile: open none: no such file",
        ),
        (
            "rm -f --cidfile none",
            "reading CIDFile: open none: no such file",
        ),
        ("attach a b", "accepts at most one argument"),
        ("wait", "requires a name, id, or the \"--latest\" flag"),
        ("wait -i bad x", "time: invalid duration \"bad\""),
        (
            "wait --condition bad x",
            "unknown container state: bad: invalid",
        ),
        ("port -a 80", "no arguments are needed with --all"),
        ("port a 80 81", "accepts at most 2 arguments"),
        ("kill -s 99 x", "valid signals are 1 through 64"),
        (
            "stop -t x y",
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        ("container prune x", "takes no arguments"),
        (
            "container prune -f --filter name=x",
            "name is an invalid filter",
        ),
        (
            "top x",
            "unable to look up requested container: no container",
        ),
        ("exec x", "no container with name or ID \"x\" found"),
    ] {
        world.coracle(line).fails(125).says(words);
    }
    world.coracle("stop --ignore --cidfile none").ok();
    world
        .coracle("rm --latest")
        .fails(1)
        .says("no such container");
}

#[test]
fn a_container_that_cannot_start_says_so_with_125() {
    let world = World::new();
    world
        .coracle("create --name it --network=none IMAGE missing-command")
        .ok();
    for command in ["start it", "start -a it", "init it", "restart it"] {
        world
            .coracle(command)
            .fails(125)
            .says("executable file `missing-command` not found in $PATH");
    }
    assert_eq!(states(&world), "it created");
    world
        .coracle("run --rm --network=none -w /none IMAGE true")
        .fails(126)
        .says("workdir \"/none\" does not exist on container");
}

#[test]
fn exec_says_why_it_could_not() {
    let world = World::new();
    run(&world, "-d --name it IMAGE sleep 1000");
    world
        .coracle("exec -w /none it pwd")
        .fails(127)
        .says("chdir to `/none`: No such file or directory");
    world
        .coracle("exec -u nobody-at-all it id")
        .fails(255)
        .says("unable to find user nobody-at-all");
    world.coracle("exec -d it missing-command").fails(125);
    world.coracle("exec it /etc").fails(126);
    world.coracle("exec -e =x it true").fails(125);
    assert_eq!(world.coracle("exec -d it true").stdout().len(), 64);
    world.file("cid", world.coracle("ps -q").stdout());
    let file = world.home().join("cid");
    world.coracle("exec --cidfile").arg(file).arg("true").ok();
    let env = world.coracle("exec it env").stdout();
    assert!(!env.contains("HOSTNAME="), "{env}");
}

#[test]
fn a_namespace_that_is_shared_holds_its_owner() {
    let world = World::new();
    run(&world, "-d --name one IMAGE sleep 1000");
    world
        .coracle("create --name two --network=container:one IMAGE true")
        .ok();
    world
        .coracle("rm -f -t 0 one")
        .fails(125)
        .says("has dependent containers which must be removed before it");
    assert_eq!(states(&world), "one running\ntwo created");
    world.coracle("rm -f -t 0 one two").ok();
    run(&world, "-d --name one IMAGE sleep 1000");
    world
        .coracle("create --name two --pid=container:one IMAGE true")
        .ok();
    world.coracle("rm -f -t 0 --depend one").ok();
    assert_eq!(states(&world), "");
}

#[test]
fn a_cidfile_goes_with_its_container() {
    let world = World::new();
    let file = world.home().join("cid");
    let made = |name: &str| {
        world
            .coracle(&format!("create --network=none --name {name} --cidfile"))
            .arg(&file)
            .args(["IMAGE", "true"])
            .stdout()
    };
    let one = made("one");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), one);
    // Podman writes over one that is there.
    let two = made("two");
    world.coracle("rm one").ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), two);
    world.coracle("rm --cidfile").arg(&file).ok();
    assert!(!file.exists());
}

#[test]
fn what_is_killed_has_ended_and_stays_so() {
    let world = World::new();
    run(&world, "-d --name it --restart=always IMAGE sleep 1000");
    assert_snapshot!(world.coracle("kill it"), @"it");
    assert_eq!(states(&world), "it exited");
    world.coracle("rm it").ok();
}

#[test]
fn waiting_for_a_condition() {
    let world = World::new();
    world
        .coracle("create --name it --network=none IMAGE sleep 1000")
        .ok();
    let running = world.coracle("wait -i 10 --condition running it").spawn();
    world.coracle("start it").ok();
    assert_eq!(running.wait().stdout(), "-1\n");
    world
        .coracle("wait --condition healthy it")
        .fails(125)
        .says("has no healthcheck");
    // It may be removed before the wait begins.
    let gone = world
        .coracle("wait --ignore -i 10 --condition removing it")
        .spawn();
    world.coracle("rm -f -t 0 it").ok();
    assert_eq!(gone.wait().code, 0);
    assert_eq!(world.coracle("wait --ignore it").stdout(), "-1");
}

#[test]
fn logs_as_they_were_printed() {
    let world = World::new();
    run(
        &world,
        "--name it IMAGE sh -c 'echo one; echo two; printf three'",
    );
    let logs = |flags: &str| world.coracle(&format!("logs {flags} it")).run().stdout();
    assert_eq!(logs(""), "one\ntwo\nthree");
    assert_eq!(logs("--tail 2"), "two\nthree");
    assert_eq!(logs("--tail 0"), "");
    assert_eq!(logs("-n"), "one\ntwo\nthree");
    assert_eq!(logs("--until 10m"), "one\ntwo\nthree");
    assert_eq!(logs("--since 10m --tail 1"), "three");
    assert_eq!(logs("--since 2099-01-01"), "");
    assert!(logs("--color").starts_with("\u{1b}[37mone\u{1b}[0m\n"));
    run(&world, "--name more IMAGE echo four");
    assert_eq!(
        world.coracle("logs -n it more").stdout(),
        "it one\nit two\nit threemore four"
    );
}

#[test]
fn attach_ends_with_0_whatever_the_container_says() {
    let world = World::new();
    run(
        &world,
        "-d -i --name it IMAGE sh -c 'read x; echo got $x; exit 6'",
    );
    let done = world.coracle("attach it").stdin("hey\n").ok();
    assert_eq!(done.stdout(), "got hey\n\n");
    assert_eq!(world.coracle("wait it").stdout(), "6");
}

#[test]
fn detached_and_attached_is_detached() {
    let world = World::new();
    let id = world
        .coracle("run -d -a stdout --name it --network=none IMAGE echo hi")
        .stdout();
    assert_eq!(id.len(), 64);
    world.coracle("wait it").ok();
    // With stdin alone nothing is to be seen but the id.
    let done = world
        .coracle("run -a stdin -i --network=none IMAGE cat")
        .stdin("x");
    assert_eq!(done.stdout().len(), 64);
}

#[test]
fn columns_of_top() {
    let world = World::new();
    run(&world, "-d --name it -u 1000:50 IMAGE sleep 1000");
    let top = world.coracle("top it uid,capeff,seccomp state %a").stdout();
    let mut lines = top.lines();
    let header = lines.next().unwrap().split_whitespace();
    assert_eq!(
        header.collect::<Vec<_>>(),
        ["UID", "EFFECTIVE", "CAPS", "SECCOMP", "STATE", "COMMAND"]
    );
    let values = lines.next().unwrap().split_whitespace();
    assert_eq!(
        values.collect::<Vec<_>>(),
        ["1000", "none", "filter", "S", "sleep", "1000"]
    );
}

#[test]
fn prune_takes_only_its_own_filters() {
    let world = World::new();
    world
        .coracle("create --name one --label k=v --network=none IMAGE true")
        .ok();
    world
        .coracle("create --name two --network=none IMAGE true")
        .ok();
    assert_snapshot!(world.coracle("container prune -f --filter label=k=v"), @"<id>");
    assert_eq!(states(&world), "two created");
    assert_eq!(
        world
            .coracle("container prune -f --filter until=1h")
            .stdout(),
        ""
    );
    assert_snapshot!(world.coracle("container prune -f"), @"<id>");
}

#[test]
fn one_that_waits_to_be_started_again_has_ended() {
    let world = World::new();
    run(&world, "-d --name it --restart=always IMAGE sh -c 'exit 3'");
    // The waits grow, so that it stands more and more of the time.
    assert_eq!(world.coracle("wait it").stdout(), "3");
    world.coracle("wait --condition exited it").ok();
    let id = world.coracle("inspect -f {{.Id}} it").stdout();
    let killed = world.coracle("kill it").run();
    if killed.code != 0 {
        killed.says(&format!(
            "can only kill running containers. {id} is in state exited: container state improper"
        ));
    }
    world.coracle("start it").ok();
    world.coracle("stop it").ok();
    assert_eq!(states(&world), "it exited");
    world.coracle("start it").ok();
    world.coracle("rm -f it").ok();
}

#[test]
fn prompts_need_an_answer() {
    let world = World::new();
    let reset = || world.coracle("system reset");
    let done = reset().fails(1);
    done.says("Error: EOF");
    assert!(
        done.stdout()
            .ends_with("Are you sure you want to continue? [y/N] ")
    );
    reset().stdin("n\n").ok();
    world
        .coracle("ps -q --size")
        .fails(125)
        .says("quiet conflicts with size and namespace");
}
