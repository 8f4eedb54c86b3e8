//! Which proxy a request goes through: what the environment says, read as Go's
//! programs read it (golang.org/x/net/http/httpproxy), so that what works with
//! Podman works here.

use std::net::IpAddr;

/// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`; the names in small letters are read
/// where the others are not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    except: Vec<Except>,
}

/// What is reached without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Except {
    All,
    Network(IpAddr, u32),
    Address(IpAddr, Option<u16>),
    Domain {
        /// `.example.com`
        suffix: String,
        port: Option<u16>,
        /// `example.com` itself is meant, too.
        itself: bool,
    },
}

impl Proxies {
    pub fn of_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let set = |it: &String| !it.is_empty();
            let large = variable(name).filter(set);
            large.or_else(|| variable(&name.to_ascii_lowercase()).filter(set))
        };
        let proxy = |name: &str| either(name).map(with_scheme);
        Self {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            except: exceptions(&either("NO_PROXY").unwrap_or_default()),
        }
    }

    /// The proxy for `scheme://host:port`; `host` may stand in brackets.
    pub fn find(&self, scheme: &str, host: &str, port: Option<u16>) -> Option<&str> {
        let (proxy, usual) = match scheme {
            "https" => (&self.https, 443),
            _ => (&self.http, 80),
        };
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|it| it.is_loopback()) {
            return None;
        }
        let port = port.unwrap_or(usual);
        let spared = |it: &Except| it.spares(&host, address, port);
        proxy.as_deref().filter(|_| !self.except.iter().any(spared))
    }
}

impl Except {
    fn spares(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let fits = |own: &Option<u16>| own.is_none_or(|own| own == port);
        match self {
            Self::All => true,
            Self::Network(network, bits) => address.is_some_and(|it| is_in(it, *network, *bits)),
            Self::Address(own, port) => address == Some(*own) && fits(port),
            Self::Domain {
                suffix,
                port,
                itself,
            } => {
                let named = host.ends_with(suffix.as_str()) || (*itself && *host == suffix[1..]);
                address.is_none() && named && fits(port)
            }
        }
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            (address.to_bits() ^ network.to_bits()) & mask == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            (address.to_bits() ^ network.to_bits()) & mask == 0
        }
        _ => false,
    }
}

/// `host:port` means `http://host:port`.
fn with_scheme(value: String) -> String {
    match value.contains("://") {
        true => value,
        false => format!("http://{value}"),
    }
}

fn exceptions(list: &str) -> Vec<Except> {
    let mut found = Vec::new();
    for one in list.split(',') {
        let one = one.trim().to_ascii_lowercase();
        if one == "*" {
            return vec![Except::All];
        }
        found.extend(exception(&one));
    }
    found
}

fn exception(text: &str) -> Option<Except> {
    if let Some((address, bits)) = text.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
        return Some(Except::Network(address, bits));
    }
    // An IPv6 address has colons, and a port only behind brackets.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().ok()?))
        }
        _ => (text, None),
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return Some(Except::Address(address, port));
    }
    let host = host
        .strip_prefix('*')
        .filter(|it| it.starts_with('.'))
        .unwrap_or(host);
    match host {
        "" | "." => None,
        _ => Some(Except::Domain {
            itself: !host.starts_with('.'),
            suffix: match host.starts_with('.') {
                true => host.to_owned(),
                false => format!(".{host}"),
            },
            port,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxies::read(find)
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let both = proxies(&[
            ("HTTP_PROXY", "plain.example:3128"),
            ("https_proxy", "https://me:pw@safe.example"),
            ("HTTPS_PROXY", ""),
            ("ALL_PROXY", "http://nobody.example"),
        ]);
        let safe = Some("https://me:pw@safe.example");
        assert_eq!(both.find("https", "a.example", None), safe);
        let plain = Some("http://plain.example:3128");
        assert_eq!(both.find("http", "a.example", Some(5000)), plain);
        let one = proxies(&[("HTTPS_PROXY", "p:1"), ("https_proxy", "q:1")]);
        assert_eq!(one.find("https", "a", None), Some("http://p:1"));
        assert_eq!(one.find("http", "a", None), None);
    }

    #[test]
    fn what_is_near_or_excepted_has_none() {
        let some = proxies(&[
            ("HTTPS_PROXY", "p:1"),
            (
                "NO_PROXY",
                "one.example, .two.example,*.three.example,four.example:5000,10.0.0.0/8,\
                 192.0.2.7,fd00::/8,[::5]:9,300.0.0.0/99,,:,x:y",
            ),
        ]);
        for (host, port, direct) in [
            ("localhost", None, true),
            ("127.0.0.2", None, true),
            ("[::1]", Some(5000), true),
            ("one.example", None, true),
            ("ONE.example", Some(5000), true),
            ("a.one.example", None, true),
            ("none.example", None, false),
            ("two.example", None, false),
            ("a.two.example", None, true),
            ("three.example", None, false),
            ("a.three.example", None, true),
            ("four.example", Some(5000), true),
            ("four.example", None, false),
            ("10.9.8.7", None, true),
            ("11.0.0.1", None, false),
            ("192.0.2.7", Some(1), true),
            ("192.0.2.8", None, false),
            ("[fd12::1]", None, true),
            ("[fe80::1]", None, false),
            ("[::5]", Some(9), true),
            ("[::5]", None, false),
        ] {
            let found = some.find("https", host, port);
            assert_eq!(found.is_none(), direct, "{host} {port:?}: {found:?}");
        }
        let all = proxies(&[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "a,*")]);
        assert_eq!(all.find("https", "b.example", None), None);
        let none = proxies(&[("HTTPS_PROXY", "p:1"), ("no_proxy", "0.0.0.0/0")]);
        assert_eq!(none.find("https", "192.0.2.1", None), None);
        assert!(none.find("https", "b.example", None).is_some());
    }
}
