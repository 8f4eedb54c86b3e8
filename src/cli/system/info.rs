use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::version::{Version, architecture};
use crate::cgroup::{self, Hierarchy};
use crate::cli::Example;
use crate::container::{self, State};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::value::{NilIfEmpty, to_value};
use crate::output::{Output, json, listing, yaml};
use crate::runtime::capability::CapSet;
use crate::storage::FileSystem;
use crate::userns::IdRange;

/// Display information about this machine and the store
///
/// Prints YAML, or JSON, or what --format makes of it.
#[derive(clap::Args)]
pub struct Args {
    /// Format the output with a Go template, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Accepted, and changes nothing
    #[arg(short = 'D', long, hide = true)]
    debug: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle info --format '{{.Store.GraphRoot}}'",
    does: "Show where images, containers and volumes are.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle info` takes no arguments"));
    }
    let info = Info::look(engine)?;
    match args.format.as_deref() {
        None => output.line(yaml::text(&serde_json::to_value(&info)?)),
        Some(format) if listing::asks_json(format) => output.line(json::list(&info)?),
        Some(format) => output.text(&listing::one("info", format, &to_value(&info)?)?),
    }
    Ok(0)
}

/// Podman's define.Info: the keys that tools look at, and those that mean
/// something here.
#[derive(Serialize)]
#[serde(rename = "system.infoReport", rename_all = "camelCase")]
struct Info {
    host: Host,
    store: Store,
    registries: BTreeMap<String, String>,
    plugins: Plugins,
    version: Version,
}

#[derive(Serialize)]
#[serde(rename = "*define.HostInfo", rename_all = "camelCase")]
struct Host {
    arch: &'static str,
    cgroup_manager: &'static str,
    cgroup_version: &'static str,
    cgroup_controllers: Vec<String>,
    cpus: usize,
    cpu_utilization: CpuUse,
    database_backend: &'static str,
    distribution: Distribution,
    event_logger: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_locks: Option<u32>,
    hostname: String,
    id_mappings: IdMappings,
    kernel: String,
    log_driver: &'static str,
    mem_free: u64,
    mem_total: u64,
    network_backend: &'static str,
    oci_runtime: Program,
    os: &'static str,
    remote_socket: Socket,
    rootless_network_cmd: &'static str,
    service_is_remote: bool,
    security: Security,
    pasta: Executable,
    swap_free: u64,
    swap_total: u64,
    uptime: String,
    variant: &'static str,
    linkmode: &'static str,
}

#[derive(Serialize)]
#[serde(rename = "*define.CPUUsage", rename_all = "camelCase")]
struct CpuUse {
    user_percent: f64,
    system_percent: f64,
    idle_percent: f64,
}

#[derive(Serialize)]
#[serde(rename = "define.DistributionInfo", rename_all = "camelCase")]
struct Distribution {
    distribution: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    codename: Option<String>,
}

#[derive(Serialize)]
#[serde(rename = "define.IDMappings")]
struct IdMappings {
    gidmap: Vec<IdMapping>,
    uidmap: Vec<IdMapping>,
}

#[derive(Serialize)]
#[serde(rename = "idtools.IDMap")]
struct IdMapping {
    container_id: u32,
    host_id: u32,
    size: u32,
}

#[derive(Serialize)]
#[serde(rename = "*define.OCIRuntimeInfo")]
struct Program {
    name: &'static str,
    package: &'static str,
    path: String,
    version: String,
}

#[derive(Serialize)]
#[serde(rename = "define.SlirpInfo")]
struct Executable {
    executable: String,
    package: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename = "*define.RemoteSocket")]
struct Socket {
    path: String,
    exists: bool,
}

#[derive(Serialize)]
#[serde(rename = "define.SecurityInfo", rename_all = "camelCase")]
struct Security {
    apparmor_enabled: bool,
    capabilities: String,
    rootless: bool,
    seccomp_enabled: bool,
    seccomp_profile_path: &'static str,
    selinux_enabled: bool,
}

#[derive(Serialize)]
#[serde(rename = "*define.StoreInfo", rename_all = "camelCase")]
struct Store {
    container_store: ContainerStore,
    graph_driver_name: &'static str,
    graph_options: BTreeMap<String, String>,
    graph_root: String,
    graph_root_allocated: u64,
    graph_root_used: u64,
    graph_status: BTreeMap<&'static str, String>,
    image_copy_tmp_dir: String,
    image_store: ImageStore,
    run_root: String,
    volume_path: String,
    transient_store: bool,
}

#[derive(Serialize)]
#[serde(rename = "define.ContainerStore")]
struct ContainerStore {
    number: usize,
    paused: usize,
    running: usize,
    stopped: usize,
}

#[derive(Serialize)]
#[serde(rename = "define.ImageStore")]
struct ImageStore {
    number: usize,
}

#[derive(Serialize)]
#[serde(rename = "define.Plugins")]
struct Plugins {
    volume: [&'static str; 1],
    network: NilIfEmpty<Vec<String>>,
    log: [&'static str; 5],
    authorization: NilIfEmpty<Vec<String>>,
}

impl Info {
    fn look(engine: &Engine) -> Result<Self> {
        Ok(Self {
            host: host(engine),
            store: store(engine)?,
            registries: BTreeMap::new(),
            plugins: Plugins {
                volume: ["local"],
                network: NilIfEmpty(Vec::new()),
                log: ["k8s-file", "none", "passthrough", "journald", "json-file"],
                authorization: NilIfEmpty(Vec::new()),
            },
            version: Version::ours(),
        })
    }
}

fn host(engine: &Engine) -> Host {
    let machine = rustix::system::uname();
    let memory = read("/proc/meminfo");
    let memory = meminfo(&memory);
    let bytes = |key: &str| memory.get(key).copied().unwrap_or(0) * 1024;
    let map = engine.default_map();
    let (cgroup_version, cgroup_controllers) = cgroups();
    Host {
        arch: architecture(),
        cgroup_manager: cgroup::manager(None, &engine.settings).name(),
        cgroup_version,
        cgroup_controllers,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_utilization: cpu_use(&read("/proc/stat")),
        database_backend: "none",
        distribution: distribution(&read("/etc/os-release")),
        event_logger: engine
            .storage
            .events()
            .backend()
            .map_or("file", |it| it.name()),
        free_locks: None,
        hostname: machine.nodename().to_string_lossy().into_owned(),
        id_mappings: IdMappings {
            gidmap: map.gids.iter().map(id_mapping).collect(),
            uidmap: map.uids.iter().map(id_mapping).collect(),
        },
        kernel: machine.release().to_string_lossy().into_owned(),
        log_driver: "k8s-file",
        mem_free: bytes("MemFree"),
        mem_total: bytes("MemTotal"),
        network_backend: "pasta",
        oci_runtime: Program {
            name: "coracle",
            package: "Unknown",
            path: std::env::current_exe().map_or_else(
                |_| String::new(),
                |path| path.to_string_lossy().into_owned(),
            ),
            version: format!("coracle version {}", env!("CARGO_PKG_VERSION")),
        },
        os: "linux",
        remote_socket: Socket {
            path: engine
                .settings
                .runtime
                .with_file_name("podman/podman.sock")
                .to_string_lossy()
                .into_owned(),
            exists: false,
        },
        rootless_network_cmd: "pasta",
        service_is_remote: false,
        security: Security {
            apparmor_enabled: read("/sys/module/apparmor/parameters/enabled").trim() == "Y",
            capabilities: CapSet::DEFAULT.names().join(","),
            rootless: engine.settings.uid != 0,
            seccomp_enabled: true,
            seccomp_profile_path: "default",
            selinux_enabled: Path::new("/sys/fs/selinux/enforce").exists(),
        },
        pasta: Executable {
            executable: in_path("pasta"),
            package: "Unknown",
            version: "",
        },
        swap_free: bytes("SwapFree"),
        swap_total: bytes("SwapTotal"),
        uptime: uptime(&read("/proc/uptime")),
        variant: "",
        linkmode: if cfg!(target_feature = "crt-static") {
            "static"
        } else {
            "dynamic"
        },
    }
}

/// A file's text; nothing if it cannot be read.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn id_mapping(range: &IdRange) -> IdMapping {
    IdMapping {
        container_id: range.inside,
        host_id: range.outside,
        size: range.count,
    }
}

/// The cgroup version and the controllers that are delegated to us.
fn cgroups() -> (&'static str, Vec<String>) {
    if cgroup::hierarchy() != Hierarchy::Unified {
        return ("v1", Vec::new());
    }
    let own = cgroup::own().unwrap_or_default();
    ("v2", cgroup::controllers(&own).into_iter().collect())
}

/// /proc/meminfo, in KiB.
fn meminfo(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter_map(|line| {
        let (key, rest) = line.split_once(':')?;
        Some((key, rest.split_whitespace().next()?.parse().ok()?))
    });
    lines.collect()
}

/// The first line of /proc/stat: how the processors have spent their time.
fn cpu_use(text: &str) -> CpuUse {
    let times: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .take(4)
        .filter_map(|time| time.parse().ok())
        .collect();
    let [user, nice, system, idle] = times[..] else {
        return CpuUse {
            user_percent: 0.0,
            system_percent: 0.0,
            idle_percent: 0.0,
        };
    };
    let all = (user + nice + system + idle).max(1.0);
    let percent = |time: f64| (time / all * 10_000.0).round() / 100.0;
    CpuUse {
        user_percent: percent(user + nice),
        system_percent: percent(system),
        idle_percent: percent(idle),
    }
}

/// os-release(5).
fn distribution(text: &str) -> Distribution {
    let value = |wanted: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key == wanted).then(|| value.trim_matches(['"', '\'']).to_owned())
        })
    };
    Distribution {
        distribution: value("ID").unwrap_or_else(|| "unknown".to_owned()),
        variant: value("VARIANT_ID"),
        version: value("VERSION_ID").unwrap_or_else(|| "unknown".to_owned()),
        codename: value("VERSION_CODENAME"),
    }
}

/// `1h 25m 39.00s (Approximately 0.04 days)`
fn uptime(text: &str) -> String {
    let seconds: f64 = text
        .split_whitespace()
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(0.0);
    let whole = seconds as u64;
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    let mut shown = format!("{hours}h {minutes}m {}.00s", whole % 60);
    if hours > 0 {
        shown.push_str(&format!(
            " (Approximately {:.2} days)",
            whole as f64 / 86_400.0
        ));
    }
    shown
}

/// Where a program is, as a shell would find it.
fn in_path(name: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.map_or_else(String::new, |path| path.to_string_lossy().into_owned())
}

fn store(engine: &Engine) -> Result<Store> {
    let storage = &engine.storage;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let containers = container::list(storage)?;
    let count = |state| {
        let of = containers.iter().filter(|it| it.status.state == state);
        of.count()
    };
    let (running, paused) = (count(State::Running), count(State::Paused));
    let (allocated, used, backing) = match FileSystem::of(storage.root()) {
        Ok(it) => (it.bytes, it.bytes - it.free_for_root, it.kind),
        Err(_) => (0, 0, "<unknown>"),
    };
    let temporary = std::env::var("TMPDIR").ok();
    Ok(Store {
        container_store: ContainerStore {
            number: containers.len(),
            paused,
            running,
            stopped: containers.len() - running - paused,
        },
        graph_driver_name: "overlay",
        graph_options: BTreeMap::new(),
        graph_root: text(storage.root()),
        graph_root_allocated: allocated,
        graph_root_used: used,
        graph_status: BTreeMap::from([
            ("Backing Filesystem", backing.to_owned()),
            ("Native Overlay Diff", "true".to_owned()),
            ("Supports d_type", "true".to_owned()),
            ("Supports shifting", "false".to_owned()),
            ("Supports volatile", "true".to_owned()),
            ("Using metacopy", "false".to_owned()),
        ]),
        image_copy_tmp_dir: temporary.unwrap_or_else(|| "/var/tmp".to_owned()),
        image_store: ImageStore {
            number: storage.list(&storage.images())?.len(),
        },
        run_root: text(storage.runtime()),
        volume_path: text(&storage.volumes()),
        transient_store: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let memory = meminfo("MemTotal:       100 kB\nMemFree:  7 kB\nodd\n");
        assert_eq!(memory["MemTotal"], 100);
        assert_eq!(memory["MemFree"], 7);
        let cpu = cpu_use("cpu  30 10 20 40 0 0 0\ncpu0 1\n");
        assert_eq!(
            (cpu.user_percent, cpu.system_percent, cpu.idle_percent),
            (40.0, 20.0, 40.0)
        );
        assert_eq!(cpu_use("").idle_percent, 0.0);
        assert_eq!(
            uptime("5139.12 1.0\n"),
            "1h 25m 39.00s (Approximately 0.06 days)"
        );
        let found = distribution("ID=debian\nVERSION_CODENAME=\"forky\"\n");
        assert_eq!(found.distribution, "debian");
        assert_eq!(found.codename.as_deref(), Some("forky"));
        assert_eq!(found.version, "unknown");
    }
}
