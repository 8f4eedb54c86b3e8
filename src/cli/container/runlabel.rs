use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::cli::args::image as which;
use crate::cli::args::registry;
use crate::cli::image::steps::{Steps, chooser, warn_of_platform};
use crate::cli::{Example, at_least};
use crate::container;
use crate::container::remove::{Removal, remove};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image;
use crate::output::Output;

/// The variable that tells a command of a label that it is one.
const NESTED: &str = "PODMAN_RUNLABEL_NESTED";

/// Run the command that a label of an image says
///
/// The words IMAGE and NAME in it (also $IMAGE, ${IMAGE} and =IMAGE) stand for the image
/// and for --name, which is the image's last part if it is not given; $PWD is the current
/// folder, and $OPT1 to $OPT3 are what the caller's environment says. The words that
/// follow IMAGE are added. A command that begins with podman or docker is coracle's own.
/// It runs on the host as you: look at it before with --display.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    registry: registry::Args,

    /// Show the command, and do not run it
    #[arg(long)]
    display: bool,

    /// What NAME stands for
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,

    /// Print nothing while an image is pulled
    #[arg(short, long)]
    quiet: bool,

    /// Remove a container of that name before
    #[arg(long)]
    replace: bool,

    #[arg(value_name = "LABEL IMAGE [ARG...]", trailing_var_arg = true)]
    operands: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle container runlabel --display run app",
    does: "Show what the image app says of how to run it.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    at_least(2, args.operands.len())?;
    if std::env::var_os(NESTED).is_some_and(|it| it == "1") {
        return Err(Error::usage(
            "nested runlabel calls: runlabels not supported",
        ));
    }
    let (label, typed, more) = (&args.operands[0], &args.operands[1], &args.operands[2..]);
    container::sweep(engine)?;
    output.flush();
    let mut steps = Steps::new(output, args.quiet);
    let wanted = which::platform(&None, &None, &None, &None)?;
    let pull = image::Pull {
        text: typed,
        policy: which::policy("missing")?,
        wanted: &wanted,
        options: &args.registry.options()?,
        choose: chooser(),
    };
    let image = image::pull(engine, &pull, &mut |step| steps.tell(step))?;
    warn_of_platform(output, &image, &wanted);
    let value = image.config.labels.get(label).map(String::as_str);
    let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
        Error::usage(format!(
            "cannot find the value of label: {label} in image: {typed}"
        ))
    })?;
    let full = image
        .name
        .as_ref()
        .map_or_else(|| typed.clone(), ToString::to_string);
    let name = match args.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => last_part(&full).to_owned(),
    };
    let pwd = std::env::current_dir().tried(|| "find the current folder")?;
    let pwd = pwd.to_string_lossy();
    let words = command(value, &full, &name, more, |variable| match variable {
        "PWD" => pwd.clone().into_owned(),
        "OPT1" | "OPT2" | "OPT3" => std::env::var(variable).unwrap_or_default(),
        _ => String::new(),
    })?;
    let shown = words.join(" ");
    let is_own = |word: &str| matches!(word.rsplit('/').next(), Some("podman" | "docker"));
    if args.display {
        let program = if is_own(&words[0]) {
            "coracle"
        } else {
            &words[0]
        };
        output.line(
            format_args!("command: {program} {}", words[1..].join(" "))
                .to_string()
                .trim_end(),
        );
        return Ok(0);
    }
    if args.replace
        && let Ok(found) = container::find(&engine.storage, &name)
    {
        let how = Removal {
            force: true,
            ..Removal::default()
        };
        remove(engine, &found, how)?;
    }
    let program = match is_own(&words[0]) {
        true => std::env::current_exe().tried(|| "find this program")?,
        false => words[0].clone().into(),
    };
    output.flush();
    let ended = Command::new(program)
        .args(&words[1..])
        .env(NESTED, "1")
        .status();
    let why = match ended {
        Ok(status) if status.success() => return Ok(0),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("signal: {}", signal.unwrap_or_default()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !words[0].contains('/') => {
            format!("exec: {:?}: executable file not found in $PATH", words[0])
        }
        Err(error) => format!("fork/exec {}: {}", words[0], crate::error::words(&error)),
    };
    Err(Error::new(Kind::Other, format!("`{shown}` failed: {why}")))
}

/// The last part of an image's name, without its tag.
fn last_part(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

/// The words of a label's command. As in Podman, quotes hold words together only until
/// variables have been put in.
fn command(
    label: &str,
    image: &str,
    name: &str,
    more: &[String],
    variable: impl Fn(&str) -> String,
) -> Result<Vec<String>> {
    let bad = || Error::usage(format!("the label's command cannot be read: {label}"));
    let words = words(label).ok_or_else(bad)?;
    let (program, rest) = words.split_first().ok_or_else(bad)?;
    let rest: Vec<String> = rest
        .iter()
        .map(|word| replaced(&replaced(word, "IMAGE", image), "NAME", name))
        .chain(more.iter().cloned())
        .collect();
    let rest = expanded(&rest.join(" "), variable);
    let mut all = vec![program.clone()];
    all.extend(rest.split(' ').map(str::to_owned));
    Ok(all)
}

/// `word` with what stands for `key` in it.
fn replaced(word: &str, key: &str, value: &str) -> String {
    if word == key {
        return value.to_owned();
    }
    word.replace(&format!("=${{{key}}}"), &format!("={value}"))
        .replace(&format!("=${key}"), &format!("={value}"))
        .replace(&format!("={key}"), &format!("={value}"))
        .replace(&format!("${{{key}}}"), value)
        .replace(&format!("${key}"), value)
}

/// Go's os.Expand: `$NAME` and `${NAME}`.
fn expanded(text: &str, variable: impl Fn(&str) -> String) -> String {
    let mut all = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        all.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|it| it.split_once('}')) {
            all.push_str(&variable(name));
            rest = after;
        } else {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            match end {
                0 => all.push('$'),
                _ => all.push_str(&variable(&rest[..end])),
            }
            rest = &rest[end..];
        }
    }
    all + rest
}

/// The words of a line as a shell parts them; none where a quote is left open.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\'' => break,
                        other => word.push(other),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => word.push(letters.next()?),
                        other => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(letters.next()?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_image_and_name() {
        let of = |label: &str, more: &[&str]| {
            let more: Vec<String> = more.iter().map(|it| (*it).to_owned()).collect();
            command(
                label,
                "localhost/lab:latest",
                "lab",
                &more,
                |name| match name {
                    "PWD" => "/here".to_owned(),
                    _ => String::new(),
                },
            )
            .map(|words| words.join("|"))
            .map_err(|error| error.to_string())
        };
        for (label, more, words) in [
            (
                "podman run --name NAME IMAGE",
                &[][..],
                "podman|run|--name|lab|localhost/lab:latest",
            ),
            (
                "x $IMAGE ${NAME} =IMAGE --n=NAME",
                &[],
                "x|localhost/lab:latest|lab|=localhost/lab:latest|--n=lab",
            ),
            ("x -v $PWD:/x ${NONE}y", &["z"], "x|-v|/here:/x|y|z"),
            ("sh -c \"echo two\"", &[], "sh|-c|echo|two"),
            ("true", &[], "true|"),
        ] {
            assert_eq!(of(label, more).unwrap(), words, "{label}");
        }
        assert!(of("echo 'open", &[]).is_err());
        assert_eq!(last_part("localhost:5000/a/b:1"), "b");
    }
}
