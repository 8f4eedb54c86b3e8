//! What each instruction does: [`config`] for those that change the config alone, [`run`]
//! and [`copy`] for those that make a layer.

pub mod chmod;
pub mod config;
pub mod container;
pub mod copy;
pub mod mounts;
pub mod put;
pub mod run;
pub mod secret;
pub mod shown;
