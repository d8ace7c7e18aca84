//! Addresses of brokers, as users write them.

use std::net::Ipv6Addr;

/// Schemes that a broker's address may begin with, if security.protocol says the same.
const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// The addresses of `--brokers`, and one sentence for each that cannot be used. A missing port is 9092.
pub(crate) fn parse_brokers(text: &str, protocol: &str) -> (String, Vec<String>) {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let wrong = |part: &&str| {
        let remedy = problem(part, protocol)?;
        // The part before an @ may be a password.
        let shown = part.rsplit_once('@').map(|(_, rest)| format!("***@{rest}"));
        let shown = shown.unwrap_or_else(|| (*part).to_owned());
        Some(format!("--brokers {shown:?}: {remedy}"))
    };
    (parts.join(","), parts.iter().filter_map(wrong).collect())
}

/// The problem of one address, with the remedy.
fn problem(text: &str, protocol: &str) -> Option<String> {
    let mut address = text;
    if let Some((scheme, rest)) = text.split_once("://") {
        if !PROTOCOLS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
        {
            return Some("a broker is host:port, without anything before it".to_owned());
        }
        if !scheme.eq_ignore_ascii_case(protocol) {
            return Some(format!(
                "security.protocol is {protocol}: set it to {scheme} in --kafka-config, or leave {scheme}:// out"
            ));
        }
        address = rest;
    }
    if address.is_empty() {
        return Some("give host:port, separated by single commas".to_owned());
    }
    let port = match address
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, rest)) if host.parse::<Ipv6Addr>().is_ok() => rest,
        _ if address.matches(':').count() > 1 => {
            return Some(
                "an IPv6 address stands in brackets, as in [::1]:9092; commas part addresses"
                    .to_owned(),
            );
        }
        _ => {
            let end = address.find(':').unwrap_or(address.len());
            let (host, rest) = address.split_at(end);
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(legal) {
                return Some(
                    "a host has letters, digits, dots and hyphens: give host:port".to_owned(),
                );
            }
            rest
        }
    };
    let number = port.strip_prefix(':').map(str::parse::<u16>);
    if port.is_empty() || matches!(number, Some(Ok(1..))) {
        None
    } else {
        Some("a port is a number from 1 to 65535".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_used() {
        for text in [
            "localhost:9092",
            "localhost",
            "10.0.0.1:1",
            "[::1]:9092",
            "[::1]",
            "kafka_0.kafka:65535",
            "PLAINTEXT://h:1",
            "plaintext://h",
        ] {
            assert_eq!(
                parse_brokers(text, "plaintext"),
                (text.to_owned(), Vec::new())
            );
        }
        let (brokers, problems) = parse_brokers(" a:1 ,\tb:2 ", "plaintext");
        assert_eq!((brokers.as_str(), problems.len()), ("a:1,b:2", 0));
        assert_eq!(parse_brokers("SSL://h:1", "ssl").1, [""; 0]);
    }

    #[test]
    fn each_that_cannot_be_used_is_told_with_the_remedy() {
        for (text, remedy) in [
            ("", "give host:port"),
            ("localhost:99999", "1 to 65535"),
            ("localhost:0", "1 to 65535"),
            ("localhost:", "1 to 65535"),
            ("localhost:kafka", "1 to 65535"),
            ("http://localhost:9092", "without anything before it"),
            ("kafka://localhost:9092", "without anything before it"),
            ("SSL://localhost:9092", "security.protocol is plaintext"),
            ("localhost:9092/", "1 to 65535"),
            ("local host:9092", "letters, digits"),
            (":9092", "letters, digits"),
            ("::1", "brackets"),
            ("[::1:9092", "brackets"),
            ("[::x]:9092", "brackets"),
            ("[::1]9092", "1 to 65535"),
            ("localhost:9092;other:9092", "brackets"),
        ] {
            let (_, problems) = parse_brokers(text, "plaintext");
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].contains(remedy), "{text}: {problems:?}");
        }
        let (_, problems) = parse_brokers("a:1,,user:hunter2@b:0,c:0", "plaintext");
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(!problems.concat().contains("hunter2"), "{problems:?}");
    }
}
