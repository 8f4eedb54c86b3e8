use super::Entry;
use crate::cli::args::registry;
use crate::cli::{Example, at_least};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::lists::{self, Add};
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

    /// Make an artifact of files; not there yet
    #[arg(long, hide = true)]
    artifact: bool,

    #[arg(long, hide = true, value_name = "PATH")]
    artifact_config: Option<String>,

    #[arg(long, hide = true, value_name = "TYPE")]
    artifact_config_type: Option<String>,

    #[arg(long, hide = true)]
    artifact_exclude_titles: bool,

    #[arg(long, hide = true, value_name = "TYPE")]
    artifact_layer_type: Option<String>,

    #[arg(long, hide = true, value_name = "IMAGE")]
    artifact_subject: Option<String>,

    #[arg(long, hide = true, value_name = "TYPE")]
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
    let has_artifact = args.artifact
        || args.artifact_exclude_titles
        || [
            &args.artifact_config,
            &args.artifact_config_type,
            &args.artifact_layer_type,
            &args.artifact_subject,
            &args.artifact_type,
        ]
        .iter()
        .any(|it| it.is_some());
    if has_artifact {
        return Err(Error::unsupported("--artifact"));
    }
    let storage = &engine.storage;
    let said = args.entry.said()?;
    let options = args.registry.options()?;
    let list = lists::find_list(storage, &args.names[0])?;
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
