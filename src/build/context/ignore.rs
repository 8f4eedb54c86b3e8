//! `.containerignore`: what of the context is not there for a build. The last pattern
//! that a path or a folder it lies in is of counts; `!` takes back.

use crate::build::context::glob::{Shape, matches};
use crate::error::{Error, Result};

/// The patterns of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: String,
    takes_back: bool,
}

impl Ignore {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut patterns = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for line in text.lines() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (takes_back, line) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if line.is_empty() {
                match takes_back {
                    true => return Err(Error::usage("illegal exclusion pattern: \"!\"")),
                    false => continue,
                }
            }
            let text = cleaned(line);
            // The context itself cannot be left out.
            if !text.is_empty() {
                patterns.push(Pattern { text, takes_back });
            }
        }
        Ok(Self { patterns })
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether something in a folder that is left out may be there all the same.
    pub fn takes_back(&self) -> bool {
        self.patterns.iter().any(|it| it.takes_back)
    }

    /// Whether `path`, from the context's root, is left out.
    pub fn has(&self, path: &str) -> bool {
        let mut is_out = false;
        for pattern in &self.patterns {
            if pattern.takes_back == is_out && covers(&pattern.text, path) {
                is_out = !pattern.takes_back;
            }
        }
        is_out
    }
}

/// Whether `pattern` is of `path` or of a folder it lies in.
pub fn covers(pattern: &str, path: &str) -> bool {
    if matches(pattern, path, Shape::Path) {
        return true;
    }
    path.match_indices('/')
        .any(|(at, _)| matches(pattern, &path[..at], Shape::Path))
}

/// Go's `filepath.Clean`, without a slash at its beginning.
fn cleaned(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_counts() {
        let ignore = Ignore::parse(
            "# said\n*.md\n!README.md\n/a/b/\n**/node_modules\ntemp?\n./x/../y\n!a/b/keep\n\n",
        )
        .unwrap();
        for (path, out) in [
            ("x.md", true),
            ("README.md", false),
            ("sub/x.md", false),
            ("a/b", true),
            ("a/b/c/d", true),
            ("a/b/keep", false),
            ("a/b/keep/z", false),
            ("a/bb", false),
            ("node_modules", true),
            ("p/q/node_modules/r", true),
            ("temp1/z", true),
            ("temp", false),
            ("y", true),
            ("x", false),
        ] {
            assert_eq!(ignore.has(path), out, "{path}");
        }
        assert!(Ignore::parse("!").is_err());
        assert!(!Ignore::parse(".").unwrap().has("a"));
    }

    #[test]
    fn no_text_stops_the_reader() {
        let pieces = [
            "*", "**", "/", "!", "#", "[", "]", "a", "\\", "?", "\n", "..", "-", "^", "ü",
        ];
        crate::id::odd::texts(&pieces, 20, 20_000, |text| {
            if let Ok(ignore) = Ignore::parse(text) {
                let _ = ignore.has("a/b/ü");
            }
        });
    }
}
