//! What is written down of a container's life.

use std::borrow::Cow;

use super::Record;
use crate::events::{Event, Type};
use crate::storage::Storage;

/// An event of the container, in Podman's words.
pub fn event(record: &Record, status: &'static str) -> Event {
    let mut event = Event::new(Type::Container, status)
        .id(record.id.as_str())
        .name(record.name.as_str());
    event.image.clone_from(&record.image.name);
    event.attributes = Some(record.options.labels.clone());
    event
}

/// The record as a `rename` left it, for a process that has had it for long.
pub fn current<'a>(storage: &Storage, record: &'a Record) -> Cow<'a, Record> {
    let link = storage.names().join(&record.name);
    if std::fs::read_link(&link).is_ok_and(|id| id.as_os_str() == record.id.as_str()) {
        return Cow::Borrowed(record);
    }
    match super::load(storage, &record.id) {
        Ok(Some(now)) => Cow::Owned(now.record),
        _ => Cow::Borrowed(record),
    }
}

/// Writes one down.
pub fn note(storage: &Storage, record: &Record, status: &'static str) {
    storage.events().write(&event(record, status));
}

/// Writes down that it was made. `shown`: all that `inspect` shows of it, where
/// containers.conf wants that (`events_container_create_inspect_data`).
pub fn note_created(storage: &Storage, record: &Record, shown: Option<&str>) {
    let mut event = event(record, "create");
    event.inspect_data = shown.unwrap_or_default().to_owned();
    storage.events().write(&event);
}

/// Writes one down that has the exit code, if there is one.
pub fn note_with(storage: &Storage, record: &Record, status: &'static str, code: Option<i32>) {
    let mut event = event(record, status);
    event.exit_code = code;
    storage.events().write(&event);
}
