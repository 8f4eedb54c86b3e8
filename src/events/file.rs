//! The file of events: appended to by many, rotated by whoever finds it large.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, SeekFrom, inotify};
use rustix::io::Errno;

use super::{Event, Wanted};
use crate::error::{Context, Result};
use crate::sys::file::open_dir;

/// Writes a line to the end of the file, which is made, with its folder, if need be.
pub fn append(file: &Path, size: u64, line: &[u8]) {
    if append_in(rustix::fs::CWD, file, size, line) == Err(Errno::NOENT) && make_folder(file) {
        let _ = append_in(rustix::fs::CWD, file, size, line);
    }
}

/// The folder the file is in, made if need be.
pub fn hold(file: &Path) -> Option<OwnedFd> {
    let folder = file.parent()?;
    match open_dir(folder) {
        Ok(folder) => Some(folder),
        Err(_) if make_folder(file) => open_dir(folder).ok(),
        Err(_) => None,
    }
}

fn make_folder(file: &Path) -> bool {
    let mut builder = std::fs::DirBuilder::new();
    let builder = builder.recursive(true).mode(0o700);
    file.parent()
        .is_some_and(|folder| builder.create(folder).is_ok())
}

/// Writes a line to the end of the file `path` beneath `at`.
pub fn append_in(at: impl AsFd, path: &Path, size: u64, line: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&at, path, flags, Mode::RUSR | Mode::WUSR)?;
    // A whole line in one call: what others append stands before or after it.
    rustix::io::write(&file, line)?;
    // After a write that appends we stand at the end.
    if rustix::fs::seek(&file, SeekFrom::Current(0))? > size / 2 {
        rotate(at, path, &file)?;
    }
    Ok(())
}

/// Renames the file, unless another does or did.
fn rotate(at: impl AsFd, path: &Path, file: &OwnedFd) -> Result<(), Errno> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(()),
        Err(error) => return Err(error),
    }
    let ours = rustix::fs::fstat(file)?;
    let there = rustix::fs::statat(&at, path, AtFlags::empty())?;
    if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino) {
        rustix::fs::renameat(&at, path, &at, older(path))?;
    }
    Ok(())
}

/// What the file is called once it is full.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Gives the events in the file, and then those that come, to `show`.
pub fn read(path: &Path, wanted: &Wanted, show: &mut dyn FnMut(Event) -> bool) -> Result<()> {
    // Before anything is read, so that nothing comes unseen.
    let notify = match wanted.follow {
        true => Some(watch(path)?),
        false => None,
    };
    if wanted.past && !Reader::open(&older(path))?.is_none_or(|mut it| it.each(show)) {
        return Ok(());
    }
    let mut reader = Reader::open(path)?;
    if let Some(reader) = &mut reader {
        if !wanted.past {
            reader.skip()?;
        } else if !reader.each(show) {
            return Ok(());
        }
    }
    let Some(notify) = notify else {
        return Ok(());
    };
    loop {
        let left = wanted.left();
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::new(&notify, PollFlags::IN)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).tried(|| "wait for events"),
        }
        let mut heard = [0; 4096];
        while rustix::io::read(&notify, &mut heard).is_ok_and(|length| length > 0) {}
        if !reader.as_mut().is_none_or(|reader| reader.each(show)) {
            return Ok(());
        }
        if !reader.as_ref().is_some_and(|reader| reader.is_at(path)) {
            // Who had it open when it was renamed may have written since.
            if !reader.as_mut().is_none_or(|reader| reader.each(show)) {
                return Ok(());
            }
            reader = Reader::open(path)?;
            if !reader.as_mut().is_none_or(|reader| reader.each(show)) {
                return Ok(());
            }
        }
    }
}

/// Something that can be read when the file has changed.
fn watch(path: &Path) -> Result<OwnedFd> {
    make_folder(path);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let tried = || format!("watch {}", folder.display());
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let notify = inotify::init(flags).tried(tried)?;
    let changes =
        inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_FROM;
    inotify::add_watch(&notify, folder, changes).tried(tried)?;
    Ok(notify)
}

/// One file, read as far as it goes.
struct Reader {
    file: File,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self {
                file,
                begun: Vec::new(),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).tried(|| format!("open {}", path.display())),
        }
    }

    fn skip(&mut self) -> Result<()> {
        use std::io::{Seek, SeekFrom};
        self.file
            .seek(SeekFrom::End(0))
            .map(drop)
            .tried(|| "read the events")
    }

    fn is_at(&self, path: &Path) -> bool {
        match (self.file.metadata(), std::fs::metadata(path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    /// What has come since; false once no more is wanted.
    fn each(&mut self, show: &mut dyn FnMut(Event) -> bool) -> bool {
        let mut bytes = std::mem::take(&mut self.begun);
        let _ = self.file.read_to_end(&mut bytes);
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        self.begun = bytes.split_off(whole.map_or(0, |at| at + 1));
        bytes
            .split(|byte| *byte == b'\n')
            .filter_map(parse)
            .all(show)
    }
}

/// An event of a line. One that was cut short by a full disk has the next behind it.
fn parse(line: &[u8]) -> Option<Event> {
    let starts = (0..line.len()).filter(|at| line[*at..].starts_with(b"{\""));
    starts
        .map(|at| serde_json::from_slice(&line[at..]))
        .find_map(|event: serde_json::Result<Event>| event.ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Type;

    fn names(path: &Path) -> Vec<String> {
        let mut all = Vec::new();
        let past = Wanted {
            past: true,
            ..Wanted::default()
        };
        read(path, &past, &mut |event| {
            all.push(event.name);
            true
        })
        .unwrap();
        all
    }

    fn line(name: &str) -> Vec<u8> {
        Event::new(Type::Volume, "create")
            .name(name)
            .line()
            .unwrap()
    }

    #[test]
    fn the_file_rotates_and_keeps_what_is_new() {
        let dir = std::env::temp_dir().join(format!("coracle-{}", crate::id::random_hex::<8>()));
        let path = dir.join("events").join("events.log");
        let size = 4000;
        for number in 0..200 {
            append(&path, size, &line(&format!("v{number}")));
            let length = |path: &Path| std::fs::metadata(path).map_or(0, |it| it.len());
            assert!(length(&path) + length(&older(&path)) <= size + 200);
        }
        let names = names(&path);
        assert!(names.len() >= 10 && names.len() < 60, "{}", names.len());
        let expected: Vec<String> = (200 - names.len()..200)
            .map(|at| format!("v{at}"))
            .collect();
        assert_eq!(names, expected);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_line_cut_short_spoils_no_other() {
        let dir = std::env::temp_dir().join(format!("coracle-{}", crate::id::random_hex::<8>()));
        let path = dir.join("events.log");
        append(&path, 1 << 20, &line("a"));
        append(&path, 1 << 20, &line("b")[..40]);
        append(&path, 1 << 20, &line("c"));
        append(&path, 1 << 20, b"{}\nrubbish\n");
        append(&path, 1 << 20, &line("d"));
        append(&path, 1 << 20, &line("e")[..50]);
        assert_eq!(names(&path), ["a", "c", "d"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_many_write_stands_whole() {
        let dir = std::env::temp_dir().join(format!("coracle-{}", crate::id::random_hex::<8>()));
        let path = dir.join("events.log");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..200 {
                        append(path, 1 << 20, &line(&format!("{writer}-{number}")));
                    }
                });
            }
        });
        assert_eq!(names(&path).len(), 800);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
