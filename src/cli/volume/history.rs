//! When a volume was last used, and what it was made for.

use jiff::Timestamp;

use crate::container;
use crate::error::Result;
use crate::id::Name;
use crate::output::human;
use crate::storage::Storage;
use crate::volume::{self, Volume};

/// When a container last had a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastUse {
    Never,
    At(Timestamp),
    /// One has it.
    Now,
}

impl LastUse {
    pub fn text(self) -> String {
        match self {
            Self::Never => "never".to_owned(),
            Self::At(at) => human::ago(at),
            Self::Now => "in use".to_owned(),
        }
    }

    /// The moment, as JSON has it.
    pub fn moment(self) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at),
            Self::Now => Some(Timestamp::now()),
        }
    }
}

/// When the volume `name` was last used: now, or when the last of its containers
/// ended, was made or was removed.
pub fn last_use(storage: &Storage, name: &Name) -> Result<LastUse> {
    let mut last = volume::last_change(storage, name);
    for id in container::users_of_volume(storage, name)? {
        let Some(user) = container::load(storage, &id)? else {
            continue;
        };
        if user.status.monitor.is_some() {
            return Ok(LastUse::Now);
        }
        last = last.max(user.status.exit.map(|exit| exit.finished));
    }
    Ok(last.map_or(LastUse::Never, LastUse::At))
}

/// The container, image and path that an anonymous volume was made for.
pub fn origin(volume: &Volume) -> String {
    volume.origin.as_ref().map_or_else(String::new, |origin| {
        let (id, image) = (origin.container.short(), &origin.image);
        format!("{id} {image} {}", origin.path.display())
    })
}
