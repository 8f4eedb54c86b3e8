//! A network namespace, held from outside.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::netlink;
use crate::error::{Context, Error, Result};
use crate::sys::process::{self, Fork, UnshareFlags};
use crate::sys::{SoleThread, socket};

/// A network namespace of the user namespace we are root of, made before the
/// container that will live in it; it is there as long as this value or a
/// process in it.
#[derive(Debug)]
pub struct Netns {
    namespace: OwnedFd,
    netlink: OwnedFd,
}

impl Netns {
    /// Makes one, its loopback interface up.
    ///
    /// A child does it and ends, as we could not come back: to join our own
    /// namespace again asks for rights in the user namespace that owns it.
    pub fn make(proof: SoleThread, owner: Option<BorrowedFd<'_>>) -> Result<Self> {
        let (ours, theirs) = socket::pair().tried(|| "make a socket pair")?;
        match process::fork(proof)? {
            Fork::Child => {
                match make_here(proof, owner) {
                    Ok((namespace, netlink)) => {
                        let fds = [namespace.as_fd(), netlink.as_fd()];
                        let _ = socket::send(theirs.as_fd(), b"made", &fds);
                    }
                    Err(error) => {
                        let _ = socket::send(theirs.as_fd(), error.to_string().as_bytes(), &[]);
                    }
                }
                process::exit_now(0)
            }
            Fork::Parent(child) => {
                drop(theirs);
                let answer = socket::receive(&ours);
                let _ = child.reap();
                let (words, fds) = answer.tried(|| "make a network namespace")?;
                match <[OwnedFd; 2]>::try_from(fds) {
                    Ok([namespace, netlink]) => Ok(Self { namespace, netlink }),
                    Err(_) => Err(Error::other(match words.is_empty() {
                        true => "the child that makes the network namespace died".into(),
                        false => String::from_utf8_lossy(&words).into_owned(),
                    })),
                }
            }
        }
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
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

fn make_here(proof: SoleThread, owner: Option<BorrowedFd<'_>>) -> Result<(OwnedFd, OwnedFd)> {
    if let Some(owner) = owner {
        process::join_namespace(proof, owner, libc::CLONE_NEWUSER)
            .tried(|| "join the container's user namespace")?;
    }
    process::unshare(proof, UnshareFlags::NEWNET).tried(|| "make a network namespace")?;
    let netlink = netlink::socket().tried(|| "open a netlink socket")?;
    netlink::raise_loopback(&netlink).tried(|| "set up the loopback interface")?;
    let namespace =
        std::fs::File::open("/proc/self/ns/net").tried(|| "open the network namespace")?;
    Ok((namespace.into(), netlink))
}
