//! Completion, asked as a shell asks it, and in bash itself.

use crate::assert_snapshot;
use crate::world::World;

/// What the program offers: the last word is the one being typed.
fn offers(world: &World, words: &[&str]) -> Vec<String> {
    let done = world.coracle("__complete").args(words).ok();
    let offered = done.stdout();
    let words = offered
        .lines()
        .map(|line| line.split('\t').next().unwrap_or("").to_owned());
    words.collect()
}

/// What bash makes of it. `line` is broken into words as readline does.
fn bash(world: &World, line: &str) -> String {
    let mut words = vec![String::new()];
    for c in line.chars() {
        let last = words.last_mut().unwrap();
        match c {
            ' ' => words.push(String::new()),
            ':' | '=' if !last.is_empty() && !last.ends_with([':', '=']) => {
                words.push(c.to_string());
            }
            _ if last.ends_with([':', '=']) => words.push(c.to_string()),
            _ => last.push(c),
        }
    }
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(coracle completion bash); COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _coracle; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" ")
    );
    world.shell(&script).stdout()
}

#[test]
fn commands_are_offered() {
    let world = World::empty();
    assert_eq!(offers(&world, &["unsh"]), ["unshare", ":4"]);
    assert_eq!(
        offers(&world, &["--log-level", "debug", "unsh"]),
        ["unshare", ":4"]
    );
    assert!(offers(&world, &[""]).contains(&"volume".to_owned()));
    assert!(offers(&world, &[""]).iter().all(|it| !it.starts_with('_')));
}

#[test]
fn options_are_offered() {
    let world = World::empty();
    assert_eq!(
        offers(&world, &["unshare", "--rootless"]),
        ["--rootless-netns", ":4"]
    );
    // After the command they are the command's.
    assert_eq!(offers(&world, &["unshare", "ls", "--"]), [":0"]);
    assert_eq!(offers(&world, &["completion", "f"]), ["fish", ":4"]);
    assert_eq!(offers(&world, &["completion", "--file", ""]), [":0"]);
}

#[test]
fn completing_makes_no_store() {
    let world = World::empty();
    offers(&world, &["run", ""]);
    assert!(!world.data().exists());
}

#[test]
fn bash_completes() {
    let world = World::empty();
    assert_snapshot!(bash(&world, "coracle unsh"), @"unshare");
    assert_snapshot!(bash(&world, "coracle completion z"), @"zsh");
    assert_snapshot!(bash(&world, "coracle completion --no"), @"--no-desc");
}

#[test]
fn a_script_is_printed_or_written() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish"] {
        let printed = world.coracle("completion").arg(shell).ok();
        world.coracle("completion -f script").arg(shell).ok();
        assert_eq!(
            std::fs::read(world.home().join("script")).unwrap(),
            printed.out
        );
        assert!(printed.stdout().contains("__complete "));
        let plain = world.coracle("completion --no-desc").arg(shell).stdout();
        assert!(plain.contains("__completeNoDesc "));
    }
    world.coracle("completion nonsense").fails(125);
    world
        .coracle("completion powershell")
        .fails(125)
        .says("is not supported by coracle yet");
}

#[test]
fn containers_whose_paths_may_follow_are_offered() {
    let world = World::new();
    world.coracle("create --name web IMAGE").ok();
    assert_eq!(offers(&world, &["cp", "w"]), ["web:", ":0"]);
    assert_eq!(offers(&world, &["cp", "f", "w"]), ["web:", ":0"]);
    assert_eq!(offers(&world, &["commit", "w"]), ["web", ":4"]);
    assert_eq!(offers(&world, &["export", "w"]), ["web", ":4"]);
    world.coracle("rm web").ok();
}
