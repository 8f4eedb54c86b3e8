//! `coracle exec`.

use crate::needs;
use crate::world::World;

fn started(flags: &str) -> World {
    let world = World::new();
    world
        .coracle(&format!(
            "run -d --name it --network=none {flags} IMAGE sleep 1000"
        ))
        .ok();
    world
}

#[test]
fn the_commands_exit_code_is_ours() {
    let world = started("");
    world.coracle("exec it true").ok();
    for code in [1, 3, 125, 126, 127, 128, 255] {
        world
            .coracle(&format!("exec it sh -c 'exit {code}'"))
            .fails(code);
    }
    world.coracle("exec it nosuch").fails(127);
    world.coracle("exec it /etc/passwd").fails(126);
    world.coracle("exec it sh -c 'kill -9 $$'").fails(137);
}

#[test]
fn only_running_containers_can_be_entered() {
    let world = World::new();
    world.coracle("create --name it IMAGE").ok();
    world
        .coracle("exec it true")
        .fails(255)
        .says("can only create exec sessions on running containers: container state improper");
    world
        .coracle("exec nosuch true")
        .fails(125)
        .says("no container with name or ID \"nosuch\" found: no such container");
    world.coracle("exec it").fails(125);
}

#[test]
fn it_is_in_the_container() {
    let world = started("--hostname box -e A=b");
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let link = |pid| format!("readlink /proc/{pid}/ns/{name}");
        let script = format!("({}; {}) | uniq | wc -l", link("self"), link("1"));
        assert_eq!(
            world.coracle("exec it sh -c").arg(script).stdout(),
            "1",
            "{name}"
        );
    }
    assert_eq!(
        world
            .coracle("exec it sh -c 'hostname; echo $A $HOME; pwd'")
            .stdout(),
        "box\nb /root\n/"
    );
    assert_eq!(
        world.coracle("exec it ls /proc/self/fd").stdout(),
        "0\n1\n2\n3"
    );
}

#[test]
fn it_is_as_confined_as_the_container() {
    let world = started("");
    let status = |flags: &str, name: &str| {
        let exec = world.coracle(&format!("exec {flags} it grep ^{name}: /proc/self/status"));
        exec.stdout().split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(status("", "CapEff"), "00000000800405fb");
    assert_eq!(status("", "CapBnd"), "00000000800405fb");
    assert_eq!(status("-u 1000", "CapEff"), "0000000000000000");
    assert_eq!(status("", "Seccomp"), "2");
    assert_eq!(status("", "NoNewPrivs"), "0");
    assert_ne!(status("--privileged", "CapEff"), "00000000800405fb");
}

#[test]
fn no_container_looks_into_us() {
    let world = started("--pid=host --cap-add=SYS_PTRACE");
    let mut other = world.coracle("exec -i it cat").spawn();
    other.write(b"ready\n");
    other.prints("ready");
    let seen = world
        .coracle("exec it sh -c 'for p in /proc/[0-9]*; do readlink $p/exe; done; true'")
        .stdout();
    assert!(seen.contains("busybox"), "{seen}");
    assert!(!seen.contains("coracle"), "{seen}");
    other.signal(rustix::process::Signal::TERM);
    other.wait();
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn user_directory_and_environment() {
    let world = started("");
    needs!(world, Subuids);
    assert_eq!(world.coracle("exec -u user it id -u").stdout(), "1000");
    assert_eq!(
        world
            .coracle("exec -u 7:8 it sh -c 'id -u; id -g'")
            .stdout(),
        "7\n8"
    );
    assert_eq!(world.coracle("exec -w /home it pwd").stdout(), "/home");
    assert_eq!(
        world
            .coracle("exec -e A=1 -e B=2 it sh -c 'echo $A$B'")
            .stdout(),
        "12"
    );
    let file = world.file("env", "C=3\n");
    assert_eq!(
        world
            .coracle("exec it true --env-file")
            .arg(file)
            .run()
            .code,
        0
    );
    world
        .coracle("exec -u nosuch it true")
        .fails(255)
        .says("unable to find user nosuch: no matching entries in passwd file");
}

#[test]
fn the_containers_user_is_the_default() {
    let world = World::new();
    needs!(world, Subuids);
    world
        .coracle("run -d --name it --network=none USER_IMAGE sleep 1000")
        .ok();
    assert_eq!(
        world
            .coracle("exec it sh -c 'id -u; pwd; echo $HOME'")
            .stdout(),
        "1000\n/home/user\n/home/user"
    );
    assert_eq!(world.coracle("exec -u 0 it id -u").stdout(), "0");
}

#[test]
fn on_a_terminal() {
    let world = started("");
    let mut terminal = world.coracle("exec -it it sh").terminal();
    terminal.shows("# ").types("stty size\r").shows("24 80");
    terminal.resize(40, 90).types("stty size\r").shows("40 90");
    terminal.types("exit 6\r");
    assert_eq!(terminal.wait().0, 6);
}

#[test]
fn in_the_background() {
    let world = started("");
    let session = world
        .coracle("exec -d it sh -c 'echo done >/file; exec sleep 1001'")
        .stdout();
    assert_eq!(session.len(), 64);
    let wait = "until grep -qs done /file; do :; done; echo there";
    assert_eq!(world.coracle("exec it sh -c").arg(wait).stdout(), "there");
    world.coracle("rm -f -t 0 it").ok();
}

#[test]
fn many_at_once() {
    let world = started("");
    let all: Vec<_> = (0..12)
        .map(|n| world.coracle(&format!("exec it sh -c 'exit {n}'")).spawn())
        .collect();
    for (n, one) in all.into_iter().enumerate() {
        assert_eq!(one.wait().code, n as i32);
    }
}
