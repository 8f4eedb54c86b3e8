use super::named;
use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::value::to_value;
use crate::output::{Listing, Output, human};
use crate::volume;

/// List the snapshots of a volume
///
/// The oldest first, with what each takes on disk: what it shares with the volume
/// counts in both.
#[derive(clap::Args)]
pub struct Args {
    /// Format the output with a Go template, or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Do not print the headers
    #[arg(short, long)]
    noheading: bool,

    /// Print only names
    #[arg(short, long)]
    quiet: bool,

    #[arg(value_name = "VOLUME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle volume snapshots model_output",
    does: "List what a volume can go back to.",
}];

/// One line.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    volume: String,
    created_at: String,
    created: String,
    size: String,
    raw_size: u64,
}

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    if args.quiet && args.format.is_some() {
        return Err(Error::usage(
            "quiet and format flags cannot be used together",
        ));
    }
    let storage = &engine.storage;
    let (volume, _) = named::find(storage, &args.names[0])?;
    let all = volume::snapshots(storage, &volume.name)?;
    if args.quiet {
        for snapshot in &all {
            output.line(&snapshot.name);
        }
        return Ok(0);
    }
    let sizes = volume::snapshot_sizes(engine, &volume.name, &all)?;
    let rows = all.into_iter().zip(sizes).map(|(snapshot, size)| {
        to_value(&Row {
            name: snapshot.name.to_string(),
            volume: volume.name.to_string(),
            created_at: snapshot.created.to_string(),
            created: human::ago(snapshot.created),
            size: human::size(size, 4),
            raw_size: size,
        })
    });
    let listing = Listing {
        command: "snapshots",
        columns: r"{{.Name}}\t{{.Created}}\t{{.Size}}",
        headers: &[
            ("Name", "SNAPSHOT"),
            ("Volume", "VOLUME NAME"),
            ("CreatedAt", "CREATED AT"),
            ("Created", "CREATED"),
            ("Size", "SIZE"),
            ("RawSize", "RAW SIZE"),
        ],
        format: args.format.as_deref(),
        heading: !args.noheading,
    };
    listing.print_values(output, rows.collect::<Result<_>>()?)?;
    Ok(0)
}
