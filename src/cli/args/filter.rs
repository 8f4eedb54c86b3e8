//! `--filter KEY=VALUE`, as listings and prunes take it.
//!
//! Values of one key are alternatives, keys all must hold; labels all must hold.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::container::options::{MountKind, RestartPolicy};
use crate::container::{self, Container, State, health};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::network::NetworkMode;
use crate::storage::Storage;

/// The filters of a command line, in order.
#[derive(Debug, Default)]
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Splits each at its first `=`; `malformed` words the error of one without.
    pub fn parse(given: &[String], malformed: impl Fn(&str) -> Error) -> Result<Self> {
        let split = given.iter().map(|filter| match filter.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(malformed(filter)),
        });
        Ok(Self(split.collect::<Result<_>>()?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first key that is not among `known`.
    pub fn unknown(&self, known: &[&str]) -> Option<&str> {
        let mut keys = self.0.iter().map(|(key, _)| key.as_str());
        keys.find(|key| !known.contains(key))
    }

    /// What was given for `key`.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let with_key = self.0.iter().filter(move |(given, _)| given == key);
        with_key.map(|(_, value)| value.as_str())
    }

    /// Whether one of `key`'s values passes; true if there are none.
    pub fn any(&self, key: &str, mut passes: impl FnMut(&str) -> bool) -> bool {
        let mut values = self.values(key).peekable();
        values.peek().is_none() || values.any(&mut passes)
    }

    /// Whether `label` and `label!` hold of `labels`.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.values("label").all(|wanted| has_label(labels, wanted))
            && !self.values("label!").any(|not| has_label(labels, not))
    }

    /// The compiled patterns of `key`, for the names that Podman matches so.
    pub fn patterns(&self, key: &str) -> Result<Vec<regex::Regex>> {
        let compiled = self.values(key).map(|pattern| {
            // Docker's names begin with a slash.
            regex::Regex::new(pattern.strip_prefix('/').unwrap_or(pattern)).map_err(|error| {
                // Its last line is the reason; those before it draw a picture.
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default();
                let why = why.trim_start_matches("error: ");
                Error::usage(format!("invalid {key} filter {pattern:?}: {why}"))
            })
        });
        compiled.collect()
    }

    /// The value of a filter that is true or false; none if it is not given.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        Ok(self.booleans(key)?.pop())
    }

    /// The values of a filter that is true or false.
    pub fn booleans(&self, key: &str) -> Result<Vec<bool>> {
        let boolean = |value: &str| match value.to_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(Error::usage(format!(
                "{value:?} is not a valid value for the {key:?} filter - must be true or false"
            ))),
        };
        self.values(key).map(boolean).collect()
    }

    /// `until=`: the moment before which things must have been made.
    pub fn until(&self) -> Result<Option<Timestamp>> {
        self.values("until")
            .last()
            .map(|value| moment(value, Timestamp::now()))
            .transpose()
    }
}

/// `--filter` of containers, with what it has to look at.
#[derive(Debug)]
pub struct ContainerFilters {
    filters: Filters,
    ids: Vec<regex::Regex>,
    names: Vec<regex::Regex>,
    images: Vec<regex::Regex>,
    commands: Vec<regex::Regex>,
    states: Vec<State>,
    exited: Vec<i32>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    on_boot: Option<bool>,
    storage: Storage,
}

/// Reads the filters of a command about containers.
pub fn containers(engine: &Engine, given: &[String]) -> Result<ContainerFilters> {
    let filters = Filters::parse(given, |filter| {
        Error::usage(format!("invalid filter {filter:?}"))
    })?;
    if let Some(unknown) = filters.unknown(CONTAINER_KEYS) {
        return Err(Error::usage(format!("{unknown} is an invalid filter")));
    }
    if filters.values("pod").any(str::is_empty) {
        return Err(Error::usage("name or ID cannot be empty"));
    }
    for policy in filters.values("restart-policy") {
        if !["no", "on-failure", "always", "unless-stopped"].contains(&policy) {
            return Err(Error::usage(format!("{policy} invalid restart policy")));
        }
    }
    let exited = filters.values("exited").map(|code| {
        code.parse().map_err(|_| {
            Error::usage(format!(
                "exited code out of range '\\x00': strconv.ParseInt: parsing {code:?}: invalid syntax"
            ))
        })
    });
    let made = |name: &str| -> Result<Timestamp> {
        Ok(container::find(&engine.storage, name)?.record.created)
    };
    // Of several the narrowest counts.
    let before = filters
        .values("before")
        .map(made)
        .collect::<Result<Vec<_>>>()?;
    let since = filters
        .values("since")
        .map(made)
        .collect::<Result<Vec<_>>>()?;
    Ok(ContainerFilters {
        ids: filters.patterns("id")?,
        names: filters.patterns("name")?,
        images: filters.patterns("ancestor")?,
        commands: filters.patterns("command")?,
        states: filters.values("status").map(state).collect::<Result<_>>()?,
        exited: exited.collect::<Result<_>>()?,
        before: before.into_iter().min(),
        since: since.into_iter().max(),
        until: filters.until()?,
        on_boot: filters.boolean("should-start-on-boot")?,
        storage: engine.storage.clone(),
        filters,
    })
}

const CONTAINER_KEYS: &[&str] = &[
    "ancestor",
    "before",
    "command",
    "exited",
    "health",
    "id",
    "label",
    "label!",
    "name",
    "network",
    "pod",
    "restart-policy",
    "should-start-on-boot",
    "since",
    "status",
    "until",
    "volume",
];

fn state(word: &str) -> Result<State> {
    Ok(match word {
        "created" => State::Created,
        "initialized" => State::Initialized,
        "running" => State::Running,
        "paused" => State::Paused,
        "stopped" | "exited" => State::Exited,
        "removing" => State::Removing,
        // What Podman has this word for cannot be here.
        "unknown" => State::Removing,
        _ => {
            return Err(Error::usage(format!(
                "unknown container state: {word}: invalid argument"
            )));
        }
    })
}

impl ContainerFilters {
    /// Whether a state is asked for, which makes `ps` look at all containers.
    pub fn has_status(&self) -> bool {
        !self.states.is_empty()
    }

    /// Whether the container passes all of them.
    pub fn matches(&self, container: &Container) -> bool {
        let Container { record, status } = container;
        let options = &record.options;
        let id = record.id.as_str();
        let is_id = |value: &str| {
            let prefix = crate::id::is_hex(value) && id.starts_with(value);
            prefix || self.ids.iter().any(|pattern| pattern.is_match(id))
        };
        let is_image = |value: &str| {
            let by_id = value.len() >= 3 && record.image.shown_id().starts_with(value);
            by_id || self.is_image(&record.image.name)
        };
        let has_health = |value: &str| match options.health.as_ref().filter(|it| it.is_on()) {
            Some(_) => health::word(&self.storage, record) == value,
            None => value == "none",
        };
        let filters = &self.filters;
        (filters.values("id").next().is_none() || filters.any("id", is_id))
            && passes(&self.names, record.name.as_str())
            && passes(
                &self.commands,
                options.argv.first().map_or("", String::as_str),
            )
            && filters.any("ancestor", is_image)
            && filters.labels(&options.labels)
            && (self.states.is_empty() || self.states.contains(&status.state))
            && (self.exited.is_empty() || self.exited.contains(&exit_code(container)))
            && self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
            && self.until.is_none_or(|until| record.created < until)
            && filters.any("volume", |value| has_volume(container, value))
            && filters.any("network", |value| has_network(&options.network, value))
            && filters.any("health", has_health)
            && filters.any("pod", |_| false)
            && filters.any("restart-policy", |value| policy(&options.restart) == value)
            && self
                .on_boot
                .is_none_or(|wanted| wanted == starts_on_boot(container))
    }

    /// A pattern is for the whole name, or for all before `:latest`.
    fn is_image(&self, name: &str) -> bool {
        let untagged = name.strip_suffix(":latest");
        let is = |name| self.images.iter().any(|pattern| pattern.is_match(name));
        is(name) || untagged.is_some_and(is)
    }
}

fn passes(patterns: &[regex::Regex], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_match(text))
}

/// The exit code of one that has ended; no code is -1.
fn exit_code(container: &Container) -> i32 {
    let ended = container.status.state == State::Exited;
    let exit = container.status.exit.as_ref().filter(|_| ended);
    exit.map_or(-1, |exit| exit.code)
}

fn has_volume(container: &Container, wanted: &str) -> bool {
    let (wanted, path) = wanted.split_once(':').unwrap_or((wanted, ""));
    container.record.options.mounts.iter().any(|mount| {
        let is = match &mount.kind {
            MountKind::Volume { name, .. } => name.as_str() == wanted,
            MountKind::Bind { source } => source.as_os_str() == wanted,
            _ => false,
        };
        is && (path.is_empty() || mount.destination.as_os_str() == path)
    })
}

fn has_network(network: &NetworkMode, wanted: &str) -> bool {
    match (network, wanted.strip_prefix("container:")) {
        (NetworkMode::Container(id), Some(other)) => id.starts_with(other),
        _ => false,
    }
}

/// Podman's name of a restart policy.
pub fn policy(restart: &RestartPolicy) -> &'static str {
    match restart {
        RestartPolicy::No => "no",
        RestartPolicy::Always => "always",
        RestartPolicy::UnlessStopped => "unless-stopped",
        RestartPolicy::OnFailure { .. } => "on-failure",
    }
}

fn starts_on_boot(container: &Container) -> bool {
    let exit = container.status.exit.as_ref();
    match container.record.options.restart {
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !exit.is_some_and(|exit| exit.stopped_by_user),
        RestartPolicy::No | RestartPolicy::OnFailure { .. } => false,
    }
}

/// Whether `labels` has `wanted`: `KEY` or `KEY=VALUE`, with `*` for anything.
fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    let (key, value) = match wanted.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (wanted, None),
    };
    let is = |pattern: &str, text: &str| match pattern.contains('*') {
        true => regex::Regex::new(&format!(
            "^{}$",
            regex::escape(pattern).replace(r"\*", ".*")
        ))
        .is_ok_and(|pattern| pattern.is_match(text)),
        false => pattern == text,
    };
    labels
        .iter()
        .any(|(k, v)| is(key, k) && value.is_none_or(|value| is(value, v)))
}

/// A time as Podman takes it: seconds since 1970, RFC 3339 in whole or part, or
/// a Go duration before `now`.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp> {
    let wrong = || {
        Error::usage(format!(
            "failed to parse value as time or duration: {text:?}"
        ))
    };
    if let Some(span) = duration(text) {
        return now.checked_sub(span).map_err(|_| wrong());
    }
    if let Some((seconds, nanoseconds)) = unix(text) {
        return Timestamp::new(seconds, nanoseconds).map_err(|_| wrong());
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let zone = jiff::tz::TimeZone::system();
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H"];
    for format in formats {
        if let Ok(at) = jiff::civil::DateTime::strptime(format, text) {
            return at
                .to_zoned(zone)
                .map(|at| at.timestamp())
                .map_err(|_| wrong());
        }
    }
    let zoned = text.strip_suffix('Z').unwrap_or(text);
    match jiff::civil::Date::strptime("%Y-%m-%d", zoned) {
        Ok(day) if zoned == text => day.to_zoned(zone),
        Ok(day) => day.to_zoned(jiff::tz::TimeZone::UTC),
        Err(error) => Err(error),
    }
    .map(|at| at.timestamp())
    .map_err(|_| wrong())
}

fn unix(text: &str) -> Option<(i64, i32)> {
    let (seconds, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || !digits(part) || part.len() > 9 {
        return None;
    }
    Some((seconds.parse().ok()?, format!("{part:0<9}").parse().ok()?))
}

/// Go's time.ParseDuration: `1h30m`, `1.5s`, `-2m`.
pub fn duration(text: &str) -> Option<jiff::SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(jiff::SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    jiff::SignedDuration::try_from_secs_f64(if negative { -total } else { total }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(given: &[&str]) -> Filters {
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        Filters::parse(&given, |_| Error::usage("malformed")).unwrap()
    }

    #[test]
    fn labels_are_podmans() {
        let labels: BTreeMap<String, String> =
            [("a".into(), "1".into()), ("com.x.y".into(), "".into())].into();
        for (given, passes) in [
            (&["label=a"][..], true),
            (&["label=a=1"], true),
            (&["label=a=2"], false),
            (&["label=a", "label=b"], false),
            (&["label!=a"], false),
            (&["label!=a=2"], true),
            (&["label=com.*"], true),
            (&["label=com"], false),
            (&["name=x"], true),
        ] {
            assert_eq!(filters(given).labels(&labels), passes, "{given:?}");
        }
    }

    #[test]
    fn times_are_podmans() {
        let now: Timestamp = "2024-05-05T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("10m", "2024-05-05T11:50:00Z"),
            ("1h30m", "2024-05-05T10:30:00Z"),
            ("0s", "2024-05-05T12:00:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.5", "2023-11-14T22:13:20.5Z"),
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05+02:00", "2024-01-02T01:04:05Z"),
            ("2024-01-02Z", "2024-01-02T00:00:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap(), at.parse().unwrap(), "{text}");
        }
        for wrong in ["", "x", "10", "10y", "2024-13-01"] {
            // A bare number is seconds since 1970.
            assert_eq!(moment(wrong, now).is_ok(), wrong == "10", "{wrong}");
        }
    }
}
