//! A container's JSON on disk.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::options::{MountKind, Options};
use crate::id::{ContainerId, DiffId, ImageId, Name};
use crate::secret::Bytes;
use crate::userns::IdMap;

/// `container.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub id: ContainerId,
    pub name: Name,
    pub created: Timestamp,
    pub image: ImageUse,
    pub options: Options,
    /// The id map, where it is not the caller's default.
    pub map: Option<IdMap>,
    /// Why `map` was chosen, for `inspect`: `ownership: image user 1000:100 is the caller`.
    pub map_reason: Option<String>,
    /// What its secrets are, on their way from where they were looked up to its folder.
    #[serde(skip)]
    pub secrets: Vec<Bytes>,
}

/// What of an image a container needs, so that it starts without asking for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageUse {
    pub id: ImageId,
    /// As `ps` shows it: `localhost/busybox:latest`.
    pub name: String,
    /// Lowest first.
    pub layers: Vec<DiffId>,
}

impl ImageUse {
    /// That of a container whose root is a folder of the host's.
    pub fn none() -> Self {
        Self {
            id: ImageId::none(),
            name: String::new(),
            layers: Vec::new(),
        }
    }

    /// The image's id, as it is shown: empty where there is no image.
    pub fn shown_id(&self) -> &str {
        match self.id.is_none() {
            true => "",
            false => self.id.as_str(),
        }
    }
}

impl Record {
    /// The volumes it mounts.
    pub fn volumes(&self) -> impl Iterator<Item = &Name> {
        self.options
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Volume { name, .. } => Some(name),
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_is_not_written() {
        let text = r#"{"id":"004adcbf1d122202e1f1b863d263f091465e5b724ad5723a7f72eeb332a57855",
            "name":"able_cartier","created":"2026-11-22T11:54:13.512148418Z",
            "image":{"id":"cb2a0192a7a7a538de925d27a9cd8fe94fc8688fb7bfd338296c9f96f0b81912",
                "name":"localhost/busybox:latest","layers":[]},
            "options":{"argv":["true"],"env":[],"workdir":"/","read_only_tmpfs":true,
                "network":"pasta_default","shm_size":65536000,"umask":18,"stop_signal":15,
                "stop_timeout":10,"log":{"driver":"k8s-file"}}}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        let written = serde_json::to_value(&record).unwrap();
        let mut asked: serde_json::Value = serde_json::from_str(text).unwrap();
        asked["map"] = serde_json::Value::Null;
        asked["map_reason"] = serde_json::Value::Null;
        assert_eq!(written, asked);
        // What was is told.
        let mut record = record;
        record.options.hostname = Some("h".into());
        record.options.resources.memory = Some(1);
        record.options.pid = super::super::options::NamespaceMode::Host;
        let written = serde_json::to_value(&record).unwrap();
        let read: Record = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read.options.hostname.as_deref(), Some("h"));
        assert_eq!(read.options.resources.memory, Some(1));
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
    }
}
