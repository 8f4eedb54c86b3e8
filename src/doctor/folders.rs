//! Where files go: the caller's folders, what they lie on, and the room there.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Finding;
use crate::error::{Context, Error};
use crate::output::human;
use crate::settings::Settings;
use crate::storage::FileSystem;

/// Below that an image or a build may not fit.
const LITTLE: u64 = 1 << 30;
/// Below that no container can be made.
const NOTHING: u64 = 1 << 20;

/// `unopened` is why the store could not be opened, if so.
pub fn look(settings: &Settings, unopened: Option<&Error>) -> Vec<Finding> {
    let mut all = ignored(|name| std::env::var_os(name));
    all.push(match unopened {
        Some(error) => Finding::failure("store", error),
        None => store(settings, FileSystem::of(&settings.data)),
    });
    all.push(cache(settings));
    all.extend(runtime(settings));
    if let Ok(found) = FileSystem::of(&settings.data)
        && found.bytes > 0
    {
        all.push(space(&settings.data, &found));
    }
    all
}

/// Variables that say nothing, as the XDG Base Directory Specification has it.
fn ignored(variable: impl Fn(&str) -> Option<OsString>) -> Vec<Finding> {
    [
        "HOME",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    ]
    .into_iter()
    .filter_map(|name| {
        let value = variable(name).filter(|value| !value.is_empty())?;
        let is_absolute = Path::new(&value).is_absolute();
        (!is_absolute).then(|| {
            let value = value.to_string_lossy();
            Finding::warning(
                "environment",
                format!("{name} is {value:?}, which is no absolute path: it is ignored"),
                format!("`unset {name}`, or name the folder from / on"),
            )
        })
    })
    .collect()
}

fn store(settings: &Settings, found: std::io::Result<FileSystem>) -> Finding {
    const CHECK: &str = "store";
    let path = settings.data.display();
    match found {
        Err(error) => Finding::failure(CHECK, &Error::from(error).tried(path)),
        Ok(it) if it.is_remote => Finding::warning(
            CHECK,
            format!(
                "{path} is on {}: owners of files, locks and overlays may not work there",
                it.kind
            ),
            "put it on a disk of this machine: `export XDG_DATA_HOME=FOLDER`",
        ),
        Ok(it) if it.is_volatile => Finding::warning(
            CHECK,
            format!("{path} is on {}: all is lost with the next boot", it.kind),
            "put it on a disk: `export XDG_DATA_HOME=FOLDER`",
        ),
        Ok(it) => Finding::ok(CHECK, format!("{path}, on {}", it.kind)),
    }
}

fn cache(settings: &Settings) -> Finding {
    let path = settings.cache.display();
    let made = std::fs::create_dir_all(&settings.cache)
        .and_then(|()| {
            let probe = settings
                .cache
                .join(format!(".{}", crate::id::random_hex::<4>()));
            std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe))
        })
        .tried(|| format!("write in {path}"));
    match made {
        Ok(()) => Finding::ok("cache folder", path.to_string()),
        // Nothing in it is needed.
        Err(error) => Finding::of(
            "cache folder",
            &error.hint("put it where you may write: `export XDG_CACHE_HOME=FOLDER`"),
        ),
    }
}

fn runtime(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "runtime folder";
    let path = &settings.runtime;
    if let Err(error) = settings.ensure_runtime() {
        return vec![Finding::failure(CHECK, &error)];
    }
    let mut all = Vec::new();
    let shown = path.display();
    let usual = format!("/run/user/{}", settings.uid);
    let named = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|it| Path::new(&it).is_absolute());
    let stand_in = format!("/tmp/coracle-run-{}", settings.uid);
    if !named && path == Path::new(&stand_in) {
        let mend = match Path::new(&usual).is_dir() {
            true => format!("`export XDG_RUNTIME_DIR={usual}`"),
            false => format!(
                "log in through PAM (`machinectl shell`, ssh), or `loginctl enable-linger` and `export XDG_RUNTIME_DIR={usual}`"
            ),
        };
        all.push(Finding::warning(
            CHECK,
            format!("XDG_RUNTIME_DIR is not set: {shown} is used, where sessions that have it set do not look for running containers"),
            mend,
        ));
    }
    if let Some(parent) = path.parent().filter(|_| named) {
        all.extend(parent_of_runtime(parent, settings.uid));
    }
    if let Ok(found) = FileSystem::of(path) {
        if found.is_remote {
            all.push(Finding::warning(
                CHECK,
                format!(
                    "{shown} is on {}: sockets and locks may not work there",
                    found.kind
                ),
                format!("`export XDG_RUNTIME_DIR={usual}`"),
            ));
        } else if all.is_empty() {
            all.push(Finding::ok(CHECK, format!("{shown}, on {}", found.kind)));
        }
    }
    all
}

/// `$XDG_RUNTIME_DIR` itself must be the caller's alone (the specification again).
fn parent_of_runtime(dir: &Path, uid: u32) -> Option<Finding> {
    let found = dir.metadata().ok()?;
    let (shown, mode) = (dir.display(), found.mode() & 0o7777);
    let (wrong, mend) = if found.uid() != uid {
        (
            format!("XDG_RUNTIME_DIR ({shown}) belongs to user {}", found.uid()),
            format!("`export XDG_RUNTIME_DIR=/run/user/{uid}`"),
        )
    } else if mode & 0o077 != 0 {
        (
            format!("XDG_RUNTIME_DIR ({shown}) is open to others (mode {mode:04o})"),
            format!("`chmod 700 {shown}`"),
        )
    } else {
        return None;
    };
    Some(Finding::warning("runtime folder", wrong, mend))
}

/// The room where the store is.
fn space(path: &Path, found: &FileSystem) -> Finding {
    const CHECK: &str = "disk space";
    let mend = format!(
        "`coracle image prune -a` removes what no container uses; `df -hi {}` shows the disk",
        path.display()
    );
    let files = match found.files {
        0 => String::new(),
        _ => format!(", {} files", found.files_free),
    };
    let free = format!(
        "{} of {} free{files}",
        human::binary_size(found.free, 3),
        human::binary_size(found.bytes, 3)
    );
    let is_out_of_files = |least| found.files > 0 && found.files_free < least;
    if found.free < NOTHING || is_out_of_files(100) {
        Finding::failure(CHECK, &Error::other(free).hint(mend))
    } else if found.free < LITTLE || is_out_of_files(20_000) {
        Finding::warning(CHECK, free, mend)
    } else {
        Finding::ok(CHECK, free)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const DISK: FileSystem = FileSystem {
        kind: "extfs",
        is_remote: false,
        is_volatile: false,
        bytes: 100 << 30,
        free: 50 << 30,
        free_for_root: 55 << 30,
        files: 1_000_000,
        files_free: 900_000,
    };

    fn settings() -> Settings {
        Settings {
            uid: 1000,
            gid: 1000,
            home: "/home/alice".into(),
            data: "/home/alice/.local/share/coracle".into(),
            cache: "/home/alice/.cache/coracle".into(),
            runtime: "/run/user/1000/coracle".into(),
            cgroup_manager: None,
            events_backend: None,
            cdi_folders: Vec::new(),
            user_manager: None,
        }
    }

    #[test]
    fn a_store_on_another_machine_or_in_memory_is_warned_of() {
        let on = |it: FileSystem| store(&settings(), Ok(it));
        assert_eq!(
            on(DISK),
            Finding::ok("store", "/home/alice/.local/share/coracle, on extfs")
        );
        let nfs = on(FileSystem {
            kind: "nfs",
            is_remote: true,
            ..DISK
        });
        assert_eq!(nfs.verdict, Verdict::Warning);
        assert!(nfs.found.contains("is on nfs"), "{}", nfs.found);
        assert!(nfs.mend.contains("XDG_DATA_HOME"), "{}", nfs.mend);
        let tmpfs = on(FileSystem {
            kind: "tmpfs",
            is_volatile: true,
            ..DISK
        });
        assert!(tmpfs.found.contains("lost with the next boot"));
    }

    #[test]
    fn little_room_is_a_warning_and_none_a_failure() {
        let with = |free, files, files_free| {
            let disk = FileSystem {
                free,
                files,
                files_free,
                ..DISK
            };
            space(Path::new("/store"), &disk).verdict
        };
        assert_eq!(with(50 << 30, 1000, 900), Verdict::Warning);
        assert_eq!(with(50 << 30, 1_000_000, 900_000), Verdict::Ok);
        assert_eq!(with(50 << 30, 1_000_000, 10), Verdict::Failure);
        // Where files are as many as there is room for.
        assert_eq!(with(50 << 30, 0, 0), Verdict::Ok);
        assert_eq!(with(500 << 20, 0, 0), Verdict::Warning);
        assert_eq!(with(4096, 0, 0), Verdict::Failure);
        let shown = space(Path::new("/store"), &DISK);
        assert_eq!(shown.found, "50GiB of 100GiB free, 900000 files");
    }

    #[test]
    fn variables_that_are_ignored_are_named() {
        let set = |name: &str| match name {
            "XDG_DATA_HOME" => Some("data".into()),
            "XDG_CACHE_HOME" => Some("".into()),
            "HOME" => Some("/home/alice".into()),
            _ => None,
        };
        let found = ignored(set);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].found,
            "XDG_DATA_HOME is \"data\", which is no absolute path: it is ignored"
        );
    }

    #[test]
    fn the_runtime_folder_is_the_callers_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir =
            std::env::temp_dir().join(format!("coracle-run-{}", crate::id::random_hex::<8>()));
        std::fs::create_dir(&dir).unwrap();
        let uid = rustix::process::getuid().as_raw();
        let set = |mode| {
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(0o700);
        assert_eq!(parent_of_runtime(&dir, uid), None);
        set(0o755);
        let open = parent_of_runtime(&dir, uid).unwrap();
        assert!(open.found.ends_with("is open to others (mode 0755)"));
        assert_eq!(open.mend, format!("`chmod 700 {}`", dir.display()));
        let other = parent_of_runtime(&dir, uid + 1).unwrap();
        assert!(other.found.ends_with(&format!("belongs to user {uid}")));
        std::fs::remove_dir(&dir).unwrap();
    }
}
