//! Another process in a container whose namespaces we have joined (`exec`).
//!
//! Our own, small: libcontainer's tenant joins no user namespace, sets
//! no_new_privs, loads no filter, and leaves sockets behind.

use std::os::fd::{AsFd, OwnedFd};

use super::capability::Capabilities;
use super::executor::{enter_command, find_program, pty_for};
use super::report::{self, Failed, Report};
use super::seccomp::Filter;
use crate::cgroup::Attacher;
use crate::error::{Context, Error, Result};
use crate::sys::process::{self, Fork};
use crate::sys::{Process, SoleThread, signal, socket};

/// What runs and as whom, in the container's own ids and paths.
pub struct ExecPlan {
    pub argv: Vec<String>,
    pub env: Vec<String>,
    pub workdir: String,
    pub uid: u32,
    pub gid: u32,
    /// None: they are as they are, since they cannot be set.
    pub groups: Option<Vec<u32>>,
    pub umask: u32,
    /// Name as in getrlimit(2) with `RLIMIT_`, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    pub capabilities: Capabilities,
    pub no_new_privileges: bool,
    pub filter: Option<Filter>,
    /// It gets a pty, whose window has this size.
    pub tty: Option<(u16, u16)>,
    /// Its stdin, stdout and stderr, where it gets no pty; a missing one is
    /// /dev/null.
    pub stdio: [Option<OwnedFd>; 3],
    /// Numbers of open descriptors that it is handed.
    pub preserved: Vec<i32>,
    /// The folder of the container's cgroup, if the process goes there by itself.
    pub cgroup: Option<OwnedFd>,
    /// Whose cgroup namespace it joins. Not before it is in its cgroup: from within a
    /// namespace the kernel moves nobody into it or out of it (cgroups(7), nsdelegate).
    pub cgroup_namespace: Option<Process>,
}

/// A process in the container, a child of ours.
pub struct Joined {
    pub process: Process,
    /// The master of its pty.
    pub master: Option<OwnedFd>,
}

/// Starts it, and waits until it has become the command or has said why it cannot.
/// `attacher` moves it into the container's cgroup if it may not do so itself.
pub fn exec(proof: SoleThread, attacher: Option<Attacher>, mut plan: ExecPlan) -> Result<Joined> {
    let (ours, theirs) = socket::pair().tried(|| "make a socket pair")?;
    let forked = match &plan.cgroup {
        None => process::fork(proof)?,
        Some(folder) => match process::fork_into(proof, folder.as_fd()) {
            Ok(forked) => {
                plan.cgroup = None;
                forked
            }
            // It moves by itself, or says why it may not.
            Err(_) => process::fork(proof)?,
        },
    };
    match forked {
        Fork::Child => {
            drop(ours);
            if attacher.is_some() {
                // Its children would stay behind if it went on before it is moved.
                match socket::receive(&theirs) {
                    Ok((words, _)) if words == MOVED => {}
                    _ => process::exit_now(FAILED),
                }
            }
            let failed = become_command(proof, plan, &theirs);
            let _ = report::say(theirs.as_fd(), &Report::Failed(failed.clone()), &[]);
            process::exit_now(failed.exit_code.into())
        }
        Fork::Parent(process) => {
            drop(theirs);
            drop(plan);
            if let Some(attacher) = attacher {
                let moved = attacher
                    .attach(process.pid())
                    .and_then(|()| Ok(socket::send(ours.as_fd(), MOVED, &[])?));
                if let Err(error) = moved {
                    drop(ours);
                    let _ = process.reap();
                    return Err(error);
                }
            }
            let mut master = None;
            loop {
                match report::hear(&ours)? {
                    None => return Ok(Joined { process, master }),
                    Some((Report::Pty, fd)) => master = fd,
                    Some((Report::Failed(failed), _)) => {
                        let _ = process.reap();
                        return Err(failed.into_error());
                    }
                    Some((Report::Made { .. } | Report::NotMade(_), _)) => {
                        return Err(Error::other("a maker's words from who is none"));
                    }
                }
            }
        }
    }
}

/// Says to the child that it is in its cgroup.
const MOVED: &[u8] = b"moved";

/// What tells that we ourselves went wrong.
const FAILED: i32 = 125;

/// The child's way into the command; comes back with what went wrong.
fn become_command(proof: SoleThread, plan: ExecPlan, report: &OwnedFd) -> Failed {
    let failed = |what: &str, error: &dyn std::fmt::Display| Failed {
        message: format!("{what}: {error}"),
        exit_code: 125,
        hint: None,
    };
    let _ = rustix::process::setsid();
    signal::reset();
    if let Some(folder) = &plan.cgroup
        && let Err(error) = crate::cgroup::enter(folder)
    {
        return failed("enter the container's cgroup", &error);
    }
    if let Some(init) = &plan.cgroup_namespace
        && let Err(error) = process::join_namespaces(proof, init, libc::CLONE_NEWCGROUP)
    {
        return failed("join the container's cgroup namespace", &error);
    }
    if let Err(error) = place_streams(&plan, report) {
        return failed("set up the streams", &error);
    }
    // Whatever else we hold ends at execve.
    process::close_from(3, true);
    for number in &plan.preserved {
        process::keep_on_exec(*number);
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(plan.umask));
    for (name, soft, hard) in &plan.ulimits {
        if let Err(error) = process::set_limit(name, *soft, *hard) {
            return failed(&format!("set {name}"), &error);
        }
    }
    if let Err(error) = rustix::process::chdir(plan.workdir.as_str()) {
        let words = std::io::Error::from(error);
        return match error {
            // Podman says so of all that is not there.
            rustix::io::Errno::NOENT => Failed {
                message: format!(
                    "chdir to `{}`: No such file or directory: OCI runtime attempted to invoke a command that was not found",
                    plan.workdir
                ),
                exit_code: 127,
                hint: None,
            },
            _ => failed(&format!("chdir to `{}`", plan.workdir), &words),
        };
    }
    let become_user = || -> Result<()> {
        if let Some(groups) = &plan.groups {
            process::set_groups(groups)?;
        }
        process::set_ids_keeping_capabilities(plan.uid, plan.gid)?;
        if plan.no_new_privileges {
            process::set_no_new_privileges()?;
        }
        Ok(())
    };
    if let Err(error) = become_user() {
        return failed("become the user", &error);
    }
    match find_program(plan.argv.first().map_or("", String::as_str), &plan.env) {
        Ok(program) => enter_command(
            &program,
            &plan.argv,
            &plan.env,
            &plan.capabilities,
            plan.filter.as_ref(),
        ),
        Err(failed) => failed,
    }
}

fn place_streams(plan: &ExecPlan, report: &OwnedFd) -> Result<()> {
    if let Some((rows, columns)) = plan.tty {
        // It is made its user's: we may have no id here that could give it away.
        let slave = process::with_file_ids(plan.uid, plan.gid, || {
            pty_for(report.as_fd(), rows, columns)
        })?;
        process::give_terminal(&slave, plan.uid);
        return Ok(());
    }
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| Error::from(error).tried("open /dev/null"))?;
    for (number, stream) in plan.stdio.iter().enumerate() {
        let stream = stream.as_ref().map_or(null.as_fd(), AsFd::as_fd);
        process::place_fd(stream, number as i32)?;
        if plan.uid != 0 {
            process::give_stream(number as i32, plan.uid);
        }
    }
    Ok(())
}
