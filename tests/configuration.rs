//! containers.conf: every key of Podman's (tests/configuration.txt) is honoured, refused,
//! or means nothing here, and those honoured do what the flag of that name does.

use crate::world::{World, source};

/// Section, `key=value`, and what is said of it.
fn listed() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(source().join("tests/configuration.txt")).unwrap();
    let lines = text
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'));
    let listed = lines.map(|line| {
        let (section, rest) = line.split_once(' ').unwrap();
        let at = ["honoured", "refused", "nothing: "]
            .iter()
            .filter_map(|state| rest.rfind(&format!(" {state}")))
            .max()
            .unwrap_or_else(|| panic!("{line}"));
        let (key, state) = rest.split_at(at);
        (
            section.to_owned(),
            key.trim().to_owned(),
            state.trim().to_owned(),
        )
    });
    listed.collect()
}

#[test]
fn keys_are_read_refused_or_passed_over() {
    let world = World::new();
    for (section, key, state) in listed() {
        let file = world.file("one.conf", format!("[{section}]\n{key}\n"));
        let said = world
            .coracle("create --rm IMAGE")
            .env("CONTAINERS_CONF", file)
            .run();
        let name = key.split('=').next().unwrap();
        let refused = format!("Error: {name} in containers.conf is not supported by coracle yet");
        assert_eq!(
            said.stderr().contains(&refused),
            state == "refused",
            "{section} {key}: {}",
            said.stderr()
        );
        assert!(
            !said.stderr().contains("containers.conf") || state == "refused",
            "{key}: {}",
            said.stderr()
        );
    }
}

/// What `inspect` shows of a container that is made with `text` as configuration.
fn shown(world: &World, text: &str, format: &str) -> String {
    let file = world.file("one.conf", text);
    let create = world.coracle("create --replace --name c IMAGE true");
    create.env("CONTAINERS_CONF", file).ok();
    let inspect = world.coracle("inspect c --format").arg(format);
    inspect.stdout().trim().to_owned()
}

#[test]
fn keys_are_the_defaults_of_flags() {
    let world = World::new();
    for (section, key, format, wanted) in [
        (
            "containers",
            "annotations=[\"a=b\"]",
            "{{.Config.Annotations.a}}",
            "b",
        ),
        (
            "containers",
            "cgroupns=\"host\"",
            "{{.HostConfig.CgroupMode}}",
            "host",
        ),
        (
            "containers",
            "container_name_as_hostname=true",
            "{{.Config.Hostname}}",
            "c",
        ),
        (
            "containers",
            "default_ulimits=[\"nofile=10:20\"]",
            "{{range .HostConfig.Ulimits}}{{.Name}} {{.Soft}}{{end}}",
            "RLIMIT_NOFILE 10",
        ),
        (
            "containers",
            "dns_servers=[\"10.0.0.1\"]",
            "{{.HostConfig.Dns}}",
            "[10.0.0.1]",
        ),
        (
            "containers",
            "dns_searches=[\"x.y\"]",
            "{{.HostConfig.DnsSearch}}",
            "[x.y]",
        ),
        (
            "containers",
            "env=[\"A=b\",\"PATH=/x\"]",
            "{{.Config.Env}}",
            "[PATH=/bin container=podman A=b]",
        ),
        (
            "containers",
            "ipcns=\"host\"",
            "{{.HostConfig.IpcMode}}",
            "host",
        ),
        (
            "containers",
            "log_driver=\"json-file\"\nlog_size_max=1000",
            "{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Size}}",
            "json-file 1kB",
        ),
        (
            "containers",
            "netns=\"host\"",
            "{{.HostConfig.NetworkMode}}",
            "host",
        ),
        (
            "containers",
            "pidns=\"host\"",
            "{{.HostConfig.PidMode}}",
            "host",
        ),
        (
            "containers",
            "privileged=true",
            "{{.HostConfig.Privileged}}",
            "true",
        ),
        (
            "containers",
            "read_only=true",
            "{{.HostConfig.ReadonlyRootfs}}",
            "true",
        ),
        (
            "containers",
            "shm_size=\"1m\"",
            "{{.HostConfig.ShmSize}}",
            "1048576",
        ),
        ("containers", "umask=\"0077\"", "{{.Config.Umask}}", "0077"),
        (
            "containers",
            "utsns=\"host\"",
            "{{.HostConfig.UTSMode}}",
            "host",
        ),
        (
            "containers",
            "volumes=[\"/tmp:/v\"]",
            "{{range .Mounts}}{{.Destination}}{{end}}",
            "/v",
        ),
        (
            "containers",
            "mounts=[\"type=tmpfs,dst=/m\"]",
            "{{.HostConfig.Tmpfs}}",
            "map[/m:rprivate,nosuid,nodev,tmpcopyup]",
        ),
        ("engine", "stop_timeout=7", "{{.Config.StopTimeout}}", "7"),
    ] {
        let text = format!("[{section}]\n{key}\n");
        assert_eq!(shown(&world, &text, format), wanted, "{key}");
    }
    // What is given wins.
    let file = world.file(
        "one.conf",
        "[containers]\numask=\"0077\"\n[engine]\nstop_timeout=7\n",
    );
    world
        .coracle("create --replace --name c --umask 0007 --stop-timeout 3 IMAGE")
        .env("CONTAINERS_CONF", file)
        .ok();
    assert_eq!(
        world
            .coracle("inspect c --format '{{.Config.Umask}} {{.Config.StopTimeout}}'")
            .stdout(),
        "0007 3"
    );
}

#[test]
fn later_files_and_modules_win() {
    let world = World::new();
    let env = |more: &str| {
        let line = format!("{more} run --rm --network none IMAGE env");
        let out = world.coracle(&line).stdout();
        let mut ours: Vec<&str> = out.lines().filter(|line| line.starts_with("CC_")).collect();
        ours.sort_unstable();
        ours.join(" ")
    };
    assert_eq!(env(""), "");
    let folder = ".config/containers";
    world.file(
        &format!("{folder}/containers.conf"),
        "[containers]\nenv=[\"CC_A=1\"]\n",
    );
    assert_eq!(env(""), "CC_A=1");
    world.file(
        &format!("{folder}/containers.conf.d/2.conf"),
        "[containers]\nenv=[\"CC_B=2\", {append=true}]\n",
    );
    assert_eq!(env(""), "CC_A=1 CC_B=2");
    world.file(
        &format!("{folder}/containers.conf.modules/more.conf"),
        "[containers]\nenv=[\"CC_C=3\"]\n",
    );
    assert_eq!(env("--module more.conf"), "CC_A=1 CC_B=2 CC_C=3");
    let said = world.coracle("--module nope.conf ps").fails(125);
    assert!(said.stderr().contains("could not resolve module"));
    world.file(&format!("{folder}/containers.conf"), "[containers\n");
    let said = world.coracle("run --rm IMAGE true").fails(125);
    assert!(said.stderr().contains("containers.conf"));
}
