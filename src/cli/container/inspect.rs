use super::inspected::{Inspected, Sizes, inspected};
use crate::cli::args::select;
use crate::cli::volume::inspect::{VolumeRow, failed, print};
use crate::cli::{Command, Example, Session};
use crate::container::{self, Container};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::image;
use crate::output::value::{Value, to_value};
use crate::storage::Storage;
use crate::volume;

/// Display the configuration of a container, image or volume
///
/// Prints a JSON array, or what --format makes of each object. A name is looked
/// for among containers first, then among images and volumes.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,

    /// What to look for: all, container, image, volume, network or pod
    #[arg(short, long, value_name = "TYPE", default_value = "all")]
    r#type: String,
}

/// Display the configuration of a container
///
/// Prints a JSON array, or what --format makes of each container.
#[derive(clap::Args)]
pub struct ContainerArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Common {
    /// Format the output with a Go template, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Inspect the container created last
    #[arg(short, long)]
    latest: bool,

    /// Show how much disk a container takes
    #[arg(short, long)]
    size: bool,

    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub const INSPECT: Command = Command {
    names: &["inspect"],
    define: || <Args as clap::Args>::augment_args(clap::Command::new("")),
    run: |matches, session| {
        let args = <Args as clap::FromArgMatches>::from_arg_matches(matches)
            .map_err(|error| Error::usage(error.to_string()))?;
        let wanted = Wanted::parse(&args.r#type)?;
        run(args.common, wanted, session)
    },
    examples: &[
        Example {
            line: "coracle inspect --format '{{.State.Status}}' web",
            does: "Show what a container is doing.",
        },
        Example {
            line: "coracle inspect --type volume model_output",
            does: "Show a volume, whatever else has its name.",
        },
    ],
};

pub const CONTAINER_INSPECT: Command = Command {
    names: &["container inspect"],
    define: || <ContainerArgs as clap::Args>::augment_args(clap::Command::new("")),
    run: |matches, session| {
        let args = <ContainerArgs as clap::FromArgMatches>::from_arg_matches(matches)
            .map_err(|error| Error::usage(error.to_string()))?;
        run(args.common, Wanted::Container, session)
    },
    examples: &[Example {
        line: "coracle container inspect --format '{{json .Mounts}}' web",
        does: "Show what a container has mounted.",
    }],
};

/// `--type`
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    Container,
    Image,
    Volume,
    Network,
    Pod,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "all" | "" => Self::All,
            "container" => Self::Container,
            "image" => Self::Image,
            "volume" => Self::Volume,
            "network" => Self::Network,
            "pod" => Self::Pod,
            _ => {
                return Err(Error::usage(format!(
                    "invalid type {text:?}: must be \"image\", \"container\", \"pod\", \"network\", \"volume\", \"artifact\", or \"all\""
                )));
            }
        })
    }

    /// The name that may have been meant.
    fn near(self, storage: &Storage, name: &str) -> Option<String> {
        let container = || container::near(storage, name);
        let image = || image::near(storage, name);
        let volume = || volume::near(storage, name);
        match self {
            Self::All => container().or_else(image).or_else(volume),
            Self::Container => container(),
            Self::Image => image(),
            Self::Volume => volume(),
            Self::Network | Self::Pod => None,
        }
    }

    /// Podman's words for a name that is none of these.
    fn missing(self, name: &str) -> Error {
        Error::not_found(match self {
            Self::All => format!("no such object: {name:?}"),
            Self::Container => format!("no such container {name:?}"),
            Self::Image => format!("{name}: image not known"),
            Self::Volume => format!("no such volume {name}"),
            Self::Network => format!(
                "network {name}: unable to find network with name or ID {name}: network not found"
            ),
            Self::Pod => format!("no such pod {name}"),
        })
    }
}

fn run(mut args: Common, wanted: Wanted, session: &Session) -> Result<u8> {
    let engine = session.engine()?;
    let output = &mut session.output();
    container::sweep(&engine)?;
    if args.latest {
        if !args.names.is_empty() {
            return Err(Error::usage(
                "--latest and arguments cannot be used together",
            ));
        }
        match optional(select::latest(&engine))? {
            Some(name) => args.names.push(name),
            None => {
                output.line("[]");
                return Err(Error::not_found(
                    "no containers to inspect: no such container",
                ));
            }
        }
    }
    if args.names.is_empty() {
        return Err(Error::usage("no names or ids specified"));
    }
    let mut rows = Vec::new();
    let mut missing = Vec::new();
    for name in &args.names {
        match object(&engine, name, wanted, args.size) {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => {
                let meant = wanted.near(&engine.storage, name);
                missing.push(wanted.missing(name).meant(meant));
            }
            // What cannot be an image's name.
            Err(error) if wanted == Wanted::Image && error.kind() == Kind::Usage => {
                missing.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    let format = args.format.as_deref().map(in_podmans_words);
    print(output, format.as_deref(), rows)?;
    failed(output, missing.into_iter())
}

/// Docker's names of some fields are taken for Podman's.
fn in_podmans_words(format: &str) -> String {
    format
        .replace(".Src", ".Source")
        .replace(".Dst", ".Destination")
        .replace(".State.Healthcheck", ".State.Health")
}

/// The object `name`, as a template and JSON show it.
fn object(engine: &Engine, name: &str, wanted: Wanted, size: bool) -> Result<Option<Value>> {
    let storage = &engine.storage;
    let is = |kind| wanted == Wanted::All || wanted == kind;
    if is(Wanted::Container)
        && let Some(found) = optional(container::find(storage, name))?
    {
        return container_row(engine, &found, size).map(Some);
    }
    if is(Wanted::Image) {
        match optional(image::find(storage, name)) {
            Ok(None) => {}
            Ok(Some(found)) => return crate::cli::image::inspect::row(storage, &found).map(Some),
            // It may be the name of something else.
            Err(error) if wanted == Wanted::All && error.kind() == Kind::Usage => {}
            Err(error) => return Err(error),
        }
    }
    if is(Wanted::Volume)
        && let Some(found) = optional(volume::find(storage, name))?
    {
        return Ok(Some(Value::object(VolumeRow::new(
            storage,
            found,
            "interface {}",
        ))));
    }
    Ok(None)
}

fn optional<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn container_row(engine: &Engine, found: &Container, size: bool) -> Result<Value> {
    let sizes = size.then(|| sizes(engine, found)).transpose()?;
    let inspected: Inspected = inspected(engine, found, sizes)?;
    to_value(&inspected)
}

fn sizes(engine: &Engine, found: &Container) -> Result<Sizes> {
    let upper = engine.storage.container(&found.record.id).join("upper");
    let own = engine.in_namespace(|| Ok(super::ps::container_size(&upper)))?;
    let image = image::by_id(&engine.storage, &found.record.image.id)?;
    Ok(Sizes {
        own,
        root: own + image.map_or(0, |image| image.size),
    })
}
