use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;
use crate::secret;

/// Remove one or more secrets
///
/// Prints the id of each that is gone. Containers that have one mounted keep it as it was
/// when they were made; those that have one as a variable do not start again.
#[derive(clap::Args)]
pub struct Args {
    /// Remove all secrets
    #[arg(short, long)]
    all: bool,

    /// Do not fail if a secret is missing
    #[arg(short, long)]
    ignore: bool,

    #[arg(value_name = "SECRET")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle secret rm --ignore token",
    does: "Remove a secret if it is there.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.all != args.names.is_empty() {
        return Err(Error::usage(
            "`coracle secret rm` requires one argument, or the --all flag",
        ));
    }
    let storage = &engine.storage;
    let mut code = 0;
    let mut remove = |found: Result<secret::Secret>| {
        let removed = found.and_then(|secret| {
            secret::remove(storage, &secret)?;
            Ok(secret.id)
        });
        match removed {
            Ok(id) => output.line(id),
            Err(error) if error.kind() == Kind::NotFound && (args.ignore || args.all) => {}
            Err(error) => {
                output.error(&error);
                code = error.exit_code();
            }
        }
    };
    if args.all {
        secret::list(storage)?.into_iter().map(Ok).for_each(remove);
    } else {
        for name in &args.names {
            remove(secret::find(storage, name));
        }
    }
    Ok(code)
}
