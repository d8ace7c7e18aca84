//! Brokers that do not answer at the start: the reason, in the log after a moment and in the error at the end.

use super::complaints::{Cause, Listener};
use super::wording::{client_error, report};
use super::{KafkaConfig, certificate};
use crate::exit::Failure;
use crate::health::Part;
use crate::settings::duration_text;
use rdkafka::error::KafkaError;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// Time after which a wait is logged.
const SILENT: Duration = Duration::from_secs(1);

/// A wait for the brokers.
pub(super) struct Unanswered<'k> {
    kafka: &'k KafkaConfig,
    limit: Duration,
    /// The part of the process that waits.
    start: Option<&'k Part>,
    begun: Instant,
    /// The reason that was logged last.
    told: String,
}

impl<'k> Unanswered<'k> {
    /// A wait of at most `limit` that begins now.
    pub(super) fn new(kafka: &'k KafkaConfig, limit: Duration, start: Option<&'k Part>) -> Self {
        Self {
            kafka,
            limit,
            start,
            begun: Instant::now(),
            told: String::new(),
        }
    }

    /// Tells, in log and readiness, why nobody has answered, when that takes longer than a moment and was not said yet.
    pub(super) fn tell(&mut self, heard: &Listener, error: &KafkaError) {
        let (_, reason) = reason(heard, error);
        if self.begun.elapsed() >= SILENT && self.told != reason {
            let brokers = self.kafka.brokers();
            if let Some(start) = self.start {
                start.unready(format!("waiting for the brokers at {brokers}: {reason}"));
            }
            let limit = duration_text(self.limit);
            tracing::warn!("waiting for the brokers at {brokers}, for up to {limit}: {reason}");
            self.told = reason;
        }
    }

    /// The error at the end: the reason, as far as the client has reported one, and what to check.
    pub(super) fn failure(&self, heard: &Listener, error: &KafkaError) -> anyhow::Error {
        let (cause, reason) = reason(heard, error);
        let brokers = self.kafka.brokers();
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
                self.kafka
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
            duration_text(self.limit),
        ))
    }
}

fn reason(heard: &Listener, error: &KafkaError) -> (Cause, String) {
    match heard.greatest() {
        Some((cause, reason)) => (cause, report(&reason)),
        None => (Cause::Transport, client_error(error)),
    }
}
