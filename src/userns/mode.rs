//! Which user namespace a container is to have, and the map that comes of it
//! (podman-run(1): `--userns`, `--uidmap`, `--gidmap`, `--subuidname`).
//!
//! All of it is told in *intermediate* ids, as Podman's flags are: the caller is
//! 0, the first subordinate id 1, and so on. The caller's default map, which is
//! from intermediate to host ids, then makes host ids of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{IdMap, IdRange};
use crate::error::{Error, Kind, Result};

/// The user namespace that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing was said: the caller's default map, or what ownership by default
    /// makes of it.
    #[default]
    Unsaid,
    /// The caller's default map: container root is the caller.
    Host,
    /// The caller stands at `uid` and `gid`, their own ids unless said; `size` ids
    /// at most.
    KeepId {
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u32>,
    },
    /// Every subordinate id, but not the caller.
    NoMap,
    /// A part of the subordinate ids that no other such container has; `size` 0 is
    /// as many as the image needs.
    Auto {
        size: u32,
        uids: Vec<Mapping>,
        gids: Vec<Mapping>,
    },
    /// `--uidmap` and `--gidmap`; a list that is empty is every id.
    Mapped {
        uids: Vec<Mapping>,
        gids: Vec<Mapping>,
    },
    /// The ranges of these names in /etc/subuid and /etc/subgid.
    Subordinate { uids: String, gids: String },
    /// Another container's, by full id.
    Container(String),
    /// The one at this path.
    Path(PathBuf),
}

/// One `[+]INSIDE:[@]OUTSIDE[:COUNT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
    /// `@`: `outside` is an id of the host's, not an intermediate one.
    pub of_host: bool,
    /// `+`: takes its ids away from the mappings before it.
    pub extends: bool,
}

/// Users or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Users,
    Groups,
}

impl Of {
    fn word(self) -> &'static str {
        match self {
            Self::Users => "UID",
            Self::Groups => "GID",
        }
    }
}

impl Mode {
    /// Whether the process gets the group that the caller's own stands for, as
    /// Podman adds it in these modes: its id in the container.
    pub fn added_group(&self, gid: u32) -> Option<u32> {
        match self {
            Self::KeepId { gid: at, .. } => Some(at.unwrap_or(gid)),
            Self::NoMap => Some(0),
            _ => None,
        }
    }
}

/// `keep-id`: the caller at `at`, the subordinate ids around, `size` ids in all
/// where that is said and there are so many.
pub fn keep_id(base: &[IdRange], at: u32, size: Option<u32>) -> Result<Vec<IdRange>> {
    let subordinate = total(base).saturating_sub(1);
    let most = size.filter(|size| *size > 0 && u64::from(*size) <= subordinate);
    let below = u64::from(at).min(most.map_or(subordinate, u64::from));
    let all = most.map_or(subordinate + 1, u64::from);
    let above = all.saturating_sub(u64::from(at) + 1);
    let range = |inside: u64, outside: u64, count: u64| {
        // Each is below the number of ids there are.
        let id = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        (count > 0).then(|| IdRange {
            inside: id(inside),
            outside: id(outside),
            count: id(count),
        })
    };
    let at = u64::from(at);
    let ranges = [
        range(0, 1, below),
        range(at, 0, 1),
        range(at + 1, at + 1, above),
    ];
    compose(&ranges.into_iter().flatten().collect::<Vec<_>>(), base)
}

/// `nomap`: every subordinate id from 0 on.
pub fn no_map(base: &[IdRange]) -> Result<Vec<IdRange>> {
    let count = total(base).saturating_sub(1);
    if count == 0 {
        return Err(Error::usage(
            "--userns=nomap needs subordinate ids, as it leaves out your own: /etc/subuid gives you none",
        ));
    }
    let all = IdRange {
        inside: 0,
        outside: 1,
        count: u32::try_from(count).unwrap_or(u32::MAX),
    };
    compose(&[all], base)
}

/// `auto`: `size` ids that are not among the host's ids `taken`, and `fixed` on
/// top of them.
pub fn auto(
    of: Of,
    base: &[IdRange],
    size: u32,
    fixed: &[Mapping],
    taken: &[IdRange],
) -> Result<Vec<IdRange>> {
    let fixed = resolve(of, fixed, base)?;
    check_conflicts(&fixed)?;
    let mut free = Free::of(base);
    // The caller is in no automatic map unless asked for.
    free.take(0, 1);
    for range in taken {
        for part in relative(&[*range], base) {
            free.take(part.outside, part.count);
        }
    }
    let mut inside = Free::of(&[IdRange {
        inside: 0,
        outside: 0,
        count: size,
    }]);
    for range in &fixed {
        inside.take(range.inside, range.count);
        free.take(range.outside, range.count);
    }
    let mut ranges = Vec::new();
    for (first, count) in inside.ranges {
        let (mut at, mut left) = (first, count);
        while left > 0 {
            let Some((outside, count)) = free.first(left) else {
                return Err(Error::usage(
                    "creating container storage: not enough unused IDs in user namespace",
                ));
            };
            ranges.push(IdRange {
                inside: at,
                outside,
                count,
            });
            (at, left) = (at + count, left - count);
        }
    }
    ranges.extend(fixed);
    compose(&ranges, base)
}

/// `--uidmap` or `--gidmap`: the mappings one after the other. Where the first of
/// them extends, the rest is filled with the ids that are left.
pub fn mapped(of: Of, mappings: &[Mapping], base: &[IdRange]) -> Result<Vec<IdRange>> {
    if mappings.is_empty() {
        return Ok(base.to_vec());
    }
    if mappings.iter().all(|mapping| mapping.count == 0) {
        return Err(nothing_mapped());
    }
    let mut ranges: Vec<IdRange> = Vec::new();
    for mapping in mappings {
        for range in resolve(of, std::slice::from_ref(mapping), base)? {
            if mapping.extends {
                ranges = carve(&ranges, range);
            }
            ranges.push(range);
        }
    }
    check_conflicts(&ranges)?;
    if mappings[0].extends {
        fill(&mut ranges, base);
    }
    ranges.sort_by_key(|range| range.inside);
    compose(&ranges, base)
}

/// Podman's words for a map without an id.
pub fn nothing_mapped() -> Error {
    Error::usage("must provide at least one UID or GID mapping to configure a user namespace")
}

/// `--subuidname`: the ranges that a file gives a name, from container id 0 on.
/// They must be the caller's.
pub fn subordinate(base: &[IdRange], ranges: &[(u32, u32)]) -> Result<Vec<IdRange>> {
    let mut all = Vec::new();
    let mut inside = 0;
    for &(outside, count) in ranges {
        let range = IdRange {
            inside,
            outside,
            count,
        };
        let ours: u64 = total(&relative(&[range], base));
        if ours < u64::from(count) {
            return Err(Error::usage(format!(
                "the ids {outside}-{} are not among yours",
                u64::from(outside) + u64::from(count) - 1
            )));
        }
        all.push(range);
        inside += count;
    }
    Ok(all)
}

/// How many ids there are.
fn total(ranges: &[IdRange]) -> u64 {
    ranges.iter().map(|range| u64::from(range.count)).sum()
}

/// Mappings with `@` made intermediate.
fn resolve(of: Of, mappings: &[Mapping], base: &[IdRange]) -> Result<Vec<IdRange>> {
    let mut all = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.count > 0) {
        let range = IdRange {
            inside: mapping.inside,
            outside: mapping.outside,
            count: mapping.count,
        };
        if u64::from(range.inside) + u64::from(range.count) > u64::from(u32::MAX) {
            return Err(Error::usage(format!(
                "the {} mapping {range} goes beyond the last id",
                of.word()
            )));
        }
        if !mapping.of_host {
            all.push(range);
            continue;
        }
        let found = relative(&[range], base);
        if total(&found) < u64::from(range.count) {
            let lacking = (0..range.count)
                .map(|at| range.outside.saturating_add(at))
                .find(|id| {
                    let is_in = |it: &IdRange| *id >= it.outside && id - it.outside < it.count;
                    !base.iter().any(is_in)
                });
            return Err(Error::usage(format!(
                "parent ID {} {} is not mapped/delegated",
                of.word(),
                lacking.unwrap_or(range.outside)
            )));
        }
        all.extend(found);
    }
    Ok(all)
}

/// `ranges` without the ids, on either side, that `by` is to have.
fn carve(ranges: &[IdRange], by: IdRange) -> Vec<IdRange> {
    let mut left = Vec::new();
    for range in ranges {
        let mut parts = vec![*range];
        for (key, first) in [(0, by.inside), (1, by.outside)] {
            parts = parts
                .into_iter()
                .flat_map(|part| {
                    let start = if key == 0 { part.inside } else { part.outside };
                    without(part, start, first, by.count)
                })
                .collect();
        }
        left.extend(parts);
    }
    left
}

/// `range`, which on the side looked at begins at `start`, without `count` ids
/// there from `first` on.
fn without(range: IdRange, start: u32, first: u32, count: u32) -> Vec<IdRange> {
    super::map::without((start, range.count), (first, count))
        .into_iter()
        .map(|(from, count)| IdRange {
            inside: range.inside + (from - start),
            outside: range.outside + (from - start),
            count,
        })
        .collect()
}

/// Gives the ids that are left, lowest first, to what of the container has none.
fn fill(ranges: &mut Vec<IdRange>, base: &[IdRange]) {
    let mut free = Free::of(base);
    let mut inside = Free::of(&[IdRange {
        inside: 0,
        outside: 0,
        count: u32::MAX,
    }]);
    for range in ranges.iter() {
        free.take(range.outside, range.count);
        inside.take(range.inside, range.count);
    }
    for (first, count) in inside.ranges {
        let (mut at, mut left) = (first, count);
        while left > 0 {
            let Some((outside, count)) = free.first(left) else {
                return;
            };
            ranges.push(IdRange {
                inside: at,
                outside,
                count,
            });
            (at, left) = (at.saturating_add(count), left - count);
        }
    }
}

/// Ids that are not given away yet, in order: first and count.
struct Free {
    ranges: Vec<(u32, u32)>,
}

impl Free {
    /// All that `base` has on its inner side.
    fn of(base: &[IdRange]) -> Self {
        let ranges = base.iter().map(|it| (it.inside, it.count)).collect();
        Self { ranges }
    }

    fn take(&mut self, first: u32, count: u32) {
        let parts = std::mem::take(&mut self.ranges);
        self.ranges = parts
            .into_iter()
            .flat_map(|ids| super::map::without(ids, (first, count)))
            .collect();
    }

    /// Gives away the lowest that are left: `most` of them at most, in one piece.
    fn first(&mut self, most: u32) -> Option<(u32, u32)> {
        let (start, length) = *self.ranges.first()?;
        let count = length.min(most);
        self.take(start, count);
        Some((start, count))
    }
}

fn check_conflicts(ranges: &[IdRange]) -> Result<()> {
    let overlap = |a: u32, ac: u32, b: u32, bc: u32| {
        u64::from(a) < u64::from(b) + u64::from(bc) && u64::from(b) < u64::from(a) + u64::from(ac)
    };
    for (at, range) in ranges.iter().enumerate() {
        let conflicts = ranges[..at].iter().any(|other| {
            overlap(range.inside, range.count, other.inside, other.count)
                || overlap(range.outside, range.count, other.outside, other.count)
        });
        if conflicts {
            return Err(Error::usage(format!(
                "creating container storage: the specified UID and/or GID mapping {range} conflicts with other mappings: invalid mappings specified"
            )));
        }
    }
    Ok(())
}

/// Container to host ids, of container to intermediate ids. An error names ids that
/// the caller does not have.
fn compose(ranges: &[IdRange], base: &[IdRange]) -> Result<Vec<IdRange>> {
    let mut all = Vec::new();
    for range in ranges {
        let (mut inside, mut id, mut left) = (range.inside, range.outside, range.count);
        while left > 0 {
            let Some(found) = base
                .iter()
                .find(|it| id >= it.inside && id - it.inside < it.count)
            else {
                return Err(Error::new(
                    Kind::Usage,
                    format!(
                        "the id mapping {range} asks for id {id}, and yours end at {}",
                        total(base).saturating_sub(1)
                    ),
                )
                .hint("more subordinate ids are needed: see /etc/subuid and /etc/subgid"));
            };
            let skip = id - found.inside;
            let count = left.min(found.count - skip);
            all.push(IdRange {
                inside,
                outside: found.outside + skip,
                count,
            });
            left -= count;
            if left > 0 {
                (inside, id) = (inside + count, id + count);
            }
        }
    }
    Ok(all)
}

/// Container to intermediate ids, of container to host ids: what Podman shows as
/// the map. Ids that `base` does not have are left out.
pub fn relative(ranges: &[IdRange], base: &[IdRange]) -> Vec<IdRange> {
    let mut all: Vec<IdRange> = Vec::new();
    for range in ranges {
        let (start, end) = (
            u64::from(range.outside),
            u64::from(range.outside) + u64::from(range.count),
        );
        let mut parts: Vec<IdRange> = base
            .iter()
            .filter_map(|it| {
                let from = start.max(it.outside.into());
                let to = end.min(u64::from(it.outside) + u64::from(it.count));
                (from < to).then(|| IdRange {
                    inside: range.inside + (from - start) as u32,
                    outside: it.inside + (from - u64::from(it.outside)) as u32,
                    count: (to - from) as u32,
                })
            })
            .collect();
        parts.sort_by_key(|part| part.inside);
        all.extend(parts);
    }
    all
}

impl IdMap {
    /// This map with intermediate ids on its outer side, as Podman shows it.
    pub fn relative_to(&self, base: &Self) -> Self {
        Self {
            uids: relative(&self.uids, &base.uids),
            gids: relative(&self.gids, &base.gids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Vec<IdRange> {
        ranges("0:1001:1 1:100000:65536")
    }

    fn ranges(text: &str) -> Vec<IdRange> {
        text.split(' ')
            .map(|part| {
                let ids: Vec<u32> = part.split(':').map(|id| id.parse().unwrap()).collect();
                IdRange {
                    inside: ids[0],
                    outside: ids[1],
                    count: ids[2],
                }
            })
            .collect()
    }

    fn shown(result: Result<Vec<IdRange>>) -> String {
        match result {
            Ok(map) => relative(&map, &base())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        }
    }

    fn mappings(text: &str) -> Vec<Mapping> {
        text.split(' ')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (extends, part) = match part.strip_prefix('+') {
                    Some(part) => (true, part),
                    None => (false, part),
                };
                let of_host = part.contains('@');
                let range = ranges(&part.replace('@', ""))[0];
                Mapping {
                    inside: range.inside,
                    outside: range.outside,
                    count: range.count,
                    of_host,
                    extends,
                }
            })
            .collect()
    }

    /// What Podman 5.8 showed for these, with the subordinate ids of `base`.
    #[test]
    fn keep_id_is_podmans() {
        for (at, size, map) in [
            (1001, None, "0:1:1001 1001:0:1 1002:1002:64535"),
            (200, None, "0:1:200 200:0:1 201:201:65336"),
            (0, None, "0:0:1 1:1:65536"),
            (1001, Some(2000), "0:1:1001 1001:0:1 1002:1002:998"),
            (1001, Some(1002), "0:1:1001 1001:0:1"),
            (1001, Some(0), "0:1:1001 1001:0:1 1002:1002:64535"),
            (1001, Some(100_000), "0:1:1001 1001:0:1 1002:1002:64535"),
            (70_000, None, "0:1:65536 70000:0:1"),
            (65_536, None, "0:1:65536 65536:0:1"),
            (65_537, None, "0:1:65536 65537:0:1"),
            (65_530, Some(65_535), "0:1:65530 65530:0:1 65531:65531:4"),
        ] {
            assert_eq!(shown(keep_id(&base(), at, size)), map, "{at} {size:?}");
        }
        let single = ranges("0:1001:1");
        assert_eq!(
            keep_id(&single, 1000, None).unwrap(),
            ranges("1000:1001:1"),
            "one id is kept at its place"
        );
        assert_eq!(shown(no_map(&base())), "0:1:65536");
        assert!(no_map(&single).is_err());
    }

    #[test]
    fn uidmap_is_podmans() {
        for (text, map) in [
            ("0:0:1", "0:0:1"),
            ("0:1:1000", "0:1:1000"),
            ("0:0:1000", "0:0:1 1:1:999"),
            ("0:1:500 1000:0:1", "0:1:500 1000:0:1"),
            ("+1000:0:1", "0:1:1000 1000:0:1 1001:1001:64536"),
            ("+1000:@1001:1", "0:1:1000 1000:0:1 1001:1001:64536"),
            ("0:@100000:10", "0:1:10"),
            ("0:0:10 +5:20:2", "0:0:1 1:1:4 5:20:2 7:7:3"),
            (
                "+5:20:2 +6:30:1",
                "0:0:1 1:1:4 5:20:1 6:30:1 7:5:15 22:21:9 31:31:65506",
            ),
            ("", "0:0:1 1:1:65536"),
            (
                "0:0:10 5:20:10",
                "creating container storage: the specified UID and/or GID mapping 5:20:10 \
                 conflicts with other mappings: invalid mappings specified",
            ),
            (
                "0:0:10 20:5:10",
                "creating container storage: the specified UID and/or GID mapping 20:5:10 \
                 conflicts with other mappings: invalid mappings specified",
            ),
            ("0:@5:1", "parent ID UID 5 is not mapped/delegated"),
            (
                "0:0:0",
                "must provide at least one UID or GID mapping to configure a user namespace",
            ),
            (
                "0:70000:1",
                "the id mapping 0:70000:1 asks for id 70000, and yours end at 65536",
            ),
            (
                "0:0:70000",
                "the id mapping 0:0:70000 asks for id 65537, and yours end at 65536",
            ),
            (
                "4294967295:0:2",
                "the UID mapping 4294967295:0:2 goes beyond the last id",
            ),
        ] {
            let result = mapped(Of::Users, &mappings(text), &base());
            assert_eq!(shown(result), map, "{text}");
        }
    }

    #[test]
    fn auto_is_podmans() {
        let taken = ranges("0:100000:1024");
        for (size, fixed, taken, map) in [
            (1024, "", &[][..], "0:1:1024"),
            (1024, "10:20:5", &[], "0:1:10 15:11:9 24:25:1000 10:20:5"),
            (1024, "5:@1001:1", &[], "0:1:5 6:6:1018 5:0:1"),
            (30, "", &taken, "0:1025:30"),
            (
                65_000,
                "",
                &taken,
                "creating container storage: not enough unused IDs in user namespace",
            ),
        ] {
            let result = auto(Of::Users, &base(), size, &mappings(fixed), taken);
            assert_eq!(shown(result), map, "{size} {fixed}");
        }
    }

    #[test]
    fn names_give_their_ranges() {
        let ours = subordinate(&base(), &[(100_000, 65_536)]).unwrap();
        assert_eq!(ours, ranges("0:100000:65536"));
        assert_eq!(
            subordinate(&base(), &[(100_000, 65_537)])
                .unwrap_err()
                .to_string(),
            "the ids 100000-165536 are not among yours"
        );
    }
}
