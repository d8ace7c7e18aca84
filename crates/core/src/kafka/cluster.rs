//! The cluster at start: waits for brokers and topics, and creates missing topics.

use super::broker::ANSWER;
use super::complaints::{Cause, Listener};
use super::{Complaints, KafkaConfig, TopicId, certificate, topic_id};
use crate::exit::Failure;
use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// A broker's default limit of a record, in bytes.
const DEFAULT_MAX_MESSAGE: usize = 1_048_588;

/// A connection for requests about the cluster.
pub struct Cluster {
    kafka: KafkaConfig,
    /// Sends requests and receives errors: librdkafka reports errors only to a client that is polled, and an admin
    /// client never is.
    client: BaseConsumer<Listener>,
    /// Makes changes, and reads settings; opened at first use.
    admin: OnceLock<AdminClient<Listener>>,
}

impl Cluster {
    /// Connects within `timeout`; if that fails, the error has the client's last complaint.
    ///
    /// Needs the multi-threaded runtime, as do the other functions here.
    pub async fn connect(
        kafka: &KafkaConfig,
        timeout: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let cluster = Self::open(kafka)?;
        cluster.reach(timeout, shutdown).await?;
        Ok(cluster)
    }

    /// Starts connecting.
    pub(crate) fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let client = kafka.client().create_with_context(Listener::default());
        Ok(Self {
            kafka: kafka.clone(),
            client: client.map_err(unusable)?,
            admin: OnceLock::new(),
        })
    }

    /// Waits up to `timeout` for an answer; without one, the error has the client's last complaint.
    pub(crate) async fn reach(
        &self,
        timeout: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        while !shutdown.is_cancelled() {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.clamp(Duration::from_millis(100), Duration::from_secs(1));
            let answer = block_in_place(|| self.client.fetch_metadata(None, wait));
            self.listen();
            match answer {
                Ok(_) => break,
                Err(error) if left.is_zero() => {
                    return Err(unreachable(
                        &self.kafka,
                        self.client.context(),
                        &error,
                        timeout,
                    ));
                }
                Err(error) => tracing::debug!(%error, "brokers do not answer yet"),
            }
        }
        Ok(())
    }

    /// Takes the client's errors, so that they do not pile up.
    pub(super) fn listen(&self) {
        block_in_place(|| while self.client.poll(Duration::from_millis(20)).is_some() {});
    }

    /// Collects the client's errors for `wait`, or until one has named a broker.
    pub(crate) fn complaints(&self, wait: Duration) -> Complaints {
        let deadline = Instant::now() + wait;
        loop {
            let found = self.client.context().complaints();
            if !found.brokers.is_empty() || Instant::now() >= deadline {
                return found;
            }
            // This client gets nothing but errors.
            self.client.poll(Duration::from_millis(100));
        }
    }

    pub(super) fn client(&self) -> &rdkafka::client::Client<Listener> {
        self.client.client()
    }

    pub(super) fn admin(&self) -> anyhow::Result<&AdminClient<Listener>> {
        if let Some(admin) = self.admin.get() {
            return Ok(admin);
        }
        let admin = self.kafka.client().create_with_context(Listener::default());
        let admin = admin.map_err(unusable)?;
        Ok(self.admin.get_or_init(|| admin))
    }

    /// The number of a topic's partitions; `None` if there is no such topic.
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

    /// The id of a topic; `None` if the brokers are too old for topic ids.
    ///
    /// Errors: there is no such topic, or no answer within 5 s.
    pub fn topic_id(&self, topic: &str) -> anyhow::Result<Option<TopicId>> {
        block_in_place(|| topic_id::ask(self.client(), topic, ANSWER))
    }

    /// Waits for an input topic, and logs that; `None` if `shutdown` came first.
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
            self.listen();
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
                () = shutdown.cancelled() => {}
            }
        }
        Ok(None)
    }

    /// Creates a missing topic, with the broker's default replication.
    pub async fn ensure(&self, topic: &str, partitions: usize) -> anyhow::Result<()> {
        if self.partitions(topic)?.is_some() {
            return Ok(());
        }
        let count = i32::try_from(partitions)?;
        let new = NewTopic::new(topic, count, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let outcome = self.admin()?.create_topics([&new], &options).await;
        match outcome.context("creating topics")?.pop() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                bail!("creating topic {topic}: {code}; create it by hand or grant the right to")
            }
            _ => tracing::info!(topic, partitions, "created missing topic"),
        }
        Ok(())
    }

    /// The largest record that a topic accepts, in bytes.
    pub async fn max_message_bytes(&self, topic: &str) -> anyhow::Result<usize> {
        let settings = self.topic_settings(topic).await.unwrap_or_default();
        let limit = settings
            .get("max.message.bytes")
            .and_then(|value| value.parse().ok());
        // Without an answer, such as for lack of rights, the default is assumed.
        Ok(limit.unwrap_or(DEFAULT_MAX_MESSAGE))
    }
}

/// librdkafka checks properties together, and opens their files, only when a client is created.
fn unusable(error: KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientCreation(reason) => {
            Failure::usage(format!("--kafka-config cannot be used: {reason}"))
        }
        error => anyhow::Error::from(error).context("creating a Kafka client"),
    }
}

/// The error if no broker answered: the reason, as far as the client has reported one, and what to check.
fn unreachable(
    kafka: &KafkaConfig,
    heard: &Listener,
    error: &KafkaError,
    timeout: Duration,
) -> anyhow::Error {
    let (cause, reason) = heard
        .greatest()
        .unwrap_or_else(|| (Cause::Transport, error.to_string()));
    let brokers = kafka.brokers();
    let (found, check) = match cause {
        Cause::Transport => (
            None,
            "check --brokers (KAFKA_BROKERS), that a broker listens there, and --kafka-config if it asks for \
             TLS or SASL",
        ),
        Cause::Greeting => (
            None,
            "the broker hung up on the greeting: if that is an SSL listener, set security.protocol to SSL or \
             SASL_SSL in --kafka-config",
        ),
        Cause::Tls => (
            kafka
                .authorities()
                .and_then(|file| block_in_place(|| certificate::fault(brokers, file))),
            "check security.protocol and the ssl properties in --kafka-config, and the broker's certificate",
        ),
        Cause::Authentication => (
            None,
            "check user, password and mechanism (the sasl properties) in --kafka-config",
        ),
    };
    let found = found.map_or_else(String::new, |fault| format!(" ({fault})"));
    Failure::unreachable(format!(
        "no Kafka broker at {brokers} answered within {}: {reason}{found}; {check}",
        humantime::format_duration(timeout),
    ))
}
