//! Completion, asked as a shell asks it, and in the shells themselves: each on a
//! terminal of its own, where TAB is typed and what appears is read.

use crate::world::{Need, Terminal, World, binary, source};
use coracle::cli::completion::{FIELDS, filter_keys};

/// What the program offers: the last word is the one being typed.
fn offers(world: &World, words: &[&str]) -> Vec<String> {
    let done = world.coracle("__complete").args(words).ok();
    let offered = done.stdout();
    let words = offered
        .lines()
        .map(|line| line.split('\t').next().unwrap_or("").to_owned());
    words.collect()
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
    assert_eq!(offers(&world, &["unshare", "ls", "--"]), [":4"]);
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
fn a_script_is_printed_or_written() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish", "powershell"] {
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
}

#[test]
fn containers_whose_paths_may_follow_are_offered() {
    let world = World::new();
    world.coracle("create --name web IMAGE").ok();
    assert_eq!(offers(&world, &["cp", "w"]), ["web:", ":2"]);
    assert_eq!(offers(&world, &["cp", "f", "w"]), ["web:", ":2"]);
    assert_eq!(offers(&world, &["commit", "w"]), ["web", ":4"]);
    assert_eq!(offers(&world, &["export", "w"]), ["web", ":4"]);
    world.coracle("rm web").ok();
}

/// What a command can use of what there is.
#[test]
fn what_a_command_can_use_is_offered() {
    let world = World::new();
    world.coracle("create --name old IMAGE true").ok();
    world
        .coracle("run -d --name web --network none IMAGE sleep inf")
        .ok();
    world.coracle("volume create results").ok();
    world.coracle("volume snapshot results before").ok();
    let running = ["web", ":4"];
    for command in ["exec", "stop", "kill", "top", "attach", "pause", "port"] {
        assert_eq!(offers(&world, &[command, ""]), running, "{command}");
    }
    assert_eq!(offers(&world, &["start", ""]), ["old", ":4"]);
    assert_eq!(offers(&world, &["unpause", ""]), [":4"]);
    for command in ["rm", "logs", "inspect", "wait"] {
        let offered = offers(&world, &[command, ""]);
        assert!(
            offered.starts_with(&["old".into(), "web".into()]),
            "{command}"
        );
    }
    // Once is enough.
    assert_eq!(offers(&world, &["rm", "web", ""]), ["old", ":4"]);
    let id = world.coracle("inspect -f {{.Id}} web").stdout();
    assert_eq!(offers(&world, &["exec", &id[..6]]), [&id[..12], ":4"]);
    for (words, offered) in [
        (&["exec", "-u", "us"][..], &[":4"][..]),
        (
            &["run", "--network", "container:"],
            &["container:web", ":4"],
        ),
        (
            &["run", "--network=container:w"],
            &["--network=container:web", ":4"],
        ),
        (&["cp", "web:/et"], &["web:/etc/", ":6"]),
        (&["cp", "web:/etc/pass"], &["web:/etc/passwd", ":4"]),
        (
            &["cp", "web:/etc/../etc/gro"],
            &["web:/etc/../etc/group", ":4"],
        ),
        (&["volume", "restore", "results", ""], &["before", ":4"]),
        (&["volume", "rm", "results@"], &["results@before", ":4"]),
        (&["run", "-v", "res"], &["results:", ":2"]),
        (&["run", "-itv", "res"], &["results:", ":2"]),
        (
            &["run", "--mount", "type=volume,source=re"],
            &["type=volume,source=results", ":4"],
        ),
        (&["--root", "/nowhere", "rm", ""], &[":4"]),
        (
            &["run", "--cap-add", "NET_ADMIN,net_r"],
            &["NET_ADMIN,net_raw", ":4"],
        ),
        (
            &["run", "--cap-add", "NET_ADMIN,NET_R"],
            &["NET_ADMIN,NET_RAW", ":4"],
        ),
        (&["run", "--cap-add", "cap_net_r"], &["cap_net_raw", ":4"]),
        (&["kill", "-s", "TE"], &["TERM", ":4"]),
        (&["ps", "--filter", "status=ru"], &["status=running", ":4"]),
        (&["ps", "--filter", "volume=re"], &["volume=results", ":4"]),
        (
            &["ps", "--format", "{{.Ima"],
            &["{{.Image}}", "{{.ImageID}}", ":4"],
        ),
        (
            &["inspect", "--format", "{{.Stat"],
            &["{{.State.", "{{.StaticDir}}", ":4"],
        ),
        (
            &["run", "--platform", "linux/amd64,linux/s"],
            &["linux/amd64,linux/s390x", ":4"],
        ),
        (&["run", "--cert-dir", ""], &[":16"]),
        (&["run", "--rm", "--rm"], &["--rmi", ":4"]),
        (&["nonsense", ""], &[":4"]),
        (&["run", "--nonsense="], &[":4"]),
        (&["load", "-i", ""], &[":0"]),
    ] {
        assert_eq!(offers(&world, words), offered, "{words:?}");
    }
    // What stands behind the cursor is known, too.
    let users = world
        .coracle("__complete exec -u us")
        .env("CORACLE_AFTER_CURSOR", "web\nsh")
        .stdout();
    assert_eq!(users, "user\t1000\n:4");
    // What a container wrote is there, what it removed is not.
    world
        .coracle("exec web sh -c 'mkdir -p /srv/new; rm /etc/group'")
        .ok();
    assert_eq!(
        offers(&world, &["cp", "web:/srv/"]),
        ["web:/srv/new/", ":6"]
    );
    assert_eq!(offers(&world, &["cp", "web:/etc/gr"]), [":4"]);
    world.coracle("rm -f -t 0 web old").ok();
}

#[test]
fn completing_writes_nothing_and_waits_for_no_lock() {
    let world = World::new();
    world
        .coracle("create --name web -v results:/data IMAGE true")
        .ok();
    world.coracle("volume snapshot results before").ok();
    world.coracle("secret create token -").stdin("x").ok();
    let tree = || {
        world
            .shell("find ~ ~/../run -printf '%p %T@ %C@\\n' | sort")
            .stdout()
    };
    let asked: Vec<(&[&str], Vec<String>)> = [
        &[""][..],
        &["rm", ""],
        &["start", ""],
        &["exec", ""],
        &["exec", "-u", "", "web"],
        &["run", ""],
        &["run", "test", ""],
        &["run", "-v", ""],
        &["run", "--network", "container:"],
        &["run", "--secret", ""],
        &["cp", "web:/et"],
        &["inspect", ""],
        &["ps", "--filter", "volume="],
        &["rmi", ""],
        &["volume", "rm", ""],
        &["volume", "restore", "results", ""],
        &["logout", ""],
    ]
    .map(|words| (words, offers(&world, words)))
    .into();
    let before = tree();
    // Everything in the store and beside it that can be locked is, by somebody else.
    let everything = world.shell("find ~/.local ~/.cache ~/../run -type d -o -type f");
    let mut held = Vec::new();
    for path in everything.run().stdout().lines() {
        // Files of subordinate ids may be shut to us, as they are to completion.
        let Ok(file) = std::fs::File::open(path) else {
            continue;
        };
        let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(&file, lock).unwrap_or_else(|error| panic!("{path}: {error}"));
        held.push(file);
    }
    assert!(held.len() > 20, "{}", held.len());
    for (words, offered) in asked {
        assert_eq!(offers(&world, words), offered, "{words:?}");
    }
    drop(held);
    assert_eq!(tree(), before);
    world.coracle("rm web").ok();
    world.coracle("volume rm results").ok();
    world.coracle("secret rm token").ok();
}

/// Every field that is offered for `--format` is one.
#[test]
fn fields_that_are_offered_are_there() {
    let world = World::new();
    world
        .coracle("create --name web -v results:/data IMAGE true")
        .ok();
    world.coracle("volume snapshot results before").ok();
    world.coracle("secret create token -").stdin("x").ok();
    for (command, fields) in FIELDS {
        let rest = match *command {
            "ps" => "-a",
            "inspect" | "container inspect" => "web",
            "image inspect" | "history" => "IMAGE",
            "volume inspect" | "volume snapshots" => "results",
            "images" | "volume ls" | "system df" | "info" | "version" | "doctor" => "",
            "explain" => "web /data/seed",
            "events" => "--stream=false",
            "stats" => "--no-stream -a",
            "secret ls" => "",
            "secret inspect" => "token",
            // It needs a registry.
            "search" => continue,
            other => panic!("{other}: say here what it is asked about"),
        };
        // One call for all: an error names the one that is none.
        let template: Vec<String> = fields
            .split_whitespace()
            .map(|it| format!("{{{{.{it}}}}}"))
            .collect();
        let done = world
            .coracle(command)
            .args(["--format", &template.join("\n")])
            .args(rest.split_whitespace())
            .run();
        // A machine may lack something.
        let fits = done.code == 0 || (*command == "doctor" && done.code == 1);
        assert!(fits, "{command}: {}", done.stderr());
    }
    world.coracle("rm web").ok();
    world.coracle("secret rm token").ok();
    world.coracle("volume rm results").ok();
}

/// Every key that is offered for `--filter` is one.
#[test]
fn filters_that_are_offered_are_there() {
    let world = World::new();
    world
        .coracle("create --name web -v results:/data IMAGE true")
        .ok();
    for command in [
        "ps",
        "images",
        "volume ls",
        "container prune",
        "events",
        "search",
    ] {
        for (key, _) in filter_keys(command) {
            let filter = format!("{key}x");
            let done = match command {
                "container prune" => world.coracle("container prune --force --filter"),
                "events" => world.coracle("events --stream=false --filter"),
                // It fails before anything is asked.
                "search" => world.coracle("search --list-tags nowhere.invalid/x --filter"),
                _ => world.coracle(command).arg("--filter"),
            };
            let said = done.arg(&filter).run().stderr();
            let refused = [
                "is an invalid",
                "invalid image filter",
                "invalid filter type",
            ];
            let is_refused = refused.iter().any(|words| said.contains(words));
            assert!(!is_refused, "{command} --filter {filter}: {said}");
        }
    }
    world.coracle("rm -f --ignore web").ok();
    world.coracle("volume rm results").ok();
}

/// A shell on a terminal.
struct Shell {
    name: &'static str,
    terminal: Terminal,
}

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

impl Shell {
    /// Starts it with `setup`, after which ^G shows the line that is typed.
    fn start(world: &World, name: &'static str, setup: &str) -> Self {
        let (start, show) = match name {
            "bash" => (
                "exec bash --norc --noprofile -i",
                r#"show() { printf '\n=<%s>=\n' "$READLINE_LINE"; }; bind -x '"\C-g": show'"#,
            ),
            "zsh" => (
                "exec env TERM=xterm zsh -f -i",
                r#"show() { print -r -- "
=<$BUFFER>=" }; zle -N show; bindkey '^G' show; bindkey '^I' complete-word; unsetopt prompt_sp beep"#,
            ),
            _ => (
                "exec env TERM=xterm fish --no-config -i",
                r#"bind \cg 'printf "\n=<%s>=\n" (commandline | string collect)'; set -g fish_autosuggestion_enabled 0"#,
            ),
        };
        let mut terminal = world.shell(start).terminal();
        let script = world.file("setup", format!("{show}\n{setup}\n"));
        terminal
            .types(&format!(". {}; echo re''ady\r", script.display()))
            .shows("ready");
        Self { name, terminal }
    }

    /// What the line is after these keys; then it is empty again.
    #[track_caller]
    fn line(&mut self, keys: &str) -> String {
        self.terminal.types(keys).types("\x07").shows("=<");
        let line = self.terminal.reads_to(">=");
        self.terminal.types("\x15");
        line
    }

    fn leave(mut self, world: &World) {
        self.terminal.types("\x15exit\r");
        assert_eq!(self.terminal.wait().0, 0, "{}", self.name);
        // fish's own, by which its sessions hear of each other.
        let _ = std::fs::remove_file(world.runtime().join("fish_universal_variables.notifier"));
    }
}

/// How a shell is told of completions.
fn setup(name: &str) -> String {
    match name {
        "bash" => "source <(coracle completion bash)".to_owned(),
        "zsh" => format!(
            "fpath=({}/completions $fpath); autoload -U compinit; compinit -D -u",
            source().display()
        ),
        _ => "coracle completion fish | source".to_owned(),
    }
}

#[test]
fn tab_completes_in_each_shell() {
    let world = World::new();
    if !world.needs(Need::Shells) {
        return;
    }
    world.coracle("create --name way IMAGE true").ok();
    world
        .coracle("run -d --name web --network none IMAGE sleep inf")
        .ok();
    world.coracle("volume create results").ok();
    world.file("plain.tar", "");
    world.folder("folder/deep");
    for name in SHELLS {
        let mut shell = Shell::start(&world, name, &setup(name));
        for (typed, line) in [
            ("coracle unsh", "coracle unshare "),
            ("coracle completion z", "coracle completion zsh "),
            ("coracle completion --no", "coracle completion --no-desc "),
            ("coracle exec w", "coracle exec web "),
            ("coracle start w", "coracle start way "),
            ("coracle run -v res", "coracle run -v results:"),
            ("coracle run --network=ho", "coracle run --network=host "),
            (
                "coracle run --network=container:we",
                "coracle run --network=container:web ",
            ),
            (
                "coracle ps --filter status=ru",
                "coracle ps --filter status=running ",
            ),
            (
                "coracle run --cap-add NET_ADMIN,SYS_PT",
                "coracle run --cap-add NET_ADMIN,SYS_PTRACE ",
            ),
            ("coracle cp web:/et", "coracle cp web:/etc/"),
            ("coracle load -i pl", "coracle load -i plain.tar "),
            (
                "coracle run --mount type=bind,src=fo",
                "coracle run --mount type=bind,src=folder/",
            ),
            (
                "coracle run --env-file=pl",
                "coracle run --env-file=plain.tar ",
            ),
            (
                "coracle run --cert-dir fo",
                "coracle run --cert-dir folder/",
            ),
            (
                "coracle ps --format '{{.RunningF",
                "coracle ps --format '{{.RunningFor}}' ",
            ),
        ] {
            let shown = shell.line(&format!("{typed}\t"));
            // Whether a quote is closed at once is each shell's own way.
            let shown = match line.contains('\'') {
                true => format!("{}' ", shown.trim_end_matches([' ', '\''])),
                false => shown,
            };
            assert_eq!(shown, line, "{name}: {typed}");
        }
        // What stands behind the cursor counts; fish does not tell it.
        if name != "fish" {
            let back = "\x1b[D".repeat(" web".len());
            let shown = shell.line(&format!("coracle exec -w /e web{back}\t\x05"));
            assert_eq!(shown, "coracle exec -w /etc/ web", "{name}");
            // Between two words it is in none of them.
            let shown = shell.line(&format!("coracle exec -w  web{back}\t\x05"));
            assert_eq!(shown, "coracle exec -w / web", "{name}");
        }
        shell.leave(&world);
    }
    world.coracle("rm -f -t 0 web way").ok();
    world.coracle("volume rm results").ok();
}

/// A list has what each word is beside it.
#[test]
fn a_list_says_what_its_words_are() {
    let world = World::new();
    if !world.needs(Need::Shells) {
        return;
    }
    world.coracle("create --name web-one IMAGE true").ok();
    world.coracle("create --name web-two USER_IMAGE true").ok();
    for name in SHELLS {
        let mut shell = Shell::start(&world, name, &setup(name));
        shell.terminal.types("coracle rm web-\t\t");
        for text in [
            "web-one",
            "created, localhost",
            "web-two",
            "created, localhost",
        ] {
            shell.terminal.shows(text);
        }
        shell.leave(&world);
    }
    world.coracle("rm web-one web-two").ok();
}

#[test]
fn podman_and_docker_are_completed_where_they_are_coracle() {
    let world = World::new();
    if !world.needs(Need::Shells) {
        return;
    }
    world.coracle("create --name web IMAGE true").ok();
    let bin = world.folder("bin");
    std::os::unix::fs::symlink(binary(), bin.join("docker")).unwrap();
    for name in SHELLS {
        let path = match name {
            "fish" => "set -x PATH ~/bin $PATH",
            _ => "PATH=~/bin:$PATH",
        };
        let setup = match name {
            "zsh" => {
                "autoload -U compinit; compinit -D -u; source <(coracle completion zsh)".into()
            }
            _ => setup(name),
        };
        let setup = format!("{path}\nalias podman=coracle\n{setup}");
        let mut shell = Shell::start(&world, name, &setup);
        for program in ["podman", "docker"] {
            assert_eq!(
                shell.line(&format!("{program} rm w\t")),
                format!("{program} rm web "),
                "{name}"
            );
        }
        shell.leave(&world);
    }
    world.coracle("rm web").ok();
}
