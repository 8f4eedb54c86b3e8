//! Section 7 of the manual, which is written by hand: what it shows works.

use crate::world::{Need, World, source};

/// The pages of section 7: name and text.
pub fn by_hand() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(source().join("man")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".7") {
            pages.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    assert!(!pages.is_empty());
    pages
}

#[test]
fn what_the_pages_of_section_7_show_works() {
    for (name, text) in by_hand() {
        let world = World::new();
        if !world.needs(Need::Subuids) {
            return;
        }
        for (image, known_as) in [
            ("IMAGE", "docker.io/library/alpine"),
            ("IMAGE", "docker.io/library/python:3.10"),
            ("USER_IMAGE", "docker.io/jupyter/scipy-notebook"),
        ] {
            world.coracle(&format!("tag {image} {known_as}")).ok();
        }
        for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let line = line.replace("\\-", "-");
            let done = world.shell(&line).run();
            assert_eq!(done.code, 0, "{name}: {line}: {}", done.stderr());
        }
    }
}
