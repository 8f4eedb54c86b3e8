//! Processes: fork, clone, namespaces, pidfds.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Context, Error, Result};

/// Proof that this process has one thread. `fork`, `unshare` and `setns` of a
/// user namespace ask for it: a lock held by another thread at a fork would be
/// held for ever in the child, and the kernel refuses the others (EINVAL).
#[derive(Clone, Copy)]
pub struct SoleThread(PhantomData<*const ()>);

impl SoleThread {
    /// Counts the threads; an error if there is more than this one.
    pub fn take() -> Result<Self> {
        let threads = std::fs::read_dir("/proc/self/task")
            .tried(|| "read /proc/self/task")?
            .count();
        if threads == 1 {
            Ok(Self(PhantomData))
        } else {
            Err(Error::other(format!(
                "{threads} threads run where one must"
            )))
        }
    }
}

/// Sets `NAME=VALUE` in this process's own environment.
pub fn set_variable(_: SoleThread, variable: &str) {
    let Some((name, value)) = variable.split_once('=') else {
        return;
    };
    let is_sayable = !name.is_empty() && !variable.contains('\0');
    if is_sayable {
        // SAFETY: `SoleThread` proves that nobody reads the environment meanwhile.
        unsafe { std::env::set_var(name, value) }
    }
}

/// Runs the test `name` (its full path) once more in a process of its own, where
/// it may fork, change credentials and throw capabilities away: the proof there,
/// `None` here when that went well.
#[cfg(test)]
pub fn alone(name: &str) -> Option<SoleThread> {
    const MARK: &str = "CORACLE_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        // The one other thread is the test harness's, which only waits.
        return Some(SoleThread(PhantomData));
    }
    let output = std::process::Command::new(std::env::current_exe().expect("a test has a program"))
        .args(["--exact", "--nocapture", "--test-threads=1", name])
        .env(MARK, "1")
        .output()
        .expect("a test can be run again");
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{text}{}", String::from_utf8_lossy(&output.stderr));
    None
}

/// What `fork` gives to each side.
pub enum Fork {
    Parent(Process),
    Child,
}

/// Makes names of hosts be looked up in /etc/hosts and by DNS alone, as glibc does
/// itself: what else nsswitch.conf(5) names are modules, which a static program
/// can only load where the machine's glibc is the one it was built with.
pub fn resolve_by_files_and_dns() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn __nss_configure_lookup(
                database: *const libc::c_char,
                services: *const libc::c_char,
            ) -> libc::c_int;
        }
        // SAFETY: both are constant strings that end in a zero; glibc copies them
        // and takes its own lock (nss.h). Where it refuses, nothing has changed.
        unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    }
}

/// Forks this process, memory and descriptors (fork(2)).
pub fn fork(_proof: SoleThread) -> Result<Fork> {
    // SAFETY: `SoleThread` proves there is no other thread, so no lock in the
    // child's copy of memory is held, and it may go on as ordinary Rust.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).tried(|| "fork"),
        0 => Ok(Fork::Child),
        pid => Process::of_child(pid).map(Fork::Parent),
    }
}

/// The stack of a child that shares our memory.
const BESIDE_STACK: usize = 256 * 1024;

/// What such a child does, and whether it has come to an end.
struct Beside<F, T> {
    work: Option<F>,
    done: Option<T>,
}

extern "C" fn beside<F: FnOnce() -> T, T>(given: *mut libc::c_void) -> i32 {
    // SAFETY: `vfork_with` passes its own, which outlives us, and stands still.
    let given = unsafe { &mut *given.cast::<Beside<F, T>>() };
    if let Some(work) = given.work.take() {
        given.done = Some(work());
    }
    // As a shell says it of a program that cannot be started.
    127
}

/// A child that shares our memory while we stand still: no page of ours is copied for it
/// (clone(2), CLONE_VFORK). Gives its pid once it has ended or become another program.
fn vfork_with<F: FnOnce() -> T, T>(flags: i32, given: &mut Beside<F, T>) -> io::Result<i32> {
    let mut stack = Vec::<u128>::with_capacity(BESIDE_STACK / size_of::<u128>());
    let flags = flags | libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is aligned, and ours until the child has left it, for which the
    // kernel lets us wait; the caller's `SoleThread` says that nobody else runs. A panic
    // ends the child at the door of the C function.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(stack.capacity());
        libc::clone(
            beside::<F, T>,
            top.cast(),
            flags,
            (&raw mut *given).cast::<libc::c_void>(),
        )
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Does `work` in a child that shares our memory and descriptors and ends with it: for
/// what a process cannot undo, as leaving its namespaces. [`None`] if it died of it.
pub fn aside<T>(_proof: SoleThread, work: impl FnOnce() -> T) -> io::Result<Option<T>> {
    let mut given = Beside {
        work: Some(work),
        done: None,
    };
    let pid = vfork_with(libc::CLONE_FILES, &mut given)?;
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        rustix::io::retry_on_intr(|| {
            rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
        })?;
    }
    Ok(given.done)
}

/// A child that becomes another program: `work` ends in [`Program::exec`], or in what kept
/// it from that, which is given back; until then we stand still. Descriptors are the
/// child's own.
pub fn spawn<E>(_proof: SoleThread, work: impl FnOnce() -> E) -> Result<(Process, Option<E>)> {
    let mut given = Beside {
        work: Some(work),
        done: None,
    };
    let pid = vfork_with(0, &mut given).tried(|| "clone")?;
    Ok((Process::of_child(pid)?, given.done))
}

/// A child that does nothing but stand in namespaces of its own, for others to write their
/// maps and to join them. It shares our memory and descriptors; dropped, it is ended.
#[derive(Debug)]
pub struct Holder {
    process: Process,
    /// The child's.
    _stack: Vec<u128>,
}

/// What a [`Holder`] needs of stack: two system calls' worth.
const HOLDER_STACK: usize = 16 * 1024;

/// `parent` is our pid, as it sees it.
extern "C" fn stand_still(parent: *mut libc::c_void) -> i32 {
    // SAFETY: plain system calls, which write nothing to the memory we share. It never
    // comes back from the last: all signals but SIGKILL and SIGSTOP are shut out.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // Dead before we asked to hear of it.
        if libc::getppid() as usize != parent as usize {
            return 0;
        }
        loop {
            libc::pause();
        }
    }
}

impl Holder {
    /// One in a new user namespace, which has no map yet.
    pub fn in_user_namespace(_proof: SoleThread) -> Result<Self> {
        let mut stack = Vec::<u128>::with_capacity(HOLDER_STACK / size_of::<u128>());
        let parent = std::process::id() as usize as *mut libc::c_void;
        let flags = libc::CLONE_NEWUSER | libc::CLONE_VM | libc::CLONE_FILES | libc::SIGCHLD;
        let undisturbed = super::signal::Shut::all();
        // SAFETY: the stack is aligned and the child's as long as it lives, for which
        // `Drop` waits; what it does is nobody's harm (`stand_still`).
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(stack.capacity());
            libc::clone(stand_still, top.cast(), flags, parent)
        };
        let made = match pid {
            -1 => Err(io::Error::last_os_error()).tried(|| "clone"),
            pid => Process::of_child(pid).inspect_err(|_| {
                // Its stack goes with us.
                let _ = signal_child(pid, libc::SIGKILL);
                let _ = reap(pid);
            }),
        };
        drop(undisturbed);
        Ok(Self {
            process: made?,
            _stack: stack,
        })
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.signal(libc::SIGKILL);
        let _ = self.process.reap();
    }
}

/// The processor we are on.
pub fn processor() -> usize {
    rustix::thread::sched_getcpu()
}

/// Goes on on another processor than `busy`, if we are on that one and there is another:
/// where our parent is at work a child that it started need not wait for it. Kernels that
/// keep what belongs together on one processor let it.
pub fn leave_processor(busy: usize) {
    use rustix::thread::{sched_getaffinity, sched_setaffinity};
    if processor() != busy {
        return;
    }
    let Ok(all) = sched_getaffinity(None) else {
        return;
    };
    let mut others = all;
    others.unset(busy);
    if others.count() > 0 && sched_setaffinity(None, &others).is_ok() {
        let _ = sched_setaffinity(None, &all);
    }
}

/// As in linux/sched.h; libc's is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks a child that begins in the cgroup `folder` (clone3(2), CLONE_INTO_CGROUP, Linux
/// 5.7): a process that is moved later waits for all processors to pass a quiet state.
pub fn fork_into(_proof: SoleThread, folder: BorrowedFd<'_>) -> Result<Fork> {
    // SAFETY: plain numbers, all of which may be zero.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = folder.as_raw_fd() as u64;
    // SAFETY: as for `fork`; `args` outlives the call, and with no stack it is a fork.
    match unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<libc::clone_args>()) } {
        -1 => Err(io::Error::last_os_error()).tried(|| "clone3"),
        0 => Ok(Fork::Child),
        pid => Process::of_child(pid as i32).map(Fork::Parent),
    }
}

/// Forks a child whose parent is *our* parent, so that the parent may wait for
/// it (clone(2), CLONE_PARENT). Gives 0 in the child, the child's pid here.
pub fn fork_sibling(_proof: SoleThread) -> Result<i32> {
    let flags = (libc::CLONE_PARENT | libc::SIGCHLD) as libc::c_ulong;
    // SAFETY: as for `fork`; with a null stack clone(2) is a fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 {
        Err(io::Error::last_os_error()).tried(|| "clone")
    } else {
        Ok(pid as i32)
    }
}

/// Ends this process at once: no destructors, no exit handlers of a forked copy.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) is always allowed and does not return.
    unsafe { libc::_exit(code) }
}

/// A process, named by a pidfd, so that its pid cannot come to mean another.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// A child not yet waited for: its pid cannot have been reused.
    pub fn of_child(pid: i32) -> Result<Self> {
        Self::open(pid)
    }

    /// The process that has `pid` now (pidfd_open(2), Linux 5.3).
    pub fn open(pid: i32) -> Result<Self> {
        let raw = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| Error::other(format!("{pid} is no pid")))?;
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
            .tried(|| format!("open process {pid}"))?;
        Ok(Self { pid, pidfd })
    }

    /// The process `pid`, if it still is the one that started at `start_time`.
    pub fn open_started(pid: i32, start_time: u64) -> Option<Self> {
        let process = Self::open(pid).ok()?;
        (start_time_of(pid)? == start_time).then_some(process)
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Clock ticks after boot at which it started (proc_pid_stat(5), field 22).
    pub fn start_time(&self) -> Option<u64> {
        start_time_of(self.pid)
    }

    /// Sends `signal` (pidfd_send_signal(2)).
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: the descriptor is a pidfd we own; a null siginfo is allowed.
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal,
                0,
                0,
            )
        };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Waits until it has ended, `timeout` at most (`None`: for ever). Whether it has.
    pub fn wait_ended(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.map(|t| Timespec {
            tv_sec: t.as_secs() as i64,
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        loop {
            let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut polled, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result? > 0),
            }
        }
    }

    /// Reaps it, a child of ours: its exit code, 128 + N if signal N ended it.
    pub fn reap(&self) -> io::Result<i32> {
        reap(self.pid)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Reaps the child `pid`: its exit code, 128 + N if signal N ended it.
pub fn reap(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(pid, &mut status, 0) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            _ if libc::WIFEXITED(status) => return Ok(libc::WEXITSTATUS(status)),
            _ if libc::WIFSIGNALED(status) => return Ok(128 + libc::WTERMSIG(status)),
            _ => {}
        }
    }
}

/// Waits until every child in the process group `group` has ended, and reaps it.
pub fn reap_group(group: i32) {
    while reap(-group).is_ok() {}
}

/// Makes the child `pid` lead a process group (setpgid(2)).
pub fn make_group(pid: i32) -> io::Result<()> {
    let pid = rustix::process::Pid::from_raw(pid);
    Ok(rustix::process::setpgid(pid, pid)?)
}

/// Reaps a child that has ended, if there is one: its pid and exit code as
/// [`reap`] gives it. It does not wait.
pub fn reap_any() -> io::Result<Option<(i32, i32)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
                error => return Err(error),
            },
            0 => return Ok(None),
            pid if libc::WIFEXITED(status) => return Ok(Some((pid, libc::WEXITSTATUS(status)))),
            pid if libc::WIFSIGNALED(status) => {
                return Ok(Some((pid, 128 + libc::WTERMSIG(status))));
            }
            _ => {}
        }
    }
}

/// Sends `signal` to `pid`, a child of ours that is not yet reaped (kill(2)).
pub fn signal_child(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill(2) changes no memory of ours.
    if unsafe { libc::kill(pid, signal) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Forks by the system call alone: no pidfd, no allocation. Gives 0 in the child,
/// the child's pid here.
pub fn fork_plain(_proof: SoleThread) -> io::Result<i32> {
    // SAFETY: as for `fork`.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Hides this process's memory, descriptors and program from others of its user,
/// those with capabilities in a namespace below ours too (prctl(2), PR_SET_DUMPABLE).
pub fn hide() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(
        rustix::process::DumpableBehavior::NotDumpable,
    )?)
}

/// Undoes [`hide`], and what a change of credentials does alike.
pub fn show() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(
        rustix::process::DumpableBehavior::Dumpable,
    )?)
}

/// Shows `text` as this process's command line, in place of the one it was started
/// with, as far as there is room (proc_pid_cmdline(5)). Nothing may ask for the
/// arguments after it.
pub fn show_command_line(_proof: SoleThread, text: &str) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Fields 48 and 49 say where the arguments lie; the name may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let mut places = fields.split_whitespace().skip(45).map(str::parse::<usize>);
    let (Some(Ok(start)), Some(Ok(end))) = (places.next(), places.next()) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    if start == 0 || end <= start {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let length = text.len().min(end - start - 1);
    // SAFETY: the kernel put the arguments at `start..end` of this process's stack,
    // writable and there for its whole life. No reference to them exists: std gives
    // out copies, the proof says no other thread makes one now.
    unsafe {
        let place = std::ptr::with_exposed_provenance_mut::<u8>(start);
        std::ptr::write_bytes(place, 0, end - start);
        std::ptr::copy_nonoverlapping(text.as_ptr(), place, length);
    }
    Ok(())
}

/// Makes this process, in a group of its own, the one that the controlling
/// terminal's keys go to, where there is a terminal.
pub fn take_foreground(terminal: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::setpgid(None, None)?;
    // From the background tcsetpgrp(3) stops the caller unless SIGTTOU is blocked
    // or ignored, which is what our callers see to.
    match rustix::termios::tcsetpgrp(terminal, rustix::process::getpgrp()) {
        Ok(()) | Err(rustix::io::Errno::NOTTY | rustix::io::Errno::NXIO) => Ok(()),
        Err(rustix::io::Errno::BADF | rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Clock ticks after boot at which `pid` started, if it is there.
pub fn start_time_of(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 2..];
    after_name.split(' ').nth(19)?.parse().ok()
}

/// The kernel's id of this boot.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The kernel's version, as uname(2) gives it.
pub fn kernel_release() -> String {
    let machine = rustix::system::uname();
    machine.release().to_string_lossy().into_owned()
}

/// Namespaces that may be unshared or joined.
pub use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Leaves the named namespaces for new ones (unshare(2)).
pub fn unshare(_proof: SoleThread, flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: none of our callers unshares CLONE_FILES, the one flag that could
    // take a descriptor away from under a value that owns it.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

/// Joins several namespaces of `process` at once (setns(2) with a pidfd, Linux 5.8).
pub fn join_namespaces(_proof: SoleThread, process: &Process, flags: i32) -> io::Result<()> {
    // SAFETY: the descriptor is a pidfd we own; setns changes no memory.
    let done = unsafe { libc::setns(process.pidfd.as_raw_fd(), flags) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Joins the namespace that `namespace` names (setns(2)).
pub fn join_namespace(_proof: SoleThread, namespace: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for the call; setns changes no memory.
    let done = unsafe { libc::setns(namespace.as_raw_fd(), flags) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Becomes `uid` and `gid`, real, effective and saved, in this (single) thread.
pub fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: these change credentials, not memory.
    let done =
        unsafe { libc::setresgid(gid, gid, gid) == 0 && libc::setresuid(uid, uid, uid) == 0 };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets the supplementary groups (setgroups(2)).
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and length are of one slice.
    let done = unsafe { libc::setgroups(groups.len(), groups.as_ptr()) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Has the kernel send `signal` to this process when its parent ends (prctl(2)).
pub fn die_with_parent(signal: i32) {
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) };
}

/// A program with its arguments and environment, ready for execve(2).
#[derive(Debug)]
pub struct Program {
    path: CString,
    _strings: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

impl Program {
    /// Fails if a string holds a NUL.
    pub fn new<S: AsRef<OsStr>>(path: &OsStr, args: &[S], env: &[S]) -> io::Result<Self> {
        let string = |text: &OsStr| {
            CString::new(text.as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
        };
        let path = string(path)?;
        let all = args.iter().chain(env);
        let strings: Vec<CString> = all
            .map(|it| string(it.as_ref()))
            .collect::<Result<_, _>>()?;
        let pointers = |strings: &[CString]| {
            let all = strings.iter().map(|it| it.as_ptr());
            all.chain([std::ptr::null()]).collect()
        };
        let (argv, envp) = strings.split_at(args.len());
        Ok(Self {
            path,
            argv: pointers(argv),
            envp: pointers(envp),
            _strings: strings,
        })
    }

    /// The same, with our own environment.
    pub fn in_our_environment(path: &OsStr, args: &[OsString]) -> io::Result<Self> {
        let pairs = std::env::vars_os().map(|(mut pair, value)| {
            pair.push("=");
            pair.push(value);
            pair
        });
        Self::new(path, args, &pairs.collect::<Vec<_>>())
    }

    /// Replaces this process by it. Returns only on error.
    pub fn exec(&self) -> io::Error {
        // SAFETY: both arrays end in null and point to strings that live as long as we.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// Replaces this process by the program at `path` (execve(2)). Returns only on error.
pub fn exec<S: AsRef<OsStr>>(path: &OsStr, args: &[S], env: &[S]) -> io::Error {
    match Program::new(path, args, env) {
        Ok(program) => program.exec(),
        Err(error) => error,
    }
}

/// Closes every descriptor from `first` on, or marks it close-on-exec (close_range(2)).
pub fn close_from(first: u32, on_exec: bool) {
    let flags = if on_exec {
        libc::CLOSE_RANGE_CLOEXEC
    } else {
        0
    };
    // SAFETY: with `on_exec` nothing is closed now; without it the caller is a
    // fresh child that is about to hold no descriptor above `first`.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
}

/// Makes `fd` the descriptor `number` of this process, kept over execve.
pub fn place_fd(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: `number` is a standard stream or one the caller keeps free.
    let done = unsafe {
        if fd.as_raw_fd() == number {
            libc::fcntl(number, libc::F_SETFD, 0)
        } else {
            libc::dup2(fd.as_raw_fd(), number)
        }
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Takes over descriptor `number`, which the one who started us left open for us.
pub fn inherited_fd(number: i32) -> Option<OwnedFd> {
    // SAFETY: fcntl with F_GETFD only asks.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and by the caller's word nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Installs a compiled seccomp filter for this thread (seccomp(2)).
/// `program` is an array of `struct sock_filter`, as libseccomp exports it.
pub fn load_seccomp(program: &[u8], flags: u32) -> io::Result<()> {
    let length = u16::try_from(program.len() / 8).map_err(io::Error::other)?;
    // `sock_filter` wants the alignment of u32, which bytes read from a file need not have.
    let aligned: Vec<u64> = program
        .chunks_exact(8)
        .map(|c| u64::from_ne_bytes(c.try_into().expect("chunks of 8")))
        .collect();
    let filter = libc::sock_fprog {
        len: length,
        filter: aligned.as_ptr() as *mut libc::sock_filter,
    };
    // SAFETY: `filter` points to `length` instructions that outlive the call; the
    // kernel checks them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &filter as *const libc::sock_fprog,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The clock ticks of a second, in which /proc counts.
pub fn clock_ticks() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// The exit code of a child of std's: 128 + N if signal N ended it.
pub fn code_of(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match status.code() {
        Some(code) => code as u8,
        None => 128 + status.signal().unwrap_or(0) as u8,
    }
}

/// Leaves Ctrl-C and Ctrl-\ to the child in front.
pub fn ignore_interrupts() {
    super::signal::ignore(libc::SIGINT);
    super::signal::ignore(libc::SIGQUIT);
}

/// Closes every descriptor above 2 that is not in `kept` (sorted). For a fresh
/// child that goes on as another program would.
pub fn close_all_but(kept: &[i32]) {
    let mut first = 3;
    for &fd in kept {
        close_between(first, fd - 1);
        first = fd + 1;
    }
    close_between(first, i32::MAX);
}

fn close_between(first: i32, last: i32) {
    if first <= last {
        // SAFETY: values of the forked copy that own these descriptors are never
        // used or dropped again: the child leaves by `_exit`.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// Leaves the caller's session keyring for a new one of this name (keyctl(2)).
pub fn new_session_keyring(name: &str) {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    if let Ok(name) = CString::new(name) {
        // SAFETY: the string outlives the call. Without keyrings there is none to leave.
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    }
}

/// Another descriptor for what `number` is open on, if it is open.
pub fn duplicate(number: i32) -> Option<OwnedFd> {
    // SAFETY: fcntl gives a new descriptor, which we own, or fails.
    match unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) } {
        -1 => None,
        // SAFETY: fcntl has just made it, and nobody else owns it.
        fd => Some(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// Whether `number` is a descriptor that whoever started this program left open for
/// it: our own are all close-on-exec.
pub fn is_inherited(number: i32) -> bool {
    // SAFETY: fcntl with F_GETFD reads a flag, or fails.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Keeps the descriptor `number` open in the program that this process becomes.
pub fn keep_on_exec(number: i32) {
    // SAFETY: fcntl with F_SETFD changes a flag of an open descriptor, or fails.
    unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
}

/// Gives the pipe or terminal at a standard stream to `uid`, so that it can be
/// opened anew by /dev/stdout; what is neither is left alone.
pub fn give_stream(number: i32, uid: u32) {
    let Some(stream) = duplicate(number) else {
        return;
    };
    let Ok(found) = rustix::fs::fstat(&stream) else {
        return;
    };
    if matches!(
        rustix::fs::FileType::from_raw_mode(found.st_mode),
        rustix::fs::FileType::Fifo
    ) {
        let _ = rustix::fs::fchown(&stream, Some(rustix::fs::Uid::from_raw(uid)), None);
    }
}

/// As [`set_ids`], but what capabilities we have permitted stay, and are effective.
pub fn set_ids_keeping_capabilities(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: PR_SET_KEEPCAPS takes a number.
    unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1) };
    set_ids(uid, gid)?;
    // SAFETY: as above.
    unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 0) };
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective = sets.permitted;
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Does `work` with `uid` and `gid` as the ids by which files are made and opened
/// (setfsuid(2)); children begun meanwhile keep them until they change theirs. Ids
/// that are not mapped here change nothing. Capabilities stay.
pub fn with_file_ids<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> T {
    let before = set_file_ids(uid, gid);
    let done = work();
    set_file_ids(before.0, before.1);
    done
}

/// Sets them and gives those before.
fn set_file_ids(uid: u32, gid: u32) -> (u32, u32) {
    // SAFETY: these change credentials, not memory.
    let (gid, uid) = unsafe { (libc::setfsgid(gid), libc::setfsuid(uid)) };
    // Where root's id is left, capabilities over files go (capabilities(7)).
    if let Ok(mut sets) = rustix::thread::capabilities(None) {
        sets.effective = sets.permitted;
        let _ = rustix::thread::set_capabilities(None, sets);
    }
    (uid as u32, gid as u32)
}

/// No execve from here on gives more rights than we have (PR_SET_NO_NEW_PRIVS).
pub fn set_no_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Sets a resource limit by its name in getrlimit(2); `u64::MAX` is unlimited.
pub fn set_limit(name: &str, soft: u64, hard: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let resource = match name {
        "RLIMIT_AS" => Resource::As,
        "RLIMIT_CORE" => Resource::Core,
        "RLIMIT_CPU" => Resource::Cpu,
        "RLIMIT_DATA" => Resource::Data,
        "RLIMIT_FSIZE" => Resource::Fsize,
        "RLIMIT_LOCKS" => Resource::Locks,
        "RLIMIT_MEMLOCK" => Resource::Memlock,
        "RLIMIT_MSGQUEUE" => Resource::Msgqueue,
        "RLIMIT_NICE" => Resource::Nice,
        "RLIMIT_NOFILE" => Resource::Nofile,
        "RLIMIT_NPROC" => Resource::Nproc,
        "RLIMIT_RSS" => Resource::Rss,
        "RLIMIT_RTPRIO" => Resource::Rtprio,
        "RLIMIT_RTTIME" => Resource::Rttime,
        "RLIMIT_SIGPENDING" => Resource::Sigpending,
        "RLIMIT_STACK" => Resource::Stack,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let limit = |value| (value != u64::MAX).then_some(value);
    Ok(setrlimit(
        resource,
        Rlimit {
            current: limit(soft),
            maximum: limit(hard),
        },
    )?)
}

/// Lets this process have as many files open as it may.
pub fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it is refused, what needs it says so.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Gives a terminal of ours to `uid`.
pub fn give_terminal(slave: &OwnedFd, uid: u32) {
    let _ = rustix::fs::fchown(slave, Some(rustix::fs::Uid::from_raw(uid)), None);
}
