//! What happens, one line an event: `events` shows them, others read the file.
//!
//! ```text
//! events/events.log     a JSON object a line, in the words of Podman's own file
//! events/events.log.1   what stood there before
//! ```
//!
//! An event costs one write of a whole line to a file opened for appending: no lock, no
//! sync. Who finds the file half as large as it may be renames it, so that both together
//! stay below `events_logfile_max_size`; a kill or a power cut loses lines at the end at
//! most, and a line that was cut short spoils itself alone.
//!
//! **Invariant:** what cannot be written down fails no command.

mod file;
pub mod journal;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::settings::{Configuration, EventsBackend, Settings};

/// The file's size where containers.conf says none, as Podman's.
const SIZE: u64 = 1_000_000;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    Container,
    Image,
    Network,
    Pod,
    Secret,
    System,
    Volume,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Pod => "pod",
            Self::Secret => "secret",
            Self::System => "system",
            Self::Volume => "volume",
        }
    }
}

/// One event: a line of the file, keys as Podman writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    #[serde(
        rename = "ContainerExitCode",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub exit_code: Option<i32>,
    #[serde(rename = "ID", default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(rename = "Image", default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    #[serde(rename = "Name", default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
    #[serde(rename = "Status")]
    pub status: Cow<'static, str>,
    #[serde(rename = "Time")]
    pub time: Timestamp,
    #[serde(rename = "Type")]
    pub kind: Type,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub health_status: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub health_log: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub health_failing_streak: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(rename = "PodID", default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    #[serde(
        rename = "ContainerInspectData",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub inspect_data: String,
    #[serde(rename = "Attributes", default)]
    pub attributes: Option<BTreeMap<String, String>>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Event {
    /// Something that happens now.
    pub fn new(kind: Type, status: &'static str) -> Self {
        Self {
            exit_code: None,
            id: String::new(),
            image: String::new(),
            name: String::new(),
            network: String::new(),
            status: status.into(),
            time: Timestamp::now(),
            kind,
            health_status: String::new(),
            health_log: String::new(),
            health_failing_streak: 0,
            error: String::new(),
            pod: String::new(),
            inspect_data: String::new(),
            attributes: None,
        }
    }

    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn line(&self) -> Option<Vec<u8>> {
        let mut line = serde_json::to_vec(self).ok()?;
        line.push(b'\n');
        Some(line)
    }
}

/// Where the caller's events go.
#[derive(Debug, Clone)]
pub struct Events {
    /// `events/events.log` of the store, unless containers.conf names another.
    usual: PathBuf,
    uid: u32,
    asked: Option<EventsBackend>,
    place: OnceLock<Result<Place>>,
}

#[derive(Debug, Clone)]
struct Place {
    backend: EventsBackend,
    file: PathBuf,
    size: u64,
    inspect_data: bool,
    no_health: bool,
}

impl Events {
    /// Reads and makes nothing yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            usual: settings.data.join("events").join("events.log"),
            uid: settings.uid,
            asked: settings.events_backend,
            place: OnceLock::new(),
        }
    }

    fn place(&self) -> Result<&Place> {
        let found = self.place.get_or_init(|| {
            let configured = Configuration::read()?.events;
            let backend = match (self.asked, configured.logger.as_deref()) {
                (Some(asked), _) => asked,
                (None, Some(logger)) if !logger.is_empty() => EventsBackend::named(logger)
                    .ok_or_else(|| Error::usage(format!("unknown event logger type: {logger}")))?,
                _ => EventsBackend::File,
            };
            Ok(Place {
                backend,
                file: match configured.file {
                    Some(file) if !file.as_os_str().is_empty() => file,
                    _ => self.usual.clone(),
                },
                size: configured.size.unwrap_or(SIZE),
                inspect_data: configured.inspect_data,
                no_health: configured.no_health,
            })
        });
        found.as_ref().map_err(Error::clone)
    }

    /// Where they go; an error where containers.conf names no such place.
    pub fn backend(&self) -> Result<EventsBackend> {
        Ok(self.place()?.backend)
    }

    /// Whether a container's `create` is to have all that `inspect` shows.
    pub fn wants_inspect_data(&self) -> bool {
        self.place()
            .is_ok_and(|place| place.inspect_data && place.backend != EventsBackend::None)
    }

    /// Writes an event down.
    pub fn write(&self, event: &Event) {
        self.write_all(std::slice::from_ref(event));
    }

    /// Writes events down, all at once.
    pub fn write_all(&self, events: &[Event]) {
        let Ok(place) = self.place() else { return };
        let events = events
            .iter()
            .filter(|event| !(place.no_health && !event.health_status.is_empty()));
        match place.backend {
            EventsBackend::None => {}
            EventsBackend::Journald => events.for_each(journal::send),
            EventsBackend::File => {
                let lines: Vec<u8> = events.filter_map(Event::line).flatten().collect();
                if !lines.is_empty() {
                    file::append(&place.file, place.size, &lines);
                }
            }
        }
    }

    /// A way to write events that leads there from whatever mount namespace this
    /// process goes to.
    pub fn hold(&self) -> Held {
        let Ok(place) = self.place() else {
            return Held::Nothing;
        };
        match place.backend {
            EventsBackend::None => Held::Nothing,
            EventsBackend::Journald => journal::connect().map_or(Held::Nothing, Held::Journal),
            EventsBackend::File => match file::hold(&place.file) {
                Some(folder) => Held::File {
                    folder,
                    file: place.file.clone(),
                    size: place.size,
                },
                None => Held::Nothing,
            },
        }
    }

    /// Gives each event that is wanted to `show`, which says whether it wants more.
    pub fn read(&self, wanted: &Wanted, show: &mut dyn FnMut(Event) -> bool) -> Result<()> {
        let place = self.place()?;
        let mut show = |event: Event| match wanted.has(&event) {
            true => show(event),
            false => true,
        };
        match place.backend {
            EventsBackend::None => {
                Err(Error::usage("cannot read events with the \"none\" backend"))
            }
            EventsBackend::File => file::read(&place.file, wanted, &mut show),
            EventsBackend::Journald => journal::read(self.uid, wanted, &mut show),
        }
    }
}

/// See [`Events::hold`].
#[derive(Debug)]
pub enum Held {
    Nothing,
    File {
        folder: OwnedFd,
        file: PathBuf,
        size: u64,
    },
    Journal(std::os::unix::net::UnixDatagram),
}

impl Held {
    pub fn write(&self, event: &Event) {
        match self {
            Self::Nothing => {}
            Self::Journal(socket) => journal::send_over(socket, event),
            Self::File { folder, file, size } => {
                let name = Path::new(file.file_name().unwrap_or_default());
                if let Some(line) = event.line() {
                    let _ = file::append_in(folder, name, *size, &line);
                }
            }
        }
    }

    /// The descriptor that is to stay open.
    pub fn fd(&self) -> Option<std::os::fd::RawFd> {
        use std::os::fd::AsRawFd;
        match self {
            Self::Nothing => None,
            Self::File { folder, .. } => Some(folder.as_raw_fd()),
            Self::Journal(socket) => Some(socket.as_raw_fd()),
        }
    }
}

/// Which events are to be read.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Those that have happened, too.
    pub past: bool,
    /// Go on as more happens, until `until`.
    pub follow: bool,
}

impl Wanted {
    fn has(&self, event: &Event) -> bool {
        self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time <= until)
    }

    /// How long more may happen; none is for ever.
    fn left(&self) -> Option<std::time::Duration> {
        let left = self.until?.duration_since(Timestamp::now());
        Some(left.try_into().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_podmans_keys_in_podmans_order() {
        let mut event = Event::new(Type::Container, "died").id("ab").name("web");
        event.time = "2026-11-22T08:10:20.5Z".parse().unwrap();
        event.exit_code = Some(137);
        event.image = "localhost/busybox:latest".into();
        event.attributes = Some(BTreeMap::from([("a".into(), "b".into())]));
        let text = String::from_utf8(event.line().unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"ContainerExitCode\":137,\"ID\":\"ab\",\"Image\":\"localhost/busybox:latest\",\
             \"Name\":\"web\",\"Status\":\"died\",\"Time\":\"2026-11-22T08:10:20.5Z\",\
             \"Type\":\"container\",\"Attributes\":{\"a\":\"b\"}}\n"
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        let volume = Event {
            time: event.time,
            ..Event::new(Type::Volume, "create").name("v")
        };
        assert_eq!(
            String::from_utf8(volume.line().unwrap()).unwrap(),
            "{\"Name\":\"v\",\"Status\":\"create\",\"Time\":\"2026-11-22T08:10:20.5Z\",\
             \"Type\":\"volume\",\"Attributes\":null}\n"
        );
    }
}
