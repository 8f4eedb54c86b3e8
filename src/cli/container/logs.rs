use crate::cli::args::select::names_or_latest;
use crate::cli::{Example, at_least};
use crate::container::logs::{self, Away, Options};
use crate::container::{self};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

/// Fetch the logs of one or more containers
///
/// Shows what a container has printed, stdout and stderr each on ours. With
/// `--follow` it goes on until the container ends.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,

    /// Go on as the container prints more, until it ends
    #[arg(long, short = 'f')]
    follow: bool,

    /// Only what was printed since: a time, or a duration ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Only what was printed before: a time, or a duration ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Only the last N lines; -1 is all
    #[arg(
        long,
        value_name = "N",
        default_value = "-1",
        allow_negative_numbers = true
    )]
    tail: i64,

    /// Begin each line with the time it was printed
    #[arg(long, short = 't')]
    timestamps: bool,

    /// Begin each line with the container's name where there are several
    #[arg(long = "names", short = 'n')]
    show_names: bool,

    /// Begin each line with a colour for each container
    #[arg(long)]
    color: bool,

    /// Accepted for Docker's sake; nothing comes of it
    #[arg(long, hide = true)]
    details: bool,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle logs --tail 10 --timestamps web",
    does: "Show the last ten lines of the container web.",
}];

/// A container each, the first again after the last: light grey, red, yellow …
const COLOURS: [u8; 7] = [37, 31, 33, 34, 35, 36, 32];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let names = names_or_latest(engine, args.latest, args.names)?;
    at_least(1, names.len())
        .map_err(|_| Error::usage("specify at least one container name or ID to log"))?;
    container::sweep(engine)?;
    let mut containers = Vec::new();
    for name in &names {
        containers.push(container::find(&engine.storage, name)?);
    }
    let now = jiff::Timestamp::now();
    let options = Options {
        since: args
            .since
            .as_deref()
            .map(|text| moment(text, "since", now, Away::Before))
            .transpose()?,
        until: args
            .until
            .as_deref()
            .map(|text| moment(text, "until", now, Away::After))
            .transpose()?,
        tail: usize::try_from(args.tail).ok(),
        follow: args.follow,
    };
    let many = containers.len() > 1;
    let zone = jiff::tz::TimeZone::system();
    logs::read(engine, &containers, &options, &mut |index, line| {
        let record = &containers[index].record;
        let mut prefix = String::new();
        if args.color {
            prefix.push_str(&format!("\u{1b}[{}m", COLOURS[index % COLOURS.len()]));
        }
        if many && args.show_names {
            prefix.push_str(&format!("{} ", record.name));
        } else if many {
            prefix.push_str(&format!("{} ", record.id.short()));
        }
        if args.timestamps {
            let time = line.time.to_zoned(zone.clone());
            prefix.push_str(&format!("{} ", time.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z")));
        }
        let end = if args.color { "\u{1b}[0m" } else { "" };
        output.raw(line.stderr, prefix.as_bytes());
        output.raw(line.stderr, &line.text);
        output.raw(line.stderr, end.as_bytes());
        if line.whole {
            output.raw(line.stderr, b"\n");
        }
        if args.follow {
            output.flush();
        }
    })?;
    Ok(0)
}

fn moment(text: &str, flag: &str, now: jiff::Timestamp, away: Away) -> Result<jiff::Timestamp> {
    logs::parse_time(text, now, away).ok_or_else(|| {
        Error::usage(format!(
            "parsing --{flag} {text:?}: unable to interpret time value"
        ))
    })
}
