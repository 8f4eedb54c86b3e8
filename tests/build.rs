//! `build`: every folder of tests/build is a context that Podman has built once (5.8.6);
//! what it printed and what came of it stands in `expected`. There are, beside the context,
//! `args` (flags), `before` (a Containerfile built first, as localhost/onbuild), and `why`
//! where ours is another on purpose: then `expected` is ours.
//!
//! Recorded by `UPDATE=1` with Podman as CORACLE.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coracle::id::Digest;
use serde_json::Value;

use crate::world::{World, source};

/// Contexts are built by so many tests, side by side.
const PARTS: usize = 4;

#[test]
fn contexts_build_as_with_podman_1() {
    part(0);
}

#[test]
fn contexts_build_as_with_podman_2() {
    part(1);
}

#[test]
fn contexts_build_as_with_podman_3() {
    part(2);
}

#[test]
fn contexts_build_as_with_podman_4() {
    part(3);
}

fn part(number: usize) {
    let folder = source().join("tests/build");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    let is_update = std::env::var_os("UPDATE").is_some();
    assert!(cases.len() >= 60 || is_update);
    let world = World::new();
    let base = files(&world, "localhost/test");
    let mut wrong = Vec::new();
    for case in cases.iter().skip(number).step_by(PARTS) {
        let name = case.file_name().unwrap().to_str().unwrap();
        let found = built(&world, case, name, &base);
        let expected = case.join("expected");
        let is_podman = std::env::var_os("PODMAN").is_some();
        if is_update && is_podman != case.join("why").exists() {
            std::fs::write(&expected, &found).unwrap();
            continue;
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if found != wanted {
            wrong.push(format!("{name}\n{}", difference(&wanted, &found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines that are another, a few of each.
fn difference(wanted: &str, found: &str) -> String {
    let (wanted, found): (Vec<&str>, Vec<&str>) =
        (wanted.lines().collect(), found.lines().collect());
    let of = |sign, these: &[&str], those: &[&str]| {
        let only = these.iter().filter(|line| !those.contains(line)).take(12);
        only.map(|line| format!("  {sign} {line}\n"))
            .collect::<String>()
    };
    let all = of('-', &wanted, &found) + &of('+', &found, &wanted);
    match all.is_empty() {
        true => "  the lines are in another order\n".to_owned(),
        false => all,
    }
}

/// What a context comes to, as text.
fn built(world: &World, case: &Path, name: &str, base: &BTreeMap<String, String>) -> String {
    let context = world.folder(name);
    copy(case, &context);
    if context.join("before").exists() {
        world
            .shell("cd \"$0\"; exec coracle build -q --format docker -t onbuild -f before .")
            .arg(&context)
            .ok();
    }
    let args = std::fs::read_to_string(context.join("args")).unwrap_or_default();
    for own in ["args", "before", "why", "expected"] {
        let _ = std::fs::remove_file(context.join(own));
    }
    let done = world
        .shell(&format!(
            "cd \"$0\"; exec coracle build --no-cache {} -t built .",
            args.trim()
        ))
        .arg(&context)
        .run();
    let mut text = format!("status {}\n== output\n", done.code);
    for line in done.stdout().lines() {
        text.push_str(&normal(line));
        text.push('\n');
    }
    if done.code != 0 {
        return text;
    }
    let archive = save(world, "localhost/built");
    let manifest: Value = serde_json::from_slice(&archive["manifest.json"]).unwrap();
    let config = manifest[0]["Config"].as_str().unwrap();
    let config: Value = serde_json::from_slice(&archive[config]).unwrap();
    text.push_str("== config\n");
    let mut said = serde_json::Map::new();
    for key in ["architecture", "author", "os", "config"] {
        if let Some(value) = config.get(key) {
            said.insert(key.to_owned(), value.clone());
        }
    }
    let mut said = Value::from(said);
    tidy(&mut said);
    writeln!(text, "{}", serde_json::to_string_pretty(&said).unwrap()).unwrap();
    text.push_str("== history\n");
    for line in config["history"].as_array().into_iter().flatten() {
        let get = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or("");
        let empty = line.get("empty_layer") == Some(&Value::Bool(true));
        let by = normal(get("created_by")).replace('\n', "\\n");
        let (author, comment) = (get("author"), normal(get("comment")));
        writeln!(text, "{empty} {by}|{comment}|{author}").unwrap();
    }
    text.push_str("== files\n");
    let found = flattened(&archive);
    for (path, what) in &found {
        if base.get(path) != Some(what) {
            writeln!(text, "{path} {what}").unwrap();
        }
    }
    for path in base.keys().filter(|path| !found.contains_key(*path)) {
        writeln!(text, "{path} is gone").unwrap();
    }
    text
}

/// Ids and digests are never the same twice.
fn normal(line: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for letter in line.chars().chain(['\n']) {
        if letter.is_ascii_hexdigit() && !letter.is_ascii_uppercase() {
            word.push(letter);
            continue;
        }
        let is_id = [12, 64].contains(&word.len()) && word.contains(|it: char| it.is_ascii_digit());
        out.push_str(if is_id { "<id>" } else { &word });
        word.clear();
        out.push(letter);
    }
    out.pop();
    out
}

/// Without what is nothing, and what is another each time; keys in order.
fn tidy(value: &mut Value) {
    if let Value::Object(map) = value {
        for key in ["Hostname", "Image"] {
            map.remove(key);
        }
        map.values_mut().for_each(tidy);
        map.retain(|_, it| match it {
            Value::Null => false,
            Value::Bool(is) => *is,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Number(_) => true,
        });
        let sorted: BTreeMap<String, Value> = std::mem::take(map).into_iter().collect();
        map.extend(sorted);
        // A key that stands for itself would have been taken for nothing.
        for key in ["ExposedPorts", "Volumes"] {
            if let Some(Value::Object(set)) = map.get_mut(key) {
                set.values_mut().for_each(|it| *it = Value::Bool(true));
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&path).unwrap(), &target).unwrap();
        } else if kind.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&path, &target);
            std::fs::set_permissions(&target, PermissionsExt::from_mode(0o755)).unwrap();
        } else {
            std::fs::copy(&path, &target).unwrap();
            let is_program = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            let mode = if is_program { 0o755 } else { 0o644 };
            std::fs::set_permissions(&target, PermissionsExt::from_mode(mode)).unwrap();
        }
    }
}

/// The entries of a docker-archive.
fn save(world: &World, image: &str) -> HashMap<String, Vec<u8>> {
    let path = world.home().join("saved.tar");
    let _ = std::fs::remove_file(&path);
    world
        .coracle("save -q -o")
        .arg(path.to_str().unwrap())
        .arg(image)
        .ok();
    let mut archive = tar::Archive::new(std::fs::File::open(&path).unwrap());
    let mut all = HashMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        all.insert(name, bytes);
    }
    all
}

pub fn files(world: &World, image: &str) -> BTreeMap<String, String> {
    flattened(&save(world, image))
}

/// The extended attributes of an entry, file capabilities among them.
fn attributes(entry: &mut tar::Entry<'_, &[u8]>) -> String {
    let Ok(Some(records)) = entry.pax_extensions() else {
        return String::new();
    };
    let mut all: Vec<String> = records
        .filter_map(|record| {
            let record = record.ok()?;
            let name = record.key().ok()?.strip_prefix("SCHILY.xattr.")?;
            Some(format!(" {name}={}", record.value_bytes().escape_ascii()))
        })
        .collect();
    all.sort();
    all.concat()
}

/// Every path of an image, and what it is there: layers one over the other.
fn flattened(archive: &HashMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    let manifest: Value = serde_json::from_slice(&archive["manifest.json"]).unwrap();
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for layer in manifest[0]["Layers"].as_array().unwrap() {
        let bytes = archive[layer.as_str().unwrap()].as_slice();
        let mut tar = tar::Archive::new(bytes);
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let path = path.trim_end_matches('/').to_owned();
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let within = |folder: &str| match folder {
                "" => String::new(),
                folder => format!("{folder}/"),
            };
            if name == ".wh..wh..opq" {
                let prefix = within(folder);
                all.retain(|it, _| !it.starts_with(&prefix));
                continue;
            }
            if let Some(hidden) = name.strip_prefix(".wh.") {
                let gone = format!("{}{hidden}", within(folder));
                all.retain(|it, _| *it != gone && !it.starts_with(&format!("{gone}/")));
                continue;
            }
            let header = entry.header().clone();
            let owner = format!("{}:{}", header.uid().unwrap(), header.gid().unwrap());
            let mode = header.mode().unwrap() & 0o7777;
            let target = entry
                .link_name()
                .unwrap()
                .map(|it| it.to_str().unwrap().to_owned());
            let attributes = attributes(&mut entry);
            let what = match header.entry_type() {
                tar::EntryType::Directory => format!("folder {mode:o} {owner}"),
                tar::EntryType::Symlink => format!("-> {} {owner}", target.unwrap()),
                tar::EntryType::Link => format!("is {}", target.unwrap()),
                tar::EntryType::Fifo => format!("fifo {mode:o} {owner}"),
                _ => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).unwrap();
                    let sum = Digest::of(&bytes);
                    format!("file {mode:o} {owner} {}", &sum.hex()[..12])
                }
            };
            // A link shares those of what it is.
            let attributes = match header.entry_type() {
                tar::EntryType::Link => String::new(),
                _ => attributes,
            };
            own.insert(path, what + &attributes);
        }
        all.extend(own);
    }
    all
}

#[test]
fn what_is_copied_is_no_furniture() {
    let site = Site::new();
    site.file("etc/hostname", "");
    site.world.folder("c/run");
    let text = "FROM scratch\nCOPY . /\n";
    for flags in ["-t it", "--squash -t it", "--squash-all -t it"] {
        assert_eq!(site.build(text, flags).code, 0);
        let all = files(&site.world, "localhost/it");
        assert!(
            all.contains_key("etc/hostname") && all.contains_key("run"),
            "{all:?}"
        );
    }
}

/// A world with contexts to build.
pub struct Site {
    pub world: World,
}

impl Site {
    pub fn new() -> Self {
        let site = Self {
            world: World::new(),
        };
        site.world.folder("c");
        site
    }

    pub fn file(&self, path: &str, content: &str) {
        self.world.file(&format!("c/{path}"), content);
    }

    /// Builds the text with those flags.
    pub fn build(&self, text: &str, flags: &str) -> crate::world::Done {
        self.file("Containerfile", text);
        self.world
            .shell(&format!("cd c; exec coracle build {flags} ."))
            .run()
    }

    /// Builds it, and gives which steps were done and which were known.
    pub fn steps(&self, text: &str, flags: &str) -> String {
        let done = self.build(text, flags);
        assert_eq!(done.code, 0, "{}", done.stderr());
        let out = done.stdout();
        let mut steps = String::new();
        for line in out.lines() {
            if line.contains("STEP ") && !line.contains(": FROM") {
                steps.push('r');
            } else if line.starts_with("--> Using cache") {
                steps.pop();
                steps.push('c');
            }
        }
        steps
    }

    /// Nothing of a build is left where things are made.
    pub fn is_clean(&self) {
        self.world.wait_for_processes();
        let staging = self.world.data().join("staging");
        let left: Vec<_> = std::fs::read_dir(staging).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let running = self.world.coracle("ps -a --external -q").stdout();
        assert_eq!(running, "");
    }
}

#[test]
fn what_is_known_is_not_done_again() {
    let site = Site::new();
    site.file("f", "1\n");
    site.file("d/g", "1\n");
    let text = "FROM localhost/test\nARG A=1\nENV E=1\nRUN echo $E $A > /e\nCOPY f d /x/\nLABEL a=b\nRUN cat /x/f /x/g\n";
    assert_eq!(site.steps(text, ""), "rrrrrr");
    assert_eq!(site.steps(text, ""), "cccccc");
    // Another folder with the same files, touched, is the same.
    let first = site.world.shell("cd c; coracle build -q .").stdout();
    site.world
        .shell("cp -r c c2 && touch -d 2001-01-01 c2/f c2/d/g")
        .ok();
    let second = site.world.shell("coracle build -q c2").stdout();
    assert_eq!(first, second);
    // Content counts, mode counts, names count, time does not.
    site.world.shell("touch c/f").ok();
    assert_eq!(site.steps(text, ""), "cccccc");
    site.world.shell("chmod 600 c/f").ok();
    assert_eq!(site.steps(text, ""), "cccrrr");
    site.world.shell("chmod 644 c/f").ok();
    assert_eq!(site.steps(text, ""), "cccccc");
    site.file("f", "2\n");
    assert_eq!(site.steps(text, ""), "cccrrr");
    site.file("f", "1\n");
    assert_eq!(site.steps(text, ""), "cccccc");
    site.world.shell("mv c/d/g c/d/h").ok();
    assert_eq!(site.build(text, "").code, 1, "there is no /x/g");
    site.world.shell("mv c/d/h c/d/g").ok();
    // Same size, same time, another content: it is the inode that says so.
    site.world
        .shell("cp -p c/f ref; printf '3\\n' > new; touch -r ref new; mv new c/f")
        .ok();
    assert_eq!(site.steps(text, ""), "cccrrr");
    site.file("f", "1\n");
    // An argument counts from where it is given, also for what may see it.
    assert_eq!(site.steps(text, "--build-arg A=2"), "rrrrrr");
    assert_eq!(site.steps(text, "--build-arg A=2"), "cccccc");
    // What does not count for a command has it not run again: a label, a command.
    let labelled = text.replace("ARG A=1\n", "ARG A=1\nLABEL first=1\n");
    assert_eq!(site.steps(&labelled, ""), "crrccrc");
    assert_eq!(site.steps(text, "--no-cache"), "rrrrrr");
    site.is_clean();
}

#[test]
fn mounts_and_here_documents_count() {
    let site = Site::new();
    site.file("f", "1\n");
    let bind = "FROM localhost/test\nRUN --mount=type=bind,src=f,target=/m cat /m > /o\n";
    assert_eq!(site.steps(bind, ""), "r");
    assert_eq!(site.steps(bind, ""), "c");
    site.file("f", "2\n");
    assert_eq!(site.steps(bind, ""), "r");
    let document = "FROM localhost/test\nARG V=1\nCOPY <<EOF /o\n$V\nEOF\nRUN <<EOF\necho a\nEOF\n";
    assert_eq!(site.steps(document, ""), "rrr");
    assert_eq!(site.steps(&document.replace("echo a", "echo b"), ""), "ccr");
    assert_eq!(site.steps(document, "--build-arg V=2"), "rrr");
    let stages = "FROM localhost/test AS a\nRUN echo 1 > /o\nFROM localhost/test\nRUN --mount=from=a,target=/m cat /m/o > /p\nCOPY --from=a /o /q\n";
    assert_eq!(site.steps(stages, ""), "rrr");
    assert_eq!(site.steps(stages, ""), "ccc");
    assert_eq!(site.steps(&stages.replace("echo 1", "echo 2"), ""), "rrr");
    // Done anew, what is copied is what it was: so is the copy.
    let copies = stages.replace("RUN --mount=from=a,target=/m cat /m/o > /p\n", "");
    assert_eq!(site.steps(&copies, ""), "cr");
    assert_eq!(
        site.steps(&copies.replace("echo 1", "true; echo 1"), ""),
        "rc"
    );
    // A secret is no part of anything, and changes nothing.
    site.file("s", "hush\n");
    let secret = "FROM localhost/test\nRUN --mount=type=secret,id=s grep -q hush /run/secrets/s\n";
    assert_eq!(site.steps(secret, "--secret id=s,src=s"), "r");
    assert_eq!(site.steps(secret, ""), "c");
    site.world
        .shell("! grep -r hush .local .cache run 2>/dev/null")
        .ok();
    site.is_clean();
}

#[test]
fn the_cache_survives_images_and_is_pruned_by_itself() {
    let site = Site::new();
    let text = "FROM localhost/test\nRUN echo 1 > /one\nRUN echo 2 > /two\n";
    assert_eq!(site.steps(text, "-t it"), "rr");
    site.world.coracle("rmi it").ok();
    site.world.coracle("image prune -af").ok();
    site.world
        .coracle("load -q -i")
        .arg(crate::world::archive())
        .ok();
    assert_eq!(site.steps(text, "-t it"), "cc");
    assert!(
        site.world
            .coracle("system df")
            .stdout()
            .contains("Build Cache")
    );
    // What an image has stays known.
    site.world.coracle("builder prune -f").ok();
    assert_eq!(site.steps(text, "-t it"), "cc");
    site.world.coracle("rmi it").ok();
    site.world
        .coracle("builder prune -f --filter until=1h")
        .ok();
    assert_eq!(site.steps(text, "-t it"), "cc");
    site.world.coracle("rmi it").ok();
    let said = site.world.coracle("builder prune -f").stdout();
    assert!(said.contains("Total reclaimed space"), "{said}");
    assert_eq!(site.steps(text, "-t it"), "rr");
    site.world.coracle("buildx prune -af").ok();
    assert_eq!(site.steps(text, "-t it"), "rr");
    assert_eq!(site.steps(text, "--cache-ttl 1ns"), "rr");
    // A layer that is gone is made again.
    let dangling = "FROM localhost/test\nRUN --mount=type=cache,target=/c ls /c; echo x > /c/x\n";
    assert_eq!(site.steps(dangling, ""), "r");
    assert!(
        site.build(dangling, "--no-cache")
            .stdout()
            .contains("\nx\n")
    );
    site.world.coracle("image prune -f --build-cache").ok();
    assert!(
        !site
            .build(dangling, "--no-cache")
            .stdout()
            .contains("\nx\n")
    );
    site.is_clean();
}

#[test]
fn a_cache_that_a_step_uses_is_not_pruned() {
    let site = Site::new();
    site.file(
        "Containerfile",
        "FROM localhost/test\nRUN --mount=type=cache,target=/c echo kept > /c/f; echo >/pipes/ready; cat /pipes/go; cat /c/f\n",
    );
    let world = &site.world;
    world.shell("mkdir pipes; mkfifo pipes/ready pipes/go").ok();
    let build = world
        .shell("exec coracle build --no-cache -v ./pipes:/pipes c >said")
        .spawn();
    world.shell("cat pipes/ready").ok();
    world.coracle("builder prune -af").ok();
    world.shell("echo >pipes/go").ok();
    assert_eq!(build.wait().code, 0);
    let said = world.shell("cat said").stdout();
    assert!(said.contains("\nkept\n"), "{said}");
    // Nobody has it now.
    world.coracle("builder prune -af").ok();
    let mounts = world.data().join("build/mounts");
    assert_eq!(crate::world::names(&mounts), Vec::<String>::new());
    world.shell("rm -r pipes said").ok();
}

#[test]
fn why_says_what_has_changed() {
    let site = Site::new();
    site.file("f", "1\n");
    let text = "FROM localhost/test\nARG A=1\nRUN echo $A\nCOPY f /f\n";
    let first = site.build(text, "--why").stdout();
    assert!(
        first.contains("runs: it was never built from here"),
        "{first}"
    );
    let again = site.build(text, "--why").stdout();
    assert_eq!(again.matches("known: nothing").count(), 3, "{again}");
    site.world.shell("touch -d '1 hour ago' c/f").ok();
    site.build(text, "");
    site.file("f", "22\n");
    let changed = site.build(text, "--why").stdout();
    assert!(changed.contains("files: f"), "{changed}");
    let changed = site.build(text, "--why --build-arg A=2").stdout();
    assert!(changed.contains("environment"), "{changed}");
    let changed = site
        .build(&text.replace("echo $A", "echo b"), "--why")
        .stdout();
    assert!(
        changed.contains("instruction (was: RUN echo $A)"),
        "{changed}"
    );
    let all = site.build(text, "--why --no-cache").stdout();
    assert!(all.contains("the cache is not to be used"), "{all}");
}

#[test]
fn what_cannot_be_built_is_said_and_leaves_nothing() {
    let site = Site::new();
    site.file("file", "1\n");
    std::os::unix::fs::symlink("../../home/secret", site.world.home().join("c/out")).unwrap();
    site.world.file("secret", "outside\n");
    let b = "FROM localhost/test\n";
    let mut wrong = Vec::new();
    for (text, flags, code, words) in [
        (
            "RUNN x\n",
            "",
            125,
            ":2: unknown instruction: \"RUNN\"\n 2 | RUNN x\n   | ^^^^\nHint: did you mean RUN?",
        ),
        (
            "COPY nope /x\n",
            "",
            125,
            "copier: stat: \"/nope\": no such file or directory",
        ),
        ("COPY fil /x\n", "", 125, "Hint: did you mean file? ("),
        (
            "COPY ../secret /x\n",
            "",
            125,
            "possible escaping context directory error: copier: stat: \"/secret\"",
        ),
        (
            "COPY out /x\n",
            "",
            125,
            "copier: stat: \"/out\": no such file or directory",
        ),
        (
            "COPY --from=nosuch /a /b\n",
            "--pull=never",
            125,
            "COPY --from=nosuch: no stage or image found with that name",
        ),
        (
            "COPY file\n",
            "",
            125,
            "COPY requires at least two arguments",
        ),
        (
            "COPY --what=1 file /x\n",
            "",
            125,
            "COPY does not support the flag --what=1",
        ),
        (
            "COPY --chown=nobodyhere file /x\n",
            "",
            125,
            "looking up UID/GID for \"nobodyhere\"",
        ),
        ("COPY --chmod=9 file /x\n", "", 125, "invalid mode"),
        (
            "ADD --checksum=sha256:0 file /x\n",
            "",
            125,
            "checksum flag is not supported for local sources",
        ),
        (
            "RUN exit 9\n",
            "",
            9,
            "building at STEP \"RUN exit 9\": while running runtime: exit status 9",
        ),
        (
            "RUN [\"nosuch\"]\n",
            "",
            127,
            "building at STEP \"RUN nosuch\"",
        ),
        (
            "RUN --mount=type=secret,id=x,required=true cat /run/secrets/x\n",
            "",
            125,
            "secret required but no secret with id \"x\" found",
        ),
        (
            "RUN --mount=type=what,target=/x true\n",
            "",
            125,
            "invalid mount type \"what\"",
        ),
        (
            "RUN --mount=type=bind,src=nope,target=/x true\n",
            "",
            125,
            "no such file or directory",
        ),
        (
            "RUN <<EOF\nx\n",
            "",
            125,
            "unterminated heredoc: no line says EOF",
        ),
        ("ENV A=\"${B:?is missing}\"\n", "", 125, "B: is missing"),
        ("ENV A=${B\n", "", 125, "missing '}'"),
        ("EXPOSE x\n", "", 125, "invalid containerPort: x"),
        ("STOPSIGNAL NOPE\n", "", 125, "invalid signal: NOPE"),
        (
            "SHELL /bin/sh\n",
            "",
            125,
            "SHELL requires the arguments to be in JSON form",
        ),
        (
            "HEALTHCHECK --what=5 CMD x\n",
            "",
            125,
            "unknown flag: --what=5",
        ),
        ("ONBUILD ONBUILD RUN x\n", "", 125, "ONBUILD"),
        ("USER nobodyhere\nRUN id\n", "", 125, "nobodyhere"),
        (
            "FROM a b\n",
            "",
            125,
            "FROM requires either one or three arguments",
        ),
        (
            "FROM localhost/test AS 1x\n",
            "",
            125,
            "invalid name for build stage: \"1x\"",
        ),
        ("FROM x AS y\nFROM y AS x\n", "", 125, "circular dependency"),
        (
            "FROM nosuch\n",
            "--pull=never",
            125,
            "nosuch: image not known",
        ),
        (
            "",
            "--target nope",
            125,
            "the target \"nope\" was not found in the provided Dockerfile",
        ),
        ("", "--format tar", 125, "unrecognized image type \"tar\""),
        (
            "",
            "--squash --squash-all",
            125,
            "cannot specify --squash-all with --squash",
        ),
        ("", "--secret x", 125, "incorrect secret flag format"),
        (
            "",
            "--userns=auto",
            125,
            "--userns is not supported by coracle yet",
        ),
        (
            "",
            "--logsplit",
            125,
            "--logsplit is not supported by coracle yet",
        ),
        (
            "",
            "--sbom x",
            125,
            "--sbom is not supported by coracle yet",
        ),
        (
            "",
            "-f nofile",
            125,
            "the specified Containerfile or Dockerfile does not exist, nofile",
        ),
        (
            "",
            "--volume name:/x",
            125,
            "only folders and files of the host",
        ),
    ] {
        let done = site.build(&format!("{b}{text}"), &format!("{flags} -t wrong"));
        let said = done.stderr();
        if done.code != code || !said.contains(words) {
            wrong.push(format!("{text} {flags}: {} {said}", done.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let images = site
        .world
        .coracle("images -a --format {{.Repository}}")
        .stdout();
    assert!(
        !images.contains("wrong") && !images.contains("<none>"),
        "{images}"
    );
    let done = site
        .world
        .shell("coracle build -q -f - c < /dev/null")
        .run();
    assert_eq!(done.code, 125);
    done.says("no contents in \"-\"");
    site.world
        .shell("coracle build nodir")
        .fails(125)
        .says("context must be a directory");
    site.world.folder("empty");
    site.world
        .shell("coracle build empty")
        .fails(125)
        .says("no Containerfile or Dockerfile specified or found in context directory");
    site.is_clean();
}

#[test]
fn contexts_come_by_standard_input_and_as_archives() {
    let site = Site::new();
    site.file("f", "1\n");
    site.file(
        "Containerfile",
        "FROM localhost/test\nCOPY f /f\nRUN cat /f\n",
    );
    for line in [
        "tar c -C c . | coracle build --no-cache -",
        "tar cz -C c . | coracle build --no-cache -",
        "tar cf c.tar -C c . && coracle build --no-cache c.tar",
        "coracle build --no-cache -f - c < c/Containerfile",
        "cd c && coracle build --no-cache -f Containerfile",
    ] {
        let out = site.world.shell(line).stdout();
        assert!(out.contains("\n1\n"), "{line}: {out}");
    }
    let alone = "printf 'FROM localhost/test\\nRUN echo alone\\n' | coracle build -";
    assert!(site.world.shell(alone).stdout().contains("\nalone\n"));
    let none = "printf 'FROM localhost/test\\nCOPY f /\\n' | coracle build -";
    site.world
        .shell(none)
        .fails(125)
        .says("there is no context");
    // Files as they come out.
    site.world
        .shell("coracle build -q -o out c && cmp out/f c/f")
        .ok();
    site.world
        .shell("coracle build -o - c | tar xO f | cmp - c/f")
        .ok();
    site.world
        .shell("coracle build -q -o type=tar,dest=o.tar c && tar tf o.tar | grep -qx f")
        .ok();
    let id = site.world.shell("coracle build -q --iidfile id c").stdout();
    let file = std::fs::read_to_string(site.world.home().join("id")).unwrap();
    assert_eq!(file, format!("sha256:{id}"));
    site.is_clean();
}

#[test]
fn a_step_that_is_interrupted_leaves_what_was_done_before() {
    let site = Site::new();
    let text = "FROM localhost/test\nRUN echo 1 > /one\nRUN echo begun; sleep 1000\n";
    site.file("Containerfile", text);
    let running = site.world.coracle("build -t never c").spawn();
    running.prints("begun");
    running.signal(rustix::process::Signal::INT);
    let done = running.wait();
    assert_eq!(done.code, 128 + 2, "{}", done.stderr());
    site.world.wait_for_processes();
    assert_eq!(site.world.coracle("image exists never").run().code, 1);
    site.is_clean();
    let text = text.replace("echo begun; sleep 1000", "echo 2 > /two");
    assert_eq!(site.steps(&text, ""), "cr");
    // Killed, it leaves a step that ends by itself, and nothing else.
    site.file(
        "Containerfile",
        "FROM localhost/test\nRUN mkfifo /tmp/p; echo begun; read x < /dev/zero; sleep 1000\n",
    );
    let running = site.world.coracle("build --no-cache -t never c").spawn();
    running.prints("begun");
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    site.world.kill_all();
    site.world.wait_for_processes();
    site.world.coracle("ps -a").ok();
    site.world.coracle("images").ok();
    site.world.coracle("builder prune -f").ok();
    site.is_clean();
}

#[test]
fn a_step_sees_what_a_container_of_run_sees() {
    let site = Site::new();
    site.file(
        "probe",
        r#"grep -E '^(Cap|Seccomp|NoNewPrivs|Uid|Gid|Groups)' /proc/self/status
           cat /proc/self/uid_map /proc/self/gid_map /proc/self/limits /proc/self/oom_score_adj
           cat /etc/resolv.conf; sed '$d' /etc/hosts; umask; id; pwd; echo "$HOME" "$PATH"
           cut -d' ' -f5,6 /proc/self/mountinfo | sort; ls /dev /sys/class/net; hostname | wc -c
        "#,
    );
    for (user, flags) in [
        ("0", ""),
        (
            "0",
            "--cap-drop all --cap-add chown --ulimit nofile=64:99 --shm-size 1m",
        ),
        (
            "0",
            "--network none --security-opt no-new-privileges --group-add 7",
        ),
        (
            "0",
            "--security-opt seccomp=unconfined --add-host a:10.0.0.1 --pid host --ipc host --dns 10.0.0.1",
        ),
        ("0", "--network host --uts host --dns-search example.com"),
        ("7:8", "--cap-add net_raw"),
    ] {
        let text = format!(
            "FROM localhost/test\nCOPY probe /\nRUN echo 'x:x:7:8::/tmp:/bin/sh' >> /etc/passwd; echo 'y:x:8:' >> /etc/group\nUSER {user}\nWORKDIR /tmp\nRUN sh /probe > out; true\n"
        );
        let done = site.build(&text, &format!("{flags} -t seen"));
        assert_eq!(done.code, 0, "{}", done.stderr());
        let run = format!("run --rm --read-only=false {flags} seen");
        let step = site.world.coracle(&format!("{run} cat out")).stdout();
        let own = site.world.coracle(&format!("{run} sh /probe")).run();
        assert!(step.contains("CapEff"), "{step}");
        assert_eq!(step, own.stdout().trim_end(), "{user} {flags}");
    }
    site.is_clean();
}

#[test]
fn what_is_printed_may_go_to_a_file() {
    let site = Site::new();
    let text = "FROM localhost/test\nRUN echo out; echo err >&2\nRUN exit 7\n";
    let done = site.build(text, "--no-cache --logfile ../log");
    assert_eq!(done.code, 7);
    assert_eq!(done.stdout(), "");
    done.says("Error: building at STEP \"RUN exit 7\"");
    let log = std::fs::read_to_string(site.world.home().join("log")).unwrap();
    assert!(log.starts_with("STEP 1/3: FROM localhost/test\n"), "{log}");
    assert!(log.contains("\nout\n") && log.contains("\nerr\n"), "{log}");
    assert!(!log.contains("Error"), "{log}");
    // What was there goes, and the id too is in it.
    let done = site.build("FROM localhost/test\nENV a=b\n", "-q --logfile ../log");
    assert_eq!((done.code, done.stdout()), (0, String::new()));
    let log = std::fs::read_to_string(site.world.home().join("log")).unwrap();
    assert_eq!(log.trim_end().len(), 64, "{log}");
    site.build("FROM localhost/test\n", "--logfile /nosuch/log")
        .says("open /nosuch/log: no such file or directory");
    // The files themselves are no messages.
    site.world
        .shell("coracle build --logfile log -o - c | tar t | grep -q bin/sh")
        .ok();
    site.is_clean();
}

#[test]
fn steps_may_read_standard_input() {
    let site = Site::new();
    let text = "FROM localhost/test\nRUN cat > /read; cat /read\nUSER 7\nRUN cat; echo end\n";
    site.file("Containerfile", text);
    for (flags, typed) in [("", "one\n"), ("", "two\n"), ("--jobs 2", "three\n")] {
        let line = format!("build --stdin {flags} c");
        let out = site.world.coracle(&line).stdin(typed).ok().stdout();
        assert!(out.contains(&format!("\n{typed}-->")), "{out}");
        assert!(out.contains("\nend\n"), "{out}");
    }
    // Without it there is nothing to read, and what was read is not believed.
    let out = site.world.coracle("build c").stdin("four\n").ok().stdout();
    assert!(!out.contains("four") && !out.contains("three"), "{out}");
    site.is_clean();
}

#[test]
fn chroot_isolation_shares_what_it_shares_with_podman() {
    let site = Site::new();
    let text = "FROM localhost/test\nRUN for i in net pid ipc; do readlink /proc/self/ns/$i; done > /ns; grep -E 'Cap|Seccomp:' /proc/self/status > /caps\n";
    assert_eq!(site.build(text, "--isolation chroot -t shared").code, 0);
    let host = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let seen = site.world.coracle("run --rm shared cat /ns").stdout();
    for name in ["net", "pid", "ipc"] {
        assert!(seen.contains(host(name).to_str().unwrap()), "{seen}");
    }
    site.build(
        text,
        "--isolation chroot --network none --pid private -t own",
    );
    let seen = site.world.coracle("run --rm own cat /ns").stdout();
    for name in ["net", "pid"] {
        assert!(!seen.contains(host(name).to_str().unwrap()), "{seen}");
    }
    let caps = |image| {
        site.world
            .coracle(&format!("run --rm {image} cat /caps"))
            .stdout()
    };
    site.build(text, "-t oci");
    assert_eq!(caps("shared"), caps("oci"));
    site.is_clean();
}

#[test]
fn links_of_an_archive_do_not_lead_out_of_it() {
    let site = Site::new();
    site.world.file("outside", "topsecret\n");
    let home = site.world.home().display().to_string();
    for (to, file) in [
        (format!("{home}/outside"), "Containerfile"),
        (
            "../../../../../../../../../../..".to_owned() + &home + "/outside",
            "Dockerfile",
        ),
        (format!("{home}/outside"), ".dockerignore"),
    ] {
        let line = format!(
            "rm -rf h; mkdir h; printf 'FROM localhost/test\nCOPY {file} /x\n' > h/Containerfile
             ln -sfn {to} h/{file}; test {file} = Dockerfile && rm h/Containerfile
             tar c -C h . | coracle build -t never -"
        );
        let done = site.world.shell(&line).fails(125);
        assert!(!done.stderr().contains("topsecret"), "{}", done.stderr());
    }
    site.world.coracle("image exists never").fails(1);
    // In a folder of the caller's they may, but no file of it is copied through one.
    site.file("Containerfile", "FROM localhost/test\nCOPY out /x\n");
    site.world.shell("ln -s ../outside c/out").ok();
    let done = site.world.coracle("build c").fails(125);
    done.says("it is a link that leads to nothing within");
    site.world.shell("mv c/Containerfile cf; ln -s ../cf c/Containerfile; rm c/out; echo 1 > c/out; coracle build -q c").ok();
    site.is_clean();
}

#[test]
fn many_bytes_in_one_line_cost_what_they_weigh() {
    let site = Site::new();
    let text = "FROM localhost/test\nRUN head -c 30000000 /dev/zero | tr '\\0' x\n";
    for flags in ["", "--jobs 2"] {
        let done = site.build(text, &format!("--no-cache {flags}"));
        let count = done.out.iter().filter(|byte| **byte == b'x').count();
        assert!(
            done.code == 0 && (30_000_000..30_000_100).contains(&count),
            "{count}"
        );
    }
    site.is_clean();
}

#[test]
fn a_build_ends_by_a_signal_at_whatever_step() {
    let site = Site::new();
    site.file("f", "1\n");
    site.file(
        "Containerfile",
        "FROM localhost/test AS a\nRUN echo 1 > /one\nCOPY f /\nFROM localhost/test\nRUN echo 2 > /two\nENV a=b\nCOPY --from=a / /x\nRUN echo 3 > /three\n",
    );
    let mut ended = 0;
    for (at, flags) in (1..=8).flat_map(|at| [(at, ""), (at, "--jobs 2"), (at, "--squash")]) {
        let line = format!("build --no-cache {flags} -t never c");
        let running = site.world.coracle(&line).spawn();
        running.prints(&match at {
            1..=3 => format!("[1/2] STEP {at}/3"),
            4..=8 => format!("[2/2] STEP {}/5", at - 3),
            _ => unreachable!(),
        });
        running.signal(rustix::process::Signal::TERM);
        let done = running.wait();
        let staging = site.world.data().join("staging");
        assert_eq!(
            std::fs::read_dir(staging).unwrap().count(),
            0,
            "{line} {at}"
        );
        // The last of it may have been done.
        let is_there = site.world.coracle("image exists never").run().code == 0;
        assert_eq!(is_there, done.code == 0, "{line} {at}: {}", done.stderr());
        match is_there {
            true => drop(site.world.coracle("rmi never").ok()),
            false => ended += 1,
        }
        assert!(
            is_there || done.code == 128 + 15,
            "{}: {}",
            done.code,
            done.stderr()
        );
    }
    assert!(ended > 15, "{ended} of 24 were ended in time");
    site.world.wait_for_processes();
    site.is_clean();
    // Who is to ignore a signal does.
    site.file(
        "Containerfile",
        "FROM localhost/test\nRUN echo begun; until test -e /x/go; do :; done\n",
    );
    let line = "trap '' HUP; exec coracle build --no-cache -v $PWD:/x -t done c";
    let running = site.world.shell(line).spawn();
    running.prints("begun");
    running.signal(rustix::process::Signal::HUP);
    site.world.file("go", "");
    assert_eq!(running.wait().code, 0);
    site.is_clean();
}

#[test]
fn several_platforms_make_a_list() {
    let site = Site::new();
    site.file("f", "1\n");
    let text = "FROM scratch\nARG TARGETARCH\nCOPY f /$TARGETARCH\n";
    let flags = "--platform linux/amd64,linux/arm64 --manifest all";
    let out = site.build(text, flags).stdout();
    assert!(
        out.contains("[linux/arm64] STEP 3/3: COPY f /$TARGETARCH"),
        "{out}"
    );
    let list = site.world.coracle("manifest inspect all").stdout();
    let list: Value = serde_json::from_str(&list).unwrap();
    let built: Vec<&str> = (list["manifests"].as_array().unwrap().iter())
        .map(|it| it["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(built, ["amd64", "arm64"]);
    site.build(text, "--platform linux/arm64 -t arm");
    let shown = "image inspect arm --format '{{.Os}}/{{.Architecture}}'";
    assert_eq!(site.world.coracle(shown).stdout(), "linux/arm64");
    site.is_clean();
}

#[test]
fn what_is_lent_to_a_step_goes_with_it() {
    let site = Site::new();
    let socket = site.world.home().join("agent");
    let _agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let ssh = "FROM localhost/test\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK\nRUN test -z \"$SSH_AUTH_SOCK\" && test ! -e /run/buildkit\n";
    assert_eq!(site.build(ssh, "--ssh default=../agent").code, 0);
    site.build(&ssh.replace("=ssh", "=ssh,required,id=x"), "")
        .says("unable to find SSH agent \"x\"");
    let secret = "FROM localhost/test\nRUN --mount=type=secret,id=HUSH,env=S test $S = word\n";
    let done = site
        .world
        .shell(&format!(
            "printf '{secret}' | HUSH=word coracle build --secret id=HUSH -"
        ))
        .run();
    assert_eq!(done.code, 0, "{}", done.stderr());
    let lent = site.world.runtime().join("coracle/builds");
    // The folder is made with the first that needs it.
    let left = std::fs::read_dir(lent).map_or(0, Iterator::count);
    assert_eq!(left, 0);
    // Of its containers nobody hears; of the image all do.
    let events = site
        .world
        .coracle("events --stream=false --format '{{.Type}} {{.Status}}'")
        .stdout();
    assert!(events.contains("image build"), "{events}");
    assert!(!events.contains("container"), "{events}");
    site.is_clean();
}
