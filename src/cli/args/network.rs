//! `--network` and its like, of `run` and `create`.

use crate::cli::args::csv;
use crate::error::{Error, Result};
use crate::network::{
    Hosts, NetworkMode, PortMapping, parse_exposed, parse_published, publish_exposed,
};

/// The flags that say what network a container has.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NetworkArgs {
    /// Add a custom host-to-IP mapping (HOST[;HOST…]:IP, IP may be host-gateway)
    #[arg(long = "add-host", value_name = "HOST:IP")]
    add_host: Vec<String>,

    /// Set custom DNS servers (none: keep the image's /etc/resolv.conf)
    #[arg(long, value_name = "IP")]
    dns: Vec<String>,

    /// Set custom DNS options
    #[arg(long = "dns-option", visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,

    /// Set custom DNS search domains (.: none)
    #[arg(long = "dns-search", value_name = "DOMAIN")]
    dns_search: Vec<String>,

    /// Expose a port or a range of ports (PORT[-PORT][/PROTOCOL])
    #[arg(long, value_name = "PORT")]
    expose: Vec<String>,

    /// Base file of the container's /etc/hosts (PATH, image or none)
    #[arg(long = "hosts-file", value_name = "PATH")]
    hosts_file: Option<String>,

    /// Static IPv4 address (not supported yet)
    #[arg(long, hide = true, value_name = "IP")]
    ip: Option<String>,

    /// Static IPv6 address (not supported yet)
    #[arg(long, hide = true, value_name = "IP")]
    ip6: Option<String>,

    /// MAC address (not supported yet)
    #[arg(long = "mac-address", hide = true, value_name = "MAC")]
    mac_address: Option<String>,

    /// Connect the container to a network (pasta[:OPTIONS], host, none, private, container:NAME, ns:PATH)
    #[arg(long, visible_alias = "net", value_name = "MODE")]
    network: Vec<String>,

    /// Network-scoped alias (not supported yet)
    #[arg(long = "network-alias", hide = true, value_name = "NAME")]
    network_alias: Vec<String>,

    /// Do not create /etc/hostname within the container
    #[arg(long = "no-hostname")]
    no_hostname: bool,

    /// Do not create /etc/hosts within the container
    #[arg(long = "no-hosts")]
    no_hosts: bool,

    /// Publish a port or a range of ports to the host ([[IP:][HOST]:]CONTAINER[/PROTOCOL])
    #[arg(
        short = 'p',
        long,
        allow_hyphen_values = true,
        value_name = "[[IP:]HOST:]PORT"
    )]
    publish: Vec<String>,

    /// Publish all exposed ports to random ports of the host
    #[arg(short = 'P', long = "publish-all")]
    publish_all: bool,
}

/// What [`NetworkArgs`] say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// A container is named as the user typed it.
    pub mode: NetworkMode,
    /// Host ports that are to be chosen are 0.
    pub ports: Vec<PortMapping>,
    /// `--expose` and the image's: `80/tcp`.
    pub exposed: Vec<String>,
    pub hosts: Hosts,
    /// What the user is told of flags that have no effect.
    pub warning: Option<String>,
}

impl NetworkArgs {
    /// The name servers of containers.conf, where flags name none.
    pub fn configure(&mut self, servers: Vec<String>, searches: Vec<String>, options: Vec<String>) {
        for (flags, said) in [
            (&mut self.dns, servers),
            (&mut self.dns_search, searches),
            (&mut self.dns_option, options),
        ] {
            if flags.is_empty() {
                *flags = said;
            }
        }
    }

    /// What containers.conf says of /etc/hosts.
    pub fn configure_hosts(&mut self, no_hosts: bool, base: Option<String>) {
        // Who names a host wants the file.
        self.no_hosts |= no_hosts && self.add_host.is_empty() && self.hosts_file.is_none();
        if !self.no_hosts && self.hosts_file.is_none() {
            self.hosts_file = base;
        }
    }

    /// The network of containers.conf, where no flag names one.
    pub fn configure_mode(&mut self, mode: Option<String>, pasta: &[String]) {
        if self.network.is_empty() {
            self.network.extend(mode.filter(|mode| mode != "private"));
        }
        let is_pasta = matches!(&self.network[..], [] | [_])
            && self.network.first().is_none_or(|mode| mode == "pasta");
        if is_pasta && !pasta.is_empty() {
            self.network = vec![format!("pasta:{}", pasta.join(","))];
        }
    }

    /// Checks the flags. `image` is what the image exposes.
    pub fn options(&self, image: &[String]) -> Result<Network> {
        self.check_bridge()?;
        let mode = NetworkMode::parse(&self.network)?;
        let hosts = self.hosts(&mode)?;
        let mut exposed = Vec::new();
        for text in csv::all("--expose", &self.expose)?.iter().chain(image) {
            for port in parse_exposed(text)? {
                if !exposed.contains(&port) {
                    exposed.push(port);
                }
            }
        }
        let mut ports = parse_published(&csv::all("-p, --publish", &self.publish)?)?;
        let mut warning = None;
        if !mode.is_pasta() {
            if !ports.is_empty() {
                warning = Some(format!(
                    "Port mappings have been discarded because \"{}\" network namespace mode does not support them",
                    mode.word()
                ));
            }
            ports.clear();
        } else if self.publish_all {
            publish_exposed(&mut ports, &exposed);
        }
        if let Some(port) = ports
            .iter()
            .find(|port| port.protocol != "tcp" && port.protocol != "udp")
        {
            return Err(Error::usage(format!(
                "can't forward protocol: {}",
                port.protocol
            )));
        }
        Ok(Network {
            mode,
            ports,
            exposed,
            hosts,
            warning,
        })
    }

    /// What a bridge alone has.
    fn check_bridge(&self) -> Result<()> {
        for ip in [&self.ip, &self.ip6].into_iter().flatten() {
            if ip.parse::<std::net::IpAddr>().is_err() {
                return Err(Error::usage(format!("{ip:?} is not an ip address")));
            }
        }
        if let Some(address) = self.mac_address.as_deref().filter(|it| !is_mac(it)) {
            return Err(Error::usage(format!(
                "address {address}: invalid MAC address"
            )));
        }
        for (flag, is_given) in [
            ("--ip", self.ip.is_some()),
            ("--ip6", self.ip6.is_some()),
            ("--mac-address", self.mac_address.is_some()),
            ("--network-alias", !self.network_alias.is_empty()),
        ] {
            if is_given {
                return Err(Error::usage(format!(
                    "{flag} can only be set when the network mode is bridge: invalid argument"
                )));
            }
        }
        Ok(())
    }

    fn hosts(&self, mode: &NetworkMode) -> Result<Hosts> {
        let wrong = |words: String| Err(Error::usage(words));
        let add = csv::all("--add-host", &self.add_host)?;
        for entry in &add {
            check_host(entry)?;
        }
        let mut dns = csv::all("--dns", &self.dns)?;
        let no_resolv_conf = dns.iter().any(|server| server == "none");
        if no_resolv_conf && dns.len() > 1 {
            return wrong(
                "none is not allowed to be specified with other DNS ip addresses".to_owned(),
            );
        }
        let dns_search = csv::all("--dns-search", &self.dns_search)?;
        if dns_search.len() > 1 && dns_search.iter().any(|domain| domain == ".") {
            return wrong(
                "cannot pass additional search domains when also specifying '.'".to_owned(),
            );
        }
        if let Some(domain) = dns_search.iter().find(|domain| !is_domain(domain)) {
            return wrong(format!("{domain} is not a valid domain"));
        }
        let dns_options = csv::all("--dns-option", &self.dns_option)?;
        let says_dns = !dns.is_empty() || !dns_search.is_empty() || !dns_options.is_empty();
        if no_resolv_conf {
            dns.clear();
        }
        if let Some(server) = dns
            .iter()
            .find(|server| server.parse::<std::net::IpAddr>().is_err())
        {
            return wrong(format!("{server} is not an ip address"));
        }
        if self.no_hosts && !add.is_empty() {
            return wrong("--no-hosts and --add-host cannot be set together".to_owned());
        }
        let base = self.hosts_file.clone().filter(|base| !base.is_empty());
        if self.no_hosts && base.is_some() {
            return wrong("--no-hosts and --hosts-file cannot be set together".to_owned());
        }
        if says_dns && matches!(mode, NetworkMode::None | NetworkMode::Container(_)) {
            return wrong(format!(
                "conflicting options: dns and the network mode: {}",
                mode.word()
            ));
        }
        if matches!(mode, NetworkMode::Container(_)) && !add.is_empty() {
            return wrong("invalid config provided: cannot set extra host entries when the container is joined to another containers network namespace: invalid configuration".to_owned());
        }
        for (what, is_given) in [
            ("DNSSearch", !dns_search.is_empty()),
            ("DNSOption", !dns_options.is_empty()),
        ] {
            if no_resolv_conf && is_given {
                return wrong(format!(
                    "invalid config provided: UseImageResolvConf and {what} are mutually exclusive options"
                ));
            }
        }
        Ok(Hosts {
            add,
            no_hosts: self.no_hosts,
            base,
            no_hostname: self.no_hostname,
            dns,
            dns_search: dns_search
                .iter()
                .map(|domain| domain.trim_end().to_owned())
                .collect(),
            dns_options,
            no_resolv_conf,
        })
    }
}

/// `HOST[;HOST…]:IP`, in Podman's words where it is not.
fn check_host(entry: &str) -> Result<()> {
    let Some((names, ip)) = entry.split_once(':').filter(|(names, _)| !names.is_empty()) else {
        return Err(Error::usage(format!("bad format for add-host: {entry:?}")));
    };
    if names.split(';').any(|name| name.trim().is_empty()) {
        return Err(Error::usage(format!(
            "hostname in add-host {entry:?} is empty"
        )));
    }
    if ip != "host-gateway" && ip.trim().parse::<std::net::IpAddr>().is_err() {
        return Err(Error::usage(format!(
            "invalid IP address in add-host: {ip:?}"
        )));
    }
    Ok(())
}

/// A search domain as Podman takes it: labels of letters, digits and hyphens,
/// a letter somewhere, a dot at its end if it likes; or the dot alone.
fn is_domain(text: &str) -> bool {
    if text == "." {
        return true;
    }
    let text = text.trim_end();
    let text = text.strip_suffix('.').unwrap_or(text);
    text.bytes().any(|b| b.is_ascii_alphabetic())
        && text.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

/// Whether Go's net.ParseMAC takes it, of six octets.
fn is_mac(text: &str) -> bool {
    let is_octet = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    [':', '-'].into_iter().any(|by| {
        let parts: Vec<&str> = text.split(by).collect();
        parts.len() == 6 && parts.into_iter().all(is_octet)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Network, String> {
        parse_with(flags, &[])
    }

    fn parse_with(flags: &[&str], image: &[&str]) -> Result<Network, String> {
        let command = <NetworkArgs as clap::Args>::augment_args(clap::Command::new("run"));
        let matches = command
            .try_get_matches_from(std::iter::once(&"run").chain(flags))
            .map_err(|error| error.to_string())?;
        let args = <NetworkArgs as clap::FromArgMatches>::from_arg_matches(&matches)
            .map_err(|error| error.to_string())?;
        let image: Vec<String> = image.iter().map(|&port| port.to_owned()).collect();
        args.options(&image).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_pasta() {
        let network = parse(&[]).unwrap();
        assert_eq!(network.mode, NetworkMode::PastaDefault);
        assert_eq!(network.hosts, Hosts::default());
        assert!(network.ports.is_empty() && network.exposed.is_empty());
    }

    #[test]
    fn all_that_is_said_arrives() {
        let network = parse_with(
            &[
                "--net=pasta:-4",
                "-p",
                "8080:80,9090:90/udp",
                "-P",
                "--expose=95",
                "--dns=1.1.1.1,::1",
                "--dns-search",
                "a,b.c ",
                "--dns-opt=ndots:2",
                "--add-host=a;b:1.2.3.4",
                "--hosts-file=none",
                "--no-hostname",
            ],
            &["80/tcp", "95", "70-71/udp"],
        )
        .unwrap();
        assert_eq!(network.mode, NetworkMode::Pasta(vec!["-4".into()]));
        assert_eq!(network.exposed, ["95/tcp", "80/tcp", "70/udp", "71/udp"]);
        assert_eq!(
            crate::network::describe(&network.ports, &[]),
            "0.0.0.0:8080->80/tcp, 0.0.0.0:0->95/tcp, 0.0.0.0:0-1->70-71/udp, 0.0.0.0:9090->90/udp"
        );
        assert_eq!(
            network.hosts,
            Hosts {
                add: vec!["a;b:1.2.3.4".into()],
                no_hosts: false,
                base: Some("none".into()),
                no_hostname: true,
                dns: vec!["1.1.1.1".into(), "::1".into()],
                dns_search: vec!["a".into(), "b.c".into()],
                dns_options: vec!["ndots:2".into()],
                no_resolv_conf: false,
            }
        );
    }

    #[test]
    fn empty_values_say_nothing() {
        let network = parse(&[
            "-p=",
            "--dns=",
            "--dns-search=",
            "--expose=",
            "--hosts-file=",
            "--network=",
        ])
        .unwrap();
        assert_eq!(network, parse(&[]).unwrap());
    }

    #[test]
    fn ports_without_pasta_are_discarded_with_a_word() {
        for (mode, word) in [
            ("host", "host"),
            ("none", "none"),
            ("container:x", "container"),
            ("ns:/x", "path"),
        ] {
            let network = parse(&["--network", mode, "-p", "80:80/sctp"]).unwrap();
            assert!(network.ports.is_empty());
            assert_eq!(
                network.warning.unwrap(),
                format!(
                    "Port mappings have been discarded because \"{word}\" network namespace mode does not support them"
                )
            );
        }
        assert_eq!(
            parse(&["--network=host", "-P", "--expose=80"])
                .unwrap()
                .warning,
            None
        );
    }

    #[test]
    fn quarrels_are_said_in_podmans_words() {
        for (flags, words) in [
            (
                &["--dns", "none", "--dns", "1.1.1.1"][..],
                "none is not allowed to be specified with other DNS ip addresses",
            ),
            (&["--dns", "foo"], "foo is not an ip address"),
            (&["--dns", " 1.1.1.1"], " 1.1.1.1 is not an ip address"),
            (
                &["--dns-search", ".", "--dns-search", "x"],
                "cannot pass additional search domains when also specifying '.'",
            ),
            (&["--dns-search", "a_b"], "a_b is not a valid domain"),
            (&["--dns-search", "123"], "123 is not a valid domain"),
            (
                &["--dns=none", "--dns-search=x"],
                "invalid config provided: UseImageResolvConf and DNSSearch are mutually exclusive options",
            ),
            (
                &["--network=container:other", "--dns=1.1.1.1"],
                "conflicting options: dns and the network mode: container",
            ),
            (
                &["--network=none", "--dns=none"],
                "conflicting options: dns and the network mode: none",
            ),
            (
                &["--network=container:other", "--add-host=a:1.2.3.4"],
                "invalid config provided: cannot set extra host entries when the container is joined to another containers network namespace: invalid configuration",
            ),
            (&["--add-host=foo"], "bad format for add-host: \"foo\""),
            (
                &["--add-host=:1.2.3.4"],
                "bad format for add-host: \":1.2.3.4\"",
            ),
            (
                &["--add-host=foo:1.2.3.4,5"],
                "bad format for add-host: \"5\"",
            ),
            (&["--add-host=foo:"], "invalid IP address in add-host: \"\""),
            (
                &["--add-host=foo:[::1]"],
                "invalid IP address in add-host: \"[::1]\"",
            ),
            (
                &["--add-host=a;:1.2.3.4"],
                "hostname in add-host \"a;:1.2.3.4\" is empty",
            ),
            (
                &["--no-hosts", "--add-host=a:1.2.3.4"],
                "--no-hosts and --add-host cannot be set together",
            ),
            (
                &["--no-hosts", "--hosts-file=/etc/hosts"],
                "--no-hosts and --hosts-file cannot be set together",
            ),
            (&["-p", "80:80/sctp"], "can't forward protocol: sctp"),
            (
                &["-p", "-80:80"],
                "parsing host port: port numbers cannot be negative",
            ),
            (
                &["-p", "a\"b"],
                "invalid argument \"a\\\"b\" for \"-p, --publish\" flag: parse error on line 1, column 2: bare \" in non-quoted-field",
            ),
            (
                &["--ip=10.0.0.1"],
                "--ip can only be set when the network mode is bridge: invalid argument",
            ),
            (
                &["--network-alias=x"],
                "--network-alias can only be set when the network mode is bridge: invalid argument",
            ),
        ] {
            assert_eq!(parse(flags).unwrap_err(), words, "{flags:?}");
        }
        for flags in [
            &["--dns-search=a."][..],
            &["--dns-search=."],
            &["--add-host=a b:1.2.3.4 "],
            &["--add-host=foo:::1"],
            &["--dns=none"],
        ] {
            assert!(parse(flags).is_ok(), "{flags:?}");
        }
    }
}
