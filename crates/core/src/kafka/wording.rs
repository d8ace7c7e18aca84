//! The client library's errors in plain words, with the remedy where there is one.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::fmt::Display;

/// The text of an error with its causes: those of the client library in plain words, and none that was said before.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let client = cause.downcast_ref::<KafkaError>();
        let code = cause.downcast_ref::<RDKafkaErrorCode>().copied();
        let said = match (client, code) {
            (Some(error), _) => client_error(error),
            (None, Some(code)) => by_code(code),
            (None, None) => cause.to_string(),
        };
        if !text.contains(&said) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&said);
        }
        // The client's own cause is its code again.
        if client.is_some() {
            break;
        }
    }
    text
}

/// An error of the client library.
pub fn client_error(error: &KafkaError) -> String {
    let code = error.rdkafka_error_code();
    code.map_or_else(|| error.to_string(), by_code)
}

/// The meaning of an error's code.
pub(super) fn by_code(code: RDKafkaErrorCode) -> String {
    use RDKafkaErrorCode as Code;
    let meaning = match code {
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => {
            "the brokers did not answer in time"
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::NetworkException => {
            "no connection to the brokers"
        }
        Code::Resolve => "a broker's host name is not known here",
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::RebalanceInProgress
        | Code::AssignmentLost => "the group's partitions were dealt anew meanwhile",
        Code::FencedInstanceId => {
            "another process of the group runs under the same --instance: give each process a name of its own"
        }
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            "another process has taken up this transactional id: give each process an --instance of its own"
        }
        Code::TopicAuthorizationFailed => {
            "the brokers do not let this user do that with the topic: grant the right"
        }
        Code::GroupAuthorizationFailed => {
            "the brokers do not let this user into the group: grant the right to read it"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "the brokers do not let this user use the transactional id: grant the right to write it"
        }
        Code::ClusterAuthorizationFailed => {
            "the brokers do not let this user do that: grant the right on the cluster"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the brokers refuse user or password: check the sasl properties in --kafka-config"
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            "there is no such topic or partition"
        }
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::ReplicaNotAvailable
        | Code::OffsetNotAvailable => "the partition has no leader at present, or a new one",
        Code::BrokerNotAvailable => "the broker is not available at present",
        Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress => {
            "the group's coordinator is not ready"
        }
        Code::UnstableOffsetCommit => {
            "a transaction is still open at the position: brokers end that of a killed process within 20 s"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "fewer replicas are in sync than min.insync.replicas asks for: see to the brokers"
        }
        Code::MessageSizeTooLarge => {
            "the record is larger than the topic takes: raise its max.message.bytes, or use --claims"
        }
        Code::NonEmptyGroup => "the group has members: stop them first",
        code => return described(&code.to_string()),
    };
    meaning.to_owned()
}

/// The description in the text of a code, such as `InvalidRecord (Broker: Broker failed to validate record)`.
fn described(code: &str) -> String {
    for (mark, who) in [(" (Broker: ", "brokers say"), (" (Local: ", "client says")] {
        let description = code
            .split_once(mark)
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        if let Some(description) = description {
            return format!("the {who}: {description}");
        }
    }
    code.to_owned()
}

/// A report of a client, such as `localhost:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms
/// in state CONNECT, 5 identical error(s) suppressed)`.
pub(super) fn report(reason: &str) -> String {
    let text = without_counts(reason);
    // The connection to a coordinator names its part first, and the broker's address next.
    let text = match text.split_once("Coordinator: ") {
        Some((part, rest)) if !part.contains(' ') => rest.to_owned(),
        _ => text,
    };
    let Some((place, what)) = text.split_once(": ").filter(|(place, _)| is_place(place)) else {
        return text;
    };
    // `ssl://host:9092/bootstrap` for a given address, `host:9092/1` for an advertised one.
    let address = place.rsplit_once('/').map_or(place, |(address, _)| address);
    let address = address.rsplit_once("://").map_or(address, |(_, rest)| rest);
    let failed = |what: &str| Some(what.rsplit_once(" failed: ")?.1.to_owned());
    let told = match what {
        what if what.contains("Connection refused") => "refuses connections".to_owned(),
        what if what.starts_with("Connect to ") => match failed(what) {
            Some(why) => format!("cannot be reached: {why}"),
            None => what.to_owned(),
        },
        what if what.starts_with("Failed to resolve ") => {
            "is not known here: the host name has no address".to_owned()
        }
        what if what.starts_with("Connection setup timed out") => "does not answer".to_owned(),
        what if what.starts_with("Disconnected") => "closed the connection".to_owned(),
        what if what.contains("timed out") => "did not answer in time".to_owned(),
        what => return format!("{address}: {what}"),
    };
    format!("{address} {told}")
}

/// Partitions with their positions, as in `1@0 3@120`.
pub fn places<P: Display>(positions: &[(i32, P)]) -> String {
    let places = positions.iter();
    let places = places.map(|(partition, position)| format!("{partition}@{position}"));
    places.collect::<Vec<_>>().join(" ")
}

/// Partitions by their numbers, as in `0 2`.
pub fn numbers<'p>(partitions: impl IntoIterator<Item = &'p i32>) -> String {
    let numbers = partitions.into_iter().map(i32::to_string);
    numbers.collect::<Vec<_>>().join(" ")
}

/// True for the name of a broker at the beginning of a report.
fn is_place(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(_, port)| port);
    !text.contains(' ')
        && port.is_some_and(|port| port.starts_with(|first: char| first.is_ascii_digit()))
}

/// The text without remarks such as `(after 0ms in state CONNECT, 581 identical error(s) suppressed)`.
fn without_counts(reason: &str) -> String {
    let mut text = reason.to_owned();
    while let Some(begin) = text.find(" (after ") {
        let mut open = 0;
        let closes = |letter: char| {
            open += i32::from(letter == '(') - i32::from(letter == ')');
            open == 0 && letter == ')'
        };
        let end = text[begin..].find(closes);
        let end = end.map_or(text.len(), |end| begin + end + 1);
        text.replace_range(begin..end, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn reports_of_clients_are_translated() {
        let refused = "Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 581 identical \
                       error(s) suppressed)";
        for (reason, expected) in [
            (format!("localhost:1/bootstrap: {refused}"), "localhost:1 refuses connections"),
            (format!("ssl://b:9092/1: {refused}"), "b:9092 refuses connections"),
            (format!("GroupCoordinator: b:9092: {refused}"), "b:9092 refuses connections"),
            (
                "b:9092/1: Connect to ipv4#10.0.0.1:9092 failed: No route to host (after 3ms in state CONNECT)".to_owned(),
                "b:9092 cannot be reached: No route to host",
            ),
            (
                "b.invalid:9092/2: Failed to resolve 'b.invalid:9092': Name or service not known (after 5ms in state \
                 CONNECT)"
                    .to_owned(),
                "b.invalid:9092 is not known here: the host name has no address",
            ),
            (
                "b:9092/bootstrap: Connection setup timed out in state CONNECT (after 30030ms in state CONNECT)".to_owned(),
                "b:9092 does not answer",
            ),
            (
                "b:9092/1: Disconnected (after 130ms in state UP)".to_owned(),
                "b:9092 closed the connection",
            ),
            (
                "sasl_ssl://b:9092/bootstrap: SSL handshake failed: certificate verify failed (after 1ms in state \
                 SSL_HANDSHAKE)"
                    .to_owned(),
                "b:9092: SSL handshake failed: certificate verify failed",
            ),
            ("something (after 3 s".to_owned(), "something"),
        ] {
            assert_eq!(report(&reason), expected);
        }
    }

    #[test]
    fn an_error_is_said_once_and_in_plain_words() {
        let code = RDKafkaErrorCode::OperationTimedOut;
        for error in [
            KafkaError::MetadataFetch(code).into(),
            anyhow::Error::from(code),
        ] {
            let error = Err::<(), _>(error)
                .context("asking for topic t")
                .unwrap_err();
            let expected = "asking for topic t: the brokers did not answer in time";
            assert_eq!(in_words(&error), expected);
        }
        let own = anyhow::anyhow!("disk full").context("publishing: disk full");
        assert_eq!(in_words(&own), "publishing: disk full");
        for (code, expected) in [
            (
                RDKafkaErrorCode::InvalidRecord,
                "the brokers say: Broker failed to validate record",
            ),
            (
                RDKafkaErrorCode::BadCompression,
                "the client says: Invalid compressed data",
            ),
            (
                RDKafkaErrorCode::FencedLeaderEpoch,
                "the partition has no leader at present, or a new one",
            ),
        ] {
            assert_eq!(in_words(&code.into()), expected);
        }
    }
}
