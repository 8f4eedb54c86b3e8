//! Stages that do not depend on each other, side by side.
//!
//! ```text
//! build ── fork ──► worker of a stage      what is said, then what the stage came to
//!   ▲                 │
//!   └──── stream ─────┘  answered by one byte: layers and steps are taken over
//! ```
//!
//! A report is its length, a byte that says its kind, and JSON or, of what a step prints,
//! whose it is and the bytes as they are.
//!
//! A worker is a process of its own, as containers are started by forking, which a program
//! of several threads must not do. It makes layers in the build's staging folder; nothing is
//! published, or remembered, by anybody but the build itself.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::{State, Work};
use crate::build::cache::Fresh;
use crate::build::cache::remote::Offer;
use crate::build::{Failure, Said};
use crate::error::{Context, Error, Result};
use crate::sys::process::{self, Fork, Process};

/// How often time is said to have passed: ten times a second.
const BEAT: i64 = 100_000_000;

/// A stage at work.
struct Worker {
    number: usize,
    process: Process,
    stream: UnixStream,
}

/// A worker to the build.
#[derive(Serialize, Deserialize)]
enum Report {
    Said(Said),
    Ended(Box<Ended>),
}

/// Kinds of reports: JSON, and what a step has printed to either stream.
const PLAIN: u8 = 0;
const PRINTED: [u8; 2] = [1, 2];

impl Report {
    /// Sends it.
    fn send(&self, mut to: impl Write) -> Result<()> {
        let (kind, head, bytes) = match self {
            Self::Said(Said::Printed {
                stage,
                is_error,
                bytes,
            }) => {
                let head = (*stage as u64).to_le_bytes().to_vec();
                (PRINTED[usize::from(*is_error)], head, bytes.as_slice())
            }
            report => (PLAIN, serde_json::to_vec(report)?, &[][..]),
        };
        let length = (head.len() + bytes.len()) as u64;
        let mut whole = Vec::with_capacity(9 + head.len() + bytes.len());
        whole.extend(length.to_le_bytes());
        whole.push(kind);
        whole.extend(head);
        whole.extend(bytes);
        Ok(to.write_all(&whole)?)
    }

    /// The next that comes; none at the end.
    fn receive(mut from: impl Read) -> Result<Option<Self>> {
        let mut head = [0; 9];
        if let Err(error) = from.read_exact(&mut head) {
            return match error.kind() {
                std::io::ErrorKind::UnexpectedEof => Ok(None),
                _ => Err(error.into()),
            };
        }
        let (length, kind) = head.split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
        let mut bytes = Vec::new();
        from.take(length).read_to_end(&mut bytes)?;
        let Some(stream) = PRINTED.iter().position(|it| *it == kind[0]) else {
            return Ok(Some(serde_json::from_slice(&bytes)?));
        };
        let cut = || Error::other("a report of a stage is cut short");
        let stage = bytes.first_chunk().ok_or_else(cut)?;
        Ok(Some(Self::Said(Said::Printed {
            stage: u64::from_le_bytes(*stage) as usize,
            is_error: stream == 1,
            bytes: bytes.split_off(8),
        })))
    }
}

/// What a stage came to, and all that its worker knows of it.
#[derive(Serialize, Deserialize)]
struct Ended {
    state: Result<State, Failure>,
    fresh: Fresh,
    offers: Vec<Offer>,
    consumed: BTreeSet<String>,
    warned: BTreeSet<String>,
}

impl Work<'_> {
    /// Does every stage that is needed, so many at the same time as `--jobs` says. What
    /// stages came to that did not fail is kept.
    pub fn beside(&mut self, tell: &mut dyn FnMut(Said)) -> Result<(), Failure> {
        let mut workers: Vec<Worker> = Vec::new();
        let mut waiting = self.stages.order.clone();
        let mut failed: Option<Failure> = None;
        loop {
            while failed.is_none()
                && (self.build.jobs == 0 || workers.len() < self.build.jobs)
                && let Some(at) = waiting.iter().position(|number| self.can_begin(*number))
            {
                tell(Said::Flush);
                workers.push(self.worker(waiting.remove(at))?);
            }
            if workers.is_empty() {
                break;
            }
            tell(Said::Flush);
            let ready = ready(self.engine.signals(), &workers, self.build.beats)?;
            if failed.is_none()
                && let Err(error) = self.engine.interrupted()
            {
                failed = Some(error.into());
                end(&workers);
            }
            if ready.is_empty() {
                tell(Said::Time);
            }
            for at in ready.into_iter().rev() {
                let worker = &mut workers[at];
                let ended = match Report::receive(&worker.stream) {
                    Ok(Some(Report::Said(said))) => {
                        tell(said);
                        continue;
                    }
                    Ok(Some(Report::Ended(ended))) => Some(ended),
                    Ok(None) | Err(_) => None,
                };
                let worker = workers.swap_remove(at);
                let outcome = match ended {
                    Some(ended) => self.take_over(worker, *ended),
                    None => Err(worker.gone()),
                };
                if let Err(failure) = outcome
                    && failed.is_none()
                {
                    // What others are at is given up; what they have done stays.
                    end(&workers);
                    failed = Some(failure);
                }
            }
        }
        match failed {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn can_begin(&self, number: usize) -> bool {
        let needs = self.stages.needs(&self.stages.all[number]);
        // What a stage may need and nobody builds is for the step to say.
        let mut needed = needs.iter().filter(|it| self.stages.order.contains(it));
        needed.all(|it| self.done.contains_key(it))
    }

    /// Forks a worker for a stage.
    fn worker(&mut self, number: usize) -> Result<Worker> {
        let (ours, theirs) = UnixStream::pair().tried(|| "make a socket pair")?;
        match process::fork(self.engine.thread)? {
            Fork::Parent(process) => Ok(Worker {
                number,
                process,
                stream: ours,
            }),
            Fork::Child => {
                process::die_with_parent(libc::SIGKILL);
                self.offers.clear();
                drop(ours);
                self.work_as(number, theirs)
            }
        }
    }

    /// The worker's life.
    fn work_as(&mut self, number: usize, stream: UnixStream) -> ! {
        let say = |report: &Report| {
            // Without a build there is nothing to work for.
            if report.send(&stream).is_err() {
                process::exit_now(1);
            }
        };
        self.at = number;
        let stage = &self.stages.all[number];
        let is_last = self.stages.order.last() == Some(&number);
        let state = self.stage(stage, is_last, &mut |said| match said {
            Said::Flush => {}
            said => say(&Report::Said(said)),
        });
        if let Some((_, memory)) = self.context.take() {
            memory.save();
        }
        say(&Report::Ended(Box::new(Ended {
            state,
            fresh: self.cache.give_fresh(),
            offers: std::mem::take(&mut self.offers),
            consumed: std::mem::take(&mut self.consumed),
            warned: std::mem::take(&mut self.warned),
        })));
        // Its locks are held until the build has its own.
        let _ = (&stream).read(&mut [0]);
        process::exit_now(0)
    }

    fn take_over(&mut self, worker: Worker, ended: Ended) -> Result<(), Failure> {
        self.cache.take_fresh(ended.fresh);
        self.offers.extend(ended.offers);
        self.consumed.extend(ended.consumed);
        self.warned.extend(ended.warned);
        let held = ended.state.and_then(|state| {
            self.hold(&state)?;
            self.done.insert(worker.number, state);
            Ok(())
        });
        let _ = (&worker.stream).write_all(&[1]);
        let _ = worker.process.reap();
        held
    }
}

impl Worker {
    /// Why one that said nothing of its end has ended.
    fn gone(self) -> Failure {
        let _ = self.process.reap();
        Failure::Other(Error::other(format!(
            "the process that built stage {} was killed",
            self.number + 1
        )))
    }
}

/// Which workers have something to say; none if a signal has come or, with `beats`, a tenth
/// of a second has passed.
fn ready(signals: Option<BorrowedFd<'_>>, workers: &[Worker], beats: bool) -> Result<Vec<usize>> {
    let streams = workers.iter().map(|worker| worker.stream.as_fd());
    let mut fds: Vec<PollFd<'_>> = (streams.chain(signals))
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    let beat = Timespec {
        tv_sec: 0,
        tv_nsec: BEAT,
    };
    match poll(&mut fds, beats.then_some(&beat)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let workers = fds.iter().take(workers.len()).enumerate();
    let ready = workers.filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(at, _)| at).collect())
}

/// Asks them to give up what they are at.
fn end(workers: &[Worker]) {
    for worker in workers {
        let _ = worker.process.signal(libc::SIGTERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let printed = |is_error, bytes: &[u8]| {
            Report::Said(Said::Printed {
                stage: 7,
                is_error,
                bytes: bytes.to_vec(),
            })
        };
        let all = [
            printed(false, b"\0\xff\n"),
            Report::Said(Said::Line("a line".to_owned())),
            printed(true, b""),
        ];
        let mut sent = Vec::new();
        for report in &all {
            report.send(&mut sent).unwrap();
        }
        let text = |report: &Report| serde_json::to_string(report).unwrap();
        let mut rest = sent.as_slice();
        for report in &all {
            assert_eq!(
                text(&Report::receive(&mut rest).unwrap().unwrap()),
                text(report)
            );
        }
        assert!(Report::receive(&mut rest).unwrap().is_none());
        // One that is cut short is an error, or none.
        for end in 0..sent.len() {
            let mut rest = &sent[..end];
            while let Ok(Some(_)) = Report::receive(&mut rest) {}
        }
    }
}
