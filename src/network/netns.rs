//! A network namespace, held from outside.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::netlink::{self, Families};
use crate::error::{Context, Error, Result};
use crate::sys::SoleThread;
use crate::sys::process::{self, UnshareFlags};

/// A network namespace of the user namespace we are root of, made before the
/// container that will live in it; it is there as long as this value or a
/// process in it.
#[derive(Debug)]
pub struct Netns {
    namespace: OwnedFd,
    netlink: OwnedFd,
    routes: OwnedFd,
}

impl Netns {
    /// Makes one, its loopback interface up.
    ///
    /// A child does it and ends, as we could not come back: to join our own
    /// namespace again asks for rights in the user namespace that owns it.
    pub fn make(proof: SoleThread, owner: Option<BorrowedFd<'_>>) -> Result<Self> {
        let made = process::aside(proof, || make_here(proof, owner))
            .tried(|| "make a network namespace")?;
        made.ok_or_else(|| Error::other("the child that makes the network namespace died"))?
    }

    /// Where a process that inherits our descriptors finds it (`path` in the
    /// OCI config). Its descriptor is closed on exec.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.namespace.as_raw_fd()).into()
    }

    /// The addresses there, as [`Attached`](super::Attached) wants them.
    pub fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        netlink::addresses(&self.netlink)
    }

    /// Readable when there is a new route there.
    pub(super) fn routes(&self) -> BorrowedFd<'_> {
        self.routes.as_fd()
    }

    /// Adds to `found` the families that got a default route since this was asked last.
    pub(super) fn new_default_routes(&self, found: &mut Families) -> io::Result<()> {
        netlink::heard_default_routes(&self.routes, found)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

fn make_here(proof: SoleThread, owner: Option<BorrowedFd<'_>>) -> Result<Netns> {
    if let Some(owner) = owner {
        process::join_namespace(proof, owner, libc::CLONE_NEWUSER)
            .tried(|| "join the container's user namespace")?;
    }
    process::unshare(proof, UnshareFlags::NEWNET).tried(|| "make a network namespace")?;
    let tried = || "open a netlink socket";
    let netlink = netlink::socket().tried(tried)?;
    let routes = netlink::route_listener().tried(tried)?;
    netlink::raise_loopback(&netlink).tried(|| "set up the loopback interface")?;
    let namespace =
        std::fs::File::open("/proc/self/ns/net").tried(|| "open the network namespace")?;
    Ok(Netns {
        namespace: namespace.into(),
        netlink,
        routes,
    })
}
