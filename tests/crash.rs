//! `kill -9` at random moments: of the CLI, of the monitor, of the container, of
//! all at once. After each the whole store is checked, and the next command must
//! be right about what is there.
//!
//! `SEED=n` repeats a run as far as the machine's own timing allows; `KILLS=n`
//! sets how many there are.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::needs;
use crate::world::{Process, World, archive, names, store};

/// Marsaglia's xorshift: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        Self(number("SEED").unwrap_or(u64::from(now)).max(1))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn kill(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::kill_process(pid, Signal::KILL).is_ok())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Cli,
    Monitor,
    Container,
    All,
    /// All, and the runtime folder is gone, as after a reboot.
    Reboot,
}

/// A container's first process.
fn is_init(process: &Process) -> bool {
    process.inner == 1
}

/// Kills, and gives how many it hit.
fn strike(world: &World, victim: Victim, cli: i32) -> u64 {
    let all = world.processes();
    let hit: Vec<i32> = match victim {
        Victim::Cli => vec![cli],
        // What is left when nobody waits for it: it has no parent of this world.
        Victim::Monitor => all
            .iter()
            .filter(|it| it.pid != cli && !is_init(it))
            .filter(|it| it.command.contains("coracle") && !it.command.contains("pasta"))
            .map(|it| it.pid)
            .collect(),
        Victim::Container => all
            .iter()
            .filter(|it| is_init(it))
            .map(|it| it.pid)
            .collect(),
        // The CLI may not carry the mark of its world yet.
        Victim::All | Victim::Reboot => all.iter().map(|it| it.pid).chain([cli]).collect(),
    };
    let count = hit.into_iter().filter(|pid| kill(*pid)).count() as u64;
    if victim == Victim::Reboot {
        world.kill_all();
        std::fs::remove_dir_all(world.runtime().join("coracle")).ok();
    }
    count
}

/// What `ps -a` says there is.
fn containers(world: &World) -> Vec<Value> {
    let text = world.coracle("ps -a --format json").stdout();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Waits until `ps` and the processes agree: one init for each that runs.
fn settle(world: &World) -> Result<Vec<Value>, String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let before: Vec<Process> = world.processes().into_iter().filter(is_init).collect();
        let all = containers(world);
        let after: Vec<Process> = world.processes().into_iter().filter(is_init).collect();
        let mut running: Vec<i64> = all
            .iter()
            .filter(|it| it["State"] == "running")
            .filter_map(|it| it["Pid"].as_i64())
            .collect();
        let mut inits: Vec<i64> = after.iter().map(|it| i64::from(it.pid)).collect();
        running.sort_unstable();
        inits.sort_unstable();
        let pids = |all: &[Process]| all.iter().map(|it| it.pid).collect::<Vec<_>>();
        if pids(&before) == pids(&after) && running == inits {
            return Ok(all);
        }
        if Instant::now() > end {
            return Err(format!(
                "ps says {running:?} run, but {inits:?} do: {after:?}"
            ));
        }
    }
}

/// Removes every container, and names what is left of them. A monitor whose CLI
/// was killed needs a moment to undo what it had begun: what it leaves is looked
/// at once it is gone, and the next command sweeps what it could not undo.
fn clear(world: &World) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let done = world.coracle("rm -fa -t 0").run();
        let mut wrong = Vec::new();
        if done.code != 0 {
            wrong.push(format!("rm -fa left with {}: {}", done.code, done.stderr()));
        }
        wrong.extend(world.left());
        wrong.extend(store::wrong(world));
        if wrong.is_empty() || Instant::now() > end {
            return wrong;
        }
    }
}

#[test]
fn containers_are_killed_at_any_moment() {
    let world = World::new();
    needs!(world, Subuids);
    world
        .coracle("run --rm --network=none -v kept:/kept IMAGE sh -c 'echo safe >/kept/file'")
        .ok();
    let mut random = Random::new();
    let seed = random.0;
    let wanted = number("KILLS").unwrap_or(240);
    let mut struck = 0;
    let mut slowest = Duration::from_millis(60);
    let mut round = 0;
    while struck < wanted {
        round += 1;
        let removed = random.below(2) == 0;
        let rm = if removed { "--rm" } else { "" };
        let flags = format!("{rm} --network=none -v kept:/kept -v /anonymous --name it{round}");
        let image = *random.of(&["IMAGE", "VOLUME_IMAGE"]);
        let line = match random.below(4) {
            0 => format!("run {flags} {image} true"),
            1 => format!("run -d {flags} {image} sleep 1000"),
            2 => format!("run {flags} {image} sh -c 'yes >/kept/noise'"),
            _ => format!("run {flags} --init {image} sh -c 'touch /anonymous/file; sleep 1000'"),
        };
        let victim = *random.of(&[
            Victim::Cli,
            Victim::Monitor,
            Victim::Container,
            Victim::All,
            Victim::Reboot,
        ]);
        let begun = Instant::now();
        let cli = world.coracle(&line).spawn();
        // The moment is what is random: this waits for nothing.
        std::thread::sleep(Duration::from_micros(
            random.below(slowest.as_micros() as u64),
        ));
        let what = format!(
            "SEED={seed}, round {round}, {victim:?} {:?} after the start of `{line}`",
            begun.elapsed()
        );
        struck += strike(&world, victim, cli.pid());
        if victim == Victim::Container || victim == Victim::Monitor {
            // The CLI may be the only one that is left to see it; else it goes on.
            strike(&world, Victim::Cli, cli.pid());
        }
        cli.wait();
        let all = settle(&world).unwrap_or_else(|error| panic!("{what}: {error}"));
        for it in &all {
            assert!(
                !removed || it["State"] == "running" || it["State"] == "created",
                "{what}: a container that was to be removed is still there: {it}"
            );
        }
        let wrong = clear(&world);
        assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
        if removed {
            let volumes = store::anonymous_volumes(&world);
            assert!(
                volumes.is_empty(),
                "{what}: anonymous volumes are left: {volumes:?}"
            );
        } else {
            world.coracle("volume prune -f").ok();
        }
        let kept = world.data().join("volumes/kept/_data/file");
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "safe\n", "{what}");
        std::fs::remove_file(world.data().join("volumes/kept/_data/noise")).ok();
        slowest = slowest.max(begun.elapsed().min(Duration::from_millis(120)));
    }
    // And all of it still works.
    let run = "run --rm --network=none -v kept:/kept VOLUME_IMAGE cat /kept/file /data/seed";
    assert_eq!(world.coracle(run).stdout(), "safe\nseed");
    world.coracle("volume rm kept").ok();
}

#[test]
fn commands_on_the_store_are_killed_at_any_moment() {
    let world = World::new();
    let mut random = Random::new();
    let seed = random.0;
    let archive = archive().display().to_string();
    let mut slowest = Duration::from_millis(5);
    for round in 0..number("KILLS").unwrap_or(240) / 4 {
        let line = match random.below(8) {
            0 | 1 => format!("load -q -i {archive}"),
            2 => "rmi -f test user volume".to_owned(),
            3 => "volume create some".to_owned(),
            4 => "volume rm -f some".to_owned(),
            5 => "create --replace --name it -v /anonymous -v some:/x VOLUME_IMAGE".to_owned(),
            6 => "rm -v it".to_owned(),
            _ => "tag test other:1".to_owned(),
        };
        let begun = Instant::now();
        let cli = world.coracle(&line).spawn();
        std::thread::sleep(Duration::from_micros(
            random.below(slowest.as_micros() as u64),
        ));
        kill(cli.pid());
        let code = cli.wait().code;
        let what = format!("SEED={seed}, round {round}, `{line}` ({code})");
        slowest = slowest.max(begun.elapsed().min(Duration::from_millis(150)));
        for next in ["images", "volume ls", "ps -a"] {
            let done = world.coracle(next).run();
            assert_eq!(done.code, 0, "{what}: {next}: {}", done.stderr());
        }
        // What cannot be told apart from what is there is there whole.
        world.wait_for_processes();
        world.coracle(&format!("load -q -i {archive}")).ok();
        let wrong = store::wrong(&world);
        assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
        let run = world
            .coracle("run --rm --network=none IMAGE echo works")
            .run();
        assert_eq!(run.stdout(), "works\n", "{what}: {}", run.stderr());
    }
    world.coracle("rm -fa -t 0 -v").ok();
    world.coracle("volume prune -af").run();
}

#[test]
fn a_reboot() {
    let world = World::new();
    world
        .coracle("run -d --name gone --rm -v /anonymous --network=none IMAGE sleep 1000")
        .ok();
    world
        .coracle("run -d --name stays -v named:/x --network=none IMAGE sleep 1000")
        .ok();
    assert_eq!(names(&world.data().join("volumes")).len(), 2);
    world.kill_all();
    std::fs::remove_dir_all(world.runtime().join("coracle")).ok();
    let all = world
        .coracle("ps -a --format '{{.Names}} {{.State}}'")
        .stdout();
    assert_eq!(all, "stays exited");
    assert_eq!(names(&world.data().join("volumes")), ["named"]);
    assert_eq!(
        world
            .coracle("inspect stays --format {{.State.ExitCode}}")
            .stdout(),
        "137"
    );
    world.coracle("start stays").ok();
    assert_eq!(world.coracle("exec stays echo up").stdout(), "up");
    world.coracle("rm -f -t 0 stays").ok();
    world.coracle("volume rm named").ok();
}

#[test]
fn a_power_cut() {
    let world = World::new();
    world.coracle("volume create named").ok();
    let run = |name: &str| {
        world
            .coracle(&format!("run -d --rm --name {name} -v named:/n -v /anonymous --network=none IMAGE sleep 1000"))
            .ok();
    };
    // What is not synced has a name on the disk, and nothing or zeros in it.
    for content in ["", "\0\0\0\0\0\0\0\0"] {
        run("gone");
        world.kill_all();
        std::fs::remove_dir_all(world.runtime().join("coracle")).ok();
        let lose = |folder: &str, file: &str| {
            let folder = world.data().join(folder);
            for name in names(&folder).iter().filter(|name| name.len() == 64) {
                let path = folder.join(name).join(file);
                if path.exists() {
                    std::fs::write(path, content).unwrap();
                }
            }
        };
        lose("containers", "container.json");
        lose("containers", "started.json");
        lose("volumes", "volume.json");
        // Whichever command is the first.
        let first = match content {
            "" => "volume ls -q",
            _ => "ps -aq",
        };
        world.coracle(first).ok();
        assert_eq!(world.coracle("volume ls -q").stdout(), "named");
        assert_eq!(world.coracle("ps -aq").stdout(), "");
        assert_eq!(store::wrong(&world), [""; 0]);
        // Its name is free.
        run("gone");
        world.coracle("rm -f -t 0 gone").ok();
    }
    // A volume that has lost its record alone is still one.
    let lost = world.coracle("volume create").stdout();
    std::fs::write(
        world.data().join("volumes").join(&lost).join("volume.json"),
        "",
    )
    .unwrap();
    let shown = world.coracle(&format!(
        "volume inspect {lost} --format '{{{{.Driver}}}} {{{{.Anonymous}}}}'"
    ));
    assert_eq!(shown.stdout(), "local true");
    world
        .coracle(&format!(
            "run --rm --network=none -v {lost}:/x IMAGE touch /x/file"
        ))
        .ok();
    assert_eq!(world.coracle("volume ls -q").stdout(), "named");
    world.coracle("volume rm named").ok();
}

#[test]
fn the_container_dies_with_its_monitor() {
    let world = World::new();
    world
        .coracle("run -d --name it --network=none IMAGE sleep 1000")
        .ok();
    for process in world.processes().iter().filter(|it| !is_init(it)) {
        kill(process.pid);
    }
    world.wait_for_processes();
    assert_eq!(
        world
            .coracle("ps -a --format '{{.Names}} {{.State}} {{.ExitCode}}'")
            .stdout(),
        "it exited 137"
    );
    world.coracle("rm it").ok();
}

/// The files of a volume, with their owners, modes and checksums, as one number; `None`
/// if there is no such volume.
fn fingerprint(world: &World, folder: &str) -> Option<String> {
    let folder = world.data().join("volumes").join(folder);
    if !folder.exists() {
        return None;
    }
    let script = r#"cd "$0" && { find . -printf '%P %y %m %U:%G %s %l\n' | sort;
        find . -type f -print0 | sort -z | xargs -0r cat; } | md5sum"#;
    let done = world.coracle("unshare sh -c").arg(script).arg(&folder);
    Some(done.ok().stdout())
}

/// A tar of many small files in the folder `many`, with the test image beneath if
/// `whole`; `word` is in each file.
fn many(word: &str, whole: bool) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    if whole {
        let layer = crate::world::layer();
        let mut archive = tar::Archive::new(&layer[..]);
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header().clone();
            tar.append(&header, entry).unwrap();
        }
    }
    for at in 0..400 {
        let content = format!("{word} {at}\n").repeat(100);
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_uid(at % 3);
        header.set_gid(0);
        header.set_mtime(at);
        let path = match whole {
            true => format!("many/{}/{at}", at % 7),
            false => format!("{}/{at}", at % 7),
        };
        tar.append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn volumes_are_changed_at_once_or_not_at_all() {
    let world = World::new();
    needs!(world, Subuids);
    world.file("old.tar", many("old", false));
    world.file("new.tar", many("new", false));
    world.file("image.tar", many("image", true));
    world.coracle("import -q image.tar many").ok();
    world.coracle("volume create kept").ok();
    world.coracle("volume import kept new.tar").ok();
    let new = fingerprint(&world, "kept/_data");
    world.coracle("volume rm kept").ok();
    world.coracle("volume create kept").ok();
    world.coracle("volume import kept old.tar").ok();
    world.coracle("volume snapshot kept base").ok();
    let old = fingerprint(&world, "kept/_data");
    world
        .coracle("run --rm --network=none -v filled:/many many true")
        .ok();
    let filled = fingerprint(&world, "filled/_data");
    world.coracle("volume rm filled").ok();
    assert!(old != new && old == fingerprint(&world, "kept/snapshots/base/_data"));

    let mut random = Random::new();
    let seed = random.0;
    let mut now = old.clone();
    let mut struck = 0;
    // Of each command, as long as it takes.
    let mut slowest = [Duration::from_millis(60); 7];
    for round in 0..number("KILLS").unwrap_or(210) {
        let job = random.below(7) as usize;
        let line = match job {
            0 => "volume import kept new.tar",
            1 => "volume restore kept base",
            2 => "volume clone kept clone",
            3 => "volume snapshot kept extra",
            4 => "volume prune -f",
            5 => "run --rm --network=none -v filled:/many many true",
            _ => "run --rm --network=none -v /many many true",
        };
        if job == 4 {
            world.coracle("create --name it -v /many many true").ok();
            world.coracle("rm it").ok();
        }
        let begun = Instant::now();
        let cli = world.coracle(line).spawn();
        std::thread::sleep(Duration::from_micros(
            random.below(slowest[job].as_micros() as u64),
        ));
        let what = format!(
            "SEED={seed}, round {round}, {:?} after the start of `{line}`",
            begun.elapsed()
        );
        let victim = *random.of(&[Victim::Cli, Victim::All]);
        struck += strike(&world, victim, cli.pid());
        let done = cli.wait();
        slowest[job] = slowest[job].max(begun.elapsed().min(Duration::from_millis(400)));
        world.wait_for_processes();
        world.coracle("ps -a").ok();

        let found = fingerprint(&world, "kept/_data");
        let wanted: &[&Option<String>] = match job {
            0 => &[&now, &new],
            1 => &[&now, &old],
            _ => &[&now],
        };
        assert!(
            wanted.contains(&&found),
            "{what}: kept is neither the one nor the other"
        );
        if done.code == 0 && job < 2 {
            assert_eq!(&found, wanted[1], "{what}: it was acknowledged");
        }
        now = found;
        for (copy, is_made) in [
            ("clone/_data", job == 2),
            ("kept/snapshots/extra/_data", job == 3),
        ] {
            match fingerprint(&world, copy) {
                Some(copied) => assert_eq!(Some(copied), now, "{what}: {copy} is not whole"),
                None => assert!(!is_made || done.code != 0, "{what}: it was acknowledged"),
            }
        }
        assert_eq!(
            fingerprint(&world, "kept/snapshots/base/_data"),
            old,
            "{what}: the snapshot"
        );
        if job == 5 {
            let run = "run --rm --network=none -v filled:/many many true";
            world.coracle(run).ok();
            assert_eq!(fingerprint(&world, "filled/_data"), filled, "{what}");
        }
        world.coracle("volume prune -f").ok();
        let left = store::anonymous_volumes(&world);
        assert!(left.is_empty(), "{what}: {left:?}");
        let _ = world.coracle("volume rm clone filled kept@extra").run();
        let wrong = clear(&world);
        assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    }
    assert!(struck > 0);
    world.coracle("volume rm -a").ok();
}
