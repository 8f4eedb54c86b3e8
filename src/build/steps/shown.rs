//! A step as people read it: in lines, in errors, in an image's history.

use crate::build::language::Instruction;
use crate::build::stage::{Here, Work};
use crate::error::{Error, Kind};

impl Work<'_> {
    /// Podman's words for a step that cannot be done.
    pub fn failed(&self, step: &Instruction, error: Error) -> Error {
        let place = format!("{}:{}", self.build.file.name, step.line);
        let kind = error.kind();
        let error = error.tried(format_args!(
            "building at STEP {:?}",
            Plain(&shown_error(step))
        ));
        let error = match kind {
            Kind::CannotInvoke | Kind::CommandNotFound => error.kind_is(Kind::Other),
            _ => error,
        };
        match (error.hint_line().map(str::to_owned), step.line) {
            (_, 0) => error,
            (Some(hint), _) => error.hint(format!("{hint} ({place})")),
            (None, _) => error.hint(place),
        }
    }

    /// What Podman adds to each line of the history for some flags.
    pub fn suffix(&self, here: &Here<'_>) -> String {
        self.suffix_unset() + &self.suffix_time(here)
    }

    /// The part of it that tells of what is left out.
    pub fn suffix_unset(&self) -> String {
        let labels = self.build.unset_labels.iter();
        let mut suffix: String = labels.map(|name| format!("|unsetLabel={name}")).collect();
        if !self.build.inherits_labels {
            suffix.push_str("|inheritLabels=false");
        }
        if !self.build.inherits_annotations {
            suffix.push_str("|inheritAnnotations=false");
        }
        let annotations = self.build.unset_annotations.iter();
        suffix.extend(annotations.map(|name| format!("|unsetAnnotation={name}")));
        suffix
    }

    /// The part of it that tells of times, and of the last step's annotations.
    pub fn suffix_time(&self, here: &Here<'_>) -> String {
        let mut suffix = match self.build.times {
            crate::container::adopt::Times::Set(at) => format!("|force-mtime={at}"),
            _ => String::new(),
        };
        if here.is_last {
            let annotations = self.build.annotations.iter();
            let said: Vec<String> = annotations
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            suffix.push_str(&said.join("|"));
        }
        suffix
    }
}

/// A step as `STEP` shows it.
pub fn shown_step(step: &Instruction) -> String {
    let mut shown = step.original.clone();
    for heredoc in &step.heredocs {
        let mut lines = heredoc.content.lines();
        let first = lines.next().unwrap_or_default();
        let more = if lines.next().is_some() { "..." } else { "" };
        shown.push_str(&format!(" ({first}{more})"));
    }
    shown
}

/// A step as errors show it: of a command in JSON the words alone.
pub fn shown_error(step: &Instruction) -> String {
    match (step.keyword.as_str(), step.json()) {
        ("RUN", Some(words)) => {
            let flags: String = step.flags.iter().map(|flag| format!("{flag} ")).collect();
            format!("RUN {flags}{}", words.join(" "))
        }
        _ => step.original.clone(),
    }
}

/// Shown within quotes as it is.
struct Plain<'a>(&'a str);

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}
