use std::collections::BTreeMap;

use crate::cli::args::select::latest;
use crate::cli::{Example, at_least};
use crate::container::top::{DEFAULT, Descriptor, processes};
use crate::container::{self, State};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::{Output, table};

/// Display the running processes of a container
///
/// Shows the processes in the container's pid namespace, with the columns named
/// (`pid`, `user`, `hpid`, `huser`, `args`…); Podman's usual ones if none is.
#[derive(clap::Args)]
pub struct Args {
    /// CONTAINER [COLUMN...]
    #[arg(
        value_name = "CONTAINER COLUMN",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    operands: Vec<String>,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle top web pid user args",
    does: "Show the processes of the container web.",
}];

pub fn run(mut args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let name = if args.latest {
        latest(engine)?
    } else {
        at_least(1, args.operands.len())
            .map_err(|_| Error::usage("you must provide the name or id of a running container"))?;
        args.operands.remove(0)
    };
    if args.operands.iter().any(|word| word.starts_with('-')) {
        return Err(Error::unsupported("top with arguments of ps(1)"));
    }
    let mut wanted = Vec::new();
    for word in args.operands.iter().flat_map(|word| word.split(',')) {
        let found = Descriptor::parse(word);
        wanted.push(found.ok_or_else(|| Error::usage(format!("'{word}': unknown descriptor")))?);
    }
    if wanted.is_empty() {
        wanted = DEFAULT.to_vec();
    }
    container::sweep(engine)?;
    let found = container::find(&engine.storage, &name)?;
    if found.status.state != State::Running {
        return Err(Error::new(
            Kind::State,
            "top can only be used on running containers",
        ));
    }
    let mut text = wanted
        .iter()
        .map(|it| it.header())
        .collect::<Vec<_>>()
        .join("\t");
    text.push('\n');
    let mut users: BTreeMap<u32, String> = BTreeMap::new();
    for process in processes(engine, &found, &mut users)? {
        text.push_str(
            &wanted
                .iter()
                .map(|it| it.value(&process))
                .collect::<Vec<_>>()
                .join("\t"),
        );
        text.push('\n');
    }
    output.text(&table::align(&text));
    Ok(0)
}
