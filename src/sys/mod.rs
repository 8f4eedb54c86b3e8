//! The kernel, made safe: the only folder where `unsafe` compiles.
//!
//! Each function owns or borrows its descriptors, and says in a `SAFETY`
//! comment why its call holds. **Invariant:** nothing here knows what a
//! container is.

#![allow(unsafe_code)]

pub mod beside;
pub mod content;
pub mod family;
pub mod file;
pub mod freeze;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod process;
pub mod pty;
pub mod signal;
pub mod socket;

pub use process::{Process, SoleThread};
