//! man/ and completions/ are what the command table gives, but for section 7 of the
//! manual, which is written by hand.
//! `UPDATE=1 cargo test generated` writes them anew.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::manual::by_hand;
use crate::world::{Need, source};
use coracle::cli::{completion, man};

/// Compares a folder with what its files should be, or makes it so.
fn keep(folder: &str, files: &BTreeMap<String, String>) {
    let dir = source().join(folder);
    let update = std::env::var_os("UPDATE").is_some();
    std::fs::create_dir_all(&dir).unwrap();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".7") {
            continue;
        }
        if !files.contains_key(&name) {
            wrong.push(format!("{folder}/{name} should not be"));
            if update {
                std::fs::remove_file(dir.join(name)).unwrap();
            }
        }
    }
    for (name, text) in files {
        if std::fs::read_to_string(dir.join(name)).ok().as_ref() != Some(text) {
            wrong.push(format!(
                "{folder}/{name} is not what the command table gives"
            ));
            if update {
                std::fs::write(dir.join(name), text).unwrap();
            }
        }
    }
    assert!(
        update || wrong.is_empty(),
        "{}\n`make generated` writes them anew",
        wrong.join("\n")
    );
}

#[test]
fn man_pages_are_what_the_command_table_gives() {
    keep("man", &man::pages());
}

#[test]
fn completions_are_what_the_command_table_gives() {
    let scripts = completion::SCRIPTS.map(|(name, text)| (name.to_owned(), text.to_owned()));
    keep("completions", &scripts.into());
}

#[test]
fn man_pages_are_clean() {
    if !Need::Mandoc.is_met() {
        return;
    }
    // One that only leads to another is read with its folder, by man(1).
    let pages = man::pages().into_iter().chain(by_hand());
    for (name, text) in pages.filter(|(_, text)| !text.starts_with(".so ")) {
        let mut mandoc = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = mandoc.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let done = mandoc.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "", "{name}");
    }
}

/// A page of ours that another names is there.
#[test]
fn pages_lead_to_pages_that_are_there() {
    let pages: BTreeMap<String, String> = man::pages().into_iter().chain(by_hand()).collect();
    for (name, text) in &pages {
        let text = text.replace("\\-", "-");
        for part in text.split("\\fBcoracle").skip(1) {
            let Some((title, rest)) = part.split_once("\\fP(") else {
                continue;
            };
            let section = &rest[..1];
            let is_title = title.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            if is_title && ["1", "7"].contains(&section) {
                let page = format!("coracle{title}.{section}");
                assert!(pages.contains_key(&page), "{name} leads to {page}");
            }
        }
    }
}

#[test]
fn every_command_has_a_summary_and_an_example() {
    for command in coracle::cli::commands() {
        let definition = (command.define)();
        if !definition.is_hide_set() {
            let name = command.names[0];
            assert!(definition.get_about().is_some(), "{name} has no summary");
            assert!(!command.examples.is_empty(), "{name} has no example");
            for example in command.examples {
                assert!(
                    example.line.starts_with("coracle "),
                    "{name}: {}",
                    example.line
                );
            }
        }
    }
}
