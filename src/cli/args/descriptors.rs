//! `--preserve-fd` and `--preserve-fds`: descriptors of the caller's for the process.

use crate::cli::args::{csv, number};
use crate::error::{Error, Kind, Result};
use crate::sys::process;

#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Hand these open descriptors of the caller's to the process
    #[arg(long, value_name = "FD")]
    pub preserve_fd: Vec<String>,

    /// Hand this many open descriptors, from 3 on, to the process
    #[arg(long, value_name = "NUMBER", value_parser = number::unsigned_32)]
    pub preserve_fds: Option<u32>,
}

impl Args {
    /// The numbers of the descriptors, each once. They are open.
    pub fn open(&self) -> Result<Vec<i32>> {
        self.numbers(&process::is_inherited)
    }

    fn numbers(&self, is_open: &dyn Fn(i32) -> bool) -> Result<Vec<i32>> {
        let count = self.preserve_fds.unwrap_or(0);
        let named = csv::all("--preserve-fd", &self.preserve_fd)?;
        if count > 0 && !named.is_empty() {
            return Err(Error::usage(
                "cannot specify both --preserve-fds and --preserve-fd",
            ));
        }
        let mut numbers = Vec::new();
        for text in &named {
            let number = number::unsigned_32(text).map_err(|why| {
                Error::usage(format!(
                    "invalid argument {text:?} for \"--preserve-fd\" flag: {why}"
                ))
            })?;
            let number = open(number, "preserve-fd", is_open)?;
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        if let Some(low) = numbers.iter().find(|number| **number < 3) {
            return Err(Error::new(
                Kind::CannotInvoke,
                format!(
                    "cannot preserve FD {low}, consider using the passthrough log-driver \
                     to pass STDIO streams into the container: invalid argument"
                ),
            ));
        }
        for number in 3..count.saturating_add(3) {
            numbers.push(open(number, "preserve-fds", is_open)?);
        }
        Ok(numbers)
    }
}

/// Podman's words for a descriptor that is not open.
fn open(number: u32, flag: &str, is_open: &dyn Fn(i32) -> bool) -> Result<i32> {
    let fd = i32::try_from(number).ok().filter(|fd| is_open(*fd));
    fd.ok_or_else(|| {
        Error::usage(format!(
            "file descriptor {number} is not available - \
             the {flag} option requires that file descriptors must be passed"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: Option<u32>, named: &[&str]) -> Result<Vec<i32>, String> {
        let args = Args {
            preserve_fd: named.iter().map(|text| (*text).to_owned()).collect(),
            preserve_fds: count,
        };
        args.numbers(&|number| number < 5 || number == 9)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn descriptors_are_open_and_begin_at_three() {
        assert_eq!(numbers(None, &[]), Ok(vec![]));
        assert_eq!(numbers(Some(2), &[]), Ok(vec![3, 4]));
        assert_eq!(numbers(None, &["4,9", "4"]), Ok(vec![4, 9]));
        for (count, named, why) in [
            (
                Some(1),
                &["4"][..],
                "cannot specify both --preserve-fds and --preserve-fd",
            ),
            (
                Some(3),
                &[],
                "file descriptor 5 is not available - \
                 the preserve-fds option requires that file descriptors must be passed",
            ),
            (
                None,
                &["77"],
                "file descriptor 77 is not available - \
                 the preserve-fd option requires that file descriptors must be passed",
            ),
            (
                None,
                &["1"],
                "cannot preserve FD 1, consider using the passthrough log-driver \
                 to pass STDIO streams into the container: invalid argument",
            ),
            (
                None,
                &["x"],
                "invalid argument \"x\" for \"--preserve-fd\" flag: \
                 strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(numbers(count, named).unwrap_err(), why);
        }
    }
}
