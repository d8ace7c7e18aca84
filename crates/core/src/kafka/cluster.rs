//! The cluster at start: waits for brokers and topics, and creates missing topics.

use super::broker::ANSWER;
use super::complaints::Listener;
use super::unanswered::Unanswered;
use super::{Complaints, KafkaConfig, TopicId, in_words, topic_id};
use crate::exit::Failure;
use crate::health::Part;
use crate::settings::Shared;
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
        cluster.reach(timeout, None, shutdown).await?;
        Ok(cluster)
    }

    /// The same at the start of a process, whose part `start` tells what it waits for.
    pub async fn at_start(
        shared: &Shared,
        start: &Part,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let cluster = Self::open(&shared.kafka)?;
        start.unready(format!(
            "waiting for the brokers at {}",
            shared.kafka.brokers()
        ));
        cluster
            .reach(shared.connect_timeout, Some(start), shutdown)
            .await?;
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
        start: Option<&Part>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut unanswered = Unanswered::new(&self.kafka, timeout, start);
        let deadline = Instant::now() + timeout;
        while !shutdown.is_cancelled() {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.clamp(Duration::from_millis(100), Duration::from_secs(1));
            let answer = block_in_place(|| self.client.fetch_metadata(None, wait));
            self.listen();
            match answer {
                Ok(_) => break,
                Err(error) if left.is_zero() => {
                    return Err(unanswered.failure(self.client.context(), &error));
                }
                Err(error) => unanswered.tell(self.client.context(), &error),
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

    /// Waits for an input topic, logs that, and tells it in the part `start`; `None` if `shutdown` came first.
    pub async fn wait_for(
        &self,
        topic: &str,
        start: &Part,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<usize>> {
        let mut said: Option<Instant> = None;
        while !shutdown.is_cancelled() {
            match self.partitions(topic) {
                Ok(Some(count)) => return Ok(Some(count)),
                Ok(None) => {
                    start.unready(format!(
                        "waiting for topic {topic}, which does not exist yet"
                    ));
                    if said.is_none_or(|said| said.elapsed() > Duration::from_secs(30)) {
                        tracing::info!(
                            topic,
                            "waiting for the input topic, which does not exist yet"
                        );
                        said = Some(Instant::now());
                    }
                }
                Err(error) => {
                    let error = in_words(&error);
                    start.unready(format!("waiting for topic {topic}: {error}"));
                    tracing::warn!("{error}");
                }
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
