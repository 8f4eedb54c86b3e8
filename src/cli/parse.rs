//! argv to a row of the table and its matches, as Go's pflag would read it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use super::{Command, GROUPS, PODMAN_VERSION, commands, help};
use crate::error::{Error, Result};
use crate::settings::{Overrides, use_modules};

/// What argv asks for.
pub enum Parsed {
    /// A text and success: `--help`, `--version`.
    Print(String),
    /// A text and failure: a group without a command.
    Missing(String, Error),
    Run {
        command: &'static Command,
        matches: ArgMatches,
        overrides: Overrides,
    },
}

/// Global options that take a value, that may stand behind the command as well, and whose
/// part we have none of: accepted.
const ACCEPTED: &[&str] = &[
    "conmon",
    "db-backend",
    "imagestore",
    "max-workers",
    "network-cmd-path",
    "network-config-dir",
    "runtime-flag",
    "storage-driver",
    "storage-opt",
    "tmpdir",
    "volumepath",
];

/// Those whose part we have, or which ask for what we have not.
const VALUES: [&str; 8] = [
    "cdi-spec-dir",
    "cgroup-manager",
    "events-backend",
    "hooks-dir",
    "log-level",
    "root",
    "runroot",
    "runtime",
];

/// Those that may only stand before the command: Podman's, and Docker's spellings.
const FIRST: &[&str] = &[
    "config",
    "connection",
    "context",
    "host",
    "identity",
    "module",
    "out",
    "ssh",
    "tls-ca",
    "tls-cert",
    "tls-key",
    "url",
];

/// The options before the command that help shows: those that do something.
pub const GLOBAL: &[(Option<char>, &str, &str, &str)] = &[
    (
        None,
        "cdi-spec-dir",
        "DIR",
        "Folder of files that describe devices (Container Device Interface)",
    ),
    (
        None,
        "cgroup-manager",
        "MANAGER",
        "Who makes cgroups: systemd or cgroupfs",
    ),
    (
        None,
        "config",
        "DIR",
        "Folder whose config.json has the passwords of registries",
    ),
    (
        None,
        "events-backend",
        "BACKEND",
        "Where events are written down: file, journald or none",
    ),
    (None, "help", "", "Help for coracle"),
    (
        None,
        "module",
        "NAME",
        "A file of containers.conf.modules that is read too",
    ),
    (None, "out", "FILE", "File that gets what would be printed"),
    (
        None,
        "root",
        "DIR",
        "Path to the folder of images, containers and volumes",
    ),
    (
        None,
        "runroot",
        "DIR",
        "Path to the folder of what lives only while something runs",
    ),
    (Some('v'), "version", "", "Version for coracle"),
];

/// The line `--version` prints. Tools read its last word, or what follows the first
/// `version` in it: both are Podman's. Called by another name, all of it is Podman's.
pub fn version_line(program: Option<&OsString>) -> String {
    let name = program.map(Path::new).and_then(Path::file_name);
    match name.and_then(OsStr::to_str) {
        Some(name @ ("podman" | "docker")) => format!("{name} version {PODMAN_VERSION}\n"),
        _ => format!(
            "coracle {}, podman version {PODMAN_VERSION}\n",
            env!("CARGO_PKG_VERSION")
        ),
    }
}

/// Reads argv.
pub fn parse(argv: &[OsString]) -> Result<Parsed> {
    let rest = argv.get(1..).unwrap_or_default();
    let (globals, rest) = split_globals(rest)?;
    if globals.version {
        return Ok(Parsed::Print(version_line(argv.first())));
    }
    let words: Vec<&str> = rest
        .iter()
        .take(2)
        .map_while(|word| word.to_str())
        .collect();
    if words.is_empty() && !globals.help {
        return Ok(missing(""));
    }
    if globals.help || words[0] == "help" {
        let of: Vec<&str> = if words.first() == Some(&"help") {
            rest.iter().skip(1).filter_map(|w| w.to_str()).collect()
        } else {
            Vec::new()
        };
        return help_of(&of);
    }
    let Some((command, used)) = find(&words) else {
        return unknown(&words, rest);
    };
    match matches(command, &words[..used].join(" "), &rest[used..]) {
        Ok(matches) => {
            let mut overrides = globals.overrides;
            for name in VALUES {
                let values = matches.try_get_many::<OsString>(name);
                for value in values.ok().flatten().into_iter().flatten() {
                    set_global(&mut overrides, name, value.clone())?;
                }
            }
            Ok(Parsed::Run {
                command,
                matches,
                overrides,
            })
        }
        Err(Unread::Help(length)) => {
            let typed = words[..used].join(" ");
            Ok(Parsed::Print(help::of_command(command, &typed, length)))
        }
        Err(Unread::Wrong(error)) => Err(error),
    }
}

/// Why a command line gives no matches.
pub enum Unread {
    /// Its help is asked for.
    Help(help::Length),
    Wrong(Error),
}

/// What the words after a command's name say. `typed` is that name.
pub fn matches(command: &Command, typed: &str, words: &[OsString]) -> Result<ArgMatches, Unread> {
    // `-h` is --hostname to Podman's run, which says that a name is missing.
    if words == ["-h"] {
        return Err(Unread::Help(help::Length::Short));
    }
    let mut definition = definition(command, command.names[command.names.len() - 1]);
    let mut line = vec![OsString::from(format!("coracle {typed}"))];
    line.extend_from_slice(words);
    if let Some(first) = first_operand(&definition, words) {
        line.insert(first + 1, "--".into());
    }
    definition
        .try_get_matches_from_mut(line)
        .map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp => Unread::Help(match words.iter().any(|it| it == "--help") {
                true => help::Length::Long,
                false => help::Length::Short,
            }),
            _ => Unread::Wrong(as_podman(&error, &definition, typed, words)),
        })
}

/// Where the operands begin, for a command that hands on all that follows its first
/// operand: from there on, what looks like a flag is none of ours.
fn first_operand(definition: &clap::Command, words: &[OsString]) -> Option<usize> {
    if !definition
        .get_positionals()
        .any(Arg::is_trailing_var_arg_set)
    {
        return None;
    }
    let takes_value = |arg: &Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let word = word.to_string_lossy();
        let value_follows = if word == "--" {
            return None;
        } else if let Some(long) = word.strip_prefix("--") {
            let known = definition.get_arguments().find(|arg| {
                arg.get_long() == Some(long)
                    || arg.get_all_aliases().is_some_and(|all| all.contains(&long))
            });
            known.is_some_and(takes_value)
        } else if word.len() > 1 && word.starts_with('-') {
            // Of `-itv`, the first that takes a value has the rest, or the next word.
            let letters: Vec<char> = word.chars().skip(1).collect();
            letters
                .iter()
                .position(|&letter| {
                    let known = definition
                        .get_arguments()
                        .find(|arg| arg.get_short() == Some(letter));
                    known.is_some_and(takes_value)
                })
                .is_some_and(|position| position + 1 == letters.len())
        } else {
            return Some(at);
        };
        at += if value_follows { 2 } else { 1 };
    }
    None
}

/// The row for the first one or two words, and how many words it took.
pub fn find(words: &[&str]) -> Option<(&'static Command, usize)> {
    let two = (words.len() == 2).then(|| words.join(" "));
    let mut one = None;
    let first = words.first()?;
    for command in commands() {
        if let Some(two) = &two
            && command.names.contains(&two.as_str())
        {
            return Some((command, 2));
        }
        if command.names.contains(first) {
            one = Some((command, 1));
        }
    }
    one
}

/// A row's clap definition, made to read flags as Go does.
pub fn definition(command: &Command, name: &str) -> clap::Command {
    let definition = (command.define)()
        .name(name.to_owned())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(
            Arg::new("help")
                .long("help")
                .short('h')
                .action(ArgAction::Help)
                .hide(true)
                .help("Print usage"),
        );
    let taken: Vec<String> = definition
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .map(str::to_owned)
        .collect();
    let has_h = definition
        .get_arguments()
        .filter(|arg| arg.get_short() == Some('h'))
        .count()
        > 1;
    let mut definition = definition.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => go_boolean(arg),
        // Operands begin where [`first_operand`] says, so what looks like a flag
        // before them is one.
        _ if arg.is_positional() => arg.allow_hyphen_values(false),
        // pflag takes the next word as the value, whatever it looks like.
        ArgAction::Set | ArgAction::Append if !arg.is_require_equals_set() => {
            arg.allow_hyphen_values(true)
        }
        _ => arg,
    });
    if has_h {
        // `run -h NAME` is --hostname, as in Podman.
        definition = definition.mut_arg("help", |arg| arg.short(None));
    }
    let value = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .hide(true)
            .action(ArgAction::Append)
            .value_parser(clap::value_parser!(OsString))
    };
    for name in ACCEPTED.iter().copied().chain(VALUES) {
        if !taken.iter().any(|t| t == name) {
            definition = definition.arg(value(name));
        }
    }
    for name in ["syslog", "trace", "transient-store"] {
        if !taken.iter().any(|t| t == name) {
            definition = definition.arg(go_boolean(Arg::new(name).long(name).hide(true)));
        }
    }
    definition
}

/// `--flag`, `--flag=True`, `--flag=0`…: what Go's strconv.ParseBool takes.
fn go_boolean(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .value_parser(ValueParser::from(parse_bool))
}

/// Go's strconv.ParseBool.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// Whether a global option is followed by its value.
pub fn takes_value(option: &str) -> bool {
    let long = option.strip_prefix("--").unwrap_or("");
    matches!(option, "-c" | "-H")
        || ACCEPTED.contains(&long)
        || VALUES.contains(&long)
        || FIRST.contains(&long)
}

#[derive(Default)]
struct Globals {
    overrides: Overrides,
    help: bool,
    version: bool,
}

/// Takes the global options that stand before the verb.
fn split_globals(mut rest: &[OsString]) -> Result<(Globals, &[OsString])> {
    let mut globals = Globals::default();
    let mut modules = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let text = first.to_str().unwrap_or("");
        if !text.starts_with('-') || text == "-" {
            break;
        }
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text, None),
        };
        rest = after;
        match name {
            "--help" | "-h" => globals.help = true,
            "--version" | "-v" => globals.version = true,
            "--remote" | "-r" | "--syslog" | "--noout" | "--transient-store" | "--trace"
            | "--debug" | "-D" => {
                // As Podman has it, what is printed then is printed to nobody.
                let value = inline.as_deref().and_then(OsStr::to_str).unwrap_or("true");
                let on = parse_bool(value).map_err(|why| invalid(value, name, &why))?;
                if on && (name == "--remote" || name == "-r") {
                    return Err(Error::unsupported("--remote"));
                }
                if on && name == "--noout" {
                    globals.overrides.out = Some("/dev/null".into());
                }
            }
            _ => {
                let long = match name {
                    "-c" => "connection",
                    "-H" => "host",
                    _ => name.strip_prefix("--").unwrap_or(""),
                };
                if long.is_empty() {
                    let letter = name.chars().nth(1).unwrap_or('-');
                    let why = format!("unknown shorthand flag: {letter:?} in {text}");
                    return Err(Error::usage(why).see("See 'coracle --help'"));
                }
                if !takes_value(name) {
                    let known = GLOBAL.iter().map(|(_, long, ..)| *long);
                    let meant = crate::id::near(long, known).map(|name| format!("--{name}"));
                    return Err(Error::usage(format!("unknown flag: {name}"))
                        .see("See 'coracle --help'")
                        .meant(meant));
                }
                let value = match inline {
                    Some(value) => value,
                    None => {
                        let Some((value, after)) = rest.split_first() else {
                            let why = format!("flag needs an argument: {name}");
                            return Err(Error::usage(why).see("See 'coracle --help'"));
                        };
                        rest = after;
                        value.clone()
                    }
                };
                match long {
                    "module" => modules.push(value.to_string_lossy().into_owned()),
                    _ => set_global(&mut globals.overrides, long, value)?,
                }
            }
        }
    }
    use_modules(&modules)?;
    Ok((globals, rest))
}

/// Notes the value of a global option.
fn set_global(overrides: &mut Overrides, long: &str, value: OsString) -> Result<()> {
    let text = || value.to_string_lossy().into_owned();
    match long {
        "root" => overrides.root = Some(value.into()),
        "cdi-spec-dir" => overrides.cdi_folders.push(value.into()),
        "cgroup-manager" => overrides.cgroup_manager = Some(text()),
        "config" => overrides.docker_config = Some(value),
        "events-backend" => overrides.events_backend = Some(text()),
        "runroot" => overrides.runroot = Some(value.into()),
        "out" => overrides.out = Some(value.into()),
        "log-level" => check_level(&text())?,
        "runtime" => check_runtime(&text())?,
        "connection" => check_connection(&text())?,
        // Docker's name for where commands go by themselves.
        "context" if value != "default" => check_connection(&text())?,
        "url" | "host" => check_url(&format!("--{long}"), &text())?,
        // One without hooks asks for nothing.
        "hooks-dir" if has_hooks(Path::new(&value)) => {
            return Err(Error::unsupported("--hooks-dir"));
        }
        _ => {}
    }
    Ok(())
}

/// There are no connections to name.
pub fn check_connection(name: &str) -> Result<()> {
    Err(Error::usage(format!(
        "read cli flags: connection {name:?} not found"
    )))
}

/// What would have another engine do the work. The caller's own service would be
/// another door to what they have here.
pub fn check_url(what: &str, url: &str) -> Result<()> {
    let own = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let socket = url.strip_prefix("unix://").map(Path::new);
    match socket {
        Some(socket) if !own.is_empty() && socket.starts_with(&own) => Ok(()),
        _ => Err(Error::unsupported(what)),
    }
}

/// Another runtime may be asked for since it keeps containers apart by other means.
fn check_runtime(name: &str) -> Result<()> {
    match Path::new(name).file_name().and_then(OsStr::to_str) {
        Some("crun" | "runc" | "youki") => Ok(()),
        _ => Err(Error::unsupported(format!("--runtime={name}"))),
    }
}

/// Whether there are OCI hooks in `folder` (oci-hooks(5)).
fn has_hooks(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.path().extension().is_some_and(|end| end == "json"))
}

/// What Podman writes down at these levels we have nothing of.
fn check_level(level: &str) -> Result<()> {
    const LEVELS: [&str; 8] = [
        "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic",
    ];
    match LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "Log Level {level:?} is not supported, choose from: {}",
            LEVELS.join(", ")
        ))),
    }
}

fn invalid(value: &str, flag: &str, why: &str) -> Error {
    Error::usage(format!(
        "invalid argument {value:?} for {flag:?} flag: {why}"
    ))
}

/// Commands and groups that Podman has and we have not. Told from what is no command,
/// so that nobody looks for a slip of their own.
const ABSENT: &[&str] = &[
    "artifact",
    "auto-update",
    "compose",
    "farm",
    "generate",
    "kube",
    "machine",
    "network",
    "play",
    "pod",
    "quadlet",
    "system connection",
    "system service",
];

fn absent(words: &[&str]) -> Option<&'static str> {
    ABSENT.iter().copied().find(|name| {
        let mut name = name.split(' ');
        match (name.next(), name.next()) {
            (Some(group), Some(word)) => words == [group, word],
            (group, _) => words.first().copied() == group,
        }
    })
}

/// Podman's words for a command that is none.
fn unknown(words: &[&str], rest: &[OsString]) -> Result<Parsed> {
    if let Some(absent) = absent(words) {
        return Err(Error::unsupported(format!("`{absent}`")));
    }
    if let Some((group, _)) = GROUPS.iter().find(|(group, _)| *group == words[0]) {
        if words.len() == 1 {
            return Ok(missing(group));
        }
        if matches!(words[1], "--help" | "-h" | "help") {
            return help_of(&[group]);
        }
        let what = rest[1].to_string_lossy();
        return Err(near(group, &format!("{group} {what}")));
    }
    if let ["docker" | "podman", command] = words {
        return Err(near("", words[0]).meant(Some(format!("coracle {command}"))));
    }
    Err(near("", words[0]))
}

/// What words mean that other programs have for commands.
const MEANT: [(&str, &str); 10] = [
    ("bash", "exec -it CONTAINER bash"),
    ("delete", "rm"),
    ("df", "system df"),
    ("enter", "exec -it CONTAINER sh"),
    ("list", "ps"),
    ("ls", "ps"),
    ("prune", "system prune"),
    ("remove", "rm"),
    ("sh", "exec -it CONTAINER sh"),
    ("shell", "exec -it CONTAINER sh"),
];

/// Podman's error for a command of `group` that is none, with the one that may have
/// been meant.
fn near(group: &str, typed: &str) -> Error {
    let error = Error::usage(format!("unrecognized command `coracle {typed}`"));
    let space = if group.is_empty() { "" } else { " " };
    let error = error.see(format!(
        "Try 'coracle {group}{space}--help' for more information"
    ));
    let names = || commands().flat_map(|command| command.names.iter().copied());
    let groups = GROUPS.iter().map(|(group, _)| *group);
    match group {
        "" => {
            let other = MEANT.iter().find(|(word, _)| *word == typed);
            if let Some((_, meant)) = other {
                return error.meant(Some(format!("coracle {meant}")));
            }
            let short = names().filter(|name| !name.contains(' '));
            let meant = crate::id::near(typed, short.chain(groups));
            error.meant(meant.map(|name| format!("coracle {name}")))
        }
        group => {
            let (_, word) = typed.split_once(' ').unwrap_or(("", typed));
            let own = names().filter_map(|name| name.strip_prefix(group)?.strip_prefix(' '));
            let meant = crate::id::near(word, own);
            error.meant(meant.map(|name| format!("coracle {group} {name}")))
        }
    }
}

/// Turns clap's error into pflag's and cobra's words.
fn as_podman(
    error: &clap::Error,
    definition: &clap::Command,
    command: &str,
    words: &[OsString],
) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let argument = text(ContextKind::InvalidArg);
    // clap names an option as `--name <VALUE>`.
    let flag = argument
        .split([' ', '='])
        .next()
        .unwrap_or("")
        .trim_end_matches('[')
        .to_owned();
    let error = match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            let options = definition.get_arguments().filter(|arg| !arg.is_hide_set());
            let names = options.filter_map(|arg| arg.get_long());
            let meant = crate::id::near(&flag[2..], names);
            Error::usage(format!("unknown flag: {flag}"))
                .meant(meant.map(|name| format!("--{name}")))
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let letter = argument.chars().nth(1).unwrap_or('-');
            // pflag shows what is left of the cluster.
            let rest = words.iter().find_map(|word| {
                let cluster = word.to_str()?.strip_prefix('-')?;
                let at = cluster.find(letter)?;
                (!cluster.starts_with('-')).then(|| format!("-{}", &cluster[at..]))
            });
            let rest = rest.unwrap_or(argument);
            Error::usage(format!("unknown shorthand flag: '{letter}' in {rest}"))
        }
        // A command without operands was given one.
        ErrorKind::UnknownArgument if definition.get_positionals().next().is_none() => {
            return Error::usage(format!("`coracle {command}` takes no arguments"));
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_empty() => {
            // Only the last word can be a flag that lacks its value.
            let last = words.last().map(|word| word.to_string_lossy());
            let last = last.unwrap_or_default();
            let letter = last.chars().next_back().filter(|_| !last.starts_with("--"));
            match letter {
                Some(letter) => {
                    Error::usage(format!("flag needs an argument: {letter:?} in -{letter}"))
                }
                None => Error::usage(format!("flag needs an argument: {flag}")),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue);
            let why = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            let why = go_number(&value, &why).unwrap_or(why);
            let short = definition
                .get_arguments()
                .find(|arg| arg.get_long() == flag.strip_prefix("--"))
                .and_then(Arg::get_short);
            let flag = match short {
                Some(short) => format!("-{short}, {flag}"),
                None => flag,
            };
            invalid(&value, &flag, &why)
        }
        _ => Error::usage(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or("")
                .trim_start_matches("error: ")
                .to_owned(),
        ),
    };
    error.see(format!("See 'coracle {command} --help'"))
}

/// Rust's words for what is no number, in those of Go's strconv.
fn go_number(value: &str, why: &str) -> Option<String> {
    let why = match why {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "invalid syntax"
        }
        _ if why.starts_with("number too ") => "value out of range",
        _ => return None,
    };
    Some(format!("strconv.ParseInt: parsing {value:?}: {why}"))
}

/// The help of a command, a group, or all.
fn help_of(words: &[&str]) -> Result<Parsed> {
    if words.is_empty() {
        return Ok(Parsed::Print(help::of_group("")));
    }
    if let Some((command, used)) = find(&words[..words.len().min(2)])
        && (used == words.len())
    {
        let text = help::of_command(command, &words.join(" "), help::Length::Long);
        return Ok(Parsed::Print(text));
    }
    // As cobra: the help of as many words as there are.
    if let Some((command, used)) = find(&words[..words.len().min(2)]) {
        let text = help::of_command(command, &words[..used].join(" "), help::Length::Long);
        return Ok(Parsed::Print(text));
    }
    match GROUPS.iter().find(|(group, _)| *group == words[0]) {
        Some((group, _)) => Ok(Parsed::Print(help::of_group(group))),
        None if words == ["help"] => Ok(Parsed::Print(help::of_group(""))),
        None => Err(near("", words[0])),
    }
}

/// A group without a command: its help, and Podman's words.
fn missing(group: &str) -> Parsed {
    let command = format!("coracle {group}");
    let error = Error::usage(format!("missing command '{} COMMAND'", command.trim_end()));
    Parsed::Missing(help::of_group(group), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_gos() {
        for (text, value) in [("True", true), ("1", true), ("f", false), ("FALSE", false)] {
            assert_eq!(parse_bool(text), Ok(value));
        }
        assert!(parse_bool("yes").is_err());
    }

    #[test]
    fn every_definition_is_sound() {
        for command in commands() {
            definition(command, "x").debug_assert();
        }
    }
}
