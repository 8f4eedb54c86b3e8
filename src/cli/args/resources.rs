//! Limits: memory, processors, processes, block devices; and the control group they
//! hold for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cgroup::{Manager, Mode};
use crate::cli::args::{csv, number, size};
use crate::container::options::{Cgroup, DeviceLimit, Io, NamespaceMode, Resources};
use crate::error::{Error, Result};

/// Flags of limits.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Share of block input and output among others that want it, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<String>,

    /// The same for one device: PATH:WEIGHT
    #[arg(long, value_name = "DEVICE")]
    pub blkio_weight_device: Vec<String>,

    /// Write a value into a file of the container's cgroup: memory.high=1073741824
    #[arg(long, value_name = "FILE=VALUE")]
    pub cgroup_conf: Vec<String>,

    /// Make the container's cgroup in this one
    ///
    /// A slice where systemd makes cgroups, else a path from the root of all cgroups,
    /// made as far as it is missing.
    #[arg(long, value_name = "CGROUP")]
    pub cgroup_parent: Option<String>,

    /// Whether the container has a cgroup of its own: enabled, disabled, no-conmon, split
    ///
    /// With no-conmon the monitor stays in the cgroup of the caller; split divides
    /// that one between the two.
    #[arg(long, value_name = "MODE")]
    pub cgroups: Option<String>,

    /// Length of the processor time period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = number::unsigned)]
    pub cpu_period: Option<u64>,

    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = number::signed)]
    pub cpu_quota: Option<i64>,

    /// Weight among others that want processor time; 1024 is usual
    #[arg(short, long, value_name = "SHARES", value_parser = number::unsigned)]
    pub cpu_shares: Option<u64>,

    /// How many processors' time it may use: 1.5
    #[arg(long, value_name = "NUMBER", value_parser = number::float)]
    pub cpus: Option<f64>,

    /// Of cgroup v1 with root alone: accepted, with a warning
    #[arg(long, value_name = "MICROSECONDS", value_parser = number::unsigned, hide = true)]
    pub cpu_rt_period: Option<u64>,

    /// Of cgroup v1 with root alone: accepted, with a warning
    #[arg(long, value_name = "MICROSECONDS", value_parser = number::signed, hide = true)]
    pub cpu_rt_runtime: Option<i64>,

    /// Processors it may run on: 0-3, 0,1
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,

    /// Memory nodes it may use: 0-3, 0,1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,

    /// Of containers with root alone: refused
    #[arg(long, value_name = "RULE", hide = true)]
    pub device_cgroup_rule: Vec<String>,

    /// Most bytes a second it may read from a device: PATH:BYTES, with kb, mb or gb
    #[arg(long, value_name = "DEVICE")]
    pub device_read_bps: Vec<String>,

    /// Most reads a second from a device: PATH:NUMBER
    #[arg(long, value_name = "DEVICE")]
    pub device_read_iops: Vec<String>,

    /// Most bytes a second it may write to a device: PATH:BYTES, with kb, mb or gb
    #[arg(long, value_name = "DEVICE")]
    pub device_write_bps: Vec<String>,

    /// Most writes a second to a device: PATH:NUMBER
    #[arg(long, value_name = "DEVICE")]
    pub device_write_iops: Vec<String>,

    /// Most memory it may use: a number with b, k, m or g
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,

    /// Memory it is held to when memory is short
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<String>,

    /// Most memory and swap together; -1 is no limit, the default twice --memory
    #[arg(long, value_name = "SIZE")]
    pub memory_swap: Option<String>,

    /// Of cgroup v1 with root alone: -1 is as it is
    #[arg(long, value_name = "NUMBER", value_parser = number::signed, hide = true)]
    pub memory_swappiness: Option<i64>,

    /// Of cgroup v1 with root alone
    #[arg(long, hide = true)]
    pub oom_kill_disable: bool,

    /// Podman takes this flag, which does nothing any more
    #[arg(long, value_name = "SIZE", hide = true)]
    pub kernel_memory: Option<String>,

    /// Which the kernel ends first when memory is out, -1000 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = number::signed)]
    pub oom_score_adj: Option<i64>,

    /// Most processes and threads; -1 or 0 is no limit
    #[arg(long, value_name = "NUMBER", value_parser = number::signed)]
    pub pids_limit: Option<i64>,
}

/// Microseconds of a period where only --cpus is given.
const PERIOD: u64 = 100_000;

impl Args {
    pub fn resources(&self) -> Result<Resources> {
        let memory = amount(&self.memory)?;
        let memory_swap = match self.memory_swap.as_deref() {
            Some("-1") => Some(-1),
            // As much swap as memory.
            _ => amount(&self.memory_swap)?.or(memory.map(|bytes| bytes.saturating_mul(2))),
        };
        if let (Some(memory), Some(swap)) = (memory, memory_swap)
            && swap > 0
            && swap < memory
        {
            return Err(Error::usage(
                "minimum memoryswap limit should be larger than memory limit, see usage",
            ));
        }
        let (cpu_quota, cpu_period) = self.processor_time()?;
        let list = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Resources {
            memory,
            memory_swap,
            memory_reservation: amount(&self.memory_reservation)?,
            cpu_quota,
            cpu_period,
            cpu_shares: self.cpu_shares.filter(|&shares| shares != 0),
            cpuset_cpus: list(&self.cpuset_cpus),
            cpuset_mems: list(&self.cpuset_mems),
            pids: self.pids_limit,
            io: self.io()?,
            files: self.files()?,
            // -1 is Podman's default.
            swappiness: self.memory_swappiness.and_then(|it| u64::try_from(it).ok()),
            oom_kill_disable: self.oom_kill_disable,
        })
    }

    /// Which cgroup it is to have. `manager` is `--cgroup-manager`, `has_systemd`
    /// whether systemd makes cgroups if nothing is said.
    pub fn cgroup(
        &self,
        manager: Option<Manager>,
        has_systemd: bool,
        pid: &NamespaceMode,
    ) -> Result<Cgroup> {
        let invalid = |words: &str| Err(Error::usage(format!("{words}: invalid argument")));
        let mode = match self.cgroups.as_deref() {
            None | Some("" | "enabled") => Mode::Enabled,
            Some("disabled") => Mode::Disabled,
            Some("no-conmon") => Mode::NoConmon,
            Some("split") => Mode::Split,
            Some(other) => {
                return invalid(&format!(
                    "running container create option: invalid cgroup mode {other:?}"
                ));
            }
        };
        let parent = self.cgroup_parent.clone().filter(|it| !it.is_empty());
        if mode == Mode::Disabled && *pid == NamespaceMode::Host {
            return invalid("containers not creating Cgroups must create a private PID namespace");
        }
        if let Some(parent) = &parent {
            let by_systemd = match manager {
                Some(manager) => manager == Manager::Systemd,
                None => has_systemd,
            };
            match (mode, by_systemd, parent.ends_with(".slice")) {
                (Mode::Disabled, ..) => {
                    return invalid("cannot set cgroup parent if not creating cgroups");
                }
                (Mode::Split, ..) => {
                    return invalid("cannot specify --cgroup-mode=split with a cgroup-parent");
                }
                (_, true, false) => {
                    return invalid(
                        "did not receive systemd slice as cgroup parent when using systemd to manage cgroups",
                    );
                }
                (_, false, true) => {
                    return invalid("systemd slice received as cgroup parent when using cgroupfs");
                }
                _ => {}
            }
        }
        Ok(Cgroup {
            mode,
            parent,
            manager,
        })
    }

    /// What the user is told of flags that have no effect.
    pub fn warnings(&self) -> Vec<String> {
        [
            ("period", self.cpu_rt_period.unwrap_or(0) != 0),
            ("runtime", self.cpu_rt_runtime.unwrap_or(0) != 0),
        ]
        .into_iter()
        .filter(|(_, is_given)| *is_given)
        .map(|(what, _)| format!("Realtime {what} not supported on cgroups V2 systems"))
        .collect()
    }

    /// Rules of devices are for root to make.
    pub fn check(&self) -> Result<()> {
        let Some(rule) = self.device_cgroup_rule.first() else {
            return Ok(());
        };
        Err(Error::usage(if rule.split(' ').count() == 3 {
            "device cgroup rules are not supported in rootless mode or in a user namespace"
                .to_owned()
        } else {
            format!(
                "invalid device cgroup rule requires type, major:Minor, and access rules: {rule:?}"
            )
        }))
    }

    fn io(&self) -> Result<Io> {
        let weight = match self.blkio_weight.as_deref() {
            None | Some("") => None,
            Some(text) => number::unsigned(text)
                .and_then(|weight| {
                    u16::try_from(weight).map_err(|_| {
                        format!("strconv.ParseUint: parsing {text:?}: value out of range")
                    })
                })
                .map(|weight| Some(weight).filter(|&weight| weight > 0))
                .map_err(|why| Error::usage(format!("invalid value for blkio-weight: {why}")))?,
        };
        Ok(Io {
            weight,
            device_weights: devices("--blkio-weight-device", &self.blkio_weight_device, |text| {
                let weight = number::unsigned(text).ok();
                weight
                    .filter(|weight| *weight == 0 || (10..=1000).contains(weight))
                    .ok_or_else(|| ("weight", String::new()))
            })?,
            read_bps: devices("--device-read-bps", &self.device_read_bps, bytes)?,
            write_bps: devices("--device-write-bps", &self.device_write_bps, bytes)?,
            read_iops: devices("--device-read-iops", &self.device_read_iops, operations)?,
            write_iops: devices("--device-write-iops", &self.device_write_iops, operations)?,
        })
    }

    fn files(&self) -> Result<BTreeMap<String, String>> {
        csv::all("--cgroup-conf", &self.cgroup_conf)?
            .iter()
            .map(|text| match text.split_once('=') {
                Some((file, value)) => Ok((file.to_owned(), value.to_owned())),
                None => Err(Error::usage("--cgroup-conf must be formatted KEY=VALUE")),
            })
            .collect()
    }

    /// Quota and period.
    fn processor_time(&self) -> Result<(Option<i64>, Option<u64>)> {
        let Some(cpus) = self.cpus else {
            return Ok((
                self.cpu_quota.filter(|&quota| quota != 0),
                self.cpu_period.filter(|&period| period != 0),
            ));
        };
        for (flag, is_given) in [
            ("--cpu-period", self.cpu_period.is_some()),
            ("--cpu-quota", self.cpu_quota.is_some()),
        ] {
            if is_given {
                return Err(Error::usage(format!(
                    "{flag} and --cpus cannot be set together"
                )));
            }
        }
        if cpus.is_finite() && cpus > 0.0 {
            Ok((Some((cpus * PERIOD as f64) as i64), Some(PERIOD)))
        } else {
            Ok((None, None))
        }
    }

    pub fn oom_score(&self) -> Result<Option<i32>> {
        self.oom_score_adj
            .map(|score| match i32::try_from(score) {
                Ok(score) if (-1000..=1000).contains(&score) => Ok(score),
                _ => Err(Error::usage(format!(
                    "invalid --oom-score-adj {score}: must be between -1000 and 1000"
                ))),
            })
            .transpose()
    }
}

/// What is wrong with the value of a device, and how it should look.
type Wrong = (&'static str, String);

/// `PATH:VALUE` of each.
fn devices(
    flag: &str,
    values: &[String],
    read: impl Fn(&str) -> Result<u64, Wrong>,
) -> Result<Vec<DeviceLimit>> {
    csv::all(flag, values)?
        .iter()
        .map(|text| {
            let (path, value) = text
                .split_once(':')
                .ok_or_else(|| Error::usage(format!("bad format: {text}")))?;
            if !path.starts_with("/dev/") {
                return Err(Error::usage(format!("bad format for device path: {text}")));
            }
            let value = read(value).map_err(|(what, format)| {
                Error::usage(format!("invalid {what} for device: {text}{format}"))
            })?;
            Ok(DeviceLimit {
                path: PathBuf::from(path),
                value,
            })
        })
        .collect()
}

fn bytes(text: &str) -> Result<u64, Wrong> {
    let bytes = size::binary(text).ok();
    bytes.and_then(|it| u64::try_from(it).ok()).ok_or_else(|| {
        let format = ". The correct format is <device-path>:<number>[<unit>]. \
                      Number must be a positive integer. \
                      Unit is optional and can be kb, mb, or gb";
        ("rate", format.to_owned())
    })
}

fn operations(text: &str) -> Result<u64, Wrong> {
    number::unsigned(text).map_err(|_| {
        let format = ". The correct format is <device-path>:<number>. \
                      Number must be a positive integer";
        ("rate", format.to_owned())
    })
}

/// A size in bytes; nothing and 0 are no limit.
fn amount(text: &Option<String>) -> Result<Option<i64>> {
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => size::binary(text)
            .map(|bytes| Some(bytes).filter(|&bytes| bytes > 0))
            .map_err(|why| Error::usage(format!("invalid value for memory: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn resources(flags: &[&str]) -> Result<Resources, String> {
        use clap::Parser;
        let args = Line::parse_from(std::iter::once(&"x").chain(flags)).args;
        args.oom_score()
            .and_then(|_| args.resources())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn limits_of_devices_are_read_as_podman_does() {
        let limits = resources(&[
            "--blkio-weight=20",
            "--blkio-weight-device=/dev/vda:100,/dev/vdb:0",
            "--device-read-bps=/dev/vda:1mb",
            "--device-write-iops=/dev/vda:100",
            "--cgroup-conf=memory.high=1000",
            "--cgroup-conf=a=b=c",
        ])
        .unwrap();
        let device = |path: &str, value| DeviceLimit {
            path: path.into(),
            value,
        };
        let wanted = Io {
            weight: Some(20),
            device_weights: vec![device("/dev/vda", 100), device("/dev/vdb", 0)],
            read_bps: vec![device("/dev/vda", 1 << 20)],
            write_iops: vec![device("/dev/vda", 100)],
            ..Io::default()
        };
        assert_eq!(limits.io, wanted);
        let files: Vec<_> = limits.files.iter().collect();
        let pair = |file: &str, value: &str| (file.to_owned(), value.to_owned());
        let (first, second) = (pair("a", "b=c"), pair("memory.high", "1000"));
        assert_eq!(files, [(&first.0, &first.1), (&second.0, &second.1)]);
        let rate = ". The correct format is <device-path>:<number>";
        let bytes = "[<unit>]. Number must be a positive integer. \
                     Unit is optional and can be kb, mb, or gb";
        let plain = ". Number must be a positive integer";
        for (flag, why) in [
            (
                "--device-read-bps=/dev/vda",
                "bad format: /dev/vda".to_owned(),
            ),
            (
                "--device-read-bps=/nosuch:1",
                "bad format for device path: /nosuch:1".to_owned(),
            ),
            (
                "--device-write-bps=/dev/vda:x",
                format!("invalid rate for device: /dev/vda:x{rate}{bytes}"),
            ),
            (
                "--device-read-iops=/dev/vda:-1",
                format!("invalid rate for device: /dev/vda:-1{rate}{plain}"),
            ),
            (
                "--blkio-weight-device=/dev/vda:5",
                "invalid weight for device: /dev/vda:5".to_owned(),
            ),
            (
                "--blkio-weight-device=/dev/vda:x",
                "invalid weight for device: /dev/vda:x".to_owned(),
            ),
            (
                "--blkio-weight-device=vda:100",
                "bad format for device path: vda:100".to_owned(),
            ),
            (
                "--blkio-weight=x",
                "invalid value for blkio-weight: strconv.ParseUint: parsing \"x\": invalid syntax"
                    .to_owned(),
            ),
            (
                "--cgroup-conf=foo",
                "--cgroup-conf must be formatted KEY=VALUE".to_owned(),
            ),
        ] {
            assert_eq!(resources(&[flag]).unwrap_err(), why, "{flag}");
        }
    }

    #[test]
    fn the_cgroup_is_read_as_podman_does() {
        use clap::Parser;
        let cgroup = |flags: &[&str], manager, has_systemd, pid| {
            let args = Line::parse_from(std::iter::once(&"x").chain(flags)).args;
            args.cgroup(manager, has_systemd, &pid)
                .map_err(|error| error.to_string())
        };
        let plain = |flags: &[&str]| cgroup(flags, None, false, NamespaceMode::Private);
        for (word, mode) in [
            ("enabled", Mode::Enabled),
            ("", Mode::Enabled),
            ("disabled", Mode::Disabled),
            ("no-conmon", Mode::NoConmon),
            ("split", Mode::Split),
        ] {
            assert_eq!(plain(&["--cgroups", word]).unwrap().mode, mode, "{word}");
        }
        assert_eq!(plain(&["--cgroup-parent="]), Ok(Cgroup::default()));
        assert_eq!(
            cgroup(
                &["--cgroup-parent=/a"],
                Some(Manager::Cgroupfs),
                true,
                NamespaceMode::Private
            ),
            Ok(Cgroup {
                mode: Mode::Enabled,
                parent: Some("/a".into()),
                manager: Some(Manager::Cgroupfs),
            })
        );
        for (given, why) in [
            (
                plain(&["--cgroups=foo"]),
                "running container create option: invalid cgroup mode \"foo\"",
            ),
            (
                plain(&["--cgroup-parent=/a", "--cgroups=disabled"]),
                "cannot set cgroup parent if not creating cgroups",
            ),
            (
                plain(&["--cgroup-parent=/a", "--cgroups=split"]),
                "cannot specify --cgroup-mode=split with a cgroup-parent",
            ),
            (
                plain(&["--cgroup-parent=a.slice"]),
                "systemd slice received as cgroup parent when using cgroupfs",
            ),
            (
                cgroup(&["--cgroup-parent=/a"], None, true, NamespaceMode::Private),
                "did not receive systemd slice as cgroup parent when using systemd to manage cgroups",
            ),
            (
                cgroup(&["--cgroups=disabled"], None, true, NamespaceMode::Host),
                "containers not creating Cgroups must create a private PID namespace",
            ),
        ] {
            assert_eq!(given.unwrap_err(), format!("{why}: invalid argument"));
        }
    }

    #[test]
    fn limits_are_read_as_podman_does() {
        let none = Resources::default();
        for (flags, wanted) in [
            (&[][..], none.clone()),
            (
                &["-m10m"],
                Resources {
                    memory: Some(10 << 20),
                    memory_swap: Some(20 << 20),
                    ..none.clone()
                },
            ),
            (
                &["-m10m", "--memory-swap=-1"],
                Resources {
                    memory: Some(10 << 20),
                    memory_swap: Some(-1),
                    ..none.clone()
                },
            ),
            (
                &["--memory-swap=20m", "--memory=", "--memory-reservation=1g"],
                Resources {
                    memory_swap: Some(20 << 20),
                    memory_reservation: Some(1 << 30),
                    ..none.clone()
                },
            ),
            (&["--memory=0"], none.clone()),
            (
                &["--cpus=1.5", "--cpuset-cpus=0-1", "--pids-limit=0", "-c=5"],
                Resources {
                    cpu_quota: Some(150_000),
                    cpu_period: Some(100_000),
                    cpu_shares: Some(5),
                    cpuset_cpus: Some("0-1".into()),
                    pids: Some(0),
                    ..none.clone()
                },
            ),
            (
                &["--cpus=0.001"],
                Resources {
                    cpu_quota: Some(100),
                    cpu_period: Some(100_000),
                    ..none.clone()
                },
            ),
            (&["--cpus=0"], none.clone()),
            (&["--cpus=inf"], none.clone()),
        ] {
            let wanted = serde_json::to_string(&wanted).unwrap();
            let given = resources(flags).map(|it| serde_json::to_string(&it).unwrap());
            assert_eq!(given, Ok(wanted), "{flags:?}");
        }
        for (flags, why) in [
            (
                &["-mfoo"][..],
                "invalid value for memory: invalid size: 'foo'",
            ),
            (&["-m1x"], "invalid value for memory: invalid suffix: 'x'"),
            (&["-m=-1"], "invalid value for memory: invalid size: '-1'"),
            (
                &["--memory-swap=-2"],
                "invalid value for memory: invalid size: '-2'",
            ),
            (
                &["--memory-reservation=foo"],
                "invalid value for memory: invalid size: 'foo'",
            ),
            (
                &["-m10m", "--memory-swap=5m"],
                "minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                &["--cpus=1", "--cpu-quota=5"],
                "--cpu-quota and --cpus cannot be set together",
            ),
            (
                &["--cpus=1", "--cpu-period=5"],
                "--cpu-period and --cpus cannot be set together",
            ),
            (
                &["--oom-score-adj=2000"],
                "invalid --oom-score-adj 2000: must be between -1000 and 1000",
            ),
        ] {
            assert_eq!(resources(flags).unwrap_err(), why, "{flags:?}");
        }
    }
}
