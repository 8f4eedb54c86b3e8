//! Id maps (user_namespaces(7)).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::mode::keep_id;
use crate::error::Result;

/// `count` ids from `inside` on, as the container sees them, are those from
/// `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// The uids and gids of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
}

impl IdMap {
    /// Where ids stand that are not in the container ([`IdMap::and_rest`]): beyond all
    /// that `--user` takes.
    pub const BESIDE: u32 = 1 << 31;

    /// Only the caller, as root.
    pub fn single(uid: u32, gid: u32) -> Self {
        let one = |outside| {
            vec![IdRange {
                inside: 0,
                outside,
                count: 1,
            }]
        };
        Self {
            uids: one(uid),
            gids: one(gid),
        }
    }

    /// Whether more ids than the caller's are mapped.
    pub fn is_single(&self) -> bool {
        self.uids
            .iter()
            .map(|range| u64::from(range.count))
            .sum::<u64>()
            <= 1
    }

    /// The host's id for the container's `uid`.
    pub fn uid_outside(&self, uid: u32) -> Option<u32> {
        outside(&self.uids, uid)
    }

    /// The container's id for the host's `uid`.
    pub fn uid_inside(&self, uid: u32) -> Option<u32> {
        inside(&self.uids, uid)
    }

    /// The container's id for the host's `gid`.
    pub fn gid_inside(&self, gid: u32) -> Option<u32> {
        inside(&self.gids, gid)
    }

    /// The host's id for the container's `gid`.
    pub fn gid_outside(&self, gid: u32) -> Option<u32> {
        outside(&self.gids, gid)
    }

    /// How `keep-id:uid=UID,gid=GID` places the caller: everything as in the
    /// default map `base`, but the caller stands at `uid` and `gid` and the ids
    /// before them move down by one to begin at 0.
    pub fn with_caller_at(base: &Self, uid: u32, gid: u32) -> Result<Self> {
        Ok(Self {
            uids: keep_id(&base.uids, uid, None)?,
            gids: keep_id(&base.gids, gid, None)?,
        })
    }

    /// This map with every other id of `base` beside it, at ids that nobody has: for
    /// who makes a container's files, which may be those of ids that it does not have.
    #[must_use]
    pub fn and_rest(&self, base: &Self) -> Self {
        Self {
            uids: and_rest(&self.uids, &base.uids),
            gids: and_rest(&self.gids, &base.gids),
        }
    }

    /// Whether the host's `uid` and `gid` are mapped.
    pub fn has_outside(&self, uid: u32, gid: u32) -> bool {
        has(&self.uids, uid) && has(&self.gids, gid)
    }
}

fn and_rest(ranges: &[IdRange], base: &[IdRange]) -> Vec<IdRange> {
    let mut left: Vec<(u32, u32)> = base.iter().map(|it| (it.outside, it.count)).collect();
    for range in ranges {
        left = left
            .into_iter()
            .flat_map(|ids| without(ids, (range.outside, range.count)))
            .collect();
    }
    let ends = ranges
        .iter()
        .map(|range| range.inside.saturating_add(range.count));
    let mut inside = ends.max().unwrap_or(0).max(IdMap::BESIDE);
    let mut all = ranges.to_vec();
    for (outside, count) in left {
        if inside.checked_add(count).is_none() {
            break;
        }
        all.push(IdRange {
            inside,
            outside,
            count,
        });
        inside += count;
    }
    all
}

/// The ids of one range, first and count, that are not in the other.
pub(super) fn without((start, count): (u32, u32), (first, taken): (u32, u32)) -> Vec<(u32, u32)> {
    let (start, end) = (u64::from(start), u64::from(start) + u64::from(count));
    let (first, last) = (u64::from(first), u64::from(first) + u64::from(taken));
    let parts = [
        (start, end.min(first.max(start))),
        (start.max(last.min(end)), end),
    ];
    let parts = parts.into_iter().filter(|(from, to)| from < to);
    parts
        .map(|(from, to)| (from as u32, (to - from) as u32))
        .collect()
}

fn has(ranges: &[IdRange], outside: u32) -> bool {
    ranges
        .iter()
        .any(|it| outside >= it.outside && outside - it.outside < it.count)
}

fn inside(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges
        .iter()
        .find(|range| id >= range.outside && id - range.outside < range.count)
        .map(|range| range.inside + (id - range.outside))
}

fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges
        .iter()
        .find(|range| id >= range.inside && id - range.inside < range.count)
        .map(|range| range.outside + (id - range.inside))
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange {
            inside,
            outside,
            count,
        }
    }

    fn base() -> IdMap {
        let ids = vec![range(0, 1001, 1), range(1, 100_000, 65_536)];
        IdMap {
            uids: ids.clone(),
            gids: ids,
        }
    }

    #[test]
    fn keep_id_moves_only_the_caller() {
        let kept = IdMap::with_caller_at(&base(), 1000, 100).unwrap();
        assert_eq!(
            kept.uids,
            [
                range(0, 100_000, 1000),
                range(1000, 1001, 1),
                range(1001, 101_000, 64_536)
            ]
        );
        assert_eq!(kept.uid_outside(1000), Some(1001));
        assert_eq!(kept.gid_outside(100), Some(1001));
        assert_eq!(kept.uid_outside(0), Some(100_000));
        assert_eq!(kept.uid_outside(65_536), Some(165_535));
        assert_eq!(kept.uid_outside(65_537), None);
    }

    #[test]
    fn ids_that_are_left_out_stand_beside() {
        let map = IdMap {
            uids: vec![range(0, 100_000, 1000)],
            gids: base().gids,
        };
        let beside = map.and_rest(&base());
        assert_eq!(
            beside.uids,
            [
                range(0, 100_000, 1000),
                range(IdMap::BESIDE, 1001, 1),
                range(IdMap::BESIDE + 1, 101_000, 64_536)
            ]
        );
        assert_eq!(beside.gids, base().gids);
        let kept = IdMap::with_caller_at(&base(), 1000, 100).unwrap();
        assert_eq!(kept.and_rest(&base()), kept);
    }

    #[test]
    fn keep_id_at_zero_and_beyond_the_range() {
        let kept = IdMap::with_caller_at(&base(), 0, 0).unwrap();
        assert_eq!(kept.uids, [range(0, 1001, 1), range(1, 100_000, 65_536)]);
        let kept = IdMap::with_caller_at(&base(), 70_000, 0).unwrap();
        assert_eq!(
            kept.uids,
            [range(0, 100_000, 65_536), range(70_000, 1001, 1)]
        );
    }
}
