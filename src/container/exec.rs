//! Another process in a container that runs.
//!
//! The caller's own process joins the container's namespaces, forks the new
//! process there, and carries its streams: no monitor, no second program. A
//! detached one is left to a fork that waits for it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use super::attach::{Carrier, Outcome, Peer, Pipes, Wanted, pipes};
use super::cgroup::Way;
use super::options::{NamespaceMode, Options};
use super::{Container, Record, State, events, secrets, spec};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::events::Event;
use crate::image::accounts::{Accounts, User};
use crate::monitor;
use crate::monitor::protocol::{hear, say};
use crate::network::NetworkMode;
use crate::runtime::capability::{CapSet, Capabilities};
use crate::runtime::seccomp::{self, Filter};
use crate::runtime::{self, ExecPlan};
use crate::sys::{Process, process};
use crate::userns::{self, IdMap};

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
    /// Numbers of open descriptors that the process is handed.
    pub preserved: Vec<i32>,
    pub wanted: Wanted,
    pub size: Option<(u16, u16)>,
}

impl Exec {
    /// A command without input or terminal, whose output is wanted.
    pub fn heard(argv: Vec<String>, user: Option<&str>) -> Self {
        Self {
            argv,
            env: Vec::new(),
            user: user.map(str::to_owned),
            workdir: None,
            privileged: false,
            detach: false,
            preserved: Vec::new(),
            wanted: Wanted {
                stdin: false,
                stdout: true,
                stderr: true,
                tty: false,
                detach_keys: Vec::new(),
                sig_proxy: false,
            },
            size: None,
        }
    }
}

/// Runs it and gives its exit code; 0 at once if detached.
pub fn exec(engine: &Engine, container: &Container, exec: &Exec) -> Result<Outcome> {
    if exec.detach {
        return leave_to_a_fork(engine, container, exec);
    }
    let log = engine.storage.events().hold();
    let (joined, ours) = begin(engine, container, exec)?;
    log.write(&events::event(&container.record, "exec"));
    let runtime::Joined { process, master } = joined;
    let outcome = match master {
        None => Carrier::new(Peer::Child(process, None), ours, &exec.wanted)?.carry(),
        Some(master) => {
            let ours = ours.through(&master)?;
            Carrier::new(Peer::Child(process, Some(master)), ours, &exec.wanted)?.carry()
        }
    }?;
    if let Outcome::Exited(code) = outcome {
        log.write(&died(&container.record, code));
    }
    Ok(outcome)
}

fn died(record: &Record, code: i32) -> Event {
    let mut event = events::event(record, "exec_died");
    event.exit_code = Some(code);
    event
}

/// Starts it in a fork of ours that stays until it ends: who has no parent outside is
/// the container's init's to reap, and few inits do.
fn leave_to_a_fork(engine: &Engine, container: &Container, exec: &Exec) -> Result<Outcome> {
    let log = engine.storage.events().hold();
    let mut keep = exec.preserved.clone();
    keep.extend(log.fd());
    let keeper = monitor::spawn(engine.thread, &keep, |control| {
        let begun = begin(engine, container, exec);
        let (said, joined) = match begun {
            Ok((joined, _)) => (Ok(()), Some(joined)),
            Err(error) => (Err(error), None),
        };
        if joined.is_some() {
            log.write(&events::event(&container.record, "exec"));
        }
        let said: Result<()> = said;
        let _ = say(&control, &said, &[]);
        drop(control);
        let Some(joined) = joined else {
            return;
        };
        let master = joined.master.as_ref();
        let mut kept = vec![joined.process.as_fd().as_raw_fd()];
        kept.extend(master.map(AsRawFd::as_raw_fd));
        kept.extend(log.fd());
        kept.sort_unstable();
        process::close_all_but(&kept);
        // What it prints on its terminal goes nowhere, and must not stop it.
        let mut unread = [0; 4096];
        if let Some(master) = master {
            while rustix::io::read(master, &mut unread).is_ok_and(|length| length > 0) {}
        }
        if let Ok(code) = joined.process.reap() {
            log.write(&died(&container.record, code));
        }
    })?;
    match hear::<Result<()>>(&keeper.control)? {
        Some((begun, _)) => begun.map(|()| Outcome::Exited(0)),
        None => Err(Error::other("exec ended before its command began")),
    }
}

/// Starts it: the process, and our ends of its streams. What does so has joined the
/// container's namespaces afterwards.
pub(super) fn begin(
    engine: &Engine,
    container: &Container,
    exec: &Exec,
) -> Result<(runtime::Joined, Pipes)> {
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
    let init = container.entrance().ok_or_else(improper)?;
    let map = record
        .map
        .clone()
        .unwrap_or_else(|| engine.default_map().clone());
    let kept = secrets::environment(&engine.storage, record)?;
    let why_single = engine.why_single().map(Error::with_hint);
    let capabilities = capabilities(exec, &record.options)?;
    let filter = seccomp::filter(
        engine.storage.cache(),
        spec::seccomp_profile(&record.options),
        capabilities.bounding,
    )?;
    let way = super::cgroup::way(engine, container)?;
    let (ours, theirs) = pipes(&exec.wanted)?;
    // We stay in there while we carry bytes, and our memory and descriptors are the
    // host's: no process of the container may look in, whatever it is allowed.
    process::hide().tried(|| "hide from the container")?;
    let all = namespaces(&record.options);
    let joined = process::join_namespaces(engine.thread, &init, all).or_else(|error| {
        match error.raw_os_error() {
            // The monitor is in its user namespace already (setns(2)).
            Some(libc::EINVAL) => {
                let rest = all & !libc::CLONE_NEWUSER;
                process::join_namespaces(engine.thread, &init, rest)
            }
            _ => Err(error),
        }
    });
    joined.map_err(|error| {
        match error.raw_os_error() {
            // It has ended just now.
            Some(libc::ESRCH) => improper(),
            _ => Error::from(error).tried(format_args!("join container {}", record.id.short())),
        }
    })?;
    if !record.options.keeps_groups() {
        userns::leave_groups(&map)?;
    }
    // From here on `/` is the container's: nothing below opens a file of the host.
    let root = crate::sys::file::open_dir(Path::new("/"))?;
    let who = exec.user.as_deref().unwrap_or(&record.options.user);
    let user = Accounts::in_root(root.as_fd())
        .and_then(|accounts| accounts.resolve(who, record.options.named_groups()))
        .map_err(|error| error.kind_is(Kind::Other))?;
    drop(root);
    let (cgroup, attacher) = match way {
        Way::None => (None, None),
        Way::Own(folder) => (Some(folder), None),
        Way::Systemd(attacher) => (None, Some(attacher)),
    };
    let has_cgroup_namespace = !matches!(record.options.cgroupns, NamespaceMode::Host);
    let cgroup_namespace = has_cgroup_namespace.then_some(init);
    super::map::check_user(&map, &user, || why_single)
        .map_err(|error| error.kind_is(Kind::Other))?;
    let joined = runtime::exec(
        engine.thread,
        attacher,
        plan(
            record,
            &map,
            (exec, &kept),
            user,
            filter,
            [theirs.stdin, theirs.stdout, theirs.stderr],
            (cgroup, cgroup_namespace),
        )?,
    )?;
    Ok((joined, ours))
}

/// The namespaces the container does not share with the host, but for that of cgroups.
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
    if options.network != NetworkMode::Host {
        flags |= libc::CLONE_NEWNET;
    }
    flags
}

/// The process in the words of the runtime.
fn plan(
    record: &Record,
    map: &IdMap,
    (exec, secrets): (&Exec, &[String]),
    user: User,
    filter: Option<Filter>,
    stdio: [Option<OwnedFd>; 3],
    (cgroup, cgroup_namespace): (Option<OwnedFd>, Option<Process>),
) -> Result<ExecPlan> {
    let options = &record.options;
    Ok(ExecPlan {
        argv: exec.argv.clone(),
        env: environment(record, exec, secrets, &user),
        workdir: exec
            .workdir
            .clone()
            .unwrap_or_else(|| options.workdir.clone()),
        uid: user.uid,
        gid: user.gid,
        // With one id mapped setgroups(2) is denied (user_namespaces(7)).
        groups: (!map.is_single()).then(|| user.additional_gids.clone()),
        umask: options.umask,
        ulimits: options
            .ulimits
            .iter()
            .map(|limit| (limit.name.clone(), limit.soft, limit.hard))
            .collect(),
        capabilities: capabilities(exec, options)?,
        no_new_privileges: options.security.no_new_privileges,
        filter,
        tty: exec.wanted.tty.then(|| exec.size.unwrap_or((24, 80))),
        stdio,
        preserved: exec.preserved.clone(),
        cgroup,
        cgroup_namespace,
    })
}

/// The container's own environment, then what `exec` adds to it.
fn environment(record: &Record, exec: &Exec, secrets: &[String], user: &User) -> Vec<String> {
    let options = &record.options;
    let hostname = super::host::hostname(record);
    let mut all = spec::environment(options, &hostname, user.home.as_deref());
    let has = |name: &str| options.env.iter().any(|it| it.starts_with(name));
    // Podman gives the name it made up to the first program alone.
    if options.hostname.is_none() && !has("HOSTNAME=") {
        all.retain(|it| !it.starts_with("HOSTNAME="));
    }
    if exec.wanted.tty && !has("TERM=") {
        all.push("TERM=xterm".to_owned());
    }
    for variable in exec.env.iter().chain(secrets) {
        spec::set_variable(&mut all, variable);
    }
    all
}

/// As the container's first program has them, for the user of `exec`.
fn capabilities(exec: &Exec, options: &Options) -> Result<Capabilities> {
    let mut as_asked = options.clone();
    as_asked.privileged |= exec.privileged;
    if let Some(user) = &exec.user {
        as_asked.user.clone_from(user);
    }
    spec::capabilities(&as_asked, CapSet::bounding())
}
