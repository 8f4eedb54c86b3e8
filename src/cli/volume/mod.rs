//! `coracle volume …`

use super::{Command, command};

mod create;
mod exists;
pub mod inspect;
mod list;
mod prune;
mod remove;

pub const COMMANDS: &[Command] = &[
    command!(create, "volume create"),
    command!(exists, "volume exists"),
    command!(inspect, "volume inspect"),
    command!(list, "volume ls", "volume list"),
    command!(prune, "volume prune"),
    command!(remove, "volume rm", "volume remove"),
];
