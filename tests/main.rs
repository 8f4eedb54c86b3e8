//! The program as its users meet it: one test binary, run as an unprivileged
//! user by `make test`. A file is a command or a theme.

mod world;

mod build;
mod builds;
mod cgroups;
mod compat;
mod completion;
mod configuration;
mod copies;
mod crash;
mod detached;
mod doctor;
mod drivers;
mod events;
mod exec;
mod explain;
mod files;
mod generated;
mod give;
mod health;
mod images;
mod install;
mod journal;
mod layers;
mod look;
mod manifest;
mod manual;
mod network;
mod newcomer;
mod options;
mod refused;
mod registry;
mod run;
mod save;
mod search;
mod secrets;
mod shifted;
mod single;
mod states;
mod stats;
mod streams;
mod templates;
mod terminal;
mod unshare;
mod update;
mod usage;
mod userns;
mod volumes;
mod wire;

/// `autotests` is off, so a file that is not named above would never run.
#[test]
fn every_file_here_is_part_of_this_binary() {
    let tests = world::source().join("tests");
    let main = std::fs::read_to_string(tests.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(&tests).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_module =
            path.extension().is_some_and(|it| it == "rs") || path.join("mod.rs").exists();
        if is_module && name != "main" {
            assert!(
                main.lines().any(|line| line == format!("mod {name};")),
                "tests/main.rs has no `mod {name};`"
            );
        }
    }
}

/// A person downloads it, and every monitor maps it. A build for debugging is larger.
#[test]
fn the_program_is_small() {
    let size = std::fs::metadata(world::binary()).unwrap().len();
    assert!(cfg!(debug_assertions) || size <= 15_000_000, "{size} bytes");
}
