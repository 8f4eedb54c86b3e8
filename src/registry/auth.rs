//! What a registry demands (RFC 9110, 11.6.1; distribution's token specification).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::SendBody;
use ureq::http::Method;

use super::Credentials;
use super::transport::{Question, Transport, short_body};
use crate::error::{Context, Error, Result};

/// The largest answer of a token service.
const MOST_TOKEN: u64 = 1 << 20;

/// One demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: String },
}

/// The demands of a `WWW-Authenticate` header that we can meet.
pub fn challenges(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    for (scheme, parameters) in split(header) {
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => found.push(Challenge::Basic),
            "bearer" => {
                let value = |key: &str| parameters.get(key).cloned().unwrap_or_default();
                if parameters.contains_key("realm") {
                    found.push(Challenge::Bearer {
                        realm: value("realm"),
                        service: value("service"),
                    });
                }
            }
            _ => {}
        }
    }
    found
}

/// Schemes with their parameters.
fn split(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        if end == 0 {
            return found;
        }
        let word = &rest[..end];
        rest = &rest[end..];
        let Some(value) = rest.strip_prefix('=') else {
            found.push((word.to_owned(), BTreeMap::new()));
            continue;
        };
        let value = if let Some(quoted) = value.strip_prefix('"') {
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            let mut after = quoted.len();
            while let Some((at, char)) = chars.next() {
                match char {
                    '"' => {
                        after = at + 1;
                        break;
                    }
                    '\\' => text.extend(chars.next().map(|(_, char)| char)),
                    _ => text.push(char),
                }
            }
            rest = &quoted[after..];
            text
        } else {
            let end = value.find([' ', '\t', ',']).unwrap_or(value.len());
            rest = &value[end..];
            value[..end].to_owned()
        };
        if let Some((_, parameters)) = found.last_mut() {
            parameters.insert(word.to_ascii_lowercase(), value);
        }
    }
}

/// The `Authorization` for `Basic`.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// Asks the token service at `realm` for what `scopes` say; without credentials
/// it is asked too: most give anybody what is public.
pub fn token(
    transport: &Transport,
    realm: &str,
    service: &str,
    scopes: &[String],
    credentials: Option<&Credentials>,
) -> Result<String> {
    let tried = || format!("ask {realm} for a token");
    let answer = match credentials {
        Some(Credentials::IdentityToken(identity)) => {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", identity),
                ("service", service),
                ("client_id", "coracle"),
                ("scope", &scopes.join(" ")),
            ]
            .map(|(key, value)| format!("{key}={}", escaped(value)))
            .join("&");
            let question = Question {
                method: Method::POST,
                url: realm,
                headers: vec![(
                    "content-type",
                    "application/x-www-form-urlencoded".to_owned(),
                )],
                authorization: None,
            };
            let mut form = form.as_bytes();
            transport.send(&question, SendBody::from_reader(&mut form))
        }
        _ => {
            let mut parameters = Vec::new();
            let authorization = match credentials {
                Some(Credentials::Password { user, password }) => {
                    parameters.push(format!("account={}", escaped(user)));
                    Some(basic(user, password))
                }
                _ => None,
            };
            if !service.is_empty() {
                parameters.push(format!("service={}", escaped(service)));
            }
            parameters.extend(scopes.iter().map(|it| format!("scope={}", escaped(it))));
            let between = if realm.contains('?') { '&' } else { '?' };
            transport.ask(&Question {
                method: Method::GET,
                url: &format!("{realm}{between}{}", parameters.join("&")),
                headers: Vec::new(),
                authorization,
            })
        }
    };
    let answer = answer.map_err(|failure| Error::other(failure.words).tried(tried()))?;
    let status = answer.status().as_u16();
    let bytes = short_body(answer, MOST_TOKEN).tried(tried)?;
    match status {
        200 => {}
        401 | 403 => return Err(Error::other("invalid username/password")),
        other => return Err(Error::other(format!("status {other}")).tried(tried())),
    }
    let answer: TokenAnswer = serde_json::from_slice(&bytes).tried(tried)?;
    answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| Error::other("its answer has none").tried(tried()))
}

/// As a part of a URL's query.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: &str| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.to_owned(),
        };
        for (header, wanted) in [
            ("Basic realm=\"x, y\"", vec![Challenge::Basic]),
            (
                "Bearer realm=\"https://auth/token\",service=\"a b\",scope=\"repository:a:pull,push\"",
                vec![bearer("https://auth/token", "a b")],
            ),
            (
                "bearer service=s, realm=\"a\\\"b\" , Basic realm=x",
                vec![bearer("a\"b", "s"), Challenge::Basic],
            ),
            ("Negotiate", vec![]),
            ("Bearer", vec![]),
            ("", vec![]),
            ("=,\"=", vec![]),
        ] {
            assert_eq!(challenges(header), wanted, "{header}");
        }
        assert_eq!(escaped("a b/c:é"), "a%20b%2Fc%3A%C3%A9");
    }
}
