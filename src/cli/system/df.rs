use std::collections::{HashMap, HashSet};

use crate::cli::Example;
use crate::cli::container::ps;
use crate::cli::volume::history;
use crate::container::{self, Container, State};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::{DiffId, ImageId};
use crate::image::{self, Image, Reference};
use crate::output::value::{Row, Value, to_value};
use crate::output::{Listing, Output, Waiting, human, listing};
use crate::storage::Storage;
use crate::volume::{self, Usage, Volume};

/// Show what images, containers and volumes take on disk
///
/// For each how many there are, how many of them are in use, and how much room
/// removing the others would make. Volumes are measured by the blocks of their files,
/// holes left out, snapshots included.
#[derive(clap::Args)]
pub struct Args {
    /// Format the output with a Go template, or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle system df",
        does: "Show what is on disk, and what of it is not in use.",
    },
    Example {
        line: "coracle system df --verbose",
        does: "Show it thing by thing: for volumes when each was last used, and what it was made for.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle system df` takes no arguments"));
    }
    if args.verbose && args.format.is_some() {
        return Err(Error::usage("cannot combine --format and --verbose flags"));
    }
    let waiting = Waiting::new(engine.thread, "counting");
    let found = Found::new(engine)?;
    drop(waiting);
    if args.verbose {
        found.print_all(engine, output)?;
        return Ok(0);
    }
    let rows = found.summaries();
    if args.format.as_deref().is_some_and(listing::asks_json) {
        let lines: Vec<String> = rows
            .iter()
            .map(|row| format!("    {}", row.json()))
            .collect();
        output.line(format_args!("[\n{}\n]", lines.join(",\n")));
        return Ok(0);
    }
    let listing = Listing {
        command: "df",
        columns: r"{{.Type}}\t{{.Total}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        headers: &[
            ("Type", "TYPE"),
            ("Total", "TOTAL"),
            ("Active", "ACTIVE"),
            ("Size", "SIZE"),
            ("Reclaimable", "RECLAIMABLE"),
            ("RawSize", "RAW SIZE"),
            ("RawReclaimable", "RAW RECLAIMABLE"),
        ],
        format: args.format.as_deref(),
        heading: true,
    };
    listing.print(output, rows)?;
    Ok(0)
}

/// All that takes room, measured.
struct Found {
    images: Vec<(Image, ImageSize)>,
    containers: Vec<(Container, u64)>,
    volumes: Vec<(Volume, Usage, usize)>,
    names: HashMap<ImageId, Vec<Reference>>,
    /// Of all images, what they share counted once.
    images_size: u64,
    /// What builds keep beside images; `None` where that is nothing.
    builds: Option<Builds>,
}

/// Steps and cache mounts: how many, and what those take that no image has.
struct Builds {
    steps: usize,
    mounts: usize,
    size: u64,
}

impl Builds {
    fn new(engine: &Engine, images: &[Image]) -> Result<Option<Self>> {
        let storage = &engine.storage;
        let steps = crate::build::cache::list(storage)?;
        let mounts = storage.list(&crate::build::cache::mounts(storage))?;
        if steps.is_empty() && mounts.is_empty() {
            return Ok(None);
        }
        let used: HashSet<_> = images.iter().flat_map(|image| &image.layers).collect();
        let own: HashSet<_> = (steps.iter())
            .filter_map(|step| step.entry.as_ref()?.layer.clone())
            .filter(|layer| !used.contains(layer))
            .collect();
        let mut paths: Vec<_> = own.iter().map(|layer| storage.layer(layer)).collect();
        paths.push(storage.builds());
        Ok(Some(Self {
            steps: steps.len(),
            mounts: mounts.len(),
            size: engine.disk_usage(&paths)?.into_iter().sum(),
        }))
    }
}

/// An image's size as Podman counts it, by the tars of its layers.
#[derive(Clone, Copy, Default)]
struct ImageSize {
    shared: u64,
    unique: u64,
}

impl Found {
    fn new(engine: &Engine) -> Result<Self> {
        let storage = &engine.storage;
        let images = image::list(storage)?;
        let (sizes, images_size) = image_sizes(storage, &images)?;
        let containers = container::list(storage)?;
        let own = ps::own_sizes(engine, &containers)?;
        let volumes = volume::list(storage)?;
        let names: Vec<_> = volumes.iter().map(|it| it.name.clone()).collect();
        let usage = volume::usage(engine, &names)?;
        let mut measured = Vec::with_capacity(volumes.len());
        for (volume, usage) in volumes.into_iter().zip(usage) {
            let links = container::users_of_volume(storage, &volume.name)?.len();
            measured.push((volume, usage, links));
        }
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for (name, id) in image::names(storage)? {
            names.entry(id).or_default().push(name);
        }
        let builds = Builds::new(engine, &images)?;
        Ok(Self {
            names,
            builds,
            images: images.into_iter().zip(sizes).collect(),
            containers: containers.into_iter().zip(own).collect(),
            volumes: measured,
            images_size,
        })
    }

    /// The containers that are made of an image.
    fn made_of(&self, image: &Image) -> usize {
        let containers = self.containers.iter();
        containers
            .filter(|(it, _)| it.record.image.id == image.id)
            .count()
    }

    fn summaries(&self) -> Vec<Summary> {
        let is_used = |image: &Image| self.made_of(image) > 0;
        let unused = self.images.iter().filter(|(image, _)| !is_used(image));
        // As Podman: a name is an image.
        let names = |image: &Image| self.names.get(&image.id).map_or(1, Vec::len);
        let running = |it: &Container| it.status.state == State::Running;
        let at_rest = self.containers.iter().filter(|(it, _)| !running(it));
        let dangling = self.volumes.iter().filter(|(_, _, links)| *links == 0);
        let mut all = vec![
            Summary {
                kind: "Images",
                total: self.images.iter().map(|(it, _)| names(it)).sum(),
                active: self.images.iter().filter(|(it, _)| is_used(it)).count(),
                size: self.images_size,
                reclaimable: unused.map(|(_, size)| size.unique).sum(),
            },
            Summary {
                kind: "Containers",
                total: self.containers.len(),
                active: self.containers.iter().filter(|(it, _)| running(it)).count(),
                size: self.containers.iter().map(|(_, size)| size).sum(),
                reclaimable: at_rest.map(|(_, size)| size).sum(),
            },
            Summary {
                kind: "Local Volumes",
                total: self.volumes.len(),
                active: self
                    .volumes
                    .iter()
                    .filter(|(_, _, links)| *links > 0)
                    .count(),
                size: self.volumes.iter().map(|(_, usage, _)| usage.total()).sum(),
                reclaimable: dangling.map(|(_, usage, _)| usage.total()).sum(),
            },
        ];
        all.extend(self.builds.iter().map(|builds| Summary {
            kind: "Build Cache",
            total: builds.steps + builds.mounts,
            active: 0,
            size: builds.size,
            reclaimable: builds.size,
        }));
        all
    }

    /// Thing by thing.
    fn print_all(&self, engine: &Engine, output: &mut Output) -> Result<()> {
        output.line("Images space usage:\n");
        let mut rows = Vec::new();
        for (image, size) in &self.images {
            let row = |name: Option<&Reference>| {
                to_value(&ImageRow {
                    repository: name.map_or("<none>".into(), Reference::name),
                    tag: name.and_then(Reference::tag).unwrap_or("<none>").into(),
                    id: image.id.short(),
                    created: since(image.made()),
                    size: human::size(size.shared + size.unique, 4),
                    shared: human::size(size.shared, 4),
                    unique: human::size(size.unique, 4),
                    containers: self.made_of(image),
                })
            };
            match self.names.get(&image.id) {
                Some(names) => rows.extend(names.iter().map(|name| row(Some(name)))),
                None => rows.push(row(None)),
            }
        }
        print(output, IMAGES, rows.into_iter().collect::<Result<_>>()?)?;
        output.line("\nContainers space usage:\n");
        let rows = self.containers.iter().map(|(container, size)| {
            let record = &container.record;
            to_value(&ContainerRow {
                id: record.id.short(),
                image: record.image.shown_id().get(..12).unwrap_or_default(),
                command: record.options.command.join(" "),
                volumes: record.volumes().count(),
                size: human::size(*size, 4),
                created: since(record.created),
                status: container.status.state.word(),
                name: record.name.as_str(),
            })
        });
        print(output, CONTAINERS, rows.collect::<Result<_>>()?)?;
        output.line("\nLocal Volumes space usage:\n");
        let mut rows = Vec::new();
        for (volume, usage, links) in &self.volumes {
            rows.push(to_value(&VolumeRow {
                name: volume.name.as_str(),
                links: *links,
                size: human::size(usage.total(), 4),
                last_used: history::last_use(&engine.storage, &volume.name)?.text(),
                origin: history::origin(volume),
            })?);
        }
        print(output, VOLUMES, rows)
    }
}

/// How long ago, as Podman says it here.
fn since(at: jiff::Timestamp) -> String {
    human::duration(jiff::Timestamp::now().as_second() - at.as_second())
}

type Headers = &'static [(&'static str, &'static str)];

const IMAGES: Headers = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Id", "IMAGE ID"),
    ("Created", "CREATED"),
    ("Size", "SIZE"),
    ("Shared", "SHARED SIZE"),
    ("Unique", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];

const CONTAINERS: Headers = &[
    ("Id", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("Volumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("Created", "CREATED"),
    ("Status", "STATUS"),
    ("Name", "NAMES"),
];

const VOLUMES: Headers = &[
    ("Name", "VOLUME NAME"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("LastUsed", "LAST USED"),
    ("Origin", "ORIGIN"),
];

/// A table with a column for each header.
fn print(output: &mut Output, headers: Headers, rows: Vec<Value>) -> Result<()> {
    let columns: Vec<String> = headers
        .iter()
        .map(|(field, _)| format!("{{{{.{field}}}}}"))
        .collect();
    let listing = Listing {
        command: "df",
        columns: &columns.join(r"\t"),
        headers,
        format: None,
        heading: true,
    };
    listing.print_values(output, rows)
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageRow<'a> {
    repository: String,
    tag: String,
    id: &'a str,
    created: String,
    size: String,
    shared: String,
    unique: String,
    containers: usize,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerRow<'a> {
    id: &'a str,
    image: &'a str,
    command: String,
    volumes: usize,
    size: String,
    created: String,
    status: &'a str,
    name: &'a str,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeRow<'a> {
    name: &'a str,
    links: usize,
    size: String,
    last_used: String,
    origin: String,
}

/// Podman's dfSummary.
struct Summary {
    kind: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

impl Summary {
    fn reclaimable_text(&self) -> String {
        let percent = match self.size {
            0 => 0.0,
            size => self.reclaimable as f64 / size as f64 * 100.0,
        };
        format!("{} ({percent:.0}%)", human::size(self.reclaimable, 4))
    }
}

impl Row for Summary {
    fn type_name(&self) -> &str {
        "*system.dfSummary"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Type" => Value::text(self.kind),
            "Total" => Value::Int(self.total as i64),
            "Active" => Value::Int(self.active as i64),
            "Size" => Value::text(human::size(self.size, 4)),
            "Reclaimable" => Value::text(self.reclaimable_text()),
            "RawSize" => Value::Int(self.size as i64),
            "RawReclaimable" => Value::Int(self.reclaimable as i64),
            _ => return None,
        })
    }

    fn print(&self) -> String {
        format!(
            "{{{} {} {} {} {}}}",
            self.kind, self.total, self.active, self.size, self.reclaimable
        )
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "Type": self.kind,
            "Total": self.total,
            "Active": self.active,
            "RawSize": self.size,
            "RawReclaimable": self.reclaimable,
            "TotalCount": self.total,
            "Size": human::size(self.size, 4),
            "Reclaimable": self.reclaimable_text(),
        })
    }
}

/// The size of each image, and of all together.
fn image_sizes(storage: &Storage, images: &[Image]) -> Result<(Vec<ImageSize>, u64)> {
    let mut layers: HashMap<&DiffId, (u64, usize)> = HashMap::new();
    for image in images {
        for id in &image.layers {
            let (_, count) = match layers.get_mut(id) {
                Some(found) => found,
                None => {
                    let size = storage.read_layer(id)?.map_or(0, |layer| layer.size);
                    layers.entry(id).or_insert((size, 0))
                }
            };
            *count += 1;
        }
    }
    let mut total: u64 = layers.values().map(|(size, _)| size).sum();
    let mut sizes = Vec::with_capacity(images.len());
    for image in images {
        let own = image.layers.iter().map(|id| layers[id]);
        let all: u64 = own.clone().map(|(size, _)| size).sum();
        let shared = own.filter(|(_, count)| *count > 1).map(|(size, _)| size);
        let shared = shared.sum::<u64>().min(image.size);
        // What is no layer: config and manifests.
        total += image.size.saturating_sub(all);
        sizes.push(ImageSize {
            shared,
            unique: image.size - shared,
        });
    }
    Ok((sizes, total))
}
