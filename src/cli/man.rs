//! Man pages, rendered from the same definitions as the parser, in the order of
//! sections that Podman's pages have. `tests/generated.rs` keeps man/ equal.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::help::{self, Shown};
use super::parse::definition;
use super::{Command, GROUPS, commands};

/// The day of the last change of a kind readers should know of (mandoc asks for one).
const DATE: &str = "2026-01-01";

/// Every page by its file's name. Another name of a command is a page of one
/// line that leads to the first.
pub fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    pages.insert("coracle.1".to_owned(), main_page());
    for (group, about) in GROUPS {
        pages.insert(file(group), group_page(group, about));
    }
    for command in commands().filter(|it| !(it.define)().is_hide_set()) {
        let main = main_name(command);
        pages.insert(file(main), page(command, main));
        for alias in command.names.iter().filter(|name| **name != main) {
            pages.insert(file(alias), format!(".so man1/{}\n", file(main)));
        }
    }
    pages
}

/// The name a command's page has: `run`, not `container run`.
pub fn main_name(command: &Command) -> &'static str {
    let short = command.names.iter().find(|name| !name.contains(' '));
    short.unwrap_or(&command.names[0])
}

fn file(name: &str) -> String {
    format!("{}.1", title(name))
}

fn title(name: &str) -> String {
    format!("coracle-{}", name.replace(' ', "-"))
}

fn page(command: &Command, name: &str) -> String {
    let definition = definition(command, name);
    let options = help::options(&definition);
    let mut page = head(&title(name), &help::summary(&definition));
    page.push_str(".SH SYNOPSIS\n");
    let operands = help::operands(command, &definition);
    for (number, name) in std::iter::once(name)
        .chain(command.names.iter().copied().filter(|it| *it != name))
        .enumerate()
    {
        if number > 0 {
            page.push_str(".br\n");
        }
        let _ = write!(page, "{}", bold(&format!("coracle {name}")));
        if !options.is_empty() {
            page.push_str(" [\\fIoptions\\fP]");
        }
        if !operands.is_empty() {
            let _ = write!(page, " {}", italic_words(&operands));
        }
        page.push('\n');
    }
    section(&mut page, "DESCRIPTION", &help::description(&definition));
    if !options.is_empty() {
        page.push_str(".SH OPTIONS\n");
        options.iter().for_each(|it| option(&mut page, it));
    }
    if !command.examples.is_empty() {
        page.push_str(".SH EXAMPLES\n");
        for (number, example) in command.examples.iter().enumerate() {
            if number > 0 {
                page.push_str(".PP\n");
            }
            let does = prose(example.does);
            let line = text(example.line);
            let _ = writeln!(page, "{does}\n.PP\n.RS 4\n.nf\n$ {line}\n.fi\n.RE");
        }
    }
    let more = more(name);
    for (section, entries) in [
        ("FILES", more.files),
        ("ENVIRONMENT", more.environment),
        ("EXIT CODES", more.exit_codes),
    ] {
        listed(&mut page, section, entries);
    }
    let group = command.names.iter().find_map(|name| name.split_once(' '));
    let also: Vec<String> = group
        .map(|(group, _)| format!("{}(1)", title(group)))
        .into_iter()
        .chain(more.also.iter().map(|page| format!("coracle-{page}")))
        .collect();
    see_also(&mut page, &also);
    page
}

/// A section of words and what they mean; none if there are no words.
fn listed(page: &mut String, section: &str, entries: &[Entry]) {
    if !entries.is_empty() {
        let _ = writeln!(page, ".SH {section}");
    }
    for (word, means) in entries {
        let _ = writeln!(page, ".TP\n{}\n{}", bold(word), prose(means));
    }
}

type Entry = (&'static str, &'static str);

/// What a command's page says beside what its definition says.
#[derive(Default)]
struct More {
    files: &'static [Entry],
    environment: &'static [Entry],
    exit_codes: &'static [Entry],
    /// Further pages: `volumes(7)`.
    also: &'static [&'static str],
}

fn more(name: &str) -> More {
    const AUTH: Entry = (
        "$XDG_RUNTIME_DIR/containers/auth.json",
        "Who we are to each registry, as `login` writes it; ~/.docker/config.json is read after it.",
    );
    const REGISTRIES: Entry = (
        "~/.config/containers/registries.conf, /etc/containers/registries.conf",
        "What short names stand for, mirrors, and registries that are blocked or insecure.",
    );
    const AUTH_FILE: Entry = (
        "REGISTRY_AUTH_FILE",
        "Stands for `--authfile` where that is not given.",
    );
    const PROXY: Entry = (
        "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
        "The proxies through which registries are asked; see coracle(1).",
    );
    const FAILED: Entry = ("125", "coracle itself failed.");
    const COMMAND: &[Entry] = &[
        ("125", "coracle itself failed, or an option is wrong."),
        (
            "126",
            "The command cannot be invoked: it is no program, or may not be run.",
        ),
        ("127", "The command was not found."),
        (
            "other",
            "The exit code of the command; 128 and the signal's number if that ended it.",
        ),
    ];
    const REMOVED: &[Entry] = &[
        ("0", "All is removed."),
        ("1", "Something was not there, and nothing else went wrong."),
        ("2", "Something is in use, or a container runs."),
        FAILED,
    ];
    const THERE: &[Entry] = &[("0", "It is there."), ("1", "It is not."), FAILED];
    let defaults = More::default();
    match name {
        "run" => More {
            files: &[REGISTRIES, AUTH],
            environment: &[
                (
                    "PODMAN_USERNS",
                    "Stands for `--userns` where that is not given.",
                ),
                AUTH_FILE,
                PROXY,
            ],
            exit_codes: COMMAND,
            also: &["volumes(7)", "ownership(7)"],
        },
        "create" => More {
            files: &[REGISTRIES, AUTH],
            environment: &[
                (
                    "PODMAN_USERNS",
                    "Stands for `--userns` where that is not given.",
                ),
                AUTH_FILE,
                PROXY,
            ],
            exit_codes: &[("0", "The container is made, and its id printed."), FAILED],
            also: &["volumes(7)", "ownership(7)"],
        },
        "exec" => More {
            exit_codes: COMMAND,
            ..defaults
        },
        "start" => More {
            exit_codes: &[
                ("125", "coracle itself failed."),
                (
                    "other",
                    "With `--attach`, the exit code of the container's command.",
                ),
            ],
            ..defaults
        },
        "rm" | "rmi" => More {
            exit_codes: REMOVED,
            ..defaults
        },
        "volume rm" => More {
            exit_codes: REMOVED,
            also: &["volumes(7)"],
            ..defaults
        },
        "container exists" | "image exists" | "manifest exists" => More {
            exit_codes: THERE,
            ..defaults
        },
        "volume exists" => More {
            exit_codes: THERE,
            also: &["volumes(7)"],
            ..defaults
        },
        "pull" | "push" | "search" | "manifest push" => More {
            files: &[REGISTRIES, AUTH],
            environment: &[AUTH_FILE, PROXY],
            ..defaults
        },
        "login" | "logout" => More {
            files: &[AUTH],
            environment: &[AUTH_FILE],
            ..defaults
        },
        "explain" => More {
            also: &["ownership(7)"],
            ..defaults
        },
        name if name.starts_with("volume ") => More {
            also: &["volumes(7)"],
            ..defaults
        },
        _ => defaults,
    }
}

fn group_page(group: &str, about: &str) -> String {
    let mut page = head(&title(group), about);
    let _ = writeln!(
        page,
        ".SH SYNOPSIS\n{} \\fIcommand\\fP",
        bold(&format!("coracle {group}"))
    );
    page.push_str(".SH COMMANDS\n");
    command_list(&mut page, group);
    see_also(&mut page, &[]);
    page
}

fn main_page() -> String {
    let mut page = head("coracle", help::ABOUT);
    page.push_str(".SH SYNOPSIS\n\\fBcoracle\\fP [\\fIoptions\\fP] \\fIcommand\\fP\n");
    section(&mut page, "DESCRIPTION", &DESCRIPTION.map(str::to_owned));
    page.push_str(".SH OPTIONS\n");
    help::global_options()
        .iter()
        .for_each(|it| option(&mut page, it));
    page.push_str(".SH COMMANDS\n");
    command_list(&mut page, "");
    for (name, entries) in [
        ("FILES", FILES),
        ("ENVIRONMENT", ENVIRONMENT),
        ("EXIT CODES", EXIT_CODES),
    ] {
        listed(&mut page, name, entries);
    }
    page.push_str(".SH SEE ALSO\n");
    for ours in ["volumes", "ownership", "migrating"] {
        let _ = write!(page, "\\fBcoracle\\-{ours}\\fP(7), ");
    }
    page.push_str(
        "\\fBnewuidmap\\fP(1), \\fBpasta\\fP(1), \\fBsubuid\\fP(5), \\fBuser_namespaces\\fP(7)\n",
    );
    page
}

const DESCRIPTION: [&str; 2] = [
    "coracle runs containers for a user who is not root. It has no daemon, and it takes the commands and the options of Podman.",
    "Images, containers and volumes are the caller's own files. What a container writes into a folder of the caller's belongs to the caller.",
];

const EXIT_CODES: &[(&str, &str)] = &[
    ("125", "coracle itself failed."),
    ("126", "The container's command cannot be invoked."),
    ("127", "The container's command was not found."),
    (
        "other",
        "`run`, `exec` and `start -a` leave with the exit code of the container's command.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "XDG_DATA_HOME",
        "Where images, containers and volumes are; ~/.local/share if it is not set.",
    ),
    (
        "XDG_CACHE_HOME",
        "Where that is which can be made again; ~/.cache if it is not set.",
    ),
    (
        "XDG_RUNTIME_DIR",
        "Where that is which lives only while something runs; /tmp/coracle-run-UID if it is not set.",
    ),
    (
        "CORACLE_SHIFT",
        "How an image's files get their owners under another id map than the default. `metadata`: by a layer without content over the image's (Linux 6.16). `reflink`: by files that share the image's blocks, where the file system can. `copy`: by copies. The first that works, if it is not set.",
    ),
    (
        "PODMAN_USERNS",
        "Stands for `--userns` of `run` and `create` where that is not given.",
    ),
    (
        "CORACLE_OWNERSHIP",
        "podman: a container's user is the caller only where `--userns` says so. default: it is so too where nothing is said, the user is not root, and a file or folder of the caller's is bound in.",
    ),
    (
        "CONTAINERS_CONF, CONTAINERS_CONF_OVERRIDE",
        "Files to read instead of the usual containers.conf(5), and after it.",
    ),
    (
        "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
        "The proxies through which registries are asked by HTTPS and by HTTP, and the hosts, domains, networks and ports that are asked without: as Go's programs read them, in small letters too. What is on this machine is asked without. A proxy is given as `http://` or `https://`, and must grant `CONNECT`.",
    ),
    (
        "REGISTRY_AUTH_FILE",
        "Stands for `--authfile` where that is not given.",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Certificates of authorities to trust instead of the machine's, and beside them.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "~/.local/share/coracle",
        "Images, containers and volumes. `coracle system reset` removes it.",
    ),
    (
        "~/.config/containers/containers.conf",
        "What options are where they are not given, as containers.conf(5) says. A key is heeded or refused by its name; one that is about a part which is not here means nothing. `ownership` under `[coracle]` is as CORACLE_OWNERSHIP. The files of /usr/share/containers and /etc/containers are read before it, and those in containers.conf.d after each.",
    ),
    (
        "~/.config/containers/certs.d/HOST:PORT, /etc/containers/certs.d/…, /etc/docker/certs.d/…",
        "For one registry, certificates of authorities (`*.crt`), and who we are to it (`*.cert`, `*.key`). The first folder that is there counts.",
    ),
    (
        "/etc/subuid, /etc/subgid",
        "The ids that containers may have beside the caller's own.",
    ),
];

fn head(title: &str, about: &str) -> String {
    let about = text(about);
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".TH {} 1 {DATE} \"coracle {version}\"\n.SH NAME\n{} \\- {about}\n",
        title.to_uppercase(),
        title.replace('-', "\\-"),
    )
}

fn section(page: &mut String, name: &str, paragraphs: &[String]) {
    let _ = writeln!(page, ".SH {name}");
    page.push_str(&self::paragraphs(paragraphs.iter().map(String::as_str)));
}

fn paragraphs<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<String> = all.map(prose).collect();
    all.join("\n.PP\n") + "\n"
}

fn option(page: &mut String, option: &Shown) {
    let mut names = bold(&format!("--{}", option.long));
    if let Some(short) = option.short {
        let _ = write!(names, ", {}", bold(&format!("-{short}")));
    }
    if let Some(value) = &option.value {
        let _ = write!(names, "=\\fI{}\\fP", text(value));
    }
    let _ = writeln!(page, ".SS {names}");
    let help = option.long_help.trim_end();
    let stop = if help.ends_with(['.', ')', ':']) {
        ""
    } else {
        "."
    };
    page.push_str(&paragraphs(format!("{help}{stop}").split("\n\n")));
    if let Some(default) = &option.default {
        let _ = writeln!(page, ".PP\nThe default is {}.", bold(default));
    }
}

fn command_list(page: &mut String, group: &str) {
    for (name, summary) in help::commands_of(group) {
        let full = format!("{group} {name}");
        let word = if name == "help" {
            bold("help")
        } else {
            format!("{}(1)", bold(&title(full.trim())))
        };
        let _ = writeln!(page, ".TP\n{word}\n{}.", prose(&summary));
    }
}

/// Pages as they are called: `coracle-volume(1)`.
fn see_also(page: &mut String, also: &[String]) {
    page.push_str(".SH SEE ALSO\n\\fBcoracle\\fP(1)");
    for (name, section) in also.iter().filter_map(|page| page.split_once('(')) {
        let _ = write!(page, ", {}({section}", bold(name));
    }
    page.push('\n');
}

fn bold(word: &str) -> String {
    format!("\\fB{}\\fP", text(word))
}

/// Operands: each word in italics, the brackets upright.
fn italic_words(words: &str) -> String {
    let mut page = String::new();
    for part in words.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_' && c != '-') {
        let (word, rest) = match part.char_indices().last() {
            Some((at, last)) if !last.is_alphanumeric() => part.split_at(at),
            _ => (part, ""),
        };
        if word.is_empty() {
            page.push_str(rest);
        } else {
            let _ = write!(page, "\\fI{}\\fP{rest}", text(word));
        }
    }
    page
}

/// A paragraph: what stands in backticks is bold, and each sentence begins a line
/// (man-pages(7)).
fn prose(words: &str) -> String {
    let mut page = String::new();
    for (number, part) in words.replace('\n', " ").split('`').enumerate() {
        if number % 2 == 1 {
            page.push_str(&bold(part));
        } else {
            page.push_str(&text(part).replace(". ", ".\n"));
        }
    }
    let lines = page.lines().map(|line| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `words` with what means something to roff made to mean itself.
fn text(words: &str) -> String {
    words
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roff_would_read_is_escaped() {
        assert_eq!(
            prose("Takes `--all`. A \\ too."),
            "Takes \\fB\\-\\-all\\fP.\nA \\e too."
        );
        assert_eq!(prose(".hidden"), "\\&.hidden");
        assert_eq!(
            italic_words("IMAGE [ARG...]"),
            "\\fIIMAGE\\fP [\\fIARG\\fP...]"
        );
    }
}
