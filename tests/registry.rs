//! Images from registries and to them: a real registry (docker-registry) of the
//! test's own, and one of its own making that lies, breaks off and stalls.

use std::sync::{Arc, Mutex};

use coracle::id::Digest;
use serde_json::{Value, json};

use crate::needs;
use crate::world::registry::{Answer, Fake, Image, PULL, Registry, Rule, is_empty, is_layer};
use crate::world::{World, layer};

#[test]
fn an_image_goes_to_a_registry_and_comes_back_to_the_byte() {
    let world = World::new();
    needs!(world, Registry);
    let registry = Registry::start(&world);
    let host = &registry.host;
    let push = world
        .coracle(&format!(
            "push --tls-verify=false --digestfile d IMAGE {host}/a/it:1"
        ))
        .ok();
    assert_eq!(push.stdout().trim_end().to_owned(), "");
    let digest = world.shell("cat d").stdout().trim_end().to_owned();
    world.coracle("rmi -fa").ok();
    let pull = world
        .coracle(&format!("pull --tls-verify=false {host}/a/it:1"))
        .ok();
    let id = world
        .coracle("images -q --no-trunc")
        .stdout()
        .trim_end()
        .to_owned();
    assert_eq!(
        format!("sha256:{}", pull.stdout().trim_end().to_owned()),
        id
    );
    let err = pull.stderr().trim_end().to_owned();
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines[0], format!("Trying to pull {host}/a/it:1..."));
    assert_eq!(lines[1], "Getting image source signatures");
    assert!(lines[2].starts_with("Copying blob sha256:"), "{err}");
    assert_eq!(lines[3], format!("Copying config {id}"));
    assert_eq!(lines[4], "Writing manifest to image destination");
    assert_eq!(
        world
            .coracle(&format!("run --rm --network=none {host}/a/it:1 echo works"))
            .stdout()
            .trim_end()
            .to_owned(),
        "works"
    );
    // Unchanged, it is the same manifest; the blob comes from the other repository.
    world
        .coracle(&format!(
            "push --tls-verify=false --digestfile d2 {host}/a/it:1 {host}/b/it:2"
        ))
        .ok();
    assert_eq!(world.shell("cat d2").stdout().trim_end().to_owned(), digest);
    // By digest, by tag and digest, several at once, all tags.
    let pull = world
        .coracle(&format!(
            "pull -q --tls-verify=false {host}/b/it@{digest} {host}/b/it:2@{digest}"
        ))
        .ok();
    assert_eq!(pull.stdout().trim_end().to_owned().lines().count(), 2);
    let all = world
        .coracle(&format!("pull -aq --tls-verify=false {host}/b/it"))
        .ok();
    assert_eq!(all.stdout().trim_end().to_owned().lines().count(), 1);
    let gone = world
        .coracle(&format!("pull --tls-verify=false {host}/b/it:3"))
        .fails(125);
    assert!(
        gone.stderr().trim_end().to_owned().contains(&format!(
            "Error: unable to copy from source docker://{host}/b/it:3: initializing source \
             docker://{host}/b/it:3: reading manifest 3 in {host}/b/it: manifest unknown"
        )),
        "{}",
        gone.stderr().trim_end().to_owned()
    );
    // zstd makes an OCI image; one whose files can be fetched one by one says where.
    let line = "push -q --tls-verify=false --compression-format zstd:chunked";
    let chunked = format!("{line} --digestfile d3 {host}/a/it:1 {host}/c/it:1");
    world.coracle(&chunked).ok();
    for part in ["manifest-checksum", "manifest-position"] {
        let annotation = format!("io.github.containers.zstd-chunked.{part}");
        world.shell("grep -rq \"$0\" registry").arg(annotation).ok();
    }
    // Pulled and pushed on, it stays that to the byte.
    let digest = world.shell("cat d3").stdout();
    world.coracle("rmi -fa").ok();
    for line in [
        format!("pull -q --tls-verify=false {host}/c/it:1"),
        format!("push -q --tls-verify=false --digestfile d4 {host}/c/it:1 {host}/d/it:1"),
        format!("pull -q --tls-verify=false {host}/a/it:1"),
    ] {
        world.coracle(&line).ok();
    }
    assert_eq!(world.shell("cat d4").stdout(), digest);
    world
        .coracle(&format!(
            "push -q --tls-verify=false --compression-format zstd {host}/a/it:1 {host}/z/it:1"
        ))
        .ok();
    world.coracle("rmi -fa").ok();
    assert_eq!(
        world
            .coracle(&format!(
                "run -q --rm --network=none --tls-verify=false {host}/z/it:1 echo works"
            ))
            .stdout()
            .trim_end()
            .to_owned(),
        "works"
    );
}

#[test]
fn a_login_is_kept_and_used() {
    let world = World::new();
    needs!(world, Registry);
    // bcrypt of "secret".
    let passwords = world.file(
        "htpasswd",
        "me:$2y$05$o9Elh7nRpjJKt6mulnhaF.SLotHy4qXaG1Pbh9mEJlSvwWiT7bekq\n",
    );
    let registry = Registry::with(
        &world,
        "",
        &format!(
            "auth: {{htpasswd: {{realm: x, path: {}}}}}\n",
            passwords.display()
        ),
    );
    let host = &registry.host;
    let login = format!("login --tls-verify=false -u me --password-stdin {host}");
    let failed = world.coracle(&login).stdin("wrong").fails(125);
    assert_eq!(
        failed.stderr().trim_end().to_owned(),
        format!("Error: logging into \"{host}\": invalid username/password")
    );
    assert_eq!(
        world
            .coracle(&login)
            .stdin("secret\n")
            .stdout()
            .trim_end()
            .to_owned(),
        "Login Succeeded!"
    );
    assert_eq!(
        world
            .coracle(&format!("login --get-login {host}"))
            .stdout()
            .trim_end()
            .to_owned(),
        "me"
    );
    let auth = world.runtime().join("containers/auth.json");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&auth).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    world
        .coracle(&format!("push -q --tls-verify=false IMAGE {host}/a/it:1"))
        .ok();
    world
        .coracle(&format!("pull -q --tls-verify=false {host}/a/it:1"))
        .ok();
    world.coracle(&format!("logout {host}")).ok();
    let failed = world
        .coracle(&format!("pull -q --tls-verify=false {host}/a/it:1"))
        .fails(125);
    assert!(
        failed
            .stderr()
            .trim_end()
            .to_owned()
            .ends_with("authentication required")
    );
    world
        .coracle(&format!(
            "pull -q --tls-verify=false --creds me:secret {host}/a/it:1"
        ))
        .ok();
    let failed = world.coracle(&format!("logout {host}")).fails(125);
    assert_eq!(
        failed.stderr().trim_end().to_owned(),
        format!("Error: not logged into {host}")
    );
    // A credential helper.
    let bin = world.file(
        "bin/docker-credential-test",
        "#!/bin/sh\necho '{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"secret\"}'\n",
    );
    world.shell("chmod +x bin/docker-credential-test").ok();
    world.file(".docker/config.json", r#"{"credsStore": "test"}"#);
    let path = format!(
        "{}:{}",
        bin.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    world
        .coracle(&format!("pull -q --tls-verify=false {host}/a/it:1"))
        .env("PATH", path)
        .ok();
    std::fs::remove_dir_all(auth.parent().unwrap()).unwrap();
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let (own, count) = (image.clone(), Mutex::new(0));
    let fake = Fake::new(image.clone(), move |asked, mut answer| {
        if is_layer(asked, &own) {
            let mut count = count.lock().unwrap();
            *count += 1;
            match *count {
                1 => answer.cut = Some(1000),
                2 => return Answer::status(503),
                3 => return Answer::status(429).header("retry-after", "0"),
                4 => answer.cut = Some(5000),
                _ => {}
            }
        }
        answer
    });
    world
        .coracle(&format!("{PULL} --retry 5 -q {}", fake.name()))
        .ok();
    let ranges: Vec<String> = fake
        .asked()
        .iter()
        .filter(|asked| is_layer(asked, &image))
        .map(|asked| asked.headers.get("range").cloned().unwrap_or_default())
        .collect();
    assert_eq!(ranges.len(), 5, "{ranges:?}");
    assert!(ranges[1].starts_with("bytes=1000-"), "{ranges:?}");
    assert!(ranges[4].starts_with("bytes=6000-"), "{ranges:?}");
    assert_eq!(
        world
            .coracle(&format!(
                "run --rm --network=none {} echo works",
                fake.name()
            ))
            .stdout()
            .trim_end()
            .to_owned(),
        "works"
    );
    // What is there costs one manifest.
    let before = fake.asked().len();
    world.coracle(&format!("{PULL} -q {}", fake.name())).ok();
    let asked: Vec<String> = fake.asked()[before..]
        .iter()
        .map(|it| it.line.clone())
        .filter(|line| line.starts_with("GET /v2/it/"))
        .collect();
    assert_eq!(asked, ["GET /v2/it/manifests/1"]);
}

#[test]
fn a_registry_that_lies_is_refused_and_nothing_stays() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let lies: Vec<(&str, Box<Rule>)> = vec![
        ("its digest is", {
            let image = image.clone();
            Box::new(move |asked, mut answer| {
                if is_layer(asked, &image) {
                    // Within the gzip header's time: it unpacks all the same.
                    answer.body[5] ^= 1;
                }
                answer
            })
        }),
        ("where the manifest says", {
            let image = image.clone();
            Box::new(move |asked, mut answer| {
                if is_layer(asked, &image) {
                    answer.body.extend(b"more");
                }
                answer
            })
        }),
        ("where the manifest says", {
            let image = image.clone();
            Box::new(move |asked, mut answer| {
                if is_layer(asked, &image) {
                    answer.body.truncate(100);
                }
                answer
            })
        }),
        ("size and digest", {
            let image = image.clone();
            Box::new(move |asked, mut answer| {
                if asked.line.contains("/blobs/") && !is_layer(asked, &image) {
                    answer.body.push(b' ');
                }
                answer
            })
        }),
        ("it is larger than", {
            Box::new(
                move |asked, answer| match asked.line.contains("/manifests/") {
                    true => Answer::ok(vec![b' '; 5 << 20]),
                    false => answer,
                },
            )
        }),
        ("read manifest", {
            Box::new(
                move |asked, answer| match asked.line.contains("/manifests/") {
                    true => Answer::ok("{\"schemaVersion\": 2, \"layers\": []"),
                    false => answer,
                },
            )
        }),
        ("duplicate field", {
            Box::new(move |asked, mut answer| {
                if asked.line.contains("/manifests/") {
                    let text = String::from_utf8(answer.body).unwrap();
                    answer.body = text.replacen('{', "{\"layers\": [],", 1).into();
                }
                answer
            })
        }),
        ("redirects too often", {
            Box::new(
                move |asked, answer| match asked.line.contains("/manifests/") {
                    true => Answer::status(302).header("location", "/v2/it/manifests/1"),
                    false => answer,
                },
            )
        }),
    ];
    for (words, lie) in lies {
        let fake = Fake::new(image.clone(), lie);
        let failed = world
            .coracle(&format!("{PULL} --retry 1 -q {}", fake.name()))
            .fails(125);
        let err = failed.stderr().trim_end().to_owned();
        assert!(err.contains(words), "{words}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        is_empty(&world);
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let world = World::empty();
    let many = Image::of(&vec![vec![0; 1024]; 501]);
    // A tar of zeros, all of it one file that is far too large.
    let mut wrong_id = Image::of(&[layer()]);
    let manifest: Value = serde_json::from_slice(&wrong_id.manifest).unwrap();
    let config = json!({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [String::from(Digest::of(b"x"))]}});
    wrong_id = wrong_id.finish(
        config.to_string().into_bytes(),
        manifest["layers"].as_array().unwrap(),
    );
    for (image, words) in [
        (many, "501 layers, where 500 are the most"),
        (wrong_id, "where the image says"),
    ] {
        let fake = Fake::new(image, |_, answer| answer);
        let failed = world
            .coracle(&format!("{PULL} -q {}", fake.name()))
            .fails(125);
        let err = failed.stderr().trim_end().to_owned();
        assert!(err.contains(words), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        is_empty(&world);
    }
}

#[test]
fn credentials_do_not_follow_a_redirect_and_tokens_are_asked_for() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let elsewhere = Fake::new(image.clone(), |_, answer| answer);
    let other = elsewhere.host.clone();
    let own = image.clone();
    let token = Fake::new(image.clone(), |asked, _| {
        match asked.headers.get("authorization").map(String::as_str) {
            Some("Basic bWU6c2VjcmV0") => Answer::ok(r#"{"token": "t0ken"}"#),
            _ => Answer::status(401),
        }
    });
    let realm = token.host.clone();
    let fake = Fake::new(image, move |asked, answer| {
        if asked.headers.get("authorization").map(String::as_str) != Some("Bearer t0ken") {
            return Answer::status(401).header(
                "www-authenticate",
                format!("Bearer realm=\"http://{realm}/token\",service=\"here\""),
            );
        }
        if is_layer(asked, &own) {
            let path = asked.line.split(' ').nth(1).unwrap();
            return Answer::status(307).header("location", format!("http://{other}{path}"));
        }
        answer
    });
    world
        .coracle(&format!("{PULL} -q --creds me:secret {}", fake.name()))
        .ok();
    let asked = token.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].line,
        "GET /token?account=me&service=here&scope=repository%3Ait%3Apull"
    );
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].headers.contains_key("authorization"), "{asked:?}");
    let failed = world
        .coracle(&format!("{PULL} -q --creds me:wrong {}", fake.name()))
        .fails(125);
    assert!(
        failed
            .stderr()
            .trim_end()
            .to_owned()
            .ends_with("invalid username/password"),
        "{}",
        failed.stderr().trim_end().to_owned()
    );
}

#[test]
fn of_two_pulls_one_fetches() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let (own, gate) = (image.clone(), Arc::new(std::sync::Barrier::new(2)));
    let open = gate.clone();
    let fake = Fake::new(image.clone(), move |asked, answer| {
        if is_layer(asked, &own) {
            // Until both have asked for the manifest.
            gate.wait();
        }
        answer
    });
    let line = format!("{PULL} -q {}", fake.name());
    let first = world.coracle(&line);
    let second = world.coracle(&line);
    let (first, second) = (first.spawn(), second.spawn());
    while fake
        .asked()
        .iter()
        .filter(|it| it.line.contains("/manifests/"))
        .count()
        < 2
    {
        std::thread::yield_now();
    }
    open.wait();
    assert_eq!(first.wait().code, 0);
    assert_eq!(second.wait().code, 0);
    let fetched = fake
        .asked()
        .iter()
        .filter(|it| is_layer(it, &image))
        .count();
    assert_eq!(fetched, 1);
}

#[test]
fn registries_conf_is_heeded() {
    let world = World::empty();
    let fake = Fake::new(Image::of(&[layer()]), |_, answer| answer);
    let host = &fake.host;
    world.file(
        ".config/containers/registries.conf",
        format!(
            "unqualified-search-registries = [\"nowhere.invalid\", \"{host}\"]\n\
             [aliases]\nshort = \"far.invalid/it\"\n\
             [[registry]]\nlocation = \"{host}\"\ninsecure = true\n\
             [[registry]]\nlocation = \"nowhere.invalid\"\nblocked = true\n\
             [[registry]]\nlocation = \"far.invalid\"\n\
             [[registry.mirror]]\nlocation = \"{host}\"\ninsecure = true\n"
        ),
    );
    let pull = world.coracle("pull short:1").ok();
    assert!(
        pull.stderr()
            .trim_end()
            .to_owned()
            .starts_with("Resolved \"short\" as an alias ("),
        "{}",
        pull.stderr().trim_end().to_owned()
    );
    assert!(
        world
            .coracle("images")
            .stdout()
            .trim_end()
            .to_owned()
            .contains("far.invalid/it")
    );
    world.coracle("pull -q it:1").ok();
    let blocked = world.coracle("pull -q nowhere.invalid/it:1").fails(125);
    assert!(
        blocked.stderr().trim_end().to_owned().contains("blocked"),
        "{}",
        blocked.stderr().trim_end().to_owned()
    );
    world.file(
        ".config/containers/policy.json",
        r#"{"default": [{"type": "reject"}]}"#,
    );
    let rejected = world.coracle(&format!("pull -q {host}/it:1")).fails(125);
    assert_eq!(
        rejected.stderr().trim_end().to_owned(),
        format!(
            "Error: Source image rejected: Running image docker://{host}/it:1 is rejected by policy."
        )
    );
}

#[test]
fn a_short_name_that_may_mean_several() {
    let world = World::empty();
    let fake = Fake::new(Image::of(&[layer()]), |_, answer| answer);
    let host = &fake.host;
    let configure = |mode: &str| {
        let text = format!(
            "unqualified-search-registries = [\"nowhere.invalid\", \"{host}\"]\n\
             short-name-mode = \"{mode}\"\n\
             [[registry]]\nlocation = \"{host}\"\ninsecure = true\n\
             [[registry]]\nlocation = \"nowhere.invalid\"\nblocked = true\n"
        );
        world.file(".config/containers/registries.conf", text);
    };
    configure("no-such");
    let wrong = world.coracle("pull -q it:1").fails(125);
    wrong.says("invalid short-name mode: \"no-such\"");
    configure("enforcing");
    let unasked = world.coracle("pull -q it:1").fails(125);
    assert_eq!(
        unasked.stderr().trim_end(),
        "Error: short-name resolution enforced but cannot prompt without a TTY"
    );
    // Who can answer is asked, once: the answer is remembered as Podman does.
    let mut asked = world.coracle("pull it:1").terminal();
    asked
        .shows("Please select an image:")
        .shows(&format!("2) {host}/it:1"))
        .shows("[1]: ")
        .types("7\r")
        .shows("[1]: ")
        .types("2\r");
    let (code, screen) = asked.wait();
    assert_eq!(code, 0, "{screen}");
    let remembered = world
        .home()
        .join(".cache/containers/short-name-aliases.conf");
    assert_eq!(
        std::fs::read_to_string(&remembered).unwrap(),
        format!("[aliases]\n  \"it\" = \"{host}/it\"\n")
    );
    let again = world.coracle("pull it:1").ok();
    again.says("Resolved \"it\" as an alias (");
    std::fs::remove_file(&remembered).unwrap();
    for mode in ["permissive", "disabled"] {
        configure(mode);
        let all = world.coracle("pull it:1").ok();
        all.says("Resolving \"it\" using unqualified-search registries (");
        all.says(&format!("Trying to pull {host}/it:1..."));
    }
}

#[test]
fn run_pulls_as_its_policy_says() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let fake = Fake::new(image, |_, answer| answer);
    let name = fake.name();
    let never = world
        .coracle(&format!("run --rm --network=none --pull=never {name} true"))
        .fails(125);
    assert_eq!(
        never.stderr().trim_end().to_owned(),
        format!("Error: {name}: image not known")
    );
    assert!(fake.asked().is_empty());
    let run = |policy: &str| {
        let before = fake.asked().len();
        world
            .coracle(&format!(
                "run --rm --network=none -q --tls-verify=false --pull={policy} {name} true"
            ))
            .ok();
        fake.asked().len() > before
    };
    assert!(run("missing"));
    assert!(!run("missing"));
    assert!(run("always"));
    assert!(run("newer"));
    assert!(!run("never"));
    // Of what is not newer nothing is said but its id.
    let newer = format!("pull --tls-verify=false --policy=newer {name}");
    assert_eq!(world.coracle(&newer).ok().stderr(), "");
}

#[test]
fn a_clone_pulls_the_image_it_is_given() {
    let world = World::new();
    needs!(world, Registry);
    let registry = Registry::start(&world);
    let host = &registry.host;
    world.file(
        ".config/containers/registries.conf",
        format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"),
    );
    world.coracle(&format!("push -q IMAGE {host}/it:1")).ok();
    world
        .coracle("create --name one --network none IMAGE echo hello")
        .ok();
    let made = world
        .coracle(&format!("container clone one two {host}/it:1"))
        .ok();
    assert!(
        made.stderr().contains("Trying to pull"),
        "{}",
        made.stderr()
    );
    assert_eq!(made.stdout().trim_end().len(), 64);
    assert_eq!(world.coracle("start -a two").stdout(), "hello");
    assert_eq!(
        world
            .coracle("inspect two --format {{.ImageName}}")
            .stdout(),
        format!("{host}/it:1")
    );
    world
        .coracle(&format!("container clone one three {host}/none:1"))
        .fails(125)
        .says("manifest unknown");
    world.coracle("ps -a --format {{.Names}}").ok();
    world.coracle("rm one two").ok();
}
