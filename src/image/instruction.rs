//! A Dockerfile's instructions, applied to an image that is made of a container
//! (`commit --change`), as Podman's builder takes them.

use super::{Healthcheck, ImageConfig};
use crate::error::{Error, Result};

/// Applies `line`, `KEY VALUE` or `KEY=VALUE`, to a config. Gives the author that
/// MAINTAINER names.
pub fn apply(config: &mut ImageConfig, line: &str) -> Result<Option<String>> {
    let line = line.trim();
    let end = line.find([' ', '\t', '=']).unwrap_or(line.len());
    let key = line[..end].to_ascii_uppercase();
    let value = line.get(end + 1..).unwrap_or("").trim();
    apply_one(config, &key, value)
        .map_err(|error| error.tried(format_args!("applying changes: processing change {line:?}")))
}

/// The same for a keyword, upper case, and its value.
pub fn apply_one(config: &mut ImageConfig, key: &str, value: &str) -> Result<Option<String>> {
    let needs = |what: &str| Error::usage(format!("{key} requires {what}"));
    let given = || match value.is_empty() {
        true => Err(needs("at least one argument")),
        false => Ok(value),
    };
    let one = || match words(given()?)?.as_slice() {
        [word] => Ok(word.clone()),
        _ => Err(needs("exactly one argument")),
    };
    match key {
        "CMD" => config.cmd = argv(config, given()?),
        "ENTRYPOINT" => config.entrypoint = argv(config, given()?),
        "ENV" => {
            for (name, value) in pairs(given()?)? {
                let name = format!("{name}=");
                match config.env.iter_mut().find(|it| it.starts_with(&name)) {
                    Some(there) => *there = format!("{name}{value}"),
                    None => config.env.push(format!("{name}{value}")),
                }
            }
        }
        "LABEL" => config.labels.extend(pairs(given()?)?),
        "EXPOSE" => {
            for word in words(given()?)? {
                for port in ports(&word)? {
                    add(&mut config.exposed_ports, port);
                }
            }
        }
        "VOLUME" => {
            let paths = list(given()?).map_or_else(|| words(value), Ok)?;
            for path in paths {
                if path.is_empty() {
                    return Err(Error::usage("VOLUME specified can not be an empty string"));
                }
                add(&mut config.volumes, path);
            }
        }
        "USER" => config.user = one()?,
        "WORKDIR" => {
            let path = words(given()?)?.join(" ");
            config.working_dir = match path.starts_with('/') {
                true => path,
                false => format!("{}/{path}", config.working_dir.trim_end_matches('/')),
            };
            if !config.working_dir.starts_with('/') {
                config.working_dir.insert(0, '/');
            }
        }
        "STOPSIGNAL" => {
            let signal = one()?;
            if crate::sys::signal::parse(&signal).is_none() {
                return Err(Error::usage(format!("invalid signal: {signal}")));
            }
            config.stop_signal = signal;
        }
        "ONBUILD" => {
            let word = given()?.split_whitespace().next().unwrap_or("");
            match word.to_ascii_uppercase().as_str() {
                "ONBUILD" => {
                    return Err(Error::usage(
                        "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
                    ));
                }
                trigger @ ("FROM" | "MAINTAINER") => {
                    return Err(Error::usage(format!(
                        "{trigger} isn't allowed as an ONBUILD trigger"
                    )));
                }
                _ => config.on_build.push(value.to_owned()),
            }
        }
        "SHELL" => {
            config.shell =
                list(given()?).ok_or_else(|| needs("the arguments to be in JSON form"))?;
        }
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(given()?)?),
        "MAINTAINER" => return Ok(Some(given()?.to_owned())),
        "RUN" | "ADD" | "COPY" | "FROM" | "ARG" => {
            return Err(Error::usage(format!(
                "{key} builds an image, and this one is made of a container"
            )));
        }
        _ => {
            return Err(Error::usage(format!(
                "did not understand change instruction {:?}",
                format!("{key} {value}").trim()
            )));
        }
    }
    Ok(None)
}

fn add(list: &mut Vec<String>, value: String) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// A JSON list, else a line for the shell.
fn argv(config: &ImageConfig, value: &str) -> Vec<String> {
    list(value).unwrap_or_else(|| {
        let mut argv = match config.shell.is_empty() {
            true => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            false => config.shell.clone(),
        };
        argv.push(value.to_owned());
        argv
    })
}

fn list(value: &str) -> Option<Vec<String>> {
    serde_json::from_str(value).ok()
}

/// `PORT`, `PORT/PROTOCOL`, `FIRST-LAST/PROTOCOL`.
fn ports(word: &str) -> Result<Vec<String>> {
    let wrong = || Error::usage(format!("invalid containerPort: {word}"));
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(Error::usage(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().ok().filter(|it| *it > 0);
    let (first, last) = (
        port(first).ok_or_else(wrong)?,
        port(last).ok_or_else(wrong)?,
    );
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// `A=b C="d e"`, or `A b c` in the old form.
fn pairs(value: &str) -> Result<Vec<(String, String)>> {
    let words = words(value)?;
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (name, rest) = value
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::usage(format!("{value:?} must have two arguments")))?;
        return Ok(vec![(name.to_owned(), rest.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) | None => Err(Error::usage(format!(
            "syntax error - can't find = in {word:?}. Must be of the form: name=value"
        ))),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    };
    words.into_iter().map(pair).collect()
}

/// Words as a shell has them: quotes hold them together, a backslash keeps what
/// follows it.
fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), _) if letter == open => quote = None,
            (None | Some('"'), '\\') => {
                let next = letters.next().unwrap_or('\\');
                word.get_or_insert_default().push(next);
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(Error::usage(format!("a quote is not closed in {text:?}")));
    }
    words.extend(word);
    Ok(words)
}

/// `NONE`, or `[--interval=…] CMD …`.
fn healthcheck(value: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = value;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option
            .split_once(char::is_whitespace)
            .unwrap_or((option, ""));
        rest = after.trim_start();
        let wrong = || Error::usage(format!("unknown flag: --{option}"));
        let (name, value) = option.split_once('=').ok_or_else(wrong)?;
        let time = || {
            let span: jiff::SignedDuration = value
                .parse()
                .map_err(|_| Error::usage(format!("time: invalid duration {value:?}")))?;
            i64::try_from(span.as_nanos())
                .map_err(|_| Error::usage(format!("time: invalid duration {value:?}")))
        };
        match name {
            "interval" => check.interval = time()?,
            "timeout" => check.timeout = time()?,
            "start-period" => check.start_period = time()?,
            "start-interval" => check.start_interval = time()?,
            "retries" => {
                check.retries = value
                    .parse()
                    .map_err(|_| Error::usage(format!("retries: invalid number {value:?}")))?;
            }
            _ => return Err(wrong()),
        }
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), command.trim()) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("CMD", command) if !command.is_empty() => match list(command) {
            Some(argv) => [vec!["CMD".to_owned()], argv].concat(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        ("CMD", _) => return Err(Error::usage("missing command after HEALTHCHECK CMD")),
        _ => {
            return Err(Error::usage(format!(
                "unknown type {kind:?} in HEALTHCHECK"
            )));
        }
    };
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_a_config() {
        let mut config = ImageConfig {
            env: vec!["A=1".to_owned()],
            working_dir: "/w".to_owned(),
            ..ImageConfig::default()
        };
        for line in [
            "CMD=/bin/bash -l",
            "entrypoint [\"a\", \"b\"]",
            "ENV A=2 B='c d' E=x\\ y",
            "ENV OLD a  b",
            "LABEL a=b c=\"d e\"",
            "EXPOSE 80 53/udp 7-8",
            "VOLUME /v1 /v2",
            "VOLUME [\"/v 3\"]",
            "USER u:g",
            "WORKDIR sub",
            "STOPSIGNAL 12",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=5s --retries=2 CMD test -e /x",
        ] {
            assert_eq!(apply(&mut config, line).unwrap(), None, "{line}");
        }
        assert_eq!(config.cmd, ["/bin/sh", "-c", "/bin/bash -l"]);
        assert_eq!(config.entrypoint, ["a", "b"]);
        assert_eq!(config.env, ["A=2", "B=c d", "E=x y", "OLD=a  b"]);
        assert_eq!(config.labels["c"], "d e");
        assert_eq!(config.exposed_ports, ["80/tcp", "53/udp", "7/tcp", "8/tcp"]);
        assert_eq!(config.volumes, ["/v1", "/v2", "/v 3"]);
        assert_eq!((&*config.user, &*config.working_dir), ("u:g", "/w/sub"));
        assert_eq!(config.stop_signal, "12");
        assert_eq!(config.on_build, ["RUN x"]);
        let check = config.healthcheck.as_ref().unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "test -e /x"]);
        assert_eq!((check.interval, check.retries), (5_000_000_000, 2));
        let author = apply(&mut config, "MAINTAINER me <me@x>").unwrap();
        assert_eq!(author.as_deref(), Some("me <me@x>"));
    }

    #[test]
    fn what_is_no_change_is_said() {
        for (line, words) in [
            (
                "bla",
                "processing change \"bla\": did not understand change instruction \"BLA\"",
            ),
            ("RUN x", "RUN builds an image"),
            ("ENV A", "must have two arguments"),
            ("ENV A=1 B", "can't find = in \"B\""),
            ("EXPOSE x", "invalid containerPort: x"),
            ("EXPOSE 1/x", "invalid proto: x"),
            ("USER", "USER requires at least one argument"),
            ("STOPSIGNAL XX", "invalid signal: XX"),
            ("LABEL \"a=b", "a quote is not closed"),
            ("ONBUILD ONBUILD x", "chaining ONBUILD"),
            ("HEALTHCHECK CMD", "missing command"),
        ] {
            let error = apply(&mut ImageConfig::default(), line).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
