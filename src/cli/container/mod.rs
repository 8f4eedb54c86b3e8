//! `coracle container …` and the short spellings of its commands.

pub use run::has_usual_ids;

use super::{Command, command};

mod attach;
mod checkpoint;
mod cleanup;
mod clone;
mod commit;
mod cp;
mod create;
mod diff;
mod exec;
mod exists;
mod explain;
mod export;
mod healthcheck;
mod init;
mod inspect;
mod inspected;
mod kill;
mod logs;
pub mod made;
mod mount;
mod pause;
mod port;
pub mod prune;
pub mod ps;
mod rename;
mod restart;
mod rm;
mod run;
mod runlabel;
mod session;
mod start;
mod stats;
mod stop;
mod top;
mod unmount;
mod unpause;
mod update;
mod wait;

pub const COMMANDS: &[Command] = &[
    command!(attach, "container attach", "attach"),
    checkpoint::CHECKPOINT,
    checkpoint::RESTORE,
    command!(cleanup, "container cleanup"),
    clone::COMMAND,
    command!(commit, "container commit", "commit"),
    command!(cp, "container cp", "cp"),
    command!(create, "container create", "create"),
    diff::DIFF,
    diff::CONTAINER_DIFF,
    diff::IMAGE_DIFF,
    command!(exec, "container exec", "exec"),
    command!(exists, "container exists"),
    command!(explain, "explain", "container explain"),
    command!(export, "container export", "export"),
    command!(healthcheck, "healthcheck run"),
    command!(init, "container init", "init"),
    inspect::INSPECT,
    inspect::CONTAINER_INSPECT,
    command!(kill, "container kill", "kill"),
    command!(logs, "container logs", "logs"),
    command!(mount, "container mount", "mount"),
    command!(pause, "container pause", "pause"),
    command!(port, "container port", "port"),
    command!(ps, "container ps", "ps", "container ls", "container list"),
    command!(prune, "container prune"),
    command!(rename, "container rename", "rename"),
    command!(restart, "container restart", "restart"),
    command!(rm, "container rm", "rm"),
    command!(run, "container run", "run"),
    command!(runlabel, "container runlabel"),
    command!(start, "container start", "start"),
    command!(stats, "container stats", "stats"),
    command!(stop, "container stop", "stop"),
    command!(top, "container top", "top"),
    command!(
        unmount,
        "container unmount",
        "unmount",
        "container umount",
        "umount"
    ),
    command!(unpause, "container unpause", "unpause"),
    update::COMMAND,
    command!(wait, "container wait", "wait"),
];
