//! The texts that `--help` prints, in Podman's layout, and the parts of a
//! definition that help, man page and completion show alike.

use std::any::TypeId;
use std::collections::BTreeMap;

use clap::{Arg, ArgAction};

use super::parse::{GLOBAL, definition};
use super::{Command, GROUPS, commands};
use crate::output::terminal;

/// One option as it is shown.
pub struct Shown {
    pub short: Option<char>,
    pub long: String,
    /// The word for its value; none for one that is on or off.
    pub value: Option<String>,
    /// Its default, if it says something.
    pub default: Option<String>,
    /// What it does: the first paragraph, and all of it.
    pub help: String,
    pub long_help: String,
}

/// Podman's words for operands and values.
const WORDS: &str = include_str!("words.txt");

/// What Podman's help says of a command's operands: `IMAGE [COMMAND [ARG...]]`.
fn podmans_operands(command: &Command) -> Option<&'static str> {
    let lines = WORDS.lines().filter_map(|line| line.split_once(" = "));
    let of = |name: &str| lines.clone().find(|(of, _)| *of == name);
    command
        .names
        .iter()
        .find_map(|name| of(name))
        .map(|it| it.1)
}

/// Podman's word for an option's value, and its default.
fn podmans_value(command: &Command, long: &str) -> Option<(&'static str, Option<&'static str>)> {
    let mut found = None;
    let lines = WORDS.lines().filter_map(|line| line.strip_prefix("--"));
    for line in lines {
        let Some(said) = line.strip_prefix(long).and_then(|it| it.strip_prefix(' ')) else {
            continue;
        };
        let (said, of) = said.split_once(" : ").unwrap_or((said, ""));
        let is_its = of.split(", ").any(|it| command.names.contains(&it));
        if is_its || of.is_empty() {
            let (word, default) = said.split_once(" (").unwrap_or((said, ""));
            found = Some((word, default.strip_suffix(')')));
        }
    }
    found
}

/// The options of a command as Podman's help has them.
fn options_of(command: &Command, definition: &clap::Command) -> Vec<Shown> {
    let mut shown = options(definition);
    for option in &mut shown {
        let Some((word, default)) = podmans_value(command, &option.long) else {
            continue;
        };
        // What is on or off here is so there, and the other way round.
        if (word == "-") == option.value.is_none() {
            option.value = option.value.as_ref().map(|_| word.to_owned());
            option.default = default.map(str::to_owned);
        }
    }
    shown
}

/// The options of a command, in order of their names.
pub fn options(definition: &clap::Command) -> Vec<Shown> {
    let mut shown: Vec<Shown> = definition
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set())
        .filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some(Shown {
                short: arg.get_short(),
                long: arg.get_long()?.to_owned(),
                value: value(arg),
                default: default(arg),
                long_help: match arg.get_long_help() {
                    Some(long) => long.to_string(),
                    None => help.clone(),
                },
                help,
            })
        })
        .collect();
    shown.sort_by(|a, b| a.long.cmp(&b.long));
    shown
}

/// Whether an option is on or off and takes a value only after `=`.
pub fn is_switch(arg: &Arg) -> bool {
    let optional = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
    matches!(
        arg.get_action(),
        ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Help | ArgAction::Count
    ) || (optional && arg.get_value_parser().type_id() == TypeId::of::<bool>())
}

/// The word for an option's value: the one it was given, else what the option is called.
fn value(arg: &Arg) -> Option<String> {
    if is_switch(arg) {
        return None;
    }
    let given = arg.get_value_names().and_then(|names| names.first());
    let own = arg.get_id().as_str().to_uppercase();
    if let Some(given) = given.filter(|given| given.as_str() != own) {
        return Some(given.to_string());
    }
    let kind = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<f64>(),
    ];
    let word = match arg.get_long() {
        Some("filter") => "KEY=VALUE".to_owned(),
        _ if numbers.iter().any(|it| kind == *it) => "NUMBER".to_owned(),
        _ => own,
    };
    Some(word)
}

fn default(arg: &Arg) -> Option<String> {
    let value = arg.get_default_values().first()?.to_str()?;
    if is_switch(arg) {
        return (value == "true").then(|| value.to_owned());
    }
    match value {
        "" | "0" => None,
        number if number.parse::<f64>().is_ok() => Some(number.to_owned()),
        text => Some(format!("{text:?}")),
    }
}

/// The operands of a command: `IMAGE [COMMAND [ARG...]]`.
pub fn operands(command: &Command, definition: &clap::Command) -> String {
    if let Some(operands) = podmans_operands(command) {
        return operands.to_owned();
    }
    let words = definition
        .get_positionals()
        .filter(|arg| !arg.is_hide_set())
        .map(|arg| {
            let names = arg.get_value_names().unwrap_or_default();
            let name = match names.first() {
                Some(name) => name.to_uppercase(),
                None => arg.get_id().as_str().to_uppercase(),
            };
            let many = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
            let ends = arg.is_trailing_var_arg_set();
            // One that has brackets says all of it.
            if name.ends_with(']') {
                return name;
            }
            match (arg.is_required_set(), many) {
                (true, _) if ends => format!("{name} [ARG...]"),
                (false, _) if ends => format!("[{name} [ARG...]]"),
                (true, true) => format!("{name} [{name}...]"),
                (true, false) => name,
                (false, true) => format!("[{name}...]"),
                (false, false) => format!("[{name}]"),
            }
        });
    words.collect::<Vec<_>>().join(" ")
}

/// What a command does, in one line.
pub fn summary(definition: &clap::Command) -> String {
    let about = definition.get_about();
    about.map(ToString::to_string).unwrap_or_default()
}

/// What a command does, at length: paragraphs, each in one line.
pub fn description(definition: &clap::Command) -> Vec<String> {
    let Some(long) = definition.get_long_about() else {
        return vec![format!("{}.", summary(definition))];
    };
    // clap repeats the summary in front.
    let long = long.to_string();
    let paragraphs = long.split("\n\n").map(|it| it.trim().to_owned());
    paragraphs.filter(|it| !it.is_empty()).skip(1).collect()
}

/// How much is told: `-h` reminds, `--help` explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Short,
    Long,
}

/// How a command is to be typed: `coracle rm [options] CONTAINER...`.
pub fn usage(command: &Command, typed: &str) -> String {
    let definition = definition(command, typed);
    let options = match options_of(command, &definition).is_empty() {
        true => "",
        false => " [options]",
    };
    let usage = format!(
        "coracle {typed}{options} {}",
        operands(command, &definition)
    );
    usage.trim_end().to_owned()
}

/// The help of a command that was typed as `typed`.
pub fn of_command(command: &Command, typed: &str, length: Length) -> String {
    let definition = definition(command, typed);
    let columns = terminal::columns(&std::io::stdout());
    let is_long = length == Length::Long;
    let mut text = format!("{}\n\n", summary(&definition));
    if is_long {
        text.push_str("Description:\n");
        for paragraph in description(&definition) {
            let paragraph = paragraph.replace('\n', " ");
            text.push_str(&format!("  {}\n\n", wrapped(&paragraph, 2, columns)));
        }
    }
    let options = options_of(command, &definition);
    text.push_str(&format!("Usage:\n  {}\n", usage(command, typed)));
    let aliases = aliases(command, typed);
    if is_long && aliases.len() > 1 {
        text.push_str(&format!("\nAliases:\n  {}\n", aliases.join(", ")));
    }
    if is_long && !command.examples.is_empty() {
        text.push_str("\nExamples:\n");
        for example in command.examples {
            text.push_str(&format!("  {}\n", example.line));
        }
    }
    if !options.is_empty() {
        text.push_str("\nOptions:\n");
        text.push_str(&table(&options, length, columns));
    }
    if !is_long {
        let more = format!("`coracle {typed} --help` says more.");
        text.push_str(&format!("\n{more}\n"));
    }
    text
}

/// `text` broken between words, where a line of a terminal has so many `columns`: all
/// lines but the first begin with so many spaces.
fn wrapped(text: &str, indent: usize, columns: Option<usize>) -> String {
    const LEAST: usize = 24;
    let Some(room) = columns.map(|columns| columns.saturating_sub(indent + 1).max(LEAST)) else {
        return text.to_owned();
    };
    let mut set = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            set.push_str(&format!("\n{:indent$}", ""));
            used = 0;
        } else if used > 0 {
            set.push(' ');
            used += 1;
        }
        set.push_str(word);
        used += length;
    }
    set
}

/// The other words for the last one that was typed: `ls` and `list`.
fn aliases<'a>(command: &'a Command, typed: &str) -> Vec<&'a str> {
    let group = |name: &str| name.rsplit_once(' ').map(|(group, _)| group.to_owned());
    let names = command.names.iter();
    names
        .filter(|name| group(name) == group(typed))
        .filter_map(|name| name.rsplit(' ').next())
        .collect()
}

/// Options as pflag lays them out; on a terminal broken to its width.
fn table(options: &[Shown], length: Length, columns: Option<usize>) -> String {
    let left: Vec<String> = options
        .iter()
        .map(|option| {
            let short = match option.short {
                Some(short) => format!("-{short}, "),
                None => "    ".to_owned(),
            };
            let value = option.value.as_deref().unwrap_or("");
            format!("  {short}--{} {value}", option.long)
                .trim_end()
                .to_owned()
        })
        .collect();
    let widest = left.iter().map(|it| it.chars().count()).max().unwrap_or(0) + 3;
    // Where that leaves no room what is wider has a line of its own.
    let width = match columns {
        Some(columns) => widest.min((columns / 2).max(20)),
        None => widest,
    };
    let mut text = String::new();
    for (left, option) in left.iter().zip(options) {
        let gap = format!("\n{:width$}", "");
        let set = |text: &str| match columns {
            Some(_) => wrapped(&text.replace('\n', " "), width, columns),
            None => text.replace('\n', &gap),
        };
        let default = match &option.default {
            Some(default) => format!(" (default {default})"),
            None => String::new(),
        };
        let left = match left.chars().count() + 2 > width {
            true => format!("{left}{gap}"),
            false => format!("{left:width$}"),
        };
        let help = set(&format!("{}{default}", option.help));
        text.push_str(&format!("{left}{help}\n"));
        if length == Length::Long {
            // What follows the first paragraph, which is the help itself.
            for more in option.long_help.split("\n\n").skip(1) {
                text.push_str(&format!("{}{}\n", &gap[1..], set(more)));
            }
        }
    }
    text
}

/// The commands of a group and what they do (`""`: those of one word, and the
/// groups), in order. Of several names for one command in it the first stands.
pub fn commands_of(group: &str) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for command in commands() {
        let name = command
            .names
            .iter()
            .find_map(|name| match name.split_once(' ') {
                Some((of, name)) if of == group => Some(name),
                None if group.is_empty() => Some(*name),
                _ => None,
            });
        let definition = (command.define)();
        if let Some(name) = name.filter(|_| !definition.is_hide_set()) {
            rows.insert(name.to_owned(), summary(&definition));
        }
    }
    if group.is_empty() {
        rows.insert("help".to_owned(), "Help about any command".to_owned());
        rows.extend(
            GROUPS
                .iter()
                .map(|(name, about)| (name.to_string(), about.to_string())),
        );
    }
    rows
}

/// The help of a group, or of coracle itself (`""`).
pub fn of_group(group: &str) -> String {
    let (about, usage) = match GROUPS.iter().find(|(name, _)| *name == group) {
        Some((_, about)) => (*about, format!("coracle {group} [command]")),
        None => (ABOUT, "coracle [options] [command]".to_owned()),
    };
    let mut text =
        format!("{about}\n\nDescription:\n  {about}\n\nUsage:\n  {usage}\n\nAvailable Commands:\n");
    for (name, summary) in commands_of(group) {
        text.push_str(&format!("  {name:<11} {summary}\n"));
    }
    if group.is_empty() {
        text.push_str("\nOptions:\n");
        let columns = terminal::columns(&std::io::stdout());
        text.push_str(&table(&global_options(), Length::Short, columns));
    }
    text
}

/// What coracle is, in one line.
pub const ABOUT: &str = "Manage containers, images and volumes";

/// The options that stand before the command.
pub fn global_options() -> Vec<Shown> {
    let shown = GLOBAL.iter().map(|(short, long, value, help)| Shown {
        short: *short,
        long: (*long).to_owned(),
        value: (!value.is_empty()).then(|| (*value).to_owned()),
        default: None,
        help: (*help).to_owned(),
        long_help: (*help).to_owned(),
    });
    shown.collect()
}
