//! A broker as others know it, and how long one may take to answer.

use std::time::Duration;

/// How long one question to the brokers about the cluster may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// A broker, at the address that it advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: i32,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}
