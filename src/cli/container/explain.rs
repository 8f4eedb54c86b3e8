use std::path::PathBuf;

use crate::cli::args::select::latest;
use crate::cli::{Example, at_least};
use crate::container;
use crate::container::explain::{
    self, Access, Explained, Owner, PathReport, Range, safe, with_name,
};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::value::to_value;
use crate::output::{Output, json, listing, table};
use crate::userns::{IdMap, IdRange};

/// Explain who is who in a container, and who may do what
///
/// Shows the container's user, the id map with the names of both sides, and the
/// mounts with their sources. With PATH also who owns it, in the container and on
/// the host, whether the container's user may read, write and execute it (search
/// it, if it is a folder), and if not, which rule says no: its mode or that of a
/// folder above it, the id map (its owner has no id in the container), a read-only
/// mount or root, noexec, an access list, SELinux.
///
/// PATH is one in the container, from its working directory; one that is not there
/// may be the host's, where a mount shows it. A container that does not run is
/// looked at as a start would make it. Nothing is changed.
#[derive(clap::Args)]
pub struct Args {
    /// Format the output with a Go template, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// The container created last
    #[arg(long, short = 'l')]
    latest: bool,

    /// Ask for another user than the container's (NAME, UID, UID:GID…)
    #[arg(long, short = 'u', value_name = "USER")]
    user: Option<String>,

    #[arg(value_name = "CONTAINER")]
    container: Option<String>,

    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    #[arg(hide = true)]
    rest: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle explain web",
        does: "Show which ids of the container web are whose.",
    },
    Example {
        line: "coracle explain web /etc/passwd",
        does: "Show what its user may do with a file.",
    },
    Example {
        line: "coracle explain --format '{{.User.HostUser}}' web",
        does: "Show who its user is on the host.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let too_many = args.path.is_some() && args.latest;
    if too_many || !args.rest.is_empty() {
        return Err(Error::usage("`explain` takes one CONTAINER and one PATH"));
    }
    let (name, path) = match (args.latest, args.container) {
        // The first operand is the only one then.
        (true, path) => (latest(engine)?, path.map(PathBuf::from)),
        (false, Some(name)) => (name, args.path),
        (false, None) => return Err(at_least(1, 0).expect_err("there is none")),
    };
    container::sweep(engine)?;
    let found = container::find(&engine.storage, &name)?;
    let user = args.user.as_deref();
    let explained = explain::explain(engine, &found, user, path.as_deref())?;
    match args.format.as_deref() {
        None => plain(output, &explained, engine.default_map()),
        Some(format) if listing::asks_json(format) => output.line(json::list(&explained)?),
        Some(format) => output.text(&listing::one("explain", format, &to_value(&explained)?)?),
    }
    Ok(0)
}

fn plain(output: &mut Output, it: &Explained, default: &IdMap) {
    output.line(format_args!(
        "{} ({}), {}, of {}",
        it.name,
        &it.id[..12],
        it.state,
        it.image
    ));
    output.line(format_args!("user: {}", both(&it.user, default)));
    if !it.map_reason.is_empty() {
        output.line(format_args!("map: {}", it.map_reason));
    }
    if let Some(path) = &it.path {
        output.line("");
        show_path(output, path, &it.user, default);
        return;
    }
    for (what, ranges, default) in [
        ("UID", &it.uid_map, &default.uids),
        ("GID", &it.gid_map, &default.gids),
    ] {
        let mut text = format!("\n{what} INSIDE\tNAMES\t{what} ON HOST\tNAMES\tCOUNT\n");
        for range in ranges {
            text.push_str(&line(range, default));
        }
        output.text(&table::align(&text));
    }
    let mut text = "\nMOUNT\tTYPE\tSOURCE\tOPTIONS\n".to_owned();
    for mount in &it.mounts {
        // What every container has tells nobody anything.
        if ["/proc", "/sys", "/dev"]
            .iter()
            .any(|kernel| mount.destination.starts_with(kernel))
        {
            continue;
        }
        text.push_str(&format!(
            "{}\t{}\t{}\t{}\n",
            safe(&mount.destination),
            mount.kind,
            mount.source,
            mount.options.join(",")
        ));
    }
    output.text(&table::align(&text));
}

fn line(range: &Range, default: &[IdRange]) -> String {
    let ids = |first: u32| match range.size {
        1 => first.to_string(),
        size => format!("{first}-{}", u64::from(first) + u64::from(size) - 1),
    };
    format!(
        "{}\t{}\t{}\t{}\t{}\n",
        ids(range.container_id),
        few(&range.container_names),
        ids(range.host_id),
        match range.host_names.is_empty() && is_subordinate(range.host_id, default) {
            true => SUBORDINATE.to_owned(),
            false => few(&range.host_names),
        },
        range.size
    )
}

/// The first names, and how many more there are.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 4;
    match names.len() {
        0 => "-".to_owned(),
        1..=SHOWN => names.join(" "),
        count => format!(
            "{} and {} more",
            names[..SHOWN - 1].join(" "),
            count + 1 - SHOWN
        ),
    }
}

/// What stands for the names of the caller's ids that are nobody's.
const SUBORDINATE: &str = "your subordinate ids";

/// The default map begins with the caller; the rest is subordinate ids.
fn is_subordinate(id: u32, default: &[IdRange]) -> bool {
    let mut rest = default.iter().skip(1);
    rest.any(|it| id >= it.outside && id - it.outside < it.count)
}

/// `1000:100 (jovyan:users), on the host 1001:1001 (sailor:sailor)`
fn both(owner: &Owner, default: &IdMap) -> String {
    let inside = pair(owner.uid, owner.gid, &owner.user, &owner.group);
    let (user, group) = (owner.host_user.as_str(), owner.host_group.as_str());
    let named = match owner.host_uid {
        Some(uid) if user.is_empty() && group.is_empty() => is_subordinate(uid, &default.uids),
        _ => false,
    };
    let user = if named { SUBORDINATE } else { user };
    let outside = pair(owner.host_uid, owner.host_gid, user, group);
    format!("{inside}, on the host {outside}")
}

fn pair(uid: Option<u32>, gid: Option<u32>, user: &str, group: &str) -> String {
    let number = |id: Option<u32>| id.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
    let ids = format!("{}:{}", number(uid), number(gid));
    match (user, group) {
        ("", "") => ids,
        (user, "") => format!("{ids} ({user})"),
        ("", group) => format!("{ids} (:{group})"),
        (user, group) => format!("{ids} ({user}:{group})"),
    }
}

fn show_path(output: &mut Output, it: &PathReport, user: &Owner, default: &IdMap) {
    output.line(format_args!(
        "{} ({}, mode {})",
        safe(&it.path),
        it.kind,
        it.mode
    ));
    for note in &it.notes {
        output.line(format_args!("  {note}"));
    }
    output.line(format_args!("  owner    {}", both(&it.owner, default)));
    match &it.host_path {
        Some(path) => output.line(format_args!("  from     {}", safe(path))),
        None => output.line(format_args!("  mount    {}", safe(&it.mount))),
    }
    let who = with_name(user.uid.unwrap_or_default(), &user.user);
    output.line(format_args!("  user {who} may"));
    let execute = if it.kind == "folder" {
        "search"
    } else {
        "execute"
    };
    for (what, access) in [
        ("read", &it.read),
        ("write", &it.write),
        (execute, &it.execute),
    ] {
        output.line(format_args!("    {what:<9}{}", answer(access)));
    }
}

fn answer(access: &Access) -> String {
    match access.allowed {
        true => "yes".to_owned(),
        false => format!("no: {}", access.why),
    }
}
