//! The ways to open a consumer: as a member of a group, or as a reader outside of it.

use super::absent::Absent;
use super::assigned::Assigned;
use super::hints::Hints;
use super::rebalances::Rebalances;
use super::stopped::Stopped;
use super::{Consumer, KafkaConfig, note};
use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::sync::Arc;

impl Consumer {
    /// Joins `group` on `topic`. Every commit carries `writes_to`, the member's destination: members with different
    /// destinations share the partitions, so that each output gets only a part. See [`Consumer::others_write_to`].
    pub fn open(
        kafka: &KafkaConfig,
        group: &str,
        topic: &str,
        writes_to: &str,
    ) -> anyhow::Result<Self> {
        Self::join(kafka, &kafka.consumer(group), topic, writes_to)
    }

    /// Joins `group` on `topic` under a name that no other member has. A process that comes back under the name gets
    /// its predecessor's partitions at once. The price: the group misses a process that does not come back only when
    /// its session has expired.
    pub fn open_named(
        kafka: &KafkaConfig,
        group: &str,
        topic: &str,
        writes_to: &str,
        name: &str,
    ) -> anyhow::Result<Self> {
        let mut config = kafka.consumer(group);
        let config = config.set("group.instance.id", name);
        Self::join(kafka, config, topic, writes_to)
    }

    fn join(
        kafka: &KafkaConfig,
        config: &ClientConfig,
        topic: &str,
        writes_to: &str,
    ) -> anyhow::Result<Self> {
        let base: BaseConsumer<Rebalances> = config
            .create_with_context(Rebalances::default())
            .context("creating a Kafka consumer")?;
        base.subscribe(&[topic])
            .with_context(|| format!("subscribing to {topic}"))?;
        let assigned = Some(kafka.assigned.clone());
        Ok(Self::on(base, topic, writes_to, assigned))
    }

    /// Opens a reader that is no member of `group` and sees no rebalance. It reads the partitions given to
    /// [`Consumer::start`]; [`Polled::End`] reports their ends; [`Consumer::commit`] works while the group has no
    /// members. Its commits carry `writes_to`, as those of members do.
    pub fn outside_for(
        kafka: &KafkaConfig,
        group: &str,
        topic: &str,
        writes_to: &str,
    ) -> anyhow::Result<Self> {
        let mut consumer = Self::outside(kafka, group, topic)?;
        consumer.writes_to = note::bounded(writes_to);
        Ok(consumer)
    }

    /// Like [`Consumer::outside_for`], for a reader that commits nothing, or without a destination.
    pub fn outside(kafka: &KafkaConfig, group: &str, topic: &str) -> anyhow::Result<Self> {
        Self::alone(kafka.reader(group), topic)
    }

    /// Like [`Consumer::outside`], for a reader to which a log ends after its newest record. To all others it ends where
    /// its oldest open transaction begins.
    pub fn outside_uncommitted(
        kafka: &KafkaConfig,
        group: &str,
        topic: &str,
    ) -> anyhow::Result<Self> {
        let mut config = kafka.reader(group);
        config.set("isolation.level", "read_uncommitted");
        Self::alone(config, topic)
    }

    /// Like [`Consumer::outside`], for a reader that takes only the next record of each partition.
    pub(super) fn glancing(kafka: &KafkaConfig, group: &str, topic: &str) -> anyhow::Result<Self> {
        let mut config = kafka.consumer(group);
        config.set("queued.min.messages", "1");
        config.set("fetch.message.max.bytes", "65536");
        Self::alone(config, topic)
    }

    fn alone(config: ClientConfig, topic: &str) -> anyhow::Result<Self> {
        let base = config.create_with_context(Rebalances::default());
        let base = base.context("creating a Kafka consumer")?;
        Ok(Self::on(base, topic, "", None))
    }

    fn on(
        base: BaseConsumer<Rebalances>,
        topic: &str,
        writes_to: &str,
        assigned: Option<Arc<Assigned>>,
    ) -> Self {
        Self {
            base,
            topic: topic.to_owned(),
            hints: Hints::default(),
            writes_to: note::bounded(writes_to),
            stopped: Stopped::default(),
            absent: Absent::default(),
            assigned,
        }
    }
}
