//! Brokers at the addresses that they advertise, which may differ from the address given.

use super::Report;
use crate::kafka::Broker;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time limit for an advertised address to accept a connection.
const REACH: Duration = Duration::from_secs(3);

/// Reports each broker that cannot be reached at its advertised address, where clients send everything but their first
/// request. True if there is none.
pub(super) async fn reachable(brokers: &[Broker], given: &str, report: &mut Report) -> bool {
    let mut all = true;
    for Broker { id, host, port } in brokers {
        let connected = timeout(REACH, TcpStream::connect((host.as_str(), *port))).await;
        let cause = match connected {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {REACH:?}"),
        };
        all = false;
        report.problem(
            "listeners",
            format!(
                "wrong advertised listener: {given} answers, but broker {id} there advertises {host}:{port}, which \
                 cannot be reached from here: {cause}"
            ),
            format!(
                "set advertised.listeners of broker {id} to an address that clients reach, or make {host} resolve here"
            ),
        );
    }
    all
}
