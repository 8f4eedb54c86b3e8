//! Docker's spellings that Podman has, none of which help shows: `context`, `buildx`.

use super::info::BUILDAH_VERSION;
use super::version::architecture;
use crate::cli::{Command, Session};
use crate::error::{Error, Result};

/// A hidden command that takes no flags but those of its definition.
macro_rules! hidden {
    ($run:expr, $define:expr, $($name:literal),+) => {
        Command {
            names: &[$($name),+],
            define: $define,
            run: $run,
            examples: &[],
        }
    };
}

const fn nothing() -> fn() -> clap::Command {
    || rest(clap::Command::new("").hide(true))
}

/// With operands, for those who give them.
fn rest(command: clap::Command) -> clap::Command {
    command.arg(clap::Arg::new("rest").num_args(0..).hide(true))
}

pub const CONTEXT_LS: Command = hidden!(
    |matches, session| {
        let quiet = matches.get_flag("quiet");
        match matches.get_one::<String>("format").map(String::as_str) {
            Some("json") => session.output().line("[]"),
            Some(_) => {}
            None if quiet => {}
            None => session
                .output()
                .line("Name        URI         Identity    Default     ReadWrite"),
        }
        Ok(0)
    },
    || rest(
        clap::Command::new("")
            .hide(true)
            .arg(clap::Arg::new("format").long("format").value_name("FORMAT"))
            .arg(
                clap::Arg::new("quiet")
                    .long("quiet")
                    .short('q')
                    .action(clap::ArgAction::SetTrue)
            )
    ),
    "context ls",
    "context list"
);

/// Podman has none: there is one place where commands go, which Docker calls default.
pub const CONTEXT_SHOW: Command = hidden!(
    |_, session| {
        session.output().line("default");
        Ok(0)
    },
    nothing(),
    "context show"
);

pub const CONTEXT_INSPECT: Command = hidden!(
    |matches, session| {
        match names(matches).first() {
            None => session.output().line("[]"),
            Some(name) => return Err(Error::not_found(format!("connection {name:?} not found"))),
        }
        Ok(0)
    },
    nothing(),
    "context inspect"
);

pub const CONTEXT_USE: Command = hidden!(
    |matches, _| {
        let name = names(matches).first().cloned().unwrap_or_default();
        match name.as_str() {
            "" => Err(Error::usage("accepts 1 arg(s), received 0")),
            "default" => Ok(0),
            _ => Err(Error::usage(format!(
                "{name:?} destination is not defined. See \"coracle system connection add ...\" to create a connection"
            ))),
        }
    },
    nothing(),
    "context use"
);

pub const BUILDX_VERSION: Command = hidden!(
    |_, session| {
        session
            .output()
            .line(format_args!("buildah {BUILDAH_VERSION}"));
        Ok(0)
    },
    nothing(),
    "buildx version",
    "builder version"
);

pub const BUILDX_INSPECT: Command = hidden!(
    inspect,
    || rest(
        clap::Command::new("").hide(true).arg(
            clap::Arg::new("bootstrap")
                .long("bootstrap")
                .action(clap::ArgAction::SetTrue)
        )
    ),
    "buildx inspect",
    "builder inspect"
);

fn inspect(_: &clap::ArgMatches, session: &Session) -> Result<u8> {
    session.output().line(format_args!(
        "Name:   default\nDriver: coracle\n\nNodes:\nName:             default\nEndpoint:         default\n\
         Status:           running\nBuildkit version: N/A\nPlatforms:        linux/{}\nLabels: ",
        architecture()
    ));
    Ok(0)
}

fn names(matches: &clap::ArgMatches) -> Vec<String> {
    let all = matches.get_many::<String>("rest");
    all.into_iter().flatten().cloned().collect()
}
