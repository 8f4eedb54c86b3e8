use std::collections::{BTreeMap, HashMap, HashSet};

use super::filter::ImageFilters;
use crate::cli::Example;
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::ImageId;
use crate::image::manifest::is_index;
use crate::image::{self, Image, Reference};
use crate::output::value::{Row, Value};
use crate::output::{Listing, Output, human, json};

/// List images in local storage
///
/// Shows each name of each image, the newest image first. IMAGE is a name or a
/// pattern of names.
#[derive(clap::Args)]
pub struct Args {
    /// Show intermediate images too
    #[arg(short, long)]
    all: bool,

    /// Show digests
    #[arg(long)]
    digests: bool,

    /// Show only images that match, KEY=VALUE: before, containers, dangling, digest, id, intermediate, label, manifest, readonly, reference, since, until
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Format the output with a Go template, or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show the names images had
    #[arg(long)]
    history: bool,

    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,

    /// Do not print the headers
    #[arg(short, long)]
    noheading: bool,

    /// Print only ids
    #[arg(short, long)]
    quiet: bool,

    /// Sort by created, id, repository, size or tag
    #[arg(long, value_name = "KEY", default_value = "created", hide_default_value = true, value_parser = sort_key)]
    sort: Sort,

    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle images",
        does: "Show all images.",
    },
    Example {
        line: "coracle images --sort size --format 'table {{.Repository}} {{.Size}}'",
        does: "Show which image is the largest.",
    },
];

#[derive(Debug, Clone, Copy)]
enum Sort {
    Created,
    Id,
    Repository,
    Size,
    Tag,
}

fn sort_key(text: &str) -> std::result::Result<Sort, String> {
    Ok(match text {
        "created" => Sort::Created,
        "id" => Sort::Id,
        "repository" => Sort::Repository,
        "size" => Sort::Size,
        "tag" => Sort::Tag,
        _ => {
            return Err(format!(
                "{text:?} is not a valid value.  Choose from: \"created, id, repository, size, tag\""
            ));
        }
    })
}

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.images.len() > 1 {
        return Err(Error::usage(format!(
            "accepts at most 1 arg(s), received {}",
            args.images.len()
        )));
    }
    let mut filters = ImageFilters::parse(engine, &args.filter)?;
    if let Some(name) = args.images.first() {
        filters.add_reference(engine, name, false);
    }
    let mut columns = String::from(r"{{.Repository}}\t{{.Tag}}");
    if args.digests {
        columns.push_str(r"\t{{.Digest}}");
    }
    columns.push_str(r"\t{{.ID}}\t{{.Created}}\t{{.Size}}");
    if args.history {
        columns.push_str(r"\t{{.History}}");
    }
    let listing = Listing {
        command: "images",
        columns: &columns,
        headers: HEADERS,
        format: args.format.as_deref(),
        heading: !args.noheading,
    };
    let counts = if listing.is_json() || listing.asks_for("Containers") {
        containers(engine)?
    } else {
        HashMap::new()
    };
    output.keep_whole(args.no_trunc);
    let past = args.history || args.format.is_some();
    let how = (args.no_trunc, listing.is_json(), past);
    let mut rows = rows(engine, &filters, &counts, args.all, how)?;
    sort(&mut rows, args.sort);
    // Podman: --quiet gives way to JSON alone.
    if args.quiet && args.format.as_deref() != Some("json") {
        let mut seen = HashSet::new();
        for row in rows {
            if seen.insert(row.image.id.clone()) {
                output.line(row.id());
            }
        }
        return Ok(0);
    }
    if listing.is_json() {
        let rows: Vec<serde_json::Value> = rows.iter().map(Row::json).collect();
        output.line(json::escape_html(&json::indented(&rows, 4)?));
        return Ok(0);
    }
    listing.print(output, rows)?;
    Ok(0)
}

const HEADERS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("Id", "ID"),
    ("Digest", "DIGEST"),
    ("Created", "CREATED"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedTime", "CREATED TIME"),
    ("Size", "SIZE"),
    ("VirtualSize", "VIRTUAL SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("Names", "NAMES"),
    ("RepoTags", "REPO TAGS"),
    ("RepoDigests", "REPO DIGESTS"),
    ("ParentId", "PARENT ID"),
    ("Labels", "LABELS"),
    ("Containers", "CONTAINERS"),
    ("ReadOnly", "R/O"),
    ("Dangling", "DANGLING"),
    ("History", "HISTORY"),
    ("Arch", "ARCH"),
    ("Os", "OS"),
    ("IsManifestList", "IS MANIFEST LIST"),
];

/// How many containers each image has.
fn containers(engine: &Engine) -> Result<HashMap<ImageId, u64>> {
    let mut counts = HashMap::new();
    for container in container::list(&engine.storage)? {
        *counts.entry(container.record.image.id).or_default() += 1;
    }
    Ok(counts)
}

fn rows(
    engine: &Engine,
    filters: &ImageFilters,
    counts: &HashMap<ImageId, u64>,
    all: bool,
    (whole_ids, json, past): (bool, bool, bool),
) -> Result<Vec<ImageRow>> {
    let storage = &engine.storage;
    let mut names: HashMap<ImageId, Vec<Reference>> = HashMap::new();
    for (name, id) in image::names(storage)? {
        names.entry(id).or_default().push(name);
    }
    let mut rows = Vec::new();
    // Read when it is needed: most images have names.
    let mut family: Option<image::Family> = None;
    for image in image::lists::all(storage)? {
        let names = names.remove(&image.id).unwrap_or_default();
        let is_between = names.is_empty() && {
            let family = match &mut family {
                Some(known) => known,
                unread => unread.insert(image::Family::of(storage)?),
            };
            family.has_children(&image)
        };
        if is_between && !all {
            continue;
        }
        let Some(shown) = filters.pass(&image, &names) else {
            continue;
        };
        let image = std::rc::Rc::new(image);
        let history = past.then(|| image::history(storage, &image.id, &names).into());
        let names = std::rc::Rc::new(names);
        let row = |name: Option<Reference>| ImageRow {
            name,
            image: image.clone(),
            names: names.clone(),
            history: history.clone(),
            containers: counts.get(&image.id).copied().unwrap_or(0),
            is_dangling: names.is_empty() && !is_between,
            whole_id: whole_ids,
            listed: json,
        };
        if shown.is_empty() {
            rows.push(row(None));
        }
        rows.extend(shown.into_iter().map(|name| row(Some(name))));
    }
    Ok(rows)
}

fn sort(rows: &mut [ImageRow], by: Sort) {
    match by {
        // They come so.
        Sort::Created => {}
        Sort::Id => rows.sort_by(|a, b| a.image.id.cmp(&b.image.id)),
        Sort::Repository => rows.sort_by_key(|row| (row.repository(), row.tag())),
        Sort::Size => rows.sort_by_key(|row| row.image.size),
        Sort::Tag => rows.sort_by_key(ImageRow::tag),
    }
}

/// One name of an image, or an image that has none.
struct ImageRow {
    name: Option<Reference>,
    image: std::rc::Rc<Image>,
    names: std::rc::Rc<Vec<Reference>>,
    /// With the names it had, where that is asked for.
    history: Option<std::rc::Rc<Vec<String>>>,
    containers: u64,
    /// It has no name, and none was made of it.
    is_dangling: bool,
    whole_id: bool,
    /// For `--format json`, whose rows are not quite those of `{{json .}}`.
    listed: bool,
}

const NONE: &str = "<none>";

impl ImageRow {
    fn repository(&self) -> String {
        let name = self.name.as_ref();
        name.map_or_else(|| NONE.to_owned(), Reference::name)
    }

    fn tag(&self) -> String {
        let tag = self.name.as_ref().and_then(Reference::tag);
        tag.unwrap_or(NONE).to_owned()
    }

    fn id(&self) -> String {
        if self.whole_id {
            format!("sha256:{}", self.image.id)
        } else {
            self.image.id.short().to_owned()
        }
    }

    fn names(&self) -> Vec<String> {
        self.names.iter().map(ToString::to_string).collect()
    }

    fn history(&self) -> Vec<String> {
        match &self.history {
            Some(all) => all.to_vec(),
            None => self.names.iter().rev().map(ToString::to_string).collect(),
        }
    }

    /// `2.43 MB`
    fn size(&self) -> String {
        let size = human::size(self.image.size, 3);
        let unit = size.find(char::is_alphabetic).unwrap_or(size.len());
        format!("{} {}", &size[..unit], &size[unit..])
    }

    fn summary(&self) -> Summary<'_> {
        let labels = &self.image.config.labels;
        Summary {
            repository: (!self.listed).then(|| self.repository()),
            tag: (!self.listed).then(|| self.tag()),
            id: self.image.id.as_str(),
            repo_tags: Some(self.names()).filter(|names| !self.listed && !names.is_empty()),
            repo_digests: repo_digests(&self.image, &self.names),
            created: (!self.listed).then(|| self.image.made().as_second()),
            size: self.image.size,
            virtual_size: self.image.size,
            labels: (!labels.is_empty()).then_some(labels),
            containers: self.containers,
            dangling: self.is_dangling,
            digest: self.image.digest.as_str(),
            history: self.history(),
            names: self.names(),
            created_last: self.listed.then(|| self.image.made().as_second()),
            created_at: self.listed.then(|| {
                let at = self.image.made().round(jiff::Unit::Second);
                seconds(at.unwrap_or_else(|_| self.image.made()))
            }),
            ..Summary::default()
        }
    }
}

fn seconds(at: jiff::Timestamp) -> String {
    let whole = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
    crate::output::value::Time(Some(whole)).rfc3339()
}

/// The repositories of an image with each of its digests, in order.
pub fn repo_digests(image: &Image, names: &[Reference]) -> Vec<String> {
    let mut digests: Vec<String> = names
        .iter()
        .flat_map(|name| {
            image
                .digests()
                .map(|digest| format!("{}@{digest}", name.name()))
        })
        .collect();
    digests.sort();
    digests.dedup();
    digests
}

/// Podman's entities.ImageSummary.
#[derive(Default, serde::Serialize)]
#[serde(rename = "types.ImageSummary", rename_all = "PascalCase")]
struct Summary<'a> {
    #[serde(rename = "repository", skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(rename = "tag", skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    id: &'a str,
    parent_id: &'a str,
    repo_tags: Option<Vec<String>>,
    repo_digests: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    size: u64,
    shared_size: u64,
    virtual_size: u64,
    labels: Option<&'a BTreeMap<String, String>>,
    containers: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dangling: bool,
    digest: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(rename = "Created", skip_serializing_if = "Option::is_none")]
    created_last: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

impl Row for ImageRow {
    fn type_name(&self) -> &str {
        "images.imageReporter"
    }

    fn field(&self, name: &str) -> Option<Value> {
        let image = &self.image;
        let whole = jiff::Timestamp::from_second(image.made().as_second());
        let made = whole.unwrap_or_else(|_| image.made());
        Some(match name {
            "ImageSummary" => crate::output::value::to_value(&self.summary()).ok()?,
            "IsReadOnly" => Value::Bool(false),
            "IsDangling" => Value::Bool(self.names.is_empty()),
            "Repository" => Value::text(self.repository()),
            "Tag" => Value::text(self.tag()),
            "ID" => Value::text(self.id()),
            "Id" => Value::text(&image.id),
            "Digest" => Value::text(&image.digest),
            "Created" | "CreatedSince" => Value::text(human::ago(made)),
            "CreatedAt" | "CreatedTime" => Value::text(Value::time(made).to_string()),
            "Size" => Value::text(self.size()),
            "VirtualSize" => Value::Int(image.size as i64),
            "SharedSize" => Value::Int(0),
            "Names" | "RepoTags" => Value::texts(self.names()),
            "RepoDigests" => Value::texts(repo_digests(image, &self.names)),
            "ParentId" | "Arch" | "Os" => Value::text(""),
            "Labels" => Value::map(&image.config.labels),
            "Containers" => Value::Int(self.containers as i64),
            "ReadOnly" => Value::Bool(false),
            "Dangling" => Value::Bool(self.names.is_empty()),
            "History" => Value::text(self.history().join(", ")),
            "IsManifestList" => match is_index(&image.manifest_type) {
                true => Value::Bool(true),
                false => Value::Nil,
            },
            _ => return None,
        })
    }

    fn print(&self) -> String {
        let image = &self.image;
        format!(
            "{{{} {} {{{}  {} {} {} {} 0 {} {} {} false {}  {} {} <nil> {} }}}}",
            self.repository(),
            self.tag(),
            image.id,
            Value::texts(self.names()),
            Value::texts(repo_digests(image, &self.names)),
            image.made().as_second(),
            image.size,
            image.size,
            Value::map(&image.config.labels),
            self.containers,
            self.names.is_empty(),
            image.digest,
            Value::texts(self.history()),
            Value::texts(self.names()),
        )
    }

    fn json(&self) -> serde_json::Value {
        serde_json::to_value(self.summary()).unwrap_or_default()
    }
}
