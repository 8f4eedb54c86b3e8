//! Commands about coracle itself.

use super::{Command, command, completion};

mod info;
mod login;
mod logout;
mod reset;
mod unshare;
mod version;

pub const COMMANDS: &[Command] = &[
    command!(completion, "completion"),
    command!(info, "system info", "info"),
    command!(login, "login"),
    command!(logout, "logout"),
    command!(reset, "system reset"),
    command!(unshare, "unshare"),
    version::COMMAND,
];
