//! `--log-driver` and `--log-opt`.

use std::path::PathBuf;

use crate::cli::args::host::Host;
use crate::cli::args::size;
use crate::container::options::{Log, LogDriver};
use crate::error::{Error, Result};

/// Flags of the log.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Where the output is kept: k8s-file, json-file, journald, passthrough, passthrough-tty, none
    ///
    /// k8s-file, the default, is what `logs` reads. passthrough hands the caller's
    /// own stdin, stdout and stderr to the container.
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,

    /// Set an option of the log: path=FILE, max-size=SIZE, tag=TAG
    #[arg(long, value_name = "NAME=VALUE")]
    pub log_opt: Vec<String>,
}

impl Args {
    pub fn log(&self, host: &dyn Host) -> Result<Log> {
        let mut log = Log {
            driver: driver(self.log_driver.as_deref().unwrap_or(""))?,
            path: None,
            max_size: None,
            tag: None,
            filled_tag: None,
        };
        if log.driver == LogDriver::Passthrough && host.has_terminal() {
            return Err(Error::usage(
                "the '--log-driver passthrough' option cannot be used on a TTY.  \
                 If you really want it, use '--log-driver passthrough-tty'",
            ));
        }
        for option in &self.log_opt {
            let Some((name, value)) = option.split_once('=') else {
                return Err(Error::usage(format!("invalid log option {option:?}")));
            };
            match name {
                "path" => log.path = Some(PathBuf::from(value)),
                "max-size" => {
                    let bytes = size::decimal(value).map_err(Error::usage)?;
                    log.max_size = u64::try_from(bytes).ok().filter(|&bytes| bytes > 0);
                }
                "tag" => log.tag = Some(value.to_owned()).filter(|tag| !tag.is_empty()),
                // Docker's others (max-file, labels…) mean nothing to these drivers,
                // and Podman takes them in silence.
                _ => {}
            }
        }
        if let Some(path) = &mut log.path {
            *path = host.cwd().join(&path);
        }
        Ok(log)
    }
}

fn driver(text: &str) -> Result<LogDriver> {
    Ok(match text {
        "" | "k8s-file" => LogDriver::K8sFile,
        "json-file" => LogDriver::JsonFile,
        "journald" => LogDriver::Journald,
        "none" => LogDriver::None,
        "passthrough" => LogDriver::Passthrough,
        "passthrough-tty" => LogDriver::PassthroughTty,
        _ => {
            return Err(Error::usage(
                "running container create option: invalid log driver: invalid argument",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::tests::Fake;

    fn log(driver: Option<&str>, options: &[&str], terminal: bool) -> Result<Log, String> {
        let host = Fake {
            terminal,
            ..Fake::default()
        };
        Args {
            log_driver: driver.map(str::to_owned),
            log_opt: options.iter().map(|it| (*it).to_owned()).collect(),
        }
        .log(&host)
        .map_err(|error| error.to_string())
    }

    #[test]
    fn logs_are_read_as_podman_does() {
        let plain = Log {
            driver: LogDriver::K8sFile,
            path: None,
            max_size: None,
            tag: None,
            filled_tag: None,
        };
        assert_eq!(log(None, &["max-file=3", "tag="], true), Ok(plain.clone()));
        assert_eq!(
            log(
                Some("json-file"),
                &["path=/x", "max-size=10kb", "tag=T"],
                false
            ),
            Ok(Log {
                driver: LogDriver::JsonFile,
                path: Some("/x".into()),
                max_size: Some(10_000),
                tag: Some("T".into()),
                filled_tag: None,
            })
        );
        assert_eq!(
            log(Some("passthrough"), &[], false).unwrap().driver,
            LogDriver::Passthrough
        );
        for (driver, options, why) in [
            (
                Some("foo"),
                &[][..],
                "running container create option: invalid log driver: invalid argument",
            ),
            (None, &["foo"], "invalid log option \"foo\""),
            (None, &["max-size=x"], "invalid size: 'x'"),
            (None, &["max-size=-1"], "invalid size: '-1'"),
            (
                Some("passthrough"),
                &[],
                "the '--log-driver passthrough' option cannot be used on a TTY.  \
                 If you really want it, use '--log-driver passthrough-tty'",
            ),
        ] {
            assert_eq!(log(driver, options, true).unwrap_err(), why);
        }
    }
}
