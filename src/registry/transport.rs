//! Requests and answers: through a proxy as the environment says, redirects by our
//! rule.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use ureq::http::{Method, Request, Response, Uri};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, SocksConnector, TcpConnector,
};
use ureq::{Agent, Body, Proxy, ProxyProtocol, SendBody};

use super::proxy::Proxies;
use super::tls::{self, Tls};
use crate::error::{Error, Result};

const CONNECT: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;

/// Why there is no answer.
#[derive(Debug)]
pub struct Failure {
    pub words: String,
    /// Whether it may go well another time.
    pub passing: bool,
}

/// An answer, whatever its status.
pub type Answer = Response<Body>;

/// What is asked.
pub struct Question<'a> {
    pub method: Method,
    pub url: &'a str,
    pub headers: Vec<(&'static str, String)>,
    /// For this origin alone.
    pub authorization: Option<String>,
}

/// Pools of connections to a registry and to where it redirects.
pub struct Transport {
    certs: Vec<PathBuf>,
    insecure: bool,
    silence: Duration,
    proxies: Proxies,
    /// Once TLS is spoken: certificates are read then.
    tls: OnceLock<Arc<ClientConfig>>,
    agents: Mutex<HashMap<Way, Agent>>,
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Way {
    proxy: Option<String>,
    secure: bool,
}

impl Transport {
    pub fn new(insecure: bool, certs: &[PathBuf], silence: Duration) -> Self {
        // Only what glibc itself holds: a static program must load no modules.
        crate::sys::process::resolve_by_files_and_dns();
        Self {
            certs: certs.to_owned(),
            insecure,
            silence,
            proxies: Proxies::of_environment(),
            tls: OnceLock::new(),
            agents: Mutex::default(),
        }
    }

    /// Reads what TLS needs.
    pub fn tls(&self) -> Result<Arc<ClientConfig>> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let made = tls::configuration(self.insecure, &self.certs)?;
        Ok(self.tls.get_or_init(|| made).clone())
    }

    fn agent(&self, way: &Way) -> Result<Agent, Failure> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(way) {
            return Ok(agent.clone());
        }
        let by = match way.proxy.as_deref() {
            Some(url) => Some(by_proxy(url)?),
            None => None,
        };
        // A proxy may itself be spoken to by TLS.
        let by_tls = by
            .as_ref()
            .is_some_and(|it| it.protocol() == ProxyProtocol::Https);
        let tls = match way.secure || by_tls {
            true => Some(self.tls().map_err(|error| lasting(&error.to_string()))?),
            false => None,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(by)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(self.silence))
            .timeout_per_write(Some(self.silence))
            .max_idle_connections_per_host(8)
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .input_buffer_size(256 * 1024)
            .output_buffer_size(256 * 1024)
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(SocksConnector::default())
                .chain(TcpConnector::default())
                .chain(Tls(tls));
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        agents.insert(way.clone(), agent.clone());
        Ok(agent)
    }

    /// Asks; redirects of what has no body are followed.
    pub fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let mut url = question.url.to_owned();
        for _ in 0..=REDIRECTS {
            let own = origin(&url) == origin(question.url);
            let answer = self.once(question, &url, own, SendBody::none())?;
            let follow = matches!(question.method, Method::GET | Method::HEAD)
                && matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !follow {
                return Ok(answer);
            }
            let next = header(&answer, "location").and_then(|to| joined(&url, to));
            let Some(next) = next else {
                return Err(lasting("the server redirects to nowhere"));
            };
            if url.starts_with("https:") && !next.starts_with("https:") && !self.insecure {
                return Err(lasting("the server redirects from HTTPS to plain HTTP"));
            }
            url = next;
        }
        Err(lasting("the server redirects too often"))
    }

    /// Asks with a body; no redirect is followed.
    pub fn send(&self, question: &Question, body: SendBody) -> Result<Answer, Failure> {
        self.once(question, question.url, true, body)
    }

    fn once(
        &self,
        question: &Question,
        url: &str,
        own: bool,
        body: SendBody,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder().method(&question.method).uri(url);
        for (name, value) in &question.headers {
            request = request.header(*name, value);
        }
        if let (Some(value), true) = (&question.authorization, own) {
            request = request.header("authorization", value);
        }
        let request = request
            .body(body)
            .map_err(|error| lasting(&format!("{url}: {error}")))?;
        let way = self.way(request.uri());
        self.agent(&way)?
            .run(request)
            .map_err(|error| failure(url, way.proxy.as_deref(), &error))
    }

    fn way(&self, url: &Uri) -> Way {
        let scheme = url.scheme_str().unwrap_or_default();
        let proxy = (url.host()).and_then(|host| self.proxies.find(scheme, host, url.port_u16()));
        Way {
            proxy: proxy.map(str::to_owned),
            secure: scheme == "https",
        }
    }
}

/// The proxy that the environment has. By SOCKS 5 the proxy looks up the name, as Go's
/// programs have it do.
fn by_proxy(url: &str) -> Result<Proxy, Failure> {
    let url = match url.split_once("://") {
        Some(("http" | "https" | "socks5h", _)) => url.to_owned(),
        Some(("socks5", rest)) => format!("socks5h://{rest}"),
        other => {
            let scheme = other.map_or("", |(scheme, _)| scheme);
            return Err(lasting(&format!(
                "a proxy by {scheme}:// is not supported by coracle yet"
            )));
        }
    };
    // It may have a password in it.
    Proxy::new(&url).map_err(|_| lasting("invalid proxy address in the environment"))
}

fn lasting(words: &str) -> Failure {
    Failure {
        words: words.to_owned(),
        passing: false,
    }
}

/// A header's value, if it is text.
pub fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// A body that must be short.
pub fn short_body(answer: Answer, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let body = answer.into_body().into_reader();
    body.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// `scheme://host[:port]`
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..start + end])
}

/// The URL that `to` means in an answer from `from`.
pub fn joined(from: &str, to: &str) -> Option<String> {
    if to.starts_with("http://") || to.starts_with("https://") {
        Some(to.to_owned())
    } else if let Some(rest) = to.strip_prefix("//") {
        Some(format!("{}//{rest}", &from[..from.find("//")?]))
    } else if to.starts_with('/') {
        Some(format!("{}{to}", origin(from)))
    } else {
        None
    }
}

fn failure(url: &str, proxy: Option<&str>, error: &ureq::Error) -> Failure {
    use std::io::ErrorKind::{ConnectionRefused, InvalidData};
    // Who it was that was spoken to.
    let (through, peer) = match proxy {
        Some(proxy) => ("proxyconnect tcp: ", host(proxy)),
        None => ("", host(url)),
    };
    let mut passing = true;
    let words = match error {
        ureq::Error::Io(error) if error.kind() == ConnectionRefused => {
            passing = false;
            format!("{through}dial tcp {peer}: connect: connection refused")
        }
        // What getaddrinfo(3) says, as std passes it on.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => {
            format!("{through}dial tcp: lookup {peer}: no such host")
        }
        ureq::Error::Io(error) => match tls::words(error) {
            Some(words) => {
                passing = false;
                words
            }
            None => {
                passing = error.kind() != InvalidData;
                error.to_string()
            }
        },
        ureq::Error::HostNotFound => format!("{through}dial tcp: lookup {peer}: no such host"),
        ureq::Error::Timeout(_) => "the registry does not answer in time".to_owned(),
        ureq::Error::ConnectProxyFailed(why) => {
            passing = false;
            format!("proxyconnect tcp: {why}")
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl => {
            passing = false;
            error.to_string()
        }
        error => error.to_string(),
    };
    Failure { words, passing }
}

/// `host[:port]` of a URL, without who goes there.
fn host(url: &str) -> &str {
    let host = origin(url).split("//").last().unwrap_or_default();
    host.rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_known_by_its_origin() {
        assert_eq!(origin("https://a:5000/v2/?x#y"), "https://a:5000");
        assert_eq!(origin("http://a"), "http://a");
        assert_ne!(origin("http://a/x"), origin("https://a/x"));
        assert_ne!(origin("https://a/x"), origin("https://a:444/x"));
        let from = "https://a:1/v2/b";
        for (to, url) in [
            ("/x?y", Some("https://a:1/x?y")),
            ("//b/x", Some("https://b/x")),
            ("http://b/x", Some("http://b/x")),
            ("x", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(joined(from, to).as_deref(), url, "{to}");
        }
    }
}
