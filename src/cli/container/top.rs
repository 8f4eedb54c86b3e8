use crate::cli::args::select::latest;
use crate::cli::{Example, at_least};
use crate::container::attach::Outcome;
use crate::container::exec::{self, Exec};
use crate::container::top::{self, DEFAULT, Descriptor};
use crate::container::{self, Container, State};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::output::Output;

/// Display the running processes of a container
///
/// Shows the processes in the container's pid namespace, with the columns named
/// (`pid`, `user`, `hpid`, `huser`, `args`…); Podman's usual ones if none is. What
/// names no column is an argument of ps(1), as in `top web -ef`.
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
        latest(engine).map_err(lookup)?
    } else {
        at_least(1, args.operands.len())
            .map_err(|_| Error::usage("you must provide the name or id of a running container"))?;
        args.operands.remove(0)
    };
    container::sweep(engine)?;
    let found = container::find(&engine.storage, &name).map_err(lookup)?;
    if found.status.state != State::Running {
        return Err(Error::new(
            Kind::State,
            "top can only be used on running containers",
        ));
    }
    let words = args.operands.iter().flat_map(|word| word.split(','));
    let wanted: Option<Vec<Descriptor>> = words.map(Descriptor::parse).collect();
    match wanted {
        Some(wanted) if wanted.is_empty() => table_of(engine, &found, &DEFAULT, output),
        Some(wanted) => table_of(engine, &found, &wanted, output),
        // As Podman: what is no column is for ps(1).
        None => ps(engine, &found, args.operands, output),
    }
}

fn lookup(error: Error) -> Error {
    error.tried("unable to look up requested container")
}

fn table_of(
    engine: &Engine,
    container: &Container,
    wanted: &[Descriptor],
    output: &mut Output,
) -> Result<u8> {
    let headers: Vec<&str> = wanted.iter().map(|it| it.header()).collect();
    let mut text = headers.join("\t");
    text.push('\n');
    let top = top::processes(engine, container)?;
    for process in &top.processes {
        let values: Vec<String> = wanted.iter().map(|&it| top.value(it, process)).collect();
        text.push_str(&values.join("\t"));
        text.push('\n');
    }
    output.table(&text);
    Ok(0)
}

/// The host's ps on the container's processes, or else the container's own.
fn ps(
    engine: &Engine,
    container: &Container,
    mut args: Vec<String>,
    output: &mut Output,
) -> Result<u8> {
    if let [one] = &args[..] {
        args = one.split_whitespace().map(str::to_owned).collect();
    }
    if let Some(text) = top::ps(engine, container, &args)? {
        output.text(&text);
        return Ok(0);
    }
    args.insert(0, "ps".to_owned());
    let own = Exec::heard(args, Some("0"));
    Ok(match exec::exec(engine, container, &own)? {
        Outcome::Exited(code) => code as u8,
        Outcome::Unread => crate::sys::signal::end_by(libc::SIGPIPE),
        Outcome::Detached | Outcome::Lost => 125,
    })
}
