//! The rule by which a stored position is told to be one of the log that is there now.
//!
//! A topic may be deleted and created again, and a log may be cut by an unclean election of a leader, or by a restored
//! disk, and be filled with other records. Offsets alone tell none of this once the log has outgrown the position.

use super::TopicId;
use std::fmt;

/// A position as it was stored, with what tells its log from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPosition<F> {
    /// The topic's id at that time; `None` where it was not known.
    pub topic: Option<TopicId>,
    /// The next offset to be read.
    pub next: i64,
    /// A fingerprint of the record before it; `None` where there was none, or it was not kept.
    pub last: Option<F>,
}

impl<F> From<i64> for StoredPosition<F> {
    /// A position of which nothing else is known.
    fn from(next: i64) -> Self {
        StoredPosition {
            topic: None,
            next,
            last: None,
        }
    }
}

/// A log as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log<F> {
    /// The topic's id; `None` where the brokers have none.
    pub topic: Option<TopicId>,
    /// The offset of its oldest record.
    pub oldest: i64,
    /// The position after its newest.
    pub end: i64,
    /// The fingerprint of the record before the stored position; `None` where it was not read, or is gone.
    pub last: Option<F>,
}

/// What a stored position is to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFit {
    /// The log goes on there.
    Same,
    /// Retention has deleted the offsets from the position up to the oldest record, so many; some of them may have been
    /// transaction markers.
    Behind(i64),
    /// The log ends before the position: it was cut, or the topic is another one whose id is not known.
    Ahead,
    /// The record before the position is another one: the log was cut and has grown again.
    OtherRecords,
    /// The topic was deleted and created again.
    OtherTopic,
}

impl<F: PartialEq> StoredPosition<F> {
    /// What this position is to `log`. Id, range and fingerprint are asked in this order; what is not known on either
    /// side is no evidence.
    pub fn fit(&self, log: &Log<F>) -> LogFit {
        if differ(&self.topic, &log.topic) {
            LogFit::OtherTopic
        } else if self.next > log.end {
            LogFit::Ahead
        } else if self.next < log.oldest {
            LogFit::Behind(log.oldest - self.next)
        } else if differ(&self.last, &log.last) {
            LogFit::OtherRecords
        } else {
            LogFit::Same
        }
    }
}

fn differ<T: PartialEq>(stored: &Option<T>, found: &Option<T>) -> bool {
    matches!((stored, found), (Some(stored), Some(found)) if stored != found)
}

impl fmt::Display for LogFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the log goes on at the position"),
            Self::Behind(lost) => {
                write!(f, "retention has deleted {lost} offsets after the position")
            }
            Self::Ahead => f.write_str(
                "the log ends before the position: it was cut, or the topic was deleted and created again",
            ),
            Self::OtherRecords => f.write_str(
                "another record lies before the position: the log was cut and has grown again",
            ),
            Self::OtherTopic => f.write_str("the topic was deleted and created again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogFit::{Ahead, Behind, OtherRecords, OtherTopic, Same};

    #[test]
    fn a_position_fits_its_own_log_alone() {
        let [old, new] = [1, 2].map(TopicId::new);
        let table = [
            // Stored: id, next, last; the log: id, oldest, end, last.
            ((old, 10, Some('a')), (old, 0, 20, Some('a')), Same),
            ((old, 10, Some('a')), (old, 0, 10, Some('a')), Same),
            ((old, 10, Some('a')), (old, 10, 10, None), Same),
            ((old, 0, None), (old, 0, 0, None), Same),
            // Brokers without ids, or a position from before ids were kept.
            ((None, 10, Some('a')), (new, 0, 20, Some('a')), Same),
            ((old, 10, Some('a')), (None, 0, 20, Some('a')), Same),
            ((None, 10, None), (None, 0, 20, None), Same),
            // The record before the position was not read, or compaction has removed it.
            ((old, 10, Some('a')), (old, 0, 20, None), Same),
            ((old, 10, None), (old, 0, 20, Some('b')), Same),
            ((old, 10, Some('a')), (old, 13, 20, None), Behind(3)),
            ((old, 0, None), (old, 7, 7, None), Behind(7)),
            ((None, 10, Some('a')), (None, 13, 20, None), Behind(3)),
            ((old, 10, Some('a')), (old, 0, 9, None), Ahead),
            ((None, 10, Some('a')), (None, 0, 0, None), Ahead),
            ((old, 10, Some('a')), (old, 0, 20, Some('b')), OtherRecords),
            (
                (None, 10, Some('a')),
                (None, 0, 20, Some('b')),
                OtherRecords,
            ),
            // Another topic, wherever its log lies.
            ((old, 10, Some('a')), (new, 0, 20, Some('a')), OtherTopic),
            ((old, 10, Some('a')), (new, 0, 5, None), OtherTopic),
            ((old, 10, Some('a')), (new, 13, 20, None), OtherTopic),
            ((old, 0, None), (new, 0, 0, None), OtherTopic),
        ];
        for ((topic, next, last), (now, oldest, end, found), expected) in table {
            let stored = StoredPosition { topic, next, last };
            let log = Log {
                topic: now,
                oldest,
                end,
                last: found,
            };
            assert_eq!(stored.fit(&log), expected, "{stored:?} {log:?}");
        }
    }
}
