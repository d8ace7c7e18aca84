//! Connects to the brokers, or reports in one line why that fails.

use super::Report;
use super::listeners::reachable;
use crate::kafka::{Broker, Cluster, Complaints, in_words};
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
            report.problem("brokers", in_words(&error), remedy);
        })
        .ok()?;
    let limit = shared.connect_timeout.min(CONNECT);
    let reached = cluster.reach(limit, None, shutdown).await;
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
        let error = in_words(error);
        let (found, remedy) = parted(&error);
        report.problem("brokers", format!("no brokers available: {found}"), remedy);
    }
}

/// The error and the remedy at its end.
fn parted(error: &str) -> (&str, &str) {
    let usual = "see whether the brokers run, and whether their port can be reached from here";
    error.rsplit_once("; ").unwrap_or((error, usual))
}
