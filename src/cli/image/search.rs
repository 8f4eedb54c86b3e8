use crate::cli::args::registry;
use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::listing::asks_json;
use crate::output::value::to_value;
use crate::output::{Listing, Output, json};
use crate::registry::{CATALOG, Client, Endpoint, Hit, Options, Registries};

/// Search a registry for an image
///
/// What stands before the first slash of TERM is the registry; without one all of
/// unqualified-search-registries are asked, docker.io if there are none. A registry
/// is asked by its index, which has descriptions and stars, else by its catalog:
/// many answer neither.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    registry: registry::Args,

    /// Show stars, and whether an image is official and automated, too
    #[arg(long)]
    compatible: bool,

    /// Show what fits: stars=N, is-official or is-automated, these with =false, too
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Print by a Go template, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,

    /// Show no more than this of each registry; 25 unless said
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    limit: i64,

    /// List the tags of a repository
    #[arg(long)]
    list_tags: bool,

    /// Show descriptions whole
    #[arg(long)]
    no_trunc: bool,

    #[arg(value_name = "TERM")]
    terms: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle search --limit 3 registry.example.com/app",
        does: "Look for an image in a registry.",
    },
    Example {
        line: "coracle search --list-tags registry.example.com/team/app",
        does: "List the tags of a repository.",
    },
];

/// How many are shown if nobody says.
const USUAL: usize = 25;
/// Where a description is cut.
const WIDTH: usize = 44;

/// Podman's entities.ImageSearchReport.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    index: String,
    name: String,
    description: String,
    stars: i64,
    official: &'static str,
    automated: &'static str,
    tag: String,
}

/// A repository in `--list-tags --format json`.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tags {
    name: String,
    tags: Vec<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("Index", "INDEX"),
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("Stars", "STARS"),
    ("Official", "OFFICIAL"),
    ("Automated", "AUTOMATED"),
    ("Tag", "TAG"),
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.terms.len())?;
    let filters = Filters::parse(&args.filter)?;
    if args.list_tags && !args.filter.is_empty() {
        return Err(Error::usage(
            "filters are not applicable to list tags result",
        ));
    }
    let options = args.registry.options()?;
    let registries = Registries::read(&engine.settings)?;
    let (asked, term) = match args.terms[0].split_once('/') {
        Some(("", _)) => {
            return Err(Error::usage(format!(
                "invalid term: {:?} names no registry",
                args.terms[0]
            )));
        }
        Some((registry, term)) => (vec![registry.to_owned()], term),
        None => (registries.searched(), args.terms[0].as_str()),
    };
    let is_json = args.format.as_deref().is_some_and(asks_json);
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for registry in &asked {
        let rows = match args.list_tags {
            true => tags(engine, &registries, &options, registry, term, args.limit),
            false => hits(engine, &registries, &options, registry, term, args.limit)
                .map(|hits| rows(hits, registry, &filters, args.no_trunc || is_json)),
        };
        match rows {
            Ok(rows) => found.extend(rows),
            Err(error) => errors.push(error),
        }
    }
    // As with Podman: one that answers is enough.
    if found.is_empty() {
        return match errors.len() {
            0 => Ok(0),
            1 => Err(errors.remove(0)),
            count => {
                let lines = errors.iter().map(|error| format!("\n\t* {error}"));
                Err(Error::other(format!(
                    "{count} errors occurred:{}",
                    lines.collect::<String>()
                )))
            }
        };
    }
    if is_json {
        let text = match args.list_tags {
            true => json::indented(&by_name(found), 4)?,
            false => json::indented(&found, 4)?,
        };
        output.line(json::escape_html(&text));
        return Ok(0);
    }
    output.keep_whole(args.no_trunc);
    let columns = match (args.list_tags, args.compatible) {
        (true, _) => r"{{.Name}}\t{{.Tag}}",
        (false, true) => r"{{.Name}}\t{{.Description}}\t{{.Stars}}\t{{.Official}}\t{{.Automated}}",
        (false, false) => r"{{.Name}}\t{{.Description}}",
    };
    let listing = Listing {
        command: "search",
        columns,
        headers: HEADERS,
        format: args.format.as_deref(),
        heading: true,
    };
    let rows = found.iter().map(to_value).collect::<Result<Vec<_>>>()?;
    listing.print_values(output, rows)?;
    Ok(0)
}

fn client(
    engine: &Engine,
    registries: &Registries,
    options: &Options,
    (registry, path): (&str, &str),
) -> Result<Client> {
    let any = if path.is_empty() { "x" } else { path };
    let endpoint = Endpoint {
        registry: registry.to_owned(),
        path: path.to_owned(),
        insecure: registries.own_endpoint(registry, any)?.insecure,
    };
    let actions = if path.is_empty() { CATALOG } else { "pull" };
    Client::new(&engine.settings, endpoint, options, actions)
}

/// How many of `there` are shown (libimage, searchImageInRegistry).
fn shown(limit: i64, there: usize) -> usize {
    match limit {
        0 => there.min(USUAL),
        limit => there.min(usize::try_from(limit).unwrap_or(0)),
    }
}

fn hits(
    engine: &Engine,
    registries: &Registries,
    options: &Options,
    registry: &str,
    term: &str,
    limit: i64,
) -> Result<Vec<Hit>> {
    let most = shown(limit, usize::MAX);
    if most == 0 {
        return Ok(Vec::new());
    }
    let mut hits = engine
        .apart(|| client(engine, registries, options, (registry, ""))?.search(term, most))
        .map_err(|error| error.tried(format_args!("couldn't search registry {registry:?}")))?;
    hits.truncate(most);
    Ok(hits)
}

fn rows(hits: Vec<Hit>, registry: &str, filters: &Filters, whole: bool) -> Vec<Found> {
    let fits = hits.into_iter().filter(|hit| filters.pass(hit));
    fits.map(|hit| {
        let mut description = plain(&hit.description);
        if !whole && description.chars().count() > WIDTH {
            description = description.chars().take(WIDTH).collect();
            description.push_str("...");
        }
        let mark = |holds| if holds { "[OK]" } else { "" };
        let name = plain(&hit.name);
        Found {
            index: registry.to_owned(),
            name: match registry == "docker.io" && !name.contains('/') {
                true => format!("{registry}/library/{name}"),
                false => format!("{registry}/{name}"),
            },
            description,
            stars: hit.star_count,
            official: mark(hit.is_official),
            automated: mark(hit.is_automated),
            tag: String::new(),
        }
    })
    .collect()
}

/// A stranger's text in one line, without what would move the cursor.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

fn tags(
    engine: &Engine,
    registries: &Registries,
    options: &Options,
    registry: &str,
    term: &str,
    limit: i64,
) -> Result<Vec<Found>> {
    let path = match registry == "docker.io" && !term.contains('/') {
        true => format!("library/{term}"),
        false => term.to_owned(),
    };
    if path.is_empty() {
        return Err(Error::usage(format!(
            "getting repository tags: {registry}/ names no repository"
        )));
    }
    let tags = engine
        .apart(|| client(engine, registries, options, (registry, &path))?.tags())
        .map_err(|error| error.tried("getting repository tags"))?;
    let count = shown(limit, tags.len());
    let row = |tag: String| Found {
        index: registry.to_owned(),
        name: format!("{registry}/{path}"),
        description: String::new(),
        stars: 0,
        official: "",
        automated: "",
        tag: plain(&tag),
    };
    Ok(tags.into_iter().take(count).map(row).collect())
}

/// The tags of each repository.
fn by_name(found: Vec<Found>) -> Vec<Tags> {
    let mut all: Vec<Tags> = Vec::new();
    for row in found {
        match all.iter_mut().find(|it| it.name == row.name) {
            Some(there) => there.tags.push(row.tag),
            None => all.push(Tags {
                name: row.name,
                tags: vec![row.tag],
            }),
        }
    }
    all
}

/// What `--filter` asks of an image.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filters {
    stars: i64,
    official: Option<bool>,
    automated: Option<bool>,
}

impl Filters {
    fn parse(given: &[String]) -> Result<Self> {
        let mut filters = Self::default();
        for filter in given {
            let (key, value) = match filter.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (filter.as_str(), None),
            };
            match key {
                "stars" => {
                    let value = value.ok_or_else(|| {
                        Error::usage(format!(
                            "invalid filter {filter:?}, should be stars=<value>"
                        ))
                    })?;
                    filters.stars = value.parse().map_err(|_| {
                        Error::usage(format!(
                            "incorrect value type for stars filter: strconv.Atoi: parsing {value:?}: invalid syntax"
                        ))
                    })?;
                }
                "is-official" => filters.official = Some(value != Some("false")),
                "is-automated" => filters.automated = Some(value != Some("false")),
                _ => return Err(Error::usage(format!("invalid filter type {filter:?}"))),
            }
        }
        Ok(filters)
    }

    fn pass(&self, hit: &Hit) -> bool {
        hit.star_count >= self.stars
            && self.official.is_none_or(|it| it == hit.is_official)
            && self.automated.is_none_or(|it| it == hit.is_automated)
    }
}
