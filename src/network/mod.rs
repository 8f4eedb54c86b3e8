//! pasta, published ports, hosts and resolv.conf.
//!
//! ```text
//! host's netns                       the container's netns
//!   pasta ── listens on -p ports      eth0  the host's address (or 10.0.2.100)
//!     └───────────── tap ──────────────┘    169.254.1.1  DNS, asked at the host's server
//!                                           169.254.1.2  host.containers.internal
//! ```
//!
//! The namespace is made first ([`Netns::make`]), by a child that is gone at
//! once, so that [`Pasta`] starts while the container is still being put
//! together; it is waited for just before the container's process starts. What
//! pasta then says is [`Attached`], from which the files are written.
//!
//! **Invariants:** nothing here names a path on disk but /etc and /dev/net/tun;
//! pasta lives no longer than the process that started it; the text of the
//! files is made by pure functions.

mod enter;
mod files;
mod mode;
mod netlink;
mod netns;
mod pasta;
mod port;

pub use enter::{Entered, enter};
pub use files::{HostFiles, HostsFor, hostname_file, hosts, hosts_joined, hosts_left, resolv_conf};
pub use mode::NetworkMode;
pub use netns::Netns;
pub use pasta::{Attached, Pasta, PastaSettings, can_start, open_tun, version};
pub use port::{
    PortMapping, Reserved, check_free, choose, describe, parse_exposed, parse_published,
    publish_exposed,
};

use serde::{Deserialize, Serialize};

/// What goes into /etc/hosts and /etc/resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts {
    /// `--add-host NAME[;NAME…]:IP`.
    pub add: Vec<String>,
    /// `--no-hosts`
    pub no_hosts: bool,
    /// `--hosts-file`: a path, `none` or `image`.
    pub base: Option<String>,
    /// `--no-hostname`
    pub no_hostname: bool,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    /// `--dns=none`: /etc/resolv.conf is the image's.
    #[serde(default)]
    pub no_resolv_conf: bool,
}
