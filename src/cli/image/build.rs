use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::FromArgMatches;

use super::build_refused::Refused;
use super::steps::Steps;
use crate::build::ignore::Ignore;
use crate::build::language::{self, Containerfile};
use crate::build::secret::{Agent, Secret};
use crate::build::{self, Build, Failure, NamedContext, Said, Squash};
use crate::cli::args::create::{CreateArgs, ImageDefaults, check_host};
use crate::cli::args::host::{Caller, Host};
use crate::cli::args::{filter, image as which, number, registry};
use crate::cli::container::made::Store;
use crate::cli::{Command, Example, parse};
use crate::container;
use crate::container::adopt::Times;
use crate::container::options::MountKind;
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result, words};
use crate::image::{self, Format, Image, Reference, Wanted, lists};
use crate::output::{Output, Waiting};
use crate::storage::Staging;

/// Build an image using instructions from Containerfiles
///
/// Builds the image that the Containerfile in CONTEXT says, a folder, an archive (`-` reads
/// one from standard input, or a Containerfile alone), with the files of CONTEXT that are
/// not named in its .containerignore or .dockerignore. What each step came to is kept by all
/// that it is made of, and not done again while that stays the same; --why says what has
/// changed. A step that fails ends the build with its exit code. Nothing of an image is there
/// until all of it is.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    registry: registry::Args,
    #[command(flatten)]
    refused: Refused,

    /// Add a line to /etc/hosts of RUN steps: HOST:IP
    #[arg(long, value_name = "HOST:IP")]
    add_host: Vec<String>,

    /// Set an annotation of the image
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,

    /// Build for this architecture
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// Give an ARG of the Containerfile its value; NAME alone takes the caller's
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,

    /// Read such arguments from FILE, one a line
    #[arg(long, value_name = "FILE")]
    build_arg_file: Vec<PathBuf>,

    /// Let NAME in FROM, COPY --from and RUN --mount mean a folder or an image
    ///
    /// A folder, or docker-image://IMAGE, container-image://IMAGE, docker://IMAGE.
    #[arg(long, value_name = "NAME=VALUE")]
    build_context: Vec<String>,

    /// Use no step that was built longer ago
    #[arg(long, value_name = "DURATION")]
    cache_ttl: Option<String>,

    /// Give RUN steps a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,

    /// Take a capability from RUN steps
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,

    /// The control group that those of RUN steps are made in
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,

    /// The cgroup namespace of RUN steps: private or host
    #[arg(long, value_name = "MODE")]
    cgroupns: Option<String>,

    /// Docker's flag, which does nothing: layers are kept as they are
    #[arg(long, hide = true)]
    compress: bool,

    /// Limit the CFS period of RUN steps, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<String>,

    /// Limit the CFS quota of RUN steps, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<String>,

    /// The share of processors that RUN steps have
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<String>,

    /// The processors of RUN steps
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,

    /// The memory nodes of RUN steps
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,

    /// Note in the image when it was made
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    created_annotation: bool,

    /// Give RUN steps a device of the host's
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,

    /// Layers are never compressed here
    #[arg(short = 'D', long, action = clap::ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true",
          hide = true, value_parser = number::boolean)]
    disable_compression: bool,

    /// Docker's flag, which does nothing
    #[arg(long, hide = true)]
    disable_content_trust: bool,

    /// DNS servers of RUN steps
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,

    /// DNS options of RUN steps
    #[arg(long, value_name = "OPTION")]
    dns_option: Vec<String>,

    /// DNS search domains of RUN steps
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,

    /// Set a variable of the image, in every stage
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// The Containerfile; several are read one after the other, `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,

    /// Remove the containers of steps, which are always removed
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide = true,
          value_parser = number::boolean)]
    force_rm: bool,

    /// Format of the image: `oci` or `docker`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// The image that the first FROM means, in place of its own
    #[arg(long, value_name = "IMAGE")]
    from: Option<String>,

    /// Further groups of the user of RUN steps
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,

    /// Hand on http_proxy and its like to RUN steps
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    http_proxy: bool,

    /// Say in a label of the image what has built it
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    identity_label: bool,

    /// The ignore file, in place of the context's own
    #[arg(long, value_name = "FILE")]
    ignorefile: Option<PathBuf>,

    /// Write the id of the image to FILE
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,

    /// Keep the annotations of the base image
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    inherit_annotations: bool,

    /// Keep the labels of the base image
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    inherit_labels: bool,

    /// The IPC namespace of RUN steps: private, host or a path
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,

    /// How RUN steps are kept apart: `oci` or `rootless`, which are the same
    #[arg(long, value_name = "TYPE")]
    isolation: Option<String>,

    /// How many stages may be built at the same time
    #[arg(long, value_name = "NUMBER", default_value = "1", hide_default_value = true,
          value_parser = number::signed)]
    jobs: i64,

    /// Set a label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,

    /// Make a layer of each step, and keep it for the next build
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = number::boolean, value_name = "BOOL")]
    layers: Option<bool>,

    /// Add the image to this manifest list, which is made if there is none
    #[arg(long, value_name = "LIST")]
    manifest: Option<String>,

    /// Limit the memory of RUN steps
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,

    /// Limit memory and swap of RUN steps together
    #[arg(long, value_name = "BYTES")]
    memory_swap: Option<String>,

    /// The network of RUN steps: none, host, private, pasta, or ns:PATH
    #[arg(long, value_name = "MODE", alias = "net")]
    network: Option<String>,

    /// Do every step anew
    #[arg(long)]
    no_cache: bool,

    /// Make no /etc/hostname for RUN steps
    #[arg(long)]
    no_hostname: bool,

    /// Make no /etc/hosts for RUN steps
    #[arg(long)]
    no_hosts: bool,

    /// Leave the history out of the image
    #[arg(long)]
    omit_history: bool,

    /// Build for this operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Write the image's files to a folder or an archive: type=local|tar,dest=PATH, a PATH, or - for an archive on standard output
    #[arg(short, long, value_name = "DESTINATION")]
    output: Option<String>,

    /// The PID namespace of RUN steps: private, host or a path
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,

    /// Build for this platform: OS/ARCH or OS/ARCH/VARIANT; for several, with commas between
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,

    /// When to pull images: always, missing, never or newer
    #[arg(long, value_name = "POLICY", num_args = 0..=1, require_equals = true,
          default_missing_value = "always")]
    pull: Option<String>,

    /// Print only the id
    #[arg(short, long)]
    quiet: bool,

    /// Give files of layers no time later than that of --source-date-epoch
    #[arg(long)]
    rewrite_timestamp: bool,

    /// Remove the containers of steps, which are always removed
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide = true,
          value_parser = number::boolean)]
    rm: bool,

    /// Lend RUN steps a secret: id=ID,src=FILE or id=ID,env=NAME
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,

    /// A security option of RUN steps
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,

    /// Size of /dev/shm in RUN steps
    #[arg(long, value_name = "BYTES")]
    shm_size: Option<String>,

    /// Leave out stages that the image does not need
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    skip_unused_stages: bool,

    /// When the image is to have been made, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    source_date_epoch: Option<String>,

    /// Make one layer of all steps
    #[arg(long)]
    squash: bool,

    /// Make one layer of all steps and of the base image
    #[arg(long)]
    squash_all: bool,

    /// Lend RUN steps the socket of an ssh agent: default, or ID=SOCKET
    #[arg(long, value_name = "AGENT")]
    ssh: Vec<String>,

    /// Name the image
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,

    /// Build this stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// When the image and its files are to have been made, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<String>,

    /// A limit of RUN steps
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,

    /// Leave out an annotation of the base image
    #[arg(long, value_name = "NAME")]
    unsetannotation: Vec<String>,

    /// Leave a variable out of the image
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,

    /// Leave out a label of the base image
    #[arg(long, value_name = "NAME")]
    unsetlabel: Vec<String>,

    /// The UTS namespace of RUN steps: private, host or a path
    #[arg(long, value_name = "MODE")]
    uts: Option<String>,

    /// Build for this variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,

    /// Mount a folder of the host's in RUN steps
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,

    /// Say of each step why it runs, or that it need not
    #[arg(long)]
    why: bool,

    #[arg(value_name = "CONTEXT")]
    operands: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle build -t app .",
        does: "Build the image app of the folder we are in.",
    },
    Example {
        line: "coracle build --why --build-arg VERSION=2 -t app -f Containerfile.test .",
        does: "Build by another file, and say of each step why it runs.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    args.refused.check()?;
    let staging = engine.storage.stage()?;
    let (context, file) = args.sources(&staging)?;
    let target = args.output.as_deref().map(Target::parse).transpose()?;
    let quiet = args.quiet || matches!(target, Some(Target::Stdout));
    let platforms = args.platforms();
    let list = args.manifest.as_deref().map(Reference::local).transpose()?;
    container::sweep(engine)?;
    let mut images = Vec::new();
    for platform in &platforms {
        let (context, file) = (context.clone(), file.clone());
        let mut build = args.build(engine, context, file, platform.as_ref(), quiet)?;
        if let (Some(platform), true) = (platform, platforms.len() > 1) {
            build.prefix = format!("[{platform}] ");
        }
        match one(engine, &build, output) {
            Ok(image) => images.push(image),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::Command { code, error }) => {
                output.error(&error);
                return Ok(u8::try_from(code).unwrap_or(1));
            }
            Err(Failure::Interrupted(signal)) => {
                // What is ours in staging goes before we do.
                drop(staging);
                crate::sys::signal::end_by(signal)
            }
        }
    }
    let image = images.last().expect("there is a platform, if only ours");
    if let Some(list) = &list {
        add_to(engine, list, &images)?;
    }
    let typed = args.tag.first().map_or("", String::as_str);
    image::note(&engine.storage, "build", &image.id, typed);
    if let Some(file) = &args.iidfile {
        let text = format!("sha256:{}", image.id);
        std::fs::write(file, text)
            .map_err(|error| Error::other(format!("open {}: {}", file.display(), words(&error))))
            .tried(|| "failed to write image ID")?;
    }
    if let Some(target) = target {
        target.write(engine, &image.layers)?;
    }
    if !matches!(args.output.as_deref(), Some("-")) {
        output.line(&image.id);
    }
    Ok(0)
}

/// Builds for one platform.
fn one(engine: &Engine, build: &Build, output: &mut Output) -> Result<Image, Failure> {
    // A step that prints nothing itself is seen to go on.
    let (mut next, mut waiting) = (None, None);
    let built = build::build(engine, build, &mut |said| {
        // It goes before anything else is written.
        if !matches!(said, Said::Flush) {
            drop(waiting.take());
        }
        match said {
            Said::Line(line) if !build.quiet => {
                next = is_silent(&line);
                output.line(line);
            }
            Said::Line(_) => {}
            Said::Note(line) => output.notice(format_args!("Warning: {line}")),
            Said::Image(step) => {
                output.flush();
                Steps::new(output, build.quiet).tell(step);
            }
            Said::Flush => output.flush(),
        }
        if let Some(what) = next.take_if(|_| !build.quiet) {
            output.flush();
            waiting = Some(Waiting::new(engine.thread, what));
        }
    });
    drop(waiting);
    output.flush();
    Ok(built?.image)
}

/// What goes on after a line of `build`, if the work prints nothing itself.
fn is_silent(line: &str) -> Option<&'static str> {
    let (_, step) = line.split_once("STEP ").unwrap_or(("", line));
    let word = step.split(' ').find(|word| !word.contains('/'));
    match word {
        Some("COPY" | "ADD") => Some("copying"),
        Some("COMMIT") => Some("committing"),
        _ => None,
    }
}

/// Adds images to a manifest list, which is made if there is none.
fn add_to(engine: &Engine, name: &Reference, images: &[Image]) -> Result<()> {
    let storage = &engine.storage;
    let list = match lists::find_list(storage, &name.to_string()) {
        Ok(list) => list,
        Err(error) if error.kind() == Kind::NotFound => {
            lists::create(storage, name, BTreeMap::new())?
        }
        Err(error) => return Err(error),
    };
    for image in images {
        let wanted = lists::Add {
            text: image.id.as_str(),
            all: false,
            said: &lists::Said::default(),
            options: &crate::registry::Options::default(),
        };
        let added = lists::look(engine, &wanted)?;
        lists::change(storage, &list, |list| {
            lists::add(list, added);
            Ok(())
        })?;
    }
    Ok(())
}

impl Args {
    /// The platforms that are built for; none: the machine's, or what other flags say.
    fn platforms(&self) -> Vec<Option<String>> {
        let all = self.platform.iter().flat_map(|text| text.split(','));
        let all: Vec<_> = all.map(|it| Some(it.to_owned())).collect();
        if all.is_empty() { vec![None] } else { all }
    }

    /// The context's folder and the Containerfile.
    fn sources(&self, staging: &Staging) -> Result<(Option<PathBuf>, Containerfile)> {
        let mut text: Option<Vec<u8>> = None;
        let context = match self.operands.as_slice() {
            [] => {
                let first = self.file.iter().find(|it| *it != Path::new("-"));
                let Some(first) = first else {
                    return Err(Error::usage(
                        "no context directory and no Containerfile specified",
                    ));
                };
                let whole = std::path::absolute(first)?;
                whole.parent().map(Path::to_owned)
            }
            [context] if context == "-" => {
                let (found, is_archive) = from_stdin(staging)?;
                match is_archive {
                    true => {
                        let folder = staging.path().join("context");
                        build::unpack_context(found, &folder)
                            .map_err(|error| error.tried("unpack the context"))?;
                        Some(folder)
                    }
                    false => {
                        let mut bytes = Vec::new();
                        let mut found = found;
                        found.read_to_end(&mut bytes)?;
                        text = Some(bytes);
                        None
                    }
                }
            }
            [context] => Some(folder_of(context, staging)?),
            other => {
                return Err(Error::usage(format!(
                    "accepts at most 1 arg(s), received {}",
                    other.len()
                )));
            }
        };
        if let Some(bytes) = text {
            return Ok((None, parsed("-", bytes)?));
        }
        let context = context.unwrap_or_default();
        let context = std::fs::canonicalize(&context).unwrap_or(context);
        let mut whole: Option<Containerfile> = None;
        for (name, bytes) in self.files(&context)? {
            let file = parsed(&name, bytes)?;
            match &mut whole {
                Some(whole) => whole.instructions.extend(file.instructions),
                None => whole = Some(file),
            }
        }
        let file = whole.expect("there is one file at least");
        Ok((Some(context), file))
    }

    /// The Containerfiles by their names.
    fn files(&self, context: &Path) -> Result<Vec<(String, Vec<u8>)>> {
        let read = |path: &Path| std::fs::read(path).tried(|| format!("read {}", path.display()));
        if self.file.is_empty() {
            for name in ["Containerfile", "Dockerfile"] {
                let path = context.join(name);
                if path.exists() {
                    return Ok(vec![(path.display().to_string(), read(&path)?)]);
                }
            }
            return Err(Error::usage(format!(
                "no Containerfile or Dockerfile specified or found in context directory, {}: no such file or directory",
                context.display()
            )));
        }
        let mut all = Vec::new();
        for path in &self.file {
            let shown = path.display().to_string();
            if shown == "-" {
                let mut bytes = Vec::new();
                crate::sys::file::stdin()?.read_to_end(&mut bytes)?;
                all.push((shown, bytes));
                continue;
            }
            if shown.starts_with("http://") || shown.starts_with("https://") {
                return Err(Error::unsupported("a Containerfile by URL"));
            }
            if shown.ends_with(".in") {
                return Err(Error::unsupported(
                    "a Containerfile for the C preprocessor (.in)",
                ));
            }
            let place = match path.exists() {
                true => path.clone(),
                false => context.join(path),
            };
            if !place.exists() {
                return Err(Error::usage(format!(
                    "the specified Containerfile or Dockerfile does not exist, {shown}: no such file or directory"
                )));
            }
            if place.is_dir() {
                return Err(Error::usage(format!(
                    "containerfile: {shown:?} cannot be path to a directory"
                )));
            }
            all.push((shown, read(&place)?));
        }
        Ok(all)
    }

    fn build(
        &self,
        engine: &Engine,
        context: Option<PathBuf>,
        file: Containerfile,
        platform: Option<&String>,
        quiet: bool,
    ) -> Result<Build> {
        let caller = Caller::read()?.with(&engine.settings);
        let ignore = self.ignore(context.as_deref())?;
        let wanted = which::platform(&platform.cloned(), &self.os, &self.arch, &self.variant)?;
        let variable = |name: &str| {
            let found = caller.env().iter().find(|(it, _)| it == name);
            found
                .map(|(_, value)| value.clone())
                .filter(|it| !it.is_empty())
        };
        let format = self.format.clone().or_else(|| variable("BUILDAH_FORMAT"));
        let isolation = self
            .isolation
            .clone()
            .or_else(|| variable("BUILDAH_ISOLATION"));
        let layers = match (self.layers, variable("BUILDAH_LAYERS")) {
            (Some(given), _) => given,
            (None, Some(text)) => build::boolean(&text).unwrap_or(true),
            (None, None) => true,
        };
        let format = match format.as_deref().unwrap_or("oci") {
            "oci" => Format::Oci,
            "docker" => Format::Docker,
            other => {
                return Err(Error::usage(format!("unrecognized image type {other:?}")));
            }
        };
        match isolation.as_deref() {
            None | Some("" | "oci" | "rootless" | "default") => {}
            Some("chroot") => return Err(Error::unsupported("--isolation=chroot")),
            Some(other) => {
                return Err(Error::usage(format!(
                    "unrecognized isolation type {other:?}"
                )));
            }
        }
        if self.jobs != 1 {
            return Err(Error::unsupported("--jobs other than 1"));
        }
        if self.squash && self.squash_all {
            return Err(Error::usage("cannot specify --squash-all with --squash"));
        }
        let time = |flag: &str, text: &Option<String>| {
            text.as_deref()
                .filter(|text| !text.is_empty())
                .map(|text| {
                    text.parse::<i64>().map_err(|_| {
                        Error::usage(format!(
                            "invalid argument {text:?} for \"--{flag}\" flag: strconv.ParseInt: parsing {text:?}: invalid syntax"
                        ))
                    })
                })
                .transpose()
        };
        let epoch = self.source_date_epoch.clone();
        let epoch = epoch.or_else(|| variable("SOURCE_DATE_EPOCH"));
        let epoch = time("source-date-epoch", &epoch)?;
        let timestamp = time("timestamp", &self.timestamp)?;
        if self.rewrite_timestamp && epoch.is_none() {
            return Err(Error::usage(
                "--rewrite-timestamp needs --source-date-epoch",
            ));
        }
        let times = match (timestamp, epoch) {
            (Some(at), _) => Times::Set(at),
            (None, Some(at)) if self.rewrite_timestamp => Times::AtMost(at),
            _ => Times::Kept,
        };
        let mut build_args = self.build_args(&caller)?;
        if let Some(at) = epoch {
            build_args
                .entry("SOURCE_DATE_EPOCH".to_owned())
                .or_insert_with(|| at.to_string());
        }
        let names = self
            .tag
            .iter()
            .map(|name| Reference::local(name))
            .collect::<Result<Vec<_>>>()?;
        let mut base = self.from.clone();
        if base.as_deref() == Some("") {
            base = None;
        }
        Ok(Build {
            file,
            context,
            ignore,
            contexts: self.contexts()?,
            args: build_args,
            target: self.target.clone().filter(|target| !target.is_empty()),
            names,
            typed: self.tag.first().cloned(),
            format,
            squash: match (self.squash_all, self.squash || !layers) {
                (true, _) => Squash::All,
                (false, true) => Squash::Steps,
                (false, false) => Squash::Layers,
            },
            uses_cache: !self.no_cache && layers && !self.squash && !self.squash_all,
            cache_ttl: self.ttl()?,
            policy: which::policy(self.pull.as_deref().map_or(
                "",
                |text| match crate::build::boolean(text) {
                    Some(true) => "always",
                    Some(false) => "missing",
                    None => text,
                },
            ))?,
            platform: platform_words(&wanted),
            wanted,
            registry: self.registry.options()?,
            labels: pairs(&self.label),
            env: self.variables(&caller),
            annotations: annotations(&self.annotation)?,
            unset_env: self.unsetenv.clone(),
            unset_labels: self.unsetlabel.clone(),
            unset_annotations: self.unsetannotation.clone(),
            inherits_labels: self.inherit_labels,
            inherits_annotations: self.inherit_annotations,
            // What is to be the same each time says nothing of who made it.
            identity_label: self.identity_label && timestamp.or(epoch).is_none(),
            created_annotation: self.created_annotation,
            omits_history: self.omit_history,
            created: timestamp.or(epoch),
            times,
            base,
            skips_unused: self.skip_unused_stages,
            secrets: self
                .secret
                .iter()
                .map(|text| Secret::parse(text))
                .collect::<Result<_>>()?,
            agents: self
                .ssh
                .iter()
                .map(|text| Agent::parse(text))
                .collect::<Result<_>>()?,
            template: self.template(engine, &caller)?,
            proxies: match self.http_proxy {
                true => proxies(&caller),
                false => Vec::new(),
            },
            quiet,
            prefix: String::new(),
            why: self.why,
        })
    }

    fn ttl(&self) -> Result<Option<Duration>> {
        let Some(text) = &self.cache_ttl else {
            return Ok(None);
        };
        filter::duration(text)
            .and_then(|span| Duration::try_from(span).ok())
            .map(Some)
            .ok_or_else(|| {
                Error::usage(format!(
                    "unable to parse value provided {text:?} as --cache-ttl: time: invalid duration {text:?}"
                ))
            })
    }

    fn ignore(&self, context: Option<&Path>) -> Result<Ignore> {
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .tried(|| format!("read {}", path.display()))
                .and_then(|text| Ignore::parse(&text).map_err(|error| error.tried(path.display())))
        };
        if let Some(path) = &self.ignorefile {
            return read(path);
        }
        let Some(context) = context else {
            return Ok(Ignore::default());
        };
        // A file of the Containerfile's own goes before the context's.
        let beside = self.file.first().map(|path| path.display().to_string());
        let own = beside.iter().flat_map(|file| {
            [".containerignore", ".dockerignore"].map(|end| PathBuf::from(format!("{file}{end}")))
        });
        let shared = [".containerignore", ".dockerignore"].map(|name| context.join(name));
        match own.chain(shared).find(|path| path.is_file()) {
            Some(path) => read(&path),
            None => Ok(Ignore::default()),
        }
    }

    fn contexts(&self) -> Result<BTreeMap<String, NamedContext>> {
        let mut all = BTreeMap::new();
        for text in &self.build_context {
            let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                return Err(Error::usage(format!(
                    "while parsing additional build context: {text:?}: must be NAME=VALUE"
                )));
            };
            let image = ["container-image://", "docker-image://", "docker://"]
                .iter()
                .find_map(|prefix| value.strip_prefix(prefix));
            let context = match image {
                Some(image) => NamedContext::Image(image.to_owned()),
                None if value.contains("://") || value.starts_with("git@") => {
                    return Err(Error::unsupported(format_args!("--build-context {value}")));
                }
                None => {
                    let folder = std::fs::canonicalize(value)
                        .tried(|| format!("--build-context {name}: {value}"))?;
                    if !folder.is_dir() {
                        return Err(Error::usage(format!(
                            "--build-context {name}: {value} is no folder"
                        )));
                    }
                    NamedContext::Folder(folder)
                }
            };
            all.insert(name.to_owned(), context);
        }
        Ok(all)
    }

    fn build_args(&self, caller: &Caller) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        let mut add = |line: &str| {
            match line.split_once('=') {
                Some((name, value)) => drop(all.insert(name.to_owned(), value.to_owned())),
                // What the caller does not have is not given.
                None => {
                    let found = caller.env().iter().find(|(name, _)| name == line);
                    if let Some((_, value)) = found {
                        all.insert(line.to_owned(), value.clone());
                    }
                }
            }
        };
        for file in &self.build_arg_file {
            let text =
                std::fs::read_to_string(file).tried(|| format!("open {}", file.display()))?;
            for line in text.lines().map(str::trim) {
                if !line.is_empty() && !line.starts_with('#') {
                    add(line);
                }
            }
        }
        for line in &self.build_arg {
            add(line);
        }
        Ok(all)
    }

    fn variables(&self, caller: &Caller) -> Vec<(String, String)> {
        let one = |text: &String| match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => {
                let found = caller.env().iter().find(|(name, _)| name == text);
                found.cloned()
            }
        };
        self.env.iter().filter_map(one).collect()
    }

    /// What flags say of the containers of RUN, as `run` reads them.
    fn template(&self, engine: &Engine, caller: &Caller) -> Result<container::Options> {
        let mut line: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: &str| line.push(format!("--{flag}={value}").into());
        for (flag, values) in [
            ("add-host", &self.add_host),
            ("cap-add", &self.cap_add),
            ("cap-drop", &self.cap_drop),
            ("device", &self.device),
            ("dns", &self.dns),
            ("dns-option", &self.dns_option),
            ("dns-search", &self.dns_search),
            ("group-add", &self.group_add),
            ("security-opt", &self.security_opt),
            ("ulimit", &self.ulimit),
            ("volume", &self.volume),
        ] {
            values.iter().for_each(|value| add(flag, value));
        }
        for (flag, value) in [
            ("cgroup-parent", &self.cgroup_parent),
            ("cgroupns", &self.cgroupns),
            ("cpu-period", &self.cpu_period),
            ("cpu-quota", &self.cpu_quota),
            ("cpu-shares", &self.cpu_shares),
            ("cpuset-cpus", &self.cpuset_cpus),
            ("cpuset-mems", &self.cpuset_mems),
            ("ipc", &self.ipc),
            ("memory", &self.memory),
            ("memory-swap", &self.memory_swap),
            ("pid", &self.pid),
            ("shm-size", &self.shm_size),
            ("uts", &self.uts),
        ] {
            value.iter().for_each(|value| add(flag, value));
        }
        match self.network.as_deref() {
            None | Some("" | "default") => {}
            Some(mode) => add("network", mode),
        }
        for (flag, is_set) in [
            ("no-hosts", self.no_hosts),
            ("no-hostname", self.no_hostname),
        ] {
            if is_set {
                add(flag, "true");
            }
        }
        line.extend(["image", "command"].map(OsString::from));
        let matches = parse::matches(&RUN, "build", &line).map_err(|why| match why {
            parse::Unread::Wrong(error) => error,
            parse::Unread::Help(_) => Error::usage("build"),
        })?;
        let create = CreateArgs::from_arg_matches(&matches)
            .map_err(|error| Error::usage(error.to_string()))?;
        let defaults = ImageDefaults::default();
        let asked = create.options(&defaults, caller, &Store(&engine.storage))?;
        let mut options = asked.options;
        for mount in &options.mounts {
            if let MountKind::Volume { name, .. } = &mount.kind {
                return Err(Error::usage(format!(
                    "--volume {name}: only folders and files of the host can be mounted in a build"
                )));
            }
        }
        check_host(&mut options)?;
        // Not of the steps, and so not of what they are known by.
        options.create_command = Vec::new();
        options.env = Vec::new();
        Ok(options)
    }
}

/// What the containers of RUN are read by.
const RUN: Command = Command {
    names: &["build"],
    define: || <CreateArgs as clap::Args>::augment_args(clap::Command::new("")),
    run: |_, _| Ok(0),
    examples: &[],
};

fn parsed(name: &str, bytes: Vec<u8>) -> Result<Containerfile> {
    let text =
        String::from_utf8(bytes).map_err(|_| Error::usage(format!("{name} is not UTF-8")))?;
    if text.trim().is_empty() {
        return Err(Error::usage(format!("no contents in {name:?}")));
    }
    language::parse(name, &text)
}

/// What standard input has, and whether that is an archive.
fn from_stdin(staging: &Staging) -> Result<(File, bool)> {
    let path = staging.path().join("stdin");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .tried(|| format!("make {}", path.display()))?;
    let mut stdin = crate::sys::file::stdin()?;
    std::io::copy(&mut stdin, &mut file).tried(|| "read standard input")?;
    file.rewind()?;
    let is_archive = is_archive(&mut file)?;
    Ok((file, is_archive))
}

fn is_archive(file: &mut File) -> Result<bool> {
    let mut head = [0; 512];
    let mut count = 0;
    while count < head.len() {
        match file.read(&mut head[count..])? {
            0 => break,
            more => count += more,
        }
    }
    file.rewind()?;
    let head = &head[..count];
    let compressed: [&[u8]; 2] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd"];
    Ok(compressed.iter().any(|magic| head.starts_with(magic))
        || head.get(257..262) == Some(b"ustar"))
}

/// The folder of a context: one that is there, or one that an archive is unpacked into.
fn folder_of(context: &str, staging: &Staging) -> Result<PathBuf> {
    let is_remote = [
        "http://",
        "https://",
        "git://",
        "github.com/",
        "git@",
        "ssh://",
    ]
    .iter()
    .any(|prefix| context.starts_with(prefix));
    if is_remote {
        return Err(Error::unsupported(format_args!("the context {context}"))
            .hint("fetch it first, and build the folder"));
    }
    let path = PathBuf::from(context);
    if path.is_file() {
        let mut file = File::open(&path).tried(|| format!("open {context}"))?;
        if is_archive(&mut file)? {
            let folder = staging.path().join("context");
            build::unpack_context(file, &folder)
                .map_err(|error| error.tried(format_args!("unpack {context}")))?;
            return Ok(folder);
        }
    }
    if !path.is_dir() {
        let whole = std::path::absolute(&path).unwrap_or(path);
        return Err(Error::usage(format!(
            "context must be a directory: {:?}",
            whole.display().to_string()
        )));
    }
    Ok(path)
}

fn pairs(list: &[String]) -> Vec<(String, String)> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    list.iter().map(pair).collect()
}

fn annotations(list: &[String]) -> Result<Vec<(String, String)>> {
    if let Some(wrong) = list.iter().find(|text| !text.contains('=')) {
        return Err(Error::usage(format!(
            "annotation {wrong:?} must be of the form NAME=VALUE"
        )));
    }
    Ok(pairs(list))
}

fn proxies(caller: &Caller) -> Vec<String> {
    const NAMES: [&str; 8] = [
        "http_proxy",
        "https_proxy",
        "ftp_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "FTP_PROXY",
        "NO_PROXY",
    ];
    let found = caller.env().iter();
    found
        .filter(|(name, _)| NAMES.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// The variables that say what is built where.
fn platform_words(wanted: &Wanted) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (prefix, full) in [
        ("TARGET", wanted.full()),
        ("BUILD", Wanted::default().full()),
    ] {
        let mut parts = full.splitn(3, '/').map(str::to_owned);
        let (os, arch) = (parts.next(), parts.next());
        all.insert(format!("{prefix}OS"), os.unwrap_or_default());
        all.insert(format!("{prefix}ARCH"), arch.unwrap_or_default());
        all.insert(format!("{prefix}VARIANT"), parts.next().unwrap_or_default());
        all.insert(format!("{prefix}PLATFORM"), full);
    }
    all
}

/// Where the image's files go.
enum Target {
    Folder(PathBuf),
    Archive(PathBuf),
    Stdout,
}

impl Target {
    fn parse(text: &str) -> Result<Self> {
        if text == "-" {
            return Ok(Self::Stdout);
        }
        if !text.contains('=') {
            return Ok(Self::Folder(text.into()));
        }
        let (mut kind, mut to) = (None, None);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value),
                Some(("dest", value)) => to = Some(value),
                _ => {
                    return Err(Error::usage(format!(
                        "invalid build output option {field:?}"
                    )));
                }
            }
        }
        let to =
            to.ok_or_else(|| Error::usage("missing required key \"dest\" in build output option"))?;
        match (kind, to) {
            (Some("local" | "tar"), "-") => Ok(Self::Stdout),
            (Some("local"), to) => Ok(Self::Folder(to.into())),
            (Some("tar"), to) => Ok(Self::Archive(to.into())),
            (Some(other), _) => Err(Error::usage(format!(
                "invalid type {other:?} selected for build output options, type value must be \"local\" or \"tar\""
            ))),
            (None, _) => Err(Error::usage(
                "missing required key \"type\" in build output option",
            )),
        }
    }

    fn write(&self, engine: &Engine, layers: &[crate::id::DiffId]) -> Result<()> {
        let out = match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder).tried(|| format!("make {}", folder.display()))?;
                return build::export_folder(engine, layers, folder);
            }
            Self::Archive(path) => {
                File::create(path).tried(|| format!("create {}", path.display()))?
            }
            Self::Stdout => {
                use std::os::fd::AsFd;
                File::from(std::io::stdout().as_fd().try_clone_to_owned()?)
            }
        };
        build::export_archive(engine, layers, &out)?;
        (&out).flush().tried(|| "write the archive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_print_nothing_are_known() {
        for (line, what) in [
            ("STEP 2/3: COPY . /src", Some("copying")),
            ("[1/2] STEP 4/4: ADD a.tar /", Some("copying")),
            ("STEP 1/2: FROM busybox", None),
            ("STEP 2/2: RUN make COPY", None),
            ("COMMIT app", Some("committing")),
            ("--> 0123456789ab", None),
        ] {
            assert_eq!(is_silent(line), what, "{line}");
        }
    }
}
