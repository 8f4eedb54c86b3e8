use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::named;
use crate::cli::args::target::Target;
use crate::cli::{Example, exactly};
use crate::container::volumes;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::output::{Output, Progress};
use crate::sys::file::open_dir;
use crate::volume::{self, Compression};

/// Write the files of a volume to a tar archive
///
/// Writes to standard output, unless --output names a file. Owners are those that
/// containers with the default id map see; extended attributes, hard links and
/// holes are kept. An archive with holes of a megabyte or more is read by GNU tar,
/// bsdtar, Podman and Docker, not by BusyBox. VOLUME@SNAPSHOT writes a snapshot.
#[derive(clap::Args)]
pub struct Args {
    /// Write to FILE; compressed if its name ends in .gz, .tgz, .zst or .tzst
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[arg(value_name = "VOLUME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume export model_output --output model_output.tar.zst",
        does: "Keep a volume's files in a compressed archive.",
    },
    Example {
        line: "coracle volume export model_output | tar -t",
        does: "List what a volume has.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    let storage = &engine.storage;
    if args.output.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::usage(
            "cannot write to terminal, use command-line redirection or the --output flag",
        ));
    }
    let (volume, snapshot) = named::find(storage, &args.names[0])?;
    let place = volumes::mounting_place(engine)?;
    let lent = volumes::lent(engine, &volume)?;
    let open = || match &snapshot {
        Some(snapshot) => {
            let path = volume::snapshot_data(storage, &volume.name, &snapshot.name);
            open_dir(&path).tried(|| format!("open {}", path.display()))
        }
        None => volumes::open(storage, &volume, lent.as_ref(), &place),
    };
    let progress = match args.output.is_some() {
        true => named::copying(engine, "exporting", &volume.name)?,
        false => Progress::new("", None),
    };
    let tried = || format!("export volume {}", volume.name);
    match &args.output {
        None => {
            output.flush();
            let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
            let out = File::from(stdout);
            volume::export(engine, &volume, open, &out, Compression::None, &()).tried(tried)?;
        }
        Some(path) => {
            let target = Target::open(path, |path, words| {
                let shown = path.to_string_lossy();
                format!("unable to create target file path {shown:?}: open {shown}: {words}")
            })?;
            let compression = Compression::of(path);
            volume::export(engine, &volume, open, &target.file, compression, &progress)
                .tried(tried)?;
            target.finish().tried(tried)?;
        }
    }
    Ok(0)
}
