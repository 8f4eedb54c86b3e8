//! Limits: memory, processors, processes.

use crate::cli::args::{number, size};
use crate::container::options::Resources;
use crate::error::{Error, Result};

/// Flags of limits.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
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

    /// Processors it may run on: 0-3, 0,1
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,

    /// Memory nodes it may use: 0-3, 0,1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,

    /// Most memory it may use: a number with b, k, m or g
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,

    /// Memory it is held to when memory is short
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<String>,

    /// Most memory and swap together; -1 is no limit, the default twice --memory
    #[arg(long, value_name = "SIZE")]
    pub memory_swap: Option<String>,

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
        })
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
