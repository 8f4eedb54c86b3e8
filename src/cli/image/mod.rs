//! `coracle image …` and the short spellings of its commands.

use super::{Command, command};

mod build;
mod build_prune;
mod build_refused;
mod build_told;
mod exists;
pub mod filter;
mod history;
mod import;
pub mod inspect;
mod list;
mod load;
pub mod mount;
pub mod prune;
mod pull;
pub mod push;
pub mod refused;
pub mod remove;
mod save;
mod search;
pub mod steps;
mod tag;
mod tree;
mod unmount;
mod untag;

pub const COMMANDS: &[Command] = &[
    command!(
        build,
        "image build",
        "build",
        "buildx build",
        "builder build"
    ),
    command!(build_prune, "builder prune", "buildx prune"),
    command!(exists, "image exists"),
    command!(history, "image history", "history"),
    command!(import, "image import", "import"),
    command!(inspect, "image inspect"),
    command!(list, "image ls", "image list", "images"),
    command!(load, "image load", "load"),
    command!(mount, "image mount"),
    command!(prune, "image prune"),
    command!(pull, "image pull", "pull"),
    command!(push, "image push", "push"),
    command!(remove, "image rm", "image remove", "rmi"),
    command!(save, "image save", "save"),
    command!(search, "image search", "search"),
    command!(tag, "image tag", "tag"),
    command!(tree, "image tree"),
    refused::SCP,
    refused::SIGN,
    refused::TRUST,
    command!(unmount, "image unmount", "image umount"),
    command!(untag, "image untag", "untag"),
];
