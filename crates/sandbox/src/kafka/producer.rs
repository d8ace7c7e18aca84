//! Sends records, and notices every one that did not arrive.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientConfig, ClientContext};

/// The outcome of the records sent.
#[derive(Default)]
struct Deliveries {
    outcome: Mutex<Outcome>,
}

#[derive(Clone, Default)]
struct Outcome {
    /// Partition and offset of the latest record that arrived.
    last: Option<(i32, i64)>,
    /// The error of the first record that did not arrive.
    failure: Option<String>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => outcome.last = Some((message.partition(), message.offset())),
            Err((error, _)) => {
                outcome.failure.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// An idempotent producer; it sends keyed records to the partition that a Java client would choose.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
}

impl Producer {
    /// Connects in the background.
    pub fn open(brokers: &str) -> Result<Producer> {
        let inner = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", "2")
            .set("queue.buffering.max.messages", "200000")
            .create_with_context(Deliveries::default())
            .context("creating a Kafka producer")?;
        Ok(Producer { inner })
    }

    /// Sends one record; waits while the queue is full. Without a timestamp the record gets the present time.
    pub fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: Option<i64>,
    ) -> Result<()> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.key = key;
        record.payload = value;
        record.timestamp = timestamp_ms;
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_micros(500));
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("sending to topic {topic}"));
                }
            }
        }
    }

    /// Waits until everything sent has arrived; fails if anything has not.
    pub fn flush(&self) -> Result<()> {
        self.inner
            .flush(Duration::from_secs(60))
            .context("waiting for records to arrive")?;
        match self.outcome().failure {
            None => Ok(()),
            Some(failure) => bail!("a record did not arrive: {failure}"),
        }
    }

    /// Partition and offset of the latest record that arrived.
    pub fn last_delivery(&self) -> Option<(i32, i64)> {
        self.outcome().last
    }

    fn outcome(&self) -> Outcome {
        self.inner
            .context()
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
