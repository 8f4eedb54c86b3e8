//! The secrets of a container that starts: files in a tmpfs that goes with its monitor,
//! and variables that its first program has, and those of `exec`.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;

use super::options::{Options, SecretMount};
use super::{Record, spec};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::secret::{self, Bytes};
use crate::storage::Storage;

/// Beside the control socket: the variables, with a NUL after each.
const ENVIRONMENT: &str = "secrets";

/// What a container's secrets are.
#[derive(Debug, Default)]
pub struct Secrets {
    /// By their place in `Options::secrets`.
    pub mounted: Vec<Bytes>,
    /// `NAME=VALUE`
    environment: Vec<Bytes>,
}

impl Secrets {
    /// Looks them up: those mounted as they were at create, the others as they are now.
    /// In the caller's process, who may read them whatever the container's map says.
    pub fn find(engine: &Engine, record: &Record, is_fresh: bool) -> Result<Self> {
        let options = &record.options;
        let mut found = Self::default();
        if is_fresh {
            found.mounted.clone_from(&record.secrets);
        } else {
            let folder = engine.storage.container_secrets(&record.id);
            for number in 0..options.secrets.len() {
                let path = folder.join(number.to_string());
                let bytes = std::fs::read(&path).tried(|| format!("read {}", path.display()))?;
                found.mounted.push(Bytes(bytes));
            }
        }
        for wanted in &options.secret_variables {
            let secret = secret::find(&engine.storage, &wanted.name)?;
            let value = secret::bytes(&engine.storage, &secret)?;
            if value.0.contains(&0) || std::str::from_utf8(&value.0).is_err() {
                return Err(Error::usage(format!(
                    "secret {} cannot be a variable: it is not text",
                    wanted.name
                )));
            }
            let name = format!("{}=", wanted.variable).into_bytes();
            found.environment.push(Bytes([name, value.0].concat()));
        }
        Ok(found)
    }

    /// Writes those that are mounted into `folder`, and says where each belongs. As
    /// root of the container.
    pub fn write(&self, options: &Options, folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut made = Vec::new();
        let all = options.secrets.iter().zip(&self.mounted).enumerate();
        for (number, (wanted, bytes)) in all {
            let is_last = |it: &SecretMount| it.destination != wanted.destination;
            if !options.secrets[number + 1..].iter().all(is_last) {
                continue;
            }
            let path = folder.join(format!("secret-{number}"));
            let tried = || format!("write secret {}", wanted.name);
            let mut file = secret::private(&path).tried(tried)?;
            file.write_all(&bytes.0).tried(tried)?;
            chown(&path, Some(wanted.uid), Some(wanted.gid)).map_err(|error| {
                let (uid, gid) = (wanted.uid, wanted.gid);
                Error::from(error).tried(format_args!(
                    "potentially insufficient UIDs or GIDs available in user namespace \
                     (requested {uid}:{gid} for secret {})",
                    wanted.name
                ))
            })?;
            std::fs::set_permissions(&path, Permissions::from_mode(wanted.mode)).tried(tried)?;
            made.push((wanted.destination.clone(), path));
        }
        Ok(made)
    }

    /// Gives the variables to the container's first program, and keeps them in
    /// `runtime` for those of `exec`.
    pub fn add_to(&self, spec: &mut Spec, runtime: &Path) -> Result<()> {
        if self.environment.is_empty() {
            return Ok(());
        }
        let texts = self.environment.iter();
        let texts: Vec<String> = texts
            .map(|it| String::from_utf8_lossy(&it.0).into_owned())
            .collect();
        let tried = || "keep the secrets of the container's environment";
        let mut file = secret::private(&runtime.join(ENVIRONMENT)).tried(tried)?;
        for text in &texts {
            write!(file, "{text}\0").tried(tried)?;
        }
        if let Some(process) = spec.process_mut() {
            let mut all = process.env().clone().unwrap_or_default();
            for text in &texts {
                spec::set_variable(&mut all, text);
            }
            process.set_env(Some(all));
        }
        Ok(())
    }
}

/// The variables that the running container of `record` has from secrets.
pub fn environment(storage: &Storage, record: &Record) -> Result<Vec<String>> {
    if record.options.secret_variables.is_empty() {
        return Ok(Vec::new());
    }
    let path = storage.container_runtime(&record.id).join(ENVIRONMENT);
    let bytes = std::fs::read(&path).tried(|| format!("read {}", path.display()))?;
    let all = bytes.split(|byte| *byte == 0).filter(|it| !it.is_empty());
    Ok(all
        .map(|it| String::from_utf8_lossy(it).into_owned())
        .collect())
}
