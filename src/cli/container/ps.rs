use std::collections::BTreeMap;

use clap::builder::PossibleValue;

use crate::cli::Example;
use crate::cli::args::{filter, number};
use crate::container::options::{Mount, MountKind};
use crate::container::{self, Container, State, health};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::image;
use crate::output::value::{Row, Time, Value};
use crate::output::{Listing, Output, human};
use crate::storage::Storage;

/// List containers
///
/// Shows the containers that run, or all with --all. On a terminal too narrow for the table
/// cells say the same in less (`2h ago`, `8080->80`), and then are cut; --no-trunc and a pipe
/// have all of it.
#[derive(clap::Args)]
pub struct Args {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,

    /// Show the containers of builds too
    #[arg(long)]
    external: bool,

    /// Show only containers that match, KEY=VALUE: ancestor, before, command, exited, health, id, label, label!, name, network, pod, restart-policy, since, status, until, volume
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Format the output with a Go template, or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show the containers created last, so many of them, in any state
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = -1)]
    last: i64,

    /// Show the container created last, in any state
    #[arg(short, long)]
    latest: bool,

    /// Show the namespaces of the containers
    #[arg(long = "ns", alias = "namespace")]
    namespaces: bool,

    /// Show ids and commands in full
    #[arg(long)]
    no_trunc: bool,

    /// Do not print the headers
    #[arg(long)]
    noheading: bool,

    /// Show the pods of the containers
    #[arg(short, long)]
    pod: bool,

    /// Print only ids
    #[arg(short, long)]
    quiet: bool,

    /// Show how much disk the containers take
    #[arg(short, long)]
    size: bool,

    /// Sort by command, created, id, image, names, runningfor, size or status
    #[arg(long, value_name = "KEY", default_value = "created", value_parser = SortKeys)]
    sort: String,

    /// Look at the processes again; this is done anyway
    #[arg(long)]
    sync: bool,

    /// Print the list again every so many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = number::unsigned_32)]
    watch: Option<u32>,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle ps -a --filter status=exited",
        does: "Show the containers that have ended.",
    },
    Example {
        line: "coracle ps --format '{{.Names}}: {{.Status}}'",
        does: "Show names and how long each has run.",
    },
];

/// `--sort`: the error is Podman's.
#[derive(Clone)]
struct SortKeys;

const SORT_KEYS: &[&str] = &[
    "command",
    "created",
    "id",
    "image",
    "names",
    "runningfor",
    "size",
    "status",
];

impl clap::builder::TypedValueParser for SortKeys {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> std::result::Result<String, clap::Error> {
        let text = value.to_string_lossy().into_owned();
        let checked =
            clap::builder::StringValueParser::new().try_map(|text: String| {
                match SORT_KEYS.contains(&text.as_str()) {
                    true => Ok(text),
                    false => Err(format!(
                        "{text:?} is not a valid value.  Choose from: \"{}\"",
                        SORT_KEYS.join(", ")
                    )),
                }
            });
        checked.parse_ref(command, arg, std::ffi::OsStr::new(&text))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(SORT_KEYS.iter().map(PossibleValue::new)))
    }
}

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    check(&args)?;
    loop {
        print(&args, engine, output)?;
        let Some(seconds) = args.watch.filter(|seconds| *seconds > 0) else {
            return Ok(0);
        };
        output.flush();
        std::thread::sleep(std::time::Duration::from_secs(seconds.into()));
    }
}

fn check(args: &Args) -> Result<()> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle ps` takes no arguments"));
    }
    if args.last >= 0 && args.latest {
        return Err(Error::usage("last and latest are mutually exclusive"));
    }
    if args.quiet && (args.size || args.namespaces) {
        return Err(Error::usage("quiet conflicts with size and namespace"));
    }
    if args.size && args.namespaces {
        return Err(Error::usage("size and namespace options conflict"));
    }
    Ok(())
}

fn print(args: &Args, engine: &Engine, output: &mut Output) -> Result<()> {
    container::sweep(engine)?;
    let mut found = choose(args, engine)?;
    if args.quiet && args.format.is_none() && args.sort == "created" {
        for container in &found {
            let id = &container.record.id;
            output.line(if args.no_trunc {
                id.as_str()
            } else {
                id.short()
            });
        }
        return Ok(());
    }
    output.keep_whole(args.no_trunc);
    let columns = columns(args);
    let listing = Listing {
        command: "ps",
        columns: &columns,
        headers: HEADERS,
        format: args.format.as_deref(),
        heading: !args.noheading && !args.quiet,
    };
    let sizes = match args.size || args.sort == "size" {
        true => sizes(engine, &found)?,
        false => BTreeMap::new(),
    };
    sort(&mut found, &args.sort, &sizes);
    let rows: Vec<ContainerRow> = found
        .into_iter()
        .map(|container| ContainerRow {
            size: sizes
                .get(&container.record.id)
                .copied()
                .filter(|_| args.size),
            namespaces: match args.namespaces {
                true => Namespaces::of(&container),
                false => Namespaces::default(),
            },
            health: health::word(&engine.storage, &container.record),
            container,
            full: args.no_trunc,
        })
        .collect();
    if listing.is_json() {
        let all: Vec<serde_json::Value> = rows.iter().map(ContainerRow::listed).collect();
        output.line(crate::output::json::list(&all)?);
        return Ok(());
    }
    listing.print(output, rows)
}

/// The containers that are asked for, the oldest first.
fn choose(args: &Args, engine: &Engine) -> Result<Vec<Container>> {
    let filters = filter::containers(engine, &args.filter)?;
    let last = if args.latest { 1 } else { args.last };
    let all = args.all || last >= 0 || filters.has_status();
    let mut found = if all {
        container::list(&engine.storage)?
    } else {
        running(&engine.storage)?
    };
    found.retain(|container| filters.matches(container));
    // Those of a build's steps are nobody's to look after.
    found.retain(|it| args.external || it.record.options.step.is_none());
    found.sort_by_key(|it| it.record.created);
    if let Ok(last @ 1..) = usize::try_from(last) {
        found.drain(..found.len().saturating_sub(last));
    }
    Ok(found)
}

/// Those that run. Reads no other's record, so that it costs as much as runs.
fn running(storage: &Storage) -> Result<Vec<Container>> {
    let mut found = Vec::new();
    for id in storage.list(&storage.running())? {
        if let Ok(id) = id.parse::<ContainerId>()
            && let Some(container) = container::load(storage, &id)?
            && container.status.state == State::Running
        {
            found.push(container);
        }
    }
    Ok(found)
}

fn columns(args: &Args) -> String {
    let mut columns = match (args.quiet, args.namespaces) {
        (true, _) => "{{.ID}}",
        (_, true) => {
            r"{{.ID}}\t{{.Names}}\t{{.Pid}}\t{{.Cgroup}}\t{{.IPC}}\t{{.MNT}}\t{{.NET}}\t{{.PIDNS}}\t{{.User}}\t{{.UTS}}"
        }
        _ => {
            r"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.CreatedHuman}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
        }
    }
    .to_owned();
    if args.pod && !args.namespaces && !args.quiet {
        columns.push_str(r"\t{{.Pod}}\t{{.PodName}}");
    }
    if args.size && !args.quiet {
        columns.push_str(r"\t{{.Size}}");
    }
    columns
}

const HEADERS: &[(&str, &str)] = &[
    ("AutoRemove", "AUTO REMOVE"),
    ("CIDFile", "CID FILE"),
    ("Cgroup", "CGROUPNS"),
    ("Command", "COMMAND"),
    ("Created", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedHuman", "CREATED"),
    ("ExitCode", "EXIT CODE"),
    ("Exited", "EXITED"),
    ("ExitedAt", "EXITED AT"),
    ("ExposedPorts", "EXPOSED PORTS"),
    ("ID", "CONTAINER ID"),
    ("IPC", "IPC"),
    ("Image", "IMAGE"),
    ("ImageID", "IMAGE ID"),
    ("IsInfra", "IS INFRA"),
    ("Labels", "LABELS"),
    ("MNT", "MNT"),
    ("Mounts", "MOUNTS"),
    ("NET", "NET"),
    ("Names", "NAMES"),
    ("Namespaces", "NAMESPACES"),
    ("Networks", "NETWORKS"),
    ("PIDNS", "PIDNS"),
    ("Pid", "PID"),
    ("Pod", "POD ID"),
    ("PodName", "PODNAME"),
    ("Ports", "PORTS"),
    ("Restarts", "RESTARTS"),
    ("RunningFor", "RUNNING FOR"),
    ("Size", "SIZE"),
    ("StartedAt", "STARTED AT"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("UTS", "UTS"),
    ("User", "USERNS"),
];

/// What a container takes on disk: its own files, and those with its image's.
#[derive(Clone, Copy, Default)]
struct Size {
    own: u64,
    virtual_size: u64,
}

/// The sizes of containers. Their files may be of ids that only the user
/// namespace can read, so they are measured there, all at once.
fn sizes(engine: &Engine, containers: &[Container]) -> Result<BTreeMap<ContainerId, Size>> {
    let storage = &engine.storage;
    let own = own_sizes(engine, containers)?;
    let mut sizes = BTreeMap::new();
    for (container, own) in containers.iter().zip(own) {
        let image = image::by_id(storage, &container.record.image.id)?;
        let size = Size {
            own,
            virtual_size: own + image.map_or(0, |image| image.size),
        };
        sizes.insert(container.record.id.clone(), size);
    }
    Ok(sizes)
}

/// The bytes in the own files of each of `containers`.
pub fn own_sizes(engine: &Engine, containers: &[Container]) -> Result<Vec<u64>> {
    let upper = |it: &Container| engine.storage.container(&it.record.id).join("upper");
    let dirs: Vec<_> = containers.iter().map(upper).collect();
    match dirs.is_empty() {
        true => Ok(Vec::new()),
        false => engine.in_namespace(|| Ok(dirs.iter().map(|dir| container_size(dir)).collect())),
    }
}

/// The bytes in a container's own files, as Podman counts them: folders are
/// nothing.
pub fn container_size(upper: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::HashSet::new();
    let files = walkdir::WalkDir::new(upper).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(|found| found.is_file() || found.is_symlink())
        .filter(|found| found.nlink() == 1 || seen.insert((found.dev(), found.ino())))
        .map(|found| found.len())
        .sum()
}

fn sort(containers: &mut [Container], by: &str, sizes: &BTreeMap<ContainerId, Size>) {
    let size = |it: &Container| sizes.get(&it.record.id).map_or(0, |it| it.virtual_size);
    let started = |it: &Container| it.status.started.as_ref().map(|it| it.at);
    match by {
        "command" => {
            containers.sort_by(|a, b| a.record.options.command.cmp(&b.record.options.command))
        }
        "id" => containers.sort_by(|a, b| a.record.id.cmp(&b.record.id)),
        "image" => containers.sort_by(|a, b| a.record.image.name.cmp(&b.record.image.name)),
        "names" => containers.sort_by(|a, b| a.record.name.cmp(&b.record.name)),
        "runningfor" => containers.sort_by_key(started),
        "size" => containers.sort_by_key(size),
        "status" => containers.sort_by_key(|it| it.status.state.word()),
        _ => {}
    }
}

/// A container's namespaces, by their numbers.
#[derive(Clone, Default, serde::Serialize)]
#[serde(rename = "types.ListContainerNamespaces", rename_all = "PascalCase")]
struct Namespaces {
    #[serde(skip_serializing_if = "String::is_empty")]
    mnt: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cgroup: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ipc: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    net: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pidns: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uts: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
}

impl Namespaces {
    fn of(container: &Container) -> Self {
        let pid = container.status.pid();
        let number = |kind: &str| -> String {
            let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}"));
            let link = link.unwrap_or_default();
            let text = link.to_string_lossy();
            let digits = text.chars().filter(char::is_ascii_digit);
            digits.collect()
        };
        if pid == 0 {
            return Self::default();
        }
        Self {
            mnt: number("mnt"),
            cgroup: number("cgroup"),
            ipc: number("ipc"),
            net: number("net"),
            pidns: number("pid"),
            uts: number("uts"),
            user: number("user"),
        }
    }

    fn print(&self) -> String {
        let parts = [
            &self.mnt,
            &self.cgroup,
            &self.ipc,
            &self.net,
            &self.pidns,
            &self.uts,
            &self.user,
        ];
        format!("{{{}}}", parts.map(String::as_str).join(" "))
    }
}

/// Podman's psReporter.
struct ContainerRow {
    container: Container,
    size: Option<Size>,
    namespaces: Namespaces,
    /// What its checks say; empty without.
    health: String,
    /// `--no-trunc`
    full: bool,
}

impl ContainerRow {
    fn id(&self) -> &str {
        let id = &self.container.record.id;
        if self.full { id.as_str() } else { id.short() }
    }

    fn command(&self) -> String {
        let command = self.container.record.options.command.join(" ");
        if self.full || command.chars().count() <= 20 {
            return command;
        }
        let start: String = command.chars().take(17).collect();
        format!("{start}...")
    }

    fn created_human(&self) -> String {
        human::ago(self.container.record.created)
    }

    fn started(&self) -> Time {
        let status = &self.container.status;
        let ended = status.exit.as_ref().and_then(|exit| exit.started);
        Time(status.started.as_ref().map(|it| it.at).or(ended))
    }

    fn exited(&self) -> Option<&container::Exit> {
        let status = &self.container.status;
        status
            .exit
            .as_ref()
            .filter(|_| status.state == State::Exited)
    }

    fn status(&self) -> String {
        match self.health.as_str() {
            "" => self.state_text(),
            health => format!("{} ({health})", self.state_text()),
        }
    }

    fn state_text(&self) -> String {
        let since = |at: jiff::Timestamp| jiff::Timestamp::now().as_second() - at.as_second();
        match (self.container.status.state, self.started().0) {
            (State::Running, Some(at)) => format!("Up {}", human::duration(since(at))),
            (State::Exited, _) => match self.exited() {
                Some(exit) => format!("Exited ({}) {}", exit.code, human::ago(exit.finished)),
                None => "Exited".to_owned(),
            },
            (state, _) => {
                let word = state.word();
                format!("{}{}", word[..1].to_uppercase(), &word[1..])
            }
        }
    }

    /// The destinations of what the user mounted: of binds, then of volumes.
    fn mounts(&self) -> Vec<String> {
        let mounts = &self.container.record.options.mounts;
        let (volumes, others): (Vec<_>, Vec<_>) = mounts
            .iter()
            .partition(|mount| matches!(mount.kind, MountKind::Volume { .. }));
        let destination = |mount: &Mount| mount.destination.to_string_lossy().into_owned();
        others.into_iter().chain(volumes).map(destination).collect()
    }

    fn size_text(&self) -> String {
        self.size.map_or_else(String::new, |size| {
            format!(
                "{} (virtual {})",
                human::size(size.own, 3),
                human::size(size.virtual_size, 3)
            )
        })
    }

    /// What EXPOSE and `--expose` say, by port.
    fn exposed(&self) -> BTreeMap<u16, Vec<String>> {
        let mut exposed: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for port in &self.container.record.options.exposed {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            if let Ok(number) = number.parse() {
                exposed.entry(number).or_default().push(protocol.to_owned());
            }
        }
        exposed
    }

    fn published(&self) -> Vec<Published<'_>> {
        let mut published: Vec<Published<'_>> = Vec::new();
        for port in &self.container.record.options.ports {
            let follows = |it: &Published<'_>| {
                it.host_ip == port.host_ip
                    && it.protocol == port.protocol
                    && it.container_port.checked_add(it.range) == Some(port.container_port)
                    && it.host_port.checked_add(it.range) == Some(port.host_port)
            };
            match published.last_mut().filter(|it| follows(it)) {
                Some(last) => last.range += 1,
                None => published.push(Published {
                    host_ip: &port.host_ip,
                    container_port: port.container_port,
                    host_port: port.host_port,
                    range: 1,
                    protocol: &port.protocol,
                }),
            }
        }
        published
    }

    fn ports(&self) -> String {
        let mut texts: Vec<String> = self.published().iter().map(Published::text).collect();
        let published = &self.container.record.options.ports;
        let mut exposed: Vec<(u16, u16, String)> = Vec::new();
        for (port, protocols) in self.exposed() {
            for protocol in protocols {
                if published
                    .iter()
                    .any(|it| it.container_port == port && it.protocol == protocol)
                {
                    continue;
                }
                let follows = |(_, end, of): &&mut (u16, u16, String)| {
                    end.checked_add(1) == Some(port) && *of == protocol
                };
                match exposed.last_mut().filter(follows) {
                    Some(last) => last.1 = port,
                    None => exposed.push((port, port, protocol)),
                }
            }
        }
        texts.extend(
            exposed
                .iter()
                .map(|(first, last, protocol)| match first == last {
                    true => format!("{first}/{protocol}"),
                    false => format!("{first}-{last}/{protocol}"),
                }),
        );
        texts.join(", ")
    }

    /// As `--format json` lists it; as `{{json .}}` has it times are not for people.
    fn shown(&self) -> Shown<'_> {
        let record = &self.container.record;
        let options = &record.options;
        let exposed = self.exposed();
        Shown {
            auto_remove: options.remove,
            command: Some(options.command.as_slice()).filter(|words| !words.is_empty()),
            created: None,
            created_at: String::new(),
            cid_file: options
                .cidfile
                .as_ref()
                .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
            exited: self.container.status.state == State::Exited,
            exited_at: Time(self.exited().map(|exit| exit.finished)).seconds(),
            exit_code: self.exited().map_or(0, |exit| exit.code),
            exposed_ports: Some(exposed).filter(|exposed| !exposed.is_empty()),
            id: record.id.as_str(),
            image: &record.image.name,
            image_id: record.image.shown_id(),
            is_infra: false,
            labels: Some(&options.labels).filter(|labels| !labels.is_empty()),
            mounts: self.mounts(),
            names: [record.name.as_str()],
            namespaces: &self.namespaces,
            networks: [],
            pid: self.container.status.pid(),
            pod: "",
            pod_name: "",
            ports: Some(self.published()).filter(|ports| !ports.is_empty()),
            restarts: self
                .container
                .status
                .started
                .as_ref()
                .map_or(0, |it| it.restarts),
            size: self.size.map(|size| ShownSize {
                root_fs_size: size.virtual_size,
                rw_size: size.own,
            }),
            started_at: self.started().seconds(),
            state: self.container.status.state.word(),
            status: String::new(),
            created_seconds: None,
        }
    }

    /// One of `--format json`.
    fn listed(&self) -> serde_json::Value {
        let shown = Shown {
            created_at: self.created_human(),
            status: self.status(),
            created_seconds: Some(self.container.record.created.as_second()),
            ..self.shown()
        };
        serde_json::to_value(shown).unwrap_or_default()
    }
}

impl Row for ContainerRow {
    fn type_name(&self) -> &str {
        "containers.psReporter"
    }

    fn field(&self, name: &str) -> Option<Value> {
        let record = &self.container.record;
        let options = &record.options;
        let status = &self.container.status;
        let text = |text: &str| Some(Value::text(text));
        match name {
            "AutoRemove" => Some(Value::Bool(options.remove)),
            "ListContainer" => Some(Value::object(Listed {
                shown: crate::output::value::to_value(&self.shown()).ok()?,
                created: record.created,
                namespaces: self.namespaces.clone(),
            })),
            "CIDFile" => text(&self.shown().cid_file),
            "Cgroup" | "CGROUPNS" => text(&self.namespaces.cgroup),
            "Command" => text(&self.command()),
            "Created" => Some(Value::time(record.created)),
            "CreatedAt" => text(&Time(Some(record.created)).to_string()),
            "CreatedHuman" | "RunningFor" => text(&self.created_human()),
            "ExitCode" => Some(Value::Int(self.exited().map_or(0, |it| it.code).into())),
            "Exited" => Some(Value::Bool(status.state == State::Exited)),
            "ExitedAt" => Some(Value::Int(self.shown().exited_at)),
            "ExposedPorts" => Some(Value::Map(std::rc::Rc::new(
                self.exposed()
                    .into_iter()
                    .map(|(port, protocols)| (port.to_string(), Value::texts(protocols)))
                    .collect(),
            ))),
            "ID" => text(self.id()),
            "IPC" => text(&self.namespaces.ipc),
            "Image" => text(&record.image.name),
            "ImageID" => match self.full {
                true => text(record.image.shown_id()),
                false => text(record.image.shown_id().get(..12).unwrap_or_default()),
            },
            "IsInfra" => Some(Value::Bool(false)),
            "Labels" => Some(Value::map(&options.labels)),
            "MNT" => text(&self.namespaces.mnt),
            "Mounts" => Some(Value::texts(self.mounts())),
            "NET" => text(&self.namespaces.net),
            "Names" => text(record.name.as_str()),
            "Namespaces" => crate::output::value::to_value(&self.namespaces).ok(),
            "Networks" | "Pod" | "PodName" | "USERNS" => text(""),
            "PIDNS" => text(&self.namespaces.pidns),
            "Pid" => Some(Value::Int(status.pid().into())),
            "Ports" => text(&self.ports()),
            "Restarts" => Some(Value::Uint(self.shown().restarts.into())),
            "Size" => text(&self.size_text()),
            "StartedAt" => Some(Value::Int(self.started().seconds())),
            "State" => text(status.state.word()),
            "Status" => text(&self.status()),
            "UTS" => text(&self.namespaces.uts),
            "User" => text(&self.namespaces.user),
            _ => None,
        }
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<std::result::Result<Value, String>> {
        let labels = &self.container.record.options.labels;
        match (name, args) {
            ("Label", [Value::String(key)]) => {
                let label = labels.get(&**key).map_or("", String::as_str);
                Some(Ok(Value::text(label)))
            }
            _ => None,
        }
    }

    fn print(&self) -> String {
        let fields = [
            "AutoRemove",
            "Command",
            "Created",
            "CIDFile",
            "Exited",
            "ExitedAt",
            "ExitCode",
            "ExposedPorts",
            "ID",
            "Image",
            "ImageID",
            "IsInfra",
            "Labels",
            "Mounts",
            "Names",
        ];
        let values = fields.iter().filter_map(|field| self.field(field));
        let mut texts: Vec<String> = values.map(|value| value.to_string()).collect();
        texts.push(self.namespaces.print());
        texts.push(self.container.status.pid().to_string());
        texts.push(self.container.status.state.word().to_owned());
        format!("{{{{{}}}}}", texts.join(" "))
    }

    fn json(&self) -> serde_json::Value {
        let shown = Shown {
            created: Some(Time(Some(self.container.record.created))),
            ..self.shown()
        };
        serde_json::to_value(shown).unwrap_or_default()
    }
}

/// A range of published ports.
#[derive(serde::Serialize)]
struct Published<'a> {
    host_ip: &'a str,
    container_port: u16,
    host_port: u16,
    range: u16,
    protocol: &'a str,
}

impl Published<'_> {
    fn text(&self) -> String {
        let ip = match self.host_ip {
            "" => "0.0.0.0",
            ip => ip,
        };
        let last = self.range - 1;
        let range = |first: u16| match last {
            0 => first.to_string(),
            _ => format!("{first}-{}", first.saturating_add(last)),
        };
        format!(
            "{ip}:{}->{}/{}",
            range(self.host_port),
            range(self.container_port),
            self.protocol
        )
    }
}

/// What a row is made of, which a template may name: `{{.ListContainer.Pid}}`.
struct Listed {
    shown: Value,
    created: jiff::Timestamp,
    namespaces: Namespaces,
}

impl Row for Listed {
    fn type_name(&self) -> &str {
        "types.ListContainer"
    }

    fn field(&self, name: &str) -> Option<Value> {
        let namespaces = &self.namespaces;
        Some(match name {
            "Created" => Value::time(self.created),
            "CGROUPNS" => Value::text(&namespaces.cgroup),
            "IPC" => Value::text(&namespaces.ipc),
            "MNT" => Value::text(&namespaces.mnt),
            "NET" => Value::text(&namespaces.net),
            "PIDNS" => Value::text(&namespaces.pidns),
            "USERNS" => Value::text(&namespaces.user),
            "UTS" => Value::text(&namespaces.uts),
            _ => match &self.shown {
                Value::Object(shown) => return shown.field(name),
                _ => return None,
            },
        })
    }

    fn print(&self) -> String {
        self.shown.to_string()
    }

    fn json(&self) -> serde_json::Value {
        self.shown.json()
    }
}

/// Podman's entities.ListContainer.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    auto_remove: bool,
    command: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Time>,
    created_at: String,
    #[serde(rename = "CIDFile")]
    cid_file: String,
    exited: bool,
    exited_at: i64,
    exit_code: i32,
    exposed_ports: Option<BTreeMap<u16, Vec<String>>>,
    id: &'a str,
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    is_infra: bool,
    labels: Option<&'a BTreeMap<String, String>>,
    mounts: Vec<String>,
    names: [&'a str; 1],
    namespaces: &'a Namespaces,
    networks: [&'a str; 0],
    pid: i32,
    pod: &'a str,
    pod_name: &'a str,
    ports: Option<Vec<Published<'a>>>,
    restarts: u32,
    size: Option<ShownSize>,
    started_at: i64,
    state: &'a str,
    status: String,
    #[serde(rename = "Created", skip_serializing_if = "Option::is_none")]
    created_seconds: Option<i64>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSize {
    root_fs_size: u64,
    rw_size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::options::Options;
    use crate::container::{Status, sample};
    use crate::network::PortMapping;

    fn row(change: impl FnOnce(&mut Options)) -> ContainerRow {
        let mut options = sample::options();
        change(&mut options);
        ContainerRow {
            health: String::new(),
            container: Container {
                record: sample::record(options),
                status: Status {
                    state: State::Created,
                    monitor: None,
                    started: None,
                    exit: None,
                },
            },
            size: None,
            namespaces: Namespaces::default(),
            full: false,
        }
    }

    fn port(host_ip: &str, host_port: u16, container_port: u16, protocol: &str) -> PortMapping {
        PortMapping {
            host_ip: host_ip.into(),
            host_port,
            container_port,
            protocol: protocol.into(),
        }
    }

    #[test]
    fn ports_are_grouped_as_podman_groups_them() {
        let row = row(|options| {
            options.ports = vec![
                port("", 7000, 7000, "tcp"),
                port("", 7002, 7001, "tcp"),
                port("", 8080, 80, "tcp"),
                port("", 8081, 81, "tcp"),
                port("", 8082, 82, "tcp"),
                port("127.0.0.1", 9000, 9000, "udp"),
            ];
            options.exposed = ["80/tcp", "81/udp", "82/udp", "999"]
                .map(str::to_owned)
                .into();
        });
        assert_eq!(
            row.ports(),
            "0.0.0.0:7000->7000/tcp, 0.0.0.0:7002->7001/tcp, 0.0.0.0:8080-8082->80-82/tcp, 127.0.0.1:9000->9000/udp, 81-82/udp, 999/tcp"
        );
    }

    #[test]
    fn commands_are_cut_after_seventeen_letters() {
        let command = |text: &str| {
            let argv = vec![text.to_owned()];
            row(|options| options.command = argv).command()
        };
        assert_eq!(command("sleep 100"), "sleep 100");
        assert_eq!(command("aaaaaaaaaabbbbbbbbbb"), "aaaaaaaaaabbbbbbbbbb");
        assert_eq!(command("aaaaaaaaaabbbbbbbbbbc"), "aaaaaaaaaabbbbbbb...");
    }

    #[test]
    fn json_has_podmans_keys() {
        let keys = |json: serde_json::Value| {
            let keys: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
            keys.join(" ")
        };
        let row = row(|_| {});
        assert_eq!(
            keys(row.listed()),
            "AutoRemove Command CreatedAt CIDFile Exited ExitedAt ExitCode ExposedPorts Id Image ImageID IsInfra Labels Mounts Names Namespaces Networks Pid Pod PodName Ports Restarts Size StartedAt State Status Created"
        );
        assert_eq!(
            keys(row.json()),
            "AutoRemove Command Created CreatedAt CIDFile Exited ExitedAt ExitCode ExposedPorts Id Image ImageID IsInfra Labels Mounts Names Namespaces Networks Pid Pod PodName Ports Restarts Size StartedAt State Status"
        );
    }
}
