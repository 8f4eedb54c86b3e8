use serde::Serialize;

use crate::cli::{Command, Example, PODMAN_VERSION, Session};
use crate::error::{Error, Result};
use crate::output::value::{Value, to_value};
use crate::output::{Output, listing};

/// Display the version of coracle
///
/// Shows which Podman's behaviour coracle answers for, and its own version.
#[derive(clap::Args)]
struct Args {
    /// Format the output with a Go template, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    #[arg(hide = true)]
    rest: Vec<String>,
}

/// It opens no store: it must answer where there can be none.
pub const COMMAND: Command = Command {
    names: &["version"],
    define: || <Args as clap::Args>::augment_args(clap::Command::new("")),
    run: |matches, session: &Session| {
        let args = <Args as clap::FromArgMatches>::from_arg_matches(matches)
            .map_err(|error| Error::usage(error.to_string()))?;
        run(&args, &mut session.output())
    },
    examples: &[Example {
        line: "coracle version --format '{{.Client.Version}}'",
        does: "Show the version of Podman that scripts may count on.",
    }],
};

/// Podman's define.Version.
#[derive(Serialize)]
#[serde(rename = "*define.Version", rename_all = "PascalCase")]
pub struct Version {
    #[serde(rename = "APIVersion")]
    api_version: &'static str,
    version: &'static str,
    go_version: &'static str,
    git_commit: &'static str,
    built_time: &'static str,
    built: i64,
    build_origin: &'static str,
    os_arch: String,
    os: &'static str,
}

impl Version {
    /// Of this program.
    pub fn ours() -> Self {
        Self {
            api_version: PODMAN_VERSION,
            version: PODMAN_VERSION,
            go_version: "none",
            git_commit: "",
            built_time: "Thu Jan  1 00:00:00 1970",
            built: 0,
            build_origin: concat!("coracle ", env!("CARGO_PKG_VERSION")),
            os_arch: format!("linux/{}", architecture()),
            os: "linux",
        }
    }
}

/// Go's name of this machine's architecture.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[derive(Serialize)]
#[serde(rename = "types.SystemVersionReport", rename_all = "PascalCase")]
struct Report {
    client: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<()>,
}

fn run(args: &Args, output: &mut Output) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle version` takes no arguments"));
    }
    let report = Report {
        client: Version::ours(),
        server: None,
    };
    match args.format.as_deref() {
        None => table(output, &report.client),
        Some(format) if listing::asks_json(format) => {
            output.line(serde_json::to_string(&report)?);
        }
        Some(format) => template(output, format, &report)?,
    }
    Ok(0)
}

fn table(output: &mut Output, version: &Version) {
    let rows = [
        ("Client", "Podman Engine"),
        ("Version", version.version),
        ("API Version", version.api_version),
        ("Go Version", version.go_version),
        ("Build Origin", version.build_origin),
        ("OS/Arch", &version.os_arch),
    ];
    for (name, value) in rows {
        output.line(format_args!("{:<14} {value}", format!("{name}:")));
    }
}

/// Podman: what a template cannot find beside Client it looks for within, and
/// there is no server.
fn template(output: &mut Output, format: &str, report: &Report) -> Result<()> {
    let format = format.strip_prefix("table ").unwrap_or(format);
    let format = format.replace(".Server.", ".");
    let shown = |value: &Value| listing::one("version", &format, value);
    let text = shown(&to_value(report)?).or_else(|_| shown(&to_value(&report.client)?))?;
    output.text(&text);
    Ok(())
}
