use std::time::Duration;

use crate::cli::Example;
use crate::cli::args::select::names_or_latest;
use crate::container::logs::go_duration;
use crate::container::{self, Container, State, health};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;

/// Wait on one or more containers
///
/// Waits until each container has ended and prints its exit code. A container
/// that does not run is not waited for.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,

    /// State to wait for: created, exited, healthy, initialized, paused, removing, running,
    /// stopped or unhealthy
    #[arg(long, value_name = "CONDITION")]
    condition: Vec<String>,

    /// Milliseconds, or a duration, between two looks; the end of a container is
    /// heard of at once
    #[arg(long, short = 'i', value_name = "DURATION", default_value = "250ms")]
    interval: String,

    /// Print -1 for containers that are not there
    #[arg(long)]
    ignore: bool,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle wait web",
    does: "Wait for the container web and print its exit code.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let interval = interval(&args.interval)?;
    let names = names_or_latest(engine, args.latest, args.names)?;
    if names.is_empty() {
        return Err(Error::usage(
            "\"coracle wait\" requires a name, id, or the \"--latest\" flag",
        ));
    }
    let conditions = args
        .condition
        .iter()
        .flat_map(|text| text.split(','))
        .map(Condition::parse)
        .collect::<Result<Vec<_>>>()?;
    container::sweep(engine)?;
    let mut found = Vec::new();
    for name in names {
        found.push(match container::find(&engine.storage, &name) {
            Ok(container) => Some(container),
            Err(error) if args.ignore && error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        });
    }
    for container in found {
        let code = match &container {
            None => -1,
            Some(container) => wait(engine, container, &conditions, interval)?,
        };
        output.line(code);
        output.flush();
    }
    Ok(0)
}

/// What `--condition` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Is(State),
    /// `healthy` and `unhealthy`, of what its checks say.
    Health(&'static str),
    /// Podman's `unknown`, which nothing here is.
    Never,
}

impl Condition {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "created" => Self::Is(State::Created),
            "initialized" => Self::Is(State::Initialized),
            "running" => Self::Is(State::Running),
            "paused" => Self::Is(State::Paused),
            "stopped" | "exited" => Self::Is(State::Exited),
            "removing" => Self::Is(State::Removing),
            "healthy" => Self::Health("healthy"),
            "unhealthy" => Self::Health("unhealthy"),
            "unknown" => Self::Never,
            _ => {
                return Err(Error::usage(format!(
                    "unknown container state: {text}: invalid argument"
                )));
            }
        })
    }
}

/// Waits until one of the conditions is met. Gives the exit code; -1 if it has not
/// ended.
fn wait(
    engine: &Engine,
    container: &Container,
    conditions: &[Condition],
    interval: Duration,
) -> Result<i32> {
    let id = &container.record.id;
    let checked = container.record.options.health.as_ref();
    for condition in conditions {
        if let Condition::Health(word) = condition
            && !checked.is_some_and(|health| health.is_on())
        {
            return Err(Error::usage(format!(
                "cannot use condition {word:?}: container {id} has no healthcheck"
            )));
        }
    }
    let wants = |state| conditions.contains(&Condition::Is(state));
    let ends = [State::Exited, State::Removing].map(Condition::Is);
    let only_ends = conditions.iter().all(|condition| ends.contains(condition));
    let mut code = None;
    if only_ends && (conditions.is_empty() || container.status.monitor.is_some()) {
        // The monitor tells, also of one that is removed at its end.
        code = container::stop::wait(engine, container)?;
        if conditions.is_empty() || wants(State::Exited) {
            return Ok(code.unwrap_or(0));
        }
    }
    loop {
        let Some(now) = container::load(&engine.storage, id)? else {
            return match wants(State::Removing) || wants(State::Exited) {
                true => Ok(code.unwrap_or(0)),
                false => Err(Error::not_found(format!(
                    "no container with ID {id} found in database: no such container"
                ))),
            };
        };
        code = now.status.exit.as_ref().map(|exit| exit.code).or(code);
        let word = health::word(&engine.storage, &now.record);
        let is_word = |condition: &Condition| match condition {
            Condition::Health(wanted) => *wanted == word,
            _ => false,
        };
        if now.status.is_up() && conditions.iter().any(is_word) {
            return Ok(-1);
        }
        match now.status.state {
            State::Exited if wants(State::Exited) => return Ok(code.unwrap_or(0)),
            state if wants(state) => return Ok(-1),
            _ => std::thread::sleep(interval),
        }
    }
}

/// Milliseconds, or a duration.
fn interval(text: &str) -> Result<Duration> {
    if let Ok(milliseconds) = text.parse::<i64>() {
        return Ok(Duration::from_millis(milliseconds.max(1) as u64));
    }
    let parsed = go_duration(text)
        .ok_or_else(|| Error::usage(format!("time: invalid duration {text:?}")))?;
    Ok(Duration::try_from(parsed)
        .unwrap_or_default()
        .max(Duration::from_millis(1)))
}
