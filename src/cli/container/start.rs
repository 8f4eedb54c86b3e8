use crate::cli::Example;
use crate::cli::args::filter;
use crate::cli::args::select::{Chosen, Missing, Select, each};
use crate::cli::container::session::{Session, detach_keys};
use crate::container::attach::Wanted;
use crate::container::options::RestartPolicy;
use crate::container::{self, Container, State, Status};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;
use crate::output::progress::copying;

/// Start one or more containers
///
/// Starts containers that were created or have ended. With `--attach` the
/// container's output is shown and its exit code is ours.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,

    /// All containers that do not run
    #[arg(long)]
    all: bool,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,

    /// Show the container's output and pass signals on
    #[arg(long, short = 'a')]
    attach: bool,

    /// Pass our stdin to the container
    #[arg(long, short = 'i')]
    interactive: bool,

    /// Keys that detach, typed in a row
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Pass signals on to the container (with --attach: by default)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::parse_bool)]
    sig_proxy: Option<bool>,

    /// Select containers as `ps --filter` does
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle start --attach web",
    does: "Start the container web again and show what it prints.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.attach && args.all {
        return Err(Error::usage(
            "you cannot start and attach all containers at once",
        ));
    }
    if args.all && !args.names.is_empty() {
        return Err(Error::usage(
            "either start all containers or the container(s) provided in the arguments",
        ));
    }
    let nothing = args.names.is_empty() && !args.all && !args.latest && args.filter.is_empty();
    if nothing {
        return Err(Error::usage("start requires at least one argument"));
    }
    if args.attach && args.names.len() > 1 {
        return Err(Error::usage(
            "you cannot start and attach multiple containers at once",
        ));
    }
    if args.sig_proxy == Some(true) && !args.attach {
        return Err(Error::usage(
            "you cannot use sig-proxy without --attach: invalid argument",
        ));
    }
    let chosen = args.chosen(engine)?;
    if args.attach {
        let Some(Chosen { container, .. }) = chosen.first() else {
            return Ok(0);
        };
        return attached(&args, engine, container, output).map_err(|error| {
            let id = &container.record.id;
            let tried = format_args!("unable to start container {id}");
            error.tried(tried).kind_is(Kind::Other)
        });
    }
    each(chosen, output, |container, output, typed| {
        let id = container.record.id.as_str();
        start(engine, container, output).map_err(|error| {
            let tried = format_args!("unable to start container {id:?}");
            error.tried(tried).kind_is(Kind::Other)
        })?;
        output.line(typed);
        Ok(())
    })
}

impl Args {
    fn chosen(&self, engine: &Engine) -> Result<Vec<Chosen>> {
        let select = Select {
            names: self.names.clone(),
            all: self.all,
            latest: self.latest,
        };
        if self.names.is_empty() {
            let rests = |it: &Container| !it.status.is_up();
            return select.containers(engine, &self.filter, &[], Missing::Fails, rests);
        }
        // Here alone names and filters go together.
        let filters = filter::containers(engine, &self.filter)?;
        let mut chosen = select.containers(engine, &[], &[], Missing::Fails, |_| true)?;
        chosen.retain(|it| filters.matches(&it.container));
        Ok(chosen)
    }
}

/// Whether its init has ended and its monitor is about to leave.
pub fn is_leaving(container: &Container, status: &Status) -> bool {
    container.record.options.restart == RestartPolicy::No && status.has_ended()
}

/// Starts `container` and stays with it.
fn attached(
    args: &Args,
    engine: &Engine,
    container: &Container,
    output: &mut Output,
) -> Result<u8> {
    let options = &container.record.options;
    // Then it has our own streams.
    let is_passed = options.log.driver.is_passthrough() && !options.tty;
    let session = Session {
        wanted: Wanted {
            // As Podman, with or without `--interactive`.
            stdin: options.interactive && !is_passed,
            stdout: !is_passed,
            stderr: !options.tty && !is_passed,
            tty: options.tty,
            detach_keys: detach_keys(args.detach_keys.as_deref())?,
            sig_proxy: args.sig_proxy.unwrap_or(true),
        },
        detached: false,
        descriptors: Vec::new(),
    };
    match container.status.state {
        State::Running | State::Stopping if is_leaving(container, &container.status) => {
            container::stop::wait(engine, container)?;
            session.start(engine, &container.record, false, output)
        }
        State::Running | State::Initialized => {
            let outcome = container::attach::attach(engine, container, &session.wanted)?;
            session.code(engine, &container.record, outcome)
        }
        _ => session.start(engine, &container.record, false, output),
    }
}

/// Starts a container in the background; nothing to do if it runs.
pub fn start(engine: &Engine, container: &container::Container, output: &mut Output) -> Result<()> {
    // Named twice, or started by somebody meanwhile, it is up by now.
    let status = container::status_of(&engine.storage, &container.record.id)?;
    match status.state {
        // It has ended; its monitor is about to leave.
        State::Running | State::Stopping if is_leaving(container, &status) => {
            container::stop::wait(engine, container)?;
        }
        State::Running => return Ok(()),
        State::Initialized => return container::release(engine, container),
        State::Exited
            if status.exit.as_ref().is_some_and(|exit| exit.restarting)
                && status.monitor.is_some() =>
        {
            return container::hasten(engine, container);
        }
        State::Created | State::Exited => {}
        other => {
            return Err(Error::new(
                Kind::State,
                format!(
                    "container {} must be in Created or Stopped state to be started, it is {}: container state improper",
                    container.record.id,
                    other.word()
                ),
            ));
        }
    }
    let running = container::start::start(
        engine,
        &container.record,
        container::start::Launch {
            progress: Some(copying),
            ..Default::default()
        },
        || {},
    )?;
    for warning in &running.warnings {
        output.notice(format_args!("Warning: {warning}"));
    }
    Ok(())
}
