//! What becomes of the ids that an image has.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::storage::layer::{Layer, OwnerIds};
use crate::userns::{IdMap, IdRange};

/// Of each id that an image has, which is its file's on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    uids: Ids,
    gids: Ids,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ids {
    /// In order, not overlapping.
    moves: Vec<Move>,
    /// What an id becomes that the map leaves out and that is somebody else's in the
    /// container: one that is nobody's. Podman takes the overflow id.
    nobody: Option<u32>,
}

/// `count` ids of the image from `from` on become those from `to` on, in the
/// default map, which are those from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Move {
    from: u32,
    to: u32,
    outside: u32,
    count: u32,
}

/// The id that Linux shows for one that is not mapped.
pub(super) const OVERFLOW: u32 = 65534;

impl Shift {
    /// How files of `layers`, unpacked under the map `base`, are to be owned for
    /// `wanted` to show the image's ids. None if they are already.
    pub fn new(base: &IdMap, wanted: &IdMap, layers: &[Option<Layer>]) -> Result<Option<Self>> {
        let owners = |ids: fn(&OwnerIds) -> &Vec<(u32, u32)>, base: &[IdRange]| {
            let mut all = Vec::new();
            for layer in layers {
                match layer.as_ref().and_then(|layer| layer.owners.as_ref()) {
                    Some(owners) => all.extend(ids(owners)),
                    // Not known: it may have any.
                    None => all.extend(base.iter().map(|range| (range.inside, range.count))),
                }
            }
            // The root is always there.
            all.push((0, 1));
            union(all)
        };
        let uids = Ids::new(
            &base.uids,
            &wanted.uids,
            &owners(|owners| &owners.uids, &base.uids),
        )?;
        let gids = Ids::new(
            &base.gids,
            &wanted.gids,
            &owners(|owners| &owners.gids, &base.gids),
        )?;
        let stays = uids.stays() && gids.stays();
        Ok((!stays).then_some(Self { uids, gids }))
    }

    /// The owner that a file of the image's user `uid` gets, in the default map.
    pub fn uid(&self, uid: u32) -> Option<u32> {
        self.uids.of(uid)
    }

    /// The owner that a file of the image's group `gid` gets, in the default map.
    pub fn gid(&self, gid: u32) -> Option<u32> {
        self.gids.of(gid)
    }

    /// The same for shifts that do the same. Ids on the host decide: a default map
    /// may change.
    pub fn key(&self) -> String {
        let mut text = String::new();
        for (kind, ids) in [("u", &self.uids), ("g", &self.gids)] {
            for it in &ids.moves {
                text.push_str(&format!("{kind}{}:{}:{} ", it.from, it.outside, it.count));
            }
            if let Some(nobody) = ids.nobody {
                text.push_str(&format!("{kind}!{nobody} "));
            }
        }
        crate::id::Digest::of(text.as_bytes()).hex()[..16].to_owned()
    }
}

impl Ids {
    fn new(base: &[IdRange], wanted: &[IdRange], owned: &[(u32, u32)]) -> Result<Self> {
        let mut all = Vec::new();
        for wanted in wanted {
            for base in base {
                let begin = wanted.outside.max(base.outside);
                let end = end(wanted.outside, wanted.count).min(end(base.outside, base.count));
                if u64::from(begin) < end {
                    all.push(Move {
                        from: wanted.inside + (begin - wanted.outside),
                        to: base.inside + (begin - base.outside),
                        outside: begin,
                        count: (end - u64::from(begin)) as u32,
                    });
                }
            }
        }
        if !all.iter().any(|it| it.of(0).is_some()) {
            return Err(Error::other(
                "creating container storage: container ID 0 cannot be mapped to a host ID",
            )
            .hint("the image has files of root, so the id map must have 0 in it"));
        }
        let owned: Vec<Range> = owned
            .iter()
            .map(|&(first, count)| range(first, count))
            .collect();
        let from = |it: &Move| range(it.from, it.count);
        let mut moves: Vec<Move> = Vec::new();
        for it in &all {
            moves.extend(owned.iter().filter_map(|owned| it.within(owned)));
        }
        // What the map leaves out stays as it is, where nobody in the container has
        // that id.
        let left_out = without(owned, all.iter().map(from));
        let free = without(
            left_out.clone(),
            all.iter().map(|it| range(it.to, it.count)),
        );
        let mut stay = Vec::new();
        for it in base {
            let same = Move {
                from: it.inside,
                to: it.inside,
                outside: it.outside,
                count: it.count,
            };
            stay.extend(free.iter().filter_map(|free| same.within(free)));
        }
        let count = |ranges: &[Range]| ranges.iter().map(|it| it.end - it.start).sum::<u64>();
        let stays: Vec<Range> = stay.iter().map(from).collect();
        let homeless = count(&left_out) > count(&stays);
        moves.extend(stay);
        Ok(Self {
            moves: joined(moves),
            nobody: homeless.then(|| nobody(base, &all)),
        })
    }

    fn of(&self, id: u32) -> Option<u32> {
        let behind = self.moves.partition_point(|it| it.from <= id);
        let found = behind.checked_sub(1).and_then(|at| self.moves[at].of(id));
        found.or(self.nobody)
    }

    /// Whether every id stays what it is.
    fn stays(&self) -> bool {
        self.nobody.is_none() && self.moves.iter().all(|it| it.from == it.to)
    }
}

/// Ids, the end not among them.
type Range = std::ops::Range<u64>;

fn range(first: u32, count: u32) -> Range {
    u64::from(first)..end(first, count)
}

/// What of `ranges` is in none of `taken`.
fn without(ranges: Vec<Range>, taken: impl Iterator<Item = Range>) -> Vec<Range> {
    let mut left = ranges;
    for taken in taken {
        let around = |it: Range| {
            let below = it.start..it.end.min(taken.start);
            let above = it.start.max(taken.end)..it.end;
            [below, above].into_iter().filter(|it| !it.is_empty())
        };
        left = left.into_iter().flat_map(around).collect();
    }
    left
}

impl Move {
    /// The part of it that is about ids of `ids`.
    fn within(&self, ids: &Range) -> Option<Self> {
        let begin = ids.start.max(u64::from(self.from));
        let end = ids.end.min(end(self.from, self.count));
        // It is not beyond what we are about, whose ids are of 32 bits.
        let at = (begin < end).then(|| (begin - u64::from(self.from)) as u32)?;
        Some(Self {
            from: self.from + at,
            to: self.to + at,
            outside: self.outside + at,
            count: (end - begin) as u32,
        })
    }

    fn of(&self, id: u32) -> Option<u32> {
        let at = id.checked_sub(self.from)?;
        (at < self.count).then(|| self.to + at)
    }
}

fn end(first: u32, count: u32) -> u64 {
    u64::from(first) + u64::from(count)
}

/// An id of the default map that `moves` give to nobody; if they give all away,
/// the overflow id.
fn nobody(base: &[IdRange], moves: &[Move]) -> u32 {
    let free = |id: u32| moves.iter().all(|it| id.wrapping_sub(it.to) >= it.count);
    let known = |id: u32| base.iter().any(|it| id.wrapping_sub(it.inside) < it.count);
    // Where a range begins or ends something may be free.
    let edges = base
        .iter()
        .map(|it| end(it.inside, it.count) - 1)
        .chain(moves.iter().map(|it| end(it.to, it.count)))
        .chain(moves.iter().map(|it| u64::from(it.to).wrapping_sub(1)))
        .filter_map(|id| u32::try_from(id).ok());
    std::iter::once(OVERFLOW)
        .chain(edges)
        .find(|&id| known(id) && free(id))
        .unwrap_or(OVERFLOW)
}

/// Moves in order; those that go on where another ends are one with it.
fn joined(mut moves: Vec<Move>) -> Vec<Move> {
    moves.sort_by_key(|it| it.from);
    let mut joined: Vec<Move> = Vec::new();
    for it in moves {
        match joined.last_mut() {
            Some(last)
                if end(last.from, last.count) == u64::from(it.from)
                    && end(last.to, last.count) == u64::from(it.to)
                    && end(last.outside, last.count) == u64::from(it.outside) =>
            {
                last.count += it.count;
            }
            _ => joined.push(it),
        }
    }
    joined
}

/// Ranges (first, count) in order, those that touch as one.
fn union(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut union: Vec<(u32, u32)> = Vec::new();
    for (first, count) in ranges {
        match union.last_mut() {
            Some(last) if u64::from(first) <= end(last.0, last.1) => {
                let end = end(first, count).max(end(last.0, last.1));
                last.1 = (end - u64::from(last.0)) as u32;
            }
            _ => union.push((first, count)),
        }
    }
    union
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange {
            inside,
            outside,
            count,
        }
    }

    fn map(ranges: &[IdRange]) -> IdMap {
        IdMap {
            uids: ranges.to_vec(),
            gids: ranges.to_vec(),
        }
    }

    fn base() -> IdMap {
        map(&[ids(0, 1001, 1), ids(1, 100_000, 65_536)])
    }

    fn layer(uids: &[(u32, u32)], gids: &[(u32, u32)]) -> Option<Layer> {
        Some(Layer {
            id: format!("sha256:{:064}", 0).parse().unwrap(),
            size: 0,
            entries: 0,
            owners: Some(OwnerIds {
                uids: uids.to_vec(),
                gids: gids.to_vec(),
            }),
            single: false,
            attributes: false,
        })
    }

    #[test]
    fn keep_id_shifts_what_the_image_has() {
        let wanted = IdMap::with_caller_at(&base(), 1000, 100).unwrap();
        let layers = [layer(&[(0, 1), (1000, 1)], &[(0, 1), (42, 1), (100, 1)])];
        let shift = Shift::new(&base(), &wanted, &layers).unwrap().unwrap();
        // The default map's 1 is the host's 100000, keep-id's 0.
        assert_eq!((shift.uid(0), shift.uid(1000)), (Some(1), Some(0)));
        assert_eq!((shift.gid(42), shift.gid(100)), (Some(43), Some(0)));
        // No file has it, so nobody asks.
        assert_eq!(shift.uid(7), None);
        // Of root's files alone every keep-id makes the same.
        let roots = [layer(&[(0, 1)], &[(0, 1)])];
        let other = IdMap::with_caller_at(&base(), 5, 6).unwrap();
        let shifts = [wanted, other].map(|map| Shift::new(&base(), &map, &roots).unwrap().unwrap());
        assert_eq!(shifts[0].key(), shifts[1].key());
        assert_ne!(shift.key(), shifts[0].key());
    }

    #[test]
    fn a_map_that_shows_the_same_needs_no_shift() {
        let layers = [layer(&[(0, 2), (7, 1)], &[(0, 1)]), layer(&[(3, 5)], &[])];
        for wanted in [
            base(),
            IdMap::with_caller_at(&base(), 0, 0).unwrap(),
            map(&[ids(0, 1001, 1), ids(1, 100_000, 7)]),
            map(&[ids(1, 100_000, 3), ids(0, 1001, 1), ids(4, 100_003, 60)]),
        ] {
            assert_eq!(Shift::new(&base(), &wanted, &layers).unwrap(), None);
        }
        assert_eq!(Shift::new(&base(), &base(), &[None]).unwrap(), None);
        let moved = IdMap::with_caller_at(&base(), 5, 0).unwrap();
        assert!(Shift::new(&base(), &moved, &[None]).unwrap().is_some());
    }

    #[test]
    fn what_a_map_leaves_out_is_nobodys() {
        let layers = [layer(&[(0, 1), (42, 1)], &[(0, 1), (42, 1)])];
        let of = |ranges: &[IdRange]| {
            let shift = Shift::new(&base(), &map(ranges), &layers).unwrap();
            shift.map(|shift| shift.uid(42).unwrap())
        };
        // It stays what it is: then a container shows it as nobody's.
        assert_eq!(of(&[ids(0, 1001, 1), ids(1, 100_000, 10)]), None);
        assert_eq!(of(&[ids(0, 100_000, 1)]), Some(42));
        // 100041, by which the host knows it, is somebody else here.
        assert_eq!(of(&[ids(0, 100_041, 1)]), Some(OVERFLOW));
        // So is 65534, and the first that is free is the caller.
        assert_eq!(
            of(&[ids(0, 100_006, 40), ids(50, 100_046, 65_490)]),
            Some(0)
        );
        assert_eq!(of(&[ids(0, 1001, 1), ids(50, 100_009, 65_527)]), Some(1));
        let every = [ids(0, 1001, 1), ids(50, 100_000, 65_536)];
        assert_eq!(of(&every), Some(OVERFLOW));
        let error = Shift::new(&base(), &map(&[ids(5, 1001, 1)]), &layers).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("container ID 0 cannot be mapped")
        );
    }

    #[test]
    fn ranges_are_joined() {
        assert_eq!(
            union(vec![(5, 2), (0, 1), (1, 1), (6, 1), (9, 3), (10, 1)]),
            [(0, 2), (5, 2), (9, 3)]
        );
        assert_eq!(union(vec![(0, u32::MAX), (5, 1)]), [(0, u32::MAX)]);
    }
}
