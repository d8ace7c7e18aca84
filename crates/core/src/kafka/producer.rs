//! An idempotent producer that never drops a record silently.

use super::client_log::heard;
use super::wording::client_error;
use super::{KafkaConfig, add_header};
use anyhow::{Context, anyhow, bail};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Pause between two attempts while the queue is full.
const FULL_QUEUE: Duration = Duration::from_micros(500);

/// Time limit for room in the queue. Brokers that are up make room within milliseconds; the caller must be able to poll
/// its consumer, and to stop within 10 s.
const ROOM: Duration = Duration::from_secs(5);

/// A record to send.
#[derive(Clone, Debug, Default)]
pub struct Outgoing<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// The partition; `None` has the key decide (murmur2), or chance without a key.
    pub partition: Option<i32>,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
    /// The Kafka timestamp (epoch ms); `None` is the time of sending.
    pub timestamp: Option<i64>,
    /// The headers; `None` is none.
    pub headers: Option<OwnedHeaders>,
}

/// A list of one header.
pub fn one_header(key: &str, value: &[u8]) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(1);
    add_header(empty, key.as_bytes(), Some(value))
}

/// A producer with a thread of its own for delivery reports; [`Producer::flush`] reports failed ones.
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
            failed.get_or_insert_with(|| {
                format!("a record for {}: {}", message.topic(), client_error(error))
            });
        }
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        heard(&error, Some(reason));
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

    /// A producer from a configuration that the caller has completed, such as a transactional one.
    pub fn create(config: &ClientConfig) -> anyhow::Result<Self> {
        let inner = config
            .create_with_context(Deliveries::default())
            .context("creating a Kafka producer")?;
        Ok(Self { inner })
    }

    /// The rdkafka client, for transactions.
    pub fn inner(&self) -> &ThreadedProducer<Deliveries> {
        &self.inner
    }

    /// Queues a record; waits for room if the queue is full.
    ///
    /// Errors: no room within 5 s, or librdkafka rejects the record; a [`KafkaError`] is among the causes.
    pub fn send(&self, outgoing: Outgoing<'_>) -> anyhow::Result<()> {
        let (topic, deadline) = (outgoing.topic, Instant::now() + ROOM);
        let mut record = BaseRecord::<[u8], [u8]>::to(outgoing.topic);
        record.partition = outgoing.partition;
        record.key = outgoing.key;
        record.payload = outgoing.value;
        record.timestamp = outgoing.timestamp;
        record.headers = outgoing.headers;
        loop {
            record = match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((error, record)) if is_full(&error) && Instant::now() < deadline => record,
                Err((error, _)) if is_full(&error) => {
                    return Err(anyhow!(error).context(format!(
                        "no room for a record for {topic} within {ROOM:?}: the brokers do not take what is queued"
                    )));
                }
                Err((error, _)) => {
                    return Err(anyhow!(error).context(format!("queueing a record for {topic}")));
                }
            };
            std::thread::sleep(FULL_QUEUE);
        }
    }

    /// Waits until all in-sync replicas have acknowledged everything sent.
    ///
    /// Errors: not done within `timeout`, or a delivery has failed since the last flush.
    pub fn flush(&self, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        // librdkafka's own flush waits in steps of 100 ms.
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

    /// The first failed delivery since the last call.
    pub fn failure(&self) -> Option<String> {
        self.inner.context().failed.lock().ok()?.take()
    }
}

fn is_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_full_queue_is_an_error_after_a_while() {
        let small = BTreeMap::from([("queue.buffering.max.messages".to_owned(), "1".to_owned())]);
        // Nobody listens at port 1.
        let producer = Producer::open(&KafkaConfig::new("localhost:1", small)).unwrap();
        let record = || Outgoing {
            topic: "t",
            value: Some(b"v"),
            ..Outgoing::default()
        };
        producer.send(record()).unwrap();
        let begun = Instant::now();
        let error = producer.send(record()).unwrap_err();
        assert!((ROOM..2 * ROOM).contains(&begun.elapsed()));
        assert!(error.to_string().contains("no room"), "{error:#}");
        assert!(is_full(error.downcast_ref().unwrap()));
    }
}
