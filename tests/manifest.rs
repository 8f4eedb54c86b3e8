//! Manifest lists: made, changed, sent to a real registry and taken from it.

use coracle::id::Digest;
use serde_json::{Value, json};

use crate::needs;
use crate::world::registry::Registry;
use crate::world::{Cmd, World, names};

fn ours() -> &'static str {
    match cfg!(target_arch = "aarch64") {
        true => "arm64",
        false => "amd64",
    }
}

/// An architecture that this machine is not.
fn other() -> &'static str {
    match cfg!(target_arch = "aarch64") {
        true => "amd64",
        false => "arm64",
    }
}

fn inspect(world: &World, list: &str) -> Value {
    let shown = world
        .coracle("manifest inspect --tls-verify=false")
        .arg(list)
        .ok();
    serde_json::from_slice(&shown.out).unwrap()
}

fn get(world: &World, what: &str, name: &str) -> String {
    let format = format!("{{{{.{what}}}}}");
    world
        .coracle("image inspect --format")
        .args([&format, name])
        .stdout()
}

/// A list of two images, one for a machine that this is not.
fn two(world: &World) {
    world.coracle("manifest create two").ok();
    world.coracle("manifest add two IMAGE").ok();
    let line = format!(
        "manifest add --arch {} --variant v8 --annotation k=v two USER_IMAGE",
        other()
    );
    world.coracle(&line).ok();
}

#[test]
fn a_list_is_made_shown_changed_and_removed() {
    let world = World::new();
    let id = world.coracle("manifest create two").stdout();
    assert_eq!(id.len(), 64);
    assert_eq!(
        inspect(&world, "two"),
        json!({"schemaVersion": 2,
               "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
               "manifests": null})
    );
    world
        .coracle("manifest create two")
        .fails(125)
        .says("image name \"localhost/two:latest\" is already associated with image");
    assert_eq!(
        world.coracle("manifest create --amend two IMAGE").stdout(),
        id
    );
    let line = format!(
        "manifest add --arch {} --variant v8 --os-version 1 --annotation k=v two USER_IMAGE",
        other()
    );
    assert_eq!(world.coracle(&line).stdout(), id);
    let (one, two) = (
        get(&world, "Digest", "IMAGE"),
        get(&world, "Digest", "USER_IMAGE"),
    );
    let shown = inspect(&world, "two");
    assert_eq!(
        shown["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(shown["manifests"][0]["digest"], one);
    assert_eq!(
        shown["manifests"][0]["platform"],
        json!({"architecture": ours(), "os": "linux"})
    );
    assert_eq!(shown["manifests"][1]["digest"], two);
    assert_eq!(
        shown["manifests"][1]["platform"],
        json!({"architecture": other(), "os": "linux", "os.version": "1", "variant": "v8"})
    );
    assert_eq!(shown["manifests"][1]["annotations"], json!({"k": "v"}));
    // By digest and by an image that it is.
    for (what, key) in [(two.as_str(), "a"), ("user", "b")] {
        let line = format!("manifest annotate --annotation {key}=1 --os-features x two {what}");
        world.coracle(&line).ok();
    }
    world
        .coracle("manifest annotate --index --annotation top=1 two")
        .ok();
    let shown = inspect(&world, "two");
    assert_eq!(shown["annotations"], json!({"top": "1"}));
    assert_eq!(
        shown["manifests"][1]["annotations"],
        json!({"a": "1", "b": "1", "k": "v"})
    );
    assert_eq!(
        shown["manifests"][1]["platform"]["os.features"],
        json!(["x"])
    );
    // Among images it is one; its name stands for the image of this machine.
    let lists = "images --no-trunc --format {{.Repository}}|{{.IsManifestList}} --filter";
    assert_eq!(
        world.coracle(&format!("{lists} manifest=true")).stdout(),
        "localhost/two|true"
    );
    assert!(
        !world
            .coracle(&format!("{lists} manifest=false"))
            .stdout()
            .contains("two")
    );
    assert_eq!(get(&world, "Id", "two"), get(&world, "Id", "IMAGE"));
    assert_eq!(
        world
            .coracle("run --rm --network=none two echo works")
            .stdout(),
        "works"
    );
    world.coracle("manifest exists two").ok();
    world.coracle("manifest exists none").fails(1);
    world
        .coracle("manifest exists IMAGE")
        .fails(125)
        .says("localhost/test:latest: image is not a manifest list");
    assert_eq!(world.coracle("manifest remove two").arg(&one).stdout(), id);
    world
        .coracle("manifest remove two")
        .arg(&one)
        .fails(125)
        .says("no instance matching digest");
    let words = format!(
        "no image found in image index for architecture \"{}\"",
        ours()
    );
    world.coracle("image inspect two").fails(125).says(&words);
    // Names go one by one, the list with the last; its images stay.
    world.coracle("tag two again").ok();
    assert_eq!(
        world.coracle("manifest rm two").stdout(),
        "Untagged: localhost/two:latest"
    );
    assert_eq!(
        world.coracle("rmi again").stdout(),
        format!("Untagged: localhost/again:latest\nDeleted: {id}")
    );
    world.coracle("image exists IMAGE").ok();
    world
        .coracle("manifest rm two")
        .fails(1)
        .says("two: image not known");
    world.coracle("manifest rm --ignore two").ok();
    assert_eq!(names(&world.data().join("images")).len(), 3);
}

#[test]
fn what_a_list_cannot_be_is_said() {
    let world = World::new();
    two(&world);
    let none = format!("manifest remove two {}", Digest::of(b"none"));
    for (line, words) in [
        (
            "manifest create",
            "requires at least 1 arg(s), only received 0",
        ),
        (
            "manifest add two",
            "requires at least 2 arg(s), only received 1",
        ),
        ("manifest add none IMAGE", "none: image not known"),
        ("manifest add IMAGE IMAGE", "image is not a manifest list"),
        (
            "manifest add --artifact two nosuch",
            "reading \"nosuch\" to determine its digest: open ",
        ),
        (
            "manifest add --artifact-type x/y two nosuch",
            "--artifact-type requires --artifact",
        ),
        (
            "manifest add two docker-archive:x.tar",
            "docker-archive: is not supported",
        ),
        ("manifest inspect", "accepts 1 arg(s), received 0"),
        (
            "manifest annotate two",
            "expected an instance digest, image name, or artifact name",
        ),
        (
            "manifest annotate a b c",
            "accepts between 1 and 2 arg(s), received 3",
        ),
        (
            "manifest annotate --index --arch x two",
            "setting architecture on an item in a manifest list requires an instance digest",
        ),
        (
            "manifest annotate --annotation x two test",
            "no value given for annotation \"x\"",
        ),
        (
            "manifest remove two x",
            "invalid image digest \"x\": invalid checksum digest format",
        ),
        (&none, "no instance matching digest"),
        (
            "manifest push --add-compression nonsense two x/y",
            "requested algorithm nonsense is not supported for replication: cannot find compressor for \"nonsense\"",
        ),
        (
            "manifest push --add-compression zstd --all=false two x/y",
            "EnsureCompressionVariantsExist is not implemented for CopySpecificImages",
        ),
        (
            "manifest push --add-compression zstd two oci:x",
            "another compression of a list with oci: is not supported by coracle yet",
        ),
        (
            "manifest push two docker-archive:x",
            "destination transport \"docker-archive\" does not support copying multiple images as a group",
        ),
        ("manifest push -f v1 two x/y", "unknown format \"v1\""),
    ] {
        world.coracle(line).fails(125).says(words);
    }
    // An image that is gone is missed when it is wanted.
    world.coracle("rmi USER_IMAGE").ok();
    world
        .coracle("manifest push --tls-verify=false two localhost:1/x")
        .fails(125)
        .says("Copying 2 images generated from 2 images in list");
}

/// The bytes of a list that a registry has, asked for as they are.
fn raw(name: &str) -> Vec<u8> {
    use std::io::{Read, Write};
    let (host, rest) = name.split_once('/').unwrap();
    let (path, tag) = rest.rsplit_once(':').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    // 1.0: the answer comes in one piece and ends with the connection.
    let question = format!(
        "GET /v2/{path}/manifests/{tag} HTTP/1.0\r\nHost: {host}\r\n\
         Accept: application/vnd.oci.image.index.v1+json\r\n\
         Accept: application/vnd.docker.distribution.manifest.list.v2+json\r\n\r\n"
    );
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"));
    answer.split_off(end + 4)
}

fn plain<'w>(world: &'w World, line: &str) -> Cmd<'w> {
    let (command, rest) = line.split_once(" | ").unwrap();
    world.coracle(&format!("{command} --tls-verify=false {rest}"))
}

#[test]
fn lists_go_to_a_registry_and_come_back() {
    let world = World::new();
    needs!(world, Registry);
    let registry = Registry::start(&world);
    let at = |tag: &str| format!("{}/team/two:{tag}", registry.host);
    two(&world);
    let said = plain(
        &world,
        &format!("manifest push | --digestfile digest two {}", at("1")),
    )
    .ok();
    let steps: Vec<String> = said.stderr().lines().map(str::to_owned).collect();
    assert_eq!(steps[0], "Getting image list signatures");
    assert_eq!(steps[1], "Copying 2 images generated from 2 images in list");
    assert!(steps[2].starts_with("Copying image sha256:") && steps[2].ends_with("(1/2)"));
    assert_eq!(steps.last().unwrap(), "Storing list signatures");
    let index = raw(&at("1"));
    let digest = std::fs::read_to_string(world.home().join("digest")).unwrap();
    assert_eq!(Digest::of(&index).as_str(), digest);
    // As Docker has it.
    plain(
        &world,
        &format!("manifest push | -q -f v2s2 two {}", at("docker")),
    )
    .ok();
    let docker: Value = serde_json::from_slice(&raw(&at("docker"))).unwrap();
    assert_eq!(
        docker["mediaType"],
        "application/vnd.docker.distribution.manifest.list.v2+json"
    );
    // Each machine takes its own; what is known is the index's digest, too.
    let other_id = get(&world, "Id", "USER_IMAGE");
    let fresh = World::empty();
    let pulled = plain(&fresh, &format!("pull | -q {}", at("1"))).stdout();
    assert_eq!(pulled, get(&world, "Id", "IMAGE"));
    let line = format!("pull | -q --platform linux/{}/v8 {}", other(), at("1"));
    assert_eq!(plain(&fresh, &line).stdout(), other_id);
    fresh.coracle("rmi -fa").ok();
    // A list of what is in the registry, sent on without a blob in the store.
    plain(
        &fresh,
        &format!("manifest create | --all copy docker://{}", at("1")),
    )
    .ok();
    assert_eq!(inspect(&fresh, "copy"), inspect(&fresh, &at("1")));
    assert!(names(&fresh.data().join("layers")).is_empty());
    plain(
        &fresh,
        &format!(
            "manifest push | -q --rm copy {}/elsewhere/two:2",
            registry.host
        ),
    )
    .ok();
    let copied = raw(&format!("{}/elsewhere/two:2", registry.host));
    assert!(copied == index, "the index is the same to the byte");
    fresh.coracle("manifest exists copy").fails(1);
    plain(
        &fresh,
        &format!("pull | -q {}/elsewhere/two:2", registry.host),
    )
    .ok();
    fresh.coracle("rmi -fa").ok();
    // One image of it, another way; and a list that has changed is another list.
    let line = format!("manifest add | one docker://{}", at("1"));
    fresh.coracle("manifest create one").ok();
    plain(&fresh, &line).ok();
    let one = inspect(&fresh, "one");
    assert_eq!(one["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(one["manifests"][0]["platform"]["architecture"], ours());
    plain(&fresh, &format!("manifest add | --all one {}", at("1"))).ok();
    fresh
        .coracle("manifest annotate --index --annotation a=b one")
        .ok();
    plain(&fresh, &format!("manifest push | -q one {}", at("3"))).ok();
    let changed: Value = serde_json::from_slice(&raw(&at("3"))).unwrap();
    assert_eq!(changed["annotations"], json!({"a": "b"}));
    assert_eq!(changed["manifests"].as_array().unwrap().len(), 2);
    // A list without its images where these are not: the registry's word.
    plain(
        &world,
        &format!(
            "manifest push | -q --all=false two {}/none/two:1",
            registry.host
        ),
    )
    .fails(125)
    .says("uploading manifest 1");
}

/// Manifests and digests are recorded from podman 5.8.
#[test]
fn files_are_artifacts_of_a_list() {
    let world = World::new();
    world.file("f1", "hi\n");
    world.file("f2.json", "{\"a\":1}\n");
    world.coracle("manifest create list").ok();
    world
        .coracle("manifest add --artifact list f1 f2.json")
        .ok();
    let line = "manifest add --artifact --artifact-type x/y --artifact-config f2.json \
                --artifact-config-type a/b --artifact-layer-type l/t --artifact-exclude-titles \
                --annotation k=v --arch arm64 --os linux list f1";
    world.coracle(line).ok();
    let shown = inspect(&world, "list");
    let at = |name: &str| world.home().join(name).to_str().unwrap().to_owned();
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let wanted = json!([
        {"mediaType": oci, "size": 662,
         "digest": "sha256:3056b1a85532f2274405ee8fe612daab98027ee3cd6ddcb8d50d7df6ce046d4e",
         "platform": {"architecture": "", "os": ""},
         "artifactType": "application/vnd.unknown.artifact.v1",
         "files": [at("f1"), at("f2.json")]},
        {"mediaType": oci, "size": 363,
         "digest": "sha256:00ff5d1a788a1c0f723b062be50621c3d9f44b1572cca8cf07066357415334db",
         "platform": {"architecture": "arm64", "os": "linux"}, "annotations": {"k": "v"},
         "artifactType": "x/y", "files": [at("f1")]},
    ]);
    assert_eq!(shown["manifests"], wanted);
    world
        .coracle("manifest annotate --index --subject IMAGE list")
        .ok();
    let subject = &inspect(&world, "list")["subject"];
    assert_eq!(subject["digest"], get(&world, "Digest", "IMAGE"));
    world.coracle("manifest push -q list oci:layout:1").ok();
    let blobs = world.home().join("layout/blobs/sha256");
    let manifest = "00ff5d1a788a1c0f723b062be50621c3d9f44b1572cca8cf07066357415334db";
    assert_eq!(
        std::fs::read_to_string(blobs.join(manifest)).unwrap(),
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"x/y","config":{"mediaType":"a/b","digest":"sha256:e346432021b04179518d9614f3560ccd71354a4ee101ddcb893d6959a9d6301c","size":8,"data":"eyJhIjoxfQo="},"layers":[{"mediaType":"l/t","digest":"sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4","size":3}]}"#
    );
    // Two manifests, three blobs, the list.
    assert_eq!(names(&blobs).len(), 6);
    world.coracle("manifest push -f v2s2 list dir:no").fails(125).says(
        "unsupported image-specific operation on artifact with type \"application/vnd.unknown.artifact.v1\"",
    );
    assert!(!world.home().join("no").exists());
    // What is no more what it was is not sent.
    world.file("f1", "ho\n");
    world
        .coracle("manifest push list dir:no")
        .fails(125)
        .says("its digest is");
    assert!(!world.home().join("no").exists());
    needs!(world, Registry);
    world.file("f1", "hi\n");
    let registry = Registry::start(&world);
    let to = format!("{}/art:1", registry.host);
    plain(&world, &format!("manifest push | -q list {to}")).ok();
    let index: Value = serde_json::from_slice(&raw(&to)).unwrap();
    assert_eq!(
        index["manifests"][0]["artifactType"],
        wanted[0]["artifactType"]
    );
    assert!(index["manifests"][0].get("platform").is_none());
    // Who pulls it is told that there is no image for this machine.
    plain(&world, &format!("pull | {to}")).fails(125);
    plain(&world, &format!("manifest add | --all list docker://{to}")).ok();
    assert_eq!(
        inspect(&world, "list")["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn lists_go_to_files_and_folders() {
    let world = World::new();
    two(&world);
    let other_id = get(&world, "Id", "USER_IMAGE");
    let own_id = get(&world, "Id", "IMAGE");
    for to in ["dir:d", "oci:o:1", "oci:o:2", "oci-archive:a.tar:1"] {
        let digest = format!("manifest push --digestfile digest two {to}");
        let said = world.coracle(&digest).ok().stderr();
        assert!(
            said.contains("(2/2)\n") && said.ends_with("Storing list signatures\n"),
            "{said}"
        );
        let digest = world.shell("cat digest").stdout();
        let list = match to {
            "dir:d" => world.shell("cat d/manifest.json").ok().out,
            "oci-archive:a.tar:1" => {
                let script = "tar -xOf a.tar blobs/sha256/${0#*:}";
                world.shell(script).arg(&digest).ok().out
            }
            _ => {
                world
                    .shell("cat o/blobs/sha256/${0#*:}")
                    .arg(&digest)
                    .ok()
                    .out
            }
        };
        assert_eq!(Digest::of(&list).as_str(), digest);
        let list: Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
        // Each machine takes its own from there.
        let fresh = World::empty();
        fresh.shell("cp -r \"$0\"/* .").arg(world.home()).ok();
        assert_eq!(
            fresh.coracle(&format!("pull -q {to}")).stdout(),
            own_id,
            "{to}"
        );
    }
    // Two names in one layout; the images are there once.
    let index = world.shell("cat o/index.json").stdout();
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    // The list alone, and what was there of another is gone.
    world.coracle("manifest push -q --all=false two dir:d").ok();
    assert_eq!(names(&world.home().join("d")), ["manifest.json", "version"]);
    // A list of what a registry has goes as it is.
    needs!(world, Registry);
    let registry = Registry::start(&world);
    let at = format!("{}/team/two:1", registry.host);
    plain(&world, &format!("manifest push | -q two {at}")).ok();
    let fresh = World::empty();
    plain(
        &fresh,
        &format!("manifest create | --all copy docker://{at}"),
    )
    .ok();
    plain(&fresh, "manifest push | -q copy dir:d").ok();
    assert_eq!(fresh.shell("cat d/manifest.json").ok().out, raw(&at));
    assert!(names(&fresh.data().join("layers")).is_empty());
    // Each image once more, compressed otherwise.
    for (flags, count) in [
        ("--add-compression gzip", 2),
        ("--add-compression zstd", 4),
        (
            "--add-compression zstd,gzip --add-compression zstd:chunked",
            6,
        ),
    ] {
        plain(&world, &format!("manifest push | -q {flags} two {at}")).ok();
        let index: Value = serde_json::from_slice(&raw(&at)).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        assert_eq!(entries.len(), count, "{flags}");
        let is_zstd =
            |it: &&Value| it["annotations"]["io.github.containers.compression.zstd"] == "true";
        assert_eq!(entries.iter().filter(is_zstd).count(), count - 2, "{flags}");
    }
    let line = format!("pull | -q --platform linux/{}/v8 {at}", other());
    fresh.coracle("manifest rm copy").ok();
    assert_eq!(plain(&fresh, &line).stdout(), other_id);
}
