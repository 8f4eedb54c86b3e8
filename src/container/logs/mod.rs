//! Reading what a container has printed.

mod journal;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::options::LogDriver;
use super::{Container, Record};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::monitor::protocol::{Request, SOCKET, hear, say};
use crate::sys::socket;

/// What of the logs is wanted.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// The last lines only.
    pub tail: Option<usize>,
    pub follow: bool,
}

/// A line, or a part of one that was printed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    pub time: Timestamp,
    pub stderr: bool,
    /// Whether it ends here.
    pub whole: bool,
    /// Without its end.
    pub text: Cow<'a, [u8]>,
}

/// Gives each line of the containers' logs to `show`, with the container's index:
/// one after the other, by time where there are several.
pub fn read(
    engine: &Engine,
    containers: &[Container],
    options: &Options,
    show: &mut dyn FnMut(usize, &Line<'_>),
) -> Result<()> {
    let mut readers = Vec::new();
    for container in containers {
        readers.push(Reader::open(engine, container)?);
    }
    let mut lines: VecDeque<(Timestamp, usize, Vec<u8>)> = VecDeque::new();
    let several = readers.len() > 1;
    for (index, reader) in readers.iter_mut().enumerate() {
        let mut last: VecDeque<Vec<u8>> = VecDeque::new();
        let (mut whole_lines, mut in_line) = (0, false);
        let mut take = |raw: &[u8], line: &Line<'_>| {
            if !options.wants(line) {
                return;
            }
            match options.tail {
                Some(tail) => {
                    // A line that has not ended is one too.
                    whole_lines += usize::from(!in_line);
                    in_line = !line.whole;
                    last.push_back(raw.to_vec());
                    while whole_lines > tail {
                        match last.pop_front() {
                            Some(gone) if parse(&gone).is_some_and(|it| !it.whole) => {}
                            Some(_) => whole_lines -= 1,
                            None => break,
                        }
                    }
                }
                None if several => lines.push_back((line.time, index, raw.to_vec())),
                None => show(index, line),
            }
        };
        let container = &containers[index];
        if container.status.is_up() {
            reader.each(&mut take)?;
        } else {
            reader.rest(container, &mut take)?;
        }
        if options.tail != Some(0) {
            lines.extend(last.into_iter().filter_map(|raw| {
                parse(&raw)
                    .map(|line| line.time)
                    .map(|time| (time, index, raw))
            }));
        }
    }
    if several {
        lines.make_contiguous().sort_by_key(|(time, ..)| *time);
    }
    for (_, index, raw) in &lines {
        if let Some(line) = parse(raw) {
            show(*index, &line);
        }
    }
    if options.follow {
        follow(engine, containers, &mut readers, options, show)?;
    }
    Ok(())
}

impl Options {
    fn wants(&self, line: &Line<'_>) -> bool {
        self.since.is_none_or(|since| line.time >= since)
            && self.until.is_none_or(|until| line.time <= until)
    }
}

/// Goes on until every container has ended.
fn follow(
    engine: &Engine,
    containers: &[Container],
    readers: &mut [Reader],
    options: &Options,
    show: &mut dyn FnMut(usize, &Line<'_>),
) -> Result<()> {
    let notify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    for reader in readers.iter_mut() {
        let file = match reader {
            Reader::File(file) => file,
            Reader::Journal(journal) => {
                journal.follow()?;
                continue;
            }
        };
        if let Some(dir) = file.path.parent() {
            let flags = inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_FROM;
            // One that never ran has none; nor has it a monitor to wait for.
            if !dir.exists() {
                continue;
            }
            inotify::add_watch(&notify, dir, flags).tried(|| format!("watch {}", dir.display()))?;
        }
    }
    // The end of the socket is the end of the container: read once more after it.
    let mut ends: Vec<Option<OwnedFd>> = containers
        .iter()
        .map(|container| {
            let control = socket::connect(
                &engine.storage.container_runtime(&container.record.id),
                SOCKET,
            )
            .ok()?;
            say(&control, &Request::Watch, &[]).ok()?;
            Some(control)
        })
        .collect();
    loop {
        let over = ends.iter().all(Option::is_none);
        for (index, reader) in readers.iter_mut().enumerate() {
            let mut take = |_: &[u8], line: &Line<'_>| {
                if options.wants(line) {
                    show(index, line);
                }
            };
            if over {
                reader.rest(&containers[index], &mut take)?;
            } else {
                reader.each(&mut take)?;
            }
        }
        if over || options.until.is_some_and(|until| Timestamp::now() > until) {
            return Ok(());
        }
        let mut fds = vec![PollFd::new(&notify, PollFlags::IN)];
        fds.extend(
            ends.iter()
                .flatten()
                .map(|end| PollFd::new(end, PollFlags::IN)),
        );
        let journals = readers.iter().filter_map(|reader| match reader {
            Reader::Journal(journal) => journal.notifier(),
            Reader::File(_) => None,
        });
        fds.extend(journals.map(|output| PollFd::from_borrowed_fd(output, PollFlags::IN)));
        let left = options.until.map(|until| {
            let left = until.duration_since(Timestamp::now());
            Timespec {
                tv_sec: left.as_secs().max(0),
                tv_nsec: left.subsec_nanos().max(0).into(),
            }
        });
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut events = [0; 4096];
        while rustix::io::read(&notify, &mut events).is_ok_and(|length| length > 0) {}
        let mut ready = ready.into_iter().skip(1);
        for end in &mut ends {
            if let Some(control) = end
                && ready.next() == Some(true)
                && !matches!(hear::<serde_json::Value>(control), Ok(Some(_)))
            {
                *end = None;
            }
        }
    }
}

/// A log and how far it has been read.
enum Reader {
    File(FileReader),
    Journal(journal::Reader),
}

impl Reader {
    fn open(engine: &Engine, container: &Container) -> Result<Self> {
        let record = &container.record;
        match record.options.log.driver {
            LogDriver::K8sFile | LogDriver::JsonFile => {
                Ok(Self::File(FileReader::new(path_of(engine, record))))
            }
            LogDriver::Journald => Ok(Self::Journal(journal::Reader::new(&record.id))),
            driver => Err(Error::usage(format!(
                "this container is using the '{}' log driver, cannot read logs: this container is not logging output",
                driver.name()
            ))),
        }
    }

    /// Gives each line that is there now, raw and parsed.
    fn each(&mut self, take: &mut dyn FnMut(&[u8], &Line<'_>)) -> Result<()> {
        let mut parsed = |raw: &[u8]| {
            if let Some(line) = parse(raw) {
                take(raw, &line);
            }
        };
        match self {
            Self::File(file) => file.each(&mut parsed),
            Self::Journal(journal) => journal.each(&mut parsed),
        }
    }

    /// As [`Self::each`], of a container that has ended: all there will be.
    fn rest(
        &mut self,
        container: &Container,
        take: &mut dyn FnMut(&[u8], &Line<'_>),
    ) -> Result<()> {
        let started = container.status.started.as_ref();
        match (self, started) {
            (Self::Journal(journal), Some(started)) => {
                journal.read_to_end(started.at, &mut |raw| {
                    if let Some(line) = parse(raw) {
                        take(raw, &line);
                    }
                })
            }
            (reader, _) => reader.each(take),
        }
    }
}

/// A log in a file.
struct FileReader {
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl FileReader {
    fn new(path: PathBuf) -> Self {
        Self {
            file: File::open(&path).ok().map(BufReader::new),
            path,
            begun: Vec::new(),
        }
    }

    /// Gives each line that is there now.
    fn each(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        loop {
            let Some(file) = &mut self.file else {
                match File::open(&self.path) {
                    Ok(file) => self.file = Some(BufReader::new(file)),
                    Err(_) => return Ok(()),
                }
                continue;
            };
            let read = file
                .read_until(b'\n', &mut self.begun)
                .tried(|| format!("read {}", self.path.display()))?;
            if read == 0 {
                if self.was_rotated()? {
                    continue;
                }
                return Ok(());
            }
            if self.begun.last() == Some(&b'\n') {
                let raw = std::mem::take(&mut self.begun);
                take(&raw[..raw.len() - 1]);
            }
        }
    }

    /// Goes over to the new file if the log was rotated and this one is read.
    fn was_rotated(&mut self) -> Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let ours = file.get_ref().metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) if there.ino() != ours.ino() => {
                // Nothing was added to the old one between our read and its end.
                let at = file.stream_position()?;
                if ours.len() > at {
                    file.seek(SeekFrom::Start(at))?;
                    return Ok(true);
                }
                self.file = Some(BufReader::new(File::open(&self.path)?));
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Where a container's log is.
pub fn path_of(engine: &Engine, record: &Record) -> PathBuf {
    let own = || engine.storage.container(&record.id).join("log/ctr.log");
    record.options.log.path.clone().unwrap_or_else(own)
}

/// A line of either format.
fn parse(raw: &[u8]) -> Option<Line<'_>> {
    if raw.first() == Some(&b'{') {
        #[derive(serde::Deserialize)]
        struct Entry {
            log: String,
            stream: String,
            time: Timestamp,
        }
        let entry: Entry = serde_json::from_slice(raw).ok()?;
        let text = entry.log.strip_suffix('\n');
        let whole = text.is_some();
        let text = Cow::Owned(text.unwrap_or(&entry.log).as_bytes().to_vec());
        return Some(Line {
            time: entry.time,
            stderr: entry.stream == "stderr",
            whole,
            text,
        });
    }
    let mut parts = raw.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let stderr = parts.next()? == b"stderr";
    let whole = parts.next()? == b"F";
    Some(Line {
        time,
        stderr,
        whole,
        text: Cow::Borrowed(parts.next().unwrap_or_default()),
    })
}

/// Which side of now a duration leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    Before,
    After,
}

/// A time as `--since` and `--until` take it: RFC 3339 or parts of it, seconds
/// since 1970, or a duration (`10m`, `1h30m`), which for `--since` is ago and for
/// `--until` ahead, as with Podman.
pub fn parse_time(text: &str, now: Timestamp, away: Away) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Some((seconds, nanoseconds)) = text.split_once('.')
        && let (Ok(seconds), Ok(nanoseconds)) =
            (seconds.parse(), format!("{nanoseconds:0<9}")[..9].parse())
    {
        return Timestamp::new(seconds, nanoseconds).ok();
    }
    if let Ok(seconds) = text.parse() {
        return Timestamp::from_second(seconds).ok();
    }
    let zone = jiff::tz::TimeZone::system();
    if let Ok(time) = text.parse::<jiff::civil::DateTime>() {
        return Some(time.to_zoned(zone).ok()?.timestamp());
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return Some(date.to_zoned(zone).ok()?.timestamp());
    }
    let span = go_duration(text)?;
    match away {
        Away::Before => now.checked_sub(span).ok(),
        Away::After => now.checked_add(span).ok(),
    }
}

/// Go's time.ParseDuration: `1h30m`, `1.5s`, `300ms`.
pub fn go_duration(text: &str) -> Option<jiff::SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += value * scale;
        rest = &rest[unit..];
    }
    jiff::SignedDuration::try_from_secs_f64(sign * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let line = parse(b"2026-11-21T22:41:07.123456789+01:00 stderr P hello there ").unwrap();
        assert!(line.stderr && !line.whole);
        assert_eq!(&*line.text, b"hello there ");
        assert_eq!(
            parse(b"2026-11-21T22:41:07.123456789+01:00 stdout F ")
                .unwrap()
                .text
                .len(),
            0
        );
        assert_eq!(parse(b"junk"), None);
    }

    #[test]
    fn times_are_absolute_or_ago() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let second = |text, away| Some(parse_time(text, now, away)?.as_second());
        assert_eq!(second("10m", Away::Before), Some(999_400));
        assert_eq!(second("1h30m", Away::Before), Some(994_600));
        assert_eq!(second("10m", Away::After), Some(1_000_600));
        assert_eq!(second("12345", Away::Before), Some(12_345));
        assert_eq!(second("1970-01-01T00:00:10Z", Away::After), Some(10));
        assert_eq!(second("soon", Away::Before), None);
    }
}
