//! A module uses only what stands below it: the order of the `mod` lines in
//! src/lib.rs is the rule, and this names the line that breaks it.

use std::path::{Path, PathBuf};

use crate::world::source;

/// The modules, the highest first.
fn order(map: &str) -> Vec<String> {
    map.lines()
        .filter_map(|line| {
            line.strip_prefix("pub ")
                .unwrap_or(line)
                .strip_prefix("mod ")
        })
        .filter_map(|rest| rest.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// The modules of this crate that a line of code names.
fn named(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or("");
    let word = |text: &str| {
        text.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len())
    };
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        // `use crate::{storage, userns}` names several.
        for part in rest.strip_prefix('{').unwrap_or(rest).split(',') {
            let part = part.trim_start();
            found.push(&part[..word(part)]);
            if !rest.starts_with('{') {
                break;
            }
        }
    }
    found
}

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|it| it == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let src = source().join("src");
    let order = order(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut broken = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let top = relative.components().next().unwrap().as_os_str();
        let Some(own) = place(top.to_str().unwrap().trim_end_matches(".rs")) else {
            continue; // lib.rs and main.rs stand above all.
        };
        for (number, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            for name in named(line) {
                if place(name).is_some_and(|used| used < own) {
                    let at = format!("src/{}:{}", relative.display(), number + 1);
                    broken.push(format!(
                        "{at}: {} uses {name}, which stands above it",
                        order[own]
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn names_are_found_in_code_and_not_in_comments() {
    assert_eq!(named("use crate::id::Name; // crate::cli"), ["id"]);
    assert_eq!(named("use crate::{storage, id::Name};"), ["storage", "id"]);
    assert!(named("    //! crate::cli").is_empty());
}
