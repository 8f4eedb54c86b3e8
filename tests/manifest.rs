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
            "manifest add --artifact two x",
            "--artifact is not supported by coracle yet",
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
            "manifest push --add-compression zstd two x/y",
            "--add-compression is not supported",
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
