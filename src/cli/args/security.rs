//! What the container may do: capabilities, security options, devices, kernel
//! parameters, resource limits of its processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::args::host::Host;
use crate::cli::args::{csv, number};
use crate::container::cdi;
use crate::container::options::{Device, NamespaceMode, Seccomp, Security, Ulimit};
use crate::error::{Error, Result, words};
use crate::network::NetworkMode;

/// Flags of what the container may do.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Give a capability beside the default ones; all gives every one
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,

    /// Take a capability away; all takes every one
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,

    /// Give a device of the host, or each in a folder of devices
    ///
    /// PERMISSIONS are of r, w and m. The caller must be allowed to use the device.
    /// VENDOR/CLASS=NAME is a device that a file of its vendor describes (Container Device
    /// Interface), as nvidia.com/gpu=all: one in /etc/cdi, /var/run/cdi, ~/.config/cdi or
    /// $XDG_RUNTIME_DIR/cdi, or where --cdi-spec-dir says.
    #[arg(long, value_name = "DEVICE[:DESTINATION][:PERMISSIONS]")]
    pub device: Vec<String>,

    /// Give GPUs: all, or the names of some
    ///
    /// The same as --device nvidia.com/gpu=NAME.
    #[arg(long, value_name = "GPU")]
    pub gpus: Vec<String>,

    /// What containers.conf gives in place of the default ones.
    #[arg(skip)]
    pub default_capabilities: Option<Vec<String>>,

    /// What containers.conf sets where it can.
    #[arg(skip)]
    pub default_sysctls: Vec<String>,

    /// Give every capability, unmask /proc and /sys, and drop seccomp
    ///
    /// The container still can do no more than the caller.
    #[arg(long)]
    pub privileged: bool,

    /// Where the seccomp profile comes from: default, or image for the image's label
    #[arg(long, value_name = "POLICY", default_value = "default", hide = true)]
    pub seccomp_policy: String,

    /// Set a security option
    ///
    /// no-new-privileges[=true|false]; seccomp=unconfined or a profile's path;
    /// unmask=ALL or paths with colons between; mask=paths; proc-opts=options of
    /// /proc; systempaths=unconfined; apparmor=unconfined; label=… (accepted, there is
    /// no SELinux).
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,

    /// Set a kernel parameter of the container's namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<String>,

    /// Set a resource limit of the container's processes: NAME=SOFT[:HARD], or host
    ///
    /// -1 is no limit; host leaves the caller's limits as they are. Names are those of
    /// getrlimit(2): core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile,
    /// nproc, rss, rtprio, rttime, sigpending, stack.
    #[arg(long, value_name = "OPTION")]
    pub ulimit: Vec<String>,
}

/// The label of an image that has a seccomp profile.
const PROFILE_LABEL: &str = "io.containers.seccomp.profile";

impl Args {
    /// The capabilities of a container that asks for none, if they are not Podman's.
    pub fn base_capabilities(&self) -> Result<Option<Vec<String>>> {
        self.default_capabilities
            .as_deref()
            .map(capabilities)
            .transpose()
    }

    /// Capabilities to add and to drop, as `CAP_NAME` or `ALL`.
    pub fn capabilities(&self) -> Result<(Vec<String>, Vec<String>)> {
        let add = csv::all("--cap-add", &self.cap_add)?;
        let drop = csv::all("--cap-drop", &self.cap_drop)?;
        if self.privileged {
            // All are given, and Podman looks at neither list.
            return Ok((Vec::new(), Vec::new()));
        }
        let (add, drop) = (capabilities(&add)?, capabilities(&drop)?);
        let is_all = |list: &[String]| list.iter().any(|name| name == ALL);
        match (is_all(&add), is_all(&drop)) {
            (true, true) => Err(Error::usage(
                "adding all caps and removing all caps not allowed",
            )),
            (false, false) => match add.iter().find(|name| drop.contains(name)) {
                Some(name) => Err(Error::usage(format!(
                    "capability {name:?} cannot be dropped and added"
                ))),
                None => Ok((add, drop)),
            },
            _ => Ok((add, drop)),
        }
    }

    pub fn security(&self, host: &dyn Host) -> Result<Security> {
        let mut security = Security::default();
        for option in &self.security_opt {
            add_security_option(&mut security, option, host)?;
        }
        Ok(security)
    }

    /// The devices as they are given; see [`expand_devices`].
    pub fn devices(&self) -> Result<Vec<Device>> {
        let given = self.all_devices()?;
        let given = given.iter().filter(|text| !cdi::is_name(text));
        given.map(|text| device(text)).collect()
    }

    /// The devices that a vendor's file describes; see [`cdi`].
    pub fn named_devices(&self) -> Result<Vec<String>> {
        let mut named = self.all_devices()?;
        named.retain(|text| cdi::is_name(text));
        Ok(named)
    }

    fn all_devices(&self) -> Result<Vec<String>> {
        let gpus = csv::all("--gpus", &self.gpus)?;
        let gpus = gpus.iter().filter(|gpu| !gpu.is_empty());
        let gpus = gpus.map(|gpu| format!("nvidia.com/gpu={gpu}"));
        Ok(gpus.chain(self.device.iter().cloned()).collect())
    }

    /// Checks `--seccomp-policy`.
    pub fn check_policy(&self, image: &BTreeMap<String, String>) -> Result<()> {
        match self.seccomp_policy.as_str() {
            "default" | "" => Ok(()),
            "image" if image.contains_key(PROFILE_LABEL) => {
                Err(Error::unsupported("--seccomp-policy=image"))
            }
            "image" => Err(Error::usage("no seccomp policy defined by image")),
            other => Err(Error::usage(format!(
                "invalid seccomp policy {other:?}: valid policies are [\"default\" \"image\"]"
            ))),
        }
    }

    pub fn sysctls(
        &self,
        network: &NetworkMode,
        ipc: &NamespaceMode,
    ) -> Result<BTreeMap<String, String>> {
        let mut sysctls = BTreeMap::new();
        let taken = |name: &str| match name.starts_with("net.") {
            true => (*network == NetworkMode::Host).then_some("Network"),
            false => (*ipc == NamespaceMode::Host).then_some("IPC"),
        };
        for text in &self.default_sysctls {
            let (name, value) = sysctl(text)?;
            // This one every container has that can.
            let is_usual = (name, value) == ("net.ipv4.ping_group_range", "0 0");
            // Those of namespaces that are not the container's are left as they are.
            if taken(name).is_none() && !is_usual {
                sysctls.insert(name.to_owned(), value.to_owned());
            }
        }
        for text in csv::all("--sysctl", &self.sysctl)? {
            let (name, value) = sysctl(&text)?;
            if let Some(namespace) = taken(name) {
                return Err(Error::usage(format!(
                    "sysctl {text} can't be set since {namespace} Namespace set to host: \
                     invalid argument"
                )));
            }
            sysctls.insert(name.to_owned(), value.to_owned());
        }
        Ok(sysctls)
    }

    /// The limits, and whether the caller's are left as they are.
    pub fn ulimits(&self) -> Result<(Vec<Ulimit>, bool)> {
        ulimits(&self.ulimit)
    }
}

const ALL: &str = "ALL";

/// capabilities(7), Linux 6.18, without `CAP_`.
const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Names in one spelling, each once.
fn capabilities(names: &[String]) -> Result<Vec<String>> {
    let mut known: Vec<String> = Vec::new();
    for name in names.iter().filter(|name| !name.is_empty()) {
        let upper = name.to_ascii_uppercase();
        let full = if upper == ALL {
            upper
        } else {
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            let full = format!("CAP_{bare}");
            if !CAPABILITIES.contains(&bare) {
                return Err(Error::usage(format!("{full:?}: unknown capability")));
            }
            full
        };
        if !known.contains(&full) {
            known.push(full);
        }
    }
    Ok(known)
}

/// One value of `--security-opt`: `name=value`, or Docker's old `name:value`.
fn add_security_option(security: &mut Security, option: &str, host: &dyn Host) -> Result<()> {
    if option == "no-new-privileges" {
        security.no_new_privileges = true;
        return Ok(());
    }
    let Some((name, value)) = option.split_once('=').or_else(|| option.split_once(':')) else {
        return Err(Error::usage(format!(
            "invalid --security-opt 1: {option:?}"
        )));
    };
    let unknown = || Error::usage(format!("invalid --security-opt 2: {option:?}"));
    let paths = || value.split(':').map(str::to_owned);
    match name {
        "no-new-privileges" => {
            security.no_new_privileges = number::boolean(value).map_err(|_| unknown())?;
        }
        "seccomp" => {
            security.seccomp = match value {
                "unconfined" => Seccomp::Unconfined,
                "" => Seccomp::Default,
                path => Seccomp::Profile(host.absolute(path)),
            }
        }
        "apparmor" => match value {
            "unconfined" => security.apparmor = Some(value.to_owned()),
            // A profile can only be entered with privilege, so rootless Podman calls
            // AppArmor disabled wherever it runs.
            _ => {
                return Err(Error::usage(format!(
                    "apparmor profile {value:?} specified, \
                     but Apparmor is not enabled on this system"
                )));
            }
        },
        "label" if value == "nested" => {
            return Err(Error::usage(
                "statfs /sys/fs/selinux: no such file or directory",
            ));
        }
        "label" => security.labels.push(value.to_owned()),
        "mask" => security.mask.extend(paths()),
        "unmask" => security.unmask.extend(paths().map(|path| {
            if path.eq_ignore_ascii_case(ALL) {
                ALL.to_owned()
            } else {
                path
            }
        })),
        "proc-opts" => security
            .proc_opts
            .extend(value.split(',').map(str::to_owned)),
        "systempaths" if value == "unconfined" => security.unmask.push(ALL.to_owned()),
        "systempaths" => {
            return Err(Error::usage(format!(
                "invalid systempaths option {value:?}, only `unconfined` is supported"
            )));
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

/// Whether the profile named is there. Not pure.
pub fn check_profile(seccomp: &Seccomp) -> Result<()> {
    if let Seccomp::Profile(path) = seccomp {
        std::fs::File::open(path).map_err(|error| {
            Error::usage(format!(
                "opening seccomp profile failed: open {}: {}",
                path.display(),
                words(&error)
            ))
        })?;
    }
    Ok(())
}

/// One value of `--device`.
fn device(text: &str) -> Result<Device> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| "rwm".contains(c))
            && "rwm".chars().all(|c| text.matches(c).count() <= 1)
    };
    let bad_mode =
        |mode: &str| Error::usage(format!("invalid device mode {mode:?} in device {text:?}"));
    let (source, destination, permissions) = match parts[..] {
        [source] => (source, "", "rwm"),
        [source, mode] if is_mode(mode) => (source, "", mode),
        [source, destination] => (source, destination, "rwm"),
        [source, destination, mode] => (source, destination, mode),
        _ => {
            return Err(Error::usage(format!(
                "invalid device specification: {text}"
            )));
        }
    };
    if !is_mode(permissions) {
        return Err(bad_mode(permissions));
    }
    if !destination.is_empty() && !destination.starts_with('/') {
        return Err(bad_mode(destination));
    }
    let destination = if destination.is_empty() {
        source
    } else {
        destination
    };
    Ok(Device {
        source: source.into(),
        destination: destination.into(),
        permissions: permissions.to_owned(),
    })
}

/// The devices with each folder of devices replaced by what lies in it, after a look
/// whether all are there. Not pure.
pub fn expand_devices(devices: &[Device]) -> Result<Vec<Device>> {
    use std::os::unix::fs::FileTypeExt;
    let mut all = Vec::new();
    for device in devices {
        let path = &device.source;
        let found = path
            .metadata()
            .map_err(|error| Error::usage(format!("stat {}: {}", path.display(), words(&error))))?;
        let kind = found.file_type();
        if kind.is_dir() {
            let before = all.len();
            expand_folder(device, path, &device.destination, &mut all);
            if all.len() == before {
                return Err(Error::usage(format!(
                    "no devices found in {}: invalid argument",
                    path.display()
                )));
            }
        } else if kind.is_char_device() || kind.is_block_device() {
            all.push(device.clone());
        } else {
            return Err(Error::usage(format!(
                "{} is not a valid device: not a device node",
                path.display()
            )));
        }
    }
    Ok(all)
}

/// Adds the devices in `from`, but those folders of /dev that the container has its own of.
fn expand_folder(device: &Device, from: &Path, to: &Path, all: &mut Vec<Device>) {
    use std::os::unix::fs::FileTypeExt;
    let Ok(entries) = std::fs::read_dir(from) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for source in paths {
        let (Some(name), Ok(found)) = (source.file_name(), source.symlink_metadata()) else {
            continue;
        };
        let destination = to.join(name);
        let kind = found.file_type();
        if kind.is_dir() {
            let own = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
            if !own.iter().any(|known| name == *known) {
                expand_folder(device, &source, &destination, all);
            }
        } else if (kind.is_char_device() || kind.is_block_device()) && name != "console" {
            all.push(Device {
                source,
                destination,
                permissions: device.permissions.clone(),
            });
        }
    }
}

/// Parameters of the IPC namespace.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Name and value, if the parameter is one of a namespace.
fn sysctl(text: &str) -> Result<(&str, &str)> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Error::usage(format!(
            "{text} is invalid, sysctl values must be in the form of KEY=VALUE"
        )));
    };
    if name.trim() != name || value.trim() != value || value.contains('=') {
        return Err(Error::usage(format!(
            "'{text}' is invalid, extra spaces found"
        )));
    }
    if IPC_SYSCTLS.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.") {
        Ok((name, value))
    } else {
        Err(Error::usage(format!("sysctl '{name}' is not allowed")))
    }
}

/// getrlimit(2), without `RLIMIT_`.
const LIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One limit: `nofile=1024:2048`.
fn ulimit(text: &str) -> Result<Ulimit, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("invalid ulimit argument: {text}"));
    };
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    if !LIMITS.contains(&bare) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let parts: Vec<&str> = value.split(':').collect();
    let (soft, hard) = match parts[..] {
        [both] => {
            let both = number::decimal_signed(both)?;
            (both, both)
        }
        [soft, hard] => (number::decimal_signed(soft)?, number::decimal_signed(hard)?),
        _ => {
            return Err(format!(
                "too many limit value arguments - {value}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    let more = "ulimit soft limit must be less than or equal to hard limit";
    if hard != -1 && soft == -1 {
        return Err(format!("{more}: soft: -1 (unlimited), hard: {hard}"));
    }
    if hard != -1 && soft > hard {
        return Err(format!("{more}: {soft} > {hard}"));
    }
    // As the kernel reads them: -1 is RLIM_INFINITY.
    Ok(Ulimit {
        name: format!("RLIMIT_{}", bare.to_ascii_uppercase()),
        soft: soft as u64,
        hard: hard as u64,
    })
}

/// `--ulimit`: the limits, and whether the caller's are left as they are.
pub fn ulimits(given: &[String]) -> Result<(Vec<Ulimit>, bool)> {
    let mut ulimits: Vec<Ulimit> = Vec::new();
    let mut is_host = false;
    for text in csv::all("--ulimit", given)? {
        if text == "host" {
            is_host = true;
            continue;
        }
        let limit = ulimit(&text).map_err(|why| {
            Error::usage(format!(
                "ulimit option {text:?} requires name=SOFT:HARD, failed to be parsed: {why}"
            ))
        })?;
        ulimits.retain(|it| it.name != limit.name);
        ulimits.push(limit);
    }
    if is_host {
        ulimits.clear();
    }
    Ok((ulimits, is_host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::tests::Fake;

    fn args() -> Args {
        Args {
            default_capabilities: None,
            default_sysctls: Vec::new(),
            gpus: Vec::new(),
            seccomp_policy: "default".to_owned(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            device: Vec::new(),
            privileged: false,
            security_opt: Vec::new(),
            sysctl: Vec::new(),
            ulimit: Vec::new(),
        }
    }

    fn own(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn capabilities_have_one_spelling() {
        let both = |add: &[&str], drop: &[&str], privileged| {
            Args {
                cap_add: own(add),
                cap_drop: own(drop),
                privileged,
                ..args()
            }
            .capabilities()
            .map_err(|error| error.to_string())
        };
        let ok = |add: &[&str], drop: &[&str]| Ok((own(add), own(drop)));
        assert_eq!(
            both(
                &["net_admin,SYS_time", "CAP_NET_ADMIN", ""],
                &["mknod"],
                false
            ),
            ok(&["CAP_NET_ADMIN", "CAP_SYS_TIME"], &["CAP_MKNOD"])
        );
        assert_eq!(
            both(&["chown"], &["all"], false),
            ok(&["CAP_CHOWN"], &["ALL"])
        );
        assert_eq!(
            both(&["ALL"], &["chown"], false),
            ok(&["ALL"], &["CAP_CHOWN"])
        );
        assert_eq!(both(&["foo"], &["foo"], true), ok(&[], &[]));
        for (add, drop, why) in [
            (&["foo"][..], &[][..], "\"CAP_FOO\": unknown capability"),
            (&[], &["CAP_FOO"], "\"CAP_FOO\": unknown capability"),
            (&["chown, kill"], &[], "\"CAP_ KILL\": unknown capability"),
            (
                &["net_admin"],
                &["NET_ADMIN"],
                "capability \"CAP_NET_ADMIN\" cannot be dropped and added",
            ),
            (
                &["all"],
                &["all"],
                "adding all caps and removing all caps not allowed",
            ),
        ] {
            assert_eq!(both(add, drop, false).unwrap_err(), why);
        }
    }

    #[test]
    fn security_options_are_podmans() {
        let security = |options: &[&str]| {
            Args {
                security_opt: own(options),
                ..args()
            }
            .security(&Fake::default())
            .map_err(|error| error.to_string())
        };
        assert_eq!(
            security(&[
                "no-new-privileges",
                "seccomp:unconfined",
                "label=disable",
                "label=type:x",
                "mask=/a:/b",
                "unmask=/c:all",
                "proc-opts=hidepid=2,subset=pid",
                "apparmor=unconfined",
            ])
            .unwrap(),
            Security {
                no_new_privileges: true,
                seccomp: Seccomp::Unconfined,
                apparmor: Some("unconfined".into()),
                labels: own(&["disable", "type:x"]),
                mask: own(&["/a", "/b"]),
                unmask: own(&["/c", "ALL"]),
                proc_opts: own(&["hidepid=2", "subset=pid"]),
            }
        );
        assert!(
            !security(&["no-new-privileges:false"])
                .unwrap()
                .no_new_privileges
        );
        assert_eq!(
            security(&["seccomp=p.json", "systempaths=unconfined"]).unwrap(),
            Security {
                seccomp: Seccomp::Profile("/home/me/w/p.json".into()),
                unmask: own(&["ALL"]),
                ..Security::default()
            }
        );
        for (option, why) in [
            ("foo", "invalid --security-opt 1: \"foo\""),
            ("foo=bar", "invalid --security-opt 2: \"foo=bar\""),
            ("", "invalid --security-opt 1: \"\""),
            (
                "no-new-privileges=foo",
                "invalid --security-opt 2: \"no-new-privileges=foo\"",
            ),
            (
                "apparmor=foo",
                "apparmor profile \"foo\" specified, but Apparmor is not enabled on this system",
            ),
            (
                "systempaths=foo",
                "invalid systempaths option \"foo\", only `unconfined` is supported",
            ),
        ] {
            assert_eq!(security(&[option]).unwrap_err(), why);
        }
        assert_eq!(
            check_profile(&Seccomp::Profile("/nope".into()))
                .unwrap_err()
                .to_string(),
            "opening seccomp profile failed: open /nope: no such file or directory"
        );
    }

    #[test]
    fn devices_have_up_to_three_parts() {
        for (text, source, destination, permissions) in [
            ("/dev/null", "/dev/null", "/dev/null", "rwm"),
            ("/dev/null:rw", "/dev/null", "/dev/null", "rw"),
            ("/dev/null:/dev/x", "/dev/null", "/dev/x", "rwm"),
            ("/dev/null:/dev/x:r", "/dev/null", "/dev/x", "r"),
            ("/dev/null::rw", "/dev/null", "/dev/null", "rw"),
        ] {
            assert_eq!(
                device(text).unwrap(),
                Device {
                    source: source.into(),
                    destination: destination.into(),
                    permissions: permissions.into()
                },
                "{text}"
            );
        }
        for (text, why) in [
            (
                "/dev/null:/dev/x:foo",
                "invalid device mode \"foo\" in device \"/dev/null:/dev/x:foo\"",
            ),
            (
                "/dev/null:x",
                "invalid device mode \"x\" in device \"/dev/null:x\"",
            ),
            (
                "/dev/null:/dev/x:rwm:r",
                "invalid device specification: /dev/null:/dev/x:rwm:r",
            ),
        ] {
            assert_eq!(device(text).unwrap_err().to_string(), why);
        }
        let expand = |text| expand_devices(&[device(text).unwrap()]).map_err(|e| e.to_string());
        assert_eq!(
            expand("/dev/null:/dev/x").unwrap()[0].destination,
            Path::new("/dev/x")
        );
        assert_eq!(
            expand("/dev/nope").unwrap_err(),
            "stat /dev/nope: no such file or directory"
        );
        assert_eq!(
            expand("/etc/passwd").unwrap_err(),
            "/etc/passwd is not a valid device: not a device node"
        );
        assert_eq!(
            expand("/etc").unwrap_err(),
            "no devices found in /etc: invalid argument"
        );
        assert!(
            expand("/dev:/d")
                .unwrap()
                .iter()
                .any(|it| it.destination == Path::new("/d/null"))
        );
    }

    #[test]
    fn sysctls_are_those_of_namespaces() {
        let sysctls = |texts: &[&str], network: NetworkMode, ipc: NamespaceMode| {
            Args {
                sysctl: own(texts),
                ..args()
            }
            .sysctls(&network, &ipc)
            .map_err(|error| error.to_string())
        };
        let own_ones = |texts: &[&str]| sysctls(texts, NetworkMode::None, NamespaceMode::Private);
        assert_eq!(
            own_ones(&["net.x=1,net.y=", "kernel.sem=1 2", "fs.mqueue.x=1", ""])
                .unwrap()
                .len(),
            4
        );
        for (text, why) in [
            (
                "foo",
                "foo is invalid, sysctl values must be in the form of KEY=VALUE",
            ),
            (
                "kernel.hostname=x",
                "sysctl 'kernel.hostname' is not allowed",
            ),
            ("net/x=1", "sysctl 'net/x' is not allowed"),
            ("net.x = 1", "'net.x = 1' is invalid, extra spaces found"),
            ("net.x=a=b", "'net.x=a=b' is invalid, extra spaces found"),
        ] {
            assert_eq!(own_ones(&[text]).unwrap_err(), why);
        }
        assert_eq!(
            sysctls(&["net.x=1"], NetworkMode::Host, NamespaceMode::Private).unwrap_err(),
            "sysctl net.x=1 can't be set since Network Namespace set to host: invalid argument"
        );
        assert_eq!(
            sysctls(&["kernel.sem=1"], NetworkMode::None, NamespaceMode::Host).unwrap_err(),
            "sysctl kernel.sem=1 can't be set since IPC Namespace set to host: invalid argument"
        );
    }

    #[test]
    fn ulimits_are_go_units() {
        let ulimits = |texts: &[&str]| {
            Args {
                ulimit: own(texts),
                ..args()
            }
            .ulimits()
            .map(|(limits, is_host)| {
                let shown: Vec<String> = limits
                    .iter()
                    .map(|it| format!("{}={}:{}", it.name, it.soft, it.hard))
                    .collect();
                (shown.join(" "), is_host)
            })
            .map_err(|error| error.to_string())
        };
        for (texts, wanted) in [
            (&["nofile=5"][..], "RLIMIT_NOFILE=5:5"),
            (
                &["NOFILE=5:6,nproc=7", "RLIMIT_NOFILE=8"],
                "RLIMIT_NPROC=7:7 RLIMIT_NOFILE=8:8",
            ),
            (
                &["core=-1"],
                "RLIMIT_CORE=18446744073709551615:18446744073709551615",
            ),
            (&["core=0:-1"], "RLIMIT_CORE=0:18446744073709551615"),
        ] {
            assert_eq!(ulimits(texts).unwrap(), (wanted.to_owned(), false));
        }
        assert_eq!(ulimits(&["host", "nofile=5"]), Ok((String::new(), true)));
        for name in LIMITS {
            assert!(ulimits(&[&format!("{name}=1")]).is_ok(), "{name}");
        }
        for (text, why) in [
            ("foo", "invalid ulimit argument: foo"),
            ("foo=1", "invalid ulimit type: foo"),
            ("as=1", "invalid ulimit type: as"),
            ("nofile=", "strconv.ParseInt: parsing \"\": invalid syntax"),
            (
                "nice=0x5",
                "strconv.ParseInt: parsing \"0x5\": invalid syntax",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            (
                "nofile=2:1",
                "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
            ),
            (
                "nofile=-1:5",
                "ulimit soft limit must be less than or equal to hard limit: \
                 soft: -1 (unlimited), hard: 5",
            ),
        ] {
            assert_eq!(
                ulimits(&[text]).unwrap_err(),
                format!(
                    "ulimit option {text:?} requires name=SOFT:HARD, failed to be parsed: {why}"
                )
            );
        }
    }
}
