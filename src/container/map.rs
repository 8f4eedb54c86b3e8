//! Which id map a container gets: the one asked for, or, where nothing was said,
//! the one by which what it writes into the caller's folders is the caller's.

use std::os::unix::fs::MetadataExt;

use super::options::{Mount, MountKind, Options, no_idmap};
use super::{Record, list};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::ContainerId;
use crate::image::Image;
use crate::image::accounts::{Accounts, User, ids};
use crate::settings::Configuration;
use crate::storage::{Locked, lock_alone};
use crate::userns::mode::{self, Of};
use crate::userns::{self, IdMap, IdRange, Machine, Mode};
use crate::volume;

/// The id map of a container that is to be.
#[derive(Default)]
pub struct Chosen {
    /// None: the caller's default.
    pub map: Option<IdMap>,
    /// Why, where nobody asked for it.
    pub reason: Option<String>,
    /// What the caller should know.
    pub warning: Option<String>,
    /// Held until the container is in place, so that no two get the same ids.
    pub lock: Option<Locked>,
}

impl Chosen {
    fn of(map: IdMap) -> Self {
        Self {
            map: Some(map),
            ..Self::default()
        }
    }
}

/// The map for `options`, of a container of `image`. With `keep-id` the caller is
/// the container's user too, where neither flag nor image names one.
pub fn choose(engine: &Engine, image: &Image, options: &mut Options) -> Result<Chosen> {
    let chosen = chosen(engine, image, options)?;
    // With the default map `idmap` asks for what is so anyway, as with Podman.
    match chosen.map.is_some() && options.mounts.iter().any(Mount::is_idmapped) {
        true => Err(no_idmap()),
        false => Ok(chosen),
    }
}

fn chosen(engine: &Engine, image: &Image, options: &mut Options) -> Result<Chosen> {
    let base = engine.default_map();
    if let Some(neighbour) = options.neighbours().next() {
        return joined(engine, options, neighbour);
    }
    match &options.user_namespace {
        Mode::Unsaid if options.rootfs.is_some() => Ok(Chosen::default()),
        Mode::Unsaid => by_ownership(engine, image, options),
        Mode::Host => Ok(Chosen::default()),
        Mode::KeepId { uid, gid, size } => {
            let settings = &engine.settings;
            let (uid, gid) = (uid.unwrap_or(settings.uid), gid.unwrap_or(settings.gid));
            let map = IdMap {
                uids: mode::keep_id(&base.uids, uid, *size)?,
                gids: mode::keep_id(&base.gids, gid, *size)?,
            };
            if options.user.is_empty() {
                options.user = format!("{uid}:{gid}");
            }
            Ok(Chosen::of(map))
        }
        Mode::NoMap => Ok(Chosen::of(IdMap {
            uids: mode::no_map(&base.uids)?,
            gids: mode::no_map(&base.gids)?,
        })),
        Mode::Auto { .. } => automatic(engine, image, options),
        Mode::Mapped { uids, gids } => Ok(Chosen::of(IdMap {
            uids: mode::mapped(Of::Users, uids, &base.uids)?,
            gids: mode::mapped(Of::Groups, gids, &base.gids)?,
        })),
        Mode::Subordinate { uids, gids } => {
            let (uids, gids) = userns::ranges_of(uids, gids)?;
            Ok(Chosen::of(IdMap {
                uids: mode::subordinate(&base.uids, &uids)?,
                gids: mode::subordinate(&base.gids, &gids)?,
            }))
        }
        // A neighbour, found above.
        Mode::Container(_) => Ok(Chosen::default()),
        Mode::Path(path) => {
            let path = path.clone();
            let map = userns::map_of(engine.thread, &path)?;
            if !map.has_outside(engine.settings.uid, engine.settings.gid) {
                return Err(Error::unsupported(
                    "--userns=ns: of a user namespace in which you have no id",
                ));
            }
            Ok(Chosen::of(map))
        }
    }
}

/// In another's namespaces its ids are ours.
fn joined(engine: &Engine, options: &Options, neighbour: &str) -> Result<Chosen> {
    match &options.user_namespace {
        Mode::Unsaid | Mode::Host | Mode::Container(_) => {}
        _ => {
            return Err(Error::unsupported(
                "a user namespace of its own for a container that shares another's namespaces",
            ));
        }
    }
    let id: ContainerId = neighbour.parse().map_err(|_| super::no_such(neighbour))?;
    let other = super::load(&engine.storage, &id)?.ok_or_else(|| super::no_such(neighbour))?;
    let settings = &engine.settings;
    let is_with_us = |map: &IdMap| map.has_outside(settings.uid, settings.gid);
    if !other.record.map.as_ref().is_none_or(is_with_us) {
        return Err(Error::unsupported(
            "joining the namespaces of a container whose id map leaves you out",
        ));
    }
    Ok(Chosen {
        map: other.record.map,
        ..Chosen::default()
    })
}

/// Where the container's user is not root and a folder of the caller's is mounted,
/// that user is the caller.
fn by_ownership(engine: &Engine, image: &Image, options: &Options) -> Result<Chosen> {
    // Who says so wants the ids that containers have by default.
    if options.mounts.iter().any(Mount::is_idmapped) {
        return Ok(Chosen::default());
    }
    let caller = engine.settings.uid;
    // Where there is one id alone, it is the user's, or there could be no such user;
    // and all files are of that id, under whatever map they were written.
    let is_single = engine.default_map().is_single();
    let mut mounts = options.mounts.iter();
    if !is_single && !mounts.any(|mount| belongs_to(&mount.kind, caller)) {
        return Ok(Chosen::default());
    }
    let layers = || -> Vec<_> {
        let layers = image.layers.iter();
        layers
            .map(|layer| engine.storage.layer(layer).join("diff"))
            .collect()
    };
    let user = match image.user_ids {
        Some(ids) if options.user == image.config.user => Some(ids),
        _ => ids(&options.user, &layers()),
    };
    // A user that is not there is found out when the container starts.
    let Some((uid, gid)) = user.filter(|(uid, _)| *uid != 0) else {
        return Ok(Chosen::default());
    };
    if Configuration::is_podmans_ownership()? {
        return Ok(Chosen::default());
    }
    let map = IdMap::with_caller_at(engine.default_map(), uid, gid)?;
    for mount in &options.mounts {
        let MountKind::Volume { name, .. } = &mount.kind else {
            continue;
        };
        if is_single {
            break;
        }
        let Some(volume) = volume::load(&engine.storage, name)? else {
            continue;
        };
        if volume.is_unused(&engine.storage) {
            continue;
        }
        let written = volume.map(&engine.storage)?;
        if written.as_ref() != Some(&map) {
            return Ok(Chosen {
                warning: Some(format!(
                    "volume {name} was written under another id map, so user {uid} of the container is not you, and may find your folders closed: --userns=keep-id:uid={uid},gid={gid} makes it you"
                )),
                ..Chosen::default()
            });
        }
    }
    let named = if options.user == image.config.user {
        "the image's user"
    } else {
        "the user"
    };
    Ok(Chosen {
        map: Some(map),
        reason: Some(format!("ownership: {named} {uid}:{gid} is the caller")),
        ..Chosen::default()
    })
}

/// Fails if the container's user has no id under `map`.
pub fn check_user(map: &IdMap, user: &User, mend: impl FnOnce() -> Option<String>) -> Result<()> {
    let (what, id) = match (map.uid_outside(user.uid), map.gid_outside(user.gid)) {
        (None, _) => ("uid", user.uid),
        (_, None) => ("gid", user.gid),
        _ => return Ok(()),
    };
    let error = Error::new(
        Kind::CannotInvoke,
        format!("{what} {id} is not mapped in the container's user namespace"),
    );
    Err(match mend() {
        Some(mend) => error.hint(mend),
        None => error,
    })
}

/// What can be done for the container `record` to have more ids. Nothing if the map
/// that was asked for leaves them out.
pub fn more_ids(engine: &Engine, record: &Record) -> Option<String> {
    match engine.why_single() {
        Some(why) => Some(why.with_hint()),
        None if record.map.is_none() => Some(Machine::of(&engine.settings).more_ids()),
        None => None,
    }
}

/// Whether what is mounted is a file or folder of `uid`'s on the host.
fn belongs_to(mount: &MountKind, uid: u32) -> bool {
    match mount {
        MountKind::Bind { source } | MountKind::Overlay { source, .. } => {
            source.metadata().is_ok_and(|found| found.uid() == uid)
        }
        _ => false,
    }
}

/// The least ids that an automatic namespace has, as in Podman.
const LEAST: u32 = 1024;

/// `auto`: ids that no other container with a map of its own has.
fn automatic(engine: &Engine, image: &Image, options: &Options) -> Result<Chosen> {
    let Mode::Auto { size, uids, gids } = &options.user_namespace else {
        return Ok(Chosen::default());
    };
    let base = engine.default_map();
    if base.is_single() {
        let error = Error::new(
            Kind::Usage,
            "--userns=auto needs subordinate ids, and only your own id can be mapped",
        );
        return Err(match engine.why_single() {
            Some(why) => error.hint(why.with_hint()),
            None => error,
        });
    }
    let lock = lock_alone(&engine.storage.containers())?;
    let taken = list(&engine.storage)?
        .into_iter()
        .filter_map(|container| is_reserved(&container.record).then_some(container.record.map?))
        .collect::<Vec<_>>();
    let of = |side: fn(&IdMap) -> &Vec<IdRange>| -> Vec<IdRange> {
        taken.iter().flat_map(side).copied().collect()
    };
    let size = match *size {
        0 => needed(engine, image, options)?,
        size => size,
    };
    let map = IdMap {
        uids: mode::auto(Of::Users, &base.uids, size, uids, &of(|map| &map.uids))?,
        gids: mode::auto(Of::Groups, &base.gids, size, gids, &of(|map| &map.gids))?,
    };
    Ok(Chosen {
        lock: Some(lock),
        ..Chosen::of(map)
    })
}

/// Whether a container has its ids for itself: those of ownership by default are
/// the default map's, only in other places.
fn is_reserved(record: &Record) -> bool {
    !matches!(
        record.options.user_namespace,
        Mode::Unsaid | Mode::Host | Mode::Container(_)
    )
}

/// How many ids the image's accounts and the container's user need.
fn needed(engine: &Engine, image: &Image, options: &Options) -> Result<u32> {
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| engine.storage.layer(layer).join("diff"))
        .collect();
    let accounts = Accounts::in_layers(&layers)?;
    let user = accounts.resolve(&options.user, &[])?;
    let most = [accounts.highest_id(), user.uid, user.gid];
    let most = most.into_iter().max().unwrap_or(0);
    Ok(most.saturating_add(1).max(LEAST))
}
