//! Sends dead letters back, each once: readers of what is committed find each of them exactly once, whoever is killed
//! and however many send.
//!
//! What was sent back is noted on a topic beside that of the dead letters, in the transaction that sends it: a kill
//! in between undoes both. The transactional id is that of the topic, so that of two who send at once the first is
//! fenced off, and what it has open undone, before the second reads what is noted.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::letter::Letter;
use crate::kafka::{self, Isolation, block_on};

/// How long one question to the brokers may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Letters of one transaction.
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

    /// Sends letters back with their notes; an error says how many are back.
    pub(super) fn send(&self, letters: &[Letter]) -> Result<()> {
        for (index, some) in letters.chunks(AT_ONCE).enumerate() {
            self.send_some(some).with_context(|| {
                let back = index * AT_ONCE;
                format!(
                    "{back} of {} are back, and noted; a repetition sends the others",
                    letters.len()
                )
            })?;
        }
        Ok(())
    }

    fn send_some(&self, letters: &[Letter]) -> Result<()> {
        let begun = self.producer.begin_transaction();
        let sent = begun.and_then(|()| letters.iter().try_for_each(|letter| self.send_one(letter)));
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

    /// Sends a letter and its note.
    fn send_one(&self, letter: &Letter) -> KafkaResult<()> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&letter.source);
        record.key = letter.key.as_deref();
        record.payload = letter.value.as_deref();
        record.partition = letter.partition_back();
        // Close to when it was first sent, which counts for events without a time of their own.
        record.timestamp = letter.timestamp_ms;
        record.headers = Some(letter.own_headers());
        let mark = letter.mark();
        let note = BaseRecord::<str, [u8]>::to(&self.notes).key(mark.as_str());
        let note = note.payload(&[]);
        self.producer.send(record).map_err(|(error, _)| error)?;
        self.producer.send(note).map_err(|(error, _)| error)
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
