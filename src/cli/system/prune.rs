use crate::cli::Example;
use crate::cli::container::prune::at_rest;
use crate::cli::dry_run::{DryRun, containers_would_go, images_would_go, volumes_would_go};
use crate::cli::image::filter::ImageFilters;
use crate::cli::image::prune as images;
use crate::cli::volume::list::VolumeFilters;
use crate::cli::volume::prune as volumes;
use crate::container::remove::{Removal, remove};
use crate::container::{self, Container};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::{ContainerId, Name};
use crate::image::Image;
use crate::output::{Output, Waiting, human};
use crate::volume::{self, Removed};

/// Remove unused data
///
/// Removes all containers that do not run and the images without a name, with --all
/// every image that no container is left of, with --volumes every volume that none
/// is left to use. Asks first, unless --force is given.
#[derive(clap::Args)]
pub struct Args {
    /// Remove all images that no container uses
    #[arg(short, long)]
    all: bool,

    /// Remove containers of builds: there are none
    #[arg(long)]
    build: bool,

    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Remove what other programs left in the store: there is none
    #[arg(long)]
    external: bool,

    /// Remove only what matches, KEY=VALUE: label, label!, until
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Remove volumes too, named ones among them
    #[arg(long)]
    volumes: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle system prune --all --volumes --dry-run",
        does: "Show all that is not in use, and what it takes on disk.",
    },
    Example {
        line: "coracle system prune --force --filter until=240h",
        does: "Remove what has not been in use and is older than ten days.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle system prune` takes no arguments"));
    }
    if args.external {
        return match args.all || args.volumes || !args.filter.is_empty() {
            true => Err(Error::usage(
                "system prune --external cannot be combined with other options",
            )),
            false => Ok(0),
        };
    }
    if !args.force && !args.dry_run {
        let question = "\nAre you sure you want to continue? [y/N] ";
        if !output.confirm(&warning(&args), question)? {
            return Ok(0);
        }
    }
    let plan = Plan::new(&args, engine)?;
    if args.dry_run {
        plan.would_go.print(output);
        return Ok(0);
    }
    let _waiting = Waiting::new(engine.thread, "removing what nothing uses");
    plan.carry_out(engine, output)
}

fn warning(args: &Args) -> String {
    let mut text = String::from("WARNING! This command removes:\n\t- all stopped containers\n");
    if args.volumes {
        text.push_str("\t- all volumes not used by at least one container\n");
    }
    text.push_str(match args.all {
        true => "\t- all images without at least one container associated with them\n",
        false => "\t- all dangling images\n",
    });
    text
}

/// What is to go, and what it takes.
struct Plan {
    containers: Vec<Container>,
    volumes: Vec<Name>,
    images: Vec<Image>,
    /// All of these, in this order.
    would_go: DryRun,
}

impl Plan {
    fn new(args: &Args, engine: &Engine) -> Result<Self> {
        let storage = &engine.storage;
        let containers = at_rest(engine, &args.filter)?;
        let going: Vec<ContainerId> = containers.iter().map(|it| it.record.id.clone()).collect();
        let volumes = match args.volumes {
            true => {
                let filters = VolumeFilters::parse(storage, &args.filter)?;
                volumes::unused(storage, &filters, true, &going)?
            }
            false => Vec::new(),
        };
        let filters = ImageFilters::parse(engine, &args.filter)?;
        let images = images::unused(engine, &filters, args.all, &going)?;
        let mut would_go = DryRun::default();
        containers_would_go(engine, &mut would_go, &containers)?;
        volumes_would_go(engine, &mut would_go, &volumes)?;
        images_would_go(engine, &mut would_go, &images)?;
        Ok(Self {
            containers,
            volumes,
            images,
            would_go,
        })
    }

    fn carry_out(self, engine: &Engine, output: &mut Output) -> Result<u8> {
        let mut code = 0;
        let mut sizes = self.would_go.sizes();
        let mut reclaimed = 0;
        let mut removed = Vec::new();
        for (container, size) in self.containers.iter().zip(&mut sizes) {
            match remove(engine, container, Removal::default()) {
                Ok(()) => {
                    removed.push(container.record.id.to_string());
                    reclaimed += size;
                }
                Err(error) => {
                    code = 125;
                    output.error(&error);
                }
            }
        }
        list(output, "Containers", removed);
        let results = volume::remove(engine, &self.volumes, |name| {
            container::users_of_volume(&engine.storage, name)
        })?;
        let mut removed = Vec::new();
        for ((name, result), size) in self.volumes.iter().zip(results).zip(&mut sizes) {
            if let Removed::Gone = result {
                volume::note(&engine.storage, name, "prune");
                removed.push(name.to_string());
                reclaimed += size;
            }
        }
        list(output, "Volumes", removed);
        let sizes: Vec<_> = self
            .images
            .iter()
            .map(|it| it.id.clone())
            .zip(sizes)
            .collect();
        let removed = images::remove(engine, self.images)?;
        let is_removed = |id: &_| removed.iter().any(|it| it.id == *id);
        let freed = sizes.iter().filter(|(id, _)| is_removed(id));
        reclaimed += freed.map(|(_, size)| size).sum::<u64>();
        list(
            output,
            "Images",
            removed.iter().map(|it| it.id.to_string()).collect(),
        );
        output.line(format_args!(
            "Total reclaimed space: {}",
            human::size(reclaimed, 4)
        ));
        Ok(code)
    }
}

fn list(output: &mut Output, what: &str, names: Vec<String>) {
    if !names.is_empty() {
        output.line(format_args!("Deleted {what}"));
        for name in names {
            output.line(name);
        }
    }
}
