//! A world of its own for each test: HOME, XDG_RUNTIME_DIR, a clean environment
//! and the test images. When it is dropped, the test fails if a process, a mount,
//! a cgroup or a half-made file of that world is left.

mod command;
mod image;
mod left;
mod need;
pub mod registry;
mod snapshot;
pub mod store;
mod terminal;

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use command::{Cmd, Done, readable};
pub use image::{NAMES, archive, layer};
pub use left::{Process, names};
pub use need::Need;
pub use snapshot::{Snapshot, check, normal};
pub use terminal::Terminal;

/// A folder with its own HOME and runtime folder, and all that runs from it.
pub struct World {
    dir: PathBuf,
    /// Every process of this world carries it; see [`left`].
    mark: u64,
    /// Containers this world was seen to have: their cgroups must be gone.
    ids: Mutex<BTreeSet<String>>,
}

impl World {
    /// A world with the test images: `IMAGE`, `USER_IMAGE` (its user is 1000:1000)
    /// and `VOLUME_IMAGE` (with a `VOLUME /data` that has files of user 1000).
    pub fn new() -> Self {
        let world = Self::empty();
        world
            .coracle("load -q -i")
            .arg(image::archive().to_str().unwrap())
            .ok();
        world
    }

    /// A world with nothing in it.
    pub fn empty() -> Self {
        assert!(
            !rustix::process::getuid().is_root(),
            "these tests run as an unprivileged user: use `make test`"
        );
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = 4_000_000_000_000 + u64::from(std::process::id()) * 10_000 + number;
        // The path stays short: sockets under it have 108 bytes (unix(7)).
        let base = std::env::var_os("TMPDIR").map_or("/var/tmp".into(), PathBuf::from);
        let dir = base.join(format!("cw-{}", coracle::id::random_hex::<4>()));
        for part in ["", "home", "run"] {
            let mut builder = DirBuilder::new();
            builder.mode(if part == "run" { 0o700 } else { 0o755 });
            builder.create(dir.join(part)).unwrap();
        }
        let world = Self {
            dir,
            mark,
            ids: Mutex::default(),
        };
        if is_podman() {
            let driver = "[storage]\ndriver = \"overlay\"\n";
            world.file(".config/containers/storage.conf", driver);
            // Its other kind is shared by all that the user runs.
            let locks = "[engine]\nlock_type = \"file\"\n";
            world.file(".config/containers/containers.conf", locks);
        }
        world
    }

    /// `coracle` with the words of `line`, split as a shell would.
    pub fn coracle(&self, line: &str) -> Cmd<'_> {
        let words = shlex::split(line).unwrap_or_else(|| panic!("unbalanced quotes: {line}"));
        Cmd::new(self, &binary()).args(words)
    }

    /// A line of bash, where `coracle` is the one that is tested.
    pub fn shell(&self, line: &str) -> Cmd<'_> {
        Cmd::new(self, Path::new("bash")).args(["-c", line])
    }

    /// HOME, where commands start.
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// XDG_RUNTIME_DIR.
    pub fn runtime(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The store.
    pub fn data(&self) -> PathBuf {
        self.home().join(".local/share/coracle")
    }

    /// Writes a file below HOME, with the folders it needs, and gives its path.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Makes a folder below HOME and gives its path.
    pub fn folder(&self, path: &str) -> PathBuf {
        let path = self.home().join(path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Whether the machine has `need`: else it is said aloud, or is a failure
    /// where everything must be there (`NEEDS=all`). Used by `needs!`.
    pub fn needs(&self, need: Need) -> bool {
        need.is_met()
    }

    /// The processes of this world.
    pub fn processes(&self) -> Vec<Process> {
        left::processes(self.mark)
    }

    /// Kills all that runs in this world.
    pub fn kill_all(&self) {
        left::kill(self.mark);
    }

    /// Waits until nothing runs in this world.
    pub fn wait_for_processes(&self) {
        let left = left::lingering(self.mark);
        assert!(left.is_empty(), "still there: {left:?}");
    }

    /// Everything that should not be there while there are no containers.
    pub fn left(&self) -> Vec<String> {
        left::wrong(self)
    }

    fn see(&self, id: &str) {
        self.ids.lock().unwrap().insert(id.to_owned());
    }
}

/// Waits until the process is gone.
pub fn wait_for_exit(pid: i32) {
    left::wait_for_exit(pid, command::PATIENCE);
}

/// Leaves the test, said aloud, unless the machine has what is named:
/// `needs!(world, Tun, Pasta)`.
#[macro_export]
macro_rules! needs {
    ($world:expr, $($need:ident),+) => {
        $(if !$world.needs($crate::world::Need::$need) {
            return;
        })+
    };
}

/// Asserts what a command prints, after normalising: stdout, then stderr and
/// status if there are any. `assert_snapshot!(world.coracle("ps"), @"…")`.
#[macro_export]
macro_rules! assert_snapshot {
    ($value:expr, @$expected:literal) => {
        $crate::world::check(&$crate::world::Snapshot::text($value), $expected)
    };
}

/// The program under test.
pub fn binary() -> PathBuf {
    std::env::var_os("CORACLE").map_or(env!("CARGO_BIN_EXE_coracle").into(), PathBuf::from)
}

/// Whether it is Podman itself that is tested (`PODMAN=1 CORACLE=…/coracle`, a link
/// to podman): what tests expect should hold of it, too, but not what it leaves.
fn is_podman() -> bool {
    std::env::var_os("PODMAN").is_some()
}

/// The project's files.
pub fn source() -> PathBuf {
    std::env::var_os("SOURCE").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

impl Drop for World {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        if is_podman() {
            self.coracle("rm -fa -t 0").run();
            self.shell("cd /; exec coracle unshare rm -rf \"$0\"")
                .arg(&self.dir)
                .run();
            left::kill(self.mark);
            return;
        }
        let mut wrong = Vec::new();
        if !failing {
            for id in left::names(&self.data().join("containers")) {
                self.see(&id);
            }
            // Containers may be left to the world; then their processes are, too.
            let has_containers = !left::names(&self.data().join("containers")).is_empty();
            if has_containers {
                let removed = self.coracle("rm -fa -t 0").run();
                if removed.code != 0 {
                    wrong.push(format!(
                        "`coracle rm -fa -t 0` failed: {}",
                        removed.stderr()
                    ));
                }
            }
            wrong.extend(left::wrong(self));
        }
        if failing && std::env::var_os("KEEP").is_some() {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "kept: {}", self.dir.display());
            return;
        }
        left::kill(self.mark);
        if std::fs::remove_dir_all(&self.dir).is_err() {
            // Files of subordinate ids are removed as their root.
            let dir = self.dir.to_str().unwrap();
            let removed = self
                .shell("cd /; exec coracle unshare rm -rf \"$0\"")
                .arg(dir)
                .run();
            if removed.code != 0 && !failing {
                wrong.push(format!("{dir} cannot be removed: {}", removed.stderr()));
            }
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        assert!(wrong.is_empty(), "left behind:\n{}", wrong.join("\n"));
    }
}
