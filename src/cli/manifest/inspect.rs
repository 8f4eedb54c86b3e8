use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::args::registry::authfile;
use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::image::lists::{self, List, Source};
use crate::output::{Output, json as output_json};
use crate::registry::Options;

/// Display the contents of a manifest list or image index
///
/// Shows a list of the store, or the one that a registry has of that name.
#[derive(clap::Args)]
pub struct Args {
    /// Read credentials from this file
    #[arg(long, value_name = "PATH")]
    authfile: Option<PathBuf>,

    /// Require HTTPS and check certificates
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::parse_bool)]
    tls_verify: Option<bool>,

    #[arg(long, short, hide = true)]
    verbose: bool,

    #[arg(value_name = "LIST")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest inspect all-app",
    does: "Show what a list has.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    // Docker's flag, which Podman takes and does nothing by.
    let _ = args.verbose;
    let text = &args.names[0];
    let list = match lists::find_list(&engine.storage, text) {
        Ok(list) => {
            let mut value = serde_json::from_slice(&list.bytes(None)?.0)?;
            add_files(&mut value, &list)?;
            value
        }
        Err(error) if error.kind() == Kind::Usage => return Err(error),
        Err(_) => {
            let options = Options {
                tls_verify: args.tls_verify,
                authfile: authfile(&args.authfile)?,
                ..Options::default()
            };
            let list = lists::fetch(engine, text, &options)?;
            if !list.is_list {
                output.notice(format_args!(
                    "WARNING: The manifest type {} is not a manifest list but a single image.",
                    list.media_type
                ));
            }
            let mut value: Value = serde_json::from_str(&list.text)?;
            // An OCI index need not say what it is.
            value["mediaType"] = Value::from(list.media_type);
            value
        }
    };
    output.line(output_json::escape_html(&output_json::indented(
        &shown(&list),
        4,
    )?));
    Ok(0)
}

/// What only the list here knows: the files of artifacts; and platforms that are none.
fn add_files(shown: &mut Value, list: &List) -> Result<()> {
    let nobody = json!({"architecture": "", "os": ""});
    for (at, entry) in list.entries.iter().enumerate() {
        if let Source::Files { files, .. } = &entry.source {
            let line = &mut shown["manifests"][at];
            line["files"] = serde_json::to_value(files)?;
        }
        let line = &mut shown["manifests"][at];
        if line.is_object() && line["platform"].is_null() {
            line["platform"] = nobody.clone();
        }
    }
    if let Some(subject) = shown.get_mut("subject") {
        let mut whole = ordered(subject, &["mediaType", "size", "digest"]);
        whole["platform"] = nobody;
        *subject = whole;
    }
    Ok(())
}

/// As Podman shows it: Docker's order, with OCI's additions.
fn shown(list: &Value) -> Value {
    let entries = list["manifests"].as_array();
    let entries = entries.map(|entries| {
        let keys = [
            "mediaType",
            "size",
            "digest",
            "urls",
            "platform",
            "annotations",
            "artifactType",
            "files",
        ];
        let entry = |entry: &Value| ordered(entry, &keys);
        Value::from(entries.iter().map(entry).collect::<Vec<_>>())
    });
    let mut shown = Map::new();
    for key in [
        "schemaVersion",
        "mediaType",
        "artifactType",
        "manifests",
        "subject",
        "annotations",
    ] {
        match (key, list.get(key)) {
            ("manifests", _) => {
                shown.insert(key.to_owned(), entries.clone().unwrap_or_default());
            }
            (_, Some(value)) => {
                shown.insert(key.to_owned(), value.clone());
            }
            _ => {}
        }
    }
    Value::from(shown)
}

/// `keys` first, then what else there is.
fn ordered(entry: &Value, keys: &[&str]) -> Value {
    let entry = entry.as_object().cloned().unwrap_or_default();
    let mut shown = Map::new();
    for key in keys {
        if let Some(value) = entry.get(*key) {
            shown.insert((*key).to_owned(), value.clone());
        }
    }
    for (key, value) in entry {
        shown.entry(key).or_insert(value);
    }
    Value::from(shown)
}
