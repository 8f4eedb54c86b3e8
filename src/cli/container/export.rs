use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::cli::args::target::Target;
use crate::cli::{Example, exactly};
use crate::container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::progress::copying;
use crate::output::{Output, Progress};

/// Export a container's filesystem contents as a tar archive
///
/// Writes to standard output, unless --output names a file. Owners are the image's ids,
/// whatever the container's id map; extended attributes, hard links and holes are
/// kept. What is mounted in the container, volumes too, is not part of it.
#[derive(clap::Args)]
pub struct Args {
    /// Write to FILE
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle export --output web.tar web",
        does: "Keep the files of the container web in an archive.",
    },
    Example {
        line: "coracle export web | tar -t",
        does: "List what the container web has.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    if let Some(path) = &args.output {
        let path = path.to_string_lossy();
        if path.contains(':') {
            return Err(Error::usage(format!(
                "invalid filename (should not contain ':') {path:?}"
            )));
        }
    } else if std::io::stdout().is_terminal() {
        return Err(Error::usage(
            "refusing to export to terminal. Use -o flag or redirect",
        ));
    }
    container::sweep(engine)?;
    let found = container::find(&engine.storage, &args.names[0])?;
    let Some(path) = &args.output else {
        output.flush();
        let out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        container::export::export(engine, &found, &out, Some(copying), &())?;
        container::events::note(&engine.storage, &found.record, "export");
        return Ok(0);
    };
    let target = Target::open(path, |path, words| {
        format!("open {}: {words}", path.display())
    })?;
    let progress = Progress::new(format!("exporting {}", found.record.name), None);
    container::export::export(engine, &found, &target.file, Some(copying), &progress)?;
    target.finish()?;
    container::events::note(&engine.storage, &found.record, "export");
    Ok(0)
}
