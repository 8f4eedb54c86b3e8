//! A network namespace for a command that is in no container: `unshare
//! --rootless-netns`, and doctor's look at whether one can be had.

use std::path::Path;

use super::{Attached, HostFiles, Hosts, Netns, NetworkMode, Pasta, PastaSettings, resolv_conf};
use crate::error::{Context, Result};
use crate::sys::{SoleThread, mount, process};

/// The network we are in, as long as this value lives.
#[derive(Debug)]
pub struct Entered {
    pub attached: Attached,
    _pasta: Pasta,
    _netns: Netns,
}

/// Leaves for a network namespace like a container's, with its way out. We must be
/// root of a user namespace and in a mount namespace of our own, where
/// /etc/resolv.conf becomes one that answers there; it is first written in `scratch`.
pub fn enter(proof: SoleThread, cache: &Path, scratch: &Path) -> Result<Entered> {
    let settings = PastaSettings {
        options: &[],
        ports: &[],
        cache,
    };
    let netns = Netns::make(proof, None)?;
    let mut pasta = Pasta::start(proof, &netns, settings)?;
    let attached = pasta.ready(proof, &netns, settings)?;
    process::join_namespace(proof, std::os::fd::AsFd::as_fd(&netns), libc::CLONE_NEWNET)
        .tried(|| "join the network namespace")?;
    answer_names(&attached, scratch)?;
    Ok(Entered {
        attached,
        _pasta: pasta,
        _netns: netns,
    })
}

/// Mounts a resolv.conf for this network over the caller's, if they have one.
fn answer_names(attached: &Attached, scratch: &Path) -> Result<()> {
    let hosts = Hosts::default();
    let mode = NetworkMode::PastaDefault;
    let (target, files) = (Path::new("/etc/resolv.conf"), HostFiles::read());
    let text = resolv_conf(&hosts, &mode, attached, &files);
    let (Some(text), true) = (text, target.exists()) else {
        return Ok(());
    };
    let file = scratch.join(format!("resolv.conf-{}", std::process::id()));
    std::fs::write(&file, text).tried(|| format!("write {}", file.display()))?;
    let bound = mount::bind(&file, target);
    // The mount keeps it.
    let _ = std::fs::remove_file(&file);
    bound.tried(|| "mount over /etc/resolv.conf")
}
