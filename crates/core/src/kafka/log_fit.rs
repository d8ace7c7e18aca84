//! Decides if a stored position belongs to the present log.
//!
//! A topic may be deleted and created again. A log may be cut, by an unclean leader election or a restored disk, and
//! filled with other records. Offsets alone do not show that once the log has outgrown the position.

use super::TopicId;
use std::fmt;

/// A stored position with the identity of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPosition<F> {
    /// The topic's id at that time; `None` if it was unknown.
    pub topic: Option<TopicId>,
    /// The next offset to read.
    pub next: i64,
    /// The fingerprint of the record before it; `None` if there was none, or if it was not stored.
    pub last: Option<F>,
}

impl<F> From<i64> for StoredPosition<F> {
    /// A position without the identity of its log.
    fn from(next: i64) -> Self {
        StoredPosition {
            topic: None,
            next,
            last: None,
        }
    }
}

/// The offsets of a partition's log. Some of them may be those of transaction markers and of aborted records, which no
/// reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The offset of the oldest record.
    pub oldest: i64,
    /// The offset after the newest record.
    pub end: i64,
}

impl LogRange {
    /// The log has no offset.
    pub fn is_empty(&self) -> bool {
        self.oldest >= self.end
    }

    /// Retention has deleted offsets: a log begins at 0.
    pub fn is_cut(&self) -> bool {
        self.oldest > 0
    }
}

/// A present log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log<F> {
    /// The topic's id; `None` if the brokers report none.
    pub topic: Option<TopicId>,
    /// Its offsets.
    pub range: LogRange,
    /// The fingerprint of the record before the stored position; `None` if it was not read, or is gone.
    pub last: Option<F>,
}

/// The relation of a stored position to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFit {
    /// The log goes on there.
    Same,
    /// Retention has deleted this many offsets, from the position up to the oldest record; some of them may have been
    /// transaction markers.
    Behind(i64),
    /// The log ends before the position: it was cut, or the topic is another one with an unknown id.
    Ahead,
    /// The record before the position is another one: the log was cut and has grown again.
    OtherRecords,
    /// The topic was deleted and created again.
    OtherTopic,
}

impl<F: PartialEq> StoredPosition<F> {
    /// Compares this position with `log`: by id, then range, then fingerprint. A fact that is unknown on either side
    /// is no evidence.
    pub fn fit(&self, log: &Log<F>) -> LogFit {
        if differ(&self.topic, &log.topic) {
            LogFit::OtherTopic
        } else if self.next > log.range.end {
            LogFit::Ahead
        } else if self.next < log.range.oldest {
            LogFit::Behind(log.range.oldest - self.next)
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
            // Brokers without ids, or a position stored before ids were.
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
                range: LogRange { oldest, end },
                last: found,
            };
            assert_eq!(stored.fit(&log), expected, "{stored:?} {log:?}");
        }
    }
}
