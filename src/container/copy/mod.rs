//! Files into containers and out of them (`cp`).
//!
//! ```text
//! host → container      a thread as the caller reads, one as the container's root writes
//! container → host      the other way round
//! container → container one process packs in the first, one unpacks in the second
//! - → container         unpacks; container → -: packs
//! ```
//!
//! What goes between a container and the host goes by open files, so that the kernel
//! copies their content, or shares it where the file system can. Both threads are in
//! the container's user namespace with the caller's ids: what is opened as the caller
//! is what the caller may open, whatever the container's map.
//!
//! While a container runs it is entered by its mount namespace, so that all that is
//! mounted in it is there. Else its overlay is mounted, with its volumes and bind
//! mounts, for this one process; nobody else may start it meanwhile.
//!
//! Whose the files become: in a container the container's user's, or with `keep_ids`
//! those that they have where they come from (the caller is root there); on the host
//! the caller's; in an archive the container's user's, or with `keep_ids` their own.
//!
//! **Invariant:** a container's paths are resolved within its root, at each step again
//! (openat2(2), RESOLVE_IN_ROOT), so that nothing it swaps meanwhile leads out.

mod place;
mod source;
mod world;

use std::fs::File;
use std::io::{BufReader, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use self::place::{Conflicts, Destination, Owner, Placer};
use self::source::{Item, Made, Source};
use self::world::{Access, World};
use super::Container;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::image::Progress;
use crate::storage::compression;
use crate::storage::pack::Writer;
use crate::storage::tar::{Entry, Reader};
use crate::sys::process;
use crate::volume::{Marks, Packing, Pipe, Watch};

/// Where files come from or go to.
pub enum End {
    Host(PathBuf),
    /// A path in a container.
    Container(Box<Container>, PathBuf),
    /// A tar archive.
    Archive(File),
}

/// How files are copied.
pub struct Copy<'a> {
    /// Folders may take the place of what is none, and the other way round.
    pub overwrite: bool,
    /// Files in a container keep their ids, and are not its user's.
    pub keep_ids: bool,
    pub progress: Option<Progress>,
    pub watch: &'a dyn Watch,
}

/// Copies.
pub fn copy(engine: &Engine, from: End, to: End, how: &Copy<'_>) -> Result<()> {
    match (from, to) {
        (End::Host(path), End::Container(container, target)) => {
            into(engine, &path, (&container, &target), how)
        }
        (End::Container(container, path), End::Host(target)) => {
            out_of(engine, (&container, &path), &target, how)
        }
        (End::Container(from, path), End::Container(to, target)) => {
            between(engine, (&from, &path), (&to, &target), how)
        }
        (End::Archive(archive), End::Container(container, target)) => {
            unpack(engine, archive, (&container, &target), how)
        }
        (End::Container(container, path), End::Archive(out)) => {
            pack(engine, (&container, &path), &out, how)
        }
        _ => Err(Error::usage("one of the two must be in a container")),
    }
}

/// How many files are open between the two threads.
const AHEAD: usize = 64;

/// The container's side of a copy: a thread of its own that makes and opens files as
/// the container's root.
fn as_container<T>(work: impl FnOnce() -> T) -> T {
    process::with_file_ids(0, 0, work)
}

/// Host to container.
fn into(
    engine: &Engine,
    path: &Path,
    (container, target): (&Container, &Path),
    how: &Copy<'_>,
) -> Result<()> {
    // By the caller's eyes: in the container's mount namespace it is not to be seen.
    let source = Source::on_host(path)?;
    let world = World::of(engine, container, Access::Write, how.progress)?;
    let storage = &engine.storage;
    world.enter(engine, || {
        crate::sys::file::set_creation_mask(rustix::fs::Mode::empty());
        let made = Made::new();
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(AHEAD);
            let writer = scope.spawn(|| {
                as_container(|| {
                    let (root, owner) = world.open_for(storage, how)?;
                    let to = Destination::in_container(root, target, container)?;
                    place_items(receive, to, owner, (how, &made))
                })
            });
            let read = source.send(&|entry| world.ids_of_caller(entry), send, &made);
            // A writer that gave up has the reader fail as well: its error is the cause.
            let written = writer.join().map_err(|_| Error::other("a thread failed"))?;
            written.and(read)
        })
    })
}

/// Container to host.
fn out_of(
    engine: &Engine,
    (container, path): (&Container, &Path),
    target: &Path,
    how: &Copy<'_>,
) -> Result<()> {
    let to = Destination::on_host(target)?;
    let world = World::of(engine, container, Access::Read, how.progress)?;
    let storage = &engine.storage;
    world.enter(engine, || {
        crate::sys::file::set_creation_mask(rustix::fs::Mode::empty());
        let made = Made::new();
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(AHEAD);
            let reader = scope.spawn(|| {
                as_container(|| {
                    let root = world.open(storage)?;
                    let source = Source::in_container(&root, path, container)?;
                    source.send(&|_| Ok(()), send, &made)
                })
            });
            let written = place_items(receive, to, Owner::Caller, (how, &made));
            let read = reader.join().map_err(|_| Error::other("a thread failed"))?;
            match (read, written) {
                // Whose channel was closed by the other's failure has less to say.
                (Err(error), Err(place)) if source::is_unread(&error) => Err(place),
                (read, written) => read.and(written),
            }
        })
    })
}

/// Places what the reader sends.
fn place_items(
    items: Receiver<Item>,
    to: Destination,
    owner: Owner,
    (how, made): (&Copy<'_>, &Made),
) -> Result<()> {
    let mut items = items.into_iter();
    // The reader failed, and says why.
    let Some(first) = items.next() else {
        return Ok(());
    };
    let mut placer = Placer::new(to.for_source(&first.entry, &first.base)?, owner, how, made);
    placer.item(&first)?;
    for item in items {
        placer.item(&item)?;
    }
    placer.finish()
}

/// An archive into a container.
fn unpack(
    engine: &Engine,
    archive: File,
    (container, target): (&Container, &Path),
    how: &Copy<'_>,
) -> Result<()> {
    place_within(engine, container, how, |root, owner, made| {
        let to = Destination::in_container(root, target, container)?.for_archive()?;
        let wrong =
            || Error::usage("source must be a (compressed) tar archive when copying from stdin");
        let from = compression::decompressed(archive).map_err(|_| wrong())?;
        let mut archive = Reader::new(BufReader::with_capacity(1 << 18, from));
        let next = archive.next_entry().map_err(|_| wrong())?;
        if next.is_none() {
            return Err(wrong());
        }
        Placer::new(to, owner, how, made).all(next, &mut archive)
    })
}

/// Does `place` in a container whose files may be written, with its root and whose the
/// files become.
fn place_within(
    engine: &Engine,
    container: &Container,
    how: &Copy<'_>,
    place: impl FnOnce(OwnedFd, Owner, &Made) -> Result<()>,
) -> Result<()> {
    let world = World::of(engine, container, Access::Write, how.progress)?;
    world.enter(engine, || {
        crate::sys::file::set_creation_mask(rustix::fs::Mode::empty());
        let made = Made::new();
        as_container(|| {
            let (root, owner) = world.open_for(&engine.storage, how)?;
            place(root, owner, &made)
        })
    })
}

/// What is in a container as an archive.
fn pack(
    engine: &Engine,
    (container, path): (&Container, &Path),
    out: &File,
    how: &Copy<'_>,
) -> Result<()> {
    let world = World::of(engine, container, Access::Read, how.progress)?;
    let storage = &engine.storage;
    world.enter(engine, || {
        as_container(|| {
            let (root, owner) = world.open_for(storage, how)?;
            let source = Source::in_container(&root, path, container)?;
            let dress = |entry: &mut Entry| {
                world.ids().dress(entry)?;
                if let Owner::User(uid, gid) = owner {
                    (entry.uid, entry.gid) = (uid, gid);
                }
                Ok(())
            };
            pack_source(source, &dress, out, (false, how.watch))
        })
    })
}

fn pack_source(
    source: Source,
    dress: &dyn Fn(&mut Entry) -> Result<()>,
    out: &File,
    (root, watch): (bool, &dyn Watch),
) -> Result<()> {
    Pipe::write(out, |pipe| {
        let mut writer = Writer::new(std::io::BufWriter::with_capacity(1 << 18, pipe));
        let packing = Packing {
            dress,
            marks: Marks::Kept,
            holes: true,
            watch,
        };
        source.pack(&mut writer, &packing, root)?;
        Ok(writer.finish()?.flush()?)
    })
}

/// From one container to another, or within one.
fn between(
    engine: &Engine,
    (from, path): (&Container, &Path),
    (to, target): (&Container, &Path),
    how: &Copy<'_>,
) -> Result<()> {
    let is_same = from.record.id == to.record.id;
    // Within one container all is read before anything is written, as a folder may be
    // copied into itself.
    let staging = engine.storage.stage()?;
    let (read, write) = match is_same {
        true => {
            let path = staging.path().join("archive");
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
                .tried(|| format!("make {}", path.display()))?;
            (file.try_clone()?, file)
        }
        false => {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            let _ = rustix::pipe::fcntl_setpipe_size(&write, 1 << 20);
            (File::from(read), File::from(write))
        }
    };
    let origin = World::of(engine, from, Access::Read, how.progress)?;
    let packing = origin.begin(engine, || {
        as_container(|| {
            let root = origin.open(&engine.storage)?;
            let source = Source::in_container(&root, path, from)?;
            let dress = |entry: &mut Entry| origin.ids().dress(entry);
            pack_source(source, &dress, &write, (true, &()))
        })
    })?;
    if is_same {
        packing.finish()?;
        (&write).rewind()?;
        return unpack_source(engine, read, (to, target), how);
    }
    drop(write);
    unpack_source(engine, read, (to, target), how)?;
    // An archive that ended early was one that ended with its packer.
    packing.finish()
}

fn unpack_source(
    engine: &Engine,
    archive: File,
    (container, target): (&Container, &Path),
    how: &Copy<'_>,
) -> Result<()> {
    place_within(engine, container, how, |root, owner, made| {
        let to = Destination::in_container(root, target, container)?;
        let mut archive = Reader::new(BufReader::with_capacity(1 << 18, archive));
        // The packer failed, and says why.
        let Some(first) = archive.next_entry()? else {
            return Ok(());
        };
        let base = source::base_of(&first);
        let to = to.for_source(&first, &base)?;
        Placer::new(to, owner, how, made).all(Some(first), &mut archive)
    })
}

impl Conflicts {
    fn of(how: &Copy<'_>) -> Self {
        match how.overwrite {
            true => Self::Replaced,
            false => Self::Refused,
        }
    }
}
