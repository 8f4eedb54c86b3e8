//! The container's environment.

use crate::cli::args::host::{Caller, Host};
use crate::error::{Error, Result, words};

/// PATH where neither image nor flags set it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `--http-proxy` hands on.
const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];

/// Flags of the container's environment.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Set a variable of the container's environment
    ///
    /// NAME=VALUE sets it, NAME alone takes the value the caller has (nothing
    /// if there is none), and NAME* takes every variable that begins so.
    #[arg(short, long, value_name = "ENV")]
    pub env: Vec<String>,

    /// Read variables from a file, one a line
    ///
    /// Lines are what --env takes; empty ones and those that begin with # are
    /// left out. Quotes stand for themselves. --env wins over any file.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,

    /// What containers.conf sets, which an image may set otherwise.
    #[arg(skip)]
    pub configured: Vec<String>,

    /// Hand on all of the caller's environment
    #[arg(long)]
    pub env_host: bool,

    /// Set a variable with the image's own variables in its value
    ///
    /// NAME=VALUE, where $OTHER and ${OTHER} in VALUE stand for what the image
    /// sets: --env-merge 'PATH=${PATH}:/opt/bin'.
    #[arg(long, value_name = "ENV")]
    pub env_merge: Vec<String>,

    /// Hand on http_proxy, https_proxy, ftp_proxy and no_proxy, in either case
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = super::number::boolean, value_name = "BOOL")]
    pub http_proxy: bool,

    /// Leave out a variable that the image or a default sets
    #[arg(long, value_name = "NAME")]
    pub unsetenv: Vec<String>,

    /// Leave out every variable that the image or a default sets
    #[arg(long)]
    pub unsetenv_all: bool,
}

impl Args {
    /// The environment as `NAME=VALUE`, no name twice: defaults, the image's, the
    /// caller's as far as asked for, files, flags; the later wins, in the place of
    /// the first. HOSTNAME and HOME are added when the container starts.
    pub fn environment(&self, image: &[String], tty: bool, host: &dyn Host) -> Result<Vec<String>> {
        let mut env = Variables::default();
        env.set("PATH", DEFAULT_PATH);
        env.set("container", "podman");
        if tty {
            env.set("TERM", "xterm");
        }
        for line in self.configured.iter().chain(image) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            env.set(name, value);
        }
        for merge in &self.env_merge {
            let text = expand(merge, &env).map_err(|why| {
                Error::usage(format!(
                    "unable to process variables for --env-merge {merge}: {why}"
                ))
            })?;
            let Some((name, value)) = text.split_once('=') else {
                return Err(Error::usage(format!(
                    "missing `=` for --env-merge substitution {merge}"
                )));
            };
            env.set(name, value);
        }
        if self.unsetenv_all {
            env = Variables::default();
        }
        for name in &self.unsetenv {
            env.remove(name);
        }
        if self.env_host {
            for (name, value) in host.env() {
                env.set(name, value);
            }
        } else if self.http_proxy {
            for name in PROXIES {
                if let Some(value) = host.variable(name) {
                    env.set(name, value);
                }
            }
        }
        env.set_from_flags(&self.env, &self.env_file, host)?;
        Ok(env.lines())
    }
}

/// `--env` and `--env-file` of `exec`: what they add to the container's environment.
pub fn extra(env: &[String], env_file: &[String]) -> Result<Vec<String>> {
    let host = Caller::read()?;
    let mut variables = Variables::default();
    if env.iter().any(String::is_empty) {
        return Err(Error::usage(
            "parsing environment variables: invalid variable: \"\"",
        ));
    }
    variables
        .set_from_flags(env, env_file, &host)
        .map_err(
            |error| match error.to_string().starts_with("invalid variable") {
                true => error.tried("parsing environment variables"),
                false => error,
            },
        )?;
    Ok(variables.lines())
}

/// Variables in the order their names first came.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    fn lines(self) -> Vec<String> {
        self.0
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Files first, whichever stands first.
    fn set_from_flags(&mut self, env: &[String], files: &[String], host: &dyn Host) -> Result<()> {
        for file in files {
            self.set_from_file(file, host)?;
        }
        for line in env.iter().filter(|line| !line.is_empty()) {
            self.set_from_line(line, host)?;
        }
        Ok(())
    }

    /// One value of `--env` or line of a file.
    fn set_from_line(&mut self, line: &str, host: &dyn Host) -> Result<()> {
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        if name.is_empty() {
            return Err(Error::usage(format!("invalid variable: {line:?}")));
        }
        let name = name.trim_start_matches([' ', '\t']);
        match (value, name.strip_suffix('*')) {
            (Some(value), _) => self.set(name, value),
            (None, Some(prefix)) => {
                for (name, value) in host.env().iter().filter(|(n, _)| n.starts_with(prefix)) {
                    self.set(name, value);
                }
            }
            (None, None) => {
                if let Some(value) = host.variable(name) {
                    self.set(name, value);
                }
            }
        }
        Ok(())
    }

    fn set_from_file(&mut self, file: &str, host: &dyn Host) -> Result<()> {
        let text = host.read(file.as_ref()).map_err(|error| {
            Error::usage(format!(
                "parsing file {file:?}: open {file}: {}",
                words(&error)
            ))
        })?;
        for line in lines(&text) {
            self.set_from_line(line, host)
                .map_err(|error| error.tried(format_args!("parsing file {file:?}")))?;
        }
        Ok(())
    }
}

/// The lines of a file of variables or labels that say something.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.trim_start_matches([' ', '\t']))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// `word` with `$NAME`, `${NAME}`, `${NAME:-else}` and `${NAME:+then}` put in, and
/// quotes and backslashes taken off, as in a Containerfile.
fn expand(word: &str, env: &Variables) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = word;
    let mut in_double = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\'' if !in_double => {
                let end = after
                    .find('\'')
                    .ok_or_else(|| format!("unexpected end of statement while looking for matching single-quote: {word}"))?;
                out.push_str(&after[..end]);
                rest = &after[end + 1..];
            }
            '"' => {
                in_double = !in_double;
                rest = after;
            }
            '\\' => {
                let next = after.chars().next();
                // Within double quotes only these are escaped.
                if in_double && !matches!(next, Some('"' | '$' | '\\')) {
                    out.push('\\');
                }
                out.extend(next);
                rest = &after[next.map_or(0, char::len_utf8)..];
            }
            '$' => rest = substitute(word, after, env, &mut out)?,
            c => {
                out.push(c);
                rest = after;
            }
        }
    }
    if in_double {
        return Err(format!(
            "unexpected end of statement while looking for matching double-quote: {word}"
        ));
    }
    Ok(out)
}

/// Puts in what `$` and `rest` stand for, and gives what follows.
fn substitute<'a>(
    word: &str,
    rest: &'a str,
    env: &Variables,
    out: &mut String,
) -> Result<&'a str, String> {
    let braced = rest.strip_prefix('{');
    let from = braced.unwrap_or(rest);
    let end = from
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(from.len());
    let (name, after) = from.split_at(end);
    let value = env.get(name).unwrap_or("");
    if braced.is_none() {
        if name.is_empty() {
            out.push('$');
        }
        out.push_str(value);
        return Ok(after);
    }
    if let Some(after) = after.strip_prefix('}') {
        out.push_str(value);
        return Ok(after);
    }
    let missing = || format!("Missing ':' or '#' or '%' or '/' in substitution: {word}");
    let modifier = after.strip_prefix(':').ok_or_else(missing)?;
    let end = modifier.find('}').ok_or_else(missing)?;
    let (modifier, after) = (&modifier[..end], &modifier[end + 1..]);
    match modifier.split_at_checked(1) {
        Some(("-", other)) if value.is_empty() => out.push_str(&expand(other, env)?),
        Some(("-", _)) => out.push_str(value),
        Some(("+", other)) if !value.is_empty() => out.push_str(&expand(other, env)?),
        Some(("+", _)) => {}
        _ => {
            return Err(format!(
                "Unsupported modifier ({modifier}) in substitution: {word}"
            ));
        }
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::tests::Fake;

    #[derive(clap::Parser)]
    #[command(args_override_self = true)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn environment(flags: &[&str], image: &[&str], tty: bool, host: &Fake) -> Result<Vec<String>> {
        use clap::Parser;
        let args = Line::parse_from(std::iter::once(&"x").chain(flags)).args;
        let image: Vec<String> = image.iter().map(|line| (*line).to_owned()).collect();
        args.environment(&image, tty, host)
    }

    const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const IMAGE: &[&str] = &["PATH=/bin:/foo", "A=img", "HOME=/imghome"];

    #[test]
    fn the_later_wins() {
        let host = Fake::with_env(&[("HOSTVAR", "hv"), ("HOSTVAR2", "hv2"), ("http_proxy", "hp")]);
        for (flags, image, tty, wanted) in [
            (
                &["--http-proxy=false"][..],
                &[][..],
                false,
                &[PATH, "container=podman"][..],
            ),
            (
                &[],
                &[],
                true,
                &[PATH, "container=podman", "TERM=xterm", "http_proxy=hp"],
            ),
            (
                &["--http-proxy=false"],
                IMAGE,
                false,
                &[
                    "PATH=/bin:/foo",
                    "container=podman",
                    "A=img",
                    "HOME=/imghome",
                ],
            ),
            (
                &[
                    "--http-proxy=false",
                    "-eB=1",
                    "-e",
                    "A=2",
                    "--env=B=3",
                    "-e=",
                ],
                IMAGE,
                false,
                &[
                    "PATH=/bin:/foo",
                    "container=podman",
                    "A=2",
                    "HOME=/imghome",
                    "B=3",
                ],
            ),
            (
                &[
                    "--http-proxy=false",
                    "-e",
                    "HOSTVAR",
                    "-e",
                    "NOSUCH",
                    "-e",
                    "HOSTV*",
                ],
                &[],
                false,
                &[PATH, "container=podman", "HOSTVAR=hv", "HOSTVAR2=hv2"],
            ),
            (
                &["--http-proxy=false", "-e", "A*=x", "-e", "A B=c d"],
                &[],
                false,
                &[PATH, "container=podman", "A*=x", "A B=c d"],
            ),
            (
                &["-e", "http_proxy=mine", "-e", "TERM=foo"],
                &[],
                true,
                &[PATH, "container=podman", "TERM=foo", "http_proxy=mine"],
            ),
            (
                &["--unsetenv", "PATH", "--unsetenv", "A"],
                IMAGE,
                false,
                &["container=podman", "HOME=/imghome", "http_proxy=hp"],
            ),
            (
                &["--unsetenv-all", "-e", "Q=1"],
                IMAGE,
                false,
                &["http_proxy=hp", "Q=1"],
            ),
            (
                &["--env-host", "-e", "Z=9", "--unsetenv-all"],
                &[],
                false,
                &["HOSTVAR=hv", "HOSTVAR2=hv2", "http_proxy=hp", "Z=9"],
            ),
        ] {
            assert_eq!(
                environment(flags, image, tty, &host).unwrap(),
                wanted,
                "{flags:?}"
            );
        }
    }

    #[test]
    fn files_are_read_line_by_line() {
        let mut host = Fake::with_env(&[("HOSTVAR", "hv"), ("HOSTVAR2", "hv2")]);
        host.files.insert(
            "ef".into(),
            "# comment\nA=1\n\n  B=2\nC\nHOSTVAR\nHOSTV*\nD=\"q q\"\nE=a=b\n F = x\nG=t  \r\nA=9\n"
                .into(),
        );
        host.files.insert("bad".into(), "=x\n".into());
        assert_eq!(
            environment(
                &["--unsetenv-all", "--env-file=ef", "-e", "B=flag"],
                &[],
                false,
                &host
            )
            .unwrap(),
            [
                "A=9",
                "B=flag",
                "HOSTVAR=hv",
                "HOSTVAR2=hv2",
                "D=\"q q\"",
                "E=a=b",
                "F = x",
                "G=t  "
            ]
        );
        for (flags, words) in [
            (
                ["--env-file", "/nope"],
                "parsing file \"/nope\": open /nope: no such file or directory",
            ),
            (
                ["--env-file", "bad"],
                "parsing file \"bad\": invalid variable: \"=x\"",
            ),
            (["-e", "=x"], "invalid variable: \"=x\""),
        ] {
            assert_eq!(
                environment(&flags, &[], false, &host)
                    .unwrap_err()
                    .to_string(),
                words
            );
        }
    }

    #[test]
    fn merged_values_name_the_images_variables() {
        let host = Fake::default();
        assert_eq!(
            environment(
                &[
                    r"--env-merge=A=${A:-d}:$A:\$A",
                    "--env-merge=B='$A'",
                    "--env-merge=C=\"q $A\"",
                    "--env-merge=P=${PATH}x",
                    "--env-merge=D=${A:+z}",
                    "--env-merge=E=$NOPE.",
                ],
                IMAGE,
                false,
                &host
            )
            .unwrap(),
            [
                "PATH=/bin:/foo",
                "container=podman",
                "A=img:img:$A",
                "HOME=/imghome",
                "B=$A",
                "C=q img:img:$A",
                "P=/bin:/foox",
                "D=z",
                "E=."
            ]
        );
        for (merge, words) in [
            ("A", "missing `=` for --env-merge substitution A"),
            (
                "A=${",
                "unable to process variables for --env-merge A=${: \
                 Missing ':' or '#' or '%' or '/' in substitution: A=${",
            ),
        ] {
            assert_eq!(
                environment(&["--env-merge", merge], &[], false, &host)
                    .unwrap_err()
                    .to_string(),
                words
            );
        }
    }
}
