use std::ffi::OsString;

use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;
use crate::sys::process;

/// Run a command in a modified user namespace
///
/// Runs COMMAND (the caller's shell if none is given) as root of a user
/// namespace with the default id map and a mount namespace of its own. Files of
/// containers and volumes show the owners they have inside.
#[derive(clap::Args)]
pub struct Args {
    /// Join the rootless network namespace
    #[arg(long)]
    rootless_netns: bool,

    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle unshare cat /proc/self/uid_map",
    does: "Show the id map that containers get.",
}];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    if args.rootless_netns {
        return Err(Error::unsupported("--rootless-netns"));
    }
    let command = if args.command.is_empty() {
        vec![std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())]
    } else {
        args.command
    };
    crate::userns::in_child(engine.thread, engine.default_map(), || {
        let mut child = std::process::Command::new(&command[0])
            .args(&command[1..])
            .spawn()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::new(
                    Kind::CommandNotFound,
                    format!("exec: {:?}: executable file not found in $PATH", command[0]),
                ),
                _ => Error::from(error).kind_is(Kind::CannotInvoke),
            })?;
        process::ignore_interrupts();
        Ok(process::code_of(child.wait()?))
    })
}
