//! `--dry-run`: what a command would remove, and how much room that makes.

use std::collections::HashSet;

use crate::container::Container;
use crate::engine::Engine;
use crate::error::Result;
use crate::id::{DiffId, Name};
use crate::image::{self, Image};
use crate::output::{Output, human, table};
use crate::volume;

/// What would go.
#[derive(Default)]
pub struct DryRun {
    rows: Vec<(&'static str, String, u64)>,
}

impl DryRun {
    /// One thing: its kind, what it is called, and its bytes on disk.
    pub fn add(&mut self, kind: &'static str, name: impl Into<String>, bytes: u64) {
        self.rows.push((kind, name.into(), bytes));
    }

    /// All of one kind, with the bytes of each.
    pub fn all(
        &mut self,
        kind: &'static str,
        names: impl IntoIterator<Item = impl Into<String>>,
        bytes: impl IntoIterator<Item = u64>,
    ) {
        for (name, bytes) in names.into_iter().zip(bytes) {
            self.add(kind, name, bytes);
        }
    }

    /// The bytes of what was added, in that order.
    pub fn sizes(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().map(|(_, _, bytes)| *bytes)
    }

    pub fn print(&self, output: &mut Output) {
        let mut text = String::from("WOULD GO\tNAME\tSIZE\n");
        for (kind, name, bytes) in &self.rows {
            text.push_str(&format!("{kind}\t{name}\t{}\n", human::size(*bytes, 4)));
        }
        output.text(&table::align(&text));
        let total = self.sizes().sum();
        output.line(format_args!(
            "Total reclaimable space: {}",
            human::size(total, 4)
        ));
    }
}

/// What removing the containers makes room for: their own files and their logs.
pub fn containers_would_go(
    engine: &Engine,
    all: &mut DryRun,
    containers: &[Container],
) -> Result<()> {
    let dir = |it: &Container| engine.storage.container(&it.record.id);
    let sizes = engine.disk_usage(&containers.iter().map(dir).collect::<Vec<_>>())?;
    let name = |it: &Container| format!("{} ({})", it.record.id.short(), it.record.name);
    all.all("container", containers.iter().map(name), sizes);
    Ok(())
}

/// What removing the volumes makes room for: their files and their snapshots.
pub fn volumes_would_go(engine: &Engine, all: &mut DryRun, names: &[Name]) -> Result<()> {
    let sizes = volume::usage(engine, names)?;
    all.all(
        "volume",
        names.iter().map(Name::to_string),
        sizes.iter().map(volume::Usage::total),
    );
    Ok(())
}

/// What removing the images makes room for: the layers that no other image has. One
/// that several of them have counts in the first.
pub fn images_would_go(engine: &Engine, all: &mut DryRun, images: &[Image]) -> Result<()> {
    let storage = &engine.storage;
    let goes = |it: &Image| images.iter().any(|image| image.id == it.id);
    let kept = image::list(storage)?.into_iter().filter(|it| !goes(it));
    let mut counted: HashSet<DiffId> = kept.flat_map(|image| image.layers).collect();
    for image in images {
        let layers = image.layers.iter();
        let own = layers.filter(|layer| counted.insert((*layer).clone()));
        let mut paths: Vec<_> = own.map(|layer| storage.layer(layer)).collect();
        paths.push(storage.image(&image.id));
        let names: Vec<String> = image
            .names(storage)?
            .iter()
            .map(ToString::to_string)
            .collect();
        let name = match names.is_empty() {
            true => image.id.short().to_owned(),
            false => format!("{} ({})", image.id.short(), names.join(", ")),
        };
        let bytes: u64 = engine.disk_usage(&paths)?.iter().sum();
        // Its trees under other id maps share what they can with the layers.
        let trees = storage.shifted_trees(&image.id)?;
        let trees: u64 = trees.iter().map(|tree| tree.size).sum();
        all.add("image", name, bytes + trees);
    }
    Ok(())
}
