//! Carrying bytes, signals and window sizes between a terminal and a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::SpliceFlags;

use super::start::Streams;
use super::{Container, State, events};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::monitor::protocol::{Event, Request, SOCKET, hear, say};
use crate::sys::{Process, file, pty, signal, socket};

/// Bytes carried at once.
const CHUNK: usize = 64 * 1024;

/// Which streams a client wants and how it wants them carried.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The container has a pty: our terminal goes raw if it is one.
    pub tty: bool,
    /// Typed in a row they leave the container running; empty: none do.
    pub detach_keys: Vec<u8>,
    /// Signals sent to us go to the container.
    pub sig_proxy: bool,
}

/// Our ends of the pipes.
pub struct Pipes {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    signals: OwnedFd,
}

/// How carrying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Exited(i32),
    /// The detach keys were typed.
    Detached,
    /// Nobody said how: the monitor was killed.
    Lost,
    /// Whoever read our stdout or stderr has left; the container runs on.
    Unread,
}

/// Makes the pipes: ours, and the other ends. Signals are held back from now on,
/// so that none is lost while a container starts.
pub fn pipes(wanted: &Wanted) -> Result<(Pipes, Streams)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).tried(|| "make a pipe");
    let input = if wanted.stdin { Some(pipe()?) } else { None };
    let output = if wanted.stdout { Some(pipe()?) } else { None };
    let error = if wanted.stderr { Some(pipe()?) } else { None };
    let (theirs_in, ours_in) = input.unzip();
    if let Some(input) = &ours_in {
        file::set_nonblocking(input, true)?;
    }
    let (ours_out, theirs_out) = output.unzip();
    let (ours_err, theirs_err) = error.unzip();
    let signals = signal::descriptor(&watched(wanted)).tried(|| "watch signals")?;
    Ok((
        Pipes {
            stdin: ours_in,
            stdout: ours_out,
            stderr: ours_err,
            signals,
        },
        Streams {
            stdin: theirs_in,
            stdout: theirs_out,
            stderr: theirs_err,
        },
    ))
}

impl Pipes {
    /// Our ends of what is printed.
    pub fn outputs(self) -> Vec<OwnedFd> {
        self.stdout.into_iter().chain(self.stderr).collect()
    }

    /// The same with a pty's master in the place of every pipe.
    pub fn through(self, master: &OwnedFd) -> Result<Self> {
        Ok(Self {
            stdin: self.stdin.map(|_| master.try_clone()).transpose()?,
            stdout: Some(master.try_clone()?),
            stderr: None,
            signals: self.signals,
        })
    }
}

/// The signals that go to the container (all that Podman proxies) and SIGWINCH.
fn watched(wanted: &Wanted) -> Vec<i32> {
    let kept = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGCHLD,
        libc::SIGPIPE,
        libc::SIGURG,
    ];
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    (1..=64)
        .filter(|signal| *signal == libc::SIGWINCH || wanted.sig_proxy)
        .filter(|signal| {
            !kept.contains(signal) && !faults.contains(signal) && !(32..34).contains(signal)
        })
        .collect()
}

/// The size of the caller's window, if there is a terminal.
pub fn window() -> Option<(u16, u16)> {
    let stdin = std::io::stdin();
    let stdout = std::io::stdout();
    let size = pty::size(stdout.as_fd())
        .or_else(|_| pty::size(stdin.as_fd()))
        .ok()?;
    Some((size.ws_row, size.ws_col))
}

/// Attaches to a container that runs and carries until it ends or we leave. One
/// whose init waits is let go.
pub fn attach(engine: &Engine, container: &Container, wanted: &Wanted) -> Result<Outcome> {
    let options = &container.record.options;
    if options.log.driver.is_passthrough() && !options.tty {
        return Err(Error::usage(format!(
            "attaching to container {}: this container is using the '{}' log driver, cannot attach: this container is not logging output",
            container.record.id,
            options.log.driver.name()
        )));
    }
    let control = socket::connect(
        &engine.storage.container_runtime(&container.record.id),
        SOCKET,
    )
    .tried(|| format!("attach to container {}", container.record.id.short()))?;
    let (ours, theirs) = pipes(wanted)?;
    let fds: Vec<BorrowedFd<'_>> = [&theirs.stdin, &theirs.stdout, &theirs.stderr]
        .into_iter()
        .flatten()
        .map(AsFd::as_fd)
        .collect();
    let request = Request::Attach {
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    say(&control, &request, &fds)?;
    events::note(&engine.storage, &container.record, "attach");
    drop(theirs);
    if container.status.state == State::Initialized {
        say(&control, &Request::Start, &[])?;
    }
    if wanted.tty
        && let Some((rows, columns)) = window()
    {
        say(&control, &Request::Size { rows, columns }, &[])?;
    }
    Carrier::new(Peer::Monitor(control), ours, wanted)?.carry()
}

/// What is at the other end of the pipes.
pub enum Peer {
    /// A monitor, spoken to over its socket. Its end is the end.
    Monitor(OwnedFd),
    /// A process of our own (`exec`), with the master of its pty if it has one.
    Child(Process, Option<OwnedFd>),
}

/// Bytes between our standard streams and a peer.
pub struct Carrier<'a> {
    peer: Peer,
    pipes: Pipes,
    wanted: &'a Wanted,
    keys: Keys,
    /// Puts the terminal back when carrying ends.
    _raw: Option<pty::Raw>,
}

impl<'a> Carrier<'a> {
    /// Puts our terminal into raw mode if the container has a pty.
    pub fn new(peer: Peer, pipes: Pipes, wanted: &'a Wanted) -> Result<Self> {
        let stdin = std::io::stdin();
        let raw = if wanted.tty && wanted.stdin && pty::isatty(&stdin) {
            Some(pty::raw(stdin.as_fd()).tried(|| "put the terminal into raw mode")?)
        } else {
            None
        };
        let keys = Keys {
            wanted: if wanted.tty {
                wanted.detach_keys.clone()
            } else {
                Vec::new()
            },
            seen: 0,
        };
        Ok(Self {
            peer,
            pipes,
            wanted,
            keys,
            _raw: raw,
        })
    }

    /// Carries until the container has ended, or the detach keys are typed.
    pub fn carry(mut self) -> Result<Outcome> {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let mut reads_stdin = self.pipes.stdin.is_some();
        let mut pending = Vec::new();
        let mut code = None;
        // A stdout that takes nothing now is waited for instead of its source.
        let mut blocked = [false, false];
        let mut peer_gone = false;
        while !(peer_gone && self.is_drained()) {
            #[derive(Clone, Copy, PartialEq)]
            enum Who {
                Signals,
                Peer,
                Stdin,
                Input,
                Output(usize),
            }
            let mut who = Vec::with_capacity(6);
            let mut fds = Vec::with_capacity(6);
            let mut add = |what, fd, flags| {
                who.push(what);
                fds.push(PollFd::from_borrowed_fd(fd, flags));
            };
            add(Who::Signals, self.pipes.signals.as_fd(), PollFlags::IN);
            if !peer_gone {
                let fd = match &self.peer {
                    Peer::Monitor(control) => control.as_fd(),
                    Peer::Child(process, _) => process.as_fd(),
                };
                add(Who::Peer, fd, PollFlags::IN);
            }
            if reads_stdin && pending.is_empty() {
                add(Who::Stdin, stdin.as_fd(), PollFlags::IN);
            }
            if let Some(input) = &self.pipes.stdin {
                // With nothing to write only its end is of interest (POLLERR).
                let flags = if pending.is_empty() {
                    PollFlags::empty()
                } else {
                    PollFlags::OUT
                };
                add(Who::Input, input.as_fd(), flags);
            }
            let ours = [stdout.as_fd(), stderr.as_fd()];
            for (at, source) in [&self.pipes.stdout, &self.pipes.stderr]
                .into_iter()
                .enumerate()
            {
                if let Some(source) = source {
                    if blocked[at] {
                        add(Who::Output(at), ours[at], PollFlags::OUT);
                    } else {
                        add(Who::Output(at), source.as_fd(), PollFlags::IN);
                    }
                }
            }
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<Who> = fds
                .iter()
                .zip(&who)
                .filter(|(fd, _)| !fd.revents().is_empty())
                .map(|(_, &who)| who)
                .collect();
            drop(fds);
            for who in ready {
                match who {
                    Who::Signals => self.pass_signal(),
                    Who::Peer => {
                        let (said, gone) = self.hear()?;
                        code = said.or(code);
                        peer_gone |= gone;
                        if said.is_some() || gone {
                            reads_stdin = false;
                        }
                    }
                    Who::Stdin => match self.take_input(&stdin.as_fd(), &mut pending) {
                        Input::Some => {}
                        Input::End => {
                            reads_stdin = false;
                            if let Peer::Monitor(control) = &self.peer {
                                let _ = say(control, &Request::StdinEnds, &[]);
                            }
                            self.pipes.stdin = None;
                        }
                        Input::Detach => return Ok(Outcome::Detached),
                    },
                    Who::Input => {
                        if !self.pass_input(&mut pending) {
                            self.pipes.stdin = None;
                            reads_stdin = false;
                        }
                    }
                    Who::Output(at) => {
                        let source = if at == 0 {
                            &mut self.pipes.stdout
                        } else {
                            &mut self.pipes.stderr
                        };
                        let Some(fd) = &*source else { continue };
                        match transfer(fd, ours[at]) {
                            Moved::Some => blocked[at] = false,
                            Moved::Blocked => blocked[at] = true,
                            Moved::End => *source = None,
                            Moved::Unread => return Ok(Outcome::Unread),
                        }
                    }
                }
            }
        }
        Ok(code.map_or(Outcome::Lost, Outcome::Exited))
    }

    /// Whether no more will come once the peer is gone. A monitor closes the pipes;
    /// those of an `exec` may be held open by what it left in the background.
    fn is_drained(&self) -> bool {
        let outputs = [&self.pipes.stdout, &self.pipes.stderr];
        let mut open = outputs.into_iter().flatten();
        match &self.peer {
            Peer::Monitor(_) => open.next().is_none(),
            Peer::Child(..) => !open.any(has_bytes),
        }
    }

    /// What the peer says: an exit code, and whether that was its last word.
    fn hear(&mut self) -> Result<(Option<i32>, bool)> {
        match &self.peer {
            Peer::Monitor(control) => match hear::<Event>(control) {
                Ok(Some((Event::Exited { code }, _))) => Ok((Some(code), false)),
                Ok(Some((Event::Failed(error), _))) => Err(error),
                Ok(Some(_)) => Ok((None, false)),
                Ok(None) | Err(_) => Ok((None, true)),
            },
            Peer::Child(process, _) => Ok((Some(process.reap()?), true)),
        }
    }

    fn pass_signal(&self) {
        while let Some(number) = signal::next(&self.pipes.signals) {
            if number == libc::SIGWINCH {
                if let (true, Some((rows, columns))) = (self.wanted.tty, window()) {
                    match &self.peer {
                        Peer::Monitor(control) => {
                            let _ = say(control, &Request::Size { rows, columns }, &[]);
                        }
                        Peer::Child(_, Some(master)) => {
                            let _ = pty::set_size(master, rows, columns);
                        }
                        Peer::Child(_, None) => {}
                    }
                }
                continue;
            }
            match &self.peer {
                Peer::Monitor(control) => {
                    let _ = say(control, &Request::Signal(number), &[]);
                }
                Peer::Child(process, _) => {
                    let _ = process.signal(number);
                }
            }
        }
    }

    fn take_input(&mut self, stdin: &BorrowedFd<'_>, pending: &mut Vec<u8>) -> Input {
        let mut chunk = [0; CHUNK];
        match rustix::io::read(stdin, &mut chunk) {
            Ok(0) => Input::End,
            Ok(length) => {
                let detach = self.keys.filter(&chunk[..length], pending);
                self.pass_input(pending);
                if detach { Input::Detach } else { Input::Some }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Input::Some,
            Err(_) => Input::End,
        }
    }

    /// Writes what the pipe takes now. Whether anybody still reads it.
    fn pass_input(&self, pending: &mut Vec<u8>) -> bool {
        let Some(input) = &self.pipes.stdin else {
            return false;
        };
        if pending.is_empty() {
            return false;
        }
        match rustix::io::write(input, pending) {
            Ok(written) => {
                pending.drain(..written);
                true
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => true,
            Err(_) => {
                pending.clear();
                false
            }
        }
    }
}

enum Input {
    Some,
    End,
    Detach,
}

/// What became of a try to move bytes.
enum Moved {
    Some,
    Blocked,
    End,
    /// Nobody reads what we write.
    Unread,
}

/// Moves what `from` holds to `to`, without a copy where the kernel can.
fn transfer(from: &OwnedFd, to: BorrowedFd<'_>) -> Moved {
    use rustix::io::Errno;
    match rustix::pipe::splice(
        from,
        None,
        to,
        None,
        16 * CHUNK,
        SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
    ) {
        Ok(0) => return Moved::End,
        Ok(_) | Err(Errno::INTR) => return Moved::Some,
        Err(Errno::AGAIN) => {
            return if has_bytes(from) {
                Moved::Blocked
            } else {
                Moved::Some
            };
        }
        Err(Errno::INVAL) => {}
        Err(Errno::PIPE) => return Moved::Unread,
        Err(_) => return Moved::End,
    }
    let mut chunk = [0; CHUNK];
    let length = match rustix::io::read(from, &mut chunk) {
        Ok(0) => return Moved::End,
        Ok(length) => length,
        Err(Errno::INTR | Errno::AGAIN) => return Moved::Some,
        Err(_) => return Moved::End,
    };
    let mut rest = &chunk[..length];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                let _ = poll(&mut fds, None);
            }
            Err(Errno::PIPE) => return Moved::Unread,
            Err(_) => return Moved::End,
        }
    }
    Moved::Some
}

fn has_bytes(pipe: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Watches for the detach keys among what is typed.
struct Keys {
    wanted: Vec<u8>,
    seen: usize,
}

impl Keys {
    /// Passes `typed` on to `out`, but for the detach keys; whether they came whole.
    fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        if self.wanted.is_empty() {
            out.extend_from_slice(typed);
            return false;
        }
        for &byte in typed {
            if byte == self.wanted[self.seen] {
                self.seen += 1;
                if self.seen == self.wanted.len() {
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&self.wanted[..self.seen]);
            self.seen = usize::from(byte == self.wanted[0]);
            if self.seen == 0 {
                out.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_across_reads_and_others_pass() {
        let mut keys = Keys {
            wanted: vec![16, 17],
            seen: 0,
        };
        let mut out = Vec::new();
        assert!(!keys.filter(b"ab\x10", &mut out));
        assert!(!keys.filter(b"c\x10\x10", &mut out));
        assert!(keys.filter(b"\x11", &mut out));
        assert_eq!(out, b"ab\x10c\x10");
    }
}
