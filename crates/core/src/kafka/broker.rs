//! The address of a broker, and the time limit for its answers.

use std::time::Duration;

/// Time limit for one request about the cluster.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// A broker, at the address that it advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Node id.
    pub id: i32,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}
