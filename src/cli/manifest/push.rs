use crate::cli::Example;
use crate::cli::args::push;
use crate::cli::image::steps::Steps;
use crate::container;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::image::lists::{self, ListFormat};
use crate::image::{self, PushList};
use crate::output::Output;

/// Push a manifest list or image index to a registry, a file or a folder
///
/// Sends the images of a list, then the list, under its own name or to DESTINATION.
/// What the registry has already is not sent again; an image of a registry goes from
/// there as it is.
///
/// DESTINATION may also be dir:PATH, oci:PATH[:REFERENCE] or oci-archive:PATH[:REFERENCE]
/// (containers-transports(5)).
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    push: push::Args,

    /// Send every image once more, compressed by this: gzip, zstd or zstd:chunked
    #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
    add_compression: Vec<String>,

    /// Send the images, too
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true",
          hide_default_value = true, value_parser = crate::cli::parse_bool)]
    all: bool,

    /// Send a list of this kind: oci or v2s2
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Docker's way to say --rm
    #[arg(short, long, hide = true)]
    purge: bool,

    /// Remove the list when it has been sent
    #[arg(long)]
    rm: bool,

    #[arg(value_name = "LIST [DESTINATION]")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle manifest push all-app registry.example.com/team/app:1.2",
    does: "Push a list and its images.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let (name, to) = push::operands(&args.names)?;
    args.push.check()?;
    let options = args.push.registry.options()?;
    let format = match args.format.as_deref() {
        None | Some("") => None,
        Some("oci") => Some(ListFormat::Oci),
        Some("v2s2" | "docker") => Some(ListFormat::Docker),
        Some(other) => {
            return Err(Error::usage(format!(
                "unknown format {other:?}. Choose one of the supported formats: 'oci' or 'v2s2'"
            )));
        }
    };
    let compression = args.push.compression()?;
    let mut more = Vec::new();
    for format in &args.add_compression {
        let found = push::compression(Some(format), None)
            .tried(|| format!("requested algorithm {format} is not supported for replication"))?;
        more.extend(found);
    }
    container::sweep(engine)?;
    let list = lists::find_list(&engine.storage, name)?;
    let to = push::destination(to, &list.as_image()?)?;
    let push = PushList {
        list: &list,
        to: to.of_list(),
        options: &options,
        all: args.all,
        more: &more,
        format,
        compression,
        force_compression: args.push.force_compression,
    };
    let mut steps = Steps::new(output, args.push.quiet);
    let digest = image::push_list(engine, &push, &mut |step| steps.tell(step))?;
    args.push.note(&digest)?;
    if args.rm || args.purge {
        image::remove(engine, &list.as_image()?, &|_| Ok(Vec::new()))?;
    }
    Ok(0)
}
