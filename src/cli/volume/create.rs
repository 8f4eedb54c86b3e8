use std::collections::BTreeMap;

use crate::cli::Example;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::image;
use crate::output::Output;
use crate::storage::Locked;
use crate::sys::file::Durable;
use crate::volume::{self, Beneath, Volume};

/// Create a new volume
///
/// Makes an empty volume and prints its name; without a name it gets one of 64
/// hexadecimal digits. The first container that uses it fills it with the files
/// its image has at that place.
#[derive(clap::Args)]
pub struct Args {
    /// Who keeps the volume: `local`, or `image` for the files of an image and changes to them
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,

    /// Do not fail if a volume of that name exists
    #[arg(long)]
    ignore: bool,

    /// Set metadata, KEY or KEY=VALUE; may be repeated
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,

    /// Set an option of the driver
    ///
    /// Of local: type=, device= and o= say what is mounted, in mount(8)'s words: a
    /// tmpfs (type=tmpfs, o=size=64m), a folder (type=none, device=DIR, o=bind), or
    /// what else the kernel lets a user mount; o=uid=,gid= say whose the volume is;
    /// nocopy: it is not filled from an image. Of image: image=.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    opt: Vec<String>,

    /// Give the volume to the user with this id in the container
    #[arg(long, value_name = "UID", allow_negative_numbers = true)]
    uid: Option<i32>,

    /// Give the volume to the group with this id in the container
    #[arg(long, value_name = "GID", allow_negative_numbers = true)]
    gid: Option<i32>,

    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume create model_output",
        does: "Make a volume that keeps what containers write.",
    },
    Example {
        line: "coracle volume create --label project=demo --opt type=tmpfs --opt device=tmpfs --opt o=size=64m scratch",
        does: "Make a volume in memory, with a label.",
    },
    Example {
        line: "coracle volume create --driver image --opt image=alpine tree",
        does: "Make a volume that has an image's files.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if args.names.len() > 1 {
        return Err(Error::usage(format!(
            "accepts at most 1 arg(s), received {}",
            args.names.len()
        )));
    }
    let name = match args.names.first().filter(|name| !name.is_empty()) {
        Some(name) => name.parse().tried(|| "running volume create option")?,
        None => Name::random(),
    };
    let labels = labels(&args.label)?;
    let mut wanted = Volume::new(name);
    // Held until the volume is in place.
    let mut _image = None;
    match args.driver.as_str() {
        "" | "local" => {
            let parsed = volume::parse_options(&args.opt)?;
            wanted.options = parsed.options;
            (wanted.uid, wanted.gid) = (parsed.uid, parsed.gid);
        }
        "image" => _image = Some(show_image(engine, &mut wanted, &args.opt)?),
        other => {
            return Err(Error::usage(format!(
                "volume {} uses volume plugin {other} but it could not be retrieved: no volume plugin with name {other} available: required plugin missing",
                wanted.name
            )));
        }
    }
    wanted.labels = labels;
    // As chown(2): -1 is as if none were given.
    let id = |given: Option<i32>| given.filter(|id| *id != -1).map(i32::cast_unsigned);
    wanted.uid = id(args.uid).or(wanted.uid);
    wanted.gid = id(args.gid).or(wanted.gid);
    check_owner(engine, &wanted)?;
    let is_new = if args.ignore {
        let (found, _held) = volume::ensure(&engine.storage, &wanted, Durable::Yes)?;
        found.created == wanted.created
    } else {
        volume::create(&engine.storage, &wanted)?;
        true
    };
    if is_new {
        volume::note(&engine.storage, &wanted.name, "create");
    }
    output.line(&wanted.name);
    Ok(0)
}

/// Whether files can be given to who is to own the volume; with one id alone all files
/// are that one's.
fn check_owner(engine: &Engine, wanted: &Volume) -> Result<()> {
    let map = engine.default_map();
    let has = |is_mapped: bool| map.is_single() || is_mapped;
    let is_user = has(wanted.uid.is_none_or(|uid| map.uid_outside(uid).is_some()));
    let is_group = has(wanted.gid.is_none_or(|gid| map.gid_outside(gid).is_some()));
    if is_user && is_group {
        return Ok(());
    }
    let (uid, gid) = (wanted.uid.unwrap_or(0), wanted.gid.unwrap_or(0));
    Err(Error::other(format!(
        "chowning volume directory {:?} to {uid}:{gid}: potentially insufficient UIDs or GIDs available in user namespace: invalid argument",
        volume::mountpoint(&engine.storage, &wanted.name)
    ))
    .hint("/etc/subuid and /etc/subgid say how many ids you have"))
}

/// Makes `wanted` a volume of driver `image`.
fn show_image(engine: &Engine, wanted: &mut Volume, given: &[String]) -> Result<Locked> {
    let mut name = None;
    for option in given {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "image" => name = Some(value),
            other => {
                return Err(Error::usage(format!(
                    "invalid mount option {other} for driver 'image': invalid argument"
                )));
            }
        }
    }
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Error::usage(
            "must provide an image name when creating a volume with the image driver: invalid argument",
        )
    })?;
    let tried = || format!("looking up image {name} to create volume failed");
    let image = image::find(&engine.storage, name).tried(tried)?;
    let held = image.lock(&engine.storage).tried(tried)?;
    wanted.driver = "image".to_owned();
    wanted.options.insert("image".to_owned(), name.to_owned());
    wanted.image = Some(Beneath {
        id: image.id,
        layers: image.layers,
    });
    Ok(held)
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>> {
    let pairs = given.iter().map(|label| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if key.is_empty() {
            return Err(Error::usage(format!(
                "unable to process labels: invalid label format: {label:?}"
            )));
        }
        Ok((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}
