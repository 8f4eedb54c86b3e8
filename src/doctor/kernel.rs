//! What the kernel lets a user do, found by doing it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use super::{Finding, in_child};
use crate::container;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::runtime::capability::CapSet;
use crate::runtime::seccomp::{self, Profile};
use crate::storage::shifted::{self, Lower};
use crate::storage::{FileSystem, text};
use crate::sys::file::{open_dir, open_in_root};
use crate::sys::process::{self, UnshareFlags};
use crate::sys::{Process, SoleThread, mount};
use crate::userns::{self, IdMap, Machine};

/// The oldest kernel that has all we cannot do without.
const OLDEST: (u32, u32) = (5, 11);

/// The kernel by its own word.
pub fn release(release: &str) -> Finding {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = format!("Linux {release}");
    match version < OLDEST {
        true => {
            let mend = format!("Linux {}.{} or newer is needed", OLDEST.0, OLDEST.1);
            Finding::failure("kernel", &Error::other(found).hint(mend))
        }
        false => Finding::ok("kernel", found),
    }
}

/// Whether a user namespace can be made, with the ids that `run` would give it.
pub fn user_namespace(thread: SoleThread, map: &IdMap, machine: &Machine) -> Finding {
    const CHECK: &str = "user namespaces";
    if let Err(error) = userns::in_child(thread, map, || Ok(())) {
        // It need not know what stands in the way: the machine may.
        let why = match (error.hint_line(), machine.forbids()) {
            (None, Some(why)) => why.tried(error),
            _ => error,
        };
        return Finding::failure(CHECK, &why);
    }
    let found = match map.is_single() {
        true => "can be made, with your own id alone".to_owned(),
        false => {
            let ids: u64 = map.uids.iter().map(|it| u64::from(it.count)).sum();
            format!("can be made, with {ids} ids")
        }
    };
    Finding::ok(CHECK, found)
}

/// What can only be known by trying it, in a user namespace and the store.
pub fn tried(engine: &Engine) -> Vec<Finding> {
    let mut all = vec![calls(engine.storage.root())];
    match in_namespace(engine) {
        Ok(found) => all.extend(found),
        Err(error) => all.push(Finding::failure("overlay", &error)),
    }
    all
}

/// System calls without which nothing goes.
fn calls(dir: &Path) -> Finding {
    const CHECK: &str = "system calls";
    let own = std::process::id() as i32;
    let done = Process::open(own).map(drop).and_then(|()| {
        let dir = open_dir(dir)?;
        open_in_root(&dir, Path::new("."), OFlags::PATH).tried(|| "openat2")?;
        Ok(())
    });
    match done {
        Ok(()) => Finding::ok(CHECK, "pidfd_open, openat2"),
        Err(error) => Finding::failure(
            CHECK,
            &error.hint("a seccomp filter or an old kernel refuses it: Linux 5.11 outside of containers has it"),
        ),
    }
}

/// The trials that need a user namespace, in a folder of the store.
fn in_namespace(engine: &Engine) -> Result<Vec<Finding>> {
    let staging = engine.storage.stage()?;
    let cache = engine.storage.cache();
    engine.in_namespace(|| {
        let dir = staging.path();
        let kind = FileSystem::of(dir).map_or("<unknown>", |it| it.kind);
        Ok(vec![
            overlay(&dir.join("overlay"), kind),
            many_layers(&dir.join("many")),
            data_only(dir),
            id_mapped(dir, kind),
            own_proc(engine.thread),
            filter(engine.thread, cache),
        ])
    })
}

/// The overlay that containers stand on, as `run` makes it, and what it must be
/// able to do: hide what lies below.
fn overlay(dir: &Path, kind: &str) -> Finding {
    const CHECK: &str = "overlay";
    let done = (|| {
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| dir.join(name));
        for folder in [&lower.join("folder"), &upper, &work] {
            std::fs::create_dir_all(folder).tried(|| format!("make {}", folder.display()))?;
        }
        std::fs::write(lower.join("file"), "below")?;
        let root = container::overlay(&alone(&lower), Some((&upper, &work)), true)?;
        rustix::fs::unlinkat(&root, "file", AtFlags::empty()).tried(|| "hide a file")?;
        rustix::fs::unlinkat(&root, "folder", AtFlags::REMOVEDIR).tried(|| "hide a folder")?;
        rustix::fs::mkdirat(&root, "folder", Mode::RWXU).tried(|| "make an opaque folder")?;
        let new = OFlags::CREATE | OFlags::WRONLY;
        rustix::fs::openat(&root, "new", new, Mode::RUSR).tried(|| "make a file")?;
        Ok(())
    })();
    match done {
        Ok(()) => Finding::ok(
            CHECK,
            format!("the kernel's own, with userxattr, on {kind}"),
        ),
        Err(error) => Finding::failure(CHECK, &tell(error, kind)),
    }
}

/// One folder to put an overlay on.
fn alone(folder: &Path) -> Lower {
    Lower {
        folders: vec![folder.to_owned()],
        data: Vec::new(),
    }
}

fn tell(error: Error, kind: &str) -> Error {
    let hint = error.hint_line().map(str::to_owned);
    let told = Error::other(format!("on {kind}: {error}"));
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Images of hundreds of layers need each named by itself.
fn many_layers(dir: &Path) -> Finding {
    const CHECK: &str = "many layers";
    let done = (|| {
        let [one, two] = ["one", "two"].map(|name| dir.join(name));
        for folder in [&one, &two] {
            std::fs::create_dir_all(folder)?;
        }
        let (one, two) = (text(&one)?, text(&two)?);
        let options = [
            ("source", Some("overlay")),
            ("userxattr", None),
            ("lowerdir+", Some(one.as_str())),
            ("lowerdir+", Some(two.as_str())),
        ];
        mount::make("overlay", &options, MountAttrFlags::empty())?;
        Ok::<_, Error>(())
    })();
    match done {
        Ok(()) => Finding::ok(CHECK, "500 in an image"),
        Err(_) => Finding::warning(
            CHECK,
            "the kernel takes the names of all layers in one page: some 200 in an image",
            "Linux 6.7 or newer takes 500",
        ),
    }
}

/// Whether other id maps cost no copy of the image: a layer of metadata over
/// layers of data alone.
fn data_only(dir: &Path) -> Finding {
    const CHECK: &str = "data-only layers";
    match shifted::metadata_works(dir) {
        Ok(true) => Finding::ok(CHECK, "other id maps copy no image"),
        Ok(false) => Finding::warning(
            CHECK,
            "the kernel has none for users: other id maps than the default copy the image",
            "Linux 6.16 or newer has them",
        ),
        Err(error) => Finding::failure(CHECK, &error),
    }
}

/// Nothing here needs them, but who knows of them asks.
fn id_mapped(dir: &Path, kind: &str) -> Finding {
    const CHECK: &str = "idmapped mounts";
    let mapped = open_dir(dir)
        .and_then(|dir| mount::copy_of(&dir, false))
        .and_then(|copy: OwnedFd| mount::map_ids(&copy, File::open("/proc/self/ns/user")?));
    match mapped {
        Ok(()) => Finding::ok(CHECK, format!("can be had on {kind}; not needed")),
        Err(_) => Finding::ok(CHECK, format!("refused to users on {kind}; not needed")),
    }
}

/// A /proc and a /sys of its own, which the kernel refuses where the caller's are
/// partly hidden, as in most containers.
fn own_proc(thread: SoleThread) -> Finding {
    const CHECK: &str = "/proc and /sys";
    let done = in_child(thread, || {
        process::unshare(thread, UnshareFlags::NEWPID | UnshareFlags::NEWNET)
            .tried(|| "make a pid and a network namespace")?;
        in_child(thread, || {
            for kind in ["proc", "sysfs"] {
                mount::make(kind, &[], MountAttrFlags::empty())
                    .tried(|| format!("mount a {kind} of its own"))?;
            }
            Ok(String::new())
        })
    });
    match done {
        Ok(_) => Finding::ok(CHECK, "can be mounted anew"),
        Err(error) => Finding::failure(
            CHECK,
            &error.hint("here, as in most containers, parts of them are hidden: run it outside, or start the container it is in with `--security-opt unmask=ALL`"),
        ),
    }
}

/// The seccomp filter that containers get.
fn filter(thread: SoleThread, cache: &Path) -> Finding {
    const CHECK: &str = "seccomp";
    let loaded = in_child(thread, || {
        let filter = seccomp::filter(cache, Profile::Default, CapSet::DEFAULT)?;
        filter.map_or(Ok(()), |filter| filter.load())?;
        Ok(String::new())
    });
    match loaded {
        Ok(_) => Finding::ok(CHECK, "the default filter can be loaded"),
        Err(error) => Finding::failure(
            CHECK,
            &error.hint("the kernel needs CONFIG_SECCOMP_FILTER; `--security-opt seccomp=unconfined` does without"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn kernels_by_their_number() {
        for (text, verdict) in [
            ("6.18.44-fc-v669", Verdict::Ok),
            ("5.11.0", Verdict::Ok),
            ("5.10.0-28-amd64", Verdict::Failure),
            ("4.18.0-553.el8_10.x86_64", Verdict::Failure),
            ("10.0", Verdict::Ok),
        ] {
            assert_eq!(release(text).verdict, verdict, "{text}");
        }
    }

    /// In a folder of the test's own, where it has the ids.
    fn in_folder(name: &str, work: impl FnOnce(SoleThread, &Path) -> Result<()>) {
        let name = format!("doctor::kernel::tests::{name}");
        let Some(thread) = process::alone(&name) else {
            return;
        };
        let settings = crate::settings::Settings::read(&Default::default()).unwrap();
        let (map, _) = userns::default_map(&Machine::of(&settings));
        let dir =
            std::env::temp_dir().join(format!("coracle-try-{}", crate::id::random_hex::<8>()));
        std::fs::create_dir(&dir).unwrap();
        userns::in_child(thread, &map, || work(thread, &dir)).unwrap();
        crate::storage::remove_tree(&dir).unwrap();
    }

    #[test]
    fn an_overlay_that_cannot_be_is_a_failure() {
        in_folder("an_overlay_that_cannot_be_is_a_failure", |_, dir| {
            assert_eq!(overlay(&dir.join("o"), "extfs").verdict, Verdict::Ok);
            // An overlay cannot keep what is written in another one.
            let [lower, upper, work, at] = ["l", "u", "w", "at"].map(|name| dir.join(name));
            for folder in [&lower, &upper, &work, &at] {
                std::fs::create_dir(folder)?;
            }
            let outer = container::overlay(&alone(&lower), Some((&upper, &work)), true)?;
            mount::attach(&outer, &at)?;
            let found = overlay(&at.join("o"), "overlayfs");
            mount::detach(&at)?;
            assert_eq!(found.verdict, Verdict::Failure, "{found:?}");
            assert!(found.found.starts_with("on overlayfs: "), "{found:?}");
            assert!(found.mend.contains("XDG_DATA_HOME"), "{found:?}");
            Ok(())
        });
    }

    #[test]
    fn a_hidden_proc_is_a_failure() {
        in_folder("a_hidden_proc_is_a_failure", |thread, _| {
            assert_eq!(own_proc(thread).verdict, Verdict::Ok);
            // As a container engine masks it: what it mounted, no user namespace
            // beneath can take away.
            mount::bind(Path::new("/dev/null"), Path::new("/proc/version"))?;
            process::unshare(thread, UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
            let found = own_proc(thread);
            assert_eq!(found.verdict, Verdict::Failure, "{found:?}");
            assert!(found.mend.contains("unmask=ALL"));
            Ok(())
        });
    }
}
