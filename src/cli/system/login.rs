use std::io::{BufRead, Read};
use std::path::PathBuf;

use crate::cli::Example;
use crate::cli::args::registry::authfile;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::output::Output;
use crate::registry::{self, Client, Credentials, Endpoint, Options, Registries, credentials};

/// Log in to a container registry
///
/// Asks the registry whether it takes the user name and password, and keeps them in
/// auth.json (or with the credential helper that file names). Without a registry it
/// is the first that registries.conf searches.
#[derive(clap::Args)]
pub struct Args {
    /// Keep credentials in this file
    #[arg(long, value_name = "PATH")]
    authfile: Option<PathBuf>,

    /// Use the certificates of this folder
    #[arg(long, value_name = "PATH")]
    cert_dir: Option<PathBuf>,

    /// Keep credentials in this file of Docker's
    #[arg(long, value_name = "PATH")]
    compat_auth_file: Option<PathBuf>,

    /// Print who is logged in
    #[arg(long)]
    get_login: bool,

    /// The password
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,

    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,

    /// Require HTTPS and check certificates
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::parse_bool)]
    tls_verify: Option<bool>,

    /// The user name
    #[arg(short, long, value_name = "USERNAME")]
    username: Option<String>,

    /// Say where the credentials are kept
    #[arg(short, long)]
    verbose: bool,

    #[arg(value_name = "REGISTRY")]
    registries: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle login --username me --password-stdin registry.example.com",
    does: "Log in with a password that is read from stdin.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let settings = &engine.settings;
    if args.authfile.is_some() && args.compat_auth_file.is_some() {
        return Err(Error::usage(
            "options for paths to the credential file and to the Docker-compatible credential file can not be set simultaneously",
        ));
    }
    let given = args.compat_auth_file.clone().or(args.authfile.clone());
    let registries = Registries::read(settings)?;
    let name = named(&args.registries, &registries)?;
    if args.get_login {
        let given = authfile(&given)?;
        return match credentials::user(settings, given.as_deref(), &name)? {
            Some(user) => {
                output.line(user);
                Ok(0)
            }
            None => Err(Error::other(format!("not logged into {name}"))),
        };
    }
    if args.password_stdin && args.password.is_some() {
        return Err(Error::usage(
            "Can't specify both --password-stdin and --password",
        ));
    }
    if args.password_stdin && args.username.is_none() {
        return Err(Error::usage(
            "must provide --username with --password-stdin",
        ));
    }
    let known = match credentials::find(settings, given.as_deref(), &name)? {
        Some(Credentials::Password { user, password }) => Some((user, password)),
        _ => None,
    };
    let check = |credentials: Credentials| check(&args, engine, &registries, &name, credentials);
    if args.username.is_none()
        && args.password.is_none()
        && let Some((user, password)) = known.clone()
    {
        output.line(format_args!(
            "Authenticating with existing credentials for {name}"
        ));
        output.flush();
        if check(Credentials::Password { user, password }).is_ok() {
            output.line(format_args!(
                "Existing credentials are valid. Already logged in to {name}"
            ));
            return Ok(0);
        }
        output.line("Existing credentials are invalid, please enter valid username and password");
    }
    let user = match &args.username {
        Some(user) => user.clone(),
        None => ask_user(output, known.map(|(user, _)| user))?,
    };
    let password = match (&args.password, args.password_stdin) {
        (Some(password), _) => password.clone(),
        (None, true) => {
            let mut text = String::new();
            std::io::stdin()
                .take(64 * 1024)
                .read_to_string(&mut text)
                .tried(|| "read the password")?;
            text.trim_end_matches(['\n', '\r']).to_owned()
        }
        (None, false) => ask_password(output)?,
    };
    output.flush();
    check(Credentials::Password {
        user: user.clone(),
        password: password.clone(),
    })
    .tried(|| format!("logging into {name:?}"))?;
    let file = credentials::own_file(settings, given.as_deref());
    credentials::store(&file, &name, &user, &password)?;
    if args.verbose {
        output.line(format_args!("Used:  {}", file.display()));
    }
    output.line("Login Succeeded!");
    Ok(0)
}

/// The registry (and part of a repository) that is meant.
pub fn named(given: &[String], registries: &Registries) -> Result<String> {
    match given {
        [] => registries.first().map(str::to_owned).ok_or_else(|| {
            Error::usage("no registries found in registries.conf, a registry must be provided")
        }),
        [name] => {
            let bare = name
                .strip_prefix("https://")
                .or_else(|| name.strip_prefix("http://"));
            // Of a URL, as Docker's users type it, the host counts.
            Ok(match bare {
                Some(bare) => bare.split('/').next().unwrap_or_default().to_owned(),
                None => name.trim_end_matches('/').to_owned(),
            })
        }
        more => Err(Error::usage(format!(
            "accepts at most 1 arg(s), received {}",
            more.len()
        ))),
    }
}

fn check(
    args: &Args,
    engine: &Engine,
    registries: &Registries,
    name: &str,
    credentials: Credentials,
) -> Result<()> {
    let registry = name.split('/').next().unwrap_or(name);
    let options = Options {
        tls_verify: args.tls_verify,
        cert_dir: args.cert_dir.clone(),
        credentials: Some(credentials),
        ..registry::Options::default()
    };
    let endpoint = Endpoint {
        path: String::new(),
        registry: registry.to_owned(),
        insecure: registries.own_endpoint(registry, "x")?.insecure,
    };
    engine.apart(|| Client::new(&engine.settings, endpoint, &options, "pull")?.login())
}

fn ask_user(output: &mut Output, known: Option<String>) -> Result<String> {
    match &known {
        Some(known) => output.text(&format!("Username ({known}): ")),
        None => output.text("Username: "),
    }
    output.flush();
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .tried(|| "reading username")?;
    match line.trim() {
        "" => known
            .ok_or_else(|| Error::usage("getting username and password: reading username: EOF")),
        user => Ok(user.to_owned()),
    }
}

fn ask_password(output: &mut Output) -> Result<String> {
    output.flush();
    crate::output::terminal::password().map_err(|error| {
        Error::usage(format!(
            "getting username and password: reading password: {error}"
        ))
    })
}
