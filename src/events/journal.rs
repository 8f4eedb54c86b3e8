//! Events in the system's journal, with the fields that Podman gives them, and the
//! journal's native protocol (a datagram of fields), which a container's output takes, too.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;

use super::{Event, Type, Wanted};
use crate::error::{Context, Error, Result};

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// How long the journal may keep us waiting; then the event is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// What all of them have, Podman's too.
const IDENTIFIER: &str = "podman";

/// The journal's socket; none where there is no journal.
pub fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(SOCKET).ok()?;
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(socket)
}

/// Adds a field. A value with a line end goes with its length in front.
pub fn field(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend(name.as_bytes());
    if value.contains(&b'\n') {
        to.push(b'\n');
        to.extend((value.len() as u64).to_le_bytes());
    } else {
        to.push(b'=');
    }
    to.extend(value);
    to.push(b'\n');
}

pub fn send(event: &Event) {
    if let Some(socket) = connect() {
        send_over(&socket, event);
    }
}

pub fn send_over(socket: &UnixDatagram, event: &Event) {
    // A journal that takes it no more loses it.
    let _ = socket.send(&message(event));
}

fn message(event: &Event) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            field(&mut all, name, value.as_bytes());
        }
    };
    let what = match event.id.is_empty() {
        true => &event.name,
        false => &event.id,
    };
    let words = format!("{} {} {what}", event.kind.name(), event.status);
    add("MESSAGE", &words);
    add("PRIORITY", "6");
    add("SYSLOG_IDENTIFIER", IDENTIFIER);
    add("PODMAN_EVENT", &event.status);
    add("PODMAN_TYPE", event.kind.name());
    add("PODMAN_TIME", &event.time.to_string());
    add("PODMAN_ID", &event.id);
    add("PODMAN_NAME", &event.name);
    add("PODMAN_IMAGE", &event.image);
    add("PODMAN_NETWORK_NAME", &event.network);
    add("PODMAN_HEALTH_STATUS", &event.health_status);
    add("PODMAN_HEALTH_LOG", &event.health_log);
    add("PODMAN_POD_ID", &event.pod);
    add("PODMAN_CONTAINER_INSPECT_DATA", &event.inspect_data);
    add("ERROR", &event.error);
    if event.kind == Type::Container && !event.health_status.is_empty() {
        let streak = event.health_failing_streak.to_string();
        add("PODMAN_HEALTH_FAILING_STREAK", &streak);
    }
    if let Some(code) = event.exit_code {
        add("PODMAN_EXIT_CODE", &code.to_string());
    }
    if let Some(attributes) = event.attributes.as_ref().filter(|all| !all.is_empty())
        && let Ok(labels) = serde_json::to_string(attributes)
    {
        add("PODMAN_LABELS", &labels);
    }
    all
}

/// One line of `journalctl --output=json`.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "PODMAN_EVENT")]
    status: String,
    #[serde(rename = "PODMAN_TYPE")]
    kind: Type,
    #[serde(rename = "PODMAN_TIME")]
    time: jiff::Timestamp,
    #[serde(rename = "PODMAN_ID", default)]
    id: String,
    #[serde(rename = "PODMAN_NAME", default)]
    name: String,
    #[serde(rename = "PODMAN_IMAGE", default)]
    image: String,
    #[serde(rename = "PODMAN_NETWORK_NAME", default)]
    network: String,
    #[serde(rename = "PODMAN_HEALTH_STATUS", default)]
    health_status: String,
    #[serde(rename = "PODMAN_HEALTH_LOG", default)]
    health_log: String,
    #[serde(rename = "PODMAN_HEALTH_FAILING_STREAK", default)]
    health_failing_streak: String,
    #[serde(rename = "PODMAN_POD_ID", default)]
    pod: String,
    #[serde(rename = "PODMAN_CONTAINER_INSPECT_DATA", default)]
    inspect_data: String,
    #[serde(rename = "ERROR", default)]
    error: String,
    #[serde(rename = "PODMAN_EXIT_CODE")]
    exit_code: Option<String>,
    #[serde(rename = "PODMAN_LABELS")]
    labels: Option<String>,
}

fn parse(line: &[u8]) -> Option<Event> {
    let entry: Entry = serde_json::from_slice(line).ok()?;
    let labels = entry.labels.as_deref();
    Some(Event {
        exit_code: entry.exit_code.and_then(|code| code.parse().ok()),
        id: entry.id,
        image: entry.image,
        name: entry.name,
        network: entry.network,
        status: entry.status.into(),
        time: entry.time,
        kind: entry.kind,
        health_status: entry.health_status,
        health_log: entry.health_log,
        health_failing_streak: entry.health_failing_streak.parse().unwrap_or(0),
        error: entry.error,
        pod: entry.pod,
        inspect_data: entry.inspect_data,
        attributes: labels.and_then(|labels| serde_json::from_str(labels).ok()),
    })
}

/// Gives the events in the journal, and then those that come, to `show`.
pub fn read(uid: u32, wanted: &Wanted, show: &mut dyn FnMut(Event) -> bool) -> Result<()> {
    let mut command = Command::new("journalctl");
    command
        .args(["--quiet", "--no-pager", "--output=json", "--all"])
        .arg(format!("_UID={uid}"))
        .arg(format!("SYSLOG_IDENTIFIER={IDENTIFIER}"))
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    if wanted.follow {
        let lines = if wanted.past { "all" } else { "0" };
        command.args(["--follow", &format!("--lines={lines}")]);
    }
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::other("events in the journal are read by journalctl, which is not installed")
        }
        _ => Error::from(error).tried("run journalctl"),
    })?;
    let read = match child.stdout.take() {
        Some(output) => each(output, wanted, show),
        None => Ok(()),
    };
    let _ = child.kill();
    let _ = child.wait();
    read
}

fn each(
    mut output: std::process::ChildStdout,
    wanted: &Wanted,
    show: &mut dyn FnMut(Event) -> bool,
) -> Result<()> {
    let mut begun = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let left = wanted.left().filter(|_| wanted.follow);
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::new(&output, PollFlags::IN)], left.as_ref()) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error).tried(|| "wait for events"),
        }
        match output.read(&mut buffer).tried(|| "read the journal")? {
            0 => return Ok(()),
            length => begun.extend(&buffer[..length]),
        }
        let whole = begun.iter().rposition(|byte| *byte == b'\n');
        let rest = begun.split_off(whole.map_or(0, |at| at + 1));
        let lines = std::mem::replace(&mut begun, rest);
        if !lines
            .split(|byte| *byte == b'\n')
            .filter_map(parse)
            .all(&mut *show)
        {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_any_bytes() {
        let mut bytes = Vec::new();
        field(&mut bytes, "A", b"b=c\xff");
        field(&mut bytes, "M", b"x\ny");
        assert_eq!(bytes, b"A=b=c\xff\nM\n\x03\0\0\0\0\0\0\0x\ny\n");
    }

    #[test]
    fn events_have_podmans_fields() {
        let mut event = Event::new(Type::Container, "died").id("ab").name("web");
        event.exit_code = Some(3);
        event.time = "2026-11-22T08:10:20.5Z".parse().unwrap();
        event.attributes = Some([("a".to_owned(), "b".to_owned())].into());
        let text = String::from_utf8(message(&event)).unwrap();
        assert_eq!(
            text,
            "MESSAGE=container died ab\nPRIORITY=6\nSYSLOG_IDENTIFIER=podman\n\
             PODMAN_EVENT=died\nPODMAN_TYPE=container\nPODMAN_TIME=2026-11-22T08:10:20.5Z\n\
             PODMAN_ID=ab\nPODMAN_NAME=web\nPODMAN_EXIT_CODE=3\nPODMAN_LABELS={\"a\":\"b\"}\n"
        );
        let fields: serde_json::Map<_, _> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let line = serde_json::to_vec(&fields).unwrap();
        assert_eq!(parse(&line), Some(event));
        assert_eq!(parse(b"{\"MESSAGE\":\"other\"}"), None);
    }
}
