//! Copies of volumes: archives, clones, snapshots, and what changed since.

use serde_json::Value;

use crate::needs;
use crate::world::{World, names, store};

/// All that a volume has, as its owner in a container sees it; links counted, contents
/// by checksum.
fn listing(world: &World, volume: &str) -> String {
    let script = r#"cd "$0" && find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%n|%T@|%l\n' | sort &&
        find . -maxdepth 0 -printf '%y|%m|%U:%G|%n\n' &&
        find . -type f -exec md5sum {} + | sort -k2"#;
    let data = world.data().join("volumes").join(volume).join("_data");
    world
        .coracle("unshare sh -c")
        .arg(script)
        .arg(data)
        .ok()
        .stdout()
}

/// A volume with one of everything, and files of other owners.
fn fill(world: &World, volume: &str) {
    let script = "mkdir -m 2750 /v/d; echo one >/v/d/f; ln /v/d/f /v/same; ln -s /etc/passwd /v/out; \
         mkfifo /v/fifo; truncate -s 3M /v/hole; mkdir -m 700 /v/shut; echo x >/v/shut/x; \
         chown -R 1000:100 /v/shut; chmod 4711 /v/shut/x; chown 7:8 /v; chmod 751 /v";
    world
        .coracle(&format!(
            "run --rm --network=none -v {volume}:/v IMAGE sh -c"
        ))
        .arg(script)
        .ok();
}

#[test]
fn a_volume_goes_out_and_comes_in_again() {
    let world = World::new();
    needs!(world, Subuids);
    fill(&world, "from");
    let wanted = listing(&world, "from");
    assert!(wanted.contains("shut/x|f|4711|1000:100|"), "{wanted}");
    for name in ["plain.tar", "small.tar.gz", "small.tgz", "smaller.tar.zst"] {
        world.coracle(&format!("volume export from -o {name}")).ok();
        world.coracle("volume create to").ok();
        world.coracle(&format!("volume import to {name}")).ok();
        assert_eq!(listing(&world, "to"), wanted, "{name}");
        world.coracle("volume rm to").ok();
    }
    let length = |name: &str| world.home().join(name).metadata().unwrap().len();
    assert!(length("plain.tar") < 1 << 20, "holes are left out");
    assert!(length("smaller.tar.zst") < length("plain.tar") / 2);
    let magic = std::fs::read(world.home().join("small.tgz")).unwrap();
    assert_eq!(magic[..2], [0x1f, 0x8b]);
    // By pipes, too, and what tar(1) has made.
    world.coracle("volume create to").ok();
    world
        .shell("coracle volume export from | coracle volume import to -")
        .ok();
    assert_eq!(listing(&world, "to"), wanted);
    let unpacked = world
        .shell("coracle volume export from | tar -x && ls")
        .ok();
    assert!(unpacked.stdout().contains("hole\n"));
    world.coracle("volume rm -a").ok();
}

#[test]
fn archives_have_podmans_messages() {
    let world = World::empty();
    world.coracle("volume create v").ok();
    world.file("rubbish", [7; 3000]);
    for (line, words) in [
        ("export", "accepts 1 arg(s), received 0"),
        (
            "export nosuch -o x.tar",
            "no volume with name \"nosuch\" found: no such volume",
        ),
        (
            "export v -o /no/such.tar",
            "unable to create target file path \"/no/such.tar\": open /no/such.tar: no such file or directory",
        ),
        ("import v", "accepts 2 arg(s), received 1"),
        (
            "import v nosuch.tar",
            "unable open input file: open nosuch.tar: no such file or directory",
        ),
        (
            "import nosuch rubbish",
            "no volume with name \"nosuch\" found: no such volume",
        ),
        (
            "import v rubbish",
            "extracting into volume v: archive/tar: invalid tar header",
        ),
        (
            "import v .",
            "extracting into volume v: read .: is a directory",
        ),
        (
            "mount v",
            "cannot run command \"coracle volume mount\" in rootless mode, must execute `coracle unshare` first",
        ),
        ("reload x", "`coracle volume reload` takes no arguments"),
        ("prune x", "`coracle volume prune` takes no arguments"),
    ] {
        world
            .coracle(&format!("volume {line}"))
            .fails(125)
            .says(words);
    }
    let mut left = names(&world.home());
    left.sort();
    assert_eq!(left, [".local", "rubbish"]);
    assert_eq!(world.coracle("volume unmount v").stdout(), "v");
    world.coracle("volume reload").ok();
    // Whoever stops to read is no error.
    world.file("big", vec![1; 1 << 20]);
    world.shell("tar -c big | coracle volume import v -").ok();
    let done = world
        .shell("set -o pipefail; coracle volume export v | head -c 10 >/dev/null")
        .ok();
    assert_eq!(done.stderr(), "");
    world.coracle("volume rm v").ok();
}

#[test]
fn a_broken_archive_changes_nothing() {
    let world = World::new();
    fill(&world, "v");
    let before = listing(&world, "v");
    world.file("tree/same", "other");
    world.file("tree/new", vec![5; 200_000]);
    world
        .shell("tar -C tree -cf whole.tar . && head -c 150000 whole.tar >cut.tar && gzip -k whole.tar && head -c 100 whole.tar.gz >cut.tgz")
        .ok();
    for archive in ["cut.tar", "cut.tgz"] {
        let done = world
            .coracle(&format!("volume import v {archive}"))
            .fails(125);
        done.says("extracting into volume v: ");
        assert_eq!(listing(&world, "v"), before, "{archive}");
    }
    // So it is with one that a running container has, and that is unpacked in place.
    world
        .coracle("run -d --name it --network=none -v v:/v IMAGE sleep 1000")
        .ok();
    let done = world.shell("coracle volume import v - <cut.tar").fails(125);
    done.says("unexpected EOF");
    assert_eq!(listing(&world, "v"), before);
    // Or whose fault shows only as it is unpacked.
    world.file("z/late", "x");
    world
        .shell("cp whole.tar late.tar && tar -C z --owner 99999999 -rf late.tar late")
        .ok();
    if world.needs(crate::world::Need::Subuids) {
        for line in ["import v late.tar", "import v - <late.tar"] {
            let done = world.shell(&format!("coracle volume {line}")).fails(125);
            done.says("late: chown to 99999999");
            assert_eq!(listing(&world, "v"), before);
        }
    }
    world
        .shell("cat whole.tar | coracle volume import v -")
        .ok();
    assert_eq!(world.coracle("exec it cat /v/same").stdout(), "other");
    // The file that had both names has one now.
    assert_eq!(world.coracle("exec it cat /v/d/f").stdout(), "one");
    world.coracle("rm -f -t 0 it").ok();
    world.wait_for_processes();
    assert_eq!(store::wrong(&world), [""; 0]);
    world.coracle("volume rm v").ok();
}

#[test]
fn snapshots_are_gone_back_to() {
    let world = World::new();
    needs!(world, Subuids);
    fill(&world, "v");
    let before = listing(&world, "v");
    assert_eq!(world.coracle("volume snapshot v first").stdout(), "first");
    let second = world.coracle("volume snapshot v").stdout();
    assert!(second.starts_with("20") && second.len() >= 15, "{second}");
    let all = world.coracle("volume snapshots -q v").stdout();
    assert_eq!(all, format!("first\n{second}"));
    assert_eq!(world.coracle("volume diff v first").stdout(), "");
    let script =
        "echo two >/v/d/f; rm -r /v/shut /v/fifo; mkdir /v/new; touch /v/new/x; chmod 700 /v";
    world
        .coracle("run --rm --network=none -v v:/v IMAGE sh -c")
        .arg(script)
        .ok();
    crate::assert_snapshot!(world.coracle("volume diff v"), @"
    C /
    C /d/f
    D /fifo
    A /new
    A /new/x
    C /same
    D /shut
    ");
    let json = world.coracle("volume diff v first --format json").stdout();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["deleted"], serde_json::json!(["/fifo", "/shut"]));
    assert_eq!(world.coracle("volume restore v first").stdout(), "v");
    assert_eq!(listing(&world, "v"), before);
    assert_eq!(world.coracle("volume diff v first --contents").stdout(), "");
    // A clone of a snapshot, and of the volume, are volumes of their own.
    world.coracle("volume clone v@first old").ok();
    world.coracle("volume clone v new").ok();
    for clone in ["old", "new"] {
        assert_eq!(listing(&world, clone), before, "{clone}");
        assert_eq!(
            world
                .coracle(&format!("volume snapshots -q {clone}"))
                .stdout(),
            ""
        );
    }
    world.coracle("volume export v@first -o first.tar").ok();
    assert_eq!(
        world.coracle("volume rm v@first old").stdout(),
        "old\nv@first"
    );
    assert_eq!(world.coracle("volume snapshots -q v").stdout(), second);
    for (line, words) in [
        ("restore v nosuch", "volume v has no snapshot \"nosuch\""),
        ("diff new", "volume new has no snapshot"),
        ("snapshot nosuch", "no volume with name \"nosuch\" found"),
        ("snapshot v a/b", "names must match"),
        ("snapshot", "accepts between 1 and 2 arg(s), received 0"),
        (
            "clone v new",
            "volume with name new already exists: volume already exists",
        ),
        ("clone v a/b", "names must match"),
        ("clone v@nosuch x", "volume v has no snapshot \"nosuch\""),
        (
            "diff v --format x",
            "only supported value for '--format' is 'json'",
        ),
    ] {
        world
            .coracle(&format!("volume {line}"))
            .fails(125)
            .says(words);
    }
    world
        .coracle(&format!("volume snapshot v {second}"))
        .fails(125)
        .says("has a snapshot");
    assert_eq!(store::wrong(&world), [""; 0]);
    // Snapshots go with their volume.
    world.coracle("volume rm -a").ok();
}

#[test]
fn a_volume_that_is_written_to_is_not_copied_unless_asked() {
    let world = World::new();
    let write = "n=0; while :; do n=$((n+1)); echo $n >/v/a.new; mv /v/a.new /v/a; echo $n >/v/b.new; mv /v/b.new /v/b; done";
    world
        .coracle("run -d --name it --network=none -v v:/v IMAGE sh -c")
        .arg(write)
        .ok();
    for line in ["snapshot v x", "clone v x", "snapshot v"] {
        let done = world.coracle(&format!("volume {line}")).fails(125);
        done.says("volume v is being used by the following running container(s): it: volume is being used");
        done.says("Hint: --pause");
    }
    world.coracle("volume snapshot --force v forced").ok();
    world
        .coracle("volume restore v forced")
        .fails(125)
        .says("Hint: stop them first");
    world
        .coracle("volume snapshot --force --pause v x")
        .fails(125)
        .says("--force and --pause cannot be used together");
    for round in 0..5 {
        world
            .coracle(&format!("volume clone --pause v still{round}"))
            .ok();
        // Nothing was written between the two files.
        let read = |name: &str| {
            let path = format!("volumes/still{round}/_data/{name}");
            let text = std::fs::read_to_string(world.data().join(path)).unwrap_or_default();
            text.trim().parse::<u64>().unwrap_or(0)
        };
        let (a, b) = (read("a"), read("b"));
        assert!(a == b || a == b + 1, "{a} {b}");
    }
    // It goes on afterwards.
    world
        .coracle("exec it sh -c 'a=$(cat /v/a); while [ $(cat /v/a) = $a ]; do :; done'")
        .ok();
    world.coracle("rm -f -t 0 it").ok();
    world.coracle("volume rm -a").ok();
}

#[test]
fn what_a_container_leaves_in_a_volume_leads_nowhere() {
    let world = World::new();
    let secret = world.file("secret", "mine\n");
    let home = world.home();
    world
        .coracle("run --rm --network=none -v v:/v IMAGE sh -c")
        .arg(format!(
            "ln -s {0}/secret /v/file; ln -s {0} /v/dir; ln -s /proc/self/root /v/root; mkdir /v/d; ln -s .. /v/d/up",
            home.display()
        ))
        .ok();
    world.coracle("volume snapshot v s").ok();
    world.coracle("volume clone v w").ok();
    world.coracle("volume restore v s").ok();
    assert_eq!(world.coracle("volume diff v s --contents").stdout(), "");
    let listed = world.shell("coracle volume export w | tar -t").ok();
    assert_eq!(listed.stdout(), "d/\nd/up\ndir\nfile\nroot\n");
    // An archive that goes by them stays in the volume.
    world.file("tree/dir/evil", "x");
    world.shell("tar -C tree -cf t.tar dir/evil").ok();
    let _ = world.coracle("volume import v t.tar").run();
    assert!(!home.join("evil").exists());
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "mine\n");
    world.coracle("volume rm -a").ok();
}

#[test]
fn sizes_and_where_they_come_from() {
    let world = World::new();
    world
        .coracle("create --name it -v named:/n VOLUME_IMAGE")
        .ok();
    world
        .coracle("run --rm --network=none -v named:/n IMAGE sh -c 'head -c 300000 /dev/zero >/n/x; truncate -s 1G /n/hole; mkdir -m 700 /n/shut; chown 44 /n/shut'")
        .ok();
    let json = world.coracle("volume ls --size --format json").stdout();
    let json: Value = serde_json::from_str(&json).unwrap();
    let find = |name: &str| {
        json.as_array()
            .unwrap()
            .iter()
            .find(|it| it["Name"] == name)
    };
    let size = find("named").unwrap()["Size"].as_u64().unwrap();
    assert!((300_000..400_000).contains(&size), "{size}");
    let anonymous = store::anonymous_volumes(&world);
    let origin = &find(&anonymous[0]).unwrap()["Origin"];
    assert_eq!(
        (origin["Path"].as_str(), origin["Image"].as_str()),
        (Some("/data"), Some("localhost/volume:latest"))
    );
    let table = world.coracle("volume ls --size").stdout();
    assert!(
        table.starts_with("DRIVER")
            && table.contains("LAST USED")
            && table.contains("localhost/volume:latest /data"),
        "{table}"
    );
    let plain = world.coracle("volume ls --format json").stdout();
    assert!(!plain.contains("\"Size\""));
    let df = world
        .coracle("system df --format '{{.Type}} {{.Total}} {{.Active}}'")
        .stdout();
    assert_eq!(df, "Images 3 1\nContainers 1 0\nLocal Volumes 2 2");
    let df: Value =
        serde_json::from_str(&world.coracle("system df --format json").stdout()).unwrap();
    assert_eq!(df[2]["TotalCount"], 2);
    assert!(df[2]["RawSize"].as_u64().unwrap() >= size);
    let table = world.coracle("system df -v").stdout();
    for words in [
        "Images space usage:",
        "UNIQUE SIZE",
        "Containers space usage:",
        "LOCAL VOLUMES",
        "Local Volumes space usage:",
        "LINKS",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    world
        .coracle("system df -v --format json")
        .fails(125)
        .says("cannot combine --format and --verbose flags");
    world.coracle("rm -v it").ok();
    world.coracle("volume rm named").ok();
}

#[test]
fn a_dry_run_says_what_goes_and_removes_nothing() {
    let world = World::new();
    world
        .coracle("run --name done --network=none -v used:/u VOLUME_IMAGE true")
        .ok();
    world
        .coracle("run -d --name up --network=none -v busy:/b IMAGE sleep 1000")
        .ok();
    world.coracle("volume create idle").ok();
    let names = |line: &str| {
        let done = world.coracle(line).run().stdout();
        let names = done
            .lines()
            .filter(|line| !line.starts_with("Total") && !line.starts_with("WOULD"));
        let words = |line: &str| {
            line.split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let anonymous = store::anonymous_volumes(&world);
        let mut all: Vec<String> = names
            .map(words)
            .map(
                |it| match anonymous.iter().find(|name| it.ends_with(*name)) {
                    Some(_) => "volume ANONYMOUS".to_owned(),
                    None if it.starts_with("container ")
                        || it.starts_with("folder ")
                        || it.starts_with("image ") =>
                    {
                        it.split(' ').next().unwrap().to_owned()
                    }
                    None => it,
                },
            )
            .collect();
        all.sort();
        all.join(", ")
    };
    let total = |line: &str| {
        let done = world.coracle(line).run().stdout();
        done.lines()
            .last()
            .unwrap()
            .rsplit(": ")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(names("volume prune --dry-run"), "");
    assert_eq!(names("volume prune -a --dry-run"), "volume idle");
    assert_eq!(names("volume rm -a --dry-run"), "volume idle");
    assert_eq!(names("volume rm idle --dry-run"), "volume idle");
    assert_eq!(
        names("volume rm -af --dry-run"),
        "container, container, volume ANONYMOUS, volume busy, volume idle, volume used"
    );
    world.coracle("volume rm -a --dry-run").fails(2);
    world.coracle("volume rm nosuch --dry-run").fails(1);
    assert_eq!(names("container prune --dry-run"), "container");
    assert_eq!(names("image prune -a --dry-run"), "image");
    assert_eq!(names("system prune --dry-run"), "container");
    assert_eq!(
        names("system prune -a --volumes --dry-run"),
        "container, image, image, volume ANONYMOUS, volume idle, volume used"
    );
    assert_eq!(
        names("system reset --dry-run"),
        "container, container, folder, folder, folder, image, image, image, volume ANONYMOUS, volume busy, volume idle, volume used"
    );
    assert_eq!(world.coracle("volume ls -q").stdout().lines().count(), 4);
    assert_eq!(world.coracle("ps -aq").stdout().lines().count(), 2);
    let announced = total("system prune -a --volumes --dry-run");
    let done = world.coracle("system prune -af --volumes").ok().stdout();
    for words in [
        "Deleted Containers\n",
        "Deleted Volumes\n",
        "Deleted Images\n",
        "idle\n",
    ] {
        assert!(done.contains(words), "{done}");
    }
    assert_eq!(
        done.lines().last().unwrap(),
        format!("Total reclaimed space: {announced}")
    );
    assert_eq!(world.coracle("volume ls -q").stdout(), "busy");
    assert_eq!(world.coracle("ps -aq").stdout().lines().count(), 1);
    assert_eq!(world.coracle("images -q").stdout().lines().count(), 1);
    let no = world.coracle("system prune -a --volumes").stdin("n\n").ok();
    assert!(no.stdout().starts_with("WARNING! This command removes:"));
    assert_eq!(store::wrong(&world), [""; 0]);
    world.coracle("rm -f -t 0 up").ok();
    world.coracle("volume rm busy").ok();
}
