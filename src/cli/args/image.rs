//! Which image: the platform, and whether it is pulled.

use crate::error::{Error, Result};
use crate::image::{Policy, Wanted};

/// Flags of the image that a container is made of.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Take the image for this architecture
    #[arg(long, value_name = "ARCH", alias = "override-arch")]
    pub arch: Option<String>,

    /// Take the image for this operating system
    #[arg(long, value_name = "OS", alias = "override-os")]
    pub os: Option<String>,

    /// Take the image for this platform: OS/ARCH or OS/ARCH/VARIANT
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,

    /// When to pull the image: missing, always, newer or never
    #[arg(long, value_name = "POLICY")]
    pub pull: Option<String>,

    /// Show nothing while the image is pulled
    #[arg(short, long)]
    pub quiet: bool,

    /// Take the image for this variant of the architecture
    #[arg(long, value_name = "VARIANT", alias = "override-variant")]
    pub variant: Option<String>,

    /// Docker's flag, which does nothing
    #[arg(long, hide = true)]
    pub disable_content_trust: bool,
}

impl Args {
    pub fn pull_policy(&self) -> Result<Policy> {
        policy(self.pull.as_deref().unwrap_or(""))
    }

    pub fn wanted_platform(&self) -> Result<Wanted> {
        platform(&self.platform, &self.os, &self.arch, &self.variant)
    }
}

/// When an image is pulled, in Podman's words; the empty word is "missing".
pub fn policy(text: &str) -> Result<Policy> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "" | "missing" | "ifmissing" | "ifnotpresent" => Policy::Missing,
        "always" => Policy::Always,
        "newer" | "ifnewer" => Policy::Newer,
        "never" => Policy::Never,
        _ => return Err(Error::usage(format!("unsupported pull policy {text:?}"))),
    })
}

/// The platform that four flags ask for.
pub fn platform(
    platform: &Option<String>,
    os: &Option<String>,
    arch: &Option<String>,
    variant: &Option<String>,
) -> Result<Wanted> {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let flag = |text: &Option<String>| text.as_deref().and_then(some);
    let Some(platform) = flag(platform) else {
        return Ok(Wanted {
            os: flag(os),
            arch: flag(arch),
            variant: flag(variant),
        });
    };
    if arch.is_some() || os.is_some() {
        return Err(Error::usage(
            "--platform option can not be specified with --arch or --os",
        ));
    }
    let mut parts = platform.splitn(3, '/');
    let mut next = || parts.next().and_then(some);
    Ok(Wanted {
        os: next(),
        arch: next(),
        variant: next().or_else(|| flag(variant)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(flags: &[&str]) -> Args {
        use clap::Parser;
        Line::parse_from(std::iter::once(&"x").chain(flags)).args
    }

    #[test]
    fn pull_policies_are_podmans() {
        for (text, policy) in [
            ("", Policy::Missing),
            ("ALWAYS", Policy::Always),
            ("newer", Policy::Newer),
            ("never", Policy::Never),
        ] {
            let given = args(&["--pull", text]).pull_policy().unwrap();
            assert_eq!(given, policy, "{text}");
        }
        for bad in ["foo", "True", "false"] {
            assert_eq!(
                args(&["--pull", bad])
                    .pull_policy()
                    .unwrap_err()
                    .to_string(),
                format!("unsupported pull policy {bad:?}")
            );
        }
    }

    #[test]
    fn platforms_have_up_to_three_parts() {
        let platform = |flags: &[&str]| {
            args(flags)
                .wanted_platform()
                .map(|it| [it.os, it.arch, it.variant].map(|part| part.unwrap_or_default()))
        };
        for (flags, wanted) in [
            (&[][..], ["", "", ""]),
            (&["--platform=linux/arm/v7"], ["linux", "arm", "v7"]),
            (&["--platform=linux"], ["linux", "", ""]),
            (
                &["--override-arch=arm64", "--os=linux", "--variant=v8"],
                ["linux", "arm64", "v8"],
            ),
        ] {
            assert_eq!(platform(flags).unwrap(), wanted, "{flags:?}");
        }
        let takes = |flags: &[&str]| {
            args(flags)
                .wanted_platform()
                .unwrap()
                .takes("linux", "amd64", "")
        };
        for flags in [&[][..], &["--platform=linux/x86_64"], &["--variant=v3"]] {
            assert!(takes(flags), "{flags:?}");
        }
        for flag in ["--platform=linux/arm64", "--os=windows", "--platform=foo"] {
            assert!(!takes(&[flag]), "{flag}");
        }
        assert_eq!(
            platform(&["--platform=linux/amd64", "--arch=amd64"])
                .unwrap_err()
                .to_string(),
            "--platform option can not be specified with --arch or --os"
        );
    }
}
