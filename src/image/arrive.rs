//! Layers on their way in, side by side: read, checked, unpacked, published.
//!
//! ```text
//! worker   claim, read and decompress, unpack into staging    (several)
//! keeper   sync, publish, let the claim go                    (one; what comes from a registry)
//! caller   tells how far it is
//! ```
//!
//! A layer that two processes want is fetched by one: the other waits for its
//! claim, and goes on itself if the first dies. Nobody waits for a claim who keeps
//! another waiting, since the keeper waits for none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::add::{Arriving, IncomingLayer, Origin, Step};
use super::archive::Checked;
use crate::error::{Context, Error, Result};
use crate::id::{DiffId, Digest};
use crate::storage::layer::{self, Layer, Owners};
use crate::storage::{Claim, Locked, Staging, Storage};
use crate::sys::file::sync_file_system;

/// How many layers are fetched at once (containers.conf: image_parallel_copies).
const DOWNLOADS: usize = 6;
/// How often a claim that another has is asked for.
const POLL: Duration = Duration::from_millis(50);
/// How often is told how far it is.
const TICK: Duration = Duration::from_millis(100);

/// A layer that must be unpacked.
pub struct Missing {
    pub id: DiffId,
    pub layer: IncomingLayer,
}

/// Where layers arrive. Must run where the ids of their files are mapped.
pub struct Arrival<'a> {
    pub storage: &'a Storage,
    pub staging: &'a Staging,
    pub owners: Owners,
    /// Each is published as soon as it is there.
    pub eager: bool,
}

/// An unpacked layer on its way to the keeper.
struct Unpacked {
    at: usize,
    layer: Layer,
    claim: Claim,
}

/// What workers and keeper share.
struct Shared<'a> {
    next: AtomicUsize,
    stop: AtomicBool,
    failed: Mutex<Option<Error>>,
    layers: Mutex<Vec<Layer>>,
    held: Mutex<&'a mut HashMap<DiffId, Locked>>,
    done: Vec<AtomicBool>,
}

impl Shared<'_> {
    /// The first error counts: the others fail because of it.
    fn fail(&self, error: Error) {
        if !self.stop.swap(true, Ordering::Relaxed) {
            *lock(&self.failed) = Some(error);
        }
    }
}

impl Arrival<'_> {
    /// Unpacks every layer into `staging/<hex>`; eager, publishes and holds it.
    pub fn unpack_all(
        &self,
        missing: &[Missing],
        held: &mut HashMap<DiffId, Locked>,
        tell: &mut dyn FnMut(Step),
    ) -> Result<Vec<Layer>> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let most = if self.eager { DOWNLOADS } else { 8 };
        let workers = cores.clamp(if self.eager { DOWNLOADS } else { 2 }, most.max(2));
        let shared = Shared {
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            failed: Mutex::new(None),
            layers: Mutex::new(Vec::new()),
            held: Mutex::new(held),
            done: missing.iter().map(|_| AtomicBool::new(false)).collect(),
        };
        std::thread::scope(|scope| {
            let (to_keeper, unpacked) = channel();
            // Never sent to: it is closed when all are done.
            let (alive, ended) = channel::<()>();
            for _ in 0..workers.min(missing.len()) {
                let (shared, to_keeper, alive) = (&shared, to_keeper.clone(), alive.clone());
                scope.spawn(move || {
                    self.work(missing, shared, &to_keeper);
                    drop(alive);
                });
            }
            drop(to_keeper);
            let shared = &shared;
            scope.spawn(move || {
                self.keep(&unpacked, shared);
                drop(alive);
            });
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
                tell(Step::Arriving(state(missing, shared)));
            }
            tell(Step::Arriving(state(missing, shared)));
        });
        let failed = shared.failed.into_inner();
        match failed.unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(error) => Err(error),
            None => {
                let layers = shared.layers.into_inner();
                Ok(layers.unwrap_or_else(|poisoned| poisoned.into_inner()))
            }
        }
    }

    fn work(&self, missing: &[Missing], shared: &Shared, to_keeper: &Sender<Unpacked>) {
        loop {
            let at = shared.next.fetch_add(1, Ordering::Relaxed);
            let Some(it) = missing.get(at) else {
                return;
            };
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            match self.one(at, it, shared) {
                Ok(None) => shared.done[at].store(true, Ordering::Relaxed),
                // The keeper reads until all workers are gone.
                Ok(Some(unpacked)) => drop(to_keeper.send(unpacked)),
                Err(error) => {
                    let short = &it.id.hex()[..12];
                    shared.fail(error.tried(format_args!("unpack layer {short}")));
                }
            }
        }
    }

    /// Unpacks a layer; gives it if the keeper is to publish it.
    fn one(&self, at: usize, it: &Missing, shared: &Shared) -> Result<Option<Unpacked>> {
        if !self.eager {
            let layer = self.unpack(it, shared)?;
            lock(&shared.layers).push(layer);
            shared.done[at].store(true, Ordering::Relaxed);
            return Ok(None);
        }
        let claim = loop {
            if let Some(claim) = self.storage.claim_layer(&it.id)? {
                break claim;
            }
            if shared.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        };
        // Another may have brought it while we waited.
        if let Some(lock) = self.storage.hold_layer(&it.id)? {
            self::lock(&shared.held).insert(it.id.clone(), lock);
            return Ok(None);
        }
        let layer = self.unpack(it, shared)?;
        Ok(Some(Unpacked { at, layer, claim }))
    }

    fn unpack(&self, it: &Missing, shared: &Shared) -> Result<Layer> {
        let digest = it.layer.digest.clone();
        // A layer that is not compressed is checked by its diff id.
        let digest = digest.filter(|digest| digest.hex() != it.id.hex());
        let origin = &it.layer.origin;
        let mut from = Checked::new(origin.open(), origin.size(), digest, &shared.stop);
        let into = self.staging.path().join(it.id.hex());
        let layer = layer::unpack(&into, &mut from, Some(&it.id), self.owners)?;
        from.finish()?;
        Ok(layer)
    }

    /// Publishes what workers have unpacked: all that wait, by one sync.
    fn keep(&self, unpacked: &Receiver<Unpacked>, shared: &Shared) {
        while let Ok(first) = unpacked.recv() {
            let mut batch = vec![first];
            batch.extend(unpacked.try_iter());
            if let Err(error) = self.publish(batch, shared) {
                shared.fail(error);
            }
        }
    }

    fn publish(&self, batch: Vec<Unpacked>, shared: &Shared) -> Result<()> {
        sync_file_system(self.staging.path()).tried(|| "sync layers")?;
        for Unpacked { at, layer, claim } in batch {
            let lock = self
                .storage
                .publish_layer(self.staging, layer.id.hex(), &layer.id)?;
            self::lock(&shared.held).insert(layer.id.clone(), lock);
            self::lock(&shared.layers).push(layer);
            shared.done[at].store(true, Ordering::Relaxed);
            drop(claim);
        }
        Ok(())
    }
}

fn state(missing: &[Missing], shared: &Shared) -> Vec<Arriving> {
    let state = |(it, done): (&Missing, &AtomicBool)| {
        let origin = &it.layer.origin;
        let (Origin::Archive { read: arrived, .. } | Origin::Registry { arrived, .. }) = origin;
        let digest = it.layer.digest.as_ref();
        Arriving {
            digest: digest.map_or_else(|| it.id.to_string(), Digest::to_string),
            arrived: arrived.load(Ordering::Relaxed),
            size: origin.size(),
            done: done.load(Ordering::Relaxed),
        }
    };
    missing.iter().zip(&shared.done).map(state).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
