//! `coracle secret …`

use super::{Command, command};

mod create;
mod exists;
mod inspect;
mod list;
mod remove;

pub const COMMANDS: &[Command] = &[
    command!(create, "secret create"),
    command!(exists, "secret exists"),
    command!(inspect, "secret inspect"),
    command!(list, "secret ls", "secret list"),
    command!(remove, "secret rm"),
];
