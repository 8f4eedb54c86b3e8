//! How registries are spoken to: flags of `pull`, `push`, `run` and their like.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::output::terminal;
use crate::registry::{Credentials, Options};
use crate::settings::Configuration;

#[derive(clap::Args, Debug, Clone, Default)]
#[group(skip)]
pub struct Args {
    /// Read credentials from this file
    #[arg(long, value_name = "PATH")]
    pub authfile: Option<PathBuf>,

    /// Use the certificates of this folder
    #[arg(long, value_name = "PATH")]
    pub cert_dir: Option<PathBuf>,

    /// Credentials for the registry
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub creds: Option<String>,

    /// How often to try again what fails for a moment; 3 unless containers.conf says
    #[arg(long, value_name = "NUMBER")]
    pub retry: Option<String>,

    /// How long to wait before that
    #[arg(long, value_name = "DURATION")]
    pub retry_delay: Option<String>,

    /// Require HTTPS and check certificates
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::parse_bool)]
    pub tls_verify: Option<bool>,
}

impl Args {
    pub fn options(&self) -> Result<Options> {
        let configured = &Configuration::read()?.defaults.engine;
        let retry_delay = self.retry_delay.as_ref();
        let retry_delay = retry_delay.or(configured.retry_delay.as_ref());
        Ok(Options {
            tls_verify: self.tls_verify,
            credentials: self.creds.as_deref().map(credentials).transpose()?,
            authfile: authfile(&self.authfile)?,
            cert_dir: self.cert_dir.clone(),
            retry: match (&self.retry, configured.retry) {
                (Some(text), _) => text.parse().map_err(|_| {
                    Error::usage(format!(
                        "invalid argument {text:?} for \"--retry\" flag: strconv.ParseUint: parsing {text:?}: invalid syntax"
                    ))
                })?,
                (None, Some(retry)) => retry,
                (None, None) => Options::default().retry,
            },
            retry_delay: (retry_delay.filter(|text| !text.is_empty()))
                .map(|text| delay(text))
                .transpose()?,
            ..Options::default()
        })
    }
}

/// `--authfile`, which must be there to be read.
pub fn authfile(given: &Option<PathBuf>) -> Result<Option<PathBuf>> {
    match given.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) if !path.exists() => Err(Error::usage(format!(
            "credential file is not accessible: faccessat {}: no such file or directory",
            path.display()
        ))),
        other => Ok(other.cloned()),
    }
}

/// `--creds USER[:PASSWORD]`; a password that is not there is asked for.
fn credentials(text: &str) -> Result<Credentials> {
    if text.contains(':') || text.is_empty() {
        return Credentials::parse(text);
    }
    let password = terminal::password()
        .map_err(|error| Error::other(format!("could not read password from terminal: {error}")))?;
    Credentials::parse(&format!("{text}:{password}"))
}

fn delay(text: &str) -> Result<Duration> {
    super::filter::duration(text)
        .and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| {
            let is_bare = !text.is_empty() && text.chars().all(|it| it.is_ascii_digit());
            let why = if is_bare {
                "missing unit in"
            } else {
                "invalid"
            };
            Error::usage(format!("time: {why} duration {text:?}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn options(flags: &[&str]) -> Result<Options> {
        use clap::Parser;
        Line::parse_from(std::iter::once(&"x").chain(flags))
            .args
            .options()
    }

    #[test]
    fn flags_are_read_as_podman_does() {
        assert_eq!(options(&[]).unwrap(), Options::default());
        let some = options(&[
            "--tls-verify=false",
            "--creds=me:a:b",
            "--retry=5",
            "--retry-delay=1m30s",
        ])
        .unwrap();
        assert_eq!(some.tls_verify, Some(false));
        assert_eq!(some.retry, 5);
        assert_eq!(some.retry_delay, Some(Duration::from_secs(90)));
        assert_eq!(
            some.credentials,
            Some(Credentials::Password {
                user: "me".into(),
                password: "a:b".into()
            })
        );
        assert_eq!(options(&["--tls-verify"]).unwrap().tls_verify, Some(true));
        for bad in [
            "--creds=:x",
            "--retry=-1",
            "--retry-delay=x",
            "--retry-delay=-1s",
            "--authfile=/nowhere/x",
        ] {
            assert!(options(&[bad]).is_err(), "{bad}");
        }
    }
}
