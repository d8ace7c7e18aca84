//! Sends copies of rejected records, one of each: readers of what is committed find it exactly once, whoever is killed
//! and however many send.
//!
//! The letters that a copy answers are noted on a topic beside theirs, in the transaction that sends it: a kill
//! in between undoes both. The transactional id is that of the topic, so that of two who send at once the first is
//! fenced off, and what it has open undone, before the second reads what is noted.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::rejected::Rejected;
use crate::kafka::{self, Isolation, block_on};

/// How long one question to the brokers may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Records of one transaction.
const AT_ONCE: usize = 1_000;

/// Where it is noted what was sent back.
fn notes(topic: &str) -> String {
    format!("{topic}.resent")
}

/// The marks of the letters that were sent back.
pub(super) fn resent(brokers: &str, topic: &str) -> Result<HashSet<String>> {
    let notes = notes(topic);
    let mut marks = HashSet::new();
    if kafka::topics(brokers)?.contains(&notes) {
        kafka::read_each(brokers, &notes, Isolation::ReadCommitted, |message| {
            let mark = message
                .key()
                .map(|key| String::from_utf8_lossy(key).into_owned());
            marks.extend(mark);
        })?;
    }
    Ok(marks)
}

/// The only one who sends back letters of a topic.
pub(super) struct Sender {
    producer: ThreadedProducer<DefaultProducerContext>,
    notes: String,
}

impl Sender {
    /// Stops whoever else sends back letters of `topic`.
    pub(super) fn open(brokers: &str, topic: &str) -> Result<Sender> {
        let notes = notes(topic);
        make(brokers, &notes)?;
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", format!("sandbox-dead-letters-{topic}"))
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            // Whether a record is too large is for its topic to say.
            .set("message.max.bytes", "67108864")
            .create()
            .context("creating a Kafka producer")?;
        producer
            .init_transactions(ANSWER)
            .context("preparing a transaction")?;
        Ok(Sender { producer, notes })
    }

    /// Sends copies and notes; an error says how many were sent.
    pub(super) fn send(&self, records: &[Rejected]) -> Result<()> {
        for (index, some) in records.chunks(AT_ONCE).enumerate() {
            self.send_some(some).with_context(|| {
                let back = index * AT_ONCE;
                format!(
                    "{back} of {} are back, and noted; a repetition sends the others",
                    records.len()
                )
            })?;
        }
        Ok(())
    }

    fn send_some(&self, records: &[Rejected]) -> Result<()> {
        let begun = self.producer.begin_transaction();
        let sent = begun.and_then(|()| records.iter().try_for_each(|record| self.send_one(record)));
        let committed = sent.and_then(|()| self.producer.commit_transaction(ANSWER));
        if let Err(error) = committed {
            let undone = self.producer.abort_transaction(ANSWER);
            return Err(error).context(match undone {
                Ok(()) => "undone",
                Err(_) => "somebody else sends back letters of this topic, or the brokers are away",
            });
        }
        Ok(())
    }

    /// Sends a copy, and a note for each letter that it answers.
    fn send_one(&self, rejected: &Rejected) -> KafkaResult<()> {
        let letter = &rejected.first;
        let mut copy: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&letter.source);
        copy.key = letter.key.as_deref();
        copy.payload = letter.value.as_deref();
        // Only where the original lies is it known whether that counts.
        copy.partition = letter.original().map(|(partition, _)| partition);
        // Close to when it was first sent, which counts for events without a time of their own.
        copy.timestamp = letter.timestamp_ms;
        copy.headers = Some(letter.copy_headers());
        self.queue(copy)?;
        rejected.letters().try_for_each(|letter| {
            let mark = letter.mark();
            let note = BaseRecord::to(&self.notes).key(mark.as_bytes());
            self.queue(note.payload(&[]))
        })
    }

    /// Queues a record, waiting for room: of one record there may be any number of letters to note.
    fn queue(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> KafkaResult<()> {
        let deadline = Instant::now() + ANSWER;
        loop {
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record))
                    if Instant::now() < deadline =>
                {
                    record
                }
                Err((error, _)) => return Err(error),
            };
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Makes the topic of the notes where it is missing; compacted, so that what was sent back is never forgotten.
fn make(brokers: &str, topic: &str) -> Result<()> {
    if kafka::topics(brokers)?.iter().any(|name| name == topic) {
        return Ok(());
    }
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .context("creating a Kafka client")?;
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(-1)).set("cleanup.policy", "compact");
    let options = AdminOptions::new().operation_timeout(Some(ANSWER));
    let outcome = block_on(admin.create_topics([&new], &options))??.pop();
    match outcome {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            bail!("cannot create topic {topic}: {code}")
        }
        _ => Ok(()),
    }
}
