use std::ffi::OsString;

use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::network;
use crate::output::Output;
use crate::sys::process;

/// Run a command in a modified user namespace
///
/// Runs COMMAND (the caller's shell if none is given) as root of a user
/// namespace with the default id map and a mount namespace of its own. Files of
/// containers and volumes show the owners they have inside; $CONTAINERS_GRAPHROOT
/// says where they are.
#[derive(clap::Args)]
pub struct Args {
    /// Be in a network namespace like a container's
    ///
    /// A new one, with pasta as its way out and a resolv.conf that answers there. It
    /// is gone when the command ends.
    #[arg(long)]
    rootless_netns: bool,

    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle unshare cat /proc/self/uid_map",
        does: "Show the id map that containers get.",
    },
    Example {
        line: "coracle unshare --rootless-netns cat /etc/resolv.conf",
        does: "Show which name servers containers ask.",
    },
];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    let command = if args.command.is_empty() {
        vec![std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())]
    } else {
        args.command
    };
    if args.rootless_netns {
        network::can_start()?;
        engine.settings.ensure_runtime()?;
    }
    let storage = &engine.storage;
    engine.in_namespace(|| {
        let _network = match args.rootless_netns {
            true => {
                let (cache, scratch) = (storage.cache(), storage.runtime());
                Some(network::enter(engine.thread, cache, scratch)?)
            }
            false => None,
        };
        let mut child = std::process::Command::new(&command[0])
            .args(&command[1..])
            .env("CONTAINERS_GRAPHROOT", storage.root())
            .env("CONTAINERS_RUNROOT", storage.runtime())
            .spawn()
            .map_err(|error| match error.kind() {
                // The kernel's word is the same for a folder of $PATH that is shut.
                _ if !is_there(&command[0]) => Error::new(
                    Kind::CommandNotFound,
                    format!("exec: {:?}: executable file not found in $PATH", command[0]),
                ),
                _ => Error::from(error)
                    .tried(format_args!("exec {:?}", command[0]))
                    .kind_is(Kind::CannotInvoke),
            })?;
        process::ignore_interrupts();
        Ok(process::code_of(child.wait()?))
    })
}

/// Whether a command is a path, or a file somewhere in $PATH.
fn is_there(command: &std::ffi::OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let is_path = command.as_encoded_bytes().contains(&b'/');
    match is_path {
        true => std::path::Path::new(command).exists(),
        false => folders.any(|folder| folder.join(command).is_file()),
    }
}
