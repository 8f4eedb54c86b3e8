//! The one door to libcontainer, and what stands around it: the seccomp filter,
//! the capabilities and the small init that its executor needs.

pub mod capability;
pub mod init;
pub mod seccomp;
