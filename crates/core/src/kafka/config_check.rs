//! Checks the user's properties: each alone, and all together in each kind of client.

use super::KafkaConfig;
use super::complaints::Listener;
use super::properties::is_about;
use crate::effective::{HIDDEN, hidden_property};
use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaType;

type Build = fn(&KafkaConfig) -> ClientConfig;

/// The clients of every program: workers' consumers and producers, and those that read and change the cluster.
const CLIENTS: [(RDKafkaType, Build); 4] = [
    (RDKafkaType::RD_KAFKA_CONSUMER, |kafka| {
        kafka.consumer("check")
    }),
    (RDKafkaType::RD_KAFKA_PRODUCER, KafkaConfig::producer),
    (RDKafkaType::RD_KAFKA_CONSUMER, KafkaConfig::client),
    (RDKafkaType::RD_KAFKA_PRODUCER, KafkaConfig::client),
];

impl KafkaConfig {
    /// The problems of the properties, one sentence each with property and remedy, and without secrets.
    pub fn problems(&self) -> Vec<String> {
        let (usable, mut problems) = self.usable();
        for (kind, build) in CLIENTS {
            together(&usable, kind, build, &mut problems);
        }
        problems.extend(usable.contradictions());
        problems
    }

    /// Their problems in a transactional producer, beyond [`KafkaConfig::problems`].
    pub fn transactional_problems(&self) -> Vec<String> {
        let mut problems = self.problems();
        let known = problems.len();
        let build = |kafka: &KafkaConfig| kafka.transactional_producer("check");
        let (usable, _) = self.usable();
        together(
            &usable,
            RDKafkaType::RD_KAFKA_PRODUCER,
            build,
            &mut problems,
        );
        problems.split_off(known)
    }

    /// A copy with the properties that are valid by themselves, and the problems of the others.
    fn usable(&self) -> (Self, Vec<String>) {
        let (mut usable, mut problems) = (self.clone(), Vec::new());
        for (key, value) in &self.properties {
            let alone = ClientConfig::new().set(key, value).create_native_config();
            if let Err(error) = alone {
                let text = without(value, key, said(error));
                problems.push(format!(
                    "--kafka-config: {key}: {text}; change it or leave it out"
                ));
                usable.properties.remove(key);
            }
        }
        (usable, problems)
    }

    /// Contradictions that librdkafka accepts, and should not.
    fn contradictions(&self) -> Vec<String> {
        let (consumer, producer) = (self.consumer("check"), self.producer());
        let number = |config: &ClientConfig, key| config.get(key)?.parse::<i64>().ok();
        let mut problems = Vec::new();
        let heartbeat = number(&consumer, "heartbeat.interval.ms");
        if let Some((heartbeat, session)) = heartbeat.zip(number(&consumer, "session.timeout.ms"))
            && heartbeat >= session
        {
            problems.push(format!(
                "--kafka-config: heartbeat.interval.ms ({heartbeat} here) must be below session.timeout.ms \
                 ({session} here), or the group throws members out between two heartbeats: set it to a third"
            ));
        }
        let largest = number(&producer, "message.max.bytes");
        if let Some((largest, room)) = largest.zip(number(&producer, "queue.buffering.max.kbytes"))
            && largest > room << 10
        {
            problems.push(format!(
                "--kafka-config: records of message.max.bytes ({largest} here) do not fit into \
                 queue.buffering.max.kbytes ({room} here): set that to at least {}",
                (largest >> 10) + 1
            ));
        }
        problems
    }
}

/// Creates a client of the properties, and adds librdkafka's error. librdkafka stops at the first problem, so the
/// properties that it names are removed, and another client is created.
fn together(
    kafka: &KafkaConfig,
    kind: RDKafkaType,
    build: impl Fn(&KafkaConfig) -> ClientConfig,
    problems: &mut Vec<String>,
) {
    let mut kafka = kafka.clone();
    loop {
        let mut config = build(&kafka);
        // The check must not connect.
        config.remove("bootstrap.servers");
        let Err(error) = create(&config, kind) else {
            return;
        };
        let text = said(error);
        let about = kafka.properties.keys().filter(|key| is_about(&text, key));
        let about: Vec<String> = about.cloned().collect();
        let mut problem = "--kafka-config: ".to_owned();
        if !about.is_empty() {
            problem += &format!("{}: change it or leave it out: ", about.join(", "));
        }
        problem += &text;
        let told = problems.iter().any(|told| told.starts_with(&problem));
        for (key, value) in config.config_map() {
            let value = hidden_property(key, value);
            if value != HIDDEN && is_about(&text, key) {
                problem += &format!("; {key} is {value} here");
            }
        }
        if !told {
            problems.push(problem);
        }
        if about.is_empty() {
            return;
        }
        kafka.properties.retain(|key, _| !about.contains(key));
    }
}

fn create(config: &ClientConfig, kind: RDKafkaType) -> KafkaResult<()> {
    let native = config.create_native_config()?;
    Client::new(config, native, kind, Listener::default()).map(drop)
}

/// librdkafka's own words.
fn said(error: KafkaError) -> String {
    match error {
        // Without the value: it may be a password under a misspelt name.
        KafkaError::ClientConfig(_, text, _, _) => text,
        KafkaError::ClientCreation(text) => text,
        other => other.to_string(),
    }
}

/// A text in which the value of a property that may be a secret is hidden.
fn without(value: &str, key: &str, text: String) -> String {
    if value.is_empty() || hidden_property(key, value) != HIDDEN {
        text
    } else {
        text.replace(value, HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn kafka(properties: &[(&str, &str)]) -> KafkaConfig {
        let pairs = properties
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        KafkaConfig::new("localhost:1", pairs.collect())
    }

    #[test]
    fn usual_properties_are_none() {
        let usual = kafka(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
            ("linger.ms", "20"),
            ("session.timeout.ms", "45000"),
            ("message.max.bytes", "10000000"),
        ]);
        let begun = Instant::now();
        assert_eq!(usual.problems(), [""; 0]);
        assert_eq!(usual.transactional_problems(), [""; 0]);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn each_trap_is_told_with_property_and_rule() {
        for (property, value, expected) in [
            ("max.in.flight.requests.per.connection", "10", "<= 5"),
            (
                "session.timeout.ms",
                "90000",
                "max.poll.interval.ms is 60000 here",
            ),
            ("max.poll.interval.ms", "30000", ""),
            (
                "max.poll.interval.ms",
                "1000",
                "session.timeout.ms is 6000 here",
            ),
            ("fetch.max.bytes", "1000", "message.max.bytes"),
            ("receive.message.max.bytes", "1000", "fetch.max.bytes"),
            ("retries", "0", ">= 1"),
            (
                "queue.buffering.backpressure.threshold",
                "2",
                "must be set to 1",
            ),
            ("linger.ms", "900000", "message.timeout.ms"),
            ("reconnect.backoff.max.ms", "1", "reconnect.backoff.ms"),
            ("heartbeat.interval.ms", "6000", "session.timeout.ms"),
            ("message.max.bytes", "100000000", "to at least 97657"),
            ("linger.ms", "soon", "linger.ms"),
            ("no.such", "1", "no.such"),
            ("fetch.wait.max.ms", "-1", "0..300000"),
            ("ssl.keystore.location", "/no/such", "ssl.keystore.password"),
            ("sasl.kerberos.keytab", "/k", ""),
        ] {
            let problems = kafka(&[(property, value)]).problems();
            if expected.is_empty() {
                assert_eq!(problems, [""; 0], "{property}");
                continue;
            }
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(
                problems[0].contains(property) && problems[0].contains(expected),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_secret() {
        let problems = kafka(&[
            ("max.in.flight.requests.per.connection", "10"),
            ("retries", "0"),
            ("session.timeout.ms", "90000"),
            ("fetch.max.bytes", "1000"),
            ("client.dns.lookup", "hunter2"),
            ("sasl.pasword", "hunter2"),
            ("ssl.key.pem", "hunter2"),
            ("sasl.password", "hunter2"),
        ])
        .problems();
        assert!(problems.len() >= 6, "{problems:#?}");
        assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
    }

    #[test]
    fn a_producer_of_transactions_minds_more() {
        let slow = kafka(&[("socket.timeout.ms", "60000")]);
        assert_eq!(slow.problems(), [""; 0]);
        let problems = slow.transactional_problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains("transaction.timeout.ms is 10000 here"),
            "{problems:?}"
        );
    }
}
