//! librdkafka properties: our defaults, then the user's file, then the properties that the guarantees need.

use super::assigned::Assigned;
use super::properties::Properties;
use rdkafka::ClientConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Defaults of every consumer. `fetch.queue.backoff.ms`: at its default of 1 s a full queue is refilled once a second.
/// Classic group protocol with a short session: partitions of a killed process move within 6 s.
const CONSUMER: [(&str, &str); 9] = [
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1500"),
    ("max.poll.interval.ms", "60000"),
    (FETCH_WAIT, "100"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.message.max.bytes", "4194304"),
    ("queued.max.messages.kbytes", "32768"),
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// Defaults of every producer: no linger, since batches form while the previous one is under way, and no more memory
/// than a batch of large dead letters takes.
const PRODUCER: [(&str, &str); 6] = [
    ("linger.ms", "0"),
    ("compression.type", "lz4"),
    ("queue.buffering.max.messages", "500000"),
    ("queue.buffering.max.kbytes", "65536"),
    ("batch.num.messages", "10000"),
    ("retry.backoff.ms", "10"),
];

/// The time that a broker may wait for a record to answer with.
const FETCH_WAIT: &str = "fetch.wait.max.ms";

/// The same for readers, which do not wait for new records.
const READER_WAIT_MS: &str = "10";

/// Bytes of headers per record up to which prefetching stays within the memory asked for.
const LARGE_HEADERS: usize = 64 << 10;

/// The brokers abort a transaction that is open for longer. Readers of committed records wait that long for a process
/// that died in a transaction and does not come back under its name.
const TRANSACTION_TIMEOUT_MS: &str = "10000";

/// Access to the brokers: their addresses and the user's librdkafka properties, which may be secret and are never
/// shown.
#[derive(Clone, Default)]
pub struct KafkaConfig {
    brokers: String,
    pub(super) properties: Properties,
    /// The partitions that members opened with this configuration read.
    pub(super) assigned: Arc<Assigned>,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("properties", &names)
            .finish()
    }
}

impl KafkaConfig {
    /// Brokers as `host:port,host:port`, and properties from [`super::read_properties`].
    pub fn new(brokers: impl Into<String>, properties: BTreeMap<String, String>) -> Self {
        let brokers = brokers.into();
        Self {
            brokers,
            properties,
            assigned: Arc::default(),
        }
    }

    /// The broker addresses, as given.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The file of certificate authorities for the brokers' certificates, if one is named.
    pub(super) fn authorities(&self) -> Option<&Path> {
        self.properties.get("ssl.ca.location").map(Path::new)
    }

    /// The same, with consumers that fetch about this many bytes at a time, and again once most of them are consumed.
    /// Properties that the user has set stay.
    pub fn with_prefetch(&self, bytes: usize) -> Self {
        let mut config = self.clone();
        for (name, value) in [
            // The client takes this property for the size of an answer too.
            ("queued.max.messages.kbytes", bytes >> 10),
            // This property counts values and records but no headers: even with large headers prefetching must stay
            // bounded.
            ("queued.min.messages", bytes / LARGE_HEADERS),
        ] {
            let property = config.properties.entry(name.into());
            property.or_insert_with(|| value.max(1).to_string());
        }
        config
    }

    /// The lags of the partitions that members opened with this configuration read, as of the last look.
    pub(crate) fn lags(&self) -> Vec<super::lag::Lag> {
        self.assigned.lags()
    }

    /// The client id that our clients send to the brokers.
    pub fn client_id(&self) -> String {
        self.client()
            .get("client.id")
            .unwrap_or_default()
            .to_owned()
    }

    /// The largest record that our producers send, in bytes, if the user has set it.
    pub fn largest_sent(&self) -> Option<i64> {
        self.producer().get("message.max.bytes")?.parse().ok()
    }

    /// A client that neither consumes nor produces. It has the defaults of consumers, since the user's properties must
    /// fit both.
    pub fn client(&self) -> ClientConfig {
        self.build(&CONSUMER, &[])
    }

    /// A consumer in `group` that reads committed records from positions given to it.
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let guarantees = [
            ("group.id", group),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
            ("allow.auto.create.topics", "false"),
        ];
        self.build(&CONSUMER, &guarantees)
    }

    /// A consumer outside of the group that reads a stretch of the log. The client fetches from a broker in turns, and a
    /// turn without a record lasts as long as the broker may wait for one: what is read next, and the news that a
    /// partition is read to its end, wait behind it.
    pub(super) fn reader(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        if !self.properties.contains_key(FETCH_WAIT) {
            config.set(FETCH_WAIT, READER_WAIT_MS);
        }
        config
    }

    /// An idempotent producer that partitions keyed records as a Java client does.
    pub fn producer(&self) -> ClientConfig {
        let guarantees = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
        ];
        self.build(&PRODUCER, &guarantees)
    }

    /// The same in transactions under `id`.
    pub fn transactional_producer(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        config.set("transactional.id", id);
        config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        // A record that is delivered later is too late for its transaction.
        config.set("message.timeout.ms", TRANSACTION_TIMEOUT_MS);
        config
    }

    fn build(&self, defaults: &[(&str, &str)], guarantees: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "tidemill");
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        for (key, value) in guarantees {
            config.set(*key, *value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_own_property_is_one_that_librdkafka_knows() {
        for config in [
            KafkaConfig::default().consumer("g"),
            KafkaConfig::default().reader("g"),
            KafkaConfig::default().producer(),
        ] {
            config.create_native_config().unwrap();
        }
    }

    #[test]
    fn the_user_overrides_defaults_but_not_guarantees() {
        let own = BTreeMap::from([
            ("fetch.wait.max.ms".to_owned(), "7".to_owned()),
            ("isolation.level".to_owned(), "read_uncommitted".to_owned()),
        ]);
        let config = KafkaConfig::new("b:1", own);
        assert_eq!(config.reader("g").get(FETCH_WAIT), Some("7"));
        let config = config.consumer("g");
        assert_eq!(config.get(FETCH_WAIT), Some("7"));
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn prefetch_is_what_is_asked_for_unless_the_user_says_otherwise() {
        let property = "queued.max.messages.kbytes";
        let bound = KafkaConfig::default().with_prefetch(16 << 20);
        assert_eq!(bound.consumer("g").get(property), Some("16384"));
        assert_eq!(bound.consumer("g").get("queued.min.messages"), Some("256"));
        bound.consumer("g").create_native_config().unwrap();
        let own = BTreeMap::from([(property.to_owned(), "7".to_owned())]);
        let bound = KafkaConfig::new("b:1", own).with_prefetch(16 << 20);
        assert_eq!(bound.consumer("g").get(property), Some("7"));
    }
}
