//! Contexts and files that are named by a URL.

use std::fs::File;
use std::path::Path;

use super::given::{is_archive, unpack};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::registry;

/// Whether the text is a URL that can be fetched.
pub fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Whether a context or a source of ADD is a git repository, as Podman tells it.
pub fn is_git(text: &str) -> bool {
    let place = text.split('#').next().unwrap_or(text);
    ["git://", "ssh://", "git@", "github.com/"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
        || is_url(text) && place.ends_with(".git")
}

/// Fetches what `url` names into the new file at `path`, in a process of its own. Gives
/// when it was changed last, if that is known, in seconds since 1970.
pub fn fetch(
    engine: &Engine,
    options: &registry::Options,
    url: &str,
    path: &Path,
) -> Result<Option<i64>> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .tried(|| format!("make {}", path.display()))?;
    engine.apart(|| registry::download(url, options, &mut file))
}

/// Makes the new folder `into` the context that `url` names: what an archive has, or a
/// Containerfile alone.
pub fn folder(engine: &Engine, options: &registry::Options, url: &str, into: &Path) -> Result<()> {
    let path = into.with_extension("fetched");
    fetch(engine, options, url, &path)?;
    let mut file = File::open(&path).tried(|| format!("open {}", path.display()))?;
    if is_archive(&mut file)? {
        unpack(engine, file, into).tried(|| format!("unpack {url}"))?;
        return std::fs::remove_file(&path).tried(|| format!("remove {}", path.display()));
    }
    std::fs::create_dir(into).tried(|| format!("make {}", into.display()))?;
    std::fs::rename(&path, into.join("Dockerfile")).tried(|| format!("store {url}"))
}

/// That a git repository is not fetched, and what to do.
pub fn no_git(what: &str) -> Error {
    Error::unsupported(format_args!("{what}")).hint("clone it first, and build the folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        for text in [
            "https://host/a.git",
            "https://host/a.git#main:folder",
            "git@host:a",
            "git://host/a",
            "github.com/a/b",
        ] {
            assert!(is_git(text), "{text}");
        }
        for text in ["https://host/a.tar.gz", "http://host/a#b.git", "./a.git"] {
            assert!(!is_git(text), "{text}");
        }
    }
}
