//! Another process in a container that runs.
//!
//! The caller's own process joins the container's namespaces, forks the new
//! process there, and carries its streams: no monitor, no second program. A
//! detached one is left to a fork that waits for it.

use std::os::fd::AsFd;
use std::path::Path;

use super::attach::{Carrier, Outcome, Peer, Wanted, pipes};
use super::options::{NamespaceMode, Options};
use super::{Container, State, spec, user};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::network::NetworkMode;
use crate::runtime::{self, seccomp};
use crate::sys::process;
use crate::userns;

/// What `exec` is asked for.
#[derive(Debug, Clone)]
pub struct Exec {
    pub argv: Vec<String>,
    /// `KEY=value`, over the container's own.
    pub env: Vec<String>,
    /// As for `run`; none: the container's.
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub privileged: bool,
    pub detach: bool,
    pub wanted: Wanted,
    pub size: Option<(u16, u16)>,
}

/// Runs it and gives its exit code; 0 at once if detached.
pub fn exec(engine: &Engine, container: &Container, exec: &Exec) -> Result<Outcome> {
    let record = &container.record;
    let improper = || {
        Error::new(
            Kind::State,
            "can only create exec sessions on running containers: container state improper",
        )
    };
    if container.status.state != State::Running {
        return Err(improper());
    }
    let init = container.status.init().ok_or_else(improper)?;
    let map = record.map.clone().unwrap_or_else(|| engine.default_map().clone());
    let filter = if exec.privileged || record.options.privileged {
        None
    } else {
        seccomp::bpf(engine.storage.cache(), &record.options.security.seccomp, &spec::capabilities(&record.options))?
    };
    let (ours, theirs) = pipes(&exec.wanted)?;
    process::join_namespaces(engine.thread, &init, namespaces(&record.options))
        .tried(|| format!("join container {}", record.id.short()))?;
    userns::leave_groups(&map)?;
    // From here on `/` is the container's: nothing below opens a file of the host.
    let root = crate::sys::file::open_dir(Path::new("/"))?;
    let who = exec.user.as_deref().unwrap_or(&record.options.user);
    let user = user::resolve(root.as_fd(), who, &record.options.groups)?;
    drop(root);
    let process = spec::exec_process(&record.options, exec, &user)?;
    let joined = runtime::exec(
        engine.thread,
        runtime::ExecPlan {
            process,
            filter,
            tty: exec.wanted.tty.then(|| exec.size.unwrap_or((24, 80))),
            stdio: [theirs.stdin, theirs.stdout, theirs.stderr],
            detach: exec.detach,
        },
    )?;
    if exec.detach {
        return Ok(Outcome::Exited(0));
    }
    let runtime::Joined { process, master } = joined;
    match master {
        None => Carrier::new(Peer::Child(process, None), ours, &exec.wanted)?.carry(),
        Some(master) => {
            let ours = ours.through(&master, &exec.wanted)?;
            Carrier::new(Peer::Child(process, Some(master)), ours, &exec.wanted)?.carry()
        }
    }
}

/// The namespaces the container does not share with the host.
fn namespaces(options: &Options) -> i32 {
    let mut flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
    let mut add = |mode: &NamespaceMode, flag| {
        if !matches!(mode, NamespaceMode::Host) {
            flags |= flag;
        }
    };
    add(&options.pid, libc::CLONE_NEWPID);
    add(&options.uts, libc::CLONE_NEWUTS);
    add(&options.ipc, libc::CLONE_NEWIPC);
    add(&options.cgroupns, libc::CLONE_NEWCGROUP);
    if options.network != NetworkMode::Host {
        flags |= libc::CLONE_NEWNET;
    }
    flags
}
