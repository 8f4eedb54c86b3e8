use crate::cli::Example;
use crate::cli::args::select;
use crate::container::{self, Container, State};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::network::PortMapping;
use crate::output::Output;

/// List port mappings or a specific mapping for a container
///
/// Shows where the host answers for a container's ports; with PORT, for that one.
#[derive(clap::Args)]
pub struct Args {
    /// Show the ports of all containers
    #[arg(short, long)]
    all: bool,

    /// Show the ports of the container created last
    #[arg(short, long)]
    latest: bool,

    #[arg(value_names = ["CONTAINER", "PORT[/PROTOCOL]"])]
    operands: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle port web 80/tcp",
    does: "Show which port of the host leads to port 80 of the container.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let most = if args.latest { 1 } else { 2 };
    if args.operands.len() > most {
        return Err(Error::usage(format!(
            "`port` accepts at most {most} arguments"
        )));
    }
    if args.all && args.latest {
        return Err(Error::usage("--all and --latest cannot be used together"));
    }
    if args.all && !args.operands.is_empty() {
        return Err(Error::usage("no arguments are needed with --all"));
    }
    let mut operands = args.operands.iter();
    let shown = if args.all {
        container::list(&engine.storage)?
    } else {
        let name = if args.latest {
            select::latest(engine)?
        } else {
            let wanted = "you must supply a running container name or id";
            operands.next().ok_or_else(|| Error::usage(wanted))?.clone()
        };
        vec![container::find(&engine.storage, &name)?]
    };
    let wanted = operands
        .next()
        .map(|port| Wanted::parse(port))
        .transpose()?;
    for container in shown {
        // As Podman: what does not run, or publishes nothing, has nothing to show.
        if container.status.state != State::Running || container.record.options.ports.is_empty() {
            continue;
        }
        // Podman: with --all, those that publish nothing are left out.
        show(output, &container, args.all, wanted.as_ref())?;
    }
    Ok(0)
}

/// The port that is asked for.
struct Wanted {
    port: u16,
    protocol: String,
    typed: String,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let parsed = port.parse().map_err(|_| {
            Error::usage(format!(
                "strconv.ParseUint: parsing {port:?}: invalid syntax"
            ))
        });
        Ok(Self {
            port: parsed?,
            protocol: protocol.to_owned(),
            typed: text.to_owned(),
        })
    }
}

fn show(output: &mut Output, it: &Container, all: bool, wanted: Option<&Wanted>) -> Result<()> {
    let mut found = false;
    for mapping in &it.record.options.ports {
        let host = address(mapping);
        let (port, protocol) = (mapping.container_port, &mapping.protocol);
        match wanted {
            Some(wanted) if wanted.port == port && wanted.protocol == *protocol => {
                found = true;
                output.line(host);
            }
            Some(_) => {}
            None if all => {
                let id = it.record.id.short();
                output.line(format_args!("{id}\t{port}/{protocol} -> {host}"));
            }
            None => output.line(format_args!("{port}/{protocol} -> {host}")),
        }
    }
    match wanted {
        Some(wanted) if !found && !all => Err(Error::other(format!(
            "failed to find published port {:?}",
            wanted.typed
        ))),
        _ => Ok(()),
    }
}

/// `0.0.0.0:8080`
fn address(mapping: &PortMapping) -> String {
    let ip = match mapping.host_ip.as_str() {
        "" => "0.0.0.0",
        ip => ip,
    };
    format!("{ip}:{}", mapping.host_port)
}
