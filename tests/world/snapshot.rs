//! What a command prints, with `<id>`, `<time>` and `<world>` for what varies.

use std::sync::LazyLock;

use regex::Regex;

use super::{Cmd, Done};

/// Something that [`assert_snapshot!`](crate::assert_snapshot) compares.
pub trait Snapshot {
    fn text(self) -> String;
}

impl Snapshot for Cmd<'_> {
    fn text(self) -> String {
        self.run().text()
    }
}

impl Snapshot for Done {
    fn text(self) -> String {
        let mut text = self.stdout();
        if !self.err.is_empty() {
            text.push_str("--- stderr\n");
            text.push_str(&self.stderr());
        }
        if self.code != 0 {
            text.push_str(&format!("--- exit {}\n", self.code));
        }
        text
    }
}

impl Snapshot for String {
    fn text(self) -> String {
        self
    }
}

/// Compares after normalising `actual` and taking the indentation off `expected`.
#[track_caller]
pub fn check(actual: &str, expected: &str) {
    let (actual, expected) = (normal(actual), unindented(expected));
    assert!(
        actual == expected,
        "the snapshot differs\n--- is\n{actual}\n--- should be\n{expected}\n---"
    );
}

/// Ids, times and the world's path by their names; columns of any width by two spaces.
pub fn normal(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let ago = r"(Less than a second|About a minute|About an hour|\d+ (seconds?|minutes?|hours?))( ago)?";
        [
            (r"/\S*/cw-[0-9a-f]{8}", "<world>"),
            (r"\b[0-9a-f]{64}\b", "<id>"),
            (r"\b[0-9a-f]{12}\b", "<id>"),
            (
                r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d|Z)?( [A-Z]{3,4})?",
                "<time>",
            ),
            (ago, "<time>"),
            (r" {3,}", "  "),
        ]
        .map(|(rule, name)| (Regex::new(rule).unwrap(), name))
        .into()
    });
    let mut text = text.to_owned();
    for (rule, name) in RULES.iter() {
        text = rule.replace_all(&text, *name).into_owned();
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

fn unindented(text: &str) -> String {
    let lines: Vec<&str> = text
        .trim_end()
        .lines()
        .skip_while(|it| it.trim().is_empty())
        .collect();
    let indent = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    let cut = lines
        .iter()
        .map(|line| line.get(indent..).unwrap_or("").trim_end());
    cut.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_varies_has_a_name() {
    let id = "0123456789ab".repeat(6)[..64].to_owned();
    let text = format!("{id} /var/tmp/cw-0123abcd/home 2026-01-02T03:04:05.6Z Up 3 seconds\n");
    assert_eq!(normal(&text), "<id> <world>/home <time> Up <time>");
}
