use std::path::PathBuf;

use super::login::named;
use crate::cli::Example;
use crate::cli::args::registry::authfile;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::registry::{Registries, credentials};

/// Log out of a container registry
///
/// Takes the credentials that `login` has kept out of auth.json, or away from the
/// credential helper that file names.
#[derive(clap::Args)]
pub struct Args {
    /// Forget the credentials for all registries
    #[arg(short, long)]
    all: bool,

    /// Credentials are in this file
    #[arg(long, value_name = "PATH")]
    authfile: Option<PathBuf>,

    /// Credentials are in this file of Docker's
    #[arg(long, value_name = "PATH")]
    compat_auth_file: Option<PathBuf>,

    #[arg(value_name = "REGISTRY")]
    registries: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle logout --all",
    does: "Forget every login.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let settings = &engine.settings;
    if args.authfile.is_some() && args.compat_auth_file.is_some() {
        return Err(Error::usage(
            "options for paths to the credential file and to the Docker-compatible credential file can not be set simultaneously",
        ));
    }
    let given = authfile(&args.compat_auth_file.clone().or(args.authfile.clone()))?;
    let file = credentials::own_file(settings, given.as_deref());
    if args.all {
        if !args.registries.is_empty() {
            return Err(Error::usage("--all takes no arguments"));
        }
        credentials::forget_all(&file)?;
        output.line("Removed login credentials for all registries");
        return Ok(0);
    }
    let name = named(&args.registries, &Registries::read(settings)?)?;
    if credentials::forget(&file, &name)? {
        output.line(format_args!("Removed login credentials for {name}"));
        return Ok(0);
    }
    match credentials::user(settings, given.as_deref(), &name)? {
        Some(_) => {
            output.line(format_args!(
                "Not logged into {name} with current tool. Existing credentials were established via docker login. Please use docker logout instead"
            ));
            Ok(0)
        }
        None => Err(Error::other(format!("not logged into {name}"))),
    }
}
