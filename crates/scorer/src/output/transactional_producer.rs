//! A transactional producer under its lasting id, and the remedies for its errors.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{KafkaConfig, Producer, client_error};
use tokio_util::sync::CancellationToken;

/// Time limit for one attempt to take up the id, after the first start.
const ATTEMPT: Duration = Duration::from_secs(2);

/// A producer with its transactional id.
pub(super) struct TransactionalProducer {
    id: String,
    producer: Producer,
}

/// The remedy for an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    Retry,
    Abort,
    Rebuild,
}

impl TransactionalProducer {
    /// Takes up `id`, trying for `timeout`: a predecessor is fenced, and what it left open is aborted. `None` when told to
    /// stop meanwhile.
    pub(super) fn open(
        kafka: &KafkaConfig,
        id: String,
        timeout: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let deadline = Instant::now() + timeout;
        let producer = create(kafka, &id)?;
        while let Err(error) = producer.inner().init_transactions(Duration::from_secs(1)) {
            if shutdown.is_cancelled() {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(Failure::unreachable(format!(
                    "no transaction coordinator answered within {timeout:?}: {}; check that \
                     the brokers are up and that this client may use transactional id {id}",
                    client_error(&error)
                )));
            }
            tracing::debug!(%error, "transactions are not ready yet");
        }
        Ok(Some(TransactionalProducer { id, producer }))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Replaces the producer, however long the brokers take; keeps the old one if stopped meanwhile.
    pub(super) fn rebuild(
        &mut self,
        kafka: &KafkaConfig,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let id = &self.id;
        let mut producer = create(kafka, id)?;
        while let Err(error) = producer.inner().init_transactions(ATTEMPT) {
            if shutdown.is_cancelled() {
                tracing::debug!(%error, "stopped while the brokers did not answer");
                return Ok(());
            }
            if remedy(&error) != Remedy::Retry {
                let why = client_error(&error);
                tracing::warn!(id, "the new producer failed, making another: {why}");
                std::thread::sleep(Duration::from_millis(500));
                producer = create(kafka, id)?;
            }
        }
        self.producer = producer;
        Ok(())
    }

    /// True if another producer has taken up the id.
    pub(super) fn is_fenced(&self, error: &KafkaError) -> bool {
        let codes = [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced];
        let fatal = self.producer.inner().client().fatal_error();
        let known = [fatal.map(|(code, _)| code), error.rdkafka_error_code()];
        known
            .into_iter()
            .flatten()
            .any(|code| codes.contains(&code))
    }
}

fn create(kafka: &KafkaConfig, id: &str) -> anyhow::Result<Producer> {
    Producer::create(&kafka.transactional_producer(id))
}

/// The remedy for an error of a transactional call.
pub(super) fn remedy(error: &KafkaError) -> Remedy {
    match error {
        KafkaError::Transaction(error) if error.is_fatal() => Remedy::Rebuild,
        KafkaError::Transaction(error) if error.txn_requires_abort() => Remedy::Abort,
        KafkaError::Transaction(error) if error.is_retriable() => Remedy::Retry,
        KafkaError::Flush(_) | KafkaError::MessageProduction(_) => Remedy::Abort,
        _ => Remedy::Rebuild,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tidemill_core::exit::Code;

    #[test]
    fn a_stop_while_the_brokers_are_away_is_no_failure() {
        // Nobody listens at port 1.
        let kafka = KafkaConfig::new("localhost:1", BTreeMap::new());
        let (shutdown, timeout) = (CancellationToken::new(), Duration::from_secs(1));
        let open = |shutdown| TransactionalProducer::open(&kafka, "id".into(), timeout, shutdown);
        let error = open(&shutdown).map(drop).unwrap_err();
        assert_eq!(Failure::code(&error), Code::Unreachable);
        shutdown.cancel();
        assert!(open(&shutdown).unwrap().is_none());
        let mut own = TransactionalProducer {
            id: "id".into(),
            producer: create(&kafka, "id").unwrap(),
        };
        own.rebuild(&kafka, &shutdown).unwrap();
    }
}
