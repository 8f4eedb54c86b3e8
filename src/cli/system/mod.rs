//! Commands about coracle itself.

use super::{Command, command, completion};

mod check;
mod df;
mod docker;
mod doctor;
mod events;
mod info;
mod login;
mod logout;
mod migrate;
mod prune;
mod renumber;
mod reset;
mod unshare;
mod version;

pub const COMMANDS: &[Command] = &[
    docker::BUILDX_INSPECT,
    docker::BUILDX_VERSION,
    command!(check, "system check"),
    command!(completion, "completion"),
    docker::CONTEXT_INSPECT,
    docker::CONTEXT_LS,
    docker::CONTEXT_SHOW,
    docker::CONTEXT_USE,
    command!(df, "system df"),
    doctor::COMMAND,
    command!(events, "system events", "events"),
    command!(info, "system info", "info"),
    command!(login, "login"),
    command!(logout, "logout"),
    command!(migrate, "system migrate"),
    command!(prune, "system prune"),
    command!(renumber, "system renumber"),
    command!(reset, "system reset"),
    command!(unshare, "unshare"),
    version::COMMAND,
];
