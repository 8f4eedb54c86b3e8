//! The cgroup of a container: that it has one, its limits, `pause`, and that all in
//! it ends with the container. Most needs cgroup v2 with a cgroup of our own.

use std::path::{Path, PathBuf};

use crate::needs;
use crate::world::{World, wait_for_exit};

/// Where a running container's cgroup is.
fn folder(world: &World, name: &str) -> PathBuf {
    let path = world
        .coracle("inspect -f {{.State.CgroupPath}}")
        .arg(name)
        .stdout();
    Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}

fn procs(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn state(world: &World, name: &str) -> String {
    world
        .coracle("inspect -f '{{.State.Status}} {{.State.Running}} {{.State.Paused}}'")
        .arg(name)
        .stdout()
}

#[test]
fn a_container_has_a_cgroup_of_its_own() {
    let world = World::new();
    needs!(world, OwnCgroup);
    world
        .coracle("run -d --name it --network=none IMAGE sleep 1000")
        .ok();
    let folder = folder(&world, "it");
    let id = world.coracle("inspect -f {{.Id}} it").stdout();
    assert_eq!(
        folder.file_name().unwrap().to_str().unwrap(),
        format!("libpod-{id}")
    );
    let init = world.coracle("inspect -f {{.State.Pid}} it").stdout();
    assert_eq!(procs(&folder), [init]);
    // It is the root of what the container sees.
    let seen = world.coracle("exec it cat /proc/self/cgroup").stdout();
    assert!(seen.lines().any(|line| line == "0::/"), "{seen}");
    world.coracle("exec -d it sleep 1001").ok();
    assert_eq!(procs(&folder).len(), 2);
    world.coracle("stop -t 0 it").ok();
    assert!(!folder.exists());
    world.coracle("start it").ok();
    assert!(folder.exists());
    world.coracle("rm -f -t 0 it").ok();
    assert!(!folder.exists());
}

#[test]
fn a_paused_container_stands_still() {
    let world = World::new();
    needs!(world, OwnCgroup);
    world
        .coracle("run -d --name it --network=none IMAGE sleep 1000")
        .ok();
    let id = world.coracle("inspect -f {{.Id}} it").stdout();
    assert_eq!(world.coracle("pause it").stdout(), "it");
    assert_eq!(state(&world, "it"), "paused false true");
    assert_eq!(world.coracle("ps -q").stdout(), "");
    assert_eq!(
        world
            .coracle("ps --filter status=paused --format {{.Status}}")
            .stdout(),
        "Paused"
    );
    for (command, code, words) in [
        (
            "pause it",
            125,
            format!("\"{id}\" is already paused: container state improper"),
        ),
        (
            "exec it true",
            255,
            "can only create exec sessions on running containers".into(),
        ),
        (
            "attach it",
            125,
            "you can only attach to running containers".into(),
        ),
        (
            "top it",
            125,
            "top can only be used on running containers".into(),
        ),
        (
            "start it",
            125,
            "must be in Created or Stopped state to be started".into(),
        ),
        (
            "restart it",
            125,
            "unable to restart a container in a paused or unknown state: container state improper"
                .into(),
        ),
        (
            "rm it",
            2,
            "as it is paused - running or paused containers cannot be removed".into(),
        ),
    ] {
        world.coracle(command).fails(code).says(&words);
    }
    assert_eq!(world.coracle("unpause it").stdout(), "it");
    assert_eq!(state(&world, "it"), "running true false");
    world.coracle("unpause it").fails(125).says(&format!(
        "\"{id}\" is not paused, can't unpause: container state improper"
    ));
    assert_eq!(world.coracle("exec it echo on").stdout(), "on");
    assert_eq!(world.coracle("pause --all").stdout(), id);
    assert_eq!(world.coracle("pause --all").stdout(), "");
    assert_eq!(world.coracle("unpause --filter name=it").stdout(), id);
    assert_eq!(world.coracle("pause --latest").stdout(), id);
    // What stands still can be ended.
    world.coracle("kill it").ok();
    world
        .coracle("pause it")
        .fails(125)
        .says("\"exited\" is not running, can't pause: container state improper");
    world.coracle("start it").ok();
    world.coracle("pause it").ok();
    world.coracle("stop -t 0 it").ok();
    assert_eq!(
        world.coracle("inspect -f {{.State.ExitCode}} it").stdout(),
        "137"
    );
    world.coracle("start it").ok();
    world.coracle("pause it").ok();
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn all_in_a_cgroup_ends_with_its_container() {
    let world = World::new();
    needs!(world, OwnCgroup);
    world
        .coracle("run -d --name it --network=none --pid=host IMAGE sleep 1000")
        .ok();
    world
        .coracle("exec -d it sh -c 'sleep 1001 & sleep 1002'")
        .ok();
    let folder = folder(&world, "it");
    world.coracle("kill it").ok();
    assert!(!folder.exists());
    world.wait_for_processes();
}

#[test]
fn a_killed_monitor_leaves_no_cgroup() {
    let world = World::new();
    needs!(world, OwnCgroup);
    world
        .coracle("run -d --name it --network=none --pid=host IMAGE sh -c 'sleep 1000 & sleep 1001'")
        .ok();
    let folder = folder(&world, "it");
    let monitor = world.coracle("inspect -f {{.State.ConmonPid}} it").stdout();
    world.shell(&format!("kill -9 {monitor}")).ok();
    wait_for_exit(monitor.parse().unwrap());
    assert_eq!(
        world
            .coracle("ps -a --format '{{.State}} {{.ExitCode}}'")
            .stdout(),
        "exited 137"
    );
    assert!(!folder.exists());
    world.wait_for_processes();
    world.coracle("rm it").ok();
}

#[test]
fn how_cgroups_are_made_can_be_said() {
    let world = World::new();
    needs!(world, OwnCgroup);
    let seen = |flags: &str| {
        let run = format!("run --rm --network=none --cgroupns=host {flags} IMAGE");
        let text = world
            .coracle(&run)
            .args(["cat", "/proc/self/cgroup"])
            .stdout();
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        path.unwrap().to_owned()
    };
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap();
    assert_eq!(seen("--cgroups=disabled"), own);
    for how in ["enabled", "no-conmon"] {
        let path = seen(&format!("--cgroups={how}"));
        assert!(path.contains("/libpod-"), "{path}");
    }
    // A folder of ours, as far as it is missing.
    let parent = Path::new(own).parent().unwrap();
    let parent = match seen("").starts_with(own) {
        true => Path::new(own),
        false => parent,
    };
    let named = parent.join(format!("t-{}", std::process::id()));
    let flag = format!("--cgroup-parent={}/deep", named.display());
    let prefix = format!("{}/deep/libpod-", named.display());
    let path = seen(&flag);
    assert!(path.starts_with(&prefix), "{path}");
    let named = Path::new("/sys/fs/cgroup").join(named.strip_prefix("/").unwrap());
    std::fs::remove_dir(named.join("deep")).unwrap();
    std::fs::remove_dir(named).unwrap();
    // Files of the kernel's own need no controller.
    assert_eq!(
        world
            .coracle("run --rm --network=none --cgroup-conf=cgroup.max.depth=3 IMAGE")
            .args(["cat", "/sys/fs/cgroup/cgroup.max.depth"])
            .stdout(),
        "3"
    );
    world
        .coracle("run --rm --network=none --memory-swappiness=5 IMAGE true")
        .fails(126)
        .says("cannot set memory swappiness with cgroupv2");
    world
        .coracle("run --rm --network=none --cgroup-conf=nosuch.file=3 IMAGE true")
        .fails(126)
        .says("controller `nosuch` is not available under /sys/fs/cgroup/");
}

#[test]
fn limits_hold() {
    let world = World::new();
    needs!(world, OwnCgroup, Cgroups);
    world
        .coracle("run -d --name it --network=none -m 64m --pids-limit=7 IMAGE sleep 1000")
        .ok();
    let folder = folder(&world, "it");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    assert_eq!(read("memory.max"), "67108864\n");
    assert_eq!(read("pids.max"), "7\n");
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait";
    let done = world.coracle("exec it sh -c").arg(forks).run();
    assert_ne!(done.code, 0);
}

#[test]
fn what_cannot_be_is_said_before_anything_is_made() {
    let world = World::new();
    let invalid = "invalid argument";
    for (flags, words) in [
        (
            "--cgroups=foo",
            "running container create option: invalid cgroup mode \"foo\"",
        ),
        (
            "--cgroup-parent=/a --cgroups=disabled",
            "cannot set cgroup parent if not creating cgroups",
        ),
        (
            "--cgroup-parent=/a --cgroups=split",
            "cannot specify --cgroup-mode=split with a cgroup-parent",
        ),
        (
            "--cgroup-parent=a.slice",
            "systemd slice received as cgroup parent when using cgroupfs",
        ),
        (
            "--pid=host --cgroups=disabled",
            "containers not creating Cgroups must create a private PID namespace",
        ),
    ] {
        world
            .coracle(&format!("create {flags} IMAGE true"))
            .fails(125)
            .says(&format!("{words}: {invalid}"));
    }
    world
        .coracle("--cgroup-manager=foo ps")
        .fails(125)
        .says("cgroup manager must be one of cgroupfs and systemd: invalid argument");
    assert_eq!(
        world
            .coracle("--cgroup-manager systemd info -f {{.Host.CgroupManager}}")
            .stdout(),
        "systemd"
    );
    world
        .coracle("create --name it --cgroups=disabled --blkio-weight=20 --cgroup-conf=a=b")
        .args([
            "--device-read-bps=/dev/vda:1mb",
            "--cgroup-manager=cgroupfs",
            "IMAGE",
            "true",
        ])
        .ok();
    assert_eq!(
        world
            .coracle("inspect -f")
            .arg(
                "{{with .HostConfig}}{{.Cgroups}} {{.CgroupManager}} {{.BlkioWeight}} \
                 {{json .BlkioDeviceReadBps}} {{json .BlkioDeviceReadIOps}} \
                 {{json .CgroupConf}}{{end}}"
            )
            .arg("it")
            .stdout(),
        "disabled cgroupfs 20 [{\"Path\":\"/dev/vda\",\"Rate\":1048576}] [] {\"a\":\"b\"}"
    );
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        for command in ["pause", "unpause"] {
            world
                .coracle(&format!("{command} it"))
                .fails(125)
                .says(&format!(
                    "{command} is not supported for cgroupv1 rootless containers"
                ));
        }
        world
            .coracle("run --rm --network=none --pids-limit=5 IMAGE true")
            .ok()
            .says("Resource limits are not supported and ignored on cgroups V1 rootless systems");
        return;
    }
    // Made without one, it cannot be paused.
    world
        .coracle("run -d --name without --cgroups=disabled --network=none IMAGE sleep 1000")
        .ok();
    world
        .coracle("pause without")
        .fails(125)
        .says("cannot pause without using Cgroups: this container does not have a cgroup");
}
