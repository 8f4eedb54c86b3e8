use std::path::PathBuf;

use crate::cli::Example;
use crate::container::image_mount;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{self, Image};
use crate::output::{Output, json, table};

/// Mount an image's root filesystem
///
/// Works in a shell of `coracle unshare`, as long as that runs. The image is shown
/// read-only; without an image those that are mounted are listed.
#[derive(clap::Args)]
pub struct Args {
    /// Mount all images
    #[arg(short, long)]
    all: bool,

    /// Print as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle unshare sh -c 'ls $(coracle image mount app)'",
    does: "List an image's files.",
}];

/// A row of `--format json`, by Podman's names.
#[derive(serde::Serialize)]
struct Row {
    id: String,
    #[serde(rename = "Names")]
    names: Vec<String>,
    #[serde(rename = "Repositories")]
    repositories: Vec<String>,
    mountpoint: String,
}

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let storage = &engine.storage;
    let is_json = is_json(args.format.as_deref())?;
    must_be_inside("image mount")?;
    if args.all && !args.names.is_empty() {
        return Err(Error::usage(
            "when using the --all switch, you may not pass any image names or IDs",
        ));
    }
    let mut mounted: Vec<(Image, PathBuf)> = Vec::new();
    if args.all || args.names.is_empty() {
        for image in image::list(storage)? {
            let place = match args.all {
                true => Some(mount(engine, &image)?),
                false => image_mount::mounted(engine, &image),
            };
            mounted.extend(place.map(|place| (image, place)));
        }
    } else {
        let find = |name: &String| image::find(storage, name);
        let images = args.names.iter().map(find).collect::<Result<Vec<_>>>()?;
        for image in images {
            let place = mount(engine, &image)?;
            mounted.push((image, place));
        }
    }
    if is_json {
        let mut rows = Vec::new();
        for (image, place) in &mounted {
            rows.push(Row {
                id: image.id.to_string(),
                names: vec![image.digest.to_string()],
                repositories: names(engine, image)?,
                mountpoint: place.display().to_string(),
            });
        }
        output.line(json::indented(&rows, 1)?);
        return Ok(0);
    }
    if let ([(_, place)], [_]) = (&mounted[..], &args.names[..]) {
        output.line(place.display());
        return Ok(0);
    }
    let mut text = String::new();
    for (image, place) in &mounted {
        let name = names(engine, image)?.into_iter().next();
        let name = name.unwrap_or_else(|| image.id.to_string());
        text.push_str(&format!("{name}\t{}\n", place.display()));
    }
    output.text(&table::align(&text));
    Ok(0)
}

fn mount(engine: &Engine, image: &Image) -> Result<PathBuf> {
    let place = image_mount::mount(engine, image)?;
    image::note(&engine.storage, "mount", &image.id, "");
    Ok(place)
}

fn names(engine: &Engine, image: &Image) -> Result<Vec<String>> {
    let names = image.names(&engine.storage)?;
    Ok(names.iter().map(ToString::to_string).collect())
}

/// Outside of the user namespace nobody can mount, and nobody would see it.
pub fn must_be_inside(command: &str) -> Result<()> {
    match crate::userns::is_inside() {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "cannot run command \"coracle {command}\" in rootless mode, must execute `coracle unshare` first"
        ))),
    }
}

/// Whether `--format` of a list of mounts asks for JSON, which is all that it knows.
pub fn is_json(format: Option<&str>) -> Result<bool> {
    match format {
        None | Some("") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(Error::usage(format!(
            "unknown --format argument: {other:?}"
        ))),
    }
}
