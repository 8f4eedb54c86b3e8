use super::Entry;
use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::image::lists;
use crate::output::Output;
use crate::registry::Options;

/// Add or update information about an entry in a manifest list or image index
///
/// The entry is named by its digest, or by an image of the store that it is.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    entry: Entry,

    /// Set the annotations on the list itself
    #[arg(long)]
    index: bool,

    /// Say that it needs these features of the operating system
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,

    /// Make the list one about this image
    #[arg(long, value_name = "IMAGE")]
    subject: Option<String>,

    #[arg(value_name = "LIST IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest annotate --index --annotation team=web all-app",
    does: "Say something of a whole list.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.names.is_empty() || args.names.len() > 2 {
        return Err(Error::usage(format!(
            "accepts between 1 and 2 arg(s), received {}",
            args.names.len()
        )));
    }
    let mut said = args.entry.said()?;
    said.os_features.clone_from(&args.os_features);
    let storage = &engine.storage;
    let list = lists::find_list(storage, &args.names[0])?;
    if args.index {
        if let Some(what) = of_an_entry(&said) {
            return Err(Error::usage(format!(
                "setting {what} on an item in a manifest list requires an instance digest"
            )));
        }
        let subject = args.subject.as_deref().filter(|it| !it.is_empty());
        let subject = subject
            .map(|text| lists::subject(engine, text, &Options::default()))
            .transpose()?;
        lists::change(storage, &list, |list| {
            list.annotations.extend(said.annotations);
            if subject.is_some() {
                list.subject = subject;
            }
            Ok(())
        })?;
    } else {
        let Some(text) = args.names.get(1) else {
            return Err(Error::usage(
                "expected an instance digest, image name, or artifact name",
            ));
        };
        lists::change(storage, &list, |list| {
            let at = list
                .entry(storage, text)
                .tried(|| format!("finding instance for {text:?}"))?;
            lists::annotate(list, at, &said);
            Ok(())
        })?;
    }
    output.line(&list.id);
    Ok(0)
}

/// What is said that a whole list cannot have, in Podman's words.
fn of_an_entry(said: &lists::Said) -> Option<&'static str> {
    match () {
        () if said.architecture.is_some() => Some("architecture"),
        () if !said.features.is_empty() => Some("features"),
        () if said.os.is_some() => Some("OS"),
        () if !said.os_features.is_empty() => Some("OS features"),
        () if said.os_version.is_some() => Some("OS version"),
        () if said.variant.is_some() => Some("variant"),
        () => None,
    }
}
