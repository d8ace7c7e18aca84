//! Reports of a client by itself, in the log: each thing once a minute, however many clients of the process meet it.

use super::wording::{client_error, report};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pause between two lines of the same text.
const AGAIN: Duration = Duration::from_secs(60);

/// The class of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Said elsewhere: by an answer of the same client, or by the brokers' part in the health of the process.
    Known,
    /// Part of a broker's restart: the client tries again by itself.
    Passing,
    /// Somebody has to do something.
    Fault,
}

/// Logs what a client reports; without a reason where a poll returns what was reported with one before.
pub(super) fn heard(error: &KafkaError, reason: Option<&str>) {
    let code = error.rdkafka_error_code();
    let class = class(code);
    let detailed = class == Class::Passing || code.is_none_or(|code| code == RDKafkaErrorCode::SSL);
    let text = match (detailed, reason) {
        (true, Some(reason)) => report(reason),
        _ => client_error(error),
    };
    let said = class == Class::Known || detailed && reason.is_none();
    if said || !is_due(&text) {
        tracing::debug!(%error, reason, "kafka client");
    } else if class == Class::Passing {
        tracing::info!("{text}: trying again");
    } else {
        tracing::warn!(client = reason, "Kafka: {text}");
    }
}

fn class(code: Option<RDKafkaErrorCode>) -> Class {
    use RDKafkaErrorCode as Code;
    match code {
        // The end of a partition is reported as an error, here and in a poll; it is none.
        Some(Code::PartitionEOF | Code::AllBrokersDown | Code::Fatal | Code::FencedInstanceId) => {
            Class::Known
        }
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => Class::Known,
        Some(
            Code::BrokerTransportFailure
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException,
        ) => Class::Passing,
        _ => Class::Fault,
    }
}

/// True if nobody in the process has said this within [`AGAIN`].
fn is_due(text: &str) -> bool {
    static SAID: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    said.retain(|_, at| now.duration_since(*at) < AGAIN);
    let due = !said.contains_key(text);
    if due {
        said.insert(text.to_owned(), now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_said_once() {
        assert!(is_due("b:9092 closed the connection"));
        assert!(!is_due("b:9092 closed the connection"));
        assert!(is_due("c:9092 closed the connection"));
    }

    #[test]
    fn restarts_of_brokers_are_no_faults() {
        use RDKafkaErrorCode as Code;
        assert_eq!(class(Some(Code::BrokerTransportFailure)), Class::Passing);
        assert_eq!(class(Some(Code::AllBrokersDown)), Class::Known);
        assert_eq!(class(Some(Code::TopicAuthorizationFailed)), Class::Fault);
        assert_eq!(class(None), Class::Fault);
    }
}
