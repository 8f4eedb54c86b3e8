use super::steps::Steps;
use crate::cli::Example;
use crate::cli::args::push::{self, Destination};
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::Digest;
use crate::image::lists::{self, ListFormat};
use crate::image::manifest::OCI_MANIFEST;
use crate::image::{self, Compression, Format, Image, Layout, Place, PushList, Reference};
use crate::image::{Save, SaveTarget, Saved};
use crate::output::Output;

/// Push an image to a registry, a file or a folder
///
/// Sends an image under its own name or to DESTINATION. What the registry has
/// already, in this repository or in another one of the image's names, is not sent
/// again; an image that has not changed since it was pulled keeps its digest.
///
/// DESTINATION may also be dir:PATH, oci:PATH[:REFERENCE], oci-archive:PATH[:REFERENCE]
/// or docker-archive:PATH[:NAME] (containers-transports(5)): the image keeps its id there.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    push: push::Args,

    /// Send a manifest of this kind: oci or v2s2
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Docker's flag, which does nothing
    #[arg(long, hide = true)]
    disable_content_trust: bool,

    #[arg(value_name = "IMAGE [DESTINATION]")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle push app registry.example.com/team/app:1.2",
        does: "Push an image under another name.",
    },
    Example {
        line: "coracle push app oci:layout:1.2",
        does: "Write an image to a folder of OCI's layout.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let (name, to) = push::operands(&args.names)?;
    args.push.check()?;
    let typed = to.unwrap_or(name);
    let options = args.push.registry.options()?;
    let format = match args.format.as_deref() {
        None | Some("") => None,
        Some("oci") => Some(Format::Oci),
        Some("v2s2" | "docker") => Some(Format::Docker),
        Some("v2s1") => return Err(Error::unsupported("--format v2s1")),
        Some(other) => {
            return Err(Error::usage(format!(
                "unknown format {other:?}. Choose on of the supported formats: 'oci', 'v2s1', or 'v2s2'"
            )));
        }
    };
    let compression = args.push.compression()?;
    let force_compression = args.push.force_compression;
    container::sweep(engine)?;
    let mut steps = Steps::new(output, args.push.quiet);
    let digest = match image::find(&engine.storage, name) {
        Ok(image) => {
            let digest = match push::destination(to, &image)? {
                Destination::Place(place) => {
                    write(engine, &image, &place, (format, compression), &mut steps)?
                }
                Destination::Registry(to) => {
                    let push = image::Push {
                        image: &image,
                        to: &to,
                        options: &options,
                        format,
                        compression,
                        force_compression,
                    };
                    image::push(engine, &push, &mut |step| steps.tell(step))?
                }
            };
            image::note(&engine.storage, "push", &image.id, typed);
            digest
        }
        Err(error) => match lists::find_list(&engine.storage, name) {
            // Of a list with no image for this machine all is meant, as with Podman.
            Ok(list) if error.kind() == Kind::NotFound => {
                let to = push::destination(to, &list.as_image()?)?;
                let push = PushList {
                    list: &list,
                    to: to.of_list(),
                    options: &options,
                    all: true,
                    more: &[],
                    format: format.map(|it| match it {
                        Format::Oci => ListFormat::Oci,
                        Format::Docker => ListFormat::Docker,
                    }),
                    compression,
                    force_compression,
                };
                image::push_list(engine, &push, &mut |step| steps.tell(step))?
            }
            _ => return Err(error),
        },
    };
    args.push.note(&digest)?;
    Ok(0)
}

/// Writes an image to a file or folder.
fn write(
    engine: &Engine,
    image: &Image,
    place: &Place,
    (format, compression): (Option<Format>, Option<Compression>),
    steps: &mut Steps,
) -> Result<Digest> {
    if matches!(
        compression,
        Some(Compression::Zstd(_) | Compression::Chunked(_))
    ) {
        return Err(Error::unsupported(format_args!(
            "--compression-format zstd with {}:",
            place.transport()
        )));
    }
    let is_there = std::fs::metadata(&place.path).is_ok_and(|it| it.is_file() && it.len() > 0);
    if is_there && place.layout == Layout::DockerArchive {
        return Err(Error::other(format!(
            "initializing destination {place}: docker-archive doesn't support modifying existing images"
        )));
    }
    let own = image.name.clone().filter(|name| name.tag().is_some());
    let given = match place.layout {
        Layout::DockerArchive => place.reference.as_deref(),
        _ => None,
    };
    let given = given.map(Reference::normalized).transpose()?;
    let own_format = match image.manifest_type == OCI_MANIFEST {
        true => Format::Oci,
        false => Format::Docker,
    };
    let saved = Saved {
        names: given.into_iter().chain(own).collect(),
        ref_name: place.reference.clone(),
        image: image.clone(),
    };
    let save = Save {
        images: &[saved],
        layout: place.layout,
        compress: matches!(place.layout, Layout::OciFolder | Layout::OciArchive),
        format: format.unwrap_or(own_format),
        target: SaveTarget::Path(&place.path),
    };
    steps.tell(image::Step::Begun);
    let digests = image::save(engine, &save, &mut |step| steps.tell(step))?;
    digests
        .into_iter()
        .next()
        .ok_or_else(|| Error::other("no manifest was written"))
}
