//! `update`: of containers that run, of such that do not, and what it may not change.

use crate::world::World;

fn show(world: &World, template: &str) -> String {
    world.coracle("inspect it --format").arg(template).stdout()
}

#[test]
fn the_next_start_has_what_was_changed() {
    let world = World::new();
    world
        .coracle("create --name it --network=none -e OLD=1 -e GONE=1 IMAGE")
        .args(["sh", "-c", "echo $OLD,$NEW,$GONE; ulimit -n; exit 3"])
        .ok();
    world
        .coracle(
            "update it -e OLD=2 -e NEW=3 --unsetenv GONE --ulimit nofile=77:77 --restart on-failure:1",
        )
        .ok();
    assert_eq!(world.coracle("start -a it").fails(3).stdout(), "2,3,\n77\n");
    world.coracle("wait it").ok();
    let events = "events --stream=false --filter event=update --format {{.Name}}";
    assert_eq!(world.coracle(events).stdout(), "it");
    world.coracle("rm -f it").ok();
}

#[test]
fn the_policy_of_one_that_runs() {
    let world = World::new();
    world
        .coracle("run -d --name it --network=none IMAGE")
        .args(["sh", "-c", "until [ -e /go ]; do :; done; exit 1"])
        .ok();
    world.coracle("update --restart on-failure:2 it").ok();
    let events = world
        .coracle("events --since 1h --filter container=it --format {{.Status}}")
        .spawn();
    world.coracle("exec it touch /go").ok();
    events.prints("died\nrestart\ninit\nstart\ndied\nrestart\ninit\nstart\ndied\ncleanup\n");
    events.signal(rustix::process::Signal::TERM);
    events.wait();
    world.coracle("rm it").ok();
}

#[test]
fn checks_of_one_that_runs() {
    let world = World::new();
    world
        .coracle("run -d --name it --network=none --stop-timeout=0 IMAGE sleep 1000")
        .ok();
    world.coracle("wait --condition=healthy it").fails(125);
    world
        .coracle("update --health-cmd 'test -e /ok' --health-interval 10ms --health-retries 1 it")
        .ok();
    world.coracle("wait -i 10ms --condition=unhealthy it").ok();
    world
        .coracle("update --health-cmd true --health-interval 10ms it")
        .ok();
    world.coracle("wait -i 10ms --condition=healthy it").ok();
    world
        .coracle("update --health-on-failure kill --health-cmd false --health-interval 10ms --health-retries 1 it")
        .ok();
    assert_eq!(world.coracle("wait it").stdout(), "137");
    world.coracle("update --no-healthcheck it").ok();
    assert_eq!(
        show(&world, "{{json .Config.Healthcheck.Test}}"),
        r#"["NONE"]"#
    );
    world.coracle("rm it").ok();
}

#[test]
fn limits_are_kept_or_refused_by_name() {
    let world = World::new();
    world
        .coracle("create --name it --network=none IMAGE sleep 1000")
        .ok();
    world
        .coracle("update --memory 100m --cpus 0.5 --pids-limit 20 it")
        .ok();
    world.coracle("update --cpu-shares 20 it").ok();
    assert_eq!(
        show(
            &world,
            "{{.HostConfig.Memory}} {{.HostConfig.CpuQuota}}/{{.HostConfig.CpuPeriod}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpuShares}}"
        ),
        "104857600 50000/100000 20 20"
    );
    for flag in [
        "cgroup-parent=x",
        "oom-score-adj=1",
        "cgroups=disabled",
        "cgroup-conf=a=b",
    ] {
        world
            .coracle(&format!("update --{flag} it"))
            .fails(125)
            .says("unknown flag: --");
    }
    world.coracle("rm it").ok();
    world
        .coracle("create --rm --name it --network=none IMAGE sleep 1000")
        .ok();
    world
        .coracle("update --restart always it")
        .fails(125)
        .says("the --rm option conflicts with --restart");
    world.coracle("rm it").ok();
}

/// Where the machine gives us no cgroup, that is said and nothing is changed.
#[test]
fn a_limit_that_cannot_be_had_is_said() {
    let world = World::new();
    world
        .coracle(
            "run -d --name it --network=none --cgroups=disabled --stop-timeout=0 IMAGE sleep 1000",
        )
        .ok();
    world
        .coracle("update --memory 100m it")
        .fails(125)
        .says("runs without a cgroup of its own");
    assert_eq!(show(&world, "{{.HostConfig.Memory}}"), "0");
    world.coracle("rm -f it").ok();
}
