//! Stages: what each is made from, which are needed, and in what order.

use std::collections::BTreeMap;

use crate::build::language::expand;
use crate::build::language::{Instruction, Place, parse_line};
use crate::build::{Build, NamedContext};
use crate::error::{Error, Kind, Result};

/// What a stage or a copy is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// Nothing (`FROM scratch`).
    Scratch,
    Stage(usize),
    /// As it is named.
    Image(String),
    /// A folder of `--build-context`.
    Folder(std::path::PathBuf),
}

/// One stage.
#[derive(Debug, Clone)]
pub struct Stage {
    /// From 0, as it stands in the file.
    pub number: usize,
    pub name: Option<String>,
    pub from: From,
    /// `FROM` as it is shown.
    pub shown: String,
    pub platform: Option<String>,
    pub steps: Vec<Instruction>,
}

/// All that are needed, those others need first.
#[derive(Debug, Clone)]
pub struct Stages {
    pub all: Vec<Stage>,
    /// In the order they are built; the last is the image.
    pub order: Vec<usize>,
    /// `ARG` before the first FROM.
    pub head: BTreeMap<String, String>,
}

impl Stages {
    pub fn of(build: &Build) -> Result<Self> {
        let file = &build.file;
        let mut head: BTreeMap<String, String> = BTreeMap::new();
        let mut all: Vec<Stage> = Vec::new();
        for instruction in &file.instructions {
            if instruction.is("FROM") {
                let mut stage = from(build, instruction, &head, &all)?;
                if let (Some(base), true) = (&build.base, all.is_empty()) {
                    stage.from = From::Image(base.clone());
                    stage.shown = match &stage.name {
                        Some(name) => format!("FROM {base} AS {name}"),
                        None => format!("FROM {base}"),
                    };
                }
                all.push(stage);
            } else if let Some(stage) = all.last_mut() {
                stage.steps.push(instruction.clone());
            } else if instruction.is("ARG") {
                for (name, value) in arguments(instruction, file.escape)? {
                    let lookup =
                        |name: &str| head.get(name).or_else(|| build.platform.get(name)).cloned();
                    let value = match (build.args.get(&name), value) {
                        (Some(given), _) => Some(given.clone()),
                        (None, Some(value)) => Some(
                            expand::word(&value, file.escape, &lookup)
                                .map_err(|error| at(build, instruction, error))?,
                        ),
                        (None, None) => build.platform.get(&name).cloned(),
                    };
                    if let Some(value) = value {
                        head.insert(name, value);
                    }
                }
            } else {
                return Err(Place {
                    file: &file.name,
                    line: instruction.line,
                    text: &instruction.original,
                    span: (0, instruction.keyword.len()),
                }
                .error(format_args!(
                    "stage 1 requires a FROM instruction ({:?})",
                    instruction.keyword
                )));
            }
        }
        if all.is_empty() {
            return Err(Error::usage(format!(
                "no FROM statement found in {}",
                file.name
            )));
        }
        check_circles(build, &all)?;
        let target = target(build, &all)?;
        all.truncate(target + 1);
        extend(build, &mut all)?;
        let mut stages = Self {
            order: Vec::new(),
            all,
            head,
        };
        match build.skips_unused {
            true => stages.need(target, &mut Vec::new())?,
            false => {
                for number in 0..=target {
                    stages.need(number, &mut Vec::new())?;
                }
            }
        }
        // As they stand in the file, which no stage can go against.
        stages.order.sort_unstable();
        Ok(stages)
    }

    /// The stage that `text` names: by its name, or by its number. Only one before
    /// `before` can be meant.
    pub fn find(&self, text: &str, before: usize) -> Option<usize> {
        find(&self.all, text, before)
    }

    fn need(&mut self, number: usize, on_the_way: &mut Vec<usize>) -> Result<()> {
        if self.order.contains(&number) {
            return Ok(());
        }
        let stage = &self.all[number];
        if on_the_way.contains(&number) {
            let name = stage.name.clone().unwrap_or_else(|| number.to_string());
            return Err(Error::usage(format!("stage {name} needs itself")));
        }
        on_the_way.push(number);
        for needed in self.needs(stage) {
            self.need(needed, on_the_way)?;
        }
        on_the_way.pop();
        self.order.push(number);
        Ok(())
    }

    /// The stages that one takes something from.
    pub fn needs(&self, stage: &Stage) -> Vec<usize> {
        let mut all = Vec::new();
        if let From::Stage(number) = stage.from {
            all.push(number);
        }
        for step in &stage.steps {
            let mut names: Vec<&str> = Vec::new();
            if step.is("COPY") {
                names.extend(step.flag("from"));
            }
            if step.is("RUN") {
                let mounts = step
                    .flags
                    .iter()
                    .filter_map(|flag| flag.strip_prefix("--mount="));
                names.extend(mounts.flat_map(|mount| {
                    mount
                        .split(',')
                        .filter_map(|field| field.strip_prefix("from="))
                }));
            }
            // One of a variable may mean any.
            if names.iter().any(|name| name.contains('$')) {
                all.extend(0..stage.number);
            }
            let found = names
                .iter()
                .filter_map(|name| self.find(name, stage.number));
            all.extend(found);
        }
        all
    }
}

/// Stages that need each other: one names another that stands after it, and so on back
/// to itself. What only names one that stands after it may mean an image.
fn check_circles(build: &Build, all: &[Stage]) -> Result<()> {
    let named = |name: &str| {
        all.iter().position(|stage| {
            let own = stage.name.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    };
    let needs = |stage: &Stage| -> Vec<usize> {
        let base = match &stage.from {
            From::Stage(number) => Some(*number),
            From::Image(name) => named(name).filter(|number| *number != stage.number),
            From::Scratch | From::Folder(_) => None,
        };
        let copies = stage.steps.iter().filter(|step| step.is("COPY"));
        let copied = copies.filter_map(|step| named(step.flag("from")?));
        base.into_iter().chain(copied).collect()
    };
    for stage in all {
        let mut seen: Vec<usize> = Vec::new();
        let mut next = needs(stage);
        while let Some(number) = next.pop() {
            if number == stage.number {
                let name = stage.name.clone().unwrap_or_else(|| number.to_string());
                return Err(Error::usage(format!(
                    "{}: circular dependency detected on stage: {name}",
                    build.file.name
                )));
            }
            if !seen.contains(&number) {
                seen.push(number);
                next.extend(needs(&all[number]));
            }
        }
    }
    Ok(())
}

fn find(all: &[Stage], text: &str, before: usize) -> Option<usize> {
    let named = all[..before.min(all.len())].iter().rposition(|stage| {
        let name = stage.name.as_deref();
        name.is_some_and(|name| name.eq_ignore_ascii_case(text))
    });
    named.or_else(|| text.parse::<usize>().ok().filter(|number| *number < before))
}

/// An error of an instruction, with where it stands.
pub fn at(build: &Build, instruction: &Instruction, error: Error) -> Error {
    error.tried(format_args!("{}:{}", build.file.name, instruction.line))
}

/// `[--platform=…] BASE [AS NAME]`
fn from(
    build: &Build,
    instruction: &Instruction,
    head: &BTreeMap<String, String>,
    before: &[Stage],
) -> Result<Stage> {
    let escape = build.file.escape;
    let lookup = |name: &str| head.get(name).or_else(|| build.platform.get(name)).cloned();
    let expanded = |text: &str| {
        expand::word(text, escape, &lookup).map_err(|error| at(build, instruction, error))
    };
    let words = expand::split(&instruction.rest, escape);
    let (base, name) = match words.as_slice() {
        [base] => (*base, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => (*base, Some(expanded(name)?)),
        _ => {
            let place = Place {
                file: &build.file.name,
                line: instruction.line,
                text: &instruction.original,
                span: (0, instruction.original.chars().count()),
            };
            return Err(place.error("FROM requires either one or three arguments"));
        }
    };
    if let Some(name) = &name {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_plain) {
            return Err(at(
                build,
                instruction,
                Error::usage(format!(
                    "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
                )),
            ));
        }
    }
    let base = expanded(base)?;
    if base.is_empty() {
        return Err(at(
            build,
            instruction,
            Error::usage(format!(
                "base name ({}) should not be blank",
                instruction.rest
            )),
        ));
    }
    let mut platform = None;
    for flag in &instruction.flags {
        match flag.strip_prefix("--platform=") {
            Some(value) => platform = Some(expanded(value)?).filter(|it| !it.is_empty()),
            None => {
                let error = Error::usage(format!("unknown flag: {flag}"));
                return Err(at(build, instruction, error));
            }
        }
    }
    let meant = match named(build, &base) {
        Some(NamedContext::Image(image)) => image,
        _ => &base,
    };
    let shown = match &name {
        Some(name) => format!("FROM {meant} AS {name}"),
        None => format!("FROM {meant}"),
    };
    let source = match named(build, &base) {
        Some(NamedContext::Image(image)) => From::Image(image.clone()),
        Some(NamedContext::Folder(folder)) => {
            return Err(at(
                build,
                instruction,
                Error::unsupported(format_args!("FROM of the folder {}", folder.display())),
            ));
        }
        None => match find_named(before, &base) {
            Some(number) => From::Stage(number),
            None if base == "scratch" => From::Scratch,
            None => From::Image(base.clone()),
        },
    };
    Ok(Stage {
        number: before.len(),
        name,
        from: source,
        shown,
        platform,
        steps: Vec::new(),
    })
}

/// `FROM 0` means an image of that name, as with Podman.
fn find_named(before: &[Stage], text: &str) -> Option<usize> {
    before.iter().rposition(|stage| {
        let name = stage.name.as_deref();
        name.is_some_and(|name| name.eq_ignore_ascii_case(text))
    })
}

/// What `--build-context` says of a name.
pub fn named<'a>(build: &'a Build, name: &str) -> Option<&'a NamedContext> {
    build.contexts.get(name)
}

fn target(build: &Build, all: &[Stage]) -> Result<usize> {
    let Some(target) = &build.target else {
        return Ok(all.len() - 1);
    };
    find(all, target, all.len()).ok_or_else(|| {
        let error = Error::new(
            Kind::NotFound,
            format!("the target {target:?} was not found in the provided Dockerfile"),
        );
        let names = all.iter().filter_map(|stage| stage.name.as_deref());
        match crate::id::near(target, names) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error,
        }
    })
}

/// What flags add: `--env` to each stage, `--label` to the last.
fn extend(build: &Build, all: &mut [Stage]) -> Result<()> {
    let line = |keyword: &str, pairs: &[(String, String)]| {
        let pair = |(name, value): &(String, String)| format!("{}={}", quoted(name), quoted(value));
        let pairs: Vec<String> = pairs.iter().map(pair).collect();
        parse_line("flags", &format!("{keyword} {}", pairs.join(" ")), 0, '\\')
    };
    if !build.env.is_empty() {
        let env = line("ENV", &build.env)?;
        for stage in all.iter_mut() {
            stage.steps.insert(0, env.clone());
        }
    }
    if let (false, Some(last)) = (build.labels.is_empty(), all.last_mut()) {
        last.steps.push(line("LABEL", &build.labels)?);
    }
    Ok(())
}

/// Go's `%q`, as far as an instruction reads it again.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted + "\""
}

/// `ARG NAME[=VALUE]…`
pub fn arguments(instruction: &Instruction, escape: char) -> Result<Vec<(String, Option<String>)>> {
    let nothing = |_: &str| None;
    let mut all = Vec::new();
    for word in expand::split(&instruction.rest, escape) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let name = expand::word(name, escape, &nothing)?;
        if name.is_empty() {
            return Err(Error::usage("ARG names can not be blank"));
        }
        all.push((name, value));
    }
    Ok(all)
}
