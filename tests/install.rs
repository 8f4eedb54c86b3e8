//! `make install` and `make uninstall`.

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
