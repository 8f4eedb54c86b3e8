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

/// In the order of podman-run(1).
const FLAGS: &[Flag] = &[
    value("chrootdirs"),
    value("decryption-key"),
    value("pod"),
    value("pod-id-file"),
    value("rdt-class"),
    boolean("rootfs", &["false"]),
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

impl clap::Args for Refused {
    fn augment_args(command: Command) -> Command {
        Self::define(command, FLAGS)
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::define(command, FLAGS)
    }
}

impl clap::FromArgMatches for Refused {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::read(matches, FLAGS))
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::read(matches, FLAGS);
        Ok(())
    }
}
