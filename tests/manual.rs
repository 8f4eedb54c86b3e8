//! The manual: what its pages show works, typed as it stands there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use crate::needs;
use crate::wire::Proxy;
use crate::world::registry::Registry;
use crate::world::{Need, World, source};

/// The pages of section 7: name and text.
pub fn by_hand() -> Vec<(String, String)> {
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

/// A line under EXAMPLES.
struct Example {
    /// `man/coracle-run.1:57`
    place: String,
    line: String,
}

/// The examples of section 1 by the command whose page they stand on.
fn examples() -> BTreeMap<String, Vec<Example>> {
    let mut pages = BTreeMap::new();
    for entry in std::fs::read_dir(source().join("man")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(page) = name.strip_suffix(".1") else {
            continue;
        };
        let examples = examples_of(&name, &path);
        if !examples.is_empty() {
            let command = page.trim_start_matches("coracle-").to_owned();
            pages.insert(command, examples);
        }
    }
    pages
}

fn examples_of(name: &str, path: &Path) -> Vec<Example> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut shown = Vec::new();
    let mut section = "";
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(title) = line.strip_prefix(".SH ") {
            section = title;
        }
        if let Some(typed) = line.strip_prefix("$ ").filter(|_| section == "EXAMPLES") {
            let typed = typed
                .replace("\\-", "-")
                .replace("\\(ti", "~")
                .replace("\\(ha", "^")
                .replace("\\e", "\\");
            shown.push(Example {
                place: format!("man/{name}:{number}"),
                line: typed,
            });
        }
    }
    shown
}

/// Pages whose lines not every machine can run, and what they need: without a cgroup of
/// its own a container cannot be frozen.
const WANTED: &[(&str, Need)] = &[("pause", Need::OwnCgroup), ("unpause", Need::OwnCgroup)];

/// What stands before a page's examples beside what their words name.
fn before(command: &str) -> &'static str {
    match command {
        // These find it, or make it.
        "run" | "create" | "container-exists" => "",
        "init" | "start" => "coracle create --name web busybox echo up",
        "wait" => "coracle run -d --name web --network none busybox true",
        "port" => "coracle run -d --name web -p 127.0.0.1::80 busybox sleep inf",
        "image-exists" => "coracle untag app",
        "container-runlabel" => {
            "printf 'FROM app\\nLABEL run=\"podman run --rm IMAGE\"\\n' | coracle build -q -t app - >/dev/null"
        }
        "untag" => "coracle tag app registry.example.com/team/app:1.2",
        "unpause" => "coracle pause web",
        _ => "",
    }
}

/// Shell that makes what the page's lines name.
fn named(command: &str, lines: &str) -> String {
    let names = |word: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        lines.split(|c| !is_part(c)).any(|it| it == word)
    };
    let mut script = vec!["set -e"];
    let mut make = |wanted: bool, line: &'static str| {
        if wanted {
            script.push(line);
        }
    };
    let is = |commands: &[&str]| commands.contains(&command);
    make(
        names("app.tar") && command != "save",
        "coracle save -q -o app.tar app 2>/dev/null; chmod 644 app.tar",
    );
    make(
        names("all-app") && !is(&["manifest-create", "manifest-exists"]),
        "coracle manifest create all-app app",
    );
    make(
        names("web") && before(command).is_empty() && !is(&["run", "create", "container-exists"]),
        "coracle run -d --name web --network none --health-cmd true busybox sleep inf",
    );
    let makes_volume = is(&["volume-create", "volume-exists"]);
    make(
        names("model_output") && !makes_volume,
        "coracle volume create model_output; echo 1 | coracle run -i --rm --network none \
         -v model_output:/o busybox sh -c 'cat >/o/epoch'",
    );
    make(
        names("before-training") && command != "volume-snapshot",
        "coracle volume snapshot model_output before-training",
    );
    make(
        names("model_output.tar") && command != "volume-export",
        "coracle volume export model_output -o model_output.tar",
    );
    make(
        names("model_output.tar.zst") && command != "volume-export",
        "coracle volume export model_output -o model_output.tar.zst",
    );
    make(
        names("root.tar"),
        "echo hello >hello; tar -cf root.tar hello",
    );
    make(names("token"), "echo secret >token.txt");
    make(
        names("token") && !is(&["secret-create", "secret-exists"]),
        "coracle secret create token token.txt",
    );
    make(names("results.csv"), "echo 1,2 >results.csv");
    make(
        command == "build",
        "echo 'FROM busybox' >Containerfile; \
         printf 'FROM busybox\nARG VERSION\nRUN echo $VERSION >/version\n' >Containerfile.test",
    );
    make(true, before(command));
    script.join("\n")
}

/// `registry.example.com` for a world: a registry that is found through a proxy.
fn registry(world: &World) -> (Registry, Proxy) {
    let registry = Registry::start(world);
    let proxy = Proxy::to(&registry.host, u64::MAX, false);
    world.file(
        ".config/containers/registries.conf",
        "[[registry]]\nlocation = \"registry.example.com\"\ninsecure = true\n",
    );
    (registry, proxy)
}

/// Runs the examples of a page in a world that has what they name, and says which fail.
fn failing(command: &str, examples: &[Example]) -> Vec<String> {
    let wanted = WANTED.iter().find(|(name, _)| *name == command);
    if wanted.is_some_and(|(_, need)| !need.is_met()) {
        return Vec::new();
    }
    let world = World::new();
    world
        .coracle("tag IMAGE docker.io/library/busybox docker.io/library/httpd")
        .args(["docker.io/library/alpine", "localhost/app"])
        .ok();
    let lines: Vec<&str> = examples.iter().map(|it| it.line.as_str()).collect();
    let lines = lines.join("\n");
    let far = lines
        .contains("registry.example.com")
        .then(|| registry(&world));
    let input = match command {
        "login" => "secret\n",
        "image-prune" => "y\n",
        _ => "",
    };
    let typed = |line: &str| {
        let mut shell = world.shell(line).env("PASSWORD", "secret").stdin(input);
        if let Some((_, proxy)) = &far {
            for name in ["http_proxy", "https_proxy"] {
                shell = shell.env(name, format!("http://{}", proxy.address));
            }
        }
        shell.run()
    };
    let mut script = named(command, &lines);
    if far.is_some() {
        script.push_str(
            "\ncoracle push -q app registry.example.com/team/app:1.2\n\
             coracle push -q app registry.example.com/team/app:arm",
        );
    }
    let made = typed(&script);
    if made.code != 0 {
        return vec![format!(
            "what man/coracle-{command}.1 needs: {}",
            made.stderr()
        )];
    }
    let mut failed = Vec::new();
    for Example { place, line } in examples {
        // The second time what was made for want of it is there.
        let times = if line.contains(" || ") { 2 } else { 1 };
        for _ in 0..times {
            let done = match command {
                // It shows what the container prints, until that ends.
                "attach" => typed(&format!(
                    "{line} & until coracle events --stream=false --filter event=attach \
                     | grep -q web; do :; done; coracle kill web; wait $!"
                )),
                _ => typed(line),
            };
            if done.code != 0 {
                let said = done.stderr();
                failed.push(format!("{place}: `{line}` left with {}: {said}", done.code));
            }
        }
    }
    world.coracle("rm -fa -t 0").ok();
    let _ = std::fs::remove_file(world.runtime().join("containers/auth.json"));
    failed
}

#[test]
fn the_examples_of_every_page_work() {
    let world = World::empty();
    needs!(world, Subuids, Tun, Pasta, Registry);
    drop(world);
    let pages = examples();
    assert!(pages.len() > 80, "{}", pages.len());
    let pages: Mutex<Vec<_>> = Mutex::new(pages.into_iter().collect());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let run = || {
                loop {
                    let Some((command, examples)) = pages.lock().unwrap().pop() else {
                        return;
                    };
                    let said = failing(&command, &examples);
                    failed.lock().unwrap().extend(said);
                }
            };
            let thread = std::thread::Builder::new().name("the manual's examples".to_owned());
            thread.spawn_scoped(scope, run).unwrap();
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
