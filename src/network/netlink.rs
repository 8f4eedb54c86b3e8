//! The few questions asked of the kernel about a network (rtnetlink(7)).
//!
//! A netlink socket stays in the network namespace it was made in, so one made
//! by a child answers for the container's namespace from outside.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;

/// A socket that asks about the namespace we are in now.
pub fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is 0, the default.
        None,
    )?)
}

/// A socket that hears of each new route of the namespace we are in now; it does not
/// wait where there is none.
pub fn route_listener() -> io::Result<OwnedFd> {
    const RTMGRP_IPV4_ROUTE: u32 = 0x40;
    const RTMGRP_IPV6_ROUTE: u32 = 0x400;
    let socket = socket()?;
    let groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Families of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Families {
    pub v4: bool,
    pub v6: bool,
}

impl Families {
    pub fn contains(self, other: Self) -> bool {
        (self.v4 || !other.v4) && (self.v6 || !other.v6)
    }

    fn add(&mut self, family: u8) {
        match i32::from(family) {
            libc::AF_INET => self.v4 = true,
            libc::AF_INET6 => self.v6 = true,
            _ => {}
        }
    }
}

/// Those of which there is a way to another machine from the namespace we are in now.
pub fn routed_families() -> io::Result<Families> {
    let mut found = Families::default();
    for family in [libc::AF_INET, libc::AF_INET6] {
        // Of its own: what is left of a long answer goes with it.
        let socket = socket()?;
        // An `rtmsg`.
        let mut body = [0; 12];
        body[0] = family as u8;
        send(&socket, RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, &body)?;
        each_message_while(&socket, |kind, body| {
            if let (RTM_NEWROUTE, Some(route)) = (kind, Route::of(body))
                && route.leads_away
            {
                found.add(route.family);
                return false;
            }
            true
        })?;
    }
    Ok(found)
}

/// Adds to `found` the families that got a default route, as `listener` heard since it
/// was asked last.
pub fn heard_default_routes(listener: impl AsFd, found: &mut Families) -> io::Result<()> {
    let heard = each_message(listener, |kind, body| {
        if let (RTM_NEWROUTE, Some(route)) = (kind, Route::of(body))
            && route.leads_away
            && route.is_default
        {
            found.add(route.family);
        }
    });
    match heard {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}

/// What matters here of an `rtmsg` (rtnetlink(7)) and its attributes.
struct Route {
    family: u8,
    is_default: bool,
    /// In the main table, to a machine, and not only to those of the same link.
    leads_away: bool,
}

impl Route {
    fn of(body: &[u8]) -> Option<Self> {
        const RTA_DST: u16 = 1;
        let &[family, bits, _, _, table, _, _, kind] = body.first_chunk::<8>()?;
        let to = attributes(body.get(12..)?).find(|(kind, _)| *kind == RTA_DST);
        let is_local = match to.and_then(|(_, value)| ip(value)) {
            Some(IpAddr::V6(to)) => to.is_unicast_link_local() || to.is_multicast(),
            _ => false,
        };
        Some(Self {
            family,
            is_default: bits == 0,
            leads_away: table == libc::RT_TABLE_MAIN && kind == libc::RTN_UNICAST && !is_local,
        })
    }
}

/// Sets the loopback interface up, which every namespace has as its first.
pub fn raise_loopback(socket: impl AsFd) -> io::Result<()> {
    const LOOPBACK: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&LOOPBACK.to_ne_bytes());
    body[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
    body[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    send(&socket, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, &body)?;
    each_message(&socket, |_, _| {})
}

/// The addresses that a process there can use, IPv4 first, in the kernel's
/// order: neither loopback nor multicast, and no link-local IPv6.
pub fn addresses(socket: impl AsFd) -> io::Result<Vec<IpAddr>> {
    // An `ifaddrmsg` with family 0: of every family.
    send(&socket, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, &[0; 8])?;
    let mut found = Vec::new();
    each_message(&socket, |kind, body| {
        if kind == RTM_NEWADDR
            && let Some(address) = address_of(body)
            && is_usable(address)
        {
            found.push(address);
        }
    })?;
    Ok(found)
}

fn is_usable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_loopback() && !address.is_multicast() && !link_local
}

/// The address in an `ifaddrmsg` and its attributes: IFA_LOCAL, else IFA_ADDRESS.
fn address_of(body: &[u8]) -> Option<IpAddr> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let (mut address, mut local) = (None, None);
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            IFA_ADDRESS => address = ip(value),
            IFA_LOCAL => local = ip(value),
            _ => {}
        }
    }
    local.or(address)
}

/// The attributes of a message, each its kind and its value, up to one that is cut short.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        Some(Ipv4Addr::from(v4).into())
    } else {
        <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|v6| Ipv6Addr::from(v6).into())
    }
}

fn send(socket: impl AsFd, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence number and port id: one question at a time, the kernel fills in the other.
    message.extend([0; 8]);
    message.extend(body);
    rustix::net::send(socket, &message, SendFlags::empty())?;
    Ok(())
}

/// Hands each message of one answer to `take`, up to its end or error.
fn each_message(socket: impl AsFd, mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
    each_message_while(socket, |kind, body| {
        take(kind, body);
        true
    })
}

/// As [`each_message`], as long as `take` wants more.
fn each_message_while(
    socket: impl AsFd,
    mut take: impl FnMut(u16, &[u8]) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let (length, _) = match rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let kind = u16::from_ne_bytes([rest[4], rest[5]]);
            let Some(body) = rest.get(HEADER..size) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = body
                        .first_chunk::<4>()
                        .map_or(0, |c| i32::from_ne_bytes(*c));
                    return match code {
                        0 => Ok(()),
                        code => Err(io::Error::from_raw_os_error(-code)),
                    };
                }
                kind if !take(kind, body) => return Ok(()),
                _ => {}
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_from_its_message() {
        let mut body = vec![0; 8];
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = Vec::new();
            bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes
        };
        // A point-to-point link: the peer first, then our own end.
        body.extend(attribute(1, &[10, 0, 0, 2]));
        body.extend(attribute(3, b"tun\0"));
        body.extend(attribute(2, &[10, 0, 0, 1]));
        assert_eq!(address_of(&body), Some([10, 0, 0, 1].into()));
        assert_eq!(address_of(&body[..14]), None);
        assert_eq!(address_of(&[]), None);
    }

    #[test]
    fn a_route_is_read_from_its_message() {
        let mut body = vec![10, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        let route = Route::of(&body).unwrap();
        assert!(route.is_default && route.leads_away && route.family == 10);
        // To fe80::, of 64 bits.
        body[1] = 64;
        body.extend([20, 0, 1, 0]);
        body.extend("fe80::".parse::<Ipv6Addr>().unwrap().octets());
        let route = Route::of(&body).unwrap();
        assert!(!route.is_default && !route.leads_away);
        // One that says that there is no way.
        body[7] = 7;
        assert!(!Route::of(&body[..12]).unwrap().leads_away);
        assert!(Route::of(&body[..11]).is_none());
    }

    #[test]
    fn the_kernel_answers() {
        let socket = socket().unwrap();
        let found = addresses(&socket).unwrap();
        assert!(found.iter().all(|&address| is_usable(address)), "{found:?}");
        routed_families().unwrap();
        let mut heard = Families::default();
        heard_default_routes(route_listener().unwrap(), &mut heard).unwrap();
        assert_eq!(heard, Families::default());
        // The socket serves again.
        assert_eq!(addresses(&socket).unwrap(), found);
    }
}
