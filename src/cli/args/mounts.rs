//! `-v`, `--mount`, `--tmpfs`, `--volumes-from` and an image's VOLUMEs, to the
//! container's mount table.

use std::path::{Path, PathBuf};

use crate::cli::args::csv;
use crate::cli::args::host::{Host, Lookup, clean, matches_pattern};
use crate::cli::args::number;
use crate::container::options::{Mount, MountKind, no_idmap};
use crate::error::{Error, Result, words};
use crate::id::Name;

/// Flags of what is mounted.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Mount a folder, a file or a volume
    ///
    /// SOURCE is a path if it begins with / or a dot, else the name of a volume,
    /// which is made if there is none. With a destination alone the volume is
    /// anonymous and goes with the container (--rm, rm --volumes). OPTIONS are, with
    /// commas: ro or rw; z or Z (accepted, there is no SELinux); U, give it to the
    /// container's user; O, throw changes away when the container ends
    /// (O,upperdir=DIR,workdir=DIR keeps them); copy or nocopy, fill a new volume
    /// from the image; [no]exec, [no]suid, [no]dev; bind or rbind; [r]shared,
    /// [r]slave, [r]private, [r]unbindable; idmap, keep the default id map.
    #[arg(short, long, value_name = "[SOURCE:]DESTINATION[:OPTIONS]")]
    pub volume: Vec<String>,

    /// Mount something, in key=value form
    ///
    /// type is bind, volume (the default), tmpfs, ramfs, devpts, image or glob; src
    /// what is mounted, dst where. Further, with commas: ro[=true|false], U[=true],
    /// relabel=shared|private, [no]exec, [no]suid, [no]dev and a propagation for all;
    /// bind-propagation= and bind-nonrecursive for bind and glob; subpath= for volume
    /// and image; rw=true for image; tmpfs-size=, tmpfs-mode= and notmpcopyup for
    /// tmpfs; uid=, gid=, mode= and max= for devpts.
    #[arg(long, value_name = "type=TYPE,KEY=VALUE…")]
    pub mount: Vec<String>,

    /// Mount a tmpfs
    ///
    /// It begins with what the image has there, unless notmpcopyup is among OPTIONS.
    /// Others are size=, mode=, ro, [no]exec, [no]suid, [no]dev, noatime, U.
    #[arg(long, value_name = "DESTINATION[:OPTIONS]")]
    pub tmpfs: Vec<String>,

    /// Mount the folders and volumes that another container has
    ///
    /// OPTIONS are ro or rw, and z; without them each is mounted as it is there.
    #[arg(long, value_name = "CONTAINER[:OPTIONS]")]
    pub volumes_from: Vec<String>,

    /// What becomes of the VOLUMEs of the image
    ///
    /// anonymous: each is a volume that goes with the container. tmpfs: each is a
    /// tmpfs. ignore: none is mounted.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "anonymous",
        hide_default_value = true
    )]
    pub image_volume: String,

    /// Mount the root file system read-only
    #[arg(long)]
    pub read_only: bool,

    /// With --read-only, mount a tmpfs at /dev, /dev/shm, /run, /tmp and /var/tmp
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    pub read_only_tmpfs: bool,
}

impl Args {
    /// The mount table, parents before what lies in them. `volumes` are the image's.
    pub fn mounts(
        &self,
        volumes: &[String],
        host: &dyn Host,
        lookup: &dyn Lookup,
    ) -> Result<Vec<Mount>> {
        let mut asked: Vec<Mount> = Vec::new();
        for text in &self.mount {
            for mount in parse_mount(text, host, lookup)? {
                if asked.iter().any(|it| it.destination == mount.destination) {
                    return Err(duplicate(&mount));
                }
                asked.push(mount);
            }
        }
        for text in &self.volume {
            add(&mut asked, parse_volume(text, host)?)?;
        }
        for text in &self.tmpfs {
            add(&mut asked, parse_tmpfs(text)?)?;
        }
        // Before those asked for come those of other containers, the last named
        // first, and then the image's own.
        let mut lent: Vec<Mount> = Vec::new();
        for text in &self.volumes_from {
            for mount in volumes_from(text, lookup)? {
                lent.retain(|it| it.destination != mount.destination);
                lent.push(mount);
            }
        }
        let of_image = image_volumes(&self.image_volume, volumes)?;
        for mount in lent.into_iter().chain(of_image) {
            if !asked.iter().any(|it| it.destination == mount.destination) {
                asked.push(mount);
            }
        }
        asked.sort_by(|a, b| {
            depth(a)
                .cmp(&depth(b))
                .then(a.destination.cmp(&b.destination))
        });
        Ok(asked)
    }
}

/// Whether the sources of binds are there, in Podman's words. Not pure.
pub fn check_sources(mounts: &[Mount]) -> Result<()> {
    let missing = |path: &Path| {
        let error = path.metadata().err()?;
        let shown = path.display();
        let said = Error::usage(format!("statfs {shown}: {}", words(&error)));
        Some(match error.kind() {
            std::io::ErrorKind::NotFound => said.hint(format!("`mkdir -p {shown}` makes it")),
            std::io::ErrorKind::PermissionDenied => said.hint(format!(
                "you may not look there yourself: `namei -l {shown}` shows which folder says no"
            )),
            _ => said,
        })
    };
    for mount in mounts {
        let error = match &mount.kind {
            MountKind::Bind { source } => missing(source),
            MountKind::Overlay {
                source,
                upper,
                work,
            } => [Some(source), upper.as_ref(), work.as_ref()]
                .into_iter()
                .flatten()
                .find_map(|path| missing(path)),
            _ => None,
        };
        if let Some(error) = error {
            return Err(error);
        }
    }
    Ok(())
}

fn depth(mount: &Mount) -> usize {
    mount.destination.components().count()
}

/// Adds a mount, unless the same is there already.
fn add(mounts: &mut Vec<Mount>, mount: Mount) -> Result<()> {
    match mounts.iter().find(|it| it.destination == mount.destination) {
        None => mounts.push(mount),
        Some(there) if is_same(there, &mount) => {}
        Some(_) => return Err(duplicate(&mount)),
    }
    Ok(())
}

/// Whether two mounts are alike, but for the names of anonymous volumes.
fn is_same(a: &Mount, b: &Mount) -> bool {
    let mut b = b.clone();
    if let (
        MountKind::Volume {
            name,
            anonymous: true,
            ..
        },
        MountKind::Volume {
            name: other,
            anonymous: true,
            ..
        },
    ) = (&a.kind, &mut b.kind)
    {
        other.clone_from(name);
    }
    *a == b
}

fn duplicate(mount: &Mount) -> Error {
    Error::usage(format!(
        "{}: duplicate mount destination",
        mount.destination.display()
    ))
}

/// A mount whose options are still as they were given.
struct Draft {
    kind: MountKind,
    destination: PathBuf,
    given: Vec<String>,
    subpath: Option<PathBuf>,
}

impl Draft {
    fn new(kind: MountKind, destination: PathBuf, given: Vec<String>) -> Self {
        Self {
            kind,
            destination,
            given,
            subpath: None,
        }
    }

    /// The mount, with Podman's defaults where the options leave room for them.
    fn finish(self) -> Mount {
        let Self {
            kind,
            destination,
            given,
            subpath,
        } = self;
        let has = |words: &[&str]| given.iter().any(|it| words.contains(&it.as_str()));
        let mut defaults: Vec<&str> = Vec::new();
        let (is_bind, is_volume, is_tmpfs) = (
            matches!(kind, MountKind::Bind { .. }),
            matches!(kind, MountKind::Volume { .. }),
            matches!(kind, MountKind::Tmpfs { .. }),
        );
        if (is_bind || is_volume || is_tmpfs) && !has(&PROPAGATIONS) {
            defaults.push(if has(&["bind"]) {
                "private"
            } else {
                "rprivate"
            });
        }
        if is_volume || is_tmpfs {
            if !has(&["nosuid", "suid"]) {
                defaults.push("nosuid");
            }
            if !has(&["nodev", "dev"]) {
                defaults.push("nodev");
            }
        }
        if (is_bind || is_volume) && !has(&["bind", "rbind"]) {
            defaults.push("rbind");
        }
        if is_tmpfs && !has(&["tmpcopyup", "notmpcopyup"]) {
            defaults.push("tmpcopyup");
        }
        let (read_only, chown) = (has(&["ro"]), has(&["U"]));
        let options: Vec<String> = given
            .into_iter()
            .filter(|it| !["notmpcopyup", "cached", "delegated"].contains(&it.as_str()))
            .chain(defaults.into_iter().map(str::to_owned))
            .collect();
        Mount {
            kind,
            destination,
            read_only,
            options,
            chown,
            subpath,
        }
    }
}

const PROPAGATIONS: [&str; 8] = [
    "shared",
    "rshared",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
];

/// One value of `--volume`.
fn parse_volume(text: &str, host: &dyn Host) -> Result<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, options) = match parts[..] {
        [destination] => (None, destination, None),
        [source, destination] => (Some(source), destination, None),
        [source, destination, options] => (Some(source), destination, Some(options)),
        _ => {
            return Err(Error::usage(format!(
                "{text}: incorrect volume format, should be [host-dir:]ctr-dir[:option]"
            )));
        }
    };
    if source == Some("") {
        return Err(Error::usage("host directory cannot be empty"));
    }
    let given: Vec<String> = options
        .map(|options| options.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    check_volume_options(&given)?;
    let destination = absolute_destination(destination)?;
    match source {
        Some(source) if source.starts_with(['/', '.']) => {
            let source = host.absolute(source);
            if given.iter().any(|it| it == "O") {
                return overlay(source, destination, given, host);
            }
            if let Some(word) = given
                .iter()
                .find(|it| it.starts_with("upperdir") || it.starts_with("workdir"))
            {
                return Err(unknown_option(word));
            }
            Ok(Draft::new(MountKind::Bind { source }, destination, given).finish())
        }
        _ => {
            if let Some(word) = given
                .iter()
                .find(|it| it.starts_with("upperdir") || it.starts_with("workdir"))
            {
                return Err(unknown_option(word));
            }
            let kind = volume(source, !given.iter().any(|it| it == "nocopy"))?;
            Ok(Draft::new(kind, destination, given).finish())
        }
    }
}

/// A volume by its name, or an anonymous one.
fn volume(name: Option<&str>, copy: bool) -> Result<MountKind> {
    let parsed = match name {
        None => Name::random(),
        Some(name) => name.parse::<Name>().map_err(|error| {
            let error = error.tried(format_args!(
                "creating named volume {name:?}: running volume create option"
            ));
            if name.starts_with('~') {
                error.hint("the shell replaces ~ only where a word begins: use $HOME")
            } else if name.contains('/') {
                error.hint("a path begins with / or with ./")
            } else {
                error
            }
        })?,
    };
    Ok(MountKind::Volume {
        name: parsed,
        anonymous: name.is_none(),
        copy,
    })
}

fn overlay(
    source: PathBuf,
    destination: PathBuf,
    given: Vec<String>,
    host: &dyn Host,
) -> Result<Mount> {
    let folder = |key: &str| {
        given
            .iter()
            .find_map(|it| it.strip_prefix(key))
            .map(|path| host.absolute(path))
    };
    let (upper, work) = (folder("upperdir="), folder("workdir="));
    let others = given.iter().filter(|it| *it != "O").count();
    match (&upper, &work) {
        (Some(_), Some(_)) if others == 2 => {}
        (None, None) if others == 0 || (others == 1 && given.iter().any(|it| it == "U")) => {}
        (Some(_), None) | (None, Some(_)) => {
            return Err(Error::usage("must set both `upperdir` and `workdir`"));
        }
        _ => return Err(Error::usage("can't use 'O' with other options")),
    }
    let kind = MountKind::Overlay {
        source,
        upper,
        work,
    };
    Ok(Draft::new(kind, destination, given).finish())
}

/// Words of which a mount has at most one, and how Podman says so.
const ALTERNATIVES: [(&[&str], &str); 10] = [
    (&["noexec", "exec"], "1 'noexec' or 'exec' option"),
    (&["nodev", "dev"], "1 'nodev' or 'dev' option"),
    (&["nosuid", "suid"], "1 'nosuid' or 'suid' option"),
    (&["rw", "ro"], "1 'rw' or 'ro' option"),
    (&["z", "Z", "O"], "1 'z', 'Z', or 'O' option"),
    (&["U"], "1 'U' option"),
    (
        &PROPAGATIONS,
        "1 '[r]shared', '[r]private', '[r]slave' or '[r]unbindable' option",
    ),
    (&["bind", "rbind"], "1 '[r]bind' option"),
    (&["copy", "nocopy"], "1 'copy' or 'nocopy' option"),
    (&["idmap"], "1 'idmap' option"),
];

/// The options of a bind or volume: each known, no two that exclude each other.
fn check_volume_options(given: &[String]) -> Result<()> {
    let mut counts = [0; ALTERNATIVES.len()];
    let mut folders = [("upperdir", 0), ("workdir", 0)];
    for option in given {
        if let Some((name, count)) = folders.iter_mut().find(|(name, _)| {
            option
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        }) {
            *count += 1;
            if *count > 1 {
                return Err(Error::usage(format!(
                    "invalid options {:?}, can only specify 1 {name} per overlay",
                    given.join(", ")
                )));
            }
            continue;
        }
        check_possible(option)?;
        if ["cached", "delegated"].contains(&option.as_str()) {
            continue;
        }
        let Some(group) = ALTERNATIVES
            .iter()
            .position(|(words, _)| words.contains(&option.as_str()))
        else {
            return Err(Error::usage(format!("invalid option type {option:?}")));
        };
        counts[group] += 1;
        if counts[group] > 1 {
            return Err(Error::usage(format!(
                "invalid options {:?}, can only specify {}",
                given.join(", "),
                ALTERNATIVES[group].1
            )));
        }
    }
    Ok(())
}

/// Refuses, with the reason, what Podman takes and we cannot do. `idmap` alone asks for
/// nothing where the container has the default map: that is known later.
fn check_possible(option: &str) -> Result<()> {
    match option.split_once('=').map_or(option, |(name, _)| name) {
        "idmap" if option != "idmap" => Err(no_idmap()),
        "no-dereference" => Err(Error::unsupported("mount option no-dereference")),
        _ => Ok(()),
    }
}

fn unknown_option(word: &str) -> Error {
    invalid_option(format!("unknown mount option {word:?}"))
}

fn invalid_option(why: impl std::fmt::Display) -> Error {
    Error::usage(format!("{why}: invalid mount option"))
}

fn argument_missing(why: impl std::fmt::Display) -> Error {
    Error::usage(format!("{why}: must provide an argument for option"))
}

/// A destination, clean. The root itself is refused: nothing could start there.
fn absolute_destination(text: &str) -> Result<PathBuf> {
    if text.is_empty() {
        return Err(Error::usage("container directory cannot be empty"));
    }
    if !text.starts_with('/') {
        return Err(Error::usage(format!(
            "invalid container path {text:?}, must be an absolute path"
        )));
    }
    let path = clean(Path::new(text));
    if path == Path::new("/") {
        return Err(Error::usage(format!(
            "invalid container path {text:?}, must not be the container's root"
        )));
    }
    Ok(path)
}

/// One value of `--tmpfs`.
fn parse_tmpfs(text: &str) -> Result<Mount> {
    let (destination, options) = match text.split_once(':') {
        Some((destination, options)) => (destination, Some(options)),
        None => (text, None),
    };
    let destination = absolute_destination(destination)?;
    let given = options
        .map(|options| options.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    tmpfs(destination, given)
}

/// A tmpfs of these options, each checked.
fn tmpfs(destination: PathBuf, given: Vec<String>) -> Result<Mount> {
    const ONCE: [(&[&str], &str); 6] = [
        (&["rw", "ro"], "only one of 'rw' and 'ro' can be used"),
        (
            &["exec", "noexec"],
            "only one of 'noexec' and 'exec' can be used",
        ),
        (
            &["dev", "nodev"],
            "only one of 'nodev' and 'dev' can be used",
        ),
        (
            &["suid", "nosuid"],
            "only one of 'nosuid' and 'suid' can be used",
        ),
        (
            &["tmpcopyup", "notmpcopyup"],
            "the 'tmpcopyup' or 'notmpcopyup' option can only be set once",
        ),
        (&PROPAGATIONS, "only one root propagation mode can be used"),
    ];
    let mut counts = [0; ONCE.len()];
    let mut own: Vec<String> = Vec::new();
    let twice = |why: &str| Error::usage(format!("{why}: duplicate mount option passed"));
    for option in &given {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "size" | "mode" if option.contains('=') => {
                if own.iter().any(|it| it.starts_with(name)) {
                    return Err(twice(&format!("only one tmpfs {name} can be specified")));
                }
                let is_good = if name == "size" {
                    is_tmpfs_size(value)
                } else {
                    is_octal(value)
                };
                if !is_good {
                    return Err(invalid_option(format!("invalid tmpfs {name} {value:?}")));
                }
                own.push(option.clone());
            }
            "z" | "Z" => {
                return Err(invalid_option(
                    "the 'z' and 'Z' options are not allowed with tmpfs mounts",
                ));
            }
            "bind" | "rbind" => {
                return Err(invalid_option(
                    "the 'bind' and 'rbind' options are not allowed with tmpfs mounts",
                ));
            }
            "noswap" => {
                return Err(invalid_option(
                    "the 'noswap' option is only allowed with rootful tmpfs mounts",
                ));
            }
            "idmap" => check_possible(option)?,
            "U" | "noatime" if !option.contains('=') => {}
            _ => {
                let Some(group) = ONCE
                    .iter()
                    .position(|(words, _)| words.contains(&option.as_str()))
                else {
                    return Err(unknown_option(option));
                };
                counts[group] += 1;
                if counts[group] > 1 {
                    return Err(twice(ONCE[group].1));
                }
            }
        }
    }
    let kind = MountKind::Tmpfs {
        options: own,
        copy_up: !given.iter().any(|it| it == "notmpcopyup"),
    };
    Ok(Draft::new(kind, destination, given).finish())
}

/// What tmpfs(5) takes as a size: bytes, with a unit or as a part of the memory.
fn is_tmpfs_size(text: &str) -> bool {
    let digits = text
        .strip_suffix(|c: char| "kKmMgGtTpPeE%".contains(c))
        .unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_octal(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b))
}

/// Types of `--mount`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Bind,
    Volume,
    Tmpfs,
    Ramfs,
    Devpts,
    Image,
    Glob,
}

impl Type {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "bind" => Self::Bind,
            "volume" => Self::Volume,
            "tmpfs" => Self::Tmpfs,
            "ramfs" => Self::Ramfs,
            "devpts" => Self::Devpts,
            "image" => Self::Image,
            "glob" => Self::Glob,
            "artifact" => return Err(Error::unsupported("--mount type=artifact")),
            _ => return Err(Error::usage(format!("invalid filesystem type {text:?}"))),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Ramfs => "ramfs",
            Self::Devpts => "devpts",
            Self::Image => "image",
            Self::Glob => "glob",
        }
    }

    fn is_bind(self) -> bool {
        matches!(self, Self::Bind | Self::Glob)
    }
}

/// One value of `--mount`: more than one mount where it is a glob.
fn parse_mount(text: &str, host: &dyn Host, lookup: &dyn Lookup) -> Result<Vec<Mount>> {
    let mut fields = csv::fields(text).map_err(Error::usage)?;
    if fields.is_empty() {
        return Err(Error::usage(
            "incorrect mount format: should be --mount \
             type=<bind|glob|tmpfs|volume>,[src=<host-dir|volume-name>,]target=<ctr-dir>[,options]",
        ));
    }
    let kind = match fields.iter().position(|field| field.starts_with("type=")) {
        Some(at) => Type::parse(&fields.remove(at)["type=".len()..])?,
        None => Type::Volume,
    };
    let said = Said::read(kind, &fields)?;
    let destination = match &said.destination {
        Some(destination) => Some(absolute_destination(destination)?),
        None if kind == Type::Glob => None,
        None if kind == Type::Image => {
            return Err(Error::usage(
                "must set source and destination for image volume",
            ));
        }
        None => return Err(Error::usage("must set volume destination")),
    };
    if kind == Type::Glob {
        return glob(said, destination, host);
    }
    let destination = destination.expect("only a glob goes without");
    let draft = match kind {
        Type::Bind | Type::Glob => {
            let source = match &said.source {
                Some(source) => host.absolute(source),
                None => destination.clone(),
            };
            check_volume_options(&said.given)?;
            Draft::new(MountKind::Bind { source }, destination, said.given)
        }
        Type::Volume => {
            check_volume_options(&said.given)?;
            let kind = volume(said.source.as_deref(), true)?;
            Draft::new(kind, destination, said.given)
        }
        Type::Tmpfs => return Ok(vec![tmpfs(destination, said.given)?]),
        Type::Ramfs => {
            let kind = MountKind::Ramfs {
                options: Vec::new(),
            };
            Draft::new(kind, destination, said.given)
        }
        Type::Devpts => {
            let kind = MountKind::Devpts {
                options: said.given.clone(),
            };
            Draft::new(kind, destination, said.given)
        }
        Type::Image => {
            let Some(source) = &said.source else {
                return Err(Error::usage(
                    "must set source and destination for image volume",
                ));
            };
            if let Some(path) = &said.subpath
                && !path.starts_with('/')
            {
                return Err(Error::usage(format!(
                    "volume subpath {path:?} must be an absolute path"
                )));
            }
            let (id, name) = lookup.image(source)?;
            let writable = said.writable;
            let kind = MountKind::Image {
                id,
                name,
                writable,
                layers: None,
            };
            Draft::new(kind, destination, Vec::new())
        }
    };
    let mut mount = draft.finish();
    mount.subpath = said
        .subpath
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    if let MountKind::Image { writable, .. } = mount.kind {
        mount.read_only = !writable;
    }
    Ok(vec![mount])
}

/// A bind for each path that the source matches.
fn glob(said: Said, destination: Option<PathBuf>, host: &dyn Host) -> Result<Vec<Mount>> {
    check_volume_options(&said.given)?;
    let pattern = said.source.unwrap_or_default();
    let none = || Error::usage(format!("no file paths matching glob {pattern:?}"));
    if matches_pattern(&pattern, "").is_none() {
        return Err(Error::usage("syntax error in pattern"));
    }
    if pattern.is_empty() {
        return Err(none());
    }
    let absolute = host.absolute(&pattern);
    let paths = host.matching(absolute.to_str().expect("made of two texts"));
    if paths.is_empty() {
        return Err(none());
    }
    Ok(paths
        .into_iter()
        .map(|source| {
            let destination = match (&destination, source.file_name()) {
                (Some(dir), Some(name)) => dir.join(name),
                _ => source.clone(),
            };
            Draft::new(MountKind::Bind { source }, destination, said.given.clone()).finish()
        })
        .collect())
}

/// What the fields of a `--mount` say.
#[derive(Default)]
struct Said {
    source: Option<String>,
    destination: Option<String>,
    subpath: Option<String>,
    /// `rw=true` of an image.
    writable: bool,
    /// The other options, in the words of `--volume`.
    given: Vec<String>,
}

impl Said {
    fn read(kind: Type, fields: &[String]) -> Result<Self> {
        let mut said = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for field in fields {
            let (name, value) = match field.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (field.as_str(), None),
            };
            if !is_known(kind, name) {
                return Err(invalid_option(name));
            }
            said.field(kind, field, name, value, &mut seen)?;
        }
        Ok(said)
    }

    fn field(
        &mut self,
        kind: Type,
        field: &str,
        name: &str,
        value: Option<&str>,
        seen: &mut Vec<&'static str>,
    ) -> Result<()> {
        let given = &mut self.given;
        let mut once = |key: &'static str, words: &str| {
            if seen.contains(&key) {
                return Err(argument_missing(format!(
                    "cannot pass {words} more than once"
                )));
            }
            seen.push(key);
            Ok(())
        };
        let unsupported = || {
            Error::usage(format!(
                "{name:?} option not supported for {:?} mount types",
                kind.name()
            ))
        };
        match name {
            "src" | "source" => {
                if kind == Type::Tmpfs {
                    return Err(unsupported());
                }
                once("src", &format!("{name:?} option"))?;
                match value {
                    None => return Err(argument_missing(name)),
                    Some("") => return Err(argument_missing("host directory cannot be empty")),
                    Some(value) => self.source = Some(value.to_owned()),
                }
            }
            "target" | "dst" | "destination" => {
                once("dst", &format!("{name:?} option"))?;
                match value {
                    None => return Err(argument_missing(name)),
                    Some("") => return Err(Error::usage("container directory cannot be empty")),
                    Some(value) => self.destination = Some(value.to_owned()),
                }
            }
            // Docker's words that say nothing to Podman.
            "consistency" | "volume-opt" if kind != Type::Devpts => {
                if name == "volume-opt" && kind != Type::Volume {
                    return Err(unsupported());
                }
            }
            "rw" | "readwrite" if kind == Type::Image => {
                self.writable = match value {
                    Some("true") => true,
                    Some("false") => false,
                    _ => {
                        return Err(invalid_option(format!(
                            "invalid rw value {:?}",
                            value.unwrap_or("")
                        )));
                    }
                };
            }
            "subpath" | "volume-subpath" => match (kind, value) {
                (Type::Volume | Type::Image, Some(value)) => self.subpath = Some(value.to_owned()),
                (Type::Volume | Type::Image, None) => return Err(argument_missing(name)),
                _ => {
                    return Err(Error::usage(format!(
                        "cannot set option {name:?} on non-volume mounts"
                    )));
                }
            },
            "uid" | "gid" | "mode" | "max" => given.push(field.to_owned()),
            "ro" | "readonly" | "rw" => {
                once("ro", "'readonly', 'ro', or 'rw' mnt.Options")?;
                // Podman takes any other value for "not read-only": we do not.
                let is = match value {
                    None => true,
                    Some(value) => number::boolean(&value.to_ascii_lowercase()).map_err(|_| {
                        argument_missing(format!(
                            "'{name}' must be set to true or false, instead received {value:?}"
                        ))
                    })?,
                };
                match (name, is, value) {
                    ("rw", true, _) => given.push("rw".into()),
                    ("rw", false, _) | (_, true, _) => given.push("ro".into()),
                    (_, false, _) => {}
                }
            }
            "U" | "chown" => {
                once("U", "'U' or 'chown' option")?;
                match value.map(str::to_ascii_lowercase).as_deref() {
                    None | Some("true") => given.push("U".into()),
                    Some("false") => {}
                    Some(_) => {
                        return Err(argument_missing(format!(
                            "'U' or 'chown' must be set to true or false, instead received {:?}",
                            value.unwrap_or("")
                        )));
                    }
                }
            }
            "relabel" => {
                once("relabel", "'relabel' option")?;
                given.push(match value {
                    Some("shared") => "z".into(),
                    Some("private") => "Z".into(),
                    _ => {
                        return Err(invalid_option(
                            "relabel mount option must be 'private' or 'shared'",
                        ));
                    }
                });
            }
            "bind-propagation" if !kind.is_bind() => return Err(unsupported()),
            "bind-propagation" => match value {
                None => return Err(argument_missing(name)),
                Some(value) if PROPAGATIONS.contains(&value) => given.push(value.to_owned()),
                Some(_) => return Err(Error::usage(format!("invalid value {field:?}"))),
            },
            "bind-nonrecursive" if !kind.is_bind() => return Err(unsupported()),
            "bind-nonrecursive" => {
                if value.map(number::boolean) != Some(Ok(false)) {
                    given.push("bind".into());
                }
            }
            "exec" | "noexec" => {
                once("exec", "'noexec' and 'exec' mnt.Options")?;
                given.push(name.to_owned());
            }
            "suid" | "nosuid" => {
                once("suid", "'nosuid' and 'suid' mnt.Options")?;
                given.push(name.to_owned());
            }
            "dev" | "nodev" => {
                once("dev", "'nodev' and 'dev' mnt.Options")?;
                given.push(name.to_owned());
            }
            "tmpfs-size" | "tmpfs-mode" | "tmpcopyup" | "notmpcopyup" if kind != Type::Tmpfs => {
                return Err(unsupported());
            }
            "tmpfs-size" | "tmpfs-mode" => match value {
                None => return Err(argument_missing(name)),
                Some(value) => given.push(format!("{}={value}", &name["tmpfs-".len()..])),
            },
            "tmpcopyup" | "notmpcopyup" => {
                once("tmpcopyup", "'tmpcopyup' and 'notmpcopyup' mnt.Options")?;
                given.push(name.to_owned());
            }
            "noswap" => {
                return Err(argument_missing(
                    "the 'noswap' option is only allowed with rootful tmpfs mounts",
                ));
            }
            "volume-label" => {
                return Err(Error::usage(
                    "the --volume-label option is not presently implemented",
                ));
            }
            "idmap" => {
                check_possible(field)?;
                given.push(name.to_owned());
            }
            "no-dereference" => check_possible(name)?,
            "z" | "Z" => given.push(name.to_owned()),
            _ if PROPAGATIONS.contains(&name) => given.push(name.to_owned()),
            _ => return Err(invalid_option(name)),
        }
        Ok(())
    }
}

/// Whether a type has this option, rightly or with words of its own.
fn is_known(kind: Type, name: &str) -> bool {
    let of_all = ["dst", "target", "destination"].contains(&name);
    of_all
        || match kind {
            Type::Devpts => ["uid", "gid", "mode", "max"].contains(&name),
            Type::Image => {
                ["src", "source", "rw", "readwrite", "subpath", "consistency"].contains(&name)
            }
            _ => !["uid", "gid", "mode", "max", "type"].contains(&name),
        }
}

/// What the containers named by one value of `--volumes-from` lend: their binds and
/// volumes. A tmpfs, an overlay and an image are theirs alone.
fn volumes_from(text: &str, lookup: &dyn Lookup) -> Result<Vec<Mount>> {
    let (name, options) = match text.split_once(':') {
        Some((name, options)) => (name, Some(options)),
        None => (text, None),
    };
    let given: Vec<String> = options
        .map(|options| options.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    let (mut mode, mut label) = (0, 0);
    for option in &given {
        match option.as_str() {
            "ro" | "rw" => mode += 1,
            "z" => label += 1,
            _ => {
                return Err(Error::usage(format!(
                    "invalid option {:?} specified - \
                     volumes from another container can only use z,ro,rw options",
                    options.filter(|all| all.contains(':')).unwrap_or(option)
                )));
            }
        }
    }
    if mode > 1 {
        return Err(Error::usage("cannot set ro or rw options more than once"));
    }
    if label > 1 {
        return Err(Error::usage(
            "cannot set :z more than once in mount options",
        ));
    }
    let neighbour = if name.is_empty() {
        Err(Error::usage("name or ID cannot be empty"))
    } else {
        lookup.container(name)
    };
    let neighbour = neighbour.map_err(|error| {
        error.tried(format_args!(
            "looking up container {name:?} for volumes-from"
        ))
    })?;
    Ok(neighbour
        .mounts
        .into_iter()
        .filter(|mount| {
            matches!(
                mount.kind,
                MountKind::Bind { .. } | MountKind::Volume { .. }
            )
        })
        .map(|mount| {
            if given.is_empty() {
                return mount;
            }
            // Options given take the place of those it has there.
            let mut again = Draft::new(mount.kind, mount.destination, given.clone()).finish();
            again.subpath = mount.subpath;
            again
        })
        .collect())
}

/// The VOLUMEs of the image as `--image-volume` wants them.
fn image_volumes(mode: &str, volumes: &[String]) -> Result<Vec<Mount>> {
    let is_tmpfs = match mode {
        "anonymous" | "" => false,
        "tmpfs" => true,
        "ignore" => return Ok(Vec::new()),
        _ => {
            return Err(Error::usage(format!(
                "invalid image volume mode {mode:?} required value: anonymous, tmpfs, ignore"
            )));
        }
    };
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    volumes
        .iter()
        .map(|path| {
            let destination = clean(&Path::new("/").join(path));
            if destination == Path::new("/") {
                return Err(Error::usage("image volume \"/\" is the container's root"));
            }
            let (kind, given) = if is_tmpfs {
                let kind = MountKind::Tmpfs {
                    options: Vec::new(),
                    copy_up: true,
                };
                (kind, own(&["rprivate", "rw", "nodev", "exec"]))
            } else {
                (
                    volume(None, true)?,
                    own(&["rprivate", "rw", "nodev", "exec", "nosuid", "rbind"]),
                )
            };
            Ok(Draft::new(kind, destination, given).finish())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::Neighbour;
    use crate::cli::args::host::tests::Fake;
    use crate::container::options::NamespaceMode;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn mounts_of(flags: &[&str], volumes: &[&str], fake: &Fake) -> Result<Vec<Mount>, String> {
        use clap::Parser;
        let args = Line::parse_from(std::iter::once(&"x").chain(flags)).args;
        let volumes: Vec<String> = volumes.iter().map(|it| (*it).to_owned()).collect();
        args.mounts(&volumes, fake, fake)
            .map_err(|error| error.to_string())
    }

    fn mounts(flags: &[&str]) -> Result<Vec<Mount>, String> {
        mounts_of(flags, &[], &Fake::default())
    }

    /// A mount in one line: what, where, options, subpath.
    fn line(mount: &Mount) -> String {
        let what = match &mount.kind {
            MountKind::Bind { source } => format!("bind {}", source.display()),
            MountKind::Volume {
                anonymous: true,
                copy,
                ..
            } => format!("volume ? copy={copy}"),
            MountKind::Volume { name, copy, .. } => format!("volume {name} copy={copy}"),
            MountKind::Tmpfs { options, copy_up } => {
                format!("tmpfs [{}] copy_up={copy_up}", options.join(","))
            }
            MountKind::Ramfs { .. } => "ramfs".into(),
            MountKind::Devpts { options } => format!("devpts [{}]", options.join(",")),
            MountKind::Overlay {
                source,
                upper,
                work,
            } => format!("overlay {} {upper:?} {work:?}", source.display()),
            MountKind::Image { name, writable, .. } => format!("image {name} rw={writable}"),
        };
        let subpath = mount
            .subpath
            .as_ref()
            .map(|path| format!(" subpath={}", path.display()))
            .unwrap_or_default();
        format!(
            "{what} at {} [{}]{}{}{subpath}",
            mount.destination.display(),
            mount.options.join(","),
            if mount.read_only { " ro" } else { "" },
            if mount.chown { " U" } else { "" },
        )
    }

    fn lines(flags: &[&str]) -> String {
        match mounts(flags) {
            Ok(mounts) => mounts.iter().map(line).collect::<Vec<_>>().join("\n"),
            Err(why) => why,
        }
    }

    #[test]
    fn volumes_are_read_as_podman_does() {
        for (text, wanted) in [
            (
                "/a",
                "volume ? copy=true at /a [rprivate,nosuid,nodev,rbind]",
            ),
            (
                "n:/a",
                "volume n copy=true at /a [rprivate,nosuid,nodev,rbind]",
            ),
            (
                "n:/a:ro,z",
                "volume n copy=true at /a [ro,z,rprivate,nosuid,nodev,rbind] ro",
            ),
            (
                "n:/a:nocopy",
                "volume n copy=false at /a [nocopy,rprivate,nosuid,nodev,rbind]",
            ),
            (
                "n:/a:noexec,nosuid,nodev",
                "volume n copy=true at /a [noexec,nosuid,nodev,rprivate,rbind]",
            ),
            (
                "n:/a:U",
                "volume n copy=true at /a [U,rprivate,nosuid,nodev,rbind] U",
            ),
            (
                "n:/a:shared",
                "volume n copy=true at /a [shared,nosuid,nodev,rbind]",
            ),
            (
                "n:/a:bind",
                "volume n copy=true at /a [bind,private,nosuid,nodev]",
            ),
            ("/d:/a", "bind /d at /a [rprivate,rbind]"),
            ("/d/:/a/", "bind /d at /a [rprivate,rbind]"),
            ("/d//s/../t:/a/../b", "bind /d/t at /b [rprivate,rbind]"),
            ("/:/a", "bind / at /a [rprivate,rbind]"),
            ("./d:/a", "bind /home/me/w/d at /a [rprivate,rbind]"),
            ("../d:/a", "bind /home/me/d at /a [rprivate,rbind]"),
            (".:/a", "bind /home/me/w at /a [rprivate,rbind]"),
            (".x:/a", "bind /home/me/w/.x at /a [rprivate,rbind]"),
            ("/q,c:/a,ro", "bind /q,c at /a,ro [rprivate,rbind]"),
            (
                "/d:/a:U,z,ro,noexec",
                "bind /d at /a [U,z,ro,noexec,rprivate,rbind] ro U",
            ),
            ("/d:/a:bind", "bind /d at /a [bind,private]"),
            ("/d:/a:rbind", "bind /d at /a [rbind,rprivate]"),
            ("/d:/a:rslave", "bind /d at /a [rslave,rbind]"),
            (
                "/d:/a:suid,dev,exec",
                "bind /d at /a [suid,dev,exec,rprivate,rbind]",
            ),
            ("/d:/a:cached", "bind /d at /a [rprivate,rbind]"),
            ("/d:/a:O", "overlay /d None None at /a [O]"),
            ("/d:/a:O,U", "overlay /d None None at /a [O,U] U"),
            (
                "/d:/a:O,upperdir=/u,workdir=w",
                "overlay /d Some(\"/u\") Some(\"/home/me/w/w\") at /a [O,upperdir=/u,workdir=w]",
            ),
            // What cannot be.
            ("", "container directory cannot be empty"),
            ("/d:", "container directory cannot be empty"),
            (":/a", "host directory cannot be empty"),
            (":", "host directory cannot be empty"),
            (
                "a:b:c:d",
                "a:b:c:d: incorrect volume format, should be [host-dir:]ctr-dir[:option]",
            ),
            (
                "n:a",
                "invalid container path \"a\", must be an absolute path",
            ),
            (
                "/a:ro",
                "invalid container path \"ro\", must be an absolute path",
            ),
            (
                "n:/",
                "invalid container path \"/\", must not be the container's root",
            ),
            (
                "/a/..",
                "invalid container path \"/a/..\", must not be the container's root",
            ),
            (
                "d/sub:/a",
                "creating named volume \"d/sub\": running volume create option: \
                 names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument",
            ),
            (
                "~/x:/a",
                "creating named volume \"~/x\": running volume create option: \
                 names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument",
            ),
            ("n:/a:foo", "invalid option type \"foo\""),
            ("/c:olon:/a", "invalid option type \"/a\""),
            ("/d:/a:", "invalid option type \"\""),
            ("n:/a:subpath=x", "invalid option type \"subpath=x\""),
            (
                "n:/a:ro,rw",
                "invalid options \"ro, rw\", can only specify 1 'rw' or 'ro' option",
            ),
            (
                "n:/a:exec,noexec",
                "invalid options \"exec, noexec\", can only specify 1 'noexec' or 'exec' option",
            ),
            (
                "/d:/a:z,Z",
                "invalid options \"z, Z\", can only specify 1 'z', 'Z', or 'O' option",
            ),
            (
                "/d:/a:shared,private",
                "invalid options \"shared, private\", can only specify 1 '[r]shared', \
                 '[r]private', '[r]slave' or '[r]unbindable' option",
            ),
            (
                "/d:/a:upperdir=/tmp",
                "unknown mount option \"upperdir=/tmp\": invalid mount option",
            ),
            ("/d:/a:O,ro", "can't use 'O' with other options"),
            (
                "/d:/a:O,U,upperdir=/a,workdir=/b",
                "can't use 'O' with other options",
            ),
            (
                "/d:/a:O,upperdir=/u",
                "must set both `upperdir` and `workdir`",
            ),
            (
                "n:/a:O,upperdir=/u,workdir=/w",
                "unknown mount option \"upperdir=/u\": invalid mount option",
            ),
            (
                "/d:/a:idmap=uids=0-1-10",
                "mount option idmap beside other ids than the default ones is not supported by coracle yet",
            ),
        ] {
            assert_eq!(lines(&["-v", text]), wanted, "{text}");
        }
    }

    #[test]
    fn mounts_are_read_as_podman_does() {
        for (text, wanted) in [
            ("type=bind,src=/d,dst=/a", "bind /d at /a [rprivate,rbind]"),
            (
                "dst=/a,type=bind,source=/d",
                "bind /d at /a [rprivate,rbind]",
            ),
            (
                "type=bind,src=d,target=/a",
                "bind /home/me/w/d at /a [rprivate,rbind]",
            ),
            ("type=bind,dst=/a", "bind /a at /a [rprivate,rbind]"),
            (
                "\"type=bind\",\"src=/d,e\",destination=/a",
                "bind /d,e at /a [rprivate,rbind]",
            ),
            (
                "type=bind,src=/d,dst=/a,readonly",
                "bind /d at /a [ro,rprivate,rbind] ro",
            ),
            (
                "type=bind,src=/d,dst=/a,ro=true",
                "bind /d at /a [ro,rprivate,rbind] ro",
            ),
            (
                "type=bind,src=/d,dst=/a,ro=1",
                "bind /d at /a [ro,rprivate,rbind] ro",
            ),
            (
                "type=bind,src=/d,dst=/a,ro=false",
                "bind /d at /a [rprivate,rbind]",
            ),
            (
                "type=bind,src=/d,dst=/a,rw=false",
                "bind /d at /a [ro,rprivate,rbind] ro",
            ),
            (
                "type=bind,src=/d,dst=/a,rw",
                "bind /d at /a [rw,rprivate,rbind]",
            ),
            (
                "type=bind,src=/d,dst=/a,chown=true,relabel=shared,noexec",
                "bind /d at /a [U,z,noexec,rprivate,rbind] U",
            ),
            (
                "type=bind,src=/d,dst=/a,bind-propagation=rslave",
                "bind /d at /a [rslave,rbind]",
            ),
            (
                "type=bind,src=/d,dst=/a,bind-nonrecursive,consistency=cached",
                "bind /d at /a [bind,private]",
            ),
            (
                "type=bind,src=/d,dst=/a,shared,Z",
                "bind /d at /a [shared,Z,rbind]",
            ),
            (
                "dst=/a",
                "volume ? copy=true at /a [rprivate,nosuid,nodev,rbind]",
            ),
            (
                "src=n,dst=/a,ro,volume-opt=o=x",
                "volume n copy=true at /a [ro,rprivate,nosuid,nodev,rbind] ro",
            ),
            (
                "type=volume,src=n,dst=/a,subpath=x/y",
                "volume n copy=true at /a [rprivate,nosuid,nodev,rbind] subpath=x/y",
            ),
            (
                "type=volume,src=n,dst=/a,volume-subpath=",
                "volume n copy=true at /a [rprivate,nosuid,nodev,rbind]",
            ),
            (
                "type=tmpfs,dst=/a,tmpfs-size=1m,tmpfs-mode=1777,ro,noexec",
                "tmpfs [size=1m,mode=1777] copy_up=true at /a \
                 [size=1m,mode=1777,ro,noexec,rprivate,nosuid,nodev,tmpcopyup] ro",
            ),
            (
                "type=tmpfs,dst=/a,notmpcopyup,U",
                "tmpfs [] copy_up=false at /a [U,rprivate,nosuid,nodev] U",
            ),
            ("type=ramfs,dst=/a,ro", "ramfs at /a [ro] ro"),
            (
                "type=devpts,dst=/dev/pts,uid=1,mode=600,max=4",
                "devpts [uid=1,mode=600,max=4] at /dev/pts [uid=1,mode=600,max=4]",
            ),
            (
                "type=image,src=busybox,dst=/a",
                "image localhost/busybox:latest rw=false at /a [] ro",
            ),
            (
                "type=image,src=busybox,dst=/a,rw=true,subpath=/bin",
                "image localhost/busybox:latest rw=true at /a [] subpath=/bin",
            ),
            // What cannot be.
            (
                "",
                "incorrect mount format: should be --mount \
                 type=<bind|glob|tmpfs|volume>,[src=<host-dir|volume-name>,]target=<ctr-dir>[,options]",
            ),
            ("foo", "foo: invalid mount option"),
            ("type", "type: invalid mount option"),
            ("type=foo", "invalid filesystem type \"foo\""),
            ("type=bind", "must set volume destination"),
            (
                "type=bind,src=/d,type=tmpfs,dst=/a",
                "type: invalid mount option",
            ),
            ("type=bind,src=/d,dst=/a,", ": invalid mount option"),
            (
                "type=bind,src=/d,dst=/a,rbind",
                "rbind: invalid mount option",
            ),
            (
                "type=bind,src=,dst=/a",
                "host directory cannot be empty: must provide an argument for option",
            ),
            (
                "type=bind,src=/d,dst=",
                "container directory cannot be empty",
            ),
            (
                "type=bind,src=/d,dst=a",
                "invalid container path \"a\", must be an absolute path",
            ),
            (
                "type=bind,src=/d,dst=/",
                "invalid container path \"/\", must not be the container's root",
            ),
            (
                "source,dst=/a",
                "source: must provide an argument for option",
            ),
            (
                "type=bind,src=/d,source=/e,dst=/a",
                "cannot pass \"source\" option more than once: must provide an argument for option",
            ),
            (
                "type=bind,src=/d,dst=/a,ro,rw",
                "cannot pass 'readonly', 'ro', or 'rw' mnt.Options more than once: \
                 must provide an argument for option",
            ),
            (
                "type=bind,src=/d,dst=/a,ro=foo",
                "'ro' must be set to true or false, instead received \"foo\": \
                 must provide an argument for option",
            ),
            (
                "type=bind,src=/d,dst=/a,chown=foo",
                "'U' or 'chown' must be set to true or false, instead received \"foo\": \
                 must provide an argument for option",
            ),
            (
                "type=bind,src=/d,dst=/a,relabel",
                "relabel mount option must be 'private' or 'shared': invalid mount option",
            ),
            (
                "type=bind,src=/d,dst=/a,bind-propagation=foo",
                "invalid value \"bind-propagation=foo\"",
            ),
            (
                "type=bind,src=/d,dst=/a,bind-propagation",
                "bind-propagation: must provide an argument for option",
            ),
            (
                "src=n,dst=/a,bind-propagation=rslave",
                "\"bind-propagation\" option not supported for \"volume\" mount types",
            ),
            (
                "type=bind,src=/d,dst=/a,tmpfs-size=1",
                "\"tmpfs-size\" option not supported for \"bind\" mount types",
            ),
            (
                "type=bind,src=/d,dst=/a,subpath=x",
                "cannot set option \"subpath\" on non-volume mounts",
            ),
            (
                "type=bind,src=/d,dst=/a,rshared,rslave",
                "invalid options \"rshared, rslave\", can only specify 1 '[r]shared', \
                 '[r]private', '[r]slave' or '[r]unbindable' option",
            ),
            (
                "type=bind,src=\"x,dst=/a",
                "parse error on line 1, column 15: bare \" in non-quoted-field",
            ),
            (
                "type=bind,src=/d,dst=/a,idmap=uids=0-1-10",
                "mount option idmap beside other ids than the default ones is not supported by coracle yet",
            ),
            (
                "src=/d,dst=/a",
                "creating named volume \"/d\": running volume create option: \
                 names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument",
            ),
            ("src=n,dst=/a,nocopy", "nocopy: invalid mount option"),
            (
                "src=n,dst=/a,volume-label=x",
                "the --volume-label option is not presently implemented",
            ),
            (
                "type=tmpfs,src=x,dst=/a",
                "\"src\" option not supported for \"tmpfs\" mount types",
            ),
            ("type=tmpfs,dst=/a,size=1m", "size: invalid mount option"),
            (
                "type=tmpfs,dst=/a,tmpfs-size",
                "tmpfs-size: must provide an argument for option",
            ),
            (
                "type=tmpfs,dst=/a,tmpfs-size=foo",
                "invalid tmpfs size \"foo\": invalid mount option",
            ),
            (
                "type=tmpfs,dst=/a,noswap",
                "the 'noswap' option is only allowed with rootful tmpfs mounts: \
                 must provide an argument for option",
            ),
            (
                "type=tmpfs,dst=/a,tmpfs-size=1,tmpfs-size=2",
                "only one tmpfs size can be specified: duplicate mount option passed",
            ),
            (
                "type=tmpfs,dst=/a,relabel=shared",
                "the 'z' and 'Z' options are not allowed with tmpfs mounts: invalid mount option",
            ),
            (
                "type=ramfs,dst=/a,tmpfs-mode=700",
                "\"tmpfs-mode\" option not supported for \"ramfs\" mount types",
            ),
            ("type=devpts,src=x,dst=/a", "src: invalid mount option"),
            ("type=devpts,dst=/a,ro", "ro: invalid mount option"),
            (
                "type=image,dst=/a",
                "must set source and destination for image volume",
            ),
            (
                "type=image,src=busybox",
                "must set source and destination for image volume",
            ),
            ("type=image,src=nosuch,dst=/a", "nosuch: image not known"),
            (
                "type=image,src=busybox,dst=/a,rw",
                "invalid rw value \"\": invalid mount option",
            ),
            (
                "type=image,src=busybox,dst=/a,subpath=bin",
                "volume subpath \"bin\" must be an absolute path",
            ),
            (
                "type=image,src=busybox,dst=/a,ro",
                "ro: invalid mount option",
            ),
            (
                "type=artifact,src=x,dst=/a",
                "--mount type=artifact is not supported by coracle yet",
            ),
        ] {
            assert_eq!(lines(&["--mount", text]), wanted, "{text}");
        }
    }

    #[test]
    fn globs_are_binds_of_what_they_match() {
        let mut fake = Fake::default();
        for name in ["/home/me/w/d1", "/home/me/w/d2", "/home/me/w/e"] {
            fake.files.insert(name.into(), String::new());
        }
        let lines = |text| {
            mounts_of(&["--mount", text], &[], &fake)
                .map(|mounts| mounts.iter().map(line).collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(
            lines("type=glob,src=d*,dst=/a,ro").unwrap(),
            "bind /home/me/w/d1 at /a/d1 [ro,rprivate,rbind] ro\n\
             bind /home/me/w/d2 at /a/d2 [ro,rprivate,rbind] ro"
        );
        assert_eq!(
            lines("type=glob,src=/home/me/w/e").unwrap(),
            "bind /home/me/w/e at /home/me/w/e [rprivate,rbind]"
        );
        for (text, why) in [
            (
                "type=glob,src=z*,dst=/a",
                "no file paths matching glob \"z*\"",
            ),
            ("type=glob,dst=/a", "no file paths matching glob \"\""),
            ("type=glob,src=[,dst=/a", "syntax error in pattern"),
        ] {
            assert_eq!(lines(text).unwrap_err(), why);
        }
    }

    #[test]
    fn tmpfs_options_are_few() {
        for (text, wanted) in [
            (
                "/a",
                "tmpfs [] copy_up=true at /a [rprivate,nosuid,nodev,tmpcopyup]",
            ),
            (
                "/a/:size=1m,exec,suid,dev",
                "tmpfs [size=1m] copy_up=true at /a [size=1m,exec,suid,dev,rprivate,tmpcopyup]",
            ),
            (
                "/a:noatime,ro,notmpcopyup",
                "tmpfs [] copy_up=false at /a [noatime,ro,rprivate,nosuid,nodev] ro",
            ),
            (
                "/a:rshared,mode=0700,U",
                "tmpfs [mode=0700] copy_up=true at /a \
                 [rshared,mode=0700,U,nosuid,nodev,tmpcopyup] U",
            ),
            ("", "container directory cannot be empty"),
            (
                "a",
                "invalid container path \"a\", must be an absolute path",
            ),
            ("/a:", "unknown mount option \"\": invalid mount option"),
            ("/a:/b", "unknown mount option \"/b\": invalid mount option"),
            (
                "/a:uid=1",
                "unknown mount option \"uid=1\": invalid mount option",
            ),
            (
                "/a:mode=foo",
                "invalid tmpfs mode \"foo\": invalid mount option",
            ),
            (
                "/a:ro,rw",
                "only one of 'rw' and 'ro' can be used: duplicate mount option passed",
            ),
            (
                "/a:tmpcopyup,notmpcopyup",
                "the 'tmpcopyup' or 'notmpcopyup' option can only be set once: \
                 duplicate mount option passed",
            ),
            (
                "/a:bind",
                "the 'bind' and 'rbind' options are not allowed with tmpfs mounts: \
                 invalid mount option",
            ),
        ] {
            assert_eq!(lines(&["--tmpfs", text]), wanted, "{text}");
        }
    }

    #[test]
    fn a_destination_has_one_mount() {
        for flags in [
            &["-v", "/a", "-v", "/a"][..],
            &["-v", "/d:/a", "-v", "/d:/a/"],
            &["-v", "n:/a", "--mount", "src=n,dst=/a"],
            &["--tmpfs", "/a", "--mount", "type=tmpfs,dst=/a"],
        ] {
            assert_eq!(mounts(flags).map(|it| it.len()), Ok(1), "{flags:?}");
        }
        for flags in [
            &["-v", "/d:/a", "-v", "/e:/a"][..],
            &["-v", "n:/a", "-v", "m:/a"],
            &["-v", "/a", "-v", "/d:/a"],
            &["--tmpfs", "/a", "-v", "/a"],
            &["--tmpfs", "/a", "--tmpfs", "/a:size=1m"],
            &[
                "--mount",
                "type=tmpfs,dst=/a",
                "--mount",
                "type=tmpfs,dst=/a",
            ],
            &["-v", "/d:/a:O", "-v", "/e:/a"],
        ] {
            assert_eq!(
                mounts(flags).map(|it| it.len()),
                Err("/a: duplicate mount destination".into()),
                "{flags:?}"
            );
        }
    }

    #[test]
    fn parents_come_before_what_lies_in_them() {
        let destinations: Vec<_> = mounts(&["-v=/c/d", "-v=/d:/b/c/d", "--tmpfs=/c", "-v=/a"])
            .unwrap()
            .into_iter()
            .map(|it| it.destination.display().to_string())
            .collect();
        assert_eq!(destinations, ["/a", "/c", "/c/d", "/b/c/d"]);
    }

    #[test]
    fn image_volumes_give_way_to_flags() {
        let given = |flags: &[&str]| {
            mounts_of(flags, &["/iv", "/iv2/x/"], &Fake::default())
                .map(|mounts| mounts.iter().map(line).collect::<Vec<_>>().join("\n"))
        };
        let anonymous = "volume ? copy=true at /iv2/x [rprivate,rw,nodev,exec,nosuid,rbind]";
        assert_eq!(
            given(&[]).unwrap(),
            format!("volume ? copy=true at /iv [rprivate,rw,nodev,exec,nosuid,rbind]\n{anonymous}")
        );
        assert_eq!(
            given(&["-v", "/d:/iv/"]).unwrap(),
            format!("bind /d at /iv [rprivate,rbind]\n{anonymous}")
        );
        assert_eq!(
            given(&["--tmpfs", "/iv", "-v", "n:/iv2/x"]).unwrap(),
            "tmpfs [] copy_up=true at /iv [rprivate,nosuid,nodev,tmpcopyup]\n\
             volume n copy=true at /iv2/x [rprivate,nosuid,nodev,rbind]"
        );
        assert_eq!(given(&["--image-volume=ignore"]).unwrap(), "");
        assert!(
            given(&["--image-volume=tmpfs"])
                .unwrap()
                .starts_with("tmpfs [] copy_up=true at /iv ")
        );
        for bad in ["bind", "foo"] {
            assert_eq!(
                given(&["--image-volume", bad]).unwrap_err(),
                format!(
                    "invalid image volume mode {bad:?} required value: anonymous, tmpfs, ignore"
                )
            );
        }
    }

    #[test]
    fn other_containers_lend_binds_and_volumes() {
        let mut fake = Fake::default();
        for (name, flags) in [
            (
                "c1",
                &[
                    "-v=/d:/b1:ro",
                    "-v=n:/b2:noexec",
                    "-v=/b3",
                    "--tmpfs=/b4",
                    "-v=/d:/b5:O",
                ][..],
            ),
            ("c2", &["-v=m:/b2"]),
        ] {
            fake.containers.insert(
                name.into(),
                Neighbour {
                    id: "11".repeat(32),
                    ipc: NamespaceMode::Shareable,
                    mounts: mounts(flags).unwrap(),
                },
            );
        }
        let given = |flags: &[&str]| {
            mounts_of(flags, &["/b3"], &fake)
                .map(|mounts| mounts.iter().map(line).collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(
            given(&["--volumes-from=c1"]).unwrap(),
            "bind /d at /b1 [ro,rprivate,rbind] ro\n\
             volume n copy=true at /b2 [noexec,rprivate,nosuid,nodev,rbind]\n\
             volume ? copy=true at /b3 [rprivate,nosuid,nodev,rbind]"
        );
        assert_eq!(
            given(&[
                "--volumes-from=c1:ro,z",
                "--volumes-from",
                "c2",
                "-v=/e:/b1"
            ])
            .unwrap(),
            "bind /e at /b1 [rprivate,rbind]\n\
             volume m copy=true at /b2 [rprivate,nosuid,nodev,rbind]\n\
             volume ? copy=true at /b3 [ro,z,rprivate,nosuid,nodev,rbind] ro"
        );
        let only = "volumes from another container can only use z,ro,rw options";
        for (text, why) in [
            ("c1:Z", format!("invalid option \"Z\" specified - {only}")),
            ("c1:", format!("invalid option \"\" specified - {only}")),
            (
                "c1:ro:x",
                format!("invalid option \"ro:x\" specified - {only}"),
            ),
            (
                "c1:ro,rw",
                "cannot set ro or rw options more than once".into(),
            ),
            (
                "nope",
                "looking up container \"nope\" for volumes-from: \
                 no container with name or ID \"nope\" found: no such container"
                    .into(),
            ),
            (
                "",
                "looking up container \"\" for volumes-from: name or ID cannot be empty".into(),
            ),
        ] {
            assert_eq!(given(&["--volumes-from", text]).unwrap_err(), why);
        }
    }

    #[test]
    fn sources_must_be_there() {
        let check = |text| {
            check_sources(&mounts(&["-v", text]).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(check("/etc:/a"), Ok(()));
        assert_eq!(check("nope:/a"), Ok(()));
        for text in [
            "/nope:/a",
            "/nope:/a:O",
            "/etc:/a:O,upperdir=/nope,workdir=/etc",
        ] {
            assert_eq!(
                check(text).unwrap_err(),
                "statfs /nope: no such file or directory"
            );
        }
    }
}
