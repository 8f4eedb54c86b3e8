//! `coracle manifest …`

use std::collections::BTreeMap;

use super::{Command, command};
use crate::error::{Error, Result};
use crate::image::lists::Said;

mod add;
mod annotate;
mod create;
mod exists;
mod inspect;
mod push;
mod remove;
mod rm;

pub const COMMANDS: &[Command] = &[
    command!(add, "manifest add"),
    command!(annotate, "manifest annotate"),
    command!(create, "manifest create"),
    command!(exists, "manifest exists"),
    command!(inspect, "manifest inspect"),
    command!(push, "manifest push"),
    command!(remove, "manifest remove"),
    command!(rm, "manifest rm"),
];

/// What a list says of one of its images beside what that says itself.
#[derive(clap::Args, Debug, Clone, Default)]
#[group(skip)]
struct Entry {
    /// Set an annotation of the entry
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,

    /// Say that it is for this architecture
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// Say that it needs these features; of Docker's lists only
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    features: Vec<String>,

    /// Say that it is for this operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Say that it is for this version of it
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,

    /// Say that it is for this variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
}

impl Entry {
    fn said(&self) -> Result<Said> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Said {
            os: some(&self.os),
            architecture: some(&self.arch),
            variant: some(&self.variant),
            os_version: some(&self.os_version),
            os_features: Vec::new(),
            features: self.features.clone(),
            annotations: annotations(&self.annotation)?,
        })
    }
}

fn annotations(given: &[String]) -> Result<BTreeMap<String, String>> {
    let split = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Error::usage(format!(
            "no value given for annotation {text:?}"
        ))),
    };
    given.iter().map(split).collect()
}
