use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::named;
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
            let target = Target::open(path)?;
            let compression = Compression::of(path);
            volume::export(engine, &volume, open, &target.file, compression, &progress)
                .tried(tried)?;
            target.finish().tried(tried)?;
        }
    }
    Ok(0)
}

/// The file that an archive is written to: beside the one asked for, so that nobody
/// finds half of it there.
struct Target<'a> {
    path: &'a Path,
    beside: Option<PathBuf>,
    file: File,
}

impl<'a> Target<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let tried = |error: std::io::Error| {
            let (shown, words) = (path.display(), crate::cli::args::host::words(&error));
            Error::other(format!(
                "unable to create target file path {:?}: open {shown}: {words}",
                path.to_string_lossy()
            ))
        };
        let is_plain = match std::fs::symlink_metadata(path) {
            Ok(found) => found.is_file(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        let name = path.file_name().filter(|_| is_plain);
        if let Some(name) = name {
            let mut beside = std::ffi::OsString::from(".");
            beside.push(name);
            beside.push(format!(".{}", crate::id::random_hex::<4>()));
            let beside = path.with_file_name(beside);
            match File::options().write(true).create_new(true).open(&beside) {
                Ok(file) => {
                    let beside = Some(beside);
                    return Ok(Self { path, beside, file });
                }
                // The folder may not be ours, and the file be.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(tried(error)),
            }
        }
        let file = File::create(path).map_err(tried)?;
        Ok(Self {
            path,
            beside: None,
            file,
        })
    }

    fn finish(mut self) -> std::io::Result<()> {
        if let Some(beside) = &self.beside {
            self.file.sync_data()?;
            std::fs::rename(beside, self.path)?;
            self.beside = None;
        }
        Ok(())
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = std::fs::remove_file(beside);
        }
    }
}
