//! Commands about coracle itself.

use super::{Command, command, completion};

mod df;
mod doctor;
mod events;
mod info;
mod login;
mod logout;
mod prune;
mod reset;
mod unshare;
mod version;

pub const COMMANDS: &[Command] = &[
    command!(completion, "completion"),
    command!(df, "system df"),
    doctor::COMMAND,
    command!(events, "system events", "events"),
    command!(info, "system info", "info"),
    command!(login, "login"),
    command!(logout, "logout"),
    command!(prune, "system prune"),
    command!(reset, "system reset"),
    command!(unshare, "unshare"),
    version::COMMAND,
];
