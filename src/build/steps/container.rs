//! A step that runs a command: a container of the layers so far, whose own layer is the
//! step's. It is one that `--rm` takes away, so that nothing of it outlives a kill.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};

use crate::container::adopt::Adoption;
use crate::container::options::{Log, LogDriver, Mount, MountKind, RestartPolicy, Step};
use crate::container::start::{Launch, start};
use crate::container::{ImageUse, Options, Record};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::{ContainerId, DiffId, ImageId};
use crate::monitor::protocol::{Event, Request, hear, say};

/// What is run, and in what.
pub struct Command<'a> {
    /// What it reads; none: nothing.
    pub stdin: Option<OwnedFd>,
    pub argv: Vec<String>,
    /// `KEY=value`
    pub env: Vec<String>,
    pub user: &'a str,
    pub workdir: &'a str,
    pub mounts: Vec<Mount>,
    /// Made where they are missing.
    pub folders: Vec<PathBuf>,
    /// The base image, as the container's record names it.
    pub image: (Option<&'a ImageId>, &'a str),
    /// Lowest first.
    pub layers: Vec<DiffId>,
    pub adoption: Adoption,
}

/// What is to be shown of it.
pub enum Print<'a> {
    /// Of its standard output, or of its standard error.
    Bytes { is_error: bool, bytes: &'a [u8] },
    /// Of how it was started.
    Warning(&'a str),
}

/// Runs it to its end, and gives its exit code. `template` has what a build's flags say of its containers.
pub fn run(
    engine: &Engine,
    template: &Options,
    command: Command<'_>,
    print: &mut dyn FnMut(Print<'_>),
) -> Result<i32> {
    engine.interrupted()?;
    let record = record(template, &command)?;
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).tried(|| "make a pipe");
    let (out, their_out) = pipe()?;
    let (err, their_err) = pipe()?;
    let launch = Launch {
        fresh: true,
        // Nobody else is to see it, and so it goes past the monitor.
        stdio: Some([command.stdin, Some(their_out), Some(their_err)]),
        adoption: Some(command.adoption),
        ..Launch::default()
    };
    let running = start(engine, &record, launch, || {})?;
    for warning in &running.warnings {
        print(Print::Warning(warning));
    }
    let mut carrier = Carrier {
        control: running.monitor.control,
        engine,
        pipes: [Some(File::from(out)), Some(File::from(err))],
        print,
        end: None,
    };
    carrier.carry()?;
    // What it has to delete, which is little, is deleted when we end.
    let _ = running.monitor.process.reap();
    engine.interrupted()?;
    (carrier.end).ok_or_else(|| Error::other("the monitor of the step was killed"))
}

fn record(template: &Options, command: &Command<'_>) -> Result<Record> {
    let id = ContainerId::random();
    let mut options = Options {
        argv: command.argv.clone(),
        entrypoint: Vec::new(),
        command: command.argv.clone(),
        env: command.env.clone(),
        workdir: match command.workdir {
            "" => "/".to_owned(),
            path => path.to_owned(),
        },
        is_image_workdir: true,
        user: command.user.to_owned(),
        remove: true,
        interactive: false,
        tty: false,
        log: Log {
            driver: LogDriver::None,
            path: None,
            max_size: None,
            tag: None,
            filled_tag: None,
        },
        restart: RestartPolicy::No,
        step: Some(Step {
            folders: command.folders.clone(),
        }),
        ..template.clone()
    };
    options.accounts.writes = false;
    options.mounts.extend(command.mounts.clone());
    options
        .mounts
        .sort_by_key(|mount| mount.destination.components().count());
    let nothing = || "0".repeat(64).parse();
    Ok(Record {
        name: format!("{}-working-container", id.short()).parse()?,
        created: jiff::Timestamp::now(),
        image: ImageUse {
            id: command.image.0.cloned().map_or_else(nothing, Ok)?,
            name: command.image.1.to_owned(),
            layers: command.layers.clone(),
        },
        id,
        options,
        map: None,
        map_reason: None,
        secrets: Default::default(),
    })
}

/// Carries what a step prints, and ends it when we are to end.
struct Carrier<'a> {
    control: OwnedFd,
    engine: &'a Engine,
    pipes: [Option<File>; 2],
    print: &'a mut dyn FnMut(Print<'_>),
    end: Option<i32>,
}

impl Carrier<'_> {
    /// To the monitor's end: by then the step's files are a layer.
    fn carry(&mut self) -> Result<()> {
        let mut is_gone = false;
        let mut buffer = vec![0; 1 << 16];
        while !is_gone || self.pipes.iter().any(Option::is_some) {
            let open: Vec<usize> = (0..2).filter(|at| self.pipes[*at].is_some()).collect();
            let pipes = open.iter().filter_map(|at| self.pipes[*at].as_ref());
            let control = (!is_gone).then(|| self.control.as_fd());
            let signals = self.engine.signals();
            let from = [&control, &signals].map(|it| usize::from(it.is_some()));
            let mut fds: Vec<PollFd<'_>> = (control.into_iter().chain(signals))
                .chain(pipes.map(File::as_fd))
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            let (ready, piped) = ready.split_at(from[0] + from[1]);
            if from[1] == 1 && ready[from[0]] && self.engine.interrupted().is_err() {
                let _ = say(&self.control, &Request::Signal(libc::SIGKILL), &[]);
            }
            for (at, is_ready) in open.iter().zip(piped) {
                if *is_ready && !self.pass(*at, &mut buffer) {
                    self.pipes[*at] = None;
                }
            }
            if !is_gone && ready[0] {
                match hear::<Event>(&self.control) {
                    Ok(Some((Event::Exited { code }, _))) => self.end = Some(code),
                    Ok(Some((Event::Failed(error), _))) => return Err(error),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => is_gone = true,
                }
            }
        }
        Ok(())
    }

    /// Passes on what has come; false at its end.
    fn pass(&mut self, at: usize, buffer: &mut [u8]) -> bool {
        let Some(pipe) = &mut self.pipes[at] else {
            return false;
        };
        match pipe.read(buffer) {
            Ok(0) => false,
            Err(error) => error.kind() == std::io::ErrorKind::Interrupted,
            Ok(count) => {
                (self.print)(Print::Bytes {
                    is_error: at == 1,
                    bytes: &buffer[..count],
                });
                true
            }
        }
    }
}

/// A bind of what lies at `source` on the host.
pub fn bind(source: PathBuf, destination: &Path, read_only: bool) -> Mount {
    Mount {
        kind: MountKind::Bind { source },
        destination: destination.to_owned(),
        read_only,
        options: vec!["rbind".to_owned(), "rprivate".to_owned()],
        chown: false,
        subpath: None,
    }
}
