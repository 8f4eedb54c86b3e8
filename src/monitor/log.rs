//! What a container printed, kept: `k8s-file` and `json-file` logs, and the journal.
//!
//! ```text
//! k8s-file    2026-11-21T22:41:07.123456789+00:00 stdout F a whole line
//!             2026-11-21T22:41:07.123456789+00:00 stdout P part of one, more follows
//! json-file   {"log":"a whole line\n","stream":"stdout","time":"2026-11-21T22:41:07.123456789Z"}
//! ```
//!
//! A log that would grow beyond its size is renamed to `….1` (which replaces the
//! one before) and begun anew, between two lines: nothing is lost while writing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::journal::{About, Journal};
use crate::error::{Context, Result};

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout = 0,
    Stderr = 1,
}

impl Stream {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    K8sFile,
    JsonFile,
    /// Nothing is kept in a file.
    None,
}

/// An open log.
pub struct Log {
    format: Format,
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max_size: Option<u64>,
    line: Vec<u8>,
    zone: TimeZone,
    journal: Option<Journal>,
}

impl Log {
    /// Opens the log at `path` to add to it. `max_size` is bytes.
    pub fn open(format: Format, path: &Path, max_size: Option<u64>) -> Result<Self> {
        let mut log = Self {
            format,
            path: path.to_owned(),
            file: None,
            size: 0,
            max_size,
            line: Vec::new(),
            zone: TimeZone::UTC,
            journal: None,
        };
        if format != Format::None {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir).tried(|| format!("make {}", dir.display()))?;
            }
            log.zone = TimeZone::system();
            log.reopen()
                .tried(|| format!("open log {}", path.display()))?;
        }
        Ok(log)
    }

    /// The journal, if there is one.
    pub fn in_journal(about: &About) -> Result<Self> {
        let mut log = Self::open(Format::None, Path::new(""), None)?;
        log.journal = Journal::open(about);
        Ok(log)
    }

    fn reopen(&mut self) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Adds what was printed on a stream. A disk that takes no more loses the
    /// line, never the container.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(journal) = &mut self.journal {
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                match line.strip_suffix(b"\n") {
                    Some(text) => journal.line(stream, text, true),
                    None => journal.line(stream, line, false),
                }
            }
            return;
        }
        if self.format == Format::None {
            return;
        }
        let now = Timestamp::now();
        let mut out = std::mem::take(&mut self.line);
        out.clear();
        let prefix = self.prefix(now, stream);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = line.last() == Some(&b'\n');
            let before = out.len();
            match self.format {
                Format::K8sFile => {
                    out.extend_from_slice(prefix.as_bytes());
                    out.extend_from_slice(if whole { b"F " } else { b"P " });
                    out.extend_from_slice(line);
                    if !whole {
                        out.push(b'\n');
                    }
                }
                Format::JsonFile => json_line(&mut out, stream, now, line),
                Format::None => {}
            }
            let length = (out.len() - before) as u64;
            if let Some(max) = self.max_size
                && self.size + length > max
                && self.size > 0
            {
                let rest = out.split_off(before);
                self.put(&out);
                self.rotate();
                out = rest;
                self.size = 0;
            }
            self.size += length;
        }
        self.put(&out);
        if out.capacity() <= 256 * 1024 {
            self.line = out;
        }
    }

    /// Nothing more comes. A line that was begun stays a part, as it was printed.
    pub fn finish(&mut self) {
        self.line = Vec::new();
        if let Some(journal) = &mut self.journal {
            journal.end();
        }
    }

    /// The text before the flag: time (RFC 3339 with nanoseconds, local) and stream.
    fn prefix(&self, now: Timestamp, stream: Stream) -> String {
        let local = now.to_zoned(self.zone.clone());
        format!(
            "{} {} ",
            local.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z"),
            stream.name()
        )
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file
            && !bytes.is_empty()
        {
            let _ = file.write_all(bytes);
        }
    }

    fn rotate(&mut self) {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        if std::fs::rename(&self.path, PathBuf::from(old)).is_ok() {
            let _ = self.reopen();
        }
    }
}

fn json_line(out: &mut Vec<u8>, stream: Stream, now: Timestamp, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let text = serde_json::to_string(&text).unwrap_or_default();
    let _ = writeln!(
        out,
        r#"{{"log":{text},"stream":"{}","time":"{}"}}"#,
        stream.name(),
        now.strftime("%Y-%m-%dT%H:%M:%S.%9fZ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(
        format: Format,
        max: Option<u64>,
        parts: &[(Stream, &str)],
    ) -> (String, Option<String>) {
        let dir =
            std::env::temp_dir().join(format!("coracle-log-{}", crate::id::random_hex::<8>()));
        let path = dir.join("ctr.log");
        let mut log = Log::open(format, &path, max).unwrap();
        for (stream, text) in parts {
            log.write(*stream, text.as_bytes());
        }
        log.finish();
        let text = std::fs::read_to_string(&path).unwrap();
        let old = std::fs::read_to_string(dir.join("ctr.log.1")).ok();
        std::fs::remove_dir_all(&dir).unwrap();
        (text, old)
    }

    /// The log's lines without their times.
    fn untimed(text: &str) -> Vec<&str> {
        text.lines()
            .map(|line| line.split_once(' ').unwrap().1)
            .collect()
    }

    #[test]
    fn lines_and_parts_of_lines_are_told_apart() {
        let (text, _) = written(
            Format::K8sFile,
            None,
            &[
                (Stream::Stdout, "a\nb"),
                (Stream::Stderr, "e\n"),
                (Stream::Stdout, "c\n"),
            ],
        );
        assert_eq!(
            untimed(&text),
            ["stdout F a", "stdout P b", "stderr F e", "stdout F c"]
        );
    }

    #[test]
    fn a_full_log_is_rotated_between_lines() {
        let (text, old) = written(
            Format::K8sFile,
            Some(120),
            &[(Stream::Stdout, "one\ntwo\nthree\n")],
        );
        let all = format!("{}{text}", old.unwrap());
        assert_eq!(
            untimed(&all),
            ["stdout F one", "stdout F two", "stdout F three"]
        );
        assert!(text.len() <= 120);
    }

    #[test]
    fn json_lines_are_json() {
        let (text, _) = written(Format::JsonFile, None, &[(Stream::Stderr, "say \"hi\"\n")]);
        let value: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(value["log"], "say \"hi\"\n");
        assert_eq!(value["stream"], "stderr");
    }
}
