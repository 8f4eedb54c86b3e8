//! Every option of `run` and `create` that Podman's man pages have (tests/options.txt) is
//! done, or refused by its name: none is unknown, none is taken and forgotten.

use crate::world::{World, source};

struct Listed {
    is_of_run: bool,
    is_of_create: bool,
    option: String,
    is_done: bool,
}

fn listed() -> Vec<Listed> {
    let text = std::fs::read_to_string(source().join("tests/options.txt")).unwrap();
    let lines = text
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'));
    let listed = lines.map(|line| {
        let (command, rest) = line.split_once(' ').unwrap();
        let (option, state) = rest.trim().rsplit_once(' ').unwrap();
        assert!(matches!(command, "both" | "run" | "create"), "{line}");
        assert!(matches!(state, "done" | "refused"), "{line}");
        Listed {
            is_of_run: command != "create",
            is_of_create: command != "run",
            option: option.trim().to_owned(),
            is_done: state == "done",
        }
    });
    listed.collect()
}

fn name(option: &str) -> &str {
    option.split('=').next().unwrap().trim_start_matches('-')
}

#[test]
fn every_option_is_known_to_the_command_that_podman_gives_it() {
    for (command, is_of) in [
        ("run", (|it| it.is_of_run) as fn(&Listed) -> bool),
        ("create", |it| it.is_of_create),
    ] {
        let row = coracle::cli::commands().find(|it| it.names.contains(&command));
        let definition = (row.unwrap().define)();
        let known: Vec<&str> = definition
            .get_arguments()
            .flat_map(|arg| arg.get_long_and_visible_aliases().unwrap_or_default())
            .collect();
        for it in listed() {
            let name = name(&it.option);
            assert_eq!(known.contains(&name), is_of(&it), "{command} --{name}");
        }
    }
}

#[test]
fn every_option_is_done_or_refused_by_its_name() {
    let world = World::new();
    world.file("env", "A=b\n");
    world.file("auth.json", "{}");
    world.coracle("create --name other IMAGE").ok();
    world
        .shell("printf hunter2 | coracle secret create s -")
        .ok();
    for it in listed().iter().filter(|it| it.is_of_create) {
        // What needs a value of the process that waits, or a terminal, `run` tests.
        let line = format!(
            "cd; coracle create --network none {} localhost/test",
            it.option
        );
        let line = match name(&it.option) {
            "network" | "publish" | "publish-all" | "add-host" => {
                line.replace("--network none ", "")
            }
            "init-path" => line.replace("create", "create --init"),
            "replace" => line.replace("create", "create --name other"),
            _ => line,
        };
        let said = world.shell(&line).run();
        let words = said.stderr();
        assert!(!words.contains("unknown"), "{}: {words}", it.option);
        let refused = format!(
            "Error: --{} is not supported by coracle yet",
            name(&it.option)
        );
        let is_refused = words.contains(&refused);
        assert_eq!(is_refused, !it.is_done, "{}: {words}", it.option);
        assert!(!is_refused || said.code == 125, "{}", it.option);
        assert!(
            is_refused || !words.contains("not supported by coracle"),
            "{}: {words}",
            it.option
        );
    }
}

/// What comes at a socket where systemd would listen while `line` is run.
fn told(line: &str) -> Vec<String> {
    let world = World::new();
    let path = world.home().join("notify.sock");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    world.coracle(line).env("NOTIFY_SOCKET", &path).ok();
    socket.set_nonblocking(true).unwrap();
    let mut told = Vec::new();
    let mut words = [0; 1000];
    while let Ok(length) = socket.recv(&mut words) {
        let text = String::from_utf8_lossy(&words[..length]).into_owned();
        let pid = text.lines().next().unwrap().strip_prefix("MAINPID=");
        let pid = pid.map(|pid| pid.to_owned());
        told.push(match pid {
            Some(pid) if pid.parse::<i32>().is_ok() => text.replace(&pid, "<pid>"),
            _ => text,
        });
    }
    told
}

#[test]
fn who_waits_for_a_container_hears_that_it_is_ready() {
    let run = "run --rm --network none";
    assert_eq!(
        told(&format!("{run} --sdnotify conmon IMAGE true")),
        ["MAINPID=<pid>\nREADY=1"]
    );
    // It is said before the command ends: systemd takes it for the service's until then.
    assert_eq!(
        told(&format!("{run} -d --sdnotify conmon IMAGE true")),
        ["MAINPID=<pid>\nREADY=1"]
    );
    assert!(told(&format!("{run} --sdnotify ignore IMAGE true")).is_empty());
    assert_eq!(
        told(&format!("{run} IMAGE sh -c 'test -S $NOTIFY_SOCKET'")),
        ["MAINPID=<pid>"]
    );
}
