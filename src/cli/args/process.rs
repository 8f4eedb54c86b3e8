//! The container's process and where it runs: command, user, folder, terminal.

use std::path::Path;

use crate::cli::args::{csv, size};
use crate::container::options::{NamespaceMode, Systemd};
use crate::error::{Error, Kind, Result};

/// Flags of the container's process.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Run this in place of the image's entrypoint: a command, or a JSON list of words
    ///
    /// The image's own command is left out too. '' or '[]' is no entrypoint.
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,

    /// Give the process a further group: a name or an id of the image's, or keep-groups
    ///
    /// keep-groups lets it keep the groups the caller is in.
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,

    /// Name of the container's host
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// Run an init that hands signals on and reaps processes
    #[arg(long)]
    pub init: bool,

    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,

    /// A program to run as the first process with --init, in place of coracle's own
    #[arg(long, value_name = "FILE", hide = true)]
    pub init_path: Option<String>,

    /// Execution domain: LINUX, or LINUX32 for programs that want a 32-bit machine
    #[arg(long, value_name = "DOMAIN")]
    pub personality: Option<String>,

    /// Size of /dev/shm: a number with b, k, m or g
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,

    /// Size of each folder of its own that a systemd in the container gets, as --shm-size
    #[arg(long, value_name = "SIZE")]
    pub shm_size_systemd: Option<String>,

    /// Whether a systemd in the container is prepared for: true, false or always
    ///
    /// With true, the default, it is where the command is systemd, by this name or as
    /// /sbin/init, /usr/sbin/init or /usr/local/sbin/init. It gets a tmpfs at /run,
    /// /run/lock, /tmp and /var/log/journal, a control group it may write to, the variable
    /// container_uuid, and SIGRTMIN+3 as the signal to stop by.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "true",
        hide_default_value = true
    )]
    pub systemd: String,

    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Time zone: a name such as Europe/Paris, or local for the host's
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,

    /// Permissions that new files lack, in octal; 0022 unless given
    #[arg(long, value_name = "MASK")]
    pub umask: Option<String>,

    /// Run as this user: a name or id of the image's, with :GROUP after it
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Folder the process begins in
    #[arg(short, long, value_name = "FOLDER")]
    pub workdir: Option<String>,
}

/// Bytes of /dev/shm unless said: Podman's 65536k, in units of 1000.
const SHM_SIZE: u64 = 65_536_000;

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub argv: Vec<String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
}

impl Args {
    /// The image's entrypoint and command, as far as flags and operands leave them.
    pub fn command(
        &self,
        image_entrypoint: &[String],
        image_command: &[String],
        operands: &[String],
    ) -> Result<Command> {
        let given = self.entrypoint.as_deref().and_then(entrypoint);
        let command = match (&given, operands) {
            (None, []) => image_command,
            // An entrypoint of one's own goes without the image's command.
            _ => operands,
        };
        let is_none = given.as_ref().is_some_and(Vec::is_empty);
        let entrypoint = given.unwrap_or_else(|| image_entrypoint.to_vec());
        let command = command.to_vec();
        let mut argv = entrypoint.clone();
        if is_none && command.is_empty() {
            argv.extend_from_slice(image_command);
        } else {
            if entrypoint == [""] && !command.is_empty() {
                argv.clear();
            }
            argv.extend_from_slice(&command);
        }
        if argv.is_empty() {
            return Err(Error::new(
                Kind::CommandNotFound,
                "no command or entrypoint provided, and no CMD or ENTRYPOINT from image",
            ));
        }
        Ok(Command {
            argv,
            entrypoint,
            command,
        })
    }

    pub fn groups(&self) -> Result<Vec<String>> {
        let mut groups = csv::all("--group-add", &self.group_add)?;
        groups.retain(|group| !group.is_empty());
        if groups.len() > 1 && groups.iter().any(|group| group == "keep-groups") {
            return Err(Error::usage(
                "the '--group-add keep-groups' option is not allowed with any other \
                 --group-add options",
            ));
        }
        Ok(groups)
    }

    /// `--hostname`, where the UTS namespace is the container's own.
    pub fn host_name(&self, uts: &NamespaceMode) -> Result<Option<String>> {
        let Some(name) = self.hostname.clone().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        if *uts != NamespaceMode::Private {
            return Err(Error::usage(
                "invalid config provided: cannot set hostname when running in the host UTS \
                 namespace: invalid configuration",
            ));
        }
        // The kernel's limit (uname(2), __NEW_UTS_LEN).
        if name.len() > 64 {
            return Err(Error::usage(format!(
                "invalid hostname {name:?}: longer than 64 bytes"
            )));
        }
        Ok(Some(name))
    }

    pub fn has_init(&self, pid: &NamespaceMode) -> Result<bool> {
        if self.init && *pid != NamespaceMode::Private {
            return Err(Error::usage(
                "cannot add init binary as PID 1 (PID namespace isn't private)",
            ));
        }
        if let (true, Some(path)) = (self.init, self.init_path.as_deref())
            && !path.is_empty()
        {
            return Err(match std::path::Path::new(path).exists() {
                true => Error::unsupported("--init-path"),
                false => Error::usage(format!(
                    "container-init binary not found on the host: faccessat {path}: no such file or directory"
                )),
            });
        }
        Ok(self.init)
    }

    /// Bytes of /dev/shm, which must be the container's own to have a size.
    pub fn shm_bytes(&self, ipc: &NamespaceMode) -> Result<u64> {
        let Some(text) = self.shm_size.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(SHM_SIZE);
        };
        let size = bytes("--shm-size", text)?;
        let taken = match ipc {
            NamespaceMode::Host => "host",
            NamespaceMode::None => "none",
            _ => return Ok(size),
        };
        Err(Error::usage(format!(
            "invalid config provided: cannot set shmsize when running in the {{{taken} }} IPC Namespace"
        )))
    }

    /// What `--systemd` comes to for what is executed.
    pub fn systemd(&self, command: &Command) -> Result<Option<Systemd>> {
        let is_systemd = match self.systemd.to_ascii_lowercase().as_str() {
            "false" => false,
            // Podman looks at the first word of each, which is not all that is executed.
            "true" => [&command.entrypoint, &command.command]
                .into_iter()
                .filter_map(|words| words.first())
                .any(|word| is_init(word)),
            "always" if self.init => {
                return Err(Error::usage(
                    "cannot use container-init binary with systemd=always",
                ));
            }
            "always" => true,
            _ => {
                return Err(Error::usage(
                    "invalid config provided: --systemd values must be one of \
                     \"true, false, always\": invalid configuration",
                ));
            }
        };
        let size = match self.shm_size_systemd.as_deref() {
            None | Some("") => 0,
            Some(text) => bytes("--shm-size-systemd", text)?,
        };
        Ok(is_systemd.then_some(Systemd { size }))
    }

    pub fn umask_bits(&self) -> Result<u32> {
        match self.umask.as_deref() {
            None | Some("") => Ok(0o022),
            Some(text) if text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b)) => {
                Ok(u32::from_str_radix(text, 8).expect("four octal digits at most"))
            }
            Some(text) => Err(Error::usage(format!(
                "running container create option: invalid umask string {text}: invalid argument"
            ))),
        }
    }

    pub fn time_zone(&self) -> Option<String> {
        self.tz.clone().filter(|zone| !zone.is_empty())
    }
}

/// Whether a command is systemd, by one of the names it goes by.
fn is_init(word: &str) -> bool {
    let inits = ["/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"];
    inits.contains(&word)
        || Path::new(word)
            .file_name()
            .is_some_and(|it| it == "systemd")
}

/// `--entrypoint`: a JSON list of words, or one word. None: JSON's null, which is as
/// if it were not given.
fn entrypoint(text: &str) -> Option<Vec<String>> {
    match serde_json::from_str::<Option<Vec<String>>>(text) {
        Ok(words) => words,
        Err(_) => Some(vec![text.to_owned()]),
    }
}

fn bytes(flag: &str, text: &str) -> Result<u64> {
    size::binary(text)
        .map(|bytes| u64::try_from(bytes).unwrap_or(0))
        .map_err(|why| Error::usage(format!("unable to translate {flag}: {why}")))
}

/// Whether the time zone is one the host knows. Not pure.
pub fn check_time_zone(zone: Option<&str>) -> Result<()> {
    let Some(zone) = zone.filter(|zone| *zone != "local") else {
        return Ok(());
    };
    let is_name = !zone.starts_with('/') && !zone.split('/').any(|part| part == "..");
    let path = std::path::Path::new("/usr/share/zoneinfo").join(zone);
    if is_name && (path.is_file() || zone == "UTC") {
        Ok(())
    } else {
        Err(Error::usage(format!(
            "running container create option: finding timezone: unknown time zone {zone}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(flags: &[&str]) -> Args {
        use clap::Parser;
        Line::parse_from(std::iter::once(&"x").chain(flags)).args
    }

    fn own(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_entrypoint_of_ones_own_goes_without_the_images_command() {
        let image = (own(&["/bin/echo", "E"]), own(&["c1", "c2"]));
        for (flag, operands, argv, entrypoint, command) in [
            (
                None,
                &[][..],
                "/bin/echo E c1 c2",
                &["/bin/echo", "E"][..],
                &["c1", "c2"][..],
            ),
            (
                None,
                &["x", "y"],
                "/bin/echo E x y",
                &["/bin/echo", "E"],
                &["x", "y"],
            ),
            (Some("foo"), &[], "foo", &["foo"], &[]),
            (Some("foo bar"), &["x"], "foo bar x", &["foo bar"], &["x"]),
            (
                Some("[\"foo\",\"bar\"]"),
                &["x"],
                "foo bar x",
                &["foo", "bar"],
                &["x"],
            ),
            (Some("[\"foo\""), &[], "[\"foo\"", &["[\"foo\""], &[]),
            (Some(" [\"a\"]"), &[], "a", &["a"], &[]),
            (Some("[]"), &[], "c1 c2", &[], &[]),
            (Some("[]"), &["x"], "x", &[], &["x"]),
            (Some(""), &[], "", &[""], &[]),
            (Some(""), &["x"], "x", &[""], &["x"]),
            (
                Some("null"),
                &[],
                "/bin/echo E c1 c2",
                &["/bin/echo", "E"],
                &["c1", "c2"],
            ),
        ] {
            let flags: Vec<&str> = flag.iter().flat_map(|it| ["--entrypoint", it]).collect();
            let given = args(&flags)
                .command(&image.0, &image.1, &own(operands))
                .unwrap();
            assert_eq!(
                (given.argv.join(" "), given.entrypoint, given.command),
                (argv.to_owned(), own(entrypoint), own(command)),
                "{flag:?} {operands:?}"
            );
        }
        assert_eq!(
            args(&[]).command(&[], &[], &[]).unwrap_err().to_string(),
            "no command or entrypoint provided, and no CMD or ENTRYPOINT from image"
        );
    }

    #[test]
    fn groups_are_kept_alone_or_added() {
        assert_eq!(
            args(&["--group-add=1,x", "--group-add="]).groups().unwrap(),
            ["1", "x"]
        );
        assert_eq!(
            args(&["--group-add=keep-groups,1"])
                .groups()
                .unwrap_err()
                .to_string(),
            "the '--group-add keep-groups' option is not allowed with any other \
             --group-add options"
        );
    }

    #[test]
    fn what_a_shared_namespace_has_cannot_be_set() {
        use NamespaceMode::{Container, Host, None, Private, Shareable};
        let name = |flags: &[&str], uts| {
            args(flags)
                .host_name(&uts)
                .map_err(|error| error.to_string())
        };
        assert_eq!(name(&["-h", "x"], Private), Ok(Some("x".into())));
        assert_eq!(name(&["--hostname="], Host), Ok(Option::None));
        for uts in [Host, Container("x".into())] {
            assert_eq!(
                name(&["--hostname=x"], uts).unwrap_err(),
                "invalid config provided: cannot set hostname when running in the host UTS \
                 namespace: invalid configuration"
            );
        }
        assert!(name(&["-h", &"a".repeat(65)], Private).is_err());

        let size = |flags: &[&str], ipc| {
            args(flags)
                .shm_bytes(&ipc)
                .map_err(|error| error.to_string())
        };
        assert_eq!(size(&[], Host), Ok(65_536_000));
        assert_eq!(size(&["--shm-size="], Host), Ok(65_536_000));
        assert_eq!(size(&["--shm-size=1m"], Shareable), Ok(1 << 20));
        for (flags, ipc, why) in [
            (
                ["--shm-size=foo"],
                Private,
                "unable to translate --shm-size: invalid size: 'foo'",
            ),
            (
                ["--shm-size=1m"],
                Host,
                "invalid config provided: cannot set shmsize when running in the {host } IPC Namespace",
            ),
            (
                ["--shm-size=1m"],
                None,
                "invalid config provided: cannot set shmsize when running in the {none } IPC Namespace",
            ),
        ] {
            assert_eq!(size(&flags, ipc).unwrap_err(), why);
        }
        assert!(args(&["--init"]).has_init(&Private).unwrap());
        assert_eq!(
            args(&["--init"]).has_init(&Host).unwrap_err().to_string(),
            "cannot add init binary as PID 1 (PID namespace isn't private)"
        );
    }

    #[test]
    fn umasks_are_octal() {
        for (flags, bits) in [
            (&[][..], 0o022),
            (&["--umask="], 0o022),
            (&["--umask=77"], 0o077),
            (&["--umask=0"], 0),
        ] {
            assert_eq!(args(flags).umask_bits().unwrap(), bits);
        }
        for bad in ["foo", "9", "77777"] {
            assert_eq!(
                args(&["--umask", bad])
                    .umask_bits()
                    .unwrap_err()
                    .to_string(),
                format!(
                    "running container create option: invalid umask string {bad}: invalid argument"
                )
            );
        }
    }

    #[test]
    fn systemd_is_known_by_the_first_word() {
        let found = |flags: &[&str], entrypoint: &[&str], command: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect();
            args(flags).systemd(&Command {
                argv: Vec::new(),
                entrypoint: owned(entrypoint),
                command: owned(command),
            })
        };
        for (flags, entrypoint, command, size) in [
            (&[][..], &[][..], &["/sbin/init"][..], Some(0)),
            (&[], &["/bin/sh", "-c"], &["/sbin/init"], Some(0)),
            (&[], &["/usr/lib/systemd/systemd"], &["sh"], Some(0)),
            (&[], &[], &["systemd"], Some(0)),
            (&[], &[], &["init"], None),
            (&[], &["sh", "/sbin/init"], &[], None),
            (&["--systemd=False"], &[], &["/sbin/init"], None),
            (&["--systemd=always"], &[], &["true"], Some(0)),
            (
                &["--systemd=always", "--shm-size-systemd=1k"],
                &[],
                &[],
                Some(1024),
            ),
        ] {
            let wanted = size.map(|size| Systemd { size });
            assert_eq!(found(flags, entrypoint, command).unwrap(), wanted);
        }
        for (flags, why) in [
            (
                &["--systemd=1"][..],
                "invalid config provided: --systemd values must be one of \
                 \"true, false, always\": invalid configuration",
            ),
            (
                &["--systemd=always", "--init"],
                "cannot use container-init binary with systemd=always",
            ),
        ] {
            assert_eq!(found(flags, &[], &[]).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn time_zones_are_the_hosts() {
        assert!(check_time_zone(Some("local")).is_ok());
        assert!(check_time_zone(Some("UTC")).is_ok());
        for bad in ["foo", "../../../etc/passwd", "/etc/passwd"] {
            assert_eq!(
                check_time_zone(Some(bad)).unwrap_err().to_string(),
                format!(
                    "running container create option: finding timezone: unknown time zone {bad}"
                )
            );
        }
    }
}
