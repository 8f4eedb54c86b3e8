//! The line as it is typed so far: which option or operand the word under the cursor
//! is, by the command's definition.

use std::cell::OnceCell;

use clap::{Arg, ArgAction};

use super::kind::{self, Kind};
use super::offer::Offers;
use super::store::Store;
use crate::cli::{Command, help, man, parse};
use crate::settings::{Overrides, Settings};

/// A command's line.
pub struct Line {
    /// What is typed for the command: `run`, `volume create`; empty before there is one.
    pub command: &'static str,
    definition: clap::Command,
    typed: String,
    before: Parts,
    /// The operands of the whole line, what stands behind the cursor among them.
    pub operands: Vec<String>,
    overrides: Overrides,
    store: OnceCell<Option<Store>>,
}

/// What words of a command line are.
#[derive(Default)]
struct Parts {
    operands: Vec<String>,
    /// The options that are given, by their ids, and their values.
    options: Vec<(String, String)>,
    /// The id of an option whose value the next word is.
    pending: Option<String>,
    /// What follows is operands, whatever it looks like.
    only_operands: bool,
}

impl Line {
    /// The words `before` the one that is `typed`, and those `after` it.
    pub fn new(
        command: &'static Command,
        before: &[String],
        typed: &str,
        after: Vec<String>,
        overrides: Overrides,
    ) -> Self {
        let name = man::main_name(command);
        let definition = parse::definition(command, name);
        let whole = before
            .iter()
            .cloned()
            .chain([typed.to_owned()])
            .chain(after);
        let whole: Vec<String> = whole.collect();
        Self {
            command: name,
            before: Parts::of(&definition, before),
            operands: Parts::of(&definition, &whole).operands,
            definition,
            typed: typed.to_owned(),
            overrides,
            store: OnceCell::new(),
        }
    }

    /// A line that has no command yet.
    pub fn bare(overrides: Overrides) -> Self {
        Self {
            command: "",
            definition: clap::Command::new(""),
            typed: String::new(),
            before: Parts::default(),
            operands: Vec::new(),
            overrides,
            store: OnceCell::new(),
        }
    }

    /// The caller's store, if there is one: completing makes none.
    pub fn store(&self) -> Option<&Store> {
        let open = || Store::open(&self.overrides);
        self.store.get_or_init(open).as_ref()
    }

    pub fn settings(&self) -> Option<Settings> {
        Settings::read(&self.overrides).ok()
    }

    /// The definition's own words for an option's value.
    fn possible(&self, arg: &Arg) -> Vec<(String, String)> {
        let values = arg.get_possible_values().into_iter();
        values
            .filter(|it| !it.is_hide_set())
            .map(|it| {
                let about = it.get_help().map(ToString::to_string).unwrap_or_default();
                (it.get_name().to_owned(), about)
            })
            .collect()
    }

    /// What may stand in place of the typed word.
    pub fn offers(&self) -> Offers {
        let typed = &self.typed;
        if let Some(arg) = self.before.pending.as_ref().and_then(|id| self.arg(id)) {
            return self.option_value(arg, typed);
        }
        if self.before.only_operands || !typed.starts_with('-') {
            return self.operand();
        }
        if let Some((name, value)) = typed.split_once('=') {
            let Some(arg) = name
                .strip_prefix("--")
                .and_then(|it| long(&self.definition, it))
            else {
                return Offers::default();
            };
            let mut offers = match help::is_switch(arg) {
                true => Offers::fixed(&[("true", ""), ("false", "")]),
                false => self.option_value(arg, value),
            };
            offers.put_before(&format!("{name}="));
            return offers;
        }
        self.options()
    }

    fn arg(&self, id: &str) -> Option<&Arg> {
        let mut all = self.definition.get_arguments();
        all.find(|arg| arg.get_id().as_str() == id)
    }

    fn option_value(&self, arg: &Arg, typed: &str) -> Offers {
        let name = arg.get_long().unwrap_or_default();
        let kind = kind::of_option(self.command, name);
        match kind {
            None | Some(Kind::Text) => Offers::of(self.possible(arg)),
            Some(kind) => self.value(kind, typed),
        }
    }

    /// The options, but for those that are given and count once.
    fn options(&self) -> Offers {
        let many = |option: &help::Shown| {
            long(&self.definition, &option.long)
                .is_some_and(|arg| matches!(arg.get_action(), ArgAction::Append))
        };
        let is_given = |option: &help::Shown| {
            long(&self.definition, &option.long)
                .is_some_and(|arg| self.before.options.iter().any(|(id, _)| arg.get_id() == id))
        };
        let words = help::options(&self.definition)
            .into_iter()
            .filter(|option| many(option) || !is_given(option))
            .map(|option| {
                let about = option.help.lines().collect::<Vec<_>>().join(" ");
                (format!("--{}", option.long), about)
            });
        Offers::of(words.collect())
    }

    fn operand(&self) -> Offers {
        let words = operand_words(&self.definition);
        let at = self.before.operands.len();
        let word = match words.get(at) {
            Some(word) => word,
            None if is_many(&self.definition) => match words.last() {
                Some(last) => last,
                None => return Offers::default(),
            },
            None => return Offers::default(),
        };
        let Some(kind) = kind::of_operand(self.command, word) else {
            return Offers::default();
        };
        let mut offers = self.value(kind, &self.typed);
        // Nobody means the same thing twice.
        let given = &self.before.operands;
        let is_twice = |word: &String| given.contains(word) && !matches!(kind, Kind::Text);
        offers.words.retain(|(word, _)| !is_twice(word));
        offers
    }
}

/// What may have been meant by a command line that was refused: `--restart always`, for
/// the first of its values that is near to one of the few that may stand there.
pub fn meant(command: &'static Command, words: &[String]) -> Option<String> {
    let name = man::main_name(command);
    let definition = parse::definition(command, name);
    let parts = Parts::of(&definition, words);
    for (id, value) in &parts.options {
        let mut all = definition.get_arguments();
        let Some(long) = all.find(|arg| arg.get_id() == id).and_then(Arg::get_long) else {
            continue;
        };
        let Some(kind) = kind::of_option(name, long) else {
            continue;
        };
        let (before, word) = match kind {
            // Each of them may be the wrong one.
            Kind::Mount | Kind::MountFields => {
                if let Some(near) = kind::near_in_mount(kind, value) {
                    return Some(format!("--{long} {near}"));
                }
                continue;
            }
            Kind::Several(_) | Kind::Capability => ("", value.rsplit(',').next()?),
            Kind::Words(_) => ("", value.split([':', '=']).next()?),
            _ => ("", value.as_str()),
        };
        if let Some(near) = kind::near(name, kind, word) {
            return Some(format!("--{long} {before}{near}"));
        }
    }
    let kinds = operand_words(&definition);
    let mut operands = parts.operands.iter().zip(&kinds);
    operands.find_map(|(operand, word)| {
        let kind = kind::of_operand(name, word).filter(|kind| *kind == Kind::Shell)?;
        kind::near(name, kind, operand)
    })
}

/// The words of a command's operands, in order: `CONTAINER`, `COMMAND`, `ARG`. The
/// last may stand for several.
pub fn operand_words(definition: &clap::Command) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for arg in definition.get_positionals().filter(|it| !it.is_hide_set()) {
        let names = arg.get_value_names().unwrap_or_default();
        let name = match names.first() {
            Some(name) => name.to_uppercase(),
            None => arg.get_id().as_str().to_uppercase(),
        };
        let parts = name.split(' ').map(|it| it.trim_matches(['[', ']', '.']));
        words.extend(parts.filter(|it| !it.is_empty()).map(str::to_owned));
        if arg.is_trailing_var_arg_set() && words.last().is_some_and(|it| it == "COMMAND") {
            words.push("ARG".to_owned());
        }
    }
    words
}

/// Whether the last operand may be there more than once.
fn is_many(definition: &clap::Command) -> bool {
    let last = definition.get_positionals().last();
    last.is_some_and(|arg| {
        let names = arg.get_value_names().unwrap_or_default();
        let closed = names.first().is_some_and(|name| {
            // `CONTAINER NAME`, `VOLUME [SNAPSHOT]`: so many and no more.
            name.contains(' ') && !name.contains("...") && !name.ends_with("IMAGE")
        });
        arg.is_trailing_var_arg_set()
            || arg.get_num_args().is_some_and(|n| n.max_values() > 1) && !closed
    })
}

impl Parts {
    fn of(definition: &clap::Command, words: &[String]) -> Self {
        let mut parts = Self::default();
        // All that follows the first operand is the container's: `run IMAGE ls -l`.
        let hands_on = definition
            .get_positionals()
            .any(Arg::is_trailing_var_arg_set);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if parts.only_operands || !word.starts_with('-') || word == "-" {
                parts.operands.push(word.clone());
                parts.only_operands |= hands_on;
                continue;
            }
            if word == "--" {
                parts.only_operands = true;
                continue;
            }
            let waits = match word.strip_prefix("--") {
                Some(name) => {
                    let (name, value) = match name.split_once('=') {
                        Some((name, value)) => (name, Some(value)),
                        None => (name, None),
                    };
                    let Some(arg) = long(definition, name) else {
                        continue;
                    };
                    let given = value.unwrap_or_default().to_owned();
                    parts.options.push((arg.get_id().to_string(), given));
                    (value.is_none() && wants_value(arg)).then_some(arg)
                }
                None => parts.cluster(definition, &word[1..]),
            };
            if let Some(arg) = waits {
                match (words.next(), parts.options.last_mut()) {
                    (Some(value), Some((_, given))) => given.clone_from(value),
                    _ => parts.pending = Some(arg.get_id().to_string()),
                }
            }
        }
        parts
    }

    /// Of `-itv`, the first that takes a value has the rest, or the next word.
    fn cluster<'a>(&mut self, definition: &'a clap::Command, letters: &str) -> Option<&'a Arg> {
        for (at, letter) in letters.char_indices() {
            let mut all = definition.get_arguments();
            let arg = all.find(|arg| arg.get_short() == Some(letter))?;
            let rest = &letters[at + letter.len_utf8()..];
            self.options.push((arg.get_id().to_string(), String::new()));
            if wants_value(arg) {
                if let Some((_, given)) = self.options.last_mut() {
                    rest.clone_into(given);
                }
                return rest.is_empty().then_some(arg);
            }
        }
        None
    }
}

fn long<'a>(definition: &'a clap::Command, name: &str) -> Option<&'a Arg> {
    definition.get_arguments().find(|arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
    })
}

fn wants_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
        && !help::is_switch(arg)
        && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Parts {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let names: Vec<&str> = words.iter().map(String::as_str).take(1).collect();
        let (command, used) = parse::find(&names).unwrap();
        Parts::of(&parse::definition(command, "x"), &words[used..])
    }

    #[test]
    fn words_are_told_apart() {
        for (line, operands, pending) in [
            ("run -it", &[][..], None),
            ("run -itv", &[], Some("volume")),
            ("run -itv a:/a", &[], None),
            ("run --rm --network", &[], Some("network")),
            (
                "run --rm=true --network=none IMAGE ls -v",
                &["IMAGE", "ls", "-v"],
                None,
            ),
            ("exec -u", &[], Some("user")),
            ("exec -u root web", &["web"], None),
            ("rm -f -- -x", &["-x"], None),
        ] {
            let parts = parts(line);
            assert_eq!(parts.operands, operands, "{line}");
            let pending = pending.map(str::to_owned);
            assert_eq!(
                parts.pending.map(|it| it.trim_end_matches('s').to_owned()),
                pending,
                "{line}"
            );
        }
    }
}
