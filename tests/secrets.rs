//! Secrets, where a recorded session cannot look: what lies on disk, under which rights,
//! and whatever else could show what a secret is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::world::{Need, World};

/// Every file beneath `folder` that has `words` in it.
fn having(folder: &Path, words: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            having(&path, words, found);
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes
                .windows(words.len())
                .any(|part| part == words.as_bytes())
        {
            found.push(path.to_string_lossy().into_owned());
        }
    }
}

#[test]
fn secrets_are_for_the_caller_alone() {
    let world = World::new();
    world
        .shell("printf hunter2 | coracle secret create token -")
        .ok();
    world.coracle("create --name c --secret token IMAGE").ok();
    let store = world.data();
    let folder = store.join("secrets");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join(":token")), 0o600);
    let id = world.coracle("inspect c --format {{.Id}}").stdout();
    let kept = store.join("containers").join(id.trim()).join("secrets");
    assert_eq!(mode(&kept), 0o700);
    assert_eq!(mode(&kept.join("0")), 0o600);
}

#[test]
fn nothing_else_shows_what_a_secret_is() {
    let world = World::new();
    if !world.needs(Need::Subuids) {
        return;
    }
    world
        .shell("printf 'hunter%s' 2 | coracle secret create token -")
        .ok();
    world
        .coracle("run -d --name c --network none --secret token --secret token,type=env,target=T IMAGE sleep 1000")
        .ok();
    assert_eq!(world.coracle("exec c sh -c 'echo $T'").stdout(), "hunter2");
    world.coracle("commit -q c made").ok();
    let id = world.coracle("inspect c --format {{.Id}}").stdout();
    let mut found = Vec::new();
    having(&world.data(), "hunter2", &mut found);
    found.sort();
    let own = format!("containers/{}/secrets/0", id.trim());
    let is_known = |path: &String| path.ends_with(&own) || path.ends_with("secrets/:token");
    assert!(found.len() == 2 && found.iter().all(is_known), "{found:?}");
    world.coracle("rm -f -t 0 c").ok();
    world.coracle("secret rm token").ok();
    let mut found = Vec::new();
    having(&world.data(), "hunter2", &mut found);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_secret_is_there_under_every_map() {
    let world = World::new();
    if !world.needs(Need::Subuids) {
        return;
    }
    world
        .shell("printf hunter2 | coracle secret create token -")
        .ok();
    for map in ["host", "keep-id", "nomap", "auto"] {
        let line = format!(
            "run --rm --network none --userns {map} --secret token IMAGE cat /run/secrets/token"
        );
        let said = world.coracle(&line).stdout();
        assert_eq!(said, "hunter2", "{map}");
    }
}

#[test]
fn of_many_who_make_one_secret_one_does() {
    let world = World::new();
    let line = "for n in 1 2 3 4 5 6 7 8; do (printf $n | coracle secret create s - >out.$n 2>err.$n) & done; wait; cat out.* | wc -l; cat err.* | grep -v ^Hint | sort -u";
    assert_eq!(
        world.shell(line).stdout(),
        "1\nError: s: secret name in use"
    );
    let line = "for n in 1 2 3 4 5 6 7 8; do (printf 0123456$n | coracle secret create --replace s - >/dev/null) & done; wait; coracle secret inspect --showsecret --format '{{.SecretData}}' s | cut -c1-7; coracle secret ls -q | wc -l";
    assert_eq!(world.shell(line).stdout(), "0123456\n1");
}
