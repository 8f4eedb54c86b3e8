use crate::cli::Example;
use crate::cli::args::filter::Filters;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::value::{Row, Value};
use crate::output::{Listing, Output, human};
use crate::secret::{self, Secret};

/// List secrets
///
/// Shows every secret, the oldest first, but not what it is.
#[derive(clap::Args)]
pub struct Args {
    /// Show only secrets that match, KEY=VALUE: id, name
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Format the output with a Go template, or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Do not print the headers
    #[arg(short, long)]
    noheading: bool,

    /// Print only ids
    #[arg(short, long)]
    quiet: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle secret ls --filter name=token",
    does: "Show the secrets with `token` in their names.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle secret ls` takes no arguments"));
    }
    let filters = Filters::parse(&args.filter, |filter| {
        Error::usage(format!(
            "filter input must be in the form of filter=value: {filter} is invalid"
        ))
    })?;
    if let Some(unknown) = filters.unknown(&["id", "name"]) {
        return Err(Error::usage(format!("invalid filter {unknown:?}")));
    }
    let names = filters.patterns("name")?;
    let mut secrets = secret::list(&engine.storage)?;
    secrets.retain(|secret| {
        let is_named = |name: &regex::Regex| name.is_match(&secret.name);
        (names.is_empty() || names.iter().any(is_named))
            && filters.any("id", |id| secret.id.starts_with(id))
    });
    if args.quiet {
        for secret in &secrets {
            output.line(&secret.id);
        }
        return Ok(0);
    }
    let listing = Listing {
        command: "ls",
        columns: r"{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
        headers: &[
            ("ID", "ID"),
            ("Name", "NAME"),
            ("Driver", "DRIVER"),
            ("CreatedAt", "CREATED"),
            ("UpdatedAt", "UPDATED"),
        ],
        format: args.format.as_deref(),
        heading: !args.noheading,
    };
    listing.print(output, secrets.into_iter().map(Shown).collect())?;
    Ok(0)
}

/// Podman's types.SecretListReport.
struct Shown(Secret);

const FIELDS: [&str; 5] = ["ID", "Name", "Driver", "CreatedAt", "UpdatedAt"];

impl Row for Shown {
    fn type_name(&self) -> &str {
        "*types.SecretListReport"
    }

    fn field(&self, name: &str) -> Option<Value> {
        let secret = &self.0;
        Some(Value::text(match name {
            "ID" => secret.id.clone(),
            "Name" => secret.name.clone(),
            "Driver" => secret.driver.name().to_owned(),
            "CreatedAt" => human::ago(secret.created),
            "UpdatedAt" => human::ago(secret.updated),
            _ => return None,
        }))
    }

    fn print(&self) -> String {
        let values = FIELDS.iter().filter_map(|field| self.field(field));
        let texts: Vec<String> = values.map(|value| value.to_string()).collect();
        format!("{{{}}}", texts.join(" "))
    }

    fn json(&self) -> serde_json::Value {
        let pairs = FIELDS.iter().filter_map(|field| {
            let value = self.field(field)?;
            Some(((*field).to_owned(), value.json()))
        });
        serde_json::Value::Object(pairs.collect())
    }
}
