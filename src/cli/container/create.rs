use super::made::{Made, make, note_created, renamed, write_cidfile};
use crate::cli::Example;
use crate::cli::args::create::CreateArgs;
use crate::container;
use crate::container::create::{make_ready, publish, use_neighbours};
use crate::container::remove::{Removal, remove};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;
use crate::output::progress::copying;
use crate::sys::file::Durable;

/// Create but do not start a container
///
/// Makes a container from an image as `run` does and prints its id; `start` runs
/// its command.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    create: CreateArgs,
    /// Run it before the other containers of its pod: always or once
    #[arg(long, value_name = "WHEN", hide = true)]
    init_ctr: Option<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle create --name web busybox sleep 1000",
    does: "Make a container; `coracle start web` runs it.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.init_ctr.is_some_and(|when| !when.is_empty()) {
        return Err(Error::usage("must specify pod value with init-ctr"));
    }
    engine.storage.events().backend()?;
    let mut made = make(engine, &args.create, output)?;
    make_ready(engine, &made.record, Some(copying))?;
    for attempt in 1.. {
        match publish(&engine.storage, &made.record) {
            Err(error)
                if error.kind() == Kind::Exists
                    && args.create.lifetime.name()?.is_none()
                    && attempt < 8 =>
            {
                made = renamed(made, attempt);
            }
            result => {
                result?;
                break;
            }
        }
    }
    let Made { record, .. } = &made;
    if let Err(error) = use_neighbours(&engine.storage, record, Durable::Yes) {
        if let Some(found) = container::load(&engine.storage, &record.id)? {
            let how = Removal {
                volumes: true,
                ..Removal::default()
            };
            let _ = remove(engine, &found, how);
        }
        return Err(error);
    }
    note_created(engine, record)?;
    if let Some(path) = &record.options.cidfile {
        write_cidfile(path, &record.id)?;
    }
    // As Podman: what comes of such a container is the container's alone.
    if !record.options.log.driver.is_passthrough() {
        output.line(&record.id);
    }
    Ok(0)
}
