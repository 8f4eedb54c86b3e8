//! What flags ask of the machine and of the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::cgroup::{self, Manager};
use crate::container::options::{Mount, NamespaceMode};
use crate::error::Result;
use crate::id::ImageId;
use crate::secret::Secret;
use crate::settings::{Configuration, Settings};

/// The caller's surroundings, as far as flags can name them.
pub trait Host {
    /// The caller's environment, in its order.
    fn env(&self) -> &[(String, String)];
    /// Where relative paths begin.
    fn cwd(&self) -> &Path;
    /// A file's text.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// What an absolute pattern matches, sorted; see [`matches_pattern`].
    fn matching(&self, pattern: &str) -> Vec<PathBuf>;
    /// Whether stdin, stdout or stderr is a terminal.
    fn has_terminal(&self) -> bool;
    /// The words of the command line, the program's name first.
    fn argv(&self) -> &[String];
    /// `userns` of containers.conf.
    fn configured_userns(&self) -> Result<Option<String>>;

    /// `--cgroup-manager`
    fn cgroup_manager(&self) -> Option<Manager> {
        None
    }
    /// Whether systemd makes cgroups if nothing is said.
    fn has_systemd(&self) -> bool {
        false
    }

    /// A variable of the caller's.
    fn variable(&self, name: &str) -> Option<&str> {
        self.env()
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `path` made absolute and clean. Links stay as they are, as in Podman.
    fn absolute(&self, path: &str) -> PathBuf {
        clean(&self.cwd().join(path))
    }
}

/// What flags ask of the store.
pub trait Lookup {
    /// The container that `text` names.
    fn container(&self, text: &str) -> Result<Neighbour>;
    /// The secret that `text` names.
    fn secret(&self, text: &str) -> Result<Secret>;
    /// The local image that `text` names, and its full name.
    fn image(&self, text: &str) -> Result<(ImageId, String)>;
}

/// What another container lends.
#[derive(Debug, Clone)]
pub struct Neighbour {
    /// Its full id.
    pub id: String,
    pub ipc: NamespaceMode,
    pub mounts: Vec<Mount>,
}

/// This process's own surroundings.
pub struct Caller {
    env: Vec<(String, String)>,
    cwd: PathBuf,
    argv: Vec<String>,
    cgroup_manager: Option<Manager>,
    user_manager: Option<PathBuf>,
}

impl Caller {
    /// Reads them once. Variables that are not UTF-8 are left out.
    pub fn read() -> io::Result<Self> {
        Ok(Self {
            env: std::env::vars_os()
                .filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            cwd: std::env::current_dir()?,
            argv: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            cgroup_manager: None,
            user_manager: None,
        })
    }

    /// Whether the program was called by Docker's name.
    pub fn is_docker(&self) -> bool {
        let name = self.argv.first().map(Path::new).and_then(Path::file_name);
        name.is_some_and(|name| name == "docker")
    }

    /// What was read before.
    #[must_use]
    pub fn with(mut self, settings: &Settings) -> Self {
        self.cgroup_manager = settings.cgroup_manager;
        self.user_manager.clone_from(&settings.user_manager);
        self
    }
}

impl Host for Caller {
    fn env(&self) -> &[(String, String)] {
        &self.env
    }

    fn cwd(&self) -> &Path {
        &self.cwd
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let bytes = std::fs::read(self.cwd.join(path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::from("/")];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            found = found
                .iter()
                .flat_map(|dir| entries_matching(dir, part))
                .collect();
        }
        found.sort();
        found
    }

    fn has_terminal(&self) -> bool {
        use io::IsTerminal;
        io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
    }

    fn argv(&self) -> &[String] {
        &self.argv
    }

    fn configured_userns(&self) -> Result<Option<String>> {
        Ok(Configuration::read()?.userns)
    }

    fn cgroup_manager(&self) -> Option<Manager> {
        self.cgroup_manager
    }

    fn has_systemd(&self) -> bool {
        cgroup::has_systemd(self.user_manager.as_deref())
    }
}

/// The entries of `dir` that one part of a pattern matches.
fn entries_matching(dir: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains(['*', '?', '[', '\\']) {
        let path = dir.join(part);
        return if path.symlink_metadata().is_ok() {
            vec![path]
        } else {
            Vec::new()
        };
    }
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            matches_pattern(part, name.to_str()?)
                .unwrap_or(false)
                .then(|| entry.path())
        })
        .collect()
}

/// Whether `name` is matched by `pattern`: `*`, `?`, `[a-z]`, `[^a]` and `\` as in
/// Go's path.Match. None: the pattern itself is not well formed.
pub fn matches_pattern(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < pattern.len() {
        let (token, next) = token(&pattern, at)?;
        tokens.push(token);
        at = next;
    }
    // `states` are the positions in `name` that the tokens so far can have reached.
    let mut states = vec![0];
    for token in &tokens {
        states = match token {
            Token::Any => (states.into_iter().min()?..=name.len()).collect(),
            Token::One(set) => states
                .into_iter()
                .filter(|&at| name.get(at).is_some_and(|&c| set.contains(c)))
                .map(|at| at + 1)
                .collect(),
        };
        if states.is_empty() {
            return Some(false);
        }
    }
    Some(states.contains(&name.len()))
}

enum Token {
    /// `*`
    Any,
    /// One character of a set.
    One(Set),
}

struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn contains(&self, c: char) -> bool {
        self.ranges
            .iter()
            .any(|&(low, high)| (low..=high).contains(&c))
            != self.negated
    }
}

/// The token at `at` and where the next begins.
fn token(pattern: &[char], at: usize) -> Option<(Token, usize)> {
    let one = |ranges, next| {
        Some((
            Token::One(Set {
                negated: false,
                ranges,
            }),
            next,
        ))
    };
    match pattern[at] {
        '*' => Some((Token::Any, at + 1)),
        '?' => one(vec![('\0', char::MAX)], at + 1),
        '\\' => {
            let c = *pattern.get(at + 1)?;
            one(vec![(c, c)], at + 2)
        }
        '[' => {
            let negated = pattern.get(at + 1) == Some(&'^');
            let mut next = at + 1 + usize::from(negated);
            let mut ranges = Vec::new();
            loop {
                if pattern.get(next) == Some(&']') && !ranges.is_empty() {
                    return Some((Token::One(Set { negated, ranges }), next + 1));
                }
                let (low, after) = member(pattern, next)?;
                let (high, after) = match pattern.get(after) {
                    Some('-') => member(pattern, after + 1)?,
                    _ => (low, after),
                };
                ranges.push((low, high));
                next = after;
            }
        }
        c => one(vec![(c, c)], at + 1),
    }
}

/// A character within brackets, and where the next begins.
fn member(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        c => Some((*c, at + 1)),
    }
}

/// An absolute path without `.`, `..`, doubled and trailing slashes.
pub fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    out
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::container;

    /// A host and a store that are what a test says.
    #[derive(Default)]
    pub struct Fake {
        pub env: Vec<(String, String)>,
        pub files: BTreeMap<String, String>,
        pub terminal: bool,
        pub userns: Option<String>,
        pub containers: BTreeMap<String, Neighbour>,
    }

    impl Fake {
        pub fn with_env(env: &[(&str, &str)]) -> Self {
            Self {
                env: env
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
                ..Self::default()
            }
        }
    }

    impl Host for Fake {
        fn env(&self) -> &[(String, String)] {
            &self.env
        }
        fn cwd(&self) -> &Path {
            Path::new("/home/me/w")
        }
        fn read(&self, path: &Path) -> io::Result<String> {
            self.files
                .get(path.to_str().unwrap())
                .cloned()
                .ok_or_else(|| io::Error::from_raw_os_error(2))
        }
        fn matching(&self, pattern: &str) -> Vec<PathBuf> {
            self.files
                .keys()
                .filter(|path| matches_pattern(pattern, path) == Some(true))
                .map(PathBuf::from)
                .collect()
        }
        fn has_terminal(&self) -> bool {
            self.terminal
        }
        fn argv(&self) -> &[String] {
            &[]
        }
        fn configured_userns(&self) -> Result<Option<String>> {
            Ok(self.userns.clone())
        }
    }

    impl Lookup for Fake {
        fn secret(&self, text: &str) -> Result<Secret> {
            let moment = jiff::Timestamp::UNIX_EPOCH;
            match text {
                "one" | "two" => Ok(Secret {
                    id: format!("{text}-id"),
                    name: text.to_owned(),
                    created: moment,
                    updated: moment,
                    driver: crate::secret::Driver::File,
                    options: BTreeMap::new(),
                    labels: BTreeMap::new(),
                }),
                _ => Err(crate::secret::no_such(text)),
            }
        }
        fn container(&self, text: &str) -> Result<Neighbour> {
            self.containers
                .get(text)
                .cloned()
                .ok_or_else(|| container::no_such(text))
        }
        fn image(&self, text: &str) -> Result<(ImageId, String)> {
            if text == "nosuch" {
                return Err(crate::error::Error::not_found("nosuch: image not known"));
            }
            Ok((
                "ab".repeat(32).parse().unwrap(),
                format!("localhost/{text}:latest"),
            ))
        }
    }

    #[test]
    fn patterns_are_gos() {
        for (pattern, name, is) in [
            ("d*", "d", true),
            ("d*", "d2", true),
            ("*d", "add", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?", "d", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("*", ".hidden", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), Some(is), "{pattern} {name}");
        }
        for bad in ["[", "[a", "[]", "\\", "[a-]"] {
            assert_eq!(matches_pattern(bad, "a"), None, "{bad}");
        }
    }

    #[test]
    fn paths_are_cleaned_by_their_letters_alone() {
        for (path, wanted) in [
            ("/a/../b/", "/b"),
            ("/../..", "/"),
            ("//a//./b", "/a/b"),
            ("/", "/"),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(wanted), "{path}");
        }
        assert_eq!(Fake::default().absolute("../d"), Path::new("/home/me/d"));
    }

    #[test]
    fn patterns_match_files_of_the_machine() {
        let dir = std::env::temp_dir().join(format!("coracle-glob-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("d1")).unwrap();
        std::fs::write(dir.join("d2"), "").unwrap();
        let caller = Caller::read().unwrap();
        let found = caller.matching(&format!("{}/d*", dir.display()));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, [dir.join("d1"), dir.join("d2")]);
    }
}
