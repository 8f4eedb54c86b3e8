//! Files that are named by a URL, on any server.

use std::fs::File;
use std::io::{Seek, Write};
use std::time::Duration;

use ureq::http::Method;

use super::Options;
use super::transport::{Failure, Question, Transport, header};
use crate::error::{Error, Result};

/// Fetches what `url` names into the empty file `into`. Gives when it was changed last, if
/// the server says so, in seconds since 1970.
pub fn download(url: &str, options: &Options, into: &mut File) -> Result<Option<i64>> {
    let insecure = options.tls_verify == Some(false);
    let certs: Vec<_> = options.cert_dir.iter().cloned().collect();
    let transport = Transport::new(insecure, &certs, options.silence);
    let mut attempt = 0;
    loop {
        let failure = match once(&transport, url, into) {
            Ok(modified) => return Ok(modified),
            Err(failure) => failure,
        };
        if !failure.passing || attempt >= options.retry {
            return Err(Error::other(failure.words));
        }
        attempt += 1;
        into.set_len(0)?;
        into.rewind()?;
        let delay = Duration::from_secs(1 << attempt.min(6));
        std::thread::sleep(options.retry_delay.unwrap_or(delay));
    }
}

fn once(transport: &Transport, url: &str, into: &mut File) -> Result<Option<i64>, Failure> {
    let answer = transport.ask(&Question {
        method: Method::GET,
        url,
        headers: Vec::new(),
        authorization: None,
    })?;
    let status = answer.status();
    if !status.is_success() {
        return Err(Failure {
            words: format!("invalid response status {}", status.as_u16()),
            passing: status.is_server_error(),
        });
    }
    let modified = header(&answer, "last-modified").and_then(seconds);
    let mut body = answer.into_body().into_reader();
    let copied = std::io::copy(&mut body, into).and_then(|_| into.flush());
    copied.map(|()| modified).map_err(|error| Failure {
        passing: error.raw_os_error() != Some(libc::ENOSPC),
        words: Error::from(error).to_string(),
    })
}

/// `Wed, 21 Oct 2015 07:28:00 GMT` (RFC 9110).
fn seconds(date: &str) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(date.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1445412480));
        assert_eq!(seconds("yesterday"), None);
    }
}
