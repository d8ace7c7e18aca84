//! The consumer of one worker: records and rebalances as one stream of events, positions set by the worker.
//!
//! librdkafka hands a rebalance to a callback and waits, for as long as `max.poll.interval.ms`, until it is answered
//! with an assign or unassign. The callback here only notes the rebalance; [`Consumer::poll`] returns it as an event on
//! the same thread, and [`Consumer::start`] or [`Consumer::release`] is the answer. So a worker's batch, sink and state
//! need no lock, and each partition is assigned once, at the position that the worker's own store holds.

use super::absent::Absent;
use super::assigned::Assigned;
use super::client_log::heard;
use super::hints::Hints;
use super::rebalances::{Change, Rebalances};
use super::stopped::Stopped;
use super::{Polled, Record};
use crate::exit::Failure;
use anyhow::{Context as _, anyhow};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time limit for a request to the brokers.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// A member of a consumer group on one topic. One thread polls it; requests to the brokers may run on another.
pub struct Consumer {
    pub(super) base: BaseConsumer<Rebalances>,
    pub(super) topic: String,
    pub(super) hints: Hints,
    /// The member's destination, which its offset commits name.
    pub(super) writes_to: String,
    pub(super) stopped: Stopped,
    pub(super) absent: Absent,
    /// The partitions that the consumers of this process read.
    pub(super) assigned: Option<Arc<Assigned>>,
}

impl Drop for Consumer {
    /// Leaves the group. Answers a pending rebalance, as one left by an error: otherwise librdkafka would never close
    /// the client.
    fn drop(&mut self) {
        self.tell_group(self.hints.all());
        self.base.context().close();
        let answered = match self.base.context().take() {
            Some(Change::Revoked { partitions, .. }) => self.release(&partitions),
            Some(Change::Assigned(_)) => self.start(&[]),
            None => Ok(()),
        };
        if let Err(error) = answered {
            tracing::debug!("{error:#}");
        }
        if let Ok(assignment) = self.base.assignment() {
            let partitions = assignment.elements().into_iter();
            let partitions = partitions.map(|element| element.partition());
            if let Some(all) = &self.assigned {
                all.remove(partitions);
            }
        }
        // The client is closed next. librdkafka 2.12 leaves the group then only if it has partitions to give back; the
        // others would count as members until their sessions end.
        self.base.unsubscribe();
    }
}

impl Consumer {
    /// The input topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The next event, after waiting for up to `wait`. Must be called at least once a minute, or the group gives the
    /// partitions to others.
    ///
    /// Errors: only those after which the client cannot be used any more.
    pub fn poll(&self, wait: Duration) -> anyhow::Result<Polled<'_>> {
        self.tell_group(self.hints.due());
        if self.stopped.due() {
            return Ok(Polled::OutOfRange);
        }
        match self.base.poll(wait) {
            Some(Ok(message)) => Ok(Polled::Record(Record::new(message))),
            Some(Err(error)) => self.after(error),
            // A rebalance ends the poll without a message.
            None => Ok(self.base.context().take().into()),
        }
    }

    fn after(&self, error: KafkaError) -> anyhow::Result<Polled<'_>> {
        use RDKafkaErrorCode as Code;
        match error {
            KafkaError::MessageConsumptionFatal(_) => {
                let (code, cause) = match self.base.client().fatal_error() {
                    Some((code, text)) => (Some(code), text),
                    None => (None, error.to_string()),
                };
                Err(for_good(code, &cause))
            }
            KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                let assigned = self.base.assignment()?;
                let assigned = assigned.elements().into_iter();
                let partitions = assigned.map(|element| element.partition());
                self.stopped.add(partitions, Instant::now());
                Ok(Polled::OutOfRange)
            }
            KafkaError::PartitionEOF(partition) => Ok(Polled::End(partition)),
            KafkaError::MessageConsumption(Code::PollExceeded) => {
                tracing::warn!(
                    "a batch took longer than max.poll.interval.ms, rejoining the group"
                );
                Ok(Polled::Idle)
            }
            error => {
                // The client goes on by itself.
                heard(&error, None);
                Ok(Polled::Idle)
            }
        }
    }

    /// Starts reading assigned partitions, each at the given position.
    pub fn start(&self, positions: &[(i32, i64)]) -> anyhow::Result<()> {
        let list = self.list(positions)?;
        let assigned = self.base.incremental_assign(&list);
        assigned.with_context(|| format!("assigning {} {positions:?}", self.topic))?;
        self.stopped
            .remove(positions.iter().map(|(partition, _)| *partition));
        if let Some(all) = &self.assigned {
            all.add(positions.iter().map(|(partition, _)| *partition));
        }
        Ok(())
    }

    /// Releases revoked partitions, after committing the offsets reached for their next owner.
    pub fn release(&self, partitions: &[i32]) -> anyhow::Result<()> {
        self.tell_group(self.hints.all());
        self.stopped.remove(partitions.iter().copied());
        let released = self.base.incremental_unassign(&self.bare(partitions));
        if let Some(all) = &self.assigned {
            all.remove(partitions.iter().copied());
        }
        released.with_context(|| format!("unassigning {} {partitions:?}", self.topic))
    }

    /// Seeks to another position of an assigned partition, even if reading it has stopped because its position was out
    /// of range.
    pub fn seek(&self, partition: i32, position: i64) -> anyhow::Result<()> {
        let list = self.list(&[(partition, position)])?;
        let sought = self.base.seek_partitions(list, ANSWER);
        let sought = sought.and_then(|list| {
            let outcomes = list.elements().into_iter().map(|element| element.error());
            outcomes.collect::<KafkaResult<()>>()
        });
        if sought
            .as_ref()
            .is_err_and(|error| error.rdkafka_error_code() == Some(RDKafkaErrorCode::State))
        {
            // A partition that has stopped cannot be sought, only assigned again.
            self.release(&[partition])?;
            return self.start(&[(partition, position)]);
        }
        sought.with_context(|| format!("seeking {} {partition} to {position}", self.topic))?;
        self.stopped.remove([partition].into_iter());
        Ok(())
    }

    /// Stops fetching these partitions; the consumer must still be polled.
    pub fn pause(&self, partitions: &[i32]) -> anyhow::Result<()> {
        let paused = self.base.pause(&self.bare(partitions));
        paused.with_context(|| format!("pausing {} {partitions:?}", self.topic))
    }

    /// Fetches paused partitions again.
    pub fn resume(&self, partitions: &[i32]) -> anyhow::Result<()> {
        let resumed = self.base.resume(&self.bare(partitions));
        resumed.with_context(|| format!("resuming {} {partitions:?}", self.topic))
    }

    /// The membership that fences a transaction's positions; to be read again for each transaction.
    pub fn group_metadata(&self) -> anyhow::Result<ConsumerGroupMetadata> {
        let metadata = self.base.group_metadata();
        metadata.context("the consumer has no group metadata")
    }

    pub(super) fn bare(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    pub(super) fn list(&self, positions: &[(i32, i64)]) -> anyhow::Result<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*position))?;
        }
        Ok(list)
    }
}

/// The error of a client that cannot be used any more.
fn for_good(code: Option<RDKafkaErrorCode>, cause: &str) -> anyhow::Error {
    if code == Some(RDKafkaErrorCode::FencedInstanceId) {
        return Failure::usage(
            "another process runs under the same --instance: give each process its own",
        );
    }
    anyhow!("the Kafka consumer failed for good: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    #[test]
    fn a_second_process_under_one_name_is_the_users_mistake() {
        let text = "Static consumer fenced";
        let error = for_good(Some(RDKafkaErrorCode::FencedInstanceId), text);
        assert_eq!(Failure::code(&error), Code::Usage);
        assert!(error.to_string().contains("--instance"), "{error}");
        let error = for_good(Some(RDKafkaErrorCode::UnsupportedFeature), text);
        assert_eq!(Failure::code(&error), Code::Internal);
        assert!(error.to_string().contains(text), "{error}");
    }
}
