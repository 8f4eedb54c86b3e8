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

    /// Whether the host's `uid` and `gid` are mapped.
    pub fn has_outside(&self, uid: u32, gid: u32) -> bool {
        let has = |ranges: &[IdRange], id: u32| {
            ranges
                .iter()
                .any(|it| id >= it.outside && id - it.outside < it.count)
        };
        has(&self.uids, uid) && has(&self.gids, gid)
    }
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
