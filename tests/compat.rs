//! Sessions recorded from Podman (`tests/compat/*.session`), which must go the same way.
//!
//! A session is a shell's transcript in a world with the test images: `$ ` and a line of
//! bash, then what it printed, as in snapshots. `# ` is a comment. Where we differ, `! `
//! and the reason follow the line, and what is recorded is ours.
//!
//! Recorded anew with `UPDATE=1`: from Podman with `PODMAN=1 CORACLE=…/coracle`, a link
//! to podman, which leaves the answers under `! ` alone; else from us, those only.

use std::fmt::Write;

use crate::world::{NAMES, Snapshot, World, normal, source};

/// A line of a session, and its answer.
struct Step {
    /// Comments and blank lines before it.
    before: String,
    line: String,
    /// Why our answer is not Podman's.
    reason: Option<String>,
    answer: String,
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut before = String::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("$ ") {
            steps.push(Step {
                before: std::mem::take(&mut before),
                line: line.to_owned(),
                reason: None,
                answer: String::new(),
            });
        } else if line.starts_with("# ") {
            writeln!(before, "{line}").unwrap();
        } else if let (Some(reason), Some(step)) = (line.strip_prefix("! "), steps.last_mut()) {
            step.reason = Some(reason.to_owned());
        } else if let Some(step) = steps.last_mut() {
            writeln!(step.answer, "{line}").unwrap();
        }
    }
    steps
}

fn show(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        writeln!(text, "{}$ {}", step.before, step.line).unwrap();
        if let Some(reason) = &step.reason {
            writeln!(text, "! {reason}").unwrap();
        }
        text += &step.answer;
    }
    text
}

fn answer(world: &World, line: &str) -> String {
    let line = NAMES
        .iter()
        .rev()
        .fold(line.to_owned(), |line, (name, image)| {
            line.replace(name, image.trim_end_matches(":latest"))
        });
    let said = normal(&world.shell(&line).run().text());
    // A program speaks of itself by its own name, and of its runtime by none.
    let said = said
        .replace("podman", "coracle")
        .replace("Podman", "Coracle")
        .replace("crun: ", "");
    // A hint is ours, on a line of its own.
    let lines = said.lines().filter(|line| !line.starts_with("Hint: "));
    lines.fold(String::new(), |all, line| {
        all + format!("  {line}").trim_end() + "\n"
    })
}

fn go(name: &str) {
    let path = source().join(format!("tests/compat/{name}.session"));
    let mut steps = parse(&std::fs::read_to_string(&path).unwrap());
    let world = World::new();
    let update = std::env::var_os("UPDATE").is_some();
    let is_podman = std::env::var_os("PODMAN").is_some();
    let mut differing = String::new();
    for step in &mut steps {
        let said = answer(&world, &step.line);
        if said == step.answer {
            continue;
        }
        if !update {
            write!(
                differing,
                "$ {}\n--- recorded\n{}--- now\n{said}",
                step.line, step.answer
            )
            .unwrap();
        } else if is_podman == step.reason.is_none() {
            step.answer = said;
        }
    }
    if update {
        std::fs::write(&path, show(&steps)).unwrap();
    }
    assert!(differing.is_empty(), "{name} differs:\n{differing}");
}

macro_rules! sessions {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            go(stringify!($name));
        })*

        #[test]
        fn every_session_is_run() {
            let known = [$(concat!(stringify!($name), ".session")),*];
            for entry in std::fs::read_dir(source().join("tests/compat")).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(
                    !name.ends_with(".session") || known.contains(&name.as_str()),
                    "{name} is not run"
                );
            }
        }
    };
}

sessions! {
    arguments
    clone
    creating
    events
    executing
    face
    formats
    health
    images
    keys
    lifecycle
    listing
    machine
    naming
    options
    secrets
    stats
    tools
    update
    volumes
}
