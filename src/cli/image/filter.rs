//! `--filter` of `images` and `image prune`, and the patterns of names.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::cli::args::filter::{Filters, moment};
use crate::cli::parse::parse_bool;
use crate::container;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::ImageId;
use crate::image::manifest::is_index;
use crate::image::{self, Image, Reference};

/// What `--filter` asks of an image. Each must hold, but of several references
/// one is enough.
#[derive(Default)]
pub struct ImageFilters {
    wanted: Vec<Test>,
    unwanted: Vec<Test>,
    references: Vec<Named>,
    not_references: Vec<Named>,
}

enum Test {
    Id(String),
    Digest(String),
    Label(Filters),
    /// Whether it has no name and none was made of it.
    Dangling(bool, HashSet<ImageId>),
    /// Whether it has no name and another was made of it.
    Between(bool, HashSet<ImageId>),
    /// Whether a container is made of it.
    Used(bool, HashSet<ImageId>),
    /// Whether it is a manifest list.
    List(bool),
    Before(Timestamp),
    Since(Timestamp),
    Never,
    Always,
}

/// A reference as a filter has it.
struct Named {
    pattern: String,
    /// What it is when it is no pattern.
    found: Option<Image>,
}

impl ImageFilters {
    pub fn parse(engine: &Engine, given: &[String]) -> Result<Self> {
        let mut filters = Self::default();
        for filter in given {
            let wrong = || {
                Error::usage(format!(
                    "invalid image filter {:?}: must be in the format \"filter=value or filter!=value\"",
                    filter.split(['=', '!']).next().unwrap_or_default()
                ))
            };
            let (key, value) = filter.split_once('=').ok_or_else(wrong)?;
            let (key, negated) = match key.strip_suffix('!') {
                Some(key) => (key, true),
                None => (key, false),
            };
            if key == "reference" {
                filters.add_reference(engine, value, negated);
                continue;
            }
            let test = test(engine, key, value)?.ok_or_else(wrong)?;
            if negated {
                filters.unwanted.push(test);
            } else {
                filters.wanted.push(test);
            }
        }
        Ok(filters)
    }

    pub fn add_reference(&mut self, engine: &Engine, pattern: &str, negated: bool) {
        let named = Named {
            pattern: pattern.to_owned(),
            found: image::lists::find_either(&engine.storage, pattern).ok(),
        };
        if negated {
            self.not_references.push(named);
        } else {
            self.references.push(named);
        }
    }

    /// Which of the image's `names` are to be shown; `None` if it does not pass.
    /// One that passes may have no name.
    pub fn pass(&self, image: &Image, names: &[Reference]) -> Option<Vec<Reference>> {
        let holds = |test: &Test| test.holds(image, names);
        if !self.wanted.iter().all(holds) || self.unwanted.iter().any(holds) {
            return None;
        }
        if self
            .not_references
            .iter()
            .any(|it| it.is(image, names).is_some())
        {
            return None;
        }
        if self.references.is_empty() {
            return Some(names.to_vec());
        }
        let mut shown: Option<Vec<Reference>> = None;
        for named in &self.references {
            if let Some(more) = named.is(image, names) {
                shown.get_or_insert_default().extend(more);
            }
        }
        let shown = shown?;
        Some(
            names
                .iter()
                .filter(|name| shown.contains(name))
                .cloned()
                .collect(),
        )
    }
}

/// The test of `KEY=VALUE`; `None` if there is no such key.
fn test(engine: &Engine, key: &str, value: &str) -> Result<Option<Test>> {
    let storage = &engine.storage;
    let boolean = || {
        parse_bool(value).map_err(|error| {
            Error::usage(format!(
                "non-boolean value {key:?} for {value} filter: {error}"
            ))
        })
    };
    let image = || {
        image::find(storage, value)
            .tried(|| format!("could not find local image for filter {key:?}={value:?}"))
    };
    Ok(Some(match key {
        "id" => Test::Id(value.to_owned()),
        "digest" => {
            if !value.starts_with("sha256:") {
                return Err(Error::usage(format!(
                    "invalid value {value:?} for digest filter"
                )));
            }
            Test::Digest(value.to_owned())
        }
        "label" => Test::Label(Filters::parse(&[format!("label={value}")], |_| {
            Error::usage("a label")
        })?),
        "dangling" => Test::Dangling(boolean()?, parents(engine)?),
        "intermediate" => Test::Between(boolean()?, parents(engine)?),
        "before" => Test::Before(image()?.made()),
        "since" | "after" => Test::Since(image()?.made()),
        "until" => Test::Before(moment(value, Timestamp::now())?),
        // Podman has it in its library alone.
        "containers" if value == "external" => {
            return Err(Error::usage(
                "libimage error: external containers filter without callback",
            ));
        }
        "containers" => {
            let containers = container::list(storage)?;
            let used = containers.into_iter().map(|it| it.record.image.id);
            let wanted = boolean().map_err(|_| {
                Error::usage(format!("unsupported value {value:?} for containers filter"))
            })?;
            Test::Used(wanted, used.collect())
        }
        "manifest" => Test::List(boolean()?),
        // There are no read-only stores.
        "readonly" if boolean()? => Test::Never,
        "readonly" => Test::Always,
        _ => return Ok(None),
    }))
}

/// The images that others were made of.
fn parents(engine: &Engine) -> Result<HashSet<ImageId>> {
    let family = image::Family::of(&engine.storage)?;
    let mut all = image::list(&engine.storage)?;
    all.retain(|it| family.has_children(it));
    Ok(all.into_iter().map(|it| it.id).collect())
}

impl Test {
    fn holds(&self, image: &Image, names: &[Reference]) -> bool {
        match self {
            Self::Id(id) => image.id.as_str().starts_with(id.as_str()),
            Self::Digest(digest) => image
                .digests()
                .any(|known| known.as_str().starts_with(digest.as_str())),
            Self::Label(filters) => filters.labels(&image.config.labels),
            Self::Dangling(wanted, parents) => {
                (names.is_empty() && !parents.contains(&image.id)) == *wanted
            }
            Self::Between(wanted, parents) => {
                (names.is_empty() && parents.contains(&image.id)) == *wanted
            }
            Self::Used(wanted, used) => used.contains(&image.id) == *wanted,
            Self::List(wanted) => is_index(&image.manifest_type) == *wanted,
            Self::Before(at) => image.made() < *at,
            Self::Since(at) => image.made() > *at,
            Self::Never => false,
            Self::Always => true,
        }
    }
}

impl Named {
    /// The names of the image that are meant, if it is: one that was named whole, with
    /// registry and tag, stands for itself, all else for all (podman: images).
    fn is(&self, image: &Image, names: &[Reference]) -> Option<Vec<Reference>> {
        if let Some(found) = self.found.as_ref().filter(|found| found.id == image.id) {
            return Some(match &found.name {
                Some(name) if name.to_string() == self.pattern => vec![name.clone()],
                _ => names.to_vec(),
            });
        }
        let is_meant = |name| spellings(name).iter().any(|it| matches(&self.pattern, it));
        names.iter().any(is_meant).then(|| names.to_vec())
    }
}

/// Whole and without registry, without path, each with tag or digest and without
/// (libimage, imageMatchesReferenceFilter).
fn spellings(name: &Reference) -> Vec<String> {
    let whole = name.to_string();
    let bare = name.name();
    let suffix = &whole[bare.len()..];
    let last = bare.rsplit('/').next().unwrap_or(&bare).to_owned();
    vec![
        name.path().to_owned(),
        format!("{last}{suffix}"),
        format!("{}{suffix}", name.path()),
        last,
        whole,
        bare,
    ]
}

/// Go's path.Match: `*` and `?` do not match a slash.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // The states of the pattern reached so far: no back-tracking to be slow by.
    let mut reached = HashSet::from([0]);
    for c in &text {
        let mut next = HashSet::new();
        for at in stars(&pattern, &reached) {
            match pattern.get(at) {
                Some('*') if *c != '/' => drop(next.insert(at)),
                Some('*') | None => {}
                Some('?') if *c != '/' => drop(next.insert(at + 1)),
                Some('[') => {
                    if let Some((true, after)) = class(&pattern, at, *c) {
                        next.insert(after);
                    }
                }
                Some('\\') if pattern.get(at + 1) == Some(c) => drop(next.insert(at + 2)),
                Some(literal) if literal == c && *literal != '?' && *literal != '\\' => {
                    next.insert(at + 1);
                }
                Some(_) => {}
            }
        }
        reached = next;
    }
    stars(&pattern, &reached).contains(&pattern.len())
}

/// With those behind stars that match nothing.
fn stars(pattern: &[char], reached: &HashSet<usize>) -> HashSet<usize> {
    let mut all = reached.clone();
    for &start in reached {
        let mut at = start;
        while pattern.get(at) == Some(&'*') {
            at += 1;
            all.insert(at);
        }
    }
    all
}

/// Whether the class at `at` has `c`, and what stands after it.
fn class(pattern: &[char], at: usize, c: char) -> Option<(bool, usize)> {
    let mut at = at + 1;
    let negated = pattern.get(at) == Some(&'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    let first = at;
    loop {
        match pattern.get(at)? {
            ']' if at > first => return Some((found != negated, at + 1)),
            _ => {
                let low = *pattern.get(at)?;
                let (high, after) = match (pattern.get(at + 1), pattern.get(at + 2)) {
                    (Some('-'), Some(high)) if *high != ']' => (*high, at + 3),
                    _ => (low, at + 1),
                };
                found |= low <= c && c <= high;
                at = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_gos() {
        for (pattern, text, is) in [
            ("", "", true),
            ("*", "", true),
            ("cf*", "cfg", true),
            ("cf*", "cfg/x", false),
            ("localhost/*", "localhost/cfg:1", true),
            ("*/cfg:?", "localhost/cfg:1", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn a_name_has_six_spellings() {
        let name: Reference = "docker.io/a/b:1".parse().unwrap();
        let mut spellings = spellings(&name);
        spellings.sort();
        assert_eq!(
            spellings,
            [
                "a/b",
                "a/b:1",
                "b",
                "b:1",
                "docker.io/a/b",
                "docker.io/a/b:1"
            ]
        );
    }
}
