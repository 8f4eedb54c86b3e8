use std::collections::BTreeMap;

use crate::cli::Example;
use crate::cli::args::filter::Filters;
use crate::container::logs::{Away, parse_time};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::events::{Event, Type, Wanted};
use crate::output::value::{NilIfEmpty, Row, Time, Value, to_value};
use crate::output::{Output, json, listing};

/// Show coracle system events
///
/// Shows what happens to containers, images, volumes and the rest as it happens, a line
/// an event. What has happened is shown first with `--since` or `--until`, and alone
/// with `--stream=false`.
///
/// Events are kept in a file of the store, of a megabyte at most; containers.conf(5)
/// says otherwise with `events_logger` (file, journald or none), `events_logfile_path`
/// and `events_logfile_max_size`.
#[derive(clap::Args)]
pub struct Args {
    /// Show only events that match, KEY=VALUE: container, event, image, label, pod, type or volume
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Vec<String>,

    /// Format the output with a Go template, or `json` for a JSON object a line
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show whole ids
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, hide_default_value = true, value_parser = crate::cli::parse_bool)]
    no_trunc: bool,

    /// Show what happened since: a time, or a duration ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Go on as more happens
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, hide_default_value = true, value_parser = crate::cli::parse_bool)]
    stream: bool,

    /// Show what happened until: a time, or a duration ahead
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle events --stream=false --since 10m --filter container=web",
        does: "Show what happened to the container web in the last ten minutes.",
    },
    Example {
        line: "coracle events --until 1s --filter event=died --format '{{.Name}} {{.ContainerExitCode}}'",
        does: "Show which containers end with which code, for a second.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle events` takes no arguments"));
    }
    let tried = || "failed to parse event filters";
    let filters = filters(&args.filter).tried(tried)?;
    let now = jiff::Timestamp::now();
    let moment = |text: &Option<String>, which: &str, away| match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => parse_time(text, now, away).map(Some).ok_or_else(|| {
            Error::usage(format!(
                "unable to convert {which} time of {text}: unable to interpret time value"
            ))
        }),
    };
    let since = moment(&args.since, "since", Away::Before).tried(tried)?;
    let until = moment(&args.until, "until", Away::After).tried(tried)?;
    let wanted = Wanted {
        since,
        until,
        past: !args.stream || since.is_some() || until.is_some(),
        follow: args.stream,
    };
    let shape = Shape::parse(args.format.as_deref(), !args.no_trunc)?;
    let mut failed = None;
    engine.storage.events().read(&wanted, &mut |event| {
        if !passes(&filters, &event) {
            return true;
        }
        let shown = shape.show(event);
        match shown {
            Ok(text) => output.line(text),
            Err(error) => failed = Some(error),
        }
        // Whoever reads it is to have it now.
        if wanted.follow {
            output.flush();
        }
        failed.is_none()
    })?;
    failed.map_or(Ok(0), Err)
}

const KEYS: &[&str] = &[
    "container",
    "event",
    "image",
    "label",
    "pod",
    "status",
    "type",
    "volume",
];

fn filters(given: &[String]) -> Result<Filters> {
    let invalid = |key: &str| Error::usage(format!("{key} is an invalid filter"));
    let mut lower = Vec::new();
    for filter in given {
        let (key, value) = filter.split_once('=').ok_or_else(|| invalid(filter))?;
        let known = KEYS.iter().find(|it| it.eq_ignore_ascii_case(key));
        let known = known.ok_or_else(|| invalid(key))?;
        // Docker's word.
        let value = match (*known, value) {
            ("event" | "status", "die") => "died",
            _ => value,
        };
        let known = if *known == "status" { "event" } else { known };
        lower.push(format!("{known}={value}"));
    }
    Filters::parse(&lower, invalid)
}

/// Whether one of each key's values fits.
fn passes(filters: &Filters, event: &Event) -> bool {
    let named = |kind: Type, value: &str| {
        event.kind == kind && (event.name == value || event.id.starts_with(value))
    };
    let has_label = |wanted: &str| {
        let (key, value) = match wanted.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (wanted, None),
        };
        let found = event.attributes.as_ref().and_then(|all| all.get(key));
        found.is_some_and(|found| value.is_none_or(|value| value == found))
    };
    filters.any("container", |value| named(Type::Container, value))
        && filters.any("image", |value| named(Type::Image, value))
        && filters.any("pod", |value| named(Type::Pod, value))
        && filters.any("volume", |value| {
            // A volume has no id but its name.
            event.kind == Type::Volume && event.name.starts_with(value)
        })
        && filters.any("event", |value| event.status == value)
        && filters.any("type", |value| event.kind.name() == value)
        && filters.any("label", has_label)
}

/// How an event becomes a line.
enum Shape {
    People { short: bool },
    Json,
    Template(crate::output::Template),
}

impl Shape {
    fn parse(format: Option<&str>, short: bool) -> Result<Self> {
        Ok(match format {
            None | Some("") => Self::People { short },
            Some(format) if listing::asks_json(format) => Self::Json,
            Some(format) if format.starts_with("table ") => {
                return Err(Error::usage("events cannot be shown as a table"));
            }
            Some(format) => Self::Template(listing::template("events", format)?),
        })
    }

    fn show(&self, event: Event) -> Result<String> {
        match self {
            Self::People { short } => Ok(line(&event, *short)),
            Self::Json => Ok(json::escape_html(&serde_json::to_string(
                &Shown(event).json(),
            )?)),
            Self::Template(template) => {
                let text = template.execute(&Value::object(Shown(event)))?;
                Ok(text.strip_suffix('\n').map_or(text.clone(), str::to_owned))
            }
        }
    }
}

/// The line for people.
fn line(event: &Event, short: bool) -> String {
    let id = match short {
        true => event.id.get(..12).unwrap_or(&event.id),
        false => &event.id,
    };
    let (time, kind, status) = (Time(Some(event.time)), event.kind.name(), &event.status);
    let begin = format!("{time} {kind} {status}");
    match event.kind {
        Type::Container | Type::Pod => {
            let mut text = format!("{begin} {id} (image={}, name={}", event.image, event.name);
            if !event.pod.is_empty() {
                text.push_str(&format!(", pod_id={}", event.pod));
            }
            if !event.health_status.is_empty() {
                text.push_str(&format!(
                    ", health_status={}, health_failing_streak={}, health_log={}",
                    event.health_status, event.health_failing_streak, event.health_log
                ));
            }
            for (key, value) in event.attributes.iter().flatten() {
                text.push_str(&format!(", {key}={value}"));
            }
            text.push(')');
            text
        }
        Type::Image => {
            let mut text = format!("{begin} {id} {}", event.name);
            if !event.error.is_empty() {
                text.push_str(&format!(" {}", event.error));
            }
            text
        }
        Type::Network => {
            let none = BTreeMap::new();
            let attributes = event.attributes.as_ref().unwrap_or(&none);
            match attributes.get("driver") {
                Some(driver) => format!("{begin} {id} (name={}, type={driver})", event.network),
                None => format!("{begin} {id} (container={id}, name={})", event.network),
            }
        }
        Type::Secret => format!("{begin} {id}"),
        Type::System if event.name.is_empty() => begin,
        Type::System | Type::Volume => format!("{begin} {}", event.name),
    }
}

/// An event as templates see it.
struct Shown(Event);

/// Podman's events.Details, which is part of each event.
#[derive(serde::Serialize)]
#[serde(rename = "events.Details", rename_all = "PascalCase")]
struct Details<'a> {
    #[serde(rename = "PodID")]
    pod_id: &'a str,
    container_inspect_data: &'a str,
    attributes: NilIfEmpty<BTreeMap<String, String>>,
}

impl Shown {
    fn details(&self) -> Option<Value> {
        let details = Details {
            pod_id: &self.0.pod,
            container_inspect_data: &self.0.inspect_data,
            attributes: NilIfEmpty(self.0.attributes.clone().unwrap_or_default()),
        };
        to_value(&details).ok()
    }

    fn nanoseconds(&self) -> i64 {
        i64::try_from(self.0.time.as_nanosecond()).unwrap_or(0)
    }

    fn attributes(&self) -> Value {
        let attributes = self.0.attributes.clone().unwrap_or_default();
        to_value(&NilIfEmpty(attributes)).unwrap_or(Value::NilMap)
    }
}

impl Row for Shown {
    fn type_name(&self) -> &str {
        "system.Event"
    }

    fn field(&self, name: &str) -> Option<Value> {
        let event = &self.0;
        Some(match name {
            "Attributes" => self.attributes(),
            "ContainerExitCode" => match event.exit_code {
                Some(code) => Value::Int(code.into()),
                None => Value::Nil,
            },
            "ContainerInspectData" => Value::text(&event.inspect_data),
            "Details" => self.details()?,
            "Error" => Value::text(&event.error),
            "HealthStatus" => Value::text(&event.health_status),
            "ID" => Value::text(&event.id),
            "Image" => Value::text(&event.image),
            "Name" => Value::text(&event.name),
            "Network" => Value::text(&event.network),
            "PodID" => Value::text(&event.pod),
            "Status" => Value::text(&event.status),
            "Time" => Value::Int(event.time.as_second()),
            "TimeNano" => Value::Int(self.nanoseconds()),
            "Type" => Value::text(event.kind.name()),
            _ => return None,
        })
    }

    fn print(&self) -> String {
        let event = &self.0;
        // Where Go prints an address.
        let code = match event.exit_code {
            Some(_) => "0xc000000000",
            None => "<nil>",
        };
        format!(
            "{{{code} {} {} {} {} {} {} {} {} {} {} {{{} {} {}}}}}",
            event.id,
            event.image,
            event.name,
            event.network,
            event.status,
            event.time.as_second(),
            self.nanoseconds(),
            event.kind.name(),
            event.health_status,
            event.error,
            event.pod,
            event.inspect_data,
            self.attributes()
        )
    }

    fn json(&self) -> serde_json::Value {
        let event = &self.0;
        let mut map = serde_json::Map::new();
        if let Some(code) = event.exit_code {
            map.insert("ContainerExitCode".to_owned(), code.into());
        }
        let text = |map: &mut serde_json::Map<_, _>, key: &str, text: &str| {
            if !text.is_empty() {
                map.insert(key.to_owned(), text.into());
            }
        };
        text(&mut map, "ID", &event.id);
        text(&mut map, "Image", &event.image);
        text(&mut map, "Name", &event.name);
        text(&mut map, "network", &event.network);
        text(&mut map, "Status", &event.status);
        map.insert("time".to_owned(), event.time.as_second().into());
        map.insert("timeNano".to_owned(), self.nanoseconds().into());
        text(&mut map, "Type", event.kind.name());
        text(&mut map, "health_status", &event.health_status);
        text(&mut map, "error", &event.error);
        text(&mut map, "PodID", &event.pod);
        text(&mut map, "ContainerInspectData", &event.inspect_data);
        let attributes = serde_json::to_value(&event.attributes).unwrap_or_default();
        map.insert("Attributes".to_owned(), attributes);
        map.into()
    }
}
