//! Completion. The shells' scripts are small and never change: they ask
//! `coracle __complete WORDS`, where the last word is the one being typed. It
//! prints a candidate a line, a tab and what it is, and last `:` and a number:
//! 0 lets the shell offer files, 4 does not.
//!
//! **Invariant:** nothing here enters a namespace, forks or makes a file.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, ArgAction};

use super::{Example, GROUPS, help, parse};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::output::Output;
use crate::settings::Settings;
use crate::storage::Storage;

/// Generate shell autocompletions
///
/// Prints the script that completes commands, options and names in a shell. For
/// bash, put it where bash-completion looks:
/// `~/.local/share/bash-completion/completions/coracle`; for zsh, as `_coracle` in
/// a folder of `$fpath`; for fish, `~/.config/fish/completions/coracle.fish`.
#[derive(clap::Args)]
pub struct Args {
    /// Output the completion to file rather than stdout
    #[arg(short, long)]
    file: Option<PathBuf>,

    /// Don't include descriptions in the completion output
    #[arg(long)]
    no_desc: bool,

    #[arg(value_name = "SHELL", required = true)]
    shell: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle completion bash",
    does: "Print the script for bash.",
}];

/// The scripts by the names of their files in completions/.
pub const SCRIPTS: [(&str, &str); 3] = [
    ("coracle.bash", include_str!("completion/bash")),
    ("_coracle", include_str!("completion/zsh")),
    ("coracle.fish", include_str!("completion/fish")),
];

pub fn run(args: Args, _engine: &Engine, output: &mut Output) -> Result<u8> {
    super::exactly(1, args.shell.len())?;
    let shell = args.shell[0].as_str();
    let script = match shell {
        "bash" => SCRIPTS[0].1,
        "zsh" => SCRIPTS[1].1,
        "fish" => SCRIPTS[2].1,
        "powershell" => return Err(Error::unsupported("completion for powershell")),
        _ => {
            return Err(Error::usage(format!(
                "invalid argument {shell:?} for \"coracle completion\""
            )));
        }
    };
    let script = if args.no_desc {
        script.replace("__complete ", "__completeNoDesc ")
    } else {
        script.to_owned()
    };
    match args.file {
        Some(file) => {
            std::fs::write(&file, script).tried(|| format!("write {}", file.display()))?
        }
        None => output.text(&script),
    }
    Ok(0)
}

/// What may stand at a place.
#[derive(Default)]
struct Candidates {
    /// A word and what it is.
    words: Vec<(String, String)>,
    /// Files may stand there, too.
    files: bool,
}

/// `coracle __complete WORDS`.
pub fn complete(words: &[OsString], descriptions: bool) -> Result<u8> {
    let lossy = |word: &OsString| word.to_string_lossy().into_owned();
    let words: Vec<String> = words.iter().map(lossy).collect();
    let (typed, before) = words
        .split_last()
        .map_or(("", &words[..]), |(last, rest)| (last.as_str(), rest));
    let found = candidates(before, typed);
    let mut output = Output::new();
    for (word, what) in found.words {
        if !word.starts_with(typed) {
        } else if descriptions && !what.is_empty() {
            output.line(format_args!("{word}\t{what}"));
        } else {
            output.line(word);
        }
    }
    output.line(if found.files { ":0" } else { ":4" });
    Ok(0)
}

fn candidates(before: &[String], typed: &str) -> Candidates {
    let Some(rest) = after_globals(before) else {
        return Candidates {
            files: true,
            ..Candidates::default()
        };
    };
    let words: Vec<&str> = rest.iter().take(2).map(String::as_str).collect();
    let Some((command, used)) = parse::find(&words) else {
        return commands_at(&words, typed);
    };
    let definition = parse::definition(command, "");
    in_command(&definition, &rest[used..], typed)
}

/// The words from the command on; none if a global option's value is being typed.
fn after_globals(mut words: &[String]) -> Option<&[String]> {
    while let Some((first, after)) = words.split_first() {
        if !first.starts_with('-') {
            break;
        }
        words = after;
        if parse::takes_value(first) && !first.contains('=') {
            words = after.split_first()?.1;
        }
    }
    Some(words)
}

/// Commands and groups, or the commands of a group.
fn commands_at(words: &[&str], typed: &str) -> Candidates {
    let listed = match words {
        [] if typed.starts_with('-') => {
            let options = help::global_options();
            let option = |it: help::Shown| (format!("--{}", it.long), it.help);
            options.into_iter().map(option).collect()
        }
        [] => help::commands_of("").into_iter().collect(),
        [group] if GROUPS.iter().any(|(name, _)| name == group) => {
            help::commands_of(group).into_iter().collect()
        }
        ["help", ..] => help::commands_of("").into_iter().collect(),
        _ => Vec::new(),
    };
    Candidates {
        words: listed,
        files: false,
    }
}

fn in_command(definition: &clap::Command, before: &[String], typed: &str) -> Candidates {
    let find = |word: &str| {
        definition
            .get_arguments()
            .find(|arg| match word.strip_prefix("--") {
                Some(long) => arg.get_long() == Some(long),
                None => word.chars().nth_back(0) == arg.get_short() && arg.get_short().is_some(),
            })
    };
    let wants_value = |arg: &&Arg| {
        matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !help::is_switch(arg)
    };
    // How many operands stand before, and the option whose value is being typed.
    let mut operands = 0;
    let mut words = before.iter().peekable();
    let mut option = None;
    let mut only_operands = false;
    while let Some(word) = words.next() {
        if only_operands || !word.starts_with('-') || word == "-" {
            operands += 1;
            only_operands |= ends_options(definition, operands);
        } else if word == "--" {
            only_operands = true;
        } else if !word.contains('=')
            && let Some(arg) = find(word).filter(wants_value)
        {
            option = words.next().is_none().then_some(arg);
        }
    }
    if let Some(arg) = option {
        return values(arg, typed, "");
    }
    if let Some((name, value)) = typed.split_once('=')
        && !only_operands
        && let Some(arg) = find(name).filter(wants_value)
    {
        return values(arg, value, &format!("{name}="));
    }
    if typed.starts_with('-') && !only_operands {
        let shown = help::options(definition).into_iter();
        return Candidates {
            words: shown
                .map(|it| (format!("--{}", it.long), first_line(&it.help)))
                .collect(),
            files: false,
        };
    }
    operand(definition, operands, typed)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").to_owned()
}

/// Whether what follows `operands` operands is not ours to read: `run IMAGE ls -l`.
fn ends_options(definition: &clap::Command, operands: usize) -> bool {
    let mut positionals = definition.get_positionals();
    positionals
        .position(Arg::is_trailing_var_arg_set)
        .is_some_and(|at| operands >= at.max(1))
}

fn operand(definition: &clap::Command, number: usize, typed: &str) -> Candidates {
    let all: Vec<&Arg> = definition.get_positionals().collect();
    let Some(arg) = all.get(number).or(all
        .last()
        .filter(|last| last.get_num_args().is_some_and(|n| n.max_values() > 1)))
    else {
        return Candidates::default();
    };
    let names = arg.get_value_names().unwrap_or_default();
    let name = names.first().map_or("", |name| name.as_str());
    match name {
        "SHELL" => fixed(&["bash", "zsh", "fish"]),
        _ => named(name, typed),
    }
}

/// What an option's value may be. `prefix` stands before it in the same word.
fn values(arg: &Arg, typed: &str, prefix: &str) -> Candidates {
    let mut found = match arg.get_long().unwrap_or("") {
        "pull" => fixed(&["always", "missing", "never", "newer"]),
        "restart" => fixed(&["no", "always", "on-failure", "unless-stopped"]),
        "log-driver" => fixed(&[
            "k8s-file",
            "json-file",
            "journald",
            "none",
            "passthrough",
            "passthrough-tty",
        ]),
        "network" | "net" => fixed(&["none", "host", "pasta", "container:"]),
        "userns" => fixed(&["host", "keep-id", "auto", "nomap"]),
        "image-volume" => fixed(&["anonymous", "tmpfs", "ignore"]),
        "cgroupns" | "pid" | "ipc" | "uts" => fixed(&["private", "host", "container:"]),
        "secret" => named("SECRET", typed),
        "volumes-from" => named("CONTAINER", typed),
        "volume" => Candidates {
            files: true,
            ..named("VOLUME", typed)
        },
        "format" | "name" | "hostname" | "env" | "label" | "user" | "publish" | "filter" => {
            Candidates::default()
        }
        _ => Candidates {
            files: true,
            ..Candidates::default()
        },
    };
    for (word, _) in &mut found.words {
        word.insert_str(0, prefix);
    }
    found
}

fn fixed(words: &[&str]) -> Candidates {
    Candidates {
        words: words
            .iter()
            .map(|word| (word.to_string(), String::new()))
            .collect(),
        files: false,
    }
}

/// The names in the store of what an operand's word says it is.
fn named(what: &str, typed: &str) -> Candidates {
    let what = what.to_uppercase();
    let mut words = Vec::new();
    let storage = storage();
    if what.contains("CONTAINER") {
        words.extend(storage.iter().flat_map(|it| containers(it, typed)));
    }
    if what.contains("CONTAINER:PATH") {
        words.iter_mut().for_each(|(name, _)| name.push(':'));
    }
    if what.contains("IMAGE") || what.contains("LIST") {
        words.extend(storage.iter().flat_map(images));
    }
    if what.contains("VOLUME") {
        words.extend(storage.iter().flat_map(volumes));
    }
    if what.contains("SECRET") {
        words.extend(storage.iter().flat_map(secrets));
    }
    Candidates {
        files: what.contains("SOURCE")
            || words.is_empty()
                && !["CONTAINER", "IMAGE", "LIST", "VOLUME", "SECRET", "NAME"]
                    .iter()
                    .any(|it| what.contains(it)),
        words,
    }
}

/// The store, if there is one: completing makes none.
fn storage() -> Option<Storage> {
    let settings = Settings::read(&crate::settings::Overrides::default()).ok()?;
    if !settings.data.join("format").exists() {
        return None;
    }
    Storage::open(&settings).ok()
}

/// Names; ids, too, once one is begun that no name begins with.
fn containers(storage: &Storage, typed: &str) -> Vec<(String, String)> {
    let names = storage.list(&storage.names()).unwrap_or_default();
    let mut words: Vec<String> = names
        .into_iter()
        .filter(|it| it.starts_with(typed))
        .collect();
    if words.is_empty() && !typed.is_empty() {
        words = storage.list(&storage.containers()).unwrap_or_default();
        // Short as tables show them, unless more was typed.
        words
            .iter_mut()
            .for_each(|id| id.truncate(12.max(typed.len())));
    }
    words.sort();
    words
        .into_iter()
        .map(|name| (name, "container".to_owned()))
        .collect()
}

fn volumes(storage: &Storage) -> Vec<(String, String)> {
    let mut names = storage.list(&storage.volumes()).unwrap_or_default();
    names.sort();
    names
        .into_iter()
        .map(|name| (name, "volume".to_owned()))
        .collect()
}

fn secrets(storage: &Storage) -> Vec<(String, String)> {
    let all = crate::secret::list(storage).unwrap_or_default();
    all.into_iter()
        .map(|secret| (secret.name, "secret".to_owned()))
        .collect()
}

/// References in full, and without what short names stand for.
fn images(storage: &Storage) -> Vec<(String, String)> {
    let root = storage.refs();
    let mut folders = vec![root.clone()];
    let mut words = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
            if let Some(tag) = name.strip_prefix(':') {
                let Some(of) = folder.strip_prefix(&root).ok().and_then(|it| it.to_str()) else {
                    continue;
                };
                let full = format!("{of}:{tag}");
                let short = ["docker.io/library/", "docker.io/", "localhost/"];
                let short = short.iter().find_map(|host| full.strip_prefix(host));
                words.extend(short.map(|it| (it.to_owned(), "image".to_owned())));
                words.push((full, "image".to_owned()));
            } else {
                folders.push(path);
            }
        }
    }
    words.sort();
    words
}
