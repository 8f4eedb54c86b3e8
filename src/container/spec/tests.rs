//! The config against what Podman 5.8 was seen to write.

use std::path::{Path, PathBuf};

use rustix::mount::MountPropagationFlags;

use super::super::options::{Device, DeviceLimit, Io, Mount, MountKind, Resources, Ulimit};
use super::masks::{MASKED, READ_ONLY, glob, masked, read_only};
use super::*;
use crate::cgroup::Hierarchy;
use crate::container::sample::{options, record};
use crate::userns::IdMap;
use crate::userns::IdRange;

fn host() -> Host {
    let range = |inside, outside, count| IdRange {
        inside,
        outside,
        count,
    };
    let ids = vec![range(0, 1001, 1), range(1, 100_000, 65_536)];
    let file = |name: &str| Some(PathBuf::from("/files").join(name));
    Host {
        machine: Machine {
            hostname: "vm".into(),
            capabilities: CapSet::ALL,
            nofile: (1024, 20_000),
            nproc: (500, 96_365),
            oom_score_adj: 0,
            has_apparmor: false,
            has_mqueue: false,
            devices: vec!["/dev/fuse".into(), "/dev/net/tun".into()],
        },
        rootfs: "/rootfs".into(),
        user: User {
            uid: 0,
            gid: 0,
            additional_gids: vec![],
            home: Some("/root".into()),
            name: Some("root".into()),
        },
        map: IdMap {
            uids: ids.clone(),
            gids: ids,
        },
        cgroups: Hierarchy::Unified,
        files: Files {
            containerenv: file(".containerenv"),
            hostname: file("hostname"),
            hosts: file("hosts"),
            resolv_conf: file("resolv.conf"),
            passwd: None,
            group: None,
            localtime: None,
        },
        sources: vec![],
        namespaces: Namespaces::default(),
        shm: None,
    }
}

fn made_with(change: impl FnOnce(&mut Options)) -> Spec {
    let mut options = options();
    change(&mut options);
    spec(&record(options), &host()).unwrap()
}

/// A line for each mount: destination, type, source, options.
fn table(spec: &Spec) -> Vec<String> {
    let mounts = spec.mounts().as_ref().unwrap();
    mounts
        .iter()
        .map(|it| {
            format!(
                "{} {} {} {}",
                it.destination().display(),
                it.typ().as_deref().unwrap(),
                it.source().as_ref().unwrap().display(),
                it.options().as_ref().unwrap().join(",")
            )
        })
        .collect()
}

const BASE: [&str; 11] = [
    "/proc proc proc nosuid,noexec,nodev",
    "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
    "/sys sysfs sysfs nosuid,noexec,nodev,ro",
    "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
    "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
    "/run/.containerenv bind /files/.containerenv bind,rprivate",
    "/etc/hostname bind /files/hostname bind,rprivate",
    "/etc/resolv.conf bind /files/resolv.conf bind,rprivate",
    "/etc/hosts bind /files/hosts bind,rprivate",
    "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=65536000",
    "/sys/fs/cgroup cgroup cgroup rprivate,nosuid,noexec,nodev,relatime,ro",
];

/// What `change` adds to and takes from the mounts of a container with no flags.
fn differs(change: impl FnOnce(&mut Options), added: &[&str], gone: &[&str]) {
    let now = table(&made_with(change));
    let new: Vec<_> = now
        .iter()
        .filter(|it| !BASE.contains(&it.as_str()))
        .collect();
    let old: Vec<_> = BASE
        .iter()
        .filter(|it| !now.contains(&it.to_string()))
        .collect();
    let old: Vec<_> = old.iter().map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(new, added);
    assert_eq!(old, gone);
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Mount {
    Mount {
        kind: MountKind::Bind {
            source: source.into(),
        },
        destination: destination.into(),
        read_only: false,
        options: options.iter().map(|it| (*it).to_owned()).collect(),
        chown: false,
        subpath: None,
    }
}

fn tmpfs(destination: &str, options: &[&str]) -> Mount {
    Mount {
        kind: MountKind::Tmpfs {
            options: options.iter().map(|it| (*it).to_owned()).collect(),
            copy_up: true,
        },
        ..bind("", destination, &[])
    }
}

#[test]
fn a_container_without_flags() {
    let spec = made_with(|_| {});
    assert_eq!(table(&spec), BASE);
    let json = serde_json::to_value(&spec).unwrap();
    assert_eq!(
        json["process"]["env"],
        serde_json::json!([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "HOSTNAME=aaaaaaaaaaaa"
        ])
    );
    assert_eq!(
        json["process"]["user"],
        serde_json::json!({"uid": 0, "gid": 0, "umask": 18})
    );
    assert_eq!(
        json["process"]["rlimits"],
        serde_json::json!([
            {"type": "RLIMIT_NOFILE", "hard": 20_000, "soft": 20_000},
            {"type": "RLIMIT_NPROC", "hard": 96_365, "soft": 500},
        ])
    );
    assert_eq!(json["process"]["terminal"], false);
    for absent in ["noNewPrivileges", "apparmorProfile", "oomScoreAdj"] {
        assert!(json["process"].get(absent).is_none(), "{absent}");
    }
    let linux = &json["linux"];
    assert_eq!(
        linux["namespaces"],
        serde_json::json!([
            {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
            {"type": "mount"}, {"type": "cgroup"},
        ])
    );
    assert_eq!(
        linux["sysctl"],
        serde_json::json!({"net.ipv4.ping_group_range": "0 0"})
    );
    assert_eq!(linux["maskedPaths"], serde_json::json!(MASKED));
    assert_eq!(linux["readonlyPaths"], serde_json::json!(READ_ONLY));
    assert_eq!(linux["rootfsPropagation"], "private");
    for absent in ["cgroupsPath", "resources", "seccomp", "uidMappings"] {
        assert!(linux.get(absent).is_none(), "{absent}");
    }
    assert_eq!(json["hostname"], "aaaaaaaaaaaa");
    assert_eq!(
        json["root"],
        serde_json::json!({"path": "/rootfs", "readonly": false})
    );
}

#[test]
fn mounts_of_each_flag_are_podmans() {
    differs(
        |it| it.network = NetworkMode::Host,
        &["/sys bind /sys rprivate,nosuid,noexec,nodev,ro,rbind"],
        &["/sys"],
    );
    differs(
        |it| it.pid = NamespaceMode::Host,
        &["/proc bind /proc rbind,nosuid,noexec,nodev,rprivate"],
        &["/proc"],
    );
    differs(|it| it.ipc = NamespaceMode::None, &[], &["/dev/shm"]);
    differs(
        |it| it.ipc = NamespaceMode::Host,
        &["/dev/shm bind /dev/shm nosuid,noexec,nodev,bind,rprivate"],
        &["/dev/mqueue", "/dev/shm"],
    );
    differs(
        |it| it.shm_size = 1024,
        &["/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=1024"],
        &["/dev/shm"],
    );
    differs(
        |it| it.security.proc_opts = vec!["hidepid=2,subset=pid".into()],
        &["/proc proc proc nosuid,noexec,nodev,hidepid=2,subset=pid"],
        &["/proc"],
    );
    differs(
        |it| it.privileged = true,
        &[
            "/sys sysfs sysfs nosuid,noexec,nodev,rw",
            "/dev/fuse bind /dev/fuse slave,nosuid,noexec,rw,rbind",
            "/sys/fs/cgroup cgroup cgroup rprivate,nosuid,noexec,nodev,relatime,rw",
            "/dev/net/tun bind /dev/net/tun slave,nosuid,noexec,rw,rbind",
        ],
        &["/sys", "/sys/fs/cgroup"],
    );
    differs(
        |it| {
            it.devices = vec![Device {
                source: "/dev/null".into(),
                destination: "/dev/xnull".into(),
                permissions: "r".into(),
            }];
        },
        &["/dev/xnull bind /dev/null slave,nosuid,noexec,ro,rbind"],
        &[],
    );
}

#[test]
fn a_read_only_root_has_places_to_write() {
    let files = [
        "/run/.containerenv",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/etc/hosts",
    ];
    let binds = [
        "/run/.containerenv bind /files/.containerenv bind,rprivate,ro,nosuid,noexec,nodev",
        "/etc/hostname bind /files/hostname bind,rprivate,ro,nosuid,noexec,nodev",
        "/etc/resolv.conf bind /files/resolv.conf bind,rprivate,ro,nosuid,noexec,nodev",
        "/etc/hosts bind /files/hosts bind,rprivate,ro,nosuid,noexec,nodev",
    ];
    let mut added = vec![
        "/run tmpfs tmpfs rprivate,nosuid,nodev",
        "/tmp tmpfs tmpfs rprivate,nosuid,nodev",
    ];
    added.extend(binds);
    added.push("/var/tmp tmpfs tmpfs rprivate,nosuid,nodev");
    differs(|it| it.read_only = true, &added, &files);
    // One of the user's own stands in its place.
    let spec = made_with(|it| {
        it.read_only = true;
        it.mounts = vec![bind("/mine", "/tmp", &[])];
    });
    let lines = table(&spec);
    assert!(lines.contains(&"/tmp bind /mine rprivate,rbind".to_owned()));
    assert_eq!(lines.iter().filter(|it| it.starts_with("/tmp ")).count(), 1);
    assert_eq!(spec.root().as_ref().unwrap().readonly(), Some(true));
    let mut added = vec!["/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k,ro"];
    added.extend(binds);
    added.push("/dev/shm tmpfs shm nosuid,noexec,nodev,ro,mode=1777,size=65536000");
    let mut gone = vec!["/dev"];
    gone.extend(files);
    gone.push("/dev/shm");
    differs(
        |it| {
            it.read_only = true;
            it.read_only_tmpfs = false;
        },
        &added,
        &gone,
    );
}

#[test]
fn mounts_of_the_users_take_the_place_of_ours() {
    differs(
        |it| {
            it.mounts = ["/dev/shm", "/etc/hosts", "/sys/fs/cgroup"]
                .map(|destination| bind("/b", destination, &[]))
                .to_vec();
        },
        &[
            "/dev/shm bind /b rprivate,rbind",
            "/etc/hosts bind /b rprivate,rbind",
            "/sys/fs/cgroup bind /b rprivate,rbind",
        ],
        &["/etc/hosts", "/dev/shm", "/sys/fs/cgroup"],
    );
    differs(
        |it| it.mounts = vec![tmpfs("/dev", &[]), bind("/sys", "/sys", &[])],
        &[
            "/dev tmpfs tmpfs rprivate,nosuid,nodev",
            "/sys bind /sys rprivate,rbind",
        ],
        &["/dev", "/sys", "/dev/pts", "/dev/mqueue"],
    );
    differs(
        |it| it.mounts = vec![bind("/b", "/run", &[])],
        &["/run bind /b rprivate,rbind"],
        &["/run/.containerenv"],
    );
    differs(
        |it| it.mounts = vec![tmpfs("/run", &["rw"])],
        &["/run tmpfs tmpfs rw,rprivate,nosuid,nodev"],
        &[],
    );
}

#[test]
fn options_of_mounts_are_podmans() {
    let read_only = Mount {
        read_only: true,
        ..bind("/b", "/x/y", &[])
    };
    differs(
        |it| {
            it.mounts = vec![
                read_only,
                bind("/b", "/mnt", &[]),
                bind("/f", "/x/f", &["noexec", "z"]),
                bind("/b", "/m1", &["bind", "private"]),
                bind("/b", "/m3", &["rw", "dev", "suid", "exec"]),
                tmpfs("/t2", &["size=1m", "mode=1777", "noexec"]),
            ];
        },
        &[
            "/mnt bind /b rprivate,rbind",
            "/m1 bind /b bind,private",
            "/m3 bind /b rw,dev,suid,exec,rprivate,rbind",
            "/t2 tmpfs tmpfs noexec,rprivate,nosuid,nodev,size=1m,mode=1777",
            "/x/y bind /b ro,rprivate,rbind",
            "/x/f bind /f noexec,rprivate,rbind",
        ],
        &[],
    );
}

#[test]
fn what_was_prepared_is_bound() {
    let volume = |name: &str, read_only, options: &[&str]| Mount {
        kind: MountKind::Volume {
            name: name.parse().unwrap(),
            anonymous: false,
            copy: true,
        },
        read_only,
        ..bind("", "/v", options)
    };
    let mut options = options();
    options.mounts = vec![
        volume("one", false, &[]),
        volume("two", true, &["noexec"]),
        tmpfs("/t", &["size=1m", "noexec"]),
    ];
    let mut host = host();
    let sources = ["/vol/one", "/vol/two", "/tmpfs"];
    let source = |it: &str, flags: &[&str]| {
        Some(Source {
            path: it.into(),
            flags: flags.iter().map(ToString::to_string).collect(),
        })
    };
    host.sources = sources.map(|it| source(it, &[])).to_vec();
    let made = spec(&record(options.clone()), &host).unwrap();
    let lines: Vec<_> = table(&made)
        .into_iter()
        .filter(|it| !BASE.contains(&it.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            "/v bind /vol/one rprivate,nosuid,nodev,rbind",
            "/v bind /vol/two noexec,ro,rprivate,nosuid,nodev,rbind",
            "/t bind /tmpfs noexec,rprivate,nosuid,nodev,rbind",
        ]
    );
    host.sources[0] = source("/vol/one", &["noexec", "ro", "bind"]);
    let made = spec(&record(options.clone()), &host).unwrap();
    let line = "/v bind /vol/one noexec,ro,bind,rprivate,nosuid,nodev";
    assert!(table(&made).iter().any(|it| it == line));
    host.sources.clear();
    let error = spec(&record(options), &host).unwrap_err();
    assert_eq!(error.to_string(), "nothing was prepared to mount on /v");
}

#[test]
fn what_is_mounted_over_dev_is_moved_there() {
    let mut options = options();
    options.mounts = vec![bind("/dev", "/dev", &[])];
    let record = record(options);
    let made = spec(&record, &host()).unwrap();
    let at = |destination: &str| {
        let mut all = made.mounts().iter().flatten();
        all.find(|it| it.destination() == std::path::Path::new(destination))
    };
    // libcontainer makes its devices and links in a folder of its own.
    assert_eq!(at("/dev").unwrap().typ().as_deref(), Some("tmpfs"));
    let moves = super::moves(&record.options, &host()).unwrap();
    assert_eq!(moves[0].1, std::path::Path::new("/dev"));
    let first = at(moves[0].0.to_str().unwrap()).unwrap();
    assert_eq!(
        first.source().as_deref(),
        Some(std::path::Path::new("/dev"))
    );
    for (from, to) in &moves {
        assert!(at(from.to_str().unwrap()).is_some() && to.starts_with("/dev"));
    }
}

#[test]
fn parents_come_before_children() {
    let spec = made_with(|it| {
        it.mounts = ["/a/b/c", "/a", "/z/y", "/a/b"]
            .map(|destination| bind("/s", destination, &[]))
            .to_vec();
    });
    let order: Vec<_> = table(&spec)
        .iter()
        .filter(|it| it.contains(" /s "))
        .map(|it| it.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(order, ["/a", "/z/y", "/a/b", "/a/b/c"]);
}

#[test]
fn propagation_is_left_to_the_executor() {
    let mut options = options();
    options.mounts = vec![bind("/b", "/x", &["rslave"]), bind("/b", "/y", &[])];
    assert_eq!(
        propagation(&options),
        [
            (
                PathBuf::from("/x"),
                MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC
            ),
            (
                PathBuf::from("/y"),
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC
            ),
        ]
    );
    let spec = spec(&record(options.clone()), &host()).unwrap();
    let linux = spec.linux().as_ref().unwrap();
    assert_eq!(linux.rootfs_propagation().as_deref(), Some("slave"));
    options.mounts.remove(0);
    assert!(propagation(&options).is_empty());
}

#[test]
fn namespaces_are_shared_as_asked() {
    let json =
        |spec: &Spec| serde_json::to_value(spec.linux().as_ref().unwrap().namespaces()).unwrap();
    let spec = made_with(|it| {
        it.pid = NamespaceMode::Host;
        it.uts = NamespaceMode::Host;
        it.cgroupns = NamespaceMode::Host;
        it.network = NetworkMode::Host;
    });
    assert_eq!(
        json(&spec),
        serde_json::json!([{"type": "ipc"}, {"type": "mount"}])
    );
    assert_eq!(spec.hostname(), &None);
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.sysctl().is_none());
    assert!(
        linux
            .masked_paths()
            .as_ref()
            .unwrap()
            .contains(&"/sys/kernel".to_owned())
    );
    assert_eq!(hostname(&record(options()), "vm"), "aaaaaaaaaaaa");

    let mut options = options();
    options.ipc = NamespaceMode::Container("c".into());
    let mut host = host();
    let error = super::spec(&record(options.clone()), &host).unwrap_err();
    assert!(error.to_string().contains("ipc"), "{error}");
    host.namespaces.ipc = Some("/proc/self/fd/9".into());
    host.shm = Some("/proc/7/root/dev/shm".into());
    let spec = super::spec(&record(options), &host).unwrap();
    assert!(
        json(&spec)
            .to_string()
            .contains(r#"{"path":"/proc/self/fd/9","type":"ipc"}"#)
            || json(&spec)
                .to_string()
                .contains(r#"{"type":"ipc","path":"/proc/self/fd/9"}"#)
    );
    assert!(
        table(&spec)
            .iter()
            .any(|it| it == "/dev/shm bind /proc/7/root/dev/shm nosuid,noexec,nodev,bind,rprivate")
    );
}

#[test]
fn the_environment_is_podmans() {
    let with = |env: &[&str]| {
        let mut options = options();
        options.env = env.iter().map(|it| (*it).to_owned()).collect();
        environment(&options, "web", Some("/root")).join(" ")
    };
    assert_eq!(with(&[]), "HOME=/root HOSTNAME=web");
    assert_eq!(
        with(&["PATH=/x", "A=1", "HOME=/h", "Z="]),
        "PATH=/x A=1 HOME=/h Z= HOSTNAME=web"
    );
    assert_eq!(with(&["HOSTNAME=bar"]), "HOSTNAME=bar HOME=/root");
}

/// As /proc/self/status shows them in Podman's containers.
#[test]
fn capabilities_are_podmans() {
    let of = |change: &dyn Fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        let it = capabilities(&options, CapSet::ALL).unwrap();
        [
            it.inheritable,
            it.permitted,
            it.effective,
            it.bounding,
            it.ambient,
        ]
        .map(CapSet::bits)
    };
    let (default, all, admin) = (0x800405fb, 0x1ff_ffff_ffff, 0x1000);
    let add = |it: &mut Options, name: &str| it.cap_add = vec![name.into()];
    assert_eq!(of(&|_| {}), [0, default, default, default, 0]);
    assert_eq!(
        of(&|it| it.user = "root:5".into()),
        [0, default, default, default, 0]
    );
    assert_eq!(of(&|it| it.user = "1000".into()), [0, 0, 0, default, 0]);
    assert_eq!(
        of(&|it| {
            it.user = "1000".into();
            add(it, "NET_ADMIN");
        }),
        [admin, admin, admin, default | admin, admin]
    );
    assert_eq!(
        of(&|it| {
            it.user = "bob".into();
            add(it, "all");
        }),
        [all; 5]
    );
    assert_eq!(
        of(&|it| {
            it.privileged = true;
            it.cap_drop = vec!["CHOWN".into()];
        }),
        [0, all, all, all, 0]
    );
    assert_eq!(
        of(&|it| {
            it.privileged = true;
            it.user = "1000".into();
        }),
        [0, 0, 0, all, 0]
    );
    let spec = made_with(|it| it.user = "1000".into());
    let json = serde_json::to_value(spec.process()).unwrap();
    let effective = json["capabilities"]["effective"].as_array().unwrap();
    assert!(effective.contains(&"CAP_SYS_ADMIN".into()));
    assert_eq!(json["capabilities"]["ambient"], serde_json::json!([]));
}

#[test]
fn paths_are_masked_and_unmasked_as_with_podman() {
    let of = |mask: &[&str], unmask: &[&str]| {
        let mut options = options();
        options.security.mask = mask.iter().map(|it| (*it).to_owned()).collect();
        options.security.unmask = unmask.iter().map(|it| (*it).to_owned()).collect();
        (masked(&options), read_only(&options))
    };
    let (hidden, kept) = of(&[], &["/proc/acpi:/sys/firmware"]);
    assert_eq!(hidden.len(), MASKED.len() - 2);
    assert_eq!(kept.len(), READ_ONLY.len());
    assert_eq!(of(&[], &["ALL"]), (vec![], vec![]));
    let (hidden, kept) = of(&[], &["/proc/*"]);
    assert_eq!(
        hidden,
        [
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
            "/sys/fs/selinux"
        ]
    );
    assert!(kept.is_empty());
    let (hidden, _) = of(&["/etc:/proc/stat", "/proc/acpi"], &[]);
    assert_eq!(hidden[MASKED.len()..], ["/etc", "/proc/stat"]);
    let spec = made_with(|it| {
        it.privileged = true;
        it.security.mask = vec!["/x".into()];
    });
    let linux = spec.linux().as_ref().unwrap();
    assert_eq!(linux.masked_paths().as_ref().unwrap(), &["/x"]);
    assert!(linux.readonly_paths().as_ref().unwrap().is_empty());
}

#[test]
fn patterns_match_as_gos() {
    for (pattern, path, matches) in [
        ("/proc/*", "/proc/acpi", true),
        ("/proc/*", "/proc/a/b", false),
        ("/proc/?cpi", "/proc/acpi", true),
        ("/proc/[a-c]cpi", "/proc/acpi", true),
        ("/proc/[^a-c]cpi", "/proc/acpi", false),
        ("/proc/[", "/proc/acpi", false),
        (r"/proc/\*", "/proc/*", true),
        ("/*/*", "/proc/acpi", true),
        ("*", "", true),
        ("", "", true),
        ("", "/", false),
    ] {
        assert_eq!(glob(pattern, path), matches, "{pattern} {path}");
    }
}

/// A cgroup with these controllers and files.
struct Made(&'static [&'static str], &'static [&'static str]);

impl Controls for Made {
    fn has_controller(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    fn has_file(&self, name: &str) -> bool {
        self.1.contains(&name)
    }

    fn list(&self) -> String {
        "/cg/cgroup.controllers".to_owned()
    }

    fn device(&self, path: &Path) -> Result<String> {
        match path.to_str() {
            Some("/dev/vda") => Ok("254:0".to_owned()),
            _ => Err(Error::usage(format!(
                "{}: not a block device",
                path.display()
            ))),
        }
    }
}

const ALL: &[&str] = &["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

fn written(resources: &Resources, made: &Made) -> Result<String, String> {
    let all = settings(resources, made).map_err(|error| {
        assert_eq!(
            error.exit_code(),
            if error.to_string().contains("block") {
                125
            } else {
                126
            }
        );
        error.to_string()
    })?;
    let all: Vec<String> = all
        .iter()
        .map(|(file, value)| format!("{file}={value}"))
        .collect();
    Ok(all.join("; "))
}

#[test]
fn limits_are_written_as_crun_does() {
    let of = |change: &dyn Fn(&mut Resources)| {
        let mut resources = Resources {
            pids: Some(0),
            ..Resources::default()
        };
        change(&mut resources);
        resources
    };
    let device = |value| {
        vec![DeviceLimit {
            path: "/dev/vda".into(),
            value,
        }]
    };
    let all = Made(ALL, &["memory.swap.max"]);
    let mega = 1 << 20;
    type Change<'a> = &'a dyn Fn(&mut Resources);
    let cases: &[(Change<'_>, &str)] = &[
        (&|_| {}, "pids.max=max"),
        (&|it| it.pids = None, "pids.max=2048"),
        (&|it| it.pids = Some(7), "pids.max=7"),
        (
            &|it| {
                it.memory = Some(mega);
                it.memory_swap = Some(3 * mega);
                it.memory_reservation = Some(5);
            },
            "memory.max=1048576; memory.swap.max=2097152; memory.low=5; pids.max=max",
        ),
        (
            &|it| {
                it.memory = Some(mega);
                it.memory_swap = Some(-1);
            },
            "memory.max=1048576; memory.swap.max=max; pids.max=max",
        ),
        (
            &|it| {
                it.memory = Some(mega);
                it.memory_swap = Some(mega);
            },
            "memory.max=1048576; memory.swap.max=0; pids.max=max",
        ),
        (
            &|it| it.cpu_shares = Some(1024),
            "cpu.weight=100; pids.max=max",
        ),
        (&|it| it.cpu_shares = Some(2), "cpu.weight=1; pids.max=max"),
        (
            &|it| it.cpu_shares = Some(512),
            "cpu.weight=59; pids.max=max",
        ),
        (
            &|it| it.cpu_shares = Some(262_144),
            "cpu.weight=10000; pids.max=max",
        ),
        (
            &|it| it.cpu_quota = Some(150_000),
            "cpu.max=150000 100000; pids.max=max",
        ),
        (
            &|it| it.cpu_period = Some(50_000),
            "cpu.max=max 50000; pids.max=max",
        ),
        (
            &|it| {
                it.cpuset_cpus = Some("0-1".into());
                it.cpuset_mems = Some("0".into());
            },
            "cpuset.cpus=0-1; cpuset.mems=0; pids.max=max",
        ),
        (&|it| it.io.weight = Some(10), "pids.max=max; io.weight=1"),
        (
            &|it| it.io.weight = Some(1000),
            "pids.max=max; io.weight=10000",
        ),
        (
            &|it| {
                it.io = Io {
                    weight: None,
                    device_weights: device(100),
                    read_bps: device(1),
                    write_bps: device(2),
                    read_iops: device(3),
                    write_iops: device(4),
                }
            },
            "pids.max=max; io.bfq.weight=254:0 100; io.max=254:0 rbps=1; io.max=254:0 wbps=2; \
             io.max=254:0 riops=3; io.max=254:0 wiops=4",
        ),
        (
            &|it| {
                it.files = [("memory.high", "max"), ("cgroup.max.depth", "3")]
                    .map(|(file, value)| (file.to_owned(), value.to_owned()))
                    .into();
            },
            "pids.max=max; cgroup.max.depth=3; memory.high=max",
        ),
    ];
    for (change, wanted) in cases {
        assert_eq!(written(&of(change), &all).as_deref(), Ok(*wanted));
    }
    let bfq = Made(ALL, &["io.bfq.weight"]);
    assert_eq!(
        written(&of(&|it| it.io.weight = Some(500)), &bfq).unwrap(),
        "pids.max=max; io.bfq.weight=500"
    );
    // Where the kernel has no swap to limit.
    let swapless = of(&|it| {
        it.memory = Some(1);
        it.memory_swap = Some(2);
    });
    assert_eq!(
        written(&swapless, &Made(&["memory"], &[])).unwrap(),
        "memory.max=1"
    );
    // Nothing is asked of what is not there.
    assert_eq!(written(&Resources::default(), &Made(&[], &[])).unwrap(), "");
    assert_eq!(written(&of(&|_| {}), &Made(&[], &[])).unwrap(), "");
}

#[test]
fn limits_that_cannot_be_are_refused() {
    let of = |change: &dyn Fn(&mut Resources)| {
        let mut resources = Resources::default();
        change(&mut resources);
        resources
    };
    let missing =
        |name: &str| format!("controller `{name}` is not available under /cg/cgroup.controllers");
    type Change<'a> = &'a dyn Fn(&mut Resources);
    let cases: &[(Change<'_>, &str)] = &[
        (&|it| it.memory = Some(1), "memory"),
        (&|it| it.memory_reservation = Some(1), "memory"),
        (&|it| it.cpu_shares = Some(5), "cpu"),
        (&|it| it.cpu_quota = Some(5), "cpu"),
        (&|it| it.cpuset_cpus = Some("0".into()), "cpuset"),
        (&|it| it.pids = Some(5), "pids"),
        (&|it| it.io.weight = Some(5), "io"),
        (
            &|it| drop(it.files.insert("pids.max".into(), "1".into())),
            "pids",
        ),
    ];
    for (change, controller) in cases {
        let resources = of(change);
        assert!(asks_limits(&resources), "{controller}");
        assert_eq!(
            written(&resources, &Made(&[], &[])),
            Err(missing(controller))
        );
    }
    let all = Made(ALL, &[]);
    let cases: &[(Change<'_>, &str)] = &[
        (
            &|it| it.memory_swap = Some(1),
            "cannot set swap limit without the memory limit",
        ),
        (
            &|it| it.swappiness = Some(1),
            "cannot set memory swappiness with cgroupv2",
        ),
        (
            &|it| it.oom_kill_disable = true,
            "cannot disable OOM killer with cgroupv2",
        ),
        (
            &|it| drop(it.files.insert("a/b".into(), "1".into())),
            "key `a/b` must be a file name without any slash",
        ),
        (
            &|it| {
                it.io.read_bps = vec![DeviceLimit {
                    path: "/dev/null".into(),
                    value: 1,
                }];
            },
            "/dev/null: not a block device",
        ),
    ];
    for (change, words) in cases {
        assert_eq!(written(&of(change), &all).unwrap_err(), *words);
    }
    for pids in [None, Some(0), Some(-1)] {
        let resources = Resources {
            pids,
            ..Resources::default()
        };
        assert!(!asks_limits(&resources));
    }
}

#[test]
fn the_user_must_be_mapped() {
    let mut host = host();
    host.user.additional_gids = vec![5, 70_000];
    let json = serde_json::to_value(spec(&record(options()), &host).unwrap()).unwrap();
    assert_eq!(
        json["process"]["user"]["additionalGids"],
        serde_json::json!([5])
    );
    host.user.uid = 70_000;
    let error = spec(&record(options()), &host).unwrap_err();
    assert_eq!(
        error.to_string(),
        "uid 70000 is not mapped in the container's user namespace"
    );
    assert_eq!(error.exit_code(), 126);
    // With one id there are neither groups nor the group tty.
    host.user.uid = 0;
    host.user.additional_gids = vec![0];
    host.map = IdMap::single(1001, 1001);
    let spec = spec(&record(options()), &host).unwrap();
    let json = serde_json::to_value(&spec).unwrap();
    assert!(json["process"]["user"].get("additionalGids").is_none());
    assert!(
        table(&spec)
            .iter()
            .any(|it| it.starts_with("/dev/pts") && !it.contains("gid="))
    );
}

#[test]
fn small_options_reach_the_config() {
    let spec = made_with(|it| {
        it.security.no_new_privileges = true;
        it.oom_score_adj = Some(-500);
        it.umask = 0o077;
        it.annotations.insert("a".into(), "b".into());
        it.sysctls.insert("kernel.msgmax".into(), "9".into());
        it.ulimits = vec![
            Ulimit {
                name: "RLIMIT_NOFILE".into(),
                soft: 100,
                hard: 200,
            },
            Ulimit {
                name: "RLIMIT_CORE".into(),
                soft: u64::MAX,
                hard: u64::MAX,
            },
        ];
    });
    let json = serde_json::to_value(&spec).unwrap();
    assert_eq!(json["process"]["noNewPrivileges"], true);
    assert_eq!(json["process"]["oomScoreAdj"], 0);
    assert_eq!(json["process"]["user"]["umask"], 0o077);
    assert_eq!(json["annotations"]["a"], "b");
    assert_eq!(json["linux"]["sysctl"]["kernel.msgmax"], "9");
    let limits: Vec<_> = json["process"]["rlimits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {} {}", it["type"], it["soft"], it["hard"]))
        .collect();
    assert_eq!(
        limits,
        [
            "\"RLIMIT_NOFILE\" 100 200",
            "\"RLIMIT_CORE\" 18446744073709551615 18446744073709551615",
            "\"RLIMIT_NPROC\" 500 96365"
        ]
    );
    let mut options = options();
    options.security.apparmor = Some("foo".into());
    assert_eq!(
        super::spec(&record(options), &host())
            .unwrap_err()
            .to_string(),
        "apparmor profile \"foo\" specified, but Apparmor is not enabled on this system"
    );
}

#[test]
fn devices_of_the_machine_leave_out_terminals() {
    let devices = host_devices(Path::new("/dev"));
    for not in [
        "/dev/ptmx",
        "/dev/tty",
        "/dev/tty0",
        "/dev/console",
        "/dev/null",
    ] {
        assert!(!devices.contains(&PathBuf::from(not)), "{not}");
    }
    assert!(!devices.iter().any(|it| it.starts_with("/dev/pts")));
}

#[test]
fn a_privileged_container_has_no_filter_unless_named() {
    let mut options = options();
    assert_eq!(seccomp_profile(&options), Profile::Default);
    options.privileged = true;
    assert_eq!(seccomp_profile(&options), Profile::Unconfined);
    options.security.seccomp = Seccomp::Profile("/p".into());
    assert_eq!(seccomp_profile(&options), Profile::File(Path::new("/p")));
}
