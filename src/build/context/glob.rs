//! Patterns of names, as Go's `filepath.Match` has them: `*`, `?`, `[a-z]`, `\x`; and
//! `**` in the ignore file.

/// What is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A path: `*` and `?` stop at a slash, `**` does not.
    Path,
    /// Any text.
    Text,
}

/// Whether the whole of `text` is what `pattern` says. A pattern that is wrong is
/// nothing.
pub fn matches(pattern: &str, text: &str, shape: Shape) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // Which places of the text the pattern so far can end at: no pattern takes longer
    // than its length times the text's.
    let mut at: Vec<bool> = vec![false; text.len() + 1];
    at[0] = true;
    let mut rest = pattern.as_slice();
    let crosses = |letter: char| shape == Shape::Text || letter != '/';
    while let Some((&sign, after)) = rest.split_first() {
        rest = after;
        let mut next = vec![false; text.len() + 1];
        match sign {
            '*' => {
                let double = shape == Shape::Path && rest.first() == Some(&'*');
                if double {
                    rest = &rest[1..];
                    // `**/` is also no folder at all.
                    if rest.first() == Some(&'/') {
                        rest = &rest[1..];
                        for from in 0..=text.len() {
                            if at[from] {
                                next[from] = true;
                                for end in from..text.len() {
                                    next[end + 1] |= text[end] == '/';
                                }
                            }
                        }
                        at = next;
                        continue;
                    }
                }
                let mut open = false;
                for place in 0..=text.len() {
                    open |= at[place];
                    next[place] = open;
                    if place < text.len() && !double && !crosses(text[place]) {
                        open = false;
                    }
                }
            }
            '?' => {
                for place in 0..text.len() {
                    next[place + 1] = at[place] && crosses(text[place]);
                }
            }
            '[' => {
                let Some((class, after)) = class(rest) else {
                    return false;
                };
                rest = after;
                for place in 0..text.len() {
                    let letter = text[place];
                    next[place + 1] = at[place] && crosses(letter) && class.has(letter);
                }
            }
            sign => {
                let wanted = match (sign, rest.split_first()) {
                    ('\\', Some((&next, after))) => {
                        rest = after;
                        next
                    }
                    ('\\', None) => return false,
                    _ => sign,
                };
                for place in 0..text.len() {
                    next[place + 1] = at[place] && text[place] == wanted;
                }
            }
        }
        at = next;
    }
    at[text.len()]
}

/// Whether `text` means more than itself.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

struct Class {
    is_not: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn has(&self, letter: char) -> bool {
        let within = |&(low, high): &(char, char)| low <= letter && letter <= high;
        self.ranges.iter().any(within) != self.is_not
    }
}

/// `[^a-z\]]` after its bracket.
fn class(mut rest: &[char]) -> Option<(Class, &[char])> {
    let is_not = rest.first() == Some(&'^');
    if is_not {
        rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    fn one(rest: &[char]) -> Option<(char, &[char])> {
        match rest {
            ['\\', letter, after @ ..] => Some((*letter, after)),
            ['\\'] | ['-' | ']', ..] | [] => None,
            [letter, after @ ..] => Some((*letter, after)),
        }
    }
    loop {
        if let ([']', after @ ..], false) = (rest, ranges.is_empty()) {
            return Some((Class { is_not, ranges }, after));
        }
        let (low, after) = one(rest)?;
        rest = after;
        let mut high = low;
        if let ['-', after @ ..] = rest {
            (high, rest) = one(after)?;
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_go_s() {
        for (pattern, text, wanted) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("[\\]a]", "]", true),
            ("[]a]", "]", false),
            ("[a-", "a", false),
            ("a\\*b", "a*b", true),
            ("a\\", "a", false),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("a/**/x", "a/x", true),
            ("a/**", "a/b/c", true),
            ("**", "a/b", true),
            ("**/*.go", "a/b.go", true),
            ("ü?", "üé", true),
        ] {
            assert_eq!(
                matches(pattern, text, Shape::Path),
                wanted,
                "{pattern} {text}"
            );
        }
        assert!(matches("*.so", "/a/b.so", Shape::Text));
        // Long ones take no longer.
        let text = "a".repeat(2000);
        assert!(!matches(
            &format!("{}b", "a*".repeat(500)),
            &text,
            Shape::Path
        ));
    }
}
