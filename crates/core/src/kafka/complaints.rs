//! The errors that a client reports: often the only trace of a fault, since a call that timed out says nothing.
//!
//! A client drops the address that it was given as soon as a broker there has advertised another. If that one cannot be
//! reached nothing answers any more, and only the errors name it.

use super::Broker;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Mutex;

/// The errors of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaints {
    /// Brokers that the client cannot reach at their advertised addresses.
    pub(crate) brokers: Vec<Broker>,
    /// The first error.
    pub(crate) first: Option<String>,
}

/// The kind of an error. Of two errors, the one of the greater kind says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// No connection, or a lost one; this also follows a failed greeting.
    Transport,
    /// Connected, and disconnected before the first answer.
    Greeting,
    /// TLS failed, or the broker's certificate was not accepted.
    Tls,
    /// Our authentication failed.
    Authentication,
}

/// Collects a client's errors. librdkafka reports them only while the client is polled.
#[derive(Default)]
pub(super) struct Listener(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    complaints: Complaints,
    /// The last error of the greatest kind.
    greatest: Option<(Cause, String)>,
}

impl ConsumerContext for Listener {}

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, reason: &str) {
        let cause = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => return,
            Some(RDKafkaErrorCode::SSL) => Cause::Tls,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Cause::Authentication
            }
            // To the client, a broker without TLS looks like a lost connection.
            _ if reason.contains("SSL handshake failed") => Cause::Tls,
            _ => Cause::Transport,
        };
        self.note(cause, reason);
        if let Ok(mut heard) = self.0.lock() {
            let complaints = &mut heard.complaints;
            complaints.first.get_or_insert_with(|| reason.to_owned());
            if let Some(broker) = broker(reason)
                && !complaints.brokers.contains(&broker)
            {
                complaints.brokers.push(broker);
            }
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "{message}");
        // The client takes this for a normal disconnect, and reports no error.
        if message.contains("in state APIVERSION_QUERY") {
            let reason = message.split_once("]: ").map_or(message, |(_, told)| told);
            self.note(Cause::Greeting, reason);
        }
    }
}

impl Listener {
    fn note(&self, cause: Cause, reason: &str) {
        if let Ok(mut heard) = self.0.lock()
            && heard
                .greatest
                .as_ref()
                .is_none_or(|(last, _)| *last <= cause)
        {
            heard.greatest = Some((cause, reason.to_owned()));
        }
    }

    /// The last error of the greatest kind.
    pub(super) fn greatest(&self) -> Option<(Cause, String)> {
        self.0.lock().ok()?.greatest.clone()
    }

    /// The errors so far.
    pub(super) fn complaints(&self) -> Complaints {
        let heard = self.0.lock();
        heard.map_or_else(|_| Complaints::default(), |heard| heard.complaints.clone())
    }
}

/// The broker that an error names, as in `ssl://host:9092/1: Failed to resolve ...`; `None` if it names an address that
/// was given (`host:9092/bootstrap: ...`).
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
