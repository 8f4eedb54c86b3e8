use jiff::Timestamp;

use super::inspect::VolumeRow;
use crate::cli::Example;
use crate::cli::args::filter::Filters;
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::Name;
use crate::output::{Listing, Output, Waiting};
use crate::storage::Storage;
use crate::volume::{self, Volume};

/// List volumes
///
/// Shows every volume, the oldest first.
#[derive(clap::Args)]
pub struct Args {
    /// Show only volumes that match, KEY=VALUE: anonymous, dangling, driver, label, label!, name, opt, scope, since, until
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Format the output with a Go template, or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Do not print the headers
    #[arg(short, long)]
    noheading: bool,

    /// Print only names
    #[arg(short, long)]
    quiet: bool,

    /// Show what each takes on disk, when it was last used, and the container, image
    /// and path that an anonymous one was made for
    #[arg(long)]
    size: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume ls --filter dangling=true",
        does: "Show the volumes that no container uses.",
    },
    Example {
        line: "coracle volume ls --format '{{.Name}} {{.CreatedAt}}'",
        does: "Show names and when they were made.",
    },
    Example {
        line: "coracle volume ls --size --filter dangling=true",
        does: "Show what unused volumes take on disk, and where they came from.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle volume ls` takes no arguments"));
    }
    if args.quiet && args.format.is_some() {
        return Err(Error::usage(
            "quiet and format flags cannot be used together",
        ));
    }
    container::sweep(engine)?;
    let storage = &engine.storage;
    let filters = VolumeFilters::parse(storage, &args.filter)?;
    let mut volumes = volume::list(storage)?;
    volumes.retain(|volume| filters.pass(volume));
    if args.quiet {
        for volume in &volumes {
            output.line(&volume.name);
        }
        return Ok(0);
    }
    let listing = Listing {
        command: "ls",
        columns: match args.size {
            true => r"{{.Driver}}\t{{.Name}}\t{{.Size}}\t{{.LastUsed}}\t{{.Origin}}",
            false => r"{{.Driver}}\t{{.Name}}",
        },
        headers: HEADERS,
        format: args.format.as_deref(),
        heading: !args.noheading,
    };
    let is_measured = args.size || listing.asks_for(".Size");
    let sizes = match is_measured {
        true => {
            let names: Vec<Name> = volumes.iter().map(|it| it.name.clone()).collect();
            let _waiting = Waiting::new(engine.thread, "measuring volumes");
            volume::usage(engine, &names)?
        }
        false => Vec::new(),
    };
    let mut sizes = sizes.into_iter();
    let row = |volume| {
        let row = VolumeRow::new(storage, volume, "*types.VolumeListReport");
        match sizes.next() {
            Some(usage) => row.measured(usage),
            None => row,
        }
    };
    listing.print(output, volumes.into_iter().map(row).collect())?;
    Ok(0)
}

const HEADERS: &[(&str, &str)] = &[
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Mountpoint", "MOUNTPOINT"),
    ("CreatedAt", "CREATED AT"),
    ("Status", "STATUS"),
    ("Labels", "LABELS"),
    ("Scope", "SCOPE"),
    ("Options", "OPTIONS"),
    ("UID", "UID"),
    ("GID", "GID"),
    ("Anonymous", "ANONYMOUS"),
    ("MountCount", "MOUNT COUNT"),
    ("NeedsCopyUp", "NEEDS COPY UP"),
    ("NeedsChown", "NEEDS CHOWN"),
    ("Timeout", "TIMEOUT"),
    ("StorageID", "STORAGE ID"),
    ("LockNumber", "LOCK NUMBER"),
    ("Size", "SIZE"),
    ("LastUsed", "LAST USED"),
    ("Origin", "ORIGIN"),
];

/// `--filter` of `volume ls` and `volume prune`, with what it has to look at.
pub struct VolumeFilters {
    filters: Filters,
    names: Vec<regex::Regex>,
    anonymous: Option<bool>,
    /// Each is one that is wanted.
    dangling: Vec<bool>,
    storage: Storage,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl VolumeFilters {
    pub fn parse(storage: &Storage, given: &[String]) -> Result<Self> {
        let filters = Filters::parse(given, |filter| {
            Error::usage(format!(
                "filter input must be in the form of filter=value: {filter} is invalid"
            ))
        })?;
        let known = [
            "after",
            "all",
            "anonymous",
            "dangling",
            "driver",
            "label",
            "label!",
            "name",
            "opt",
            "scope",
            "since",
            "until",
        ];
        if let Some(unknown) = filters.unknown(&known) {
            return Err(Error::usage(format!(
                "{unknown:?} is an invalid volume filter"
            )));
        }
        let mut since = None;
        for name in filters.values("since").chain(filters.values("after")) {
            let after = volume::find(storage, name)?.created;
            since = since.max(Some(after));
        }
        let dangling = filters.booleans("dangling")?;
        Ok(Self {
            names: filters.patterns("name")?,
            anonymous: filters.boolean("anonymous")?,
            until: filters.until()?,
            dangling,
            storage: storage.clone(),
            since,
            filters,
        })
    }

    pub fn pass(&self, volume: &Volume) -> bool {
        let has_option = |wanted: &str| {
            let (key, value) = wanted.split_once('=').unwrap_or((wanted, ""));
            let given = volume.options.get(key);
            given.is_some_and(|given| value.is_empty() || given == value)
        };
        (self.names.is_empty()
            || self
                .names
                .iter()
                .any(|name| name.is_match(volume.name.as_str())))
            && self.filters.labels(&volume.labels)
            && self.filters.any("driver", |driver| driver == volume.driver)
            && self.filters.any("scope", |scope| scope == "local")
            && self.filters.any("opt", has_option)
            && self
                .anonymous
                .is_none_or(|wanted| wanted == volume.anonymous)
            && (self.dangling.is_empty()
                || self
                    .dangling
                    .contains(&!is_used(&self.storage, &volume.name)))
            && self.since.is_none_or(|since| volume.created > since)
            && self.until.is_none_or(|until| volume.created < until)
    }

    /// Whether prune's `all` filter is given, Docker's spelling of `--all`.
    pub fn all(&self) -> Result<bool> {
        Ok(self.filters.boolean("all")?.unwrap_or(false))
    }
}

/// Whether a container uses the volume. One that cannot be found out is used.
fn is_used(storage: &Storage, name: &Name) -> bool {
    container::users_of_volume(storage, name).map_or(true, |users| !users.is_empty())
}
