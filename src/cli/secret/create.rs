use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::cli::args::csv;
use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::output::Output;
use crate::secret::{self, Bytes, IfThere, Wanted};
use crate::sys::file;

/// Create a new secret
///
/// Keeps what is in a file, or what is read from stdin with `-`, under a name, and prints
/// its id. `run --secret` gives it to containers.
#[derive(clap::Args)]
pub struct Args {
    /// Who keeps it: `file`, or `shell` for commands that --driver-opts names
    #[arg(short, long, value_name = "DRIVER", default_value = "file")]
    driver: String,

    /// Options of the driver, KEY=VALUE
    ///
    /// Of shell: store=, lookup=, delete= and list=, each a command that a shell runs
    /// with SECRET_ID in its environment; store= reads the secret, lookup= prints it.
    #[arg(long, value_name = "KEY=VALUE")]
    driver_opts: Vec<String>,

    /// Read the secret from the environment variable of that name
    #[arg(long)]
    env: bool,

    /// Do not fail if a secret of that name exists, and leave it as it is
    #[arg(long)]
    ignore: bool,

    /// Set metadata, KEY or KEY=VALUE; may be repeated
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,

    /// Put the secret in the place of one that has the name
    #[arg(long)]
    replace: bool,

    #[arg(value_name = "NAME FILE|-")]
    operands: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle secret create token token.txt",
        does: "Make a secret of what is in a file.",
    },
    Example {
        line: "coracle secret create --replace --env password PASSWORD",
        does: "Make a secret of a variable, or change what it is.",
    },
];

/// More than any secret may have.
const MOST: u64 = 1 << 20;

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(2, args.operands.len())?;
    let if_there = match (args.ignore, args.replace) {
        (true, true) => {
            return Err(Error::usage(
                "cannot use --ignore and --replace flags together",
            ));
        }
        (true, false) => IfThere::Keep,
        (false, true) => IfThere::Replace,
        (false, false) => IfThere::Fail,
    };
    let options = options(&args.driver_opts)?;
    let (name, source) = (&args.operands[0], &args.operands[1]);
    let bytes = match (args.env, source.as_str()) {
        (true, variable) => of_variable(variable)?,
        (false, "-") => read(file::stdin()?).tried(|| "read stdin")?,
        (false, path) => of_file(path)?,
    };
    let wanted = Wanted {
        name,
        driver: &args.driver,
        options,
        labels: labels(&args.label)?,
        if_there,
    };
    let secret = secret::create(&engine.storage, wanted, &bytes)?;
    output.line(&secret.id);
    Ok(0)
}

fn of_variable(name: &str) -> Result<Bytes> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(name).ok_or_else(|| {
        Error::usage(format!(
            "cannot create store secret data: environment variable {name} is not set"
        ))
    })?;
    Ok(Bytes(value.into_vec()))
}

fn of_file(path: &str) -> Result<Bytes> {
    let file = File::open(Path::new(path)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::not_found(format!("open {path}: no such file or directory"))
        }
        _ => Error::from(error).tried(format_args!("open {path}")),
    })?;
    read(file).tried(|| format!("read {path}"))
}

fn read(file: File) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(Bytes(bytes))
}

/// pflag's `StringToString`.
fn options(given: &[String]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for text in given {
        let wrong = |why: String| {
            Error::usage(format!(
                "invalid argument {text:?} for \"--driver-opts\" flag: {why}"
            ))
            .see("See 'coracle secret create --help'")
        };
        // One pair may have commas in its value.
        let pairs = match text.matches('=').count() {
            1 => vec![text.trim_matches('"').to_owned()],
            _ => csv::fields(text).map_err(wrong)?,
        };
        for pair in pairs {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(wrong(format!("{pair} must be formatted as key=value")));
            };
            all.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(all)
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>> {
    let pairs = given.iter().map(|label| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if key.is_empty() {
            return Err(Error::usage(format!(
                "unable to process labels: invalid label format: {label:?}"
            )));
        }
        Ok((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_pairs() {
        let given = |text: &str| options(&[text.to_owned()]).map_err(|error| error.to_string());
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(given("a=b,c=d"), Ok(pairs(&[("a", "b"), ("c", "d")])));
        assert_eq!(given("a=b,c"), Ok(pairs(&[("a", "b,c")])));
        assert_eq!(
            given("a"),
            Err(
                "invalid argument \"a\" for \"--driver-opts\" flag: a must be formatted as key=value"
                    .to_owned()
            )
        );
    }
}
