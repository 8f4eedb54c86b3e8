//! `coracle volume …` and the short spellings of its commands.

use super::Command;

pub const COMMANDS: &[Command] = &[];
