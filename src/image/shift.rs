//! An image under an id map: what an overlay is mounted of, made if the layers as
//! they are do not show the image's owners under that map.

use std::path::PathBuf;

use super::no_such;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, ImageId};
use crate::settings;
use crate::storage::shifted::{self, Lower, Method, Shift, Source, Tree};
use crate::storage::{Staging, Storage, lock_alone, lock_shared, write_json};
use crate::sys::file::{Durable, sync_file_system};
use crate::sys::process;
use crate::userns::{IdMap, Machine};

/// What is counted of an image that is made for another id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Its files' content is copied.
    Bytes,
    /// No content is: each file gets its owners.
    Files,
}

/// Hears how much is done, and how much there is about; of all of it last. It is
/// called in another process.
pub type Progress = fn(work: Work, done: u64, total: u64);

/// What to mount of the image `id` of `layers` (lowest first) for its files to have
/// their owners under `map`. What is missing for that is made; of two who make the
/// same one works and the other waits.
pub fn ensure(
    engine: &Engine,
    id: &ImageId,
    layers: &[DiffId],
    map: &IdMap,
    progress: Option<Progress>,
) -> Result<Lower> {
    let storage = &engine.storage;
    let base = engine.default_map();
    if !base.is_single() {
        let single = storage.single_layers(layers)?;
        if !single.is_empty() {
            let restored =
                engine.in_namespace(|| single.iter().try_for_each(|id| storage.restore_owners(id)));
            // The ids that there are now may be too few for it.
            restored.map_err(|error| error.hint(Machine::of(&engine.settings).more_ids()))?;
        }
    }
    // With one id every file is the caller's, under any map.
    if base.is_single() || map == base || layers.is_empty() {
        return Ok(storage.plain(layers));
    }
    let Some(shift) = Shift::new(base, map, &storage.read_layers(layers)?)? else {
        return Ok(storage.plain(layers));
    };
    let forced = forced()?;
    let there = |methods: &[Method]| {
        methods.iter().find_map(|&method| {
            let dir = storage.shifted_tree(id, &shift, method);
            dir.exists()
                .then(|| storage.shifted_lower(&dir, layers, method))
        })
    };
    let metadata_works = remembered(storage);
    if let Some(found) = there(methods(forced, metadata_works)) {
        return Ok(found);
    }
    let dir = storage.image(id);
    // So the image stays, and one at a time makes trees of it.
    let _image = lock_shared(&dir).map_err(|_| no_such(id.as_str()))?;
    let _maker = lock_alone(&dir.join("config.json")).map_err(|_| no_such(id.as_str()))?;
    let metadata_works = match forced {
        Some(Method::Reflink | Method::Copy) => false,
        _ => metadata_works || find_out(engine)?,
    };
    if !metadata_works && forced == Some(Method::Metadata) {
        return Err(Error::other(
            "CORACLE_SHIFT is metadata, which no overlay in a user namespace takes here",
        )
        .hint("Linux 6.16 is the first where it does"));
    }
    let methods = methods(forced, metadata_works);
    if let Some(found) = there(methods) {
        return Ok(found);
    }
    let method = methods[0];
    let made = engine.interruptible(|| {
        let staging = storage.stage_apart()?;
        let made = make(engine, &staging, layers, &shift, method, progress)
            .and_then(|()| publish(storage, &staging, id, &shift, method));
        if made.is_err() {
            // What cannot be cleared away now is swept later.
            let _ = engine.remove_tree(staging.path());
        }
        made
    });
    let dir = made.tried(|| format!("shift the files of image {}", id.short()))?;
    Ok(storage.shifted_lower(&dir, layers, method))
}

/// Makes the tree in staging.
fn make(
    engine: &Engine,
    staging: &Staging,
    layers: &[DiffId],
    shift: &Shift,
    method: Method,
    progress: Option<Progress>,
) -> Result<()> {
    let storage = &engine.storage;
    let known = storage.read_layers(layers)?;
    let work = match method {
        Method::Metadata => Work::Files,
        Method::Reflink | Method::Copy => Work::Bytes,
    };
    let layers_known = known.iter().flatten();
    let total = match work {
        Work::Files => layers_known.map(|layer| layer.entries).sum(),
        Work::Bytes => layers_known.map(|layer| layer.size).sum(),
    };
    let sources: Vec<Source> = layers
        .iter()
        .zip(&known)
        .rev()
        .map(|(id, layer)| Source {
            folder: storage.layer(id).join("diff"),
            attributes: layer.as_ref().is_none_or(|layer| layer.attributes),
        })
        .collect();
    let into = staging.path().join(TREE);
    let tried = || format!("make {}", into.display());
    std::fs::create_dir(&into).tried(tried)?;
    let made = engine.in_namespace(|| {
        process::allow_many_files();
        let mut told = None;
        let made = shifted::make(&into, &sources, shift, method, &mut |done| {
            if let Some(progress) = progress {
                let done = match work {
                    Work::Files => done.files,
                    Work::Bytes => done.bytes,
                };
                progress(work, done.min(total), total);
                told = Some(progress);
            }
        });
        if let Some(progress) = told {
            progress(work, total, total);
        }
        made
    })?;
    let tree = Tree {
        method,
        shift: shift.clone(),
        files: made.files,
        size: made.size,
    };
    // Synced with the whole tree, before it is published.
    write_json(&into.join("shifted.json"), &tree, Durable::No)
}

/// Its name in staging.
const TREE: &str = "shifted";

fn publish(
    storage: &Storage,
    staging: &Staging,
    id: &ImageId,
    shift: &Shift,
    method: Method,
) -> Result<PathBuf> {
    let target = storage.shifted_tree(id, shift, method);
    let all = storage.shifted();
    std::fs::create_dir_all(&all).tried(|| format!("make {}", all.display()))?;
    sync_file_system(staging.path()).tried(|| "sync the files")?;
    staging
        .publish(TREE, &target, true)
        .tried(|| format!("make {}", target.display()))?;
    Ok(target)
}

/// What `CORACLE_SHIFT` says.
fn forced() -> Result<Option<Method>> {
    match settings::shift().as_deref() {
        None | Some("") => Ok(None),
        Some("metadata") => Ok(Some(Method::Metadata)),
        Some("reflink") => Ok(Some(Method::Reflink)),
        Some("copy") => Ok(Some(Method::Copy)),
        Some(other) => Err(Error::usage(format!(
            "CORACLE_SHIFT is {other:?}, and none of metadata, reflink, copy"
        ))),
    }
}

/// What will do, the best first.
fn methods(forced: Option<Method>, metadata_works: bool) -> &'static [Method] {
    match forced {
        Some(Method::Metadata) => &[Method::Metadata],
        Some(Method::Reflink) => &[Method::Reflink],
        Some(Method::Copy) => &[Method::Copy],
        // A copy that is there costs nothing any more.
        None if metadata_works => &[Method::Metadata, Method::Copy],
        None => &[Method::Copy],
    }
}

/// Whether this kernel's overlay takes metadata alone, found by trying. That it does
/// is remembered; what keeps it from that may pass.
fn find_out(engine: &Engine) -> Result<bool> {
    let staging = engine.storage.stage()?;
    let works = engine.in_namespace(|| shifted::metadata_works(staging.path()))?;
    if works {
        let _ = std::fs::create_dir_all(engine.storage.cache());
        // What cannot be remembered is tried again.
        let _ = std::fs::File::create(memory(&engine.storage));
    }
    Ok(works)
}

fn remembered(storage: &Storage) -> bool {
    memory(storage).exists()
}

/// One for each kernel.
fn memory(storage: &Storage) -> PathBuf {
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy().replace('/', "_");
    storage.cache().join(format!("metadata-layers-{release}"))
}
