//! Searching registries: one that has an index, a real one that has a catalog.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::assert_snapshot;
use crate::needs;
use crate::world::World;
use crate::world::registry::Registry;

/// A registry with the index of Docker's first protocol, or with nothing at all;
/// gives its name.
pub fn index(has_index: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("localhost:{}", listener.local_addr().unwrap().port());
    let long = "A minimal image with a complete package index\u{1b}[2J and more";
    let found = json!({"num_results": 3, "results": [
        {"name": "library/app", "description": long, "star_count": 10, "is_official": true},
        {"name": "team/app", "description": null, "star_count": 0, "is_automated": true},
        {"name": "app", "description": "<b>", "star_count": 3},
    ]})
    .to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else {
                continue;
            };
            // To the end of the question's headers.
            let rest = lines.map_while(Result::ok).take_while(|it| !it.is_empty());
            rest.for_each(drop);
            let (status, body) = match () {
                () if first.starts_with("GET /v2/ ") => ("200 OK", "{}"),
                () if has_index && first.starts_with("GET /v1/search?q=app&n=") => {
                    ("200 OK", found.as_str())
                }
                () => ("404 Not Found", "<html>no</html>"),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    host
}

#[test]
fn an_index_is_searched() {
    let world = World::empty();
    let host = index(true);
    let search = |flags: &str| {
        let line = format!("search --tls-verify=false {flags} {host}/app");
        world
            .coracle(&line)
            .stdout()
            .replace(&host, "HOST.example.com")
    };
    assert_snapshot!(search(""), @"
    NAME  DESCRIPTION
    HOST.example.com/library/app  A minimal image with a complete package inde...
    HOST.example.com/team/app
    HOST.example.com/app  <b>
    ");
    assert_snapshot!(search("--compatible --no-trunc"), @"
    NAME  DESCRIPTION  STARS  OFFICIAL  AUTOMATED
    HOST.example.com/library/app  A minimal image with a complete package index [2J and more  10  [OK]
    HOST.example.com/team/app  0  [OK]
    HOST.example.com/app  <b>  3
    ");
    let names = |flags: &str| {
        search(&format!("--format '{{{{.Name}}}}' {flags}")).replace("HOST.example.com/", "")
    };
    assert_eq!(names("--limit 2"), "library/app\nteam/app");
    assert_eq!(names("--filter stars=3"), "library/app\napp");
    assert_eq!(names("--filter is-official"), "library/app");
    assert_eq!(
        names("--filter is-official=false --filter is-automated=false"),
        "app"
    );
    assert_eq!(names("--limit -1"), "");
    let json: Value = serde_json::from_str(&search("--format json --limit 1")).unwrap();
    assert_eq!(
        json,
        json!([{"Index": "HOST.example.com", "Name": "HOST.example.com/library/app",
                "Description": "A minimal image with a complete package index [2J and more",
                "Stars": 10, "Official": "[OK]", "Automated": "", "Tag": ""}])
    );
}

#[test]
fn a_catalog_is_searched_and_tags_are_listed() {
    let world = World::new();
    needs!(world, Registry);
    let registry = Registry::start(&world);
    for name in ["team/app:1", "team/app:2", "other:1"] {
        let line = format!("push -q --tls-verify=false IMAGE {}/{name}", registry.host);
        world.coracle(&line).ok();
    }
    let search = |line: &str| {
        let line = line.replace("HOST", &registry.host);
        let shown = world
            .coracle(&format!("search --tls-verify=false {line}"))
            .stdout();
        shown.replace(&registry.host, "HOST")
    };
    let names = "--format {{.Name}}";
    assert_eq!(search(&format!("{names} HOST/app")), "HOST/team/app");
    assert_eq!(
        search(&format!("{names} HOST/")),
        "HOST/other\nHOST/team/app"
    );
    assert_eq!(search("HOST/none"), "");
    // In the registry's order, whichever that is.
    let tags = search("--list-tags --format '{{.Name}}:{{.Tag}}' HOST/team/app");
    let mut tags: Vec<&str> = tags.lines().collect();
    tags.sort_unstable();
    assert_eq!(tags, ["HOST/team/app:1", "HOST/team/app:2"]);
    let json = search("--list-tags --format json HOST/team/app");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["Name"], "HOST/team/app");
    assert_eq!(json[0]["Tags"].as_array().unwrap().len(), 2);
    assert_eq!(
        search("--list-tags --limit 1 HOST/team/app")
            .lines()
            .count(),
        2
    );
    // A term without a registry is asked of all that are configured; one that answers
    // is enough.
    let other = index(true);
    let conf = format!(
        "unqualified-search-registries = [\"{}\", \"{other}\", \"localhost:1\"]\n",
        registry.host
    );
    world.file(".config/containers/registries.conf", conf);
    let all = search(&format!("{names} app")).replace(&other, "OTHER");
    assert_eq!(
        all,
        "HOST/team/app\nOTHER/library/app\nOTHER/team/app\nOTHER/app"
    );
}

#[test]
fn a_registry_that_does_not_answer_is_told() {
    let world = World::empty();
    let mute = index(false);
    for (line, words) in [
        (
            format!("search --tls-verify=false {mute}/app"),
            "couldn't search registry",
        ),
        (
            format!("search --tls-verify=false {mute}/app"),
            "StatusCode: 404",
        ),
        (
            format!("search --tls-verify=false {mute}/app"),
            "Hint: not every registry can be searched",
        ),
        (
            format!("search --tls-verify=false --list-tags {mute}/app"),
            "getting repository tags: ",
        ),
        (
            "search --tls-verify=false localhost:1/x".into(),
            "connection refused",
        ),
        ("search".into(), "accepts 1 arg(s), received 0"),
        (
            "search --filter x=y a".into(),
            "invalid filter type \"x=y\"",
        ),
        (
            "search --filter stars=y a".into(),
            "incorrect value type for stars filter",
        ),
        (
            "search --list-tags --filter stars=1 a".into(),
            "filters are not applicable to list tags result",
        ),
    ] {
        world.coracle(&line).fails(125).says(words);
    }
}
