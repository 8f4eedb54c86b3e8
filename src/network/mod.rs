//! pasta, published ports, hosts and resolv.conf.

use serde::{Deserialize, Serialize};

/// `--network`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// A network namespace of its own with a user-mode stack; pasta's own options.
    #[default]
    #[serde(rename = "pasta_default")]
    PastaDefault,
    Pasta(Vec<String>),
    None,
    Host,
    /// Another container's, by full id.
    Container(String),
    /// The one at this path.
    Path(std::path::PathBuf),
}

/// One published port: `-p [[IP:][HOST]:]CONTAINER[/PROTOCOL]`; ranges are spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Empty: every address.
    pub host_ip: String,
    pub host_port: u16,
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// What goes into /etc/hosts and /etc/resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts {
    /// `--add-host NAME[;NAME…]:IP`.
    pub add: Vec<String>,
    /// `--no-hosts`
    pub no_hosts: bool,
    /// `--hosts-file`
    pub base: Option<String>,
    /// `--no-hostname`
    pub no_hostname: bool,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
}
