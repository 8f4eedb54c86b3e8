//! `container checkpoint` and `restore`: known, and refused. An unprivileged user can
//! take no checkpoint, and Podman says so.

use crate::cli::Command;
use crate::cli::args::refused::any;
use crate::error::{Error, Kind};

pub const CHECKPOINT: Command = Command {
    names: &["container checkpoint"],
    define: any,
    run: |matches, _| match matches.contains_id("rest") {
        true => Err(needs_root("checkpointing")),
        false => Err(Error::usage("you must provide at least one name or id")),
    },
    examples: &[],
};

pub const RESTORE: Command = Command {
    names: &["container restore"],
    define: any,
    run: |_, _| Err(needs_root("restoring")),
    examples: &[],
};

fn needs_root(what: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("{what} a container requires root"),
    )
}
