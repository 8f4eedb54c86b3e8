//! `--init`: the container's pid 1 that starts the real process, passes signals on
//! to it and reaps what nobody waits for.
//!
//! It is a fork of ours inside the container, not a program mounted in, so nothing
//! has to be installed. **Invariant:** it holds no descriptor but the standard
//! streams, and cannot be looked into from the container (its memory is a copy of
//! the monitor's, its environment the caller's, and /proc/1/exe our own binary).

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

use crate::sys::{SoleThread, process, signal};

/// What `ps` shows of it in the container.
const NAME: &str = "coracle-init";

/// What tells that init itself went wrong.
const FAILED: i32 = 125;

/// Becomes the init of the container we are pid 1 of. `exec` runs in the child: it
/// becomes the container's program, or returns the exit code that says why not.
/// The child has the signals of a new program, and a process group of its own in
/// the foreground of the terminal. Ends with the child's exit code.
pub fn run(proof: SoleThread, exec: impl FnOnce() -> i32) -> ! {
    // Anyone may read a command line: ours names the caller's folders. The program, too,
    // so that it is changed before there is one.
    let _ = process::show_command_line(proof, NAME);
    let _ = rustix::thread::set_name(c"coracle-init");
    // Before the fork, so that no signal is lost between the two.
    let Ok(signals) = signal::descriptor(&FORWARDED) else {
        process::exit_now(FAILED)
    };
    // Before the fork, as the child could look in at once.
    let _ = process::hide();
    let child = match process::fork_plain(proof) {
        Err(_) => process::exit_now(FAILED),
        Ok(0) => {
            drop(signals);
            // SIGTTOU is blocked here still, so the terminal may be taken.
            let _ = process::take_foreground(rustix::stdio::stdin());
            signal::reset();
            process::exit_now(exec())
        }
        Ok(child) => child,
    };
    let signals = match keep_only(signals) {
        Ok(signals) => signals,
        Err(_) => process::exit_now(FAILED),
    };
    if rustix::process::getpid().as_raw_pid() != 1 {
        // In a pid namespace of others we are asked to reap all the same.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    loop {
        let mut polled = [PollFd::new(&signals, PollFlags::IN)];
        let _ = poll(&mut polled, None);
        while let Some(number) = signal::next(&signals) {
            if number != libc::SIGCHLD {
                let _ = process::signal_child(child, number);
            }
        }
        // One SIGCHLD may stand for several children.
        while let Ok(Some((pid, code))) = process::reap_any() {
            if pid == child {
                process::exit_now(code)
            }
        }
    }
}

/// All that can be caught; the ones in between belong to the C library.
const FORWARDED: [i32; 60] = {
    let mut signals = [0; 60];
    let (mut at, mut number) = (0, 1);
    while number <= 64 {
        if !matches!(number, libc::SIGKILL | libc::SIGSTOP | 32 | 33) {
            signals[at] = number;
            at += 1;
        }
        number += 1;
    }
    signals
};

/// Moves `fd` to 3 and closes all others above the standard streams.
fn keep_only(fd: std::os::fd::OwnedFd) -> std::io::Result<std::os::fd::OwnedFd> {
    process::place_fd(fd.as_fd(), 3)?;
    if std::os::fd::AsRawFd::as_raw_fd(&fd) == 3 {
        process::close_from(4, false);
        return Ok(fd);
    }
    // Its old number goes with the others.
    std::mem::forget(fd);
    process::close_from(4, false);
    process::inherited_fd(3).ok_or_else(|| std::io::Error::from_raw_os_error(libc::EBADF))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{Fork, alone};
    use std::io::{Read, Write};
    use std::time::{Duration, Instant};

    /// An init around `script`, and a pipe its output comes from.
    fn start(proof: SoleThread, script: &str) -> (process::Process, std::io::PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        match process::fork(proof).unwrap() {
            Fork::Child => {
                let _ = process::place_fd(writer.as_fd(), 1);
                run(proof, || {
                    process::exec(
                        "/bin/sh".as_ref(),
                        &["sh", "-c", script],
                        &["PATH=/bin:/usr/bin"],
                    );
                    127
                })
            }
            Fork::Parent(child) => (child, reader),
        }
    }

    fn line(reader: &mut std::io::PipeReader) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while reader.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_exit_code_is_the_childs() {
        let Some(proof) = alone("runtime::init::tests::the_exit_code_is_the_childs") else {
            return;
        };
        for (script, code) in [
            ("exit 0", 0),
            ("exit 42", 42),
            ("kill -9 $$", 137),
            ("kill -TERM $$", 143),
        ] {
            assert_eq!(start(proof, script).0.reap().unwrap(), code, "{script}");
        }
        match process::fork(proof).unwrap() {
            Fork::Child => run(proof, || 127),
            Fork::Parent(child) => assert_eq!(child.reap().unwrap(), 127),
        }
    }

    #[test]
    fn signals_go_to_the_child() {
        let Some(proof) = alone("runtime::init::tests::signals_go_to_the_child") else {
            return;
        };
        let (init, mut reader) = start(
            proof,
            "trap 'echo got; exit 7' USR1; echo ready; while :; do sleep 0.05; done",
        );
        assert_eq!(line(&mut reader), "ready");
        init.signal(libc::SIGUSR1).unwrap();
        assert_eq!(line(&mut reader), "got");
        assert_eq!(init.reap().unwrap(), 7);
    }

    #[test]
    fn it_holds_nothing_and_hides() {
        let Some(proof) = alone("runtime::init::tests::it_holds_nothing_and_hides") else {
            return;
        };
        let mut held = tempfile();
        held.write_all(b"x").unwrap();
        let (init, mut reader) = start(proof, "echo ready; exec sleep 60");
        assert_eq!(line(&mut reader), "ready");
        // The child may be ahead of init, which shows its name last.
        let cmdline = format!("/proc/{}/cmdline", init.pid());
        let shown = || String::from_utf8_lossy(&std::fs::read(&cmdline).unwrap()).into_owned();
        let until = Instant::now() + Duration::from_secs(20);
        while shown().trim_end_matches('\0') != NAME && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(shown().trim_end_matches('\0'), NAME);
        // Only a privileged reader sees what is open there; others see nothing.
        if let Ok(open) = std::fs::read_dir(format!("/proc/{}/fd", init.pid())) {
            let mut numbers: Vec<String> = open
                .flatten()
                .map(|it| it.file_name().into_string().unwrap())
                .collect();
            numbers.sort();
            assert_eq!(numbers, ["0", "1", "2", "3"]);
        }
        init.signal(libc::SIGTERM).unwrap();
        assert_eq!(init.reap().unwrap(), 143);
    }

    fn tempfile() -> std::fs::File {
        let memory = rustix::fs::memfd_create("held", rustix::fs::MemfdFlags::empty()).unwrap();
        memory.into()
    }

    #[test]
    fn orphans_are_reaped() {
        let Some(proof) = alone("runtime::init::tests::orphans_are_reaped") else {
            return;
        };
        // The script ends only when the orphans are gone from init's children.
        let (init, _reader) = start(
            proof,
            "for i in 1 2 3; do (true &); done
            until [ \"$(cat /proc/$PPID/task/$PPID/children)\" = \"$$ \" ]; do :; done
            exit 5",
        );
        assert_eq!(init.reap().unwrap(), 5);
    }
}
