//! What the machine gives a user's processes: cgroups, and staying when the user
//! leaves.

use std::path::Path;

use super::{Finding, in_child};
use crate::cgroup::{self, Hierarchy, Mode, Wanted};
use crate::error::Result;
use crate::settings::Settings;
use crate::sys::SoleThread;
use crate::userns::Machine;

pub fn look(settings: &Settings, thread: SoleThread, machine: &Machine) -> [Finding; 2] {
    let hierarchy = cgroup::hierarchy();
    let had = match hierarchy {
        Hierarchy::Unified => made(settings, thread),
        Hierarchy::Hybrid | Hierarchy::Legacy => Ok(None),
    };
    [
        cgroups(hierarchy, had, is_booted_by_systemd(Path::new("/"))),
        linger(Path::new("/"), &machine.user()),
    ]
}

/// The controllers of a cgroup that is made as a container's is, by a child that
/// systemd may move about. None: there is no place for one.
fn made(settings: &Settings, thread: SoleThread) -> Result<Option<Vec<String>>> {
    let id = format!("doctor-{}", crate::id::random_hex::<4>());
    let had = in_child(thread, || {
        let place = cgroup::settle(&Wanted {
            id: &id,
            mode: Mode::default(),
            parent: None,
            manager: settings.cgroup_manager,
            socket: settings.user_manager.as_deref(),
            uid: settings.uid,
            patience: std::time::Duration::from_secs(1),
        })?;
        let Some(place) = place else {
            return Ok("none".to_owned());
        };
        let cgroup = place.make()?;
        let had: Vec<String> = cgroup.controllers().into_iter().collect();
        cgroup.end()?;
        Ok(format!("had {}", had.join(" ")))
    })?;
    let had = had.strip_prefix("had ");
    Ok(had.map(|had| had.split_whitespace().map(str::to_owned).collect()))
}

/// systemd.resource-control(5): what a user's own systemd gets is set by root.
const SYSTEMD_DELEGATES: &str = "as root, `mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload`, then log in again";

/// Limits of containers need controllers that are delegated to us; `had` are those of
/// a container's cgroup.
fn cgroups(hierarchy: Hierarchy, had: Result<Option<Vec<String>>>, has_systemd: bool) -> Finding {
    const CHECK: &str = "cgroups";
    let delegate = if has_systemd {
        SYSTEMD_DELEGATES
    } else {
        "have root give you a cgroup with controllers: `+cpu +memory +pids` in the cgroup.subtree_control above it, its folder and cgroup.procs yours"
    };
    let unified = "boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line";
    let had = match (hierarchy, had) {
        (Hierarchy::Unified, Err(error)) => {
            let found = format!("version 2, but no cgroup can be made: {error}");
            return Finding::warning(CHECK, found, delegate);
        }
        (_, had) => had.ok().flatten(),
    };
    let is_missing = |wanted: &&str| !had.iter().flatten().any(|it| it == wanted);
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(is_missing)
        .collect();
    match hierarchy {
        Hierarchy::Unified if had.is_none() => Finding::warning(
            CHECK,
            "version 2, but nothing is delegated to you: containers have no cgroup of their own, limits are ignored",
            delegate,
        ),
        Hierarchy::Unified if missing.is_empty() => {
            let had = had.unwrap_or_default().join(" ");
            Finding::ok(CHECK, format!("version 2, with {had}"))
        }
        Hierarchy::Unified => Finding::warning(
            CHECK,
            format!(
                "version 2, but not delegated to you: {}; limits of these are refused",
                missing.join(" ")
            ),
            delegate,
        ),
        Hierarchy::Hybrid => Finding::warning(
            CHECK,
            "version 1 beside version 2 (hybrid): limits are ignored",
            unified,
        ),
        Hierarchy::Legacy => {
            Finding::warning(CHECK, "version 1 alone: limits are ignored", unified)
        }
    }
}

/// systemd takes /run/user/UID, and may take processes, when the last session ends.
fn linger(root: &Path, user: &str) -> Finding {
    const CHECK: &str = "linger";
    if !is_booted_by_systemd(root) {
        return Finding::ok(CHECK, "no systemd here that ends what you leave running");
    }
    match root.join("var/lib/systemd/linger").join(user).exists() {
        true => Finding::ok(CHECK, format!("{user}'s containers stay after logout")),
        false => Finding::warning(
            CHECK,
            format!("{user}'s runtime folder, and containers with it, may go at logout"),
            format!("`loginctl enable-linger {user}`"),
        ),
    }
}

/// sd_booted(3)
fn is_booted_by_systemd(root: &Path) -> bool {
    root.join("run/systemd/system").is_dir()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::error::Error;

    #[test]
    fn limits_need_delegated_controllers() {
        let given = |names: &[&str]| Ok(Some(names.iter().map(ToString::to_string).collect()));
        let all = given(&["cpuset", "cpu", "io", "memory", "pids"]);
        assert_eq!(cgroups(Hierarchy::Unified, all, true).verdict, Verdict::Ok);
        let some = cgroups(Hierarchy::Unified, given(&["memory", "pids"]), true);
        assert_eq!(
            some.found,
            "version 2, but not delegated to you: cpu; limits of these are refused"
        );
        for (had, words) in [
            (Ok(None), "nothing is delegated to you"),
            (
                Err(Error::other("because")),
                "no cgroup can be made: because",
            ),
        ] {
            let found = cgroups(Hierarchy::Unified, had, true);
            assert_eq!(found.verdict, Verdict::Warning);
            assert!(found.found.contains(words), "{}", found.found);
            assert!(found.mend.contains("Delegate="));
        }
        for old in [Hierarchy::Hybrid, Hierarchy::Legacy] {
            let found = cgroups(old, Ok(None), true);
            assert_eq!(found.verdict, Verdict::Warning);
            assert!(found.mend.contains("unified_cgroup_hierarchy=1"));
        }
    }

    #[test]
    fn who_lingers_keeps_containers() {
        let root =
            std::env::temp_dir().join(format!("coracle-linger-{}", crate::id::random_hex::<8>()));
        assert_eq!(linger(&root, "alice").verdict, Verdict::Ok);
        std::fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        let gone = linger(&root, "alice");
        assert_eq!(
            (gone.verdict, gone.mend.as_str()),
            (Verdict::Warning, "`loginctl enable-linger alice`")
        );
        std::fs::create_dir_all(root.join("var/lib/systemd/linger/alice")).unwrap();
        assert_eq!(linger(&root, "alice").verdict, Verdict::Ok);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
