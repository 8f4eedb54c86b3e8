//! Starting a container with ourselves as its first client: what `run` and
//! `start --attach` share.

use super::made::shown_at_creation;
use crate::container::attach::{Carrier, Outcome, Peer, Wanted, pipes, window};
use crate::container::start::{Launch, Running, start};
use crate::container::{self, Record, Seat};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::output::progress::copying;

/// How we go along with the container we start.
pub struct Session {
    pub wanted: Wanted,
    /// Leave at once.
    pub detached: bool,
    /// Numbers of our descriptors that the container is handed.
    pub descriptors: Vec<i32>,
}

impl Session {
    /// Starts the container of `record` and stays with it unless detached. Gives
    /// the exit code.
    pub fn start(
        &self,
        engine: &Engine,
        record: &Record,
        fresh: bool,
        output: &mut Output,
    ) -> Result<u8> {
        self.start_with(engine, record, fresh, output, |_| {}, || {})
    }

    /// As [`Session::start`]. `created` is called when the record is in place,
    /// `started` when the container runs.
    pub fn start_with(
        &self,
        engine: &Engine,
        record: &Record,
        fresh: bool,
        output: &mut Output,
        started: impl FnOnce(&mut Output),
        created: impl FnOnce(),
    ) -> Result<u8> {
        let launch = Launch {
            shown: (fresh && engine.storage.events().wants_inspect_data())
                .then(|| shown_at_creation(engine, record))
                .transpose()?,
            fresh,
            size: window(),
            progress: Some(copying),
            descriptors: self.descriptors.clone(),
            ..Launch::default()
        };
        if self.detached {
            let running = start(engine, record, launch, created)?;
            warn(&running, output);
            started(output);
            return Ok(0);
        }
        let (ours, theirs) = pipes(&self.wanted)?;
        let running = start(
            engine,
            record,
            Launch {
                attach: Some(theirs),
                ..launch
            },
            created,
        )?;
        warn(&running, output);
        started(output);
        output.flush();
        let outcome =
            Carrier::new(Peer::Monitor(running.monitor.control), ours, &self.wanted)?.carry()?;
        self.code(engine, record, outcome)
    }

    /// Our exit code for how carrying ended.
    pub fn code(&self, engine: &Engine, record: &Record, outcome: Outcome) -> Result<u8> {
        match outcome {
            Outcome::Exited(code) => Ok(code as u8),
            Outcome::Detached => Ok(0),
            // As Podman, which leaves the container running.
            Outcome::Unread => crate::sys::signal::end_by(libc::SIGPIPE),
            Outcome::Lost => {
                // It ended just as we came: its monitor no longer listened.
                Seat::wait_until_free(&engine.storage, &record.id)?;
                let now = container::load(&engine.storage, &record.id)?;
                if let Some(exit) = now.and_then(|it| it.status.exit) {
                    return Ok(exit.code as u8);
                }
                container::sweep(engine)?;
                Err(Error::other(format!(
                    "the monitor of container {} was killed, and the container with it",
                    record.id.short()
                )))
            }
        }
    }
}

fn warn(running: &Running, output: &mut Output) {
    for warning in &running.warnings {
        output.notice(format_args!("Warning: {warning}"));
    }
}
