//! Completion. The shells' scripts are small and never change: they ask
//! `coracle __complete WORDS`, where the last word is the one being typed. It prints a
//! candidate a line, a tab and what it is, and last `:` and the sum of 1 (something
//! went wrong), 2 (no space follows the word), 4 (no files may stand there) and 16
//! (only folders). These are the numbers of Podman's own scripts, which work with this
//! program too.
//!
//! Where a word stands the clap definitions say; what may stand there, [`kind`]; what
//! there is of that kind, [`offer`] (words and the caller's files) and [`store`].
//!
//! **Invariant:** nothing here enters a namespace, forks, waits for a lock, asks a
//! registry, or makes a file.

mod fields;
mod filters;
mod inside;
pub mod kind;
mod line;
mod offer;
mod store;

pub use fields::{FIELDS, fields_of};
pub use filters::keys as filter_keys;
pub use line::operand_words;

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Command, Example, GROUPS, help, parse};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::output::Output;
use crate::settings::Overrides;
use line::Line;
use offer::Offers;

/// Generate shell autocompletions
///
/// Prints the script that completes commands, options and names in a shell. For
/// bash, put it where bash-completion looks:
/// `~/.local/share/bash-completion/completions/coracle`; for zsh, as `_coracle` in
/// a folder of `$fpath`; for fish, `~/.config/fish/completions/coracle.fish`; for
/// PowerShell, in `$PROFILE`. The first three are tested in their shells; that of
/// PowerShell has never been run in one.
///
/// Where `podman` or `docker` is an alias of coracle or a link to it, they are
/// completed too: in bash the script is then read after the alias is made, as by
/// `source <(coracle completion bash)` in `~/.bashrc`.
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

const POWERSHELL: &str = include_str!("powershell");

/// The scripts by the names of their files in completions/.
pub const SCRIPTS: [(&str, &str); 3] = [
    ("coracle.bash", include_str!("bash")),
    ("_coracle", include_str!("zsh")),
    ("coracle.fish", include_str!("fish")),
];

pub fn run(args: Args, _engine: &Engine, output: &mut Output) -> Result<u8> {
    super::exactly(1, args.shell.len())?;
    let shell = args.shell[0].as_str();
    let script = match shell {
        "bash" => SCRIPTS[0].1,
        "zsh" => SCRIPTS[1].1,
        "fish" => SCRIPTS[2].1,
        "powershell" => POWERSHELL,
        _ => {
            return Err(Error::usage(format!(
                "invalid argument {shell:?} for \"coracle completion\""
            )));
        }
    };
    let script = if args.no_desc {
        script.replace("__complete", "__completeNoDesc")
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

/// `coracle __complete WORDS`. Never fails: where nothing can be said, nothing is.
pub fn complete(words: &[OsString], descriptions: bool) -> Result<u8> {
    let lossy = |word: &OsString| word.to_string_lossy().into_owned();
    let words: Vec<String> = words.iter().map(lossy).collect();
    let (typed, before) = words
        .split_last()
        .map_or(("", &words[..]), |(last, rest)| (last.as_str(), rest));
    // What stands behind the cursor, from scripts that tell.
    let after = std::env::var("CORACLE_AFTER_CURSOR").unwrap_or_default();
    let after: Vec<String> = after.lines().map(str::to_owned).collect();
    let mut offers = offers(before, typed, after);
    offers.words.retain(|(word, _)| word.starts_with(typed));
    if offers.words.len() > 1 {
        // What goes on is there already: what it goes on with is meant.
        offers
            .words
            .retain(|(word, _)| word != typed || !word.ends_with([':', '=']));
    }
    let mut output = Output::new();
    for (word, what) in &offers.words {
        if descriptions && !what.is_empty() {
            output.line(format_args!("{word}\t{what}"));
        } else {
            output.line(word);
        }
    }
    output.line(format_args!(":{}", offers.directive()));
    Ok(0)
}

fn offers(before: &[String], typed: &str, after: Vec<String>) -> Offers {
    let mut overrides = Overrides::default();
    let rest = match after_globals(before, &mut overrides) {
        Ok(rest) => rest,
        Err(option) => {
            let kind = kind::of_option("", option).unwrap_or(kind::Kind::File);
            return Line::bare(overrides).value(kind, typed);
        }
    };
    let words: Vec<&str> = rest.iter().take(2).map(String::as_str).collect();
    let Some((command, used)) = parse::find(&words) else {
        return match (&words[..], typed.split_once('=')) {
            ([], Some((option, value))) if parse::takes_value(option) => {
                let kind = kind::of_option("", option.trim_start_matches('-'));
                let mut offers =
                    Line::bare(overrides).value(kind.unwrap_or(kind::Kind::File), value);
                offers.put_before(&format!("{option}="));
                offers
            }
            _ => commands_at(&words, typed),
        };
    };
    Line::new(command, &rest[used..], typed, after, overrides).offers()
}

/// What may have been meant in a command line that was refused, if one of its words is
/// near to one that may stand there.
pub fn meant(argv: &[OsString]) -> Option<String> {
    let (command, rest) = command_of(argv)?;
    line::meant(command, &rest)
}

/// How the command that a command line names is to be typed.
pub fn usage(argv: &[OsString]) -> Option<String> {
    let (command, _) = command_of(argv)?;
    Some(super::help::usage(command, super::man::main_name(command)))
}

/// The program of the line's image or container that may have been meant by one that is
/// not there.
pub fn program_meant(argv: &[OsString], program: &str) -> Option<String> {
    let (command, rest) = command_of(argv)?;
    let line = Line::new(command, &rest, "", Vec::new(), Overrides::default());
    let programs = inside::programs(&line, "");
    let names = programs.iter().map(|(name, _)| name.as_str());
    crate::id::near(program, names).map(str::to_owned)
}

/// The command that a whole command line names, and the words after its name.
fn command_of(argv: &[OsString]) -> Option<(&'static Command, Vec<String>)> {
    let words: Vec<String> = argv
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into())
        .collect();
    let rest = after_globals(&words, &mut Overrides::default()).ok()?;
    let names: Vec<&str> = rest.iter().take(2).map(String::as_str).collect();
    let (command, used) = parse::find(&names)?;
    Some((command, rest[used..].to_vec()))
}

/// The field that may have been meant by the one that the error of a template names:
/// `executing "ps" at <.Stauts>: can't evaluate field Stauts in type …`.
pub fn field_meant(argv: &[OsString], said: &str) -> Option<String> {
    let (before, after) = said.split_once("can't evaluate field ")?;
    let name = after.split(' ').next()?;
    let path = before.rsplit_once("at <")?.1.split('>').next()?;
    let parent = path.get(1..=path.find(&format!(".{name}"))?)?;
    let (command, _) = command_of(argv)?;
    let fields: Vec<&str> = fields_of(super::man::main_name(command))
        .filter_map(|field| field.strip_prefix(parent))
        .collect();
    let same = fields.iter().find(|field| field.eq_ignore_ascii_case(name));
    let near = same.copied().or_else(|| crate::id::near(name, fields))?;
    Some(format!("{{{{.{parent}{near}}}}}"))
}

/// The words from the command on; or the global option whose value is being typed.
fn after_globals<'a>(
    mut words: &'a [String],
    overrides: &mut Overrides,
) -> std::result::Result<&'a [String], &'a str> {
    while let Some((first, after)) = words.split_first() {
        if !first.starts_with('-') {
            break;
        }
        words = after;
        let (name, value) = match first.split_once('=') {
            Some((name, value)) => (name, value),
            None if parse::takes_value(first) => {
                let Some((value, after)) = words.split_first() else {
                    return Err(first.trim_start_matches('-'));
                };
                words = after;
                (first.as_str(), value.as_str())
            }
            None => continue,
        };
        match name {
            "--root" => overrides.root = Some(value.into()),
            "--runroot" => overrides.runroot = Some(value.into()),
            _ => {}
        }
    }
    Ok(words)
}

/// Commands and groups, or the commands of a group.
fn commands_at(words: &[&str], typed: &str) -> Offers {
    let is_group = |word: &str| GROUPS.iter().any(|(name, _)| *name == word);
    let words: Vec<(String, String)> = match words {
        [] if typed.starts_with('-') => {
            let options = help::global_options();
            let option = |it: help::Shown| (format!("--{}", it.long), it.help);
            options.into_iter().map(option).collect()
        }
        [] | ["help"] => help::commands_of("").into_iter().collect(),
        [group] | ["help", group] if is_group(group) => {
            help::commands_of(group).into_iter().collect()
        }
        _ => Vec::new(),
    };
    Offers::of(words)
}
