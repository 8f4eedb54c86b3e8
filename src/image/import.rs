//! An image made of one tar.

use std::collections::HashMap;
use std::fs::File;

use super::add::{Commit, GivenManifest, Step, leave, owners};
use super::manifest::{
    DescriptorLine, History, NewConfig, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, OciManifest, RootFs,
    WrittenConfig,
};
use super::{Image, ImageConfig, Reference};
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::storage::Staging;
use crate::storage::layer;
use crate::sys::file::sync_file_system;

/// What `import` is asked for.
pub struct Import {
    /// A tar, compressed or not; it need not be a file on disk.
    pub tar: File,
    pub name: Option<Reference>,
    pub config: ImageConfig,
    pub message: String,
    pub platform: super::manifest::Platform,
}

/// Makes an image of a tar.
pub fn import(engine: &Engine, import: Import, tell: &mut dyn FnMut(Step)) -> Result<Image> {
    engine.interruptible(|| {
        let staging = engine.storage.stage_apart()?;
        tell(Step::Begun);
        let imported = import_from(engine, &staging, import, tell);
        leave(engine, &staging, imported)
    })
}

fn import_from(
    engine: &Engine,
    staging: &Staging,
    import: Import,
    tell: &mut dyn FnMut(Step),
) -> Result<Image> {
    let owners = owners(engine)?;
    let created = created(&import.tar);
    let (layer, user_ids) = engine.in_namespace(|| {
        let into = staging.path().join("layer");
        let layer = layer::unpack(&into, &import.tar, None, owners)?;
        let user = super::accounts::ids(&import.config.user, &[into.join("diff")]);
        Ok((layer, user))
    })?;
    let named = staging.path().join(layer.id.hex());
    std::fs::rename(staging.path().join("layer"), named).tried(|| "store the layer")?;
    sync_file_system(staging.path()).tried(|| "sync the layer")?;

    tell(Step::Layer(layer.id.to_string()));
    let ids = [layer.id.clone()];
    let config = serde_json::to_vec(&NewConfig {
        created: created.clone(),
        author: "",
        architecture: &import.platform.architecture,
        variant: &import.platform.variant,
        os: &import.platform.os,
        config: WrittenConfig::from(&import.config),
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: ids.to_vec(),
        },
        history: vec![History {
            created: Some(created),
            created_by: format!("/bin/sh -c #(nop) ADD file:{} in /", layer.id.hex()),
            comment: import.message,
            ..History::default()
        }],
    })?;
    let manifest = serde_json::to_vec(&OciManifest {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        config: DescriptorLine::new(OCI_CONFIG, &Digest::of(&config), config.len() as u64),
        layers: vec![DescriptorLine::new(
            OCI_LAYER,
            &layer.id.as_str().parse()?,
            layer.size,
        )],
    })?;
    let names: Vec<Reference> = import.name.into_iter().collect();
    let commit = Commit {
        ids: &ids,
        config: &config,
        manifest: GivenManifest::Bytes {
            bytes: manifest,
            media_type: OCI_MANIFEST.to_owned(),
            index: None,
        },
        names: &names,
        user_ids,
    };
    let mut held = HashMap::new();
    if let Some(lock) = engine.storage.hold_layer(&layer.id)? {
        held.insert(layer.id.clone(), lock);
    }
    let image = commit.publish(&engine.storage, staging, &[layer], &mut held)?;
    tell(Step::Config(image.id.clone()));
    tell(Step::Manifest);
    Ok(image)
}

/// When the image was made: when its tar was, so that the same tar makes the same
/// image (podman: a file's modification time, else now).
fn created(tar: &File) -> String {
    let modified = tar
        .metadata()
        .ok()
        .filter(std::fs::Metadata::is_file)
        .and_then(|found| found.modified().ok())
        .and_then(|at| jiff::Timestamp::try_from(at).ok());
    modified.unwrap_or_else(jiff::Timestamp::now).to_string()
}

/// Applies `--change INSTRUCTION` to a config (containers/common: parseChange).
pub fn change(config: &mut ImageConfig, change: &str) -> Result<()> {
    let wrong = |why: String| Error::usage(format!("invalid change {change:?} - {why}"));
    let (key, value) = change
        .split_once([' ', '='])
        .map(|(key, value)| (key.trim().to_uppercase(), value.trim()))
        .ok_or_else(|| wrong("must be formatted as KEY VALUE".to_owned()))?;
    let add = |list: &mut Vec<String>, value: &str| {
        if !list.iter().any(|known| known == value) {
            list.push(value.to_owned());
        }
    };
    match key.as_str() {
        "USER" if value.is_empty() => {
            return Err(wrong("must provide a value to USER".to_owned()));
        }
        "USER" => config.user = value.to_owned(),
        "EXPOSE" => {
            let (port, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
            if !["tcp", "udp", "sctp"].contains(&protocol) {
                return Err(wrong("EXPOSE protocol must be TCP or UDP".to_owned()));
            }
            let number: i64 = port.parse().map_err(|_| {
                wrong(format!(
                    "EXPOSE port must be an integer: strconv.Atoi: parsing {port:?}: invalid syntax"
                ))
            })?;
            if !(1..=65535).contains(&number) {
                return Err(wrong("EXPOSE port must be a valid port number".to_owned()));
            }
            add(&mut config.exposed_ports, &format!("{port}/{protocol}"));
        }
        "ENV" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            if name.is_empty() {
                return Err(wrong("ENV must have at least one argument".to_owned()));
            }
            let name = format!("{name}=");
            config.env.retain(|line| !line.starts_with(&name));
            config.env.push(format!("{name}{value}"));
        }
        "CMD" => config.cmd = argv(value),
        "ENTRYPOINT" if value.is_empty() => config.entrypoint.clear(),
        "ENTRYPOINT" => config.entrypoint = argv(value),
        "VOLUME" => {
            let paths =
                list(value).unwrap_or_else(|| value.split(' ').map(str::to_owned).collect());
            if paths.is_empty() {
                return Err(wrong(
                    "must provide at least one argument to VOLUME".to_owned(),
                ));
            }
            if paths.iter().any(String::is_empty) {
                return Err(wrong("VOLUME paths must not be empty".to_owned()));
            }
            paths.iter().for_each(|path| add(&mut config.volumes, path));
        }
        "WORKDIR" if value.is_empty() => {
            return Err(wrong("must provide a non-empty WORKDIR".to_owned()));
        }
        "WORKDIR" => config.working_dir = value.to_owned(),
        "LABEL" => {
            let (name, value) = value
                .split_once('=')
                .ok_or_else(|| wrong("LABEL must be formatted key=value".to_owned()))?;
            if name.is_empty() {
                return Err(wrong("LABEL must have a non-empty key".to_owned()));
            }
            let bare = |text: &str| text.trim_matches('"').to_owned();
            config.labels.insert(bare(name), bare(value));
        }
        "STOPSIGNAL" => {
            let signal = crate::sys::signal::parse(value).ok_or_else(|| {
                wrong(format!(
                    "KILLSIGNAL must be given a valid signal: invalid signal: {value}"
                ))
            })?;
            config.stop_signal = signal.to_string();
        }
        "ONBUILD" if value.is_empty() => {
            return Err(wrong("ONBUILD must be given an argument".to_owned()));
        }
        // OCI images have no such field; Podman drops it likewise.
        "ONBUILD" => config.on_build.push(value.to_owned()),
        _ => return Err(wrong(format!("invalid instruction {key}"))),
    }
    Ok(())
}

/// A JSON list, else a line for the shell.
fn argv(value: &str) -> Vec<String> {
    list(value).unwrap_or_else(|| {
        let shell = ["/bin/sh", "-c", value].into_iter();
        shell
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    })
}

fn list(value: &str) -> Option<Vec<String>> {
    serde_json::from_str(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_podmans() {
        let mut config = ImageConfig::default();
        for line in [
            "CMD=/bin/sh",
            "ENV A=b",
            "ENV A=c",
            "EXPOSE 80",
            "expose 53/udp",
            "LABEL a=b",
            "VOLUME [\"/a\",\"/b\"]",
            "VOLUME /a",
            "WORKDIR /w",
            "USER me",
            "STOPSIGNAL 9",
            "ENTRYPOINT [\"a\", \"b\"]",
        ] {
            change(&mut config, line).unwrap();
        }
        assert_eq!(config.cmd, ["/bin/sh", "-c", "/bin/sh"]);
        assert_eq!(config.env, ["A=c"]);
        assert_eq!(config.exposed_ports, ["80/tcp", "53/udp"]);
        assert_eq!(config.volumes, ["/a", "/b"]);
        assert_eq!(config.entrypoint, ["a", "b"]);
        for (line, words) in [
            (
                "RUN x",
                "invalid change \"RUN x\" - invalid instruction RUN",
            ),
            (
                "CMD",
                "invalid change \"CMD\" - must be formatted as KEY VALUE",
            ),
            (
                "STOPSIGNAL XX",
                "invalid change \"STOPSIGNAL XX\" - KILLSIGNAL must be given a valid signal: invalid signal: XX",
            ),
        ] {
            assert_eq!(change(&mut config, line).unwrap_err().to_string(), words);
        }
    }
}
