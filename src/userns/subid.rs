//! The caller's subordinate ids (subuid(5), subgid(5)).

use super::{IdMap, IdRange, Machine, Ranges};
use crate::error::{Error, Result};

/// The ranges that `file` (/etc/subuid or /etc/subgid) gives a user, named
/// either way: (first, count).
pub fn subordinate_ids(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut parts = line.trim().split(':');
            let owner = parts.next()?;
            if Some(owner) != name && owner != uid {
                return None;
            }
            let range = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            (range.1 > 0).then_some(range)
        })
        .collect()
}

/// Podman's default: container 0 is the caller, 1 and on are the subordinate
/// ids in the order of the files; the caller alone where there are none, and why.
pub fn default_map(machine: &Machine) -> (IdMap, Option<Error>) {
    let (uid, gid) = machine.caller();
    if let Some(why) = machine.why_single() {
        return (IdMap::single(uid, gid), Some(why));
    }
    let (uids, gids) = machine.ranges();
    let map = IdMap {
        uids: with_caller(uid, &uids),
        gids: with_caller(gid, &gids),
    };
    (map, None)
}

/// The ranges that /etc/subuid and /etc/subgid give `users` and `groups`, or
/// Podman's words for those that have none.
pub fn ranges_of(users: &str, groups: &str) -> Result<(Ranges, Ranges)> {
    let read = |path: &str, kind: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // By name or by number, whatever the name is.
        let ranges = subordinate_ids(&text, Some(name), name.parse().unwrap_or(u32::MAX));
        if ranges.is_empty() {
            return Err(Error::usage(format!(
                "no {kind} ranges found for {} {name:?} in {path}",
                if kind == "subuid" { "user" } else { "group" }
            )));
        }
        Ok(ranges)
    };
    Ok((
        read("/etc/subuid", "subuid", users)?,
        read("/etc/subgid", "subgid", groups)?,
    ))
}

fn with_caller(caller: u32, subordinate: &[(u32, u32)]) -> Vec<IdRange> {
    let mut ranges = vec![IdRange {
        inside: 0,
        outside: caller,
        count: 1,
    }];
    let mut inside = 1;
    for &(outside, count) in subordinate {
        ranges.push(IdRange {
            inside,
            outside,
            count,
        });
        inside += count;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_uid() {
        let text = "alice:100000:65536\n1000:300000:10\nbob:1:1\nbroken\nalice:x:1\nalice:5:0\n";
        assert_eq!(
            subordinate_ids(text, Some("alice"), 1000),
            [(100_000, 65_536), (300_000, 10)]
        );
        assert_eq!(subordinate_ids(text, None, 7), []);
    }
}
