//! The loop: bytes, requests, deadlines, until the init has ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::log::{Log, Stream};
use super::protocol::{Event, Request, hear, say};
use crate::error::Result;
use crate::sys::{Process, file, memory, pty, socket};

/// Bytes of one stream that are on their way at once: as many as a pipe holds.
const BUFFER: usize = 64 * 1024;

/// How long a client that takes nothing is waited for once the container has been
/// stopped.
const STUCK: Duration = Duration::from_secs(1);

/// When a container is not one of those that end at once, and its monitor needs no more
/// memory than to wait: what it gives back sooner it needs again to end.
const SETTLED: Duration = Duration::from_millis(500);

/// The code of a container that has run longer than `--timeout`, as with Podman.
const LATE: i32 = -1;

/// The init's own ends, as the monitor holds them.
pub enum Terminal {
    /// The master of its pty.
    Pty(OwnedFd),
    /// The pipes of its streams; a missing one is /dev/null.
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    },
}

/// Somebody at the control socket.
pub struct Client {
    control: OwnedFd,
    stdin: Option<OwnedFd>,
    /// It has said that no more stdin comes once the pipe is empty.
    stdin_ends: bool,
    outputs: [Option<OwnedFd>; 2],
    /// How much of each output's buffer it has taken.
    taken: [usize; 2],
    gone: bool,
    /// The container is to end when it is gone.
    is_bound: bool,
    /// It carries what this life prints, and leaves with it.
    attached: bool,
}

impl Client {
    pub fn new(control: OwnedFd) -> Self {
        Self {
            control,
            stdin: None,
            stdin_ends: false,
            outputs: [None, None],
            taken: [0, 0],
            gone: false,
            is_bound: false,
            attached: false,
        }
    }

    /// The same; with `is_bound`, the container ends when it is gone.
    pub fn bound(self, is_bound: bool) -> Self {
        Self { is_bound, ..self }
    }

    /// Whether it came for the streams.
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// Says something; a client that is gone hears nothing, which is no error.
    pub fn say(&self, event: &Event) {
        let _ = say(&self.control, event, &[]);
    }

    pub fn control(&self) -> &OwnedFd {
        &self.control
    }

    /// Whether there is something to be heard from it.
    pub fn has_said(&self) -> bool {
        is_readable(&[&self.control])
    }

    /// Connects the pipes of an `Attach`.
    pub fn attach(&mut self, request: &Request, fds: Vec<OwnedFd>) {
        let Request::Attach {
            stdin,
            stdout,
            stderr,
        } = *request
        else {
            return;
        };
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| {
            let fd = if wanted { fds.next() } else { None };
            fd.filter(|fd| file::set_nonblocking(fd, true).is_ok())
        };
        self.stdin = next(stdin);
        self.outputs = [next(stdout), next(stderr)];
        self.stdin_ends = false;
        self.attached = true;
        // Bytes read before it came are not for it.
        self.taken = [usize::MAX, usize::MAX];
    }
}

/// One of the init's outputs.
struct Source {
    fd: OwnedFd,
    stream: Stream,
    /// Made when there is something to read.
    buffer: Vec<u8>,
    filled: usize,
}

/// How an init has ended and what was asked for meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    pub code: i32,
    /// `stop`, `rm` or a signal sent through us ended it: no restart.
    pub stopped_by_user: bool,
    /// `restart` ended it, and starts it next.
    pub starts_again: bool,
    /// A health check ended it: it is started again.
    pub restarts: bool,
    /// `rm -f`: remove it now; `true`: its anonymous volumes too.
    pub remove: Option<bool>,
}

/// Something that is done again and again beside the init, each time by a process of
/// its own.
pub trait Ticker {
    /// The init runs from now on.
    fn started(&mut self);

    /// What it goes by may be another.
    fn changed(&mut self);

    /// When it is to be done next; none while it is being done.
    fn due(&self) -> Option<Instant>;

    /// Does it.
    fn begin(&mut self);

    /// The process that does it, which is readable once it has ended.
    fn running(&self) -> Option<BorrowedFd<'_>>;

    /// It has ended: what comes of it.
    fn end(&mut self) -> Verdict;
}

/// What a [`Ticker`] wants of the init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Nothing,
    Kill,
    Stop,
    /// Stop it, and start it again whatever the policy.
    Restart,
}

/// What one start of a container needs watched.
pub struct Supervisor<'a> {
    pub init: &'a Process,
    pub terminal: Terminal,
    pub listener: &'a OwnedFd,
    pub clients: &'a mut Vec<Client>,
    pub log: &'a mut Log,
    /// `stop`'s default signal and seconds.
    pub stop_signal: i32,
    pub stop_timeout: u32,
    /// `--timeout`: when it must have ended.
    pub deadline: Option<Instant>,
    /// The health checks.
    pub ticker: &'a mut dyn Ticker,
    /// Lets the init go when a client asks; none once it is gone.
    pub release: Option<Box<dyn FnOnce() -> Result<()> + 'a>>,
    /// What else is to be listened to, and what to do when it speaks.
    pub listens: Option<(BorrowedFd<'a>, &'a dyn Fn())>,
}

/// What a poll entry is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Init,
    Listener,
    Other,
    Ticker,
    Source(usize),
    Input,
    Control(usize),
    ClientStdin(usize),
    ClientOutput(usize, usize),
}

impl Supervisor<'_> {
    /// Carries bytes and does what clients ask until the init has ended and all
    /// it printed is on its way. Reaps it.
    pub fn run(mut self) -> io::Result<Ended> {
        let mut ended = Ended::default();
        let (mut sources, mut input) = self.split()?;
        let mut pending = Pending::default();
        let mut kill_at: Option<Instant> = None;
        let mut is_late = false;
        let mut over = false;
        // Who stopped the container does not wait for who reads it.
        let mut give_up: Option<Instant> = None;
        let mut settles = Some(Instant::now() + SETTLED);
        if self.release.is_none() {
            self.ticker.started();
        }
        loop {
            if !over && self.ticker.due().is_some_and(|at| Instant::now() >= at) {
                self.ticker.begin();
            }
            if !over && settles.is_some_and(|at| Instant::now() >= at) {
                settles = None;
                memory::give_back();
            }
            if over && ended.stopped_by_user {
                let at = *give_up.get_or_insert_with(|| Instant::now() + STUCK);
                if Instant::now() >= at {
                    for client in self.clients.iter_mut() {
                        client.outputs = [None, None];
                    }
                    for source in &mut sources {
                        source.filled = 0;
                    }
                }
            }
            if over
                && sources.iter().all(|source| source.filled == 0)
                && !is_readable(&sources.iter().map(|source| &source.fd).collect::<Vec<_>>())
            {
                break;
            }
            let next = [kill_at, self.deadline, self.ticker.due(), settles];
            let next = next.into_iter().flatten().min();
            let wait = if over { give_up } else { next }
                .map(|at| at.saturating_duration_since(Instant::now()));
            let ready = self.wait(&sources, input.as_ref(), &pending, over, wait)?;
            if !over && self.deadline.is_some_and(|at| Instant::now() >= at) {
                self.deadline = None;
                // What has ended by then is in time.
                is_late = !self.init.wait_ended(Some(Duration::ZERO))?;
                let _ = self.init.signal(libc::SIGKILL);
            }
            if !over && kill_at.is_some_and(|at| Instant::now() >= at) {
                kill_at = None;
                let _ = self.init.signal(libc::SIGKILL);
            }
            // Requests first, so that StdinEnds is known before the pipe's end is.
            for who in ready
                .iter()
                .filter(|who| matches!(who, Who::Control(_) | Who::Listener))
            {
                match *who {
                    Who::Listener => {
                        if let Ok(control) = socket::accept(self.listener.as_fd()) {
                            self.clients.push(Client::new(control));
                        }
                    }
                    Who::Control(at) => {
                        if let Some(seconds) = self.request(at, &mut ended) {
                            let at = Instant::now() + Duration::from_secs(seconds.into());
                            kill_at = Some(kill_at.map_or(at, |old| old.min(at)));
                        }
                    }
                    _ => {}
                }
            }
            for who in ready {
                match who {
                    Who::Ticker if !over => {
                        if let Some(seconds) = self.judge(&mut ended) {
                            let at = Instant::now() + Duration::from_secs(seconds.into());
                            kill_at = Some(kill_at.map_or(at, |old| old.min(at)));
                        }
                    }
                    Who::Init if !over => {
                        ended.code = self.init.reap()?;
                        if is_late {
                            ended.code = LATE;
                        }
                        over = true;
                    }
                    Who::Source(at) => self.read(&mut sources, at)?,
                    Who::ClientOutput(client, output) => {
                        if let Some(source) = sources.iter().find(|s| s.stream as usize == output) {
                            give(&mut self.clients[client], source);
                        }
                    }
                    Who::ClientStdin(at) => self.take_input(at, &mut pending, &mut input),
                    Who::Input => pending.flush(&mut input),
                    Who::Other => {
                        if let Some((_, hear)) = self.listens {
                            hear();
                        }
                    }
                    _ => {}
                }
            }
            for source in &mut sources {
                if source.filled > 0 && self.clients.iter().all(|client| client.has_taken(source)) {
                    source.filled = 0;
                }
            }
            self.clients.retain(|client| !client.gone);
        }
        drop(sources);
        self.log.finish();
        for client in self.clients.iter_mut() {
            client.outputs = [None, None];
            client.stdin = None;
            client.say(&Event::Exited { code: ended.code });
        }
        Ok(ended)
    }

    /// The init's outputs and its input.
    fn split(&mut self) -> io::Result<(Vec<Source>, Option<OwnedFd>)> {
        let source = |fd, stream| Source {
            fd,
            stream,
            buffer: Vec::new(),
            filled: 0,
        };
        let ends = std::mem::replace(
            &mut self.terminal,
            Terminal::Pipes {
                stdin: None,
                stdout: None,
                stderr: None,
            },
        );
        match ends {
            Terminal::Pty(master) => {
                file::set_nonblocking(&master, true)?;
                let input = master.try_clone()?;
                // The master stays with us for the window's size.
                self.terminal = Terminal::Pty(master.try_clone()?);
                Ok((vec![source(master, Stream::Stdout)], Some(input)))
            }
            Terminal::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                if let Some(stdin) = &stdin {
                    file::set_nonblocking(stdin, true)?;
                }
                let mut sources = Vec::new();
                for (fd, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
                    if let Some(fd) = fd {
                        file::set_nonblocking(&fd, true)?;
                        sources.push(source(fd, stream));
                    }
                }
                Ok((sources, stdin))
            }
        }
    }

    /// Waits for something to happen and says what can be done now.
    fn wait(
        &self,
        sources: &[Source],
        input: Option<&OwnedFd>,
        pending: &Pending,
        over: bool,
        timeout: Option<Duration>,
    ) -> io::Result<Vec<Who>> {
        let mut who = Vec::with_capacity(8 + self.clients.len() * 2);
        let mut fds = Vec::with_capacity(who.capacity());
        let mut add = |what, fd, flags| {
            who.push(what);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if !over {
            add(Who::Init, self.init.as_fd(), PollFlags::IN);
            if let Some(process) = self.ticker.running() {
                add(Who::Ticker, process, PollFlags::IN);
            }
        }
        add(Who::Listener, self.listener.as_fd(), PollFlags::IN);
        if let (Some((other, _)), false) = (self.listens, over) {
            add(Who::Other, other, PollFlags::IN);
        }
        for (at, source) in sources.iter().enumerate() {
            if source.filled == 0 {
                add(Who::Source(at), source.fd.as_fd(), PollFlags::IN);
            }
        }
        if let Some(input) = input
            && !pending.is_empty()
        {
            add(Who::Input, input.as_fd(), PollFlags::OUT);
        }
        for (at, client) in self.clients.iter().enumerate() {
            add(Who::Control(at), client.control.as_fd(), PollFlags::IN);
            if let Some(stdin) = &client.stdin
                && pending.is_empty()
            {
                add(Who::ClientStdin(at), stdin.as_fd(), PollFlags::IN);
            }
            for source in sources.iter().filter(|source| !client.has_taken(source)) {
                let output = source.stream as usize;
                if let Some(fd) = &client.outputs[output] {
                    add(Who::ClientOutput(at, output), fd.as_fd(), PollFlags::OUT);
                }
            }
        }
        let timeout = timeout.map(|t| Timespec {
            tv_sec: t.as_secs() as i64,
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(fds
            .iter()
            .zip(&who)
            .filter(|(fd, _)| !fd.revents().is_empty())
            .map(|(_, &who)| who)
            .collect())
    }

    /// Takes what an output holds, logs it, and hands it round.
    fn read(&mut self, sources: &mut Vec<Source>, at: usize) -> io::Result<()> {
        let Some(source) = sources.get_mut(at) else {
            return Ok(());
        };
        match fill(&mut source.buffer, &source.fd) {
            Ok(0) | Err(rustix::io::Errno::IO) => {
                let stream = sources.remove(at).stream;
                // With a pty stderr is the same end.
                for client in self.clients.iter_mut() {
                    client.outputs[stream as usize] = None;
                }
            }
            Ok(length) => {
                source.filled = length;
                self.log.write(source.stream, &source.buffer);
                for client in self.clients.iter_mut() {
                    client.taken[source.stream as usize] = 0;
                    give(client, source);
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes what a client types.
    fn take_input(&mut self, at: usize, pending: &mut Pending, input: &mut Option<OwnedFd>) {
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        let Some(stdin) = &client.stdin else { return };
        if !pending.is_empty() {
            return;
        }
        match pending.read(stdin) {
            Ok(0) => {
                client.stdin = None;
                if client.stdin_ends && !matches!(self.terminal, Terminal::Pty(_)) {
                    *input = None;
                }
            }
            Ok(_) => pending.flush(input),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => client.stdin = None,
        }
    }

    /// Does what a client asks. Gives seconds after which SIGKILL is due, if any.
    fn request(&mut self, at: usize, ended: &mut Ended) -> Option<u32> {
        let client = self.clients.get_mut(at)?;
        let Ok(Some((request, fds))) = hear::<Request>(&client.control) else {
            client.gone = true;
            if client.is_bound {
                let _ = self.init.signal(libc::SIGKILL);
            }
            return None;
        };
        match request {
            Request::Attach { .. } => client.attach(&request, fds),
            Request::StdinEnds => client.stdin_ends = true,
            Request::Size { rows, columns } => {
                if let Terminal::Pty(master) = &self.terminal {
                    let _ = pty::set_size(master, rows, columns);
                }
            }
            Request::Signal(signal) => {
                // As Podman: whatever the signal, the end is the user's doing.
                ended.stopped_by_user = true;
                let _ = self.init.signal(signal);
            }
            Request::Stop {
                signal,
                timeout,
                starts_again,
            } => {
                ended.stopped_by_user = true;
                ended.starts_again = starts_again;
                return Some(self.stop(signal, timeout));
            }
            Request::Remove { timeout, volumes } => {
                ended.stopped_by_user = true;
                ended.remove = Some(volumes);
                return Some(self.stop(None, timeout));
            }
            Request::Start => {
                if let Some(release) = self.release.take() {
                    let event = match release() {
                        Ok(()) => {
                            self.ticker.started();
                            Event::Started {
                                pid: self.init.pid(),
                            }
                        }
                        Err(error) => Event::Failed(error),
                    };
                    self.clients[at].say(&event);
                }
            }
            Request::Changed => self.ticker.changed(),
            Request::Watch | Request::Mapped => {}
        }
        None
    }

    /// Does what the health check that has ended wants, as [`Self::request`].
    fn judge(&mut self, ended: &mut Ended) -> Option<u32> {
        match self.ticker.end() {
            Verdict::Nothing => None,
            Verdict::Kill => {
                ended.stopped_by_user = true;
                let _ = self.init.signal(libc::SIGKILL);
                None
            }
            Verdict::Stop => {
                ended.stopped_by_user = true;
                Some(self.stop(None, None))
            }
            Verdict::Restart => {
                ended.restarts = true;
                Some(self.stop(None, None))
            }
        }
    }

    fn stop(&self, signal: Option<i32>, timeout: Option<u32>) -> u32 {
        let timeout = timeout.unwrap_or(self.stop_timeout);
        // Podman with a timeout of 0 does not ask first.
        let signal = if timeout == 0 {
            libc::SIGKILL
        } else {
            signal.unwrap_or(self.stop_signal)
        };
        let _ = self.init.signal(signal);
        timeout
    }
}

impl Client {
    fn has_taken(&self, source: &Source) -> bool {
        let output = source.stream as usize;
        self.gone || self.outputs[output].is_none() || self.taken[output] >= source.filled
    }
}

/// Gives a client what it has not taken of an output, as far as its pipe holds.
fn give(client: &mut Client, source: &Source) {
    let output = source.stream as usize;
    while client.taken[output] < source.filled {
        let Some(fd) = &client.outputs[output] else {
            return;
        };
        match rustix::io::write(fd, &source.buffer[client.taken[output]..source.filled]) {
            Ok(written) => client.taken[output] += written,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return,
            // It has closed this stream: it gets no more of it.
            Err(_) => client.outputs[output] = None,
        }
    }
}

/// Reads what there is into `buffer`, instead of what is in it: so many bytes at most as
/// it holds, [`BUFFER`] the first time.
fn fill(buffer: &mut Vec<u8>, from: &OwnedFd) -> rustix::io::Result<usize> {
    buffer.clear();
    buffer.reserve_exact(BUFFER);
    rustix::io::read(from, rustix::buffer::spare_capacity(buffer))
}

/// Whether any of `fds` can be read now.
fn is_readable(fds: &[&OwnedFd]) -> bool {
    let mut fds: Vec<PollFd<'_>> = (fds.iter())
        .map(|fd| PollFd::new(*fd, PollFlags::IN))
        .collect();
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok() && fds.iter().any(|fd| !fd.revents().is_empty())
}

/// Input on its way to the init.
#[derive(Default)]
struct Pending {
    buffer: Vec<u8>,
    start: usize,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.start >= self.buffer.len()
    }

    fn read(&mut self, from: &OwnedFd) -> rustix::io::Result<usize> {
        self.start = 0;
        fill(&mut self.buffer, from)
    }

    /// Passes on what the init takes now; drops it where the init no longer reads.
    fn flush(&mut self, input: &mut Option<OwnedFd>) {
        while !self.is_empty() {
            let Some(fd) = &*input else {
                self.start = self.buffer.len();
                return;
            };
            match rustix::io::write(fd, &self.buffer[self.start..]) {
                Ok(written) => self.start += written,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => *input = None,
            }
        }
    }
}
