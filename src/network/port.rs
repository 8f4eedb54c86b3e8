//! Published and exposed ports.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// One published port: `-p [[IP:][HOST]:]CONTAINER[/PROTOCOL]`; ranges are spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Empty: every address.
    pub host_ip: String,
    /// 0 until [`choose`] has chosen one.
    pub host_port: u16,
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

impl PortMapping {
    /// The host's address as `inspect`, `port` and `ps` show it.
    pub fn shown_ip(&self) -> &str {
        match self.host_ip.as_str() {
            "" => "0.0.0.0",
            ip => ip,
        }
    }

    fn order(&self) -> (&str, &str, u16, u16) {
        (
            &self.host_ip,
            &self.protocol,
            self.container_port,
            self.host_port,
        )
    }

    /// Whether `next` goes on where this one ends.
    fn is_followed_by(&self, next: &Self) -> bool {
        let after = |port: u16, next: u16| port.checked_add(1) == Some(next);
        self.host_ip == next.host_ip
            && self.protocol == next.protocol
            && after(self.container_port, next.container_port)
            && (after(self.host_port, next.host_port) || self.host_port == 0 && next.host_port == 0)
    }
}

/// The mappings that all `-p` say, sorted, each once. Host ports that are to be
/// chosen are 0.
pub fn parse_published(flags: &[String]) -> Result<Vec<PortMapping>> {
    let mut ports = Vec::new();
    for flag in flags {
        spread(flag, &mut ports)?;
    }
    ports.sort_by(|a, b| a.order().cmp(&b.order()));
    ports.dedup();
    check_conflicts(&ports)?;
    Ok(ports)
}

/// Reads one `-p` as Podman does, in its order, so that the words are the same.
fn spread(flag: &str, into: &mut Vec<PortMapping>) -> Result<()> {
    let wrong = |words: &str| Err(Error::usage(words));
    let (rest, protocol) = match flag.split('/').collect::<Vec<_>>()[..] {
        [rest] => (rest, None),
        [rest, protocol] => (rest, Some(protocol)),
        _ => return wrong("invalid port format - protocol can only be specified once"),
    };
    let (v6, rest) = match rest.split(']').collect::<Vec<_>>()[..] {
        [rest] => (None, rest),
        [ip, rest] => {
            let Some(ip) = ip.strip_prefix('[') else {
                return wrong("invalid port format - IPv6 addresses must be enclosed by []");
            };
            let Some(rest) = rest.strip_prefix(':') else {
                return wrong(
                    "invalid port format - IPv6 address must be followed by a colon (':')",
                );
            };
            (Some(ip), rest)
        }
        _ => {
            return wrong(
                "invalid port format - at most one IPv6 address can be specified in a --publish",
            );
        }
    };
    let (ip, host, container) = match (v6, &rest.split(':').collect::<Vec<_>>()[..]) {
        (None, [container]) => (None, None, *container),
        (ip, [host, container]) => (ip, Some(*host), *container),
        (None, [ip, host, container]) => (Some(*ip), Some(*host), *container),
        (Some(_), [_]) => {
            return wrong(
                "invalid port format - must provide host and destination port if specifying an IP",
            );
        }
        (Some(_), _) => {
            return wrong(
                "invalid port format - when v6 address specified, must be [ipv6]:hostPort:ctrPort",
            );
        }
        (None, _) => {
            return wrong("invalid port format - format is [[hostIP:]hostPort:]containerPort");
        }
    };
    let ip = match ip {
        None => String::new(),
        Some("") => return wrong("must provide a non-empty container host IP to publish"),
        Some(ip) => match ip.parse::<IpAddr>() {
            Ok(parsed) => parsed.to_canonical().to_string(),
            Err(_) => return wrong(&format!("cannot parse {ip:?} as an IP address")),
        },
    };
    if container.is_empty() {
        return wrong("must provide a non-empty container port to publish");
    }
    let (first, count) = range(container).map_err(|error| error.tried("parsing container port"))?;
    let protocol = match protocol {
        None => "tcp".to_owned(),
        Some("") => return wrong("must provide a non-empty protocol to publish"),
        Some(protocol) => protocol_of(protocol)?,
    };
    let host = match host {
        None | Some("") => None,
        Some(host) => {
            let (first, host_count) =
                range(host).map_err(|error| error.tried("parsing host port"))?;
            if host_count != count {
                return wrong(&format!(
                    "host and container port ranges have different lengths: {host_count} vs {count}"
                ));
            }
            Some(first)
        }
    };
    into.extend((0..count).map(|n| PortMapping {
        host_ip: ip.clone(),
        host_port: host.map_or(0, |host| host + n),
        container_port: first + n,
        protocol: protocol.clone(),
    }));
    Ok(())
}

/// `80` or `80-90`: the first port and how many.
fn range(text: &str) -> Result<(u16, u16)> {
    match text.split('-').collect::<Vec<_>>()[..] {
        [one] => Ok((port(one)?, 1)),
        ["", _] => Err(Error::usage("port numbers cannot be negative")),
        [_, ""] => Err(Error::usage("must provide ending number for port range")),
        [first, last] => {
            let (first, last) = (port(first)?, port(last)?);
            if last <= first {
                return Err(Error::usage(format!(
                    "the end port of a range must be higher than the start port - {last} is not higher than {first}"
                )));
            }
            Ok((first, last - first + 1))
        }
        _ => Err(Error::usage(
            "invalid port format - port ranges are formatted as startPort-stopPort",
        )),
    }
}

fn port(text: &str) -> Result<u16> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::usage(format!(
            "invalid port number: strconv.Atoi: parsing {text:?}: invalid syntax"
        )));
    }
    let number: i64 = text.parse().map_err(|_| {
        Error::usage(format!(
            "invalid port number: strconv.Atoi: parsing {text:?}: value out of range"
        ))
    })?;
    in_range(number)
}

fn in_range(number: i64) -> Result<u16> {
    u16::try_from(number)
        .ok()
        .filter(|&port| port != 0)
        .ok_or_else(|| {
            Error::usage(format!(
                "port numbers must be between 1 and 65535 (inclusive), got {number}"
            ))
        })
}

fn protocol_of(text: &str) -> Result<String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "tcp" | "udp" | "sctp" => Ok(lower),
        _ => Err(Error::usage(format!(
            "unrecognized protocol {text:?} in port mapping"
        ))),
    }
}

/// One port of the host cannot lead to two places. Podman sees this for ranges
/// only and leaves the rest to pasta, of which older ones say nothing.
fn check_conflicts(ports: &[PortMapping]) -> Result<()> {
    let mut seen: BTreeMap<(&str, u16), Vec<&PortMapping>> = BTreeMap::new();
    for port in ports.iter().filter(|port| port.host_port != 0) {
        let others = seen.entry((&port.protocol, port.host_port)).or_default();
        if others
            .iter()
            .any(|other| overlap(&other.host_ip, &port.host_ip))
        {
            return Err(Error::usage(format!(
                "conflicting port mappings for host port {} (protocol {})",
                port.host_port, port.protocol
            )));
        }
        others.push(port);
    }
    Ok(())
}

fn overlap(a: &str, b: &str) -> bool {
    let wild = |wild: &str, other: &str| match wild {
        "" => true,
        "0.0.0.0" => !other.contains(':'),
        "::" => other.contains(':'),
        _ => false,
    };
    a == b || wild(a, b) || wild(b, a)
}

/// `--expose` or an image's EXPOSE: `80`, `80-90/udp`, to `80/tcp` each.
pub fn parse_exposed(text: &str) -> Result<Vec<String>> {
    let (ports, protocol) = match text.split('/').collect::<Vec<_>>()[..] {
        [ports] | [ports, ""] => (ports, "tcp"),
        [ports, protocol] => (ports, protocol),
        _ => {
            return Err(Error::usage(
                "invalid expose format - protocol can only be specified once",
            ));
        }
    };
    let wrong =
        |why: String| Error::usage(format!("invalid range format for --expose: {text}: {why}"));
    if ports.is_empty() {
        return Err(wrong("Empty string specified for ports.".into()));
    }
    let number = |text: &str| -> Result<u16> {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().map_err(|_| {
            wrong(format!(
                "strconv.ParseUint: parsing {text:?}: {}",
                if is_number {
                    "value out of range"
                } else {
                    "invalid syntax"
                }
            ))
        })
    };
    let (first, last) = match ports.split_once('-') {
        None => (number(ports)?, number(ports)?),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    if last < first {
        return Err(wrong(format!(
            "Invalid range specified for the Port: {ports}"
        )));
    }
    in_range(first.into())?;
    let protocol = protocol_of(protocol).map_err(|error| {
        error.tried(format_args!(
            "validating protocols for exposed port {first}"
        ))
    })?;
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// `-P`: adds a mapping, its host port to be chosen, for each of `exposed`
/// (`80/tcp`) that `ports` does not publish yet.
pub fn publish_exposed(ports: &mut Vec<PortMapping>, exposed: &[String]) {
    for text in exposed {
        let Some((Ok(port), protocol)) = text.split_once('/').map(|(p, q)| (p.parse(), q)) else {
            continue;
        };
        let is_there = |it: &PortMapping| it.container_port == port && it.protocol == protocol;
        if !ports.iter().any(is_there) {
            ports.push(PortMapping {
                host_ip: String::new(),
                host_port: 0,
                container_port: port,
                protocol: protocol.to_owned(),
            });
        }
    }
    ports.sort_by(|a, b| a.order().cmp(&b.order()));
}

/// Chosen ports, kept from others until pasta listens on them: it may, beside us.
#[derive(Debug, Default)]
pub struct Reserved {
    _sockets: Vec<OwnedFd>,
}

/// Chooses a free host port for each mapping that has none; neighbours get
/// neighbours where that is possible.
pub fn choose(ports: &mut [PortMapping]) -> Result<Reserved> {
    const TRIES: u32 = 16;
    let mut sockets = Vec::new();
    let mut rest = ports;
    while let Some(start) = rest.iter().position(|port| port.host_port == 0) {
        rest = &mut rest[start..];
        let mut length = rest
            .windows(2)
            .position(|two| !two[0].is_followed_by(&two[1]))
            .map_or(rest.len(), |last| last + 1);
        let mut tries = 0;
        let chosen = loop {
            match bind_run(&rest[..length]) {
                Ok(chosen) => break chosen,
                Err(_) if tries < TRIES => tries += 1,
                Err(_) if length > 1 => length = 1,
                Err(error) => return Err(cannot_publish(&rest[0], error)),
            }
        };
        let (run, after) = rest.split_at_mut(length);
        for (port, (number, socket)) in run.iter_mut().zip(chosen) {
            port.host_port = number;
            // Two sockets may be bound to one TCP port while one of them listens at
            // most. Of two UDP sockets, only one would be given what arrives.
            if port.protocol == "tcp" && sockopt::set_socket_reuseaddr(&socket, true).is_ok() {
                sockets.push(socket);
            }
        }
        rest = after;
    }
    Ok(Reserved { _sockets: sockets })
}

/// Binds a free port for the first of `run` and those after it for the others.
fn bind_run(run: &[PortMapping]) -> io::Result<Vec<(u16, OwnedFd)>> {
    let mut bound = Vec::with_capacity(run.len());
    let mut number = 0u16;
    for port in run {
        let socket = bind(port, number, Reuse::No)?;
        if number == 0 {
            let address = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
            number = address.port();
        }
        bound.push((number, socket));
        number = number.checked_add(1).ok_or(io::ErrorKind::AddrInUse)?;
    }
    Ok(bound)
}

/// Fails with what pasta would fail with if a host port is taken or not ours to
/// use, so that it is said before anything is made.
pub fn check_free(ports: &[PortMapping]) -> Result<()> {
    for port in ports.iter().filter(|port| port.host_port != 0) {
        // pasta listens with SO_REUSEADDR; two UDP sockets would share the port.
        let reuse = if port.protocol == "tcp" {
            Reuse::Yes
        } else {
            Reuse::No
        };
        match bind(port, port.host_port, reuse) {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EADDRINUSE | libc::EACCES | libc::EADDRNOTAVAIL)
                ) =>
            {
                return Err(cannot_publish(port, error));
            }
            // What else may be wrong, pasta knows better.
            _ => {}
        }
    }
    Ok(())
}

/// What the user hears of a host port that cannot be had: exit code 126, as Podman.
pub(super) fn cannot_publish(port: &PortMapping, error: io::Error) -> Error {
    let hint = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            let protocol = if port.protocol == "udp" { 'u' } else { 't' };
            format!(
                "`ss -l{protocol}np sport = :{}` shows who holds it",
                port.host_port
            )
        }
        Some(libc::EACCES) => format!(
            "publish a port from 1024 on, or as root, `sysctl net.ipv4.ip_unprivileged_port_start={}`",
            port.host_port
        ),
        _ => "`ip address` shows the addresses of this machine".to_owned(),
    };
    Error::from(error)
        .tried(Publish(port))
        .kind_is(Kind::CannotInvoke)
        .hint(hint)
}

struct Publish<'a>(&'a PortMapping);

impl fmt::Display for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.0.shown_ip(), self.0.host_port);
        match ip.contains(':') {
            true => write!(f, "publish [{ip}]:{port}"),
            false => write!(f, "publish {ip}:{port}"),
        }?;
        match self.0.protocol.as_str() {
            "tcp" => Ok(()),
            protocol => write!(f, "/{protocol}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Yes,
    No,
}

fn bind(mapping: &PortMapping, number: u16, reuse: Reuse) -> io::Result<OwnedFd> {
    match mapping.host_ip.parse::<IpAddr>() {
        Ok(ip) => bind_to(&mapping.protocol, ip, number, reuse),
        Err(_) => match bind_to(
            &mapping.protocol,
            Ipv6Addr::UNSPECIFIED.into(),
            number,
            reuse,
        ) {
            // No IPv6 on this machine.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                ) =>
            {
                bind_to(
                    &mapping.protocol,
                    Ipv4Addr::UNSPECIFIED.into(),
                    number,
                    reuse,
                )
            }
            result => result,
        },
    }
}

fn bind_to(protocol: &str, ip: IpAddr, number: u16, reuse: Reuse) -> io::Result<OwnedFd> {
    let family = match ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match protocol {
        "udp" => SocketType::DGRAM,
        _ => SocketType::STREAM,
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    sockopt::set_socket_reuseaddr(&socket, reuse == Reuse::Yes)?;
    rustix::net::bind(&socket, &SocketAddr::new(ip, number))?;
    Ok(socket)
}

/// Runs of neighbours among sorted `ports`, as (first, length).
pub(super) fn runs(ports: &[PortMapping]) -> Vec<(&PortMapping, u16)> {
    let mut sorted: Vec<&PortMapping> = ports.iter().collect();
    sorted.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut runs: Vec<(&PortMapping, u16)> = Vec::new();
    let mut last: Option<&PortMapping> = None;
    for port in sorted {
        match runs.last_mut() {
            Some((_, length)) if last.is_some_and(|last| last.is_followed_by(port)) => *length += 1,
            _ => runs.push((port, 1)),
        }
        last = Some(port);
    }
    runs
}

/// `ps`'s column: `0.0.0.0:8000-8003->80-83/tcp, 90-92/udp`; what of `exposed`
/// (`90/udp`) is not published stands last.
pub fn describe(ports: &[PortMapping], exposed: &[String]) -> String {
    let span = |first: u16, length: u16| match length {
        1 => first.to_string(),
        _ => format!("{first}-{}", first + (length - 1)),
    };
    let mut parts: Vec<String> = runs(ports)
        .into_iter()
        .map(|(first, length)| {
            format!(
                "{}:{}->{}/{}",
                first.shown_ip(),
                span(first.host_port, length),
                span(first.container_port, length),
                first.protocol
            )
        })
        .collect();
    let mut unpublished = Vec::new();
    publish_exposed(&mut unpublished, exposed);
    unpublished.retain(|it| {
        !ports
            .iter()
            .any(|port| port.container_port == it.container_port && port.protocol == it.protocol)
    });
    parts.extend(runs(&unpublished).into_iter().map(|(first, length)| {
        format!("{}/{}", span(first.container_port, length), first.protocol)
    }));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<String, String> {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let ports = parse_published(&flags).map_err(|error| error.to_string())?;
        Ok(describe(&ports, &[]))
    }

    #[test]
    fn published_ports_are_podmans() {
        for (flags, shown) in [
            (&["80"][..], "0.0.0.0:0->80/tcp"),
            (&[":80"], "0.0.0.0:0->80/tcp"),
            (&["8080:80"], "0.0.0.0:8080->80/tcp"),
            (&["+80:080"], "0.0.0.0:80->80/tcp"),
            (&["127.0.0.1:8080:80/udp"], "127.0.0.1:8080->80/udp"),
            (&["127.0.0.1::80"], "127.0.0.1:0->80/tcp"),
            (&["0.0.0.0::80"], "0.0.0.0:0->80/tcp"),
            (&["[::1]:80:80"], "::1:80->80/tcp"),
            (&["[::1]::80"], "::1:0->80/tcp"),
            (&["[127.0.0.1]:80:80"], "127.0.0.1:80->80/tcp"),
            (&["80:80/TCP"], "0.0.0.0:80->80/tcp"),
            (&["8080:80/sctp"], "0.0.0.0:8080->80/sctp"),
            (&["8000-8010:80-90"], "0.0.0.0:8000-8010->80-90/tcp"),
            (&["1-65535:1-65535"], "0.0.0.0:1-65535->1-65535/tcp"),
            (&["80:80", "80:80"], "0.0.0.0:80->80/tcp"),
            (
                &["8000-8010:80-90", "8005:85"],
                "0.0.0.0:8000-8010->80-90/tcp",
            ),
            (
                &["8000-8002:80-82", "8003:83", "8004:85", "9001:80/udp"],
                "0.0.0.0:8000-8003->80-83/tcp, 0.0.0.0:8004->85/tcp, 0.0.0.0:9001->80/udp",
            ),
            (
                &["80:80", "80:80/udp"],
                "0.0.0.0:80->80/tcp, 0.0.0.0:80->80/udp",
            ),
            (
                &["127.0.0.1:80:80", "127.0.0.2:80:81"],
                "127.0.0.1:80->80/tcp, 127.0.0.2:80->81/tcp",
            ),
        ] {
            assert_eq!(parse(flags), Ok(shown.to_owned()), "{flags:?}");
        }
    }

    #[test]
    fn wrong_ports_are_said_in_podmans_words() {
        for (flag, words) in [
            (
                "::80",
                "must provide a non-empty container host IP to publish",
            ),
            (
                "[]:80:80",
                "must provide a non-empty container host IP to publish",
            ),
            (
                "8080:",
                "must provide a non-empty container port to publish",
            ),
            ("80/", "must provide a non-empty protocol to publish"),
            (
                "8080:80/foo",
                "unrecognized protocol \"foo\" in port mapping",
            ),
            (
                "80:80/tcp/udp",
                "invalid port format - protocol can only be specified once",
            ),
            (
                "a",
                "parsing container port: invalid port number: strconv.Atoi: parsing \"a\": invalid syntax",
            ),
            (
                "8080:80 ",
                "parsing container port: invalid port number: strconv.Atoi: parsing \"80 \": invalid syntax",
            ),
            (
                "99999999999999999999:1",
                "parsing host port: invalid port number: strconv.Atoi: parsing \"99999999999999999999\": value out of range",
            ),
            (
                "70000:80",
                "parsing host port: port numbers must be between 1 and 65535 (inclusive), got 70000",
            ),
            (
                "80:0",
                "parsing container port: port numbers must be between 1 and 65535 (inclusive), got 0",
            ),
            (
                "8000-8001:80",
                "host and container port ranges have different lengths: 2 vs 1",
            ),
            (
                "80-79",
                "parsing container port: the end port of a range must be higher than the start port - 79 is not higher than 80",
            ),
            (
                "80-90-91:80",
                "parsing host port: invalid port format - port ranges are formatted as startPort-stopPort",
            ),
            (
                "80-:80",
                "parsing host port: must provide ending number for port range",
            ),
            (
                "-80:80",
                "parsing host port: port numbers cannot be negative",
            ),
            (
                "127.0.0.1:80",
                "parsing host port: invalid port number: strconv.Atoi: parsing \"127.0.0.1\": invalid syntax",
            ),
            (
                "localhost:80:80",
                "cannot parse \"localhost\" as an IP address",
            ),
            ("0:0:80", "cannot parse \"0\" as an IP address"),
            (
                "[::1:80:80",
                "invalid port format - format is [[hostIP:]hostPort:]containerPort",
            ),
            (
                "[::1]80:80",
                "invalid port format - IPv6 address must be followed by a colon (':')",
            ),
            (
                "[::1]:80",
                "invalid port format - must provide host and destination port if specifying an IP",
            ),
            (
                "[::1]:1:2:3",
                "invalid port format - when v6 address specified, must be [ipv6]:hostPort:ctrPort",
            ),
            (
                "1]:80",
                "invalid port format - IPv6 addresses must be enclosed by []",
            ),
            (
                "[::1]]:1:2",
                "invalid port format - at most one IPv6 address can be specified in a --publish",
            ),
        ] {
            assert_eq!(parse(&[flag]), Err(words.to_owned()), "{flag:?}");
        }
    }

    #[test]
    fn one_host_port_leads_to_one_place() {
        let words = "conflicting port mappings for host port 8005 (protocol tcp)";
        for flags in [
            &["8000-8010:80-90", "8005:86"][..],
            &["8005:80", "127.0.0.1:8005:81"],
            &["0.0.0.0:8005:80", "127.0.0.1:8005:81"],
            &["[::]:8005:80", "[::1]:8005:81"],
        ] {
            assert_eq!(parse(flags), Err(words.to_owned()), "{flags:?}");
        }
        assert!(parse(&["0.0.0.0:80:80", "[::1]:80:80"]).is_ok());
    }

    #[test]
    fn nothing_typed_after_p_makes_it_panic() {
        let pieces = [
            "", "1", "80", "65535", "65536", "-", ":", "[", "]", "/", "::1", "tcp", "a",
        ];
        let mut state = 1u32;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..6 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(pieces[(state >> 16) as usize % pieces.len()]);
            }
            let _ = parse(&[&text]);
            let _ = parse_exposed(&text);
        }
    }

    #[test]
    fn exposed_ports_are_podmans() {
        for (text, ports) in [
            ("80", &["80/tcp"][..]),
            ("80/", &["80/tcp"]),
            ("80/TCP", &["80/tcp"]),
            ("90-92/udp", &["90/udp", "91/udp", "92/udp"]),
        ] {
            assert_eq!(parse_exposed(text).unwrap(), ports, "{text}");
        }
        for (text, words) in [
            (
                "x",
                "invalid range format for --expose: x: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "70000",
                "invalid range format for --expose: 70000: strconv.ParseUint: parsing \"70000\": value out of range",
            ),
            (
                "1-",
                "invalid range format for --expose: 1-: strconv.ParseUint: parsing \"\": invalid syntax",
            ),
            (
                "90-80",
                "invalid range format for --expose: 90-80: Invalid range specified for the Port: 90-80",
            ),
            (
                "/tcp",
                "invalid range format for --expose: /tcp: Empty string specified for ports.",
            ),
            (
                "0",
                "port numbers must be between 1 and 65535 (inclusive), got 0",
            ),
            (
                "80/foo",
                "validating protocols for exposed port 80: unrecognized protocol \"foo\" in port mapping",
            ),
            (
                "80/tcp/x",
                "invalid expose format - protocol can only be specified once",
            ),
        ] {
            assert_eq!(
                parse_exposed(text).unwrap_err().to_string(),
                words,
                "{text}"
            );
        }
    }

    #[test]
    fn publish_all_takes_what_is_not_published_yet() {
        let mut ports = parse_published(&["8080:80".into()]).unwrap();
        let exposed = ["80/tcp", "80/udp", "90/tcp", "91/tcp"].map(str::to_owned);
        assert_eq!(
            describe(&ports, &exposed),
            "0.0.0.0:8080->80/tcp, 90-91/tcp, 80/udp"
        );
        publish_exposed(&mut ports, &exposed);
        let _reserved = choose(&mut ports).unwrap();
        assert_eq!(ports.len(), 4);
        assert!(ports.iter().all(|port| port.host_port != 0));
        assert_eq!(describe(&ports, &exposed).matches("->").count(), 3);
    }

    #[test]
    fn a_chosen_port_is_kept_from_others_but_not_from_pasta() {
        let mut ports = parse_published(&["127.0.0.1::80-82".into()]).unwrap();
        let reserved = choose(&mut ports).unwrap();
        assert_eq!(ports[1].host_port, ports[0].host_port + 1);
        assert_eq!(ports[2].host_port, ports[0].host_port + 2);
        assert!(bind(&ports[0], ports[0].host_port, Reuse::No).is_err());
        let pasta = bind(&ports[0], ports[0].host_port, Reuse::Yes).unwrap();
        rustix::net::listen(&pasta, 1).unwrap();
        drop(reserved);
        let error = check_free(&ports).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "publish 127.0.0.1:{}: address already in use",
                ports[0].host_port
            )
        );
        assert_eq!(error.exit_code(), 126);
        drop(pasta);
        assert!(check_free(&ports).is_ok());
    }

    #[test]
    fn a_taken_udp_port_is_seen() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();
        let ports = parse_published(&[format!("{number}:1/udp")]).unwrap();
        let error = check_free(&ports).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("publish 0.0.0.0:{number}/udp: address already in use")
        );
        assert!(error.hint_line().unwrap().starts_with("`ss -lunp"));
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let ports = parse_published(&["192.0.2.250:8081:1".into()]).unwrap();
        let error = check_free(&ports).unwrap_err();
        assert_eq!(
            error.to_string(),
            "publish 192.0.2.250:8081: cannot assign requested address"
        );
    }
}
