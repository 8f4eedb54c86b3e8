//! Images to files, and files of others to images.

use std::path::Path;

use coracle::id::Digest;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::needs;
use crate::world::{World, archive, names};

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}"))
}

/// The members of a tar, in order.
fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (name, content)
    };
    archive.entries().unwrap().map(read).collect()
}

fn member<'a>(members: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    let found = members.iter().find(|(it, _)| it == name);
    &found.unwrap_or_else(|| panic!("there is no {name}")).1
}

fn id(world: &World, name: &str) -> String {
    world
        .coracle("image inspect --format {{.Id}}")
        .arg(name)
        .stdout()
}

/// Everything that must not change on the way: layers, config, what is run.
fn identity(world: &World, name: &str) -> String {
    let format = "{{.Id}} {{.RootFS.Layers}} {{.Config.Env}} {{.Config.User}} {{.Created}}";
    world
        .coracle("image inspect --format")
        .args([format, name])
        .stdout()
}

#[test]
fn every_layout_keeps_the_image() {
    let world = World::new();
    let before = identity(&world, "USER_IMAGE");
    let layouts = [
        ("docker-archive", "", "a"),
        ("oci-archive", "", "a"),
        ("oci-archive", "--uncompressed", "a"),
        ("oci-dir", "", "d"),
        ("oci-dir", "--uncompressed", "d"),
        ("docker-dir", "", "d"),
        ("docker-dir", "--compress", "d"),
    ];
    for (at, (layout, flags, kind)) in layouts.iter().enumerate() {
        let line = format!("save -q --format {layout} {flags} -o {kind}{at} USER_IMAGE");
        assert_eq!(world.coracle(&line).stdout(), "", "{line}");
    }
    // Where nothing is known of it.
    let other = World::empty();
    for (at, (layout, _, kind)) in layouts.iter().enumerate() {
        let path = world.home().join(format!("{kind}{at}"));
        let loaded = other.coracle("load -q -i").arg(&path).stdout();
        let name = loaded.strip_prefix("Loaded image: ").unwrap();
        let is_named = *kind == "a";
        assert_eq!(
            name == "localhost/user:latest",
            is_named,
            "{layout}: {name}"
        );
        assert_eq!(identity(&other, name), before, "{layout}");
        let script = "stat -c '%n %u:%g %a' /data/seed /home/user; id -u";
        if other.needs(crate::world::Need::Subuids) {
            let shown = other
                .coracle("run --rm --network=none")
                .arg(name)
                .args(["sh", "-c", script])
                .stdout();
            assert_eq!(
                shown,
                "/data/seed 1000:1000 640\n/home/user 1000:1000 750\n1000"
            );
        }
        other.coracle("rmi -fa").ok();
        assert!(names(&other.data().join("layers")).is_empty());
    }
    // No file of the way is left beside.
    assert!(names(&world.home()).iter().all(|it| !it.contains(".a")));
}

#[test]
fn a_docker_archive_is_laid_out_as_podman_does() {
    let world = World::new();
    let saved = world.coracle("save IMAGE").ok().out;
    let id = id(&world, "IMAGE");
    let members = members(&saved);
    let manifest = json(member(&members, "manifest.json"));
    let layer = manifest[0]["Layers"][0].as_str().unwrap().to_owned();
    let top = members[2].0.strip_suffix("/layer.tar").unwrap();
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            &layer,
            &format!("{id}.json"),
            &format!("{top}/layer.tar"),
            &format!("{top}/VERSION"),
            &format!("{top}/json"),
            "manifest.json",
            "repositories"
        ]
    );
    assert_eq!(
        manifest,
        json!([{"Config": format!("{id}.json"), "RepoTags": ["localhost/test:latest"], "Layers": [layer]}])
    );
    assert_eq!(
        json(member(&members, "repositories")),
        json!({"localhost/test": {"latest": top}})
    );
    assert_eq!(format!("{}.tar", Digest::of(&members[0].1).hex()), layer);
    assert_eq!(Digest::of(&members[1].1).hex(), id);
    assert_eq!(json(&members[4].1)["id"], top);
    // What follows on stdout follows.
    world
        .shell("{ coracle save -q localhost/test; printf end; } > both")
        .ok();
    let both = std::fs::read(world.home().join("both")).unwrap();
    assert!(both == [&saved[..], b"end"].concat());
    // A file is the same, byte by byte, whoever writes it and wherever to.
    world.coracle("save -o file.tar IMAGE").ok();
    assert!(std::fs::read(world.home().join("file.tar")).unwrap() == saved);
}

#[test]
fn names_behind_the_first_are_tags_or_images() {
    let world = World::new();
    let tags = |line: &str| -> Vec<Value> {
        let saved = world.coracle(line).ok().out;
        let manifest = json(member(&members(&saved), "manifest.json"));
        let items = manifest.as_array().unwrap().iter();
        items.map(|item| item["RepoTags"].clone()).collect()
    };
    assert_eq!(
        tags("save -q IMAGE more:1 team/app"),
        [json!([
            "localhost/more:1",
            "localhost/team/app:latest",
            "localhost/test:latest"
        ])]
    );
    assert_eq!(
        tags(&format!("save -q {}", id(&world, "IMAGE"))),
        [json!([])]
    );
    world.coracle("tag IMAGE again:2").ok();
    let several = [
        json!(["localhost/test:latest", "localhost/again:2"]),
        json!(["localhost/user:latest"]),
    ];
    assert_eq!(tags("save -q -m IMAGE USER_IMAGE again:2"), several);
    world.file(
        ".config/containers/containers.conf",
        "[engine]\nmulti_image_archive = true\n",
    );
    assert_eq!(tags("save -q IMAGE USER_IMAGE again:2"), several);
    assert_eq!(
        tags("save -q --multi-image-archive=false IMAGE again:2").len(),
        1
    );
}

#[test]
fn what_cannot_be_is_said_in_podmans_words() {
    let world = World::new();
    world.file("full", "x");
    world.file("important/x", "x");
    for (line, words) in [
        ("save", "need at least 1 argument"),
        ("save -q -o x nothing", "nothing: image not known"),
        ("save -q -m -o x IMAGE nothing", "nothing: image not known"),
        (
            "save -o x:y IMAGE",
            "invalid filename (should not contain ':') \"x:y\"",
        ),
        (
            "save --format tar -o x IMAGE",
            "format value must be one of oci-dir oci-archive docker-dir docker-archive",
        ),
        (
            "save --compress -o x IMAGE",
            "--compress can only be set when --format is 'docker-dir'",
        ),
        (
            "save -m --format oci-archive -o x IMAGE USER_IMAGE",
            "unsupported format \"oci-archive\" for saving multiple images (only docker-archive)",
        ),
        (
            "save -q -o full IMAGE",
            "docker-archive doesn't support modifying existing images",
        ),
        (
            "save -q --format docker-dir -o important IMAGE",
            "initializing destination dir:important: not a containers image directory, don't want to overwrite important data",
        ),
        (
            "save -q --format docker-dir -o full IMAGE",
            "full: not a directory",
        ),
        (
            "save -q -o none/x IMAGE",
            "opening file \"none/x\": no such file or directory",
        ),
        (
            "save -q -o important IMAGE",
            "opening file \"important\": is a directory",
        ),
        ("save -q -o /dev/full IMAGE", "no space left on device"),
    ] {
        world.coracle(line).fails(125).says(words);
    }
    let full = world
        .shell("coracle save -q localhost/test >/dev/full")
        .fails(125);
    full.says("no space left on device");
    world
        .shell("set -o pipefail; coracle save -q localhost/test | true")
        .fails(125)
        .says("broken pipe");
    let (code, screen) = world.coracle("save IMAGE").terminal().wait();
    assert_eq!(code, 125);
    assert!(screen.contains("refusing to save to terminal. Use -o flag or redirect"));
    let mut left = names(&world.home());
    left.retain(|it| !it.starts_with(".local") && it != "full" && it != "important");
    assert!(left.iter().all(|it| !it.contains('x')), "{left:?}");
}

#[test]
fn folders_that_are_there_are_added_to_or_replaced() {
    let world = World::new();
    world
        .coracle("save -q --format oci-dir -o layout IMAGE")
        .ok();
    world
        .coracle("save -q --format oci-dir -o layout USER_IMAGE")
        .ok();
    world
        .coracle("save -q --format oci-dir -o layout IMAGE")
        .ok();
    let index = json(&std::fs::read(world.home().join("layout/index.json")).unwrap());
    let manifests = index["manifests"].as_array().unwrap();
    let found: Vec<&str> = manifests
        .iter()
        .map(|it| {
            it["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(found, ["localhost/user:latest", "localhost/test:latest"]);
    world.folder("dir");
    for name in ["IMAGE", "USER_IMAGE"] {
        world
            .coracle("save -q --format docker-dir -o dir")
            .arg(name)
            .ok();
    }
    // Layer, config, manifest.json, version: what was the other's is gone.
    assert_eq!(names(&world.home().join("dir")).len(), 4);
    assert!(
        world
            .home()
            .join("dir")
            .join(id(&world, "USER_IMAGE"))
            .exists()
    );
}

/// The first layer's file of this name.
fn in_layers(world: &World, path: &str) -> std::path::PathBuf {
    let layers = world.data().join("layers");
    let mut found = std::fs::read_dir(layers).unwrap().flatten();
    let found =
        found.find_map(|it| Some(it.path().join("diff").join(path)).filter(|it| it.exists()));
    found.unwrap()
}

#[test]
fn a_layer_that_has_changed_is_no_archive() {
    let world = World::new();
    let file = in_layers(&world, "etc/passwd");
    let mut content = std::fs::read(&file).unwrap();
    content[0] ^= 1;
    std::fs::write(&file, content).unwrap();
    for line in ["save -q -o x IMAGE", "save -q --format oci-dir -o x IMAGE"] {
        world
            .coracle(line)
            .fails(125)
            .says("has changed on the disk");
        assert!(!world.home().join("x").exists());
    }
    assert!(names(&world.home()).iter().all(|it| !it.contains('x')));
}

#[test]
fn what_is_interrupted_leaves_nothing() {
    let world = World::new();
    for line in [
        "save -q -o out IMAGE",
        "save -q --format oci-dir -o out IMAGE",
        "save -q --format oci-archive -o out IMAGE",
    ] {
        for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
            let running = world.coracle(line).spawn();
            // At whatever moment: whole, or not there.
            running.signal(signal);
            running.wait();
            world.wait_for_processes();
            let is_killed_folder = signal == Signal::KILL && line.contains("dir");
            for name in names(&world.home()).iter().filter(|it| it.contains("out")) {
                let path = world.home().join(name);
                if name == "out" {
                    world.coracle("load -q -i out").ok();
                } else {
                    assert!(is_killed_folder, "{line} {signal:?} left {name}");
                }
                match path.is_dir() {
                    true => std::fs::remove_dir_all(path).unwrap(),
                    false => std::fs::remove_file(path).unwrap(),
                }
            }
        }
    }
    // What a kill left in the store is swept by the next command.
    world.coracle("rmi -fa").ok();
}

#[test]
fn owners_come_back_from_where_only_one_id_was_mapped() {
    let world = World::empty();
    needs!(world, Subuids);
    let script = "mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid; \
         coracle load -q -i $ARCHIVE; coracle save -q -o alone.tar localhost/test";
    world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
        .env("ARCHIVE", archive())
        .ok();
    let whole = std::fs::read(world.home().join("alone.tar")).unwrap();
    let other = World::new();
    assert!(other.coracle("save -q IMAGE").ok().out == whole);
}

/// A layer, gzip or not, and its digest and diff id.
fn layer(compress: bool) -> (Vec<u8>, Digest, Digest) {
    let tar = crate::world::layer();
    let diff_id = Digest::of(&tar);
    let bytes = match compress {
        false => tar,
        true => {
            let level = flate2::Compression::fast();
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
            std::io::Write::write_all(&mut gzip, &tar).unwrap();
            gzip.finish().unwrap()
        }
    };
    let digest = Digest::of(&bytes);
    (bytes, digest, diff_id)
}

fn config(diff_id: &Digest, more: Value) -> Vec<u8> {
    let mut config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id.as_str()]},
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    serde_json::to_vec(&config).unwrap()
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn blob(root: &Path, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    write(root, &format!("blobs/sha256/{}", digest.hex()), bytes);
    json!({"digest": digest.as_str(), "size": bytes.len()})
}

/// A descriptor with its media type.
fn typed(mut descriptor: Value, media_type: &str) -> Value {
    descriptor["mediaType"] = json!(media_type);
    descriptor
}

/// OCI's layout as one of the peers writes it; `shape` says how it differs.
fn layout(root: &Path, peer: &str) {
    let oci = |kind: &str| format!("application/vnd.oci.image.{kind}");
    let (bytes, _, diff_id) = layer(peer != "umoci plain");
    let suffix = if peer == "umoci plain" { "" } else { "+gzip" };
    let layer = typed(blob(root, &bytes), &oci(&format!("layer.v1.tar{suffix}")));
    let config = match peer {
        // Times with nanoseconds and a zone, a history of empty layers.
        "buildah" => config(
            &diff_id,
            json!({"created": "2024-02-03T04:05:06.123456789+02:00",
                   "history": [{"created_by": "/bin/sh -c #(nop) ADD", "empty_layer": true}, {"created_by": "x"}]}),
        ),
        _ => config(&diff_id, json!({"author": "someone"})),
    };
    let config = typed(blob(root, &config), &oci("config.v1+json"));
    let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    if peer != "umoci" && peer != "umoci plain" {
        manifest["mediaType"] = json!(oci("manifest.v1+json"));
    }
    if peer == "buildah" {
        manifest["annotations"] = json!({"org.opencontainers.image.base.name": ""});
    }
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut manifest = typed(blob(root, &manifest), &oci("manifest.v1+json"));
    match peer {
        "buildx" => {
            // An index in the index, with an attestation that is no image.
            let statement = blob(root, b"{}");
            let attestation = json!({"schemaVersion": 2, "mediaType": oci("manifest.v1+json"),
                "config": typed(statement.clone(), &oci("config.v1+json")),
                "layers": [typed(statement, "application/vnd.in-toto+json")]});
            let attestation = serde_json::to_vec(&attestation).unwrap();
            let mut attestation = typed(blob(root, &attestation), &oci("manifest.v1+json"));
            attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
            manifest["platform"] = json!({
                "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
                "os": "linux"});
            let inner = serde_json::to_vec(&json!({"schemaVersion": 2,
                "mediaType": oci("index.v1+json"), "manifests": [manifest, attestation]}))
            .unwrap();
            manifest = typed(blob(root, &inner), &oci("index.v1+json"));
            manifest["annotations"] = json!({
                "io.containerd.image.name": "example.com/app:1",
                "org.opencontainers.image.ref.name": "1"});
        }
        "umoci" | "umoci plain" => {
            manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        }
        _ => {
            manifest["annotations"] =
                json!({"org.opencontainers.image.ref.name": "example.com/app:1"});
        }
    }
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    write(root, "index.json", &serde_json::to_vec(&index).unwrap());
    write(root, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
}

fn docker_dir(root: &Path, compress: bool) {
    let (bytes, digest, diff_id) = layer(compress);
    let config = config(
        &diff_id,
        json!({"docker_version": "20.10", "container": "0"}),
    );
    let docker = |kind: &str| format!("application/vnd.docker.{kind}");
    let suffix = if compress { ".gzip" } else { "" };
    let manifest = json!({"schemaVersion": 2,
        "mediaType": docker("distribution.manifest.v2+json"),
        "config": {"mediaType": docker("container.image.v1+json"), "size": config.len(),
                   "digest": Digest::of(&config).as_str()},
        "layers": [{"mediaType": docker(&format!("image.rootfs.diff.tar{suffix}")),
                    "size": bytes.len(), "digest": digest.as_str()}]});
    write(root, digest.hex(), &bytes);
    write(root, Digest::of(&config).hex(), &config);
    write(
        root,
        "manifest.json",
        &serde_json::to_vec(&manifest).unwrap(),
    );
    write(root, "version", b"Directory Transport Version: 1.1\n");
}

/// docker-archive as `docker save` wrote it for years: a folder a layer, names of
/// layers that are links, and gzip where skopeo copied a compressed one.
fn docker_save(root: &Path, shape: &str) {
    let (bytes, _, diff_id) = layer(shape == "skopeo gzip");
    let config = config(&diff_id, json!({}));
    let config_name = format!("{}.json", Digest::of(&config).hex());
    write(root, &config_name, &config);
    let layer = match shape {
        "docker 20" => "0123/layer.tar".to_owned(),
        // Docker 25: a layout of OCI's with a manifest.json beside it.
        "docker 25" => format!("blobs/sha256/{}", diff_id.hex()),
        _ => format!("{}.tar", diff_id.hex()),
    };
    match shape {
        "docker linked" => {
            write(root, "first/layer.tar", &bytes);
            std::os::unix::fs::symlink("first/layer.tar", root.join(&layer)).unwrap();
        }
        _ => write(root, &layer, &bytes),
    }
    let item = json!([{"Config": config_name, "RepoTags": ["example.com/app:1"], "Layers": [layer],
                       "LayerSources": {}}]);
    write(root, "manifest.json", &serde_json::to_vec(&item).unwrap());
    write(root, "repositories", b"{}");
}

#[test]
fn what_the_peers_write_is_loaded() {
    let world = World::new();
    let shapes = [
        "podman",
        "skopeo",
        "buildah",
        "umoci",
        "umoci plain",
        "buildx",
        "dir",
        "dir plain",
        "docker 20",
        "docker 25",
        "docker linked",
        "skopeo gzip",
    ];
    for shape in shapes {
        let root = world.folder(&format!("peer {shape}"));
        let is_layout = !shape.starts_with("d") && shape != "skopeo gzip";
        match shape {
            "dir" | "dir plain" => docker_dir(&root, shape == "dir"),
            _ if is_layout => layout(&root, shape),
            _ => docker_save(&root, shape),
        }
        world
            .shell("cd \"$0\" && tar -cf ../packed.tar * && tar -czf ../packed.tgz .")
            .arg(&root)
            .ok();
        let inputs: &[&Path] = match () {
            () if shape.starts_with("dir") => &[&root],
            () if is_layout => &[&root, Path::new("packed.tar"), Path::new("packed.tgz")],
            () => &[Path::new("packed.tar"), Path::new("packed.tgz")],
        };
        for input in inputs {
            let loaded = world.coracle("load -q -i").arg(input).ok().stdout();
            let name = loaded
                .trim()
                .strip_prefix("Loaded image: ")
                .unwrap_or_else(|| {
                    panic!("{shape} {}: {loaded:?}", input.display());
                });
            let shown = world
                .coracle("run --rm --network=none")
                .arg(name)
                .args(["echo", "works"])
                .stdout();
            assert_eq!(shown, "works", "{shape}");
            // What came so goes out again, and is the same image.
            let id = id(&world, name);
            let saved = world
                .coracle("save -q --format oci-archive")
                .arg(name)
                .ok()
                .out;
            world.coracle("rmi -f").arg(name).ok();
            world.coracle("load -q").stdin(saved).ok();
            world.coracle("image exists").arg(&id).ok();
            world.coracle("rmi -f").arg(&id).ok();
        }
    }
}

/// What the programs here make of what we write.
#[test]
fn the_peers_read_what_we_write() {
    let world = World::new();
    let has = |program: &str| world.shell(&format!("command -v {program}")).run().code == 0;
    world
        .coracle("save -q --format oci-dir -o layout USER_IMAGE")
        .ok();
    world
        .coracle("save -q --format oci-archive -o oci.tar USER_IMAGE")
        .ok();
    world.coracle("save -q -o docker.tar USER_IMAGE").ok();
    world
        .coracle("save -q --format docker-dir --compress -o dir USER_IMAGE")
        .ok();
    let id = id(&world, "USER_IMAGE");
    if has("skopeo") {
        for source in [
            "oci:layout",
            "oci-archive:oci.tar",
            "docker-archive:docker.tar",
            "dir:dir",
        ] {
            let shown = world.shell("skopeo inspect --raw \"$0\"").arg(source).ok();
            assert!(shown.stdout().contains(&id), "{source}");
            world
                .shell("skopeo --insecure-policy copy -q \"$0\" oci-archive:\"$1\"")
                .args([source, &source.replace(':', ".")])
                .ok();
            world
                .coracle("load -q -i")
                .arg(source.replace(':', "."))
                .ok();
        }
    }
    if has("umoci") {
        let tag = "layout:localhost/user:latest";
        let line =
            "umoci stat --image \"$0\" >/dev/null && umoci unpack --rootless --image \"$0\" bundle";
        // Names with slashes are none of umoci's.
        if world.shell(line).arg(tag).run().code == 0 {
            assert!(world.home().join("bundle/rootfs/data/seed").exists());
        }
    }
}
