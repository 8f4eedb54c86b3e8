//! `stats`: what containers use, where there is a cgroup and where there is none.

use crate::world::World;

#[test]
fn what_a_container_uses() {
    let world = World::new();
    world
        .coracle("run -d --name it --network=none --stop-timeout=0 IMAGE")
        .args([
            "sh",
            "-c",
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; touch /done; exec sleep 1000",
        ])
        .ok();
    world
        .coracle("exec it sh -c 'until [ -e /done ]; do :; done'")
        .ok();
    let shown = world.coracle("stats --no-stream --format json it").stdout();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let one = &shown[0];
    assert_eq!(one["name"], "it");
    assert_eq!(one["net_io"], "0B / 0B");
    let number = |template: &str| -> f64 {
        let line = format!("stats --no-stream --format {{{{.{template}}}}} it");
        world.coracle(&line).stdout().parse().unwrap()
    };
    assert!(number("CPUNano") > 0.0);
    assert!(number("CPU") > 0.0);
    assert!(number("ContainerStats.MemUsage") > 0.0);
    assert!(number("MemLimit") > number("ContainerStats.MemUsage"));
    assert!(number("PIDs") >= 1.0);
    world.coracle("rm -f it").ok();
}

#[test]
fn the_stream_goes_on_as_containers_come_and_go() {
    let world = World::new();
    for name in ["one", "two"] {
        world
            .coracle("run -d --network=none --stop-timeout=0 --name")
            .args([name, "IMAGE", "sleep", "1000"])
            .ok();
    }
    let stats = world
        .coracle("stats -i 1 --format {{.Name}}.{{.PIDS}}")
        .spawn();
    stats.prints("one.1\ntwo.1\none.1\n");
    world.coracle("rm -f one").ok();
    stats.prints("two.1\ntwo.1\n");
    stats.signal(rustix::process::Signal::TERM);
    stats.wait();
    // One that is named and removed ends it.
    let stats = world.coracle("stats -i 1 --format {{.Name}} two").spawn();
    stats.prints("two\n");
    world.coracle("rm -f two").ok();
    let done = stats.wait();
    assert_eq!(done.code, 0);
}
