//! The last steps of an init, between libcontainer and execve.
//!
//! libcontainer has made us the container's user with the capabilities the
//! container is to have and those of `CapSet::SETUP`. `validate` runs before the init
//! waits to be let go, `exec` after.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use libcontainer::oci_spec::runtime::{Capability as OciCapability, LinuxCapabilities, Spec};
use libcontainer::workload::{
    Executor as Workload, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use rustix::fs::StatVfsMountFlags;

use super::capability::{CapSet, Capabilities, Capability};
use super::init;
use super::report::{self, Failed, Report};
use super::seccomp::Filter;
use crate::error::{Context, Error, Result};
use crate::sys::{Process, SoleThread, process, pty, signal};

/// PATH where the environment has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Clone)]
pub(super) struct Executor {
    wanted: Capabilities,
    filter: Option<Rc<Filter>>,
    tty: Option<(u16, u16)>,
    init: bool,
    gives_streams: bool,
    moves: Rc<[(PathBuf, PathBuf)]>,
    preserved: Rc<[i32]>,
    report: i32,
    monitor: Rc<Process>,
    program: RefCell<Option<PathBuf>>,
}

/// What is to be done between libcontainer and execve, beside capabilities.
pub(super) struct LastSteps {
    pub filter: Option<Filter>,
    pub tty: Option<(u16, u16)>,
    pub init: bool,
    /// Pipes at the standard streams become the user's.
    pub gives_streams: bool,
    /// Mounts, from and to.
    pub moves: Vec<(PathBuf, PathBuf)>,
    /// Descriptors that stay open.
    pub preserved: Vec<i32>,
}

impl Executor {
    /// Puts into `spec` what libcontainer is to leave us until execve: the
    /// capabilities `wanted` and those the last steps need.
    pub fn new(
        spec: &mut Spec,
        wanted: Capabilities,
        steps: LastSteps,
        (report, monitor): (&OwnedFd, Process),
    ) -> Result<Self> {
        let process = spec
            .process_mut()
            .as_mut()
            .ok_or_else(|| Error::other("the spec has no process"))?;
        let mut until_exec = wanted.with_setup();
        // To make /dev/console in a /dev that is root's.
        let dac = CapSet::of(&[Capability::DAC_OVERRIDE]);
        until_exec.bounding = until_exec.bounding.with(dac);
        until_exec.permitted = until_exec.permitted.with(dac);
        until_exec.effective = until_exec.effective.with(dac);
        process.set_capabilities(Some(to_spec(until_exec)?));
        Ok(Self {
            wanted,
            filter: steps.filter.map(Rc::new),
            tty: steps.tty,
            init: steps.init,
            gives_streams: steps.gives_streams,
            moves: steps.moves.into(),
            preserved: steps.preserved.into(),
            report: report.as_raw_fd(),
            monitor: Rc::new(monitor),
            program: RefCell::new(None),
        })
    }

    fn report(&self) -> Option<OwnedFd> {
        process::duplicate(self.report)
    }

    /// Before the init waits: everything that may fail where the user should hear of it.
    fn prepare(&self, spec: &Spec) -> Result<(), Failed> {
        let report = self
            .report()
            .ok_or_else(|| failed(125, "the monitor's socket is gone"))?;
        process::die_with_parent(libc::SIGKILL);
        // The monitor may have died before the line above. Its socket does not tell:
        // we hold a copy of both ends until execve.
        if !matches!(self.monitor.wait_ended(Some(Duration::ZERO)), Ok(false)) {
            process::exit_now(137);
        }
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| failed(125, "the spec has no process"))?;
        move_mounts(&self.moves).map_err(|error| failed(125, &error.to_string()))?;
        let args = process.args().clone().unwrap_or_default();
        let env = process.env().clone().unwrap_or_default();
        let program = find_program(args.first().map_or("", String::as_str), &env)?;
        *self.program.borrow_mut() = Some(program);
        process::new_session_keyring(spec.hostname().as_deref().unwrap_or("coracle"));
        let uid = process.user().uid();
        match self.tty {
            Some((rows, columns)) => open_pty(report.as_fd(), rows, columns)
                .map_err(|error| failed(125, &format!("make a pty: {error}")))?,
            None if uid != 0 && self.gives_streams => {
                for number in 0..3 {
                    process::give_stream(number, uid);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// The way into the container's command; comes back with what went wrong.
    fn become_command(&self, spec: &Spec) -> Failed {
        let Some(process) = spec.process().as_ref() else {
            return failed(125, "the spec has no process");
        };
        let args = process.args().clone().unwrap_or_default();
        let env = process.env().clone().unwrap_or_default();
        let Some(program) = self.program.borrow().clone() else {
            return failed(125, "no program was found");
        };
        signal::reset();
        for number in self.preserved.iter() {
            process::keep_on_exec(*number);
        }
        if !self.init {
            return enter_command(&program, &args, &env, &self.wanted, self.filter.as_deref());
        }
        let proof = match confine(&self.wanted, self.filter.as_deref()).map(|()| SoleThread::take())
        {
            Ok(Ok(proof)) => proof,
            Ok(Err(error)) => return failed(125, &error.to_string()),
            Err(failed) => return failed,
        };
        init::run(proof, || {
            let failed = become_program(&program, &args, &env);
            self.say(&failed);
            failed.exit_code.into()
        })
    }

    fn say(&self, failed: &Failed) {
        if let Some(report) = self.report() {
            let _ = report::say(report.as_fd(), &Report::Failed(failed.clone()), &[]);
        }
    }
}

/// Loads the filter, drops to `wanted`, and becomes `program`. Every descriptor
/// above 2 must be close-on-exec.
pub(super) fn enter_command(
    program: &Path,
    args: &[String],
    env: &[String],
    wanted: &Capabilities,
    filter: Option<&Filter>,
) -> Failed {
    match confine(wanted, filter) {
        Ok(()) => become_program(program, args, env),
        Err(failed) => failed,
    }
}

/// Loads the filter and drops to `wanted`.
fn confine(wanted: &Capabilities, filter: Option<&Filter>) -> Result<(), Failed> {
    if let Some(filter) = filter
        && let Err(error) = filter.load()
    {
        return Err(failed(125, &error.to_string()));
    }
    wanted
        .apply()
        .map_err(|error| failed(125, &format!("drop capabilities: {error}")))
}

/// Becomes `program`; comes back only with what went wrong.
fn become_program(program: &Path, args: &[String], env: &[String]) -> Failed {
    let error = process::exec(program.as_os_str(), args, env);
    match error.raw_os_error() {
        Some(libc::ENOENT) => failed(127, &format!("exec {}: {error}", program.display())),
        code => Failed {
            hint: match code {
                Some(libc::EACCES) => closed_folder(program).or_else(|| why_not_executed(program)),
                _ => None,
            },
            ..failed(
                126,
                &format!("exec {}: {error}: OCI permission denied", program.display()),
            )
        },
    }
}

impl Workload for Executor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.prepare(spec).map_err(|failed| {
            self.say(&failed);
            ExecutorValidationError::ArgValidationError(failed.message)
        })
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment is handed to execve as the spec has it, in its order.
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let failed = self.become_command(spec);
        self.say(&failed);
        process::exit_now(failed.exit_code.into())
    }
}

/// The sets in the runtime-spec's words.
fn to_spec(sets: Capabilities) -> Result<LinuxCapabilities> {
    let names = |set: CapSet| -> Result<HashSet<OciCapability>> {
        let names = set
            .names()
            .into_iter()
            .map(serde_json::Value::from)
            .collect::<Vec<_>>();
        Ok(serde_json::from_value(names.into())?)
    };
    let mut spec = LinuxCapabilities::default();
    spec.set_bounding(Some(names(sets.bounding)?));
    spec.set_permitted(Some(names(sets.permitted)?));
    spec.set_effective(Some(names(sets.effective)?));
    spec.set_inheritable(Some(names(sets.inheritable)?));
    spec.set_ambient(Some(names(sets.ambient)?));
    Ok(spec)
}

fn failed(exit_code: u8, message: &str) -> Failed {
    Failed {
        message: message.to_owned(),
        exit_code,
        hint: None,
    }
}

/// What the kernel's EACCES means for a program that has its x bits: the mount that
/// it is on, or its interpreter, is noexec. Nothing where that cannot be told.
fn why_not_executed(program: &Path) -> Option<String> {
    let is_noexec = |path: &Path| {
        let found = rustix::fs::statvfs(path);
        found.is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
    };
    let mend = "mount it with the option exec";
    if is_noexec(program) {
        return Some(format!(
            "{} is on a mount that is noexec: {mend}",
            program.display()
        ));
    }
    // execve(2), interpreter scripts.
    let mut line = [0; 256];
    let length = std::fs::File::open(program).ok()?.read(&mut line).ok()?;
    let line = String::from_utf8_lossy(&line[..length]).into_owned();
    let line = line.strip_prefix("#!")?.lines().next()?.trim();
    let interpreter = Path::new(line.split([' ', '\t']).next()?);
    // It is the image's to say, and shown on a terminal.
    if line.contains(char::is_control) {
        return None;
    }
    is_noexec(interpreter).then(|| {
        format!(
            "its interpreter {} is on a mount that is noexec: {mend}",
            interpreter.display()
        )
    })
}

/// The folder on the way to `path` that we, who are the container's user by now, may
/// not search.
fn closed_folder(path: &Path) -> Option<String> {
    let mut ways: Vec<&Path> = path.ancestors().collect();
    ways.reverse();
    let closed = ways.into_iter().find(|way| {
        let found = way.symlink_metadata();
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    })?;
    let folder = closed.parent()?;
    let found = folder.symlink_metadata().ok()?;
    Some(format!(
        "the container's user may not search {}, which has mode {:04o} and belongs to {}:{}",
        folder.display(),
        found.mode() & 0o7777,
        found.uid(),
        found.gid()
    ))
}

/// What execvp(3) would run, in the container's root and working directory.
pub(super) fn find_program(name: &str, env: &[String]) -> Result<PathBuf, Failed> {
    let is_program = |path: &Path| match path.metadata() {
        Ok(found) if found.is_dir() => None,
        Ok(found) => Some(found.permissions().mode() & 0o111 != 0),
        Err(_) => None,
    };
    let refused = |why| {
        failed(
            126,
            &format!("the path `{name}` {why}: Operation not permitted: OCI permission denied"),
        )
    };
    let not_executable = "exists but it is not executable";
    let missing = || {
        let what = match name {
            "" => "cannot find `` in $PATH".to_owned(),
            name if name.contains('/') => format!("executable file `{name}` not found"),
            name => format!("executable file `{name}` not found in $PATH"),
        };
        let why = "No such file or directory: OCI runtime attempted to invoke a command that was not found";
        failed(127, &format!("{what}: {why}"))
    };
    if name.contains('/') {
        return match is_program(Path::new(name)) {
            Some(true) => Ok(name.into()),
            Some(false) => Err(refused(not_executable)),
            None if Path::new(name).is_dir() => Err(refused("is not a regular file")),
            None => Err(missing()),
        };
    }
    let path = env
        .iter()
        .find_map(|variable| variable.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut seen = false;
    if !name.is_empty() {
        for dir in std::env::split_paths(OsStr::new(path)) {
            let candidate = dir.join(name);
            match is_program(&candidate) {
                Some(true) => return Ok(candidate),
                Some(false) => seen = true,
                None => {}
            }
        }
    }
    Err(if seen {
        refused(not_executable)
    } else {
        missing()
    })
}

/// Moves mounts to where they belong: what covers others comes first, so all are
/// opened before.
fn move_mounts(moves: &[(PathBuf, PathBuf)]) -> Result<()> {
    let mut opened = Vec::with_capacity(moves.len());
    for (from, to) in moves {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let tried = || format!("mount {}", to.display());
        let mount = rustix::fs::open(from, flags, rustix::fs::Mode::empty()).tried(tried)?;
        opened.push((mount, to));
    }
    for (mount, to) in &opened {
        if !to.exists() {
            // As crun, in the caller's own folder.
            std::fs::create_dir(to).tried(|| format!("make {}", to.display()))?;
        }
        crate::sys::mount::attach(mount, to).tried(|| format!("mount {}", to.display()))?;
    }
    Ok(())
}

/// Makes a pty in the container's /dev/pts our controlling terminal, streams and
/// /dev/console, and sends its master to the monitor.
fn open_pty(report: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let slave = pty_for(report, rows, columns)?;
    let path = pty::path(&slave)?;
    let console = Path::new("/dev/console");
    let _ = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(console);
    // A read-only or host's /dev has no place for it: the terminal works without.
    let _ = crate::sys::mount::bind(&path, console);
    Ok(())
}

/// As [`open_pty`], without /dev/console.
pub(super) fn pty_for(report: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<OwnedFd> {
    let (master, slave) = pty::open()?;
    let _ = pty::set_size(&master, rows, columns);
    pty::control(slave.as_fd())?;
    report::say(report, &Report::Pty, &[master.as_fd()])?;
    for number in 0..3 {
        process::place_fd(slave.as_fd(), number)?;
    }
    Ok(slave)
}
