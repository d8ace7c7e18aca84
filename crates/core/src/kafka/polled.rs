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
    /// All readable records of this partition, up to the present end of its log, have been handed out. Offsets cannot
    /// tell: the last ones of a log may be those of transaction markers and aborted records, which are never handed
    /// out.
    ///
    /// librdkafka raises it when a broker answers a fetch from the log's end (for readers of committed records: the
    /// last stable offset, where the oldest open transaction begins), and queues it behind the records before it. So it
    /// comes once for each end that is reached: also at the start of an empty partition or of one that is read from its
    /// end, and again after new records, markers alone included. Assigning, seeking and resuming forget that it was
    /// raised: it comes again for the same end. One that was queued before a seek, pause or release is dropped with the
    /// records queued there.
    End(i32),
    /// The position of some partition is outside of its log, and librdkafka has stopped reading it. It does not tell
    /// which one: the worker compares its positions with [`Consumer::log_range`], and seeks every partition that it
    /// goes on with, also where the log covers the position again by then. Comes again each second until each
    /// partition was started, sought or released.
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
