use std::path::{Path, PathBuf};

use crate::cli::Example;
use crate::cli::image::steps::Steps;
use crate::container;
use crate::container::commit::{self, Commit, Override};
use crate::engine::Engine;
use crate::error::{Error, Result, words};
use crate::image::{Format, Reference};
use crate::output::Output;
use crate::output::progress::copying;

/// Create new image based on the changed container
///
/// Makes an image of a container as it is now, running or not: the layers of its own
/// image, and one with what the container changed. Owners are the image's ids,
/// whatever the container's id map. What is mounted in it, volumes too, is no part of
/// it. The image is there whole or not at all.
#[derive(clap::Args)]
pub struct Args {
    /// Author of the image
    #[arg(short, long, value_name = "AUTHOR")]
    author: Option<String>,

    /// Change the image's config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, MAINTAINER, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR, and its value (HEALTHCHECK, ONBUILD and SHELL are kept with --format docker only)
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,

    /// Merge the config in FILE, in JSON as Docker has it, into the image's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Format of the image: `oci` or `docker`
    #[arg(short, long, value_name = "FORMAT", default_value = "oci")]
    format: String,

    /// Write the id of the image to FILE
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,

    /// Make the destinations of all mounts volumes of the image
    #[arg(long)]
    include_volumes: bool,

    /// Comment of the image; with --format docker only
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Let the container stand still meanwhile
    #[arg(short, long)]
    pause: bool,

    /// Print only the id
    #[arg(short, long)]
    quiet: bool,

    /// Make one layer of all files
    #[arg(short, long)]
    squash: bool,

    /// CONTAINER [IMAGE]
    #[arg(value_name = "CONTAINER")]
    operands: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle commit web web:changed",
        does: "Make an image of the container web.",
    },
    Example {
        line: "coracle commit -q --pause --change 'CMD [\"/bin/sh\"]' web web:shell",
        does: "The same, with another command, while the container stands still.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let (name, image) = match args.operands.as_slice() {
        [name] => (name, None),
        [name, image] => (name, Some(image)),
        other => {
            return Err(Error::usage(format!(
                "accepts between 1 and 2 arg(s), received {}",
                other.len()
            )));
        }
    };
    let format = match args.format.as_str() {
        "oci" => Format::Oci,
        "docker" => Format::Docker,
        other => {
            return Err(Error::usage(format!("unrecognized image format {other:?}")));
        }
    };
    let config = args.config.as_deref().map(read_config).transpose()?;
    container::sweep(engine)?;
    let found = container::find(&engine.storage, name)?;
    let image = image
        .map(|image| Reference::local(image.strip_prefix("containers-storage:").unwrap_or(image)))
        .transpose()
        .map_err(
            |error| match error.to_string().split_once(": repository name must") {
                // Podman's words, without those of the name it would have had.
                Some((_, rest)) => Error::usage(format!(
                    "parsing reference {:?}: repository name must{rest}",
                    image.map_or("", String::as_str)
                )),
                None => error,
            },
        )?;
    let how = Commit {
        name: image,
        author: args.author.unwrap_or_default(),
        message: args.message.unwrap_or_default(),
        changes: args.change,
        config,
        format,
        include_volumes: args.include_volumes,
        squash: args.squash,
        pause: args.pause,
        progress: Some(copying),
    };
    let mut steps = Steps::waiting(output, args.quiet, engine.thread, "committing");
    let made = commit::commit(engine, &found, how, &mut |step| steps.tell(step))?;
    if let Some(file) = &args.iidfile {
        std::fs::write(file, made.id.as_str()).map_err(|error| {
            let words = words(&error);
            Error::other(format!("open {}: {words}", file.display()))
                .tried("failed to write image ID")
        })?;
    }
    container::events::note(&engine.storage, &found.record, "commit");
    output.line(&made.id);
    Ok(0)
}

fn read_config(file: &Path) -> Result<Override> {
    let text = std::fs::read(file)
        .map_err(|error| Error::other(format!("open {}: {}", file.display(), words(&error))))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::usage(format!("{}: {error}", file.display())))
}
