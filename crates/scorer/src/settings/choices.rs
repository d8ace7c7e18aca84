//! Flags of the scorer alone: what is promised, how often it commits, and where a group starts.

use std::fmt;

use tidemill_core::record::timestamp::date;
use tidemill_core::settings::parse_time;

/// The promise to readers of the predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Each record has one prediction or dead letter, for readers of committed records.
    ExactlyOnce,
    /// Each record has at least one; after a failure some have more.
    AtLeastOnce,
}

/// The treatment of the positions of a group that has to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Show them, and ask before they are moved.
    Ask,
    /// Show and move them.
    Agreed,
    /// Show them.
    DryRun,
}

/// The start of a group without positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At what arrives from now on.
    Latest,
    /// At the oldest record.
    Earliest,
    /// At the first record of this time or later, in epoch milliseconds.
    Time(i64),
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
        })
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Earliest => f.write_str("earliest"),
            Self::Time(millis) => f.write_str(&date(*millis)),
        }
    }
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

/// Reads the share of the time that transactions may take.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.05..=1.0).contains(share));
    share.ok_or_else(|| "use a number from 0.05 to 1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_that_leave_time_to_commit() {
        for (text, share) in [("0.05", Some(0.05)), ("1", Some(1.0)), ("0.5", Some(0.5))] {
            assert_eq!(parse_share(text).ok(), share);
        }
        for text in ["0", "0.049", "1.01", "-1", "NaN", "50%", ""] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
