//! `coracle image …` and the short spellings of its commands.

use super::{Command, command};

mod load;

pub const COMMANDS: &[Command] = &[command!(load, "image load", "load")];
