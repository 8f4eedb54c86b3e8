//! Commands about coracle itself.

use super::{Command, command, completion};

mod reset;
mod unshare;

pub const COMMANDS: &[Command] = &[
    command!(completion, "completion"),
    command!(reset, "system reset"),
    command!(unshare, "unshare"),
];
