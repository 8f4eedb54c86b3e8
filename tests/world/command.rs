//! Commands of a world: run to their end, or driven while they run.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::World;
use super::image;

/// What one command may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A command that has not been started yet.
#[must_use]
pub struct Cmd<'w> {
    world: &'w World,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
}

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Done {
    line: String,
    /// Exit code, or 128 and the signal that ended it.
    pub code: i32,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

impl<'w> Cmd<'w> {
    pub(super) fn new(world: &'w World, program: &Path) -> Self {
        Self {
            world,
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
        }
    }

    /// A further argument. `IMAGE` and its like stand for the test images.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        let arg = arg.as_ref();
        let name = arg.to_str().and_then(image::name);
        self.args.push(name.map_or(arg.to_owned(), OsString::from));
        self
    }

    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, |cmd, arg| cmd.arg(arg))
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// What it reads; nothing else is at its stdin.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The process, with the world's mark and environment. `before` is put in
    /// front of the command line.
    pub(super) fn command(&self, before: &[&str]) -> Command {
        let world = self.world;
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--rttime={}:", world.mark))
            .arg("--")
            .args(before)
            .arg(&self.program)
            .args(&self.args)
            .env_clear()
            .env("HOME", world.home())
            .env("XDG_RUNTIME_DIR", world.runtime())
            .env("PATH", path())
            .env("LANG", "C.UTF-8")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(world.home());
        command
    }

    pub(super) fn line(&self) -> String {
        let words = std::iter::once(self.program.file_name().unwrap_or_default())
            .chain(self.args.iter().map(OsString::as_os_str));
        words
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Starts it, to be driven.
    pub fn spawn(&self) -> Running {
        let mut child = self
            .command(&[])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.line()));
        Running {
            line: self.line(),
            stdin: child.stdin.take(),
            out: Stream::of(child.stdout.take().unwrap()),
            err: Stream::of(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Starts it with a stdout that nobody reads but the caller.
    pub fn unread(&self) -> Child {
        let mut command = self.command(&[]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs it to its end.
    pub fn run(&self) -> Done {
        let mut running = self.spawn();
        let mut stdin = running.stdin.take().unwrap();
        let input = self.stdin.clone();
        // It may leave without reading all.
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let done = running.wait();
        drop(writer);
        for word in done.stdout().split_whitespace() {
            if word.len() == 64 && coracle::id::is_hex(word) {
                self.world.see(word);
            }
        }
        done
    }

    /// Runs it; it must succeed.
    pub fn ok(&self) -> Done {
        self.fails(0)
    }

    /// Runs it; it must leave with `code`.
    pub fn fails(&self, code: i32) -> Done {
        let done = self.run();
        assert!(
            done.code == code,
            "`{}` left with {} and not with {code}\nstdout: {}\nstderr: {}",
            done.line,
            done.code,
            done.stdout(),
            done.stderr()
        );
        done
    }

    /// What it prints when it succeeds, without the last line's end.
    pub fn stdout(&self) -> String {
        self.ok().stdout().trim_end_matches('\n').to_owned()
    }
}

impl Done {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// stderr must have `words` in it.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(
            self.stderr().contains(words),
            "`{}` does not say {words:?}\nstderr: {}",
            self.line,
            self.stderr()
        );
        self
    }
}

/// A command that runs.
pub struct Running {
    line: String,
    child: Child,
    pub stdin: Option<ChildStdin>,
    out: Stream,
    err: Stream,
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits until stdout has `text`.
    #[track_caller]
    pub fn prints(&self, text: &str) {
        self.out.wait_for(text.as_bytes(), 0, &self.line);
    }

    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end, and for the end of its stdout and stderr: nothing that
    /// outlives it may hold them.
    #[track_caller]
    pub fn wait(mut self) -> Done {
        let status = wait(&mut self.child, &self.line);
        let end = Instant::now() + PATIENCE;
        let Some((out, err)) = self.out.end(end).zip(self.err.end(end)) else {
            panic!("`{}` has ended, but something holds its stdout", self.line);
        };
        Done {
            line: self.line,
            code: code(status),
            out,
            err,
        }
    }
}

/// Waits for a child; one that hangs is killed and fails the test.
#[track_caller]
pub(super) fn wait(child: &mut Child, line: &str) -> ExitStatus {
    let pidfd = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    if !readable(&pidfd, PATIENCE) {
        let _ = child.kill();
        let _ = child.wait();
        panic!("`{line}` has not ended after {PATIENCE:?}");
    }
    child.wait().unwrap()
}

pub(super) fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let signal = || 128 + status.signal().unwrap_or(0);
    status.code().unwrap_or_else(signal)
}

/// Waits until `fd` can be read; false if that takes longer than `patience`.
pub fn readable(fd: impl AsFd, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        let timeout = rest.try_into().expect("patience is short");
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.unwrap() > 0,
        }
    }
}

/// PATH with the tested program first.
fn path() -> OsString {
    let mut path = OsString::from(super::binary().parent().unwrap());
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

/// What has been read, whether it has ended, and who waits for more.
type Shared = (Mutex<(Vec<u8>, bool)>, Condvar);

/// Bytes that a thread reads as they come.
#[derive(Clone)]
pub(super) struct Stream {
    state: Arc<Shared>,
}

impl Stream {
    pub(super) fn of(mut from: impl Read + Send + 'static) -> Self {
        let stream = Self {
            state: Arc::default(),
        };
        let state = Arc::clone(&stream.state);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                // A pty whose other end is closed reads as EIO.
                let read = from.read(&mut buffer).unwrap_or(0);
                let (lock, change) = &*state;
                let mut state = lock.lock().unwrap();
                state.0.extend(&buffer[..read]);
                state.1 = read == 0;
                change.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        stream
    }

    /// Waits for `text` at or after `from`; gives the place behind it.
    #[track_caller]
    pub(super) fn wait_for(&self, text: &[u8], from: usize, line: &str) -> usize {
        let end = Instant::now() + PATIENCE;
        let (lock, change) = &*self.state;
        let mut state = lock.lock().unwrap();
        loop {
            let rest = &state.0[from.min(state.0.len())..];
            if let Some(at) = rest.windows(text.len()).position(|it| it == text) {
                return from + at + text.len();
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                let all = String::from_utf8_lossy(rest).into_owned();
                drop(state);
                panic!(
                    "`{line}` has not printed {:?} but {all:?}",
                    String::from_utf8_lossy(text)
                );
            }
            state = change.wait_timeout(state, left).unwrap().0;
        }
    }

    /// What has been read at these places.
    pub(super) fn between(&self, from: usize, to: usize) -> Vec<u8> {
        self.state.0.lock().unwrap().0[from..to].to_vec()
    }

    /// All there is, once it has ended.
    pub(super) fn end(&self, end: Instant) -> Option<Vec<u8>> {
        let (lock, change) = &*self.state;
        let mut state = lock.lock().unwrap();
        while !state.1 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = change.wait_timeout(state, left).unwrap().0;
        }
        Some(state.0.clone())
    }
}
