//! Changes of files, as `diff` shows them.

use crate::error::{Error, Result};
use crate::output::{Output, json};
use crate::storage::diff::Change;

/// Whether `--format` asks for JSON, all that it takes.
pub fn is_json(format: Option<&str>) -> Result<bool> {
    match format {
        None | Some("") => Ok(false),
        Some("json") => Ok(true),
        Some(_) => Err(Error::usage(
            "only supported value for '--format' is 'json'",
        )),
    }
}

/// Prints them, a line each or as `podman diff --format json` does.
pub fn print(changes: &[Change], is_json: bool, output: &mut Output) -> Result<()> {
    if is_json {
        output.line(json::escape_html(&json::inspect(&as_json(changes))?));
        return Ok(());
    }
    for change in changes {
        let path = String::from_utf8_lossy(change.path());
        output.line(format_args!("{} {path}", word(change)));
    }
    Ok(())
}

fn word(change: &Change) -> char {
    match change {
        Change::Added(_) => 'A',
        Change::Changed(_) => 'C',
        Change::Deleted(_) => 'D',
    }
}

/// A list for each kind that there is.
fn as_json(changes: &[Change]) -> serde_json::Value {
    let mut all = serde_json::Map::new();
    for (key, wanted) in [("changed", 'C'), ("added", 'A'), ("deleted", 'D')] {
        let paths: Vec<String> = changes
            .iter()
            .filter(|change| word(change) == wanted)
            .map(|change| String::from_utf8_lossy(change.path()).into_owned())
            .collect();
        if !paths.is_empty() {
            all.insert(key.to_owned(), paths.into());
        }
    }
    all.into()
}
