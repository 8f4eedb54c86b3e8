//! `coracle image …` and the short spellings of its commands.

use super::Command;

pub const COMMANDS: &[Command] = &[];
