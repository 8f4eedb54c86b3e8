//! Flags of Podman's that there is nothing behind yet. Each is in
//! the definition, so that it reads its value, and when given ends the command with
//! its name: none is ignored.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::error::{Error, Result};

/// A flag that is refused.
#[derive(Debug)]
pub struct Flag {
    name: &'static str,
    takes: Takes,
    /// Values that ask for what happens anyway.
    harmless: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Value,
    Nothing,
}

pub const fn value(name: &'static str) -> Flag {
    Flag {
        name,
        takes: Takes::Value,
        harmless: &[],
    }
}

pub const fn boolean(name: &'static str, harmless: &'static [&'static str]) -> Flag {
    Flag {
        name,
        takes: Takes::Nothing,
        harmless,
    }
}

pub const fn unless(name: &'static str, harmless: &'static [&'static str]) -> Flag {
    Flag {
        name,
        takes: Takes::Value,
        harmless,
    }
}

/// What a command takes that is refused whatever it is given: flags and operands as they
/// come, none of which is heeded.
pub fn any() -> Command {
    Command::new("").hide(true).arg(
        Arg::new("rest")
            .num_args(0..)
            .allow_hyphen_values(true)
            .trailing_var_arg(true)
            .hide(true),
    )
}

/// In the order of podman-run(1).
const FLAGS: &[Flag] = &[
    value("chrootdirs"),
    value("decryption-key"),
    value("pod"),
    value("pod-id-file"),
    value("rdt-class"),
    value("signature-policy"),
];

/// The first refused flag that was given, if any.
#[derive(Debug, Clone, Default)]
pub struct Refused {
    given: Option<String>,
}

impl Refused {
    /// Says that the flag given is not there yet.
    pub fn check(&self) -> Result<()> {
        match &self.given {
            None => Ok(()),
            Some(flag) => Err(Error::unsupported(flag)),
        }
    }

    pub fn define(command: Command, flags: &'static [Flag]) -> Command {
        flags.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.name).long(flag.name).hide(true);
            command.arg(match flag.takes {
                Takes::Value => arg.action(ArgAction::Append),
                // The parser turns it into a Go boolean like any other.
                Takes::Nothing => arg.action(ArgAction::SetTrue),
            })
        })
    }

    pub fn read(matches: &ArgMatches, flags: &'static [Flag]) -> Self {
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

/// clap's two traits for a table of flags.
macro_rules! flags {
    ($name:ident, $table:expr, $wrap:expr) => {
        impl clap::Args for $name {
            fn augment_args(command: clap::Command) -> clap::Command {
                $crate::cli::args::refused::Refused::define(command, $table)
            }
            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                $crate::cli::args::refused::Refused::define(command, $table)
            }
        }

        impl clap::FromArgMatches for $name {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
                Ok($wrap($crate::cli::args::refused::Refused::read(
                    matches, $table,
                )))
            }
            fn update_from_arg_matches(
                &mut self,
                matches: &clap::ArgMatches,
            ) -> Result<(), clap::Error> {
                *self = $wrap($crate::cli::args::refused::Refused::read(matches, $table));
                Ok(())
            }
        }
    };
}

pub(in crate::cli) use flags;

flags!(Refused, FLAGS, std::convert::identity);
