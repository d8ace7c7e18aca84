//! Topics to measure on: filled as fast as the broker accepts records, and drained by a loop that does nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::rates::Measured;
use crate::kafka::{self, Producer};

/// One record to write.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Its Kafka timestamp (epoch ms); `None` for the time of sending.
    pub(super) timestamp_ms: Option<i64>,
}

/// Creates `topic` and writes `records` to it; `draft` fills in each one, with key and value cleared before.
pub(super) fn fill(
    brokers: &str,
    topic: &str,
    partitions: i32,
    records: u64,
    mut draft: impl FnMut(u64, &mut Draft) -> Result<()>,
) -> Result<Measured> {
    kafka::create_topics(brokers, &[topic], partitions)?;
    let producer = Producer::open(brokers)?;
    let mut next = Draft::default();
    let start = Instant::now();
    for number in 0..records {
        next.key.clear();
        next.value.clear();
        draft(number, &mut next)?;
        producer.send(topic, Some(&next.key), Some(&next.value), next.timestamp_ms)?;
    }
    producer.flush()?;
    Ok(Measured::since(start, records))
}

/// Reads the first `records` of a topic with one consumer that discards them: the limit for every other reader.
pub(super) fn drain(brokers: &str, topic: &str, records: u64) -> Result<Measured> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "sandbox-drain")
        .set("enable.auto.commit", "false")
        .set("queued.min.messages", "1000000")
        .set("fetch.message.max.bytes", "4194304")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .context("creating a Kafka consumer")?;
    let mut all = TopicPartitionList::new();
    for partition in 0..kafka::partitions(&consumer, topic)? {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    // Connecting is no part of reading: the clock starts with the first record.
    consumer.assign(&all)?;
    let mut start = None;
    let mut seen = 0;
    while seen < records {
        match consumer.poll(Duration::from_secs(30)) {
            Some(record) => record.with_context(|| format!("draining {topic}"))?,
            None => bail!("{topic} has {seen} records, not {records}"),
        };
        start.get_or_insert_with(Instant::now);
        seen += 1;
    }
    Ok(Measured::since(start.unwrap_or_else(Instant::now), seen))
}
