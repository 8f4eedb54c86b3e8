use super::made::note_created;
use super::session::Session;
use crate::cli::args::image as which;
use crate::cli::args::{registry, resources};
use crate::cli::image::steps::{Steps, chooser, warn_of_platform};
use crate::cli::{Command, Example};
use crate::container::attach::Wanted;
use crate::container::create::{make_ready, publish, use_neighbours};
use crate::container::options::Resources;
use crate::container::remove::{Removal, remove};
use crate::container::{self, ImageUse, Record};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::{ContainerId, Name};
use crate::image::{self, Image};
use crate::output::Output;
use crate::output::progress::copying;
use crate::storage::Storage;
use crate::sys::file::Durable;

/// Clone an existing container
///
/// Makes a container with the configuration of another: command, environment, volumes,
/// checks and limits, which flags change. Its files, its hostname and its published ports
/// are not taken over. The volumes are shared, the anonymous ones too. The name is that of
/// the other with -clone, unless one is given; the image may be another.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER [NAME [IMAGE]]")]
    operands: Vec<String>,

    /// Remove the container that is cloned
    #[arg(long)]
    destroy: bool,

    /// With --destroy: remove it even if it runs
    #[arg(long, short = 'f')]
    force: bool,

    /// Name of the new container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// There are no pods: refused
    #[arg(long, value_name = "POD", hide = true)]
    pod: Option<String>,

    #[command(flatten)]
    resources: resources::Args,

    /// Start it
    #[arg(long)]
    run: bool,
}

pub const COMMAND: Command = Command {
    names: &["container clone"],
    define: || {
        let definition = <Args as clap::Args>::augment_args(clap::Command::new(""));
        super::update::hide_fixed(definition)
    },
    run: |matches, session| {
        super::update::refuse_fixed(matches, "container clone")?;
        let args = <Args as clap::FromArgMatches>::from_arg_matches(matches)
            .map_err(|error| Error::usage(error.to_string()))?;
        run(&args, &session.engine()?, &mut session.output())
    },
    examples: &[Example {
        line: "coracle container clone --cpus 2 web web2",
        does: "Make a container like web that may use two processors.",
    }],
};

fn run(args: &Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let (name, operand, image) = match args.operands.as_slice() {
        [name] => (name, None, None),
        [name, new] => (name, Some(new), None),
        [name, new, image] => (name, Some(new), Some(image)),
        other => {
            return Err(Error::usage(format!(
                "accepts between 1 and 3 arg(s), received {}",
                other.len()
            )));
        }
    };
    if args.force && !args.destroy {
        return Err(Error::usage(
            "cannot set --force without --destroy: invalid argument",
        ));
    }
    if args.pod.is_some() {
        return Err(Error::unsupported("--pod"));
    }
    let asked = args.resources.resources()?;
    container::sweep(engine)?;
    let storage = &engine.storage;
    let old = container::find(storage, name)?;
    let image = match image {
        Some(image) => Some(brought(engine, image, output)?),
        None => None,
    };
    // What it is made of may not go meanwhile.
    let id = image.as_ref().map_or(&old.record.image.id, |it| &it.id);
    let _held = match id.is_none() {
        true => None,
        false => Some(image::find(storage, id.as_str())?.lock(storage)?),
    };
    let mut record = Record {
        id: ContainerId::random(),
        name: match operand.or(args.name.as_ref()) {
            Some(name) => name.parse()?,
            None => free_name(storage, &old.record.name)?,
        },
        created: jiff::Timestamp::now(),
        ..old.record.clone()
    };
    if let Some(image) = image {
        record.options.rootfs = None;
        record.image = ImageUse {
            name: image
                .name
                .as_ref()
                .map_or_else(|| image.id.to_string(), ToString::to_string),
            id: image.id,
            layers: image.layers,
        };
    }
    let options = &mut record.options;
    if asked != Resources::default() {
        options.resources = options.resources.changed_by(&asked);
    }
    options.hostname = None;
    options.ports = Vec::new();
    // Files that tell the ids of the other are the other's.
    (options.cidfile, options.pidfile, options.monitor_pidfile) = (None, None, None);
    for warning in args.resources.warnings() {
        output.notice(warning);
    }
    make_ready(engine, &record, Some(copying))?;
    publish(storage, &record)?;
    if let Err(error) = use_neighbours(storage, &record, Durable::Yes) {
        if let Some(made) = container::load(storage, &record.id)? {
            let _ = remove(engine, &made, Removal::default());
        }
        return Err(error);
    }
    note_created(engine, &record)?;
    if args.destroy {
        let how = Removal {
            force: args.force,
            ..Removal::default()
        };
        remove(engine, &old, how)?;
    }
    if args.run {
        let session = Session {
            wanted: Wanted {
                stdin: false,
                stdout: false,
                stderr: false,
                tty: record.options.tty,
                detach_keys: Vec::new(),
                sig_proxy: false,
            },
            detached: true,
            descriptors: Vec::new(),
        };
        session.start(engine, &record, false, output)?;
    }
    output.line(&record.id);
    Ok(0)
}

/// The image of this name, pulled where it is missing.
fn brought(engine: &Engine, name: &str, output: &mut Output) -> Result<Image> {
    let wanted = which::platform(&None, &None, &None, &None)?;
    output.flush();
    let mut steps = Steps::new(output, false);
    let pull = image::Pull {
        text: name,
        policy: which::policy("missing")?,
        wanted: &wanted,
        options: &registry::Args::default().options()?,
        choose: chooser(),
    };
    let image = image::pull(engine, &pull, &mut |step| steps.tell(step))?;
    warn_of_platform(output, &image, &wanted);
    Ok(image)
}

/// `NAME-clone`, or with the first number that makes it free.
fn free_name(storage: &Storage, of: &Name) -> Result<Name> {
    for number in 0.. {
        let end = if number == 0 {
            String::new()
        } else {
            number.to_string()
        };
        let name: Name = format!("{of}-clone{end}").parse()?;
        if !storage.names().join(&name).is_symlink() {
            return Ok(name);
        }
    }
    unreachable!("the loop ends by returning")
}
