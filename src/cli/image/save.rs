use std::path::PathBuf;

use super::steps::Steps;
use crate::cli::Example;
use crate::container;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::image::{self, Format, Layout, Reference, Save, SaveTarget, Saved};
use crate::output::Output;

/// Save image(s) to an archive
///
/// Writes an image to stdout, or to the file or folder of --output. Names behind the
/// first are further names that the image gets in the archive; with
/// --multi-image-archive they are images. The image keeps its id, its layers their
/// diff ids, and files their owners, also where they were unpacked without
/// subordinate ids. A file is there when it is whole: what fails or is interrupted
/// leaves none.
#[derive(clap::Args)]
pub struct Args {
    /// Compress the layers of a docker-dir
    #[arg(long)]
    compress: bool,

    /// How it is laid out: docker-archive, oci-archive, oci-dir or docker-dir
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "docker-archive",
        hide_default_value = true
    )]
    format: String,

    /// Take each name for an image to be saved
    #[arg(short, long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::parse_bool)]
    multi_image_archive: Option<bool>,

    /// Write to this file or folder instead of stdout
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// Print nothing
    #[arg(short, long)]
    quiet: bool,

    /// Leave the layers of OCI's layouts uncompressed
    #[arg(long)]
    uncompressed: bool,

    /// A policy for signatures; nothing is signed
    #[arg(long, hide = true, value_name = "PATH")]
    signature_policy: Option<PathBuf>,

    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle save --output app.tar app",
        does: "Write an image to an archive that Docker and Podman load.",
    },
    Example {
        line: "coracle save --format oci-dir --output layout app",
        does: "Write an image as a folder of OCI's layout.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.names.is_empty() {
        return Err(Error::usage("need at least 1 argument"));
    }
    let layout = match args.format.as_str() {
        "docker-archive" => Layout::DockerArchive,
        "oci-archive" => Layout::OciArchive,
        "oci-dir" => Layout::OciFolder,
        "docker-dir" => Layout::DockerFolder,
        _ => {
            return Err(Error::usage(
                "format value must be one of oci-dir oci-archive docker-dir docker-archive",
            ));
        }
    };
    if args.compress && layout != Layout::DockerFolder {
        return Err(Error::usage(
            "--compress can only be set when --format is 'docker-dir'",
        ));
    }
    let is_multi = match args.multi_image_archive {
        Some(given) => given,
        None => crate::settings::Configuration::read()?.multi_image_archive,
    };
    if is_multi && args.names.len() > 1 && layout != Layout::DockerArchive {
        return Err(Error::usage(format!(
            "unsupported format {:?} for saving multiple images (only docker-archive)",
            args.format
        )));
    }
    let target = target(&args, layout)?;
    container::sweep(engine)?;
    let images = match is_multi {
        true => several(engine, &args.names)?,
        false => vec![one(engine, &args.names)?],
    };
    let save = Save {
        images: &images,
        layout,
        compress: match layout {
            Layout::DockerArchive => false,
            Layout::DockerFolder => args.compress,
            Layout::OciArchive | Layout::OciFolder => !args.uncompressed,
        },
        format: Format::Docker,
        target,
    };
    let mut steps = Steps::waiting(output, args.quiet, engine.thread, "saving");
    image::save(engine, &save, &mut |step| steps.tell(step))?;
    let to = match &save.target {
        SaveTarget::Path(path) => path.to_string_lossy(),
        SaveTarget::Stdout => "-".into(),
    };
    for saved in &images {
        image::note(&engine.storage, "save", &saved.image.id, &to);
    }
    Ok(0)
}

fn target(args: &Args, layout: Layout) -> Result<SaveTarget<'_>> {
    let path = args.output.as_deref();
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        if layout.is_folder() {
            return Err(Error::usage(format!(
                "--format {} writes a folder: give it with --output",
                args.format
            )));
        }
        if crate::sys::pty::isatty(std::io::stdout()) {
            return Err(Error::usage(
                "refusing to save to terminal. Use -o flag or redirect",
            ));
        }
        return Ok(SaveTarget::Stdout);
    };
    let text = path.to_string_lossy();
    if text.contains(':') {
        return Err(Error::usage(format!(
            "invalid filename (should not contain ':') {text:?}"
        )));
    }
    let has_content = std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() > 0);
    if has_content && layout == Layout::DockerArchive {
        return Err(
            Error::other("docker-archive doesn't support modifying existing images").hint(format!(
                "{text} is there: remove it, or choose another name"
            )),
        );
    }
    Ok(SaveTarget::Path(path))
}

/// An image, and more names for it.
fn one(engine: &Engine, names: &[String]) -> Result<Saved> {
    let image = image::find(&engine.storage, &names[0])?;
    let mut all: Vec<Reference> = Vec::new();
    for name in &names[1..] {
        let reference =
            Reference::local(name).tried(|| format!("invalid additional tag {name:?}"))?;
        if reference.tag().is_none() {
            return Err(Error::usage(format!(
                "invalid additional tag {name:?}: normalized to untagged {:?}",
                reference.to_string()
            )));
        }
        all.push(reference);
    }
    all.extend(own_name(&image));
    Ok(Saved::new(image, all))
}

/// Images, each once, with all the names it was given by.
fn several(engine: &Engine, names: &[String]) -> Result<Vec<Saved>> {
    let mut all: Vec<Saved> = Vec::new();
    for name in names {
        let image = image::find(&engine.storage, name)?;
        let own = own_name(&image);
        match all.iter_mut().find(|it| it.image.id == image.id) {
            Some(saved) => saved
                .names
                .extend(own.filter(|it| !saved.names.contains(it))),
            None => all.push(Saved::new(image, own.into_iter().collect())),
        }
    }
    Ok(all)
}

/// The name that it was found by, if it was by one with a tag.
fn own_name(image: &image::Image) -> Option<Reference> {
    image.name.clone().filter(|name| name.tag().is_some())
}
