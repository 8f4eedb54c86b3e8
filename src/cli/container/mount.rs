use std::path::PathBuf;

use crate::cli::Example;
use crate::cli::args::select::{Missing, Select};
use crate::cli::image::mount::{is_json, must_be_inside};
use crate::container::{self, Record, root_mount};
use crate::engine::Engine;
use crate::error::Result;
use crate::output::{Output, json, table};

/// Mount a container's root filesystem
///
/// Works in a shell of `coracle unshare`, as long as that runs, for containers that do
/// not; nobody can start one meanwhile. Without a container those that are mounted are
/// listed.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,

    /// Print the mounted containers as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Print whole ids
    #[arg(long, alias = "notruncate")]
    no_trunc: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle unshare sh -c 'ls $(coracle mount web)'",
    does: "List the files of a container that does not run.",
}];

/// A row of `--format json`, by Podman's names.
#[derive(serde::Serialize)]
struct Row {
    id: String,
    #[serde(rename = "Names")]
    names: Vec<String>,
    mountpoint: String,
}

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let select = &args.select;
    let is_named = select.all || select.latest || !select.names.is_empty();
    if is_named {
        select.check(false, false)?;
    }
    must_be_inside("mount")?;
    if is_named {
        let chosen = select.containers(engine, &[], &[], Missing::Fails, |_| true)?;
        for it in chosen {
            output.line(root_mount::mount(engine, &it.container)?.display());
        }
        return Ok(0);
    }
    let is_json = is_json(args.format.as_deref())?;
    let containers = container::list(&engine.storage)?;
    let mounted: Vec<(Record, PathBuf)> = containers
        .into_iter()
        .filter_map(|it| {
            let place = root_mount::mounted(engine, &it.record)?;
            Some((it.record, place))
        })
        .collect();
    if is_json {
        let rows: Vec<Row> = mounted
            .iter()
            .map(|(record, place)| Row {
                id: record.id.to_string(),
                names: vec![record.name.to_string()],
                mountpoint: place.display().to_string(),
            })
            .collect();
        output.line(json::indented(&rows, 1)?);
        return Ok(0);
    }
    let mut text = String::new();
    for (record, place) in &mounted {
        let id = match args.no_trunc {
            true => record.id.as_str(),
            false => record.id.short(),
        };
        text.push_str(&format!("{id}\t{}\n", place.display()));
    }
    output.text(&table::align(&text));
    Ok(0)
}
