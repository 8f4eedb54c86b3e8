//! A container as `inspect` shows it: Podman's define.InspectContainerData, key
//! by key, in its order, with null where Go has nil.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cgroup::{self, Cgroup};
use crate::cli::args::filter::policy;
use crate::container::health::{self, Report, Startup};
use crate::container::options::{
    DeviceLimit, Io, LogDriver, Mount, MountKind, NamespaceMode, Options, RestartPolicy, Seccomp,
    SecretMount,
};
use crate::container::{Container, Record, State, spec};
use crate::engine::Engine;
use crate::error::Result;
use crate::image::{self, Healthcheck};
use crate::network::{NetworkMode, PortMapping};
use crate::output::human;
use crate::output::value::{NilIfEmpty, Time};
use crate::runtime::capability::CapSet;
use crate::storage::Storage;
use crate::sys::signal;
use crate::userns::{self, IdMap};
use crate::volume;

/// What a container and its image take on disk (`--size`).
pub struct Sizes {
    pub own: u64,
    pub root: u64,
}

#[derive(Serialize)]
#[serde(rename = "interface {}", rename_all = "PascalCase")]
pub struct Inspected {
    id: String,
    created: Time,
    path: String,
    args: Vec<String>,
    state: StateShown,
    image: String,
    image_digest: String,
    image_name: String,
    rootfs: String,
    pod: &'static str,
    resolv_conf_path: String,
    hostname_path: String,
    hosts_path: String,
    static_dir: String,
    #[serde(rename = "OCIConfigPath", skip_serializing_if = "Option::is_none")]
    oci_config_path: Option<String>,
    #[serde(rename = "OCIRuntime")]
    oci_runtime: &'static str,
    conmon_pid_file: String,
    pid_file: String,
    name: String,
    restart_count: u32,
    driver: &'static str,
    mount_label: &'static str,
    process_label: &'static str,
    app_armor_profile: String,
    effective_caps: NilIfEmpty<Vec<String>>,
    bounding_caps: NilIfEmpty<Vec<String>>,
    #[serde(rename = "ExecIDs")]
    exec_ids: Vec<String>,
    graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    mounts: Vec<MountShown>,
    dependencies: Vec<String>,
    network_settings: NetworkSettings,
    namespace: &'static str,
    is_infra: bool,
    is_service: bool,
    kube_exit_code_propagation: &'static str,
    #[serde(rename = "lockNumber")]
    lock_number: u32,
    config: Config,
    host_config: HostConfig,
    use_image_hosts: bool,
    use_image_hostname: bool,
}

#[derive(Serialize)]
#[serde(rename = "*define.InspectContainerState", rename_all = "PascalCase")]
struct StateShown {
    oci_version: &'static str,
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    conmon_pid: Option<i32>,
    exit_code: i32,
    error: String,
    started_at: Time,
    finished_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_path: Option<String>,
    checkpointed_at: Time,
    restored_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_by_user: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename = "*define.DriverData", rename_all = "PascalCase")]
struct GraphDriver {
    name: &'static str,
    data: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename = "define.InspectMount", rename_all = "PascalCase")]
struct MountShown {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    source: String,
    destination: String,
    driver: &'static str,
    mode: String,
    options: NilIfEmpty<Vec<String>>,
    #[serde(rename = "RW")]
    rw: bool,
    propagation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_path: Option<String>,
}

type Ports = BTreeMap<String, Option<Vec<HostPort>>>;

#[derive(Serialize, Clone)]
#[serde(rename = "define.InspectHostPort", rename_all = "PascalCase")]
struct HostPort {
    host_ip: String,
    host_port: String,
}

#[derive(Serialize, Default)]
#[serde(rename = "*define.InspectNetworkSettings", rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(rename = "EndpointID")]
    endpoint_id: &'static str,
    gateway: &'static str,
    #[serde(rename = "IPAddress")]
    ip_address: &'static str,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u32,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u32,
    mac_address: &'static str,
    bridge: &'static str,
    #[serde(rename = "SandboxID")]
    sandbox_id: &'static str,
    hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    link_local_ipv6_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    link_local_ipv6_prefix_len: u32,
    ports: Ports,
    sandbox_key: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<String, NetworkShown>,
}

#[derive(Serialize, Default)]
#[serde(rename = "*define.InspectAdditionalNetwork", rename_all = "PascalCase")]
struct NetworkShown {
    #[serde(rename = "EndpointID")]
    endpoint_id: &'static str,
    gateway: &'static str,
    #[serde(rename = "IPAddress")]
    ip_address: &'static str,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u32,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u32,
    mac_address: &'static str,
    #[serde(rename = "NetworkID")]
    network_id: String,
    driver_opts: Option<()>,
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<()>,
    links: Option<()>,
}

#[derive(Serialize)]
#[serde(rename = "*define.InspectContainerConfig", rename_all = "PascalCase")]
struct Config {
    hostname: String,
    domainname: &'static str,
    user: String,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Vec<String>,
    cmd: NilIfEmpty<Vec<String>>,
    image: String,
    volumes: Option<()>,
    working_dir: String,
    entrypoint: NilIfEmpty<Vec<String>>,
    on_build: Option<()>,
    labels: NilIfEmpty<BTreeMap<String, String>>,
    annotations: NilIfEmpty<BTreeMap<String, String>>,
    stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    startup_health_check: Option<StartupShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Healthcheck>,
    healthcheck_on_failure_action: &'static str,
    health_log_destination: String,
    healthcheck_max_log_count: u32,
    healthcheck_max_log_size: u32,
    create_command: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    systemd_mode: bool,
    umask: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<ShownSecret>,
    timeout: u32,
    stop_timeout: u32,
    passwd: bool,
    #[serde(rename = "sdNotifyMode")]
    sd_notify_mode: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Empty>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownSecret {
    name: String,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "UID")]
    uid: u32,
    #[serde(rename = "GID")]
    gid: u32,
    mode: u32,
}

/// Go's `struct{}`.
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(
    rename = "*define.InspectContainerHostConfig",
    rename_all = "PascalCase"
)]
struct HostConfig {
    binds: Vec<String>,
    cgroup_manager: &'static str,
    cgroup_mode: String,
    #[serde(rename = "ContainerIDFile")]
    container_id_file: String,
    log_config: LogConfig,
    network_mode: String,
    port_bindings: BTreeMap<String, Vec<HostPort>>,
    restart_policy: RestartShown,
    auto_remove: bool,
    auto_remove_image: bool,
    annotations: NilIfEmpty<BTreeMap<String, String>>,
    volume_driver: &'static str,
    volumes_from: NilIfEmpty<Vec<String>>,
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    dns: Vec<String>,
    dns_options: Vec<String>,
    dns_search: Vec<String>,
    extra_hosts: Vec<String>,
    hosts_file: String,
    group_add: Vec<String>,
    ipc_mode: String,
    cgroup: &'static str,
    cgroups: &'static str,
    links: Option<()>,
    oom_score_adj: i32,
    pid_mode: String,
    privileged: bool,
    publish_all_ports: bool,
    readonly_rootfs: bool,
    security_opt: Vec<String>,
    tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    uts_mode: String,
    userns_mode: String,
    #[serde(rename = "IDMappings", skip_serializing_if = "Option::is_none")]
    id_mappings: Option<IdMappings>,
    shm_size: u64,
    runtime: &'static str,
    console_size: [u32; 2],
    isolation: &'static str,
    cpu_shares: u64,
    memory: i64,
    nano_cpus: i64,
    cgroup_parent: String,
    blkio_weight: u16,
    blkio_weight_device: NilIfEmpty<Vec<DeviceWeight>>,
    blkio_device_read_bps: Option<Vec<DeviceRate>>,
    blkio_device_write_bps: Option<Vec<DeviceRate>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: Option<Vec<DeviceRate>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: Option<Vec<DeviceRate>>,
    cpu_period: u64,
    cpu_quota: i64,
    cpu_realtime_period: u64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    devices: Vec<DeviceShown>,
    disk_quota: u64,
    kernel_memory: i64,
    memory_reservation: i64,
    memory_swap: i64,
    memory_swappiness: i64,
    oom_kill_disable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<bool>,
    pids_limit: i64,
    ulimits: Vec<UlimitShown>,
    cpu_count: u64,
    cpu_percent: u64,
    #[serde(rename = "IOMaximumIOps")]
    io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    io_maximum_bandwidth: u64,
    cgroup_conf: NilIfEmpty<BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename = "define.InspectBlkioWeightDevice", rename_all = "PascalCase")]
struct DeviceWeight {
    path: String,
    weight: u64,
}

#[derive(Serialize)]
#[serde(
    rename = "define.InspectBlkioThrottleDevice",
    rename_all = "PascalCase"
)]
struct DeviceRate {
    path: String,
    rate: u64,
}

#[derive(Serialize)]
#[serde(rename = "*define.InspectLogConfig", rename_all = "PascalCase")]
struct LogConfig {
    r#type: &'static str,
    config: Option<()>,
    path: String,
    tag: String,
    size: String,
}

#[derive(Serialize)]
#[serde(rename = "*define.InspectRestartPolicy", rename_all = "PascalCase")]
struct RestartShown {
    name: &'static str,
    maximum_retry_count: u32,
}

#[derive(Serialize)]
#[serde(rename = "*define.InspectIDMappings", rename_all = "PascalCase")]
struct IdMappings {
    uid_map: Vec<String>,
    gid_map: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename = "define.InspectDevice", rename_all = "PascalCase")]
struct DeviceShown {
    path_on_host: String,
    path_in_container: String,
    cgroup_permissions: String,
}

#[derive(Serialize)]
#[serde(rename = "define.InspectUlimit", rename_all = "PascalCase")]
struct UlimitShown {
    name: String,
    soft: i64,
    hard: i64,
}

/// A container as `inspect` shows it.
pub fn inspected(engine: &Engine, it: &Container, sizes: Option<Sizes>) -> Result<Inspected> {
    let storage = &engine.storage;
    let (record, status) = (&it.record, &it.status);
    let options = &record.options;
    let dir = storage.container(&record.id);
    let there = |path: std::path::PathBuf| path.exists().then(|| path_text(Some(&path)));
    let at_run = storage.container_runtime(&record.id);
    let runtime = |name: &str| there(at_run.join(name)).unwrap_or_default();
    let digest = image::by_id(storage, &record.image.id)?.map(|image| image.digest.to_string());
    let capabilities = spec::capabilities(options, CapSet::bounding())?;
    let (path, args) = command(options);
    Ok(Inspected {
        id: record.id.to_string(),
        created: Time(Some(record.created)),
        path,
        args,
        state: state(it, health::report(storage, &it.record)),
        image: record.image.shown_id().to_owned(),
        image_digest: digest.unwrap_or_default(),
        image_name: record.image.name.clone(),
        rootfs: path_text(options.rootfs.as_ref().map(|it| it.path.as_path())),
        pod: "",
        resolv_conf_path: runtime("resolv.conf"),
        hostname_path: runtime("hostname"),
        hosts_path: runtime("hosts"),
        static_dir: dir.to_string_lossy().into_owned(),
        oci_config_path: there(dir.join("config.json")),
        oci_runtime: "coracle",
        conmon_pid_file: path_text(options.monitor_pidfile.as_deref()),
        pid_file: path_text(options.pidfile.as_deref()),
        name: record.name.to_string(),
        restart_count: status.started.as_ref().map_or(0, |it| it.restarts),
        driver: "overlay",
        mount_label: "",
        process_label: "",
        app_armor_profile: options.security.apparmor.clone().unwrap_or_default(),
        effective_caps: NilIfEmpty(capabilities.effective.names()),
        bounding_caps: NilIfEmpty(capabilities.bounding.names()),
        exec_ids: Vec::new(),
        graph_driver: graph_driver(storage, it),
        size_rw: sizes.as_ref().map(|sizes| sizes.own),
        size_root_fs: sizes.as_ref().map(|sizes| sizes.root),
        mounts: mounts(storage, options),
        dependencies: dependencies(options),
        network_settings: network_settings(it),
        namespace: "",
        is_infra: false,
        is_service: false,
        kube_exit_code_propagation: "invalid",
        lock_number: 0,
        config: config(it),
        host_config: host_config(engine, it),
        use_image_hosts: options.hosts.no_hosts,
        use_image_hostname: options.hosts.no_hostname,
    })
}

/// The program and its arguments. Podman: one without arguments is its own.
fn command(options: &Options) -> (String, Vec<String>) {
    let mut argv = options.argv.clone();
    if options.init {
        argv.splice(0..0, ["/run/podman-init".to_owned(), "--".to_owned()]);
    }
    let path = argv.first().cloned().unwrap_or_default();
    if argv.len() > 1 {
        argv.remove(0);
    }
    (path, argv)
}

fn state(it: &Container, health: Option<Report>) -> StateShown {
    let status = &it.status;
    let exit = status.exit.as_ref().filter(|_| !status.is_up());
    let started = status.started.as_ref();
    let begun = started.map(|it| it.at);
    let cgroup = started.filter(|_| status.is_up());
    StateShown {
        oci_version: "1.2.1",
        status: status.state.word(),
        running: status.state == State::Running,
        paused: status.state == State::Paused,
        restarting: false,
        oom_killed: exit.is_some_and(|exit| exit.oom_killed),
        dead: false,
        pid: status.pid(),
        conmon_pid: status.monitor.filter(|pid| *pid > 0 && status.is_up()),
        exit_code: exit.map_or(0, |exit| exit.code),
        error: exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
        started_at: Time(begun.or(exit.and_then(|exit| exit.started))),
        finished_at: Time(exit.map(|exit| exit.finished)),
        health,
        cgroup_path: cgroup
            .and_then(|it| it.cgroup.as_ref())
            .map(|folder| path_text(Some(&Cgroup::at(folder).path()))),
        checkpointed_at: Time(None),
        restored_at: Time(None),
        stopped_by_user: exit.filter(|exit| exit.stopped_by_user).map(|_| true),
    }
}

fn graph_driver(storage: &Storage, it: &Container) -> GraphDriver {
    let dir = storage.container(&it.record.id);
    let place = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let lower = it.record.image.layers.iter().rev();
    let lower: Vec<String> = lower
        .map(|layer| {
            storage
                .layer(layer)
                .join("diff")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let mut data = BTreeMap::new();
    if !lower.is_empty() {
        data.insert("LowerDir", lower.join(":"));
    }
    data.extend([("UpperDir", place("upper")), ("WorkDir", place("work"))]);
    if it.status.is_up() {
        data.insert("MergedDir", place("rootfs"));
    }
    GraphDriver {
        name: "overlay",
        data,
    }
}

/// The user's mounts: volumes, then the others.
fn mounts(storage: &Storage, options: &Options) -> Vec<MountShown> {
    let mut volumes = Vec::new();
    let mut others = Vec::new();
    for mount in &options.mounts {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let parts = MountParts::of(mount);
        let shown = MountShown {
            r#type: "bind",
            name: None,
            source: String::new(),
            destination: text(&mount.destination),
            driver: "",
            mode: parts.label.clone(),
            options: NilIfEmpty(parts.others.clone()),
            rw: !mount.read_only,
            propagation: parts.propagation.clone(),
            sub_path: mount.subpath.as_deref().map(text),
        };
        match &mount.kind {
            MountKind::Volume { name, .. } => volumes.push(MountShown {
                r#type: "volume",
                name: Some(name.to_string()),
                source: text(&volume::mountpoint(storage, name)),
                driver: "local",
                ..shown
            }),
            MountKind::Bind { source } => others.push(MountShown {
                source: text(source),
                ..shown
            }),
            MountKind::Image { name, writable, .. } => others.push(MountShown {
                r#type: "image",
                source: name.clone(),
                options: NilIfEmpty(Vec::new()),
                rw: *writable,
                propagation: String::new(),
                ..shown
            }),
            MountKind::Overlay { .. }
            | MountKind::Tmpfs { .. }
            | MountKind::Ramfs { .. }
            | MountKind::Devpts { .. } => {}
        }
    }
    volumes.extend(others);
    volumes
}

/// A mount's options as Podman sorts them.
#[derive(Default)]
struct MountParts {
    /// `z` or `Z`
    label: String,
    propagation: String,
    others: Vec<String>,
}

impl MountParts {
    fn of(mount: &Mount) -> Self {
        let mut parts = Self::default();
        for option in &mount.options {
            match option.as_str() {
                "z" | "Z" => parts.label.clone_from(option),
                "ro" | "rw" => {}
                "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate"
                | "unbindable" | "runbindable" => parts.propagation.clone_from(option),
                _ => parts.others.push(option.clone()),
            }
        }
        parts
    }
}

/// HostConfig.Binds: `source:destination:options`.
fn binds(options: &Options) -> Vec<String> {
    let bind = |mount: &Mount| {
        let source = match &mount.kind {
            MountKind::Volume { name, .. } => name.to_string(),
            MountKind::Bind { source } => source.to_string_lossy().into_owned(),
            _ => return None,
        };
        Some(format!(
            "{source}:{}:{}",
            mount.destination.display(),
            mount.options.join(",")
        ))
    };
    let (volumes, others): (Vec<&Mount>, Vec<&Mount>) = options
        .mounts
        .iter()
        .partition(|mount| matches!(mount.kind, MountKind::Volume { .. }));
    volumes.into_iter().chain(others).filter_map(bind).collect()
}

fn dependencies(options: &Options) -> Vec<String> {
    let mut ids = Vec::new();
    if let NetworkMode::Container(id) = &options.network {
        ids.push(id.clone());
    }
    for mode in [&options.pid, &options.ipc, &options.uts] {
        if let NamespaceMode::Container(id) = mode
            && !ids.contains(id)
        {
            ids.push(id.clone());
        }
    }
    for id in &options.requires {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids
}

fn host_ports(ports: &[PortMapping]) -> BTreeMap<String, Vec<HostPort>> {
    let mut bindings: BTreeMap<String, Vec<HostPort>> = BTreeMap::new();
    for port in ports {
        let key = format!("{}/{}", port.container_port, port.protocol);
        bindings.entry(key).or_default().push(HostPort {
            host_ip: match port.host_ip.as_str() {
                "" => "0.0.0.0".to_owned(),
                ip => ip.to_owned(),
            },
            host_port: port.host_port.to_string(),
        });
    }
    bindings
}

/// `80/tcp` of `80`, as EXPOSE may have it.
fn with_protocol(port: &str) -> String {
    match port.contains('/') {
        true => port.to_owned(),
        false => format!("{port}/tcp"),
    }
}

fn network_settings(it: &Container) -> NetworkSettings {
    let options = &it.record.options;
    let mut ports: Ports = host_ports(&options.ports)
        .into_iter()
        .map(|(port, hosts)| (port, Some(hosts)))
        .collect();
    for port in &options.exposed {
        ports.entry(with_protocol(port)).or_default();
    }
    let is_pasta = matches!(
        options.network,
        NetworkMode::PastaDefault | NetworkMode::Pasta(_)
    );
    let mut networks = BTreeMap::new();
    // Podman names pasta as a network of those that do not run only.
    if !(is_pasta && it.status.is_up())
        && let Some(name) = match &options.network {
            NetworkMode::Container(_) | NetworkMode::Path(_) => None,
            _ if is_pasta => Some("pasta".to_owned()),
            mode => Some(network_mode(mode)),
        }
    {
        let shown = NetworkShown {
            network_id: name.clone(),
            ..NetworkShown::default()
        };
        networks.insert(name, shown);
    }
    let pid = it.status.pid();
    NetworkSettings {
        ports,
        sandbox_key: match pid {
            0 => String::new(),
            pid => format!("/proc/{pid}/ns/net"),
        },
        networks,
        ..NetworkSettings::default()
    }
}

fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::PastaDefault => "pasta".to_owned(),
        NetworkMode::Pasta(_) => "pasta".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
        NetworkMode::Path(path) => format!("ns:{}", path.display()),
    }
}

fn namespace_mode(mode: &NamespaceMode) -> String {
    match mode {
        NamespaceMode::Private => "private".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Shareable => "shareable".to_owned(),
        NamespaceMode::None => "none".to_owned(),
        NamespaceMode::Container(id) => format!("container:{id}"),
        NamespaceMode::Path(path) => format!("ns:{}", path.display()),
    }
}

fn shown_secret(it: &SecretMount) -> ShownSecret {
    ShownSecret {
        name: it.name.clone(),
        id: it.id.clone(),
        uid: it.uid,
        gid: it.gid,
        mode: it.mode,
    }
}

/// Keys in Go's order, which a flattened struct would lose.
#[derive(Serialize)]
#[serde(rename = "*define.StartupHealthCheck", rename_all = "PascalCase")]
struct StartupShown {
    test: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Nanoseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Nanoseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successes: Option<i64>,
}

/// Go's time.Duration, as templates print it.
#[derive(Serialize)]
struct Nanoseconds(#[serde(serialize_with = "image::nanoseconds")] i64);

fn startup(startup: &Startup) -> StartupShown {
    let some = |number: i64| Some(number).filter(|number| *number != 0);
    StartupShown {
        test: startup.check.test.clone(),
        interval: some(startup.check.interval).map(Nanoseconds),
        timeout: some(startup.check.timeout).map(Nanoseconds),
        retries: some(startup.check.retries),
        successes: some(startup.successes),
    }
}

fn config(it: &Container) -> Config {
    let record = &it.record;
    let options = &record.options;
    let health = options.health.as_ref();
    let machine = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let hostname = spec::hostname(record, &machine);
    let mut env = spec::environment(options, &hostname, Some("/root"));
    let is_root = matches!(
        options.user.split(':').next(),
        Some("" | "0" | "root") | None
    );
    // What Podman finds out when it starts: another user's home, a given name.
    let started = it.status.started.is_some();
    env.retain(|variable| {
        let later = match variable.split('=').next() {
            Some("HOME") => !is_root || !started,
            Some("HOSTNAME") => options.hostname.is_none() && !started,
            _ => false,
        };
        !later || options.env.contains(variable)
    });
    if started {
        // As Podman: its name, and that it is there.
        let secrets = options.secret_variables.iter();
        env.extend(secrets.map(|it| format!("{}=*******", it.name)));
    }
    let published = options
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.container_port, port.protocol));
    let exposed = options.exposed.iter().map(|port| with_protocol(port));
    Config {
        hostname,
        domainname: "",
        user: options.user.clone(),
        attach_stdin: false,
        attach_stdout: false,
        attach_stderr: false,
        tty: options.tty,
        open_stdin: options.interactive,
        stdin_once: false,
        env,
        cmd: NilIfEmpty(options.command.clone()),
        image: record.image.name.clone(),
        volumes: None,
        working_dir: options.workdir.clone(),
        entrypoint: NilIfEmpty(options.entrypoint.clone()),
        on_build: None,
        labels: NilIfEmpty(options.labels.clone()),
        annotations: NilIfEmpty(annotations(it)),
        stop_signal: signal::name(options.stop_signal),
        startup_health_check: health.and_then(|it| it.startup.as_ref()).map(startup),
        healthcheck: health.map(|it| it.check.clone()),
        healthcheck_on_failure_action: health.map_or("none", |it| it.on_failure.name()),
        health_log_destination: options.health_log.destination.clone(),
        healthcheck_max_log_count: options.health_log.count,
        healthcheck_max_log_size: options.health_log.size,
        create_command: options.create_command.clone(),
        systemd_mode: options.systemd.is_some(),
        umask: format!("{:04o}", options.umask),
        secrets: options.secrets.iter().map(shown_secret).collect(),
        timeout: options.timeout,
        stop_timeout: options.stop_timeout,
        passwd: true,
        sd_notify_mode: options.sdnotify.name(),
        exposed_ports: published
            .chain(exposed)
            .map(|port| (port, Empty {}))
            .collect(),
    }
}

/// The user's annotations, and those by which Podman remembers flags.
fn annotations(it: &Container) -> BTreeMap<String, String> {
    let mut all = flags(&it.record);
    if it.status.started.is_some() {
        let signal = it.record.options.stop_signal.to_string();
        all.insert("io.container.manager".to_owned(), "libpod".to_owned());
        all.insert("org.opencontainers.image.stopSignal".to_owned(), signal);
    }
    all
}

fn flags(record: &Record) -> BTreeMap<String, String> {
    let options = &record.options;
    let mut all = options.annotations.clone();
    let mut flag = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            all.insert(format!("io.podman.annotations.{name}"), value);
        }
    };
    let yes = |is: bool| is.then(|| "TRUE".to_owned());
    flag("autoremove", yes(options.remove));
    let from = options.volumes_from.join(";");
    flag("volumes-from", Some(from).filter(|from| !from.is_empty()));
    flag("init", yes(options.init));
    flag("privileged", yes(options.privileged));
    flag(
        "cid-file",
        options.cidfile.as_deref().map(|path| path_text(Some(path))),
    );
    flag("label", options.security.labels.first().cloned());
    flag("userns", options.userns.clone());
    flag(
        "pids-limit",
        options.resources.pids.map(|pids| pids.to_string()),
    );
    flag("seccomp", seccomp(options));
    flag("apparmor", options.security.apparmor.clone());
    if options.keeps_groups() {
        all.insert("run.oci.keep_original_groups".to_owned(), "1".to_owned());
    }
    if let Some(reason) = &record.map_reason {
        all.insert("coracle.idmap".to_owned(), reason.clone());
    }
    all
}

/// The id map in intermediate ids, as Podman shows it.
fn mappings(engine: &Engine, record: &Record) -> Option<IdMap> {
    let map = record.map.as_ref()?;
    Some(map.relative_to(engine.default_map()))
}

fn seccomp(options: &Options) -> Option<String> {
    match &options.security.seccomp {
        Seccomp::Default => None,
        Seccomp::Unconfined => Some("unconfined".to_owned()),
        Seccomp::Profile(path) => Some(path_text(Some(path))),
    }
}

fn host_config(engine: &Engine, it: &Container) -> HostConfig {
    let storage = &engine.storage;
    let record = &it.record;
    let options = &record.options;
    let resources = &options.resources;
    let io = &resources.io;
    // Podman: null, unless something of block devices is said.
    let rates = |limits: &[DeviceLimit]| {
        let rates = limits.iter().map(rate).collect();
        (*io != Io::default()).then_some(rates)
    };
    let hosts = &options.hosts;
    let period = resources.cpu_period.unwrap_or(0);
    let quota = resources.cpu_quota.unwrap_or(0);
    let nano_cpus = match (i64::try_from(period), quota) {
        (Ok(period @ 1..), 1..) => quota.saturating_mul(1_000_000_000) / period,
        _ => 0,
    };
    HostConfig {
        binds: binds(options),
        cgroup_manager: cgroup::manager(options.cgroup.manager, &engine.settings).name(),
        cgroup_mode: namespace_mode(&options.cgroupns),
        container_id_file: path_text(options.cidfile.as_deref()),
        log_config: log_config(storage, record),
        network_mode: network_mode(&options.network),
        port_bindings: host_ports(&options.ports),
        restart_policy: RestartShown {
            name: policy(&options.restart),
            maximum_retry_count: match options.restart {
                RestartPolicy::OnFailure { max } => max,
                _ => 0,
            },
        },
        auto_remove: options.remove,
        auto_remove_image: options.remove_image,
        annotations: NilIfEmpty(annotations(it)),
        volume_driver: "",
        volumes_from: NilIfEmpty(options.volumes_from.clone()),
        cap_add: capabilities(&options.cap_add),
        cap_drop: capabilities(&options.cap_drop),
        dns: hosts.dns.clone(),
        dns_options: hosts.dns_options.clone(),
        dns_search: hosts.dns_search.clone(),
        extra_hosts: hosts.add.clone(),
        hosts_file: hosts.base.clone().unwrap_or_default(),
        group_add: options.groups.clone(),
        ipc_mode: namespace_mode(&options.ipc),
        cgroup: "",
        cgroups: match options.cgroup.mode {
            cgroup::Mode::Disabled => "disabled",
            _ => "default",
        },
        links: None,
        oom_score_adj: options.oom_score_adj.unwrap_or(0),
        pid_mode: namespace_mode(&options.pid),
        privileged: options.privileged,
        publish_all_ports: false,
        readonly_rootfs: options.read_only,
        security_opt: security(options),
        tmpfs: tmpfs(options),
        uts_mode: namespace_mode(&options.uts),
        userns_mode: match (&options.user_namespace, &record.map) {
            (userns::Mode::Host, _) | (_, None) => String::new(),
            // Podman finds it out when it starts the container.
            (userns::Mode::Auto { .. }, _) if it.status.started.is_none() => String::new(),
            (userns::Mode::Container(id), _) => format!("container:{id}"),
            (userns::Mode::Path(path), _) => format!("ns:{}", path.display()),
            _ => "private".to_owned(),
        },
        id_mappings: mappings(engine, record).map(|map| IdMappings {
            uid_map: map.uids.iter().map(ToString::to_string).collect(),
            gid_map: map.gids.iter().map(ToString::to_string).collect(),
        }),
        shm_size: options.shm_size,
        runtime: "oci",
        console_size: [0, 0],
        isolation: "",
        cpu_shares: resources.cpu_shares.unwrap_or(0),
        memory: resources.memory.unwrap_or(0),
        nano_cpus,
        cgroup_parent: options.cgroup.parent.clone().unwrap_or_default(),
        blkio_weight: io.weight.unwrap_or(0),
        blkio_weight_device: NilIfEmpty(io.device_weights.iter().map(weight).collect()),
        blkio_device_read_bps: rates(&io.read_bps),
        blkio_device_write_bps: rates(&io.write_bps),
        blkio_device_read_iops: rates(&io.read_iops),
        blkio_device_write_iops: rates(&io.write_iops),
        cpu_period: period,
        cpu_quota: quota,
        cpu_realtime_period: 0,
        cpu_realtime_runtime: 0,
        cpuset_cpus: resources.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: resources.cpuset_mems.clone().unwrap_or_default(),
        devices: devices(options),
        disk_quota: 0,
        kernel_memory: 0,
        memory_reservation: resources.memory_reservation.unwrap_or(0),
        memory_swap: resources.memory_swap.unwrap_or(0),
        // Podman: unset, where memory is limited at all.
        memory_swappiness: match resources.swappiness {
            Some(swappiness) => i64::try_from(swappiness).unwrap_or(i64::MAX),
            None if resources.memory.is_some() => -1,
            None => 0,
        },
        oom_kill_disable: resources.oom_kill_disable,
        init: options.init.then_some(true),
        pids_limit: resources.pids.unwrap_or(0),
        ulimits: ulimits(options),
        cpu_count: 0,
        cpu_percent: 0,
        io_maximum_iops: 0,
        io_maximum_bandwidth: 0,
        cgroup_conf: NilIfEmpty(resources.files.clone()),
    }
}

fn weight(limit: &DeviceLimit) -> DeviceWeight {
    DeviceWeight {
        path: path_text(Some(&limit.path)),
        weight: limit.value,
    }
}

fn rate(limit: &DeviceLimit) -> DeviceRate {
    DeviceRate {
        path: path_text(Some(&limit.path)),
        rate: limit.value,
    }
}

fn log_config(storage: &Storage, record: &Record) -> LogConfig {
    let log = &record.options.log;
    let path = match log.driver {
        LogDriver::K8sFile | LogDriver::JsonFile => {
            let default = storage.container(&record.id).join("log/ctr.log");
            path_text(Some(log.path.as_deref().unwrap_or(&default)))
        }
        _ => path_text(log.path.as_deref()),
    };
    LogConfig {
        r#type: log.driver.name(),
        config: None,
        path,
        tag: log.tag.clone().unwrap_or_default(),
        size: match log.max_size {
            Some(size) => human::size(size, 4),
            None => "-1B".to_owned(),
        },
    }
}

/// `--cap-add` and `--cap-drop` by their full names.
fn capabilities(given: &[String]) -> Vec<String> {
    let full = given.iter().map(|name| {
        let name = name.to_uppercase();
        match name.starts_with("CAP_") || name == "ALL" {
            true => name,
            false => format!("CAP_{name}"),
        }
    });
    full.collect()
}

fn security(options: &Options) -> Vec<String> {
    let security = &options.security;
    let mut all = Vec::new();
    if security.no_new_privileges {
        all.push("no-new-privileges".to_owned());
    }
    all.extend(security.labels.iter().map(|label| format!("label={label}")));
    all.extend(seccomp(options).map(|profile| format!("seccomp={profile}")));
    let apparmor = security.apparmor.as_ref();
    all.extend(apparmor.map(|profile| format!("apparmor={profile}")));
    all
}

fn tmpfs(options: &Options) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for mount in &options.mounts {
        let MountKind::Tmpfs { options, copy_up } = &mount.kind else {
            continue;
        };
        let mut texts: Vec<&str> = Vec::new();
        if mount.read_only {
            texts.push("ro");
        }
        let given = options.iter().chain(&mount.options).map(String::as_str);
        let defaults = ["rprivate", "nosuid", "nodev"];
        for text in given.chain(defaults).chain(copy_up.then_some("tmpcopyup")) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let destination = mount.destination.to_string_lossy().into_owned();
        all.insert(destination, texts.join(","));
    }
    all
}

fn devices(options: &Options) -> Vec<DeviceShown> {
    let devices = options.devices.iter().map(|device| DeviceShown {
        path_on_host: path_text(Some(&device.source)),
        path_in_container: path_text(Some(&device.destination)),
        cgroup_permissions: device.permissions.clone(),
    });
    devices.collect()
}

fn ulimits(options: &Options) -> Vec<UlimitShown> {
    // Unlimited is -1.
    let number = |limit: u64| i64::try_from(limit).unwrap_or(-1);
    let limits = options.ulimits.iter().map(|limit| UlimitShown {
        name: limit.name.clone(),
        soft: number(limit.soft),
        hard: number(limit.hard),
    });
    limits.collect()
}

fn path_text(path: Option<&std::path::Path>) -> String {
    path.map_or_else(String::new, |path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::options::MountKind;
    use crate::container::{Exit, Status, sample};

    fn created(change: impl FnOnce(&mut Options)) -> Container {
        let mut options = sample::options();
        change(&mut options);
        Container {
            record: sample::record(options),
            status: Status {
                state: State::Created,
                monitor: None,
                started: None,
                exit: None,
            },
        }
    }

    fn mount(kind: MountKind, destination: &str, options: &[&str]) -> Mount {
        Mount {
            kind,
            destination: destination.into(),
            read_only: false,
            options: options.iter().map(ToString::to_string).collect(),
            chown: false,
            subpath: None,
        }
    }

    #[test]
    fn binds_are_podmans() {
        let volume = |copy| MountKind::Volume {
            name: "vv".parse().unwrap(),
            anonymous: false,
            copy,
        };
        let bind = || MountKind::Bind {
            source: "/src".into(),
        };
        let it = created(|options| {
            options.mounts = vec![
                mount(bind(), "/b", &["ro", "rprivate", "rbind"]),
                mount(bind(), "/c", &["rw", "rslave", "z", "rbind"]),
                mount(volume(false), "/v", &["nocopy", "rprivate", "nosuid"]),
                mount(volume(true), "/w", &["O", "rprivate"]),
            ];
        });
        assert_eq!(
            binds(&it.record.options),
            [
                "vv:/v:nocopy,rprivate,nosuid",
                "vv:/w:O,rprivate",
                "/src:/b:ro,rprivate,rbind",
                "/src:/c:rw,rslave,z,rbind",
            ]
        );
    }

    #[test]
    fn a_program_without_arguments_is_its_own_argument() {
        let argv = |argv: &[&str], init| {
            let it = created(|options| {
                options.argv = argv.iter().map(ToString::to_string).collect();
                options.init = init;
            });
            command(&it.record.options)
        };
        assert_eq!(argv(&["true"], false), ("true".into(), vec!["true".into()]));
        assert_eq!(argv(&["sh", "-c"], false).1, ["-c"]);
        assert_eq!(
            argv(&["sh"], true),
            ("/run/podman-init".into(), vec!["--".into(), "sh".into()])
        );
    }

    #[test]
    fn the_state_has_podmans_keys() {
        let mut it = created(|_| {});
        let keys = |it: &Container| {
            let json = serde_json::to_value(state(it, None)).unwrap();
            let keys: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
            keys.join(" ")
        };
        let plain = "OciVersion Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt CheckpointedAt RestoredAt";
        assert_eq!(keys(&it), plain);
        it.status.state = State::Exited;
        it.status.exit = Some(Exit {
            code: 3,
            started: None,
            finished: it.record.created,
            oom_killed: false,
            error: None,
            stopped_by_user: true,
            restarting: false,
        });
        assert_eq!(keys(&it), format!("{plain} StoppedByUser"));
        let shown = state(&it, None);
        assert_eq!((shown.exit_code, shown.status), (3, "exited"));
        let value = crate::output::value::to_value(&shown).unwrap();
        let template = |format: &str| crate::output::listing::one("inspect", format, &value);
        assert_eq!(
            template("{{.Health}} {{if .Health}}x{{end}}").unwrap(),
            "<nil> \n"
        );
        assert_eq!(
            template("{{.Foo}}").unwrap_err().to_string(),
            "template: inspect:1:2: executing \"inspect\" at <.Foo>: can't evaluate field Foo in type *define.InspectContainerState"
        );
    }
}
