//! TLS as the machine and certs.d say, with Go's judgement of certificates and
//! Go's words for it.
//!
//! rustls judges as a browser does. Go, and so Podman, also takes a certificate
//! authority as a server's certificate if it is trusted itself: what
//! `openssl req -x509` makes for a registry of one's own is such a one.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, InvalidMessage,
    RootCertStore, SignatureScheme, StreamOwned,
};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use crate::error::{Context, Error, Result};

/// How TLS is spoken: certificates are judged by the machine's authorities and by
/// those of the first folder of `certs` that is there; `insecure`, not at all.
pub fn configuration(insecure: bool, certs: &[PathBuf]) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = Own::read(certs, &provider)?;
    let trusted = match insecure {
        true => None,
        false => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(system_roots());
            roots.add_parsable_certificates(own.roots.iter().cloned());
            Some(roots)
        }
    };
    let judge = Judge {
        trusted,
        own: own.roots,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| Error::other(format!("tls: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge));
    Ok(Arc::new(match own.client {
        Some(client) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(client))),
        None => config.with_no_client_auth(),
    }))
}

/// What a folder of certs.d holds (containers-certs.d(5)).
#[derive(Default)]
struct Own {
    roots: Vec<CertificateDer<'static>>,
    client: Option<CertifiedKey>,
}

impl Own {
    fn read(dirs: &[PathBuf], provider: &CryptoProvider) -> Result<Self> {
        let mut own = Self::default();
        // The first folder that is there counts.
        let Some(entries) = dirs.iter().find_map(|dir| std::fs::read_dir(dir).ok()) else {
            return Ok(own);
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        let shown = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
        for file in files {
            match file.extension().and_then(|it| it.to_str()) {
                Some("crt") => own.roots.extend(certificates(&read(&file)?)),
                Some("cert") => {
                    let key = file.with_extension("key");
                    if !key.exists() {
                        return Err(Error::other(format!(
                            "missing key {} for client certificate {}",
                            shown(&key),
                            shown(&file)
                        ))
                        .hint("certificates of authorities must be named *.crt"));
                    }
                    own.client = Some(client(&file, &key, provider)?);
                }
                Some("key") if !file.with_extension("cert").exists() => {
                    return Err(Error::other(format!(
                        "missing client certificate {} for key {}",
                        shown(&file.with_extension("cert")),
                        shown(&file)
                    )));
                }
                _ => {}
            }
        }
        Ok(own)
    }
}

/// Who we are to a registry that asks for a certificate.
fn client(file: &Path, key_file: &Path, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let tried = || format!("loading X509 key pair {}", file.display());
    let chain = certificates(&read(file)?);
    let key = PrivateKeyDer::from_pem_slice(&read(key_file)?)
        .map_err(|error| Error::other(error.to_string()))
        .tried(|| format!("reading {}", key_file.display()))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| Error::other(error.to_string()).tried(tried()))?;
    let own = CertifiedKey::new(chain, key);
    match own.keys_match() {
        Ok(()) => Ok(own),
        // Some keys do not tell.
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(own),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(Error::other("private key does not match public key").tried(tried()))
        }
        Err(error) => Err(Error::other(error.to_string()).tried(tried())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).tried(|| format!("read {}", path.display()))
}

/// What is no certificate is passed over.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).flatten().collect()
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

fn system_roots() -> Vec<CertificateDer<'static>> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = BUNDLES.iter().map(PathBuf::from);
    let files: Vec<PathBuf> = match named {
        Some(file) => vec![file],
        None => usual.collect(),
    };
    let mut roots = files
        .iter()
        .find_map(|file| std::fs::read(file).ok())
        .map(|bytes| certificates(&bytes))
        .unwrap_or_default();
    if let Some(dirs) = std::env::var_os("SSL_CERT_DIR") {
        for dir in std::env::split_paths(&dirs) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if let Ok(bytes) = std::fs::read(entry.path()) {
                    roots.extend(certificates(&bytes));
                }
            }
        }
    }
    roots
}

/// Judges the certificates of servers.
#[derive(Debug)]
struct Judge {
    /// None: whoever answers is believed.
    trusted: Option<RootCertStore>,
    /// Of certs.d.
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trusted) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(server)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let signed =
            verify_server_cert_signed_by_trust_anchor(&parsed, trusted, between, now, algorithms);
        match signed {
            // Its time is looked at before its kind: this one is in force.
            Err(rustls::Error::InvalidCertificate(why))
                if is_authority(&why) && self.own.contains(server) => {}
            other => other?,
        }
        verify_server_name(&parsed, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.trusted.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.trusted.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let mut schemes = algorithms.supported_schemes();
        if self.trusted.is_none() {
            schemes.extend([
                SignatureScheme::ECDSA_NISTP521_SHA512,
                SignatureScheme::RSA_PKCS1_SHA1,
                SignatureScheme::ED448,
            ]);
        }
        schemes
    }
}

/// Whether a certificate was refused for being an authority's.
fn is_authority(why: &CertificateError) -> bool {
    // The type within is of a crate that rustls does not pass on.
    matches!(why, CertificateError::Other(inner) if inner.to_string() == "CaUsedAsEndEntity")
}

/// Wraps connections to `https:` in TLS.
pub struct Tls(pub Option<Arc<ClientConfig>>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, Connection>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        let config = match &self.0 {
            Some(config) if details.needs_tls() && !transport.is_tls() => config.clone(),
            _ => return Ok(Some(Either::A(transport))),
        };
        let host = details.uri.host().unwrap_or_default();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| ureq::Error::HostNotFound)?;
        let mut tls = ClientConnection::new(config, name).map_err(failed)?;
        let mut under = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        under.set_timeout(details.timeout);
        tls.complete_io(&mut under)?;
        let config = details.config;
        Ok(Some(Either::B(Connection {
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            stream: StreamOwned::new(tls, under),
        })))
    }
}

fn failed(error: rustls::Error) -> ureq::Error {
    ureq::Error::Io(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A connection within which TLS is spoken.
pub struct Connection {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let count = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Go's words for what has gone wrong, if TLS has.
pub fn words(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        rustls::Error::InvalidCertificate(why) => {
            format!(
                "tls: failed to verify certificate: x509: {}",
                judgement(why)
            )
        }
        rustls::Error::AlertReceived(alert) => {
            let alert = format!("{alert:?}");
            let mut words = String::new();
            for char in alert.chars() {
                if char.is_uppercase() && !words.is_empty() {
                    words.push(' ');
                }
                words.push(char.to_ascii_lowercase());
            }
            format!("remote error: tls: {words}")
        }
        other => format!("tls: {other}"),
    })
}

fn judgement(why: &CertificateError) -> String {
    let time = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds)
            .map_or_else(|_| seconds.to_string(), |it| it.to_string())
    };
    match why {
        // An authority that shows its own certificate has signed that itself.
        _ if *why == CertificateError::UnknownIssuer || is_authority(why) => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::ExpiredContext {
            time: now,
            not_after,
        } => format!(
            "certificate has expired or is not yet valid: current time {} is after {}",
            time(now),
            time(not_after)
        ),
        CertificateError::NotValidYetContext {
            time: now,
            not_before,
        } => format!(
            "certificate has expired or is not yet valid: current time {} is before {}",
            time(now),
            time(not_before)
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            // `DnsName("a.example")`, `IpAddress(10.0.0.1)`
            let bare = |name: &String| {
                let name = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
                name.trim_end_matches(')').trim_matches('"').to_owned()
            };
            let names: Vec<String> = presented.iter().map(bare).collect();
            let expected = expected.to_str();
            match names.is_empty() {
                true => format!(
                    "certificate is not valid for any names, but wanted to match {expected}"
                ),
                false => format!(
                    "certificate is valid for {}, not {expected}",
                    names.join(", ")
                ),
            }
        }
        other => other.to_string(),
    }
}
