//! stdin, stdout, stderr, terminals and signals.

use std::io::Read;

use rustix::process::Signal;

use crate::world::World;

/// Bytes of every kind, without an end of line for long.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

#[test]
fn bytes_go_through_unchanged() {
    let world = World::new();
    let bytes = noise(3_000_000);
    let run = world
        .coracle("run --rm -i --network=none IMAGE cat")
        .stdin(bytes.clone());
    assert!(run.ok().out == bytes);
    world
        .coracle("run -d --name it --network=none IMAGE sleep 1000")
        .ok();
    assert!(
        world
            .coracle("exec -i it cat")
            .stdin(bytes.clone())
            .ok()
            .out
            == bytes
    );
    world.coracle("rm -f -t 0 it").ok();
    world
        .coracle("create -i --name again --network=none IMAGE cat")
        .ok();
    assert!(
        world
            .coracle("start -ai again")
            .stdin(bytes.clone())
            .ok()
            .out
            == bytes
    );
    world.coracle("rm again").ok();
}

#[test]
fn stdout_and_stderr_are_two() {
    let world = World::new();
    let run = world
        .coracle("run --rm --network=none IMAGE sh -c 'echo out; echo err >&2'")
        .ok();
    assert_eq!(
        (run.stdout().as_str(), run.stderr().as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn without_i_stdin_is_empty() {
    let world = World::new();
    let run = world
        .coracle("run --rm --network=none IMAGE wc -c")
        .stdin("not for it");
    assert_eq!(run.stdout(), "0");
}

#[test]
fn all_that_was_printed_arrives_before_the_end() {
    let world = World::new();
    let run = world
        .coracle("run --rm --network=none IMAGE sh -c 'seq 1 200000; exit 3'")
        .fails(3);
    let lines: Vec<String> = (1..=200_000).map(|n| n.to_string()).collect();
    assert!(run.stdout() == lines.join("\n") + "\n");
}

#[test]
fn the_end_of_stdin_reaches_the_container() {
    let world = World::new();
    let mut cat = world
        .coracle("run --rm -i --network=none IMAGE cat")
        .spawn();
    cat.write(b"one\n");
    cat.prints("one\n");
    cat.write(b"two\n");
    cat.prints("two\n");
    cat.stdin = None;
    assert_eq!(cat.wait().stdout(), "one\ntwo\n");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let world = World::new();
    // As with Podman the container runs on; what it prints goes to its log.
    let done = world
        .shell("coracle run --rm --name on --network=none localhost/test sh -c 'seq 100000; sleep 1000' | head -n 1")
        .run();
    assert_eq!(done.stdout(), "1\n");
    world.coracle("rm -f -t 0 on").ok();
    assert!(!done.stderr().contains("panicked"), "{}", done.stderr());
    world.coracle("create --name it IMAGE").ok();
    for command in ["ps -a", "images", "inspect it", "info", "version"] {
        let done = world.shell(&format!("coracle {command} >&-")).ok();
        assert_eq!(done.stderr(), "", "{command}");
        let done = world.shell(&format!("coracle {command} | true")).ok();
        assert_eq!(done.stderr(), "", "{command}");
    }
    world.coracle("rm it").ok();
}

#[test]
fn memory_does_not_grow_with_what_is_printed() {
    let world = World::new();
    let script = "yes | head -c 60000000";
    let mut run = world
        .coracle("run --rm -i --network=none IMAGE sh -c")
        .arg(script)
        .unread();
    let mut stdout = run.stdout.take().unwrap();
    // The container is quicker than we are: were anything kept, it would be by now.
    let mut most = vec![0; 50_000_000];
    stdout.read_exact(&mut most).unwrap();
    for process in world.processes() {
        assert!(process.peak_kb < 40_000, "{process:?}");
    }
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 10_000_000);
    assert!(run.wait().unwrap().success());
}

#[test]
fn a_terminal_is_one() {
    let world = World::new();
    let mut terminal = world
        .coracle("run --rm -it --network=none IMAGE sh")
        .terminal();
    terminal
        .shows("# ")
        .types("tty; stty size\r")
        .shows("/dev/")
        .shows("24 80");
    terminal.resize(30, 100);
    terminal
        .types("stty size; echo $TERM\r")
        .shows("30 100")
        .shows("xterm");
    terminal.types("exit 5\r");
    assert_eq!(terminal.wait().0, 5);
}

#[test]
fn keys_reach_the_container() {
    let world = World::new();
    let mut terminal = world
        .coracle("run --rm -it --network=none IMAGE sh")
        .terminal();
    // What is typed is shown, too: the quotes keep the two apart.
    terminal
        .shows("# ")
        .types("sh -c 'echo star\"\"ted; exec sleep 1000'\r")
        .shows("started\r\n");
    // Ctrl-C ends sleep and not the shell, and Ctrl-D ends the shell.
    terminal.types("\x03").shows("# ").types("echo =$?=\r");
    terminal.shows("=130=").shows("# ").types("\x04");
    assert_eq!(terminal.wait().0, 0);
}

#[test]
fn detaching_leaves_it_running() {
    let world = World::new();
    let mut terminal = world
        .coracle("run -it --name it --network=none IMAGE sh")
        .terminal();
    terminal.shows("# ").types("\x10\x11");
    assert_eq!(terminal.wait().0, 0);
    assert_eq!(world.coracle("ps --format {{.Names}}").stdout(), "it");
    let mut terminal = world.coracle("attach it").terminal();
    terminal.types("echo back; exit 3\r").shows("back");
    assert_eq!(terminal.wait().0, 0);
    world.coracle("rm it").ok();
}

#[test]
fn other_detach_keys() {
    let world = World::new();
    let mut terminal = world
        .coracle("run -it --detach-keys ctrl-a,d --name it --network=none IMAGE sh")
        .terminal();
    terminal
        .shows("# ")
        .types("\x10\x11echo here\r")
        .shows("here")
        .types("\x01d");
    assert_eq!(terminal.wait().0, 0);
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn the_terminal_is_as_it_was() {
    let world = World::new();
    let script = "before=$(stty -g); coracle run --rm -it --network=none localhost/test sh -c 'stty raw; exit 1'; [ \"$before\" = \"$(stty -g)\" ] && echo same";
    let mut terminal = world.shell(script).terminal();
    terminal.shows("same");
    assert_eq!(terminal.wait().0, 0);
}

#[test]
fn signals_are_passed_on() {
    let world = World::new();
    let script = "trap 'echo got it; exit 4' USR1; trap 'echo int; exit 5' INT; echo ready; while :; do sleep 1000 & wait $!; done";
    for (signal, code) in [(Signal::USR1, 4), (Signal::INT, 5)] {
        let run = world
            .coracle("run --rm --network=none IMAGE sh -c")
            .arg(script)
            .spawn();
        run.prints("ready");
        run.signal(signal);
        assert_eq!(run.wait().code, code);
    }
    // Without --sig-proxy the signal is the CLI's own, and the container goes on.
    let run = world
        .coracle("run --name it --sig-proxy=false --network=none IMAGE sh -c")
        .arg(script)
        .spawn();
    run.prints("ready");
    run.signal(Signal::TERM);
    run.wait();
    assert_eq!(world.coracle("ps --format {{.Names}}").stdout(), "it");
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn killing_the_cli_leaves_the_container_running() {
    let world = World::new();
    let run = world
        .coracle("run --name it --network=none IMAGE sh -c 'echo up; sleep 1000'")
        .spawn();
    run.prints("up");
    run.signal(Signal::KILL);
    run.wait();
    assert_eq!(
        world
            .coracle("inspect it --format {{.State.Status}}")
            .stdout(),
        "running"
    );
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn a_reader_that_leaves_ends_us_and_not_the_container() {
    let world = World::new();
    let done = world
        .shell("coracle run --name it --network=none localhost/test yes | head -n 1; echo ${PIPESTATUS[0]}")
        .stdout();
    assert_eq!(done, "y\n141");
    let state = world.coracle("inspect it --format {{.State.Status}}");
    assert_eq!(state.stdout(), "running");
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn a_reader_that_is_stuck_holds_up_nobody_else() {
    let world = World::new();
    let reader = world
        .coracle("run --name it --network=none IMAGE sh -c 'yes & echo x >&2; sleep 1000'")
        .unread();
    let state = || world.coracle("inspect it --format {{.State.Status}}").run();
    while state().out != b"running\n" {}
    assert_eq!(world.coracle("exec it echo in").stdout(), "in");
    world.coracle("stop -t 0 it").ok();
    drop(reader);
}

#[test]
fn a_restart_ends_who_is_attached() {
    let world = World::new();
    let run = "run --name it --restart=always --network=none IMAGE sh -c 'echo once; exit 4'";
    let done = world.coracle(run).fails(4);
    assert_eq!(done.stdout(), "once\n");
    world.coracle("rm -f -t 0 it").ok();
}
