//! Who the caller is to a registry: auth.json, Docker's config.json, credential
//! helpers (containers-auth.json(5)).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Context, Error, Result};
use crate::settings::Settings;
use crate::sys::file::{Durable, write_whole};

/// What proves who one is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// A token that stands for a login (`identitytoken`).
    IdentityToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets stay out of whatever is printed.
        match self {
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::IdentityToken(_) => write!(f, "IdentityToken"),
        }
    }
}

impl Credentials {
    /// `--creds USER[:PASSWORD]`.
    pub fn parse(text: &str) -> Result<Self> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() {
            return Err(Error::usage("username can't be empty"));
        }
        Ok(Self::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// An auth.json.
#[derive(Debug, Default, Clone)]
struct AuthFile {
    auths: Map<String, Value>,
    helpers: Map<String, Value>,
    store: Option<String>,
    /// All of it, so that what we do not know stays.
    whole: Map<String, Value>,
}

impl AuthFile {
    fn read(path: &Path) -> Result<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            // A folder that another's rights close off has nothing for us.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Vec::new(),
            Err(error) => return Err(error).tried(|| format!("read {}", path.display())),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        Self::parse(&bytes)
            .map_err(|why| Error::other(format!("unmarshaling JSON at {:?}: {why}", path)))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let whole: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let object = |key: &str| match whole.get(key) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(_) => Err(format!("{key} is no object")),
        };
        Ok(Self {
            auths: object("auths")?,
            helpers: object("credHelpers")?,
            store: whole
                .get("credsStore")
                .and_then(Value::as_str)
                .filter(|it| !it.is_empty())
                .map(str::to_owned),
            whole,
        })
    }

    /// The helper that keeps the credentials of `registry`.
    fn helper(&self, registry: &str) -> Option<&str> {
        self.helpers
            .get(registry)
            .and_then(Value::as_str)
            .or(self.store.as_deref())
    }

    /// What stands under the longest part of `name` that has an entry.
    fn entry(&self, name: &str) -> Result<Option<Credentials>> {
        let mut part = name;
        loop {
            if let Some(value) = self.auths.get(part) {
                return decoded(value).tried(|| format!("credentials of {part}"));
            }
            match part.rsplit_once('/') {
                Some((shorter, _)) => part = shorter,
                None => break,
            }
        }
        // Docker writes whole URLs.
        for (key, value) in &self.auths {
            if host(key) == part && !(key.contains('/') && host(key) == key) {
                return decoded(value).tried(|| format!("credentials of {key}"));
            }
        }
        Ok(None)
    }
}

/// The registry that a key of Docker's means: `https://index.docker.io/v1/` is
/// docker.io.
fn host(key: &str) -> &str {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    let host = match bare {
        Some(bare) => bare.split('/').next().unwrap_or_default(),
        None => key,
    };
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

fn decoded(value: &Value) -> Result<Option<Credentials>> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Entry {
        auth: Option<String>,
        username: Option<String>,
        password: Option<String>,
        identitytoken: Option<String>,
    }
    let entry: Entry = serde_json::from_value(value.clone())?;
    if let Some(token) = entry.identitytoken.filter(|it| !it.is_empty()) {
        return Ok(Some(Credentials::IdentityToken(token)));
    }
    if let Some(auth) = entry.auth.filter(|it| !it.is_empty()) {
        let bytes = STANDARD
            .decode(auth.trim())
            .map_err(|error| Error::other(format!("auth: {error}")))?;
        let text =
            String::from_utf8(bytes).map_err(|_| Error::other("auth is not UTF-8 within"))?;
        let Some((user, password)) = text.split_once(':') else {
            return Err(Error::other("auth has no colon within"));
        };
        return Ok(Some(Credentials::Password {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        }));
    }
    match (entry.username, entry.password) {
        (Some(user), Some(password)) if !user.is_empty() => {
            Ok(Some(Credentials::Password { user, password }))
        }
        _ => Ok(None),
    }
}

/// Where credentials are written: `--authfile`, `$REGISTRY_AUTH_FILE`, else the
/// runtime folder's auth.json.
pub fn own_file(settings: &Settings, given: Option<&Path>) -> PathBuf {
    if let Some(file) = given {
        return file.to_owned();
    }
    if let Some(file) = std::env::var_os("REGISTRY_AUTH_FILE").filter(|it| !it.is_empty()) {
        return file.into();
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|it| !it.is_empty());
    match runtime {
        Some(runtime) => PathBuf::from(runtime).join("containers/auth.json"),
        None => PathBuf::from(format!("/run/containers/{}/auth.json", settings.uid)),
    }
}

/// Every file that may have credentials, in the order in which they are asked.
fn files(settings: &Settings, given: Option<&Path>) -> Vec<PathBuf> {
    let mut files = vec![own_file(settings, given)];
    let named = std::env::var_os("REGISTRY_AUTH_FILE").is_some_and(|it| !it.is_empty());
    if given.is_some() || named {
        return files;
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|it| !it.is_empty());
    let config = config.map_or_else(|| settings.home.join(".config"), PathBuf::from);
    files.push(config.join("containers/auth.json"));
    let docker = std::env::var_os("DOCKER_CONFIG").filter(|it| !it.is_empty());
    let docker = docker.map_or_else(|| settings.home.join(".docker"), PathBuf::from);
    files.push(docker.join("config.json"));
    files
}

/// The credentials for `name` (`quay.io/team/tool`), if there are any.
pub fn find(settings: &Settings, given: Option<&Path>, name: &str) -> Result<Option<Credentials>> {
    let registry = name.split('/').next().unwrap_or(name);
    for path in files(settings, given) {
        let file = AuthFile::read(&path)?;
        if let Some(helper) = file.helper(registry)
            && let Some(found) = ask_helper(helper, registry)?
        {
            return Ok(Some(found));
        }
        if let Some(found) = file.entry(name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What Docker calls its registry to helpers.
fn helper_key(registry: &str) -> &str {
    match registry {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

fn ask_helper(helper: &str, registry: &str) -> Result<Option<Credentials>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let (ok, out) = run_helper(helper, "get", helper_key(registry).as_bytes())?;
    if !ok {
        let words = String::from_utf8_lossy(&out);
        // Every helper says so in these words (docker-credential-helpers).
        if words.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::other(words.trim().to_owned()).tried(format_args!(
            "ask docker-credential-{helper} for {registry}"
        )));
    }
    let answer: Answer = serde_json::from_slice(&out)
        .tried(|| format!("read the answer of docker-credential-{helper}"))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credentials::IdentityToken(answer.secret),
        _ => Credentials::Password {
            user: answer.username,
            password: answer.secret,
        },
    }))
}

fn run_helper(helper: &str, verb: &str, input: &[u8]) -> Result<(bool, Vec<u8>)> {
    let name = format!("docker-credential-{helper}");
    if helper.contains('/') {
        return Err(Error::other(format!("{name:?} is no name of a helper")));
    }
    let tried = || format!("run {name}");
    let mut child = Command::new(&name)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .tried(tried)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read has its reasons.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().tried(tried)?;
    Ok((output.status.success(), output.stdout))
}

/// Keeps `credentials` for `name` in the file at `path`, or with the helper that
/// it names.
pub fn store(path: &Path, name: &str, user: &str, password: &str) -> Result<()> {
    let mut file = AuthFile::read(path)?;
    let registry = name.split('/').next().unwrap_or(name);
    if let Some(helper) = file.helper(registry) {
        let input = serde_json::json!({
            "ServerURL": helper_key(registry), "Username": user, "Secret": password,
        });
        let (ok, out) = run_helper(helper, "store", input.to_string().as_bytes())?;
        return match ok {
            true => Ok(()),
            false => Err(
                Error::other(String::from_utf8_lossy(&out).trim().to_owned())
                    .tried(format_args!("store credentials with {helper}")),
            ),
        };
    }
    let auth = STANDARD.encode(format!("{user}:{password}"));
    file.auths
        .insert(name.to_owned(), serde_json::json!({ "auth": auth }));
    write(path, file)
}

/// Takes the credentials of `name` out of the file at `path`; whether there were any.
pub fn forget(path: &Path, name: &str) -> Result<bool> {
    let mut file = AuthFile::read(path)?;
    let registry = name.split('/').next().unwrap_or(name);
    if let Some(helper) = file.helper(registry) {
        let known = ask_helper(helper, registry)?.is_some();
        if known {
            let (ok, out) = run_helper(helper, "erase", helper_key(registry).as_bytes())?;
            if !ok {
                return Err(
                    Error::other(String::from_utf8_lossy(&out).trim().to_owned())
                        .tried(format_args!("erase credentials with {helper}")),
                );
            }
        }
        return Ok(known);
    }
    let known = file.auths.remove(name).is_some();
    if known {
        write(path, file)?;
    }
    Ok(known)
}

/// Takes all credentials out of the file at `path`.
pub fn forget_all(path: &Path) -> Result<()> {
    let mut file = AuthFile::read(path)?;
    if file.auths.is_empty() {
        return Ok(());
    }
    file.auths.clear();
    write(path, file)
}

/// The user name kept for exactly `name`, wherever it is kept.
pub fn user(settings: &Settings, given: Option<&Path>, name: &str) -> Result<Option<String>> {
    Ok(match find(settings, given, name)? {
        Some(Credentials::Password { user, .. }) => Some(user),
        Some(Credentials::IdentityToken(_)) => Some("<token>".to_owned()),
        None => None,
    })
}

/// The credentials that exactly the file at `path` has for `name`.
pub fn is_in(path: &Path, name: &str) -> Result<bool> {
    Ok(AuthFile::read(path)?.auths.contains_key(name))
}

fn write(path: &Path, file: AuthFile) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let tried = || format!("write {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .tried(tried)?;
    }
    let mut whole = file.whole;
    whole.insert("auths".to_owned(), Value::Object(file.auths));
    let text = with_tabs(&whole)?;
    // Nobody else may read it, not for an instant.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let written = write_whole(path, text.as_bytes(), Durable::Yes);
    rustix::process::umask(before);
    written.tried(tried)
}

/// With tabs, as Podman writes the file.
fn with_tabs(value: &Map<String, Value>) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer)?;
    String::from_utf8(bytes).map_err(|error| Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts_and_dockers_urls_are_known() {
        let auth = |text: &str| STANDARD.encode(text);
        let file = format!(
            r#"{{"auths": {{
                "quay.io": {{"auth": "{}"}},
                "quay.io/team": {{"auth": "{}"}},
                "https://index.docker.io/v1/": {{"auth": "{}"}},
                "https://own.example:5000": {{"username": "u", "password": "p"}},
                "token.example": {{"identitytoken": "t"}},
                "empty.example": {{}}
            }}}}"#,
            auth("a:1:2"),
            auth("b:2"),
            auth("c:3")
        );
        let file = AuthFile::parse(file.as_bytes()).unwrap();
        let password = |user: &str, password: &str| {
            Some(Credentials::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            })
        };
        for (name, wanted) in [
            ("quay.io/other/x", password("a", "1:2")),
            ("quay.io/team/x/y", password("b", "2")),
            ("quay.io/teamster/x", password("a", "1:2")),
            ("docker.io/library/x", password("c", "3")),
            ("own.example:5000/x", password("u", "p")),
            (
                "token.example/x",
                Some(Credentials::IdentityToken("t".into())),
            ),
            ("empty.example/x", None),
            ("none.example/x", None),
        ] {
            assert_eq!(file.entry(name).unwrap(), wanted, "{name}");
        }
        assert!(AuthFile::parse(br#"{"auths": 5}"#).is_err());
        assert!(AuthFile::parse(b"[").is_err());
        let bad = AuthFile::parse(br#"{"auths": {"a": {"auth": "!"}}}"#).unwrap();
        assert!(bad.entry("a/b").is_err());
    }

    #[test]
    fn no_auth_file_makes_it_panic() {
        let seed = r#"{"auths": {"quay.io/team": {"auth": "YToxOjI="},
            "https://index.docker.io/v1/": {"username": "u", "password": "p"},
            "t.example": {"identitytoken": "t"}, "null.example": null},
            "credHelpers": {"gcr.io": "gcloud"}, "credsStore": "pass"}"#;
        let mut read = 0;
        crate::id::odd::bytes(&[seed], 30_000, |bytes| {
            if let Ok(file) = AuthFile::parse(bytes) {
                read += 1;
                for name in [
                    "quay.io/team/x",
                    "docker.io/library/x",
                    "t.example/x",
                    "",
                    "/",
                ] {
                    let _ = file.entry(name);
                    let _ = file.helper(name);
                }
            }
        });
        assert!(read > 100);
    }
}
