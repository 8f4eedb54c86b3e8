//! Which of an index's images is taken.

use super::manifest::{Descriptor, Index, Platform};
use crate::error::{Error, Result};

/// The platform asked for; what is not said is the machine's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub os: Option<String>,
    pub arch: Option<String>,
    pub variant: Option<String>,
}

impl Wanted {
    /// Whether nothing is asked for.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an image of this platform is one asked for.
    pub fn takes(&self, os: &str, arch: &str, variant: &str) -> bool {
        self.os.as_deref().is_none_or(|it| it == os)
            && self
                .arch
                .as_deref()
                .is_none_or(|it| spelled(it) == spelled(arch))
            && self
                .variant
                .as_deref()
                .is_none_or(|it| variant.is_empty() || it == variant)
    }

    /// `linux/arm64`, as it is asked for or as the machine is.
    pub fn full(&self) -> String {
        let (os, arch, variants) = self.resolved();
        match variants.first() {
            Some(variant) if self.variant.is_some() => format!("{os}/{arch}/{variant}"),
            _ => format!("{os}/{arch}"),
        }
    }

    /// The entry of `index` for this platform: of several variants the best. One
    /// that says no platform is taken if there is no other.
    pub fn choose<'a>(&self, index: &'a Index) -> Result<&'a Descriptor> {
        let (os, arch, variants) = self.resolved();
        let fits = |it: &Descriptor, variant: &str| {
            it.platform.as_ref().is_some_and(|platform| {
                platform.os == os && platform.architecture == arch && platform.variant == variant
            })
        };
        if let [only] = &index.manifests[..]
            && only.platform.is_none()
        {
            return Ok(only);
        }
        variants
            .iter()
            .find_map(|variant| index.manifests.iter().find(|it| fits(it, variant)))
            .ok_or_else(|| {
                Error::other(format!(
                    "no image found in image index for architecture {arch:?}, variant {:?}, OS {os:?}",
                    self.variant.as_deref().unwrap_or_default()
                ))
            })
    }

    /// Operating system, architecture, and the variants that will do, the best first
    /// (containers/image, internal/pkg/platform).
    fn resolved(&self) -> (String, String, Vec<String>) {
        let ours = Platform::ours();
        let os = self.os.clone().unwrap_or(ours.os);
        let arch = match &self.arch {
            Some(arch) => spelled(arch).to_owned(),
            None => ours.architecture,
        };
        let known: &[&str] = match arch.as_str() {
            "arm" => &["v8", "v7", "v6", "v5"],
            "arm64" => &["v8"],
            "amd64" => &["v1"],
            _ => &[],
        };
        let mut variants: Vec<String> = Vec::new();
        match &self.variant {
            // A newer processor runs what an older one does.
            Some(wanted) => match known.iter().position(|it| it == wanted) {
                Some(at) => variants.extend(known[at..].iter().map(|it| (*it).to_owned())),
                None => variants.push(wanted.clone()),
            },
            // What this machine's variant is, nobody has asked: any will do.
            None if arch == "arm" => variants.extend(known.iter().map(|it| (*it).to_owned())),
            None => {
                variants.push(String::new());
                variants.extend(known.iter().map(|it| (*it).to_owned()));
            }
        }
        if !variants.iter().any(String::is_empty) {
            variants.push(String::new());
        }
        (os, arch, variants)
    }
}

/// What uname(2) calls them is taken too.
fn spelled(arch: &str) -> &str {
    match arch {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[(&str, &str, &str)]) -> Index {
        let manifests = platforms
            .iter()
            .enumerate()
            .map(|(at, (os, arch, variant))| {
                let digest = crate::id::Digest::of(&[at as u8]);
                Descriptor {
                    platform: Some(Platform {
                        os: (*os).to_owned(),
                        architecture: (*arch).to_owned(),
                        variant: (*variant).to_owned(),
                    }),
                    ..Descriptor::new("", digest, at as u64)
                }
            });
        Index {
            manifests: manifests.collect(),
        }
    }

    #[test]
    fn the_best_variant_is_chosen() {
        let index = index(&[
            ("linux", "arm", "v5"),
            ("linux", "arm", "v7"),
            ("linux", "arm64", "v8"),
            ("linux", "s390x", ""),
            ("windows", "amd64", ""),
            ("unknown", "unknown", ""),
        ]);
        let chosen = |os: &str, arch: &str, variant: &str| {
            let some = |it: &str| Some(it.to_owned()).filter(|it| !it.is_empty());
            let wanted = Wanted {
                os: some(os),
                arch: some(arch),
                variant: some(variant),
            };
            wanted.choose(&index).map(|it| it.size)
        };
        assert_eq!(chosen("linux", "arm", "").unwrap(), 1);
        assert_eq!(chosen("linux", "arm", "v6").unwrap(), 0);
        assert_eq!(chosen("linux", "aarch64", "").unwrap(), 2);
        assert_eq!(chosen("linux", "s390x", "").unwrap(), 3);
        assert_eq!(chosen("windows", "amd64", "").unwrap(), 4);
        assert_eq!(
            chosen("linux", "riscv64", "").unwrap_err().to_string(),
            "no image found in image index for architecture \"riscv64\", variant \"\", OS \"linux\""
        );
    }
}
