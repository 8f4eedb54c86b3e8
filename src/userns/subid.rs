//! The caller's subordinate ids (subuid(5), subgid(5)).

use std::path::Path;

use super::{IdMap, IdRange};
use crate::error::{Error, Result};
use crate::settings::{Settings, user_name};

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
/// ids in the order of the files; the caller alone where there are none.
pub fn default_map(settings: &Settings) -> IdMap {
    let (uids, gids) = ranges(settings);
    if uids.is_empty() || gids.is_empty() || !helpers_are_there() {
        return IdMap::single(settings.uid, settings.gid);
    }
    IdMap {
        uids: with_caller(settings.uid, &uids),
        gids: with_caller(settings.gid, &gids),
    }
}

/// Why `default_map` maps the caller alone, and what to do about it.
pub fn why_single(settings: &Settings) -> Option<String> {
    let (uids, gids) = ranges(settings);
    let name = user_name(settings.uid).unwrap_or_else(|| settings.uid.to_string());
    if uids.is_empty() || gids.is_empty() {
        let file = if uids.is_empty() {
            "/etc/subuid"
        } else {
            "/etc/subgid"
        };
        return Some(format!(
            "{file} gives {name} no ids: as root, `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}`"
        ));
    }
    (!helpers_are_there()).then(|| {
        "newuidmap and newgidmap are not installed: as root, `apt install uidmap`".to_owned()
    })
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

fn ranges(settings: &Settings) -> (Ranges, Ranges) {
    let name = user_name(settings.uid);
    let read = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        subordinate_ids(&text, name.as_deref(), settings.uid)
    };
    (read("/etc/subuid"), read("/etc/subgid"))
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

/// First id and count of each.
pub type Ranges = Vec<(u32, u32)>;

/// Whether newuidmap and newgidmap can be found.
fn helpers_are_there() -> bool {
    ["newuidmap", "newgidmap"]
        .into_iter()
        .all(|name| super::enter::helper(name).is_some_and(|path| Path::exists(&path)))
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
