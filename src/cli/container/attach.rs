use super::session::{Session, detach_keys};
use crate::cli::Example;
use crate::cli::args::select::names_or_latest;
use crate::container::{self, State, attach as carry};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;

/// Attach to a running container
///
/// Shows what the container prints and passes our stdin and signals to it. The
/// detach keys (Ctrl-P Ctrl-Q) leave it running.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,

    /// Keys that detach, typed in a row
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Do not pass our stdin on
    #[arg(long)]
    no_stdin: bool,

    /// Pass signals on to the container
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = crate::cli::parse_bool)]
    sig_proxy: bool,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle attach --no-stdin web",
    does: "Watch what the container web prints.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.names.len() > 1 {
        return Err(Error::usage(
            "`coracle attach` accepts at most one argument",
        ));
    }
    let names = names_or_latest(engine, args.latest, args.names)?;
    let Some(name) = names.first() else {
        return Err(Error::usage(
            "\"coracle attach\" requires a name, id, or the \"--latest\" flag",
        ));
    };
    container::sweep(engine)?;
    let found = container::find(&engine.storage, name)?;
    if found.status.state != State::Running {
        return Err(Error::new(
            Kind::State,
            format!(
                "attaching to container {}: you can only attach to running containers",
                found.record.id
            ),
        ));
    }
    let options = &found.record.options;
    let wanted = carry::Wanted {
        stdin: !args.no_stdin && options.interactive,
        stdout: true,
        stderr: !options.tty,
        tty: options.tty,
        detach_keys: detach_keys(args.detach_keys.as_deref())
            .map_err(|error| error.kind_is(Kind::Other))?,
        sig_proxy: args.sig_proxy,
    };
    let outcome = carry::attach(engine, &found, &wanted)?;
    let session = Session {
        wanted,
        detached: false,
        descriptors: Vec::new(),
    };
    session.code(engine, &found.record, outcome)?;
    // As Podman: the prompt begins on a line of its own, and the code is the
    // container's business (`wait` gives it).
    output.line("");
    Ok(0)
}
