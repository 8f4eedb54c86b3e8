//! Commands about coracle itself.

use super::{Command, command};

mod unshare;

pub const COMMANDS: &[Command] = &[command!(unshare, "unshare")];
