//! The cluster before the first record: is it there, are the topics, and which have to be made.

use super::KafkaConfig;
use crate::exit::Failure;
use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// How long one question to the brokers may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// What a broker without a setting of its own accepts, in bytes.
const DEFAULT_MAX_MESSAGE: usize = 1_048_588;

/// A connection for questions about the cluster.
pub struct Cluster {
    admin: AdminClient<Trouble>,
    brokers: String,
}

/// Keeps the client's last complaint, which says more than the error of a call that timed out.
#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<String>>);

impl ClientContext for Trouble {
    fn error(&self, error: KafkaError, reason: &str) {
        let all_down = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        if error == all_down {
            return;
        }
        if let Ok(mut last) = self.0.lock() {
            *last = Some(reason.to_owned());
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "{message}");
    }
}

impl Cluster {
    /// Connects, trying for `timeout`; after that the error says what the client complained of last.
    ///
    /// Needs the multi-threaded runtime, as do the other functions here.
    pub async fn connect(
        kafka: &KafkaConfig,
        timeout: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let admin: AdminClient<Trouble> = kafka
            .client()
            .create_with_context(Trouble::default())
            .context("creating a Kafka client")?;
        let cluster = Self {
            admin,
            brokers: kafka.brokers().to_owned(),
        };
        let deadline = Instant::now() + timeout;
        while !shutdown.is_cancelled() {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.clamp(Duration::from_millis(100), Duration::from_secs(1));
            let answer = block_in_place(|| cluster.client().fetch_metadata(None, wait));
            match answer {
                Ok(_) => break,
                Err(error) if left.is_zero() => return Err(cluster.unreachable(&error, timeout)),
                Err(error) => tracing::debug!(%error, "brokers do not answer yet"),
            }
        }
        Ok(cluster)
    }

    fn unreachable(&self, error: &KafkaError, timeout: Duration) -> anyhow::Error {
        let last = self
            .client()
            .context()
            .0
            .lock()
            .ok()
            .and_then(|last| last.clone());
        let cause = last.unwrap_or_else(|| error.to_string());
        Failure::unreachable(format!(
            "no Kafka broker at {} answered within {}: {cause}; check --brokers (KAFKA_BROKERS), that a broker \
             listens there, and --kafka-config if it asks for TLS or SASL",
            self.brokers,
            humantime::format_duration(timeout),
        ))
    }

    pub(super) fn client(&self) -> &rdkafka::client::Client<Trouble> {
        self.admin.inner()
    }

    pub(super) fn admin(&self) -> &AdminClient<Trouble> {
        &self.admin
    }

    /// How many partitions a topic has; `None` when there is no such topic.
    pub fn partitions(&self, topic: &str) -> anyhow::Result<Option<usize>> {
        // All topics, since asking for one by name makes brokers with auto.create.topics.enable create it.
        let metadata = block_in_place(|| self.client().fetch_metadata(None, ANSWER))
            .with_context(|| format!("asking for topic {topic}"))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(found.partitions().len()).filter(|count| *count > 0)),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::LeaderNotAvailable,
            ) => Ok(None),
            Some(code) => bail!("topic {topic}: {code}"),
        }
    }

    /// Waits for an input topic and says so; `None` when told to stop before it is there.
    pub async fn wait_for(
        &self,
        topic: &str,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<usize>> {
        let mut told: Option<Instant> = None;
        while !shutdown.is_cancelled() {
            match self.partitions(topic) {
                Ok(Some(count)) => return Ok(Some(count)),
                Ok(None) if told.is_none_or(|told| told.elapsed() > Duration::from_secs(30)) => {
                    tracing::info!(
                        topic,
                        "waiting for the input topic, which does not exist yet"
                    );
                    told = Some(Instant::now());
                }
                Ok(None) => {}
                Err(error) => tracing::warn!("{error:#}"),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
                () = shutdown.cancelled() => {}
            }
        }
        Ok(None)
    }

    /// Creates a topic that is missing, with the broker's default replication.
    pub async fn ensure(&self, topic: &str, partitions: usize) -> anyhow::Result<()> {
        if self.partitions(topic)?.is_some() {
            return Ok(());
        }
        let count = i32::try_from(partitions)?;
        let new = NewTopic::new(topic, count, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let outcome = self.admin.create_topics([&new], &options).await;
        match outcome.context("creating topics")?.pop() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                bail!("creating topic {topic}: {code}; create it by hand or grant the right to")
            }
            _ => tracing::info!(topic, partitions, "created missing topic"),
        }
        Ok(())
    }

    /// The largest record that a topic takes, in bytes.
    pub async fn max_message_bytes(&self, topic: &str) -> anyhow::Result<usize> {
        let settings = self.topic_settings(topic).await.unwrap_or_default();
        let limit = settings
            .get("max.message.bytes")
            .and_then(|value| value.parse().ok());
        // A broker that does not tell, or may not, is taken to have the default.
        Ok(limit.unwrap_or(DEFAULT_MAX_MESSAGE))
    }
}
