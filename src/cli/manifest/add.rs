use std::path::PathBuf;

use super::Entry;
use crate::cli::args::registry;
use crate::cli::{Example, at_least};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::Artifact;
use crate::image::lists::{self, Add, List, Said};
use crate::output::Output;

/// Add images to a manifest list or image index
///
/// An image of the store is taken before one of a registry, unless it is named with
/// `docker://`; one of a registry stays there until the list is pushed. Of an image
/// that is a list itself, the one for this machine is added, or with --all each.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    entry: Entry,

    #[command(flatten)]
    registry: registry::Args,

    /// Add every image of a list
    #[arg(long)]
    all: bool,

    /// Make one artifact of files, and add that
    #[arg(long)]
    artifact: bool,

    /// Take this file for the artifact's config
    #[arg(long, value_name = "PATH")]
    artifact_config: Option<PathBuf>,

    /// Say what the artifact's config is
    #[arg(long, value_name = "TYPE")]
    artifact_config_type: Option<String>,

    /// Do not keep the names of the artifact's files
    #[arg(long)]
    artifact_exclude_titles: bool,

    /// Say what the artifact's files are
    #[arg(long, value_name = "TYPE")]
    artifact_layer_type: Option<String>,

    /// Make the list one about this image, as Podman does by this option
    #[arg(long, value_name = "IMAGE")]
    artifact_subject: Option<String>,

    /// Say what the artifact is
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,

    #[arg(value_name = "LIST IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest add --arch arm64 all-app registry.example.com/team/app:arm",
    does: "Add an image of a registry for another architecture.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    at_least(2, args.names.len())?;
    let storage = &engine.storage;
    let said = args.entry.said()?;
    let options = args.registry.options()?;
    let list = lists::find_list(storage, &args.names[0])?;
    if args.artifact {
        return artifact(&args, engine, &list, &said, output);
    }
    if let Some(flag) = of_artifact(&args) {
        return Err(Error::usage(format!("{flag} requires --artifact")));
    }
    for text in &args.names[1..] {
        let wanted = Add {
            text,
            all: args.all,
            said: &said,
            options: &options,
        };
        let added = lists::look(engine, &wanted)?;
        lists::change(storage, &list, |list| {
            lists::add(list, added);
            Ok(())
        })?;
    }
    output.line(&list.id);
    Ok(0)
}

/// The first flag that is of artifacts alone.
fn of_artifact(args: &Args) -> Option<&'static str> {
    [
        ("--artifact-type", args.artifact_type.is_some()),
        ("--artifact-config", args.artifact_config.is_some()),
        (
            "--artifact-config-type",
            args.artifact_config_type.is_some(),
        ),
        ("--artifact-layer-type", args.artifact_layer_type.is_some()),
        ("--artifact-exclude-titles", args.artifact_exclude_titles),
        ("--artifact-subject", args.artifact_subject.is_some()),
    ]
    .into_iter()
    .find_map(|(flag, is_given)| is_given.then_some(flag))
}

fn artifact(
    args: &Args,
    engine: &Engine,
    list: &List,
    said: &Said,
    output: &mut Output,
) -> Result<u8> {
    let given = |text: &'_ Option<String>| text.clone().filter(|it| !it.is_empty());
    let (kind, config_type) = (
        given(&args.artifact_type),
        given(&args.artifact_config_type),
    );
    let layer_type = given(&args.artifact_layer_type);
    let artifact = Artifact {
        files: &args.names[1..],
        kind: kind.as_deref(),
        config: args.artifact_config.as_deref(),
        config_type: config_type.as_deref(),
        layer_type: layer_type.as_deref(),
        titles: !args.artifact_exclude_titles,
    };
    let options = args.registry.options()?;
    let subject = given(&args.artifact_subject);
    let subject = subject
        .map(|text| lists::subject(engine, &text, &options))
        .transpose()?;
    lists::change(&engine.storage, list, |list| {
        lists::add_artifact(list, &artifact, said)?;
        if subject.is_some() {
            list.subject = subject;
        }
        Ok(())
    })?;
    output.line(&list.id);
    Ok(0)
}
