//! Networks: none, host, pasta with published ports, and the files that go with them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::needs;
use crate::world::{World, readable};

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The next connection; none is no reason to wait for ever.
fn accept(listener: &TcpListener) -> TcpStream {
    let patience = std::time::Duration::from_secs(20);
    assert!(readable(listener, patience), "nobody has connected");
    listener.accept().unwrap().0
}

#[test]
fn none_has_only_the_loopback() {
    let world = World::new();
    let names = world
        .coracle("run --rm --network=none IMAGE ls /sys/class/net")
        .stdout();
    assert_eq!(names, "lo");
}

#[test]
fn host_is_the_hosts() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = world
        .coracle(&format!(
            "run --rm -i --network=host IMAGE nc 127.0.0.1 {port}"
        ))
        .spawn();
    client.write(b"over the host\n");
    let mut stream = accept(&listener);
    let mut text = [0; 14];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"over the host\n");
    drop(stream);
    client.stdin = None;
    client.wait();
}

#[test]
fn a_published_port_is_reached() {
    let world = World::new();
    needs!(world, Tun, Pasta);
    let port = free_port();
    world
        .coracle(&format!(
            "run -d --name it -p 127.0.0.1:{port}:8080 IMAGE sh -c"
        ))
        .arg("echo from inside >/page; exec nc -ll -p 8080 -e cat /page")
        .ok();
    let listening = "until grep -q :1F90 /proc/net/tcp /proc/net/tcp6; do :; done";
    world.coracle("exec it sh -c").arg(listening).ok();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from inside\n");
    assert_eq!(
        world.coracle("port it").stdout(),
        format!("8080/tcp -> 127.0.0.1:{port}")
    );
    assert_eq!(
        world.coracle("port it 8080").stdout(),
        format!("127.0.0.1:{port}")
    );
    world.coracle("rm -f -t 0 it").ok();
    // And nobody holds it any more.
    TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[test]
fn a_port_in_use_is_one_clear_error() {
    let world = World::new();
    needs!(world, Tun, Pasta);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let done = world
        .coracle(&format!(
            "run -d --name it -p 127.0.0.1:{port}:80 IMAGE sleep 1000"
        ))
        .run();
    assert_eq!(done.code, 126, "{}", done.stderr());
    assert!(
        done.stderr().contains(&port.to_string()),
        "{}",
        done.stderr()
    );
    let rm = world
        .coracle(&format!("run --rm -p 127.0.0.1:{port}:80 IMAGE true"))
        .run();
    assert_eq!(rm.code, 126, "{}", rm.stderr());
    assert_eq!(world.coracle("ps -q").stdout(), "");
    world.coracle("rm -f it").ok();
}

#[test]
fn the_hosts_services_are_reached() {
    let world = World::new();
    needs!(world, Tun, Pasta);
    // As with Podman, one that listens on 127.0.0.1 alone is not.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Older pastas tell the container of our closing only with the next bytes, and on
    // a busy machine may give it the same ones several times.
    let script = format!(
        "nc host.containers.internal {port} >/heard & until grep -m 1 host /heard; do :; done"
    );
    let client = world.coracle("run --rm IMAGE sh -c").arg(script).spawn();
    let mut stream = accept(&listener);
    stream.write_all(b"from the host\n").unwrap();
    drop(stream);
    assert_eq!(client.wait().stdout(), "from the host\n");
}

#[test]
fn hosts_and_resolv_conf() {
    let world = World::new();
    needs!(world, Tun, Pasta);
    let cat = |flags: &str, file: &str| {
        world
            .coracle(&format!("run --rm {flags} IMAGE cat {file}"))
            .stdout()
    };
    let hosts = cat("--hostname box --add-host db:10.1.2.3", "/etc/hosts");
    assert!(hosts.contains("127.0.0.1\tlocalhost"), "{hosts}");
    assert!(hosts.lines().any(|line| line == "10.1.2.3\tdb"), "{hosts}");
    let resolv = cat(
        "--dns 9.9.9.9 --dns-search example.org --dns-option ndots:2",
        "/etc/resolv.conf",
    );
    assert!(
        resolv.contains("nameserver 9.9.9.9") && resolv.contains("search example.org"),
        "{resolv}"
    );
    world
        .coracle("run --rm --network=none --no-hosts IMAGE test -s /etc/hosts")
        .fails(1);
}

#[test]
fn ports_that_cannot_be() {
    let world = World::new();
    for port in [
        "nonsense",
        "99999:80",
        "80:99999",
        "1.2.3:80:80",
        "80:80/nonsense",
        "10-20:10-15",
    ] {
        world
            .coracle(&format!("run --rm -p {port} IMAGE true"))
            .fails(125);
    }
    world
        .coracle("run --rm --network nonsense IMAGE true")
        .fails(125)
        .says("nonsense");
    assert_eq!(world.coracle("ps -aq").stdout(), "");
}

#[test]
fn every_exposed_port_is_published() {
    let world = World::new();
    needs!(world, Tun, Pasta);
    world
        .coracle("run -d --name it -P --expose 8080 IMAGE sleep 1000")
        .ok();
    let port = world.coracle("port it 8080").stdout();
    let number = port.strip_prefix("0.0.0.0:").map(str::parse::<u16>);
    assert!(matches!(number, Some(Ok(1..))), "{port}");
    world.coracle("rm -f -t 0 it").ok();
}
