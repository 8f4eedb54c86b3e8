use super::steps::Steps;
use crate::cli::Example;
use crate::cli::args::push;
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::image::lists::{self, ListFormat};
use crate::image::{self, Format, PushList};
use crate::output::Output;

/// Push an image to a registry
///
/// Sends an image under its own name or to DESTINATION. What the registry has
/// already, in this repository or in another one of the image's names, is not sent
/// again; an image that has not changed since it was pulled keeps its digest.
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

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle push app registry.example.com/team/app:1.2",
    does: "Push an image under another name.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let (name, to) = push::operands(&args.names)?;
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
            let to = push::destination(to, &image)?;
            let push = image::Push {
                image: &image,
                to: &to,
                options: &options,
                format,
                compression,
                force_compression,
            };
            let digest = image::push(engine, &push, &mut |step| steps.tell(step))?;
            image::note(&engine.storage, "push", &image.id, typed);
            digest
        }
        Err(error) => match lists::find_list(&engine.storage, name) {
            // Of a list with no image for this machine all is meant, as with Podman.
            Ok(list) if error.kind() == Kind::NotFound => {
                let to = push::destination(to, &list.as_image()?)?;
                let push = PushList {
                    list: &list,
                    to: &to,
                    options: &options,
                    all: true,
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
