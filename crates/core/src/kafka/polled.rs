//! The events of a worker's loop, as returned by a poll.

use super::Record;
use super::rebalances::Change;

/// The result of a poll.
pub enum Polled<'a> {
    /// The next record of one of the partitions.
    Record(Record<'a>),
    /// The group assigned these partitions to the worker, which answers with [`Consumer::start`]. An empty list, for a
    /// member without partitions, needs no answer.
    Assigned(Vec<i32>),
    /// The group revoked these partitions; the worker answers with [`Consumer::release`].
    Revoked {
        /// The revoked partitions.
        partitions: Vec<i32>,
        /// True if they may have another owner already: the worker must not write for them any more.
        lost: bool,
    },
    /// All readable records of this partition, up to the present end of its log, were returned. Offsets do not show
    /// this: the last ones of a log may be those of transaction markers and aborted records, which are never returned.
    ///
    /// librdkafka raises it when a broker answers a fetch from the log's end (for read_committed readers: the last
    /// stable offset, where the oldest open transaction begins), and queues it behind the records before it. So it
    /// comes once for each end that is reached: also at the start of an empty partition or of one that is read from its
    /// end, and again after new records, even if they are only markers. After an assign, seek or resume librdkafka
    /// raises it again for the same end. If one was queued before a seek, pause or release, it is dropped with the
    /// records queued there.
    End(i32),
    /// The position of some partition is outside of its log, and librdkafka has stopped reading it. librdkafka does not
    /// say which one: the worker compares its positions with [`Consumer::log_range`], and seeks every partition that it
    /// keeps, even if the log covers its position again by then. Comes again each second until each partition was
    /// started, sought or released.
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
