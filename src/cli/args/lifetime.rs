//! A container's name, files that tell its ids, and how it ends.

use std::path::PathBuf;

use crate::cli::args::host::{Host, Lookup};
use crate::cli::args::{csv, number};
use crate::container::options::{RestartPolicy, SdNotify};
use crate::error::{Error, Result};
use crate::id::Name;
use crate::sys::signal;

/// Flags of a container's name and end.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Write the container's id to a file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<String>,

    /// Write the id of the container's monitor process to a file
    #[arg(long, value_name = "FILE")]
    pub conmon_pidfile: Option<String>,

    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Write the id of the container's first process to a file
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<String>,

    /// Remove a container that has the name already
    #[arg(long)]
    pub replace: bool,

    /// Start these containers, by name or id with commas between, before it
    #[arg(long, value_name = "CONTAINER")]
    pub requires: Vec<String>,

    /// When to start it again after it ends: no, on-failure[:TIMES], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,

    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub rm: bool,

    /// Who tells systemd that it is ready: conmon (the monitor), container or ignore
    ///
    /// With container, the default, it is the container's own process that does, at the
    /// socket that NOTIFY_SOCKET names in its environment. Where systemd does not wait,
    /// nothing is told.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "container",
        hide_default_value = true
    )]
    pub sdnotify: String,

    /// Signal that asks it to end; the image's, else SIGTERM
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,

    /// Seconds between that signal and SIGKILL; 10 unless given
    #[arg(long, value_name = "SECONDS", value_parser = number::unsigned_32)]
    pub stop_timeout: Option<u32>,

    /// Seconds after which it is killed; 0 is never
    #[arg(long, value_name = "SECONDS", value_parser = number::unsigned_32)]
    pub timeout: Option<u32>,
}

/// Podman's seconds between the stop signal and SIGKILL.
const STOP_TIMEOUT: u32 = 10;

impl Args {
    pub fn name(&self) -> Result<Option<Name>> {
        match self.name.as_deref() {
            None | Some("") if self.replace => Err(Error::usage(
                "cannot replace container without --name being set",
            )),
            None | Some("") => Ok(None),
            Some(name) => name
                .parse()
                .map(Some)
                .map_err(|error: Error| error.tried("running container create option")),
        }
    }

    pub fn restart_policy(&self) -> Result<RestartPolicy> {
        let text = self.restart.as_deref().unwrap_or("");
        let policy = restart(text).map_err(|error| {
            // The rest is found elsewhere in Podman.
            match error.to_string().contains("is not a valid") {
                true => error.tried("running container create option"),
                false => error,
            }
        })?;
        let is_kept = matches!(policy, RestartPolicy::Always | RestartPolicy::UnlessStopped);
        // Podman compares the text: `on-failure:3` is refused, `on-failure` is not.
        let is_counted = self
            .restart
            .as_deref()
            .is_some_and(|text| text.starts_with("on-failure:"));
        if self.rm && (is_kept || is_counted) {
            return Err(Error::usage(
                "the --rm option conflicts with --restart, \
                 when the restartPolicy is not \"\" and \"no\"",
            ));
        }
        Ok(policy)
    }

    /// The signal's number; `image` is what the image asks for.
    pub fn stop_signal_number(&self, image: &str) -> Result<i32> {
        match self.stop_signal.as_deref().unwrap_or("") {
            "" if image.is_empty() => Ok(libc::SIGTERM),
            "" => stop_signal(image),
            text => stop_signal(text),
        }
    }

    /// The ids of `--requires`.
    pub fn required(&self, lookup: &dyn Lookup) -> Result<Vec<String>> {
        let names = csv::all("--requires", &self.requires)?;
        let ids = names.iter().map(|name| {
            lookup
                .container(name)
                .map(|found| found.id)
                .map_err(|error| {
                    error.tried(format_args!(
                        "{name:?} is not a valid container, cannot be used as a dependency"
                    ))
                })
        });
        ids.collect()
    }

    pub fn sdnotify_mode(&self, has_health: bool) -> Result<SdNotify> {
        Ok(match self.sdnotify.as_str() {
            "conmon" => SdNotify::Conmon,
            "container" | "" => SdNotify::Container,
            "ignore" => SdNotify::Ignore,
            "healthy" if has_health => return Err(Error::unsupported("--sdnotify=healthy")),
            "healthy" => {
                return Err(Error::usage(
                    "invalid argument: sdnotify policy \"healthy\" requires a healthcheck to be set",
                ));
            }
            other => {
                return Err(Error::usage(format!(
                    "invalid config provided: invalid argument: invalid sdnotify value {other:?}: \
                     must be conmon, container, healthy or ignore"
                )));
            }
        })
    }

    pub fn stop_seconds(&self) -> u32 {
        self.stop_timeout.unwrap_or(STOP_TIMEOUT)
    }

    pub fn seconds(&self) -> u32 {
        self.timeout.unwrap_or(0)
    }

    pub fn cidfile_path(&self, host: &dyn Host) -> Option<PathBuf> {
        path(&self.cidfile, host)
    }

    pub fn pidfile_path(&self, host: &dyn Host) -> Option<PathBuf> {
        path(&self.pidfile, host)
    }

    pub fn monitor_pidfile_path(&self, host: &dyn Host) -> Option<PathBuf> {
        path(&self.conmon_pidfile, host)
    }
}

fn path(text: &Option<String>, host: &dyn Host) -> Option<PathBuf> {
    text.as_deref()
        .filter(|text| !text.is_empty())
        .map(|text| host.absolute(text))
}

/// `--restart`.
pub fn restart(text: &str) -> Result<RestartPolicy> {
    let parts: Vec<&str> = text.split(':').collect();
    let (policy, times) = match parts[..] {
        [policy] => (policy, None),
        [policy, times] => (policy, Some(times)),
        _ => {
            return Err(Error::usage(
                "invalid restart policy: may specify retries at most once",
            ));
        }
    };
    if let Some(times) = times {
        if policy != "on-failure" {
            return Err(Error::usage(
                "restart policy retries can only be specified with on-failure restart policy",
            ));
        }
        let times = number::atoi(times)
            .map_err(|why| Error::usage(format!("parsing restart policy retry count: {why}")))?;
        return match u32::try_from(times) {
            Ok(max) => Ok(RestartPolicy::OnFailure { max }),
            Err(_) => Err(Error::usage(
                "must specify restart policy retry count as a number greater than 0",
            )),
        };
    }
    Ok(match policy {
        "" | "no" | "never" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure { max: 0 },
        _ => {
            return Err(Error::usage(format!(
                "{policy:?} is not a valid restart policy: invalid argument"
            )));
        }
    })
}

/// A signal by name or number, with Podman's words for one that is none.
pub fn stop_signal(text: &str) -> Result<i32> {
    match (signal::parse(text), text.parse::<i32>()) {
        (Some(number), _) => Ok(number),
        (None, Ok(number)) if number != 0 => Err(Error::usage("valid signals are 1 through 64")),
        _ => Err(Error::usage(format!("invalid signal: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::tests::Fake;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(flags: &[&str]) -> Args {
        use clap::Parser;
        Line::parse_from(std::iter::once(&"x").chain(flags)).args
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(args(&["--name="]).name().unwrap(), None);
        assert_eq!(args(&["--name=a"]).name().unwrap().unwrap().as_str(), "a");
        assert_eq!(
            args(&["--name=a/b"]).name().unwrap_err().to_string(),
            "running container create option: \
             names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument"
        );
        assert_eq!(
            args(&["--replace"]).name().unwrap_err().to_string(),
            "cannot replace container without --name being set"
        );
    }

    #[test]
    fn restart_policies_are_podmans() {
        for (flags, policy) in [
            (&[][..], RestartPolicy::No),
            (&["--restart="], RestartPolicy::No),
            (&["--restart=never", "--rm"], RestartPolicy::No),
            (&["--restart=always"], RestartPolicy::Always),
            (&["--restart=unless-stopped"], RestartPolicy::UnlessStopped),
            (
                &["--restart=on-failure", "--rm"],
                RestartPolicy::OnFailure { max: 0 },
            ),
            (
                &["--restart=on-failure:3"],
                RestartPolicy::OnFailure { max: 3 },
            ),
        ] {
            assert_eq!(args(flags).restart_policy().unwrap(), policy, "{flags:?}");
        }
        let conflict = "the --rm option conflicts with --restart, \
                        when the restartPolicy is not \"\" and \"no\"";
        for (flags, why) in [
            (&["--rm", "--restart=always"][..], conflict),
            (&["--rm", "--restart=unless-stopped"], conflict),
            (&["--rm", "--restart=on-failure:2"], conflict),
            (
                &["--restart=foo"],
                "running container create option: \"foo\" is not a valid restart policy: \
                 invalid argument",
            ),
            (
                &["--restart=on-failure:x"],
                "parsing restart policy retry count: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                &["--restart=on-failure:-1"],
                "must specify restart policy retry count as a number greater than 0",
            ),
            (
                &["--restart=always:3"],
                "restart policy retries can only be specified with on-failure restart policy",
            ),
            (
                &["--restart=on-failure:1:2"],
                "invalid restart policy: may specify retries at most once",
            ),
        ] {
            let error = args(flags).restart_policy().unwrap_err();
            assert_eq!(error.to_string(), why, "{flags:?}");
        }
    }

    #[test]
    fn signals_are_names_or_numbers() {
        for (flag, image, number) in [
            ("", "", 15),
            ("", "SIGINT", 2),
            ("sigTERM", "SIGINT", 15),
            ("RTMIN+3", "", 37),
            ("9", "", 9),
        ] {
            let given = args(&["--stop-signal", flag]).stop_signal_number(image);
            assert_eq!(given.unwrap(), number, "{flag} {image}");
        }
        for (text, why) in [
            ("FOO", "invalid signal: FOO"),
            ("0", "invalid signal: 0"),
            ("99", "valid signals are 1 through 64"),
        ] {
            assert_eq!(stop_signal(text).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn files_are_named_from_where_the_caller_is() {
        let args = args(&["--cidfile=c", "--pidfile=/p", "--conmon-pidfile="]);
        let host = Fake::default();
        assert_eq!(args.cidfile_path(&host), Some("/home/me/w/c".into()));
        assert_eq!(args.pidfile_path(&host), Some("/p".into()));
        assert_eq!(args.monitor_pidfile_path(&host), None);
    }
}
