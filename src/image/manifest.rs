//! Manifests, indexes and configs as they are sent (image-spec; Docker's schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ImageConfig;
use super::config::or_default;
use crate::error::{Context, Result};
use crate::id::{DiffId, Digest};

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// One image: its config and its layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    pub config: Descriptor,
    #[serde(deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest as we write one of OCI's: Go's order of keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OciManifest<'a> {
    pub schema_version: u32,
    pub media_type: &'a str,
    pub config: DescriptorLine<'a>,
    pub layers: Vec<DescriptorLine<'a>>,
}

/// A descriptor in OCI's order of keys, which is not Docker's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescriptorLine<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "is_empty")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

fn is_empty(annotations: &Option<&BTreeMap<String, String>>) -> bool {
    annotations.is_none_or(BTreeMap::is_empty)
}

impl<'a> DescriptorLine<'a> {
    pub fn new(media_type: &'a str, digest: &Digest, size: u64) -> Self {
        Self {
            media_type,
            digest: digest.to_string(),
            size,
            annotations: None,
        }
    }

    pub fn with(self, annotations: &'a BTreeMap<String, String>) -> Self {
        Self {
            annotations: Some(annotations),
            ..self
        }
    }
}

/// Several manifests.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    #[serde(deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
}

/// What a blob is, and its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub size: u64,
    pub digest: Digest,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// The one we run on, in Go's words.
    pub fn ours() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            architecture: architecture.to_owned(),
            os: std::env::consts::OS.to_owned(),
            variant: String::new(),
        }
    }
}

impl Descriptor {
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            size,
            digest,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }
}

/// A config blob, read. What we do not know of it stays in its bytes.
#[derive(Debug, Clone, Deserialize)]
pub struct ConfigFile {
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(default, deserialize_with = "or_default")]
    pub variant: String,
    #[serde(default)]
    pub created: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub author: String,
    #[serde(default, deserialize_with = "or_default")]
    pub comment: String,
    #[serde(default, deserialize_with = "or_default")]
    pub docker_version: String,
    #[serde(default, deserialize_with = "or_default")]
    pub config: ImageConfig,
    pub rootfs: RootFs,
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<History>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub diff_ids: Vec<DiffId>,
}

/// One step of how an image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// A config blob as we write one: Go's order of keys.
#[derive(Debug, Serialize)]
pub struct NewConfig<'a> {
    pub created: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub author: &'a str,
    pub architecture: &'a str,
    pub os: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub variant: &'a str,
    pub config: WrittenConfig<'a>,
    pub rootfs: RootFs,
    pub history: Vec<History>,
}

/// The `config` of OCI's config blob: only what is there. Docker's additions are
/// not of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WrittenConfig<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user: &'a str,
    #[serde(skip_serializing_if = "set_is_empty", serialize_with = "set")]
    pub exposed_ports: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub env: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub cmd: &'a [String],
    #[serde(skip_serializing_if = "set_is_empty", serialize_with = "set")]
    pub volumes: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub working_dir: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub stop_signal: &'a str,
    /// Not of OCI's, but everybody reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<&'a super::Healthcheck>,
}

impl<'a> From<&'a ImageConfig> for WrittenConfig<'a> {
    fn from(config: &'a ImageConfig) -> Self {
        Self {
            user: &config.user,
            exposed_ports: &config.exposed_ports,
            env: &config.env,
            entrypoint: &config.entrypoint,
            cmd: &config.cmd,
            volumes: &config.volumes,
            working_dir: &config.working_dir,
            labels: &config.labels,
            stop_signal: &config.stop_signal,
            healthcheck: None,
        }
    }
}

fn set_is_empty(keys: &&[String]) -> bool {
    keys.is_empty()
}

fn set<S: serde::Serializer>(keys: &&[String], to: S) -> Result<S::Ok, S::Error> {
    super::config::empty_objects(keys, to)
}

/// Whether what has this media type names several manifests.
pub fn is_index(media_type: &str) -> bool {
    media_type == OCI_INDEX || media_type == DOCKER_LIST
}

/// What the manifest `bytes` is: as it says itself, as it was `said` to be, or as it
/// looks.
pub fn media_type(bytes: &[u8], said: &str) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        #[serde(default)]
        media_type: String,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let typed = serde_json::from_slice::<Typed>(bytes).ok();
    let known = |it: &str| is_index(it) || it == OCI_MANIFEST || it == DOCKER_MANIFEST;
    match typed {
        Some(typed) if !typed.media_type.is_empty() => typed.media_type,
        _ if known(said) => said.to_owned(),
        Some(typed) if typed.manifests.is_some() => OCI_INDEX.to_owned(),
        _ => OCI_MANIFEST.to_owned(),
    }
}

/// Reads a config blob.
pub fn read_config(bytes: &[u8]) -> Result<ConfigFile> {
    serde_json::from_slice(bytes).tried(|| "read the image's config")
}

/// A time as Go writes it; none if it cannot be read.
pub fn time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::odd;
    use crate::image::Wanted;

    const HEX: &str = "4e4ea57cc15287b6a65271911ea590e29b89fd2baa20a0db20877774fe0b5a78";

    #[test]
    fn no_manifest_makes_it_panic() {
        let line = format!(r#""size":7,"digest":"sha256:{HEX}""#);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"{OCI_CONFIG}",{line}}},"layers":[{{"mediaType":"{OCI_LAYER}+zstd",{line},"annotations":{{"a":"b"}}}}],"annotations":null}}"#
        );
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}",{line},"platform":{{"architecture":"arm","os":"linux","variant":"v7"}}}},{{"mediaType":"{OCI_MANIFEST}",{line}}}]}}"#
        );
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","config":{{"Env":["A=b"],"Cmd":null,"ExposedPorts":{{"80/tcp":{{}}}},"Healthcheck":{{"Test":["NONE"],"Interval":5}}}},"rootfs":{{"type":"layers","diff_ids":["sha256:{HEX}"]}},"history":[{{"created_by":"x","empty_layer":true}}]}}"#
        );
        let (mut manifests, mut indexes, mut configs) = (0, 0, 0);
        odd::bytes(&[&manifest, &index, &config], 60_000, |bytes| {
            let _ = media_type(bytes, OCI_MANIFEST);
            if let Ok(read) = serde_json::from_slice::<Manifest>(bytes) {
                manifests += 1;
                // What is written of it is the same again.
                let written = serde_json::to_vec(&read).unwrap();
                let again: Manifest = serde_json::from_slice(&written).unwrap();
                assert_eq!(serde_json::to_vec(&again).unwrap(), written);
            }
            if let Ok(read) = serde_json::from_slice::<Index>(bytes) {
                indexes += 1;
                let _ = Wanted::default().choose(&read);
            }
            if let Ok(read) = read_config(bytes) {
                configs += 1;
                let _ = read.created.as_deref().and_then(time);
            }
        });
        assert!(manifests > 100 && indexes > 100 && configs > 100);
    }
}
