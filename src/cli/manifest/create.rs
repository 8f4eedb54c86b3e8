use crate::cli::{Example, at_least};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image::lists::{self, Add, Said};
use crate::image::{self, Reference};
use crate::output::Output;
use crate::registry::Options;

/// Create a manifest list or image index
///
/// Stores a list under a name, with the images given. One that is made with --all
/// from a registry's index alone is that index to the byte.
#[derive(clap::Args)]
pub struct Args {
    /// Add every image of a list
    #[arg(long)]
    all: bool,

    /// Use the list of that name if there is one
    #[arg(short, long)]
    amend: bool,

    /// Set an annotation of the list
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,

    /// Require HTTPS and check certificates
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::parse_bool)]
    tls_verify: Option<bool>,

    #[arg(value_name = "LIST IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest create all-app app",
    does: "Make a list with one image.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    at_least(1, args.names.len())?;
    let storage = &engine.storage;
    let options = Options {
        tls_verify: args.tls_verify,
        ..Options::default()
    };
    let annotations = super::annotations(&args.annotation)?;
    let reference = Reference::local(&args.names[0])?;
    if reference.tag().is_none() {
        return Err(Error::usage(format!(
            "{}: a list is named by a tag",
            args.names[0]
        )));
    }
    let there = match image::lists::find_list(storage, &reference.to_string()) {
        Ok(list) if args.amend => Some(list),
        Ok(list) => return Err(taken(&reference, list.id.as_str())),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(_) => {
            let image = image::find(storage, &reference.to_string())?;
            return Err(taken(&reference, image.id.as_str()));
        }
    };
    let said = Said::default();
    let add = |text: &String| {
        let wanted = Add {
            text,
            all: args.all,
            said: &said,
            options: &options,
        };
        lists::look(engine, &wanted)
    };
    // Before there is a list: nothing is left of one that fails.
    let added = args.names[1..]
        .iter()
        .map(add)
        .collect::<Result<Vec<_>>>()?;
    let list = match there {
        Some(list) => list,
        None => lists::create(storage, &reference, Default::default())
            .tried(|| format!("create manifest list {reference}"))?,
    };
    lists::change(storage, &list, |list| {
        for added in added {
            lists::add(list, added);
        }
        list.annotations.extend(annotations);
        Ok(())
    })?;
    output.line(&list.id);
    Ok(0)
}

/// Podman's words, but for a flag that there is none of.
fn taken(reference: &Reference, id: &str) -> Error {
    Error::new(
        Kind::Exists,
        format!("image name \"{reference}\" is already associated with image \"{id}\": that name is already in use"),
    )
    .hint("`--amend` adds to a list that is there")
}
