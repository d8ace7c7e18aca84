//! What a client complains of that does not get through: the only trace of brokers at addresses that lead nowhere.
//!
//! A client forgets the address that it was given as soon as a broker there has told it another. Where that one cannot
//! be reached nothing is answered any more, and only the complaints name it.

use super::{Broker, KafkaConfig};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a client complained of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    /// Brokers that the client was told of and cannot reach, as they advertise themselves.
    pub brokers: Vec<Broker>,
    /// The first complaint.
    pub first: Option<String>,
}

#[derive(Default)]
struct Reasons(Mutex<Vec<String>>);

impl ConsumerContext for Reasons {}

impl ClientContext for Reasons {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        if let Ok(mut reasons) = self.0.lock() {
            reasons.push(reason.to_owned());
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "{message}");
    }
}

/// Listens for `wait` to what a client of its own complains of; less where it names a broker.
pub fn complaints(kafka: &KafkaConfig, wait: Duration) -> Complaints {
    let mut found = Complaints::default();
    let client: Result<BaseConsumer<Reasons>, _> = kafka
        .consumer("tidemill-doctor")
        .create_with_context(Reasons::default());
    let Ok(client) = client else { return found };
    let deadline = Instant::now() + wait;
    while found.brokers.is_empty() && Instant::now() < deadline {
        // It has nothing to bring but complaints.
        client.poll(Duration::from_millis(100));
        let reasons = client
            .context()
            .0
            .lock()
            .map(|mut all| std::mem::take(&mut *all));
        for reason in reasons.unwrap_or_default() {
            found.brokers.extend(broker(&reason));
            found.first.get_or_insert(reason);
        }
    }
    found.brokers.dedup();
    found
}

/// The broker that a complaint is about, such as `ssl://host:9092/1: Failed to resolve ...`; none where it is about an
/// address that was given (`host:9092/bootstrap: ...`).
fn broker(reason: &str) -> Option<Broker> {
    let (name, _) = reason.split_once(": ")?;
    let (address, id) = name.rsplit_once('/')?;
    let address = address.rsplit_once("://").map_or(address, |(_, rest)| rest);
    let (host, port) = address.rsplit_once(':')?;
    Some(Broker {
        id: id.parse().ok()?,
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_told_from_given_addresses() {
        let one = |host: &str| Broker {
            id: 1,
            host: host.to_owned(),
            port: 9092,
        };
        let about = "kafka-0.internal:9092/1: Failed to resolve 'kafka-0.internal:9092'";
        assert_eq!(broker(about), Some(one("kafka-0.internal")));
        let secure = "sasl_ssl://10.0.0.1:9092/1: Connect to ipv4#10.0.0.1:9092 failed";
        assert_eq!(broker(secure), Some(one("10.0.0.1")));
        assert_eq!(broker("localhost:1/bootstrap: Connect failed"), None);
        assert_eq!(broker("no name at all"), None);
    }
}
