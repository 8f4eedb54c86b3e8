//! Flags that several commands share, and what they come to.
//!
//! Each file holds a group of flags as a clap `Args` struct, with the pure
//! functions that turn their text into the engine's types. Words of errors are
//! Podman's, since scripts read them.
//!
//! **Invariant:** nothing here touches a container, a volume or the store. What
//! must be asked of the machine or the store goes through [`host::Host`] and
//! [`host::Lookup`], so every quarrel between flags is found by a test without either.

pub mod create;
pub mod csv;
pub mod descriptors;
pub mod env;
pub mod filter;
pub mod health;
pub mod host;
pub mod image;
pub mod labels;
pub mod lifetime;
pub mod log;
pub mod mounts;
pub mod namespaces;
pub mod network;
pub mod number;
pub mod process;
pub mod push;
pub mod refused;
pub mod registry;
pub mod resources;
pub mod security;
pub mod select;
pub mod size;
pub mod streams;
pub mod target;
pub mod userns;

pub use streams::detach_keys;
