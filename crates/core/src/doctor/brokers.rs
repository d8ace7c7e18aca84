//! Connects to the brokers, or reports in one line why that fails.

use super::Report;
use super::listeners::reachable;
use crate::kafka::{Broker, Cluster, Complaints};
use crate::settings::Shared;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Time limit for the first answer, unless --connect-timeout is shorter.
const CONNECT: Duration = Duration::from_secs(10);

/// Time for which the errors of a client without an answer are collected.
const COMPLAINTS: Duration = Duration::from_secs(3);

/// Connects to the brokers; `None` unless all of them can be reached.
pub(super) async fn connect(
    shared: &Shared,
    shutdown: &CancellationToken,
    report: &mut Report,
) -> Option<Cluster> {
    let cluster = Cluster::open(&shared.kafka)
        .map_err(|error| {
            let remedy = "mend the file of --kafka-config";
            report.problem("brokers", format!("{error:#}"), remedy);
        })
        .ok()?;
    let limit = shared.connect_timeout.min(CONNECT);
    let reached = cluster.reach(limit, shutdown).await;
    let brokers = match reached.and_then(|()| cluster.brokers()) {
        Ok(brokers) => brokers,
        Err(error) => {
            unanswered(&cluster, shared, &error, report).await;
            return None;
        }
    };
    let given = shared.kafka.brokers();
    if !reachable(&brokers, given, report).await {
        return None;
    }
    let place = |one: &Broker| format!("{}:{}", one.host, one.port);
    let places: Vec<String> = brokers.iter().map(place).collect();
    let places = places.join(", ");
    report.ok(
        "brokers",
        format!("{given} answers; {places} can be reached as advertised"),
    );
    Some(cluster)
}

/// Reports why no broker answers: none listens, or the advertised address cannot be reached.
async fn unanswered(
    cluster: &Cluster,
    shared: &Shared,
    error: &anyhow::Error,
    report: &mut Report,
) {
    let Complaints { brokers, .. } = block_in_place(|| cluster.complaints(COMPLAINTS));
    if reachable(&brokers, shared.kafka.brokers(), report).await {
        let (found, remedy) = short(&format!("{error:#}"));
        report.problem("brokers", format!("no brokers available: {found}"), remedy);
    }
}

/// The error without librdkafka's bookkeeping, and the remedy at its end.
fn short(error: &str) -> (String, String) {
    let usual = "see whether the brokers run, and whether their port can be reached from here";
    let (found, remedy) = error.rsplit_once("; ").unwrap_or((error, usual));
    let mut found = found.to_owned();
    // As in "Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 5 identical ...)".
    while let Some(begin) = found.find(" (after ") {
        let mut open = 0;
        let closes = |letter: char| {
            open += i32::from(letter == '(') - i32::from(letter == ')');
            open == 0 && letter == ')'
        };
        let end = found[begin..].find(closes);
        let end = end.map_or(found.len(), |end| begin + end + 1);
        found.replace_range(begin..end, "");
    }
    // librdkafka's mark of addresses that were given, as opposed to advertised ones.
    (found.replace("/bootstrap:", ":"), remedy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_cut_to_what_was_found_and_the_remedy() {
        let whole = "no Kafka broker at b:1 answered within 1s: b:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: \
                     Connection refused (after 0ms in state CONNECT, 581 identical error(s) suppressed); check --brokers";
        let (found, remedy) = short(whole);
        assert_eq!(
            found,
            "no Kafka broker at b:1 answered within 1s: b:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused"
        );
        assert_eq!(remedy, "check --brokers");
        let (found, remedy) = short("timed out (after 3 s");
        assert_eq!(
            (found.as_str(), remedy.starts_with("see whether")),
            ("timed out", true)
        );
    }
}
