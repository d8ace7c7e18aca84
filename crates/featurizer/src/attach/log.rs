//! The log of a topic, as far as attaching needs it.

use tidemill_core::kafka::{Consumer, LogRange, TopicId};

/// The log of a topic, as far as attaching needs it. Errors: the brokers do not answer.
pub(crate) trait Log {
    /// The number of partitions.
    fn partitions(&self) -> anyhow::Result<i32>;
    /// Kafka's id of the topic; `None` if the brokers do not report it.
    fn topic_id(&self) -> anyhow::Result<Option<TopicId>>;
    /// The offsets of a partition.
    fn range(&self, partition: i32) -> anyhow::Result<LogRange>;
    /// Offset of the first record no older than a Kafka time (epoch ms); the end if there is none.
    fn offset_at(&self, partition: i32, time: i64) -> anyhow::Result<i64>;
}

impl Log for Consumer {
    fn partitions(&self) -> anyhow::Result<i32> {
        self.partition_count()
    }

    fn topic_id(&self) -> anyhow::Result<Option<TopicId>> {
        Consumer::topic_id(self)
    }

    fn range(&self, partition: i32) -> anyhow::Result<LogRange> {
        self.log_range(partition)
    }

    fn offset_at(&self, partition: i32, time: i64) -> anyhow::Result<i64> {
        let found = self.positions_at(&[partition], time)?;
        match found.first() {
            Some((_, offset)) => Ok(*offset),
            None => Ok(self.log_range(partition)?.end),
        }
    }
}
