//! `coracle run` and `create`: what the container's process finds.

use crate::needs;
use crate::world::World;

/// The output of a command in a container without a network.
fn inside(world: &World, flags: &str, command: &str) -> String {
    let run = world.coracle(&format!("run --rm --network=none {flags} IMAGE sh -c"));
    run.arg(command).stdout()
}

#[test]
fn the_commands_exit_code_is_ours() {
    let world = World::new();
    world.coracle("run --rm --network=none IMAGE true").ok();
    world
        .coracle("run --rm --network=none IMAGE false")
        .fails(1);
    for code in [2, 42, 100, 124, 125, 126, 127, 128, 137, 143, 200, 254, 255] {
        world
            .coracle("run --rm --network=none IMAGE sh -c")
            .arg(format!("exit {code}"))
            .fails(code);
    }
}

#[test]
fn a_command_that_is_not_there_or_not_executable() {
    let world = World::new();
    let run = |command: &str| world.coracle(&format!("run --rm --network=none IMAGE {command}"));
    run("nosuch").fails(127).says("not found");
    run("/bin/nosuch").fails(127);
    run("/etc/passwd").fails(126);
    run("/etc").fails(126);
    run("/bin/broken").fails(126);
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn words_after_the_image_are_the_containers() {
    let world = World::new();
    let echo = world.coracle("run --rm --network=none IMAGE echo --rm -it --help --name x");
    assert_eq!(echo.stdout(), "--rm -it --help --name x");
    // The image's entrypoint is not a flag of ours either.
    let run = world.coracle("run --rm --network=none --entrypoint echo IMAGE --rm -d");
    assert_eq!(run.stdout(), "--rm -d");
}

#[test]
fn the_entrypoint_can_be_a_word_a_list_or_nothing() {
    let world = World::new();
    let run = |flags: &str| {
        world
            .coracle(&format!("run --rm --network=none {flags}"))
            .stdout()
    };
    assert_eq!(run("--entrypoint /bin/echo IMAGE a b"), "a b");
    assert_eq!(
        run(r#"--entrypoint '["echo", "one two"]' IMAGE three"#),
        "one two three"
    );
    assert_eq!(run("--entrypoint '' IMAGE echo x"), "x");
}

#[test]
fn booleans_are_read_as_go_reads_them() {
    let world = World::new();
    let id = world
        .coracle("run -d=true --rm=FALSE --network=none --tty=0 IMAGE true")
        .stdout();
    world.coracle("wait").arg(&id).ok();
    assert_eq!(world.coracle("ps -aq --no-trunc").stdout(), id);
    world.coracle("run --rm=maybe IMAGE true").fails(125);
}

#[test]
fn environment() {
    let world = World::new();
    let file = world.file(
        "env",
        "# a comment\nFROM_FILE=a file\nHOST_VALUE\n\nEMPTY=\n",
    );
    let run = world
        .coracle("run --rm --network=none -e A='x y' -e B=1 -e B=2 -e HOST_VALUE --env-file")
        .arg(file)
        .args(["IMAGE", "env"])
        .env("HOST_VALUE", "from outside")
        .env("NOT_GIVEN", "x");
    let env = run.stdout();
    let has = |line: &str| assert!(env.lines().any(|it| it == line), "{line} is not in\n{env}");
    has("A=x y");
    has("B=2");
    has("FROM_FILE=a file");
    has("HOST_VALUE=from outside");
    has("EMPTY=");
    has("HOME=/root");
    has("PATH=/bin");
    has("container=podman");
    assert!(!env.contains("NOT_GIVEN"), "{env}");
    let hostname = env.lines().find_map(|line| line.strip_prefix("HOSTNAME="));
    assert_eq!(hostname.map(str::len), Some(12), "{env}");
    assert!(inside(&world, "--env-host", "env").contains("XDG_RUNTIME_DIR="));
}

#[test]
fn user_and_groups() {
    let world = World::new();
    needs!(world, Subuids);
    assert_eq!(inside(&world, "", "id -u; id -g; id -G"), "0\n0\n0");
    assert_eq!(inside(&world, "-u 1234", "id -u; id -g"), "1234\n0");
    assert_eq!(
        inside(&world, "-u user", "id -u; id -g; id -G"),
        "1000\n1000\n1000 50"
    );
    assert_eq!(inside(&world, "-u 1000", "id -g"), "1000");
    assert_eq!(inside(&world, "-u user:staff", "id -g; id -u"), "50\n1000");
    assert_eq!(inside(&world, "-u 7:8", "id -g; id -u"), "8\n7");
    assert_eq!(inside(&world, "--group-add staff", "id -G"), "0 50");
    assert_eq!(
        world
            .coracle("run --rm --network=none USER_IMAGE sh -c 'id -u; pwd; echo $HOME'")
            .stdout(),
        "1000\n/home/user\n/home/user"
    );
    let run = |user: &str| world.coracle(&format!("run --rm --network=none -u {user} IMAGE id"));
    run("nosuch")
        .fails(126)
        .says("unable to find user nosuch: no matching entries in passwd file");
    run("root:nosuch")
        .fails(126)
        .says("unable to find group nosuch: no matching entries in group file");
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn working_directory_and_umask() {
    let world = World::new();
    assert_eq!(inside(&world, "", "pwd; umask"), "/\n0022");
    assert_eq!(
        inside(&world, "-w /home/user --umask 0077", "pwd; umask"),
        "/home/user\n0077"
    );
}

#[test]
fn hostname() {
    let world = World::new();
    assert_eq!(
        inside(&world, "--hostname box", "hostname; cat /etc/hostname"),
        "box\nbox"
    );
    assert_eq!(inside(&world, "", "hostname").len(), 12);
}

#[test]
fn the_root_can_be_read_only() {
    let world = World::new();
    let flags = "--read-only";
    assert_eq!(
        inside(&world, flags, "touch /x 2>/dev/null || echo refused"),
        "refused"
    );
    assert_eq!(
        inside(
            &world,
            flags,
            "touch /tmp/x /run/x /dev/shm/x && echo written"
        ),
        "written"
    );
    let strict = "--read-only --read-only-tmpfs=false";
    assert_eq!(
        inside(&world, strict, "touch /tmp/x 2>/dev/null || echo refused"),
        "refused"
    );
}

#[test]
fn tmpfs_is_made_as_asked() {
    let world = World::new();
    let mounted = inside(
        &world,
        "--tmpfs /scratch:size=1m,mode=700",
        "mount | grep /scratch",
    );
    assert!(
        mounted.contains("tmpfs on /scratch type tmpfs"),
        "{mounted}"
    );
    assert!(
        mounted.contains("size=1024k") && mounted.contains("mode=700"),
        "{mounted}"
    );
    assert_eq!(
        inside(
            &world,
            "--shm-size 1m",
            "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2"
        ),
        "1024"
    );
}

#[test]
fn capabilities_are_podmans() {
    let world = World::new();
    let effective = |flags: &str| {
        let line = inside(&world, flags, "grep CapEff /proc/self/status");
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
    };
    assert_eq!(effective(""), 0x0000_0000_8004_05fb);
    assert_eq!(effective("--cap-drop all"), 0);
    assert_eq!(effective("--cap-drop all --cap-add net_raw"), 1 << 13);
    assert_eq!(
        effective("--cap-add CAP_SYS_PTRACE"),
        0x0000_0000_8004_05fb | 1 << 19
    );
    assert_eq!(effective("-u 1000"), 0);
    assert!(effective("--privileged") & (1 << 21) != 0);
    world
        .coracle("run --rm --cap-add nonsense IMAGE true")
        .fails(125);
}

#[test]
fn the_process_is_confined() {
    let world = World::new();
    let status = |flags: &str, name: &str| {
        let line = inside(&world, flags, &format!("grep ^{name}: /proc/self/status"));
        line.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(status("", "Seccomp"), "2");
    assert_eq!(status("-u 1000", "Seccomp"), "2");
    assert_eq!(status("--security-opt seccomp=unconfined", "Seccomp"), "0");
    assert_eq!(status("--privileged", "Seccomp"), "0");
    assert_eq!(status("", "NoNewPrivs"), "0");
    assert_eq!(
        status("--security-opt no-new-privileges", "NoNewPrivs"),
        "1"
    );
    // Masked and read-only paths.
    assert_eq!(
        inside(&world, "", "ls /sys/firmware; cat /proc/timer_list"),
        ""
    );
    assert_eq!(
        inside(
            &world,
            "",
            "echo 1 2>/dev/null >/proc/sys/kernel/panic || echo refused"
        ),
        "refused"
    );
}

#[test]
fn nothing_of_ours_leaks_in() {
    let world = World::new();
    // 3 is the folder that ls reads.
    assert_eq!(inside(&world, "", "ls /proc/self/fd"), "0\n1\n2\n3");
    assert_eq!(
        inside(&world, "", "grep Groups /proc/self/status").trim_end(),
        "Groups:"
    );
    let mounts = inside(&world, "", "cat /proc/self/mountinfo");
    assert!(
        !mounts.contains("/home ") && !mounts.contains("coracle/containers /"),
        "{mounts}"
    );
    assert_eq!(
        inside(&world, "", "echo $$; ls -d /proc/[0-9]* | wc -l"),
        "1\n3"
    );
}

#[test]
fn standard_streams_belong_to_the_user() {
    let world = World::new();
    needs!(world, Subuids);
    assert_eq!(inside(&world, "-u 1000", "echo out >/dev/stdout"), "out");
    let run = world.coracle("run --rm --network=none -u 1000 IMAGE sh -c 'echo err >/dev/stderr'");
    assert_eq!(run.ok().stderr(), "err\n");
}

#[test]
fn an_init_reaps_and_passes_signals_on() {
    let world = World::new();
    assert_ne!(inside(&world, "--init", "echo $$"), "1");
    world
        .coracle("run --rm --init --network=none IMAGE sh -c 'exit 9'")
        .fails(9);
    world
        .coracle("run --rm --init --network=none IMAGE sh -c 'kill -9 $$'")
        .fails(137);
    world
        .coracle("run -d --name it --init --network=none IMAGE sleep 1000")
        .ok();
    // Nobody may look into it, but the container can be entered and seen.
    assert_eq!(world.coracle("exec it cat /proc/2/comm").stdout(), "sleep");
    assert!(world.coracle("top it").stdout().contains("sleep 1000"));
    let joined = world.coracle("run --rm --network=container:it IMAGE true");
    joined.ok();
    // sleep has no handler: as pid 1 it would not hear SIGTERM.
    world.coracle("stop -t 50 it").ok();
    assert_eq!(
        world
            .coracle("inspect it --format {{.State.ExitCode}}")
            .stdout(),
        "143"
    );
}

#[test]
fn limits_of_the_process() {
    let world = World::new();
    assert_eq!(
        inside(&world, "--ulimit nofile=100:200", "ulimit -n; ulimit -Hn"),
        "100\n200"
    );
    assert_eq!(inside(&world, "--ulimit core=0", "ulimit -c"), "0");
    assert_eq!(
        inside(
            &world,
            "--sysctl kernel.msgmax=4096",
            "cat /proc/sys/kernel/msgmax"
        ),
        "4096"
    );
}

#[test]
fn limits_of_the_container() {
    let world = World::new();
    needs!(world, Cgroups);
    let memory = inside(&world, "--memory 64m", "cat /sys/fs/cgroup/memory.max");
    assert_eq!(memory, "67108864");
    assert_eq!(
        inside(&world, "--pids-limit 50", "cat /sys/fs/cgroup/pids.max"),
        "50"
    );
}

#[test]
fn namespaces_can_be_the_hosts() {
    let world = World::new();
    let link = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    for (flag, name) in [
        ("--pid=host", "pid"),
        ("--ipc=host", "ipc"),
        ("--uts=host", "uts"),
        ("--network=host", "net"),
    ] {
        let read = |flag: &str| {
            world
                .coracle(&format!(
                    "run --rm {flag} IMAGE readlink /proc/self/ns/{name}"
                ))
                .stdout()
        };
        assert_eq!(read(flag), link(name).to_str().unwrap(), "{flag}");
        if name != "net" {
            assert_ne!(
                read("--network=none"),
                link(name).to_str().unwrap(),
                "{name}"
            );
        }
    }
}

#[test]
fn namespaces_can_be_another_containers() {
    let world = World::new();
    world
        .coracle("run -d --name first --network=none --ipc=shareable IMAGE sleep 1000")
        .ok();
    for (flag, name) in [
        ("--pid", "pid"),
        ("--ipc", "ipc"),
        ("--uts", "uts"),
        ("--network", "net"),
    ] {
        let first = world
            .coracle(&format!("exec first readlink /proc/1/ns/{name}"))
            .stdout();
        let other = world
            .coracle(&format!(
                "run --rm {flag}=container:first IMAGE readlink /proc/self/ns/{name}"
            ))
            .stdout();
        assert_eq!(first, other, "{name}");
    }
    world.coracle("exec first touch /dev/shm/theirs").ok();
    let shm = world.coracle("run --rm --network=none --ipc=container:first IMAGE ls /dev/shm");
    assert_eq!(shm.stdout(), "theirs");
    assert_eq!(shm.stdout(), "theirs");
    world
        .coracle("run --rm --network=container:nosuch IMAGE true")
        .fails(125)
        .says("nosuch");
    world.coracle("rm -f -t 0 first").ok();
}

#[test]
fn the_id_and_the_pid_are_written_to_files() {
    let world = World::new();
    let id = world
        .coracle("run -d --cidfile id --network=none --pidfile")
        .arg(world.home().join("pid"))
        .args(["IMAGE", "sleep", "1000"])
        .stdout();
    let read = |name: &str| std::fs::read_to_string(world.home().join(name)).unwrap();
    assert_eq!(read("id").trim(), id);
    let pid = world
        .coracle("inspect --format {{.State.Pid}}")
        .arg(&id)
        .stdout();
    assert_eq!(read("pid").trim(), pid);
    world.coracle("rm -f -t 0 --cidfile id").ok();
    // One that is there is written anew (podman 5.8), and goes with its container.
    world
        .coracle("run --rm --cidfile id --network=none IMAGE true")
        .ok();
    assert!(!world.home().join("id").exists());
}

#[test]
fn a_name_in_use_is_refused_unless_replaced() {
    let world = World::new();
    let first = world.coracle("create --name web IMAGE").stdout();
    world
        .coracle("run --name web --network=none IMAGE true")
        .fails(125)
        .says(&format!(
            "the container name \"web\" is already in use by {first}"
        ));
    let second = world
        .coracle("run -d --replace --name web --network=none IMAGE sleep 1000")
        .stdout();
    assert_ne!(first, second);
    let third = world.coracle("create --replace --name web IMAGE").stdout();
    assert_eq!(world.coracle("ps -aq --no-trunc").stdout(), third);
    world.coracle("rm web").ok();
}

#[test]
fn rm_takes_the_container_away_before_run_returns() {
    let world = World::new();
    for _ in 0..5 {
        world
            .coracle("run --rm --name again --network=none IMAGE true")
            .ok();
    }
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn a_container_stays_without_rm_and_starts_again() {
    let world = World::new();
    world
        .coracle("run --name it --network=none IMAGE sh -c 'echo x >>/log; cat /log'")
        .ok();
    assert_eq!(world.coracle("start -a it").stdout(), "x\nx");
    assert_eq!(world.coracle("start -a it").stdout(), "x\nx\nx");
    world.coracle("rm it").ok();
}

#[test]
fn twenty_at_once() {
    let world = World::new();
    let all: Vec<_> = (0..20)
        .map(|n| {
            world
                .coracle(&format!("run --rm --network=none IMAGE sh -c 'exit {n}'"))
                .spawn()
        })
        .collect();
    for (n, one) in all.into_iter().enumerate() {
        assert_eq!(one.wait().code, n as i32);
    }
}
