//! The flags that `run` and `create` share, and the [`Options`] they come to.
//!
//! Pure: every quarrel between flags is found here, before anything is touched.
//! What can only be known by looking at the host is looked at in [`check_host`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::cli::args::host::{Host, Lookup, clean};
use crate::cli::args::network::NetworkArgs;
use crate::cli::args::streams::{self, Streams};
use crate::cli::args::{
    descriptors, env, health, image, labels, lifetime, log, mounts, namespaces, number, process,
    refused, registry, resources, secret, security, userns,
};
use crate::cli::at_least;
use crate::container::Options;
use crate::container::health::HealthLog;
use crate::container::options::Rootfs;
use crate::error::{Error, Kind, Result};
use crate::image::Healthcheck;
use crate::network::NetworkMode;

/// The flags of `run` and `create`, and IMAGE with what follows it.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct CreateArgs {
    #[command(flatten)]
    pub env: env::Args,
    #[command(flatten)]
    pub health: health::Args,
    #[command(flatten)]
    pub image: image::Args,
    #[command(flatten)]
    pub labels: labels::Args,
    #[command(flatten)]
    pub lifetime: lifetime::Args,
    #[command(flatten)]
    pub log: log::Args,
    #[command(flatten)]
    pub mounts: mounts::Args,
    #[command(flatten)]
    pub namespaces: namespaces::Args,
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(flatten)]
    pub process: process::Args,
    #[command(flatten)]
    pub refused: refused::Refused,
    #[command(flatten)]
    pub registry: registry::Args,
    #[command(flatten)]
    pub resources: resources::Args,
    #[command(flatten)]
    pub secrets: secret::Args,
    #[command(flatten)]
    pub security: security::Args,
    #[command(flatten)]
    pub userns: userns::Args,

    /// Carry only these streams: stdin, stdout, stderr
    #[arg(short, long, value_name = "STREAM")]
    pub attach: Option<Vec<String>>,

    /// Take a folder of the host in place of an image: IMAGE is its path
    ///
    /// With :O after the path the folder stays as it is, and what the container writes is
    /// kept with the container.
    #[arg(long)]
    pub rootfs: bool,

    /// The image, and the command to run in it in place of the image's own
    #[arg(value_name = "IMAGE [COMMAND [ARG...]]", trailing_var_arg = true)]
    pub operands: Vec<OsString>,
}

/// The flags of `run` alone.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct RunArgs {
    /// Leave the container running in the background, and print its id
    #[arg(short, long)]
    pub detach: bool,

    /// Keys that leave a container without ending it; ctrl-p,ctrl-q unless given, '' for none
    ///
    /// Single characters and ctrl-X, with commas between them.
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,

    /// Write the user into the container's /etc/passwd and /etc/group
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    pub passwd: bool,

    #[command(flatten)]
    pub descriptors: descriptors::Args,

    /// Remove the container when it ends, and its image if nothing else uses it
    #[arg(long)]
    pub rmi: bool,

    /// Hand the signals that the command gets to the container
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true,
          value_parser = number::boolean, value_name = "BOOL")]
    pub sig_proxy: bool,
}

/// What an image's config says of its containers.
#[derive(Debug, Clone, Default)]
pub struct ImageDefaults {
    /// `NAME=VALUE`
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub user: String,
    pub workdir: String,
    pub volumes: Vec<String>,
    /// `80/tcp`
    pub exposed: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: String,
    pub health: Option<Healthcheck>,
}

/// What the flags come to.
#[derive(Debug, Clone)]
pub struct Asked {
    pub options: Options,
    /// What the user is told of flags that have no effect.
    pub warnings: Vec<String>,
}

impl CreateArgs {
    /// IMAGE as it was typed.
    pub fn image(&self) -> Result<&str> {
        at_least(1, self.operands.len())?;
        text(&self.operands[0])
    }

    /// The folder that `--rootfs` makes the root.
    pub fn rootfs(&self, host: &dyn Host) -> Result<Option<Rootfs>> {
        if !self.rootfs {
            return Ok(None);
        }
        let text = self.image()?;
        let (path, is_overlay) = match text.rsplit_once(':') {
            Some((path, "O")) => (path, true),
            Some((_, option)) if option == "idmap" || option.starts_with("idmap=") => {
                return Err(Error::unsupported("--rootfs with idmap"));
            }
            _ => (text, false),
        };
        Ok(Some(Rootfs {
            path: host.absolute(path),
            is_overlay,
        }))
    }

    /// The container's options. Nothing is touched; see [`check_host`] for the rest.
    pub fn options(
        &self,
        image: &ImageDefaults,
        host: &dyn Host,
        lookup: &dyn Lookup,
    ) -> Result<Asked> {
        self.refused.check()?;
        // Checked with the rest, so that the error comes before anything is done.
        self.image()?;
        self.image.pull_policy()?;
        self.image.wanted_platform()?;
        self.lifetime.name()?;
        let rootfs = self.rootfs(host)?;
        self.security.check_policy(&image.labels)?;
        let operands: Vec<String> = self.operands[1..]
            .iter()
            .map(|word| text(word).map(str::to_owned))
            .collect::<Result<_>>()?;
        let command = self
            .process
            .command(&image.entrypoint, &image.command, &operands)?;
        let systemd = self.process.systemd(&command)?;
        let mut network = self.network.options(&image.exposed)?;
        if let NetworkMode::Container(name) = &mut network.mode {
            *name = lookup
                .container(name)
                .map_err(|error| error.tried("looking up container to share net namespace with"))?
                .id;
        }
        let modes = self.namespaces.modes(lookup)?;
        let (user_namespace, userns) = self.userns.mode(host, lookup)?;
        let (cap_add, cap_drop) = self.security.capabilities()?;
        self.resources.check()?;
        let cgroup =
            self.resources
                .cgroup(host.cgroup_manager(), host.has_systemd(), &modes.pid)?;
        let secrets = self.secrets.secrets(lookup)?;
        let health = self
            .health
            .health(image.health.as_ref().and_then(health::of_image))?;
        let sdnotify = self.lifetime.sdnotify_mode(health.is_some())?;
        let (ulimits, host_ulimits) = self.security.ulimits()?;
        let given = |flag: &Option<String>, image: &str| {
            flag.clone()
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| image.to_owned())
        };
        let options = Options {
            argv: command.argv,
            entrypoint: command.entrypoint,
            command: command.command,
            env: self.env.environment(&image.env, self.process.tty, host)?,
            is_image_workdir: self.process.workdir.as_deref().unwrap_or("").is_empty(),
            workdir: workdir(
                self.process.workdir.as_deref().unwrap_or(""),
                &image.workdir,
            )?,
            user: given(&self.process.user, &image.user),
            hostname: self.process.host_name(&modes.uts)?,
            labels: self.labels.labels(&image.labels, host)?,
            annotations: self.labels.annotations()?,
            interactive: self.process.interactive,
            tty: self.process.tty,
            remove: self.lifetime.rm,
            read_only: self.mounts.read_only,
            read_only_tmpfs: self.mounts.read_only_tmpfs,
            mounts: self.mounts.mounts(&image.volumes, host, lookup)?,
            init: self.process.has_init(&modes.pid)?,
            privileged: self.security.privileged,
            cap_base: self.security.base_capabilities()?,
            cap_add,
            cap_drop,
            security: self.security.security(host)?,
            devices: self.security.devices()?,
            named_devices: self.security.named_devices()?,
            ulimits,
            host_ulimits,
            sysctls: self.security.sysctls(&network.mode, &modes.ipc)?,
            shm_size: self.process.shm_bytes(&modes.ipc)?,
            network: network.mode,
            ports: network.ports,
            exposed: network.exposed,
            hosts: network.hosts,
            pid: modes.pid,
            ipc: modes.ipc,
            uts: modes.uts,
            cgroupns: modes.cgroup,
            user_namespace,
            userns,
            accounts: self.userns.accounts(true)?,
            groups: self.process.groups()?,
            umask: self.process.umask_bits()?,
            stop_signal: match (systemd.is_some(), image.stop_signal.as_str()) {
                // systemd's own for an orderly end, SIGRTMIN+3.
                (true, "") => self.lifetime.stop_signal_number("RTMIN+3")?,
                (_, image) => self.lifetime.stop_signal_number(image)?,
            },
            stop_timeout: self.lifetime.stop_seconds(),
            timeout: self.lifetime.seconds(),
            restart: self.lifetime.restart_policy()?,
            log: self.log.log(host)?,
            resources: self.resources.resources()?,
            cgroup,
            cidfile: self.lifetime.cidfile_path(host),
            pidfile: self.lifetime.pidfile_path(host),
            monitor_pidfile: self.lifetime.monitor_pidfile_path(host),
            create_command: host.argv().to_vec(),
            oom_score_adj: self.resources.oom_score()?,
            timezone: self.process.time_zone(),
            health,
            health_log: self.health.log(HealthLog::default())?,
            personality: (self.process.personality.clone()).filter(|it| !it.is_empty()),
            requires: self.lifetime.required(lookup)?,
            remove_image: false,
            sdnotify,
            secrets: secrets.mounted,
            secret_variables: secrets.variables,
            volumes_from: self.mounts.volumes_from.clone(),
            rootfs,
            systemd,
            step: None,
        };
        Ok(Asked {
            options,
            warnings: network
                .warning
                .into_iter()
                .chain(self.resources.warnings())
                .collect(),
        })
    }
}

impl RunArgs {
    /// Says what of these flags is not there yet.
    pub fn check(&self) -> Result<()> {
        match self.rmi && self.detach {
            true => Err(Error::unsupported("--rmi with --detach")),
            false => Ok(()),
        }
    }

    /// The streams to carry in the foreground.
    pub fn streams(&self, create: &CreateArgs) -> Result<Streams> {
        streams::streams(create.attach.as_deref(), create.process.interactive)
    }
}

/// Looks whether what the options name on the host is there, and puts the devices of
/// a folder in its place. Not pure.
pub fn check_host(options: &mut Options) -> Result<()> {
    if let Some(rootfs) = &options.rootfs
        && let Err(error) = std::fs::metadata(&rootfs.path)
    {
        return Err(Error::usage(format!(
            "running container create option: faccessat {}: {}",
            rootfs.path.display(),
            crate::error::words(&error)
        )));
    }
    mounts::check_sources(&options.mounts)?;
    options.devices = security::expand_devices(&options.devices)?;
    namespaces::check_paths(options)?;
    security::check_profile(&options.security.seccomp)?;
    process::check_time_zone(options.timezone.as_deref())
}

fn text(word: &OsString) -> Result<&str> {
    word.to_str()
        .ok_or_else(|| Error::usage(format!("{word:?} is not UTF-8")))
}

/// The folder the process begins in: the flag's, else the image's, else the root.
fn workdir(flag: &str, image: &str) -> Result<String> {
    if !flag.is_empty() && !flag.starts_with('/') {
        // Podman finds out when it starts the container, hence 126.
        return Err(Error::new(
            Kind::CannotInvoke,
            format!("workdir {flag:?} does not exist on container: not an absolute path"),
        ));
    }
    let chosen = if flag.is_empty() { image } else { flag };
    let clean = clean(&Path::new("/").join(chosen));
    Ok(clean.to_str().expect("made of a text").to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;
    use crate::cli::args::host::tests::Fake;
    use crate::cli::{Command, parse};

    /// Run a command in a new container
    #[derive(clap::Args, Debug)]
    struct Run {
        #[command(flatten)]
        create: CreateArgs,
        #[command(flatten)]
        run: RunArgs,
    }

    #[derive(clap::Args, Debug)]
    struct Create {
        #[command(flatten)]
        create: CreateArgs,
    }

    const RUN: Command = Command {
        names: &["run"],
        define: || Run::augment_args(clap::Command::new("")),
        run: |_, _| Ok(0),
        examples: &[],
    };

    const CREATE: Command = Command {
        names: &["create"],
        define: || Create::augment_args(clap::Command::new("")),
        run: |_, _| Ok(0),
        examples: &[],
    };

    fn run(line: &[&str]) -> Result<Run, String> {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        let matches = parse::matches(&RUN, "run", &words).map_err(|why| match why {
            parse::Unread::Help(_) => "help".to_owned(),
            parse::Unread::Wrong(error) => error.to_string(),
        })?;
        Ok(Run::from_arg_matches(&matches).unwrap())
    }

    fn options(line: &[&str]) -> Result<Options, String> {
        let fake = Fake::default();
        let run = run(line)?;
        run.run
            .check()
            .and_then(|()| run.create.options(&image(), &fake, &fake))
            .map(|asked| asked.options)
            .map_err(|error| error.to_string())
    }

    fn image() -> ImageDefaults {
        ImageDefaults {
            env: vec!["PATH=/bin".into()],
            entrypoint: Vec::new(),
            command: vec!["sh".into()],
            user: "5:6".into(),
            workdir: "wd".into(),
            volumes: vec!["/iv".into()],
            exposed: vec!["80/tcp".into()],
            labels: BTreeMap::from([("l".into(), "img".into())]),
            stop_signal: "SIGINT".into(),
            health: None,
        }
    }

    #[test]
    fn lines_are_read_as_pflag_does() {
        for (line, tty, interactive, remove, operands) in [
            (
                &["-it", "i", "sh", "-c", "x"][..],
                true,
                true,
                false,
                "i sh -c x",
            ),
            (&["-itd", "i"], true, true, false, "i"),
            (
                &["--rm=true", "-t=false", "-i=1", "i"],
                false,
                true,
                true,
                "i",
            ),
            (&["-it=false", "i"], false, true, false, "i"),
            (&["--rm=False", "i", "--rm"], false, false, false, "i --rm"),
            (&["i", "-v"], false, false, false, "i -v"),
            (&["i", "--", "x"], false, false, false, "i -- x"),
            (&["--", "i", "-t"], false, false, false, "i -t"),
            (
                &["--rm", "--", "i", "--", "x"],
                false,
                false,
                true,
                "i -- x",
            ),
            (&["-v=/a", "-v", "/b", "i"], false, false, false, "i"),
            (
                &["-e", "A", "-e", "B=", "--env", "C=D", "i"],
                false,
                false,
                false,
                "i",
            ),
            (&["--name", "--rm", "i"], false, false, false, "i"),
            (&["-tw", "-x", "i"], true, false, false, "i"),
            (&["--memory-swap", "-1", "i"], false, false, false, "i"),
        ] {
            let run = run(line).unwrap_or_else(|why| panic!("{line:?}: {why}"));
            let process = &run.create.process;
            let words: Vec<_> = run
                .create
                .operands
                .iter()
                .map(|it| it.to_str().unwrap())
                .collect();
            assert_eq!(
                (
                    process.tty,
                    process.interactive,
                    run.create.lifetime.rm,
                    words.join(" ")
                ),
                (tty, interactive, remove, operands.to_owned()),
                "{line:?}"
            );
        }
        let run = run(&[
            "-itd",
            "-h",
            "x",
            "-v=/a",
            "-ve",
            "--env-file=",
            "-l=a=b",
            "i",
        ])
        .unwrap();
        assert!(run.run.detach && run.run.sig_proxy && run.create.env.http_proxy);
        assert_eq!(run.create.process.hostname.as_deref(), Some("x"));
        assert_eq!(run.create.mounts.volume, ["/a", "e"]);
        assert_eq!(run.create.env.env_file, [""]);
        assert_eq!(run.create.labels.label, ["a=b"]);
    }

    #[test]
    fn help_is_the_commands_own() {
        let help = parse::definition(&RUN, "run").render_help().to_string();
        assert!(
            help.starts_with("Run a command in a new container\n"),
            "{help}"
        );
        assert!(!help.contains("--pod"), "{help}");
    }

    #[test]
    fn bad_lines_have_pflags_words() {
        for (line, why) in [
            (&["--nosuchflag", "i"][..], "unknown flag: --nosuchflag"),
            (&["-itX", "i"], "unknown shorthand flag: 'X' in -X"),
            (&["--name"], "flag needs an argument: --name"),
            (&["-ite"], "flag needs an argument: 'e' in -e"),
            (
                &["--rm=foo", "i"],
                "invalid argument \"foo\" for \"--rm\" flag: \
                 strconv.ParseBool: parsing \"foo\": invalid syntax",
            ),
            (
                &["--cpu-shares=-1", "i"],
                "invalid argument \"-1\" for \"-c, --cpu-shares\" flag: \
                 strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            (
                &["--http-proxy=x", "i"],
                "invalid argument \"x\" for \"--http-proxy\" flag: \
                 strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                &["--cpus", "foo", "i"],
                "invalid argument \"foo\" for \"--cpus\" flag: \
                 strconv.ParseFloat: parsing \"foo\": invalid syntax",
            ),
            (
                &["--stop-timeout=", "i"],
                "invalid argument \"\" for \"--stop-timeout\" flag: \
                 strconv.ParseUint: parsing \"\": invalid syntax",
            ),
            (&[], "requires at least 1 arg(s), only received 0"),
        ] {
            assert_eq!(options(line).unwrap_err(), why, "{line:?}");
        }
    }

    #[test]
    fn options_are_the_images_and_the_flags() {
        let plain = options(&["i"]).unwrap();
        assert_eq!(plain.argv, ["sh"]);
        assert_eq!(plain.workdir, "/wd");
        assert_eq!(plain.user, "5:6");
        assert_eq!(plain.stop_signal, 2);
        assert_eq!(plain.mounts.len(), 1);
        assert_eq!(plain.labels["l"], "img");
        assert_eq!(plain.env, ["PATH=/bin", "container=podman"]);
        let given = options(&[
            "-u=1000",
            "-w/x/",
            "-l=l=mine",
            "--stop-signal=9",
            "-e=A=1",
            "-it",
            "--rm",
            "--timeout=3",
            "--hostname=h",
            "i",
            "echo",
            "-n",
        ])
        .unwrap();
        assert_eq!(given.argv, ["echo", "-n"]);
        assert_eq!(
            (given.user.as_str(), given.workdir.as_str()),
            ("1000", "/x")
        );
        assert_eq!(
            (given.stop_signal, given.timeout, given.stop_timeout),
            (9, 3, 10)
        );
        assert_eq!(
            given.env,
            ["PATH=/bin", "container=podman", "TERM=xterm", "A=1"]
        );
        assert!(given.remove && given.tty && given.interactive);
        assert_eq!(given.hostname.as_deref(), Some("h"));
    }

    #[test]
    fn quarrels_are_found_before_anything_is_done() {
        for (line, why) in [
            (
                &["--rm", "--restart=always", "i"][..],
                "the --rm option conflicts with --restart, \
                 when the restartPolicy is not \"\" and \"no\"",
            ),
            (
                &["--replace", "i"],
                "cannot replace container without --name being set",
            ),
            (&["--pull=foo", "i"], "unsupported pull policy \"foo\""),
            (
                &["--pid=foo", "i"],
                "unrecognized namespace mode foo passed",
            ),
            (
                &["--userns=foo", "i"],
                "unrecognized namespace mode foo passed",
            ),
            (
                &["-w=rel", "i"],
                "workdir \"rel\" does not exist on container: not an absolute path",
            ),
        ] {
            assert_eq!(options(line).unwrap_err(), why, "{line:?}");
        }
    }

    #[test]
    fn refused_flags_are_named() {
        for (line, flag) in [
            (&["--pod", "p", "i"][..], "--pod"),
            (&["--rmi", "-d", "i"], "--rmi with --detach"),
        ] {
            assert_eq!(
                options(line).unwrap_err(),
                format!("{flag} is not supported by coracle yet")
            );
        }
        for line in [
            &["--health-cmd=none", "--healthcheck-interval=5s", "i"][..],
            &["--tls-verify", "--rmi=false", "i"],
            &["--cgroups=enabled", "--memory-swappiness=-1", "i"],
            &["--disable-content-trust", "--kernel-memory=1", "i"],
        ] {
            assert!(options(line).is_ok(), "{line:?}");
        }
    }

    /// tests/options.txt has those of more than a letter.
    #[test]
    fn every_letter_of_podmans_is_known() {
        for command in [&RUN, &CREATE] {
            parse::definition(command, "x").debug_assert();
        }
        let shorts: String = parse::definition(&RUN, "x")
            .get_arguments()
            .filter_map(|arg| arg.get_short())
            .collect();
        for short in "acdehilmpPqtuvw".chars() {
            assert!(shorts.contains(short), "-{short}");
        }
    }
}
