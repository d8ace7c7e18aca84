//! The sandbox's own access to Kafka, separate from core's on purpose: checks of the binaries must not share their
//! client code. Headers are the exception: rdkafka panics on names that are not UTF-8, and only core may use unsafe
//! code.

mod producer;
mod topics;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

pub use self::producer::Producer;
pub use self::topics::{create_topics, delete_before, delete_topic, make_anew};

/// Time limit for a single request to the brokers.
const ANSWER: Duration = Duration::from_secs(15);

/// A record read back from a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp (epoch ms).
    pub timestamp_ms: Option<i64>,
    /// Raw key.
    pub key: Option<Vec<u8>>,
    /// Raw value.
    pub value: Option<Vec<u8>>,
    /// Names and values of its headers, in order; a header without a value is empty.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Stored {
    /// The first header of this name as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(key, _)| key == name.as_bytes())?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The value as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        let value = self.value.as_deref().context("record without a value")?;
        serde_json::from_slice(value).context("value is no JSON")
    }

    pub(crate) fn from_message(message: &rdkafka::message::BorrowedMessage<'_>) -> Stored {
        let headers = tidemill_core::kafka::headers(message)
            .map(|(name, value)| (name.to_owned(), value.unwrap_or_default().to_owned()));
        Stored {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_owned),
            value: message.payload().map(<[u8]>::to_owned),
            headers: headers.collect(),
        }
    }
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .context("starting a runtime")?;
    Ok(runtime.block_on(future))
}

/// The records that a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Only committed ones.
    ReadCommitted,
    /// All, including those of open and aborted transactions.
    ReadUncommitted,
}

/// A consumer that reads whole topics by partition and offset, outside any group.
pub fn reader(brokers: &str, isolation: Isolation) -> Result<BaseConsumer> {
    let level = match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    };
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "sandbox-reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("isolation.level", level)
        .set("fetch.wait.max.ms", "10")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .context("creating a Kafka consumer")
}

/// Number of partitions of a topic.
pub fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<i32> {
    find_partitions(consumer, topic)?.with_context(|| format!("there is no topic {topic}"))
}

/// The number of a topic's partitions; `None` if it does not exist.
pub fn find_partitions(consumer: &BaseConsumer, topic: &str) -> Result<Option<i32>> {
    let metadata = consumer
        .fetch_metadata(Some(topic), ANSWER)
        .with_context(|| format!("asking for topic {topic}"))?;
    let count = metadata
        .topics()
        .first()
        .map_or(0, |topic| topic.partitions().len());
    let count = i32::try_from(count)?;
    Ok(Some(count).filter(|count| *count > 0))
}

/// The names of all topics.
pub fn topics(brokers: &str) -> Result<Vec<String>> {
    let metadata = reader(brokers, Isolation::ReadCommitted)?
        .fetch_metadata(None, ANSWER)
        .with_context(|| format!("asking for the topics at {brokers}"))?;
    let names = metadata
        .topics()
        .iter()
        .map(|topic| topic.name().to_owned());
    Ok(names.collect())
}

/// Reads a topic from its first record to its present end, ordered by partition and offset.
pub fn read_all(brokers: &str, topic: &str, isolation: Isolation) -> Result<Vec<Stored>> {
    let mut records = Vec::new();
    read_each(brokers, topic, isolation, |message| {
        records.push(Stored::from_message(message));
    })?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Passes each record of a topic, from its first to its present end, to `see`; in order only within a partition.
pub fn read_each(
    brokers: &str,
    topic: &str,
    isolation: Isolation,
    mut see: impl FnMut(&rdkafka::message::BorrowedMessage<'_>),
) -> Result<()> {
    let consumer = reader(brokers, isolation)?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions(&consumer, topic)? {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut open = assignment.count();
    let deadline = Instant::now() + Duration::from_secs(120);
    while open > 0 {
        ensure!(
            Instant::now() < deadline,
            "reading topic {topic} did not come to its end within 120 s"
        );
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => see(&message),
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => {
                return Err(error).with_context(|| format!("reading topic {topic}"));
            }
        }
    }
    Ok(())
}

/// Any one of the records of a topic that has some.
pub fn first_record(brokers: &str, topic: &str) -> Result<Stored> {
    let consumer = reader(brokers, Isolation::ReadCommitted)?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions(&consumer, topic)? {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    loop {
        match consumer.poll(ANSWER) {
            Some(Ok(message)) => return Ok(Stored::from_message(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(error).with_context(|| format!("reading {topic}")),
            None => bail!("topic {topic} has no records"),
        }
    }
}

/// The number of members of a group that have partitions; 0 while it rebalances, or its coordinator is not ready.
pub fn members_at_work(brokers: &str, group: &str) -> Result<usize> {
    let groups =
        match reader(brokers, Isolation::ReadCommitted)?.fetch_group_list(Some(group), ANSWER) {
            Err(KafkaError::GroupListFetch(
                RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress,
            )) => return Ok(0),
            groups => groups.with_context(|| format!("asking for the members of {group}"))?,
        };
    let stable = groups
        .groups()
        .iter()
        .filter(|found| found.state() == "Stable");
    // An assignment begins with two bytes of version and four that count its topics.
    let has_topics = |assignment: &[u8]| assignment.get(2..6).is_some_and(|count| count != [0; 4]);
    let members = stable.flat_map(|found| found.members());
    Ok(members
        .filter(|member| member.assignment().is_some_and(has_topics))
        .count())
}

/// The positions (next offsets) that a group has committed for a topic, by partition.
pub fn committed(brokers: &str, group: &str, topic: &str) -> Result<HashMap<i32, i64>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .create()
        .context("creating a Kafka consumer")?;
    let mut asked = TopicPartitionList::new();
    for partition in 0..partitions(&consumer, topic)? {
        asked.add_partition(topic, partition);
    }
    let answer = consumer
        .committed_offsets(asked, ANSWER)
        .with_context(|| format!("reading positions of {group}"))?;
    let positions =
        answer
            .elements_for_topic(topic)
            .into_iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(position) => Some((element.partition(), position)),
                _ => None,
            });
    Ok(positions.collect())
}
