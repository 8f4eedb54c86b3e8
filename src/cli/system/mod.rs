//! Commands about coracle itself.

use super::{Command, command, completion};

mod doctor;
mod info;
mod reset;
mod unshare;
mod version;

pub const COMMANDS: &[Command] = &[
    command!(completion, "completion"),
    doctor::COMMAND,
    command!(info, "system info", "info"),
    command!(reset, "system reset"),
    command!(unshare, "unshare"),
    version::COMMAND,
];
