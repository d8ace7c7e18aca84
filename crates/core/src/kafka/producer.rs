//! An idempotent producer that never drops a record unnoticed.

use super::KafkaConfig;
use anyhow::{Context, bail};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders, ToBytes};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long to wait for room in a full queue before looking again.
const FULL_QUEUE: Duration = Duration::from_micros(500);

/// A record to be sent.
#[derive(Clone, Debug, Default)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; `None` lets the key decide (murmur2), or chance where there is no key.
    pub partition: Option<i32>,
    /// The key, null when `None`.
    pub key: Option<&'a [u8]>,
    /// The value, null when `None`.
    pub value: Option<&'a [u8]>,
    /// The Kafka timestamp in milliseconds; `None` is the time of sending.
    pub timestamp: Option<i64>,
    /// The headers.
    pub headers: Option<OwnedHeaders>,
}

/// Headers of one entry.
pub fn one_header(key: &str, value: &[u8]) -> OwnedHeaders {
    add_header(OwnedHeaders::new_with_capacity(1), key, value)
}

/// Another entry behind those that are there.
pub(super) fn add_header(
    headers: OwnedHeaders,
    key: &str,
    value: &(impl ToBytes + ?Sized),
) -> OwnedHeaders {
    let value = Some(value);
    headers.insert(Header { key, value })
}

/// A producer whose thread of its own serves delivery reports; [`Producer::flush`] tells of failed ones.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
}

/// Keeps the first failed delivery since the last flush.
#[derive(Default)]
pub struct Deliveries {
    failed: Mutex<Option<String>>,
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result
            && let Ok(mut failed) = self.failed.lock()
        {
            failed.get_or_insert_with(|| format!("a record for {}: {error}", message.topic()));
        }
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka client");
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "{message}");
    }
}

impl Producer {
    /// A producer outside transactions.
    pub fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        Self::create(&kafka.producer())
    }

    /// A producer from a configuration that its caller has completed, such as a transactional one.
    pub fn create(config: &ClientConfig) -> anyhow::Result<Self> {
        let inner = config
            .create_with_context(Deliveries::default())
            .context("creating a Kafka producer")?;
        Ok(Self { inner })
    }

    /// The client itself, for transactions.
    pub fn inner(&self) -> &ThreadedProducer<Deliveries> {
        &self.inner
    }

    /// Queues a record, waiting for room where the queue is full.
    pub fn send(&self, outgoing: Outgoing<'_>) -> Result<(), KafkaError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(outgoing.topic);
        record.partition = outgoing.partition;
        record.key = outgoing.key;
        record.payload = outgoing.value;
        record.timestamp = outgoing.timestamp;
        record.headers = outgoing.headers;
        loop {
            record = match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
                Err((error, _)) => return Err(error),
            };
            std::thread::sleep(FULL_QUEUE);
        }
    }

    /// Waits until everything sent is acknowledged by all replicas in sync.
    ///
    /// Errors: not done within `timeout`, or a delivery has failed since the last flush.
    pub fn flush(&self, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        // The client's own flush waits in steps of 100 ms.
        while self.inner.in_flight_count() > 0 {
            if Instant::now() > deadline {
                bail!("records are not acknowledged after {timeout:?}");
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        match self.failure() {
            Some(failure) => bail!("not delivered: {failure}"),
            None => Ok(()),
        }
    }

    /// The first failed delivery since this was last asked.
    pub fn failure(&self) -> Option<String> {
        self.inner.context().failed.lock().ok()?.take()
    }
}
