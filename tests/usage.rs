//! Command lines that cannot be, and those that only ask.

use crate::world::registry::Registry;
use crate::world::{Done, World};
use crate::{assert_snapshot, needs};

#[test]
fn the_version_is_one_line_that_ends_in_podmans() {
    let world = World::empty();
    let line = world.coracle("--version").stdout();
    assert_eq!(line.lines().count(), 1);
    assert!(line.starts_with("coracle "), "{line}");
    assert!(line.ends_with(", podman version 5.8.6"), "{line}");
    // Ansible takes what follows the first `version`.
    assert_eq!(line.split("version").nth(1), Some(" 5.8.6"));
    let link = world.home().join("docker");
    std::os::unix::fs::symlink(crate::world::binary(), &link).unwrap();
    assert_eq!(world.shell("./docker -v").stdout(), "docker version 5.8.6");
    // podman-compose sends an empty word.
    assert_eq!(world.coracle("--version ''").stdout(), line);
}

#[test]
fn a_command_that_is_none_is_named() {
    let world = World::empty();
    assert_snapshot!(world.coracle("unshar true"), @"
    --- stderr
    Error: unrecognized command `coracle unshar`
    Try 'coracle --help' for more information
    Hint: did you mean `coracle unshare`?
    --- exit 125
    ");
    world
        .coracle("system nonsense")
        .fails(125)
        .says("unrecognized command `coracle system nonsense`");
}

#[test]
fn a_flag_that_is_none_is_named() {
    let world = World::empty();
    world
        .coracle("unshare --nonsense true")
        .fails(125)
        .says("unknown flag: --nonsense");
    world
        .coracle("--nonsense unshare true")
        .fails(125)
        .says("unknown flag: --nonsense");
}

#[test]
fn what_podman_has_and_we_do_not_yet_is_said() {
    let world = World::empty();
    world
        .coracle("--remote unshare true")
        .fails(125)
        .says("--remote is not supported by coracle yet");
}

#[test]
fn global_options_are_accepted_before_the_command() {
    let world = World::empty();
    world
        .coracle(
            "--log-level=debug --storage-driver overlay --cgroup-manager cgroupfs unshare true",
        )
        .ok();
    world.coracle("--remote=false unshare true").ok();
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let world = World::empty();
    let done = world
        .shell("set -o pipefail; coracle --help | head -n 1 >/dev/null")
        .ok();
    assert_eq!(done.stderr(), "");
    assert_eq!(world.shell("coracle --help >&-").ok().stderr(), "");
}

/// The hint beneath an error, if there is one.
fn hint(world: &World, line: &str) -> String {
    let done = world.coracle(line).run();
    assert_ne!(done.code, 0, "{line}");
    let said = done.stderr();
    assert!(said.contains("Error: "), "{line}: {said}");
    let hint = said.lines().find_map(|line| line.strip_prefix("Hint: "));
    hint.unwrap_or_default().to_owned()
}

#[test]
fn a_word_that_is_near_is_offered() {
    let world = World::new();
    world.coracle("create --name web IMAGE").ok();
    world.coracle("volume create results").ok();
    world.coracle("volume snapshot results before").ok();
    world.coracle("secret create token -").stdin("x").ok();
    for (line, meant) in [
        // Commands.
        ("rnu IMAGE", "coracle run"),
        ("volume crate", "coracle volume create"),
        ("vol", "coracle volume"),
        ("help rnu", "coracle run"),
        // Options and their values.
        ("run --netwrok none IMAGE", "--network"),
        ("--verison", "--version"),
        ("run --restart alwys IMAGE", "--restart always"),
        ("run --log-driver jurnald IMAGE", "--log-driver journald"),
        ("run --cap-add NET_ADMN IMAGE", "--cap-add NET_ADMIN"),
        ("run --userns=keepid IMAGE", "--userns keep-id"),
        ("kill -s TREM web", "--signal TERM"),
        ("ps --filter stauts=running", "--filter status="),
        ("volume ls --filter danglig=true", "--filter dangling="),
        ("images --sort siz", "--sort size"),
        ("completion bsh", "bash"),
        // Names.
        ("start wbe", "web"),
        ("rm wbe", "web"),
        ("exec wbe ls", "web"),
        ("inspect wbe", "web"),
        ("cp wbe:/etc/passwd .", "web"),
        ("run --network container:wbe IMAGE", "web"),
        ("volume rm resluts", "results"),
        ("volume inspect resluts", "results"),
        ("volume snapshot resluts", "results"),
        ("run --pull never tets", "test"),
        ("rmi tets", "test"),
        ("image inspect tets", "test"),
        ("diff wbe", "web"),
        ("secret rm tkoen", "token"),
        ("secret inspect tkoen", "token"),
        ("run --secret tkoen IMAGE", "token"),
        ("volume restore results befroe", "before"),
        ("run --pull always tets", "test"),
        ("run --pull never IMAge", "image"),
        // What stands within a value.
        ("ps --filter status=runing", "--filter status=running"),
        (
            "run --mount type=bnd,source=/tmp,target=/x IMAGE",
            "--mount type=bind,source=/tmp,target=/x",
        ),
        (
            "run --mount type=bind,sorce=/tmp,target=/x IMAGE",
            "--mount type=bind,source=/tmp,target=/x",
        ),
        ("run -v /tmp:/x:nocpoy IMAGE", "--volume /tmp:/x:nocopy"),
        ("ps -a --format {{.Stauts}}", "{{.Status}}"),
        ("ps -a --format 'table {{.ID}} {{.names}}'", "{{.Names}}"),
        ("inspect --format {{.State.Stats}} web", "{{.State.Status}}"),
        ("volume ls --format {{.Nmae}}", "{{.Name}}"),
        ("doctor --format {{.Verdit}}", "{{.Verdict}}"),
    ] {
        let meant = format!("did you mean `{meant}`?");
        assert_eq!(hint(&world, line), meant, "{line}");
    }
    // What is not near is not offered.
    for line in [
        "nonsense",
        "run --nonsense IMAGE",
        "start other",
        "rmi other",
        "run --restart x IMAGE",
        "ps -a --format {{.Nonsense}}",
        "secret rm other",
    ] {
        assert_eq!(hint(&world, line), "", "{line}");
    }
    // What Podman has is no slip.
    for line in [
        "pod ps",
        "network create x",
        "kube play x",
        "image trust show",
        "compose up",
    ] {
        world
            .coracle(line)
            .fails(125)
            .says("is not supported by coracle yet");
    }
    world.coracle("rm web").ok();
    world.coracle("secret rm token").ok();
}

#[test]
fn what_can_be_done_is_said() {
    let world = World::new();
    world.coracle("create --name web IMAGE").ok();
    world.coracle("volume create results").ok();
    world.file("token.txt", "x");
    world.coracle("secret create token token.txt").ok();
    world.folder("shut/folder");
    world.shell("chmod 0 shut").ok();
    for (line, words) in [
        ("create --name web IMAGE", "--replace"),
        ("attach web", "coracle start --attach"),
        ("volume create results", "--ignore"),
        ("secret create token token.txt", "--replace"),
        ("exec web ls", "coracle start"),
        ("run -v /nowhere:/x IMAGE", "mkdir -p /nowhere"),
        ("run -v ./shut/folder:/x IMAGE", "namei -l"),
        (
            "run -p 99:80 --network pasta IMAGE",
            "ip_unprivileged_port_start",
        ),
        ("rmi test", "coracle rm"),
        ("load -i /etc/passwd", "coracle import"),
    ] {
        let hint = hint(&world, line);
        assert!(hint.contains(words), "{line}: {hint:?}");
    }
    world.shell("chmod 700 shut").ok();
    world.coracle("rm web").ok();
    world.coracle("secret rm token").ok();
}

/// The first errors of a newcomer.
#[test]
fn what_a_newcomer_meets_says_what_to_do() {
    let world = World::new();
    needs!(world, Subuids, Pasta, Registry);
    let says = |done: &Done, words: &str| {
        let said = done.stderr();
        let hint = said.lines().find(|line| line.starts_with("Hint: "));
        assert!(hint.is_some_and(|it| it.contains(words)), "{words}: {said}");
    };
    // What stands in a wrong place, or is missing.
    world.coracle("create -q --name web IMAGE sleep 1").ok();
    for (line, words) in [
        ("run -p 8080", "usage: coracle run [options] IMAGE [COMMAND"),
        ("run IMAGE -it sh", "it stands before"),
        (
            "run --entrypoint sh -c IMAGE ls",
            "stands behind the image: ",
        ),
        ("run --rm --network none IMAGE slep 1", "`sleep`"),
        ("run --rm --network none IMAGE /etc", "a folder is none"),
        ("run -v data IMAGE true", "-v results:/data"),
        (
            "exec web",
            "usage: coracle exec [options] CONTAINER COMMAND",
        ),
        ("exec web ls", "`coracle start` it first"),
        ("cp web /tmp", "web:/path"),
        (
            "tag IMAGE",
            "usage: coracle tag IMAGE TARGET_NAME [TARGET_NAME...]",
        ),
        ("ps web", "--filter name=NAME"),
        ("build", "coracle build ."),
        ("pull http://localhost/x", "no http://"),
        ("rm", "usage: coracle rm [options] CONTAINER [CONTAINER...]"),
        ("prune", "`coracle system prune`"),
        ("docker ps", "`coracle ps`"),
        ("shell", "exec -it CONTAINER sh"),
    ] {
        says(&world.coracle(line).run(), words);
    }
    world.coracle("rm web").ok();
    // Nobody may make what another folder is to be mounted on.
    world.folder("mine");
    let line = "run --rm --network none -v /usr:/d -v ./mine:/d/coracle-test IMAGE true";
    let denied = world.coracle(line).fails(126);
    denied.says("creating `/d/coracle-test`: Permission denied: OCI permission denied");
    says(&denied, "make it yourself, or mount ");
    // A port that is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = format!("run --rm -p 127.0.0.1:{port}:80 IMAGE true");
    let busy = world.coracle(&line).fails(126);
    busy.says("address already in use");
    says(&busy, &format!("`ss -ltnp sport = :{port}`"));
    // A disk that is full.
    let full = world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(format!(
            "mkdir full; mount -t tmpfs -o size=1m tmpfs full; coracle --root ~/full load -i {}",
            crate::world::archive().display()
        ))
        .fails(125);
    full.says("no space left on device");
    says(&full, "coracle system prune");
    // Names that say no registry.
    let registry = Registry::start(&world);
    let host = &registry.host;
    let searched = |registries: &str| {
        let insecure = format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n");
        let text = format!("unqualified-search-registries = [{registries}]\n{insecure}");
        world.file(".config/containers/registries.conf", text);
    };
    searched(&format!("\"{host}\""));
    let unknown = world.coracle("run --rm nowhere").fails(125);
    says(&unknown, &format!("nowhere was taken for {host}/nowhere"));
    says(&world.coracle("run --rm tset").fails(125), "`test`");
    searched("");
    let unnamed = world.coracle("pull nowhere").fails(125);
    says(&unnamed, "name it in full, as docker.io/library/nowhere");
    // More ids than there are.
    let line = "run --rm --network none --user 4000000000 IMAGE true";
    let ids = world.coracle(line).fails(126);
    says(&ids, "usermod --add-subuids");
}

#[test]
fn help_is_short_or_long() {
    let world = World::empty();
    assert_snapshot!(world.coracle("volume exists -h"), @"
    Check if a volume exists

    Usage:
      coracle volume exists VOLUME

    `coracle volume exists --help` says more.
    ");
    let short = world.coracle("stop -h").stdout();
    let long = world.coracle("stop --help").stdout();
    assert!(short.contains("--time int"), "{short}");
    assert!(!short.contains("Examples:"), "{short}");
    for part in ["Description:\n", "Usage:\n", "Examples:\n", "Options:\n"] {
        assert!(long.contains(part), "{long}");
    }
    assert_eq!(world.coracle("help stop").stdout(), long);
    // Operands, words and defaults are Podman's.
    let run = world.coracle("run --help").stdout();
    for part in [
        "coracle run [options] IMAGE [COMMAND [ARG...]]\n",
        "  -e, --env stringArray  ",
        "  -m, --memory <number>[<unit>]  ",
        "(default \"missing\")",
    ] {
        assert!(run.contains(part), "{part}: {run}");
    }
    // The host's name to Podman's run, but by itself it can be no name.
    assert!(world.coracle("run -h").stdout().contains("coracle run ["));
    let named = world.coracle("run -h name").fails(125);
    named.says("requires at least 1 arg(s)");
    // On a terminal lines are broken between words.
    let (_, screen) = world.coracle("run --help").terminal().wait();
    for line in screen.lines() {
        // A word stays whole.
        let fits = line.chars().count() <= 80 || !line.trim().contains(' ');
        assert!(fits, "{line:?}");
    }
}
