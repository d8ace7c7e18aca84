//! The broker for machines without Java: librdkafka's mock, inside this process.
//!
//! Good for a bounded demo. It does not separate transactions, knows no times and drops the oldest records of a full
//! partition, so it proves nothing about exactly-once delivery; its users must say so.

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};

/// A mock broker that listens on the loopback interface until it is dropped.
pub struct Mock {
    /// The client that hosts the mock.
    client: BaseProducer,
}

impl Mock {
    pub(crate) fn start() -> Result<Mock> {
        let client = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create()
            .context("cannot start the in-process mock broker")?;
        Ok(Mock { client })
    }

    /// Its address, host and port.
    pub fn brokers(&self) -> Result<String> {
        let mock = self
            .client
            .client()
            .mock_cluster()
            .context("the mock broker is gone")?;
        Ok(mock.bootstrap_servers())
    }

    /// Creates a topic directly, since the mock does not support the admin request.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        let mock = self
            .client
            .client()
            .mock_cluster()
            .context("the mock broker is gone")?;
        mock.create_topic(topic, partitions, 1)
            .with_context(|| format!("cannot create topic {topic}"))
    }
}
