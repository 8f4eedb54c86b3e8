use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::Example;
use crate::cli::args::{descriptors, env, select};
use crate::cli::container::session::detach_keys;
use crate::container::attach::{Outcome, Wanted, window};
use crate::container::{self, Container, exec as engine_exec};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;

/// Run a process in a running container
///
/// The process gets the container's namespaces, environment and capabilities. Its
/// exit code is ours; 125 if it could not be tried, 126 if the command cannot be
/// invoked, 127 if there is none.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the process running in the background
    #[arg(long, short = 'd')]
    detach: bool,

    /// Keys that detach, typed in a row
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Set environment variables (NAME=VALUE, or NAME to take ours)
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Read environment variables from this file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,

    /// Pass our stdin to the process
    #[arg(long, short = 'i')]
    interactive: bool,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,

    /// Give the process all capabilities
    #[arg(long)]
    privileged: bool,

    #[command(flatten)]
    descriptors: descriptors::Args,

    /// Read the container's id from this file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,

    /// Keep no record of the process; there is none in any case
    #[arg(long)]
    no_session: bool,

    /// Give the process a terminal
    #[arg(long, short = 't')]
    tty: bool,

    /// User to run as: NAME or UID, with :GROUP or :GID
    #[arg(long, short = 'u', value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// Working directory
    #[arg(long, short = 'w', value_name = "DIR")]
    workdir: Option<String>,

    /// CONTAINER [COMMAND [ARG...]]
    #[arg(
        value_name = "CONTAINER COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    operands: Vec<OsString>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle exec web ls /",
        does: "List the root of the container web.",
    },
    Example {
        line: "coracle exec --interactive --user 1000 web sh",
        does: "Give commands to a shell in it, as user 1000.",
    },
];

pub fn run(mut args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let preserved = (args.descriptors.open()).map_err(|error| error.kind_is(Kind::Usage))?;
    let mut operands = std::mem::take(&mut args.operands)
        .into_iter()
        .map(|text| {
            text.into_string()
                .map_err(|text| Error::usage(format!("{text:?} is not UTF-8")))
        })
        .collect::<Result<Vec<_>>>()?;
    let name = match &args.cidfile {
        Some(_) if args.latest => {
            return Err(Error::usage(
                "--latest and --cidfile can not be used together",
            ));
        }
        Some(file) => select::read_cidfile(file)?,
        None if args.latest => select::latest(engine)?,
        None if operands.is_empty() => {
            return Err(Error::usage(
                "exec requires the name or ID of a container or the --latest or --cidfile flag",
            ));
        }
        None => operands.remove(0),
    };
    let env = env::extra(&args.env, &args.env_file)?;
    container::sweep(engine)?;
    let found = container::find(&engine.storage, &name)?;
    if operands.is_empty() {
        return Err(Error::usage(
            "must provide a non-empty command to start an exec session: invalid argument",
        ));
    }
    match start(&args, engine, &found, (operands, env), preserved) {
        Ok(Outcome::Exited(code)) => {
            if args.detach {
                output.line(crate::id::random_hex::<32>());
            }
            Ok(code as u8)
        }
        Ok(Outcome::Detached) => Ok(0),
        Ok(Outcome::Unread) => crate::sys::signal::end_by(libc::SIGPIPE),
        Ok(Outcome::Lost) => Ok(125),
        // As Podman: 125 where there is a session to be left behind, else what
        // the runtime says, else its own -1.
        Err(error) => {
            let typed: Vec<_> = std::env::args_os().collect();
            let error = crate::cli::with_meant(error, &typed);
            output.error(&error);
            Ok(match error.exit_code() {
                _ if args.detach => 125,
                125 => 255,
                code => code,
            })
        }
    }
}

fn start(
    args: &Args,
    engine: &Engine,
    found: &Container,
    (argv, env): (Vec<String>, Vec<String>),
    preserved: Vec<i32>,
) -> Result<Outcome> {
    let wanted = Wanted {
        stdin: args.interactive && !args.detach,
        stdout: !args.detach,
        stderr: !args.detach && !args.tty,
        tty: args.tty,
        detach_keys: detach_keys(args.detach_keys.as_deref())
            .map_err(|error| error.kind_is(Kind::Other))?,
        sig_proxy: false,
    };
    let asked = engine_exec::Exec {
        argv,
        env,
        user: args.user.clone(),
        workdir: args.workdir.clone(),
        privileged: args.privileged,
        detach: args.detach,
        preserved,
        wanted,
        size: window(),
    };
    engine_exec::exec(engine, found, &asked)
}
