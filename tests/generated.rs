//! man/ and completions/ are what the command table gives, but for section 7 of the
//! manual, which is written by hand.
//! `UPDATE=1 cargo test generated` writes them anew.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::world::{Need, World, source};
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

/// The pages of section 7: name and text.
fn by_hand() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(source().join("man")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".7") {
            pages.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    assert!(!pages.is_empty());
    pages
}

#[test]
fn what_the_pages_of_section_7_show_works() {
    for (name, text) in by_hand() {
        let world = World::new();
        if !world.needs(Need::Subuids) {
            return;
        }
        for (image, known_as) in [
            ("IMAGE", "docker.io/library/alpine"),
            ("IMAGE", "docker.io/library/python:3.10"),
            ("USER_IMAGE", "docker.io/jupyter/scipy-notebook"),
        ] {
            world.coracle(&format!("tag {image} {known_as}")).ok();
        }
        for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let line = line.replace("\\-", "-");
            let done = world.shell(&line).run();
            assert_eq!(done.code, 0, "{name}: {line}: {}", done.stderr());
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
