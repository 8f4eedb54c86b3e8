//! The files that a build is given, and which of them are meant.

pub mod given;
pub mod glob;
pub mod ignore;
pub mod memory;
pub mod search;
