//! Commands about coracle itself.

use super::{Command, command, completion};

mod info;
mod unshare;
mod version;

pub const COMMANDS: &[Command] = &[
    command!(completion, "completion"),
    command!(info, "system info", "info"),
    command!(unshare, "unshare"),
    version::COMMAND,
];
