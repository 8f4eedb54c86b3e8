use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::FromArgMatches;

use super::build_refused::Refused;
use super::build_told::Told;
use crate::build::cache::remote::repository;
use crate::build::context::given::{self, Asked, Given};
use crate::build::export::Destination;
use crate::build::language::variables;
use crate::build::steps::secret::{Agent, Secret};
use crate::build::{self, Build, Failure, Squash};
use crate::cli::args::create::{CreateArgs, ImageDefaults, check_host};
use crate::cli::args::host::{Caller, Host};
use crate::cli::args::{filter, image as which, number, registry};
use crate::cli::container::made::Store;
use crate::cli::{Command, Example, parse};
use crate::container;
use crate::container::adopt::Times;
use crate::container::options::MountKind;
use crate::engine::Engine;
use crate::error::{Context, Error, Result, words};
use crate::image::{self, Format, Image, Reference};
use crate::output::Output;
use crate::storage::Staging;
use crate::sys::process::{duplicate, place_fd};

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

    /// Look for steps in this repository too
    #[arg(long, value_name = "REPOSITORY")]
    cache_from: Vec<String>,

    /// Send steps to this repository
    #[arg(long, value_name = "REPOSITORY")]
    cache_to: Vec<String>,

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

    /// Docker's flag: the image is always among the others
    #[arg(long, hide = true)]
    load: bool,

    /// Docker's flag: what a build says is plain
    #[arg(long, hide = true, value_name = "KIND")]
    progress: Option<String>,

    /// An old spelling of --pull=always
    #[arg(long, hide = true)]
    pull_always: bool,

    /// An old spelling of --pull=never
    #[arg(long, hide = true)]
    pull_never: bool,

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

    /// How RUN steps are kept apart: `oci` or `rootless`, which are the same, or `chroot`
    ///
    /// With chroot they share the network, the processes and IPC of the host, where other
    /// flags do not say otherwise; all else is as with oci.
    #[arg(long, value_name = "TYPE")]
    isolation: Option<String>,

    /// How many stages may be built at the same time; 0: as many as can be
    #[arg(long, value_name = "NUMBER", default_value = "1", hide_default_value = true,
          value_parser = number::signed)]
    jobs: i64,

    /// Set a label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,

    /// A label of images between steps, of which there are none
    #[arg(long, value_name = "NAME=VALUE", hide = true)]
    layer_label: Vec<String>,

    /// Make a layer of each step, and keep it for the next build
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = number::boolean, value_name = "BOOL")]
    layers: Option<bool>,

    /// Write what is printed to FILE, in place of standard output and standard error
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,

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

    /// Let RUN steps read standard input; none of them comes from the cache then
    #[arg(long)]
    stdin: bool,

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
    output.flush();
    let log = args.log_to()?;
    let built = match log {
        None => built(&args, engine, output),
        Some(streams) => {
            let built = built(&args, engine, &mut Output::new());
            streams.restore()?;
            built
        }
    };
    match built {
        Ok(()) => Ok(0),
        Err(Failure::Other(error)) => Err(error),
        Err(Failure::Command { code, error }) => {
            output.error(&error);
            Ok(u8::try_from(code).unwrap_or(1))
        }
    }
}

fn built(args: &Args, engine: &Engine, output: &mut Output) -> Result<(), Failure> {
    let target = args.output.as_deref().map(Destination::parse);
    let target = target.transpose()?.flatten();
    let quiet = args.quiet || matches!(target, Some(Destination::Stdout));
    let platforms = args.platforms();
    let list = args.manifest.as_deref().map(Reference::local).transpose()?;
    container::sweep(engine)?;
    let mut images = Vec::new();
    engine.interruptible(|| -> Result<(), Failure> {
        let staging = engine.storage.stage()?;
        let given = args.given(engine, &staging)?;
        for platform in &platforms {
            let mut build = args.build(engine, given.clone(), platform.as_ref())?;
            if let (Some(platform), true) = (platform, platforms.len() > 1) {
                build.prefix = format!("[{platform}] ");
            }
            images.push(one(engine, &mut build, quiet, output)?);
        }
        Ok(())
    })?;
    let image = images.last().expect("there is a platform, if only ours");
    if let Some(list) = &list {
        build::add_to_list(engine, list, &images)?;
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
    Ok(())
}

/// Standard streams that a log stands in for.
struct Streams([Option<OwnedFd>; 2]);

impl Streams {
    /// Has all that is printed written to `file`; standard output only with `both`.
    fn replace(file: &File, both: bool) -> Result<Self> {
        let mut old = [None, None];
        for number in if both { 1..=2 } else { 2..=2 } {
            old[number as usize - 1] = duplicate(number);
            place_fd(file.as_fd(), number)?;
        }
        Ok(Self(old))
    }

    fn restore(self) -> Result<()> {
        for (stream, number) in self.0.iter().zip(1..) {
            if let Some(stream) = stream {
                place_fd(stream.as_fd(), number)?;
            }
        }
        Ok(())
    }
}

/// Builds for one platform.
fn one(
    engine: &Engine,
    build: &mut Build,
    quiet: bool,
    output: &mut Output,
) -> Result<Image, Failure> {
    let mut told = Told::new(output, quiet, build.jobs != 1);
    build.beats = told.beats();
    let built = build::build(engine, build, &mut |said| told.tell(said));
    told.finish();
    Ok(built?.image)
}

impl Args {
    /// Begins to write to the file of `--logfile`, if there is one.
    fn log_to(&self) -> Result<Option<Streams>> {
        let Some(path) = &self.logfile else {
            return Ok(None);
        };
        let mut file = File::options();
        file.write(true).create(true).truncate(true).mode(0o600);
        let file = file
            .open(path)
            .map_err(|error| Error::other(format!("open {}: {}", path.display(), words(&error))))?;
        let both = self.output.as_deref() != Some("-");
        Streams::replace(&file, both).map(Some)
    }

    fn given(&self, engine: &Engine, staging: &Staging) -> Result<Given> {
        let context = match self.operands.as_slice() {
            [] => None,
            [context] => Some(context.as_str()),
            other => {
                return Err(Error::usage(format!(
                    "accepts at most 1 arg(s), received {}",
                    other.len()
                )));
            }
        };
        let asked = Asked {
            context,
            files: &self.file,
            ignore: self.ignorefile.as_deref(),
            options: &self.registry.options()?,
        };
        asked.find(engine, staging)
    }

    /// The platforms that are built for; none: the machine's, or what other flags say.
    fn platforms(&self) -> Vec<Option<String>> {
        let all = self.platform.iter().flat_map(|text| text.split(','));
        let all: Vec<_> = all.map(|it| Some(it.to_owned())).collect();
        if all.is_empty() { vec![None] } else { all }
    }

    fn build(&self, engine: &Engine, given: Given, platform: Option<&String>) -> Result<Build> {
        let caller = Caller::read()?.with(&engine.settings);
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
        let shares = match isolation.as_deref() {
            None | Some("" | "oci" | "rootless" | "default") => false,
            Some("chroot") => true,
            Some(other) => {
                return Err(Error::usage(format!(
                    "unrecognized isolation type {other:?}"
                )));
            }
        };
        let jobs = usize::try_from(self.jobs).map_err(|_| {
            Error::usage("building: invalid value for jobs.  It must be a positive integer")
        })?;
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
        let mut build_args = variables::given(&self.build_arg, &self.build_arg_file, caller.env())?;
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
        let steps = layers && !self.squash && !self.squash_all;
        Ok(Build {
            file: given.file,
            context: given.folder,
            ignore: given.ignore,
            contexts: (self.build_context.iter())
                .map(|text| given::named(text))
                .collect::<Result<_>>()?,
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
            uses_cache: !self.no_cache && steps,
            cache_ttl: self.ttl()?,
            cache_from: repositories("cache-from", &self.cache_from, steps)?,
            cache_to: repositories("cache-to", &self.cache_to, steps)?,
            policy: which::policy(self.pull_policy())?,
            platform: variables::platform_words(&wanted),
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
            jobs,
            beats: false,
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
            template: self.template(engine, &caller, shares)?,
            stdin: self.stdin,
            proxies: match self.http_proxy {
                true => proxies(&caller),
                false => Vec::new(),
            },
            prefix: String::new(),
            why: self.why,
        })
    }

    /// The word for when to pull; empty if none was given.
    fn pull_policy(&self) -> &str {
        match self.pull.as_deref() {
            _ if self.pull_always => "always",
            _ if self.pull_never => "never",
            None => "",
            Some(text) => match crate::build::boolean(text) {
                Some(true) => "always",
                Some(false) => "missing",
                None => text,
            },
        }
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

    /// What flags say of the containers of RUN, as `run` reads them. Those that `share`
    /// have the host's namespaces where no flag says otherwise.
    fn template(
        &self,
        engine: &Engine,
        caller: &Caller,
        shares: bool,
    ) -> Result<container::Options> {
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
            let own = value.as_deref();
            let is_shared = shares && matches!(flag, "ipc" | "pid");
            own.or(is_shared.then_some("host"))
                .into_iter()
                .for_each(|value| add(flag, value));
        }
        match self.network.as_deref() {
            None | Some("" | "default") if shares => add("network", "host"),
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

/// Of no use where steps are no layers.
fn repositories(flag: &str, texts: &[String], steps: bool) -> Result<Vec<Reference>> {
    let all = texts.iter().map(|text| repository(flag, text));
    let all = all.collect::<Result<Vec<_>>>()?;
    Ok(if steps { all } else { Vec::new() })
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
