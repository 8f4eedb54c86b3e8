//! Signals: blocked and read as descriptors, so that no handler runs anywhere.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// Every signal by its name without `SIG`, as Linux numbers them on x86 and arm.
const NAMES: [(&str, i32); 36] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// A signal by number (1 to 64), name, or name with `SIG`, in any case, and
/// `RTMIN+N`, `RTMAX-N`.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        return offset
            .parse::<i32>()
            .ok()
            .map(|n| 34 + n)
            .filter(|n| (34..=64).contains(n));
    }
    if let Some(offset) = name.strip_prefix("RTMAX-") {
        return offset
            .parse::<i32>()
            .ok()
            .map(|n| 64 - n)
            .filter(|n| (34..=64).contains(n));
    }
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|&(_, number)| number)
}

/// Every name without `SIG`, and its number.
pub fn names() -> impl Iterator<Item = (&'static str, i32)> {
    NAMES.into_iter()
}

/// The name of a signal, with `SIG`.
pub fn name(number: i32) -> String {
    match NAMES.iter().find(|&&(_, known)| known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None if number > 34 && number < 64 => format!("SIGRTMIN+{}", number - 34),
        None => number.to_string(),
    }
}

/// A set of signals.
fn set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set, sigaddset takes any number.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}

/// Blocks `signals` in this thread and gives a descriptor they are read from.
pub fn descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    block(signals)?;
    let set = set(signals);
    // SAFETY: `set` is initialised; signalfd gives a new descriptor that we own.
    unsafe {
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Blocks `signals` in this thread: they wait.
pub fn block(signals: &[i32]) -> io::Result<()> {
    let set = set(signals);
    // SAFETY: `set` is initialised.
    match unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Every signal waits; dropped, those that waited before do again.
pub struct Shut(libc::sigset_t);

impl Shut {
    pub fn all() -> Self {
        // SAFETY: both sets are the kernel's to write, which cannot fail here.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before);
            Self(before)
        }
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        // SAFETY: the set is what sigprocmask(2) gave.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Whether this process ignores `signal`, as who started it may have told it (nohup(1)). One
/// that is blocked waits all the same.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: the action is written by sigaction(2), which changes nothing here.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Undoes what [`descriptor`] has blocked: what waits is delivered now.
pub fn unblock(signals: &[i32]) {
    let set = set(signals);
    // SAFETY: `set` is initialised.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) };
}

/// The next signal waiting at a [`descriptor`].
pub fn next(descriptor: impl AsFd) -> Option<i32> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    let read = rustix::io::read(descriptor, &mut info).ok()?;
    (read == info.len()).then(|| i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
}

/// Unblocks every signal and gives each its default action, as a new program
/// expects them.
pub fn reset() {
    let none = set(&[]);
    // SAFETY: default actions run no code of ours; SIGKILL and SIGSTOP refuse, rightly.
    unsafe {
        // Those beyond nobody ignores or handles: not Rust, not a shell.
        for signal in 1..=31 {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Ignores `signal` in this process.
pub fn ignore(signal: i32) {
    // SAFETY: ignoring runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Ends this process by `signal` itself, so that its parent sees why.
pub fn end_by(signal: i32) -> ! {
    reset();
    // SAFETY: raise(3) with the default action in place.
    unsafe { libc::raise(signal) };
    super::process::exit_now(128 + signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_number_and_name() {
        for (text, number) in [
            ("9", 9),
            ("kill", 9),
            ("SIGTERM", 15),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "SIGFOO", "RTMIN+99"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(name(15), "SIGTERM");
        assert_eq!(name(37), "SIGRTMIN+3");
    }
}
