//! A worker's batches on their way: one takes records and is scored while the publishing thread writes the one before it.

use std::mem;
use std::time::{Duration, Instant};

use tidemill_core::claim::Content;
use tidemill_core::kafka::{Record, StoredPosition};

use super::batches::{Batches, State};
use crate::input::batch::Batch;
use crate::output::delivery::Outcome;
use crate::output::outlet::{Outlet, Work};
use crate::output::pace::Pace;
use crate::scoring::{Scored, Scoring};

/// Records of a batch that waits for nothing: its transaction takes most of the 100 ms that a prediction may take.
const ENOUGH: usize = 10_000;

/// The most bytes of records of one batch.
const BATCH_BYTES: usize = 32 << 20;

/// The batches of one worker.
pub(super) struct Pipeline<'s> {
    states: Batches,
    /// The batch that is collected and scored.
    own: Batch<'s>,
    /// Its scores.
    scored: Option<Scored>,
    /// An empty batch for the next records, while the other is published.
    spare: Batch<'s>,
    outlet: Outlet<'s>,
    pace: Pace,
}

impl<'s> Pipeline<'s> {
    /// An empty batch in front of `outlet`, whose transactions take no more than `share` of the time.
    pub(super) fn new(outlet: Outlet<'s>, share: f64) -> Self {
        Pipeline {
            states: Batches::new(),
            own: Batch::default(),
            scored: None,
            spare: Batch::default(),
            outlet,
            pace: Pace::new(share),
        }
    }

    /// The states of the batches.
    pub(super) fn states(&self) -> &Batches {
        &self.states
    }

    /// True while the own batch holds no record.
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// True while more records may be taken, at most `quota`.
    pub(super) fn has_room(&mut self, quota: usize) -> bool {
        let size = (self.own.len(), self.own.bytes());
        let waits = || self.states.publishing().is_some() && !self.outlet.has_ended();
        self.states.own() == State::Collecting && has_room(size, quota, waits)
    }

    /// Time that is left until the next transaction may begin.
    pub(super) fn pause(&self) -> Duration {
        self.pace.left(Instant::now())
    }

    /// Begins a new batch in the place of one that is undone.
    pub(super) fn begin_again(&mut self) {
        if self.states.own() == State::Undone {
            self.own.clear();
            self.scored = None;
            self.states.begin_again();
        }
    }

    /// Takes a record into the own batch.
    pub(super) fn take(&mut self, scoring: &Scoring, record: Record<'s>, content: Content) {
        self.own.push(scoring.decoder(), record, content);
    }

    /// Drops the own batch: its records are read again.
    pub(super) fn drop_own(&mut self) {
        self.states.drop_own();
    }

    /// Scores the own batch, unless it is empty or undone.
    pub(super) fn score(&mut self, scoring: &mut Scoring) {
        if self.states.own() == State::Collecting && !self.own.is_empty() {
            self.scored = Some(scoring.score(&mut self.own));
            self.states.scored();
        }
    }

    /// Gives the own batch to the publishing thread, once it is scored and the one before it has ended. `positions` are asked
    /// for then.
    pub(super) fn hand_over(
        &mut self,
        positions: impl FnOnce() -> Vec<(i32, StoredPosition<u64>)>,
    ) {
        if self.states.own() != State::Scored || self.states.publishing().is_some() {
            return;
        }
        if let Some(scored) = self.scored.take() {
            self.states.handed_over(Instant::now());
            self.outlet.put(Work {
                batch: mem::replace(&mut self.own, mem::take(&mut self.spare)),
                scored,
                positions: positions(),
            });
        }
    }

    /// Waits until the batch that is published has ended; `None` where none is.
    ///
    /// # Errors
    ///
    /// Only errors after which publishing cannot go on.
    pub(super) fn settle(&mut self) -> anyhow::Result<Option<Outcome>> {
        if self.states.publishing().is_none() {
            return Ok(None);
        }
        let done = self.outlet.wait()?;
        self.spare = done.batch;
        self.pace.took(done.began, done.ended);
        self.states.ended(done.outcome);
        Ok(Some(done.outcome))
    }

    /// Partitions were revoked.
    pub(super) fn revoked(&mut self) {
        self.states.revoked();
    }
}

/// True while a batch with so many records and bytes may take more. Beyond [`ENOUGH`] it grows only while it `waits` for the
/// batch before it: a transaction over many partitions takes long, however few its records are.
fn has_room((records, bytes): (usize, usize), quota: usize, waits: impl FnOnce() -> bool) -> bool {
    records < quota && bytes < BATCH_BYTES && (records < ENOUGH || waits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_grows_beyond_enough_only_while_it_waits() {
        let quota = 40_000;
        for (records, bytes, quota, waits, expected) in [
            (0, 0, quota, false, true),
            (ENOUGH - 1, 0, quota, false, true),
            (ENOUGH, 0, quota, false, false),
            (ENOUGH, 0, quota, true, true),
            (39_999, 0, quota, true, true),
            (40_000, 0, quota, true, false),
            (64, 0, 64, true, false),
            (1, BATCH_BYTES, quota, true, false),
        ] {
            let room = has_room((records, bytes), quota, || waits);
            assert_eq!(
                room, expected,
                "{records} records, {bytes} bytes, waits: {waits}"
            );
        }
    }
}
