//! argv to the engine and back: a file per command, named as it is typed.
//!
//! Each command is one row of a table: its names as Podman spells them, the
//! clap definition that parser, help, man page and completion all come from,
//! and the function that does it. Only the row that was typed is built, as
//! building all of them costs more than most commands do.

pub mod args;
mod changes;
pub mod completion;
mod container;
mod dry_run;
pub mod help;
mod image;
pub mod man;
mod manifest;
mod parse;
mod secret;
pub use parse::parse_bool;
mod system;
mod volume;

use std::cell::Cell;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use crate::engine::{Engine, Foreseen};
use crate::error::{Context, Error, Kind, Result, words};
use crate::output::Output;
use crate::settings::{Configuration, Overrides, Settings};
use crate::sys::SoleThread;
use crate::sys::process::{place_fd, set_variable};
use crate::sys::signal::end_by;

/// The version of Podman whose behaviour we answer for.
pub const PODMAN_VERSION: &str = "5.8.6";

/// A command line of the man page that the tests run, and what it does.
pub struct Example {
    pub line: &'static str,
    pub does: &'static str,
}

/// One row of the table.
pub struct Command {
    /// Its spellings, the full one first: `container run`, `run`.
    pub names: &'static [&'static str],
    /// Its flags, operands and words.
    pub define: fn() -> clap::Command,
    /// What it does; the number is the exit code.
    pub run: fn(&clap::ArgMatches, &Session) -> Result<u8>,
    pub examples: &'static [Example],
}

/// A row from a module that has `Args` (with a doc comment: first line the
/// summary, the rest the description), `EXAMPLES`, and
/// `run(Args, &Engine, &mut Output) -> Result<u8>`.
macro_rules! command {
    ($module:ident, $($name:literal),+) => {
        $crate::cli::Command {
            names: &[$($name),+],
            define: || <$module::Args as clap::Args>::augment_args(clap::Command::new("")),
            run: |matches, session| {
                let args = <$module::Args as clap::FromArgMatches>::from_arg_matches(matches)
                    .map_err(|error| $crate::error::Error::usage(error.to_string()))?;
                let engine = session.engine()?;
                $module::run(args, &engine, &mut session.output())
            },
            examples: $module::EXAMPLES,
        }
    };
}
pub(crate) use command;

/// Every command, a group after the other.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    [
        container::COMMANDS,
        image::COMMANDS,
        manifest::COMMANDS,
        volume::COMMANDS,
        secret::COMMANDS,
        system::COMMANDS,
    ]
    .into_iter()
    .flatten()
}

/// Groups of commands and what `coracle GROUP --help` says of them.
pub const GROUPS: &[(&str, &str)] = &[
    ("builder", "Build images"),
    ("buildx", "Build images"),
    ("container", "Manage containers"),
    ("healthcheck", "Manage health checks on containers"),
    ("image", "Manage images"),
    ("manifest", "Manage manifest lists and image indexes"),
    ("secret", "Manage secrets"),
    ("system", "Manage coracle"),
    ("volume", "Manage volumes"),
];

/// What a command may ask for beside its arguments.
pub struct Session {
    overrides: Overrides,
    thread: SoleThread,
    foreseen: Cell<Option<Foreseen>>,
}

impl Session {
    /// The store and the caller's settings, opened now.
    pub fn engine(&self) -> Result<Engine> {
        let settings = Settings::read(&self.overrides)?;
        Engine::open(settings, self.thread, self.foreseen.take())
    }

    /// The caller's settings without the store.
    pub fn settings(&self) -> Result<Settings> {
        Settings::read(&self.overrides)
    }

    /// The proof of being single-threaded.
    pub fn thread(&self) -> SoleThread {
        self.thread
    }

    pub fn output(&self) -> Output {
        Output::new()
    }
}

/// Runs what argv says and gives the process's exit code.
pub fn main() -> ExitCode {
    // Rust ignores SIGPIPE: a closed stdout is an error we see, and end quietly by.
    let argv: Vec<OsString> = std::env::args_os().collect();
    match dispatch(&argv) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if let Kind::Interrupted(signal) = error.kind() {
                end_by(signal);
            }
            let mut output = Output::new();
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(argv: &[OsString]) -> Result<u8> {
    match argv.get(1).and_then(|word| word.to_str()) {
        Some("__complete") => return completion::complete(&argv[2..], true),
        Some("__completeNoDesc") => return completion::complete(&argv[2..], false),
        _ => {}
    }
    let thread = SoleThread::take()?;
    let is_usual = container::has_usual_ids(argv);
    let foreseen = Cell::new(is_usual.then(|| Foreseen::namespace(thread)));
    match parse::parse(argv).map_err(|error| with_meant(error, argv))? {
        parse::Parsed::Print(text) => {
            Output::new().text(&text);
            Ok(0)
        }
        parse::Parsed::Missing(text, error) => {
            Output::new().text(&text);
            Err(error)
        }
        parse::Parsed::Run {
            command,
            matches,
            overrides,
        } => {
            // What is wrong with the files is said where they matter.
            if let Ok(configured) = Configuration::read() {
                for variable in &configured.defaults.engine.env {
                    set_variable(thread, variable);
                }
            }
            let asked = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
            if let Some(url) = asked("CONTAINER_HOST") {
                parse::check_url("CONTAINER_HOST", &url)?;
            }
            if let Some(name) = asked("CONTAINER_CONNECTION") {
                parse::check_connection(&name)?;
            }
            if let Some(folder) = &overrides.docker_config {
                set_variable(
                    thread,
                    &format!("DOCKER_CONFIG={}", folder.to_string_lossy()),
                );
            }
            if let Some(path) = &overrides.out {
                print_to(path)?;
            }
            let session = Session {
                overrides,
                thread,
                foreseen,
            };
            (command.run)(&matches, &session).map_err(|error| with_meant(error, argv))
        }
    }
}

/// Has all that is printed from here on written to `path` (`--out`).
fn print_to(path: &Path) -> Result<()> {
    let file = std::fs::File::create(path)
        .map_err(|error| Error::usage(format!("open {}: {}", path.display(), words(&error))))?;
    place_fd(file.as_fd(), 1).tried(|| format!("write to {}", path.display()))
}

/// A command line that cannot be, with the word that may have been meant in it.
pub fn with_meant(error: Error, argv: &[OsString]) -> Error {
    if error.hint_line().is_some() {
        return error;
    }
    let said = error.to_string();
    if OPERANDS.iter().any(|words| said.contains(words)) {
        return match completion::usage(argv) {
            Some(usage) => error.hint(format!("usage: {usage}")),
            None => error,
        };
    }
    if let Some(program) = missing_program(&said) {
        if program.starts_with('-') {
            return error.hint(format!(
                "what stands behind the image or container is the command: is {program} an option of coracle's, it stands before"
            ));
        }
        return error.meant(completion::program_meant(argv, program));
    }
    let field = completion::field_meant(argv, &said);
    let meant = match error.kind() {
        Kind::Usage => field.or_else(|| completion::meant(argv)),
        _ => field,
    };
    error.meant(meant)
}

/// Words of errors that say how many operands there are to be.
const OPERANDS: [&str; 15] = [
    "arg(s), ",
    "requires at least one argument",
    "requires a name, id, ",
    "requires the name or ID ",
    "requires one argument",
    "accepts at most ",
    "must provide a non-empty command",
    "must provide at least one ",
    "must provide the name ",
    "image name or ID must be specified",
    "specify at least one ",
    "provide one or more ",
    "no names or ids specified",
    "choose either one or more ",
    "need at least 1 argument",
];

/// The program that an error says is not in the container.
fn missing_program(said: &str) -> Option<&str> {
    let (_, after) = said.split_once("executable file `")?;
    let (program, why) = after.split_once('`')?;
    why.starts_with(" not found in $PATH").then_some(program)
}

/// Podman's words for a wrong number of operands.
pub fn at_least(wanted: usize, given: usize) -> Result<()> {
    if given >= wanted {
        Ok(())
    } else {
        Err(Error::usage(format!(
            "requires at least {wanted} arg(s), only received {given}"
        )))
    }
}

/// Podman's words for a wrong number of operands.
pub fn exactly(wanted: usize, given: usize) -> Result<()> {
    if given == wanted {
        Ok(())
    } else {
        Err(Error::usage(format!(
            "accepts {wanted} arg(s), received {given}"
        )))
    }
}
