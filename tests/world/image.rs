//! The test images: one layer made of the machine's static busybox.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use coracle::id::Digest;
use serde_json::{Value, json};
use tar::{EntryType, Header};

/// The words that stand for images, and what they stand for.
pub const NAMES: [(&str, &str); 3] = [
    ("IMAGE", "localhost/test:latest"),
    ("USER_IMAGE", "localhost/user:latest"),
    ("VOLUME_IMAGE", "localhost/volume:latest"),
];

pub fn name(word: &str) -> Option<&'static str> {
    NAMES
        .iter()
        .find(|(it, _)| *it == word)
        .map(|(_, name)| *name)
}

/// A docker-archive of all of them, made once a run. Several runs may share it.
pub fn archive() -> &'static Path {
    static ARCHIVE: LazyLock<PathBuf> = LazyLock::new(|| {
        let bytes = docker_archive();
        let uid = rustix::process::getuid().as_raw();
        let name = format!("coracle-test-{uid}-{}.tar", &Digest::of(&bytes).hex()[..12]);
        let path = std::env::temp_dir().join(name);
        if std::fs::metadata(&path).is_ok_and(|it| it.len() == bytes.len() as u64) {
            return path;
        }
        let part = path.with_extension(std::process::id().to_string());
        std::fs::write(&part, bytes).unwrap();
        std::fs::rename(&part, &path).unwrap();
        path
    });
    &ARCHIVE
}

fn docker_archive() -> Vec<u8> {
    let layer = layer();
    let diff_id = Digest::of(&layer);
    let layer_name = format!("{}.tar", diff_id.hex());
    let configs = [
        json!({"Cmd": ["sh"]}),
        json!({"Cmd": ["sh"], "User": "user", "WorkingDir": "/home/user"}),
        json!({"Cmd": ["sh"], "Volumes": {"/data": {}}}),
    ];
    let mut tar = Tar::default();
    let mut manifest = Vec::new();
    for ((_, name), mut config) in NAMES.iter().zip(configs) {
        config["Env"] = json!(["PATH=/bin"]);
        config["Labels"] = json!({"made-by": "tests"});
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [String::from(diff_id.clone())]},
            "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "tests"}],
        });
        let config = config.to_string();
        let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
        tar.file(&config_name, 0o644, 0, config.as_bytes());
        manifest.push(json!({"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}));
    }
    tar.file(&layer_name, 0o644, 0, &layer);
    tar.file(
        "manifest.json",
        0o644,
        0,
        Value::from(manifest).to_string().as_bytes(),
    );
    tar.end()
}

/// A root file system with busybox, two users and some files.
pub fn layer() -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .expect("the test images are made of /bin/busybox (package busybox-static)");
    let mut tar = Tar::default();
    for (folder, mode, owner) in [
        ("bin", 0o755, 0),
        ("dev", 0o755, 0),
        ("etc", 0o755, 0),
        ("proc", 0o755, 0),
        ("sys", 0o755, 0),
        ("root", 0o700, 0),
        ("tmp", 0o1777, 0),
        ("home", 0o755, 0),
        ("home/user", 0o750, 1000),
        ("data", 0o750, 1000),
    ] {
        tar.entry(EntryType::Directory, folder, mode, owner, &[]);
    }
    tar.file("bin/busybox", 0o755, 0, &busybox);
    for applet in APPLETS.split_whitespace() {
        tar.link(&format!("bin/{applet}"), "busybox");
    }
    tar.file(
        "etc/passwd",
        0o644,
        0,
        b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    );
    tar.file(
        "etc/group",
        0o644,
        0,
        b"root:x:0:\nstaff:x:50:user\nuser:x:1000:\n",
    );
    tar.file("data/seed", 0o640, 1000, b"seed\n");
    tar.file(
        "bin/broken",
        0o755,
        0,
        b"neither a script nor a program\0\n",
    );
    tar.end()
}

const APPLETS: &str = "[ base64 basename cat chmod chown cmp cp cut date dd df dirname echo env \
    expr false find grep head hostname id ip kill ln ls md5sum mkdir mkfifo mount mv nc nproc od \
    pidof printf ps pwd readlink rm rmdir sed seq sh sha256sum sleep sort stat stty sync tail tee \
    test touch tr true tty umount uname uniq wc wget xargs yes";

/// A tar archive, whose bytes are the same each time.
#[derive(Default)]
struct Tar(Option<tar::Builder<Vec<u8>>>);

impl Tar {
    fn builder(&mut self) -> &mut tar::Builder<Vec<u8>> {
        self.0.get_or_insert_with(|| tar::Builder::new(Vec::new()))
    }

    fn header(kind: EntryType, mode: u32, owner: u64, size: usize) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(1_767_323_045);
        header.set_size(size as u64);
        header
    }

    fn entry(&mut self, kind: EntryType, path: &str, mode: u32, owner: u64, bytes: &[u8]) {
        let mut header = Self::header(kind, mode, owner, bytes.len());
        self.builder()
            .append_data(&mut header, path, bytes)
            .unwrap();
    }

    fn file(&mut self, path: &str, mode: u32, owner: u64, bytes: &[u8]) {
        self.entry(EntryType::Regular, path, mode, owner, bytes);
    }

    fn link(&mut self, path: &str, target: &str) {
        let mut header = Self::header(EntryType::Symlink, 0o777, 0, 0);
        self.builder()
            .append_link(&mut header, path, target)
            .unwrap();
    }

    fn end(mut self) -> Vec<u8> {
        self.builder();
        self.0
            .take()
            .map(|it| it.into_inner().unwrap())
            .unwrap_or_default()
    }
}
