//! Names and ids, each parsed once into its type at the edge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Defines a newtype over `String` that is serialised as its text and checked
/// when it is parsed or read back.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                let check: fn(&str) -> Result<()> = $check;
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                let check: fn(&str) -> Result<()> = $check;
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<std::path::Path> for $name {
            fn as_ref(&self) -> &std::path::Path {
                self.0.as_ref()
            }
        }
    };
}

text!(
    /// A container's id: 64 lower-case hex digits.
    ContainerId,
    hex64
);
text!(
    /// An image's id: the digest of its config, 64 lower-case hex digits.
    ImageId,
    hex64
);
text!(
    /// A digest of bytes as they are sent: `sha256:` and 64 lower-case hex digits.
    Digest,
    sha256
);
text!(
    /// The digest of a layer's uncompressed tar (image-spec, config, `diff_ids`).
    DiffId,
    sha256
);
text!(
    /// A container's or volume's name: Podman's `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    Name,
    name
);

impl ContainerId {
    /// A new random id.
    pub fn random() -> Self {
        Self(random_hex::<32>())
    }

    /// The first 12 digits, as tables show it.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl ImageId {
    /// Nobody's id, in the place of one.
    pub fn none() -> Self {
        Self("0".repeat(64))
    }

    pub fn is_none(&self) -> bool {
        self.0.bytes().all(|digit| digit == b'0')
    }

    /// The first 12 digits, as tables show it.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl Name {
    /// A new random name of 64 hex digits, as anonymous volumes have.
    pub fn random() -> Self {
        Self(random_hex::<32>())
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(format!("sha256:{}", hex(&sha2::Sha256::digest(bytes))))
    }

    /// The 64 hex digits after `sha256:`.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl DiffId {
    /// The 64 hex digits after `sha256:`.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

/// `bytes` as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
    }
    text
}

/// `N` random bytes as hex digits, from the kernel.
pub fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    // The getrandom crate looks for libc's function, which a static program has
    // not, and then keeps /dev/urandom open.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .expect("getrandom(2) is there since Linux 3.17 and gives this little at once");
    hex(&bytes)
}

fn hex64(text: &str) -> Result<()> {
    if text.len() == 64 && is_hex(text) {
        Ok(())
    } else {
        Err(Error::usage(format!(
            "{text:?} is not an id of 64 hex digits"
        )))
    }
}

fn sha256(text: &str) -> Result<()> {
    match text.strip_prefix("sha256:") {
        Some(rest) if rest.len() == 64 && is_hex(rest) => Ok(()),
        _ => Err(Error::usage(format!("{text:?} is not a sha256 digest"))),
    }
}

fn name(text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    let first = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
    let rest = bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b));
    if first && rest && bytes.len() <= 255 {
        Ok(())
    } else if first && rest {
        Err(Error::usage(format!(
            "name {}… of {} characters: file name too long",
            &text[..20],
            bytes.len()
        )))
    } else {
        // Podman's words (libpod/define/errors.go, ErrInvalidArg with RegexError).
        Err(Error::usage(
            "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument",
        ))
    }
}

/// Whether `text` is lower-case hex digits only.
pub fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The one of `names` that may have been meant by `typed`: the nearest, or the only one
/// that it begins.
pub fn near<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut nearest: Option<(usize, &str)> = None;
    let mut begun = Vec::new();
    for name in names {
        let distance = distance(typed, name);
        // One slip in three letters.
        let is_near = distance <= 2 && distance * 3 <= typed.chars().count().max(3);
        if is_near && nearest.is_none_or(|best| (distance, name) < best) {
            nearest = Some((distance, name));
        }
        if typed.len() >= 3 && name.starts_with(typed) {
            begun.push(name);
        }
    }
    match (nearest, &begun[..]) {
        (Some((_, name)), _) => Some(name),
        (None, [only]) => Some(only),
        _ => None,
    }
}

/// How many letters must change, or change places, to make `a` of `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    // The rows of the table for the two letters before, and for this one.
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect(), Vec::new()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = rows[1][j] + usize::from(x != y);
            let mut least = changed.min(rows[1][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(rows[0][j - 1] + 1);
            }
            row.push(least);
        }
        rows[2] = row;
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

/// Bytes that are nearly right, for tests of parsers.
#[cfg(test)]
pub mod odd {
    /// Numbers below what is asked for, the same each time.
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        move |most: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % most.max(1)
        }
    }

    /// Hands `each` so many times a text of fewer than `most` of `pieces`, in any order.
    pub fn texts(pieces: &[&str], most: usize, count: usize, mut each: impl FnMut(&str)) {
        let mut next = numbers();
        for _ in 0..count {
            let length = next(most);
            let text: String = (0..length).map(|_| pieces[next(pieces.len())]).collect();
            each(&text);
        }
    }

    /// Hands `each` so many times one of `seeds` with a few bytes changed, taken out,
    /// doubled or cut off.
    pub fn bytes(seeds: &[&str], count: usize, mut each: impl FnMut(&[u8])) {
        const LIKELY: &[u8] = b"{}[]\":,=.*/@-0129\\ \n\0ntaz\xff";
        let mut next = numbers();
        for _ in 0..count {
            let mut bytes = seeds[next(seeds.len())].as_bytes().to_vec();
            for _ in 0..1 + next(4) {
                let (at, length) = (next(bytes.len()), next(12));
                let end = (at + length).min(bytes.len());
                match next(5) {
                    0 => drop(bytes.drain(at..end)),
                    1 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
                    2 => bytes.truncate(at.max(1)),
                    3 => bytes.insert(at, LIKELY[next(LIKELY.len())]),
                    _ => {
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = LIKELY[next(LIKELY.len())];
                        }
                    }
                }
            }
            each(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_podmans_pattern() {
        for good in ["a", "web-1", "0.x_y"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a b", "é", "_x"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_64_lower_case_hex_digits() {
        let id = ContainerId::random();
        assert_eq!(id.as_str().parse::<ContainerId>().unwrap(), id);
        assert!("ABC".parse::<ContainerId>().is_err());
        assert!("../x".parse::<ContainerId>().is_err());
        assert_eq!(Digest::of(b"").hex().len(), 64);
    }

    #[test]
    fn what_is_near_may_have_been_meant() {
        let names = ["run", "rmi", "restart", "results", "volume"];
        for (typed, meant) in [
            ("rnu", Some("run")),
            ("resluts", Some("results")),
            ("vol", Some("volume")),
            ("res", None),
            ("x", None),
            ("rn", Some("run")),
            ("nonsense", None),
        ] {
            assert_eq!(near(typed, names), meant, "{typed}");
        }
    }
}
