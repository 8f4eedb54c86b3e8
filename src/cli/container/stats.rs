use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::cli::Example;
use crate::cli::args::select;
use crate::container::stats::{self, Interface, Stats};
use crate::container::{self, Container};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::ContainerId;
use crate::output::value::{Row, Value};
use crate::output::{Listing, Output, human, json};

/// Display a live stream of container resource usage statistics
///
/// Shows what running containers use of processors, memory, network and disks, again and
/// again. The kernel counts it for the container's cgroup; where there is none, or none
/// with that controller, its processes are summed up. A terminal too narrow for all columns
/// shows no CPU TIME and AVG CPU %.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,

    /// Also containers that do not run
    #[arg(long, short = 'a')]
    all: bool,

    /// Format the output with a Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Seconds between two looks
    #[arg(
        long,
        short = 'i',
        value_name = "SECONDS",
        default_value = "5",
        allow_negative_numbers = true
    )]
    interval: i64,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,

    /// Do not clear the screen between two looks
    #[arg(long)]
    no_reset: bool,

    /// Look once
    #[arg(long)]
    no_stream: bool,

    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle stats --no-stream",
        does: "Show what running containers use now.",
    },
    Example {
        line: "coracle stats --no-stream --format '{{.Name}} {{.MemUsage}}' web",
        does: "Show how much memory the container web uses.",
    },
];

const HEADERS: &[(&str, &str)] = &[
    ("ID", "ID"),
    ("ContainerID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("CPU", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemUsageBytes", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET IO"),
    ("BlockIO", "BLOCK IO"),
    ("PIDS", "PIDS"),
    ("Up", "CPU TIME"),
    ("UpTime", "CPU TIME"),
    ("AVGCPU", "AVG CPU %"),
    ("AvgCPU", "AVG CPU"),
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let ways = [args.all, args.latest, !args.names.is_empty()];
    if ways.into_iter().filter(|it| *it).count() > 1 {
        return Err(Error::usage(
            "--all, --latest and containers cannot be used together",
        ));
    }
    let pause = match u64::try_from(args.interval) {
        Ok(seconds @ 1..) => Duration::from_secs(seconds),
        _ => {
            return Err(Error::usage(
                "invalid interval, must be a positive number greater zero",
            ));
        }
    };
    container::sweep(engine)?;
    let ids = match args.latest {
        true => vec![select::latest(engine)?],
        false => args.names.clone(),
    };
    let named = ids
        .iter()
        .map(|name| match container::find(&engine.storage, name) {
            Ok(found) => Ok(found.record.id),
            Err(error) => Err(error
                .tried(format_args!(
                    "unable to get list of containers: unable to look up container {name}"
                ))
                .kind_is(Kind::Other)),
        })
        .collect::<Result<Vec<_>>>()?;
    let listing = Listing {
        command: "stats",
        columns: r"{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDS}}\t{{.Up}}\t{{.AVGCPU}}",
        headers: HEADERS,
        format: args.format.as_deref(),
        heading: true,
    };
    let clears = !args.no_reset
        && !args.no_stream
        && !listing.is_json()
        && crate::sys::pty::isatty(std::io::stdout());
    let mut before: BTreeMap<ContainerId, Stats> = BTreeMap::new();
    loop {
        let containers = containers(engine, &args, &named)?;
        if containers.is_empty() && !named.is_empty() {
            return Ok(0);
        }
        let mut now = BTreeMap::new();
        let mut rows = Vec::new();
        for container in containers {
            let record = &container.record;
            let stats = stats::of(&container);
            rows.push(Shown {
                cpu: stats.cpu_percent(before.get(&record.id)),
                id: record.id.to_string(),
                name: record.name.to_string(),
                stats: Rc::new(stats.clone()),
                full: args.no_trunc,
                is_inner: false,
            });
            now.insert(record.id.clone(), stats);
        }
        before = now;
        if clears {
            // As on a terminal of old: erased, from the first place on.
            output.text("\u{1b}[2J\u{1b}[1;1H");
        }
        if listing.is_json() {
            let rows: Vec<_> = rows.iter().map(Shown::listed).collect();
            output.line(json::indented(&rows, 1)?);
        } else {
            listing.print(output, rows)?;
        }
        if args.no_stream {
            return Ok(0);
        }
        output.flush();
        std::thread::sleep(pause);
    }
}

/// Those to look at now.
fn containers(engine: &Engine, args: &Args, named: &[ContainerId]) -> Result<Vec<Container>> {
    if !named.is_empty() {
        let load = |id| container::load(&engine.storage, id).transpose();
        return named.iter().filter_map(load).collect();
    }
    let mut all = container::list(&engine.storage)?;
    all.retain(|it| args.all || it.status.is_up());
    all.sort_by_key(|it| it.record.created);
    Ok(all)
}

/// Podman's containers.containerStats, and the define.ContainerStats in it.
#[derive(Clone)]
struct Shown {
    id: String,
    name: String,
    cpu: f64,
    stats: Rc<Stats>,
    full: bool,
    /// It is the inner one: its fields alone, none of the texts.
    is_inner: bool,
}

impl Shown {
    fn id(&self) -> &str {
        match self.full {
            true => &self.id,
            false => self.id.get(..12).unwrap_or(&self.id),
        }
    }

    fn average(&self) -> f64 {
        self.stats.cpu_percent(None)
    }

    fn memory(&self) -> String {
        let (used, limit) = (self.stats.memory, self.stats.memory_limit);
        format!("{} / {}", human::size(used, 4), human::size(limit, 4))
    }

    fn network(&self) -> String {
        let (received, sent) = (self.stats.received(), self.stats.sent());
        format!("{} / {}", human::size(received, 4), human::size(sent, 4))
    }

    fn blocks(&self) -> String {
        let (read, written) = (self.stats.read, self.stats.written);
        format!("{} / {}", human::size(read, 4), human::size(written, 4))
    }

    fn time(&self) -> String {
        human::go_duration(self.nanoseconds())
    }

    fn nanoseconds(&self) -> i64 {
        i64::try_from(self.stats.cpu).unwrap_or(i64::MAX)
    }

    fn at(&self) -> i64 {
        i64::try_from(self.stats.at.as_nanosecond()).unwrap_or(0)
    }

    /// As `--format json` has it.
    fn listed(&self) -> serde_json::Value {
        serde_json::json!({
            "id": self.id(),
            "name": self.name,
            "cpu_time": self.time(),
            "cpu_percent": percent(self.cpu),
            "avg_cpu": percent(self.average()),
            "mem_usage": self.memory(),
            "mem_percent": percent(self.stats.memory_percent()),
            "net_io": self.network(),
            "block_io": self.blocks(),
            "pids": self.stats.pids.to_string(),
        })
    }
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

impl Row for Shown {
    fn type_name(&self) -> &str {
        match self.is_inner {
            true => "define.ContainerStats",
            false => "containers.containerStats",
        }
    }

    fn field(&self, name: &str) -> Option<Value> {
        let stats = &self.stats;
        if !self.is_inner {
            let text = match name {
                "ID" => Some(self.id().to_owned()),
                "CPUPerc" => Some(percent(self.cpu)),
                "AVGCPU" => Some(percent(self.average())),
                "MemPerc" => Some(percent(stats.memory_percent())),
                "MemUsage" => Some(self.memory()),
                "MemUsageBytes" => Some(format!(
                    "{} / {}",
                    human::binary_size(stats.memory, 4),
                    human::binary_size(stats.memory_limit, 4)
                )),
                "NetIO" => Some(self.network()),
                "BlockIO" => Some(self.blocks()),
                "PIDS" => Some(stats.pids.to_string()),
                "Up" => Some(self.time()),
                _ => None,
            };
            if let Some(text) = text {
                return Some(Value::text(text));
            }
        }
        Some(match name {
            "ContainerStats" if !self.is_inner => Value::object(Self {
                is_inner: true,
                ..self.clone()
            }),
            "AvgCPU" => Value::Float(self.average()),
            "ContainerID" => Value::text(&self.id),
            "Name" => Value::text(&self.name),
            "PerCPU" => Value::NilList,
            "CPU" => Value::Float(self.cpu),
            "CPUNano" | "Duration" => Value::Uint(stats.cpu),
            "CPUSystemNano" => Value::Uint(stats.cpu_system),
            "SystemNano" => Value::Int(self.at()),
            "MemUsage" => Value::Uint(stats.memory),
            "MemLimit" => Value::Uint(stats.memory_limit),
            "MemPerc" => Value::Float(stats.memory_percent()),
            "Network" => {
                let all = stats.network.iter();
                let all = all.map(|(name, it)| (name.clone(), Value::object(Net(*it))));
                Value::Map(Rc::new(all.collect()))
            }
            "BlockInput" => Value::Uint(stats.read),
            "BlockOutput" => Value::Uint(stats.written),
            "PIDs" => Value::Uint(stats.pids),
            "UpTime" => Value::text(self.time()),
            _ => return None,
        })
    }

    fn print(&self) -> String {
        let inner = Self {
            is_inner: true,
            ..self.clone()
        };
        let fields = [
            "AvgCPU",
            "ContainerID",
            "Name",
            "PerCPU",
            "CPU",
            "CPUNano",
            "CPUSystemNano",
            "SystemNano",
            "MemUsage",
            "MemLimit",
            "MemPerc",
            "Network",
            "BlockInput",
            "BlockOutput",
            "PIDs",
            "UpTime",
            "Duration",
        ];
        let fields = fields.into_iter().filter_map(|name| inner.field(name));
        let fields: Vec<String> = fields.map(|field| field.to_string()).collect();
        let text = format!("{{{}}}", fields.join(" "));
        match self.is_inner {
            true => text,
            false => format!("{{{text}}}"),
        }
    }

    fn json(&self) -> serde_json::Value {
        let stats = &self.stats;
        let network: serde_json::Map<_, _> = stats
            .network
            .iter()
            .map(|(name, it)| (name.clone(), Net(*it).json()))
            .collect();
        serde_json::json!({
            "AvgCPU": Value::Float(self.average()).json(),
            "ContainerID": self.id,
            "Name": self.name,
            "PerCPU": null,
            "CPU": Value::Float(self.cpu).json(),
            "CPUNano": stats.cpu,
            "CPUSystemNano": stats.cpu_system,
            "SystemNano": self.at(),
            "MemUsage": stats.memory,
            "MemLimit": stats.memory_limit,
            "MemPerc": Value::Float(stats.memory_percent()).json(),
            // A Go map that was never made.
            "Network": Some(network).filter(|network| !network.is_empty()),
            "BlockInput": stats.read,
            "BlockOutput": stats.written,
            "PIDs": stats.pids,
            "UpTime": stats.cpu,
            "Duration": stats.cpu,
        })
    }
}

/// define.ContainerNetworkStats
struct Net(Interface);

impl Net {
    fn fields(&self) -> [(&'static str, u64); 8] {
        let it = &self.0;
        [
            ("RxBytes", it.rx_bytes),
            ("RxDropped", it.rx_dropped),
            ("RxErrors", it.rx_errors),
            ("RxPackets", it.rx_packets),
            ("TxBytes", it.tx_bytes),
            ("TxDropped", it.tx_dropped),
            ("TxErrors", it.tx_errors),
            ("TxPackets", it.tx_packets),
        ]
    }
}

impl Row for Net {
    fn type_name(&self) -> &str {
        "define.ContainerNetworkStats"
    }

    fn field(&self, name: &str) -> Option<Value> {
        let fields = self.fields();
        let found = fields.iter().find(|(field, _)| *field == name);
        found.map(|(_, value)| Value::Uint(*value))
    }

    fn print(&self) -> String {
        let values = self.fields().map(|(_, value)| value.to_string());
        format!("{{{}}}", values.join(" "))
    }

    fn json(&self) -> serde_json::Value {
        let fields = self.fields().into_iter();
        let fields = fields.map(|(name, value)| (name.to_owned(), value.into()));
        fields.collect::<serde_json::Map<_, _>>().into()
    }
}
