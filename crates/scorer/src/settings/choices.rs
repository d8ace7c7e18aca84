//! Flags whose values are words: what is promised, and where a group starts.

use tidemill_core::settings::parse_time;

/// What readers of the predictions are promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Each record has one prediction or dead letter, for readers of committed records.
    ExactlyOnce,
    /// Each record has at least one; after a failure some have more.
    AtLeastOnce,
}

/// Where a group without positions starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At what arrives from now on.
    Latest,
    /// At the oldest record.
    Earliest,
    /// At the first record of this time or later, in epoch milliseconds.
    Time(i64),
}

/// Reads the name of a guarantee.
pub(super) fn parse_guarantee(text: &str) -> Result<Guarantee, String> {
    match text {
        "exactly-once" => Ok(Guarantee::ExactlyOnce),
        "at-least-once" => Ok(Guarantee::AtLeastOnce),
        _ => Err("use exactly-once or at-least-once".into()),
    }
}

/// Reads `latest`, `earliest` or a time.
pub(super) fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "latest" => Ok(Start::Latest),
        "earliest" => Ok(Start::Earliest),
        time => parse_time(time)
            .map(Start::Time)
            .map_err(|expected| format!("use latest or earliest, or {expected}")),
    }
}
