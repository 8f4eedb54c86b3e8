//! A container's files as a tar archive.

use std::fs::File;
use std::io::Write;

use super::Container;
use super::files::Files;
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::image::Progress;
use crate::storage::pack::Writer;
use crate::volume::{Marks, Packing, Pipe, Watch, pack_into};

/// Writes the container's root to `out`: nothing of what is mounted in it, owners by
/// the image's ids. Ends quietly once nobody reads any more.
pub fn export(
    engine: &Engine,
    container: &Container,
    out: &File,
    progress: Option<Progress>,
    watch: &dyn Watch,
) -> Result<()> {
    let files = Files::of(engine, container, progress)?;
    crate::userns::in_child(engine.thread, &files.map, || {
        let root = files.root(&engine.storage)?;
        Pipe::write(out, |pipe| {
            let mut writer = Writer::new(std::io::BufWriter::with_capacity(1 << 18, pipe));
            let packing = Packing {
                dress: &|entry| files.ids.dress(entry),
                marks: Marks::Kept,
                holes: true,
                watch,
            };
            pack_into(root, &mut writer, b"", &packing)?;
            Ok(writer.finish()?.flush()?)
        })
        .tried(|| format!("export container {}", container.record.id.short()))
    })
}
