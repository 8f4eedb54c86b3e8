use super::history::{self, LastUse};
use crate::cli::Example;
use crate::container;
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::output::value::{Row, Time, Value};
use crate::output::{Output, human, json, listing};
use crate::storage::Storage;
use crate::volume::{self, Usage, Volume};

/// Display detailed information on one or more volumes
///
/// Prints a JSON array, or what --format makes of each volume.
#[derive(clap::Args)]
pub struct Args {
    /// Inspect all volumes
    #[arg(short, long)]
    all: bool,

    /// Format the output with a Go template, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    #[arg(value_name = "VOLUME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle volume inspect --format '{{.Mountpoint}}' model_output",
    does: "Show where a volume's files are.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.all != args.names.is_empty() {
        return Err(Error::usage(
            "provide one or more volume names or use --all",
        ));
    }
    let storage = &engine.storage;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    if args.all {
        found = volume::list(storage)?;
    }
    for name in &args.names {
        match volume::find(storage, name) {
            Ok(volume) => found.push(volume),
            Err(error) if error.kind() == Kind::NotFound => missing.push(name),
            Err(error) => return Err(error).tried(|| format!("inspecting volume {name}")),
        }
    }
    let rows = found
        .into_iter()
        .map(|volume| Value::object(VolumeRow::new(storage, volume, "interface {}")))
        .collect();
    print(output, args.format.as_deref(), rows)?;
    let meant = |name: &&String| no_such(name).meant(volume::near(storage, name));
    failed(output, missing.iter().map(meant))
}

/// Prints what was found: by a template, or as Podman's JSON.
pub fn print(output: &mut Output, format: Option<&str>, rows: Vec<Value>) -> Result<()> {
    match format.filter(|format| !listing::asks_json(format)) {
        Some(_) if rows.is_empty() => {}
        Some(format) => listing::print_each(output, "inspect", format, rows)?,
        None => {
            let all: Vec<serde_json::Value> = rows.iter().map(Value::json).collect();
            output.line(json::inspect(&all)?);
        }
    }
    Ok(())
}

/// The first error is the command's; Podman says the others before it.
pub fn failed(output: &mut Output, mut errors: impl Iterator<Item = Error>) -> Result<u8> {
    let Some(first) = errors.next() else {
        return Ok(0);
    };
    for error in errors {
        output.notice(error);
    }
    Err(first)
}

fn no_such(name: &str) -> Error {
    Error::not_found(format!("no such volume {name}"))
}

/// A volume as `inspect`, and `ls` in JSON, show it.
pub struct VolumeRow {
    storage: Storage,
    volume: Volume,
    type_name: &'static str,
    /// Where it was asked for.
    usage: Option<Usage>,
}

impl VolumeRow {
    /// `type_name`: what a template's errors call it.
    pub fn new(storage: &Storage, volume: Volume, type_name: &'static str) -> Self {
        Self {
            storage: storage.clone(),
            volume,
            type_name,
            usage: None,
        }
    }

    /// The same, with what the volume takes on disk.
    pub fn measured(self, usage: Usage) -> Self {
        let usage = Some(usage);
        Self { usage, ..self }
    }

    fn last_use(&self) -> LastUse {
        history::last_use(&self.storage, &self.volume.name).unwrap_or(LastUse::Never)
    }

    /// How many containers have mounted what must be mounted anew for each.
    fn mount_count(&self) -> usize {
        if self.volume.is_plain() {
            return 0;
        }
        let running = container::running_users_of_volume(&self.storage, &self.volume.name);
        let here = container::volumes::is_mounted(&self.storage, &self.volume);
        running.map_or(0, |running| running.len()) + usize::from(here)
    }

    fn mountpoint(&self) -> String {
        volume::mountpoint(&self.storage, &self.volume.name)
            .to_string_lossy()
            .into_owned()
    }

    fn needs_chown(&self) -> bool {
        self.volume.uid.is_none()
            && self.volume.gid.is_none()
            && !self.volume.is_bind()
            && (!self.volume.is_plain() || self.volume.needs_owner(&self.storage))
    }
}

/// The fields in the order Go prints them.
const FIELDS: &[&str] = &[
    "Name",
    "Driver",
    "Mountpoint",
    "CreatedAt",
    "Status",
    "Labels",
    "Scope",
    "Options",
    "UID",
    "GID",
    "Anonymous",
    "MountCount",
    "NeedsCopyUp",
    "NeedsChown",
    "Timeout",
    "StorageID",
    "LockNumber",
];

impl Row for VolumeRow {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        let volume = &self.volume;
        Some(match name {
            "Name" => Value::text(&volume.name),
            "Driver" => Value::text(&volume.driver),
            "Mountpoint" => Value::text(self.mountpoint()),
            "CreatedAt" => Value::time(volume.created),
            "Status" => Value::NilMap,
            "Labels" => Value::map(&volume.labels),
            "Scope" => Value::text("local"),
            "Options" => Value::map(&volume.options),
            "UID" => Value::Int(volume.uid.unwrap_or(0).into()),
            "GID" => Value::Int(volume.gid.unwrap_or(0).into()),
            "Anonymous" => Value::Bool(volume.anonymous),
            "NeedsCopyUp" => Value::Bool(volume.needs_copy_up(&self.storage)),
            "NeedsChown" => Value::Bool(self.needs_chown()),
            "MountCount" => Value::Uint(self.mount_count() as u64),
            "Timeout" | "LockNumber" => Value::Int(0),
            "StorageID" => Value::text(""),
            "InspectVolumeData" | "VolumeConfigResponse" => Value::object(Self {
                storage: self.storage.clone(),
                volume: volume.clone(),
                type_name: "define.InspectVolumeData",
                usage: self.usage,
            }),
            "Size" => Value::text(human::size(self.usage?.total(), 4)),
            "LastUsed" => Value::text(self.last_use().text()),
            "Origin" => Value::text(history::origin(volume)),
            _ => return None,
        })
    }

    fn print(&self) -> String {
        let values = FIELDS.iter().filter_map(|field| self.field(field));
        let texts: Vec<String> = values.map(|value| value.to_string()).collect();
        format!("{{{}}}", texts.join(" "))
    }

    fn json(&self) -> serde_json::Value {
        let volume = &self.volume;
        let shown = Shown {
            name: volume.name.as_str(),
            driver: &volume.driver,
            mountpoint: self.mountpoint(),
            created_at: Time(Some(volume.created)),
            labels: &volume.labels,
            scope: "local",
            options: &volume.options,
            uid: volume.uid.filter(|uid| *uid != 0),
            gid: volume.gid.filter(|gid| *gid != 0),
            anonymous: volume.anonymous,
            mount_count: self.mount_count(),
            needs_copy_up: volume.needs_copy_up(&self.storage),
            needs_chown: self.needs_chown(),
            lock_number: 0,
            size: self.usage.map(|usage| usage.total()),
            snapshots_size: self.usage.map(|usage| usage.snapshots),
            last_used: self
                .usage
                .and_then(|_| self.last_use().moment())
                .map(|at| Time(Some(at))),
            origin: volume
                .origin
                .as_ref()
                .filter(|_| self.usage.is_some())
                .map(|origin| ShownOrigin {
                    container: origin.container.as_str(),
                    image: &origin.image,
                    path: &origin.path,
                }),
        };
        serde_json::to_value(&shown).unwrap_or_default()
    }
}

/// Podman's define.InspectVolumeData.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    name: &'a str,
    driver: &'a str,
    mountpoint: String,
    created_at: Time,
    labels: &'a std::collections::BTreeMap<String, String>,
    scope: &'a str,
    options: &'a std::collections::BTreeMap<String, String>,
    #[serde(rename = "UID", skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(rename = "GID", skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    anonymous: bool,
    mount_count: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    needs_copy_up: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    needs_chown: bool,
    lock_number: u32,
    /// These Podman has not, and they are there where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshots_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<ShownOrigin<'a>>,
}

/// What an anonymous volume was made for.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownOrigin<'a> {
    container: &'a str,
    image: &'a str,
    path: &'a std::path::Path,
}
