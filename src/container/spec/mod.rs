//! The OCI config of a container: what libcontainer is told to make.
//!
//! A pure function of the [`Record`] and of what is known of the [`Host`], so its
//! tests are snapshots. It says what Podman 5.8's config.json says, but for what
//! libcontainer does not do and we do ourselves:
//!
//! - no user namespace: the monitor has entered it, or made the one to join;
//! - no seccomp, and [`CapSet::SETUP`] beside the wanted capabilities: the executor
//!   loads the filter, then gives up all but [`capabilities`];
//! - no terminal: the executor makes it;
//! - what must be prepared outside (copied-up tmpfs, overlays, images) comes as a
//!   folder to bind, by its place in [`mounts`];
//! - propagation of a single mount: the executor sets [`propagation`].

mod host;
mod limits;
mod masks;
mod mounts;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    self as oci, Linux, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPersonalityBuilder,
    LinuxPersonalityDomain, Process, RootBuilder, Spec, UserBuilder,
};

use super::options::{NamespaceMode, Options, Seccomp};
use super::record::Record;
use crate::error::{Context, Error, Kind, Result};
use crate::image::accounts::User;
use crate::network::NetworkMode;
use crate::runtime::capability::{self, CapSet, Capabilities};
use crate::runtime::seccomp::Profile;
use crate::userns::IdMap;

pub use host::{Files, Host, Machine, Namespaces, Source, host_devices};
pub use limits::{Controls, asks_limits, settings};
pub use masks::is_protected;
pub use mounts::{is_flag, mounts, moves, propagation, tmpfs_options};

/// The config of the container of `record` on `host`.
pub fn spec(record: &Record, host: &Host) -> Result<Spec> {
    let options = &record.options;
    let mut spec = Spec::default();
    spec.set_version("1.2.1".to_owned());
    spec.set_root(Some(built(
        RootBuilder::default()
            .path(&host.rootfs)
            .readonly(options.read_only)
            .build(),
    )?));
    spec.set_hostname(
        matches!(options.uts, NamespaceMode::Private)
            .then(|| hostname(record, &host.machine.hostname)),
    );
    spec.set_mounts(Some(mounts::all_mounts(options, host)?));
    spec.set_process(Some(process(record, host)?));
    spec.set_linux(Some(linux(options, host)?));
    spec.set_annotations(
        (!options.annotations.is_empty())
            .then(|| options.annotations.clone().into_iter().collect()),
    );
    Ok(spec)
}

/// The capabilities of the container's first program, of those `available`.
pub fn capabilities(options: &Options, available: CapSet) -> Result<Capabilities> {
    let bounding = if options.privileged {
        available
    } else {
        let base = match &options.cap_base {
            None => CapSet::DEFAULT,
            Some(names) => capability::merge(CapSet::EMPTY, names, &[], available)?,
        };
        capability::merge(base, &options.cap_add, &options.cap_drop, available)?
    };
    // As Podman: it is the word that counts, not what the image makes of it.
    let user = options.user.split(':').next().unwrap_or_default();
    Ok(if matches!(user, "" | "root" | "0") {
        Capabilities::root(bounding)
    } else {
        Capabilities::user(bounding, capability::added(&options.cap_add, available)?)
    })
}

/// The seccomp profile; a privileged container has one only if it is named.
pub fn seccomp_profile(options: &Options) -> Profile<'_> {
    match &options.security.seccomp {
        Seccomp::Default if options.privileged => Profile::Unconfined,
        Seccomp::Default => Profile::Default,
        Seccomp::Unconfined => Profile::Unconfined,
        Seccomp::Profile(path) => Profile::File(path),
    }
}

/// The name the container has on the network and, in a UTS namespace of its own,
/// for itself. `host` is the machine's.
pub fn hostname(record: &Record, host: &str) -> String {
    let options = &record.options;
    match &options.hostname {
        Some(name) => name.clone(),
        None if options.uts == NamespaceMode::Host || options.network == NetworkMode::Host => {
            host.to_owned()
        }
        None => record.id.short().to_owned(),
    }
}

/// The environment of the container's first program: what it was created with, and
/// what is known when it starts. `exec` adds its own to it.
pub fn environment(options: &Options, hostname: &str, home: Option<&str>) -> Vec<String> {
    let mut all = options.env.clone();
    let key = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for (name, value) in [("HOME", home), ("HOSTNAME", Some(hostname))] {
        if let Some(value) = value
            && !all.iter().any(|it| key(it) == name)
        {
            all.push(format!("{name}={value}"));
        }
    }
    all
}

/// Puts `NAME=VALUE` in the place of what has the same name, or at the end.
pub fn set_variable(all: &mut Vec<String>, variable: &str) {
    let key = variable.split('=').next();
    match all.iter_mut().find(|it| it.split('=').next() == key) {
        Some(there) => variable.clone_into(there),
        None => all.push(variable.to_owned()),
    }
}

fn process(record: &Record, host: &Host) -> Result<Process> {
    let options = &record.options;
    let mut process = Process::default();
    process.set_terminal(Some(false));
    process.set_user(user(options, host)?);
    process.set_args(Some(options.argv.clone()));
    let hostname = hostname(record, &host.machine.hostname);
    let mut env = environment(options, &hostname, host.user.home.as_deref());
    if options.systemd.is_some() {
        // What systemd takes for the machine's id.
        set_variable(
            &mut env,
            &format!("container_uuid={}", &record.id.as_str()[..32]),
        );
    }
    process.set_env(Some(env));
    process.set_cwd(match options.workdir.as_str() {
        "" => "/".into(),
        dir => dir.into(),
    });
    let available = host.machine.capabilities;
    process.set_capabilities(Some(oci_capabilities(
        &capabilities(options, available)?.with_setup(),
        available,
    )?));
    process.set_rlimits(match options.host_ulimits {
        true => None,
        false => Some(limits::rlimits(&options.ulimits, &host.machine)?),
    });
    // libcontainer takes `false` for something else than nothing.
    process.set_no_new_privileges(options.security.no_new_privileges.then_some(true));
    process.set_apparmor_profile(apparmor(options, &host.machine)?);
    // A user may raise it only (proc_pid_oom_score_adj(5)): Podman does so too.
    let score = |asked: i32| asked.max(host.machine.oom_score_adj);
    process.set_oom_score_adj(options.oom_score_adj.map(score));
    Ok(process)
}

fn user(options: &Options, host: &Host) -> Result<oci::User> {
    let User { uid, gid, .. } = host.user;
    let unmapped = |what: &str, id: u32| {
        Error::new(
            Kind::CannotInvoke,
            format!("{what} {id} is not mapped in the container's user namespace"),
        )
    };
    if host.map.uid_outside(uid).is_none() {
        return Err(unmapped("uid", uid));
    }
    if host.map.gid_outside(gid).is_none() {
        return Err(unmapped("gid", gid));
    }
    let mut user = built(
        UserBuilder::default()
            .uid(uid)
            .gid(gid)
            .umask(options.umask)
            .build(),
    )?;
    // With one id mapped setgroups(2) is denied (user_namespaces(7)).
    if !host.map.is_single() {
        let mut mapped = host.user.clone();
        mapped.keep_mapped(&host.map);
        user.set_additional_gids(
            (!mapped.additional_gids.is_empty()).then_some(mapped.additional_gids),
        );
    }
    Ok(user)
}

fn oci_capabilities(wanted: &Capabilities, available: CapSet) -> Result<oci::LinuxCapabilities> {
    let set = |set: CapSet| -> Result<Option<HashSet<oci::Capability>>> {
        set.and(available)
            .names()
            .into_iter()
            .map(|name| Ok(serde_json::from_value(serde_json::Value::String(name))?))
            .collect::<Result<_>>()
            .map(Some)
    };
    let mut all = oci::LinuxCapabilities::default();
    all.set_bounding(set(wanted.bounding)?);
    all.set_permitted(set(wanted.permitted)?);
    all.set_effective(set(wanted.effective)?);
    all.set_inheritable(set(wanted.inheritable)?);
    all.set_ambient(set(wanted.ambient)?);
    Ok(all)
}

fn apparmor(options: &Options, machine: &Machine) -> Result<Option<String>> {
    match options.security.apparmor.as_deref() {
        None | Some("" | "unconfined") => Ok(None),
        Some(name) if machine.has_apparmor => Ok(Some(name.to_owned())),
        Some(name) => Err(Error::usage(format!(
            "apparmor profile {name:?} specified, but Apparmor is not enabled on this system"
        ))),
    }
}

fn linux(options: &Options, host: &Host) -> Result<Linux> {
    let mut linux = Linux::default();
    linux.set_namespaces(Some(namespaces(options, &host.namespaces)?));
    // Its cgroup is not libcontainer's affair, nor are its limits: see [`settings`].
    linux.set_resources(None);
    let sysctls = sysctls(options, &host.map);
    linux.set_sysctl((!sysctls.is_empty()).then_some(sysctls));
    // "slave" where one mount at least has a propagation of its own: private ones
    // are then made so by the executor, but slaves cannot be made of private ones.
    let propagation = match mounts::wants_propagation(options) {
        true => "slave",
        false => "private",
    };
    linux.set_rootfs_propagation(Some(propagation.to_owned()));
    if let Some(name) = &options.personality {
        let domain = match name.as_str() {
            "LINUX" => LinuxPersonalityDomain::PerLinux,
            "LINUX32" => LinuxPersonalityDomain::PerLinux32,
            other => {
                return Err(Error::new(
                    Kind::CannotInvoke,
                    format!("OCI runtime error: unknown persona specified `{other}`"),
                ));
            }
        };
        let personality = LinuxPersonalityBuilder::default().domain(domain).build();
        linux.set_personality(Some(built(personality)?));
    }
    linux.set_masked_paths(Some(masks::masked(options)));
    linux.set_readonly_paths(Some(masks::read_only(options)));
    Ok(linux)
}

fn namespaces(options: &Options, joined: &Namespaces) -> Result<Vec<oci::LinuxNamespace>> {
    let network = match &options.network {
        NetworkMode::Host => NamespaceMode::Host,
        NetworkMode::Container(id) => NamespaceMode::Container(id.clone()),
        NetworkMode::Path(path) => NamespaceMode::Path(path.clone()),
        _ => NamespaceMode::Private,
    };
    let mut all = Vec::new();
    if let Some(path) = &joined.user {
        let user = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User);
        all.push(built(user.path(path).build())?);
    }
    for (typ, mode, path) in [
        (LinuxNamespaceType::Pid, &options.pid, &joined.pid),
        (LinuxNamespaceType::Network, &network, &joined.network),
        (LinuxNamespaceType::Ipc, &options.ipc, &joined.ipc),
        (LinuxNamespaceType::Uts, &options.uts, &joined.uts),
        (LinuxNamespaceType::Mount, &NamespaceMode::Private, &None),
        (
            LinuxNamespaceType::Cgroup,
            &options.cgroupns,
            &joined.cgroup,
        ),
    ] {
        match mode {
            NamespaceMode::Host => continue,
            NamespaceMode::Container(_) | NamespaceMode::Path(_) if path.is_none() => {
                return Err(Error::other(format!(
                    "the {typ} namespace to join is not open"
                )));
            }
            _ => {}
        }
        let mut namespace = built(LinuxNamespaceBuilder::default().typ(typ).build())?;
        namespace.set_path(path.clone());
        all.push(namespace);
    }
    Ok(all)
}

fn sysctls(options: &Options, map: &IdMap) -> HashMap<String, String> {
    let mut all = HashMap::new();
    // containers.conf's one default: root may ping, where the network is its own. The
    // kernel takes no group without an id.
    if is_network_own(options) && map.gid_outside(0).is_some() {
        all.insert("net.ipv4.ping_group_range".to_owned(), "0 0".to_owned());
    }
    all.extend(options.sysctls.clone());
    all
}

fn is_network_own(options: &Options) -> bool {
    matches!(
        options.network,
        NetworkMode::PastaDefault | NetworkMode::Pasta(_) | NetworkMode::None
    )
}

fn built<T>(result: std::result::Result<T, OciSpecError>) -> Result<T> {
    result
        .map_err(|error| Error::other(error.to_string()))
        .tried(|| "make the container's config")
}
