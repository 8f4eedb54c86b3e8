//! One repository of one registry, spoken to.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::Method;

use super::auth::{self, Challenge};
use super::transport::{Answer, Failure, Question, Transport, header, short_body};
use super::{Credentials, Endpoint, MOST_BYTES, Options};
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::settings::Settings;

/// What has been found out about a registry, for a process that goes on with it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Access {
    /// `https` or `http`
    scheme: Option<String>,
    credentials: Option<Credentials>,
    /// The header that the registry took.
    authorization: Option<String>,
}

/// A client of one repository. Many threads may use it.
pub struct Client {
    pub(super) endpoint: Endpoint,
    pub(super) options: Options,
    certs: Vec<PathBuf>,
    /// `pull`, or `pull,push`.
    actions: &'static str,
    access: Mutex<Access>,
    transport: OnceLock<Transport>,
}

/// A manifest, exact bytes.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub bytes: Vec<u8>,
    /// As the registry says; may be empty.
    pub media_type: String,
    pub digest: Digest,
}

/// Manifests that we read.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// The actions of one who asks for a registry's names.
pub const CATALOG: &str = "*";

impl Client {
    /// A client that has not spoken yet. Credentials are looked up now, a helper
    /// that keeps them is asked.
    pub fn new(
        settings: &Settings,
        endpoint: Endpoint,
        options: &Options,
        actions: &'static str,
    ) -> Result<Self> {
        let credentials = match &options.credentials {
            Some(given) => Some(given.clone()),
            None => {
                super::credentials::find(settings, options.authfile.as_deref(), &endpoint.name())?
            }
        };
        let access = Access {
            credentials,
            ..Access::default()
        };
        Ok(Self::with_access(
            settings, endpoint, options, actions, access,
        ))
    }

    /// A client that goes on where another left off.
    pub fn with_access(
        settings: &Settings,
        endpoint: Endpoint,
        options: &Options,
        actions: &'static str,
        access: Access,
    ) -> Self {
        let certs = match &options.cert_dir {
            Some(dir) => vec![dir.clone()],
            None => {
                let own = settings.home.join(".config/containers/certs.d");
                [
                    own,
                    "/etc/containers/certs.d".into(),
                    "/etc/docker/certs.d".into(),
                ]
                .map(|dir| dir.join(&endpoint.registry))
                .to_vec()
            }
        };
        Self {
            endpoint: Endpoint {
                insecure: match options.tls_verify {
                    Some(verify) => !verify,
                    None => endpoint.insecure,
                },
                ..endpoint
            },
            options: options.clone(),
            certs,
            actions,
            access: Mutex::new(access),
            transport: OnceLock::new(),
        }
    }

    /// The registry by its name.
    pub(super) fn registry(&self) -> &str {
        &self.endpoint.registry
    }

    pub fn access(&self) -> Access {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Access> {
        self.access
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The manifest that `reference`, a tag or a digest, names.
    pub fn manifest(&self, reference: &str) -> Result<Fetched> {
        let name = self.endpoint.name();
        let tried = || format!("reading manifest {reference} in {name}");
        let answer = self.get(
            &format!("manifests/{reference}"),
            &[("accept", ACCEPT.to_owned())],
        )?;
        if !answer.status().is_success() {
            return Err(refused(answer)).tried(tried);
        }
        let media_type = header(&answer, "content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_owned();
        let bytes = short_body(answer, MOST_BYTES).tried(tried)?;
        let digest = Digest::of(&bytes);
        if reference.contains(':') && digest.as_str() != reference {
            return Err(Error::other(format!(
                "manifest digest {digest} does not match the one asked for"
            )))
            .tried(tried);
        }
        Ok(Fetched {
            bytes,
            media_type,
            digest,
        })
    }

    /// A blob that must be small.
    pub fn small_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        let tried = || format!("read blob {digest}");
        if size > MOST_BYTES {
            return Err(Error::other(format!(
                "it is of {size} bytes, where {MOST_BYTES} are the most"
            )))
            .tried(tried);
        }
        let answer = self.get(&format!("blobs/{digest}"), &[])?;
        if !answer.status().is_success() {
            return Err(refused(answer)).tried(tried);
        }
        let bytes = short_body(answer, MOST_BYTES).tried(tried)?;
        if bytes.len() as u64 != size || Digest::of(&bytes) != *digest {
            return Err(Error::other(
                "what the registry sends is not of this size and digest",
            ))
            .tried(tried);
        }
        Ok(bytes)
    }

    /// Every tag of the repository.
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let tried = || format!("fetching tags list of {}", self.endpoint.name());
        let mut tags: Vec<String> = Vec::new();
        let mut next = "tags/list".to_owned();
        // More pages than any repository has; who has more means harm.
        for _ in 0..1000 {
            let answer = self.get(&next, &[])?;
            if !answer.status().is_success() {
                return Err(refused(answer)).tried(tried);
            }
            let link = header(&answer, "link").and_then(next_page);
            let bytes = short_body(answer, MOST_BYTES).tried(tried)?;
            let page: Tags = serde_json::from_slice(&bytes).tried(tried)?;
            let before = tags.len();
            tags.extend(page.tags.unwrap_or_default());
            match link {
                Some(query) if tags.len() > before => next = format!("tags/list?{query}"),
                _ => break,
            }
        }
        Ok(tags)
    }

    /// Whether the registry takes our credentials.
    pub fn login(&self) -> Result<()> {
        let answer = self.try_hard(|| {
            self.ask(&Question {
                method: Method::GET,
                url: &self.base()?,
                headers: Vec::new(),
                authorization: None,
            })
        })?;
        match answer.status().as_u16() {
            200..300 => Ok(()),
            401 => Err(Error::other("invalid username/password")),
            _ => Err(refused(answer)),
        }
    }

    fn get(&self, path: &str, headers: &[(&'static str, String)]) -> Result<Answer> {
        self.try_hard(|| self.get_once(path, headers.to_vec()))
    }

    pub(super) fn get_once(
        &self,
        path: &str,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Answer, Trouble> {
        self.ask(&Question {
            method: Method::GET,
            url: &self.url(path)?,
            headers,
            authorization: None,
        })
    }

    /// Does `work` again, after a while, as often as the caller wants, where the
    /// trouble may pass.
    pub(super) fn try_hard<T>(&self, mut work: impl FnMut() -> Result<T, Trouble>) -> Result<T> {
        let mut attempt = 0;
        loop {
            match work() {
                Err(Trouble::Passing(_, after)) if attempt < self.options.retry => {
                    std::thread::sleep(self.delay(attempt, after));
                    attempt += 1;
                }
                Err(trouble) => return Err(trouble.into()),
                Ok(done) => return Ok(done),
            }
        }
    }

    /// How long to wait before another attempt: what the registry says, what the
    /// caller says, else longer each time.
    pub(super) fn delay(&self, attempt: u32, after: Option<Duration>) -> Duration {
        const LONGEST: Duration = Duration::from_secs(60);
        let own = self.options.retry_delay;
        let own = own.unwrap_or(Duration::from_secs(1 << attempt.min(6)));
        after.unwrap_or(own).min(LONGEST.max(own))
    }

    /// `https://host/v2/`
    fn base(&self) -> Result<String, Trouble> {
        let known = self.lock().scheme.clone();
        let scheme = match known {
            Some(scheme) => scheme,
            None => self.find_scheme()?,
        };
        Ok(format!("{scheme}://{}/v2/", self.endpoint.host()))
    }

    pub(super) fn url(&self, path: &str) -> Result<String, Trouble> {
        Ok(format!("{}{}/{path}", self.base()?, self.endpoint.path))
    }

    pub(super) fn origin(&self) -> Result<String, Trouble> {
        let base = self.base()?;
        Ok(base.trim_end_matches("/v2/").to_owned())
    }

    /// HTTPS; where that is not spoken and certificates need not be checked, HTTP.
    fn find_scheme(&self) -> Result<String, Trouble> {
        let scheme = if self.endpoint.insecure && !self.speaks_tls()? {
            "http"
        } else {
            "https"
        };
        self.lock().scheme = Some(scheme.to_owned());
        Ok(scheme.to_owned())
    }

    fn speaks_tls(&self) -> Result<bool, Trouble> {
        let url = format!("https://{}/v2/", self.endpoint.host());
        let asked = self.transport(&url)?.ask(&Question {
            method: Method::GET,
            url: &url,
            headers: Vec::new(),
            authorization: None,
        });
        // Whatever stands in its way, HTTP will do.
        Ok(asked.is_ok())
    }

    fn transport(&self, url: &str) -> Result<&Transport, Trouble> {
        let make = || Transport::new(self.endpoint.insecure, &self.certs, self.options.silence);
        let transport = self.transport.get_or_init(make);
        // What is wrong with our own certificates is said as it is.
        if url.starts_with("https:") {
            transport.tls()?;
        }
        Ok(transport)
    }

    /// Asks; where the registry demands it, says who we are.
    pub(super) fn ask(&self, question: &Question) -> Result<Answer, Trouble> {
        self.authorized(|authorization| {
            self.transport(question.url)?
                .ask(&Question {
                    method: question.method.clone(),
                    url: question.url,
                    headers: question.headers.clone(),
                    authorization,
                })
                .map_err(|failure| self.trouble(failure))
        })
    }

    /// Asks with what `ask` sends; it may be asked twice.
    pub(super) fn authorized(
        &self,
        mut ask: impl FnMut(Option<String>) -> Result<Answer, Trouble>,
    ) -> Result<Answer, Trouble> {
        let before = self.lock().authorization.clone();
        let answer = ask(before.clone())?;
        let answer = if answer.status() == 401 {
            match self.authorize(&answer, before.as_deref())? {
                Some(authorization) => ask(Some(authorization))?,
                None => answer,
            }
        } else {
            answer
        };
        let status = answer.status().as_u16();
        if matches!(status, 429 | 500 | 502 | 503 | 504) {
            let after = header(&answer, "retry-after").and_then(wait);
            return Err(Trouble::Passing(refused(answer), after));
        }
        Ok(answer)
    }

    pub(super) fn send(
        &self,
        question: &Question,
        body: ureq::SendBody,
    ) -> Result<Answer, Trouble> {
        self.transport(question.url)?
            .send(question, body)
            .map_err(|failure| self.trouble(failure))
    }

    /// Meets the demand of `answer`; `None` where nothing helps.
    fn authorize(&self, answer: &Answer, before: Option<&str>) -> Result<Option<String>, Trouble> {
        let demands: Vec<Challenge> = answer
            .headers()
            .get_all("www-authenticate")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(auth::challenges)
            .collect();
        // One thread asks; the others, who waited, take what it got.
        let mut access = self.lock();
        if access.authorization.as_deref() != before && access.authorization.is_some() {
            return Ok(access.authorization.clone());
        }
        let credentials = access.credentials.clone();
        for demand in demands {
            let authorization = match (demand, &credentials) {
                (Challenge::Bearer { realm, service }, credentials) => {
                    let plain = access.scheme.as_deref() == Some("http");
                    let known = realm.starts_with("https://")
                        || realm.starts_with("http://") && (plain || self.endpoint.insecure);
                    if !known {
                        return Err(Error::other(format!(
                            "the registry wants credentials sent to {realm:?}"
                        ))
                        .into());
                    }
                    let scopes = match self.endpoint.path.as_str() {
                        "" if self.actions == CATALOG => vec!["registry:catalog:*".to_owned()],
                        "" => vec![],
                        path => vec![format!("repository:{path}:{}", self.actions)],
                    };
                    let transport = self.transport(&realm)?;
                    let token =
                        auth::token(transport, &realm, &service, &scopes, credentials.as_ref())?;
                    format!("Bearer {token}")
                }
                (Challenge::Basic, Some(Credentials::Password { user, password })) => {
                    auth::basic(user, password)
                }
                (Challenge::Basic, _) => continue,
            };
            // What was refused just now is refused again.
            if before == Some(authorization.as_str()) {
                return Ok(None);
            }
            access.authorization = Some(authorization.clone());
            return Ok(Some(authorization));
        }
        Ok(None)
    }

    /// Podman's words for a registry that cannot be reached.
    fn trouble(&self, failure: Failure) -> Trouble {
        let host = self.endpoint.host();
        let scheme = self.lock().scheme.clone();
        let scheme = scheme.as_deref().unwrap_or("https");
        let error = Error::other(format!(
            "pinging container registry {host}: Get \"{scheme}://{host}/v2/\": {}",
            failure.words
        ));
        if failure.passing {
            Trouble::Passing(error, None)
        } else {
            Trouble::Lasting(error)
        }
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go well later, best after that time.
    Passing(Error, Option<Duration>),
    Lasting(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Passing(error, _) | Trouble::Lasting(error) => error,
        }
    }
}

/// How long a `Retry-After` header says to wait: seconds, or until when.
fn wait(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let when = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    // What has passed is no reason to wait.
    let left = when.duration_since(jiff::Timestamp::now());
    Some(left.try_into().unwrap_or(Duration::ZERO))
}

/// The query of the next page in a `Link` header (RFC 8288).
pub(super) fn next_page(link: &str) -> Option<String> {
    let (target, rest) = link.trim_start().strip_prefix('<')?.split_once('>')?;
    if !rest.contains("next") {
        return None;
    }
    // Only the query is believed: the path is known.
    Some(target.split_once('?')?.1.to_owned())
}

/// The registry's words for why it does not do it.
pub(super) fn refused(answer: Answer) -> Error {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        errors: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = answer.status();
    let bytes = short_body(answer, 64 * 1024).unwrap_or_default();
    let refusal = serde_json::from_slice::<Refusal>(&bytes).ok();
    let reason = refusal.and_then(|it| it.errors.into_iter().next());
    let words = match reason {
        Some(reason) if !reason.code.is_empty() => {
            let code = reason.code.to_lowercase().replace('_', " ");
            match reason.message.as_str() {
                "" => code,
                _ if code == "manifest unknown" => code,
                message => message.to_owned(),
            }
        }
        _ => match status.as_u16() {
            401 => "authentication required".to_owned(),
            403 => "requested access to the resource is denied".to_owned(),
            404 => "not found".to_owned(),
            429 => "too many requests to registry".to_owned(),
            code => format!(
                "received unexpected HTTP status: {code} {}",
                status.canonical_reason().unwrap_or_default()
            ),
        },
    };
    // A stranger's words go to a terminal.
    let words: String = words
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(400)
        .collect();
    Error::other(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_says_how_long_to_wait() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let far = wait("Fri, 06 Nov 2093 08:49:37 GMT").unwrap();
        assert!(far > Duration::from_secs(3600));
        assert_eq!(wait("-1"), None);
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn the_next_page_is_a_query() {
        for (link, query) in [
            (
                "</v2/a/tags/list?last=x&n=2>; rel=\"next\"",
                Some("last=x&n=2"),
            ),
            ("<https://evil/x?y>; rel=next", Some("y")),
            ("</v2/a?x>; rel=\"prev\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(link).as_deref(), query, "{link}");
        }
    }
}
