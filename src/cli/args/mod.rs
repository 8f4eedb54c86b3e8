//! Flags that several commands share.

pub mod filter;
