use std::collections::HashSet;

use crate::cli::Example;
use crate::container::remove::Removal;
use crate::container::{self, Container};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::{ContainerId, ImageId};
use crate::image::{self, Done, Image, Reference};
use crate::output::{Output, Waiting};
use crate::storage::Storage;
use crate::volume;

/// Remove one or more images from local storage
///
/// An image that has more names than the one given only loses that one. An image
/// that a container is made of is kept, unless --force is given. Ends with 1 if
/// there is no such image, with 2 if it is in use.
#[derive(clap::Args)]
pub struct Args {
    /// Remove all images
    #[arg(short, long)]
    all: bool,

    /// Remove the containers made of an image too
    #[arg(short, long)]
    force: bool,

    /// A missing image is no error
    #[arg(short, long)]
    ignore: bool,

    /// Keep the image's parents that have no name
    #[arg(long)]
    no_prune: bool,

    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle rmi app",
        does: "Remove an image.",
    },
    Example {
        line: "coracle rmi --all --force",
        does: "Remove every image, and every container.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.all && !args.names.is_empty() {
        return Err(Error::usage(
            "when using the --all switch, you may not pass any images names or IDs",
        ));
    }
    if !args.all && args.names.is_empty() {
        return Err(Error::usage("image name or ID must be specified"));
    }
    let _waiting = Waiting::new(engine.thread, "removing images");
    container::sweep(engine)?;
    let mut done = Vec::new();
    let mut errors = Vec::new();
    let mut targets = Vec::new();
    if args.all {
        let mut all = image::lists::all(&engine.storage)?;
        all.sort_by_key(|image| image.stored);
        targets.extend(all.into_iter().map(|image| (image, None)));
    }
    for text in &args.names {
        match image::lists::find_either(&engine.storage, text) {
            Ok(image) => targets.push((image, Some(text.as_str()))),
            Err(error) if error.kind() == Kind::NotFound && (args.ignore || args.force) => {}
            Err(error) if error.kind() == Kind::Usage => return Err(error),
            Err(error) => errors.push(error),
        }
    }
    let mut family = image::Family::of(&engine.storage)?;
    for (image, typed) in &targets {
        let ancestors = family.ancestors(image);
        match remove(engine, image, *typed, args.force) {
            Ok(mut more) => {
                let is_gone = more.iter().any(|it| matches!(it, Done::Deleted(_)));
                // Its layers stay: podman does not call that deleted.
                if family.has_children(image) {
                    more.retain(|it| matches!(it, Done::Untagged(_)));
                }
                done.extend(more);
                if is_gone {
                    family.forget(&image.id);
                }
                if is_gone && !args.no_prune {
                    let users = |id: &_| users(&engine.storage, id);
                    let gone = image::remove_ancestors(engine, &mut family, ancestors, &users)?;
                    done.extend(gone.into_iter().map(|it| Done::Deleted(it.id)));
                }
            }
            // Named twice, or taken away meanwhile by another command.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => errors.push(error),
        }
    }
    image::collect_layers(engine)?;
    report(output, &done);
    fail(output, errors)
}

/// What was untagged, then what was deleted.
pub fn report(output: &mut Output, done: &[Done]) {
    for it in done {
        if let Done::Untagged(name) = it {
            output.line(format_args!("Untagged: {name}"));
        }
    }
    for it in done {
        if let Done::Deleted(id) = it {
            output.line(format_args!("Deleted: {id}"));
        }
    }
}

/// Shows what failed, and gives the exit code.
pub fn fail(output: &mut Output, errors: Vec<Error>) -> Result<u8> {
    let has = |kind| errors.iter().any(|error| error.kind() == kind);
    let known = |error: &Error| matches!(error.kind(), Kind::NotFound | Kind::InUse);
    let code = match () {
        () if errors.is_empty() => 0,
        () if !errors.iter().all(known) => 125,
        () if has(Kind::InUse) => 2,
        () => 1,
    };
    match errors.as_slice() {
        [] => {}
        [one] => output.error(one),
        many => {
            let lines: Vec<String> = many.iter().map(|error| format!("\n\t* {error}")).collect();
            output.error(&Error::other(format!(
                "{} errors occurred:{}",
                many.len(),
                lines.concat()
            )));
        }
    }
    Ok(code)
}

/// Removes one image, or of one with several names that which was `typed`
/// (libimage, Image.remove).
pub fn remove(
    engine: &Engine,
    image: &Image,
    typed: Option<&str>,
    force: bool,
) -> Result<Vec<Done>> {
    let storage = &engine.storage;
    let names = image.names(storage)?;
    if let Some(typed) = typed
        && names.len() > 1
    {
        let by_id = |typed: &str| image.id.as_str().starts_with(typed);
        match &image.name {
            Some(name) if !by_id(typed) => {
                let name = untagged(name, &names);
                if image::untag_one(storage, image, &name)? {
                    return Ok(vec![Done::Untagged(name.to_string())]);
                }
            }
            _ if force => {}
            _ => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                return Err(Error::other(format!(
                    "unable to delete image \"{}\" by ID with more than one tag ([{}]): please force removal",
                    image.id,
                    names.join(" ")
                )));
            }
        }
    }
    if force {
        let how = Removal {
            force: true,
            timeout: None,
            volumes: true,
        };
        for container in made_of(storage, &image.id)? {
            container::remove::remove(engine, &container, how)?;
        }
    }
    image::remove(engine, image, &|id| users(storage, id))
}

/// The containers that are made of the image `id` or mount it; an error if a volume
/// shows it.
pub fn users(storage: &Storage, id: &ImageId) -> Result<Vec<ContainerId>> {
    for volume in volume::list(storage)? {
        if volume.image.as_ref().is_some_and(|image| image.id == *id) {
            let name = &volume.name;
            return Err(Error::new(
                Kind::InUse,
                format!("image used by volume {name}: image is in use by a volume"),
            )
            .hint(format!("`coracle volume rm {name}` removes the volume")));
        }
    }
    let containers = made_of(storage, id)?;
    Ok(containers.into_iter().map(|it| it.record.id).collect())
}

/// The images that containers are made of or mount, but for containers that are
/// `going`, and those that volumes show.
pub fn used(storage: &Storage, going: &[ContainerId]) -> Result<HashSet<ImageId>> {
    let mut used = HashSet::new();
    let mut containers = container::list(storage)?;
    containers.retain(|it| !going.contains(&it.record.id));
    for container in containers {
        used.extend(container.record.options.mounted_images().cloned());
        used.insert(container.record.image.id);
    }
    let volumes = volume::list(storage)?.into_iter();
    used.extend(volumes.filter_map(|volume| Some(volume.image?.id)));
    Ok(used)
}

/// The name an image was found by, as it has it: by tag and digest, it is the tag's.
fn untagged(name: &Reference, names: &[Reference]) -> Reference {
    let plain = name.without_digest();
    match names.contains(&plain) {
        true => plain,
        false => name.clone(),
    }
}

/// The containers that are made of the image `id` or mount it.
pub fn made_of(storage: &Storage, id: &ImageId) -> Result<Vec<Container>> {
    let mut containers = container::list(storage)?;
    containers.retain(|it| {
        it.record.image.id == *id || it.record.options.mounted_images().any(|it| it == id)
    });
    Ok(containers)
}
