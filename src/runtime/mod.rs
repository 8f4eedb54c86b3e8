//! The one door to libcontainer (0.7): make a container's init, hold it, let it go.
//!
//! We are inside the container's user namespace already and give libcontainer a
//! spec without one. What it does not do, or not well, our [`Executor`] does in
//! the init just before execve: the pty, the seccomp filter (compiled once, not
//! at each start), the exact capabilities, the environment in its order, the
//! error that says why a command cannot be run.
//!
//! ```text
//! <runtime folder>/oci/config.json      what libcontainer reads
//!                      <id>/            its own state, notify.sock: gone after start
//! report socket        init -> monitor: the pty's master, errors; closed by execve
//! ```
//!
//! **Invariant:** libcontainer's types stop here. It is given a cgroup that is made
//! already and moves the init there, no more: no limits, as it fails for each whose
//! controller is absent, and never one with a process of ours in it, as it kills
//! all that is there.

pub mod capability;
mod executor;
pub mod init;
mod join;
mod report;
pub mod seccomp;

pub use join::{ExecPlan, Joined, exec};

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;

use crate::error::{Context, Error, Result};
use crate::sys::file::{Durable, write_whole};
use crate::sys::{Process, SoleThread, pty, socket};

use capability::Capabilities;
use executor::{Executor, LastSteps};
use report::Report;
use seccomp::Filter;

/// What an init is made from.
pub struct Plan<'a> {
    pub id: &'a str,
    /// A folder of this start's own, in the caller's runtime folder.
    pub dir: &'a Path,
    pub spec: Spec,
    /// Mounts that are moved once libcontainer has made them, from and to.
    pub moves: Vec<(PathBuf, PathBuf)>,
    /// What the container's command is to have; the spec's own are replaced.
    pub capabilities: Capabilities,
    /// The compiled seccomp filter.
    pub filter: Option<Filter>,
    /// It gets a pty, whose window has this size.
    pub tty: Option<(u16, u16)>,
    /// Our own init runs as pid 1 and the command beneath it.
    pub init: bool,
    /// Its stdin, stdout and stderr, where it gets no pty.
    pub stdio: [Option<OwnedFd>; 3],
    /// They are the caller's own, whose owner is left as it is.
    pub is_callers_stdio: bool,
    /// Numbers of open descriptors that the command is handed.
    pub preserved: Vec<i32>,
}

/// An init that is made and waits to be let go.
pub struct Created {
    pub init: Process,
    /// The master of its pty.
    pub master: Option<OwnedFd>,
    notify: PathBuf,
    dir: PathBuf,
    report: OwnedFd,
}

/// Makes the init: namespaces, mounts, root, everything but execve.
pub fn create(_proof: SoleThread, plan: Plan<'_>) -> Result<Created> {
    let Plan {
        id,
        dir,
        mut spec,
        moves,
        capabilities,
        filter,
        tty,
        init,
        stdio,
        is_callers_stdio,
        preserved,
    } = plan;
    let (report, theirs) = socket::pair().tried(|| "make a socket pair")?;
    report::capture_into(&theirs);
    let last_steps = LastSteps {
        filter,
        tty,
        init,
        gives_streams: !is_callers_stdio,
        moves,
        preserved,
    };
    let executor = Executor::new(&mut spec, capabilities, last_steps, &theirs)?;
    let dir = dir.join("oci");
    std::fs::create_dir_all(&dir).tried(|| format!("make {}", dir.display()))?;
    let config = dir.join("config.json");
    write_whole(&config, &serde_json::to_vec(&spec)?, Durable::No)
        .tried(|| format!("write {}", config.display()))?;

    let built = ContainerBuilder::new(id.to_owned(), SyscallType::Linux)
        .with_executor(executor)
        .with_root_path(&dir)
        .map(|mut builder| {
            let [stdin, stdout, stderr] = stdio;
            if let Some(fd) = stdin {
                builder = builder.with_stdin(fd);
            }
            if let Some(fd) = stdout {
                builder = builder.with_stdout(fd);
            }
            if let Some(fd) = stderr {
                builder = builder.with_stderr(fd);
            }
            builder
        })
        .and_then(|builder| {
            builder
                .as_init(&dir)
                .with_systemd(false)
                .with_detach(true)
                .build()
        });
    report::capture_nothing();
    drop(theirs);
    let container = match built {
        Ok(container) => container,
        Err(error) => {
            let _ = crate::storage::remove_tree(&dir);
            return Err(report::why(&report, &chain(&error)));
        }
    };
    let pid = container
        .pid()
        .ok_or_else(|| Error::other("libcontainer gave no pid"))?
        .as_raw();
    let init = Process::of_child(pid)?;
    let master = match tty {
        None => None,
        Some((rows, columns)) => match report::hear(&report)? {
            Some((Report::Pty, Some(master))) => {
                let _ = pty::set_size(&master, rows, columns);
                Some(master)
            }
            _ => return Err(Error::other("the container's init gave no pty")),
        },
    };
    Ok(Created {
        init,
        master,
        notify: dir.join(id).join("notify.sock"),
        dir,
        report,
    })
}

impl Created {
    /// Lets the init go, and waits until it has become the container's command
    /// or has said why it cannot.
    pub fn start(&self) -> Result<()> {
        let started =
            libcontainer::notify_socket::NotifySocket::new(&self.notify).notify_container_start();
        started.map_err(|error| {
            Error::other(format!("start the container's init: {}", chain(&error)))
        })?;
        let answer = report::hear(&self.report)?;
        let _ = crate::storage::remove_tree(&self.dir);
        match answer {
            None => Ok(()),
            Some((Report::Failed(failure), _)) => Err(failure.into_error()),
            Some((Report::Pty, _)) => Err(Error::other("the container's init gave its pty twice")),
        }
    }

    /// Ends an init that will not be started.
    pub fn abandon(self) {
        let _ = self.init.signal(libc::SIGKILL);
        let _ = self.init.reap();
        let _ = crate::storage::remove_tree(&self.dir);
    }
}

impl AsFd for Created {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.init.as_fd()
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
