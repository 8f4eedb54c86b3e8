use crate::cli::args::select::latest;
use crate::cli::{Command, Example, Session, changes};
use crate::container::diff::{self, Side};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::{container, image};

#[derive(clap::Args)]
struct Common {
    /// Print `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Inspect changes to the file systems of containers and images
///
/// Shows what a container changed of its image, or an image's last layer of those
/// below it; with a second name, what the first has that the second has not. A is
/// added, C changed, D deleted. A name is an image's if there is one of that name.
/// Files that are made in every container (/etc/hosts, /etc/resolv.conf…) are left out.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,

    #[arg(value_name = "CONTAINER|IMAGE")]
    names: Vec<String>,
}

/// Inspect changes to a container's file system
///
/// Shows what a container changed of its image, or of another container or image. A is
/// added, C changed, D deleted.
#[derive(clap::Args)]
pub struct ContainerArgs {
    #[command(flatten)]
    common: Common,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,

    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

/// Inspect changes to an image's file system
///
/// Shows what an image's last layer changes of those below it, or the image of
/// another one. A is added, C changed, D deleted.
#[derive(clap::Args)]
pub struct ImageArgs {
    #[command(flatten)]
    common: Common,

    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

/// What a name may be of, in the order in which it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Any,
    Container,
    Image,
}

/// A row of the table for one of the three.
macro_rules! row {
    ($name:literal, $args:ident, $of:expr, $latest:expr, $examples:expr) => {
        Command {
            names: &[$name],
            define: || <$args as clap::Args>::augment_args(clap::Command::new("")),
            run: |matches, session| {
                let args = <$args as clap::FromArgMatches>::from_arg_matches(matches)
                    .map_err(|error| Error::usage(error.to_string()))?;
                let latest: fn(&$args) -> bool = $latest;
                let latest = latest(&args);
                run(args.common, latest, args.names, $of, session)
            },
            examples: $examples,
        }
    };
}

pub const DIFF: Command = row!(
    "diff",
    Args,
    Of::Any,
    |args| args.latest,
    &[
        Example {
            line: "coracle diff web",
            does: "Show what a container changed of its image.",
        },
        Example {
            line: "coracle diff --format json web",
            does: "The same for a program.",
        },
    ]
);

pub const CONTAINER_DIFF: Command = row!(
    "container diff",
    ContainerArgs,
    Of::Container,
    |args| args.latest,
    &[Example {
        line: "coracle container diff web",
        does: "Show what a container changed of its image.",
    }]
);

pub const IMAGE_DIFF: Command = row!(
    "image diff",
    ImageArgs,
    Of::Image,
    |_| false,
    &[Example {
        line: "coracle image diff busybox",
        does: "Show what the last layer of an image changes.",
    }]
);

fn run(
    common: Common,
    is_latest: bool,
    mut names: Vec<String>,
    of: Of,
    session: &Session,
) -> Result<u8> {
    let engine = &session.engine()?;
    if is_latest && !names.is_empty() {
        return Err(Error::usage(
            "--latest and containers cannot be used together",
        ));
    }
    if names.len() > 2 {
        return Err(Error::usage(format!(
            "accepts between 1 and 2 arg(s), received {}",
            names.len()
        )));
    }
    if is_latest {
        names.push(latest(engine)?);
    }
    let Some((name, from)) = names.split_first() else {
        return Err(Error::usage(match of {
            Of::Image => "requires at least 1 arg(s), only received 0".to_owned(),
            Of::Any | Of::Container => {
                let command = if of == Of::Any {
                    "diff"
                } else {
                    "container diff"
                };
                format!("\"podman {command}\" requires a name, id, or the \"--latest\" flag")
            }
        }));
    };
    let is_json = changes::is_json(common.format.as_deref())?;
    container::sweep(engine)?;
    // The last container is one, whatever an image is called.
    let of = if is_latest { Of::Container } else { of };
    let side = find(engine, name, of)?;
    // What is compared with may be of either kind (Podman's `diff` of any).
    let from = from
        .first()
        .map(|from| find(engine, from, if of == Of::Image { of } else { Of::Any }))
        .transpose()?;
    let all = diff::diff(engine, &side, from.as_ref())?;
    changes::print(&all, is_json, &mut session.output())?;
    Ok(0)
}

fn find(engine: &Engine, name: &str, of: Of) -> Result<Side> {
    let storage = &engine.storage;
    let missing = |what: &str| {
        let container = || container::near(storage, name).filter(|_| of != Of::Image);
        let image = || image::near(storage, name).filter(|_| of != Of::Container);
        Error::not_found(format!("{name} not found: {what} not known"))
            .meant(container().or_else(image))
    };
    if of != Of::Container {
        match image::find(storage, name) {
            Ok(image) => return Ok(Side::Image(Box::new(image))),
            Err(error) if of == Of::Image && error.kind() == Kind::NotFound => {
                return Err(missing("image"));
            }
            Err(error) if of == Of::Image => return Err(error),
            // It is no image, or could be none.
            Err(_) => {}
        }
    }
    match container::find(storage, name) {
        Ok(container) => Ok(Side::Container(Box::new(container))),
        Err(error) if error.kind() == Kind::NotFound => Err(missing(match of {
            Of::Any => "layer",
            _ => "container",
        })),
        Err(error) => Err(error),
    }
}
