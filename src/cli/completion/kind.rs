//! What may stand as an option's value or as an operand: one table by the option's
//! name, for all commands that have it, and one by the operand's word.
//!
//! A new command gets the kinds of what it calls as others do. An option of a new name
//! needs its line here, if only to say that it is free text: a test says so.

/// A word that may stand there and what it means.
pub type Word = (&'static str, &'static str);

/// What may stand at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Free text: nothing to offer.
    Text,
    File,
    Folder,
    /// One of these. A word that ends in `=` or `:` goes on.
    Words(&'static [Word]),
    /// Some of these, with commas between.
    Several(&'static [Word]),
    Container(Which),
    /// A file in a container, `web:/etc/`, or one here.
    ContainerFile,
    /// A path in the container that is named before.
    PathInside,
    Image,
    /// A container or an image.
    ContainerOrImage,
    /// Whatever has a name: container, image, volume.
    Any,
    Volume,
    /// A snapshot of the volume that is named before.
    Snapshot,
    /// A volume, or one of its snapshots: `results@before`.
    VolumeOrSnapshot,
    Secret,
    Network,
    /// `[SOURCE:]DESTINATION[:OPTIONS]`
    Mount,
    /// `type=bind,source=…`
    MountFields,
    /// A program in the image or container that is named before.
    Program,
    /// A program of this machine.
    HostProgram,
    /// `KEY=VALUE` by which a listing is narrowed.
    Filter,
    /// A Go template with the command's fields.
    Template,
    Capability,
    Signal,
    /// `--user`: of the image or container on the line.
    User,
    /// `NAME=VALUE`: a variable of ours.
    Variable,
    /// A registry where somebody is logged in.
    Registry,
    /// A zone of /usr/share/zoneinfo.
    TimeZone,
    /// `--network`
    NetworkMode,
    /// A namespace of this machine, of another container, or its own.
    Namespace(&'static [Word]),
    Shell,
}

/// Which containers a command can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    Up,
    Running,
    Paused,
    /// Not up: it can be started.
    Down,
    /// Made, and not started yet.
    Created,
}

/// The kind of `--option`'s value. `command` is what is typed for it: `run`, `volume
/// create`. `None` if nothing is known of it.
pub fn of_option(command: &str, option: &str) -> Option<Kind> {
    use Kind::*;
    Some(match (command, option) {
        ("completion", "file") => File,
        ("commit", "format") => Words(&[("oci", ""), ("docker", "Docker's v2 schema 2")]),
        ("build", "format") => Words(&[("oci", ""), ("docker", "Docker's v2 schema 2")]),
        ("build", "output") => Words(BUILD_OUTPUTS),
        ("build", "secret") => Words(&[("id=", "Its name, then src= or env=")]),
        ("build", "target") => Text,
        ("push" | "manifest push", "format") => {
            Words(&[("oci", "OCI's manifest"), ("v2s2", "Docker's v2 schema 2")])
        }
        ("save", "format") => Words(&[
            ("docker-archive", "A tar in Docker's layout (the default)"),
            ("docker-dir", "A folder with Docker's manifest"),
            ("oci-archive", "A tar in OCI's layout"),
            ("oci-dir", "A folder in OCI's layout"),
        ]),
        ("diff" | "container diff" | "image diff" | "volume diff", "format")
        | ("image mount" | "mount", "format") => Words(JSON),
        ("volume create", "driver") => Words(&[
            ("local", "A folder, or what --opt says"),
            ("image", "An image's files, with changes of its own"),
        ]),
        ("volume create", "opt") => Words(&[
            ("type=", "A file system: tmpfs, bind…"),
            ("device=", "The folder or image it shows"),
            ("o=", "Mount options: bind, uid=, gid=, size=…"),
            ("nocopy", "Do not fill it from the image"),
            ("image=", "The image, of driver image"),
        ]),
        ("secret create", "driver") => Words(&[
            ("file", "In a file of yours"),
            ("shell", "Where commands of yours keep it"),
        ]),
        ("system check", "max") => Text,
        ("inspect", "type") => Words(&[
            ("all", "Whatever has that name (the default)"),
            ("container", ""),
            ("image", ""),
            ("volume", ""),
            ("network", ""),
            ("pod", ""),
        ]),
        ("images", "sort") => Words(&[
            ("created", "Newest first (the default)"),
            ("id", ""),
            ("repository", ""),
            ("size", ""),
            ("tag", ""),
        ]),
        ("explain", "user") => User,
        ("login", "username") | ("login", "password") => Text,
        ("events", "since" | "until") => Words(MOMENTS),
        ("manifest annotate" | "manifest add", "annotation") => Text,
        (_, option) => of_any_option(option)?,
    })
}

/// The kind of an option that means the same wherever it is.
fn of_any_option(option: &str) -> Option<Kind> {
    use Kind::*;
    Some(match option {
        // Names of things.
        "name" | "hostname" | "tag" | "hostuser" | "target" | "isolation" => Text,
        "volumes-from" | "requires" => Container(Which::All),
        "artifact-subject" | "cache-from" | "cache-to" | "from" | "manifest" | "subject" => Image,
        "secret" => Secret,
        "user" => User,
        "group-add" => Words(&[("keep-groups", "Your own groups")]),
        "pod" | "network-alias" => Text,
        // Files.
        "artifact-config" | "authfile" | "cgroup-conf" | "cidfile" | "compat-auth-file"
        | "config" | "conmon-pidfile" | "digestfile" | "env-file" | "file" | "hosts-file"
        | "iidfile" | "ignorefile" | "input" | "label-file" | "logfile" | "output" | "pidfile"
        | "pod-id-file" | "build-arg-file" | "seccomp-profile" | "init-path" | "device" => File,
        "cert-dir" | "root" | "runroot" | "health-log-destination" => Folder,
        "volume" => Mount,
        "mount" => MountFields,
        "tmpfs" | "workdir" => PathInside,
        "device-read-bps"
        | "device-write-bps"
        | "device-read-iops"
        | "device-write-iops"
        | "blkio-weight-device" => File,
        "chrootdirs" => Folder,
        // Programs in the image.
        "entrypoint" => Program,
        // One of a few words.
        "filter" => Filter,
        "format" => Template,
        "cap-add" | "cap-drop" => Capability,
        "signal" | "stop-signal" => Signal,
        "network" => NetworkMode,
        "userns" => Words(USERNS),
        "cgroupns" => Namespace(&[
            ("private", "A cgroup namespace of its own (the default)"),
            ("host", "That of this machine"),
        ]),
        "pid" => Namespace(&[
            ("private", "A process namespace of its own (the default)"),
            ("host", "That of this machine"),
        ]),
        "ipc" => Namespace(&[
            ("shareable", "Its own, which others may join (the default)"),
            ("private", "Its own"),
            ("none", "Its own, without /dev/shm"),
            ("host", "That of this machine"),
        ]),
        "uts" => Namespace(&[
            ("private", "A host name of its own (the default)"),
            ("host", "That of this machine"),
        ]),
        "cgroups" => Words(&[
            ("enabled", "A cgroup of its own (the default)"),
            ("disabled", "None"),
            ("no-conmon", "One for the container, none for its monitor"),
            ("split", "Beneath the caller's"),
        ]),
        "pull" | "policy" => Words(&[
            ("always", "Ask the registry each time"),
            ("missing", "Pull what is not there"),
            ("never", "Use what is there"),
            ("newer", "Pull if the registry's is newer"),
        ]),
        "restart" => Words(&[
            ("no", "Never (the default)"),
            ("always", "However it ends"),
            ("on-failure", "When it ends with another code than 0"),
            ("on-failure:", "That often at most"),
            ("unless-stopped", "However it ends, until it is stopped"),
        ]),
        "log-driver" => Words(&[
            ("k8s-file", "A file of lines with their times (the default)"),
            ("json-file", "The same"),
            ("journald", "The journal"),
            ("none", "Nowhere"),
            ("passthrough", "The caller's own stdout and stderr"),
            ("passthrough-tty", "The same, a terminal too"),
        ]),
        "log-opt" => Words(&[
            ("max-size=", "How large the file may grow"),
            ("path=", "Where the file is"),
            ("tag=", "What the lines are marked with"),
        ]),
        "image-volume" => Words(&[
            ("anonymous", "An anonymous volume (the default)"),
            ("tmpfs", "In memory"),
            ("ignore", "Nothing"),
        ]),
        "systemd" => Words(&[
            ("true", "If the command is systemd or init (the default)"),
            ("false", "Never"),
            ("always", "Whatever the command is"),
        ]),
        "security-opt" => Words(&[
            ("no-new-privileges", "Nothing is gained by setuid programs"),
            ("seccomp=", "A profile, or unconfined"),
            ("apparmor=", "A profile, or unconfined"),
            ("label=", "disable, or parts of the SELinux label"),
            ("mask=", "Paths to hide"),
            ("unmask=", "Paths to show that are hidden, or ALL"),
            ("proc-opts=", "Options of /proc's mount"),
            ("systempaths=unconfined", "As unmask=ALL"),
        ]),
        "ulimit" => Words(ULIMITS),
        "platform" => Several(&[
            ("linux/amd64", "64-bit x86"),
            ("linux/arm64", "64-bit Arm"),
            ("linux/arm/v7", "32-bit Arm"),
            ("linux/386", "32-bit x86"),
            ("linux/ppc64le", "64-bit POWER"),
            ("linux/riscv64", "64-bit RISC-V"),
            ("linux/s390x", "IBM Z"),
        ]),
        "arch" => Words(&[
            ("amd64", "64-bit x86"),
            ("arm64", "64-bit Arm"),
            ("arm", "32-bit Arm"),
            ("386", "32-bit x86"),
            ("ppc64le", "64-bit POWER"),
            ("riscv64", "64-bit RISC-V"),
            ("s390x", "IBM Z"),
        ]),
        "os" => Words(&[("linux", ""), ("windows", ""), ("freebsd", "")]),
        "variant" => Words(&[
            ("v5", "32-bit Arm"),
            ("v6", "32-bit Arm"),
            ("v7", "32-bit Arm"),
            ("v8", "64-bit Arm"),
        ]),
        "attach" => Words(&[("stdin", ""), ("stdout", ""), ("stderr", "")]),
        "change" => Words(&[
            ("CMD=", "The command"),
            ("ENTRYPOINT=", "What runs the command"),
            ("ENV=", "NAME=VALUE"),
            ("EXPOSE=", "A port"),
            ("LABEL=", "KEY=VALUE"),
            ("ONBUILD=", "An instruction for images built on it"),
            ("STOPSIGNAL=", "The signal to stop with"),
            ("USER=", "Who the command runs as"),
            ("VOLUME=", "A folder that is a volume"),
            ("WORKDIR=", "The folder the command starts in"),
        ]),
        "add-compression" | "compression-format" => Words(&[
            ("gzip", "Read everywhere (the default)"),
            ("zstd", "Smaller and quicker"),
            ("zstd:chunked", "zstd whose files can be fetched one by one"),
        ]),
        "condition" => Words(&[
            ("created", ""),
            ("exited", ""),
            ("healthy", "Its health check passes"),
            ("initialized", ""),
            ("paused", ""),
            ("removing", ""),
            ("running", ""),
            ("stopped", "Not running any more (the default)"),
            ("unhealthy", "Its health check fails"),
        ]),
        "cgroup-manager" => Words(&[
            ("systemd", "The user's systemd makes cgroups"),
            ("cgroupfs", "coracle makes them"),
        ]),
        "tz" => TimeZone,
        "detach-keys" => Words(&[
            ("ctrl-p,ctrl-q", "The default"),
            ("ctrl-", "A letter follows"),
        ]),
        "tail" => Words(&[("all", ""), ("10", ""), ("100", "")]),
        "since" | "until" => Words(MOMENTS),
        "time" => Words(&[
            ("0", "Kill at once"),
            ("10", "The default"),
            ("-1", "Wait without end"),
        ]),
        "health-on-failure" => Words(&[
            ("none", "Only say so (the default)"),
            ("kill", ""),
            ("restart", ""),
            ("stop", ""),
        ]),
        "sdnotify" => Words(&[
            ("container", "The container says when it is ready"),
            ("conmon", "Its monitor does, when it runs"),
            ("healthy", "When its health check passes"),
            ("ignore", "Nobody does"),
        ]),
        "health-cmd" | "health-startup-cmd" => Words(&[("none", "No health check")]),
        "pids-limit" => Words(&[("-1", "No limit")]),
        "memory-swap" => Words(&[("-1", "No limit")]),
        "shm-size" | "memory" | "memory-reservation" | "shm-size-systemd" => {
            Words(&[("256m", ""), ("512m", ""), ("1g", ""), ("2g", "")])
        }
        "dns" => Words(&[("none", "/etc/resolv.conf is not made")]),
        "add-host" => Words(&[]),
        "env" => Variable,
        "gpus" => Words(&[("all", "")]),
        "http-proxy" => Words(&[("true", ""), ("false", "")]),
        // Numbers, and what only the caller knows.
        "annotation"
        | "artifact-config-type"
        | "artifact-layer-type"
        | "artifact-type"
        | "author"
        | "blkio-weight"
        | "build-arg"
        | "build-context"
        | "cache-ttl"
        | "cgroup-parent"
        | "compression-level"
        | "cpp-flag"
        | "cpu-period"
        | "cpu-quota"
        | "cpu-rt-period"
        | "cpu-rt-runtime"
        | "cpu-shares"
        | "cpus"
        | "cpuset-cpus"
        | "cpuset-mems"
        | "creds"
        | "decryption-key"
        | "device-cgroup-rule"
        | "dns-option"
        | "dns-search"
        | "driver"
        | "driver-opts"
        | "env-merge"
        | "expose"
        | "features"
        | "gid"
        | "gidmap"
        | "group-entry"
        | "health-interval"
        | "health-max-log-count"
        | "health-max-log-size"
        | "health-retries"
        | "health-start-period"
        | "health-startup-interval"
        | "health-startup-retries"
        | "health-startup-success"
        | "health-startup-timeout"
        | "health-timeout"
        | "interval"
        | "ip"
        | "ip6"
        | "jobs"
        | "label"
        | "last"
        | "layer-label"
        | "limit"
        | "mac-address"
        | "memory-swappiness"
        | "message"
        | "oom-score-adj"
        | "opt"
        | "os-feature"
        | "os-features"
        | "os-version"
        | "exec"
        | "passwd-entry"
        | "password"
        | "personality"
        | "preserve-fd"
        | "preserve-fds"
        | "publish"
        | "rdt-class"
        | "retry"
        | "retry-delay"
        | "sort"
        | "source-date-epoch"
        | "ssh"
        | "stop-timeout"
        | "subgidname"
        | "subuidname"
        | "sysctl"
        | "timeout"
        | "timestamp"
        | "type"
        | "uid"
        | "uidmap"
        | "umask"
        | "unsetannotation"
        | "unsetenv"
        | "unsetlabel"
        | "username"
        | "userns-gid-map"
        | "userns-gid-map-group"
        | "userns-uid-map"
        | "userns-uid-map-user"
        | "watch" => Text,
        _ => return None,
    })
}

/// The kind of the operand that help calls `word`: `CONTAINER`, `IMAGE`.
pub fn of_operand(command: &str, word: &str) -> Option<Kind> {
    use Kind::*;
    Some(match (command, word) {
        (_, "CONTAINER") => Container(which(command)),
        (_, "CONTAINER:PATH|SOURCE") => ContainerFile,
        (_, "CONTAINER|IMAGE") => ContainerOrImage,
        ("import" | "load", "PATH") => File,
        ("explain", "PATH") => PathInside,
        ("inspect" | "container inspect" | "image inspect", "NAME") => Any,
        (_, "IMAGE" | "LIST") => Image,
        ("volume clone", "VOLUME") | ("volume rm", "VOLUME") => VolumeOrSnapshot,
        (_, "VOLUME") => Volume,
        ("volume snapshot", "SNAPSHOT") => Text,
        (_, "SNAPSHOT") => Snapshot,
        (_, "SECRET") => Secret,
        (_, "NETWORK") => Network,
        ("secret create", "FILE" | "FILE|-" | "PATH")
        | (_, "SOURCE" | "FILE" | "PATH" | "CONTEXT") => File,
        (_, "DESTINATION") => Words(&[
            ("docker://", "A registry"),
            ("dir:", "A folder"),
            ("docker-archive:", "A tar in Docker's layout"),
            ("oci:", "A folder in OCI's layout"),
            ("oci-archive:", "A tar in OCI's layout"),
        ]),
        (_, "REGISTRY") => Registry,
        (_, "SHELL") => Shell,
        ("top", "COLUMN") => Words(COLUMNS),
        ("unshare", "COMMAND") => HostProgram,
        (_, "COMMAND") => Program,
        (_, "ARG") => PathInside,
        (_, "NAME" | "TERM" | "DIGEST" | "TAG" | "LABEL") => Text,
        _ => return None,
    })
}

/// The word of `kind` that may have been meant by `typed`, which is none of them.
pub fn near(command: &str, kind: Kind, typed: &str) -> Option<String> {
    // A key that there is: its value may be wrong.
    if kind == Kind::Filter
        && let Some((key, value)) = typed.split_once('=')
        && let words @ Kind::Words(_) = super::filters::kind(command, key)
        && let Some(value) = near(command, words, value)
    {
        return Some(format!("{key}={value}"));
    }
    let own = |words: &[Word]| words.iter().map(|(word, _)| (*word).to_owned()).collect();
    let words: Vec<String> = match kind {
        Kind::Words(words) | Kind::Several(words) | Kind::Namespace(words) => own(words),
        Kind::NetworkMode => own(super::offer::NETWORKS),
        Kind::Shell => own(&[("bash", ""), ("fish", ""), ("powershell", ""), ("zsh", "")]),
        Kind::Capability => crate::runtime::capability::CapSet::known().names(),
        Kind::Signal => crate::sys::signal::names()
            .map(|(name, _)| name.into())
            .collect(),
        Kind::Filter => own(super::filters::keys(command)),
        _ => return None,
    };
    let typed = match kind {
        Kind::Filter => typed.split('=').next()?.to_owned(),
        Kind::Capability | Kind::Signal => typed.to_uppercase(),
        _ => typed.to_owned(),
    };
    let typed = match kind {
        Kind::Capability => typed.trim_start_matches("CAP_"),
        Kind::Signal => typed.trim_start_matches("SIG"),
        _ => &typed,
    };
    let names = words
        .iter()
        .map(|word| word.trim_end_matches([':', '=']).trim_start_matches("CAP_"))
        // Numbers are examples.
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
    let names: Vec<&str> = names.collect();
    if names.contains(&typed) {
        return None;
    }
    let near = crate::id::near(typed, names)?;
    Some(match kind {
        Kind::Filter => format!("{near}="),
        _ => near.to_owned(),
    })
}

/// `-v` or `--mount` with the option that may have been meant by one that is none.
pub fn near_in_mount(kind: Kind, value: &str) -> Option<String> {
    const KEYS: [&str; 14] = [
        "type",
        "source",
        "src",
        "target",
        "destination",
        "dst",
        "readonly",
        "ro",
        "rw",
        "subpath",
        "bind-propagation",
        "relabel",
        "tmpfs-size",
        "tmpfs-mode",
    ];
    let own = |words: &[Word]| words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
    let (before, options) = match kind {
        Kind::Mount => {
            let (place, options) = value.rsplit_once(':')?;
            (format!("{place}:"), options)
        }
        _ => (String::new(), value),
    };
    let right = |option: &str| {
        let (name, rest) = option.split_once('=').unwrap_or((option, ""));
        let (typed, names) = match (kind, name) {
            (Kind::Mount, _) => (option, own(super::offer::MOUNT_OPTIONS)),
            (_, "type") => (rest, own(super::offer::MOUNT_TYPES)),
            _ => (name, KEYS.to_vec()),
        };
        let near = crate::id::near(typed, names.iter().copied()).filter(|it| *it != typed)?;
        Some(option.replacen(typed, near, 1))
    };
    let mut words: Vec<String> = options.split(',').map(str::to_owned).collect();
    let wrong = words.iter().position(|word| right(word).is_some())?;
    words[wrong] = right(&words[wrong])?;
    Some(format!("{before}{}", words.join(",")))
}

/// Which containers `command` can use.
fn which(command: &str) -> Which {
    match command {
        "attach" | "exec" | "kill" | "pause" | "port" | "top" | "healthcheck run" => Which::Running,
        "stop" => Which::Up,
        "stats" => Which::Running,
        "unpause" => Which::Paused,
        "start" => Which::Down,
        "init" => Which::Down,
        _ => Which::All,
    }
}

const JSON: &[Word] = &[("json", "For programs")];

const MOMENTS: &[Word] = &[
    ("10m", "That long ago"),
    ("1h", "That long ago"),
    ("24h", "That long ago"),
];

const BUILD_OUTPUTS: &[Word] = &[
    ("type=local,dest=", "The files, into a folder"),
    ("type=tar,dest=", "The files, as a tar"),
];

const USERNS: &[Word] = &[
    (
        "host",
        "Podman's default: root is you, others are your subordinate ids",
    ),
    ("keep-id", "You are the same user inside"),
    ("keep-id:", "You are uid= and gid= inside"),
    ("nomap", "Your own id is not mapped"),
    ("auto", "Ids that no other container has"),
    ("auto:", "The same, with size=, uidmapping=, gidmapping="),
    ("container:", "That of another container"),
    ("ns:", "The namespace at a path"),
];

/// The columns of `ulimit`s by setrlimit(2)'s names.
const ULIMITS: &[Word] = &[
    ("host", "All as the caller has them"),
    ("as=", "Address space"),
    ("core=", "Size of core files"),
    ("cpu=", "Seconds of processor time"),
    ("data=", "Size of data segments"),
    ("fsize=", "Size of files"),
    ("locks=", "File locks"),
    ("memlock=", "Locked memory"),
    ("msgqueue=", "Bytes in message queues"),
    ("nice=", "Priority"),
    ("nofile=", "Open files"),
    ("nproc=", "Processes"),
    ("rss=", "Resident memory"),
    ("rtprio=", "Real-time priority"),
    ("rttime=", "Real-time processor time"),
    ("sigpending=", "Signals that wait"),
    ("stack=", "Size of the stack"),
];

const COLUMNS: &[Word] = &[
    ("args", "The command with its arguments"),
    ("comm", "The command"),
    ("etime", "Time since the start"),
    ("group", ""),
    ("hgroup", "The group on the host"),
    ("hpid", "The process id on the host"),
    ("huser", "The user on the host"),
    ("nice", "Priority"),
    ("pcpu", "Share of a processor"),
    ("pgid", "Process group"),
    ("pid", ""),
    ("ppid", "The parent's id"),
    ("rss", "Resident memory"),
    ("seccomp", ""),
    ("state", ""),
    ("time", "Processor time"),
    ("tty", ""),
    ("user", ""),
    ("vsz", "Virtual memory"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{commands, help, parse};

    #[test]
    fn every_option_with_a_value_has_a_kind() {
        let mut without = Vec::new();
        for command in commands().filter(|it| !(it.define)().is_hide_set()) {
            let name = crate::cli::man::main_name(command);
            let definition = parse::definition(command, name);
            for option in help::options(&definition) {
                if option.value.is_some() && of_option(name, &option.long).is_none() {
                    without.push(format!("{name} --{}", option.long));
                }
            }
        }
        assert!(
            without.is_empty(),
            "no kind in completion/kind.rs:\n{}",
            without.join("\n")
        );
    }

    #[test]
    fn every_operand_has_a_kind() {
        let mut without = Vec::new();
        for command in commands().filter(|it| !(it.define)().is_hide_set()) {
            let name = crate::cli::man::main_name(command);
            let definition = parse::definition(command, name);
            for word in crate::cli::completion::operand_words(&definition) {
                if of_operand(name, &word).is_none() {
                    without.push(format!("{name} {word}"));
                }
            }
        }
        assert!(
            without.is_empty(),
            "no kind in completion/kind.rs:\n{}",
            without.join("\n")
        );
    }

    /// What the error of a wrong word lists is what is offered.
    #[test]
    fn columns_and_capabilities_are_known() {
        for (column, _) in COLUMNS {
            assert!(
                crate::container::top::Descriptor::parse(column).is_some(),
                "{column}"
            );
        }
    }
}
