use std::collections::BTreeMap;

use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::output::Output;
use crate::sys::file::Durable;
use crate::volume::{self, Volume};

/// Create a new volume
///
/// Makes an empty volume and prints its name; without a name it gets one of 64
/// hexadecimal digits. The first container that uses it fills it with the files
/// its image has at that place.
#[derive(clap::Args)]
pub struct Args {
    /// Who keeps the volume: only `local` is there
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,

    /// Do not fail if a volume of that name exists
    #[arg(long)]
    ignore: bool,

    /// Set metadata, KEY or KEY=VALUE; may be repeated
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,

    /// Set an option of the driver: type=, device=, o=, copy, nocopy
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    opt: Vec<String>,

    /// Give the volume to the user with this id in the container
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,

    /// Give the volume to the group with this id in the container
    #[arg(long, value_name = "GID")]
    gid: Option<u32>,

    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume create model_output",
        does: "Make a volume that keeps what containers write.",
    },
    Example {
        line: "coracle volume create --label project=demo --opt type=tmpfs --opt device=tmpfs --opt o=size=64m scratch",
        does: "Make a volume in memory, with a label.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.names.len() > 1 {
        return Err(Error::usage(format!(
            "accepts at most 1 arg(s), received {}",
            args.names.len()
        )));
    }
    let name = match args.names.first().filter(|name| !name.is_empty()) {
        Some(name) => name.parse().tried(|| "running volume create option")?,
        None => Name::random(),
    };
    check_driver(&args.driver, &name, &args.opt)?;
    let parsed = volume::parse_options(&args.opt)?;
    let wanted = Volume {
        labels: labels(&args.label)?,
        options: parsed.options,
        uid: args.uid.or(parsed.uid),
        gid: args.gid.or(parsed.gid),
        ..Volume::new(name)
    };
    if args.ignore {
        volume::ensure(&engine.storage, &wanted, Durable::Yes)?;
    } else {
        volume::create(&engine.storage, &wanted)?;
    }
    output.line(&wanted.name);
    Ok(0)
}

fn check_driver(driver: &str, name: &Name, options: &[String]) -> Result<()> {
    match driver {
        "" | "local" => Ok(()),
        "image" if !options.iter().any(|option| option.starts_with("image=")) => Err(Error::usage(
            "must provide an image name when creating a volume with the image driver: invalid argument",
        )),
        "image" => Err(Error::unsupported("--driver=image")),
        other => Err(Error::usage(format!(
            "volume {name} uses volume plugin {other} but it could not be retrieved: no volume plugin with name {other} available: required plugin missing"
        ))),
    }
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>> {
    let pairs = given.iter().map(|label| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if key.is_empty() {
            return Err(Error::usage(format!(
                "unable to process labels: invalid label format: {label:?}"
            )));
        }
        Ok((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}
