//! The intake of a worker: takes records in, resolves claims, and sends unusable records to the dead-letter topic.
//!
//! - `take`: the decision about one record

mod take;

pub(crate) use take::{Incoming, Taken, take, turn};

use crate::assignment::{Assignment, OwnedPartition, Turn};
use crate::batch::Batch;
use crate::engine::Engine;
use crate::rejections::Rejections;
use crate::setback::Setback;
use crate::store::Door;
use std::time::{Duration, Instant};
use tidemill_core::claim::{Fetches, Held, Resolver, is_claim};
use tidemill_core::kafka::{Consumer, DeadLetters, Producer, Record, in_words};
use tidemill_core::record::Reject;
use tidemill_core::record::resent::Original;

/// Time limit for the acknowledgement of dead letters; past it the batch is repeated.
const LETTERS: Duration = Duration::from_secs(4);
/// Records between two reads of the clock.
const LOOK: usize = 64;

/// Takes the records of a worker.
pub(crate) struct Intake {
    fetches: Fetches,
    blocked: Held,
    letters: DeadLetters,
    producer: Producer,
    /// Rejects whose dead letters are not acknowledged yet.
    unacknowledged: Vec<Reject>,
    rejections: Rejections,
    /// Arrival of the batch's first record.
    begun: Option<Instant>,
    late: bool,
}

impl Intake {
    /// An intake without records.
    pub(crate) fn new(
        resolver: Resolver,
        blocked: Held,
        letters: DeadLetters,
        producer: Producer,
    ) -> Self {
        Self {
            fetches: Fetches::new(resolver),
            blocked,
            letters,
            producer,
            unacknowledged: Vec::new(),
            rejections: Rejections::default(),
            begun: None,
            late: false,
        }
    }

    /// Takes a record into the batch.
    pub(crate) fn record<D: Door>(
        &mut self,
        consumer: &Consumer,
        record: &Record<'_>,
        (assignment, engine, batch): (&mut Assignment, &mut Engine<D>, &mut Batch),
    ) -> Result<(), Setback> {
        let (partition, offset) = (record.partition(), record.offset());
        if self.blocked.any() && self.blocked.contains(partition) {
            return Ok(());
        }
        let topic = consumer.topic();
        let incoming = Incoming {
            partition,
            offset,
            timestamp: record.timestamp(),
            key: record.key(),
            value: record.value(),
            original: Original::of(record.headers(), topic, partition, offset),
        };
        if turn(&incoming, assignment)? == Turn::Past {
            return Ok(());
        }
        self.rejections.read();
        let content = match self.fetches.resolve(partition, incoming.value) {
            Ok(content) => content,
            Err(error) => {
                let blocked = self.blocked.hold(consumer, partition, &error);
                return blocked.map_err(Setback::Fatal);
            }
        };
        let value = content.of(incoming.value);
        let taken = take(&incoming, value, (assignment, engine, &mut *batch));
        if let Taken::Rejected {
            reject,
            letter: true,
        } = taken
        {
            let sent = self.letters.send(&self.producer, record, &reject);
            sent.map_err(|error| Setback::DeadLetters(error.to_string()))?;
            self.unacknowledged.push(reject);
        }
        // A claim's object takes time to fetch.
        let long = self.begun.is_none() || is_claim(incoming.value);
        if long || batch.records().is_multiple_of(LOOK) {
            self.begun.get_or_insert_with(Instant::now);
            self.look(batch);
        }
        Ok(())
    }

    /// Reads the clock: the batch may have been filled for as long as it may.
    pub(crate) fn look(&mut self, batch: &Batch) {
        let begun = self.begun.map(|begun| begun.elapsed());
        self.late = begun.is_some_and(|begun| begun >= batch.longest_take());
    }

    /// True if the batch has been filled for as long as it may.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }

    /// Notes that all records of a partition's log were delivered. Those of a blocked partition will be delivered
    /// again.
    pub(crate) fn ended(&self, partition: i32, assignment: &mut Assignment, batch: &mut Batch) {
        ended(
            partition,
            self.blocked.contains(partition),
            (assignment, batch),
        );
    }

    /// Resumes blocked partitions whose pause is over.
    pub(crate) fn retry(
        &mut self,
        consumer: &Consumer,
        assignment: &Assignment,
    ) -> Result<(), Setback> {
        if !self.blocked.any() {
            return Ok(());
        }
        let next = |id| assignment.get(id).map(|own| own.next());
        let retried = self.blocked.retry(consumer, next);
        let retried = retried.map(drop);
        retried.map_err(|error| Setback::Brokers(in_words(&error)))
    }

    /// Unblocks partitions that are revoked, or that resume at another offset.
    pub(crate) fn unblock(
        &mut self,
        consumer: &Consumer,
        partitions: &[i32],
    ) -> Result<(), Setback> {
        let unblocked = self.blocked.forget(consumer, partitions);
        unblocked.map_err(Setback::Fatal)
    }

    /// Waits until the dead letters of the batch are acknowledged, before it is committed.
    pub(crate) fn acknowledge(&mut self) -> Result<(), Setback> {
        (self.begun, self.late) = (None, false);
        if self.unacknowledged.is_empty() {
            return Ok(());
        }
        let acknowledged = self.producer.flush(LETTERS);
        acknowledged.map_err(|error| Setback::DeadLetters(in_words(&error)))?;
        for reject in self.unacknowledged.drain(..) {
            self.letters.count(reject.reason);
            self.rejections.add(reject);
        }
        Ok(())
    }

    /// Rejected records with a dead letter, to be logged.
    pub(crate) fn rejections(&mut self) -> &mut Rejections {
        &mut self.rejections
    }

    /// Drops the state of the batch.
    pub(crate) fn go_back(&mut self) {
        self.unacknowledged.clear();
        (self.begun, self.late) = (None, false);
    }
}

/// Notes that all records of a partition's log were delivered, unless it is blocked.
pub(crate) fn ended(
    partition: i32,
    blocked: bool,
    (assignment, batch): (&mut Assignment, &mut Batch),
) {
    use crate::relapse::{Relapse, relapsed};
    if blocked && !relapsed(Relapse::WarmWhileBlocked) {
        return;
    }
    let own = assignment.get_mut(partition);
    if let Some(progress) = own.and_then(OwnedPartition::ended) {
        batch.progressed(partition, progress);
    }
}
