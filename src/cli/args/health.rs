//! `--health-*`: how a container is known to be well.

use std::path::Path;

use super::number;
use crate::container::health::{Health, HealthLog, OnFailure, Startup};
use crate::container::logs::go_duration;
use crate::error::{Error, Result};
use crate::image::Healthcheck;

/// Flags of health checks.
#[derive(clap::Args, Debug, Clone, Default)]
#[group(skip)]
pub struct Args {
    /// Command that tells whether the container is well: a line for its shell, or a JSON array; none takes the image's away
    #[arg(long, value_name = "COMMAND", alias = "healthcheck-command")]
    pub health_cmd: Option<String>,

    /// Pause between two checks, or disable; 30s unless given
    #[arg(long, value_name = "DURATION", alias = "healthcheck-interval")]
    pub health_interval: Option<String>,

    /// Where what checks print is kept, too: events_logger, or a folder
    #[arg(long, value_name = "PLACE")]
    pub health_log_destination: Option<String>,

    /// How many checks are kept; 0 is all
    #[arg(long, value_name = "N", value_parser = number::unsigned_32)]
    pub health_max_log_count: Option<u32>,

    /// How many bytes of what a check prints are kept; 0 is all
    #[arg(long, value_name = "BYTES", value_parser = number::unsigned_32)]
    pub health_max_log_size: Option<u32>,

    /// What to do with a container that is not well: none, kill, restart or stop
    #[arg(long, value_name = "ACTION")]
    pub health_on_failure: Option<String>,

    /// How often a check must fail in a row; 3 unless given
    #[arg(long, value_name = "N", value_parser = number::unsigned_32, alias = "healthcheck-retries")]
    pub health_retries: Option<u32>,

    /// Time after the start in which failures do not count
    #[arg(long, value_name = "DURATION", alias = "healthcheck-start-period")]
    pub health_start_period: Option<String>,

    /// Command that must succeed before the other checks begin
    #[arg(long, value_name = "COMMAND")]
    pub health_startup_cmd: Option<String>,

    /// Pause between two of these; 30s unless given
    #[arg(long, value_name = "DURATION")]
    pub health_startup_interval: Option<String>,

    /// How often it may fail before the container is started again; 0 is for ever
    #[arg(long, value_name = "N", value_parser = number::unsigned_32)]
    pub health_startup_retries: Option<u32>,

    /// How often it must succeed
    #[arg(long, value_name = "N", value_parser = number::unsigned_32)]
    pub health_startup_success: Option<u32>,

    /// How long it may take; 30s unless given
    #[arg(long, value_name = "DURATION")]
    pub health_startup_timeout: Option<String>,

    /// How long a check may take; 30s unless given
    #[arg(long, value_name = "DURATION", alias = "healthcheck-timeout")]
    pub health_timeout: Option<String>,

    /// Do without the image's health check
    #[arg(long)]
    pub no_healthcheck: bool,
}

const SECOND: i64 = 1_000_000_000;

/// Podman's values where nothing is said.
const INTERVAL: i64 = 30 * SECOND;
const TIMEOUT: i64 = 30 * SECOND;
const RETRIES: i64 = 3;

impl Args {
    /// The checks that the flags make of those there `was`: an image's, or a container's.
    pub fn health(&self, was: Option<Health>) -> Result<Option<Health>> {
        let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if self.no_healthcheck {
            for (flag, text) in [
                ("--health-cmd", &self.health_cmd),
                ("--health-startup-cmd", &self.health_startup_cmd),
            ] {
                if is_said(text) {
                    return Err(Error::usage(format!(
                        "cannot specify both --no-healthcheck and {flag}"
                    )));
                }
            }
            return Ok(Some(Health {
                check: Healthcheck {
                    test: vec!["NONE".to_owned()],
                    ..Healthcheck::default()
                },
                startup: None,
                on_failure: OnFailure::None,
            }));
        }
        let action = self.action()?;
        let mut health = was;
        if let Some(command) = self.health_cmd.as_ref().filter(|text| !text.is_empty()) {
            let check = Healthcheck {
                test: test(command)?,
                interval: INTERVAL,
                timeout: TIMEOUT,
                retries: RETRIES,
                ..Healthcheck::default()
            };
            health = Some(Health {
                check,
                startup: health.as_ref().and_then(|it| it.startup.clone()),
                on_failure: health.as_ref().map_or(OnFailure::None, |it| it.on_failure),
            });
        }
        let mut unused = Healthcheck::default();
        let check = health.as_mut().map_or(&mut unused, |it| &mut it.check);
        if let Some(text) = &self.health_interval {
            check.interval = interval(text)?;
        }
        if let Some(retries) = self.health_retries {
            if retries < 1 {
                return Err(Error::usage("healthcheck-retries must be greater than 0"));
            }
            check.retries = retries.into();
        }
        if let Some(text) = &self.health_timeout {
            check.timeout = timeout(text)?;
        }
        if let Some(text) = &self.health_start_period {
            check.start_period = duration("start-period", text)?;
            if check.start_period < 0 {
                return Err(Error::usage(
                    "healthcheck-start-period must be 0 seconds or greater",
                ));
            }
        }
        if let Some(action) = action {
            match &mut health {
                Some(health) => health.on_failure = action,
                None if action == OnFailure::None => {}
                None => {
                    return Err(Error::usage(format!(
                        "cannot set on-failure action to {} without a health check",
                        action.name()
                    )));
                }
            }
        }
        let startup = self.startup(health.as_ref().and_then(|it| it.startup.clone()))?;
        match (&mut health, startup) {
            (_, None) => {}
            (Some(health), startup) if health.is_on() => health.startup = startup,
            _ => {
                return Err(Error::usage(
                    "cannot set a startup healthcheck when there is no regular healthcheck: \
                     invalid argument",
                ));
            }
        }
        Ok(health)
    }

    fn startup(&self, was: Option<Startup>) -> Result<Option<Startup>> {
        let command = self.health_startup_cmd.as_ref();
        let mut startup = match command.filter(|text| !text.is_empty()) {
            Some(command) => Startup {
                check: Healthcheck {
                    test: test(command)?,
                    interval: INTERVAL,
                    timeout: TIMEOUT,
                    ..Healthcheck::default()
                },
                successes: 0,
            },
            None => match was {
                Some(was) => was,
                None => return Ok(None),
            },
        };
        if let Some(text) = &self.health_startup_interval {
            startup.check.interval = interval(text)?;
        }
        if let Some(text) = &self.health_startup_timeout {
            startup.check.timeout = timeout(text)?;
        }
        if let Some(retries) = self.health_startup_retries {
            startup.check.retries = retries.into();
        }
        if let Some(times) = self.health_startup_success {
            startup.successes = times.into();
        }
        Ok(Some(startup))
    }

    fn action(&self) -> Result<Option<OnFailure>> {
        let Some(text) = &self.health_on_failure else {
            return Ok(None);
        };
        OnFailure::named(text).map(Some).ok_or_else(|| {
            Error::usage(format!(
                "invalid on-failure action {text:?} for health check: \
                 supported actions are none,kill,restart,stop"
            ))
        })
    }

    /// What is kept of the checks, where it was `was`.
    pub fn log(&self, was: HealthLog) -> Result<HealthLog> {
        let mut log = was;
        if let Some(place) = &self.health_log_destination {
            log.destination = match place.as_str() {
                "" => "local".to_owned(),
                "local" | "events_logger" => place.clone(),
                folder => folder_of_logs(folder)?,
            };
        }
        log.count = self.health_max_log_count.unwrap_or(log.count);
        log.size = self.health_max_log_size.unwrap_or(log.size);
        Ok(log)
    }

    /// Whether any of them is given.
    pub fn is_given(&self) -> bool {
        self.no_healthcheck || self.has_others()
    }

    /// Whether one other than --no-healthcheck is given.
    pub fn has_others(&self) -> bool {
        let texts = [
            &self.health_cmd,
            &self.health_interval,
            &self.health_log_destination,
            &self.health_on_failure,
            &self.health_start_period,
            &self.health_startup_cmd,
            &self.health_startup_interval,
            &self.health_startup_timeout,
            &self.health_timeout,
        ];
        let numbers = [
            self.health_max_log_count,
            self.health_max_log_size,
            self.health_retries,
            self.health_startup_retries,
            self.health_startup_success,
        ];
        texts.iter().any(|it| it.is_some()) || numbers.iter().any(Option::is_some)
    }
}

/// The checks of an image, with Podman's values where it has none.
pub fn of_image(check: &Healthcheck) -> Option<Health> {
    if check.test.is_empty() {
        return None;
    }
    let or = |value: i64, usual: i64| if value == 0 { usual } else { value };
    Some(Health {
        check: Healthcheck {
            interval: or(check.interval, INTERVAL),
            timeout: or(check.timeout, TIMEOUT),
            retries: or(check.retries, RETRIES),
            ..check.clone()
        },
        startup: None,
        on_failure: OnFailure::None,
    })
}

fn folder_of_logs(folder: &str) -> Result<String> {
    let wrong = |why: &str| {
        Error::usage(format!(
            "running container create option: HealthCheck Log '{folder}' destination error: {why}"
        ))
    };
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(std::path::absolute(Path::new(folder)).map_or_else(
            |_| folder.to_owned(),
            |it| it.to_string_lossy().into_owned(),
        )),
        Ok(_) => Err(wrong(&format!("{folder} is not a directory"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(wrong(&format!("stat {folder}: no such file or directory")))
        }
        Err(error) => Err(wrong(&format!("stat {folder}: {error}"))),
    }
}

/// A command as Podman reads it: a JSON array, a line that begins with Docker's word for
/// what it is, or one for the shell.
fn test(command: &str) -> Result<Vec<String>> {
    let array: Option<Vec<String>> = serde_json::from_str(command).ok();
    let is_array = array.is_some();
    let words = array.unwrap_or_else(|| command.splitn(2, ' ').map(str::to_owned).collect());
    let Some(first) = words.first() else {
        return Err(Error::usage(
            "must define a healthcheck command for all healthchecks",
        ));
    };
    Ok(match first.to_ascii_uppercase().as_str() {
        "NONE" => vec!["NONE".to_owned()],
        "CMD" if !is_array => command.split_whitespace().map(str::to_owned).collect(),
        "CMD" | "CMD-SHELL" => words,
        _ if is_array && words.len() > 1 => {
            std::iter::once("CMD".to_owned()).chain(words).collect()
        }
        _ => vec!["CMD-SHELL".to_owned(), words.join(" ")],
    })
}

fn interval(text: &str) -> Result<i64> {
    match text {
        "disable" => Ok(0),
        text => duration("interval", text),
    }
}

fn timeout(text: &str) -> Result<i64> {
    match duration("timeout", text)? {
        ..1 => Err(Error::usage(
            "healthcheck-timeout must be at least 1 second",
        )),
        span => Ok(span),
    }
}

/// Go's time.ParseDuration, and its words; nanoseconds.
fn duration(what: &str, text: &str) -> Result<i64> {
    if text == "0" {
        return Ok(0);
    }
    let wrong = |why: String| Error::usage(format!("invalid healthcheck-{what}: time: {why}"));
    let span = go_duration(text).ok_or_else(|| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.parse::<f64>().is_ok();
        match is_number {
            true => wrong(format!("missing unit in duration {text:?}")),
            false => wrong(format!("invalid duration {text:?}")),
        }
    })?;
    i64::try_from(span.as_nanos()).map_err(|_| wrong(format!("invalid duration {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_podman_does() {
        for (command, expected) in [
            ("a b", &["CMD-SHELL", "a b"][..]),
            (r#"["a","b"]"#, &["CMD", "a", "b"]),
            (r#"["a"]"#, &["CMD-SHELL", "a"]),
            (r#"["CMD","a","b"]"#, &["CMD", "a", "b"]),
            (r#"["CMD-SHELL","a","b"]"#, &["CMD-SHELL", "a", "b"]),
            ("CMD a  b", &["CMD", "a", "b"]),
            ("CMD-SHELL a b", &["CMD-SHELL", "a b"]),
            ("none", &["NONE"]),
            (r#"["NONE"]"#, &["NONE"]),
            (r#"["a""#, &["CMD-SHELL", r#"["a""#]),
        ] {
            assert_eq!(test(command).unwrap(), expected, "{command}");
        }
        assert!(test("[]").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_in_podmans_words() {
        let with = |change: &dyn Fn(&mut Args)| {
            let mut args = Args {
                health_cmd: Some("x".into()),
                ..Args::default()
            };
            change(&mut args);
            args.health(None).unwrap_err().to_string()
        };
        assert_eq!(
            with(&|args| args.health_interval = Some("5".into())),
            "invalid healthcheck-interval: time: missing unit in duration \"5\""
        );
        assert_eq!(
            with(&|args| args.health_timeout = Some("0s".into())),
            "healthcheck-timeout must be at least 1 second"
        );
        assert_eq!(
            with(&|args| args.health_retries = Some(0)),
            "healthcheck-retries must be greater than 0"
        );
        assert_eq!(
            with(&|args| args.health_start_period = Some("-3s".into())),
            "healthcheck-start-period must be 0 seconds or greater"
        );
        assert_eq!(
            with(&|args| args.no_healthcheck = true),
            "cannot specify both --no-healthcheck and --health-cmd"
        );
        assert_eq!(
            with(&|args| {
                args.health_cmd = None;
                args.health_on_failure = Some("kill".into());
            }),
            "cannot set on-failure action to kill without a health check"
        );
        assert_eq!(
            with(&|args| {
                args.health_cmd = None;
                args.health_startup_cmd = Some("y".into());
            }),
            "cannot set a startup healthcheck when there is no regular healthcheck: invalid argument"
        );
    }

    #[test]
    fn an_images_check_is_changed_by_flags() {
        let image = Healthcheck {
            test: vec!["CMD".into(), "a".into()],
            interval: 7 * SECOND,
            ..Healthcheck::default()
        };
        let args = Args {
            health_retries: Some(4),
            ..Args::default()
        };
        let health = args.health(of_image(&image)).unwrap().unwrap();
        assert_eq!(health.check.test, ["CMD", "a"]);
        let numbers = (
            health.check.interval,
            health.check.timeout,
            health.check.retries,
        );
        assert_eq!(numbers, (7 * SECOND, TIMEOUT, 4));
        // Nothing of the image's is left beside another command.
        let args = Args {
            health_cmd: Some("b".into()),
            ..Args::default()
        };
        let health = args.health(of_image(&image)).unwrap().unwrap();
        assert_eq!(health.check.interval, INTERVAL);
    }
}
