use std::fs::File;

use crate::cli::{Example, exactly};
use crate::container::{running_users_of_volume, volumes};
use crate::engine::Engine;
use crate::error::{Error, Result, words};
use crate::output::{Output, Progress};
use crate::sys::file;
use crate::volume;

/// Put the files of a tar archive into a volume
///
/// SOURCE is an archive, compressed with gzip or zstd or not at all, or - for
/// standard input. What it has takes the place of what the volume has under the same
/// names; the rest stays. All of it comes at once or, if anything is wrong with the
/// archive, nothing. A volume that a running container has is unpacked into in place,
/// once the archive has been unpacked beside it without an error. Names that lead out of
/// the volume, with .. or through links, are taken as seen from its root; devices are
/// left out.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "VOLUME SOURCE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume import model_output model_output.tar.zst",
        does: "Fill a volume from an archive.",
    },
    Example {
        line: "coracle volume import model_output - <model_output.tar",
        does: "Fill a volume from standard input.",
    },
];

pub fn run(args: Args, engine: &Engine, _output: &mut Output) -> Result<u8> {
    exactly(2, args.names.len())?;
    let (name, source) = (&args.names[0], &args.names[1]);
    let from = match source.as_str() {
        "-" => file::stdin()?,
        path => File::open(path).map_err(|error| {
            let why = words(&error);
            Error::other(format!("unable open input file: open {path}: {why}"))
        })?,
    };
    let storage = &engine.storage;
    let volume = volume::find(storage, name)?;
    let found = from.metadata()?;
    if found.is_dir() {
        return Err(Error::other(format!(
            "extracting into volume {}: read {source}: is a directory",
            volume.name
        )));
    }
    let total = found.is_file().then_some(found.len());
    let progress = Progress::new(format!("importing {}", volume.name), total);
    let place = volumes::mounting_place(engine)?;
    let lent = volumes::lent(engine, &volume)?;
    volume::import(
        engine,
        &volume,
        || volumes::open(storage, &volume, lent.as_ref(), &place),
        from,
        || Ok(!running_users_of_volume(storage, &volume.name)?.is_empty()),
        &progress,
    )?;
    Ok(0)
}
