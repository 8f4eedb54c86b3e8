//! What a test asks of the machine.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)]
pub enum Need {
    /// Subordinate ids in /etc/subuid and newuidmap.
    Subuids,
    /// /dev/net/tun opens.
    Tun,
    Pasta,
    Mandoc,
    /// bash, zsh and fish.
    Shells,
    /// Debian's docker-registry.
    Registry,
    /// Makes certificates.
    Openssl,
    /// cgroup v2 alone, and cgroups may be made beside or beneath ours. Never a
    /// failure, as the next.
    OwnCgroup,
    /// The memory and pids controllers are delegated to us. No machine of a
    /// CI can promise that, so it is never a failure.
    Cgroups,
}

impl Need {
    pub fn is_met(self) -> bool {
        let met = match self {
            Self::Subuids => program("newuidmap") && subuids(),
            Self::Tun => std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/net/tun")
                .is_ok(),
            Self::Pasta => program("pasta"),
            Self::Mandoc => program("mandoc"),
            Self::Shells => ["bash", "zsh", "fish"].into_iter().all(program),
            Self::Registry => program("docker-registry"),
            Self::Openssl => program("openssl"),
            Self::OwnCgroup => own_cgroup().is_some(),
            Self::Cgroups => cgroups(),
        };
        if !met {
            let all = std::env::var("NEEDS").is_ok_and(|needs| needs == "all");
            assert!(
                !all || matches!(self, Self::OwnCgroup | Self::Cgroups),
                "this machine has no {self:?}, and NEEDS=all"
            );
            let thread = std::thread::current();
            // Straight to stderr: libtest swallows what a passing test prints.
            let _ = writeln!(
                std::io::stderr(),
                "skipped {}: this machine has no {self:?}",
                thread.name().unwrap_or("a test")
            );
        }
        met
    }
}

pub fn program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin".into(), "/usr/sbin".into()])
        .any(|dir| dir.join(name).exists())
}

fn subuids() -> bool {
    let uid = rustix::process::getuid().as_raw();
    let name = coracle::settings::user_name(uid).unwrap_or_default();
    let has = |file: &str| {
        std::fs::read_to_string(file).is_ok_and(|text| {
            text.lines()
                .filter_map(|line| line.split(':').next())
                .any(|owner| owner == name || owner == uid.to_string())
        })
    };
    has("/etc/subuid") && has("/etc/subgid")
}

/// The folder that cgroups may be made in: the one above ours, else ours.
fn own_cgroup() -> Option<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    if !root.join("cgroup.controllers").exists() {
        return None;
    }
    let own = root.join(path);
    let may = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let above = own.parent().filter(|above| above.starts_with(root));
    let mut all = above.into_iter().chain([own.as_path()]);
    all.find(|folder| may(folder) && may(&folder.join("cgroup.procs")))
        .map(Path::to_owned)
}

fn cgroups() -> bool {
    let controllers = own_cgroup()
        .and_then(|folder| std::fs::read_to_string(folder.join("cgroup.controllers")).ok())
        .unwrap_or_default();
    ["memory", "pids"]
        .iter()
        .all(|wanted| controllers.split_whitespace().any(|it| it == *wanted))
}
