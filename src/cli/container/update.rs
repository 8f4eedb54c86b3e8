use crate::cli::args::select::names_or_latest;
use crate::cli::args::{env, health, lifetime, resources, security};
use crate::cli::{Command, Example};
use crate::container::options::{Resources, RestartPolicy};
use crate::container::{self, update};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;

/// Update an existing container
///
/// Changes what a container may use, when it is started again, its environment and how
/// it is checked. Limits and checks of one that runs change at once; its environment and
/// ulimits are those of its next start.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,

    /// Add environment variables (NAME=VALUE, or NAME to take ours)
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    env: Vec<String>,

    #[command(flatten)]
    health: health::Args,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,

    #[command(flatten)]
    resources: resources::Args,

    /// When to start it again after it ends: no, on-failure[:TIMES], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,

    /// Limits of its processes: NAME=SOFT[:HARD]
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,

    /// Remove environment variables
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
}

/// Flags among those of limits that a container has from its making alone.
const FIXED: &[&str] = &[
    "cgroup_conf",
    "cgroup_parent",
    "cgroups",
    "device_cgroup_rule",
    "kernel_memory",
    "oom_kill_disable",
    "oom_score_adj",
];

pub const COMMAND: Command = Command {
    names: &["container update", "update"],
    define: || {
        let definition = <Args as clap::Args>::augment_args(clap::Command::new(""));
        FIXED.iter().fold(definition, |definition, name| {
            definition.mut_arg(name, |arg| arg.hide(true))
        })
    },
    run: |matches, session| {
        for name in FIXED {
            let source = matches.value_source(name);
            if source == Some(clap::parser::ValueSource::CommandLine) {
                let flag = name.replace('_', "-");
                return Err(Error::usage(format!("unknown flag: --{flag}"))
                    .see("See 'coracle update --help'"));
            }
        }
        let args = <Args as clap::FromArgMatches>::from_arg_matches(matches)
            .map_err(|error| Error::usage(error.to_string()))?;
        run(args, &session.engine()?, &mut session.output())
    },
    examples: &[
        Example {
            line: "coracle update --restart always --env MODE=fast web",
            does: "Start the container web again whenever it ends, with another environment.",
        },
        Example {
            line: "coracle update --health-cmd 'test -e /ready' --health-interval 10s web",
            does: "Have the container web checked every ten seconds.",
        },
    ],
};

fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.names.len() > 1 {
        return Err(Error::usage(
            "`coracle update` accepts at most one argument",
        ));
    }
    let names = names_or_latest(engine, args.latest, args.names.clone())?;
    let Some(name) = names.first() else {
        return Err(Error::usage(
            "\"coracle update\" requires a name, id, or the \"--latest\" flag",
        ));
    };
    if args.health.no_healthcheck && args.health.has_others() {
        return Err(Error::usage(
            "cannot specify both --no-healthcheck and other HealthCheck flags",
        ));
    }
    let asked = args.resources.resources()?;
    let policy = args.restart.as_deref().map(lifetime::restart).transpose()?;
    let (ulimits, is_host) = security::ulimits(&args.ulimit)?;
    let variables = env::extra(&args.env, &[])?;
    container::sweep(engine)?;
    let found = container::find(&engine.storage, name)?;
    let mut record = found.record.clone();
    let options = &mut record.options;
    for warning in args.resources.warnings() {
        output.notice(warning);
    }
    let limits = (asked != Resources::default()).then(|| options.resources.changed_by(&asked));
    if let Some(limits) = &limits {
        options.resources = limits.clone();
    }
    if let Some(policy) = policy {
        if options.remove && policy != RestartPolicy::No {
            return Err(Error::usage(
                "the --rm option conflicts with --restart, \
                 when the restartPolicy is not \"\" and \"no\"",
            ));
        }
        options.restart = policy;
    }
    if args.health.is_given() {
        options.health = args.health.health(options.health.take())?;
        options.health_log = args.health.log(options.health_log.clone())?;
    }
    if is_host {
        (options.ulimits, options.host_ulimits) = (Vec::new(), true);
    } else {
        options
            .ulimits
            .retain(|old| ulimits.iter().all(|new| new.name != old.name));
        options.host_ulimits &= ulimits.is_empty();
        options.ulimits.extend(ulimits);
    }
    let key = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in variables {
        let same = |old: &&mut String| key(old) == key(&variable);
        match options.env.iter_mut().find(same) {
            Some(old) => *old = variable,
            None => options.env.push(variable),
        }
    }
    options
        .env
        .retain(|variable| !args.unsetenv.contains(&key(variable)));
    update::update(engine, &found, &record, limits.as_ref())?;
    output.line(&record.id);
    Ok(0)
}
