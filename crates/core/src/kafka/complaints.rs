//! What a client complains of: often the only trace of what is wrong, since a call that timed out says nothing.
//!
//! A client forgets the address that it was given as soon as a broker there has told it another. Where that one cannot
//! be reached nothing is answered any more, and only the complaints name it.

use super::Broker;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Mutex;

/// What a client complained of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaints {
    /// Brokers that the client was told of and cannot reach, as they advertise themselves.
    pub(crate) brokers: Vec<Broker>,
    /// The first complaint.
    pub(crate) first: Option<String>,
}

/// Of two complaints the one of the greater cause says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// No connection, or a lost one: what follows a failed greeting too.
    Transport,
    /// Connected, and hung up on before the first answer.
    Greeting,
    /// No agreement on TLS, or on who the broker is.
    Tls,
    /// No agreement on who we are.
    Authentication,
}

/// Hears a client's complaints. The client must be polled for them to come.
#[derive(Default)]
pub(super) struct Listener(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    complaints: Complaints,
    /// The last of the greatest cause.
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
            // A broker without TLS is a lost connection to the client.
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
        // The client takes this for an everyday hang-up, and raises no error.
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

    /// The last complaint of the greatest cause.
    pub(super) fn greatest(&self) -> Option<(Cause, String)> {
        self.0.lock().ok()?.greatest.clone()
    }

    /// What was complained of so far.
    pub(super) fn complaints(&self) -> Complaints {
        let heard = self.0.lock();
        heard.map_or_else(|_| Complaints::default(), |heard| heard.complaints.clone())
    }
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
