//! Health checks: run by the monitor at their times, and by `healthcheck run`.

use std::fs;

use crate::world::World;

/// A container `it` that is checked as `flags` say.
fn run(world: &World, flags: &str) {
    world
        .coracle(&format!(
            "run -d --name it --network=none --stop-timeout=0 {flags} IMAGE sleep 1000"
        ))
        .ok();
}

fn show(world: &World, template: &str) -> String {
    world.coracle("inspect it --format").arg(template).stdout()
}

fn end(world: &World) {
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn the_monitor_checks_at_its_times() {
    let world = World::new();
    run(
        &world,
        "--health-cmd 'echo x; test -e /ok' --health-interval 10ms --health-retries 2",
    );
    let unhealthy = world.coracle("wait -i 10ms --condition=unhealthy it");
    assert_eq!(unhealthy.stdout(), "-1");
    assert!(
        world
            .coracle("ps --format {{.Status}}")
            .stdout()
            .ends_with("(unhealthy)")
    );
    assert_eq!(
        world
            .coracle("ps -q --filter health=unhealthy")
            .stdout()
            .len(),
        12
    );
    assert_eq!(world.coracle("ps -q --filter health=healthy").stdout(), "");
    world.coracle("exec it touch /ok").ok();
    world.coracle("wait -i 10ms --condition=healthy it").ok();
    assert_eq!(show(&world, "{{.State.Health.FailingStreak}}"), "0");
    assert!(show(&world, "{{json .State.Health.Log}}").contains(r#""Output":"x\n""#));
    end(&world);
}

#[test]
fn what_comes_of_illness() {
    let world = World::new();
    let ill = "--health-cmd false --health-interval 10ms --health-retries 2";
    for action in ["kill", "stop"] {
        run(&world, &format!("{ill} --health-on-failure {action}"));
        assert_eq!(world.coracle("wait it").stdout(), "137");
        assert_eq!(show(&world, "{{.State.Health.Status}}"), "unhealthy");
        // It is ended for good, whatever the policy.
        end(&world);
    }
    run(&world, &format!("{ill} --health-on-failure restart"));
    let events = world
        .coracle("events --since 1h --filter container=it --format {{.Status}}")
        .spawn();
    events.prints("restart\ninit\nstart\nhealth_status\nhealth_status\ndied\nrestart\n");
    events.signal(rustix::process::Signal::TERM);
    events.wait();
    end(&world);
}

#[test]
fn a_startup_check_is_first() {
    let world = World::new();
    run(
        &world,
        "--health-cmd 'echo main' --health-interval 10ms --health-startup-cmd 'echo first' \
         --health-startup-interval 10ms --health-startup-success 2 --health-max-log-count 0",
    );
    let events = world
        .coracle("events --since 1h --filter event=health_status --format {{.HealthStatus}}")
        .spawn();
    events.prints("healthy\nhealthy\nhealthy\n");
    events.signal(rustix::process::Signal::TERM);
    events.wait();
    let printed = show(&world, "{{range .State.Health.Log}}{{.Output}}{{end}}");
    assert!(printed.starts_with("first\nfirst\nmain"), "{printed}");
    end(&world);
    // One that never passes has the container started again.
    run(
        &world,
        "--health-cmd true --health-startup-cmd false --health-startup-interval 10ms \
         --health-startup-retries 2",
    );
    let events = world
        .coracle(
            "events --since 1h --filter container=it --filter event=restart --format {{.Status}}",
        )
        .spawn();
    events.prints("restart\nrestart\n");
    events.signal(rustix::process::Signal::TERM);
    events.wait();
    end(&world);
}

#[test]
fn a_check_by_hand() {
    let world = World::new();
    let by_hand = "--health-interval disable";
    run(
        &world,
        &format!(
            "{by_hand} --health-cmd 'seq 3; exit 7' --health-retries 1 --health-max-log-size 4"
        ),
    );
    assert_eq!(show(&world, "{{.State.Health.Status}}"), "starting");
    assert_eq!(
        world.coracle("healthcheck run it").fails(1).stdout(),
        "unhealthy\n"
    );
    let log = show(
        &world,
        "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}",
    );
    assert_eq!(log, "1 1\n2");
    world.coracle("stop it").ok();
    world
        .coracle("healthcheck run it")
        .fails(125)
        .says("is not running");
    world.coracle("start it").ok();
    assert_eq!(show(&world, "{{.State.Health.Status}}"), "starting");
    end(&world);

    run(
        &world,
        &format!("{by_hand} --health-cmd 'sleep 1000' --health-timeout 50ms"),
    );
    world
        .coracle("healthcheck run it")
        .fails(125)
        .says("healthcheck command exceeded timeout of 50ms");
    assert_eq!(show(&world, "{{.State.Health.FailingStreak}}"), "1");
    end(&world);

    // What it has started ends with it, whoever's child that is by now.
    let line = "sleep 1001 & setsid sleep 1002 & (sleep 1003 &); sleep 1004";
    run(
        &world,
        &format!("{by_hand} --health-cmd '{line}' --health-timeout 300ms"),
    );
    world.coracle("healthcheck run it").fails(125);
    let gone = "exec it sh -c 'while ps | grep -q \"[s]leep 100[1-4]\"; do :; done'";
    world.coracle(gone).ok();
    assert_eq!(show(&world, "{{.State.Status}}"), "running");
    end(&world);

    run(&world, "");
    world
        .coracle("healthcheck run it")
        .fails(125)
        .says("has no defined healthcheck");
    world
        .coracle("wait --condition=healthy it")
        .fails(125)
        .says("has no healthcheck");
    end(&world);
}

#[test]
fn logs_go_where_they_are_wanted() {
    let world = World::new();
    let folder = world.folder("logs");
    let by_hand = "--health-interval disable --health-cmd 'echo hi' --health-log-destination";
    run(&world, &format!("{by_hand} {}", folder.display()));
    world.coracle("healthcheck run it").ok();
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    assert!(
        file.file_name()
            .to_str()
            .unwrap()
            .ends_with("-healthcheck.log")
    );
    let log: serde_json::Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
    assert_eq!(log["Log"][0]["Output"], "hi\n");
    end(&world);
    run(&world, &format!("{by_hand} events_logger"));
    world.coracle("healthcheck run it").ok();
    let events = fs::read_to_string(world.data().join("events/events.log")).unwrap();
    assert!(events.contains(r#""health_log":"{\"Start\""#));
    end(&world);
}

#[test]
fn a_container_with_ids_of_its_own_is_checked_too() {
    let world = World::new();
    for flags in [
        "--userns=keep-id --user 5",
        "--user 7 --cap-drop=all --read-only",
        "--pid=host",
    ] {
        run(
            &world,
            &format!("{flags} --health-cmd 'id -u' --health-interval 10ms"),
        );
        world.coracle("wait -i 10ms --condition=healthy it").ok();
        end(&world);
    }
    // One that joins another's namespaces.
    world
        .coracle("run -d --name first --network=none --stop-timeout=0 IMAGE sleep 1000")
        .ok();
    world
        .coracle(
            "run -d --name it --network=container:first --stop-timeout=0 --health-cmd true \
             --health-interval 10ms IMAGE sleep 1000",
        )
        .ok();
    world.coracle("wait -i 10ms --condition=healthy it").ok();
    end(&world);
    world.coracle("rm -f -t 0 first").ok();
}

#[test]
fn a_container_that_ends_waits_for_no_check() {
    let world = World::new();
    world
        .coracle(
            "run --rm --network=none --health-cmd 'sleep 1000' --health-interval 10ms IMAGE true",
        )
        .ok();
    run(&world, "--health-cmd 'sleep 1000' --health-interval 10ms");
    end(&world);
}

#[test]
fn an_images_check() {
    let world = World::new();
    world
        .coracle("create --name base --network=none IMAGE sleep 1000")
        .ok();
    world
        .coracle(
            "commit -q --format docker -c 'HEALTHCHECK --interval=1h --retries=1 CMD test -e /ok' base checked",
        )
        .ok();
    world.coracle("rm base").ok();
    world
        .coracle("run -d --name it --network=none --stop-timeout=0 checked")
        .ok();
    world.coracle("wait -i 10ms --condition=unhealthy it").ok();
    assert_eq!(
        show(&world, "{{json .Config.Healthcheck}}"),
        r#"{"Test":["CMD-SHELL","test -e /ok"],"Interval":3600000000000,"Timeout":30000000000,"Retries":1}"#
    );
    end(&world);
    world
        .coracle("run -d --name it --network=none --stop-timeout=0 --no-healthcheck checked")
        .ok();
    assert_eq!(
        show(&world, "{{json .Config.Healthcheck.Test}}"),
        r#"["NONE"]"#
    );
    world.coracle("healthcheck run it").fails(125);
    end(&world);
    world.coracle("rmi checked").ok();
}
