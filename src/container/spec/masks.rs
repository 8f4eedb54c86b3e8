//! What of the kernel's files a container does not see, and does not write to.

use super::super::options::Options;
use crate::network::NetworkMode;

/// What the kernel shows nobody in a container (Podman 5.8).
pub(super) const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/proc/interrupts",
];

/// What nobody in a container writes to (Podman 5.8).
pub(super) const READ_ONLY: [&str; 6] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Whether nobody in a container writes to `path`, unless that is lifted.
pub fn is_protected(path: &std::path::Path) -> bool {
    let mut all = MASKED.iter().chain(&READ_ONLY);
    all.any(|protected| path == std::path::Path::new(protected))
}

pub(super) fn masked(options: &Options) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    if !options.privileged {
        all.extend(
            MASKED
                .iter()
                .filter(|path| !is_unmasked(options, path))
                .map(|path| (*path).to_owned()),
        );
        // The host's /sys is bound, where a new one could not be mounted.
        if options.network == NetworkMode::Host {
            all.push("/sys/kernel".to_owned());
        }
    }
    for path in options.security.mask.iter().flat_map(|it| it.split(':')) {
        if !path.is_empty() && !all.iter().any(|it| it == path) {
            all.push(path.to_owned());
        }
    }
    all
}

pub(super) fn read_only(options: &Options) -> Vec<String> {
    if options.privileged {
        return Vec::new();
    }
    READ_ONLY
        .iter()
        .filter(|path| !is_unmasked(options, path))
        .map(|path| (*path).to_owned())
        .collect()
}

fn is_unmasked(options: &Options, path: &str) -> bool {
    options
        .security
        .unmask
        .iter()
        .flat_map(|it| it.split(':'))
        .any(|pattern| pattern.eq_ignore_ascii_case("all") || glob(pattern, path))
}

/// Go's filepath.Match, as far as paths need it: `*` and `?` stay within a name,
/// `[a-z]` and `[^a-z]` are one character, `\` takes the next one as it is.
pub(super) fn glob(pattern: &str, path: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return path.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    let mut left = path.chars();
    match first {
        '*' => {
            let mut from = path;
            loop {
                if glob(rest, from) {
                    return true;
                }
                match from.chars().next() {
                    None | Some('/') => return false,
                    Some(skipped) => from = &from[skipped.len_utf8()..],
                }
            }
        }
        '?' => left.next().is_some_and(|it| it != '/') && glob(rest, left.as_str()),
        '[' => {
            let Some((class, after)) = rest.split_once(']') else {
                return false;
            };
            let (class, negated) = match class.strip_prefix('^') {
                Some(class) => (class, true),
                None => (class, false),
            };
            let class: Vec<char> = class.chars().collect();
            let Some(found) = left.next().filter(|it| *it != '/') else {
                return false;
            };
            let mut at = 0;
            let mut within = false;
            while at < class.len() {
                if class.get(at + 1) == Some(&'-') && at + 2 < class.len() {
                    within |= (class[at]..=class[at + 2]).contains(&found);
                    at += 3;
                } else {
                    within |= class[at] == found;
                    at += 1;
                }
            }
            within != negated && glob(after, left.as_str())
        }
        _ => {
            let (literal, rest) = match (first, rest.chars().next()) {
                ('\\', Some(next)) => (next, &rest[next.len_utf8()..]),
                _ => (first, rest),
            };
            left.next() == Some(literal) && glob(rest, left.as_str())
        }
    }
}
