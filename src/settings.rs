//! What the caller's environment says, read once: who they are and where
//! their files go (XDG Base Directory Specification 0.8).

pub mod containers;
pub mod yaml;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use containers::Defaults;

use crate::error::{Context, Error, Result};

/// The caller and the caller's folders.
#[derive(Debug, Clone)]
pub struct Settings {
    pub uid: u32,
    pub gid: u32,
    /// `$HOME`, else what /etc/passwd says.
    pub home: PathBuf,
    /// `$XDG_DATA_HOME/coracle`, or `--root`.
    pub data: PathBuf,
    /// `$XDG_CACHE_HOME/coracle`.
    pub cache: PathBuf,
    /// `$XDG_RUNTIME_DIR/coracle`, or `--runroot`, else `/tmp/coracle-run-UID`.
    pub runtime: PathBuf,
    /// Where the user's systemd would listen.
    pub user_manager: Option<PathBuf>,
    /// `--cgroup-manager`
    pub cgroup_manager: Option<CgroupManager>,
    /// `--events-backend`
    pub events_backend: Option<EventsBackend>,
    /// `--cdi-spec-dir`
    pub cdi_folders: Vec<PathBuf>,
}

/// Where events are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsBackend {
    None,
    File,
    Journald,
}

impl EventsBackend {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::File => "file",
            Self::Journald => "journald",
        }
    }

    pub fn named(text: &str) -> Option<Self> {
        [Self::None, Self::File, Self::Journald]
            .into_iter()
            .find(|backend| backend.name() == text)
    }
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupManager {
    Systemd,
    Cgroupfs,
}

impl CgroupManager {
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cgroupfs => "cgroupfs",
        }
    }
}

impl FromStr for CgroupManager {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "systemd" => Ok(Self::Systemd),
            "cgroupfs" => Ok(Self::Cgroupfs),
            _ => Err(Error::usage(
                "configuring runtime: cgroup manager must be one of cgroupfs and systemd: \
                 invalid argument",
            )),
        }
    }
}

/// Global options that change what the environment says.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub root: Option<PathBuf>,
    pub runroot: Option<PathBuf>,
    pub cgroup_manager: Option<String>,
    pub events_backend: Option<String>,
    pub cdi_folders: Vec<PathBuf>,
    /// Docker's folder of passwords (`--config`).
    pub docker_config: Option<std::ffi::OsString>,
    /// Where what is printed goes in place of stdout.
    pub out: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment. Makes nothing.
    pub fn read(overrides: &Overrides) -> Result<Self> {
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        let home = match absolute("HOME") {
            Some(home) => home,
            None => passwd_home(uid).ok_or_else(|| {
                Error::other(format!(
                    "HOME is not set and /etc/passwd has no home for user {uid}"
                ))
            })?,
        };
        let data = match &overrides.root {
            Some(root) => root.clone(),
            None => absolute("XDG_DATA_HOME")
                .unwrap_or_else(|| home.join(".local/share"))
                .join("coracle"),
        };
        let cache = absolute("XDG_CACHE_HOME")
            .unwrap_or_else(|| home.join(".cache"))
            .join("coracle");
        let runtime = match &overrides.runroot {
            Some(root) => root.clone(),
            None => match absolute("XDG_RUNTIME_DIR") {
                Some(dir) => dir.join("coracle"),
                None => PathBuf::from(format!("/tmp/coracle-run-{uid}")),
            },
        };
        Ok(Self {
            uid,
            gid,
            home,
            data,
            cache,
            runtime,
            user_manager: absolute("XDG_RUNTIME_DIR").map(|dir| dir.join("systemd/private")),
            cgroup_manager: (overrides.cgroup_manager.as_deref())
                .map(str::parse)
                .transpose()?,
            events_backend: match overrides.events_backend.as_deref() {
                None | Some("") => None,
                Some(text) => Some(EventsBackend::named(text).ok_or_else(|| {
                    Error::usage(format!(
                        "configuring runtime: {text:?} is not a valid events backend: \
                         invalid argument"
                    ))
                })?),
            },
            cdi_folders: overrides.cdi_folders.clone(),
        })
    }

    /// Where files lie that describe devices, the most important last.
    pub fn cdi_folders(&self) -> Result<Vec<PathBuf>> {
        if !self.cdi_folders.is_empty() {
            return Ok(self.cdi_folders.clone());
        }
        if let Some(folders) = Configuration::read()?.defaults.engine.cdi_spec_dirs {
            return Ok(folders);
        }
        // Podman's two; the caller's own beside them, as not everybody may write there.
        let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| self.home.join(".config"));
        let mut folders = vec![PathBuf::from("/etc/cdi"), config.join("cdi")];
        folders.push("/var/run/cdi".into());
        folders.extend(absolute("XDG_RUNTIME_DIR").map(|dir| dir.join("cdi")));
        Ok(folders)
    }

    /// Makes the runtime folder, 0700, and refuses one that is another's.
    pub fn ensure_runtime(&self) -> Result<&Path> {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
        let dir = &self.runtime;
        if let Ok(found) = std::fs::symlink_metadata(dir) {
            // Inside our own user namespace the owner shows as 0 and so do we.
            if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() {
                return Err(
                    Error::other(format!("{} is not a folder of yours", dir.display()))
                        .hint(self.other_runtime()),
                );
            }
            if found.mode() & 0o077 != 0 {
                std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
                    .tried(|| format!("protect {}", dir.display()))?;
            }
            return Ok(dir);
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .tried(|| format!("make {}", dir.display()))
            .map_err(|error| error.hint(self.other_runtime()))?;
        Ok(dir)
    }

    /// What to do where the runtime folder cannot be used.
    fn other_runtime(&self) -> String {
        let usual = format!("/run/user/{}", self.uid);
        // As `su` leaves it, which begins no session.
        if absolute("XDG_RUNTIME_DIR").is_some_and(|dir| !is_own(&dir))
            && !Path::new(&usual).is_dir()
        {
            return "XDG_RUNTIME_DIR is of somebody else, or nowhere: `unset XDG_RUNTIME_DIR`, and a folder in /tmp stands in for it".to_owned();
        }
        let folder = match Path::new(&usual).is_dir() {
            true => &usual,
            false => "FOLDER",
        };
        format!("name a folder that is yours alone: `export XDG_RUNTIME_DIR={folder}`")
    }
}

/// Whether `dir` is a folder of the caller's.
fn is_own(dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let found = dir.metadata();
    found.is_ok_and(|it| it.is_dir() && it.uid() == rustix::process::getuid().as_raw())
}

/// What of containers.conf(5) is heeded. Later files win over earlier ones:
/// the vendor's, the administrator's, the caller's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    /// `[containers] userns`
    pub userns: Option<String>,
    /// `[coracle] ownership`: `default` or `podman`.
    pub ownership: Option<String>,
    /// `[engine] multi_image_archive`
    pub multi_image_archive: bool,
    pub events: EventsConfiguration,
    /// The defaults of flags of `run` and `create`.
    pub defaults: Defaults,
    /// All that the files say.
    table: toml::Table,
}

/// The files that `--module` names.
static MODULES: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Notes the modules that the command line names: each an absolute path, or one below
/// `containers/containers.conf.modules` of the caller's, the machine's or the vendor's
/// configuration.
pub fn use_modules(names: &[String]) -> Result<()> {
    let mut found = Vec::new();
    for name in names {
        let places = configuration_folders().into_iter().rev();
        let mut places = places.map(|dir| dir.join("containers.conf.modules").join(name));
        // A path that is absolute stays what it is.
        let path = places.find(|path| path.is_file()).ok_or_else(|| {
            Error::usage(format!(
                "could not resolve module {name:?}: stat {name}: no such file or directory"
            ))
        })?;
        found.push(path);
    }
    if !found.is_empty() {
        // The command line is read once.
        let _ = MODULES.set(found);
    }
    Ok(())
}

/// Where containers.conf and its like lie: what stands in a later one wins.
fn configuration_folders() -> Vec<PathBuf> {
    let own =
        absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let usual = ["/usr/share/containers", "/etc/containers"].map(PathBuf::from);
    let own = own.map(|config| config.join("containers"));
    usual.into_iter().chain(own).collect()
}

/// The `*.conf` files of a folder, by name; none if there is no folder.
pub fn parts(dir: &Path) -> Vec<PathBuf> {
    let parts = std::fs::read_dir(dir).into_iter().flatten();
    let mut parts: Vec<PathBuf> = parts
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|it| it == "conf"))
        .collect();
    parts.sort();
    parts
}

/// What `[engine]` says of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsConfiguration {
    /// `events_logger`
    pub logger: Option<String>,
    /// `events_logfile_path`
    pub file: Option<PathBuf>,
    /// `events_logfile_max_size`, in bytes
    pub size: Option<u64>,
    /// `events_container_create_inspect_data`
    pub inspect_data: bool,
    /// `healthcheck_events=false`
    pub no_health: bool,
}

#[derive(serde::Deserialize, Default)]
struct ConfigurationFile {
    #[serde(default)]
    containers: ContainersSection,
    #[serde(default)]
    engine: EngineSection,
    #[serde(default)]
    coracle: CoracleSection,
}

#[derive(serde::Deserialize, Default)]
struct ContainersSection {
    userns: Option<String>,
}

#[derive(serde::Deserialize, Default)]
struct EngineSection {
    multi_image_archive: Option<bool>,
    events_logger: Option<String>,
    events_logfile_path: Option<PathBuf>,
    events_logfile_max_size: Option<Size>,
    events_container_create_inspect_data: Option<bool>,
    healthcheck_events: Option<bool>,
}

/// A number of bytes: `1000000`, `"1m"`.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u64),
    Text(String),
}

impl Size {
    fn bytes(&self) -> Result<u64> {
        let text = match self {
            Self::Number(bytes) => return Ok(*bytes),
            Self::Text(text) => text.trim().to_ascii_lowercase(),
        };
        let text = text.strip_suffix('b').unwrap_or(&text);
        let text = text.strip_suffix('i').unwrap_or(text);
        let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let unit = match unit {
            "" => Some(1),
            "k" => Some(1 << 10),
            "m" => Some(1 << 20),
            "g" => Some(1 << 30),
            _ => None,
        };
        let number = number.trim().parse::<u64>().ok();
        (number.zip(unit))
            .and_then(|(number, unit)| number.checked_mul(unit))
            .ok_or_else(|| Error::usage(format!("invalid size: {text:?}")))
    }
}

#[derive(serde::Deserialize, Default)]
struct CoracleSection {
    ownership: Option<String>,
}

/// The lines of a TOML file that are no comments: the file that distributions install has
/// 800 of those, and to parse them takes as long as all else that `run` does with its line.
fn without_comments(text: &str) -> Cow<'_, str> {
    let lines = text.split_inclusive('\n');
    let kept: String = lines
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    // In a string of several lines none of them is a comment.
    match kept.contains("\"\"\"") || kept.contains("'''") {
        true => Cow::Borrowed(text),
        false => Cow::Owned(kept),
    }
}

impl Configuration {
    /// Reads the files, once: `$CONTAINERS_CONF` alone, or the usual ones with the
    /// `*.conf` of the folders beside them; `$CONTAINERS_CONF_OVERRIDE` last.
    pub fn read() -> Result<Self> {
        static READ: OnceLock<Result<Configuration>> = OnceLock::new();
        READ.get_or_init(Self::read_files).clone()
    }

    fn read_files() -> Result<Self> {
        let mut files = Vec::new();
        match std::env::var_os("CONTAINERS_CONF") {
            Some(file) => files.push(PathBuf::from(file)),
            None => {
                for dir in configuration_folders() {
                    files.push(dir.join("containers.conf"));
                    files.extend(parts(&dir.join("containers.conf.d")));
                }
            }
        }
        files.extend(MODULES.get().into_iter().flatten().cloned());
        files.extend(std::env::var_os("CONTAINERS_CONF_OVERRIDE").map(PathBuf::from));
        let mut all = Self::default();
        for file in files {
            match std::fs::read_to_string(&file) {
                Ok(text) => all
                    .add(&text)
                    .tried(|| format!("read {}", file.display()))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).tried(|| format!("read {}", file.display())),
            }
        }
        Ok(all)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        let wrong = |error: toml::de::Error| Error::other(error.message().to_owned());
        let table: toml::Table = toml::from_str(&without_comments(text)).map_err(wrong)?;
        let file: ConfigurationFile = table.clone().try_into().map_err(wrong)?;
        if let Some(userns) = file.containers.userns {
            self.userns = Some(userns);
        }
        if let Some(multi) = file.engine.multi_image_archive {
            self.multi_image_archive = multi;
        }
        let engine = file.engine;
        let events = &mut self.events;
        events.logger = engine.events_logger.or(events.logger.take());
        events.file = engine.events_logfile_path.or(events.file.take());
        if let Some(size) = engine.events_logfile_max_size {
            events.size = Some(size.bytes()?);
        }
        if let Some(inspect) = engine.events_container_create_inspect_data {
            events.inspect_data = inspect;
        }
        if let Some(health) = engine.healthcheck_events {
            events.no_health = !health;
        }
        if let Some(ownership) = file.coracle.ownership {
            self.ownership = Some(ownership);
        }
        containers::merge(&mut self.table, table);
        self.defaults = containers::without_marks(&self.table)
            .try_into()
            .map_err(wrong)?;
        Ok(())
    }

    /// An error if the files ask for what nothing here does.
    pub fn check(&self) -> Result<()> {
        match containers::refused(&self.table) {
            Some(key) => Err(Error::unsupported(key)),
            None => Ok(()),
        }
    }

    /// Whether ids are to be Podman's, with no ownership by default:
    /// `$CORACLE_OWNERSHIP`, else the configuration.
    pub fn is_podmans_ownership() -> Result<bool> {
        let (said, place) = match std::env::var("CORACLE_OWNERSHIP") {
            Ok(said) if !said.is_empty() => (Some(said), "CORACLE_OWNERSHIP"),
            _ => (Self::read()?.ownership, "ownership in containers.conf"),
        };
        match said.as_deref() {
            None | Some("default") => Ok(false),
            Some("podman") => Ok(true),
            Some(other) => Err(Error::usage(format!(
                "{place} is {other:?}: it can be default or podman"
            ))),
        }
    }
}

/// `CORACLE_SHIFT`: how images are made ready for other id maps.
pub fn shift() -> Option<String> {
    std::env::var("CORACLE_SHIFT").ok()
}

/// A variable's value if it is an absolute path: others must be ignored.
fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn passwd_home(uid: u32) -> Option<PathBuf> {
    passwd_line(uid)?.split(':').nth(5).map(PathBuf::from)
}

/// The name of user `uid`: from /etc/passwd, else `$USER`, `$LOGNAME` (LDAP and
/// its like are not asked: a static program loads no NSS modules).
pub fn user_name(uid: u32) -> Option<String> {
    passwd_line(uid)
        .and_then(|line| line.split(':').next().map(str::to_owned))
        .or_else(|| std::env::var("USER").ok().filter(|name| !name.is_empty()))
        .or_else(|| {
            std::env::var("LOGNAME")
                .ok()
                .filter(|name| !name.is_empty())
        })
}

/// The lines of /etc/passwd (passwd(5)): those of NSS modules are not asked.
pub fn host_users() -> Vec<HostUser> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, about, home, ..] = fields[..] else {
            return None;
        };
        Some(HostUser {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            // As Go's os/user: what stands before the first comma is the name.
            about: about.split(',').next().unwrap_or("").to_owned(),
            home: home.to_owned(),
        })
    };
    text.lines().filter_map(user).collect()
}

/// The name of group `gid` in /etc/group.
pub fn host_group(gid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let wanted = gid.to_string();
    text.lines()
        .find(|line| line.split(':').nth(2) == Some(&wanted))
        .and_then(|line| Some(line.split(':').next()?.to_owned()))
}

/// A user as /etc/passwd has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// The full name, of the GECOS field.
    pub about: String,
    pub home: String,
}

fn passwd_line(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let wanted = uid.to_string();
    text.lines()
        .find(|line| line.split(':').nth(2) == Some(&wanted))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_not_parsed() {
        let text = "# a\n[b]\n  # c = [\nd = [ # e\n  \"#\",\n]\n#";
        let kept = without_comments(text);
        assert_eq!(kept, "[b]\nd = [ # e\n  \"#\",\n]\n");
        let parse = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
        assert_eq!(parse(&kept), parse(text));
        let text = "a = '''\n# b\n'''\n";
        assert_eq!(parse(&without_comments(text)), parse(text));
    }

    #[test]
    fn later_files_win_and_what_is_not_ours_is_passed_over() {
        let mut all = Configuration::default();
        all.add("[containers]\nuserns = \"keep-id\"\nlog_driver = \"x\"\n[engine]\nx = [1]\n")
            .unwrap();
        all.add("[coracle]\nownership = \"podman\"\n").unwrap();
        assert_eq!(all.userns.as_deref(), Some("keep-id"));
        all.add("[containers]\nuserns = \"\"\n").unwrap();
        assert_eq!(all.userns.as_deref(), Some(""));
        assert_eq!(all.ownership.as_deref(), Some("podman"));
        assert!(all.add("[containers").is_err());
        assert!(all.add("[containers]\nuserns = 5\n").is_err());
    }
}
