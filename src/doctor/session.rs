//! What the machine gives a user's processes: cgroups, and staying when the user
//! leaves.

use std::path::Path;

use super::Finding;
use crate::cgroup::{self, Hierarchy};
use crate::userns::Machine;

pub fn look(machine: &Machine) -> Vec<Finding> {
    let own = cgroup::own().unwrap_or_default();
    let controllers: Vec<String> = cgroup::controllers(&own).into_iter().collect();
    vec![
        cgroups(cgroup::hierarchy(), &controllers),
        linger(Path::new("/"), &machine.user()),
    ]
}

/// Limits of containers need controllers that are delegated to us.
fn cgroups(hierarchy: Hierarchy, controllers: &[String]) -> Finding {
    const CHECK: &str = "cgroups";
    let delegate = "as root, `mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload`, then log in again";
    let unified = "boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line";
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|wanted| !controllers.iter().any(|it| it == wanted))
        .collect();
    match hierarchy {
        Hierarchy::Unified if missing.is_empty() => {
            Finding::ok(CHECK, format!("version 2, with {}", controllers.join(" ")))
        }
        Hierarchy::Unified => Finding::warning(
            CHECK,
            format!(
                "version 2, but not delegated to you: {}; limits of these are ignored",
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
    // sd_booted(3).
    if !root.join("run/systemd/system").is_dir() {
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

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn limits_need_delegated_controllers() {
        let given = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = given(&["cpuset", "cpu", "io", "memory", "pids"]);
        assert_eq!(cgroups(Hierarchy::Unified, &all).verdict, Verdict::Ok);
        let some = cgroups(Hierarchy::Unified, &given(&["memory", "pids"]));
        assert_eq!(
            some.found,
            "version 2, but not delegated to you: cpu; limits of these are ignored"
        );
        assert!(some.mend.contains("Delegate="));
        for old in [Hierarchy::Hybrid, Hierarchy::Legacy] {
            let found = cgroups(old, &[]);
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
