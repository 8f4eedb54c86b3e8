//! Which cgroups this machine has, and what libcontainer may see of them.

use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::sys::mount;

const ROOT: &str = "/sys/fs/cgroup";
/// statfs(2), CGROUP2_SUPER_MAGIC.
const CGROUP2: i128 = 0x6367_7270;

/// How the machine's cgroups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2 alone.
    Unified,
    /// Version 1 for the controllers, version 2 beside them.
    Hybrid,
    /// Version 1, or none at all.
    Legacy,
}

/// Looks at what is mounted.
pub fn hierarchy() -> Hierarchy {
    if is_cgroup2(Path::new(ROOT)) {
        Hierarchy::Unified
    } else if is_cgroup2(&unified()) {
        Hierarchy::Hybrid
    } else {
        Hierarchy::Legacy
    }
}

/// The controllers of the cgroup that we are in (cgroup v2).
pub fn controllers() -> Vec<String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let file = Path::new(ROOT)
        .join(own.unwrap_or(""))
        .join("cgroup.controllers");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Has libcontainer, which knows version 2 only, find that at the usual place. In
/// a mount namespace of our own.
pub fn show_unified_only() -> Result<()> {
    match hierarchy() {
        Hierarchy::Unified => Ok(()),
        Hierarchy::Hybrid => {
            mount::bind(&unified(), Path::new(ROOT)).tried(|| "show the unified cgroups")
        }
        // An init without a cgroup namespace of its own makes do with any.
        Hierarchy::Legacy => {
            let made = mount::make("cgroup2", &[], rustix::mount::MountAttrFlags::empty())
                .tried(|| "mount cgroup2 (this machine has cgroup v1 only)")?;
            mount::attach(&made, Path::new(ROOT)).tried(|| "mount cgroup2")
        }
    }
}

fn unified() -> PathBuf {
    Path::new(ROOT).join("unified")
}

fn is_cgroup2(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| i128::from(found.f_type) == CGROUP2)
}
