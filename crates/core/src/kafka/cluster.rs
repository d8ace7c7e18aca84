//! The cluster before the first record: is it there, are the topics, and which have to be made.

use super::{KafkaConfig, certificate};
use crate::exit::Failure;
use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
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
}

/// Keeps the client's last complaint, which says more than the error of a call that timed out.
#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<Complaint>>);

/// What the client complained of.
#[derive(Clone)]
struct Complaint {
    cause: Cause,
    reason: String,
}

/// Of two complaints the greater one says more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// No connection, or a lost one: what follows a failed greeting too.
    Transport,
    /// Connected, and hung up on before the first answer.
    Greeting,
    /// No agreement on TLS, or on who the broker is.
    Tls,
    /// No agreement on who we are.
    Authentication,
}

impl ClientContext for Trouble {
    fn error(&self, error: KafkaError, reason: &str) {
        let all_down = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        if error == all_down {
            return;
        }
        let cause = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::SSL) => Cause::Tls,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Cause::Authentication
            }
            // A broker without TLS is a lost connection to the client.
            _ if reason.contains("SSL handshake failed") => Cause::Tls,
            _ => Cause::Transport,
        };
        self.note(cause, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "{message}");
        // The client takes this for an everyday hang-up, and raises no error.
        if message.contains("in state APIVERSION_QUERY") {
            let reason = message.split_once("]: ").map_or(message, |(_, told)| told);
            self.note(Cause::Greeting, reason);
        }
    }
}

impl Trouble {
    fn note(&self, cause: Cause, reason: &str) {
        let reason = reason.to_owned();
        if let Ok(mut last) = self.0.lock()
            && last.as_ref().is_none_or(|last| last.cause <= cause)
        {
            *last = Some(Complaint { cause, reason });
        }
    }
}

impl ConsumerContext for Trouble {}

impl Cluster {
    /// Connects, trying for `timeout`; after that the error says what the client complained of last.
    ///
    /// Needs the multi-threaded runtime, as do the other functions here.
    pub async fn connect(
        kafka: &KafkaConfig,
        timeout: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let first = kafka.client().create_with_context(Trouble::default());
        let first: BaseConsumer<Trouble> = first.map_err(unusable)?;
        let deadline = Instant::now() + timeout;
        while !shutdown.is_cancelled() {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.clamp(Duration::from_millis(100), Duration::from_secs(1));
            let answer = block_in_place(|| first.fetch_metadata(None, wait));
            // Complaints are heard only by whoever polls, which a client for questions never does.
            block_in_place(|| while first.poll(Duration::from_millis(20)).is_some() {});
            match answer {
                Ok(_) => break,
                Err(error) if left.is_zero() => {
                    return Err(unreachable(kafka, first.context(), &error, timeout));
                }
                Err(error) => tracing::debug!(%error, "brokers do not answer yet"),
            }
        }
        let admin = kafka.client().create_with_context(Trouble::default());
        let admin = admin.map_err(unusable)?;
        Ok(Self { admin })
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

/// The client library judges properties together only when a client is made, and opens their files then.
fn unusable(error: KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientCreation(reason) => {
            Failure::usage(format!("--kafka-config cannot be used: {reason}"))
        }
        error => anyhow::Error::from(error).context("creating a Kafka client"),
    }
}

/// Nobody answered: why, as far as the client has said, and what to look at.
fn unreachable(
    kafka: &KafkaConfig,
    trouble: &Trouble,
    error: &KafkaError,
    timeout: Duration,
) -> anyhow::Error {
    let last = trouble.0.lock().ok();
    let last = last.and_then(|last| last.clone());
    let (cause, reason) = match last {
        Some(last) => (last.cause, last.reason),
        None => (Cause::Transport, error.to_string()),
    };
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
