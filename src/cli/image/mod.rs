//! `coracle image …` and the short spellings of its commands.

use super::{Command, command};

mod exists;
pub mod filter;
mod history;
mod import;
pub mod inspect;
mod list;
mod load;
pub mod prune;
mod pull;
pub mod push;
pub mod remove;
mod save;
pub mod steps;
mod tag;
mod untag;

pub const COMMANDS: &[Command] = &[
    command!(exists, "image exists"),
    command!(history, "image history", "history"),
    command!(import, "image import", "import"),
    command!(inspect, "image inspect"),
    command!(list, "image ls", "image list", "images"),
    command!(load, "image load", "load"),
    command!(prune, "image prune"),
    command!(pull, "image pull", "pull"),
    command!(push, "image push", "push"),
    command!(remove, "image rm", "image remove", "rmi"),
    command!(save, "image save", "save"),
    command!(tag, "image tag", "tag"),
    command!(untag, "image untag", "untag"),
];
