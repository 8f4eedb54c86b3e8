//! What `push` and `manifest push` have in common.

use std::path::PathBuf;

use super::refused::{self, Flag, flags, value};
use super::registry;
use crate::error::{Context, Error, Kind, Result};
use crate::id::Digest;
use crate::image::{self, Compression, Place, Reference, To};
use crate::sys::file::{Durable, write_whole};

#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    pub registry: registry::Args,

    #[command(flatten)]
    refused: Refused,

    /// Compress layers by this: gzip, zstd or zstd:chunked
    #[arg(long, value_name = "FORMAT")]
    compression_format: Option<String>,

    /// Compress layers that much
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<String>,

    /// Write the digest of the manifest to this file
    #[arg(long, value_name = "PATH")]
    digestfile: Option<PathBuf>,

    /// Send no layer that is compressed by anything else
    #[arg(long)]
    pub force_compression: bool,

    /// Print nothing
    #[arg(short, long)]
    pub quiet: bool,

    /// Send no signatures; there are none
    #[arg(long)]
    remove_signatures: bool,
}

/// What there is nothing behind yet, in the order of podman-push(1).
const FLAGS: &[Flag] = &[
    value("encrypt-layer"),
    value("encryption-key"),
    value("sign-by"),
    value("sign-by-sigstore"),
    value("sign-by-sigstore-private-key"),
    value("sign-by-sq-fingerprint"),
    value("sign-passphrase-file"),
    value("signature-policy"),
];

struct Refused(refused::Refused);
flags!(Refused, FLAGS, Refused);

impl Args {
    pub fn check(&self) -> Result<()> {
        self.refused.0.check()
    }

    /// How layers are compressed that must be made.
    pub fn compression(&self) -> Result<Option<Compression>> {
        compression(
            self.compression_format.as_deref(),
            self.compression_level.as_deref(),
        )
    }

    /// Writes down the digest that the manifest has there.
    pub fn note(&self, digest: &Digest) -> Result<()> {
        match &self.digestfile {
            None => Ok(()),
            Some(path) => write_whole(path, digest.as_str().as_bytes(), Durable::No)
                .tried(|| format!("write {}", path.display())),
        }
    }
}

/// What is sent and, if that is said, where to.
pub fn operands(names: &[String]) -> Result<(&str, Option<&str>)> {
    match names {
        [what] => Ok((what, None)),
        [what, to] => Ok((what, Some(to))),
        _ => Err(Error::usage(format!(
            "accepts between 1 and 2 arg(s), received {}",
            names.len()
        ))),
    }
}

/// Where a list or an image is sent to.
pub enum Destination {
    Registry(Reference),
    Place(Place),
}

/// The place or the registry that is `given`, or the registry of its own name.
pub fn destination(given: Option<&str>, image: &image::Image) -> Result<Destination> {
    let text = match given {
        Some(text) => text,
        None => {
            let own = image.name.clone();
            return own.map(Destination::Registry).ok_or_else(|| {
                Error::usage(format!("{} has no name to push to", image.id.short()))
            });
        }
    };
    let name = text.strip_prefix("docker://").unwrap_or(text);
    if let Some(place) = Place::parse(name, "pushing to")? {
        return Ok(Destination::Place(place));
    }
    match Reference::normalized(name) {
        Ok(reference) => Ok(Destination::Registry(reference.or_latest())),
        Err(error) if error.kind() == Kind::Usage => {
            Err(error.tried(format_args!("invalid image reference {text:?}")))
        }
        Err(error) => Err(error),
    }
}

impl Destination {
    pub fn of_list(&self) -> To<'_> {
        match self {
            Self::Registry(to) => To::Registry(to),
            Self::Place(place) => To::Place(place),
        }
    }
}

/// `--compression-format` or the like.
pub fn compression(format: Option<&str>, level: Option<&str>) -> Result<Option<Compression>> {
    let given = level;
    let level = |least: i32, most: i32| -> Result<Option<i32>> {
        let Some(text) = given else {
            return Ok(None);
        };
        match text.parse() {
            Ok(level) if (least..=most).contains(&level) => Ok(Some(level)),
            _ => Err(Error::usage(format!(
                "invalid compression level {text:?}: it is from {least} to {most}"
            ))),
        }
    };
    let gzip = || Ok(Some(Compression::Gzip(level(0, 9)?.map(|it| it as u32))));
    match format {
        None if given.is_some() => gzip(),
        None => Ok(None),
        Some("gzip") => gzip(),
        Some("zstd") => Ok(Some(Compression::Zstd(level(1, 20)?))),
        Some("zstd:chunked") => Ok(Some(Compression::Chunked(level(1, 20)?))),
        Some(other) => Err(Error::usage(format!(
            "cannot find compressor for {other:?}"
        ))),
    }
}
