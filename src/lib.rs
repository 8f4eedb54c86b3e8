//! coracle: containers for one person, without root and without a daemon.
//!
//! The modules stand in the order they may use each other: each knows only those
//! below it (`tests/layers.rs` reads this order). To follow `coracle run` through
//! them, read `cli::container::run`, `container::start` (which draws who does what,
//! in the caller's process and in the monitor) and `container::rootfs`.

/// argv to the engine and back. A table of commands, a file per command; clap
/// definitions that parser, help, man pages and completions come from; the flags of
/// `run` and `create` as pure functions to `container::Options`.
pub mod cli;

/// What containers need of the machine, looked at with the code that runs them,
/// and the mend of what is not as it must be.
pub mod doctor;

/// Values to text: tables, Go templates, JSON as Go writes it, human numbers. The
/// only code that prints.
pub mod output;

/// Containerfile to image: the context, the language, stages, the steps that run a command
/// or copy files, the cache that is kept by content.
pub mod build;

/// A container: its record, its states (derived, never stored), and each change to
/// it: create, start, attach, exec, copy, commit, stop, remove, and the sweep that mends
/// what a killed process or a reboot left. `spec` says what the OCI config is, `rootfs`
/// what is mounted.
pub mod container;

/// An image: references, archives in and out, names, manifest lists, removal, history.
/// An image is one small file that has all that `run` needs of it. `accounts` says who a user is.
pub mod image;

/// Named folders that outlive containers: made once, held while in use, filled
/// from the image by copy and rename.
pub mod volume;

/// Secrets: what containers are given, and nothing else shows.
pub mod secret;

/// pasta, published ports, hosts and resolv.conf.
pub mod network;

/// The process that stays beside a container: its streams, its log, its exit code.
/// Knows neither containers on disk nor networks.
pub mod monitor;

/// The one door to libcontainer: makes the init, holds it, lets it go; the last
/// steps before execve (pty, seccomp, capabilities), `exec`, and our own pid 1.
pub mod runtime;

/// The distribution protocol: manifests and blobs from registries and to them, who
/// the caller is to each. The one place that knows HTTP.
pub mod registry;

/// A container's control group: where one may be made (systemd, or a folder that is
/// ours), its limits, its end.
pub mod cgroup;

/// What each command is handed: settings, store, the proof of being single-threaded.
pub mod engine;

/// The only code that knows paths on disk: the layout, staging, locks, layers,
/// images under other id maps, and deleting trees.
pub mod storage;

/// What happens, one line an event: written by one append, rotated, read and followed.
pub mod events;

/// Id maps, subordinate ids, and doing work in a user namespace.
pub mod userns;

/// The caller's environment, read once: who they are, where their files go.
pub mod settings;

/// The kernel, made safe: fork, pidfds, namespaces, mounts, ptys, sockets, locks. The
/// only `unsafe`.
pub mod sys;

/// Names and ids, each parsed once into its type.
pub mod id;

/// One error type, and the exit codes.
pub mod error;
