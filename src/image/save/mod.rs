//! Images to files: archives and folders of Docker's and OCI's layout.
//!
//! ```text
//! docker-archive   <diff id>.tar, <image id>.json, what Docker before 1.10 wants
//!                  (<legacy id>/{layer.tar,VERSION,json}), manifest.json, repositories
//! oci-archive      a tar of:
//! oci-dir          blobs/sha256/<hex>, index.json, oci-layout
//! docker-dir       <hex>, manifest.json, version    (`dir:` of Podman and skopeo, whose
//!                  manifest may be OCI's, too)
//! ```
//!
//! A layer is packed anew from what is unpacked, to the byte, and checked against
//! its diff id on the way: what has changed on the disk is an error, no archive.
//! Config and image id stay as they are in every format. Compressed layers get a
//! digest of ours, always the same one; how a registry had compressed them is not
//! kept.
//!
//! **Invariant:** a file is there whole or not at all, a folder's manifest or index
//! is written last.

mod docker;
mod folder;
mod list;
mod oci;
mod tape;

pub use list::{Bytes, Instance, SaveList, check as takes_lists, save_list};

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::Digest as _;

use super::add::{Arriving, Step};
use super::{Format, Image, Reference};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, Digest};
use crate::storage::Storage;
use crate::storage::gzip::Gzip;
use crate::storage::layer::write_tar;
use crate::sys::beside::NewFile;
use crate::sys::{process, signal};

/// The annotation that has an image's name in an index (image-spec, annotations.md).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How images are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    DockerArchive,
    OciArchive,
    OciFolder,
    DockerFolder,
}

impl Layout {
    pub fn is_folder(self) -> bool {
        matches!(self, Self::OciFolder | Self::DockerFolder)
    }
}

/// Where to.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    Path(&'a Path),
    Stdout,
}

/// What is saved, and how.
pub struct Save<'a> {
    pub images: &'a [Saved],
    pub layout: Layout,
    /// Whether layers are gzip; a docker-archive's never are.
    pub compress: bool,
    /// Which kind of manifest a docker-dir gets.
    pub format: Format,
    pub target: Target<'a>,
}

/// An image and the names that it has in a docker-archive, in order.
pub struct Saved {
    pub image: Image,
    pub names: Vec<Reference>,
    /// Its name in the index of OCI's layouts.
    pub ref_name: Option<String>,
}

impl Saved {
    /// With these names; in OCI's layouts the last is the one.
    pub fn new(image: Image, names: Vec<Reference>) -> Self {
        Self {
            image,
            ref_name: names.last().map(ToString::to_string),
            names,
        }
    }
}

/// Writes images to a file or folder. Gives the digest of the manifest that each has
/// there; of a docker-archive, which has none, the one that it would have.
pub fn save(engine: &Engine, save: &Save, tell: &mut dyn FnMut(Step)) -> Result<Vec<Digest>> {
    let mut held = Vec::new();
    for saved in save.images {
        held.push(saved.image.lock(&engine.storage)?);
    }
    let config = |tell: &mut dyn FnMut(Step), saved: &Saved| {
        tell(Step::Config(saved.image.id.clone()));
    };
    for saved in save.images {
        for id in &saved.image.layers {
            tell(Step::Layer(id.to_string()));
        }
        // Of one image it is told when its layers are there, as Podman does.
        if save.images.len() > 1 {
            config(tell, saved);
        }
    }
    let progress = Progress::of(&engine.storage, &distinct(save.images))?;
    let mut watch = || tell(Step::Arriving(progress.state()));
    let watching = Watching {
        progress: &progress,
        tick: &mut watch,
    };
    let digests = match save.target {
        Target::Path(path) if save.layout.is_folder() => {
            folder::save(engine, save, path, watching)?
        }
        Target::Stdout if save.layout.is_folder() => {
            return Err(Error::usage("a folder cannot be written to stdout"));
        }
        Target::Path(path) => {
            let new = NewFile::open(path).map_err(|error| {
                Error::from(error).tried(format_args!("opening file {:?}", path.display()))
            })?;
            let tried = || format!("write {}", path.display());
            let clean = || new.clear();
            let digests = archive(engine, save, &new.file, clean, watching).tried(tried)?;
            new.finish().tried(tried)?;
            digests
        }
        Target::Stdout => {
            let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
            let mut stdout = File::from(stdout);
            let written = archive(engine, save, &stdout, || (), watching);
            let digests = written.tried(|| "write to stdout")?;
            if stdout.metadata()?.is_file() {
                // Who writes to it after us goes on behind the archive.
                stdout.seek(SeekFrom::End(0))?;
            }
            digests
        }
    };
    if let [saved] = save.images {
        config(tell, saved);
    }
    tell(Step::Manifest);
    Ok(digests)
}

/// How far layers are that are packed.
#[derive(Default)]
struct Progress(Vec<(DiffId, u64, AtomicU64)>);

impl Progress {
    fn of(storage: &Storage, ids: &[&DiffId]) -> Result<Self> {
        let mut all = Vec::new();
        for id in ids {
            let size = storage.read_layer(id)?.map_or(0, |layer| layer.size);
            all.push(((*id).clone(), size, AtomicU64::new(0)));
        }
        Ok(Self(all))
    }

    fn add(&self, id: &DiffId, count: usize) {
        if let Some((_, _, done)) = self.0.iter().find(|it| it.0 == *id) {
            done.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    fn state(&self) -> Vec<Arriving> {
        let one = |(id, size, done): &(DiffId, u64, AtomicU64)| {
            let arrived = done.load(Ordering::Relaxed);
            Arriving {
                digest: id.to_string(),
                arrived,
                size: *size,
                done: arrived >= *size,
            }
        };
        self.0.iter().map(one).collect()
    }
}

/// Who is told how far it is, now and then.
struct Watching<'a> {
    progress: &'a Progress,
    tick: &'a mut dyn FnMut(),
}

fn archive(
    engine: &Engine,
    save: &Save,
    file: &File,
    clean: impl Fn(),
    watching: Watching,
) -> Result<Vec<Digest>> {
    let staging = engine.storage.stage()?;
    let spool = staging.path().to_owned();
    let storage = &engine.storage;
    let Watching { progress, tick } = watching;
    watched(engine, clean, tick, |stop| {
        let packer = Packer {
            storage,
            stop,
            progress,
        };
        match save.layout {
            Layout::DockerArchive => docker::archive(&packer, save.images, file),
            _ => oci::archive(&packer, save, file, &spool),
        }
    })
}

/// Does `work` in the user namespace, with a `tick` now and then; when the command is
/// interrupted, `clean`s up what would stay behind.
fn watched<F>(
    engine: &Engine,
    clean: impl Fn(),
    tick: &mut dyn FnMut(),
    work: F,
) -> Result<Vec<Digest>>
where
    F: FnOnce(&AtomicBool) -> Result<Vec<Digest>> + Send,
{
    engine.in_namespace(|| {
        // Our parent ends by a signal at once: what it had begun is ours to clear.
        let signals = signal::descriptor(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])?;
        process::die_with_parent(libc::SIGTERM);
        let stop = AtomicBool::new(false);
        let (done, ended) = channel();
        let result = std::thread::scope(|scope| {
            let stop = &stop;
            scope.spawn(move || done.send(work(stop)));
            loop {
                match ended.recv_timeout(Duration::from_millis(50)) {
                    Ok(result) => {
                        tick();
                        return result;
                    }
                    Err(RecvTimeoutError::Timeout) => tick(),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Error::other("a thread failed"));
                    }
                }
                if signal::next(&signals).is_some() {
                    stop.store(true, Ordering::Relaxed);
                    // One who waits for a pipe would never see that it is to stop.
                    let _ = ended.recv_timeout(Duration::from_secs(2));
                    clean();
                    process::exit_now(1);
                }
            }
        });
        if result.is_err() {
            clean();
        }
        result
    })
}

/// Packs layers.
struct Packer<'a> {
    storage: &'a Storage,
    stop: &'a AtomicBool,
    progress: &'a Progress,
}

/// A layer as it stands in an archive or folder.
#[derive(Debug, Clone)]
struct Blob {
    digest: Digest,
    size: u64,
    is_gzip: bool,
}

/// Pieces of a tar on their way to who hashes and writes them.
const PIECE: usize = 256 << 10;
/// Podman's level (podman-push(1)).
const LEVEL: u32 = 5;
/// How many layers are packed at once.
const WORKERS: usize = 4;

impl Packer<'_> {
    /// The layer's tar is this long.
    fn size(&self, id: &DiffId) -> Result<u64> {
        let layer = self.storage.read_layer(id)?;
        layer
            .map(|layer| layer.size)
            .ok_or_else(|| Error::other(format!("layer {id} is not there")))
    }

    /// What a layer is when it is not compressed.
    fn plain(&self, id: &DiffId) -> Result<Blob> {
        Ok(Blob {
            digest: id.as_str().parse()?,
            size: self.size(id)?,
            is_gzip: false,
        })
    }

    /// Writes the layer's exact tar; the bytes are checked.
    fn tar(&self, id: &DiffId, mut to: impl Write) -> Result<()> {
        let mut hasher = sha2::Sha256::default();
        let (sender, pieces) = sync_channel::<Vec<u8>>(8);
        let packed = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let pipe = BufWriter::with_capacity(PIECE, Pipe(sender));
                write_tar(&self.storage.layer(id), pipe)
            });
            let mut written = Ok(());
            for piece in pieces {
                hasher.update(&piece);
                self.progress.add(id, piece.len());
                written = match self.stop.load(Ordering::Relaxed) {
                    true => Err(io::Error::other("it was interrupted")),
                    false => to.write_all(&piece),
                };
                if written.is_err() {
                    break;
                }
            }
            written.map_err(Error::from)?;
            let read = reader.join();
            read.unwrap_or_else(|_| Err(Error::other("a thread failed")))
                .tried(|| format!("pack layer {}", &id.hex()[..12]))
        });
        packed?;
        let found = crate::id::hex(&hasher.finalize());
        if found != id.hex() {
            return Err(Error::other(format!(
                "layer {} has changed on the disk: its digest is sha256:{found}",
                &id.hex()[..12]
            ))
            .hint("remove the images that have it, and pull or load them again"));
        }
        Ok(())
    }

    /// Writes the layer, compressed or not, and tells what came out.
    fn blob(&self, id: &DiffId, compress: bool, to: impl Write) -> Result<Blob> {
        if !compress {
            self.tar(id, to)?;
            return self.plain(id);
        }
        let hashed = Hashed {
            to,
            hasher: sha2::Sha256::default(),
            size: 0,
        };
        let mut gzip = Gzip::new(hashed, flate2::Compression::new(LEVEL))?;
        self.tar(id, &mut gzip)?;
        let done = gzip.finish()?;
        Ok(Blob {
            digest: format!("sha256:{}", crate::id::hex(&done.hasher.finalize())).parse()?,
            size: done.size,
            is_gzip: true,
        })
    }

    /// Does `work` for each of `ids`, several at once. The first error counts.
    fn each<T: Send>(
        &self,
        ids: &[&DiffId],
        work: impl Fn(usize, &DiffId) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..WORKERS.min(ids.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(id) = ids.get(at) else {
                            return;
                        };
                        let done = work(at, id);
                        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                        // Noted before the others are stopped: their errors follow it.
                        let failed = done.is_err();
                        results.push((at, done));
                        if failed {
                            self.stop.store(true, Ordering::Relaxed);
                            next.store(ids.len(), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut done = Vec::new();
        for (at, result) in results {
            done.push((at, result?));
        }
        done.sort_by_key(|(at, _)| *at);
        Ok(done.into_iter().map(|(_, it)| it).collect())
    }
}

/// Every layer of the images once, in order.
fn distinct(images: &[Saved]) -> Vec<&DiffId> {
    let mut seen = HashSet::new();
    images
        .iter()
        .flat_map(|saved| &saved.image.layers)
        .filter(|id| seen.insert(*id))
        .collect()
}

/// Hands pieces to another thread.
struct Pipe(SyncSender<Vec<u8>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(bytes.to_vec());
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that is hashed and counted while it is written.
struct Hashed<W> {
    to: W,
    hasher: sha2::Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A path beneath a folder in OCI's layout.
fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs").join("sha256").join(digest.hex())
}
