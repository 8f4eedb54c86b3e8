//! README as a newcomer types it, from top to bottom, into one shell on a terminal.

use crate::needs;
use crate::world::{World, source};

/// The lines that README shows to be typed, from the first container on.
fn lines() -> Vec<String> {
    let readme = std::fs::read_to_string(source().join("README.md")).unwrap();
    let (_, from) = readme.split_once("\n## First container\n").unwrap();
    let (typed, _) = from
        .split_once("\n## When something does not work\n")
        .unwrap();
    let lines = typed.lines().filter_map(|line| line.strip_prefix("    "));
    lines.map(str::to_owned).collect()
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn the_first_ten_minutes_work() {
    let world = World::new();
    needs!(world, Subuids, Tun, Pasta);
    // What a newcomer's machine pulls is here already.
    world
        .coracle("run --name base IMAGE ln -s busybox /bin/httpd")
        .ok();
    world
        .coracle("commit -q base docker.io/library/busybox")
        .ok();
    world.coracle("rm base").ok();
    world
        .coracle("tag USER_IMAGE docker.io/jupyter/scipy-notebook")
        .ok();
    let mut terminal = world
        .shell("PS1='type> ' exec bash --norc --noprofile -i")
        .terminal();
    terminal.shows("type> ");
    let lines = lines();
    assert!(lines.len() > 20, "{lines:?}");
    for line in &lines {
        let line = line
            .replace("8080:", &format!("{}:", free_port()))
            .replace("8888:", &format!("{}:", free_port()));
        terminal.types(&line).types("\r");
        if line.contains(" -it ") {
            // Its shell asks where the cursor is; then somebody leaves it.
            terminal.shows("\x1b[6n").types("exit\r");
        }
        terminal
            .shows("type> ")
            .types("echo \"<$?>\"\r")
            .shows("$?");
        terminal.shows("<");
        let code = terminal.reads_to(">");
        assert_eq!(code, "0", "{line}");
        terminal.shows("type> ");
    }
    terminal.types("cat ~/projects/data/result.csv here/results.csv\r");
    terminal.shows("1\r\n2\r\n1,2\r\n");
    terminal.types("exit\r");
    terminal.wait();
    world.coracle("volume rm results experiment").ok();
}
