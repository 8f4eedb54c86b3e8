//! Making processes stand still, unseen by them (ptrace(2), PTRACE_SEIZE).
//!
//! No signal is sent, so no shell takes its jobs for stopped; and should we die, the
//! kernel lets all of them go on.

use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Processes that stand still while this lives, held by the thread that made it.
#[derive(Debug, Default)]
pub struct Frozen {
    /// By thread id, with the signal that each was about to get.
    threads: HashMap<i32, i32>,
    _of_one_thread: PhantomData<*const ()>,
}

impl Frozen {
    /// Stops every thread of the processes that `list` gives, until it gives no new
    /// ones: what stands still makes none.
    pub fn new(list: impl Fn() -> io::Result<Vec<i32>>) -> io::Result<Self> {
        let mut frozen = Self::default();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut is_new = false;
            for pid in list()? {
                for thread in threads_of(pid)? {
                    is_new |= frozen.stop(thread, deadline)?;
                }
            }
            if !is_new {
                return Ok(frozen);
            }
        }
    }

    /// Stops a thread; false if it stands still already or is gone.
    fn stop(&mut self, thread: i32, deadline: Instant) -> io::Result<bool> {
        if self.threads.contains_key(&thread) {
            return Ok(false);
        }
        match ptrace(libc::PTRACE_SEIZE, thread, 0) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(false),
            // A zombie is traced by nobody.
            Err(_) if is_dead(thread) => return Ok(false),
            result => result?,
        }
        self.threads.insert(thread, 0);
        match ptrace(libc::PTRACE_INTERRUPT, thread, 0) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
            _ => {}
        }
        loop {
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            let found = unsafe { libc::waitpid(thread, &mut status, libc::__WALL | libc::WNOHANG) };
            match found {
                0 if Instant::now() > deadline => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("thread {thread} does not stop"),
                    ));
                }
                0 => std::thread::sleep(Duration::from_micros(200)),
                -1 => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error if error.raw_os_error() == Some(libc::ECHILD) => {
                        self.threads.remove(&thread);
                        return Ok(true);
                    }
                    error => return Err(error),
                },
                _ if libc::WIFSTOPPED(status) => {
                    // On its way to a signal, it gets it when it goes on.
                    let is_ours = status >> 16 == libc::PTRACE_EVENT_STOP;
                    let signal = if is_ours { 0 } else { libc::WSTOPSIG(status) };
                    self.threads.insert(thread, signal);
                    return Ok(true);
                }
                // It has ended.
                _ => {
                    self.threads.remove(&thread);
                    return Ok(true);
                }
            }
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for (thread, signal) in &self.threads {
            let _ = ptrace(libc::PTRACE_DETACH, *thread, *signal);
        }
    }
}

fn threads_of(pid: i32) -> io::Result<Vec<i32>> {
    let entries = match std::fs::read_dir(format!("/proc/{pid}/task")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    Ok(entries
        .filter_map(|entry| name(entry)?.parse().ok())
        .collect())
}

fn is_dead(thread: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{thread}/stat"));
    stat.is_ok_and(|stat| {
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        matches!(state, Some('Z' | 'X'))
    })
}

fn ptrace(request: libc::c_uint, thread: i32, data: i32) -> io::Result<()> {
    let data = data as libc::c_long;
    // SAFETY: SEIZE, INTERRUPT and DETACH read and write no memory of ours.
    let done = unsafe { libc::ptrace(request as _, thread, std::ptr::null_mut::<u8>(), data) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn what_stands_still_goes_on_afterwards() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done & while :; do :; done"])
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let children = format!("/proc/{pid}/task/{pid}/children");
        let all = || -> io::Result<Vec<i32>> {
            let text = std::fs::read_to_string(&children)?;
            let found = text.split_whitespace().filter_map(|it| it.parse().ok());
            Ok(std::iter::once(pid).chain(found).collect())
        };
        while all().unwrap().len() < 2 {
            std::thread::yield_now();
        }
        let both = all().unwrap();
        let time = |pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
            stat.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let times = || both.iter().map(|pid| time(*pid)).collect::<Vec<_>>();
        // Not everybody may: then there is nothing to see.
        if let Ok(frozen) = Frozen::new(all) {
            let before = times();
            std::thread::sleep(Duration::from_millis(30));
            assert_eq!(times(), before);
            drop(frozen);
            while times().iter().zip(&before).any(|(now, then)| now == then) {
                std::thread::yield_now();
            }
        }
        let group = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
