//! Variables that a build has whatever its file says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::image::Wanted;

/// The variables of proxies, which need no ARG.
pub const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The variables that say what is built where.
pub fn platform_words(wanted: &Wanted) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (prefix, full) in [
        ("TARGET", wanted.full()),
        ("BUILD", Wanted::default().full()),
    ] {
        let mut parts = full.splitn(3, '/').map(str::to_owned);
        let (os, arch) = (parts.next(), parts.next());
        all.insert(format!("{prefix}OS"), os.unwrap_or_default());
        all.insert(format!("{prefix}ARCH"), arch.unwrap_or_default());
        all.insert(format!("{prefix}VARIANT"), parts.next().unwrap_or_default());
        all.insert(format!("{prefix}PLATFORM"), full);
    }
    all
}

/// `--build-arg` and `--build-arg-file`: `NAME=value`, or a NAME that the caller's
/// environment `env` has a value for. What that does not have is not given.
pub fn given(
    lines: &[String],
    files: &[PathBuf],
    env: &[(String, String)],
) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut add = |line: &str| match line.split_once('=') {
        Some((name, value)) => drop(all.insert(name.to_owned(), value.to_owned())),
        None => {
            if let Some((_, value)) = env.iter().find(|(name, _)| name == line) {
                all.insert(line.to_owned(), value.clone());
            }
        }
    };
    for file in files {
        let text = std::fs::read_to_string(file).tried(|| format!("open {}", file.display()))?;
        for line in text.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                add(line);
            }
        }
    }
    lines.iter().for_each(|line| add(line));
    Ok(all)
}
