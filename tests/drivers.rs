//! Where output goes beside the terminal (`--log-driver`), and what else of the
//! caller's a container may be handed: streams, descriptors, lines of passwd.

use crate::world::World;

#[test]
fn passthrough_hands_over_the_callers_own_streams() {
    let world = World::new();
    let run = "run --network=none --log-driver passthrough --name it";
    let done = world
        .coracle(run)
        .args(["IMAGE", "sh", "-c", "cat; echo err >&2; exit 3"])
        .stdin("in\n")
        .fails(3);
    assert_eq!(done.stdout(), "in\n");
    assert_eq!(done.stderr(), "err\n");
    let words = "this container is using the 'passthrough' log driver, cannot read logs: \
                 this container is not logging output";
    world.coracle("logs it").fails(125).says(words);
    assert_eq!(
        world
            .coracle("inspect -f '{{.HostConfig.LogConfig.Type}}' it")
            .stdout(),
        "passthrough"
    );
    // They are of whoever starts it, and no id or name gets in between.
    let again = world.coracle("start -a it").stdin("more\n").fails(3);
    assert_eq!(again.stdout(), "more\n");
    world.coracle("rm it").ok();
    let file = world.home().join("out");
    world
        .shell(&format!(
            "coracle {run} -d \"$0\" sh -c 'readlink /proc/1/fd/1; sleep 1000' > {} 2>&1",
            file.display()
        ))
        .arg("IMAGE")
        .ok();
    // A container that runs has written it: nobody is between the two.
    world
        .coracle("exec it sh -c")
        .arg("until [ -s /proc/1/fd/1 ]; do :; done")
        .ok();
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    world
        .coracle("attach it")
        .fails(125)
        .says("this container is using the 'passthrough' log driver, cannot attach");
    world.coracle("rm -f -t 0 it").ok();
    assert_eq!(
        world
            .coracle("create --log-driver passthrough --name it IMAGE true")
            .stdout(),
        ""
    );
    world.coracle("rm it").ok();
}

#[test]
fn the_journal_need_not_be_there() {
    let world = World::new();
    let done = world
        .coracle("run --network=none --log-driver journald --log-opt tag={{.Name}}x --name it")
        .args(["IMAGE", "echo", "hi"])
        .ok();
    assert_eq!(done.stdout(), "hi\n");
    assert_eq!(
        world
            .coracle("inspect -f '{{json .HostConfig.LogConfig}}' it")
            .stdout(),
        "{\"Type\":\"journald\",\"Config\":null,\"Path\":\"\",\"Tag\":\"{{.Name}}x\",\"Size\":\"-1B\"}"
    );
    world.coracle("rm it").ok();
    world
        .coracle("run --rm --network=none --log-opt tag=x IMAGE true")
        .fails(126)
        .says("k8s-file doesn't support --log-tag");
    world
        .coracle("run --rm --network=none --log-driver journald --log-opt tag={{.Nosuch}} IMAGE")
        .fails(125);
}

#[test]
fn descriptors_are_handed_over_by_number() {
    let world = World::new();
    for (name, text) in [("three", "3\n"), ("four", "4\n"), ("nine", "9\n")] {
        world.file(name, text);
    }
    let with = |line: &str| {
        let line = line.replace("IMAGE", "\"$0\"");
        let line = format!("exec 3<three 4<four 9<nine 10<nine; exec coracle {line}");
        world.shell(&line).arg("IMAGE")
    };
    let read = "cat <&4; for n in 3 5 9 10; do [ -e /proc/self/fd/$n ] && echo has $n; done; true";
    let run = "run --rm --network=none";
    for (flags, seen) in [
        ("--preserve-fds 2", "4\nhas 3"),
        ("--preserve-fds 2 --init", "4\nhas 3"),
        ("--preserve-fd 4,9", "4\nhas 9"),
        ("--preserve-fd 4 --preserve-fd 10", "4\nhas 10"),
    ] {
        let line = format!("{run} {flags} IMAGE sh -c '{read}'");
        assert_eq!(with(&line).stdout(), seen, "{flags}");
    }
    // A container of its own, and a process in one that runs.
    with("run -d --name it --network=none --preserve-fds 2 IMAGE sh -c 'cat <&4; sleep 1000'").ok();
    assert_eq!(
        with(&format!("exec --preserve-fd 4,9 it sh -c '{read}'")).stdout(),
        "4\nhas 9"
    );
    assert_eq!(
        with("exec --preserve-fds 2 it cat /proc/self/fd/3").stdout(),
        "3"
    );
    // None of them stays with a later start.
    world.coracle("restart -t 0 it").ok();
    let left = world.coracle("exec it sh -c 'ls /proc/1/fd'").stdout();
    assert!(!left.lines().any(|fd| fd == "4"), "{left}");
    world.coracle("rm -f -t 0 it").ok();
    for (line, code, words) in [
        (
            "--preserve-fds 3",
            125,
            "file descriptor 5 is not available - \
             the preserve-fds option requires that file descriptors must be passed",
        ),
        (
            "--preserve-fd 77",
            125,
            "file descriptor 77 is not available - \
             the preserve-fd option requires that file descriptors must be passed",
        ),
        (
            "--preserve-fd 1",
            126,
            "cannot preserve FD 1, consider using",
        ),
        (
            "--preserve-fd 4 --preserve-fds 1",
            125,
            "cannot specify both --preserve-fds and --preserve-fd",
        ),
    ] {
        with(&format!("{run} {line} IMAGE true"))
            .fails(code)
            .says(words);
    }
}

#[test]
fn passwd_may_be_left_alone() {
    let world = World::new();
    let seen = |flag: &str| {
        let script = "grep -c 1234 /etc/passwd; echo home=$HOME";
        world
            .coracle(&format!("run --rm --network=none {flag} -u 1234 IMAGE"))
            .args(["sh", "-c", script])
            .stdout()
    };
    assert_eq!(seen(""), "1\nhome=/");
    assert_eq!(seen("--passwd=false"), "0\nhome=");
}
