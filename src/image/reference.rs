//! References to images: `docker.io/library/redis:7`, as parsed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::Digest;

/// The registry of names that say none.
pub const DOCKER: &str = "docker.io";
/// The registry of names that were made here.
pub const LOCALHOST: &str = "localhost";
/// The tag of names that say none.
pub const LATEST: &str = "latest";

const UPPER_CASE: &str = "repository name must be lowercase";

/// A full name: registry, repository, and a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses `text` as a pull would: a name that says no registry is Docker's,
    /// one that says neither tag nor digest is left so.
    pub fn normalized(text: &str) -> Result<Self> {
        // distribution/reference, ParseNormalizedNamed.
        if text.len() == 64 && crate::id::is_hex(text) {
            return Err(Error::usage(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (domain, rest) = match split_domain(text) {
            Some(("index.docker.io", rest)) => (DOCKER, rest),
            Some((domain, rest)) => (domain, rest),
            None => (DOCKER, text),
        };
        let name_end = rest.find([':', '@']).unwrap_or(rest.len());
        let (path, suffix) = rest.split_at(name_end);
        let has_upper_case = path.bytes().any(|byte| byte.is_ascii_uppercase());
        if has_upper_case && is_path(&path.to_ascii_lowercase()) {
            return Err(
                Error::usage(format!("invalid reference format: {UPPER_CASE}"))
                    .meant(Some(text.replacen(path, &path.to_ascii_lowercase(), 1))),
            );
        }
        if !is_domain(domain) || !is_path(path) {
            return Err(invalid());
        }
        let path = if domain == DOCKER && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let (tag, digest) = split_suffix(suffix)?;
        if domain.len() + 1 + path.len() > 255 {
            return Err(Error::usage(
                "repository name must not be more than 255 characters",
            ));
        }
        Ok(Self {
            domain: domain.to_owned(),
            path,
            tag,
            digest,
        })
    }

    /// Parses `text` as the name of an image that is made here: one that says no
    /// registry is `localhost`'s, one that says neither tag nor digest is
    /// `latest`; of both, the tag counts (podman: libimage, NormalizeName).
    pub fn local(text: &str) -> Result<Self> {
        let tried = |error: Error| error.tried(format_args!("normalizing name {text:?}"));
        check(text).map_err(tried)?;
        let mut reference = if is_short(text) {
            Self::normalized(&format!("{LOCALHOST}/{text}"))
        } else {
            Self::normalized(text)
        }
        .map_err(tried)?;
        if reference.tag.is_some() {
            reference.digest = None;
        }
        Ok(reference.or_latest())
    }

    /// The same with the tag `latest` if there is neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(LATEST.to_owned());
        }
        self
    }

    /// The same name with this digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same name without its digest.
    #[must_use]
    pub fn without_digest(&self) -> Self {
        Self {
            digest: None,
            ..self.clone()
        }
    }

    /// Puts together what the store's folders say. Checked like any other.
    pub(super) fn from_parts(domain: &str, path: &str, suffix: &str) -> Result<Self> {
        let reference = Self::normalized(&format!("{domain}/{path}{suffix}"))?;
        if reference.domain == domain && reference.path == path {
            Ok(reference)
        } else {
            Err(invalid())
        }
    }

    /// `docker.io`, `localhost:5000`
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// `library/redis`
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `docker.io/library/redis`
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

/// Whether `text` could be a reference, in the words Podman has for what a user
/// types (distribution/reference, Parse).
pub fn check(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::usage(
            "repository name must have at least one component",
        ));
    }
    // Of what is no registry's, capitals are all that may be wrong.
    let full = if is_short(text) {
        format!("{LOCALHOST}/{text}")
    } else {
        text.to_owned()
    };
    match Reference::normalized(&full) {
        Err(error) if error.to_string().ends_with(UPPER_CASE) => {
            Err(Error::usage(UPPER_CASE).meant(Some(text.to_ascii_lowercase())))
        }
        result => result.map(drop),
    }
}

/// Whether `text` names no registry.
pub fn is_short(text: &str) -> bool {
    split_domain(text).is_none()
}

fn split_domain(text: &str) -> Option<(&str, &str)> {
    let (domain, rest) = text.split_once('/')?;
    (domain.contains(['.', ':']) || domain == LOCALHOST).then_some((domain, rest))
}

/// `:tag`, `@digest`, `:tag@digest` or nothing.
fn split_suffix(suffix: &str) -> Result<(Option<String>, Option<Digest>)> {
    let (tag, digest) = match suffix.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (suffix, None),
    };
    let tag = match tag.strip_prefix(':') {
        Some(tag) if is_tag(tag) => Some(tag.to_owned()),
        None if tag.is_empty() => None,
        _ => return Err(invalid()),
    };
    let digest = match digest {
        Some(digest) => Some(digest.parse().map_err(|_| match digest.split_once(':') {
            Some((algorithm, hex)) if algorithm != "sha256" && hex.len() >= 32 => {
                Error::usage("unsupported digest algorithm")
            }
            _ => invalid(),
        })?),
        None => None,
    };
    Ok((tag, digest))
}

fn invalid() -> Error {
    Error::usage("invalid reference format")
}

/// A host by name or address, with a port or none.
fn is_domain(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let known = !address.is_empty()
            && address
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        if !known {
            return false;
        }
        match port {
            "" => return true,
            _ => match port.strip_prefix(':') {
                Some(port) => ("a", Some(port)),
                None => return false,
            },
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Components of lower-case letters and digits, with single `.`, `_`, double
/// `__`, or any number of `-` between them.
fn is_path(text: &str) -> bool {
    text.split('/').all(|component| {
        let ends =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = component.as_bytes();
        let separators_are_known = component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|between| {
                matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-')
            });
        ends(bytes.first()) && ends(bytes.last()) && separators_are_known
    })
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::normalized(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::normalized(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_a_pull_would() {
        for (text, full) in [
            ("redis", "docker.io/library/redis"),
            ("redis:7", "docker.io/library/redis:7"),
            ("me/app", "docker.io/me/app"),
            ("docker.io/redis", "docker.io/library/redis"),
            ("index.docker.io/redis", "docker.io/library/redis"),
            ("localhost/redis", "localhost/redis"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("Quay.io/a_b/c__d.e/f--g", "Quay.io/a_b/c__d.e/f--g"),
            ("[::1]:5000/a", "[::1]:5000/a"),
        ] {
            assert_eq!(Reference::normalized(text).unwrap().to_string(), full);
        }
        let both = format!("quay.io/a:1@{SHA}");
        let reference = Reference::normalized(&both).unwrap();
        assert_eq!(reference.to_string(), both);
        assert_eq!(reference.tag(), Some("1"));
        assert_eq!(reference.digest().unwrap().as_str(), SHA);
    }

    #[test]
    fn names_made_here_are_localhosts() {
        for (text, full) in [
            ("redis", "localhost/redis:latest".to_owned()),
            ("a/b:1", "localhost/a/b:1".to_owned()),
            (
                "docker.io/redis",
                "docker.io/library/redis:latest".to_owned(),
            ),
            (&format!("a:1@{SHA}"), "localhost/a:1".to_owned()),
            (&format!("a@{SHA}"), format!("localhost/a@{SHA}")),
        ] {
            assert_eq!(Reference::local(text).unwrap().to_string(), full);
        }
    }

    #[test]
    fn what_is_no_reference_is_said_in_podmans_words() {
        for (text, words) in [
            ("", "invalid reference format"),
            ("a:", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("-a", "invalid reference format"),
            ("a..b", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("../a", "invalid reference format"),
            ("a.b/../c", "invalid reference format"),
            ("a@sha256:12", "invalid reference format"),
            (":latest", "invalid reference format"),
            ("a b", "invalid reference format"),
            (
                "Redis",
                "invalid reference format: repository name must be lowercase",
            ),
        ] {
            let error = Reference::normalized(text).unwrap_err();
            assert_eq!(error.to_string(), words, "{text}");
        }
        assert!(Reference::normalized(&SHA[7..]).is_err());
        let long = |count| Reference::normalized(&format!("b.c/{}", "a".repeat(count)));
        assert!(long(251).is_ok());
        assert!(long(252).is_err());
    }

    /// A small generator, so that a failure can be run again: xorshift64.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn what_parses_is_printed_and_parsed_to_the_same() {
        let letters: Vec<char> = "ab0Z._-/:@ é[]\n".chars().collect();
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let mut parsed = 0;
        for _ in 0..200_000 {
            let mut text: String = (0..next(&mut state) % 12)
                .map(|_| letters[(next(&mut state) % letters.len() as u64) as usize])
                .collect();
            if next(&mut state).is_multiple_of(4) {
                text = format!("{text}@{SHA}");
            }
            for reference in [Reference::normalized(&text), Reference::local(&text)]
                .into_iter()
                .flatten()
            {
                parsed += 1;
                let printed = reference.to_string();
                assert_eq!(
                    Reference::normalized(&printed).unwrap(),
                    reference,
                    "{text}"
                );
                assert!(
                    !reference.name().contains("..") && !printed.contains("//"),
                    "{text}"
                );
            }
        }
        assert!(parsed > 1000, "{parsed}");
    }
}
