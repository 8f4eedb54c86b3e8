use std::collections::BTreeMap;

use serde::Serialize;

use super::list::repo_digests;
use crate::cli::Example;
use crate::cli::volume::inspect::{failed, print};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::ImageId;
use crate::image::manifest::{self, History, Manifest, RootFs, WrittenConfig};
use crate::image::{self, Healthcheck, Image};
use crate::output::Output;
use crate::output::human;
use crate::output::value::{Row, Value, to_value};
use crate::storage::Storage;

/// Display the configuration of an image
///
/// Prints a JSON array, or what --format makes of each image.
#[derive(clap::Args)]
pub struct Args {
    /// Format the output with a Go template, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle image inspect --format '{{.Config.Cmd}}' app",
    does: "Show what an image runs.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.names.is_empty() {
        return Err(Error::usage("no names or ids specified"));
    }
    let mut rows = Vec::new();
    let mut errors = Vec::new();
    for name in &args.names {
        match image::find(&engine.storage, name) {
            Ok(image) => rows.push(row(&engine.storage, &image)?),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Usage) => {
                errors.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    print(output, args.format.as_deref(), rows)?;
    failed(output, errors.into_iter())
}

/// The image that `image` was made of by one step more, if it is here (libimage,
/// areParentAndChild).
fn parent(storage: &Storage, image: &Image, history: &[History]) -> Result<Option<ImageId>> {
    let (Some((last, steps)), Some((_, below))) = (history.split_last(), image.layers.split_last())
    else {
        return Ok(None);
    };
    let layers = match last.empty_layer {
        true => image.layers.as_slice(),
        false => below,
    };
    if steps.is_empty() || layers.is_empty() {
        return Ok(None);
    }
    for other in image::list(storage)? {
        if other.layers == layers
            && let Ok(bytes) = other.config_bytes(storage)
            && manifest::read_config(&bytes).is_ok_and(|it| it.history == steps)
        {
            return Ok(Some(other.id));
        }
    }
    Ok(None)
}

/// An image as `inspect` shows it.
pub fn row(storage: &Storage, image: &Image) -> Result<Value> {
    let config = manifest::read_config(&image.config_bytes(storage)?)?;
    let names = image.names(storage)?;
    let annotations = serde_json::from_slice::<Manifest>(&image.manifest_bytes(storage)?)
        .map(|manifest| manifest.annotations)
        .unwrap_or_default();
    let docker = image.manifest_type.contains("docker");
    // OCI's has no place for one: libimage shows the first step's.
    let comment = match docker {
        true => config.comment,
        false => config
            .history
            .first()
            .map_or_else(String::new, |step| step.comment.clone()),
    };
    let parent = parent(storage, image, &config.history)?;
    let texts = |names: &mut dyn Iterator<Item = &image::Reference>| -> Vec<String> {
        names.map(ToString::to_string).collect()
    };
    let shown = Shown {
        id: image.id.as_str(),
        digest: image.digest.as_str(),
        repo_tags: texts(&mut names.iter()),
        repo_digests: repo_digests(image, &names),
        parent: parent.as_ref().map_or("", |id| id.as_str()),
        comment: &comment,
        created: config.created.as_deref(),
        config: Some((&image.config).into()),
        version: &config.docker_version,
        author: &image.author,
        architecture: &image.architecture,
        os: &image.os,
        size: image.size,
        virtual_size: image.size,
        graph_driver: Driver {
            name: "overlay",
            data: driver(storage, image),
        },
        root_fs: Layers::from(config.rootfs),
        labels: Some(&image.config.labels).filter(|labels| !labels.is_empty()),
        annotations: &annotations,
        manifest_type: &image.manifest_type,
        user: &image.config.user,
        history: config.history,
        names_history: Some(image::history(storage, &image.id, &names))
            .filter(|names| !names.is_empty()),
        health_check: image.config.healthcheck.as_ref().filter(|_| docker),
    };
    let created = match image.created {
        Some(at) => Value::time(at),
        None => Value::Nil,
    };
    let list = |texts: &[String]| Value::texts(texts);
    let config = &image.config;
    let set = |texts: &[String]| Value::map(texts.iter().map(|text| (text.clone(), "{}")));
    let health = match shown.health_check {
        Some(check) => health(check),
        None => Value::Nil,
    };
    let fields = Fields {
        type_name: "*v1.ImageConfig",
        fields: vec![
            ("User", Value::text(&config.user)),
            ("ExposedPorts", set(&config.exposed_ports)),
            ("Env", list(&config.env)),
            ("Entrypoint", list(&config.entrypoint)),
            ("Cmd", list(&config.cmd)),
            ("Volumes", set(&config.volumes)),
            ("WorkingDir", Value::text(&config.working_dir)),
            ("Labels", labels(&config.labels)),
            ("StopSignal", Value::text(&config.stop_signal)),
            ("ArgsEscaped", Value::Bool(false)),
        ],
        hidden: vec![("Healthcheck", health.clone())],
        json: serde_json::to_value(WrittenConfig::from(config))?,
    };
    let whole = serde_json::to_value(&shown)?;
    Ok(Value::object(Fields {
        type_name: "interface {}",
        fields: vec![
            ("ID", Value::text(shown.id)),
            ("Id", Value::text(shown.id)),
            ("Digest", Value::text(shown.digest)),
            ("RepoTags", Value::texts(&shown.repo_tags)),
            ("RepoDigests", Value::texts(&shown.repo_digests)),
            ("Parent", Value::text(shown.parent)),
            ("Comment", Value::text(shown.comment)),
            ("Created", created),
            ("Config", Value::object(fields)),
            ("Version", Value::text(shown.version)),
            ("Author", Value::text(shown.author)),
            ("Architecture", Value::text(shown.architecture)),
            ("Os", Value::text(shown.os)),
            ("Size", Value::Int(shown.size as i64)),
            ("VirtualSize", Value::Int(shown.size as i64)),
            ("GraphDriver", to_value(&shown.graph_driver)?),
            ("RootFS", to_value(&shown.root_fs)?),
            ("Labels", labels(&config.labels)),
            ("Annotations", Value::map(&annotations)),
            ("ManifestType", Value::text(shown.manifest_type)),
            ("User", Value::text(shown.user)),
            ("History", Value::list(shown.history.iter().map(step))),
            (
                "NamesHistory",
                Value::texts(shown.names_history.iter().flatten()),
            ),
            ("HealthCheck", health),
        ],
        hidden: Vec::new(),
        json: whole,
    }))
}

fn step(step: &History) -> Value {
    let created = step.created.as_deref().and_then(manifest::time);
    let fields = vec![
        ("Created", created.map_or(Value::Nil, Value::time)),
        ("CreatedBy", Value::text(&step.created_by)),
        ("Author", Value::text(&step.author)),
        ("Comment", Value::text(&step.comment)),
        ("EmptyLayer", Value::Bool(step.empty_layer)),
    ];
    Value::object(Fields {
        type_name: "v1.History",
        fields,
        hidden: Vec::new(),
        json: serde_json::to_value(step).unwrap_or_default(),
    })
}

/// A Go map that is nil where there are none.
fn labels(labels: &BTreeMap<String, String>) -> Value {
    match labels.is_empty() {
        true => Value::NilMap,
        false => Value::map(labels),
    }
}

fn health(check: &Healthcheck) -> Value {
    let span = |nanoseconds: i64| Value::text(human::go_duration(nanoseconds));
    Value::object(Fields {
        type_name: "*manifest.Schema2HealthConfig",
        fields: vec![
            ("Test", Value::texts(&check.test)),
            ("StartPeriod", span(check.start_period)),
            ("StartInterval", span(check.start_interval)),
            ("Interval", span(check.interval)),
            ("Timeout", span(check.timeout)),
            ("Retries", Value::Int(check.retries)),
        ],
        hidden: Vec::new(),
        json: serde_json::to_value(check).unwrap_or_default(),
    })
}

/// Where the layers are, as Podman's overlay driver tells it.
fn driver(storage: &Storage, image: &Image) -> BTreeMap<&'static str, String> {
    let folder = |layer: &crate::id::DiffId, name: &str| {
        let path = storage.layer(layer).join(name);
        path.to_string_lossy().into_owned()
    };
    let mut data = BTreeMap::new();
    if let Some((top, lower)) = image.layers.split_last() {
        let lower: Vec<String> = lower
            .iter()
            .rev()
            .map(|layer| folder(layer, "diff"))
            .collect();
        if !lower.is_empty() {
            data.insert("LowerDir", lower.join(":"));
        }
        data.insert("UpperDir", folder(top, "diff"));
        data.insert("WorkDir", folder(top, "work"));
    }
    data
}

/// Podman's define.ImageData.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    id: &'a str,
    digest: &'a str,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: &'a str,
    comment: &'a str,
    created: Option<&'a str>,
    config: Option<WrittenConfig<'a>>,
    version: &'a str,
    author: &'a str,
    architecture: &'a str,
    os: &'a str,
    size: u64,
    virtual_size: u64,
    graph_driver: Driver,
    #[serde(rename = "RootFS")]
    root_fs: Layers,
    labels: Option<&'a BTreeMap<String, String>>,
    annotations: &'a BTreeMap<String, String>,
    manifest_type: &'a str,
    user: &'a str,
    history: Vec<History>,
    names_history: Option<Vec<String>>,
    #[serde(rename = "Healthcheck", skip_serializing_if = "Option::is_none")]
    health_check: Option<&'a Healthcheck>,
}

#[derive(Serialize)]
#[serde(rename = "define.DriverData", rename_all = "PascalCase")]
struct Driver {
    name: &'static str,
    data: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename = "define.RootFS", rename_all = "PascalCase")]
struct Layers {
    #[serde(rename = "Type")]
    kind: String,
    layers: Vec<String>,
}

impl From<RootFs> for Layers {
    fn from(rootfs: RootFs) -> Self {
        Self {
            kind: rootfs.kind,
            layers: rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A Go struct whose JSON leaves out what is empty, where a template still sees it.
struct Fields {
    type_name: &'static str,
    fields: Vec<(&'static str, Value)>,
    /// Found by name, not printed.
    hidden: Vec<(&'static str, Value)>,
    json: serde_json::Value,
}

impl Row for Fields {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        let mut fields = self.fields.iter().chain(&self.hidden);
        let found = fields.find(|(field, _)| *field == name);
        found.map(|(_, value)| value.clone())
    }

    fn print(&self) -> String {
        let texts: Vec<String> = self
            .fields
            .iter()
            .map(|(_, value)| value.to_string())
            .collect();
        format!("{{{}}}", texts.join(" "))
    }

    fn json(&self) -> serde_json::Value {
        self.json.clone()
    }
}

#[cfg(test)]
mod tests {
    use crate::output::human;

    #[test]
    fn spans_are_gos() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (5_000_000_000, "5s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (20_000_000, "20ms"),
            (1_500, "1.5µs"),
            (7, "7ns"),
            (-1_000_000_000, "-1s"),
        ] {
            assert_eq!(human::go_duration(nanoseconds), text);
        }
    }
}
