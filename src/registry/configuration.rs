//! What registries.conf(5), version 2, says: what short names mean, where a
//! registry's images are really asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Endpoint;
use crate::error::{Context, Error, Result};
use crate::settings::{self, Settings};
use crate::sys::file::{Durable, write_whole};

/// The registry of short names where nothing says otherwise.
const DOCKER: &str = "docker.io";

/// All of registries.conf and its drop-ins.
#[derive(Debug, Default)]
pub struct Registries {
    /// And the file that says so.
    search: Option<(Vec<String>, PathBuf)>,
    short_names: ShortNames,
    /// Where an alias that was chosen is remembered.
    remembered: PathBuf,
    /// By prefix.
    registries: BTreeMap<String, Registry>,
    /// To a full name, and the file that says so.
    aliases: BTreeMap<String, (String, PathBuf)>,
}

/// What is done where a short name may mean several (registries.conf(5), short-name-mode).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShortNames {
    /// All are tried, where nobody can be asked.
    #[default]
    Permissive,
    /// Somebody must be asked.
    Enforcing,
    /// All are tried.
    Disabled,
}

impl ShortNames {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "enforcing" => Self::Enforcing,
            "" | "permissive" => Self::Permissive,
            "disabled" => Self::Disabled,
            _ => return Err(Error::other(format!("invalid short-name mode: {text:?}"))),
        })
    }
}

/// What a name that the user typed may mean.
#[derive(Debug, PartialEq, Eq)]
pub struct Meant {
    pub names: Vec<String>,
    /// The file that has the alias, if it is one.
    pub alias: Option<String>,
    /// The file that has the registries which are searched for it, if one has.
    pub searched: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    registry: Vec<Registry>,
    aliases: BTreeMap<String, String>,
    /// Version 1.
    registries: Option<toml::Value>,
}

#[derive(Deserialize, Default, Debug, Clone)]
#[serde(rename_all = "kebab-case", default)]
struct Registry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
}

#[derive(Deserialize, Default, Debug, Clone)]
#[serde(rename_all = "kebab-case", default)]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

impl Registries {
    /// Reads the files: `$CONTAINERS_REGISTRIES_CONF`, else the caller's, else the
    /// machine's; then drop-ins, and the aliases Podman has remembered.
    pub fn read(settings: &Settings) -> Result<Self> {
        let config = std::env::var_os("XDG_CONFIG_HOME").filter(|it| !it.is_empty());
        let config = config.map_or_else(|| settings.home.join(".config"), PathBuf::from);
        let own = config.join("containers");
        let machine = PathBuf::from("/etc/containers");
        let mut files = Vec::new();
        match std::env::var_os("CONTAINERS_REGISTRIES_CONF").filter(|it| !it.is_empty()) {
            Some(file) => files.push(PathBuf::from(file)),
            None => {
                let mains = [&own, &machine].map(|dir| dir.join("registries.conf"));
                files.extend(mains.into_iter().find(|file| file.exists()));
                for dir in [&machine, &own] {
                    files.extend(settings::parts(&dir.join("registries.conf.d")));
                }
            }
        }
        let cache = std::env::var_os("XDG_CACHE_HOME").filter(|it| !it.is_empty());
        let cache = cache.map_or_else(|| settings.home.join(".cache"), PathBuf::from);
        let remembered = cache.join("containers/short-name-aliases.conf");
        files.push(remembered.clone());
        let mut all = Self {
            remembered,
            ..Self::default()
        };
        for file in files {
            let tried = || format!("loading registries configuration {:?}", file);
            match std::fs::read_to_string(&file) {
                Ok(text) => all.add(&text, &file).tried(tried)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).tried(tried),
            }
        }
        Ok(all)
    }

    fn add(&mut self, text: &str, path: &Path) -> Result<()> {
        let file: File =
            toml::from_str(text).map_err(|error| Error::other(error.message().to_owned()))?;
        if file.registries.is_some() {
            return Err(Error::unsupported("registries.conf in version 1 format"));
        }
        if let Some(search) = file.unqualified_search_registries {
            self.search = Some((search, path.to_owned()));
        }
        if let Some(mode) = file.short_name_mode {
            self.short_names = ShortNames::parse(&mode)?;
        }
        for mut registry in file.registry {
            if registry.prefix.is_empty() {
                if registry.location.is_empty() {
                    return Err(Error::other(
                        "invalid condition: both location and prefix are unset",
                    ));
                }
                registry.prefix.clone_from(&registry.location);
            } else if registry.location.is_empty() && !registry.prefix.starts_with("*.") {
                registry.location.clone_from(&registry.prefix);
            }
            for mirror in &registry.mirror {
                if mirror.location.is_empty() {
                    return Err(Error::other("invalid condition: mirror location is unset"));
                }
                let known = ["", "all", "digest-only", "tag-only"];
                if !known.contains(&mirror.pull_from_mirror.as_str()) {
                    return Err(Error::other(format!(
                        "unsupported pull-from-mirror value {:?} for mirror {:?}",
                        mirror.pull_from_mirror, mirror.location
                    )));
                }
            }
            self.registries.insert(registry.prefix.clone(), registry);
        }
        for (name, target) in file.aliases {
            if target.is_empty() {
                self.aliases.remove(&name);
            } else {
                self.aliases.insert(name, (target, path.to_owned()));
            }
        }
        Ok(())
    }

    /// The full names that `text` may mean, in the order in which they are tried.
    pub fn meant(&self, text: &str) -> Result<Meant> {
        if !is_short(text) {
            return Ok(Meant {
                names: vec![text.to_owned()],
                alias: None,
                searched: None,
            });
        }
        let end = text.find([':', '@']).unwrap_or(text.len());
        let (name, suffix) = text.split_at(end);
        if let Some((target, file)) = self.aliases.get(name) {
            return Ok(Meant {
                names: vec![format!("{target}{suffix}")],
                alias: Some(file.display().to_string()),
                searched: None,
            });
        }
        Ok(Meant {
            names: self
                .searched()
                .iter()
                .map(|it| format!("{it}/{text}"))
                .collect(),
            alias: None,
            searched: (self.search.as_ref()).map(|(_, file)| file.display().to_string()),
        })
    }

    /// What is done where a short name may mean several.
    pub fn short_names(&self) -> ShortNames {
        self.short_names
    }

    /// Remembers that the short name `name` means `target`, as Podman does with what was
    /// chosen. What cannot be kept is asked for again.
    pub fn remember(&self, name: &str, target: &str) {
        let text = std::fs::read_to_string(&self.remembered).unwrap_or_default();
        let Ok(File { mut aliases, .. }) = toml::from_str(&text) else {
            return;
        };
        aliases.insert(name.to_owned(), target.to_owned());
        let mut text = "[aliases]\n".to_owned();
        for (name, target) in aliases {
            text.push_str(&format!("  {name:?} = {target:?}\n"));
        }
        if let Some(folder) = self.remembered.parent() {
            let _ = std::fs::create_dir_all(folder);
            let _ = write_whole(&self.remembered, text.as_bytes(), Durable::Yes);
        }
    }

    /// The registries that a short name is looked for in.
    pub fn searched(&self) -> Vec<String> {
        match &self.search {
            Some((search, _)) => search.clone(),
            None => vec![DOCKER.to_owned()],
        }
    }

    /// The registry of a login that names none: the first that is searched.
    pub fn first(&self) -> Option<&str> {
        self.search.as_ref()?.0.first().map(String::as_str)
    }

    /// Where `registry/path` is asked for: mirrors first, then where it is.
    pub fn endpoints(&self, registry: &str, path: &str, by_digest: bool) -> Result<Vec<Endpoint>> {
        let name = format!("{registry}/{path}");
        let Some(found) = self.registry(&name) else {
            return Ok(vec![Endpoint {
                registry: registry.to_owned(),
                path: path.to_owned(),
                insecure: false,
            }]);
        };
        if found.blocked {
            return Err(Error::other(format!(
                "registry {} is blocked in registries.conf",
                found.prefix
            )));
        }
        let mirrors = found
            .mirror
            .iter()
            .filter(|mirror| match mirror.pull_from_mirror.as_str() {
                "digest-only" => by_digest,
                "tag-only" => !by_digest,
                _ => by_digest || !found.mirror_by_digest_only,
            });
        let mut endpoints = Vec::new();
        for mirror in mirrors {
            endpoints.push(found.endpoint(&name, &mirror.location, mirror.insecure)?);
        }
        endpoints.push(found.endpoint(&name, &found.location, found.insecure)?);
        Ok(endpoints)
    }

    /// Where `registry/path` is sent to: no mirror.
    pub fn own_endpoint(&self, registry: &str, path: &str) -> Result<Endpoint> {
        let mut endpoints = self.endpoints(registry, path, false)?;
        endpoints
            .pop()
            .ok_or_else(|| Error::other(format!("no endpoint for {registry}")))
    }

    /// The entry with the longest prefix.
    fn registry(&self, name: &str) -> Option<&Registry> {
        let matches = |registry: &&Registry| match registry.prefix.strip_prefix("*.") {
            Some(domain) => name
                .split('/')
                .next()
                .and_then(|host| host.strip_suffix(domain))
                .is_some_and(|rest| rest.ends_with('.')),
            None => name
                .strip_prefix(registry.prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@'])),
        };
        self.registries
            .values()
            .filter(matches)
            .max_by_key(|registry| registry.prefix.len())
    }
}

impl Registry {
    /// `name` with the prefix replaced by `location`.
    fn endpoint(&self, name: &str, location: &str, insecure: bool) -> Result<Endpoint> {
        let rewritten = if location.is_empty() {
            name.to_owned()
        } else if self.prefix.starts_with("*.") {
            // The wildcard stands for the host.
            let path = name.split_once('/').map_or("", |(_, path)| path);
            format!("{location}/{path}")
        } else {
            format!("{location}{}", &name[self.prefix.len()..])
        };
        let (registry, path) = rewritten.split_once('/').ok_or_else(|| {
            Error::other(format!(
                "{rewritten:?}, as registries.conf rewrites it, is no name"
            ))
        })?;
        Ok(Endpoint {
            registry: registry.to_owned(),
            path: path.to_owned(),
            insecure,
        })
    }
}

fn is_short(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, _)) => !domain.contains(['.', ':']) && domain != "localhost",
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(text: &str) -> Registries {
        let mut all = Registries::default();
        all.add(text, Path::new("/f.conf")).unwrap();
        all
    }

    fn shown(endpoints: Vec<Endpoint>) -> Vec<String> {
        let show = |it: Endpoint| format!("{}{}", it.name(), if it.insecure { "!" } else { "" });
        endpoints.into_iter().map(show).collect()
    }

    #[test]
    fn short_names_are_dockers_without_a_word() {
        let none = Registries::default();
        assert_eq!(none.meant("redis:7").unwrap().names, ["docker.io/redis:7"]);
        assert_eq!(none.meant("quay.io/a").unwrap().names, ["quay.io/a"]);
        let some = registries(
            "unqualified-search-registries = [\"a.io\", \"b.io\"]\n[aliases]\nredis = \"c.io/x/redis\"\n",
        );
        assert_eq!(
            some.meant("me/x:1").unwrap().names,
            ["a.io/me/x:1", "b.io/me/x:1"]
        );
        let alias = some.meant("redis:7").unwrap();
        assert_eq!(alias.names, ["c.io/x/redis:7"]);
        assert_eq!(alias.alias.as_deref(), Some("/f.conf"));
        let empty = registries("unqualified-search-registries = []");
        assert!(empty.meant("x").unwrap().names.is_empty());
    }

    #[test]
    fn the_longest_prefix_says_where() {
        let all = registries(
            r#"
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.example:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "digests.example"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "docker.io/secret"
            blocked = true
            [[registry]]
            prefix = "*.corp.example"
            location = "proxy.example/corp"
            [[registry]]
            prefix = "old.example/team"
            location = "new.example/our"
            insecure = true
            "#,
        );
        let at = |registry: &str, path: &str, by_digest: bool| {
            shown(all.endpoints(registry, path, by_digest).unwrap())
        };
        assert_eq!(
            at("docker.io", "library/x", false),
            ["mirror.example:5000/hub/library/x!", "docker.io/library/x"]
        );
        assert_eq!(at("docker.io", "library/x", true).len(), 3);
        assert!(all.endpoints("docker.io", "secret/x", false).is_err());
        assert_eq!(at("docker.io", "secrets/x", false).len(), 2);
        assert_eq!(
            at("a.corp.example", "x/y", false),
            ["proxy.example/corp/x/y"]
        );
        assert_eq!(at("corp.example", "x", false), ["corp.example/x"]);
        assert_eq!(at("old.example", "team/x", false), ["new.example/our/x!"]);
        assert_eq!(at("old.example", "teams/x", false), ["old.example/teams/x"]);
        let mut all = Registries::default();
        for bad in [
            "[[registry]]\n",
            "[registries.search]\nregistries = []\n",
            "x = [",
        ] {
            assert!(all.add(bad, Path::new("x")).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_configuration_makes_it_panic() {
        let seed = r#"unqualified-search-registries = ["a.example", "b.example"]
short-name-mode = "enforcing"
[aliases]
short = "far.example/it"
[[registry]]
prefix = "*.example"
location = "near.example/x"
insecure = true
[[registry.mirror]]
location = "mirror.example:5000"
pull-from-mirror = "tag-only"
[[registry]]
location = "blocked.example/a"
blocked = true
"#;
        let mut read = 0;
        crate::id::odd::bytes(&[seed], 10_000, |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else {
                return;
            };
            let mut all = Registries::default();
            if all.add(text, Path::new("/f.conf")).is_ok() {
                read += 1;
                for name in ["short", "short:1", "a/b", "x.example/a/b@c", "é"] {
                    let _ = all.meant(name);
                }
                for (registry, path) in [
                    ("x.example", "a/b"),
                    ("blocked.example", "a"),
                    ("blocked.example", "ab"),
                    ("near.example", ""),
                ] {
                    let _ = all.endpoints(registry, path, false);
                    let _ = all.own_endpoint(registry, path);
                }
            }
        });
        assert!(read > 100);
    }
}
