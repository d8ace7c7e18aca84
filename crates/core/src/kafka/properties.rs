//! The user's file of librdkafka properties; those that the guarantees depend on are refused by name.

use std::collections::BTreeMap;
use std::path::Path;

/// Properties that a file may not set, each with the reason or the alternative.
const OURS: [(&str, &str); 30] = [
    ("bootstrap.servers", "use --brokers"),
    ("group.id", "use --group"),
    (
        "group.instance.id",
        "the workers of a process would throw each other out of the group; the scorer has --instance, which names \
         each worker",
    ),
    (
        "partition.assignment.strategy",
        "always cooperative-sticky: members of a group must agree on it, and the others stop all partitions at each \
         rebalance",
    ),
    (
        "group.protocol",
        "always classic, which notices a dead member within 6 s",
    ),
    ("group.protocol.type", "always consumer"),
    (
        "group.remote.assignor",
        "it belongs to the other group protocol",
    ),
    (
        "isolation.level",
        "readers always see committed records only",
    ),
    ("enable.auto.commit", "the output store holds the position"),
    (
        "enable.auto.offset.store",
        "the output store holds the position",
    ),
    ("offset.store.method", "the output store holds the position"),
    ("auto.offset.reset", "positions are never reset silently"),
    (
        "enable.partition.eof",
        "always on: it tells where a log ends",
    ),
    (
        "allow.auto.create.topics",
        "missing topics are created with as many partitions as the input topic has",
    ),
    ("enable.idempotence", "always on"),
    ("acks", "always all"),
    (
        "enable.gapless.guarantee",
        "a record that is late would end the process; its batch is done over instead",
    ),
    ("transactional.id", "it follows from --group and --instance"),
    (
        "transaction.timeout.ms",
        "always 10 s: readers wait that long for a killed scorer",
    ),
    (
        "message.timeout.ms",
        "a batch that is not delivered in time is done over",
    ),
    ("partitioner", "always murmur2, as Java clients do"),
    ("queuing.strategy", "records always keep their order"),
    (
        "api.version.request",
        "without it nothing is transactional, and headers are lost",
    ),
    ("api.version.fallback.ms", OLD_BROKERS),
    ("broker.version.fallback", OLD_BROKERS),
    ("internal.termination.signal", "it would stop the process"),
    ("enabled_events", "the program chooses what it is told"),
    ("log.queue", "use RUST_LOG"),
    ("test.mock.num.brokers", MOCK),
    ("test.mock.broker.rtt", MOCK),
];

const OLD_BROKERS: &str = "the brokers are asked what they can do";
const MOCK: &str = "the process would read from and write to its own memory";

/// Other names of properties. A property that is set under both names has one of the two values by chance.
const ALIASES: [(&str, &str); 12] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
    ("sasl.mechanisms", "sasl.mechanism"),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
    ),
];

/// Properties and their values, each under one name.
pub(super) type Properties = BTreeMap<String, String>;

/// The one name used here for a property.
fn one_name(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, own)| own)
}

/// True if a text of librdkafka names a property, under any of its names.
pub(super) fn is_about(text: &str, property: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let words = || {
        text.split(|c| !part(c))
            .map(|word| word.trim_end_matches('.'))
    };
    words().any(|word| one_name(word) == property)
}

/// Reads a file of `property=value` lines; skips empty lines and those that start with `#`. Returns the usable
/// properties, and one sentence for each unusable line.
pub fn read_properties(path: &Path) -> (BTreeMap<String, String>, Vec<String>) {
    let file = format!("--kafka-config {}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let problem = format!("{file}: {error}; name a text file that can be read");
            return (Properties::new(), vec![problem]);
        }
    };
    let (properties, problems) = parse(&text);
    let at = |(line, problem)| format!("{file} line {line}: {problem}");
    (properties, problems.into_iter().map(at).collect())
}

/// Parses the lines. Messages never quote a line: it may hold a password.
fn parse(text: &str) -> (Properties, Vec<(usize, String)>) {
    let mut properties = Properties::new();
    let mut problems = Vec::new();
    let mut problem = |line, text: String| problems.push((line, text));
    for (line, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let Some((key, value)) = text.split_once('=') else {
            problem(line, "expected property=value".to_owned());
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        let legal =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_');
        if key.is_empty() || !key.chars().all(legal) {
            let expected = "expected property=value; a property's name has small letters, digits, dots and underscores";
            problem(line, expected.to_owned());
        } else if let Some((_, reason)) = OURS.iter().find(|(own, _)| *own == one_name(key)) {
            problem(
                line,
                format!("{key} cannot be set here: {reason}; remove it"),
            );
        } else if let Some(other) = properties.insert(one_name(key).to_owned(), value.to_owned())
            && other != value
        {
            problem(
                line,
                format!("{key} has another value in a line before: remove one of them"),
            );
        }
    }
    (properties, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_all_their_problems_told() {
        let text = "\u{feff}# tuning\r\nfetch.wait.max.ms = 10\n\nsasl.password=a=b\nqueue.buffering.max.ms=3\n";
        let (good, problems) = parse(text);
        assert_eq!(problems, []);
        assert_eq!(good["fetch.wait.max.ms"], "10");
        assert_eq!(good["sasl.password"], "a=b");
        assert_eq!(good["linger.ms"], "3", "under one name");
        let text = "acks=1\nnonsense\ngroup.id=x\nsasl.password: a=hunter2\nretries=3\n\
                    message.send.max.retries=4\nmessage.send.max.retries=4";
        let (good, problems) = parse(text);
        let lines: Vec<usize> = problems.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6]);
        assert!(problems[2].1.contains("--group"), "{problems:?}");
        assert!(!format!("{problems:?}").contains("hunter2"));
        assert_eq!(good.len(), 1, "{good:?}");
    }

    #[test]
    fn what_the_guarantees_rest_on_is_refused_under_each_of_its_names() {
        for (name, _) in OURS {
            assert_eq!(one_name(name), name, "it would never be found");
        }
        let aliases = ALIASES
            .iter()
            .filter(|(_, own)| OURS.iter().any(|(name, _)| name == own));
        let aliases = aliases.map(|(alias, _)| *alias);
        let mut count = 0;
        for name in OURS.iter().map(|(name, _)| *name).chain(aliases) {
            let (good, problems) = parse(&format!("{name}=x"));
            assert!(good.is_empty() && problems.len() == 1, "{name}");
            count += 1;
        }
        assert_eq!(count, OURS.len() + 4);
    }

    #[test]
    fn a_text_is_about_the_properties_that_it_names() {
        let text = "`max.in.flight` must be set <=5 when `enable.idempotence` is true.";
        assert!(is_about(text, "max.in.flight.requests.per.connection"));
        assert!(is_about(text, "enable.idempotence"));
        assert!(!is_about(text, "max.in") && !is_about(text, "retries"));
        assert!(is_about("ssl.key.location failed: no", "ssl.key.location"));
    }
}
