//! What the caller's environment says, read once: who they are and where
//! their files go (XDG Base Directory Specification 0.8).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
        })
    }

    /// Makes the runtime folder, 0700, and refuses one that is another's.
    pub fn ensure_runtime(&self) -> Result<&Path> {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
        let dir = &self.runtime;
        if let Ok(found) = std::fs::symlink_metadata(dir) {
            // Inside our own user namespace the owner shows as 0 and so do we.
            if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() {
                return Err(Error::other(format!(
                    "{} is not a folder of yours",
                    dir.display()
                )));
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
            .tried(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }
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

fn passwd_line(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let wanted = uid.to_string();
    text.lines()
        .find(|line| line.split(':').nth(2) == Some(&wanted))
        .map(str::to_owned)
}
