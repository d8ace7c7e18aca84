//! A worker's partitions: assigned, looked up, read, blocked, revoked.

use std::thread::{Scope, ScopedJoinHandle};

use anyhow::anyhow;
use tidemill_core::claim::{Held, Unavailable};
use tidemill_core::health::Standing;
use tidemill_core::kafka::{Consumer, Record, StoredPosition, numbers, places};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::batches::Batches;
use super::standing::standing;
use crate::input::partitions::{Partitions, Turn, Why};
use crate::input::start::{self, Found, Question};
use crate::shared::Shared;

/// The partitions of one worker.
pub(super) struct Assignment<'w, 's> {
    shared: &'s Shared,
    /// The worker's name, for the log.
    worker: String,
    consumer: &'s Consumer,
    scope: &'w Scope<'w, 's>,
    partitions: Partitions,
    searches: Vec<Search<'w>>,
    /// The times at which blocked partitions are tried again.
    held: Held,
    /// The group has answered: with partitions, or that there is none for this worker.
    joined: bool,
    shutdown: CancellationToken,
}

/// A look-up of the positions of some partitions, on a thread of its own.
///
/// Brokers withhold a position for seconds while a transaction of a killed member is open. The worker's other partitions
/// must not wait for that.
struct Search<'w> {
    stop: DropGuard,
    thread: ScopedJoinHandle<'w, Option<Found>>,
}

impl Search<'_> {
    /// Ends it. That takes up to one question to the brokers.
    fn stop(self) {
        drop(self.stop);
        // The partitions that stay are looked up again, whatever it has found.
        drop(self.thread.join());
    }
}

impl<'w, 's> Assignment<'w, 's> {
    /// No partition yet.
    pub(super) fn new(
        shared: &'s Shared,
        worker: &str,
        consumer: &'s Consumer,
        scope: &'w Scope<'w, 's>,
        shutdown: CancellationToken,
    ) -> Self {
        Assignment {
            shared,
            worker: worker.to_owned(),
            consumer,
            scope,
            partitions: Partitions::default(),
            searches: Vec::new(),
            held: Held::new(&shared.health, worker),
            joined: false,
            shutdown,
        }
    }

    /// The readiness of the worker, whose batches are in these states.
    pub(super) fn standing(&self, batches: &Batches) -> Standing {
        standing(self.joined, &self.partitions, batches)
    }

    /// True while a look-up is under way.
    pub(super) fn is_searching(&self) -> bool {
        !self.searches.is_empty()
    }

    /// Decides about a record.
    pub(super) fn turn(&mut self, record: &Record<'_>) -> Turn {
        let (partition, offset) = (record.partition(), record.offset());
        self.partitions
            .turn(partition, offset, || record.fingerprint())
    }

    /// Moves past a record that was taken.
    pub(super) fn take(&mut self, record: &Record<'_>) {
        let (partition, offset) = (record.partition(), record.offset());
        self.partitions
            .take(partition, offset, record.fingerprint());
    }

    /// Holds a partition whose next record names an object that cannot be fetched now.
    pub(super) fn block(&mut self, partition: i32, error: &Unavailable) -> anyhow::Result<()> {
        self.partitions.block(partition);
        self.held.hold(self.consumer, partition, error)
    }

    /// Reads blocked partitions again whose pause is over.
    pub(super) fn retry_blocked(&mut self) -> anyhow::Result<()> {
        if self.held.any() {
            let partitions = &self.partitions;
            let next = |partition| partitions.next(partition);
            for partition in self.held.retry(self.consumer, next)? {
                self.partitions.resume(partition);
            }
        }
        Ok(())
    }

    /// Stops all partitions that are read or blocked: [`Assignment::search_stopped`] looks them up again.
    pub(super) fn stop(&mut self, why: Why) {
        self.partitions.stop(why);
    }

    /// The positions after the records that were taken since the last call.
    pub(super) fn hand_over(&mut self) -> Vec<(i32, StoredPosition<u64>)> {
        self.partitions.hand_over()
    }

    /// Takes note of assigned partitions, and looks up where to read them. None at all is an assignment too.
    pub(super) fn assigned(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        self.joined = true;
        if partitions.is_empty() {
            tracing::debug!(worker = self.worker, "no partition for this worker");
            return Ok(());
        }
        // This answers the group. Each partition is started once its position is found.
        self.consumer.start(&[])?;
        for partition in partitions {
            self.partitions.assign(*partition);
        }
        self.search(partitions.to_vec());
        Ok(())
    }

    /// Looks up where to read partitions that are assigned but not started.
    fn search(&mut self, partitions: Vec<i32>) {
        let (consumer, shared) = (self.consumer, self.shared);
        let stop = self.shutdown.child_token();
        let stopped = stop.clone();
        let other = |partition: &i32| Some((*partition, self.partitions.other_record(*partition)?));
        let found = partitions.iter().filter_map(other).collect();
        let look_up = move || {
            let question = Question {
                assigned: &partitions,
                count: shared.partitions,
                config: &shared.config,
                topic: shared.topic,
                found: &found,
            };
            start::positions(consumer, &question, &stopped)
        };
        self.searches.push(Search {
            stop: stop.drop_guard(),
            thread: self.scope.spawn(look_up),
        });
    }

    /// Starts the partitions whose positions have been found since the last call.
    pub(super) fn start_found(&mut self) -> anyhow::Result<()> {
        let finished = |search: &Search<'_>| search.thread.is_finished();
        while let Some(index) = self.searches.iter().position(finished) {
            let search = self.searches.swap_remove(index);
            let found = search.thread.join();
            let found = found.map_err(|_| anyhow!("looking up positions panicked"))?;
            let Some(Found { begins, absent }) = found else {
                continue;
            };
            for partition in absent {
                self.partitions.lacks(partition);
            }
            let mut positions = Vec::new();
            let mut reads = Vec::new();
            for begin in &begins {
                let partition = begin.partition;
                self.partitions.found(partition, begin.position);
                positions.push((partition, begin.position.next));
                reads.push((partition, begin.reads_from()));
            }
            if !reads.is_empty() {
                let positions = places(&positions);
                tracing::info!(worker = self.worker, positions, "partitions assigned");
                self.consumer.start(&reads)?;
            }
        }
        Ok(())
    }

    /// Gives up the partitions that the topic does not have any more.
    pub(super) fn give_up_absent(&self) -> anyhow::Result<()> {
        match self.partitions.absent() {
            none if none.is_empty() => Ok(()),
            absent => self.consumer.give_up(&absent),
        }
    }

    /// Gives partitions back. The records that were taken from them are published or dropped by now.
    pub(super) fn revoked(&mut self, partitions: &[i32], lost: bool) -> anyhow::Result<()> {
        let (worker, numbers) = (self.worker.as_str(), numbers(partitions));
        match lost {
            false => tracing::info!(
                worker,
                partitions = numbers,
                "partitions go to other workers"
            ),
            true => tracing::warn!(
                worker,
                partitions = numbers,
                "the group gave partitions to others: it did not hear of this worker in time"
            ),
        }
        // A look-up may commit a first start: it must end before there can be another owner.
        self.searches.drain(..).for_each(Search::stop);
        let remove = |partition: &i32| self.partitions.remove(*partition);
        let started: Vec<i32> = partitions.iter().copied().filter(remove).collect();
        self.release(&started)?;
        let kept = self.partitions.searching();
        if !kept.is_empty() {
            self.search(kept);
        }
        Ok(())
    }

    /// Looks up where partitions that are stopped go on.
    pub(super) fn search_stopped(&mut self) -> anyhow::Result<()> {
        let stopped = self.partitions.search_stopped();
        if !stopped.is_empty() {
            self.release(&stopped)?;
            self.search(stopped);
        }
        Ok(())
    }

    /// The client reads these partitions no longer.
    fn release(&mut self, started: &[i32]) -> anyhow::Result<()> {
        self.held.forget(self.consumer, started)?;
        self.consumer.release(started)
    }
}
