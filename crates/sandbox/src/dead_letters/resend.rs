//! Sends one copy of each rejected record: read_committed readers find it exactly once, even if senders are killed or
//! run at the same time.
//!
//! The transaction that sends a copy also notes the letters that it answers, on a topic next to theirs: a kill undoes
//! both. The transactional id belongs to the topic, so a second sender fences off the first, and aborts its open
//! transaction, before it reads the notes.

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

/// Time limit for one request to the brokers.
const ANSWER: Duration = Duration::from_secs(30);

/// Limit of records in one transaction.
const AT_ONCE: usize = 1_000;

/// The topic of the notes about letters that were sent back.
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

/// The only sender of a topic's letters.
pub(super) struct Sender {
    producer: ThreadedProducer<DefaultProducerContext>,
    notes: String,
}

impl Sender {
    /// Fences off all other senders of `topic`'s letters.
    pub(super) fn open(brokers: &str, topic: &str) -> Result<Sender> {
        let notes = notes(topic);
        make(brokers, &notes)?;
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", format!("sandbox-dead-letters-{topic}"))
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            // The topic decides if a record is too large.
            .set("message.max.bytes", "67108864")
            .create()
            .context("creating a Kafka producer")?;
        producer
            .init_transactions(ANSWER)
            .context("preparing a transaction")?;
        Ok(Sender { producer, notes })
    }

    /// Sends copies and notes; an error gives the number sent.
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

    /// Sends a copy, and a note for each letter about its record.
    fn send_one(&self, rejected: &Rejected) -> KafkaResult<()> {
        let letter = &rejected.first;
        let mut copy: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&letter.source);
        copy.key = letter.key.as_deref();
        copy.payload = letter.value.as_deref();
        // Only the original's partition knows if the original counts.
        copy.partition = letter.original().map(|(partition, _)| partition);
        // It counts for events without a time of their own.
        copy.timestamp = letter.copy_timestamp();
        copy.headers = Some(letter.copy_headers());
        self.queue(copy)?;
        rejected.letters().try_for_each(|letter| {
            let mark = letter.mark();
            let note = BaseRecord::to(&self.notes).key(mark.as_bytes());
            self.queue(note.payload(&[]))
        })
    }

    /// Queues a record, waiting for room: one record may have any number of letters to note.
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

/// Creates the topic of the notes if it is missing; compacted, so that notes are never deleted.
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
