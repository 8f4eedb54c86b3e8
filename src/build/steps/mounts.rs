//! `RUN --mount`: what a step sees beside its root, and leaves no trace of.

use crate::error::{Error, Result};

/// One of them, read.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RunMount {
    pub kind: Kind,
    pub target: Option<String>,
    /// Within what it is of; of a cache, what it begins with.
    pub source: String,
    /// A stage, an image, a named context.
    pub from: Option<String>,
    pub writable: bool,
    pub id: Option<String>,
    pub required: bool,
    pub sharing: Sharing,
    pub mode: Option<u32>,
    pub uid: u32,
    pub gid: u32,
    /// Of a tmpfs, in its own words.
    pub size: Option<String>,
    /// Of a secret: the variable that has it.
    pub env: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// Who else may have a cache at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub enum Sharing {
    #[default]
    Shared,
    Private,
    Locked,
}

impl RunMount {
    pub fn parse(text: &str) -> Result<Self> {
        let fields: Vec<(&str, Option<&str>)> = text
            .split(',')
            .map(|field| match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field, None),
            })
            .collect();
        let mut mount = Self::default();
        for (key, value) in &fields {
            if key.eq_ignore_ascii_case("type") {
                mount.kind = match value.unwrap_or("") {
                    "bind" => Kind::Bind,
                    "cache" => Kind::Cache,
                    "tmpfs" => Kind::Tmpfs,
                    "secret" => Kind::Secret,
                    "ssh" => Kind::Ssh,
                    other => {
                        return Err(Error::usage(format!("invalid mount type {other:?}")));
                    }
                };
            }
        }
        mount.writable = matches!(mount.kind, Kind::Cache | Kind::Tmpfs);
        for (key, value) in fields {
            mount.field(&key.to_ascii_lowercase(), value)?;
        }
        match (mount.kind, &mount.target) {
            (Kind::Bind | Kind::Cache | Kind::Tmpfs, None) => {
                Err(Error::usage(format!("{text}: must set volume destination")))
            }
            (Kind::Secret, target) if mount.id.is_none() => match target.as_deref() {
                Some(target) => {
                    mount.id = target.rsplit('/').next().map(str::to_owned);
                    Ok(mount)
                }
                None => Err(Error::usage(format!(
                    "{text}: a secret needs id= or target="
                ))),
            },
            _ => Ok(mount),
        }
    }

    fn field(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let wrong = || Error::usage(format!("{key}: invalid mount option"));
        let text = || value.map(str::to_owned).ok_or_else(wrong);
        let truth = || match value {
            None => Ok(true),
            Some(value) => match value.to_ascii_lowercase().as_str() {
                "1" | "t" | "true" => Ok(true),
                "0" | "f" | "false" => Ok(false),
                _ => Err(wrong()),
            },
        };
        let number = || value.and_then(|value| value.parse().ok()).ok_or_else(wrong);
        let kind = self.kind;
        let is = |kinds: &[Kind]| match kinds.contains(&kind) {
            true => Ok(()),
            false => Err(wrong()),
        };
        match key {
            "type" => {}
            "target" | "dst" | "destination" => self.target = Some(text()?),
            "source" | "src" | "from" if kind == Kind::Tmpfs || kind == Kind::Ssh => {
                return Err(wrong());
            }
            "source" | "src" => self.source = text()?,
            "from" => self.from = Some(text()?),
            "rw" | "readwrite" => {
                is(&[Kind::Bind, Kind::Cache])?;
                self.writable = truth()?;
            }
            "ro" | "readonly" => {
                is(&[Kind::Bind, Kind::Cache, Kind::Tmpfs])?;
                self.writable = !truth()?;
            }
            "id" => self.id = Some(text()?),
            "required" => {
                is(&[Kind::Secret, Kind::Ssh])?;
                self.required = truth()?;
            }
            "sharing" => {
                is(&[Kind::Cache])?;
                self.sharing = match value.unwrap_or("") {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err(wrong()),
                };
            }
            "mode" => {
                let bits = value.and_then(|value| u32::from_str_radix(value, 8).ok());
                self.mode = Some(bits.filter(|bits| *bits <= 0o7777).ok_or_else(wrong)?);
            }
            "uid" => self.uid = number()?,
            "gid" => self.gid = number()?,
            "size" | "tmpfs-size" => {
                is(&[Kind::Tmpfs])?;
                self.size = Some(text()?);
            }
            "tmpfs-mode" => {
                is(&[Kind::Tmpfs])?;
                return self.field("mode", value);
            }
            "env" => {
                is(&[Kind::Secret])?;
                self.env = Some(text()?);
            }
            // There is no SELinux here.
            "z" | "relabel" => {}
            _ => return Err(Error::usage(format!("{key}: invalid mount option"))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let mount =
            RunMount::parse("type=cache,target=/c,id=x,sharing=locked,mode=0700,uid=5").unwrap();
        assert_eq!(mount.kind, Kind::Cache);
        assert_eq!(
            (mount.sharing, mount.mode, mount.uid),
            (Sharing::Locked, Some(0o700), 5)
        );
        assert!(mount.writable);
        let mount = RunMount::parse("target=/c,from=base,src=/a,rw").unwrap();
        assert_eq!((mount.kind, mount.writable), (Kind::Bind, true));
        assert_eq!(mount.from.as_deref(), Some("base"));
        let mount = RunMount::parse("type=secret,target=/x/key,required").unwrap();
        assert_eq!(mount.id.as_deref(), Some("key"));
        for text in [
            "type=bind",
            "type=volume,target=/x",
            "type=bind,target=/x,required",
            "type=cache,target=/x,sharing=some",
            "type=secret",
            "type=tmpfs,target=/x,from=y",
            "type=bind,target=/x,what",
        ] {
            assert!(RunMount::parse(text).is_err(), "{text}");
        }
    }
}
