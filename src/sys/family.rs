//! A process and all that came of it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};

use super::process::Process;

/// The processes of this machine as they are seen from here: opened before a container
/// is joined, whose own /proc would be another.
pub struct Processes(OwnedFd);

/// What /proc says of a process (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: i32,
    session: i32,
    start: u64,
}

impl Processes {
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, "/proc", flags, Mode::empty())?))
    }

    /// Ends `first`, who leads a session, with what it is an ancestor of and what is of
    /// the session still. Whoever has left both is nobody's.
    pub fn kill_family(&self, first: &Process) -> io::Result<()> {
        // They stand still before any of them is ended: the children of one who is gone
        // could not be told any more. Each round sees whom the one before came too late for.
        const ROUNDS: usize = 16;
        let mut still: BTreeMap<i32, Process> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let family = family(first.pid(), &self.all()?);
            let new: Vec<_> = family
                .into_iter()
                .filter(|(pid, _)| !still.contains_key(pid))
                .collect();
            if new.is_empty() {
                break;
            }
            for (pid, stat) in new {
                // It may be another by now.
                let Ok(process) = Process::open(pid) else {
                    continue;
                };
                if self.stat(pid) == Some(stat) && process.signal(libc::SIGSTOP).is_ok() {
                    still.insert(pid, process);
                }
            }
        }
        for process in still.values() {
            let _ = process.signal(libc::SIGKILL);
        }
        first.signal(libc::SIGKILL)
    }

    fn all(&self) -> io::Result<BTreeMap<i32, Stat>> {
        let mut all = BTreeMap::new();
        for entry in Dir::read_from(self.0.as_fd())? {
            let entry = entry?;
            let pid = entry
                .file_name()
                .to_str()
                .ok()
                .and_then(|it| it.parse().ok());
            if let Some(pid) = pid
                && let Some(stat) = self.stat(pid)
            {
                all.insert(pid, stat);
            }
        }
        Ok(all)
    }

    /// None of one that has ended.
    fn stat(&self, pid: i32) -> Option<Stat> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.0, format!("{pid}/stat"), flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        std::fs::File::from(file).read_to_end(&mut text).ok()?;
        parse(&String::from_utf8_lossy(&text))
    }
}

fn parse(stat: &str) -> Option<Stat> {
    // The name may have anything in it.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    Some(Stat {
        parent,
        session: fields.nth(1)?.parse().ok()?,
        start: fields.nth(15)?.parse().ok()?,
    })
}

/// `first`, its descendants, those of a session that one of them leads, and theirs.
fn family(first: i32, all: &BTreeMap<i32, Stat>) -> BTreeMap<i32, Stat> {
    let mut found = BTreeMap::new();
    if let Some(stat) = all.get(&first) {
        found.insert(first, *stat);
    }
    loop {
        let more: Vec<(i32, Stat)> = all
            .iter()
            .filter(|(pid, stat)| {
                let of = |pid: i32| pid == first || found.contains_key(&pid);
                !found.contains_key(*pid) && (of(stat.parent) || of(stat.session))
            })
            .map(|(pid, stat)| (*pid, *stat))
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_of_descendants_and_sessions() {
        let stat = |parent, session| Stat {
            parent,
            session,
            start: 0,
        };
        let all = BTreeMap::from([
            (1, stat(0, 1)),
            (5, stat(1, 5)),
            (6, stat(5, 5)),
            // Its parent has ended.
            (7, stat(1, 5)),
            // It has a session of its own, and a child who has one, too.
            (8, stat(7, 8)),
            (9, stat(8, 9)),
            (10, stat(1, 9)),
            // Nobody's.
            (11, stat(1, 11)),
        ]);
        let family: Vec<i32> = family(5, &all).into_keys().collect();
        assert_eq!(family, [5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_name_may_have_anything_in_it() {
        let rest = "S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99 0 0";
        let stat = Stat {
            parent: 3,
            session: 5,
            start: 99,
        };
        assert_eq!(parse(&format!("7 (a) b) {rest}")), Some(stat));
        assert_eq!(parse(&format!("7 (a) {}", rest.replace('S', "Z"))), None);
        let own = Processes::open().and_then(|it| it.all());
        assert!(
            own.unwrap()
                .contains_key(&rustix::process::getpid().as_raw_nonzero().get())
        );
    }
}
