//! Setbacks: every reason for which a worker gives up what is not stored and goes back to the stored positions.

use crate::assignment::Cause;
use crate::store::Lost;
use std::time::Duration;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Change, in_words};
use tidemill_core::redis_verdict::by_code;

/// A reason for going back.
#[derive(Debug)]
pub(crate) enum Setback {
    /// Another worker wrote the stored positions, or Redis lost the last writes.
    Superseded,
    /// The connection to Redis failed; the outcome of the last transaction is unknown.
    StoreLost(String),
    /// Redis refused a command of a transaction that moved these partitions.
    Torn { partitions: Vec<i32>, error: String },
    /// A stored window cannot be read. `home` is its partition, unless that cannot be read either; `met_in` is the
    /// partition of the record that named the user.
    Unreadable {
        user: String,
        home: Option<i32>,
        met_in: i32,
    },
    /// The log of a partition holds another record before the position.
    OtherLog(i32),
    /// Windows of these partitions have to be built once more: see [`Cause::EarlyEvents`].
    EarlyEvents(Vec<i32>),
    /// The position of some partition is outside its log.
    OutOfRange,
    /// The topic was re-created: Kafka's id of it has changed.
    TopicMadeAnew,
    /// Dead letters were not acknowledged.
    DeadLetters(String),
    /// The brokers did not answer.
    Brokers(String),
    /// The group gave partitions to others before this worker could commit and release them.
    PartitionsLost,
    /// Writing a batch took too long: the group expels a worker that does not poll in time.
    Slow(Duration),
    /// The worker cannot go on at all.
    Fatal(anyhow::Error),
}

impl From<Lost> for Setback {
    fn from(Lost(error): Lost) -> Self {
        Self::StoreLost(error)
    }
}

impl From<Change> for Setback {
    fn from(change: Change) -> Self {
        match change {
            Change::TopicMadeAnew => Self::TopicMadeAnew,
            Change::OtherDestination(elsewhere) => Self::Fatal(other_destination(&elsewhere)),
        }
    }
}

/// A member that writes elsewhere takes a part of the partitions, which our destination then lacks.
pub(crate) fn other_destination(elsewhere: &str) -> anyhow::Error {
    Failure::usage(format!(
        "a member of --group writes to another place ({elsewhere}), and each place would get only a part of the \
         partitions: use another --group, or --takeover if that member is gone for good"
    ))
}

impl Setback {
    /// The partitions that have to be rebuilt, with the reasons.
    pub(crate) fn causes(&self) -> Vec<(i32, Cause)> {
        match self {
            Self::Torn { partitions, .. } => {
                let partitions = partitions.iter();
                partitions.map(|id| (*id, Cause::Torn)).collect()
            }
            Self::Unreadable {
                home: Some(home), ..
            } => vec![(*home, Cause::Unreadable)],
            Self::Unreadable { met_in, .. } => vec![(*met_in, Cause::UnreadableHome)],
            Self::OtherLog(partition) => vec![(*partition, Cause::OtherRecord)],
            Self::EarlyEvents(partitions) => {
                let partitions = partitions.iter();
                partitions.map(|id| (*id, Cause::EarlyEvents)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The reason in one sentence for log and readiness, with the remedy if there is one.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Superseded => {
                "another worker has written the stored positions, or Redis lost its last writes"
                    .into()
            }
            Self::StoreLost(error) => match by_code(error) {
                Some(verdict) => format!("Redis: {error}: {}", verdict.remedy),
                None => format!("Redis: {error}"),
            },
            Self::Torn { error, .. } => format!(
                "Redis refused a part of what was written ({error}): no other program may keep anything under these \
                 keys"
            ),
            Self::Unreadable { user, .. } => format!(
                "the stored window of user {user:?} cannot be read: no other program may keep anything under these \
                 keys"
            ),
            Self::OtherLog(partition) => {
                format!(
                    "the log of partition {partition} is another one than the one that was applied"
                )
            }
            Self::EarlyEvents(_) => format!(
                "windows of several partitions are built: {}",
                Cause::EarlyEvents
            ),
            Self::OutOfRange => "a position is outside of its log".into(),
            Self::TopicMadeAnew => "the topic was made anew".into(),
            Self::DeadLetters(error) => format!("dead letters: {error}"),
            Self::Brokers(error) => format!("brokers: {error}"),
            Self::PartitionsLost => "the group gave partitions to others".into(),
            Self::Slow(took) => {
                format!(
                    "Redis is slow: a batch was not written within {} s",
                    took.as_secs()
                )
            }
            Self::Fatal(error) => in_words(error),
        }
    }

    /// True if it says nothing against the state in memory and the store: what is new can be stored before going back, so
    /// that it need not be applied again.
    pub(crate) fn leaves_the_store(&self) -> bool {
        matches!(self, Self::DeadLetters(_) | Self::Brokers(_))
    }

    /// True if it is part of normal operation, such as a rebalance, and no sign of a fault.
    pub(crate) fn is_normal(&self) -> bool {
        matches!(
            self,
            Self::Superseded | Self::PartitionsLost | Self::EarlyEvents(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setback_names_its_reason_and_what_must_be_rebuilt() {
        let unreadable = |home| Setback::Unreadable {
            user: "u".into(),
            home,
            met_in: 1,
        };
        let torn = Setback::Torn {
            partitions: vec![0, 2],
            error: "WRONGTYPE".into(),
        };
        for (setback, causes, word) in [
            (Setback::Superseded, vec![], "another worker"),
            (
                Setback::StoreLost("timed out".into()),
                vec![],
                "Redis: timed out",
            ),
            (
                Setback::StoreLost("WRONGTYPE of (answer to ZCOUNT expiry:t:1)".into()),
                vec![],
                "expiry:t:1): another program",
            ),
            (torn, vec![(0, Cause::Torn), (2, Cause::Torn)], "WRONGTYPE"),
            (
                unreadable(Some(4)),
                vec![(4, Cause::Unreadable)],
                "user \"u\"",
            ),
            (
                unreadable(None),
                vec![(1, Cause::UnreadableHome)],
                "user \"u\"",
            ),
            (
                Setback::OtherLog(3),
                vec![(3, Cause::OtherRecord)],
                "partition 3",
            ),
            (
                Setback::EarlyEvents(vec![1, 2]),
                vec![(1, Cause::EarlyEvents), (2, Cause::EarlyEvents)],
                "erasures",
            ),
            (Setback::OutOfRange, vec![], "outside"),
            (Setback::TopicMadeAnew, vec![], "topic"),
            (Setback::DeadLetters("none".into()), vec![], "dead letters"),
            (Setback::Brokers("none".into()), vec![], "brokers"),
            (Setback::PartitionsLost, vec![], "group"),
            (Setback::Slow(Duration::from_secs(9)), vec![], "9 s"),
            (Setback::Fatal(anyhow::anyhow!("fenced")), vec![], "fenced"),
        ] {
            assert_eq!(setback.causes(), causes, "{setback:?}");
            assert!(setback.reason().contains(word), "{}", setback.reason());
        }
    }
}
