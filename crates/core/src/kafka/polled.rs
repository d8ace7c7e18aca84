//! The events of a worker's loop, as a poll brings them.

use super::Record;
use super::rebalances::Change;

/// What a poll brought.
pub enum Polled<'a> {
    /// The next record of one of the partitions.
    Record(Record<'a>),
    /// These partitions are the worker's from now on; it answers with [`Consumer::start`]. None at all, for a member
    /// that has nothing to do, needs no answer.
    Assigned(Vec<i32>),
    /// These are the worker's no longer; it answers with [`Consumer::release`].
    Revoked {
        /// The partitions.
        partitions: Vec<i32>,
        /// They may have another owner already: nothing more may be written for them.
        lost: bool,
    },
    /// The position of some partition is outside its log; the worker compares its positions with
    /// [`Consumer::log_range`] and seeks.
    OutOfRange,
    /// Nothing arrived in time.
    Idle,
}

impl From<Option<Change>> for Polled<'_> {
    fn from(change: Option<Change>) -> Self {
        match change {
            Some(Change::Assigned(partitions)) => Self::Assigned(partitions),
            Some(Change::Revoked { partitions, lost }) => Self::Revoked { partitions, lost },
            None => Self::Idle,
        }
    }
}
