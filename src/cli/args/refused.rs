//! Flags of Podman's `run` and `create` that there is nothing behind yet. Each is in
//! the definition, so that it reads its value, and when given ends the command with
//! its name: none is ignored.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::error::{Error, Result};

/// A flag that is refused.
struct Flag {
    name: &'static str,
    takes: Takes,
    /// Values that ask for what happens anyway.
    harmless: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Value,
    Nothing,
}

const fn value(name: &'static str) -> Flag {
    Flag {
        name,
        takes: Takes::Value,
        harmless: &[],
    }
}

const fn boolean(name: &'static str, harmless: &'static [&'static str]) -> Flag {
    Flag {
        name,
        takes: Takes::Nothing,
        harmless,
    }
}

const fn unless(name: &'static str, harmless: &'static [&'static str]) -> Flag {
    Flag {
        name,
        takes: Takes::Value,
        harmless,
    }
}

/// In the order of podman-run(1).
const FLAGS: &[Flag] = &[
    value("chrootdirs"),
    value("decryption-key"),
    value("gpus"),
    value("init-path"),
    value("personality"),
    value("pod"),
    value("pod-id-file"),
    value("rdt-class"),
    value("requires"),
    boolean("rootfs", &["false"]),
    unless("sdnotify", &["ignore"]),
    unless("seccomp-policy", &["default"]),
    value("secret"),
    value("signature-policy"),
];

/// Of `run` alone.
const RUN: &[Flag] = &[boolean("rmi", &["false"])];

/// Of `create` alone.
const CREATE: &[Flag] = &[value("init-ctr")];

/// The first refused flag that was given, if any.
#[derive(Debug, Clone, Default)]
pub struct Refused {
    given: Option<String>,
}

/// The same for flags of `run` alone.
#[derive(Debug, Clone, Default)]
pub struct RefusedByRun(Refused);

/// The same for flags of `create` alone.
#[derive(Debug, Clone, Default)]
pub struct RefusedByCreate(Refused);

impl Refused {
    /// Says that the flag given is not there yet.
    pub fn check(&self) -> Result<()> {
        match &self.given {
            None => Ok(()),
            Some(flag) => Err(Error::unsupported(flag)),
        }
    }

    fn define(command: Command, flags: &'static [Flag]) -> Command {
        flags.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.name).long(flag.name).hide(true);
            command.arg(match flag.takes {
                Takes::Value => arg.action(ArgAction::Append),
                // The parser turns it into a Go boolean like any other.
                Takes::Nothing => arg.action(ArgAction::SetTrue),
            })
        })
    }

    fn read(matches: &ArgMatches, flags: &'static [Flag]) -> Self {
        let given = flags.iter().find(|flag| {
            matches.value_source(flag.name) == Some(ValueSource::CommandLine)
                && match flag.takes {
                    Takes::Value => matches
                        .get_many::<String>(flag.name)
                        .into_iter()
                        .flatten()
                        .any(|value| !flag.harmless.contains(&value.as_str())),
                    Takes::Nothing => {
                        let is_set = matches.get_one::<bool>(flag.name) == Some(&true);
                        !flag
                            .harmless
                            .contains(&if is_set { "true" } else { "false" })
                    }
                }
        });
        Self {
            given: given.map(|flag| format!("--{}", flag.name)),
        }
    }
}

impl RefusedByRun {
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }
}

impl RefusedByCreate {
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }
}

/// clap's two traits for a table of flags.
macro_rules! flags {
    ($name:ident, $table:expr, $wrap:expr) => {
        impl clap::Args for $name {
            fn augment_args(command: Command) -> Command {
                Refused::define(command, $table)
            }
            fn augment_args_for_update(command: Command) -> Command {
                Refused::define(command, $table)
            }
        }

        impl clap::FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok($wrap(Refused::read(matches, $table)))
            }
            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = $wrap(Refused::read(matches, $table));
                Ok(())
            }
        }
    };
}

flags!(Refused, FLAGS, std::convert::identity);
flags!(RefusedByRun, RUN, RefusedByRun);
flags!(RefusedByCreate, CREATE, RefusedByCreate);
