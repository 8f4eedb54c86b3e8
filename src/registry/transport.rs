//! Requests and answers: TLS as the machine and certs.d say, redirects by our rule.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body, SendBody};

use crate::error::{Context, Error, Result};

/// How long a registry may be silent.
const SILENCE: Duration = Duration::from_secs(60);
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

/// A pool of connections to a registry.
pub struct Transport {
    agent: Agent,
    insecure: bool,
}

impl Transport {
    /// `plain`: no TLS is spoken, so no certificates are read.
    pub fn new(plain: bool, insecure: bool, certs: &[PathBuf]) -> Result<Self> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .max_idle_connections_per_host(8)
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .input_buffer_size(256 * 1024)
            .output_buffer_size(256 * 1024);
        let config = match plain {
            true => config,
            false => config.tls_config(tls(insecure, certs)?),
        };
        // Only what glibc itself holds: a static program must load no modules.
        crate::sys::process::resolve_by_files_and_dns();
        Ok(Self {
            agent: config.build().new_agent(),
            insecure,
        })
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
                return Err(lasting("the registry redirects to nowhere"));
            };
            if url.starts_with("https:") && !next.starts_with("https:") && !self.insecure {
                return Err(lasting("the registry redirects from HTTPS to plain HTTP"));
            }
            url = next;
        }
        Err(lasting("the registry redirects too often"))
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
        self.agent
            .run(request)
            .map_err(|error| failure(url, &error))
    }
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

fn failure(url: &str, error: &ureq::Error) -> Failure {
    use std::io::ErrorKind::{ConnectionRefused, InvalidData};
    let mut passing = true;
    let words = match error {
        ureq::Error::Io(error) if error.kind() == ConnectionRefused => {
            passing = false;
            format!(
                "dial tcp {}: connect: connection refused",
                origin(url).split("//").last().unwrap_or_default()
            )
        }
        // What getaddrinfo(3) says, as std passes it on.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => format!(
            "dial tcp: lookup {}: no such host",
            origin(url).split("//").last().unwrap_or_default()
        ),
        ureq::Error::Io(error) => match error.get_ref().map(ToString::to_string) {
            Some(inner) if error.kind() == InvalidData => {
                passing = false;
                tls_words(&inner)
            }
            _ => error.to_string(),
        },
        ureq::Error::Rustls(error) => {
            passing = false;
            tls_words(&error.to_string())
        }
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::Timeout(_) => "the registry does not answer in time".to_owned(),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl => {
            passing = false;
            error.to_string()
        }
        error => error.to_string(),
    };
    Failure { words, passing }
}

/// Go's words for what users meet most.
fn tls_words(inner: &str) -> String {
    if inner.contains("InvalidContentType") || inner.contains("corrupt message") {
        "http: server gave HTTP response to HTTPS client".to_owned()
    } else if inner.contains("UnknownIssuer") {
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            .to_owned()
    } else {
        format!("tls: {inner}")
    }
}

fn tls(insecure: bool, certs: &[PathBuf]) -> Result<TlsConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = own_certificates(certs)?;
    let mut roots = if insecure { Vec::new() } else { system_roots() };
    roots.extend(own.roots);
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(own.client)
        .disable_verification(insecure)
        .build())
}

/// What a folder of certs.d holds (containers-certs.d(5)).
#[derive(Default)]
struct Own {
    roots: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

fn own_certificates(dirs: &[PathBuf]) -> Result<Own> {
    let mut own = Own::default();
    // The first folder that is there counts.
    let Some(entries) = dirs.iter().find_map(|dir| std::fs::read_dir(dir).ok()) else {
        return Ok(own);
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        match file.extension().and_then(|it| it.to_str()) {
            Some("crt") => own.roots.extend(pem_file(&file)?.0),
            Some("cert") => {
                let (chain, _) = pem_file(&file)?;
                let key = file.with_extension("key");
                let (_, key) = pem_file(&key)?;
                let key = key.ok_or_else(|| {
                    Error::other(format!("{} has no private key", file.display()))
                })?;
                own.client = Some(ClientCert::new_with_certs(&chain, key));
            }
            _ => {}
        }
    }
    Ok(own)
}

type Pem = (Vec<Certificate<'static>>, Option<PrivateKey<'static>>);

fn pem_file(path: &Path) -> Result<Pem> {
    let bytes = std::fs::read(path).tried(|| format!("read {}", path.display()))?;
    Ok(pem(&bytes))
}

fn pem(bytes: &[u8]) -> Pem {
    let (mut certificates, mut key) = (Vec::new(), None);
    for item in ureq::tls::parse_pem(bytes).flatten() {
        match item {
            PemItem::Certificate(it) => certificates.push(it),
            PemItem::PrivateKey(it) => key = Some(it),
            _ => {}
        }
    }
    (certificates, key)
}

/// Where distributions keep what they trust.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn system_roots() -> Vec<Certificate<'static>> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = BUNDLES.iter().map(PathBuf::from);
    let files: Vec<PathBuf> = match named {
        Some(file) => vec![file],
        None => usual.collect(),
    };
    let mut roots = files
        .iter()
        .find_map(|file| std::fs::read(file).ok())
        .map(|bytes| pem(&bytes).0)
        .unwrap_or_default();
    if let Some(dirs) = std::env::var_os("SSL_CERT_DIR") {
        for dir in std::env::split_paths(&dirs) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if let Ok(bytes) = std::fs::read(entry.path()) {
                    roots.extend(pem(&bytes).0);
                }
            }
        }
    }
    roots
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
