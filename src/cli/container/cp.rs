use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::cli::{Example, exactly};
use crate::container;
use crate::container::copy::{self, Copy, End};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::progress::copying;
use crate::output::{Output, Progress};

/// Copy files/folders between a container and the local filesystem
///
/// Copies a file, or a folder and all in it, from the host into a container, out of
/// one, or from one into another, running or not. What is mounted in a container is
/// part of it: volumes and bind mounts always, a tmpfs while it runs. `-` as the
/// source is a tar archive at standard input, as the destination one at standard
/// output.
///
/// A file goes to the path named, or into the folder that is there. A folder is made
/// at the path named if nothing is there, else copied into the folder that is; of
/// `FOLDER/.` the content is copied. Links in a container lead nowhere but in that
/// container.
///
/// What is copied into a container, or out of it as an archive, belongs to the
/// container's user. With --archive=false it keeps its ids: an archive's are those that
/// it says, those of the host's files are what they are in a container of which you are
/// root. What is copied from a container to the host is yours.
#[derive(clap::Args)]
pub struct Args {
    /// Give what is copied to the container's user: into it, or as an archive
    #[arg(short, long, action = clap::ArgAction::Set, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, hide_default_value = true, value_parser = crate::cli::parse_bool)]
    archive: bool,

    /// Let directories take the place of what is none, and the other way round
    #[arg(long)]
    overwrite: bool,

    #[arg(value_name = "CONTAINER:PATH|SOURCE")]
    paths: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle cp results.csv web:/data/",
        does: "Copy a file into a container.",
    },
    Example {
        line: "coracle cp web:/etc/. etc-of-web",
        does: "Copy what is in a folder of a container to a folder here.",
    },
    Example {
        line: "coracle cp web:/etc - | tar -t",
        does: "Show what an archive of a container's folder has.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(2, args.paths.len())?;
    let (from, to) = (&args.paths[0], &args.paths[1]);
    let (source, target) = (parse(from), parse(to));
    if source.1.is_empty() || target.1.is_empty() {
        return Err(Error::usage(format!(
            "invalid arguments {from:?}, {to:?}: you must specify paths"
        )));
    }
    if source.0.is_none() && target.0.is_none() {
        return Err(Error::usage("name or ID cannot be empty")
            .hint("one of the two is a container's, as in `coracle cp file web:/path`"));
    }
    container::sweep(engine)?;
    let from = end(engine, source, Side::Source)?;
    let to = end(engine, target, Side::Target)?;
    output.flush();
    let is_archive = matches!(from, End::Archive(_)) || matches!(to, End::Archive(_));
    let progress = Progress::new("copying", None);
    let how = Copy {
        overwrite: args.overwrite,
        keep_ids: !args.archive,
        progress: Some(copying),
        watch: if is_archive { &() } else { &progress },
    };
    copy::copy(engine, from, to, &how)?;
    Ok(0)
}

/// `CONTAINER:PATH`, or a path of the host's: one that begins with `.` or `/` is that,
/// whatever it has in it (podman: copy.ParseSourceAndDestination).
fn parse(text: &str) -> (Option<&str>, &str) {
    if text.starts_with(['.', '/']) {
        return (None, text);
    }
    match text.split_once(':') {
        Some((container, path)) => (Some(container), path),
        None => (None, text),
    }
}

#[derive(PartialEq, Eq)]
enum Side {
    Source,
    Target,
}

fn end(engine: &Engine, (name, path): (Option<&str>, &str), side: Side) -> Result<End> {
    let Some(name) = name else {
        return match (path, side) {
            ("-", Side::Source) => Ok(End::Archive(crate::sys::file::stdin()?)),
            ("-", Side::Target) if std::io::stdout().is_terminal() => Err(Error::usage(
                "refusing to write an archive to a terminal: use command-line redirection",
            )),
            ("-", Side::Target) => {
                let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
                Ok(End::Archive(File::from(stdout)))
            }
            _ => Ok(End::Host(PathBuf::from(path))),
        };
    };
    let found = container::find(&engine.storage, name).map_err(|error| match error.kind() {
        Kind::NotFound => Error::not_found(format!("container {name:?} does not exist"))
            .meant(container::near(&engine.storage, name)),
        _ => error,
    })?;
    // A container's paths begin at its root.
    let path = PathBuf::from("/").join(path);
    Ok(End::Container(Box::new(found), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_names_a_container() {
        for (text, wanted) in [
            ("c:/x", (Some("c"), "/x")),
            ("c:x:y", (Some("c"), "x:y")),
            ("c:", (Some("c"), "")),
            ("./c:/x", (None, "./c:/x")),
            ("/c:x", (None, "/c:x")),
            ("../c:x", (None, "../c:x")),
            ("-", (None, "-")),
            ("x", (None, "x")),
            ("", (None, "")),
        ] {
            assert_eq!(parse(text), wanted, "{text}");
        }
    }
}
