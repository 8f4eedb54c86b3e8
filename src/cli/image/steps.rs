//! What is told of an image on its way: Podman's lines on a pipe, lines that move on
//! a terminal.

use std::io::IsTerminal;

use crate::image::{self, Arriving, Image, Step, Wanted};
use crate::output::progress::{Part, Parts};
use crate::output::{Output, Waiting, terminal};
use crate::sys::SoleThread;

/// Who asks which of several names a short one means: nobody, where nobody answers, nor as
/// `docker`, which never asks.
pub fn chooser() -> Option<&'static image::Choose> {
    let is_docker = std::env::args_os().next().is_some_and(|program| {
        let name = std::path::Path::new(&program).file_name();
        name.is_some_and(|name| name == "docker")
    });
    let answers = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    (answers && !is_docker).then_some(&|names| terminal::choose("Please select an image:", names))
}

/// Tells steps on stderr.
pub struct Steps<'a> {
    output: &'a mut Output,
    quiet: bool,
    parts: Option<Parts>,
    /// Until the work is done.
    waiting: Option<Waiting>,
}

impl<'a> Steps<'a> {
    pub fn new(output: &'a mut Output, quiet: bool) -> Self {
        Self {
            output,
            quiet,
            parts: None,
            waiting: None,
        }
    }

    /// Of work that was told of before, with the bars it had then.
    pub fn going_on(output: &'a mut Output, quiet: bool, parts: Option<Parts>) -> Self {
        Self {
            parts,
            ..Self::new(output, quiet)
        }
    }

    /// The bars, for when there is more to tell.
    pub fn parts(self) -> Option<Parts> {
        self.parts
    }

    /// Of work that at first does not say how far it has got.
    pub fn waiting(output: &'a mut Output, quiet: bool, thread: SoleThread, what: &str) -> Self {
        Self {
            waiting: (!quiet).then(|| Waiting::new(thread, what)),
            parts: (!quiet).then(Parts::on_terminal).flatten(),
            ..Self::new(output, quiet)
        }
    }

    pub fn tell(&mut self, step: Step) {
        if self.quiet {
            return;
        }
        let line = match &step {
            Step::Resolved(line) | Step::Line(line) => line.clone(),
            Step::Trying(name) => format!("Trying to pull {name}..."),
            Step::Begun => {
                self.parts = Parts::on_terminal();
                "Getting image source signatures".to_owned()
            }
            Step::Layer(digest) | Step::Skipped(digest) if self.parts.is_none() => {
                format!("Copying blob {digest}")
            }
            Step::Skipped(digest) => {
                format!("Copying blob {} skipped: already exists", short(digest))
            }
            // It has a line that moves.
            Step::Layer(_) => return,
            Step::Arriving(parts) => {
                if let Some(shown) = &mut self.parts
                    && !parts.is_empty()
                {
                    // These lines say more than that one.
                    self.waiting = None;
                    shown.show(&parts.iter().map(part).collect::<Vec<_>>());
                }
                return;
            }
            Step::Config(id) if self.parts.is_none() => format!("Copying config sha256:{id}"),
            Step::Config(id) => format!("Copying config {} done", &id.as_str()[..10]),
            Step::Manifest => "Writing manifest to image destination".to_owned(),
        };
        self.output.notice(line);
    }
}

fn part(it: &Arriving) -> Part {
    Part {
        name: format!("Copying blob {}", short(&it.digest)),
        done: it.arrived,
        total: it.size,
        is_finished: it.done,
    }
}

fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

/// Podman's words for an image that is not of the platform asked for.
pub fn warn_of_platform(output: &mut Output, image: &Image, wanted: &Wanted) {
    if !wanted.takes(&image.os, &image.architecture, &image.variant) {
        let is = match image.variant.as_str() {
            "" => format!("{}/{}", image.os, image.architecture),
            variant => format!("{}/{}/{variant}", image.os, image.architecture),
        };
        output.notice(format_args!(
            "WARNING: image platform ({is}) does not match the expected platform ({})",
            wanted.full()
        ));
    }
}
