use std::ffi::OsString;

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

/// Whether it is as good as certain that `argv` runs a container with the ids that
/// containers have by default: nothing in it asks for others, binds a folder or joins
/// another container. Who begins such a namespace may have done it in vain, no more.
pub fn has_usual_ids(argv: &[OsString]) -> bool {
    is_usual(argv)
        && std::env::var_os("PODMAN_USERNS").is_none()
        && Configuration::read().is_ok_and(|it| it.userns.is_none())
}

/// What `argv` alone says of that.
fn is_usual(argv: &[OsString]) -> bool {
    let words = argv.iter().map(|word| word.to_str().unwrap_or_default());
    let words: Vec<&str> = words.skip(1).collect();
    let (["run", rest @ ..] | ["container", "run", rest @ ..]) = words.as_slice() else {
        return false;
    };
    let asks = |word: &&str| {
        let path = word
            .trim_start_matches("--volume=")
            .trim_start_matches("-v");
        UNUSUAL.iter().any(|option| word.starts_with(option))
            || ["container:", "ns:"].iter().any(|mode| word.contains(mode))
            || (path.starts_with(['/', '.', '~']) && path.contains(':'))
    };
    !rest.is_empty() && !rest.iter().any(asks)
}

/// The beginnings of options with which a container may have other ids.
const UNUSUAL: [&str; 9] = [
    "--gidmap",
    "--help",
    "--mount",
    "--pod",
    "--subgid",
    "--subuid",
    "--uidmap",
    "--userns",
    "--volumes-from",
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    args.run.check()?;
    let descriptors = args.run.descriptors.open()?;
    let streams = args.run.streams(&args.create)?;
    let detach_keys = detach_keys(args.run.detach_keys.as_deref())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_have_other_ids_is_unusual() {
        let is_usual = |line: &str| {
            let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            super::is_usual(&argv)
        };
        for line in [
            "coracle run --rm busybox true",
            "coracle container run -v data:/data busybox sh -c x",
            "podman run --network=none -d busybox",
        ] {
            assert!(is_usual(line), "{line}");
        }
        for line in [
            "coracle run",
            "coracle create busybox",
            "coracle run --help",
            "coracle run --userns=keep-id busybox",
            "coracle run --userns keep-id busybox",
            "coracle run -v /data:/data busybox",
            "coracle run -v./data:/data busybox",
            "coracle run --volume=~/data:/data busybox",
            "coracle run --mount type=bind,src=a,dst=/a busybox",
            "coracle run --pid container:other busybox",
            "coracle run --network=ns:/run/netns/a busybox",
        ] {
            assert!(!is_usual(line), "{line}");
        }
    }
}
