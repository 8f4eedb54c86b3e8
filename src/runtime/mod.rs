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
//! report socket        maker, init -> monitor: pid, the pty's master, errors; closed by execve
//! ```
//!
//! **Invariant:** libcontainer's types stop here. It has nothing to do with cgroups
//! where that can be avoided: its limits fail for each whose controller is absent, and
//! it kills all that is in a cgroup that it was given.

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

use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Result};
use crate::sys::file::{Durable, write_whole};
use crate::sys::process::{self, Fork};
use crate::sys::{Process, SoleThread, pty, socket};

use capability::Capabilities;
use executor::{Executor, LastSteps};
use report::Report;
use seccomp::Filter;

/// A path that cannot be made is how libcontainer goes without a cgroup.
const NO_CGROUP: &str = "/coracle-none/none";

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
    /// It is there already, without limits that its making could meet.
    pub cgroup: Option<&'a Cgroup>,
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
///
/// A process between us and it, born in the cgroup, lives as long as libcontainer
/// works: nobody is moved then, which waits for all processors to pass a quiet state
/// (6-12 ms on an idle machine), and what libcontainer needs of memory goes with it.
/// The init is our own child all the same (clone(2), CLONE_PARENT).
pub fn create(proof: SoleThread, plan: Plan<'_>) -> Result<Created> {
    let (report, theirs) = socket::pair().tried(|| "make a socket pair")?;
    let monitor = Process::open(std::process::id() as i32)?;
    let (dir, tty) = (plan.dir.join("oci"), plan.tty);
    let notify = dir.join(plan.id).join("notify.sock");
    let born_in = plan.cgroup.map(Cgroup::open).transpose();
    let born_in = born_in.tried(|| "open the container's cgroup")?;
    let forked = born_in.and_then(|folder| process::fork_into(proof, folder.as_fd()).ok());
    // Where the kernel does not know how, libcontainer's own process moves.
    let is_born_there = forked.is_some();
    let maker = match forked.map_or_else(|| process::fork(proof), Ok)? {
        Fork::Parent(maker) => maker,
        Fork::Child => {
            process::die_with_parent(libc::SIGKILL);
            let _ = rustix::process::setpgid(None, None);
            // What is made for the container is its root's, whoever of it is the caller.
            let made =
                process::with_file_ids(0, 0, || make(plan, monitor, &dir, is_born_there, &theirs));
            let said = match made {
                Ok(pid) => Report::Made { pid },
                Err(error) => Report::NotMade(error.to_string()),
            };
            let _ = report::say(theirs.as_fd(), &said, &[]);
            process::exit_now(0)
        }
    };
    // Whoever is first may do it (setpgid(2)).
    let _ = process::make_group(maker.pid());
    drop((plan, theirs));
    let made = report::made(&report);
    // The maker, and libcontainer's process between it and the init.
    process::reap_group(maker.pid());
    let (pid, master) = made.inspect_err(|_| {
        let _ = crate::storage::remove_tree(&dir);
    })?;
    let init = Process::of_child(pid)?;
    let master = match (tty, master) {
        (None, _) => None,
        (Some((rows, columns)), Some(master)) => {
            let _ = pty::set_size(&master, rows, columns);
            Some(master)
        }
        (Some(_), None) => return Err(Error::other("the container's init gave no pty")),
    };
    Ok(Created {
        init,
        master,
        notify,
        dir,
        report,
    })
}

/// The maker's part: the init's pid, when it waits to be let go.
fn make(
    plan: Plan<'_>,
    monitor: Process,
    dir: &Path,
    is_born_there: bool,
    report: &OwnedFd,
) -> Result<i32> {
    let mut spec = plan.spec;
    let cgroup = plan.cgroup.filter(|_| !is_born_there);
    if let Some(linux) = spec.linux_mut() {
        linux.set_cgroups_path(Some(cgroup.map_or_else(|| NO_CGROUP.into(), Cgroup::path)));
    }
    report::capture_into(report);
    let last_steps = LastSteps {
        filter: plan.filter,
        tty: plan.tty,
        init: plan.init,
        gives_streams: !plan.is_callers_stdio,
        moves: plan.moves,
        preserved: plan.preserved,
    };
    let executor = Executor::new(&mut spec, plan.capabilities, last_steps, (report, monitor))?;
    std::fs::create_dir_all(dir).tried(|| format!("make {}", dir.display()))?;
    let config = dir.join("config.json");
    write_whole(&config, &serde_json::to_vec(&spec)?, Durable::No)
        .tried(|| format!("write {}", config.display()))?;

    let built = ContainerBuilder::new(plan.id.to_owned(), SyscallType::Linux)
        .with_executor(executor)
        .with_root_path(dir)
        .map(|mut builder| {
            let [stdin, stdout, stderr] = plan.stdio;
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
                .as_init(dir)
                .with_systemd(false)
                .with_detach(true)
                .as_sibling(true)
                .build()
        });
    let container = built.map_err(|error| Error::other(chain(&error)))?;
    let pid = container.pid();
    pid.map(|pid| pid.as_raw())
        .ok_or_else(|| Error::other("libcontainer gave no pid"))
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
            Some(_) => Err(Error::other("the container's init said what it had said")),
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
