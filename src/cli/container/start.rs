use crate::cli::Example;
use crate::cli::args::detach_keys;
use crate::cli::args::select::{Select, each};
use crate::cli::container::session::Session;
use crate::container::attach::Wanted;
use crate::container::{self, State};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

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
    let select = Select {
        names: args.names,
        all: args.all,
        latest: args.latest,
    };
    let chosen = select.containers(engine, &args.filter, &[], false, |it| !it.status.is_up())?;
    if args.attach || args.interactive {
        let Some(chosen) = chosen.into_iter().next() else {
            return Ok(0);
        };
        let options = &chosen.container.record.options;
        let wanted = Wanted {
            stdin: args.interactive && options.interactive,
            stdout: true,
            stderr: !options.tty,
            tty: options.tty,
            detach_keys: detach_keys(args.detach_keys.as_deref())?,
            sig_proxy: args.sig_proxy.unwrap_or(true),
        };
        let session = Session {
            wanted,
            detached: !args.attach,
        };
        if chosen.container.status.state == State::Running {
            let outcome = container::attach::attach(engine, &chosen.container, &session.wanted)?;
            return session.code(engine, &chosen.container.record, outcome);
        }
        return session.start(engine, &chosen.container.record, false, output);
    }
    each(chosen, output, |container, output, typed| {
        start(engine, container, output)?;
        output.line(typed);
        Ok(())
    })
}

/// Starts a container in the background; nothing to do if it runs.
pub fn start(engine: &Engine, container: &container::Container, output: &mut Output) -> Result<()> {
    match container.status.state {
        State::Running => return Ok(()),
        State::Initialized => return container::release(engine, container),
        State::Created | State::Exited => {}
        other => {
            return Err(Error::new(
                crate::error::Kind::State,
                format!(
                    "unable to start container {}: container is {}: container state improper",
                    container.record.id,
                    other.word()
                ),
            ));
        }
    }
    let running = container::start::start(
        engine,
        &container.record,
        container::start::Launch::default(),
        || {},
    )?;
    for warning in &running.warnings {
        output.notice(format_args!("Warning: {warning}"));
    }
    Ok(())
}
