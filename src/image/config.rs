//! What an image says of the containers made from it (image-spec, config).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The config's `config`, with Docker's additions, by the names it has there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// `80/tcp`
    #[serde(deserialize_with = "keys", serialize_with = "empty_objects")]
    pub exposed_ports: Vec<String>,
    /// `KEY=value`
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "keys", serialize_with = "empty_objects")]
    pub volumes: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
    /// Seconds.
    pub stop_timeout: Option<u64>,
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "or_default")]
    pub on_build: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub shell: Vec<String>,
}

/// Docker's `HEALTHCHECK`; times in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename = "*manifest.Schema2HealthConfig",
    rename_all = "PascalCase",
    default
)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", arg…]` or `["CMD-SHELL", line]`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "nanoseconds")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "nanoseconds")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "nanoseconds")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "nanoseconds")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A time that templates print as Go does (`30s`), and that is a number in JSON.
pub fn nanoseconds<S: serde::Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_newtype_struct("time.Duration", number)
}

/// Go writes an empty list or map as `null`.
pub(super) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Go's way to write a set: `{"80/tcp": {}}`.
fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(from)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

pub(super) fn empty_objects<S: serde::Serializer>(
    keys: &[String],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(keys.iter().map(|key| (key, BTreeMap::<(), ()>::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_read_as_go_writes_it() {
        let text = r#"{"User":"1000","ExposedPorts":{"80/tcp":{}},"Env":null,"Cmd":["sh"],
            "Volumes":{"/data":{},"/a":{}},"Labels":null,"Domainname":"",
            "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.volumes, ["/a", "/data"]);
        assert_eq!(config.cmd, ["sh"]);
        assert!(config.env.is_empty());
        let again = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ImageConfig>(&again).unwrap(), config);
    }
}
