//! `coracle volume …`

use super::{Command, command};

mod clone;
mod create;
mod diff;
mod exists;
mod export;
pub mod history;
mod import;
pub mod inspect;
pub mod list;
mod mount;
mod named;
pub mod prune;
mod reload;
mod remove;
mod restore;
mod snapshot;
mod snapshots;
mod unmount;

pub const COMMANDS: &[Command] = &[
    command!(clone, "volume clone"),
    command!(create, "volume create"),
    command!(diff, "volume diff"),
    command!(exists, "volume exists"),
    command!(export, "volume export"),
    command!(import, "volume import"),
    command!(inspect, "volume inspect"),
    command!(list, "volume ls", "volume list"),
    command!(mount, "volume mount"),
    command!(prune, "volume prune"),
    command!(reload, "volume reload"),
    command!(remove, "volume rm", "volume remove"),
    command!(restore, "volume restore"),
    command!(snapshot, "volume snapshot"),
    command!(snapshots, "volume snapshots"),
    command!(unmount, "volume unmount"),
];
