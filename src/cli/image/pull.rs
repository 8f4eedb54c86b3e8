use super::refused::OfPull;
use super::steps::{Steps, chooser, warn_of_platform};
use crate::cli::args::{image as which, registry};
use crate::cli::{Example, at_least};
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{self, Place};
use crate::output::Output;

/// Pull image(s) from a registry, a file or a folder
///
/// A name without a registry is one of those registries.conf says, else
/// docker.io's. Layers are fetched side by side and unpacked while they arrive; a
/// broken connection goes on where it broke, and layers that are here are not
/// fetched again. Prints the id of each image.
///
/// dir:PATH, oci:PATH[:REFERENCE], oci-archive:PATH[:REFERENCE] and
/// docker-archive:PATH[:NAME] name images on this machine (containers-transports(5));
/// of a docker-archive without a name all are taken.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    registry: registry::Args,

    #[command(flatten)]
    refused: OfPull,

    /// Pull every tag of the repository
    #[arg(short, long)]
    all_tags: bool,

    /// Take the image for this architecture
    #[arg(long, value_name = "ARCH", alias = "override-arch")]
    arch: Option<String>,

    /// Take the image for this operating system
    #[arg(long, value_name = "OS", alias = "override-os")]
    os: Option<String>,

    /// Take the image for this platform: OS/ARCH or OS/ARCH/VARIANT
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,

    /// When to pull the image: always, missing, newer or never
    #[arg(long, value_name = "POLICY", default_value = "always")]
    policy: String,

    /// Print only the ids
    #[arg(short, long)]
    quiet: bool,

    /// Take the image for this variant of the architecture
    #[arg(long, value_name = "VARIANT", alias = "override-variant")]
    variant: Option<String>,

    /// Docker's flag, which does nothing
    #[arg(long, hide = true)]
    disable_content_trust: bool,

    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle pull registry.example.com/team/app:1.2",
        does: "Pull an image.",
    },
    Example {
        line: "coracle pull --policy newer --quiet app",
        does: "Pull an image if the registry has a newer one, and print its id.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    at_least(1, args.names.len())?;
    args.refused.check()?;
    let wanted = which::platform(&args.platform, &args.os, &args.arch, &args.variant)?;
    let policy = which::policy(&args.policy)?;
    let options = args.registry.options()?;
    container::sweep(engine)?;
    for name in &args.names {
        if let Some(place) = Place::parse(name, "pulling from")? {
            if args.all_tags {
                return Err(Error::usage(format!(
                    "pulling all tags is not supported for {} transport",
                    place.transport()
                )));
            }
            output.flush();
            let mut steps = Steps::new(output, args.quiet);
            for loaded in image::load_from(engine, &place, &mut |step| steps.tell(step))? {
                warn_of_platform(output, &loaded.image, &wanted);
                image::note(&engine.storage, "pull", &loaded.image.id, name);
                // A line a name, as Podman.
                for _ in 0..loaded.names.len().max(1) {
                    output.line(&loaded.image.id);
                }
            }
            continue;
        }
        let names = match args.all_tags {
            true => image::all_tags(engine, name, &options)?,
            false => vec![name.clone()],
        };
        for name in names {
            let pull = image::Pull {
                text: &name,
                policy,
                wanted: &wanted,
                options: &options,
                choose: chooser(),
            };
            // Children that are forked from here on must have nothing to write.
            output.flush();
            let mut steps = Steps::new(output, args.quiet);
            let image = image::pull(engine, &pull, &mut |step| steps.tell(step))?;
            warn_of_platform(output, &image, &wanted);
            output.line(&image.id);
        }
    }
    Ok(0)
}
