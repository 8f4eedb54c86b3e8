//! What a terminal sees that a pipe does not.

use crate::world::World;

/// What a line shows on a terminal of 80 columns.
fn shown(world: &World, line: &str) -> String {
    let (code, screen) = world.shell(line).terminal().wait();
    assert_eq!(code, 0, "{line}: {screen}");
    screen.replace("\r\n", "\n")
}

#[test]
fn tables_fit_the_terminal() {
    let world = World::new();
    world
        .coracle("create --name a-name-that-is-rather-long -p 8080:80 -p 127.0.0.1:9090:90 IMAGE")
        .arg("sh")
        .args(["-c", "while true; do sleep 100; done"])
        .ok();
    world
        .coracle("tag IMAGE registry.example.com/a/team/with/a/rather/long/name:and-a-tag")
        .ok();
    world.coracle("volume create results").ok();
    for line in [
        "coracle ps -a",
        "coracle images",
        "coracle volume ls",
        "coracle history test",
        "coracle ps -a --pod",
        "coracle ps -a --size",
        "coracle images --digests",
        "coracle volume ls --size",
        "coracle system df -v",
        "NO_COLOR=1 coracle stats -a --no-stream",
    ] {
        let screen = shown(&world, line);
        for row in screen.lines() {
            assert!(row.chars().count() <= 80, "{line}: {row:?}");
        }
        // A pipe gets it whole, and as Podman sets it.
        let piped = world.shell(line).stdout();
        assert!(!piped.contains('…'), "{piped}");
        assert!(!piped.contains('\x1b'), "{piped}");
    }
    let screen = shown(&world, "coracle ps -a");
    assert!(screen.contains("a-name-that-is"), "{screen}");
    assert!(screen.contains("Created"), "{screen}");
    assert!(screen.contains("8080->80"), "{screen}");
    let whole = shown(&world, "coracle ps -a --no-trunc");
    assert!(whole.contains("while true; do sleep 100; done"), "{whole}");
    assert!(whole.contains("a-name-that-is-rather-long"), "{whole}");
    let asked = shown(
        &world,
        "coracle ps -a --format 'table {{.Names}} {{.Ports}} {{.Command}} {{.Image}}'",
    );
    assert!(!asked.contains('…'), "{asked}");
    world.coracle("rm a-name-that-is-rather-long").ok();
    world.coracle("volume rm results").ok();
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let world = World::new();
    world.coracle("run --name bad IMAGE false").fails(1);
    let red = "\x1b[31mExited\x1b[0m (1)";
    let screen = shown(&world, "TERM=xterm coracle ps -a");
    assert!(screen.contains(red), "{screen:?}");
    for line in [
        "NO_COLOR=1 TERM=xterm coracle ps -a",
        "TERM=dumb coracle ps -a",
        "TERM=xterm coracle ps -a | cat",
    ] {
        let screen = shown(&world, line);
        assert!(!screen.contains('\x1b'), "{line}: {screen:?}");
    }
    let (_, screen) = world.shell("TERM=xterm coracle rm bda").terminal().wait();
    assert!(
        screen.contains("\x1b[31mError:\x1b[0m no container"),
        "{screen:?}"
    );
    assert!(
        screen.contains("\x1b[36mHint:\x1b[0m did you mean"),
        "{screen:?}"
    );
    world.coracle("rm bad").ok();
}

/// What takes its time says that it goes on.
#[test]
fn a_line_says_that_work_goes_on() {
    let world = World::new();
    let line = "coracle save test >image.tar; \
                (read go </dev/tty; cat image.tar) | TERM=xterm coracle load 2>&1 | cat; \
                (read go </dev/tty; cat image.tar) | TERM=xterm coracle load -q; \
                (read go </dev/tty; cat image.tar) | TERM=xterm coracle load; echo over";
    let mut terminal = world.shell(line).terminal();
    // Not on a pipe, and not where quiet is asked for.
    terminal.types("\r").shows("Loaded image");
    terminal.types("\r").shows("Loaded image");
    terminal
        .shows("loading …")
        .types("\r")
        .shows("Loaded image");
    let (code, screen) = terminal.wait();
    assert_eq!(code, 0, "{screen}");
    let before = screen.split("Loaded image").nth(1).unwrap_or_default();
    assert!(!before.contains("loading"), "{screen}");
    // And it goes again.
    let last = screen.rsplit("Loaded image").next().unwrap_or_default();
    assert!(!last.contains("loading"), "{screen}");
}

#[test]
fn many_files_are_counted_where_there_are_no_bytes() {
    let world = World::new();
    world.coracle("create --name web IMAGE true").ok();
    world
        .shell("mkdir many; cd many; touch $(seq 10000); echo 1 > 1")
        .ok();
    let (code, screen) = world.coracle("cp many web:/").terminal().wait();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains(" files"), "{screen:?}");
    assert!(screen.ends_with("\x1b[K"), "{screen:?}");
    let widest = screen.split('\r').map(|it| it.chars().count()).max();
    assert!(widest.is_some_and(|it| it <= 80 + "\x1b[K".len()));
    // A pipe hears nothing of it.
    let piped = world.coracle("cp web:/many again").run();
    assert_eq!(piped.stderr(), "");
    world.coracle("rm web").ok();
}

#[test]
fn bytes_are_told_of_layers_that_come_and_go() {
    let world = World::new();
    world.coracle("save -q -o image.tar IMAGE").ok();
    for line in [
        "coracle save --format oci-archive -o new.tar test",
        "coracle save --format docker-dir -o new test",
        "coracle rmi -fa; coracle load -i image.tar",
    ] {
        let screen = shown(&world, &format!("TERM=xterm; {line}"));
        let at = |words: &str| {
            let found = screen.rfind(words);
            found.unwrap_or_else(|| panic!("{line} shows no {words:?}: {screen:?}"))
        };
        // A line a layer, which ends so; then Podman's.
        assert!(at(" done   | ") < at("Copying config"), "{screen:?}");
        assert!(at("Copying config") < at("Writing manifest"), "{screen:?}");
        assert!(!screen.contains("Copying blob sha256:"), "{screen:?}");
    }
}
