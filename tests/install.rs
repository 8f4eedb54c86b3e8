//! `make install` and `make uninstall`, and what `make deb` packs.

use crate::world::{World, binary, source};

/// The files beneath a folder.
fn files(world: &World, folder: &str) -> Vec<String> {
    let found = world.shell(&format!("cd {folder} && find . ! -type d | sort"));
    found.stdout().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_installed_is_found_and_goes_again() {
    let world = World::empty();
    // What is built is installed as it is.
    let make = |goal: &str| {
        world.shell(&format!(
            "make -s -C {} -o build {goal} BUILT={} PREFIX=$HOME/.local LINKS='podman docker'",
            source().display(),
            binary().parent().unwrap().display()
        ))
    };
    world.file(".local/share/mine", "");
    let before = files(&world, ".");
    make("install").ok();
    let installed = files(&world, ".local");
    for path in [
        "./bin/coracle",
        "./bin/podman",
        "./share/man/man1/coracle-run.1",
        "./share/man/man7/coracle-volumes.7",
        "./share/bash-completion/completions/coracle",
        "./share/bash-completion/completions/docker",
        "./share/zsh/site-functions/_podman",
        "./share/fish/vendor_completions.d/coracle.fish",
    ] {
        assert!(installed.contains(&path.to_owned()), "{path}");
    }
    let version = world
        .shell("PATH=~/.local/bin:$PATH; docker --version")
        .stdout();
    assert!(version.starts_with("docker version"), "{version}");
    // By the file that stands in its place, not by a name that is asked.
    let offered = world
        .shell(
            "PATH=~/.local/bin:$PATH; . ~/.local/share/bash-completion/completions/podman; \
             complete -p podman docker coracle",
        )
        .stdout();
    assert_eq!(offered.lines().count(), 3, "{offered}");
    make("uninstall").ok();
    assert_eq!(files(&world, "."), before);
    let folders = world.shell("find .local -type d | sort").stdout();
    assert_eq!(folders, ".local\n.local/share");
}

/// cargo-deb is not on every machine: that it finds its parts is known without it.
#[test]
fn the_package_has_all_its_parts() {
    let read = |path: &str| std::fs::read_to_string(source().join(path)).unwrap();
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let package = &manifest["package"];
    let deb = &package["metadata"]["deb"];
    for asset in deb["assets"].as_array().unwrap() {
        let path = asset[0].as_str().unwrap();
        if let Some((folder, suffix)) = path.split_once("/*") {
            let mut names = std::fs::read_dir(source().join(folder)).unwrap();
            let named = |name: &str| name.ends_with(suffix);
            assert!(names.any(|entry| named(entry.unwrap().file_name().to_str().unwrap())));
        } else if !path.starts_with("target/") {
            assert!(source().join(path).is_file(), "{path}");
        }
    }
    // An address as Debian's policy wants it: a name, and a mailbox in angle brackets.
    let maintainer = deb["maintainer"].as_str().unwrap();
    let address = regex::Regex::new(r"^[^<>]+ <[^@<> ]+@[^@<> ]+\.[a-z]+>$").unwrap();
    assert!(address.is_match(maintainer), "{maintainer}");
    let changelog = read(deb["changelog"].as_str().unwrap());
    let newest = format!("coracle ({}-1) ", package["version"].as_str().unwrap());
    assert!(changelog.starts_with(&newest), "{changelog}");
    assert!(changelog.contains(&format!("\n -- {maintainer}  ")));
    // The program starts these two by name; it is static and needs no library.
    let depends = deb["depends"].as_str().unwrap();
    assert_eq!(depends, "uidmap, passt");
}
