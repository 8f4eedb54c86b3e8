//! Every field that Podman's templates have (tests/templates.txt) is one of ours, and the
//! JSON of what tools look at has Podman's keys.

use crate::search::index;
use crate::world::{World, source};

/// The sections of templates.txt: a command, and its fields.
fn sections() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(source().join("tests/templates.txt")).unwrap();
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().filter(|it| !it.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            sections.push((name.trim_end_matches(']').to_owned(), Vec::new()));
        } else if let Some((_, fields)) = sections.last_mut() {
            fields.push(line.to_owned());
        }
    }
    sections
}

#[test]
fn every_field_of_podmans_is_there() {
    let world = World::new();
    world
        .coracle("run -d --name c --network none --label x=y -v v:/v IMAGE sleep 1000")
        .ok();
    world.shell("printf x | coracle secret create s -").ok();
    let search = format!("search --tls-verify=false {}/app", index(true));
    let mut missing = String::new();
    for (command, mut fields) in sections() {
        let line = match command.as_str() {
            "container inspect" => "container inspect c",
            "image inspect" => "image inspect IMAGE",
            "images" => "images IMAGE",
            "history" => "history IMAGE",
            "search" => search.as_str(),
            "volume inspect" => "volume inspect v",
            "secret inspect" => "secret inspect s",
            "stats" => "stats --no-stream c",
            "events" => "events --stream=false --filter container=c",
            "time" => {
                let methods = fields.clone();
                fields = Vec::new();
                for of in [".CreatedAt", ".CreatedAt.UTC"] {
                    fields.extend(methods.iter().map(|method| format!("{of}{method}")));
                }
                "volume inspect v"
            }
            other => other,
        };
        // All at once, and one by one where that fails: to say which.
        let asks = |fields: &[String]| {
            let all = fields.iter().map(|field| format!("{{{{{field}}}}}\n"));
            let format = all.collect::<String>();
            world.coracle(line).arg("--format").arg(format).run()
        };
        if asks(&fields).code == 0 {
            continue;
        }
        for field in &fields {
            let said = asks(std::slice::from_ref(field));
            if said.code != 0 {
                missing += &format!("{command} {field}: {}", said.stderr());
            }
        }
    }
    assert!(missing.is_empty(), "{missing}");
}
