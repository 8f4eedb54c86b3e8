//! The lines of a container in the system's journal, by `journalctl`.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

#[cfg(test)]
use super::{Line, parse};
use crate::error::{Context, Error, Result};
use crate::id::ContainerId;
use crate::monitor::journal::SOCKET;
use crate::sys::file::set_nonblocking;

/// How long the journal may take to write down what it was given.
const PATIENCE: Duration = Duration::from_secs(2);

/// A container's part of the journal, and how far it has been read.
pub struct Reader {
    id: ContainerId,
    /// Where the journal is to be read on (journalctl(1), `--after-cursor`).
    cursor: Option<String>,
    /// When the monitor last said that nothing more comes.
    ended: Option<Timestamp>,
    follower: Option<Follower>,
}

/// A `journalctl --follow`, and what of its output is no whole line yet.
struct Follower {
    child: Child,
    begun: Vec<u8>,
    lines: VecDeque<Vec<u8>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One line of `journalctl --output=json`.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: String,
    #[serde(rename = "PRIORITY")]
    priority: Option<String>,
    #[serde(rename = "MESSAGE")]
    message: Option<Message>,
    #[serde(rename = "CONTAINER_PARTIAL_MESSAGE")]
    partial: Option<String>,
    #[serde(rename = "CORACLE_EVENT")]
    event: Option<String>,
}

/// Text, or bytes where it is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

impl Reader {
    pub fn new(id: &ContainerId) -> Self {
        Self {
            id: id.clone(),
            cursor: None,
            ended: None,
            follower: None,
        }
    }

    /// Gives each line that is there now, raw as a k8s-file has it.
    pub fn each(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        if self.follower.is_some() {
            return self.followed(take);
        }
        let mut child = self.command(&[]).spawn().map_err(missing)?;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).split(b'\n') {
                self.entry(&line.tried(|| "read journalctl's output")?, take);
            }
        }
        let mut words = String::new();
        if let Some(mut errors) = child.stderr.take() {
            let _ = errors.read_to_string(&mut words);
        }
        let status = child.wait().tried(|| "wait for journalctl")?;
        // It leaves with 1 where nothing matches.
        if status.success() || words.trim().is_empty() {
            Ok(())
        } else {
            Err(Error::other(format!("journalctl: {}", words.trim())))
        }
    }

    /// Reads on until the end of a start that began at `begun` has been read. The
    /// journal writes down a moment later what it is given.
    pub fn read_to_end(&mut self, begun: Timestamp, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        self.follower = None;
        loop {
            self.each(take)?;
            let is_read = self.ended.is_some_and(|ended| ended >= begun);
            if is_read || Instant::now() > until || !Path::new(SOCKET).exists() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Goes over to what comes from now on.
    pub fn follow(&mut self) -> Result<()> {
        let child = self.command(&["--follow", "--lines=all"]).spawn();
        let child = child.map_err(missing)?;
        if let Some(output) = &child.stdout {
            set_nonblocking(output, true)?;
        }
        self.follower = Some(Follower {
            child,
            begun: Vec::new(),
            lines: VecDeque::new(),
        });
        Ok(())
    }

    /// What becomes readable when more has come.
    pub fn notifier(&self) -> Option<BorrowedFd<'_>> {
        let output = self.follower.as_ref()?.child.stdout.as_ref()?;
        Some(output.as_fd())
    }

    fn followed(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        if let Some(follower) = &mut self.follower {
            follower.read();
        }
        while let Some(line) = self.follower.as_mut().and_then(|it| it.lines.pop_front()) {
            self.entry(&line, take);
        }
        Ok(())
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new("journalctl");
        command
            .args(["--quiet", "--all", "--no-pager", "--output=json"])
            .arg("--output-fields=MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE,CORACLE_EVENT")
            .args(more);
        if let Some(cursor) = &self.cursor {
            command.arg(format!("--after-cursor={cursor}"));
        }
        command
            .arg(format!("CONTAINER_ID_FULL={}", self.id))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn entry(&mut self, line: &[u8], take: &mut dyn FnMut(&[u8])) {
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
            return;
        };
        let time = entry.time.parse().ok();
        let Some(time) = time.and_then(|time| Timestamp::from_microsecond(time).ok()) else {
            return;
        };
        if entry.event.is_some() {
            self.ended = Some(time);
        } else {
            take(&entry.raw(time));
        }
        self.cursor = Some(entry.cursor);
    }
}

impl Entry {
    /// As a k8s-file would have it.
    fn raw(&self, time: Timestamp) -> Vec<u8> {
        let stream = match self.priority.as_deref() {
            Some("3") => "stderr",
            _ => "stdout",
        };
        let flag = if self.partial.is_some() { 'P' } else { 'F' };
        let mut raw = format!("{time} {stream} {flag} ").into_bytes();
        match &self.message {
            Some(Message::Text(text)) => raw.extend(text.as_bytes()),
            Some(Message::Bytes(bytes)) => raw.extend(bytes),
            None => {}
        }
        raw
    }
}

impl Follower {
    fn read(&mut self) {
        let Some(output) = &mut self.child.stdout else {
            return;
        };
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            self.begun.extend(&buffer[..length]);
            while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let rest = self.begun.split_off(end + 1);
                let line = std::mem::replace(&mut self.begun, rest);
                self.lines.push_back(line);
            }
        }
    }
}

fn missing(error: std::io::Error) -> Error {
    Error::from(error)
        .tried("run journalctl")
        .hint("the journal is read by systemd's journalctl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_become_lines() {
        let mut reader = Reader::new(&"a".repeat(64).parse().unwrap());
        let mut lines = Vec::new();
        for entry in [
            r#"{"__CURSOR":"c1","__REALTIME_TIMESTAMP":"1000000","PRIORITY":"6","MESSAGE":"a b"}"#,
            r#"{"__CURSOR":"c2","__REALTIME_TIMESTAMP":"2000001","PRIORITY":"3",
                "MESSAGE":[255,32],"CONTAINER_PARTIAL_MESSAGE":"true"}"#,
            r#"{"__CURSOR":"c3","__REALTIME_TIMESTAMP":"2000002","MESSAGE":null}"#,
            "no entry",
            r#"{"__CURSOR":"c4","__REALTIME_TIMESTAMP":"3000000","CORACLE_EVENT":"ended"}"#,
        ] {
            reader.entry(entry.as_bytes(), &mut |raw| lines.push(raw.to_vec()));
        }
        let parsed: Vec<Line<'_>> = lines.iter().map(|raw| parse(raw).unwrap()).collect();
        let seen: Vec<_> = parsed
            .iter()
            .map(|it| (it.time.as_microsecond(), it.stderr, it.whole, &*it.text))
            .collect();
        assert_eq!(
            seen,
            [
                (1_000_000, false, true, &b"a b"[..]),
                (2_000_001, true, false, b"\xff "),
                (2_000_002, false, true, b""),
            ]
        );
        assert_eq!(reader.cursor.as_deref(), Some("c4"));
        assert_eq!(reader.ended.unwrap().as_second(), 3);
    }
}
