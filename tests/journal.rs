//! The system's journal: who runs in a mount namespace where it is ours sees that one.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::world::{Cmd, World};

/// A journal: what it is given becomes lines of `journal.json`, as journalctl shows them.
struct Journal {
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// journalctl, as far as it is asked.
const JOURNALCTL: &str = r#"#!/bin/sh
after=0 follow=
for word; do
    case $word in
        --after-cursor=*) after=${word#*=} ;;
        --follow) follow=yes ;;
        *=*) match=$word ;;
    esac
done
file=$HOME/journal.json
[ "$follow" ] && exec tail -f -n +$((after + 1)) "$file"
tail -n +$((after + 1)) "$file" | grep -F "\"${match%%=*}\":\"${match#*=}\"" || true
"#;

impl Journal {
    fn start(world: &World) -> Self {
        let script = world.file("bin/journalctl", JOURNALCTL);
        std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
        let file = world.file("journal.json", "");
        let socket = world.home().join("journal.socket");
        let bound = UnixDatagram::bind(&socket).unwrap();
        let thread = std::thread::spawn(move || {
            let mut datagram = vec![0; 1 << 20];
            for number in 1_u64.. {
                let length = bound.recv(&mut datagram).unwrap();
                if length == 0 {
                    return;
                }
                let mut entry = fields(&datagram[..length]);
                entry.insert("__CURSOR".into(), number.to_string().into());
                let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let time = time.as_micros();
                entry.insert("__REALTIME_TIMESTAMP".into(), time.to_string().into());
                let mut file = File::options().append(true).open(&file).unwrap();
                writeln!(file, "{}", Value::from(entry)).unwrap();
            }
        });
        Self {
            socket,
            thread: Some(thread),
        }
    }

    /// A line of shell where this is the journal.
    fn shell<'w>(&self, world: &'w World, line: &str) -> Cmd<'w> {
        let socket = self.socket.display();
        let script = format!(
            "mount -t tmpfs none /run; mkdir -p /run/systemd/journal; cd \"$HOME\"
             touch /run/systemd/journal/socket; mount --bind {socket} /run/systemd/journal/socket
             export PATH=\"$HOME/bin:$PATH\"; {line}"
        );
        world
            .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
            .arg(script)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let last = UnixDatagram::unbound().unwrap();
        let _ = last.send_to(&[], &self.socket);
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// The fields of a datagram (systemd's native protocol), as journalctl shows them: text,
/// or bytes where it is none.
fn fields(mut datagram: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    while let Some(end) = datagram.iter().position(|it| *it == b'\n') {
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        let (name, value, rest) = match line.iter().position(|it| *it == b'=') {
            Some(at) => (&line[..at], &line[at + 1..], rest),
            None => {
                let (length, rest) = rest.split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
                (line, &rest[..length], &rest[length + 1..])
            }
        };
        let value = match std::str::from_utf8(value) {
            Ok(text) => Value::from(text),
            Err(_) => Value::from(value),
        };
        fields.insert(String::from_utf8(name.to_vec()).unwrap(), value);
        datagram = rest;
    }
    fields
}

#[test]
fn what_a_container_prints_goes_there_and_is_read_back() {
    let world = World::empty();
    let journal = Journal::start(&world);
    let archive = crate::world::archive().display().to_string();
    journal
        .shell(&world, &format!("coracle load -q -i {archive}"))
        .ok();
    let run =
        "coracle run --name it --network none --log-driver journald --log-opt tag={{.Name}}-x";
    let prints = r"echo out; echo err >&2; printf 'a\377b\n'; printf 'no end'";
    journal
        .shell(&world, &format!(r#"{run} localhost/test sh -c "{prints}""#))
        .ok();
    let logs = journal.shell(&world, "coracle logs it").ok();
    assert_eq!(logs.out, b"out\na\xffb\nno end");
    assert!(logs.stderr().ends_with("err\n"), "{}", logs.stderr());
    let last = journal.shell(&world, "coracle logs --tail 1 -t it").ok();
    assert!(
        last.stdout().ends_with("+00:00 no end"),
        "{}",
        last.stdout()
    );
    let text = std::fs::read_to_string(world.home().join("journal.json")).unwrap();
    let entries: Vec<Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let id = world.coracle("inspect it --format {{.Id}}").stdout();
    for (message, priority) in [("out", "6"), ("err", "3")] {
        let entry = entries.iter().find(|it| it["MESSAGE"] == message);
        assert_eq!(entry.unwrap()["PRIORITY"], priority);
    }
    for entry in &entries {
        assert_eq!(entry["CONTAINER_ID_FULL"], *id.trim_end());
        assert_eq!(entry["CONTAINER_ID"], id[..12]);
        assert_eq!(entry["CONTAINER_NAME"], "it");
        assert_eq!(entry["CONTAINER_TAG"], "it-x");
    }
    journal.shell(&world, "coracle rm it").ok();
}

#[test]
fn events_go_there_and_are_read_back() {
    let world = World::empty();
    let journal = Journal::start(&world);
    let to = "coracle --events-backend journald";
    journal
        .shell(&world, &format!("{to} volume create v; {to} volume rm v"))
        .ok();
    let format = "'{{.Type}} {{.Status}} {{.Name}}'";
    let events = format!("{to} events --stream=false --format {format}");
    let events = journal.shell(&world, &events).ok();
    assert_eq!(events.stdout(), "volume create v\nvolume remove v\n");
    assert_eq!(world.coracle("events --stream=false").stdout(), "");
}
