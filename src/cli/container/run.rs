use super::made::{Made, make};
use super::session::{Session, detach_keys};
use crate::cli::Example;
use crate::cli::args::create::{CreateArgs, RunArgs};
use crate::cli::image::remove::remove;
use crate::container::attach::Wanted;
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::image;
use crate::output::Output;
use crate::settings::Configuration;

/// Run a command in a new container
///
/// Makes a container from IMAGE and runs COMMAND in it, or what the image says.
/// In the foreground its output is ours and so is its exit code; 125 means that
/// coracle itself failed, 126 that the command cannot be invoked, 127 that there
/// is none.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    create: CreateArgs,
    #[command(flatten)]
    run: RunArgs,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle run --rm busybox echo hello",
        does: "Run a command and remove the container after it.",
    },
    Example {
        line: "coracle run --rm -v results:/out busybox sh -c 'echo done > /out/log'",
        does: "Keep what it writes in the named volume results.",
    },
    Example {
        line: "coracle run -d --name web --network none busybox sleep 1000",
        does: "Run one in the background.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    args.run.check()?;
    let descriptors = args.run.descriptors.open()?;
    let streams = args.run.streams(&args.create)?;
    let detach_keys = detach_keys(args.run.detach_keys.as_deref())?;
    let configured = &Configuration::read()?.userns;
    if args.create.leaves_ids_alone() && configured.is_none() {
        engine.begin_namespace(engine.default_map());
    }
    let mut made = make(engine, &args.create, output)?;
    made.record.options.accounts.writes = args.run.passwd;
    made.record.options.remove |= args.run.rmi;
    made.record.options.remove_image = args.run.rmi;
    let image = made.record.image.name.clone();
    let options = &made.record.options;
    // Then the container has our own streams, and nothing is carried or said.
    let is_passed = options.log.driver.is_passthrough() && !options.tty;
    let wanted = Wanted {
        stdin: streams.stdin && options.interactive && !is_passed,
        stdout: (streams.stdout || options.tty) && !is_passed,
        stderr: streams.stderr && !options.tty && !is_passed,
        tty: options.tty,
        detach_keys,
        sig_proxy: args.run.sig_proxy,
    };
    let only_stdin = !wanted.stdout && !wanted.stderr && !is_passed;
    let session = Session {
        wanted,
        detached: args.run.detach,
        descriptors,
    };
    for attempt in 1.. {
        let id = made.record.id.clone();
        let Made {
            record,
            held,
            ports,
        } = made;
        let mut lock = Some(held);
        let cidfile = record.options.cidfile.clone();
        let started = |output: &mut Output| {
            if args.run.detach && !is_passed {
                output.line(&id);
            }
        };
        let created = || {
            lock.take();
            if let Some(path) = &cidfile {
                let _ = super::made::write_cidfile(path, &id);
            }
        };
        match session.start_with(engine, &record, true, output, started, created) {
            // A name of our own choosing that somebody has: choose another.
            Err(error)
                if error.kind() == Kind::Exists
                    && args.create.lifetime.name()?.is_none()
                    && attempt < 8 =>
            {
                let held = lock.take().expect("nothing was made that lets it go");
                made = super::made::renamed(
                    Made {
                        record,
                        held,
                        ports,
                    },
                    attempt,
                );
            }
            result => {
                // As Podman, for who sees nothing of the container.
                if result.is_ok() && only_stdin && !args.run.detach {
                    output.line(&id);
                }
                if let (Ok(_), true) = (&result, args.run.rmi) {
                    remove_image(engine, &image, output);
                }
                return result;
            }
        }
    }
    unreachable!("the loop ends by returning")
}

/// `--rmi`: an image that is not to be had is left, and said so.
fn remove_image(engine: &Engine, name: &str, output: &mut Output) {
    let removed = image::find(&engine.storage, name)
        .and_then(|image| remove(engine, &image, Some(name), false));
    if let Err(error) = removed {
        output.notice(format_args!("Warning: failed to remove image: {error}"));
    }
}
