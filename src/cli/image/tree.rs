use std::collections::BTreeSet;

use crate::cli::{Example, exactly};
use crate::engine::Engine;
use crate::error::Result;
use crate::id::DiffId;
use crate::image::{self, Image};
use crate::output::{Output, human};
use crate::storage::Storage;

/// Print layer hierarchy of an image in a tree format
///
/// Shows the layers of an image, the lowest first, and which images end with each.
#[derive(clap::Args)]
pub struct Args {
    /// Show what stands on the image, not what it stands on
    #[arg(long)]
    whatrequires: bool,

    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle image tree app",
    does: "Show the layers of an image.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    let storage = &engine.storage;
    let image = image::find(storage, &args.names[0])?;
    let tree = Tree::read(storage)?;
    output.line(format_args!("Image ID: {}", image.id.short()));
    let tags: Vec<String> = image
        .names(storage)?
        .iter()
        .map(ToString::to_string)
        .collect();
    output.line(format_args!("Tags:     [{}]", tags.join(" ")));
    output.line(format_args!("Size:     {}", human::size(image.size, 4)));
    let nodes = match args.whatrequires {
        true => tree.above(storage, &image.layers)?,
        false => tree.below(storage, &image.layers)?,
    };
    if nodes.is_empty() {
        output.line("No Image Layers");
    } else {
        output.line("Image Layers");
    }
    output.text(&drawn(&nodes, ""));
    output.line("");
    Ok(0)
}

/// Every image, and every stack of layers that one of them is or begins with.
struct Tree {
    images: Vec<(Image, Vec<String>)>,
    stacks: Vec<Vec<DiffId>>,
}

struct Node {
    line: String,
    nodes: Vec<Node>,
}

impl Tree {
    fn read(storage: &Storage) -> Result<Self> {
        let names = image::names(storage)?;
        let mut images = image::list(storage)?;
        images.sort_by_key(|image| image.stored);
        let mut seen = BTreeSet::new();
        let mut stacks = Vec::new();
        let images: Vec<(Image, Vec<String>)> = images
            .into_iter()
            .map(|image| {
                for height in 1..=image.layers.len() {
                    let stack = image.layers[..height].to_vec();
                    if seen.insert(stack.iter().map(ToString::to_string).collect::<Vec<_>>()) {
                        stacks.push(stack);
                    }
                }
                let own = names.iter().filter(|(_, id)| *id == image.id);
                let own = own.map(|(name, _)| name.to_string()).collect();
                (image, own)
            })
            .collect();
        Ok(Self { images, stacks })
    }

    fn below(&self, storage: &Storage, layers: &[DiffId]) -> Result<Vec<Node>> {
        let node = |height| {
            Ok(Node {
                line: self.line(storage, &layers[..height])?,
                nodes: Vec::new(),
            })
        };
        (1..=layers.len()).map(node).collect()
    }

    /// What stands on `stack`, itself first. A single one follows, of several each
    /// has what stands on it beneath itself.
    fn above(&self, storage: &Storage, stack: &[DiffId]) -> Result<Vec<Node>> {
        if stack.is_empty() {
            return Ok(Vec::new());
        }
        let mut nodes = vec![Node {
            line: self.line(storage, stack)?,
            nodes: Vec::new(),
        }];
        let on = |it: &&Vec<DiffId>| it.len() == stack.len() + 1 && it.starts_with(stack);
        let next: Vec<&Vec<DiffId>> = self.stacks.iter().filter(on).collect();
        match next[..] {
            [only] => nodes.extend(self.above(storage, only)?),
            ref several => {
                for stack in several {
                    let mut above = self.above(storage, stack)?.into_iter();
                    if let Some(first) = above.next() {
                        nodes.push(Node {
                            nodes: above.collect(),
                            ..first
                        });
                    }
                }
            }
        }
        Ok(nodes)
    }

    fn line(&self, storage: &Storage, stack: &[DiffId]) -> Result<String> {
        let Some(top) = stack.last() else {
            return Ok(String::new());
        };
        let size = storage.read_layer(top)?.map_or(0, |layer| layer.size);
        let ends = self
            .images
            .iter()
            .filter(|(image, _)| image.layers == stack);
        let tags: Vec<&str> = ends
            .flat_map(|(_, tags)| tags)
            .map(String::as_str)
            .collect();
        let mut line = format!("ID: {} Size: {:>7}", &top.hex()[..12], human::size(size, 4));
        if !tags.is_empty() {
            line.push_str(&format!(" Top Layer of: [{}]", tags.join(" ")));
        }
        Ok(line)
    }
}

fn drawn(nodes: &[Node], prefix: &str) -> String {
    let mut text = String::new();
    for (at, node) in nodes.iter().enumerate() {
        let (item, more) = match at + 1 == nodes.len() {
            true => ("└── ", "    "),
            false => ("├── ", "│   "),
        };
        text.push_str(&format!("{prefix}{item}{}\n", node.line));
        text.push_str(&drawn(&node.nodes, &format!("{prefix}{more}")));
    }
    text
}
