use jiff::Timestamp;

use super::named::{self, Live};
use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::Name;
use crate::output::Output;
use crate::storage::Storage;
use crate::volume;

/// Keep the files of a volume as they are now
///
/// Makes a snapshot beside the volume and prints its name: the one given, or the time.
/// Where the file system can share blocks (btrfs, xfs, bcachefs), it takes no time and no room;
/// elsewhere files are copied. `volume restore` goes back to it, `volume diff` shows
/// what has changed since, `volume rm VOLUME@SNAPSHOT` removes it; with the volume
/// its snapshots go.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: Live,

    #[arg(value_name = "VOLUME [SNAPSHOT]")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume snapshot model_output before-training",
        does: "Keep what a volume has now, under a name.",
    },
    Example {
        line: "coracle volume snapshot --pause model_output",
        does: "Keep it while containers use the volume: they stand still meanwhile.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let storage = &engine.storage;
    let (text, name) = match args.names.as_slice() {
        [volume] => (volume, None),
        [volume, name] => (volume, Some(name)),
        names => {
            return Err(Error::usage(format!(
                "accepts between 1 and 2 arg(s), received {}",
                names.len()
            )));
        }
    };
    let volume = volume::find(storage, text)?;
    let name = match name {
        Some(name) => name.parse()?,
        None => by_time(storage, &volume.name)?,
    };
    let still = args.live.still(engine, &volume.name)?;
    let progress = named::copying(engine, "copying", &volume.name)?;
    let check = || args.live.check(storage, &volume.name, &still);
    let copied = volume::snapshot(engine, &volume, &name, check, &progress)?;
    drop((progress, still));
    named::say_how(output, copied);
    output.line(&name);
    Ok(0)
}

/// `20261122-020843`, and a number if there is one of that name.
fn by_time(storage: &Storage, volume: &Name) -> Result<Name> {
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::system());
    let name = now.strftime("%Y%m%d-%H%M%S").to_string();
    let there = volume::snapshots(storage, volume)?;
    let is_free = |name: &str| there.iter().all(|it| it.name.as_str() != name);
    if is_free(&name) {
        return name.parse();
    }
    let numbered = (2..).map(|number| format!("{name}.{number}"));
    let free = numbered.into_iter().find(|name| is_free(name));
    free.unwrap_or(name).parse()
}
