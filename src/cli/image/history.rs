use jiff::Timestamp;

use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::Result;
use crate::image::{self, Image, manifest};
use crate::output::value::{Row, Time, Value};
use crate::output::{Listing, Output, human, json};
use crate::storage::Storage;

/// Show history of a specified image
///
/// Shows how each layer of the image was made, the last first.
#[derive(clap::Args)]
pub struct Args {
    /// Format the output with a Go template, or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show sizes and times for people
    #[arg(short = 'H', long, action = clap::ArgAction::Set, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, hide_default_value = true, value_parser = crate::cli::parse::parse_bool)]
    human: bool,

    /// Show whole ids and lines
    #[arg(long)]
    no_trunc: bool,

    /// Print only ids
    #[arg(short, long)]
    quiet: bool,

    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle history --no-trunc app",
    does: "Show the lines an image was made by.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.images.len())?;
    let image = image::find(&engine.storage, &args.images[0])?;
    output.keep_whole(args.no_trunc);
    let rows = rows(&engine.storage, &image, args.human, args.no_trunc)?;
    let listing = Listing {
        command: "history",
        columns: r"{{.ID}}\t{{.Created}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        headers: HEADERS,
        format: args.format.as_deref(),
        heading: true,
    };
    if listing.is_json() {
        let rows: Vec<serde_json::Value> = rows.iter().map(|row| row.shown(true)).collect();
        output.line(json::escape_html(&serde_json::to_string(&rows)?));
    } else if args.quiet && args.format.is_none() {
        for row in rows {
            output.line(row.id());
        }
    } else {
        listing.print(output, rows)?;
    }
    Ok(0)
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "ID"),
    ("Created", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
    ("Tags", "TAGS"),
];

/// One step, newest first.
struct StepRow {
    /// Of the image that ends with this step, if it is here.
    id: Option<String>,
    created: Option<Timestamp>,
    created_by: String,
    comment: String,
    size: u64,
    tags: Vec<String>,
    human: bool,
    whole: bool,
}

fn rows(storage: &Storage, image: &Image, human: bool, whole: bool) -> Result<Vec<StepRow>> {
    let config = manifest::read_config(&image.config_bytes(storage)?)?;
    let images = image::list(storage)?;
    let names = image::names(storage)?;
    let tags_of = |image: &Image| {
        let own = names.iter().filter(|(_, id)| *id == image.id);
        own.map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    let mut layers = 0;
    let last = config.history.len().saturating_sub(1);
    for (at, step) in config.history.into_iter().enumerate() {
        let mut size = 0;
        if !step.empty_layer
            && let Some(id) = image.layers.get(layers)
        {
            layers += 1;
            size = storage.read_layer(id)?.map_or(0, |layer| layer.size);
        }
        let ends_here = |other: &&Image| {
            layers > 0 && layers < image.layers.len() && other.layers == image.layers[..layers]
        };
        let own = if at == last { Some(image) } else { None };
        let other = own.or_else(|| images.iter().find(ends_here));
        let tags = match own.or(other) {
            Some(image) => tags_of(image),
            // Steps that made no layer belong to the image they stand before.
            None if layers == image.layers.len() => tags_of(image),
            None => Vec::new(),
        };
        rows.push(StepRow {
            id: other.map(|image| image.id.to_string()),
            created: step.created.as_deref().and_then(manifest::time),
            created_by: step.created_by,
            comment: step.comment,
            size,
            tags,
            human,
            whole,
        });
    }
    rows.reverse();
    Ok(rows)
}

impl StepRow {
    fn id(&self) -> String {
        match &self.id {
            Some(id) if self.whole => id.clone(),
            Some(id) => id[..12].to_owned(),
            None => "<missing>".to_owned(),
        }
    }

    fn created_at(&self) -> String {
        let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
        Time(self.created.map(whole)).rfc3339()
    }

    fn created(&self) -> String {
        match self.created {
            _ if !self.human => self.created_at(),
            Some(at) => human::ago(at),
            // As far back as Go's durations reach.
            None => "292 years ago".to_owned(),
        }
    }

    fn created_by(&self) -> String {
        if self.whole || self.created_by.chars().count() <= 45 {
            return self.created_by.clone();
        }
        let short: String = self.created_by.chars().take(42).collect();
        format!("{short}...")
    }

    /// As `{{json .}}` has it; `listed` for `--format json`.
    /// What a row is made of, which a template may name.
    fn layer(&self) -> Layer {
        Layer {
            id: self.id.clone().unwrap_or_else(|| "<missing>".to_owned()),
            created: Time(self.created),
            created_by: self.created_by.clone(),
            tags: self.tags.clone(),
            size: self.size,
            comment: self.comment.clone(),
            shown: self.shown(false),
        }
    }

    fn shown(&self, listed: bool) -> serde_json::Value {
        let id = self.id.as_deref().unwrap_or("<missing>");
        let mut shown = serde_json::json!({
            "id": id,
            "created": Time(self.created).rfc3339(),
            "CreatedBy": self.created_by,
        });
        if let Some(map) = shown.as_object_mut() {
            if !self.tags.is_empty() {
                map.insert("tags".to_owned(), self.tags.clone().into());
            }
            map.insert("size".to_owned(), self.size.into());
            if !self.comment.is_empty() {
                map.insert("comment".to_owned(), self.comment.clone().into());
            }
            if listed {
                map.insert("Created".to_owned(), self.created_at().into());
            }
        }
        shown
    }
}

impl Row for StepRow {
    fn type_name(&self) -> &str {
        "images.historyReporter"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "ImageHistoryLayer" => Value::object(self.layer()),
            "ID" => Value::text(self.id()),
            "Created" | "CreatedSince" => Value::text(self.created()),
            "CreatedAt" => Value::text(self.created_at()),
            "CreatedBy" => Value::text(self.created_by()),
            "Size" => Value::text(human::size(self.size, 3)),
            "Comment" => Value::text(&self.comment),
            "Tags" => Value::texts(&self.tags),
            _ => return None,
        })
    }

    fn print(&self) -> String {
        format!(
            "{{{{{} {} {} {} {} {}}}}}",
            self.id.as_deref().unwrap_or("<missing>"),
            Time(self.created),
            self.created_by,
            Value::texts(&self.tags),
            self.size,
            self.comment
        )
    }

    fn json(&self) -> serde_json::Value {
        self.shown(false)
    }
}

/// Podman's entities.ImageHistoryLayer.
struct Layer {
    id: String,
    created: Time,
    created_by: String,
    tags: Vec<String>,
    size: u64,
    comment: String,
    shown: serde_json::Value,
}

impl Row for Layer {
    fn type_name(&self) -> &str {
        "types.ImageHistoryLayer"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "ID" => Value::text(&self.id),
            "Created" => Value::object(self.created),
            "CreatedBy" => Value::text(&self.created_by),
            "Tags" => Value::texts(&self.tags),
            "Size" => Value::Int(self.size as i64),
            "Comment" => Value::text(&self.comment),
            _ => return None,
        })
    }

    fn print(&self) -> String {
        let fields = ["ID", "Created", "CreatedBy", "Tags", "Size", "Comment"];
        let values = fields.iter().filter_map(|field| self.field(field));
        let texts: Vec<String> = values.map(|value| value.to_string()).collect();
        format!("{{{}}}", texts.join(" "))
    }

    fn json(&self) -> serde_json::Value {
        self.shown.clone()
    }
}
