//! `--userns`, `--uidmap`, `--gidmap`, `--subuidname`, `--subgidname`, and who is
//! written into the container's passwd and group.

use std::path::PathBuf;

use crate::cli::args::csv;
use crate::cli::args::host::{Host, Lookup};
use crate::container::options::AccountOptions;
use crate::error::{Error, Result};
use crate::userns::Mode;
use crate::userns::mode::{Mapping, nothing_mapped};

/// Flags of the user namespace a container is in.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Map these group ids: [+][u|g]CONTAINER:FROM[:COUNT]
    ///
    /// As --uidmap. One of the two alone stands for both, but for mappings marked u or g.
    #[arg(long, value_name = "MAPPING")]
    pub gidmap: Vec<String>,

    /// Line of a group that is added to /etc/group; $GROUPNAME, $GID and $USERLIST are filled in
    #[arg(long, value_name = "ENTRY")]
    pub group_entry: Option<String>,

    /// Add this user of the host to /etc/passwd
    #[arg(long, value_name = "USER")]
    pub hostuser: Vec<String>,

    /// Line of a user that is added to /etc/passwd
    ///
    /// $USERNAME, $UID, $GID, $NAME and $HOME are filled in.
    #[arg(long, value_name = "ENTRY")]
    pub passwd_entry: Option<String>,

    /// Map the group ids that /etc/subgid gives this name, from 0 on
    #[arg(long, value_name = "NAME")]
    pub subgidname: Option<String>,

    /// Map the user ids that /etc/subuid gives this name, from 0 on
    #[arg(long, value_name = "NAME")]
    pub subuidname: Option<String>,

    /// Map these user ids: [+][u|g]CONTAINER:FROM[:COUNT]
    ///
    /// FROM is 0 for the caller and 1 for the first subordinate id; @FROM is an id of
    /// the host's. + takes its ids away from the mappings before it, and where the
    /// first mapping has it, the ids that are left fill what is left of the container's.
    #[arg(long, value_name = "MAPPING")]
    pub uidmap: Vec<String>,

    /// User namespace: host, keep-id, auto, nomap, container:NAME or ns:PATH
    ///
    /// host is the caller's default id map: container root is the caller, and other ids
    /// are subordinate ids. keep-id[:uid=UID,gid=GID,size=SIZE] gives the caller their
    /// own ids in the container, or UID and GID. nomap leaves the caller out.
    /// auto[:size=SIZE,uidmapping=MAPPING,gidmapping=MAPPING] takes ids that no other
    /// such container has. Unless this is given, PODMAN_USERNS and then userns of
    /// containers.conf stand for it; where nothing is said and the image's user is not
    /// root, that user is the caller as soon as a folder of the caller's is bound in.
    #[arg(long, value_name = "MODE")]
    pub userns: Option<String>,
}

/// What the flags come to: the mode, and its text as `inspect` shows it.
pub type Asked = (Mode, Option<String>);

impl Args {
    pub fn mode(&self, host: &dyn Host, lookup: &dyn Lookup) -> Result<Asked> {
        let has_maps = !self.uidmap.is_empty() || !self.gidmap.is_empty();
        let has_names = self.subuidname.is_some() || self.subgidname.is_some();
        if (has_maps || has_names) && self.userns.is_some() {
            return Err(Error::usage(
                "--userns and --uidmap/--gidmap/--subuidname/--subgidname are mutually exclusive",
            ));
        }
        if (!self.uidmap.is_empty() && self.subuidname.is_some())
            || (!self.gidmap.is_empty() && self.subgidname.is_some())
        {
            return Err(Error::usage(
                "--subuidname and --uidmap, as --subgidname and --gidmap, are mutually exclusive",
            ));
        }
        if let Some(name) = self.subuidname.as_ref().or(self.subgidname.as_ref()) {
            if has_maps {
                return Err(Error::unsupported(
                    "--subuidname or --subgidname beside --uidmap or --gidmap",
                ));
            }
            let name = |given: &Option<String>| given.as_ref().unwrap_or(name).clone();
            let mode = Mode::Subordinate {
                uids: name(&self.subuidname),
                gids: name(&self.subgidname),
            };
            return Ok((mode, Some("private".into())));
        }
        if has_maps {
            return Ok((self.maps()?, Some("private".into())));
        }
        let configured;
        let asked = match (&self.userns, host.variable("PODMAN_USERNS")) {
            (Some(flag), _) => flag,
            (None, Some(variable)) if !variable.is_empty() => variable,
            _ => {
                configured = host.configured_userns()?;
                configured.as_deref().unwrap_or("")
            }
        };
        let text = Some(asked.to_owned()).filter(|text| !text.is_empty());
        // An empty flag is `host`; nothing at all leaves the choice to us.
        let mode = match (asked, &self.userns) {
            ("", Some(_)) => Mode::Host,
            ("", None) => Mode::Unsaid,
            _ => parse(asked, lookup)?,
        };
        Ok((mode, text))
    }

    fn maps(&self) -> Result<Mode> {
        let uids = split("UID", &csv::all("--uidmap", &self.uidmap)?, true)?;
        let gids = split("GID", &csv::all("--gidmap", &self.gidmap)?, true)?;
        // One kind alone stands for both, but for those marked otherwise.
        let for_users = |flagged: &Flagged, own: bool| flagged.users || (own && !flagged.groups);
        let for_groups = |flagged: &Flagged, own: bool| flagged.groups || (own && !flagged.users);
        let (copy_to_users, copy_to_groups) = (self.uidmap.is_empty(), self.gidmap.is_empty());
        let of = |wanted: &dyn Fn(&Flagged, bool) -> bool, from_uids: bool, from_gids: bool| {
            let uids = uids.iter().filter(|it| wanted(it, from_uids));
            let gids = gids.iter().filter(|it| wanted(it, from_gids));
            uids.chain(gids).map(|it| it.mapping).collect::<Vec<_>>()
        };
        let mode = Mode::Mapped {
            uids: of(&for_users, true, copy_to_users),
            gids: of(&for_groups, copy_to_groups, true),
        };
        let is_nothing = |all: &[Flagged]| {
            !all.is_empty() && all.iter().all(|flagged| flagged.mapping.count == 0)
        };
        if is_nothing(&uids) || is_nothing(&gids) {
            return Err(nothing_mapped());
        }
        Ok(mode)
    }

    /// What is written into /etc/passwd and /etc/group. `writes` is `--passwd`.
    pub fn accounts(&self, writes: bool) -> Result<AccountOptions> {
        Ok(AccountOptions {
            writes,
            host_users: csv::all("--hostuser", &self.hostuser)?,
            passwd_entry: self.passwd_entry.clone().filter(|text| !text.is_empty()),
            group_entry: self.group_entry.clone().filter(|text| !text.is_empty()),
        })
    }
}

/// A mode by its text, which is not empty.
fn parse(text: &str, lookup: &dyn Lookup) -> Result<Mode> {
    let unrecognized = || Error::usage(format!("unrecognized namespace mode {text} passed"));
    let (mode, value) = match text.split_once(':') {
        Some((mode, value)) => (mode, Some(value)),
        None => (text, None),
    };
    match (mode, value) {
        ("host", None) => Ok(Mode::Host),
        ("nomap", None) => Ok(Mode::NoMap),
        ("private", None) => Err(nothing_mapped()),
        ("keep-id", value) => keep_id(value.unwrap_or("")),
        ("auto", value) => auto(value.unwrap_or("")),
        ("container" | "ns", None | Some("")) => {
            let word = if mode == "ns" { "path" } else { mode };
            Err(Error::usage(format!(
                "invalid config provided: namespace mode {word} requires a value"
            )))
        }
        ("ns", Some(path)) => Ok(Mode::Path(PathBuf::from(path))),
        ("container", Some(name)) => lookup
            .container(name)
            .map(|neighbour| Mode::Container(neighbour.id))
            .map_err(|error| error.tried("looking up container to share user namespace with")),
        ("pod", None) => Err(Error::usage(
            "cannot use pod namespace as container is not joining a pod \
             or pod has no infra container: invalid argument",
        )),
        _ => Err(unrecognized()),
    }
}

fn keep_id(options: &str) -> Result<Mode> {
    let (mut uid, mut gid, mut size) = (None, None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let place = match name {
            "uid" => &mut uid,
            "gid" => &mut gid,
            "size" => &mut size,
            _ => return Err(Error::usage(format!("unknown option specified: {name:?}"))),
        };
        *place = Some(number(value)?);
    }
    if [uid, gid]
        .into_iter()
        .flatten()
        .any(|id| id > i32::MAX as u32)
    {
        return Err(Error::usage("uids and gids must be in range 0-2147483647"));
    }
    Ok(Mode::KeepId { uid, gid, size })
}

fn auto(options: &str) -> Result<Mode> {
    let (mut size, mut uids, mut gids) = (0, Vec::new(), Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => size = number(value)?,
            Some(("uidmapping", value)) => uids.push(value.to_owned()),
            Some(("gidmapping", value)) => gids.push(value.to_owned()),
            _ => {
                return Err(Error::usage(format!(
                    "invalid option specified: {option:?}"
                )));
            }
        }
    }
    let mappings = |kind, texts: &[String]| -> Result<Vec<Mapping>> {
        let flagged = split(kind, texts, false)?;
        Ok(flagged.into_iter().map(|it| it.mapping).collect())
    };
    Ok(Mode::Auto {
        size,
        uids: mappings("UID", &uids)?,
        gids: mappings("GID", &gids)?,
    })
}

/// As Go's ParseUint, in its words.
fn number(text: &str) -> Result<u32> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let why = if is_digits {
        "value out of range"
    } else {
        "invalid syntax"
    };
    let parsed = text.parse().ok().filter(|_| is_digits);
    parsed.ok_or_else(|| Error::usage(format!("strconv.ParseUint: parsing {text:?}: {why}")))
}

/// A mapping, and whether it is marked for users or groups.
struct Flagged {
    mapping: Mapping,
    users: bool,
    groups: bool,
}

/// `[+ug]CONTAINER:[@]FROM[:COUNT]`; the marks only where `marked`.
fn split(kind: &str, texts: &[String], marked: bool) -> Result<Vec<Flagged>> {
    let malformed = |text: &str| {
        Error::usage(match marked {
            true => format!(
                "initializing ID mappings: {kind} setting is malformed expected [\"[+ug]uint32:[@]uint32[:uint32]\"] : [{text:?}]"
            ),
            false => format!(
                "initializing ID mappings: {kind} setting is malformed expected [\"uint32:[@]uint32[:uint32]\"] : {text:?}"
            ),
        })
    };
    let id = |text: &str| {
        number(text).map_err(|error| error.tried(format_args!("parsing id map value {text:?}")))
    };
    let mut all = Vec::new();
    for text in texts {
        let parts: Vec<&str> = text.split(':').collect();
        let (first, from, count) = match parts[..] {
            [first, from] => (first, from, "1"),
            [first, from, count] => (first, from, count),
            _ => return Err(malformed(text)),
        };
        let digits = first.trim_start_matches(|c: char| !c.is_ascii_digit());
        let marks = &first[..first.len() - digits.len()];
        if !marked && !marks.is_empty() {
            return Err(malformed(text));
        }
        for mark in marks.chars() {
            if !"+ug".contains(mark) {
                return Err(Error::usage(format!(
                    "invalid mapping: [{}]. Unknown flag {}",
                    parts.join(" "),
                    u32::from(mark)
                )));
            }
        }
        let of_host = from.starts_with('@');
        all.push(Flagged {
            mapping: Mapping {
                inside: id(digits)?,
                outside: id(from.trim_start_matches('@'))?,
                count: id(count)?,
                of_host,
                extends: marks.contains('+'),
            },
            users: marks.contains('u'),
            groups: marks.contains('g'),
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::tests::Fake;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn mode_with(flags: &[&str], host: &Fake) -> Result<Mode, String> {
        let line = std::iter::once("x").chain(flags.iter().copied());
        let args = <Line as clap::Parser>::try_parse_from(line).unwrap().args;
        let asked = args.mode(host, host);
        asked
            .map(|(mode, _)| mode)
            .map_err(|error| error.to_string())
    }

    fn mode(flags: &[&str]) -> Result<Mode, String> {
        mode_with(flags, &Fake::default())
    }

    fn keep(uid: Option<u32>, gid: Option<u32>, size: Option<u32>) -> Result<Mode, String> {
        Ok(Mode::KeepId { uid, gid, size })
    }

    #[test]
    fn modes() {
        assert_eq!(mode(&[]), Ok(Mode::Unsaid));
        assert_eq!(mode(&["--userns="]), Ok(Mode::Host));
        assert_eq!(mode(&["--userns=host"]), Ok(Mode::Host));
        assert_eq!(mode(&["--userns=nomap"]), Ok(Mode::NoMap));
        assert_eq!(mode(&["--userns=keep-id"]), keep(None, None, None));
        assert_eq!(mode(&["--userns=keep-id:"]), keep(None, None, None));
        assert_eq!(
            mode(&["--userns=keep-id:uid=200,uid=300,gid=1,size=9"]),
            keep(Some(300), Some(1), Some(9))
        );
        assert_eq!(mode(&["--userns=ns:/x"]), Ok(Mode::Path("/x".into())));
    }

    #[test]
    fn what_is_said_elsewhere() {
        let host = Fake::with_env(&[("PODMAN_USERNS", "keep-id")]);
        assert_eq!(mode_with(&[], &host), keep(None, None, None));
        assert_eq!(mode_with(&["--userns=nomap"], &host), Ok(Mode::NoMap));
        assert_eq!(mode_with(&["--userns="], &host), Ok(Mode::Host));
        let configured = Fake {
            userns: Some("keep-id:uid=5".into()),
            ..Fake::default()
        };
        assert_eq!(mode_with(&[], &configured), keep(Some(5), None, None));
        assert_eq!(mode_with(&["--userns="], &configured), Ok(Mode::Host));
    }

    #[test]
    fn what_cannot_be_is_said_in_podmans_words() {
        for (flags, why) in [
            (
                &["--userns=bogus"][..],
                "unrecognized namespace mode bogus passed",
            ),
            (
                &["--userns=host:x"],
                "unrecognized namespace mode host:x passed",
            ),
            (
                &["--userns=nomap:x"],
                "unrecognized namespace mode nomap:x passed",
            ),
            (
                &["--userns=private"],
                "must provide at least one UID or GID mapping to configure a user namespace",
            ),
            (
                &["--userns=keep-id:uid=x"],
                "strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                &["--userns=keep-id:foo=1"],
                "unknown option specified: \"foo\"",
            ),
            (
                &["--userns=keep-id:uid=4294967295"],
                "uids and gids must be in range 0-2147483647",
            ),
            (&["--userns=auto:x"], "invalid option specified: \"x\""),
            (
                &["--userns=auto:uidmapping=x"],
                "initializing ID mappings: UID setting is malformed expected [\"uint32:[@]uint32[:uint32]\"] : \"x\"",
            ),
            (
                &["--userns=container:"],
                "invalid config provided: namespace mode container requires a value",
            ),
            (
                &["--userns=container:nope"],
                "looking up container to share user namespace with: \
                 no container with name or ID \"nope\" found: no such container",
            ),
            (
                &["--userns=keep-id", "--uidmap=0:0:1"],
                "--userns and --uidmap/--gidmap/--subuidname/--subgidname are mutually exclusive",
            ),
            (
                &["--uidmap=0"],
                "initializing ID mappings: UID setting is malformed expected [\"[+ug]uint32:[@]uint32[:uint32]\"] : [\"0\"]",
            ),
            (
                &["--uidmap=q0:0:1"],
                "invalid mapping: [q0 0 1]. Unknown flag 113",
            ),
            (
                &["--gidmap=0:0:-1"],
                "parsing id map value \"-1\": strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            (
                &["--uidmap=0:0:0"],
                "must provide at least one UID or GID mapping to configure a user namespace",
            ),
        ] {
            assert_eq!(mode(flags).unwrap_err(), why, "{flags:?}");
        }
    }

    #[test]
    fn one_map_alone_stands_for_both() {
        let shown = |flags: &[&str]| match mode(flags).unwrap() {
            Mode::Mapped { uids, gids } => {
                let show = |all: Vec<Mapping>| {
                    all.iter()
                        .map(|it| {
                            format!(
                                "{}{}:{}{}:{}",
                                if it.extends { "+" } else { "" },
                                it.inside,
                                if it.of_host { "@" } else { "" },
                                it.outside,
                                it.count
                            )
                        })
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                format!("{} | {}", show(uids), show(gids))
            }
            other => format!("{other:?}"),
        };
        for (flags, both) in [
            (&["--uidmap=0:1:9"][..], "0:1:9 | 0:1:9"),
            (&["--gidmap=0:1"], "0:1:1 | 0:1:1"),
            (&["--uidmap=0:0:9", "--gidmap=0:1:9"], "0:0:9 | 0:1:9"),
            (&["--uidmap=u0:0:9"], "0:0:9 | "),
            (&["--gidmap=g0:0:9"], " | 0:0:9"),
            (&["--uidmap=ug0:0:9"], "0:0:9 | 0:0:9"),
            (
                &["--gidmap=0:0:1000", "--gidmap=g2000:2000:1"],
                "0:0:1000 | 0:0:1000 2000:2000:1",
            ),
            (&["--gidmap=+g100000:@2000"], " | +100000:@2000:1"),
            (&["--uidmap=0:0:1,5:5:1"], "0:0:1 5:5:1 | 0:0:1 5:5:1"),
        ] {
            assert_eq!(shown(flags), both, "{flags:?}");
        }
    }
}
