//! Commands about coracle itself.

use super::{Command, command, completion};

mod unshare;

pub const COMMANDS: &[Command] = &[
    command!(completion, "completion"),
    command!(unshare, "unshare"),
];
