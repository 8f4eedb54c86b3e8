use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cli::volume::inspect::failed;
use crate::cli::{Example, at_least};
use crate::engine::Engine;
use crate::error::Result;
use crate::output::value::{Row, Time, Value, to_value};
use crate::output::{Output, json, listing};
use crate::secret::{self, Driver, Secret};

/// Inspect a secret
///
/// Prints a JSON array, or what --format makes of each secret. What it is, is shown only
/// with --showsecret.
#[derive(clap::Args)]
pub struct Args {
    /// Format the output with a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Print it for people to read
    #[arg(long)]
    pretty: bool,

    /// Show what the secret is
    #[arg(long)]
    showsecret: bool,

    #[arg(value_name = "SECRET")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle secret inspect --format '{{.Spec.Name}} {{.UpdatedAt}}' token",
    does: "Show when a secret was changed last.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    at_least(1, args.names.len())?;
    let storage = &engine.storage;
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for name in &args.names {
        let shown = secret::find(storage, name).and_then(|secret| {
            let data = match args.showsecret {
                true => secret::bytes(storage, &secret)?.0,
                false => Vec::new(),
            };
            let data = String::from_utf8_lossy(&data).into_owned();
            let place = storage.secrets().to_string_lossy().into_owned();
            Ok(Shown::new(secret, data, &place))
        });
        match shown {
            Ok(shown) => found.push(shown),
            Err(error) => errors.push(error),
        }
    }
    if args.pretty {
        found.iter().for_each(|it| output.text(&pretty(it)));
    } else {
        let rows = found.into_iter().map(Value::object).collect();
        print(output, args.format.as_deref(), rows)?;
    }
    let said = |(number, error): (usize, crate::error::Error)| match number {
        0 => error.tried("inspecting secret"),
        _ => error.tried("error inspecting secret"),
    };
    failed(output, errors.into_iter().enumerate().map(said))
}

fn print(output: &mut Output, format: Option<&str>, rows: Vec<Value>) -> Result<()> {
    match format.filter(|format| !listing::asks_json(format)) {
        Some(_) if rows.is_empty() => Ok(()),
        Some(format) => listing::print_each(output, "inspect", format, rows),
        None => {
            let all: Vec<serde_json::Value> = rows.iter().map(Value::json).collect();
            output.line(json::escape_html(&json::indented(&all, 4)?));
            Ok(())
        }
    }
}

/// Podman's layout, its uneven columns too.
fn pretty(it: &Shown) -> String {
    let mut text = format!(
        "ID:              {}\nName:              {}\n",
        it.id, it.spec.name
    );
    if !it.spec.labels.is_empty() {
        text += "Labels:\n";
    }
    for (key, value) in &it.spec.labels {
        let equals = if value.is_empty() { "" } else { "=" };
        // Writing to a text does not fail.
        let _ = writeln!(text, " - {key}{equals}{value}");
    }
    let _ = write!(
        text,
        "Driver:            {}\nCreated at:        {}\nUpdated at:        {}\n",
        it.spec.driver.name,
        Value::time(it.created),
        Value::time(it.updated)
    );
    text
}

/// Podman's types.SecretInfoReport.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "CreatedAt")]
    created_at: Time,
    #[serde(rename = "UpdatedAt")]
    updated_at: Time,
    #[serde(rename = "Spec")]
    spec: Spec,
    #[serde(rename = "SecretData", skip_serializing_if = "String::is_empty")]
    data: String,
    #[serde(skip)]
    created: jiff::Timestamp,
    #[serde(skip)]
    updated: jiff::Timestamp,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    name: String,
    driver: ShownDriver,
    labels: BTreeMap<String, String>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownDriver {
    name: &'static str,
    options: BTreeMap<String, String>,
}

impl Shown {
    fn new(secret: Secret, data: String, place: &str) -> Self {
        let mut options = secret.options;
        if secret.driver == Driver::File {
            options
                .entry("path".to_owned())
                .or_insert_with(|| place.to_owned());
        }
        Self {
            id: secret.id,
            created_at: Time(Some(secret.created)),
            updated_at: Time(Some(secret.updated)),
            spec: Spec {
                name: secret.name,
                driver: ShownDriver {
                    name: secret.driver.name(),
                    options,
                },
                labels: secret.labels,
            },
            data,
            created: secret.created,
            updated: secret.updated,
        }
    }
}

impl Row for Shown {
    fn type_name(&self) -> &str {
        "*types.SecretInfoReport"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "ID" => Value::text(&self.id),
            "CreatedAt" => Value::time(self.created),
            "UpdatedAt" => Value::time(self.updated),
            "Spec" => to_value(&self.spec).ok()?,
            "SecretData" => Value::text(&self.data),
            _ => return None,
        })
    }

    fn print(&self) -> String {
        let fields = ["ID", "CreatedAt", "UpdatedAt", "Spec", "SecretData"];
        let values = fields.iter().filter_map(|field| self.field(field));
        let texts: Vec<String> = values.map(|value| value.to_string()).collect();
        format!("&{{{}}}", texts.join(" "))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
