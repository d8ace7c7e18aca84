//! The broker for machines without Java: librdkafka's mock, inside this process.
//!
//! Good for a bounded demo. It keeps no transactions apart, knows no times and forgets the oldest records of a full
//! partition, so it proves nothing about exactly-once delivery; whoever uses it must say so.

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};

/// A mock broker that listens on the loopback interface as long as this lives.
pub struct Mock {
    /// The client that the mock lives in.
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

    /// Its address.
    pub fn brokers(&self) -> Result<String> {
        let mock = self
            .client
            .client()
            .mock_cluster()
            .context("the mock broker is gone")?;
        Ok(mock.bootstrap_servers())
    }

    /// Creates a topic; the mock answers no request to do so, hence this way.
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
