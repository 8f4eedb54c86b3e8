//! /etc/hosts, /etc/resolv.conf and /etc/hostname, as Podman writes them.
//!
//! A container that joins another's network has that one's files: its own name
//! is added to /etc/hosts ([`hosts_joined`]) and taken away when it ends
//! ([`hosts_left`]). The files are mounted, so they are rewritten in place.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use super::{Attached, Hosts, NetworkMode};
use crate::error::{Context, Error, Kind, Result};

/// Where systemd-resolved lists the servers that it asks.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const STUB: &str = "127.0.0.53";
/// Podman's servers of last resort: Google's.
const PUBLIC_V4: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
const PUBLIC_V6: [&str; 2] = ["2001:4860:4860::8888", "2001:4860:4860::8844"];

/// The caller's own files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFiles {
    /// /etc/resolv.conf
    pub resolv_conf: String,
    /// systemd-resolved's list, where it is needed and there.
    pub resolved: Option<String>,
}

impl HostFiles {
    /// Reads them; those that are not there are empty.
    pub fn read() -> Self {
        let resolv_conf = read("/etc/resolv.conf").unwrap_or_default();
        let resolved = if name_servers(&resolv_conf) == [STUB] {
            read(RESOLVED)
        } else {
            None
        };
        Self {
            resolv_conf,
            resolved,
        }
    }
}

fn read(path: &str) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whose /etc/hosts it is.
#[derive(Debug, Clone, Copy)]
pub struct HostsFor<'a> {
    pub hosts: &'a Hosts,
    pub mode: &'a NetworkMode,
    pub attached: &'a Attached,
    pub hostname: &'a str,
    /// The container's name.
    pub name: &'a str,
}

impl Hosts {
    /// The text that /etc/hosts begins with: the caller's own file, the one of
    /// `--hosts-file`, or the image's, which `image` reads.
    pub fn base_text(&self, image: impl FnOnce() -> Result<String>) -> Result<String> {
        match self.base.as_deref() {
            None => Ok(read("/etc/hosts").unwrap_or_default()),
            Some("none") => Ok(String::new()),
            Some("image") => image(),
            Some(path) => std::fs::read(Path::new(path))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .tried(|| format!("failed to create new hosts file: open {path}"))
                // As Podman, which takes a missing file for a missing command.
                .map_err(|error| error.kind_is(Kind::CommandNotFound)),
        }
    }
}

/// The text of /etc/hosts upon `base` ([`Hosts::base_text`]): what the user
/// added, the base, and of the names that are not there yet: localhost, the
/// host, the container.
pub fn hosts(of: HostsFor, base: &str) -> Result<String> {
    let mut file = HostsFile::default();
    for entry in &of.hosts.add {
        // The command line has checked it.
        let Some((names, ip)) = entry.split_once(':') else {
            continue;
        };
        let ip = match (ip, of.attached.host) {
            ("host-gateway", Some(host)) => host.to_string(),
            ("host-gateway", None) => {
                return Err(Error::other(format!(
                    "unable to replace \"host-gateway\" of host entry {entry:?}: host containers internal IP address is empty"
                )));
            }
            (ip, _) => ip.trim().to_owned(),
        };
        file.push(&ip, names.split(';'));
    }
    for (ip, names) in entries(base) {
        file.push(ip, names.into_iter());
    }
    let known = file.names.clone();
    file.push_new("127.0.0.1", &["localhost"], &known);
    file.push_new("::1", &["localhost"], &known);
    if let Some(host) = of.attached.host {
        let known = file.names.clone();
        let names = ["host.containers.internal", "host.docker.internal"];
        file.push_new(&host.to_string(), &names, &known);
    }
    let own = match of.mode {
        NetworkMode::PastaDefault | NetworkMode::Pasta(_) => {
            of.attached.addresses.first().map(IpAddr::to_string)
        }
        NetworkMode::None => Some("127.0.0.1".to_owned()),
        NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::Path(_) => None,
    };
    if let Some(own) = own {
        let known = file.names.clone();
        file.push_new(&own, &[of.hostname, of.name], &known);
    }
    Ok(file.text)
}

#[derive(Default)]
struct HostsFile {
    text: String,
    names: BTreeSet<String>,
}

impl HostsFile {
    fn push<'a>(&mut self, ip: &str, names: impl Iterator<Item = &'a str>) {
        let names: Vec<&str> = names.collect();
        self.text.push_str(&line(ip, &names));
        self.names.extend(names.into_iter().map(str::to_owned));
    }

    /// Those of `names` that are not `known`.
    fn push_new(&mut self, ip: &str, names: &[&str], known: &BTreeSet<String>) {
        let new = names.iter().copied().filter(|name| !known.contains(*name));
        let mut new = new.peekable();
        if new.peek().is_some() {
            self.push(ip, new);
        }
    }
}

fn line(ip: &str, names: &[&str]) -> String {
    format!("{ip}\t{}\n", names.join(" "))
}

/// The lines of a hosts(5) file that name something.
fn entries(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let ip = words.next()?;
        let names: Vec<&str> = words.collect();
        (!names.is_empty()).then_some((ip, names))
    })
}

/// `text`, the hosts of another container, with the one that joined its network.
pub fn hosts_joined(text: &str, hostname: &str, name: &str) -> String {
    let known: BTreeSet<&str> = entries(text).flat_map(|(_, names)| names).collect();
    let new: Vec<&str> = [hostname, name]
        .into_iter()
        .filter(|name| !known.contains(name))
        .collect();
    match new.is_empty() {
        true => text.to_owned(),
        false => format!("{text}{}", line("127.0.0.1", &new)),
    }
}

/// `text` without the one that had joined.
pub fn hosts_left(text: &str, hostname: &str, name: &str) -> String {
    let is_theirs = |line: &&str| {
        entries(line).any(|(ip, names)| {
            ip == "127.0.0.1"
                && !names.is_empty()
                && names.iter().all(|it| [hostname, name].contains(it))
        })
    };
    text.split_inclusive('\n')
        .filter(|line| !is_theirs(line))
        .collect()
}

/// The text of /etc/hostname.
pub fn hostname_file(hostname: &str) -> String {
    format!("{hostname}\n")
}

/// The text of /etc/resolv.conf; `None`: the container keeps the image's, or has
/// the one of the container whose network it joins.
pub fn resolv_conf(
    hosts: &Hosts,
    mode: &NetworkMode,
    attached: &Attached,
    host: &HostFiles,
) -> Option<String> {
    let is_own = match mode {
        NetworkMode::None | NetworkMode::Container(_) => return None,
        NetworkMode::Host => false,
        NetworkMode::PastaDefault | NetworkMode::Pasta(_) | NetworkMode::Path(_) => true,
    };
    if hosts.no_resolv_conf {
        return None;
    }
    let text = match &host.resolved {
        // systemd-resolved's own address answers in the host's network only.
        Some(resolved) if is_own => resolved,
        _ => &host.resolv_conf,
    };
    let given = |list: &[String]| -> Vec<String> { list.to_vec() };
    let searches = match hosts.dns_search.is_empty() {
        false => given(&hosts.dns_search),
        true => last_list(text, "search"),
    };
    let options = match hosts.dns_options.is_empty() {
        false => given(&hosts.dns_options),
        true => last_list(text, "options"),
    };
    let servers: Vec<String> = if !hosts.dns.is_empty() {
        given(&hosts.dns)
    } else {
        let forward = attached.dns.iter().map(IpAddr::to_string);
        let found = name_servers(text).into_iter().map(str::to_owned);
        match is_own {
            false => forward.chain(found).collect(),
            true => {
                let has_v6 = attached.addresses.iter().any(IpAddr::is_ipv6);
                let mut found: Vec<String> = found
                    .filter(|server| is_reachable(server, has_v6))
                    .collect();
                if found.is_empty() {
                    found.extend(PUBLIC_V4.map(str::to_owned));
                    if has_v6 {
                        found.extend(PUBLIC_V6.map(str::to_owned));
                    }
                }
                forward.chain(found).collect()
            }
        }
    };
    let mut file = String::new();
    // A dot is the root: no search at all.
    if !searches.is_empty() && !searches.iter().any(|domain| domain == ".") {
        file.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in servers {
        file.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        file.push_str(&format!("options {}\n", options.join(" ")));
    }
    Some(file)
}

/// Whether a server of the host's can be asked from another network namespace.
fn is_reachable(server: &str, has_v6: bool) -> bool {
    match server.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => !ip.is_loopback(),
        Ok(IpAddr::V6(ip)) => has_v6 && !ip.is_loopback(),
        // With a zone: of an interface that is not there.
        Err(_) => false,
    }
}

/// The addresses of `nameserver` lines, as written.
fn name_servers(text: &str) -> Vec<&str> {
    values(text, "nameserver")
        .filter(|value| {
            let address = value.split('%').next().unwrap_or_default();
            address.parse::<IpAddr>().is_ok()
        })
        .collect()
}

/// The words of the last line that begins with `key`: it overrides those before.
fn last_list(text: &str, key: &str) -> Vec<String> {
    let last = values(text, key).last().unwrap_or_default();
    last.split_whitespace().map(str::to_owned).collect()
}

fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let rest = line.strip_prefix(key)?;
        rest.starts_with([' ', '\t']).then(|| rest.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lab's host: what Podman 5.8.6 wrote there is what these tables hold.
    const BASE: &str = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n\n";
    const BASE_OUT: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

    fn pasta() -> Attached {
        Attached {
            addresses: vec!["192.0.2.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            dns: vec!["169.254.1.1".parse().unwrap()],
            host: "169.254.1.2".parse().ok(),
        }
    }

    fn other() -> Attached {
        Attached {
            host: "192.0.2.2".parse().ok(),
            ..Attached::default()
        }
    }

    fn text(add: &[&str], mode: NetworkMode, attached: &Attached, base: &str) -> String {
        let hosts = Hosts {
            add: add.iter().map(|&entry| entry.to_owned()).collect(),
            ..Hosts::default()
        };
        super::hosts(
            HostsFor {
                hosts: &hosts,
                mode: &mode,
                attached,
                hostname: "9ca2f6dcfd43",
                name: "nm",
            },
            base,
        )
        .unwrap()
    }

    #[test]
    fn hosts_are_podmans_in_every_mode() {
        for (mode, attached, tail) in [
            (
                NetworkMode::PastaDefault,
                pasta(),
                "169.254.1.2\thost.containers.internal host.docker.internal\n192.0.2.2\t9ca2f6dcfd43 nm\n",
            ),
            (
                NetworkMode::Host,
                other(),
                "192.0.2.2\thost.containers.internal host.docker.internal\n",
            ),
            (
                NetworkMode::None,
                other(),
                "192.0.2.2\thost.containers.internal host.docker.internal\n127.0.0.1\t9ca2f6dcfd43 nm\n",
            ),
            (
                NetworkMode::Container("x".into()),
                other(),
                "192.0.2.2\thost.containers.internal host.docker.internal\n",
            ),
        ] {
            assert_eq!(
                text(&[], mode.clone(), &attached, BASE),
                format!("{BASE_OUT}{tail}"),
                "{mode:?}"
            );
        }
    }

    #[test]
    fn added_hosts_come_first_and_keep_their_names() {
        assert_eq!(
            text(
                &[
                    "foo;bar:1.2.3.4",
                    "foo:5.6.7.8",
                    "host.containers.internal:9.9.9.9",
                    "gw:host-gateway",
                    "six:::1",
                    "nm:1.1.1.1",
                ],
                NetworkMode::PastaDefault,
                &pasta(),
                BASE,
            ),
            format!(
                "1.2.3.4\tfoo bar\n5.6.7.8\tfoo\n9.9.9.9\thost.containers.internal\n169.254.1.2\tgw\n::1\tsix\n1.1.1.1\tnm\n{BASE_OUT}169.254.1.2\thost.docker.internal\n192.0.2.2\t9ca2f6dcfd43\n"
            )
        );
    }

    #[test]
    fn a_base_is_rewritten_and_completed() {
        let tail = "169.254.1.2\thost.containers.internal host.docker.internal\n192.0.2.2\t9ca2f6dcfd43 nm\n";
        for (base, head) in [
            ("", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"),
            ("127.0.0.1 localhost\n", "127.0.0.1\tlocalhost\n"),
            (
                "::1 localhost\n10.0.0.1 a a b\n  1.1.1.1   x\nbad y\n1.2.3.4\nfe80::1%eth0 z",
                "::1\tlocalhost\n10.0.0.1\ta a b\n1.1.1.1\tx\nbad\ty\nfe80::1%eth0\tz\n",
            ),
            (
                "1.2.3.4 base.one two # c\n#x\n5.6.7.8\ttabbed\n\n",
                "1.2.3.4\tbase.one two\n5.6.7.8\ttabbed\n127.0.0.1\tlocalhost\n::1\tlocalhost\n",
            ),
        ] {
            assert_eq!(
                text(&[], NetworkMode::PastaDefault, &pasta(), base),
                format!("{head}{tail}"),
                "{base:?}"
            );
        }
        assert_eq!(
            text(
                &["localhost:1.1.1.1"],
                NetworkMode::PastaDefault,
                &pasta(),
                ""
            ),
            format!("1.1.1.1\tlocalhost\n{tail}")
        );
    }

    #[test]
    fn without_an_address_of_the_host_there_is_no_name_for_it() {
        let attached = Attached {
            host: None,
            ..pasta()
        };
        assert_eq!(
            text(&[], NetworkMode::PastaDefault, &attached, BASE),
            format!("{BASE_OUT}192.0.2.2\t9ca2f6dcfd43 nm\n")
        );
        let hosts = Hosts {
            add: vec!["gw:host-gateway".into()],
            ..Hosts::default()
        };
        let of = HostsFor {
            hosts: &hosts,
            mode: &NetworkMode::PastaDefault,
            attached: &attached,
            hostname: "h",
            name: "n",
        };
        assert!(super::hosts(of, "").is_err());
    }

    #[test]
    fn who_joins_is_named_until_it_leaves() {
        let before = text(&[], NetworkMode::PastaDefault, &pasta(), BASE);
        let joined = hosts_joined(&before, "f9fba2ea5bb5", "other");
        assert_eq!(joined, format!("{before}127.0.0.1\tf9fba2ea5bb5 other\n"));
        assert_eq!(hosts_joined(&joined, "f9fba2ea5bb5", "other"), joined);
        assert_eq!(hosts_left(&joined, "f9fba2ea5bb5", "other"), before);
        assert_eq!(hosts_left(&before, "localhost", "localhost"), {
            before.replacen("127.0.0.1\tlocalhost\n", "", 1)
        });
    }

    const PASTA: NetworkMode = NetworkMode::PastaDefault;

    fn resolv(host: &str, mode: NetworkMode, change: impl FnOnce(&mut Hosts)) -> String {
        let mut hosts = Hosts::default();
        change(&mut hosts);
        let attached = match mode.is_pasta() {
            true => pasta(),
            false => other(),
        };
        let host = HostFiles {
            resolv_conf: host.to_owned(),
            resolved: None,
        };
        resolv_conf(&hosts, &mode, &attached, &host).unwrap()
    }

    #[test]
    fn resolv_conf_is_podmans() {
        let plain = "nameserver 10.255.255.53\n";
        let listed = "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.1\ndomain foo\nsearch one\nsearch two three # trailing\noptions a\noptions b c\nsortlist x\n";
        let odd = "nameserver ::1\nnameserver fd00::53\nnameserver fe80::1%eth0\n  nameserver   10.0.0.2   extra\n;x\nnameserver 1.1.1.1\nsearch .\n";
        let strings = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        let none = |_: &mut Hosts| {};
        assert_eq!(
            resolv(plain, PASTA, none),
            "nameserver 169.254.1.1\nnameserver 10.255.255.53\n"
        );
        assert_eq!(resolv(plain, NetworkMode::Host, none), plain);
        assert_eq!(
            resolv(plain, PASTA, |it| {
                it.dns_search = strings(&["foo.com", "bar"]);
                it.dns_options = strings(&["ndots:3", "a"]);
            }),
            "search foo.com bar\nnameserver 169.254.1.1\nnameserver 10.255.255.53\noptions ndots:3 a\n"
        );
        assert_eq!(
            resolv(listed, PASTA, none),
            "search two three\nnameserver 169.254.1.1\nnameserver 10.0.0.1\noptions b c\n"
        );
        assert_eq!(
            resolv(listed, NetworkMode::Host, none),
            "search two three\nnameserver 127.0.0.53\nnameserver 10.0.0.1\noptions b c\n"
        );
        assert_eq!(
            resolv(listed, PASTA, |it| it.dns = strings(&["9.9.9.9", "::1"])),
            "search two three\nnameserver 9.9.9.9\nnameserver ::1\noptions b c\n"
        );
        assert_eq!(
            resolv(listed, PASTA, |it| it.dns_search = strings(&["."])),
            "nameserver 169.254.1.1\nnameserver 10.0.0.1\noptions b c\n"
        );
        assert_eq!(
            resolv(odd, PASTA, none),
            "nameserver 169.254.1.1\nnameserver fd00::53\nnameserver 1.1.1.1\n"
        );
        assert_eq!(
            resolv(odd, NetworkMode::Host, none),
            "nameserver ::1\nnameserver fd00::53\nnameserver fe80::1%eth0\nnameserver 1.1.1.1\n"
        );
        assert_eq!(
            resolv("", PASTA, none),
            "nameserver 169.254.1.1\nnameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n"
        );
        assert_eq!(resolv("", NetworkMode::Host, none), "");
    }

    #[test]
    fn systemd_resolved_is_asked_at_its_source() {
        let host = HostFiles {
            resolv_conf: "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n".into(),
            resolved: Some("nameserver 10.9.8.7\nsearch up\n".into()),
        };
        let of = |mode| resolv_conf(&Hosts::default(), &mode, &pasta(), &host).unwrap();
        assert_eq!(
            of(PASTA),
            "search up\nnameserver 169.254.1.1\nnameserver 10.9.8.7\n"
        );
        assert!(of(NetworkMode::Host).contains("options edns0 trust-ad\n"));
    }

    #[test]
    fn some_containers_have_no_resolv_conf_of_ours() {
        let host = HostFiles::default();
        let mut hosts = Hosts::default();
        let none = NetworkMode::None;
        assert_eq!(resolv_conf(&hosts, &none, &other(), &host), None);
        hosts.no_resolv_conf = true;
        assert_eq!(resolv_conf(&hosts, &PASTA, &pasta(), &host), None);
    }
}
